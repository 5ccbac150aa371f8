"""Explaining a record: from the log alone, the same from whatever state a replay begins, refused where it must be."""

import json
import re
import shutil
import sys

import pytest
from sqlalchemy import delete, select, update

from domain.errors import Conflict, InvalidArgument, NotFound
from domain.explanation import Witness, explain, recombined, work_out
from eventstore.tables import payloads, snapshots
from marigraph import handlers, queries
from marigraph.cli.main import execute
from marigraph.explain import RecordChoice, explain_record
from marigraph.replay import ModelSource
from marigraph.tables import records
from tests.support.jobs import (
    CONTEXT,
    EVERY,
    NAB_FILES,
    DataSet,
    application,
    farequote,
    finish,
    job_body,
    make_job,
    nab,
    post,
    reopen,
    synthetic,
)

DATA = synthetic(5_000)
CUTS = (1_500, 3_000, 4_200)
HIGHEST = RecordChoice()


def stored_records(app):
    return queries.get_records(app, "j", queries.EVERYTHING, EVERY)["records"]


@pytest.fixture(scope="module")
def finished(new_module_file):
    """The database of a job that was closed and reopened on the way; only to be read."""
    path = new_module_file()
    with application(f"sqlite:///{path}") as app:
        run_in_parts(app)
    return path


@pytest.fixture
def url(finished, tmp_path):
    """The same job in a database of the test's own."""
    shutil.copyfile(finished, tmp_path / "own.db")
    return f"sqlite:///{tmp_path / 'own.db'}"


@pytest.fixture
def app(url):
    with application(url) as app:
        yield app


def run_in_parts(app, data=DATA, cuts=CUTS):
    make_job(app, data)
    for start, end in zip([0, *cuts], [*cuts, None], strict=True):
        post(app, data, start, end)
        reopen(app)
    finish(app)


def test_a_record_is_explained_as_it_is_stored(app):
    ranked = [each for each in enumerate(stored_records(app)[:60], 1) if not each[1]["is_interim"]]
    for rank, stored in ranked[::7]:
        explained = explain_record(app, "j", RecordChoice(rank))
        assert explained.record == stored
        assert explained.matches_stored
        probability, score = recombined(explained.explanation)
        assert probability == pytest.approx(stored["probability"], rel=1e-9, abs=0.0)
        assert score == pytest.approx(stored["initial_record_score"], rel=1e-9)


def test_what_became_of_a_score_later_is_explained_too(app):
    stored = [each for each in enumerate(stored_records(app), 1) if not each[1]["is_interim"]]
    lowered = [each for each in stored if each[1]["record_score"] != each[1]["initial_record_score"]]
    assert lowered
    for rank, record in [*lowered[:4], stored[0]]:
        explained = explain_record(app, "j", RecordChoice(rank))
        now = work_out(explained.later)["record_score_now"] if explained.later else record["initial_record_score"]
        assert now == pytest.approx(record["record_score"], rel=1e-9)
        assert explained.matches_stored


def test_the_replay_begins_at_the_nearest_state_and_ends_where_the_bucket_closed(app):
    types = {event.version: event.type for event in app.store.iter_stream("job-j")}
    for record in stored_records(app)[:5]:
        explained = explain_record(app, "j", RecordChoice(timestamp_ms=record["timestamp"]))
        assert types[explained.to_version] in ("data_posted", "flushed")
        states = [row.version for row in app.store.list_snapshots("job-j") if row.version < explained.to_version]
        assert explained.snapshot_version == max(states, default=None)
        assert explained.from_version == (explained.snapshot_version or 0) + 1


def test_without_any_state_the_explanation_is_the_same(app):
    before = explain_record(app, "j", HIGHEST)
    with app.store.transaction() as connection:
        connection.execute(delete(snapshots))
    after = explain_record(app, "j", HIGHEST)
    assert (before.snapshot_version is None, after.snapshot_version) == (False, None)
    assert after.explanation == before.explanation


def test_nothing_but_the_name_comes_from_the_results(app):
    before = explain_record(app, "j", HIGHEST)
    with app.store.transaction() as connection:
        for row in connection.execute(select(records)).all():
            body = json.loads(row.body) | {"probability": 0.03, "initial_record_score": 1.0, "actual": [0.0]}
            key = (records.c.timestamp == row.timestamp) & (records.c.sequence == row.sequence)
            connection.execute(update(records).where(key).values(body=json.dumps(body)))
    after = explain_record(app, "j", HIGHEST)
    assert after.explanation == before.explanation
    assert (before.matches_stored, after.matches_stored) == (True, False)


def test_postgres_and_sqlite_explain_the_same(app, postgres_url):
    with application(postgres_url) as other:
        run_in_parts(other)
        assert explain_record(other, "j", HIGHEST).resource() == explain_record(app, "j", HIGHEST).resource()


def test_after_a_revert_the_bucket_that_stands_is_explained(sqlite_url):
    with application(sqlite_url) as app:
        make_job(app, DATA)
        post(app, DATA, 0, 3_000)
        reopen(app)
        post(app, DATA, 3_000, None)
        handlers.close_jobs(app, "j", CONTEXT)
        first = app.jobs.load("j").snapshots[0]
        handlers.revert_snapshot(app, "j", first.snapshot_id, CONTEXT, delete_intervening_results=True)
        reverted = app.jobs.load("j").version
        handlers.open_job(app, "j", CONTEXT)
        other = DataSet("other", DATA.body, DATA.header, [line.replace("s3", "s9") for line in DATA.lines])
        post(app, other, 3_000, None)
        finish(app)
        for record in stored_records(app)[:4]:
            explained = explain_record(app, "j", RecordChoice(timestamp_ms=record["timestamp"]))
            assert explained.matches_stored
            posted_again = explained.to_version > reverted
            assert posted_again == (record["timestamp"] > first.latest_result_ms)


def test_members_of_a_population_are_explained_by_their_causes(sqlite_url):
    detector = {"function": "mean", "field_name": "value", "by_field_name": "kind", "over_field_name": "server"}
    lines = [f"{line},k{index % 2}" for index, line in enumerate(DATA.lines)]
    data = DataSet("population", job_body([detector]), "time,server,value,kind", lines)
    with application(sqlite_url) as app:
        make_job(app, data)
        post(app, data)
        finish(app)
        record = stored_records(app)[0]
        explained = explain_record(
            app, "j", RecordChoice(over=record["over_field_value"], timestamp_ms=record["timestamp"])
        )
        assert explained.matches_stored
        evidence = explained.explanation.evidence
        assert [each.actual for each in evidence] == [each["actual"] for each in record["causes"]]
        assert "typical of other servers" in explained.explanation.sentence


def test_an_interim_record_is_refused_and_never_taken_by_default(sqlite_url):
    with application(sqlite_url) as app:
        make_job(app, DATA)
        post(app, DATA, 0, 3_975)
        handlers.flush_job(app, "j", {"calc_interim": True}, CONTEXT)
        with app.store.transaction() as connection:
            first = connection.execute(select(records).order_by(records.c.record_score.desc())).first()
            body = json.dumps(json.loads(first.body) | {"is_interim": True})
            key = (records.c.timestamp == first.timestamp) & (records.c.sequence == first.sequence)
            connection.execute(update(records).where(key).values(body=body))
        with pytest.raises(Conflict, match="is interim: its bucket is still open"):
            explain_record(app, "j", RecordChoice(1))
        assert explain_record(app, "j", HIGHEST).record == stored_records(app)[1]


def test_records_whose_payloads_were_dropped_are_refused_with_the_version(app):
    with app.store.transaction() as connection:
        connection.execute(delete(payloads))
        connection.execute(delete(snapshots))
    with pytest.raises(Conflict, match="records posted at version 3 of its stream are missing, and no event says why"):
        explain_record(app, "j", HIGHEST)


def test_a_record_that_is_not_there_is_not_found(app):
    with pytest.raises(NotFound, match="has no such record"):
        explain_record(app, "j", RecordChoice(by="nobody"))
    with pytest.raises(NotFound, match="has no such record"):
        explain_record(app, "j", RecordChoice(timestamp_ms=0))
    with pytest.raises(NotFound, match="No known job"):
        explain_record(app, "nothing", HIGHEST)
    with pytest.raises(InvalidArgument, match="must lie between 1 and"):
        explain_record(app, "j", RecordChoice(0))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_parts_of_every_record_of_farequote_come_to_what_is_stored(sqlite_url, test_data):
    with application(sqlite_url) as app:
        data = farequote(test_data)
        make_job(app, data)
        post(app, data)
        finish(app)
        stored = {(r["timestamp"], r["by_field_value"]): r for r in stored_records(app) if not r["is_interim"]}
        source = ModelSource(app.store, app.codec, "j", uses_snapshots=False)
        folded, n_explained = source.nearest(0, 1), 0
        witness = Witness(frozenset(timestamp // 1000 for timestamp, _ in stored))
        for item, posted in source.steps(0):
            if folded.model is not None:
                folded.model.witness = witness
            for bucket in folded.step(item, posted).buckets:
                closing = witness.closings.pop(bucket.timestamp_ms // 1000, None)
                for result in bucket.records:
                    record = stored[bucket.timestamp_ms, result.by_field_value]
                    probability, score = recombined(explain(closing, result))
                    assert probability == pytest.approx(record["probability"], rel=1e-9, abs=0.0)
                    assert score == pytest.approx(record["initial_record_score"], rel=1e-9, abs=1e-9)
                    n_explained += 1
        assert n_explained == len(stored) > 200


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["farequote", *NAB_FILES])
def test_every_record_of_real_data_is_explained(sqlite_url, test_data, name):
    data = farequote(test_data) if name == "farequote" else nab(test_data, name)
    with application(sqlite_url) as app:
        make_job(app, data)
        for start in range(0, len(data.lines), 2_000):
            post(app, data, start, start + 2_000)
            reopen(app)
        finish(app)
        stored = stored_records(app)
        assert len(stored) > 20
        for rank in range(1, len(stored) + 1, max(len(stored) // 100, 1)):
            if stored[rank - 1]["is_interim"]:
                continue
            explained = explain_record(app, "j", RecordChoice(rank))
            assert explained.matches_stored
            probability, score = recombined(explained.explanation)
            assert probability == pytest.approx(explained.record["probability"], rel=1e-9, abs=0.0)
            assert score == pytest.approx(explained.record["initial_record_score"], rel=1e-9, abs=1e-9)


# --------------------------------------------------------------------------------------------------- command line


@pytest.fixture
def cli(url, capsys):
    """Run a command on the job's database; returns (exit code, output, error output)."""

    def run(*arguments):
        code = execute(["--db", url, *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


def test_the_command_says_it_in_a_sentence_and_in_parts(cli):
    code, out, _ = cli("explain", "j")
    assert code == 0
    sentence, _, where, replayed, *_ = out.splitlines()
    assert sentence.startswith("value for series=s2 was 1")
    assert "above normal" in sentence
    assert where.startswith("bucket 2023-11-")
    assert "of the log" in replayed
    assert "equal to what is stored" in replayed
    rows = [line.strip().split("  ")[0] for line in out.splitlines()]
    assert rows.index("expected") < rows.index("level") < rows.index("probability") < rows.index("record score")
    assert all(len(line) < 200 for line in out.splitlines())


def test_the_full_table_has_every_part_and_what_it_is_made_from(cli):
    brief, full = cli("explain", "j")[1], cli("explain", "j", "--full")[1]
    assert "made from" not in brief
    assert "made from" in full
    assert "level floor" in full.replace("  ", " ")
    assert len(full.splitlines()) > len(brief.splitlines())


def test_json_has_what_the_table_has(cli):
    resource = json.loads(cli("explain", "j", "--json")[1])
    record = json.loads(cli("records", "j", "--size", 1, "--json")[1])["records"][0]
    assert resource["record"] == record
    assert resource["matches_stored"] is True
    assert resource["probability"] == record["probability"]
    assert resource["initial_record_score"] == record["initial_record_score"]
    assert resource["stages"][-1]["name"] == "record_score"
    assert resource["stages"][-1]["value"] == record["initial_record_score"]
    [evidence] = resource["evidence"]
    expected = next(stage for stage in evidence["stages"] if stage["name"] == "expected")
    assert sum(part["value"] for part in expected["parts"]) == pytest.approx(record["typical"][0])


def test_options_name_a_record(cli):
    every = json.loads(cli("records", "j", "--all", "--json")[1])["records"]
    third = json.loads(cli("explain", "j", 3, "--json")[1])["record"]
    assert third == every[2]
    of_series = next(record for record in every if record.get("by_field_value") == "s1")
    assert json.loads(cli("explain", "j", "--by", "s1", "--json")[1])["record"] == of_series
    varp = next(record for record in every if record["function"] == "varp")
    for option in (("--detector", 2), ("--function", "varp")):
        assert json.loads(cli("explain", "j", *option, "--json")[1])["record"] == varp
    last = every[-1]
    at = json.loads(cli("explain", "j", "--timestamp", last["timestamp"], "--json")[1])["record"]
    assert at["timestamp"] == last["timestamp"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["explain", "nope"], "No known job with id 'nope'"),
        (["explain", "j", "--by", "nobody"], "has no such record"),
        (["explain", "j", "0"], "must lie between"),
        (["explain", "j", "--timestamp", "tomorrow"], "cannot be parsed as a date"),
    ],
)
def test_an_error_is_one_line_and_exit_code_two(cli, arguments, message):
    code, out, err = cli(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_on_a_terminal_the_table_fits_it(url, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    assert execute(["--db", url, "explain", "j", "--full"]) == 0
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= 100
