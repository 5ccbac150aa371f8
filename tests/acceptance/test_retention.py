"""Retention and erasure: what is gone is gone, the log says so, and what is left still verifies."""

import random
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from domain.errors import BadRequest, Conflict, InvalidArgument
from domain.records import content_digest
from eventstore import KeyLocked
from eventstore.tables import payloads, snapshots, stream_keys
from marigraph import handlers, queries, retention
from marigraph.bootstrap import bootstrap
from marigraph.copying import copy_database
from marigraph.erasing import erase_job, finish_erasures
from marigraph.replay import STATE_SCHEMA, ModelSource, RecordsGone
from marigraph.retainer import Retainer
from marigraph.retention import run_retention
from marigraph.runner import Runner
from marigraph.schema import SchemaError
from marigraph.settings import Settings
from marigraph.tables import RESULT_TABLES, buckets, categories, compatibility, records
from marigraph.verify import verify_job
from tests.support.feeds import Clock
from tests.support.jobs import CONTEXT
from tests.support.kinds import ON_BOTH

DAY_MS = 86_400_000
START_MS = 1_700_006_400_000
BODY = {
    "analysis_config": {
        "bucket_span": "4h",
        "detectors": [{"function": "mean", "field_name": "value", "by_field_name": "series"}],
        "influencers": ["series"],
    },
    "data_description": {"time_format": "epoch_ms"},
}


@pytest.fixture
def clock():
    return Clock(START_MS)


@pytest.fixture
def app(url, clock):
    application = bootstrap(Settings(url), clock)
    yield application
    application.close()


def create(app, custom_settings=None, **settings):
    handlers.create_job(app, "j", {**BODY, "custom_settings": custom_settings or {}, **settings}, CONTEXT)


def hours(day, n_hours=24):
    lines = ["time,series,value"]
    for hour in range(n_hours):
        time_ms = START_MS + day * DAY_MS + hour * 3_600_000
        lines += [f"{time_ms + minute * 60_000},s{minute % 2},{hour % 7 + minute / 10}" for minute in (5, 25, 45)]
        if hour == 20:
            lines.append(f"{time_ms + 50 * 60_000},s1,900")
    return ("\n".join(lines) + "\n").encode()


def run_days(app, clock, *days, close=True):
    """Open, post each day's records, and close, a day of the clock each."""
    for day in days:
        clock.now_ms = START_MS + (day + 1) * DAY_MS
        if queries.require_job(app, "j").state == "closed":
            handlers.open_job(app, "j", CONTEXT)
        handlers.post_data(app, "j", hours(day), CONTEXT)
        if close:
            handlers.close_jobs(app, "j", CONTEXT)


def events_of(app, *types):
    return app.store.find_events("job-j", types)


def count(app, table, **where):
    with app.store.reading() as connection:
        query = select(func.count()).select_from(table)
        return connection.scalar(query.where(*(table.c[name] == value for name, value in where.items())))


def failures(app):
    return [check for check in verify_job(app, "j").checks if not check.holds]


def first_bucket_ms(app):
    with app.store.reading() as connection:
        return connection.scalar(select(func.min(buckets.c.timestamp)).where(buckets.c.job_id == "j"))


def day_ms(day):
    """The start of the oldest bucket kept when results go back to a day: the last bucket of the data is not final."""
    return START_MS + day * DAY_MS - 4 * 3_600_000


DROPPING = {"retention": {"payloads": "behind_snapshots"}}
SETTINGS = {
    "model_snapshot_retention_days": 2,
    "daily_model_snapshot_retention_after_days": 1,
    "results_retention_days": 3,
}


@pytest.fixture(scope="module")
def five_days(new_module_file):
    """A database file with a job of five days, from which nothing was removed yet."""
    path = new_module_file()
    clock = Clock(START_MS)
    app = bootstrap(Settings(str(path)), clock)
    try:
        create(app, DROPPING, **SETTINGS)
        run_days(app, clock, *range(5))
    finally:
        app.close()
    return path


@pytest.fixture
def lived(five_days, tmp_path, clock):
    """The application on a database of its own with a job of five days."""
    shutil.copyfile(five_days, tmp_path / "lived.db")
    clock.now_ms = START_MS + 5 * DAY_MS
    app = bootstrap(Settings(str(tmp_path / "lived.db")), clock)
    yield app
    app.close()


class TestRetention:
    @ON_BOTH
    def test_removes_what_is_too_old_by_events_and_the_rest_verifies(self, app, clock):
        create(app, DROPPING, **SETTINGS)
        run_days(app, clock, *range(6))
        assert count(app, payloads) == 6
        (dropped,) = run_retention(app, None, CONTEXT)
        assert [event.type for event in dropped.events] == ["snapshot_deleted"] * 3 + [
            "results_dropped",
            "payloads_dropped",
        ]
        assert {event.cause for event in events_of(app, *{event.type for event in dropped.events})} == {"retention"}
        job = queries.require_job(app, "j")
        assert next(snapshot.version for snapshot in job.snapshots) == job.payloads_dropped_to
        assert count(app, payloads) == 2
        assert first_bucket_ms(app) == job.results_dropped_before_ms == day_ms(3)
        assert failures(app) == []

    def test_a_second_run_finds_nothing_and_writes_nothing_to_the_job(self, lived):
        run_retention(lived, None, CONTEXT)
        version = lived.store.head("job-j").version
        assert run_retention(lived, None, CONTEXT) == []
        assert lived.store.head("job-j").version == version

    def test_a_dry_run_names_the_same_and_changes_nothing(self, lived):
        last = lived.store.read_all()[-1].position
        (planned,) = run_retention(lived, "j", CONTEXT, dry_run=True)
        assert (lived.store.read_all()[-1].position, count(lived, payloads)) == (last, 5)
        (dropped,) = run_retention(lived, "j", CONTEXT)
        assert planned.resource() == dropped.resource()

    def test_records_are_kept_unless_a_job_asks(self, app, clock):
        create(app, **SETTINGS)
        run_days(app, clock, *range(4))
        run_retention(app, None, CONTEXT)
        assert count(app, payloads) == 4
        assert failures(app) == []

    def test_of_an_open_job_goes_on_beside_its_analysis(self, app, clock):
        create(app, DROPPING, **SETTINGS)
        run_days(app, clock, *range(4))
        run_days(app, clock, 4, close=False)
        run_retention(app, None, CONTEXT)
        run_days(app, clock, 5)
        assert failures(app) == []
        assert first_bucket_ms(app) == queries.require_job(app, "j").results_dropped_before_ms

    def test_a_replay_of_what_is_gone_says_which_by_what_event(self, lived):
        run_retention(lived, None, CONTEXT)
        job = queries.require_job(lived, "j")
        source = ModelSource(lived.store, lived.codec, "j")
        assert source.fold_at(job.version, job.created_version).model is not None
        (event,) = events_of(lived, "payloads_dropped")
        said = (
            rf"posted at version 3 .* versions 1 to {job.payloads_dropped_to} at .* by tester \(event {event.version}\)"
        )
        with pytest.raises(RecordsGone, match=said):
            source.fold_at(job.payloads_dropped_to - 1, job.created_version)

    def test_results_come_back_as_they_are_from_a_replay(self, lived):
        """The event is folded like any other: a runner that begins behind the snapshot drops the same rows."""
        run_retention(lived, None, CONTEXT)
        handlers.open_job(lived, "j", CONTEXT)
        lived.own("j", CONTEXT).catch_up()
        assert first_bucket_ms(lived) == day_ms(2)
        assert failures(lived) == []

    def test_without_a_state_that_can_be_read_a_model_begins_anew_behind_what_was_dropped(self, lived, clock, caplog):
        """As after an upgrade to another engine: the job goes on, and says so."""
        run_retention(lived, None, CONTEXT)
        with lived.store.transaction() as connection:
            connection.execute(update(snapshots).values(state_schema="model/0"))
        run_days(lived, clock, 5)
        assert "an empty model begins there" in caplog.text
        assert queries.require_job(lived, "j").state == "closed"
        assert failures(lived) == []

    def test_records_stay_while_the_oldest_state_cannot_be_read(self, lived):
        with lived.store.transaction() as connection:
            connection.execute(update(snapshots).values(body=b"damaged"))
        run_retention(lived, None, CONTEXT)
        assert count(lived, payloads) == 5

    def test_equal_records_that_are_needed_later_stay(self, app, clock):
        create(app, DROPPING, **SETTINGS)
        clock.now_ms += DAY_MS
        run_days(app, clock, 0)
        handlers.open_job(app, "j", CONTEXT)
        handlers.post_data(app, "j", hours(0), CONTEXT)
        app.runner("j", CONTEXT).catch_up()
        run_retention(app, None, CONTEXT)
        assert (len(events_of(app, "payloads_dropped")), count(app, payloads)) == (1, 1)
        handlers.close_jobs(app, "j", CONTEXT)
        assert failures(app) == []

    def test_states_that_belong_to_no_snapshot_go_but_for_the_newest(self, lived):
        run_retention(lived, None, CONTEXT)
        versions = [snapshot.version for snapshot in queries.require_job(lived, "j").snapshots]
        assert [row.version for row in lived.store.list_snapshots("job-j", STATE_SCHEMA)] == versions

    @pytest.mark.parametrize("step", ["drop_results", "drop_states", "_drop_payloads"])
    def test_a_crash_between_event_and_deletion_is_mended_by_the_next_run(self, lived, monkeypatch, step):

        def crash(*_):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(retention, step, crash)
            run_retention(lived, None, CONTEXT)
        assert len(events_of(lived, "payloads_dropped")) == 1
        run_retention(lived, None, CONTEXT)
        assert (count(lived, payloads), count(lived, snapshots)) == (2, 3)
        assert first_bucket_ms(lived) == day_ms(2)
        assert len(events_of(lived, "payloads_dropped")) == 1
        assert failures(lived) == []

    def test_what_a_crash_left_of_a_deleted_job_goes_too(self, lived, monkeypatch):
        def crash(*_):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(handlers, "remove_job", crash)
            handlers.delete_job(lived, "j", CONTEXT)
        assert count(lived, payloads) == 5
        run_retention(lived, None, CONTEXT)
        assert [count(lived, table) for table in (payloads, snapshots, *RESULT_TABLES)] == [0] * 7

    @ON_BOTH
    def test_rows_go_in_bounded_batches_until_none_is_left(self, app, clock, monkeypatch):
        monkeypatch.setattr(retention, "ROWS_PER_COMMIT", 7)
        create(app, **SETTINGS)
        run_days(app, clock, *range(4))
        expected = sum(count(app, table) for table in RESULT_TABLES)
        n_rows = retention.drop_results(app.store, "j", START_MS + 2 * DAY_MS)
        assert 0 < n_rows == expected - sum(count(app, table) for table in RESULT_TABLES)
        assert first_bucket_ms(app) == START_MS + 2 * DAY_MS

    def test_is_refused_while_older_programs_may_run(self, app, clock):
        create(app)
        with app.store.transaction() as connection:
            connection.execute(update(compatibility).values(oldest_revision="0006"))
        with pytest.raises(SchemaError, match="db finish"):
            run_retention(app, None, CONTEXT)

    def test_a_setting_that_cannot_be_meant_is_refused_when_the_job_is_made(self, app):
        with pytest.raises(BadRequest, match=re.escape("custom_settings.retention")):
            create(app, {"retention": {"payloads": "all"}})


class TestSchedule:
    AT = 30

    @ON_BOTH
    def test_runs_once_a_day_whichever_server_looks(self, app, url, clock):
        create(app, **SETTINGS)
        other = bootstrap(Settings(url), clock)
        try:
            first, second = Retainer(app, self.AT), Retainer(other, self.AT)
            assert not first.look()  # the time of today is over
            clock.now_ms += DAY_MS
            assert [first.look(), second.look(), first.look()] == [True, False, False]
            clock.now_ms += DAY_MS
            assert [second.look(), first.look()] == [True, False]
        finally:
            other.close()
        assert [event.actor for event in app.store.read_stream("retention")] == ["marigraph-server"] * 2

    def test_makes_up_for_a_time_at_which_no_server_ran(self, app, clock):
        first = Retainer(app, self.AT)
        clock.now_ms += DAY_MS
        assert first.look()
        clock.now_ms += DAY_MS
        run_retention(app, None, CONTEXT)  # somebody's own run does not count
        assert Retainer(app, self.AT).look()

    def test_a_job_that_is_deleted_meanwhile_does_not_keep_the_others_from_it(self, app, clock, monkeypatch):
        create(app, **SETTINGS)
        run_days(app, clock, *range(4))
        handlers.create_job(app, "a", BODY, CONTEXT)
        match = retention.match_jobs

        def late(*arguments):
            matched = match(*arguments)
            handlers.delete_job(app, "a", CONTEXT)
            return matched

        monkeypatch.setattr(retention, "match_jobs", late)
        retainer = Retainer(app, self.AT)
        clock.now_ms += DAY_MS
        assert retainer.look()
        assert len(events_of(app, "results_dropped")) == 1

    def test_another_server_at_work_is_left_alone(self, app, clock):
        retainer = Retainer(app, self.AT)
        clock.now_ms += DAY_MS
        lease = app.store.acquire("retention", "somebody/else", 60)
        assert not retainer.look()
        app.store.release(lease)
        assert retainer.look()

    @pytest.mark.parametrize(("text", "minute"), [("", 30), ("00:00", 0), ("23:59", 1_439), ("off", None)])
    def test_time_of_day_is_a_setting(self, text, minute):
        assert Settings.read({"MARIGRAPH_RETENTION_AT": text}, "a.db").retention_at_minute == minute

    @pytest.mark.parametrize("text", ["24:00", "7:00", "noon", "00:30:00"])
    def test_a_time_that_is_none_is_refused(self, text):
        with pytest.raises(InvalidArgument, match="MARIGRAPH_RETENTION_AT"):
            Settings.read({"MARIGRAPH_RETENTION_AT": text}, "a.db")


ERASABLE = {"erasable": True}


def results_of(app, table):
    columns = [column for column in table.c if column.name != "processing_time_ms"]
    with app.store.reading() as connection:
        return connection.execute(select(*columns).order_by(*table.primary_key)).all()


def stored_bodies(app):
    with app.store.reading() as connection:
        return [bytes(body) for table in (payloads, snapshots) for body in connection.scalars(select(table.c.body))]


class TestErasure:
    def test_an_erasable_job_gives_what_any_other_gives(self, app, clock):
        create(app)
        run_days(app, clock, 0, 1)
        plain = [results_of(app, table) for table in RESULT_TABLES]
        handlers.delete_job(app, "j", CONTEXT)
        create(app, ERASABLE)
        run_days(app, clock, 0, 1)
        assert [results_of(app, table) for table in RESULT_TABLES] == plain
        assert len(plain[1]) > 0
        assert failures(app) == []

    def test_nothing_that_is_stored_can_be_read_or_guessed_without_the_key(self, app, clock):
        create(app, ERASABLE)
        run_days(app, clock, 0)
        (key,) = app.store.keys.lives()
        assert all(b"zstd" not in body and b"\x28\xb5\x2f\xfd" not in body[:16] for body in stored_bodies(app))
        posted = app.codec.decode(*next((e.type, e.schema_version, e.data) for e in events_of(app, "data_posted")))
        source = ModelSource(app.store, app.codec, "j")
        batch = source.unpacked(next(stored for item, stored in source.steps(0) if item.payload_digest))
        assert posted.digest != content_digest(batch).hex()
        assert posted.digest == app.store.keys.find(*key).digest(content_digest(batch)).hex()
        snapshot = queries.require_job(app, "j").snapshots[0]
        assert snapshot.state_digest != source.exact(snapshot.version).digest().hex()

    @ON_BOTH
    def test_after_it_nobody_reads_the_records_and_the_log_verifies(self, app, clock):
        create(app, ERASABLE)
        run_days(app, clock, 0, 1)
        before = queries.require_job(app, "j").data_counts
        assert erase_job(app, "j", CONTEXT)["erased"]
        job = queries.require_job(app, "j")
        assert (job.data_counts, job.snapshots, job.state) == (before, (), "closed")
        assert (count(app, stream_keys), count(app, snapshots), count(app, payloads)) == (0, 0, 2)
        assert sum(count(app, table, job_id="j") for table in (*RESULT_TABLES, categories)) == 0
        assert failures(app) == []
        with pytest.raises(RecordsGone, match=r"unreadable for good: the job was erased at .* by tester \(event"):
            ModelSource(app.store, app.codec, "j").fold_at(3, 1)
        (event,) = events_of(app, "erased")
        assert event.actor == "tester"

    def test_results_may_be_kept(self, app, clock):
        create(app, ERASABLE)
        run_days(app, clock, 0, 1)
        n_rows = [count(app, table) for table in RESULT_TABLES]
        erase_job(app, "j", CONTEXT, keep_results=True)
        assert [count(app, table) for table in RESULT_TABLES] == n_rows
        assert n_rows[0] > 0
        assert failures(app) == []

    def test_an_erased_job_is_closed_for_good_until_it_is_made_anew(self, app, clock):
        create(app, ERASABLE)
        run_days(app, clock, 0)
        erase_job(app, "j", CONTEXT)
        with pytest.raises(Conflict, match="was erased"):
            handlers.open_job(app, "j", CONTEXT)
        assert not erase_job(app, "j", CONTEXT)["erased"]
        handlers.delete_job(app, "j", CONTEXT)
        create(app, ERASABLE)
        run_days(app, clock, 0)
        assert failures(app) == []

    def test_deleting_an_erasable_job_erases_it(self, app, clock):
        create(app, ERASABLE)
        run_days(app, clock, 0)
        handlers.delete_job(app, "j", CONTEXT)
        assert [event.type for event in events_of(app, "erased", "deleted")] == ["erased", "deleted"]
        assert count(app, stream_keys) == 0

    def test_a_crash_after_the_event_is_mended_by_the_next_retention(self, app, clock, monkeypatch):
        create(app, ERASABLE)
        run_days(app, clock, 0)

        def crash(*_):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr("marigraph.erasing.finish_erasure", crash)
            erase_job(app, "j", CONTEXT)
        assert count(app, stream_keys) == 1
        run_retention(app, None, CONTEXT)
        assert (count(app, stream_keys), count(app, records), count(app, snapshots)) == (0, 0, 0)
        assert failures(app) == []

    def test_a_key_that_came_to_be_too_late_is_removed(self, app, clock):
        create(app, ERASABLE)
        run_days(app, clock, 0)
        erase_job(app, "j", CONTEXT)
        app.store.keys.ensure("job-j", 1)
        finish_erasures(app)
        assert count(app, stream_keys) == 0

    def test_a_runner_that_is_late_stores_no_state_under_a_new_key(self, app, clock):
        create(app, ERASABLE)
        run_days(app, clock, 0, close=False)
        runner = app.runner("j", CONTEXT)
        assert isinstance(runner, Runner)
        runner.catch_up()
        with app.store.erasing() as connection:
            app.store.keys.destroy(connection, "job-j", 1)
        runner.save_state()
        assert (count(app, stream_keys), count(app, snapshots)) == (0, 0)

    def test_records_under_a_master_key_need_it(self, app, url, clock):
        app.close()
        settings = Settings.read({"MARIGRAPH_MASTER_KEY": "A" * 43 + "="}, url)
        wrapped = bootstrap(settings, clock)
        try:
            create(wrapped, ERASABLE)
            run_days(wrapped, clock, 0)
            assert failures(wrapped) == []
        finally:
            wrapped.close()
        bare = bootstrap(Settings(url), clock)
        try:
            with pytest.raises(KeyLocked, match="MARIGRAPH_MASTER_KEY"):
                handlers.open_job(bare, "j", CONTEXT)
                handlers.post_data(bare, "j", hours(1), CONTEXT)
        finally:
            bare.close()

    @pytest.mark.parametrize("text", ["short", "A" * 44, "!" * 44])
    def test_a_master_key_that_is_none_is_refused_without_being_shown(self, text):
        with pytest.raises(InvalidArgument, match="32 bytes in base64") as caught:
            Settings.read({"MARIGRAPH_MASTER_KEY": text}, "a.db")
        assert text not in str(caught.value)

    def test_leaves_no_trace_of_the_key_in_an_sqlite_file(self, sqlite_url, clock):
        app = bootstrap(Settings(sqlite_url), clock)
        try:
            create(app, ERASABLE)
            run_days(app, clock, 0)
            with app.store.reading() as connection:
                material = connection.scalar(select(stream_keys.c.material))
            erase_job(app, "j", CONTEXT)
            path = sqlite_url.removeprefix("sqlite:///")
            files = [Path(path + suffix).read_bytes() for suffix in ("", "-wal")]
        finally:
            app.close()
        assert all(bytes(material) not in content for content in files)


def test_a_copy_has_the_results_that_could_not_be_made_again(app, url, clock, tmp_path):
    create(app, {**DROPPING, **ERASABLE}, **SETTINGS)
    run_days(app, clock, *range(3))
    handlers.create_job(app, "erased", {**BODY, "custom_settings": ERASABLE}, CONTEXT)
    handlers.open_job(app, "erased", CONTEXT)
    handlers.post_data(app, "erased", hours(0), CONTEXT)
    handlers.close_jobs(app, "erased", CONTEXT)
    run_retention(app, None, CONTEXT)
    erase_job(app, "erased", CONTEXT, keep_results=True)
    target = str(tmp_path / "copy.db")
    copy_database(Settings(url), target, CONTEXT)
    copy = bootstrap(Settings(target), clock)
    try:
        assert [results_of(copy, table) for table in RESULT_TABLES] == [
            results_of(app, table) for table in RESULT_TABLES
        ]
        assert failures(copy) == []
        run_days(copy, clock, 3)
        assert failures(copy) == []
    finally:
        copy.close()


@pytest.mark.slow
@ON_BOTH
def test_retention_beside_posts_disturbs_none_of_them(app, url, clock):
    create(app, DROPPING, **{**SETTINGS, "results_retention_days": 0})
    done = threading.Event()

    def post():
        try:
            run_days(app, clock, *range(12))
        finally:
            done.set()

    thread = threading.Thread(target=post)
    thread.start()
    n_dropped = 0
    other = bootstrap(Settings(url), clock)
    try:
        while not done.wait(0.02):
            n_dropped += len(run_retention(other, None, CONTEXT))
    finally:
        other.close()
        thread.join()
    assert n_dropped > 1
    run_retention(app, None, CONTEXT)
    job = queries.require_job(app, "j")
    assert job.data_counts.input_record_count == 12 * 73
    assert first_bucket_ms(app) is None
    assert failures(app) == []


@pytest.mark.slow
def test_twenty_kills_during_retention_and_erasure_leave_nothing_that_the_next_run_does_not_mend(
    five_days, tmp_path, clock
):
    random_ = random.Random(5)
    for number in range(20):
        path = tmp_path / f"killed-{number}.db"
        shutil.copyfile(five_days, path)
        app = bootstrap(Settings(str(path)), clock)
        try:
            handlers.create_job(app, "erasable", {**BODY, "custom_settings": ERASABLE}, CONTEXT)
            handlers.open_job(app, "erasable", CONTEXT)
            handlers.post_data(app, "erasable", hours(0), CONTEXT)
            handlers.close_jobs(app, "erasable", CONTEXT)
        finally:
            app.close()
        script = (
            "import sys; from marigraph.cli.main import execute; print(flush=True); "
            "execute(['--db', sys.argv[1], 'erase', 'erasable', '--yes']); "
            "execute(['--db', sys.argv[1], 'retention', 'run'])"
        )
        process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(random_.random() * 1.5)
        process.kill()
        process.communicate()
        app = bootstrap(Settings(str(path)), clock)
        try:
            erase_job(app, "erasable", CONTEXT)
            run_retention(app, None, CONTEXT)
            run_retention(app, None, CONTEXT)
            assert (count(app, payloads), count(app, stream_keys)) == (3, 0)
            assert first_bucket_ms(app) == day_ms(2)
            assert [len(events_of(app, type_)) for type_ in ("payloads_dropped", "results_dropped")] == [1, 1]
            assert failures(app) == []
            assert not [check for check in verify_job(app, "erasable").checks if not check.holds]
        finally:
            app.close()
