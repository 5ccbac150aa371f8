"""Debugging by replay: what is shown is what the log gives, searches find the first place, the job stays untouched."""

import json
import shutil
import sys

import pytest
from sqlalchemy import delete

from domain.errors import Conflict, InvalidArgument, NotFound
from eventstore.tables import snapshots
from marigraph import handlers, queries
from marigraph.cli.main import execute
from marigraph.debugging.bisection import bisect
from marigraph.debugging.debugger import Debugger
from marigraph.debugging.difference import compare
from marigraph.debugging.points import version_of
from marigraph.debugging.scope import Condition, read_state
from marigraph.replay import CannotReplay
from tests.support.jobs import (
    CONTEXT,
    EVERY,
    DataSet,
    application,
    digest,
    facts,
    job_body,
    make_job,
    post,
    reopen,
    synthetic,
)

DATA = DataSet(
    "hourly",
    job_body(
        [
            {"function": "mean", "field_name": "value", "by_field_name": "series"},
            {"function": "count", "partition_field_name": "series"},
        ],
        "2h",
        influencers=["series"],
    ),
    "time,series,value",
    synthetic(2_400).lines,
)


@pytest.fixture(scope="module")
def finished(new_module_file):
    """The database of a job that was closed, reopened and updated on the way; only to be read."""
    path = new_module_file()
    with application(f"sqlite:///{path}") as app:
        make_job(app, DATA)
        for start in range(0, 1_200, 150):
            post(app, DATA, start, start + 150)
        reopen(app)
        handlers.update_job(app, "j", {"description": "changed", "groups": ["g"]}, CONTEXT)
        for start in range(1_200, 2_400, 300):
            post(app, DATA, start, start + 300)
        handlers.close_jobs(app, "j", CONTEXT)
    return path


@pytest.fixture
def app(finished):
    with application(f"sqlite:///{finished}") as app:
        yield app


@pytest.fixture
def own_url(finished, tmp_path):
    """The same job in a database of the test's own."""
    shutil.copyfile(finished, tmp_path / "own.db")
    return f"sqlite:///{tmp_path / 'own.db'}"


@pytest.fixture
def cli(finished, capsys):
    def run(*arguments):
        code = execute(["--db", f"sqlite:///{finished}", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def whole(finished):
    """The whole replay, with series s2 watched."""
    with application(f"sqlite:///{finished}") as app:
        debugger = Debugger(app, "j", ["series=s2"])
        steps = []
        while (step := debugger.step()) is not None:
            steps.append(step)
        yield debugger, steps


def test_steps_give_the_buckets_and_records_of_the_job_and_its_state(app, whole):
    debugger, steps = whole
    assert [step.version for step in steps] == list(range(1, debugger.head + 1))
    stored = queries.get_buckets(app, "j", page=EVERY)["buckets"]
    found = [each.result for step in steps for each in step.buckets]
    assert [bucket["timestamp"] for bucket in stored] == [result.timestamp_ms for result in found]
    assert [b["initial_anomaly_score"] for b in stored] == [result.initial_anomaly_score for result in found]
    assert debugger.job == app.jobs.load("j")
    assert debugger.model.digest().hex() == digest(app)


def test_a_step_says_what_changed(whole):
    _, steps = whole
    of_type = {step.item.event.type: step for step in reversed(steps)}
    assert [(c.name, c.before, c.after) for c in of_type["opened"].changes] == [("state", "closed", "opened")]
    assert ("config.description", None, "changed") in [(c.name, c.before, c.after) for c in of_type["updated"].changes]
    first, second, third = [step for step in steps if step.item.event.type == "data_posted"][:3]
    assert ("data_counts.processed_record_count", 0, 150) in [(c.name, c.before, c.after) for c in first.changes]
    assert "mean(value) series=s0" in first.new_series
    assert second.new_series == []
    assert {change.name.split()[-1] for change in third.moved} == {"level", "spread"}
    assert [change.size for change in third.moved] == sorted((change.size for change in third.moved), reverse=True)
    assert [c.name for c in of_type["snapshot_persisted"].changes][-1] == "model_snapshot_id"


def test_a_watched_series_is_seen_as_it_is_judged(app, whole):
    _, steps = whole
    points = {
        (point.timestamp_ms, point.label): point
        for step in steps
        for each in step.buckets
        for point in each.points
        if point.label.startswith("mean(value)")
    }
    assert len({label for _, label in points}) == 1
    of_series = [
        record
        for record in queries.get_records(app, "j", page=EVERY)["records"]
        if record["function"] == "mean" and record["by_field_value"] == "s2"
    ]
    assert of_series
    for record in of_series:
        point = points[record["timestamp"], "mean(value) series=s2"]
        assert point.actual == pytest.approx(record["actual"][0])
        assert point.typical == pytest.approx(record["typical"][0])
        assert point.lower < point.typical < point.upper


def test_watching_and_asking_changes_nothing_of_the_state(app):
    condition = Condition.of("level('s1') > 1e9 or series_count > 1e9 or record_score > 1e9")
    watched = Debugger(app, "j", ["s1", "s2", ""])
    while (step := watched.step(condition.atoms)) is not None:
        assert watched.find(condition, step) is None
    assert watched.model.digest().hex() == digest(app)


def test_the_debugger_goes_to_any_version_and_back(app, whole):
    steps = whole[1]
    debugger = Debugger(app, "j")
    alone = Debugger(app, "j")
    for version in (debugger.head, 3, 12, 7, 0):
        debugger.go_to(version)
        alone.source.uses_snapshots = False
        alone.go_to(version)
        assert (debugger.version, alone.version) == (version, version)
        assert debugger.job == (steps[version - 1].job if version else debugger.job)
        assert (debugger.model and debugger.model.digest()) == (alone.model and alone.model.digest())
    with pytest.raises(InvalidArgument, match=f"has the versions 1 to {debugger.head}, not 99"):
        debugger.go_to(99)


@pytest.mark.parametrize(
    "text",
    [
        "record_score > 20 and by == 's2'",
        "anomaly_score > 10",
        "level('s2') > 70 and spread('s2') < 60",
        "bucket_time >= '2023-11-16T00:00:00Z' and series_count >= 5",
    ],
)
def test_bisect_finds_the_first_place_that_a_search_by_hand_finds(app, text):
    condition = Condition.of(text)
    debugger = Debugger(app, "j")
    by_hand = None
    while by_hand is None and (step := debugger.step(condition.atoms)) is not None:
        by_hand = debugger.find(condition, step)
    found = bisect(app, "j", text)
    assert by_hand is not None
    assert found.hit == by_hand
    assert "one pass" in found.how
    bucket_times = [each.result.timestamp_ms for each in step.buckets]
    assert found.hit.bucket.timestamp_ms in bucket_times


def test_a_condition_on_the_job_reads_no_records(app, monkeypatch):
    monkeypatch.setattr(app.store, "read_payloads", lambda *_: pytest.fail("records were read"))
    found = bisect(app, "j", "processed_record_count > 1000 and event_type == 'data_posted'")
    assert (found.hit.version, found.hit.bucket) == (9, None)
    assert "no records were read" in found.how
    assert bisect(app, "j", "job_state == 'closed'", after_version=2).hit.event_type == "closed"
    assert bisect(app, "j", "job_state == 'failed'").hit is None


def test_a_condition_that_lasts_is_found_by_stored_states(app):
    alone = bisect(app, "j", "values('s1') > 60 and series_count > 2")
    found = bisect(app, "j", "values('s1') > 60 and series_count > 2", lasting=True)
    assert found.hit == alone.hit
    assert found.states_read >= 1
    assert found.from_version > alone.from_version
    with pytest.raises(InvalidArgument, match="only a condition on the state can go on holding"):
        bisect(app, "j", "record_score > 3", lasting=True)


def test_two_states_differ_in_what_happened_between_them(app):
    found = compare(app, "j", 12, app.jobs.load("j").version, series=["s2"])
    names = [change.name for change in found.job]
    assert {"config.description", "data_counts.processed_record_count"} <= set(names)
    components = {each.component for each in found.components}
    assert {"level", "trend", "seasons", "spread", "families", "novelty", "peaks"} <= components
    assert [each.size for each in found.components] == sorted((each.size for each in found.components), reverse=True)
    for each in found.components:
        assert [entry.size for entry in each.entries] == sorted((entry.size for entry in each.entries), reverse=True)
        assert all("s2" in entry.series for entry in each.entries)
    level = next(each for each in found.components if each.component == "level")
    debugger = Debugger(app, "j")
    debugger.go_to(12)
    before = {entry.name: entry.before for entry in level.entries if entry.series.startswith("mean(value)")}
    condition = Condition.of("level('s2') > 0")
    assert before["slow level"] == pytest.approx(
        read_state(debugger.model, condition.atoms, debugger.finder)["level", "s2"]
    )


def test_a_state_does_not_differ_from_itself_however_it_is_come_by(app):
    head = app.jobs.load("j").version
    found = compare(app, "j", head, head)
    assert (found.job, found.model, found.components, found.new_series) == ([], [], [], [])
    assert found.digests == (digest(app), digest(app))
    backwards, forwards = compare(app, "j", 9, 4), compare(app, "j", 4, 9)
    assert [(c.before, c.after) for c in backwards.job] == [(c.after, c.before) for c in forwards.job]


def test_states_of_two_jobs_of_one_id_are_not_compared(own_url):
    with application(own_url) as app:
        head = app.jobs.load("j").version
        handlers.delete_job(app, "j", CONTEXT)
        make_job(app, DATA)
        with pytest.raises(Conflict, match=f"are of two jobs: it was created anew at version {head + 2}"):
            compare(app, "j", 4, head + 3)


def test_what_is_no_longer_kept_is_named(own_url):
    with application(own_url) as app:
        handlers.delete_job(app, "j", CONTEXT)
        debugger = Debugger(app, "j")
        with pytest.raises(CannotReplay, match="the records posted at version 3 of its stream are no longer kept"):
            debugger.go_to(4)
        assert debugger.job.data_counts.processed_record_count == 300
        assert bisect(app, "j", "processed_record_count > 300").hit.version == 5


def test_points_are_versions_times_and_snapshots(app):
    events = list(app.store.iter_stream("job-j"))
    snapshot = app.jobs.load("j").snapshots[0]
    assert version_of(app, "j", "7") == 7
    assert version_of(app, "j", snapshot.snapshot_id) == snapshot.version
    at = events[8].recorded_at // 1000
    assert version_of(app, "j", str(at)) == max(e.version for e in events if e.recorded_at // 1000 <= at)
    for text, message in (
        ("0", "has the versions 1 to"),
        ("soon", "is no snapshot id"),
        ("2001-01-01", "not there yet"),
    ):
        with pytest.raises(InvalidArgument, match=message):
            version_of(app, "j", text)
    with pytest.raises(NotFound):
        version_of(app, "nope", "1")


def test_the_debugger_leaves_the_job_as_it_is(own_url):
    with application(own_url) as app:
        before, states = facts(app), app.store.list_snapshots("job-j")
        Debugger(app, "j", ["s1"]).go_to(5)
        bisect(app, "j", "record_score > 1e9")
        compare(app, "j", 3, 9)
        assert facts(app) == before
        assert app.store.list_snapshots("job-j") == states


def test_without_any_state_all_is_the_same(own_url):
    with application(own_url) as app:
        before = compare(app, "j", 10, 14).resource(5), bisect(app, "j", "record_score > 10").hit
        with app.store.transaction() as connection:
            connection.execute(delete(snapshots))
        assert (compare(app, "j", 10, 14).resource(5), bisect(app, "j", "record_score > 10").hit) == before


# --------------------------------------------------------------------------------------------------- command line


def test_replay_prints_each_event_and_the_state_at_the_end(cli, app):
    code, out, _ = cli("replay", "j", "--series", "s2")
    lines = out.splitlines()
    assert code == 0
    assert len([line for line in lines if line[:6].strip().isdigit()]) == app.jobs.load("j").version
    assert any(line.strip().startswith("mean(value) series=s2: actual") for line in lines)
    assert lines[-1] == f"state digest {digest(app)}"
    by_bucket = cli("replay", "j", "--by", "bucket", "--to-version", 6)[1].splitlines()
    assert len([line for line in by_bucket if line.strip().startswith("bucket 2023")]) >= 5


def test_replay_begins_at_a_snapshot_and_ends_where_told(cli, app):
    snapshot = app.jobs.load("j").snapshots[0]
    found = json.loads(cli("replay", "j", "--from-snapshot", snapshot.snapshot_id, "--to-version", 16, "--json")[1])
    assert found["snapshot_version"] == snapshot.version
    assert [step["version"] for step in found["steps"]] == list(range(snapshot.version + 1, 17))
    assert (
        found["state"]["state_digest"]
        == json.loads(cli("replay", "j", "--to-version", 16, "--json")[1])["state"]["state_digest"]
    )
    last = next(app.store.iter_stream("job-j", 8, 9))
    by_time = json.loads(cli("replay", "j", "--to-time", last.recorded_at // 1000, "--json")[1])
    assert by_time["state"]["version"] >= 9


def test_until_stops_at_the_first_event_that_makes_it_hold(cli):
    code, out, _ = cli("replay", "j", "--until", "record_score > 20 and by == 's2'")
    found = json.loads(cli("bisect", "j", "--until", "record_score > 20 and by == 's2'", "--json")[1])
    assert code == 0
    assert f"the condition holds after version {found['found']['version']} (data_posted), bucket" in out
    assert found["found"]["record"]["by_field_value"] == "s2"
    never = cli("replay", "j", "--until", "record_score > 1000", "--json")
    assert (never[0], json.loads(never[1])["found"]) == (1, None)
    assert cli("bisect", "j", "--until", "record_score > 1000")[0] == 1


def test_diff_and_bisect_print_tables_and_lines(cli):
    code, out, _ = cli("diff", "j", "--at", 9, "--at", 14, "--series", "s2")
    assert code == 0
    assert out.startswith("j: version 9 -> 14\n")
    assert "novelty (" in out
    code, out, _ = cli("bisect", "j", "--until", "level('s2') > 70")
    assert (code, out.splitlines()[0][:20]) == (0, "first after version ")
    assert "record_score" in cli("bisect", "j", "--until", "names")[1]


def test_step_without_a_terminal_prints_plain_text(cli, monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    assert cli("replay", "j", "--step", "--to-version", 4)[1] == cli("replay", "j", "--to-version", 4)[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["replay", "nope"], "No known job with id 'nope'"),
        (["replay", "j", "--until", "recrd_score > 1"], "did you mean record_score?"),
        (["replay", "j", "--until", "by > 1"], "compares a text > a number"),
        (["replay", "j", "--by", "hour"], "--by is event or bucket"),
        (["replay", "j", "--to-version", "99"], "has the versions 1 to"),
        (["replay", "j", "--from-version", "9", "--to-version", "4"], "nothing lies between"),
        (["replay", "j", "--to-version", "4", "--to-time", "now"], "not both"),
        (["replay", "j", "--from-snapshot", "x"], "never had a model snapshot"),
        (["diff", "j", "--at", "3"], "give --at twice"),
        (["diff", "j", "--at", "3", "--at", "x"], "is no snapshot id of job"),
        (["bisect", "j", "--until", "record_score >"], "cannot read the condition"),
    ],
)
def test_an_error_is_one_line_and_exit_code_two(cli, arguments, message):
    code, _out, err = cli(*arguments)
    assert (code, err.count("\n")) == (2, 1)
    assert message in err
