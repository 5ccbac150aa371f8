"""Many clients at once: order within a job, jobs beside each other, bounds that are told, waits that end."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from domain.errors import TimedOut
from marigraph import desk, handlers
from marigraph.settings import Backlog
from marigraph.verify import verify_job
from tests.support.http import FIRST, serving
from tests.support.jobs import CONTEXT

STATUS = "status_exception"
N_CONNECTIONS = 8


@pytest.fixture(scope="module")
def pool():
    with ThreadPoolExecutor(64) as pool:
        yield pool


def test_posts_to_one_job_are_stored_in_the_order_of_their_acknowledgement(http, pool):
    job_id = http.job(is_open=True)
    turn = threading.Semaphore(1)
    clock = iter(range(FIRST, FIRST + 1_000))

    def post():
        with turn:
            return http.post_at(job_id, next(clock)).ok(202)["out_of_order_timestamp_count"]

    late = list(pool.map(lambda _: post(), range(60)))
    assert sum(late) == 0
    assert http.stats(job_id)["data_counts"]["processed_record_count"] == 60


def test_posts_to_one_job_at_once_are_all_counted_once(http, pool):
    job_id = http.job(is_open=True)
    answers = list(pool.map(lambda size: http.post_at(job_id, *[FIRST] * size).ok(202), range(1, 41)))
    assert [each["processed_record_count"] for each in answers] == list(range(1, 41))
    http.post_at(job_id, FIRST + 3600).ok(202)
    http.post(f"{job_id}/_flush").ok()
    total = sum(range(1, 41))
    assert http.stats(job_id)["data_counts"]["processed_record_count"] == total + 1
    [bucket] = http.get(f"{job_id}/results/buckets").ok()["buckets"]
    assert bucket["event_count"] == total
    assert verify_job(http.server, job_id).holds


def test_many_jobs_are_posted_to_and_flushed_in_parallel(http, pool):
    jobs = [http.job(is_open=True) for _ in range(12)]

    def live(job_id):
        for hour in range(5):
            http.post_at(job_id, *range(FIRST + hour * 3600, FIRST + hour * 3600 + 100)).ok(202)
            http.post(f"{job_id}/_flush", {"calc_interim": True}).ok()
        return http.get(f"{job_id}/results/buckets").ok()["buckets"]

    for found in pool.map(live, jobs):
        assert [(each["event_count"], each["is_interim"]) for each in found] == [(100, False)] * 4 + [(100, True)]


def test_a_job_whose_analysis_is_at_work_keeps_no_other_waiting(http, pool):
    busy, free = http.job(is_open=True), http.job(is_open=True)
    with http.busy(busy):
        waiting = [pool.submit(http.post, f"{busy}/_flush") for _ in range(40)]
        posts = [pool.submit(http.post_at, busy, FIRST) for _ in range(10)]
        for post in posts:
            post.result(20).ok(202)
        assert http.post_at(free, FIRST).ok(202)["processed_record_count"] == 1
        assert http.post(f"{free}/_flush").ok()["flushed"] is True
        assert http.get(f"{busy}/results/buckets").status == 200
        assert not any(flush.done() for flush in waiting)
    assert all(flush.result(20).ok()["flushed"] for flush in waiting)


def test_a_flush_sees_what_was_posted_before_it(http, pool):
    job_id = http.job(is_open=True)

    def round_trip(hour):
        with http.busy(job_id):
            http.post_at(job_id, FIRST + hour * 3600).ok(202)
            flush = pool.submit(http.post, f"{job_id}/_flush")
        assert flush.result(20).ok()["last_finalized_bucket_end"] == (FIRST + hour * 3600) * 1000

    for hour in range(5):
        round_trip(hour)


def test_the_wait_for_a_flush_ends_and_the_flush_goes_on(http):
    job_id = http.job(is_open=True)
    http.post_at(job_id, FIRST).ok(202)
    with http.busy(job_id), pytest.raises(TimedOut, match=rf"flushing job \[{job_id}\] timed out"):
        handlers.flush_job(http.server, job_id, {"advance_time": str(FIRST + 3600)}, CONTEXT, timeout_seconds=0.05)
    assert http.post(f"{job_id}/_flush").ok()["last_finalized_bucket_end"] == (FIRST + 3600) * 1000


def test_the_same_job_is_made_and_opened_by_one_client_only(http, pool):
    body = {"analysis_config": {"detectors": [{"function": "count"}]}, "data_description": {}}
    made = list(pool.map(lambda _: http.put("raced", body).status, range(N_CONNECTIONS)))
    assert sorted(made) == [200] + [400] * (N_CONNECTIONS - 1)
    opened = list(pool.map(lambda _: http.post("raced/_open").status, range(N_CONNECTIONS)))
    assert sorted(opened) == [200] + [409] * (N_CONNECTIONS - 1)
    closed = list(pool.map(lambda _: http.post("raced/_close").status, range(N_CONNECTIONS)))
    assert closed == [200] * N_CONNECTIONS


def test_posts_that_race_a_close_are_counted_or_refused(http, pool):
    job_id = http.job(is_open=True)
    posts = [pool.submit(http.post_at, job_id, FIRST) for _ in range(20)]
    closing = pool.submit(http.post, f"{job_id}/_close")
    posts += [pool.submit(http.post_at, job_id, FIRST) for _ in range(20)]
    statuses = [post.result(20).status for post in posts]
    assert closing.result(20).ok() == {"closed": True}
    assert set(statuses) <= {202, 409}
    assert http.stats(job_id)["data_counts"]["processed_record_count"] == statuses.count(202)
    assert verify_job(http.server, job_id).holds


def test_posts_that_race_a_forced_deletion_leave_nothing(http, pool):
    job_id = http.job(is_open=True)
    posts = [pool.submit(http.post_at, job_id, FIRST) for _ in range(20)]
    deleting = pool.submit(http.delete, job_id, force=True)
    posts += [pool.submit(http.post_at, job_id, FIRST) for _ in range(20)]
    assert {post.result(20).status for post in posts} <= {202, 404, 409}
    assert deleting.result(20).ok() == {"acknowledged": True}
    assert http.get(job_id).status == 404
    http.job(job_id, is_open=True)
    assert http.stats(job_id)["data_counts"]["input_record_count"] == 0
    http.post_at(job_id, FIRST, FIRST + 3600).ok(202)
    http.post(f"{job_id}/_flush").ok()
    assert http.get(f"{job_id}/results/buckets").ok()["count"] == 1


@pytest.fixture
def bounded(sqlite_url):
    with serving(sqlite_url, backlog=Backlog(records_max=10, wait_seconds=0.2)) as http:
        yield http


def test_a_full_backlog_is_told_with_when_to_come_again(bounded):
    job_id, other = bounded.job(is_open=True), bounded.job(is_open=True)
    with bounded.busy(job_id):
        bounded.post_at(job_id, *[FIRST] * 10).ok(202)
        started = time.monotonic()
        answer = bounded.post_at(job_id, FIRST)
        assert time.monotonic() - started >= 0.2
        status, kind, reason = answer.error
        assert (status, kind) == (429, STATUS)
        assert reason == (
            f"job [{job_id}] has 10 records waiting for analysis, and may have 10; send them again later"
        )  # fmt: skip
        assert answer.headers["Retry-After"] == "5"
        bounded.post_at(other, FIRST).ok(202)
    bounded.post(f"{job_id}/_flush").ok()
    bounded.post_at(job_id, FIRST).ok(202)
    assert bounded.stats(job_id)["data_counts"]["processed_record_count"] == 11


def test_a_post_waits_for_room_and_a_large_one_goes_in_alone(bounded, pool):
    job_id = bounded.job(is_open=True)
    with bounded.busy(job_id):
        bounded.post_at(job_id, *[FIRST] * 50).ok(202)
        posts = [pool.submit(bounded.post_at, job_id, FIRST) for _ in range(desk.WAITING_POSTS_MAX)]
        time.sleep(0.05)
    assert all(post.result(20).status == 202 for post in posts)


def test_only_some_posts_to_a_full_job_wait_the_others_are_told_at_once(sqlite_url, pool):
    with serving(sqlite_url, backlog=Backlog(records_max=1, wait_seconds=20)) as http:
        job_id, other = http.job(is_open=True), http.job(is_open=True)
        with http.busy(job_id):
            http.post_at(job_id, FIRST).ok(202)
            posts = [pool.submit(http.post_at, job_id, FIRST) for _ in range(40)]
            deadline = time.monotonic() + 20
            while sum(post.done() for post in posts) < 40 - desk.WAITING_POSTS_MAX:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert http.post_at(other, FIRST).status == 202
        statuses = [post.result(30).status for post in posts]
        assert statuses.count(202) == desk.WAITING_POSTS_MAX
        assert statuses.count(429) == 40 - desk.WAITING_POSTS_MAX


def test_a_server_that_starts_again_goes_on_with_its_open_jobs(sqlite_url):
    with serving(sqlite_url) as http:
        opened, closed = http.job(is_open=True), http.job()
        with http.busy(opened):
            http.post_at(opened, FIRST, FIRST + 3600, FIRST + 7200).ok(202)
    with serving(sqlite_url) as http:
        assert [http.state(opened), http.state(closed)] == ["opened", "closed"]
        assert http.post(f"{opened}/_flush").ok()["last_finalized_bucket_end"] == (FIRST + 7200) * 1000
        assert http.get(f"{opened}/results/buckets").ok()["count"] == 2
        assert verify_job(http.server, opened).holds
