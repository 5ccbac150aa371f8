"""Hostile input to a running job: a clear refusal or a counted rejection, and never anything half-written."""

import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.errors import DomainError
from marigraph import handlers
from marigraph.verify import verify_job
from tests.support.jobs import CONTEXT, DataSet, application, job_body, make_job

BODY = job_body(
    [
        {"function": "mean", "field_name": "v", "by_field_name": "s"},
        {"function": "distinct_count", "field_name": "s", "partition_field_name": "p"},
    ],
    influencers=["s", "p"],
)
DATA = DataSet("hostile", BODY, "", [])

CORPUS = {
    "nothing": b"",
    "white space": b" \r\n\t\n",
    "an unfinished object": b'{"time": 1700006400',
    "a lonely brace": b"}{",
    "a number": b"42",
    "a text": b'"time"',
    "null": b"null",
    "an array of scalars": b"[1, 2, 3]",
    "nested arrays": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "NaN": b'{"time": 1700006400, "v": NaN, "s": "a"}',
    "infinity": b'{"time": 1700006400, "v": Infinity}',
    "infinity as text": b'{"time": 1700006400, "v": "-inf", "s": "a"}',
    "a huge exponent": b'{"time": 1700006400, "v": 1e400, "s": "a"}',
    "a huge value": b'{"time": 1700006400, "v": 1.7e308, "s": "a"}\n' * 50,
    "a huge integer": b'{"time": ' + b"9" * 5_000 + b"}",
    "wrong types": b'{"time": {}, "v": [], "s": {"t": null}}',
    "an object for a value": b'{"time": 1700006400, "v": {"x": 1}, "s": [1, [2, {"y": 3}]]}',
    "UTF-16": '{"time": 1700006400}'.encode("utf-16"),
    "Latin-1": '{"time": 1700006400, "s": "é"}'.encode("latin-1"),
    "a BOM": b'\xef\xbb\xbf{"time": 1700006400, "v": 1, "s": "a"}',
    "NUL bytes": b'{"time": 1700006400, "s": "a\x00b"}',
    "an escaped NUL": b'{"time": 1700006400, "v": 1, "s": "a\\u0000b"}',
    "a lone surrogate": b'{"time": 1700006400, "v": 1, "s": "\\ud800"}',
    "duplicate keys": b'{"time": 1, "time": 1700006400, "v": 1, "s": "a"}',
    "year 1": b'{"time": -62135596800, "v": 1, "s": "a"}',
    "year 9999": b'{"time": 253402300799, "v": 1, "s": "a"}',
    "before the year 1": b'{"time": -99999999999999, "v": 1, "s": "a"}',
    "after the year 9999": b'{"time": 1e18, "v": 1, "s": "a"}',
    "year 1, then 9999": b'{"time": -62135596800, "v": 1, "s": "a"}{"time": 253402300799, "v": 1, "s": "a"}',
    "a negative time": b'{"time": -1, "v": 1, "s": "a"}',
    "a fraction of a time": b'{"time": 1700006400.123456789, "v": 1, "s": "a"}',
    "no time": b'{"v": 1, "s": "a"}',
    "empty texts": b'{"time": 1700006400, "v": "", "s": "", "p": ""}',
    "a long line": b'{"time": 1700006400, "v": 1, "s": "' + b"x" * 11_000_000 + b'"}',
    "a long value": b'{"time": 1700006400, "v": 1, "s": "' + b"x" * 1_000_000 + b'"}',
    "a hundred broken objects": b'{"time": }\n' * 100,
    "binary": bytes(range(256)) * 40,
    "CSV without the time": b"a,b\n1,2\n",
    "CSV with an open quote": b'time,v,s\n1700006400,1,"abc\n' * 3,
    "ragged CSV": b"time,v,s\n1700006400\n1700006401,1,a,b,c,d\n,,\n",
    "a header alone": b"time,v,s\n",
}


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with application(str(tmp_path_factory.mktemp("hostile") / "marigraph.db")) as app:
        yield app


def fresh_job(app):
    app.project()
    job_id = f"h-{len(app.jobs.all())}"
    make_job(app, DATA, job_id)
    return job_id


def post_and_check(app, job_id, body):
    """Post; it is counted or refused, and a refusal leaves the log as it was."""
    before = app.jobs.load(job_id)
    try:
        counts = handlers.post_data(app, job_id, body, CONTEXT)
    except DomainError as error:
        assert error.reason
        assert len(error.reason) < 2_000
        assert app.jobs.load(job_id) == before
        return None
    assert counts["input_record_count"] == (
        counts["processed_record_count"] + counts["out_of_order_timestamp_count"] + counts["invalid_date_count"]
    )
    assert app.jobs.load(job_id).state == "opened"
    return counts


@pytest.mark.parametrize("name", CORPUS)
def test_a_hostile_body_is_counted_or_refused(app, name):
    job_id = fresh_job(app)
    post_and_check(app, job_id, CORPUS[name])
    good = b'{"time": 1700010000, "v": 2, "s": "b", "p": "q"}{"time": 1700020000, "v": 2, "s": "b", "p": "q"}'
    assert post_and_check(app, job_id, good)["input_record_count"] == 2
    handlers.flush_job(app, job_id, {"calc_interim": True}, CONTEXT)
    handlers.close_jobs(app, job_id, CONTEXT)
    report = verify_job(app, job_id)
    assert report.holds, report.resource()


@pytest.fixture(scope="module")
def target(app):
    return fresh_job(app)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
times = st.integers(-(10**13), 10**13) | st.integers(1_700_000_000, 1_700_100_000) | values
records = st.fixed_dictionaries({}, optional={"time": times, "v": values, "s": values, "p": values, "x": values})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.lists(records, max_size=6).map(lambda rows: "\n".join(map(json.dumps, rows)).encode()) | st.binary())
def test_no_body_breaks_a_job(app, target, body):
    post_and_check(app, target, body)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.sampled_from(["start", "end", "advance_time", "skip_time"]), st.text() | st.integers()))
def test_no_flush_breaks_a_job(app, target, parameters):
    try:
        answer = handlers.flush_job(app, target, {**parameters, "calc_interim": True}, CONTEXT)
    except DomainError as error:
        assert error.reason
    else:
        assert answer["flushed"]
    assert app.jobs.load(target).state == "opened"


def test_more_series_than_memory_go_on_with_those_there_are(app):
    body = job_body([{"function": "mean", "field_name": "v", "by_field_name": "s"}])
    body["analysis_limits"] = {"model_memory_limit": "1mb"}
    make_job(app, DataSet("many", body, "", []), "many")
    n_values = 20_000
    lines = ["time,v,s", *(f"{1_700_006_400 + i // 20},{i % 7},name-{i}" for i in range(n_values))]
    assert post_and_check(app, "many", "\n".join(lines).encode())["processed_record_count"] == n_values
    later = "\n".join(["time,v,s", *(f"{1_700_010_000 + i * 60},{i % 7},name-1" for i in range(60))])
    assert post_and_check(app, "many", later.encode())["processed_record_count"] == 60
    handlers.flush_job(app, "many", {}, CONTEXT)
    stats = app.own("many", CONTEXT).model.size_stats()
    assert stats["memory_status"] == "hard_limit"
    assert stats["model_bytes"] <= 1.2 * 1024 * 1024
    assert stats["bucket_allocation_failures_count"] > 0
    handlers.close_jobs(app, "many", CONTEXT)
    assert verify_job(app, "many").holds


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_million_series_stay_within_the_memory_limit(app):
    body = job_body([{"function": "count", "by_field_name": "s"}])
    body["analysis_limits"] = {"model_memory_limit": "10mb"}
    make_job(app, DataSet("million", body, "", []), "million")
    for part in range(10):
        lines = [f"{1_700_006_400 + part * 900 + i // 200},name-{part}-{i}" for i in range(100_000)]
        assert post_and_check(app, "million", "\n".join(["time,s", *lines]).encode())
    stats = app.own("million", CONTEXT).model.size_stats()
    assert stats["memory_status"] == "hard_limit"
    assert math.isclose(stats["model_bytes"], 10 * 1024 * 1024, rel_tol=0.2)
