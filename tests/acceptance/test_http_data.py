"""Post data, flush and close of several jobs, through HTTP: sections 2.4 to 2.7 of the contract."""

import json

import pytest

from marigraph.verify import verify_job
from tests.support.http import CONFIG, FIRST

ILLEGAL, PARSE, STATUS = "illegal_argument_exception", "parse_exception", "status_exception"
HOUR_MS = 3_600_000
FAREQUOTE = (
    '{"airline":"AAL","responsetime":"132.2046","sourcetype":"farequote","time":"1403481600"}\n'
    '{"airline":"JZA","responsetime":"990.4628","sourcetype":"farequote","time":"1403481700"}\n'
)
BY_AIRLINE = {
    "analysis_config": {
        "bucket_span": "1h",
        "detectors": [{"function": "metric", "field_name": "responsetime", "by_field_name": "airline"}],
    }
}


def buckets(http, job_id):
    """Start in hours after the first record, events, and whether interim, of every bucket."""
    found = http.get(f"{job_id}/results/buckets", size=1000).ok()["buckets"]
    return [(each["timestamp"] // HOUR_MS - FIRST // 3600, each["event_count"], each["is_interim"]) for each in found]


def flush(http, job_id, **parameters):
    return http.post(f"{job_id}/_flush", parameters).ok()


# ------------------------------------------------------------------------------------------------------------- post


def test_a_post_answers_the_counts_of_this_upload_whole(http):
    job_id = http.job(is_open=True, **BY_AIRLINE)
    answer = http.post(f"{job_id}/_data", FAREQUOTE)
    counts = {
        "job_id": job_id,
        "processed_record_count": 2, "processed_field_count": 4, "input_bytes": 178, "input_field_count": 6,
        "invalid_date_count": 0, "missing_field_count": 0, "out_of_order_timestamp_count": 0, "empty_bucket_count": 0,
        "sparse_bucket_count": 0, "bucket_count": 0, "earliest_record_timestamp": 1403481600000,
        "latest_record_timestamp": 1403481700000, "last_data_time": answer.body["last_data_time"],
        "input_record_count": 2,
    }  # fmt: skip
    assert answer.status == 202
    assert json.dumps(answer.body) == json.dumps(counts)
    assert json.dumps(http.stats(job_id)["data_counts"]) == json.dumps(counts)
    again = http.post_at(job_id, FIRST + 7200).ok(202)
    assert again["processed_record_count"] == 1
    assert http.stats(job_id)["data_counts"]["processed_record_count"] == 3


@pytest.mark.parametrize(
    "body",
    [
        '{"time": 1403481600, "v": 1}\n{"time": 1403481601, "v": 2}\n',
        '{"time": 1403481600, "v": 1}{"time": 1403481601, "v": 2}',
        '{"time": 1403481600, "v": 1} \t {"time": 1403481601, "v": 2}',
        '[{"time": 1403481600, "v": 1}, {"time": 1403481601, "v": 2}]',
        '[\n{"time": 1403481600,\n "v": 1},\n{"time": 1403481601, "v": 2}\n]\n',
        '{"time": "1403481600", "v": "1"}\r\n{"time": 1403481601.75, "v": null}\r\n',
    ],
)
@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/x-ndjson", "application/vnd.elasticsearch+json; compatible-with=9"],
)
def test_records_come_in_every_layout_that_clients_send(http, body, content_type):
    job_id = http.job(is_open=True)
    counts = http.post(f"{job_id}/_data", body, {"Content-Type": content_type}).ok(202)
    assert (counts["processed_record_count"], counts["input_field_count"]) == (2, 2)


@pytest.mark.parametrize("body", ["", " \n", "[]"])
def test_a_post_without_records_counts_nothing(http, body):
    job_id = http.job(is_open=True)
    counts = http.post(f"{job_id}/_data", body).ok(202)
    assert counts["input_record_count"] == 0
    assert http.stats(job_id)["data_counts"]["input_record_count"] == 0


def test_csv_goes_into_jobs_that_say_so(http):
    job_id = http.job(
        data_description={"format": "delimited", "field_delimiter": ",", "time_format": "epoch"}, is_open=True
    )
    counts = http.post(f"{job_id}/_data", "time,v\n1403481600,1\n1403481601,2\n", {"Content-Type": "text/csv"}).ok(202)
    assert (counts["processed_record_count"], counts["input_field_count"]) == (2, 2)


def test_each_counter_counts_what_the_contract_says(http):
    job_id = http.job(is_open=True, **BY_AIRLINE)
    records = [
        {"time": FIRST, "airline": "A", "responsetime": 1, "deep": {"x": 1, "y": {"z": 2}}, "list": [1, 2]},
        {"time": FIRST + 10, "airline": "A"},  # one field missing
        {"time": FIRST + 10, "airline": "", "responsetime": None},  # none missing
        {"time": FIRST + 9, "airline": "A", "responsetime": 1},  # out of order by a second
        {"time": "nonsense", "airline": "A", "responsetime": 1},  # no date
        {"time": FIRST + 3 * 3600, "airline": "A", "responsetime": 1},  # two empty buckets before it
    ]
    counts = http.post(f"{job_id}/_data", "".join(map(json.dumps, records))).ok(202)
    expected = {
        "processed_record_count": 4, "processed_field_count": 4 * 2 - 1, "input_field_count": 5 + 1 + 2 + 2 + 2 + 2,
        "invalid_date_count": 1, "missing_field_count": 1, "out_of_order_timestamp_count": 1, "empty_bucket_count": 2,
        "sparse_bucket_count": 0, "bucket_count": 3, "input_record_count": 6,
    }  # fmt: skip
    assert {name: counts[name] for name in expected} == expected


def test_a_hundred_malformed_records_end_an_upload_and_nothing_of_it_is_kept(http):
    job_id = http.job(is_open=True)
    for count, status in ((99, 202), (100, 400)):
        answer = http.post(
            f"{job_id}/_data", '{"time": 1403481600}\n' + '{"time": \n'[:-2] + "}\n" + "{x}\n" * (count - 1)
        )
        assert answer.status == status
    assert answer.error == (400, PARSE, "The input JSON data is malformed.")
    assert http.stats(job_id)["data_counts"]["input_record_count"] == 1


@pytest.mark.parametrize("name", ["reset_start", "reset_end"])
def test_a_reset_time_that_is_none_is_refused(http, name):
    job_id = http.job(is_open=True)
    assert http.post_at(job_id, FIRST, **{"reset_start": FIRST, name: "not_a_date"}).error == (
        400, PARSE,
        f"Query param [{name}] with value [not_a_date] cannot be parsed as a date or converted to a number (epoch).",
    )  # fmt: skip
    assert http.stats(job_id)["data_counts"]["input_record_count"] == 0


def test_a_reset_that_ends_before_it_starts_is_refused(http):
    job_id = http.job(is_open=True)
    assert http.post_at(job_id, FIRST, reset_start=FIRST, reset_end=FIRST - 1).error == (
        400, ILLEGAL, f"Invalid time range: end time '{FIRST - 1}' is earlier than start time '{FIRST}'."
    )  # fmt: skip
    assert http.post_at(job_id, FIRST, reset_end=FIRST).ok(202)["processed_record_count"] == 1  # ignored alone


LATE = {"analysis_config": {"bucket_span": "1h", "latency": "3h", "detectors": [{"function": "count"}]}}


@pytest.mark.parametrize(
    ("reset", "expected"),
    [
        ({}, [4, 4, 3, 2]),
        ({"reset_start": FIRST + 3600, "reset_end": FIRST + 2 * 3600}, [4, 1, 3, 2]),
        ({"reset_start": FIRST + 4000, "reset_end": FIRST + 4001}, [4, 1, 3, 2]),
        ({"reset_start": FIRST + 4000}, [4, 1, 3, 2]),  # one second
        ({"reset_start": FIRST + 4000, "reset_end": FIRST + 7201}, [4, 1, 0, 2]),
        ({"reset_start": FIRST - 100, "reset_end": FIRST + 50}, [0, 4, 3, 2]),
        ({"reset_start": "2014-06-23T01:00:00Z", "reset_end": "2014-06-23T01:30:00Z"}, [4, 1, 3, 2]),
        ({"reset_end": FIRST + 3600}, [4, 4, 3, 2]),  # ignored without a start
    ],
)
def test_buckets_that_are_reset_are_empty_before_the_records_are_taken(http, reset, expected):
    job_id = http.job(is_open=True, **LATE)
    hours = [0] * 4 + [1] * 3 + [2] * 3 + [3] * 2
    http.post_at(job_id, *(FIRST + hour * 3600 + at for at, hour in enumerate(hours))).ok(202)
    http.post_at(job_id, FIRST + 3600 + 1800, **reset).ok(202)
    http.post(f"{job_id}/_close").ok()
    http.post(f"{job_id}/_open").ok()
    flush(http, job_id, advance_time=str(FIRST + 8 * 3600))
    assert [events for _hour, events, _interim in buckets(http, job_id)][:4] == expected
    report = verify_job(http.server, job_id)
    assert report.holds, report.resource()


def test_a_reset_touches_no_bucket_that_is_final_and_nothing_without_latency(http):
    job_id = http.job(is_open=True, **LATE)
    http.post_at(job_id, FIRST, FIRST + 1, FIRST + 5 * 3600, reset_start=0, reset_end=FIRST).ok(202)
    http.post_at(job_id, FIRST + 5 * 3600, reset_start=FIRST, reset_end=FIRST + 4 * 3600).ok(202)
    flush(http, job_id)
    assert buckets(http, job_id) == [(0, 2, False), (1, 0, False)]
    job_id = http.job(is_open=True)
    http.post_at(job_id, FIRST, FIRST + 1).ok(202)
    http.post_at(job_id, FIRST + 2, reset_start=FIRST, reset_end=FIRST + 3600).ok(202)
    flush(http, job_id, advance_time=str(FIRST + 3600))
    assert buckets(http, job_id) == [(0, 3, False)]


def test_a_reset_works_without_records_and_over_several_blocks(http):
    job_id = http.job(is_open=True, **LATE)
    http.post_at(job_id, FIRST, FIRST + 1).ok(202)
    http.post(f"{job_id}/_data", "", reset_start=FIRST).ok(202)
    long = "x" * 600_000  # three blocks of a megabyte each
    rows = "".join(f'{{"time": {FIRST + at}, "v": "{long}"}}\n' for at in range(5))
    http.post(f"{job_id}/_data", rows, reset_start=FIRST).ok(202)
    flush(http, job_id, advance_time=str(FIRST + 8 * 3600))
    assert buckets(http, job_id)[0] == (0, 5, False)


# ------------------------------------------------------------------------------------------------------------ flush


@pytest.fixture
def two(http):
    """A job with records at the start of an hour and 100 seconds later."""
    job_id = http.job(is_open=True)
    http.post_at(job_id, FIRST, FIRST + 100).ok(202)
    return job_id


def test_a_flush_of_a_job_without_data_tells_no_end(http):
    job_id = http.job(is_open=True)
    for body in (None, {}, {"calc_interim": True}):
        assert http.post(f"{job_id}/_flush", body).ok() == {"flushed": True}
    assert buckets(http, job_id) == []


def test_a_flush_tells_the_start_of_the_first_bucket_before_any_is_final(http, two):
    answer = http.post(f"{two}/_flush").ok()
    assert json.dumps(answer) == json.dumps({"flushed": True, "last_finalized_bucket_end": 1403481600000})


def test_skipping_goes_to_the_next_bucket_without_results(http, two):
    assert flush(http, two, skip_time="1403488700")["last_finalized_bucket_end"] == 1403488800000
    assert buckets(http, two) == []


@pytest.mark.parametrize("time", [str(FIRST + 3700), FIRST + 3700, str((FIRST + 3700) * 1000), "2014-06-23T01:01:40Z"])
def test_advancing_finalizes_the_buckets_before_a_time_in_every_way_to_write_it(http, two, time):
    assert flush(http, two, advance_time=time)["last_finalized_bucket_end"] == 1403485200000
    assert buckets(http, two) == [(0, 2, False)]


def test_parameters_of_a_flush_may_stand_in_the_query(http, two):
    http.post_at(two, FIRST + 3600).ok(202)
    http.post(f"{two}/_flush", calc_interim=True, start=FIRST, end=FIRST + 7200).ok()
    assert buckets(http, two) == [(0, 2, False), (1, 1, True)]


def test_interim_results_go_with_the_next_bucket_and_can_be_left_out(http, two):
    http.post_at(two, FIRST + 3600).ok(202)
    flush(http, two, calc_interim=True)
    assert buckets(http, two) == [(0, 2, False), (1, 1, True)]
    assert http.get(f"{two}/results/buckets", exclude_interim=True).ok()["count"] == 1
    http.post_at(two, FIRST + 7200).ok(202)
    flush(http, two)
    assert buckets(http, two) == [(0, 2, False), (1, 1, False)]


FLUSHES_REFUSED = [
    ({"start": "1403481600"}, ILLEGAL, "Invalid flush parameters: unexpected 'start'."),
    ({"end": "1403481600"}, ILLEGAL, "Invalid flush parameters: unexpected 'end'."),
    ({"calc_interim": True, "end": "1403481600"}, ILLEGAL,
     "Invalid flush parameters: 'start' has not been specified."),
    ({"calc_interim": True, "start": "1403481600", "end": "1403481599"}, ILLEGAL,
     "Invalid time range: end time '1403481599' is earlier than start time '1403481600'."),
    ({"advance_time": "1", "skip_time": "2"}, STATUS, "advance_time [1000] must be later than skip_time [2000]"),
    ({"advance_time": "2", "skip_time": "2"}, STATUS, "advance_time [2000] must be later than skip_time [2000]"),
    *(({"calc_interim": True, "start": "0", name: "never"}, PARSE,
       f"Query param [{name}] with value [never] cannot be parsed as a date or converted to a number (epoch).")
      for name in ("start", "end", "advance_time", "skip_time")),
]  # fmt: skip


@pytest.mark.parametrize(("parameters", "kind", "reason"), FLUSHES_REFUSED)
def test_a_flush_with_wrong_parameters_is_refused_and_does_nothing(http, two, parameters, kind, reason):
    flush(http, two)
    version = http.server.jobs.load(two).version
    assert http.post(f"{two}/_flush", parameters).error == (400, kind, reason)
    assert http.post(f"{two}/_flush", **parameters).error == (400, kind, reason)
    assert http.server.jobs.load(two).version == version


# ----------------------------------------------------------------------------------------------------- open, close


def test_opening_answers_where_the_job_runs(http):
    answer = http.post(f"{http.job()}/_open").ok()
    assert json.dumps(answer) == json.dumps({"opened": True, "node": http.server.node_id})


@pytest.mark.parametrize("name", ["timeout", "open_timeout"])
def test_opening_takes_a_timeout_under_both_names_in_body_and_query(http, name):
    http.post(f"{http.job()}/_open", {name: "10s"}).ok()
    http.post(f"{http.job()}/_open", **{name: "10s"}).ok()
    status, kind, _ = http.post(f"{http.job()}/_open", {name: "soon"}).error
    assert (status, kind) == (400, PARSE)


def test_closing_takes_lists_groups_patterns_and_all(http):
    first, second, third = (http.job(groups=["closers"], is_open=True) for _ in range(3))
    other = http.job("closer-x", is_open=True)
    assert http.post(f"{first},{second}/_close").ok() == {"closed": True}
    assert [http.state(each) for each in (first, second, third, other)] == ["closed", "closed", "opened", "opened"]
    http.post("closers/_close").ok()
    http.post("closer-*/_close", {"timeout": "30s", "force": False, "allow_no_match": True}).ok()
    assert [http.state(each) for each in (third, other)] == ["closed", "closed"]
    assert http.post("_all/_close").ok() == {"closed": True}
    assert http.post("_all/_close").ok() == {"closed": True}


def test_closing_one_that_is_not_there_closes_none(http):
    job_id = http.job(is_open=True)
    assert http.post(f"{job_id},nope/_close").error == (
        404, "resource_not_found_exception", "No known job with id 'nope'"
    )  # fmt: skip
    assert http.state(job_id) == "opened"
    assert http.post("nothing-*/_close").ok() == {"closed": True}
    assert http.post("nothing-*/_close", allow_no_jobs=False).status == 404
    assert http.post("nothing-*/_close", {"allow_no_match": False}).status == 404


def test_closing_a_job_with_data_stores_a_snapshot_and_without_data_none(http, two):
    http.post(f"{two}/_close").ok()
    assert http.get(f"{two}/model_snapshots").ok()["count"] == 1
    empty = http.job(is_open=True)
    http.post(f"{empty}/_close").ok()
    assert http.get(f"{empty}/model_snapshots").ok()["count"] == 0


def test_the_json_of_5_4_is_understood(http):
    config = {**CONFIG, "analysis_config": {**CONFIG["analysis_config"], "overlapping_buckets": True,
                                            "result_finalization_window": 2, "multiple_bucket_spans": [],
                                            "use_per_partition_normalization": False}}  # fmt: skip
    config["analysis_config"]["detectors"] = [{"function": "count", "detector_rules": []}]
    job_id = http.job(**config)
    assert "overlapping_buckets" not in http.get(job_id).ok()["jobs"][0]["analysis_config"]
    http.post(f"{job_id}/_open", {"ignore_downtime": True}).ok()
