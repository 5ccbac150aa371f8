"""Where versions and sources of the API differ: one test per row of sections 9 and 10 of the contract.

The later behaviour is taken, on both prefixes. Rows about datafeeds are tested with the datafeeds.
"""

import pytest

from marigraph.api.endpoints import BASES
from tests.support.http import CONFIG, FIRST
from tests.support.jobs import synthetic, to_ndjson

HOUR_MS = 3_600_000


@pytest.fixture(params=BASES)
def api(http, request):
    """Calls jobs below either prefix."""

    def call(method, path, body=None, **query):
        return http(method, f"{request.param}/anomaly_detectors/{path}", body, **query)

    call.job = http.job
    return call


@pytest.fixture(scope="module")
def scored(http):
    """A job with results of all kinds, only to be read."""
    data = synthetic(2_000)
    job_id = http.job(**data.body, is_open=True)
    http.post(f"{job_id}/_data", to_ndjson(data)).ok(202)
    http.post(f"{job_id}/_flush").ok()
    return job_id


# -------------------------------------------------------------------------------------------------------- section 9


def test_closing_a_closed_job_is_no_error(api):
    job_id = api.job()
    assert api("POST", f"{job_id}/_close").ok() == {"closed": True}
    assert api("POST", f"{job_id}/_close", force=True).ok() == {"closed": True}


def test_post_and_flush_on_an_unknown_job_are_not_found(api):
    for path in ("nope/_data", "nope/_flush"):
        assert api("POST", path).error == (404, "resource_not_found_exception", "No known job with id 'nope'")


def test_wildcards_and_lists_are_understood(api):
    first, second = api.job(), api.job()
    assert api("GET", f"{first},{second}").ok()["count"] == 2
    assert api("GET", f"{first[:-1]}*").ok()["count"] >= 1
    assert api("POST", f"{first},{second}/_close").ok() == {"closed": True}


def test_a_flush_tells_the_end_of_the_last_final_bucket(api):
    job_id = api.job(is_open=True)
    api("POST", f"{job_id}/_data", f'{{"time": {FIRST}}}').ok(202)
    assert list(api("POST", f"{job_id}/_flush").ok()) == ["flushed", "last_finalized_bucket_end"]


def test_opening_tells_the_node(api):
    assert list(api("POST", f"{api.job()}/_open").ok()) == ["opened", "node"]


def test_reverting_answers_the_model_alone(api):
    job_id = api.job(is_open=True)
    api("POST", f"{job_id}/_data", f'{{"time": {FIRST}}}').ok(202)
    api("POST", f"{job_id}/_close").ok()
    snapshot_id = api("GET", job_id).ok()["jobs"][0]["model_snapshot_id"]
    assert list(api("POST", f"{job_id}/model_snapshots/{snapshot_id}/_revert").ok()) == ["model"]


def test_fields_of_the_first_release_are_gone(api, scored):
    assert "detector_rules" not in api("GET", scored).ok()["jobs"][0]["analysis_config"]["detectors"][0]
    for kind in ("buckets", "records", "influencers"):
        found = api("GET", f"{scored}/results/{kind}").ok()[kind]
        assert found
        assert not {"record_count", "sequence_num", "partition_scores", "sequence"} & set().union(*found)


def test_the_memory_limit_is_filled_in_as_text(api):
    limits = api("GET", api.job()).ok()["jobs"][0]["analysis_limits"]
    assert limits["model_memory_limit"] == "1024mb"


def test_detectors_have_their_index_whatever_was_given(api):
    detectors = [{"function": "count", "detector_index": 9}, {"function": "high_count"}]
    job_id = api.job(analysis_config={"detectors": detectors})
    shown = api("GET", job_id).ok()["jobs"][0]["analysis_config"]["detectors"]
    assert [each["detector_index"] for each in shown] == [0, 1]


def test_detectors_that_are_equal_are_refused_and_so_is_the_time_field(api):
    for analysis in (
        {"detectors": [{"function": "count"}] * 2},
        {"detectors": [{"function": "count"}], "influencers": ["time"]},
    ):
        assert api("PUT", "refused", {**CONFIG, "analysis_config": analysis}).status == 400


def test_an_open_job_is_deleted_by_force(api):
    job_id = api.job(is_open=True)
    assert api("DELETE", job_id).status == 409
    assert api("DELETE", job_id, force=True).ok() == {"acknowledged": True}


def test_buckets_are_sorted_as_asked(api):
    job_id = api.job(is_open=True)
    api("POST", f"{job_id}/_data", "".join(f'{{"time": {FIRST + hour * 3600}}}' for hour in range(4))).ok(202)
    api("POST", f"{job_id}/_flush").ok()
    found = api("GET", f"{job_id}/results/buckets", sort="timestamp", desc=True).ok()["buckets"]
    assert [each["timestamp"] for each in found] == [(FIRST + hour * 3600) * 1000 for hour in (2, 1, 0)]


def test_a_reopened_job_has_no_finished_time(api):
    job_id = api.job(is_open=True)
    api("POST", f"{job_id}/_close").ok()
    assert "finished_time" in api("GET", job_id).ok()["jobs"][0]
    api("POST", f"{job_id}/_open").ok()
    assert "finished_time" not in api("GET", job_id).ok()["jobs"][0]


def test_jobs_have_a_version_and_groups_and_may_match_nothing(api):
    job = api("GET", api.job(groups=["deltas"])).ok()["jobs"][0]
    assert (job["job_version"], job["groups"]) == ("7.9.0", ["deltas"])
    assert api("GET", "nothing-*", allow_no_jobs=True).ok()["count"] == 0


# ------------------------------------------------------------------------------------------------------- section 10


def test_1_times_are_milliseconds_unless_told_otherwise(api):
    job_id = api.job(data_description={}, is_open=True)
    counts = api("POST", f"{job_id}/_data", '{"time": 1403481600000}').ok(202)
    assert counts["latest_record_timestamp"] == 1403481600000
    assert api("GET", job_id).ok()["jobs"][0]["data_description"]["time_format"] == "epoch_ms"


def test_2_an_open_job_is_opened(api):
    assert api("GET", f"{api.job(is_open=True)}/_stats").ok()["jobs"][0]["state"] == "opened"


def test_3_formats_are_those_of_the_server(api):
    for name, status in (("xcontent", 200), ("delimited", 200), ("json", 400)):
        assert api("POST", "_validate", {**CONFIG, "data_description": {"format": name}}).status == status


def test_4_the_timeout_of_open_has_two_names(api):
    for name in ("timeout", "open_timeout"):
        api("POST", f"{api.job()}/_open", {name: "1m"}).ok()


def test_6_reset_times_are_read_from_the_query(api):
    job_id = api.job(is_open=True)
    assert api("POST", f"{job_id}/_data", f'{{"time": {FIRST}}}', reset_start=FIRST).status == 202


def test_7_filters_of_categories_are_updated_at_the_top(api):
    analysis = {"detectors": [{"function": "count", "by_field_name": "mlcategory"}], "categorization_field_name": "m"}
    job_id = api.job(analysis_config=analysis)
    answer = api("POST", f"{job_id}/_update", {"categorization_filters": ["x"]}).ok()
    assert answer["analysis_config"]["categorization_filters"] == ["x"]
    assert api("POST", f"{job_id}/_update", {"analysis_config": {"categorization_filters": ["x"]}}).status == 400


def test_8_a_least_score_is_included(api, scored):
    scores = [each["record_score"] for each in api("GET", f"{scored}/results/records").ok()["records"]]
    found = api("GET", f"{scored}/results/records", record_score=scores[3]).ok()["records"]
    assert [each["record_score"] for each in found] == scores[:4]


def test_9_records_come_by_score_also_where_a_body_is_sent(api, scored):
    for answer in (
        api("GET", f"{scored}/results/records"),
        api("POST", f"{scored}/results/records", {"record_score": 0}),
    ):
        scores = [each["record_score"] for each in answer.ok()["records"]]
        assert scores == sorted(scores, reverse=True)


def test_10_and_11_spans_are_whole_seconds_and_times_milliseconds(api, scored):
    for kind in ("buckets", "records", "influencers"):
        for each in api("GET", f"{scored}/results/{kind}").ok()[kind]:
            assert each["bucket_span"] == 900
            assert each["timestamp"] % 900_000 == 0


def test_12_data_do_not_open_a_closed_job(api):
    job_id = api.job()
    assert api("POST", f"{job_id}/_data", f'{{"time": {FIRST}}}').status == 409
    assert api("GET", f"{job_id}/_stats").ok()["jobs"][0]["state"] == "closed"


def test_14_sums_without_nulls_may_have_a_population(api):
    body = {"function": "non_null_sum", "field_name": "v", "over_field_name": "o"}
    assert api("POST", "_validate/detector", body).ok() == {"acknowledged": True}


@pytest.mark.parametrize("kind", ["buckets", "records", "influencers", "categories"])
def test_15_results_are_read_by_get_and_post(api, scored, kind):
    assert api("GET", f"{scored}/results/{kind}").text == api("POST", f"{scored}/results/{kind}").text
