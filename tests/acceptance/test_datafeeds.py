"""Datafeeds at work: nothing lost, nothing doubled, on time, and gone on with after whatever happens."""

import logging
from itertools import pairwise

import pytest

from domain.errors import Conflict, NotFound
from eventstore import EventStoreError
from marigraph import handlers
from marigraph.datafeeds import handlers as feed_handlers
from marigraph.datafeeds import running
from marigraph.sources import SourceError
from marigraph.verify import verify_job
from tests.support.feeds import (
    HOUR_MS,
    START_MS,
    Table,
    events,
    feeding,
    job_body,
    make_feed,
    n_records,
    resume,
    rows,
    start,
    work,
    write_sources,
)
from tests.support.jobs import CONTEXT, facts

END = str(START_MS + 100 * HOUR_MS)
MINUTE = 60_000


@pytest.fixture
def table(tmp_path):
    return Table(tmp_path / "source.db")


@pytest.fixture
def sources(tmp_path, table):
    return write_sources(tmp_path / "sources.toml", shop=str(table.path))


@pytest.fixture
def app(sqlite_url, sources):
    with feeding(sqlite_url, sources) as app:
        yield app


def posted(app, records, job_id="posted"):
    """What the job would be if the records had been posted by hand."""
    handlers.create_job(app, job_id, job_body(), CONTEXT)
    handlers.open_job(app, job_id, CONTEXT)
    lines = "".join(f'{{"time": {t}, "airline": "{a}", "v": {v}}}\n' for t, a, v in records)
    handlers.post_data(app, job_id, lines.encode(), CONTEXT)
    handlers.flush_job(app, job_id, {"calc_interim": True}, CONTEXT)
    handlers.close_jobs(app, job_id, CONTEXT)
    return of(app, job_id)


def of(app, job_id="j"):
    """Facts of a job without its name."""
    found = facts(app, job_id)
    return {
        "counts": {name: value for name, value in found["data_counts"].items() if name != "job_id"},
        "digest": found["digest"],
        "buckets": [row[1:6] for row in found["buckets"]],
        "records": [row[1:8] for row in found["records"]],
    }


@pytest.mark.parametrize("chunking", [{"mode": "auto"}, {"mode": "off"}, {"mode": "manual", "time_span": "90m"}])
def test_a_look_back_equals_posting_the_same_records(app, table, chunking):
    table.add(rows(2_000))
    make_feed(app, chunking_config=chunking, scroll_size=50)
    assert work(start(app, end=END)) is None
    assert len(events(app)) >= 2
    assert app.jobs.load("j").state == "closed"
    assert of(app) == posted(app, rows(2_000))
    assert verify_job(app, "j").holds


def test_searches_follow_each_other_without_gap_or_overlap(app, table):
    table.add(rows(2_000))
    make_feed(app, scroll_size=50)
    work(start(app, start=str(START_MS), end=END))
    found = events(app)
    assert (found[0].start_ms, found[-1].end_ms) == (START_MS, int(END))
    assert all(left.end_ms == right.start_ms for left, right in pairwise(found))
    assert sum(each.record_count for each in found) == 2_000


def test_a_gap_without_documents_costs_one_search(app, table):
    table.add([*rows(50), *rows(50, START_MS + 90 * 24 * HOUR_MS)])
    make_feed(app, chunking_config={"mode": "manual", "time_span": "1h"})
    work(start(app, end=str(START_MS + 100 * 24 * HOUR_MS)))
    assert n_records(app) == 100
    assert len(events(app)) <= 5


def test_records_of_one_moment_are_never_cut(app, table):
    table.add([(START_MS + n // 3_000, f"a{n % 3}", 1.0) for n in range(9_000)])
    make_feed(app, scroll_size=10)
    work(start(app, end=END))
    assert n_records(app) == 9_000
    assert [each.record_count for each in events(app) if each.record_count] == [3_000] * 3


class Crash(BaseException):
    """Ends a process as a kill would."""


STEPS = ("before the event", "after the event", "after the post")


def crash_at(monkeypatch, run, moment, count):
    """Let the run die at its `count`-th search."""
    seen = 0
    carry_out, post = run._writer.carry_out, handlers.post_batches

    def die(now):
        nonlocal seen
        if now == moment:
            seen += 1
            if seen == count:
                raise Crash

    def appending(command, context):
        die("before the event")
        result = carry_out(command, context)
        die("after the event")
        return result

    def posting(*arguments):
        result = post(*arguments)
        die("after the post")
        return result

    monkeypatch.setattr(run._writer, "carry_out", appending)
    monkeypatch.setattr(handlers, "post_batches", posting)


@pytest.mark.parametrize("moment", STEPS)
@pytest.mark.parametrize("count", [1, 3])
def test_a_crash_between_any_two_writes_loses_and_doubles_nothing(app, table, monkeypatch, moment, count):
    table.add(rows(2_000))
    make_feed(app, scroll_size=50)
    run = start(app, end=END)
    with monkeypatch.context() as patch:
        crash_at(patch, run, moment, count)
        with pytest.raises(Crash):
            work(run)
    assert work(resume(app)) is None
    assert of(app) == posted(app, rows(2_000))


def test_what_came_between_the_crash_and_its_repair_is_neither_lost_nor_doubled(app, table, monkeypatch):
    table.add(rows(2_000))
    make_feed(app, scroll_size=50)
    run = start(app, end=END)
    with monkeypatch.context() as patch:
        crash_at(patch, run, "after the event", 2)
        with pytest.raises(Crash):
            work(run)
    late = [(events(app)[-1].start_ms + 1, "a0", 3.0)]
    table.add(late)
    work(resume(app))
    assert of(app) == posted(app, sorted([*rows(2_000), *late]))


def test_two_runs_of_one_datafeed_post_nothing_twice(app, table):
    """Both believe to be in charge; the store takes each range once."""
    table.add(rows(2_000))
    make_feed(app, scroll_size=50)
    runs = [start(app, end=END), resume(app)]
    for _ in range(100):
        for run in runs:
            try:
                run.step()
            except (Conflict, AssertionError, EventStoreError):
                continue
    assert work(resume(app)) is None
    assert of(app) == posted(app, rows(2_000))


def test_a_post_that_was_refused_is_done_at_the_next_step(app, table, monkeypatch):
    table.add(rows(100))
    make_feed(app)
    run = start(app, end=END)
    with monkeypatch.context() as patch:

        def refuse(*_):
            raise EventStoreError("no room")

        patch.setattr(handlers, "post_batches", refuse)
        for _ in range(3):
            with pytest.raises(EventStoreError):
                run.step()
    assert work(run) is None
    assert n_records(app) == 100


def test_a_source_that_fails_is_asked_again(app, table, monkeypatch):
    table.add(rows(100))
    make_feed(app)
    run = start(app, end=END)
    with monkeypatch.context() as patch:

        def fail(*_):
            raise SourceError("gone")

        patch.setattr(type(app.sources.of(app.datafeeds.load("d").settings())), "scan", fail)
        with pytest.raises(SourceError):
            run.step()
    assert work(run) is None
    assert n_records(app) == 100


class TestRealTime:
    @pytest.fixture
    def clock(self, app):
        app.now_ms.now_ms = START_MS + HOUR_MS + 60_000
        return app.now_ms

    def test_each_frequency_is_searched_flushed_and_waited_for(self, app, table, clock):
        table.add(rows(600))  # 70 minutes
        make_feed(app, frequency="5m")
        run = start(app)
        seconds = work(run)
        assert (seconds, run.datafeed.position_ms) == (300, START_MS + HOUR_MS)
        assert n_records(app) == len([t for t, *_ in rows(600) if t < START_MS + HOUR_MS])
        clock.now_ms += 299_000
        assert work(run) == 1
        clock.now_ms += 1_000
        assert work(run) == 300
        assert events(app)[-1].cause == "realtime"
        assert n_records(app) == len([t for t, *_ in rows(600) if t < START_MS + HOUR_MS + 5 * MINUTE])
        flushes = [each for each in job_events(app) if each.type == "flushed"]
        assert (flushes[-1].calc_interim, flushes[-1].advance_time_ms) == (True, START_MS + HOUR_MS + 5 * MINUTE)

    def test_documents_are_waited_for_by_the_query_delay(self, app, table, clock):
        make_feed(app, frequency="1m", query_delay="10m")
        run = start(app)
        work(run)
        assert run.datafeed.position_ms == START_MS + 51 * MINUTE

    def test_an_end_to_come_ends_it_in_real_time(self, app, table, clock):
        table.add(rows(600))
        make_feed(app, frequency="10m")
        run = start(app, end=str(START_MS + HOUR_MS + 150_000))
        assert work(run) == 150
        clock.now_ms += 150_000
        assert work(run) is None
        assert (app.datafeeds.load("d").state, app.jobs.load("j").state) == ("stopped", "closed")
        assert n_records(app) == len([t for t, *_ in rows(600) if t < START_MS + HOUR_MS + 150_000])

    def test_it_goes_on_where_an_earlier_process_was(self, app, table, clock):
        table.add(rows(2_000))
        make_feed(app, frequency="1m")
        run = start(app)
        work(run)
        for _ in range(3):
            clock.now_ms += 25 * MINUTE
            run = resume(app)
            work(run)
        assert n_records(app) == len([t for t, *_ in rows(2_000) if t < run.datafeed.position_ms])
        assert app.jobs.load("j").data_counts.out_of_order_timestamp_count == 0

    def test_late_documents_are_counted_and_told_once(self, app, table, clock, caplog):
        table.add(rows(400))
        make_feed(app, frequency="30m", body=job_body("30m"))
        run = start(app)
        work(run)
        clock.now_ms += 30 * MINUTE
        table.add([(START_MS + HOUR_MS - 1_000 - n, "a0", 1.0) for n in range(5)])
        with caplog.at_level(logging.WARNING):
            work(run)
        (told,) = [each for each in events(app) if each.cause == "delayed_data_check"]
        assert (told.missing_count, told.record_count) == (5, 0)
        assert "missed 5 documents" in caplog.text
        clock.now_ms += 30 * MINUTE
        work(run)
        assert len([each for each in events(app) if each.cause == "delayed_data_check"]) == 1
        assert n_records(app) == 400

    def test_late_documents_are_not_looked_for_unless_wanted(self, app, table, clock):
        table.add(rows(400))
        make_feed(app, frequency="30m", body=job_body("30m"), delayed_data_check_config={"enabled": False})
        run = start(app)
        work(run)
        clock.now_ms += 30 * MINUTE
        table.add([(START_MS + HOUR_MS - 1_000, "a0", 1.0)])
        work(run)
        assert [each.cause for each in events(app)] == ["lookback", "realtime"]

    def test_it_gives_up_after_searches_that_found_nothing(self, app, table, clock):
        make_feed(app, frequency="1m", max_empty_searches=3)
        run = start(app)
        work(run)
        for _ in range(2):
            clock.now_ms += MINUTE
            assert work(run) == 60
        clock.now_ms += MINUTE
        assert work(run) is None
        assert (app.datafeeds.load("d").state, app.jobs.load("j").state) == ("stopped", "closed")

    def test_it_does_not_give_up_once_it_found_something(self, app, table, clock):
        table.add(rows(1))
        make_feed(app, frequency="1m", max_empty_searches=1)
        run = start(app)
        work(run)
        for _ in range(3):
            clock.now_ms += MINUTE
            assert work(run) == 60

    def test_it_stops_when_its_job_is_no_longer_open(self, app, table, clock):
        make_feed(app, frequency="1m")
        run = start(app)
        work(run)
        writer = app.visitor("j")
        from domain.commands import FailJob
        from marigraph.writing import carry_out

        carry_out(writer, lambda _job: FailJob("broken"), CONTEXT)
        assert run.step() is None
        stopped = events(app, kind="stopped")
        assert [each.reason for each in stopped] == ["job [j] is failed"]

    def test_a_later_start_skips_what_lies_between(self, app, table, clock):
        table.add([*rows(100), *rows(100, START_MS + 50 * HOUR_MS)])
        make_feed(app)
        work(start(app, end=str(START_MS + HOUR_MS)))
        handlers.open_job(app, "j", CONTEXT)
        clock.now_ms = START_MS + 100 * HOUR_MS
        work(start(app, start=str(START_MS + 50 * HOUR_MS + 1_000), end=str(START_MS + 60 * HOUR_MS)))
        skips = [each.skip_time_ms for each in job_events(app) if each.type == "flushed" and each.skip_time_ms]
        assert skips == [START_MS + 50 * HOUR_MS]
        assert n_records(app) == 199


def job_events(app, job_id="j"):
    from marigraph.codec import recorded, stream_of

    return [recorded(app.codec, each).event for each in app.store.iter_stream(stream_of(job_id))]


def aggregated_feed(app, **more):
    body = job_body(summary_count_field_name="doc_count")
    aggregations = {
        "buckets": {
            "date_histogram": {"field": "time", "fixed_interval": "10m"},
            "aggs": {
                "time": {"max": {"field": "time"}},
                "airline": {"terms": {"field": "airline"}, "aggs": {"v": {"avg": {"field": "v"}}}},
            },
        }
    }
    return make_feed(app, body=body, aggregations=aggregations, **more)


def test_an_aggregated_source_sends_counts(app, table):
    table.add(rows(2_000))
    aggregated_feed(app, chunking_config={"mode": "manual", "time_span": "30m"})
    assert work(start(app, start=str(START_MS), end=END)) is None
    found = events(app)
    assert sum(each.document_count for each in found) == 2_000
    assert n_records(app) == sum(each.record_count for each in found) == 3 * -(-2_000 * 7 // 600)
    assert all(each.end_ms % 600_000 == 0 for each in found)
    assert 1_000 < sum(row[5] for row in facts(app)["buckets"]) <= 2_000


def test_a_crash_of_an_aggregated_one_changes_nothing(app, table, monkeypatch, sqlite_url):
    table.add(rows(2_000))
    aggregated_feed(app, chunking_config={"mode": "manual", "time_span": "30m"})
    run = start(app, start=str(START_MS), end=END)
    with monkeypatch.context() as patch:
        crash_at(patch, run, "after the event", 4)
        with pytest.raises(Crash):
            work(run)
    assert work(resume(app)) is None
    assert sum(each.document_count for each in events(app)) == 2_000
    assert n_records(app) == 3 * -(-2_000 * 7 // 600)


def test_a_server_takes_up_what_another_left(sqlite_url, sources, table):
    from marigraph.bootstrap import bootstrap_server
    from marigraph.settings import Settings
    from tests.acceptance.test_http_datafeeds import until

    table.add(rows(2_000))
    with feeding(sqlite_url, sources) as app:
        make_feed(app, scroll_size=50)
        run = start(app, end=END)
        run.step()
    server = bootstrap_server(Settings(sqlite_url, sources=sources))
    server.start()
    try:
        until(lambda: server.jobs.load("j").state == "closed")
        assert of(server) == posted(server, rows(2_000))
    finally:
        server.close()


def test_a_job_that_was_to_be_closed_is_closed_by_the_next_server(sqlite_url, sources, table, monkeypatch):
    from marigraph.bootstrap import bootstrap_server
    from marigraph.settings import Settings
    from tests.acceptance.test_http_datafeeds import until

    with feeding(sqlite_url, sources) as app:
        make_feed(app)
        run = start(app, end=END)
        with monkeypatch.context() as patch:

            def die(*_):
                raise Crash

            patch.setattr(running, "close_job", die)
            with pytest.raises(Crash):
                work(run)
        assert (app.datafeeds.load("d").state, app.jobs.load("j").state) == ("stopped", "opened")
    server = bootstrap_server(Settings(sqlite_url, sources=sources))
    server.start()
    try:
        until(lambda: server.jobs.load("j").state == "closed")
    finally:
        server.close()


def test_the_read_model_is_rebuilt_from_the_log(app, table):
    table.add(rows(100))
    make_feed(app)
    work(start(app, end=END))
    app.project()
    before = app.datafeeds.all()
    app.rebuild_jobs()
    assert app.datafeeds.all() == before != []


def test_a_datafeed_without_sources_finds_no_index(sqlite_url):
    with feeding(sqlite_url, None) as app:
        make_feed(app)
        with pytest.raises(Conflict, match=r"index \[air\] does not exist"):
            start(app)
        with pytest.raises(NotFound, match=r"no such index \[air\]"):
            feed_handlers.preview_datafeed(app, "d")


def lines(records):
    return "".join(f'{{"time": {t}, "airline": "{a}", "v": {v}}}\n' for t, a, v in records)


class TestFiles:
    @pytest.fixture
    def logs(self, tmp_path):
        path = tmp_path / "logs"
        path.mkdir()
        return path

    @pytest.fixture
    def app(self, sqlite_url, tmp_path, logs):
        sources = write_sources(tmp_path / "sources.toml", logs={"type": "files", "root": str(logs)})
        with feeding(sqlite_url, sources) as app:
            yield app

    def test_files_are_read_as_if_they_had_been_posted(self, app, logs):
        (logs / "b.json").write_text(lines(rows(2_000)[:1_200]))
        (logs / "a.json").write_text(lines(rows(2_000)[1_200:]))
        make_feed(app, indices=["*.json"], scroll_size=50)
        assert work(start(app, end=END)) is None
        assert of(app) == posted(app, rows(2_000))

    def test_a_crash_in_the_middle_of_files_changes_nothing(self, app, logs, monkeypatch):
        (logs / "a.json").write_text(lines(rows(3_000)))
        make_feed(app, indices=["*.json"], scroll_size=50)
        run = start(app, end=END)
        with monkeypatch.context() as patch:
            crash_at(patch, run, "after the event", 2)
            with pytest.raises(Crash):
                work(run)
        assert work(resume(app)) is None
        assert of(app) == posted(app, rows(3_000))

    def test_a_growing_file_is_followed(self, app, logs):
        records = rows(2_000)
        path = logs / "app.log"
        path.write_text(lines(records[:500]))
        make_feed(app, indices=["app.log*"], frequency="5m")
        app.now_ms.now_ms = START_MS + 30 * MINUTE
        run = start(app)
        work(run)
        for n in range(500, 2_000, 250):
            with path.open("a") as file:
                file.write(lines(records[n : n + 250]))
            if n == 1_000:
                path.rename(logs / "app.log.1")
            app.now_ms.now_ms = records[n][0]
            work(run)
        app.now_ms.now_ms = records[-1][0] + 10 * MINUTE
        work(run)
        assert n_records(app) == 2_000
        counts = app.jobs.load("j").data_counts
        assert (counts.out_of_order_timestamp_count, counts.processed_record_count) == (0, 2_000)
