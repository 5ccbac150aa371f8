"""Marks are an optimisation: with them, without them or with damaged ones, a job is the same as of every version."""

import json
import shutil
from contextlib import closing

import pytest
from sqlalchemy import delete, select, update

from marigraph import marks
from marigraph.library import Marigraph
from marigraph.marks import Tally
from marigraph.tables import job_marks

CONFIG = {
    "analysis_config": {"bucket_span": "1m", "detectors": [{"function": "count"}], "latency": "2m"},
    "data_description": {},
}


def records(start, n=30):
    return [{"time": 1_700_000_000_000 + (start + index) * 7_000} for index in range(n)]


def live(ml):
    """Give a job a life with everything that marks look at; then another life under the same id."""
    ml.put_job("j", CONFIG)
    ml.open_job("j")
    for start in range(0, 240, 30):
        ml.post_data("j", records(start))
        ml.flush_job("j", advance_time=str(1_700_000_000 + (start + 20) * 7), calc_interim=False)
    ml.post_data("j", [*records(0, 3), {"time": "never"}, *records(250, 2)])
    ml.close_job("j")
    ml.update_job("j", description="after the first session")
    ml.open_job("j")
    ml.post_data("j", records(400))
    ml.close_job("j")
    first = ml.get_model_snapshots("j", sort="timestamp", desc=False)["model_snapshots"][0]["snapshot_id"]
    ml.revert_model_snapshot("j", first, delete_intervening_results=True)
    ml.open_job("j")
    ml.post_data("j", records(300))
    ml.close_job("j", force=True)
    ml.delete_job("j")
    ml.put_job("j", CONFIG)
    ml.open_job("j")
    ml.post_data("j", records(0))
    ml.delete_job("j", force=True)


@pytest.fixture(autouse=True, scope="module")
def _frequent():
    """Marks every few events, each with the job."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(marks, "EVENTS_PER_MARK", 8)
        patch.setattr("marigraph.jobs.EVENTS_PER_MARK", 8)
        patch.setattr(marks, "EVENT_BYTES", 1 << 20)
        yield


@pytest.fixture(scope="module")
def lived(new_module_file, _frequent):
    """A database in which the job has lived; only to be copied."""
    url = f"sqlite:///{new_module_file()}"
    with closing(Marigraph(url, actor="tester")) as ml:
        live(ml)
    return url.removeprefix("sqlite:///")


@pytest.fixture
def app(lived, sqlite_url):
    shutil.copyfile(lived, sqlite_url.removeprefix("sqlite:///"))
    with closing(Marigraph(sqlite_url, actor="tester")) as ml:
        yield ml.application


def head(app):
    return app.store.head("job-j").version


def stored(app):
    columns = [column for column in job_marks.c if column is not job_marks.c.body]
    with app.store.reading() as connection:
        return connection.execute(select(*columns, job_marks.c.body.is_(None)).order_by(job_marks.c.version)).all()


def everywhere(app):
    return [app.jobs.marks.at("j", version) for version in range(head(app) + 1)]


def without_silence(places):
    """The longest silence is told since the mark before, so it depends on where marks lie."""
    return [(job, {name: value for name, value in told(tally).items() if name != "silence"}) for job, tally in places]


def told(tally):
    return {name: getattr(tally, name) for name in Tally.__struct_fields__}


def test_a_job_as_of_each_version_is_what_a_replay_from_zero_gives(app):
    assert len(stored(app)) > 12
    assert any(not is_empty for *_, is_empty in stored(app)), "some marks hold the job"
    assert [job for job, _ in everywhere(app)] == [app.jobs.replay("j", version) for version in range(head(app) + 1)]


def test_marks_that_are_missing_or_damaged_change_nothing(app):
    expected = without_silence(everywhere(app))
    with app.store.transaction() as connection:
        connection.execute(update(job_marks).where(job_marks.c.body.is_not(None)).values(body=b"no job"))
    assert without_silence(everywhere(app)) == expected
    with app.store.transaction() as connection:
        connection.execute(delete(job_marks))
    assert without_silence(everywhere(app)) == expected


def test_marks_written_at_once_are_those_written_bit_by_bit(app):
    expected = stored(app)
    with app.store.transaction() as connection:
        app.jobs.marks.clear(connection)
        app.jobs.marks.extend(connection, "j", head(app))
    found = {row.version: row for row in stored(app)}
    assert [row.version for row in expected if row.version not in found] == []
    counted = [tuple(row)[:-1] for row in expected if row.version in found]
    assert [tuple(found[row[1]])[:7] for row in counted] == [row[:7] for row in counted]


def test_marks_of_another_fold_are_written_anew(app):
    older = marks.Marks(app.store, app.codec, fold_version=-1)
    with app.store.transaction() as connection:
        older.clear(connection)
        older.extend(connection, "j", head(app))
    assert app.jobs.marks.at("j", head(app))[0] == app.jobs.replay("j")
    with app.store.transaction() as connection:
        app.jobs.marks.extend(connection, "j", head(app))
        job, _, _ = app.jobs.marks._nearest(connection, "j", head(app))
    assert job.version > 0


def test_sums_count_what_the_events_say(app):
    counted = dict.fromkeys(marks.SUMS, 0)
    for stored_event in app.store.iter_stream("job-j"):
        data = json.loads(stored_event.data)
        if stored_event.type == "data_posted":
            counted["post_count"] += 1
            counted["record_count"] += data["record_count"]
            for name in ("out_of_order_timestamp_count", "invalid_date_count"):
                counted[name] += data["counts"].get(name, 0)
        counted["flush_count"] += stored_event.type == "flushed"
        assert app.jobs.marks.sums_at("j", stored_event.version).sums() == counted
    assert all(counted.values())


def test_every_session_begins_and_ends_at_a_mark(app):
    marked = {row.version for row in stored(app)}
    borders = {each.version for each in app.store.iter_stream("job-j") if each.type in marks.BOUNDARIES}
    assert borders <= marked
    assert {"created", "opened", "closed", "deleted", "snapshot_reverted"} <= marks.BOUNDARIES


def test_marks_of_a_rebuilt_read_model_are_there_again(app):
    app.rebuild_jobs()
    assert {row.version for row in stored(app)} >= {1, 2, head(app)}
