"""Who runs a job: take-overs, visitors, paused owners, and what happens when the analysis itself fails."""

import threading
import time

import pytest

from domain.errors import Conflict
from domain.model import Model
from eventstore import FencedOut
from marigraph import handlers
from marigraph.application import Application
from marigraph.bootstrap import system_clock_ms
from marigraph.codec import build_codec
from marigraph.ownership import Owner
from marigraph.runner import JobFailed
from marigraph.settings import Settings
from marigraph.verify import verify_job
from tests.support.jobs import CONTEXT, application, facts, finish, make_job, post, synthetic

DATA = synthetic(1_200, bucket_span="1h")
HALF = len(DATA.lines) // 2
ELSEWHERE = str(Owner("another-host", 1, "1", 1))


def types_of(app):
    return [event.type for event in app.store.iter_stream("job-j")]


@pytest.fixture(scope="module")
def expected(new_module_file):
    with application(f"sqlite:///{new_module_file()}") as app:
        make_job(app, DATA)
        post(app, DATA)
        finish(app)
        return facts(app)


def test_an_owner_elsewhere_is_waited_for_until_its_lease_ran_out(database_url):
    with application(database_url) as app:
        make_job(app, DATA)
        app.release("j")
        app.store.acquire("job-j", ELSEWHERE, 1.0)
        with pytest.raises(Conflict, match="is run by another process"):
            app.own("j", CONTEXT)
        assert app.own("j", CONTEXT, timeout_seconds=10.0).job.state == "opened"
        assert types_of(app)[-1] == "reassigned"


def test_an_owner_that_let_go_is_no_takeover(sqlite_url):
    with application(sqlite_url) as app:
        make_job(app, DATA)
    with application(sqlite_url) as app:
        post(app, DATA)
        assert "reassigned" not in types_of(app)


def test_a_paused_owner_that_wakes_up_can_append_nothing(database_url):
    with application(database_url) as app, application(database_url) as other:
        make_job(app, DATA)
        paused = app.own("j", CONTEXT)
        with app.store.transaction() as connection:
            from sqlalchemy import update

            from eventstore.tables import leases

            connection.execute(update(leases).values(expires_at=1))
        other.own("j", CONTEXT)
        before = types_of(app)
        with pytest.raises(FencedOut):
            post(app, DATA)
        paused.job = app.jobs.load("j")  # even at the right version
        with pytest.raises(FencedOut):
            post(app, DATA)
        assert types_of(app) == before


def test_posts_of_others_are_folded_by_the_owner_in_order(database_url, expected):
    with application(database_url) as owner, application(database_url) as visitor:
        make_job(owner, DATA)
        post(visitor, DATA, 0, 300)
        post(owner, DATA, 300, HALF)
        post(visitor, DATA, HALF, None)
        finish(owner)
        assert facts(owner) == expected


def test_a_flush_by_a_visitor_waits_for_the_owner(sqlite_url):
    with application(sqlite_url) as owner, application(sqlite_url) as visitor:
        make_job(owner, DATA)
        post(owner, DATA)
        answers = []
        waiting = threading.Thread(
            target=lambda: answers.append(handlers.flush_job(visitor, "j", {}, CONTEXT, timeout_seconds=30.0))
        )
        waiting.start()
        time.sleep(0.3)
        assert answers == []
        owner.own("j", CONTEXT).catch_up()
        waiting.join(timeout=30.0)
        end = owner.own("j", CONTEXT).model.last_finalized_bucket_end_ms
        assert answers == [{"flushed": True, "last_finalized_bucket_end": end}]


def test_a_forced_close_returns_at_once_and_loses_nothing(sqlite_url, expected):
    with application(sqlite_url) as owner, application(sqlite_url) as other:
        make_job(owner, DATA)
        post(owner, DATA, 0, HALF)
        assert handlers.close_jobs(other, "j", CONTEXT, force=True) == {"closed": True}
        with pytest.raises(Conflict, match="is not open"):
            post(owner, DATA, HALF, None)
        owner.release("j")
        handlers.open_job(other, "j", CONTEXT)
        post(other, DATA, HALF, None)
        finish(other)
        assert facts(other) == expected


def test_a_failing_analysis_is_an_event_and_loses_nothing(sqlite_url, expected, monkeypatch):
    def broken(_self, _batch):
        msg = "a defect of our own"
        raise ZeroDivisionError(msg)

    with application(sqlite_url) as app:
        make_job(app, DATA)
        post(app, DATA, 0, HALF)
        with monkeypatch.context() as patch:
            patch.setattr(Model, "add", broken)
            with pytest.raises(JobFailed, match="a defect of our own"):
                post(app, DATA, HALF, None)
            app.release("j")
            assert app.jobs.load("j").state == "failed"
            with pytest.raises(Conflict, match="it failed, use force close"):
                handlers.close_jobs(app, "j", CONTEXT)
            handlers.close_jobs(app, "j", CONTEXT, force=True)
        assert types_of(app)[-3:] == ["data_posted", "failed", "closed"]
        handlers.open_job(app, "j", CONTEXT)
        finish(app)
        assert facts(app) == expected
        assert verify_job(app, "j").holds


def test_a_retried_post_is_stored_once_and_answers_the_same(database_url):
    with application(database_url) as app:
        make_job(app, DATA)
        first = handlers.post_data(app, "j", DATA.csv(), CONTEXT, command_id="again")
        assert handlers.post_data(app, "j", DATA.csv(), CONTEXT, command_id="again") == first
        assert types_of(app).count("data_posted") == 1


def test_leases_are_renewed_while_a_job_is_run(sqlite_url):
    with application(sqlite_url) as made:
        make_job(made, DATA)
    app = Application(made.store.connect(sqlite_url), build_codec(), Settings(sqlite_url, 0.6), system_clock_ms)
    try:
        lease = app.own("j", CONTEXT).lease
        time.sleep(1.0)
        holder = app.store.holder("job-j")
        assert holder is not None
        assert (holder.owner, holder.epoch) == (lease.owner, lease.epoch)
    finally:
        app.close()


def test_jobs_of_one_process_do_not_mix(sqlite_url, expected):
    with application(sqlite_url) as app:
        make_job(app, DATA, "a")
        make_job(app, DATA, "b")
        for start, end in ((0, HALF), (HALF, None)):
            post(app, DATA, start, end, "a")
            post(app, DATA, start, end, "b")
        for job_id in ("a", "b"):
            finish(app, job_id)
            assert facts(app, job_id)["digest"] == expected["digest"]
            assert verify_job(app, job_id).holds


def test_a_deleted_job_leaves_its_history_and_a_new_one_starts_empty(database_url, expected):
    with application(database_url) as app:
        make_job(app, DATA)
        post(app, DATA)
        finish(app)
        handlers.delete_job(app, "j", CONTEXT)
        assert app.store.verify_chain("job-j").is_intact
        make_job(app, DATA)
        post(app, DATA)
        finish(app)
        assert facts(app) == expected
        assert verify_job(app, "j").holds
        assert types_of(app).count("created") == 2
