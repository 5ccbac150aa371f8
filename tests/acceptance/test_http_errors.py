"""The error table of the contract (0.2) and what is the same for all calls: names, parameters, bodies, types, paths."""

import gzip
import json
import zlib

import pytest

from marigraph.api.endpoints import BASES
from tests.support.http import CONFIG, FIRST

STATUS, ILLEGAL, PARSE = "status_exception", "illegal_argument_exception", "parse_exception"
MISSING, EXISTS, CONTENT = (
    "resource_not_found_exception", "resource_already_exists_exception", "x_content_parse_exception"
)  # fmt: skip
NO_JOB = "No known job with id 'nope'"


@pytest.fixture(scope="module")
def j(http):
    return http.job("errors-job", is_open=True)


# One row of the table each: call, status, type, reason.
ROWS = {
    "unknown job": (("GET", "nope"), 404, MISSING, NO_JOB),
    "unknown bucket": (
        ("GET", "errors-job/results/buckets/0"), 404, MISSING, "Could not find requested buckets"
    ),
    "unknown snapshot": (
        ("POST", "errors-job/model_snapshots/s/_update", {"retain": True}),
        404, MISSING, "No model snapshot with id [s] exists for job [errors-job]",
    ),
    "id taken": (
        ("PUT", "errors-job", CONFIG),
        400, EXISTS, "The job cannot be created with the Id 'errors-job'. The Id is already used.",
    ),
    "group named like a job": (
        ("PUT", "errors-other", {**CONFIG, "groups": ["errors-job"]}),
        400, EXISTS,
        "job and group names must be unique but job [errors-job] and group [errors-job] have the same name",
    ),
    "state conflict": (
        ("POST", "errors-job/_open"),
        409, STATUS, "Cannot open job [errors-job] because it has already been opened",
    ),
    "validation": (
        ("POST", "_validate/detector", {"function": "mean", "by_field_name": "airline"}),
        400, STATUS, "field_name must be set when the 'mean' function is used",
    ),
    "illegal argument": (
        ("GET", "errors-job/results/records?from=-1"), 400, ILLEGAL, "Parameter [from] cannot be < 0"
    ),
    "date that does not parse": (
        ("POST", "errors-job/_flush", {"advance_time": "soon"}),
        400, PARSE,
        "Query param [advance_time] with value [soon] cannot be parsed as a date or converted to a number (epoch).",
    ),
    "missing body": (("PUT", "errors-other"), 400, PARSE, "request body is required"),
    "unknown body field": (
        ("PUT", "errors-other", {**CONFIG, "foo": 1}), 400, CONTENT, "[1:1] [job_details] unknown field [foo]"
    ),
    "unknown body parameter": (
        ("POST", "errors-job/_flush", {"foo": 1}), 400, CONTENT, "[1:2] [flush_job] unknown field [foo]"
    ),
    "not in this version": (
        ("POST", "errors-job/_forecast"),
        501, STATUS, "forecasts are not available in this version of Marigraph",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_each_kind_of_refusal_has_its_status_type_and_reason(http, j, name):
    call, *expected = ROWS[name]
    assert http(*call).error == tuple(expected)


def test_both_prefixes_give_the_same_answers(http, j):
    for path in ("/anomaly_detectors", "/anomaly_detectors/nope", "/anomaly_detectors/errors-job", "/info"):
        first, second = (http.get(base + path) for base in BASES)
        assert (first.status, first.text) == (second.status, second.text)


def test_a_trailing_slash_is_accepted(http, j):
    assert http.get("errors-job/").text == http.get("errors-job").text
    assert http.get("/_ml/anomaly_detectors/").ok()["count"] >= 1


# ---------------------------------------------------------------------------------------------------- plain errors


def test_an_unknown_path_is_answered_400_with_a_plain_text(http):
    answer = http.get("/_ml/nowhere", a=1)
    assert answer.status == 400
    assert answer.text == json.dumps(
        {"error": "no handler found for uri [/_ml/nowhere?a=1] and method [GET]", "status": 400}, separators=(",", ":")
    )


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "PUT"])
def test_a_wrong_method_is_answered_405_and_told_which_would_do(http, method):
    answer = http(method, "errors-job/_open")
    assert answer.status == 405
    assert answer.headers["Allow"] == "POST"
    uri = "/_ml/anomaly_detectors/errors-job/_open"
    reason = f"Incorrect HTTP method for uri [{uri}] and method [{method}], allowed: [POST]"
    assert answer.body == {"error": reason, "status": 405}


def test_of_a_path_with_several_methods_all_are_named(http):
    answer = http("PATCH", "errors-job")
    assert answer.status == 405
    assert answer.headers["Allow"] == "DELETE,GET,PUT"


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"Content-Type": "text/plain"}, "Content-Type header [text/plain] is not supported"),
        ({"Content-Type": ""}, "Content-Type header [] is not supported"),
        ({"Content-Type": "application/x-www-form-urlencoded"},
         "Content-Type header [application/x-www-form-urlencoded] is not supported"),
    ],
)  # fmt: skip
def test_a_body_of_a_type_that_is_not_understood_is_refused(http, headers, reason):
    answer = http.put("errors-other", CONFIG, headers)
    assert answer.status == 406
    assert answer.body == {"error": reason, "status": 406}
    assert http.get("errors-other").status == 404


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=UTF-8",
        "Application/JSON",
        "application/vnd.elasticsearch+json; compatible-with=8",
        "application/vnd.elasticsearch+json; compatible-with=9",
        "application/x-ndjson",
        "application/vnd.elasticsearch+x-ndjson; compatible-with=8",
    ],
)
def test_the_types_that_clients_send_are_understood(http, j, content_type):
    headers = {"Content-Type": content_type}
    assert http.post("_validate", CONFIG, headers).ok() == {"acknowledged": True}
    assert http.post(f"{j}/_flush", b"", headers).ok()["flushed"] is True


# ------------------------------------------------------------------------------------------------------ parameters


def test_an_unknown_parameter_is_refused_and_the_nearest_known_one_is_named(http, j):
    uri = f"/_ml/anomaly_detectors/{j}"
    assert http.get(j, allow_no_job=True).error == (
        400, ILLEGAL,
        f"request [{uri}] contains unrecognized parameter: "
        "[allow_no_job] -> did you mean any of [allow_no_jobs, allow_no_match]?",
    )  # fmt: skip
    assert http.get(j, zzzz=1).error == (400, ILLEGAL, f"request [{uri}] contains unrecognized parameter: [zzzz]")
    reason = f"request [{uri}] contains unrecognized parameters: [zzzz], [qqqq]"
    assert http.get(j, zzzz=1, qqqq=1).error == (400, ILLEGAL, reason)


@pytest.mark.parametrize("name", ["human", "pretty", "allow_no_match"])
def test_a_boolean_is_true_false_or_bare(http, j, name):
    assert http.get(f"{j}?{name}").status == 200
    assert http.get(j, **{name: "false"}).status == 200
    assert http.get(j, **{name: "yes"}).error == (
        400, ILLEGAL, "Failed to parse value [yes] as only [true] or [false] are allowed."
    )  # fmt: skip


def test_a_call_with_a_wrong_common_parameter_does_nothing(http):
    assert http.put("errors-other", CONFIG, human="maybe").status == 400
    assert http.get("errors-other").status == 404


@pytest.mark.parametrize("text", ["x", "1.5", "99999999999", ""])
def test_a_number_that_is_none_is_refused(http, j, text):
    assert http.get(f"{j}/results/buckets", size=text).error == (
        400, ILLEGAL, f"Failed to parse int parameter [size] with value [{text}]"
    )  # fmt: skip


def test_the_body_goes_before_the_query_and_the_path_before_both(http, j):
    http.post_at(j, FIRST, FIRST + 7200).ok(202)
    http.post(f"{j}/_flush").ok()
    found = http.post(f"{j}/results/buckets", {"sort": "timestamp", "desc": False}, desc=True, size=1).ok()
    assert [bucket["timestamp"] for bucket in found["buckets"]] == [FIRST * 1000]
    found = http.post(f"{j}/results/buckets/{FIRST * 1000}", {"timestamp": "0"}).ok()
    assert found["count"] == 1


def test_what_stands_in_the_path_may_be_repeated_in_the_body(http):
    job_id = http.job()
    for call in ("_open", "_flush", "results/buckets", "results/categories", "model_snapshots", "_close"):
        assert http.post(f"{job_id}/{call}", {"job_id": job_id}).status == 200, call
    assert http.post(f"{job_id}/results/categories", {"category_id": 5}).ok() == {"count": 0, "categories": []}


def test_a_body_may_stand_in_the_query_of_a_get(http, j):
    source = json.dumps({"page": {"size": 1}})
    found = http.get(f"{j}/results/buckets", source=source, source_content_type="application/json").ok()
    assert len(found["buckets"]) == 1
    answer = http.get(f"{j}/results/buckets", source='{"foo": 1}', source_content_type="application/json")
    assert answer.error == (400, CONTENT, "[1:2] [get_buckets] unknown field [foo]")


@pytest.mark.parametrize("path", ["errors-job", "errors-job/_stats"])
def test_a_body_where_none_belongs_is_refused(http, j, path):
    uri = f"/_ml/anomaly_detectors/{path}"
    answer = http.get(path, {"a": 1})
    assert answer.error == (400, ILLEGAL, f"request [GET {uri}] does not support having a body")


# ---------------------------------------------------------------------------------------------------------- bodies


@pytest.mark.parametrize(
    "body",
    ["{", "[", '{"a" 1}', "nonsense", '{"a": NaN}', '{"a": Infinity}', '{"a": 01}', b"\xff\xfe{}", '"\\ud800"'],
)
def test_a_body_that_is_no_json_is_refused(http, body):
    status, kind, reason = http.put("errors-other", body).error
    assert (status, kind) == (400, PARSE)
    assert reason.startswith("the body is not valid JSON: ")


@pytest.mark.parametrize("body", [[], "text", 5, True])
def test_a_body_that_is_no_object_is_refused(http, j, body):
    for path in ("_validate", "_validate/detector", f"{j}/_update", f"{j}/_flush", f"{j}/results/buckets"):
        status, kind, _reason = http.post(path, json.dumps(body)).error
        assert (status, kind) == (400, CONTENT), path


def test_a_name_that_stands_twice_in_an_object_is_refused(http):
    body = '{"analysis_config": {"bucket_span": "1h", "bucket_span": "2h"}}'
    assert http.put("errors-other", body).error == (400, CONTENT, "[1:1] Duplicate field 'bucket_span'")


@pytest.mark.parametrize("body", ["", " \n\t"])
@pytest.mark.parametrize("path", ["_validate", "_validate/detector", "errors-job/_update"])
def test_an_empty_body_where_one_is_needed_is_refused(http, j, path, body):
    assert http.post(path, body).error == (400, PARSE, "request body is required")


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_packed_bodies_are_unpacked(http, encoding, pack):
    headers = {"Content-Encoding": encoding}
    assert http.post("_validate", pack(json.dumps(CONFIG).encode()), headers).ok() == {"acknowledged": True}


@pytest.mark.parametrize(
    ("encoding", "body", "reason"),
    [
        ("gzip", b"no gzip at all", "the body is not valid gzip"),
        ("gzip", gzip.compress(b"{}", mtime=0)[:-4], "the gzip body ends too early"),
        ("br", b"{}", "Content-Encoding [br] is not supported, use gzip"),
    ],
)
def test_packed_bodies_that_cannot_be_unpacked_are_refused(http, encoding, body, reason):
    status, _kind, found = http.post("_validate", body, {"Content-Encoding": encoding}).error
    assert status == 400
    assert found.startswith(reason)


# --------------------------------------------------------------------------------------------------------- answers


def test_every_answer_names_the_product_and_repeats_the_client_s_id(http, j):
    for path in ("/", j, "nope", "/nowhere", f"{j}/_forecast"):
        answer = http.get(path, None, {"X-Opaque-Id": "mine"})
        assert answer.headers["X-Elastic-Product"] == "Elasticsearch"
        assert answer.headers["Content-Type"] == "application/json"
    assert http.get(j, None, {"X-Opaque-Id": "mine"}).headers["X-Opaque-Id"] == "mine"


def test_the_root_says_who_answers_as_clients_want_to_read_it(http):
    body = http.get("/").ok()
    assert list(body) == ["name", "cluster_name", "cluster_uuid", "version", "tagline"]
    assert body["tagline"] == "You Know, for Search"
    assert (body["version"]["number"], body["version"]["build_flavor"]) == ("7.17.0", "default")
    assert http("HEAD", "/").status == 200


def test_times_get_a_readable_sibling_where_a_human_asks(http, j):
    [job] = http.get(j, human=True).ok()["jobs"]
    names = list(job)
    assert names[names.index("create_time") - 1] == "create_time_string"
    assert job["create_time_string"].endswith("Z")
    http.post_at(j, FIRST).ok(202)
    counts = http.get(f"{j}/_stats?human").ok()["jobs"][0]["data_counts"]
    assert counts["earliest_record_timestamp_string"] == "2014-06-23T00:00:00.000Z"
    assert "create_time_string" not in http.get(j).ok()["jobs"][0]


def test_custom_settings_stay_as_they_are_for_humans_too(http):
    job_id = http.job(custom_settings={"timestamp": 1, "deep": [{"create_time": 2}]})
    [job] = http.get(job_id, human=True).ok()["jobs"]
    assert job["custom_settings"] == {"timestamp": 1, "deep": [{"create_time": 2}]}


def test_a_filter_path_picks_fields_and_pretty_indents(http, j):
    assert http.get(j, filter_path="count,jobs.job_id").ok() == {"count": 1, "jobs": [{"job_id": j}]}
    assert "analysis_config" not in http.get(j, filter_path="-jobs.analysis_config").ok()["jobs"][0]
    assert http.get(j, pretty=True, filter_path="count").text == '{\n  "count": 1\n}\n'


def test_errors_are_filtered_indented_and_traced_like_answers(http):
    assert http.get("nope", filter_path="status").text == '{"status":404}'
    assert http.get("nope", pretty=True, filter_path="status").text == '{\n  "status": 404\n}\n'
    error = http.get("nope", error_trace=True).body["error"]
    assert error.pop("stack_trace").startswith(f"NotFound: {NO_JOB}\n  at queries.match_jobs:")
    assert error == http.get("nope").body["error"]
    assert "/" not in http.get("nope", error_trace=True).body["error"]["stack_trace"]


def test_answers_come_in_no_other_format_than_json(http, j):
    assert http.get(j, format="json").status == 200
    answer = http.get(j, format="yaml")
    assert (answer.status, answer.body) == (406, {"error": "answers come as [json], not as [yaml]", "status": 406})


def agent(*texts):
    return ", ".join(f'299 Elasticsearch-7.17.0-unknown "{text}"' for text in texts)


def deprecated(method, path):
    return f"[{method} /_xpack/ml{path}] is deprecated! Use [{method} /_ml{path}] instead."


RENAMED = "Deprecated field [{}] used, expected [allow_no_match] instead"
WARNED = {
    "the old prefix": (("GET", "/_xpack/ml/info"), [deprecated("GET", "/info")]),
    "the old prefix, by its pattern": (
        ("GET", "/_xpack/ml/anomaly_detectors/errors-job/_stats"),
        [deprecated("GET", "/anomaly_detectors/{job_id}/_stats")],
    ),
    "the old prefix of a refused call": (
        ("POST", "/_xpack/ml/datafeeds/nope/_start"), [deprecated("POST", "/datafeeds/{datafeed_id}/_start")]
    ),
    "the old name in the query": (
        ("GET", "errors-*?allow_no_jobs=true"), [RENAMED.format("allow_no_jobs")]
    ),
    "the old name in the body": (
        ("POST", "nope-*/_close", {"allow_no_jobs": True}), [RENAMED.format("allow_no_jobs")]
    ),
    "the old name for datafeeds": (
        ("GET", "/_ml/datafeeds?allow_no_datafeeds=true"), [RENAMED.format("allow_no_datafeeds")]
    ),
    "two of them": (
        ("GET", "/_xpack/ml/datafeeds?allow_no_datafeeds"),
        [deprecated("GET", "/datafeeds"), RENAMED.format("allow_no_datafeeds")],
    ),
    "nothing": (("GET", "errors-*?allow_no_match=true"), []),
}  # fmt: skip


@pytest.mark.parametrize("name", WARNED)
def test_what_is_deprecated_is_answered_with_a_warning(http, j, name):
    call, warnings = WARNED[name]
    assert http(*call).headers.get("Warning", "") == agent(*warnings)


# ---------------------------------------------------------------------------- a cluster and its indices

NO_DOCUMENTS = "is not available: Marigraph keeps jobs and their results, no documents and no indices; "
NEIGHBOURS = {
    # What a program that knows the whole API may ask, the fields of the answer that it reads, or the refusal.
    "GET /_cluster/health?wait_for_status=yellow": {"status": "green", "timed_out": False, "number_of_nodes": 1},
    "GET /_cluster/health/.ml-*": {"status": "green"},
    "GET /_nodes": {"_nodes": {"total": 1, "successful": 1, "failed": 0}},
    "GET /_nodes/_all/http": {"cluster_name": "marigraph"},
    "POST /_refresh": {"_shards": {"total": 0, "successful": 0, "failed": 0}},
    "POST /.ml-anomalies-*/_refresh?ignore_unavailable=true": {"_shards": {"total": 0, "successful": 0, "failed": 0}},
    "GET /_xpack": {"features": {"ml": {"available": True, "enabled": True}}},
    "GET /_license": {},
    "GET /_xpack/usage": {},
    "DELETE /*": {"acknowledged": True},
    "DELETE /_all": {"acknowledged": True},
    "DELETE /airline-data": (404, "index_not_found_exception", "no such index [airline-data]"),
    "GET /_tasks/node:0": (404, MISSING, "task [node:0] isn't running and hasn't stored its results"),
    "GET /_tasks/node:1": (404, MISSING, "task [node:1] isn't running and hasn't stored its results"),
    **{call: (501, STATUS, f"[{call}] {NO_DOCUMENTS}") for call in (
        "PUT /airline-data", "POST /_bulk", "PUT /.ml-anomalies-shared/_doc/1", "GET /.ml-anomalies-*/_search",
        "POST /x/_doc", "GET /_template", "GET /_alias/x",
    )},
}  # fmt: skip


@pytest.mark.parametrize("call", NEIGHBOURS)
def test_calls_beside_those_about_jobs_are_answered_or_refused_clearly(http, j, call):
    answer, expected = http(*call.split()), NEIGHBOURS[call]
    if isinstance(expected, dict):
        assert answer.ok() | expected == answer.body
    else:
        status, kind, reason = answer.error
        assert (status, kind) == expected[:2]
        assert reason.startswith(expected[2])


def test_nodes_are_listed_as_text_and_an_index_is_not_there(http):
    assert http.get("/_cat/nodes", h="version,name").text == "7.17.0 marigraph\n"
    assert http.get("/_cat/nodes?v").text.startswith("ip node.role master name\n")
    assert http("HEAD", "/airline-data").status == 404


def test_usage_counts_jobs_by_state(http, j):
    jobs = http.get("/_xpack/usage").ok()["ml"]["jobs"]
    assert jobs["_all"]["count"] == sum(jobs[state]["count"] for state in jobs if state != "_all")
    assert jobs["opened"]["count"] >= 1


ABSENT = [
    ("POST", "errors-job/_forecast"), ("DELETE", "errors-job/_forecast"), ("POST", "errors-job/_reset"),
    ("POST", "_estimate_model_memory"), ("POST", "/_ml/set_upgrade_mode"),
    ("POST", "errors-job/model_snapshots/1/_upgrade"), ("GET", "/_ml/calendars"), ("PUT", "/_ml/calendars/c"),
    ("POST", "/_ml/calendars/c/events"), ("PUT", "/_ml/calendars/c/jobs/j"), ("GET", "/_ml/filters"),
    ("PUT", "/_ml/filters/f"), ("POST", "/_ml/filters/f/_update"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), ABSENT)
def test_what_this_version_has_not_is_answered_501_with_the_reason(http, method, path):
    status, kind, reason = http(method, path).error
    assert (status, kind) == (501, STATUS)
    assert reason.endswith("not available in this version of Marigraph")
