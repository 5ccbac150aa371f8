"""Flush and close: what is final, what is interim, and how far the results reach."""

import pytest

from domain.errors import DomainError
from marigraph import handlers, queries
from marigraph.verify import verify_job
from tests.support.jobs import CONTEXT, EVERY, DataSet, application, job_body, make_job, reopen

HOUR = 3_600_000
FIRST = 1_403_481_600  # a full hour


@pytest.fixture
def app(sqlite_url):
    with application(sqlite_url) as app:
        yield app


def make(app, **more):
    body = job_body([{"function": "count"}, {"function": "mean", "field_name": "v"}], "1h", **more)
    make_job(app, DataSet("flush", body, "", []))


def post_at(app, *seconds):
    rows = "".join(f'{{"time": {second}, "v": 1}}\n' for second in seconds)
    return handlers.post_data(app, "j", rows.encode(), CONTEXT)


def flush(app, **parameters):
    return handlers.flush_job(app, "j", parameters, CONTEXT)


def buckets(app):
    """Start in hours after the first record, events, and whether interim, of every bucket."""
    found = queries.get_buckets(app, "j", page=EVERY)["buckets"]
    return [(each["timestamp"] // HOUR - FIRST // 3600, each["event_count"], each["is_interim"]) for each in found]


def test_a_job_that_never_saw_data_has_no_end_to_tell(app):
    make(app)
    assert flush(app, calc_interim=True) == {"flushed": True}
    assert buckets(app) == []


def test_the_end_is_the_start_of_the_first_bucket_before_any_is_final(app):
    make(app)
    post_at(app, FIRST, FIRST + 100)
    assert flush(app) == {"flushed": True, "last_finalized_bucket_end": FIRST * 1000}
    assert buckets(app) == []


def test_skipping_jumps_to_the_next_full_bucket_without_results(app):
    make(app)
    post_at(app, FIRST, FIRST + 100)
    assert flush(app, skip_time="1403488700")["last_finalized_bucket_end"] == 1_403_488_800_000
    assert buckets(app) == []
    post_at(app, 1_403_488_900, 1_403_492_500)
    flush(app)
    assert buckets(app) == [(2, 1, False)]


def test_advancing_finalizes_the_buckets_before_a_time(app):
    make(app)
    post_at(app, FIRST, FIRST + 100)
    assert flush(app, advance_time=str(FIRST + 3600 + 1800))["last_finalized_bucket_end"] == FIRST * 1000 + HOUR
    assert buckets(app) == [(0, 2, False)]


def test_data_behind_an_advanced_time_is_dropped_but_counted_as_processed(app):
    make(app)
    post_at(app, FIRST)
    flush(app, advance_time=str(FIRST + 2 * 3600))
    counts = post_at(app, FIRST + 3700, FIRST + 2 * 3600, FIRST + 3 * 3600)
    assert counts["processed_record_count"] == 3
    assert buckets(app) == [(0, 1, False), (1, 0, False), (2, 1, False)]


def test_latency_keeps_buckets_open(app):
    make(app, latency="1h")
    post_at(app, FIRST)
    assert flush(app)["last_finalized_bucket_end"] == FIRST * 1000 - HOUR
    post_at(app, FIRST + 3700, FIRST + 1800)
    assert flush(app)["last_finalized_bucket_end"] == FIRST * 1000
    assert flush(app, advance_time=str(FIRST + 2 * 3600))["last_finalized_bucket_end"] == FIRST * 1000 + HOUR
    assert buckets(app) == [(0, 2, False)]


def test_empty_buckets_are_listed(app):
    make(app)
    post_at(app, FIRST, FIRST + 3 * 3600)
    assert buckets(app) == [(0, 1, False), (1, 0, False), (2, 0, False)]


def test_an_incomplete_first_bucket_has_no_result(app):
    make(app)
    post_at(app, FIRST + 60, FIRST + 3600, FIRST + 2 * 3600)
    assert buckets(app) == [(1, 1, False)]


def test_interim_results_come_on_request_and_go_with_the_next_bucket(app):
    make(app)
    post_at(app, FIRST, FIRST + 3600)
    flush(app)
    assert buckets(app) == [(0, 1, False)]
    flush(app, calc_interim=True)
    assert buckets(app) == [(0, 1, False), (1, 1, True)]
    post_at(app, FIRST + 3700)
    flush(app, calc_interim=True)
    assert buckets(app) == [(0, 1, False), (1, 2, True)]
    flush(app)
    assert buckets(app) == [(0, 1, False), (1, 2, True)]
    post_at(app, FIRST + 2 * 3600)
    assert buckets(app) == [(0, 1, False), (1, 2, False)]


def test_interim_results_can_be_left_out_of_lists(app):
    make(app)
    post_at(app, FIRST, FIRST + 3600)
    flush(app, calc_interim=True)
    selection = queries.ResultFilter(exclude_interim=True)
    assert queries.get_buckets(app, "j", selection)["count"] == 1


def test_a_range_limits_the_interim_results(app):
    make(app, latency="3h")
    post_at(app, FIRST, FIRST + 3600, FIRST + 2 * 3600)
    flush(app, calc_interim=True, start=str(FIRST + 3600), end=str(FIRST + 2 * 3600))
    assert buckets(app) == [(1, 1, True)]


def test_the_bucket_in_progress_survives_close_and_reopen(app):
    make(app)
    post_at(app, FIRST, FIRST + 3600)
    reopen(app)
    post_at(app, FIRST + 3700, FIRST + 2 * 3600)
    assert buckets(app) == [(0, 1, False), (1, 2, False)]
    assert verify_job(app, "j").holds


def test_a_flush_that_is_refused_changes_nothing(app):
    make(app)
    post_at(app, FIRST)
    before = app.jobs.load("j")
    for parameters in ({"start": "1"}, {"advance_time": "soon"}, {"advance_time": "1", "skip_time": "2"}):
        with pytest.raises(DomainError):
            flush(app, **parameters)
    assert app.jobs.load("j") == before


def test_advancing_very_far_is_bounded(app):
    make(app)
    post_at(app, FIRST)
    end = flush(app, advance_time="9999-01-01T00:00:00Z")["last_finalized_bucket_end"]
    assert end >= 253_370_000_000_000
    assert 1 <= queries.get_buckets(app, "j", page=queries.Page(0, 0))["count"] < 100_000
    assert verify_job(app, "j").holds


def test_closing_stores_a_snapshot_of_what_was_analysed(app):
    make(app)
    post_at(app, FIRST, FIRST + 3600, FIRST + 2 * 3600)
    handlers.close_jobs(app, "j", CONTEXT)
    [snapshot] = queries.get_snapshots(app, "j")["model_snapshots"]
    assert snapshot["latest_record_time_stamp"] == (FIRST + 2 * 3600) * 1000
    assert snapshot["latest_result_time_stamp"] == (FIRST + 3600) * 1000
    assert snapshot["model_size_stats"]["memory_status"] == "ok"


def test_closing_a_job_that_never_saw_data_stores_no_snapshot(app):
    make(app)
    handlers.close_jobs(app, "j", CONTEXT)
    assert queries.get_snapshots(app, "j")["count"] == 0


def test_reverting_without_deletion_keeps_the_later_results(app):
    make(app)
    post_at(app, FIRST, FIRST + 3600)
    reopen(app)
    post_at(app, FIRST + 2 * 3600, FIRST + 3 * 3600)
    handlers.close_jobs(app, "j", CONTEXT)
    kept = buckets(app)
    oldest = queries.get_snapshots(app, "j")["model_snapshots"][-1]["snapshot_id"]
    handlers.revert_snapshot(app, "j", oldest, CONTEXT)
    assert buckets(app) == kept
    handlers.open_job(app, "j", CONTEXT)
    assert post_at(app, FIRST + 3600)["out_of_order_timestamp_count"] == 1
    post_at(app, FIRST + 4 * 3600)
    assert buckets(app) == [*kept, (3, 0, False)]
    assert verify_job(app, "j").holds
