"""Model snapshots through HTTP: section 4 of the contract and the resource 8.5."""

import json

import pytest

from marigraph.verify import verify_job
from tests.support.http import FIRST

MISSING, ILLEGAL, CONTENT = "resource_not_found_exception", "illegal_argument_exception", "x_content_parse_exception"
HOUR_MS = 3_600_000


@pytest.fixture
def j(http):
    """A closed job with three snapshots, taken after one, three and five hours."""
    job_id = http.job(is_open=True)
    for hour in (0, 2, 4):
        http.post_at(job_id, FIRST + hour * 3600, FIRST + (hour + 1) * 3600).ok(202)
        http.post(f"{job_id}/_close").ok()
        if hour < 4:
            http.post(f"{job_id}/_open").ok()
    return job_id


def snapshots(http, j, **parameters):
    answer = http.get(f"{j}/model_snapshots", **parameters).ok()
    assert list(answer) == ["count", "model_snapshots"]
    return answer["model_snapshots"]


def ids(http, j, **parameters):
    return [each["snapshot_id"] for each in snapshots(http, j, **parameters)]


def test_a_snapshot_has_the_fields_of_the_contract_in_its_order(http, j):
    newest = snapshots(http, j)[0]
    assert list(newest) == [
        "job_id", "min_version", "timestamp", "description", "snapshot_id", "snapshot_doc_count", "model_size_stats",
        "latest_record_time_stamp", "latest_result_time_stamp", "retain",
    ]  # fmt: skip
    assert newest["description"].startswith("State persisted due to job close at ")
    assert newest["snapshot_id"].isdigit()
    assert newest["latest_record_time_stamp"] == (FIRST + 5 * 3600) * 1000
    assert newest["latest_result_time_stamp"] == (FIRST + 4 * 3600) * 1000
    assert newest["retain"] is False
    assert list(newest["model_size_stats"])[:2] == ["job_id", "result_type"]
    assert http.get(j).ok()["jobs"][0]["model_snapshot_id"] == newest["snapshot_id"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_snapshots_are_listed_the_newest_first_by_both_methods(http, j, method):
    answer = http(method, f"{j}/model_snapshots").ok()
    times = [each["latest_record_time_stamp"] for each in answer["model_snapshots"]]
    assert times == sorted(times, reverse=True)
    assert answer["count"] == len(times) == 3


def test_snapshots_are_sorted_filtered_and_paged(http, j):
    newest, middle, oldest = ids(http, j)
    assert ids(http, j, desc=False) == [oldest, middle, newest]
    for name in ("timestamp", "snapshot_id", "latest_record_time_stamp", "latest_result_time_stamp", "description"):
        assert ids(http, j, sort=name) == [newest, middle, oldest]
        assert ids(http, j, sort=name, desc=False) == [oldest, middle, newest]
    assert http.get(f"{j}/model_snapshots?from=1&size=1").ok()["model_snapshots"][0]["snapshot_id"] == middle
    page = {"page": {"from": 1, "size": 1}, "desc": False}
    assert http.post(f"{j}/model_snapshots", page).ok()["count"] == 3
    at = snapshots(http, j)[0]["timestamp"]
    assert ids(http, j, start=at + 1) == []
    assert len(ids(http, j, start=0, end=at + 1)) == 3
    assert http.get(f"{j}/model_snapshots", sort="nope").status == 400
    assert http.get(f"{j}/model_snapshots?size=-1").error == (400, ILLEGAL, "Parameter [size] cannot be < 0")


def test_one_snapshot_is_found_by_its_id_and_an_unknown_one_is_an_empty_list(http, j):
    for snapshot_id in ids(http, j):
        answer = http.get(f"{j}/model_snapshots/{snapshot_id}").ok()
        assert [each["snapshot_id"] for each in answer["model_snapshots"]] == [snapshot_id]
    assert http.get(f"{j}/model_snapshots/nope").ok() == {"count": 0, "model_snapshots": []}
    assert len(http.get(f"{j}/model_snapshots/_all").ok()["model_snapshots"]) == 3


def test_an_update_changes_only_what_is_given_and_answers_the_snapshot(http, j):
    before = snapshots(http, j)[0]
    path = f"{j}/model_snapshots/{before['snapshot_id']}"
    answer = http.post(f"{path}/_update", {"description": "mine"}).ok()
    assert json.dumps(answer) == json.dumps({"acknowledged": True, "model": {**before, "description": "mine"}})
    answer = http.post(f"{path}/_update", {"retain": True}).ok()
    assert answer["model"] == {**before, "description": "mine", "retain": True}
    repeated = {"job_id": j, "snapshot_id": before["snapshot_id"]}
    for body in ({}, repeated):
        assert http.post(f"{path}/_update", body).ok()["model"] == answer["model"]
    assert snapshots(http, j)[0] == answer["model"]


def test_two_snapshots_may_have_the_same_description(http, j):
    for snapshot_id in ids(http, j):
        http.post(f"{j}/model_snapshots/{snapshot_id}/_update", {"description": "same"}).ok()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"nope": 1}, "[1:2] [model_snapshot_update] unknown field [nope]"),
        ({"retain": "yes"}, "[1:2] [model_snapshot_update] failed to parse field [retain]"),
        ({"description": 5}, "[1:2] [model_snapshot_update] failed to parse field [description]"),
        ([], "[1:2] [model_snapshot_update] failed to parse field [body]"),
    ],
)
def test_an_update_with_a_wrong_body_is_refused(http, j, body, reason):
    path = f"{j}/model_snapshots/{ids(http, j)[0]}/_update"
    assert http.post(path, body).error == (400, CONTENT, reason)


def test_an_update_without_a_body_is_refused(http, j):
    path = f"{j}/model_snapshots/{ids(http, j)[0]}/_update"
    assert http.post(path).error == (400, "parse_exception", "request body is required")


@pytest.mark.parametrize(
    "call",
    [("POST", "_update", {"retain": True}), ("POST", "_revert"), ("DELETE", "")],
    ids=lambda call: call[0] + call[1],
)
def test_calls_on_an_unknown_snapshot_are_not_found(http, j, call):
    method, suffix, *body = call
    path = "/".join([f"{j}/model_snapshots/nope", *([suffix] if suffix else [])])
    assert http(method, path, *body).error == (404, MISSING, f"No model snapshot with id [nope] exists for job [{j}]")


def test_a_revert_keeps_later_results_and_refuses_older_data_unless_told_otherwise(http, j):
    oldest = snapshots(http, j)[-1]
    before = http.get(f"{j}/results/buckets").text
    answer = http.post(f"{j}/model_snapshots/{oldest['snapshot_id']}/_revert").ok()
    assert json.dumps(answer) == json.dumps({"model": oldest})
    assert http.get(j).ok()["jobs"][0]["model_snapshot_id"] == oldest["snapshot_id"]
    assert http.get(f"{j}/results/buckets").text == before
    assert http.stats(j)["data_counts"]["latest_record_timestamp"] == (FIRST + 5 * 3600) * 1000
    http.post(f"{j}/_open").ok()
    assert http.post_at(j, FIRST + 2 * 3600).ok(202)["out_of_order_timestamp_count"] == 1


@pytest.mark.parametrize("place", ["body", "query"])
def test_a_revert_that_deletes_takes_results_and_the_latest_time_back(http, j, place):
    oldest = snapshots(http, j)[-1]
    path = f"{j}/model_snapshots/{oldest['snapshot_id']}/_revert"
    counts = http.stats(j)["data_counts"]
    if place == "body":
        http.post(path, {"delete_intervening_results": True}).ok()
    else:
        http.post(path, delete_intervening_results=True).ok()
    starts = [each["timestamp"] for each in http.get(f"{j}/results/buckets").ok()["buckets"]]
    assert starts == [oldest["latest_result_time_stamp"]]
    after = http.stats(j)["data_counts"]
    assert after["latest_record_timestamp"] == oldest["latest_record_time_stamp"]
    assert after["processed_record_count"] == counts["processed_record_count"]
    http.post(f"{j}/_open").ok()
    assert http.post_at(j, FIRST + 2 * 3600).ok(202)["out_of_order_timestamp_count"] == 0
    assert len(ids(http, j)) == 3


def test_a_revert_to_a_snapshot_without_results_deletes_all_of_them(http):
    job_id = http.job(is_open=True)
    http.post_at(job_id, FIRST, FIRST + 100).ok(202)
    http.post(f"{job_id}/_close").ok()
    [first] = snapshots(http, job_id)
    assert "latest_result_time_stamp" not in first
    http.post(f"{job_id}/_open").ok()
    http.post_at(job_id, FIRST + 3600, FIRST + 7200).ok(202)
    http.post(f"{job_id}/_close").ok()
    assert http.get(f"{job_id}/results/buckets").ok()["count"] == 2
    path = f"{job_id}/model_snapshots/{first['snapshot_id']}/_revert"
    http.post(path, delete_intervening_results=True).ok()
    assert http.get(f"{job_id}/results/buckets").ok()["count"] == 0
    assert verify_job(http.server, job_id).holds


def test_a_snapshot_is_deleted_but_not_the_active_one(http, j):
    newest, middle, oldest = ids(http, j)
    assert http.delete(f"{j}/model_snapshots/{middle}").ok() == {"acknowledged": True}
    assert ids(http, j) == [newest, oldest]
    assert http.delete(f"{j}/model_snapshots/{newest}").error == (
        400, ILLEGAL, f"Model snapshot '{newest}' is the active snapshot for job '{j}', so cannot be deleted"
    )  # fmt: skip
    http.post(f"{j}/model_snapshots/{oldest}/_revert").ok()
    http.delete(f"{j}/model_snapshots/{newest}").ok()
    assert ids(http, j) == [oldest]
