"""Results through HTTP: section 3 and the resources of section 8, whole and in their order."""

import json
import math
from datetime import UTC, datetime

import pytest

from tests.support.http import FIRST
from tests.support.jobs import synthetic, to_ndjson

STATUS, ILLEGAL, PARSE = "status_exception", "illegal_argument_exception", "parse_exception"
CONTENT = "x_content_parse_exception"
DATA = synthetic(3_000)
METHODS = ("GET", "POST")
EVERY = 10_000


@pytest.fixture(scope="module")
def j(http):
    """A job with an anomaly, and an interim bucket at its end."""
    http.put("results", DATA.body).ok()
    http.post("results/_open").ok()
    http.post("results/_data", to_ndjson(DATA)).ok(202)
    http.post("results/_flush", {"calc_interim": True}).ok()
    return "results"


@pytest.fixture(scope="module")
def population(http):
    """A job over a population, with categories."""
    detectors = [
        {"function": "high_mean", "field_name": "v", "over_field_name": "who", "by_field_name": "what"},
        {"function": "count", "by_field_name": "mlcategory"},
    ]
    analysis = {"bucket_span": "1h", "detectors": detectors, "influencers": ["who"], "categorization_field_name": "m"}
    http.put("population", {"analysis_config": analysis, "data_description": {"time_format": "epoch"}}).ok()
    http.post("population/_open").ok()
    rows = [
        {"time": FIRST + hour * 3600 + who, "who": f"w{who:02}", "what": "x", "m": f"disk number {who} is full",
         "v": 1_000 if (hour, who) == (46, 7) else 10 + math.sin(hour * who)}
        for hour in range(48) for who in range(30)
    ]  # fmt: skip
    http.post("population/_data", "".join(map(json.dumps, rows))).ok(202)
    http.post("population/_flush").ok()
    return "population"


def listed(http, j, kind, **parameters):
    return http.get(f"{j}/results/{kind}", **{"size": EVERY, **parameters}).ok()[kind]


# ---------------------------------------------------------------------------------------------------------- resources


def test_a_bucket_has_the_fields_of_the_contract_in_its_order(http, j):
    bucket = max(listed(http, j, "buckets"), key=lambda each: each["anomaly_score"])
    assert list(bucket) == [
        "job_id", "timestamp", "anomaly_score", "bucket_span", "initial_anomaly_score", "event_count", "is_interim",
        "bucket_influencers", "processing_time_ms", "result_type",
    ]  # fmt: skip
    assert (bucket["job_id"], bucket["bucket_span"], bucket["result_type"]) == (j, 900, "bucket")
    assert bucket["timestamp"] % 900_000 == 0
    names = [each["influencer_field_name"] for each in bucket["bucket_influencers"]]
    assert set(names) == {"bucket_time", "series"}
    for influencer in bucket["bucket_influencers"]:
        assert list(influencer) == [
            "job_id", "result_type", "influencer_field_name", "initial_anomaly_score", "anomaly_score",
            "raw_anomaly_score", "probability", "timestamp", "bucket_span", "is_interim",
        ]  # fmt: skip
        assert influencer["result_type"] == "bucket_influencer"
        assert influencer["timestamp"] == bucket["timestamp"]
    assert bucket["anomaly_score"] == max(each["anomaly_score"] for each in bucket["bucket_influencers"])


def test_buckets_without_anomaly_and_without_records_are_listed(http, j):
    found = listed(http, j, "buckets")
    assert any(bucket["anomaly_score"] == 0 and bucket["bucket_influencers"] == [] for bucket in found)
    gap = http.job(is_open=True)
    http.post_at(gap, FIRST, FIRST + 3 * 3600).ok(202)
    http.post(f"{gap}/_flush").ok()
    assert [bucket["event_count"] for bucket in listed(http, gap, "buckets")] == [1, 0, 0]


def test_a_record_has_the_fields_of_the_contract_in_its_order(http, j):
    record = next(each for each in listed(http, j, "records") if each["detector_index"] == 0)
    assert list(record) == [
        "job_id", "result_type", "probability", "multi_bucket_impact", "record_score", "initial_record_score",
        "bucket_span", "detector_index", "is_interim", "timestamp", "by_field_name", "by_field_value", "function",
        "function_description", "typical", "actual", "field_name", "influencers", "series",
    ]  # fmt: skip
    value = record["by_field_value"]
    assert record["series"] == [value]
    assert record["influencers"] == [{"influencer_field_name": "series", "influencer_field_values": [value]}]
    assert (record["function"], record["function_description"], record["field_name"]) == ("mean", "mean", "value")
    assert [len(record[name]) for name in ("typical", "actual")] == [1, 1]
    assert 0 <= record["probability"] <= 1
    assert -5 <= record["multi_bucket_impact"] <= 5


def test_a_record_of_a_sided_function_names_what_is_measured(http, j):
    record = next(each for each in listed(http, j, "records", sort="function") if each["detector_index"] == 1)
    assert (record["function"], record["function_description"]) == ("high_count", "count")
    assert record["partition_field_name"] == "series"
    assert "field_name" not in record


def test_a_record_of_a_population_has_its_causes(http, population):
    record = listed(http, population, "records")[0]
    assert list(record) == [
        "job_id", "result_type", "probability", "multi_bucket_impact", "record_score", "initial_record_score",
        "bucket_span", "detector_index", "is_interim", "timestamp", "function", "function_description", "field_name",
        "over_field_name", "over_field_value", "causes", "influencers", "who", "what",
    ]  # fmt: skip
    assert (record["over_field_value"], record["who"], record["what"]) == ("w07", ["w07"], ["x"])
    [cause] = record["causes"]
    assert list(cause) == [
        "probability", "by_field_name", "by_field_value", "function", "function_description", "typical", "actual",
        "field_name", "over_field_name", "over_field_value",
    ]  # fmt: skip
    assert cause["actual"] == [1000.0]


def test_an_influencer_has_the_fields_of_the_contract_in_its_order(http, j):
    influencer = listed(http, j, "influencers")[0]
    assert list(influencer) == [
        "job_id", "result_type", "influencer_field_name", "influencer_field_value", "series", "influencer_score",
        "initial_influencer_score", "probability", "bucket_span", "is_interim", "timestamp",
    ]  # fmt: skip
    assert influencer["series"] == influencer["influencer_field_value"]


def test_a_category_has_the_fields_of_the_contract_in_its_order(http, population):
    answer = http.get(f"{population}/results/categories").ok()
    assert list(answer) == ["count", "categories"]
    [category] = answer["categories"]
    assert [name for name in category if name not in ("grok_pattern", "preferred_to_categories")] == [
        "job_id", "category_id", "terms", "regex", "max_matching_length", "examples", "num_matches",
    ]  # fmt: skip
    assert (category["category_id"], category["num_matches"]) == (1, 48 * 30)
    assert category["examples"] == sorted(category["examples"])
    assert len(category["examples"]) <= 4


def test_an_overall_bucket_has_the_fields_of_the_contract_in_its_order(http, j):
    overall = http.get(f"{j}/results/overall_buckets", overall_score=50).ok()["overall_buckets"]
    assert list(overall[0]) == ["timestamp", "bucket_span", "overall_score", "jobs", "is_interim", "result_type"]
    assert overall[0]["jobs"] == [{"job_id": j, "max_anomaly_score": overall[0]["overall_score"]}]
    assert all(each["overall_score"] >= 50 for each in overall)


# ------------------------------------------------------------------------------------------------------------ order


@pytest.mark.parametrize("method", METHODS)
def test_lists_come_in_the_order_of_the_contract_by_both_methods(http, j, method):
    keys = {
        "buckets": ("timestamp", False),
        "records": ("record_score", True),
        "influencers": ("influencer_score", True),
    }
    for kind, (name, is_reversed) in keys.items():
        answer = http(method, f"{j}/results/{kind}", size=EVERY).ok()
        assert list(answer) == ["count", kind]
        values = [each[name] for each in answer[kind]]
        assert values == sorted(values, reverse=is_reversed)
        assert answer["count"] == len(values) > 10


def first(value):
    return value[0] if isinstance(value, list) else value


@pytest.mark.parametrize("desc", [True, False])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("buckets", "anomaly_score"), ("buckets", "event_count"), ("buckets", "result_type"),
        ("records", "timestamp"), ("records", "probability"), ("records", "actual"), ("records", "typical"),
        ("records", "multi_bucket_impact"), ("records", "function"), ("records", "field_name"), ("records", "series"),
        ("influencers", "timestamp"), ("influencers", "series"), ("influencers", "influencer_field_value"),
    ],
)  # fmt: skip
def test_lists_are_sorted_by_any_field_with_time_breaking_ties_in_the_same_direction(http, j, kind, name, desc):
    found = listed(http, j, kind, sort=name, desc=desc)
    keys = [(first(each[name]), each["timestamp"]) for each in found if name in each]
    assert keys == sorted(keys, reverse=desc)
    assert all(name not in each for each in found[len(keys) :])


@pytest.mark.parametrize(
    ("kind", "name"), [("buckets", "body"), ("records", "nope"), ("influencers", "a.b"), ("records", "sequence")]
)
def test_a_field_that_no_result_has_is_no_way_to_sort(http, j, kind, name):
    status, error, reason = http.get(f"{j}/results/{kind}", sort=name).error
    assert (status, error) == (400, STATUS)
    assert reason.startswith(f"cannot sort by [{name}]; sort by one of: ")


# ---------------------------------------------------------------------------------------------------------- filters


@pytest.mark.parametrize(
    ("kind", "score"),
    [("buckets", "anomaly_score"), ("records", "record_score"), ("influencers", "influencer_score")],
)
def test_a_least_score_is_included_and_none_below_it(http, j, kind, score):
    every = listed(http, j, kind)
    threshold = sorted(each[score] for each in every)[-5]
    found = listed(http, j, kind, **{score: threshold})
    assert len(found) == 5
    assert min(each[score] for each in found) == threshold
    assert len(listed(http, j, kind, **{score: -1})) == len(every)
    body = {score: threshold, "page": {"size": EVERY}}
    assert http.post(f"{j}/results/{kind}", body).ok()["count"] == 5
    assert http.get(f"{j}/results/{kind}", **{score: "high"}).error == (
        400, ILLEGAL, f"Failed to parse double parameter [{score}] with value [high]"
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["buckets", "records", "influencers"])
def test_the_start_of_a_range_belongs_to_it_and_the_end_does_not(http, j, kind):
    times = sorted({each["timestamp"] for each in listed(http, j, kind)})
    start, end = times[2], times[5]
    for first, last in ((start, end), ("2023-11-14T00:00:00Z", end)):
        found = {each["timestamp"] for each in listed(http, j, kind, start=first, end=last, sort="timestamp")}
        assert found == {time for time in times if (start if first == start else 0) <= time < end}
    assert listed(http, j, kind, start=end, end=start) == []
    assert http.get(f"{j}/results/{kind}", start="never").error == (
        400, PARSE,
        "Query param [start] with value [never] cannot be parsed as a date or converted to a number (epoch)."
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["buckets", "records", "influencers"])
def test_pages_are_parts_of_the_list_and_count_is_all_that_match(http, j, kind):
    every = listed(http, j, kind)
    assert len(http.get(f"{j}/results/{kind}").ok()[kind]) == min(100, len(every))
    for parameters in ({"from": 3, "size": 4}, {"from_": 3, "size": 4}):
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        answer = http.get(f"{j}/results/{kind}?{query}").ok()
        assert (answer["count"], answer[kind]) == (len(every), every[3:7])
    body = {"page": {"from": 3, "size": 4}}
    assert http.post(f"{j}/results/{kind}", body).ok() == answer
    assert http.post(f"{j}/results/{kind}?from=3&size=4", {"desc": kind != "buckets"}).ok() == answer  # newest clients
    assert http.get(f"{j}/results/{kind}", size=0).ok() == {"count": len(every), kind: []}
    assert http.get(f"{j}/results/{kind}", from_=len(every) + 1, size=1).status == 200


@pytest.mark.parametrize("kind", ["buckets", "records", "influencers", "categories"])
def test_pages_out_of_bounds_are_refused(http, j, kind):
    path = f"{j}/results/{kind}"
    for name in ("from", "size"):
        assert http.get(f"{path}?{name}=-1").error == (400, ILLEGAL, f"Parameter [{name}] cannot be < 0")
        assert http.post(path, {"page": {name: -1}}).error == (400, ILLEGAL, f"Parameter [{name}] cannot be < 0")
        section = f"get_{kind}"
        assert http.post(path, {name: 1}).error == (400, CONTENT, f"[1:2] [{section}] unknown field [{name}]")
    assert http.get(f"{path}?from=9999&size=2").error == (
        400, ILLEGAL, "The sum of parameters [from] and [size] cannot be higher than 10000."
    )  # fmt: skip


def test_interim_results_can_be_left_out(http, j):
    every, final = listed(http, j, "buckets"), listed(http, j, "buckets", exclude_interim=True)
    assert final == [each for each in every if not each["is_interim"]]
    assert len(final) < len(every)


# ------------------------------------------------------------------------------------------------------- one bucket


def test_one_bucket_is_found_by_its_start_however_it_is_written(http, j):
    bucket = listed(http, j, "buckets")[3]
    at = bucket["timestamp"]
    iso = f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
    for answer in (
        http.get(f"{j}/results/buckets/{at}"), http.post(f"{j}/results/buckets/{iso}"),
        http.post(f"{j}/results/buckets", {"timestamp": at}), http.post(f"{j}/results/buckets", {"timestamp": iso}),
    ):  # fmt: skip
        assert answer.ok() == {"count": 1, "buckets": [bucket]}
    assert http.get(f"{j}/results/buckets/{at + 1}").error == (
        404, "resource_not_found_exception", "Could not find requested buckets"
    )  # fmt: skip


@pytest.mark.parametrize("name", ["start", "end", "from", "size", "anomaly_score"])
def test_one_bucket_cannot_be_filtered(http, j, name):
    at = listed(http, j, "buckets")[3]["timestamp"]
    reason = f"Param [{name}] is incompatible with [timestamp]"
    assert http.get(f"{j}/results/buckets/{at}?{name}=1").error == (400, ILLEGAL, reason)
    assert http.get(f"{j}/results/buckets/{at}", expand=True, exclude_interim=True).status == 200


def test_expanded_buckets_hold_their_records_the_least_probable_first(http, j):
    records = listed(http, j, "records")
    for bucket in listed(http, j, "buckets", expand=True):
        own = [each for each in records if each["timestamp"] == bucket["timestamp"]]
        assert ("records" in bucket) == bool(own)
        if own:
            assert list(bucket)[5:7] == ["records", "event_count"]
            assert sorted(map(json.dumps, bucket["records"])) == sorted(map(json.dumps, own))
            chances = [each["probability"] for each in bucket["records"]]
            assert chances == sorted(chances)


# ------------------------------------------------------------------------------------- categories, overall buckets


def test_one_category_is_found_by_its_id_and_an_unknown_one_is_an_empty_list(http, population):
    assert http.get(f"{population}/results/categories/1").ok()["count"] == 1
    assert http.post(f"{population}/results/categories/99").ok() == {"count": 0, "categories": []}
    reason = "Param [from, size] is incompatible with [category_id]"
    for query in ("from=0", "size=1"):
        assert http.get(f"{population}/results/categories/1?{query}").error == (400, ILLEGAL, reason)
    assert http.get(f"{population}/results/categories/x").error == (400, ILLEGAL, 'For input string: "x"')


def test_a_job_without_results_has_empty_lists(http):
    job_id = http.job()
    for kind in ("buckets", "records", "influencers", "categories", "overall_buckets"):
        assert http.get(f"{job_id}/results/{kind}").ok() == {"count": 0, kind: []}


def test_overall_buckets_average_the_highest_scores_of_several_jobs(http, j, population):
    answer = http.post(f"{j},{population}/results/overall_buckets", {"top_n": 2, "bucket_span": "2h"}).ok()
    assert answer["count"] == len(answer["overall_buckets"])
    assert {each["bucket_span"] for each in answer["overall_buckets"]} == {7200}
    for parameters, reason in (
        ({"top_n": 0}, "[topN] parameter must be positive, found [0]"),
        ({"bucket_span": "30m"},
         "[bucket_span] parameter has to be at least the maximum bucket_span [3600s] of the jobs"),
    ):  # fmt: skip
        found = http.post(f"{j},{population}/results/overall_buckets", parameters)
        assert found.error == (400, ILLEGAL, reason)
    assert http.get("nothing-*/results/overall_buckets").ok() == {"count": 0, "overall_buckets": []}
    assert http.get("nothing-*/results/overall_buckets", allow_no_jobs=False).status == 404


def test_results_are_read_in_every_state_of_a_job(http):
    job_id = http.job(is_open=True)
    http.post_at(job_id, FIRST, FIRST + 3600).ok(202)
    for change in ("_flush", "_close", "_open"):
        http.post(f"{job_id}/{change}").ok()
        assert http.get(f"{job_id}/results/buckets").ok()["count"] == 1
