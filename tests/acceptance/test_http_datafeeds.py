"""Section 5 of the API: datafeeds over HTTP, row by row."""

import re
import shutil
import time

import pytest

from tests.support.feeds import START_MS, Table, job_body, rows, write_sources
from tests.support.http import serving

FEEDS = "/_ml/datafeeds"
CONFLICT = (409, "status_exception")
NOT_FOUND = (404, "resource_not_found_exception")
END = {"end": START_MS + 10 * 3_600_000}
N_ROWS = 500


@pytest.fixture(scope="module")
def http(sqlite_template, tmp_path_factory):
    directory = tmp_path_factory.mktemp("datafeeds")
    database = directory / "marigraph.db"
    shutil.copyfile(sqlite_template, database)
    Table(directory / "source.db").add(rows(N_ROWS))
    Table(directory / "source.db", "empty")
    sources = write_sources(directory / "sources.toml", shop=str(directory / "source.db"))
    with serving(f"sqlite:///{database}", sources=sources) as http:
        yield http


@pytest.fixture
def feed(http):
    """Make a job and a datafeed for it; both ids are the same, and no other test has them."""

    def make(*, is_open=False, feed_id=None, job=None, **fields):
        job_id = http.job(is_open=is_open, **(job or job_body()))
        feed_id = feed_id or f"feed-{job_id}"
        http.put(f"{FEEDS}/{feed_id}", {"job_id": job_id, "indices": ["air"], **fields}).ok()
        return feed_id, job_id

    return make


def state(http, feed_id):
    return http.get(f"{FEEDS}/{feed_id}/_stats").ok()["datafeeds"][0]["state"]


def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def start(http, feed_id, **times):
    return http.post(f"{FEEDS}/{feed_id}/_start", times or None)


class TestPut:
    def test_answers_the_whole_datafeed(self, http):
        job_id = http.job(**job_body())
        body = {"job_id": job_id, "indexes": "air", "query_delay": "61s", "types": ["t"], "_source": True}
        assert http.put(f"{FEEDS}/put-1", body).ok() == {
            "datafeed_id": "put-1",
            "job_id": job_id,
            "query_delay": "61s",
            "indices": ["air"],
            "query": {"match_all": {"boost": 1.0}},
            "scroll_size": 1000,
            "chunking_config": {"mode": "auto"},
            "delayed_data_check_config": {"enabled": True},
            "indices_options": {
                "expand_wildcards": ["open"],
                "ignore_unavailable": False,
                "allow_no_indices": True,
                "ignore_throttled": True,
            },
        }

    def test_both_prefixes_lead_here(self, http, feed):
        feed_id, _ = feed()
        assert http.get(f"/_xpack/ml/datafeeds/{feed_id}").ok() == http.get(f"{FEEDS}/{feed_id}").ok()

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"job_id": "missing"}, (*NOT_FOUND, "No known job with id 'missing'")),
            ({"job_id": None}, (400, "illegal_argument_exception", "[job_id] must not be null.")),
            (
                {"indices": []},
                (400, "status_exception", "Invalid indices value '[]' in datafeed configuration"),
            ),
            (
                {"datafeed_id": "b"},
                (
                    400,
                    "illegal_argument_exception",
                    "Inconsistent datafeed_id; 'b' specified in the body differs from 'new' specified as a URL "
                    "argument",
                ),
            ),
            (
                {"headers": {}},
                (400, "x_content_parse_exception", "[1:1] [datafeed_config] unknown field [headers]"),
            ),
            (
                {"query": {"match_blarg": {}}},
                (
                    400,
                    "x_content_parse_exception",
                    "[1:1] [datafeed_config] failed to parse field [query]: unknown query [match_blarg]",
                ),
            ),
            (
                {"script_fields": {"a": {}}, "aggs": {"a": {}}},
                (400, "status_exception", "script_fields cannot be used in combination with aggregations"),
            ),
            (
                {"aggs": {"a": {}}},
                (
                    400,
                    "status_exception",
                    "A job configured with a datafeed with aggregations must set summary_count_field_name; use "
                    "doc_count or suitable alternative",
                ),
            ),
            (
                {"source": {"name": "elsewhere"}},
                (400, "status_exception", "source [elsewhere] is not configured on this server; it has [shop]"),
            ),
        ],
    )
    def test_refuses(self, http, change, expected):
        body = {"job_id": http.job(**job_body()), "indices": ["air"], **change}
        assert http.put(f"{FEEDS}/new", body).error == expected
        assert http.get(f"{FEEDS}/new").status == 404

    def test_refuses_a_job_with_latency(self, http):
        body = job_body(latency="1m")
        answer = http.put(f"{FEEDS}/late", {"job_id": http.job(**body), "indices": ["air"]})
        assert answer.error == (400, "status_exception", "A job configured with datafeed cannot support latency")

    def test_refuses_an_id_that_is_taken(self, http, feed):
        feed_id, job_id = feed()
        answer = http.put(f"{FEEDS}/{feed_id}", {"job_id": job_id, "indices": ["air"]})
        reason = f"A datafeed with id [{feed_id}] already exists"
        assert answer.error == (400, "resource_already_exists_exception", reason)

    def test_refuses_a_second_datafeed_of_a_job(self, http, feed):
        feed_id, job_id = feed()
        answer = http.put(f"{FEEDS}/second", {"job_id": job_id, "indices": ["air"]})
        assert answer.error == (*CONFLICT, f"A datafeed [{feed_id}] already exists for job [{job_id}]")

    def test_needs_a_body(self, http):
        assert http.put(f"{FEEDS}/nobody").error == (400, "parse_exception", "request body is required")

    def test_an_index_need_not_be_there_yet(self, http, feed):
        assert feed(indices=["later"])


class TestGet:
    def test_lists_by_id(self, http, feed):
        feed(feed_id="list-b")
        feed(feed_id="list-a")
        found = http.get(f"{FEEDS}/list-*").ok()
        assert (found["count"], [each["datafeed_id"] for each in found["datafeeds"]]) == (2, ["list-a", "list-b"])
        assert http.get(f"{FEEDS}/list-b,list-a").ok() == found
        everything = [each["datafeed_id"] for each in http.get(FEEDS).ok()["datafeeds"]]
        assert everything == sorted(everything)
        assert http.get(f"{FEEDS}/_all").ok() == http.get(f"{FEEDS}/*").ok() == http.get(FEEDS).ok()

    @pytest.mark.parametrize("what", ["", "/_stats"])
    def test_an_exact_name_must_be_there_whatever_is_allowed(self, http, what):
        for query in ({}, {"allow_no_match": True}, {"allow_no_datafeeds": True}):
            answer = http.get(f"{FEEDS}/no-a,no-b{what}", **query)
            assert answer.error == (*NOT_FOUND, "No datafeed with id [no-a,no-b] exists")

    @pytest.mark.parametrize("what", ["", "/_stats"])
    @pytest.mark.parametrize("name", ["allow_no_match", "allow_no_datafeeds"])
    def test_a_pattern_may_match_nothing_if_that_is_allowed(self, http, what, name):
        assert http.get(f"{FEEDS}/no-*{what}").ok() == {"count": 0, "datafeeds": []}
        assert http.get(f"{FEEDS}/no-*{what}", **{name: True}).ok() == {"count": 0, "datafeeds": []}
        answer = http.get(f"{FEEDS}/no-*{what}", **{name: False})
        assert answer.error == (*NOT_FOUND, "No datafeed with id [no-*] exists")

    def test_statistics_of_a_stopped_one(self, http, feed):
        feed_id, job_id = feed()
        timing = {"job_id": job_id, "search_count": 0, "bucket_count": 0, "total_search_time_ms": 0.0}
        stats = {"datafeed_id": feed_id, "state": "stopped", "timing_stats": timing}
        assert http.get(f"{FEEDS}/{feed_id}/_stats").ok() == {"count": 1, "datafeeds": [stats]}

    def test_statistics_of_a_started_one_name_the_node(self, http, feed):
        feed_id, _ = feed(is_open=True)
        start(http, feed_id).ok()
        (stats,) = http.get(f"{FEEDS}/{feed_id}/_stats").ok()["datafeeds"]
        assert list(stats) == ["datafeed_id", "state", "node", "assignment_explanation", "timing_stats"]
        assert stats["node"]["id"] == http.server.node_id
        http.post(f"{FEEDS}/{feed_id}/_stop").ok()


class TestPreview:
    def test_shows_bare_records_with_times_in_milliseconds(self, http, feed):
        feed_id, _ = feed(query={"term": {"airline": "a1"}}, scroll_size=3)
        expected = [{"time": t, "airline": a, "v": v} for t, a, v in rows(9) if a == "a1"]
        assert http.get(f"{FEEDS}/{feed_id}/_preview").ok() == expected
        assert http.post(f"{FEEDS}/{feed_id}/_preview").ok() == expected

    def test_shows_nothing_where_nothing_is(self, http, feed):
        feed_id, _ = feed(query={"term": {"airline": "no"}})
        assert http.get(f"{FEEDS}/{feed_id}/_preview").ok() == []

    def test_shows_what_is_aggregated(self, http, feed):
        body = job_body(summary_count_field_name="doc_count")
        aggs = {
            "buckets": {
                "date_histogram": {"field": "time", "fixed_interval": "1h"},
                "aggs": {
                    "time": {"max": {"field": "time"}},
                    "airline": {"terms": {"field": "airline"}, "aggs": {"v": {"avg": {"field": "v"}}}},
                },
            }
        }
        feed_id, _ = feed(job=body, aggregations=aggs)
        shown = http.get(f"{FEEDS}/{feed_id}/_preview").ok()
        in_hour = [(t, v) for t, a, v in rows(N_ROWS) if a == "a0" and t < START_MS + 3_600_000]
        assert shown[0] == {
            "time": max(t for t, _, _ in rows(N_ROWS) if t < START_MS + 3_600_000),
            "airline": "a0",
            "v": pytest.approx(sum(v for _, v in in_hour) / len(in_hour)),
            "doc_count": len(in_hour),
        }
        other = job_body(summary_count_field_name="n")
        feed_id, _ = feed(job=other, aggregations=aggs)
        assert "doc_count" not in http.get(f"{FEEDS}/{feed_id}/_preview").ok()[0]

    @pytest.mark.parametrize(
        ("field", "inner", "reason"),
        [
            (
                "time", {"change": {"derivative": {"buckets_path": "v"}}},
                "aggregation [change] of type [derivative] is made by search engines only; this source makes "
                "[max, min, avg, sum, value_count, cardinality]",
            ),
            ("@timestamp", {}, "the date_histogram must be over the time field [time], not over [@timestamp]"),
        ],
    )  # fmt: skip
    def test_refuses_aggregations_that_the_source_cannot_make(self, http, feed, field, inner, reason):
        inner = {field: {"max": {"field": field}}, "v": {"avg": {"field": "v"}}, **inner}
        aggs = {"buckets": {"date_histogram": {"field": field, "fixed_interval": "1h"}, "aggs": inner}}
        feed_id, _ = feed(job=job_body(summary_count_field_name="doc_count"), aggs=aggs, is_open=True)
        assert http.get(f"{FEEDS}/{feed_id}").ok()["datafeeds"][0]["aggregations"] == aggs
        for answer in (http.get(f"{FEEDS}/{feed_id}/_preview"), start(http, feed_id)):
            assert (answer.status, answer.error[2].removeprefix(f"[{feed_id}] ")) == (400, reason)

    def test_takes_a_datafeed_that_is_not_there(self, http):
        config = {"job_id": http.job(**job_body()), "indices": ["air"], "scroll_size": 2}
        assert len(http.post(f"{FEEDS}/_preview", config).ok()) == 2
        body = {"datafeed_config": {"indices": ["air"], "scroll_size": 2}, "job_config": {"job_id": "x", **job_body()}}
        assert len(http.post(f"{FEEDS}/_preview", body).ok()) == 2
        assert http.post(f"{FEEDS}/_preview").error == (400, "parse_exception", "request body is required")

    def test_names_what_is_missing(self, http, feed):
        assert http.get(f"{FEEDS}/none/_preview").error == (*NOT_FOUND, "No datafeed with id [none] exists")
        feed_id, _ = feed(indices=["utopia"])
        answer = http.get(f"{FEEDS}/{feed_id}/_preview")
        assert answer.error == (404, "index_not_found_exception", "no such index [utopia]")


class TestStart:
    def test_with_an_end_it_stops_itself_and_closes_the_job(self, http, feed):
        feed_id, job_id = feed(is_open=True)
        answer = start(http, feed_id, start=START_MS, **END).ok()
        assert answer == {"started": True, "node": http.server.node_id}
        until(lambda: http.state(job_id) == "closed")
        assert state(http, feed_id) == "stopped"
        counts = http.stats(job_id)["data_counts"]
        assert (counts["processed_record_count"], counts["input_record_count"]) == (N_ROWS, N_ROWS)

    def test_times_come_in_the_query_too(self, http, feed):
        feed_id, job_id = feed(is_open=True)
        http.post(f"{FEEDS}/{feed_id}/_start", start="2017-02-01T00:10:00Z", end="2017-02-01T00:20:00Z").ok()
        until(lambda: http.state(job_id) == "closed")
        inside = [t for t, _, _ in rows(N_ROWS) if START_MS + 600_000 <= t < START_MS + 1_200_000]
        assert http.stats(job_id)["data_counts"]["processed_record_count"] == len(inside)

    def test_it_goes_on_behind_what_the_job_has_seen(self, http, feed):
        feed_id, job_id = feed(is_open=True)
        seen = START_MS + 700_000
        http.post(f"{job_id}/_data", f'{{"time": {seen}, "airline": "a0", "v": 1}}\n').ok(202)
        start(http, feed_id, start=0, **END).ok()
        until(lambda: http.state(job_id) == "closed")
        left = [t for t, _, _ in rows(N_ROWS) if t > seen]
        assert http.stats(job_id)["data_counts"]["input_record_count"] == len(left) + 1
        assert http.stats(job_id)["data_counts"]["out_of_order_timestamp_count"] == 0

    def test_without_an_end_it_goes_on_and_a_stop_leaves_the_job_open(self, http, feed):
        feed_id, job_id = feed(is_open=True)
        start(http, feed_id).ok()
        until(lambda: http.stats(job_id)["data_counts"]["processed_record_count"] == N_ROWS)
        assert state(http, feed_id) == "started"
        assert http.post(f"{FEEDS}/{feed_id}/_stop").ok() == {"stopped": True}
        assert (state(http, feed_id), http.state(job_id)) == ("stopped", "opened")

    def test_refusals(self, http, feed):
        assert start(http, "none").error == (*NOT_FOUND, "No datafeed with id [none] exists")
        feed_id, job_id = feed()
        because = f"cannot start datafeed [{feed_id}] because"
        assert start(http, feed_id).error == (*CONFLICT, f"{because} job [{job_id}] is closed")
        http.post(f"{job_id}/_open").ok()
        start(http, feed_id).ok()
        assert start(http, feed_id).error == (*CONFLICT, f"{because} it has already been started")
        http.post(f"{FEEDS}/{feed_id}/_stop").ok()

    @pytest.mark.parametrize("end", [START_MS, START_MS - 1])
    def test_it_must_end_after_it_starts(self, http, feed, end):
        feed_id, _ = feed(is_open=True)
        status, kind, reason = start(http, feed_id, start=START_MS, end=end).error
        assert (status, kind) == (400, "parse_exception")
        assert re.search(rf"\[start\] .*start \[{START_MS}\] must be earlier than end \[{end}\]", reason)

    @pytest.mark.parametrize("name", ["start", "end"])
    def test_times_are_read(self, http, feed, name):
        feed_id, _ = feed(is_open=True)
        status, kind, _ = start(http, feed_id, **{name: "soon"}).error
        assert (status, kind) == (400, "parse_exception")

    def test_a_missing_index_or_field_is_named(self, http, feed):
        feed_id, _ = feed(is_open=True, indices=["utopia"])
        status, kind, reason = start(http, feed_id).error
        assert (status, kind) == CONFLICT
        assert reason.endswith("cannot retrieve data because index [utopia] does not exist")
        job = job_body()
        job["analysis_config"]["influencers"] = ["nowhere"]
        feed_id, _ = feed(is_open=True, job=job)
        reason = f"[{feed_id}] cannot retrieve field [nowhere] because it has no mappings"
        assert start(http, feed_id).error == (400, "status_exception", reason)
        assert state(http, feed_id) == "stopped"

    def test_unknown_parameters_are_refused(self, http, feed):
        feed_id, _ = feed(is_open=True)
        status, kind, _ = http.post(f"{FEEDS}/{feed_id}/_start", {"begin": 1}).error
        assert (status, kind) == (400, "x_content_parse_exception")
        status, kind, _ = http.post(f"{FEEDS}/{feed_id}/_start", begin=1).error
        assert (status, kind) == (400, "illegal_argument_exception")


class TestStop:
    def test_a_stopped_one_is_left_alone(self, http, feed):
        feed_id, _ = feed()
        for body in (None, {"force": True}, {"timeout": "1s", "allow_no_match": True}):
            assert http.post(f"{FEEDS}/{feed_id}/_stop", body).ok() == {"stopped": True}

    def test_several_at_once(self, http, feed):
        started = [feed(is_open=True, feed_id=f"stop-{n}")[0] for n in range(3)]
        for feed_id in started:
            start(http, feed_id).ok()
        http.post(f"{FEEDS}/stop-0,stop-1/_stop").ok()
        assert [state(http, feed_id) for feed_id in started] == ["stopped", "stopped", "started"]
        http.post(f"{FEEDS}/_all/_stop").ok()
        assert state(http, "stop-2") == "stopped"

    def test_by_force(self, http, feed):
        feed_id, job_id = feed(is_open=True)
        start(http, feed_id).ok()
        assert http.post(f"{FEEDS}/{feed_id}/_stop", force=True).ok() == {"stopped": True}
        assert state(http, feed_id) == "stopped"
        start(http, feed_id, **END).ok()
        until(lambda: http.state(job_id) == "closed")
        assert http.stats(job_id)["data_counts"]["processed_record_count"] == N_ROWS

    def test_unknown_ones(self, http):
        assert http.post(f"{FEEDS}/none/_stop").error == (*NOT_FOUND, "No datafeed with id [none] exists")
        assert http.post(f"{FEEDS}/none-*/_stop").ok() == {"stopped": True}
        for name in ("allow_no_match", "allow_no_datafeeds"):
            expected = (*NOT_FOUND, "No datafeed with id [none-*] exists")
            assert http.post(f"{FEEDS}/none-*/_stop", {name: False}).error == expected
            assert http.post(f"{FEEDS}/none-*/_stop", **{name: False}).error == expected


class TestUpdate:
    def test_answers_the_whole_datafeed(self, http, feed):
        feed_id, _ = feed()
        before = http.get(f"{FEEDS}/{feed_id}").ok()["datafeeds"][0]
        after = http.post(f"{FEEDS}/{feed_id}/_update", {"scroll_size": 7, "indices": ["empty"]}).ok()
        assert after == {**before, "scroll_size": 7, "indices": ["empty"]}
        assert http.get(f"{FEEDS}/{feed_id}").ok()["datafeeds"] == [after]

    def test_refusals(self, http, feed):
        assert http.post(f"{FEEDS}/none/_update", {}).error == (*NOT_FOUND, "No datafeed with id [none] exists")
        feed_id, job_id = feed(is_open=True)
        start(http, feed_id).ok()
        reason = f"Cannot update datafeed [{feed_id}] while its status is started"
        assert http.post(f"{FEEDS}/{feed_id}/_update", {"scroll_size": 7}).error == (*CONFLICT, reason)
        http.post(f"{FEEDS}/{feed_id}/_stop").ok()
        status, kind, _ = http.post(f"{FEEDS}/{feed_id}/_update", {"blarg": 7}).error
        assert (status, kind) == (400, "x_content_parse_exception")
        assert http.get(f"{FEEDS}/{feed_id}").ok()["datafeeds"][0]["job_id"] == job_id

    def test_another_job_must_be_there_and_free(self, http, feed):
        feed_id, _ = feed()
        other, taken = feed()
        update = f"{FEEDS}/{feed_id}/_update"
        assert http.post(update, {"job_id": "none"}).error == (*NOT_FOUND, "No known job with id 'none'")
        reason = f"A datafeed [{other}] already exists for job [{taken}]"
        assert http.post(update, {"job_id": taken}).error == (*CONFLICT, reason)
        free = http.job(**job_body())
        answer = http.post(update, {"job_id": free})
        assert answer.ok()["job_id"] == free
        assert "The ability to update a datafeed's job_id is deprecated." in answer.headers["warning"]


class TestDelete:
    def test_is_gone_and_its_id_and_job_are_free(self, http, feed):
        feed_id, job_id = feed()
        assert http.delete(f"{FEEDS}/{feed_id}").ok() == {"acknowledged": True}
        expected = (*NOT_FOUND, f"No datafeed with id [{feed_id}] exists")
        assert http.get(f"{FEEDS}/{feed_id}").error == expected
        assert http.delete(f"{FEEDS}/{feed_id}").error == expected
        http.put(f"{FEEDS}/{feed_id}", {"job_id": job_id, "indices": ["air"]}).ok()

    def test_a_started_one_needs_force(self, http, feed):
        feed_id, job_id = feed(is_open=True)
        start(http, feed_id).ok()
        reason = f"Cannot delete datafeed [{feed_id}] while its status is started"
        assert http.delete(f"{FEEDS}/{feed_id}").error == (*CONFLICT, reason)
        assert http.delete(f"{FEEDS}/{feed_id}", force=True).ok() == {"acknowledged": True}
        assert http.get(f"{FEEDS}/{feed_id}").status == 404
        http.post(f"{job_id}/_close").ok()


class TestJob:
    def test_is_not_closed_while_its_datafeed_runs(self, http, feed):
        feed_id, job_id = feed(is_open=True)
        start(http, feed_id).ok()
        expected = (*CONFLICT, f"cannot close job datafeed [{feed_id}] hasn't been stopped")
        assert http.post(f"{job_id}/_close").error == expected
        http.post(f"{FEEDS}/{feed_id}/_stop").ok()
        assert http.post(f"{job_id}/_close").ok() == {"closed": True}

    def test_is_closed_by_force_with_its_datafeed(self, http, feed):
        feed_id, job_id = feed(is_open=True)
        other, other_job = feed(is_open=True)
        start(http, feed_id).ok()
        start(http, other).ok()
        assert http.post(f"{job_id}/_close", force=True).ok() == {"closed": True}
        assert (http.state(job_id), state(http, feed_id)) == ("closed", "stopped")
        assert (http.state(other_job), state(http, other)) == ("opened", "started")
        http.post(f"{job_id}/_open").ok()
        start(http, feed_id, **END).ok()
        until(lambda: http.state(job_id) == "closed")
        assert http.stats(job_id)["data_counts"]["processed_record_count"] == N_ROWS
        http.post(f"{other_job}/_close", force=True).ok()

    def test_is_not_deleted_while_a_datafeed_refers_to_it(self, http, feed):
        feed_id, job_id = feed()
        expected = (*CONFLICT, f"Cannot delete job [{job_id}] because datafeed [{feed_id}] refers to it")
        assert http.delete(job_id).error == expected
        assert http.delete(job_id, force=True).error == expected
        http.delete(f"{FEEDS}/{feed_id}").ok()
        assert http.delete(job_id).ok() == {"acknowledged": True}

    def test_an_unknown_one_is_not_found_before_anything_else(self, http):
        assert http.delete("no-such-job").status == 404


@pytest.mark.parametrize(
    "name", ["air; DROP TABLE air", "air'--", 'air" WHERE 1=1 --', "../source", "sqlite_master", "AIR", "main.air"]
)
def test_no_name_of_a_table_is_ever_sql(http, feed, name):
    feed_id, _ = feed(is_open=True, indices=[name])
    assert http.get(f"{FEEDS}/{feed_id}/_preview").error == (
        404,
        "index_not_found_exception",
        f"no such index [{name}]",
    )


@pytest.mark.parametrize(
    "query",
    [
        {"term": {"airline": "a1' OR '1'='1"}},
        {"terms": {"airline": ["'; DROP TABLE air; --"]}},
        {"range": {"airline": {"gte": "z'; --"}}},
        {"term": {"v": "1 OR 1=1"}},
    ],
)
def test_no_value_is_ever_sql(http, feed, query):
    feed_id, _ = feed(query=query)
    assert http.get(f"{FEEDS}/{feed_id}/_preview").ok() == []


@pytest.mark.parametrize("field", ["v; --", '"v"', "v OR 1=1", "(SELECT 1)"])
def test_no_name_of_a_field_is_ever_sql(http, feed, field):
    feed_id, _ = feed(query={"exists": {"field": field}})
    reason = f"[{feed_id}] cannot retrieve field [{field}] because it has no mappings"
    assert http.get(f"{FEEDS}/{feed_id}/_preview").error == (400, "status_exception", reason)
