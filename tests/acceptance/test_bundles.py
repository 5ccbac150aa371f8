"""Bundles: a job in a file that gives the same results anywhere, with its names or others; and files that are none."""

import json
import shutil
import sqlite3
import sys
from contextlib import closing
from hashlib import sha256

import msgspec
import pytest
import zstandard
from sqlalchemy import select, text

from domain.errors import AlreadyExists, Conflict, InvalidArgument
from domain.events import EVENT_TYPES
from domain.model import decode_state
from eventstore import EventStore
from eventstore.extract import StreamWriter
from marigraph import handlers
from marigraph.bundles.creating import Wish, create_bundle
from marigraph.bundles.manifest import BundleError
from marigraph.bundles.opening import opened_bundle
from marigraph.bundles.redaction import _KEPT
from marigraph.bundles.replaying import replay_bundle
from marigraph.cli.main import execute
from marigraph.replay import CannotReplay
from marigraph.scratch import TABLES
from marigraph.whatif.changes import Changes
from marigraph.whatif.report import what_if
from tests.support.jobs import CONTEXT, DataSet, application, job_body, make_job, post
from tests.support.one_life import NAMED, START, live

NAMES = [f"acme-berlin-{number}" for number in range(5)]
SAID = ["of the acme people", "acme-secret", "acme-note", "tester", "request-1"]
"""What people wrote into events, and who they were."""


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A job with a life, only to be read."""
    path = tmp_path_factory.mktemp("bundles") / "marigraph.db"
    with application(str(path)) as app:
        body = {**NAMED.body, "description": SAID[0], "custom_settings": {"owner": SAID[1]}}
        live(app, DataSet("named", body, NAMED.header, NAMED.lines))
        snapshot = app.jobs.load("j").snapshots[0].snapshot_id
        handlers.update_snapshot(app, "j", snapshot, {"description": SAID[2]}, CONTEXT)
        yield app


@pytest.fixture(scope="module")
def whole(job, tmp_path_factory):
    return create_bundle(job, "j", tmp_path_factory.mktemp("whole") / "j.bundle.db")


@pytest.fixture(scope="module")
def redacted(job, tmp_path_factory):
    wish = Wish(redact=("series",))
    return create_bundle(job, "j", tmp_path_factory.mktemp("redacted") / "j.bundle.db", wish)


@pytest.fixture(scope="module")
def part(job, tmp_path_factory):
    return create_bundle(job, "j", tmp_path_factory.mktemp("part") / "j.bundle.db", Wish(1000 * (START + 50_000)))


def rows_of(reading, job_id="j"):
    with reading() as connection:
        return {
            table.name: [
                {name: value for name, value in row._mapping.items() if name != "processing_time_ms"}
                for row in connection.execute(
                    select(table).where(table.c.job_id == job_id).order_by(*table.primary_key)
                )
            ]
            for table in TABLES
        }


def test_a_bundle_gives_what_the_job_has(job, whole):
    replayed = replay_bundle(whole.path)
    assert replayed.is_equal
    assert replayed.is_state_equal
    assert all(replayed.tables.values())
    assert replayed.run.results["records"].row_count > 5
    assert replayed.run.cost.record_count == whole.manifest.record_count


def test_its_log_is_that_of_the_job_with_its_hashes(job, whole):
    with opened_bundle(whole.path) as (_manifest, app, _size):
        assert [event.hash for event in app.store.iter_stream("job-j")] == [
            event.hash for event in job.store.iter_stream("job-j")
        ]


def test_it_is_a_database_that_every_command_reads(job, whole, tmp_path, capsys):
    path = tmp_path / "copy.db"
    shutil.copyfile(whole.path, path)
    for command in (["records", "j", "--json"], ["history", "j"], ["verify", "j"]):
        assert execute(["--db", str(path), *command]) == 0, capsys.readouterr().err
    assert rows_of(job.store.reading)["records"]


def test_a_part_begins_at_a_state_and_is_smaller(whole, part):
    assert part.manifest.begins_at_version > 3
    assert 0 < part.manifest.record_count < whole.manifest.record_count
    replayed = replay_bundle(part.path)
    assert replayed.is_equal
    assert replayed.is_state_equal
    assert replayed.run.from_version == part.manifest.begins_at_version + 1


def test_a_redacted_bundle_gives_the_same_results_under_other_names(job, redacted):
    assert redacted.manifest.redaction.results_equal
    assert replay_bundle(redacted.path).is_equal
    expected = msgspec.json.encode(rows_of(job.store.reading)).decode()
    for value, token in redacted.tokens.items():
        expected = expected.replace(value, token)
    with application(str(redacted.path)) as app:
        assert msgspec.json.encode(rows_of(app.store.reading)).decode() == expected
    assert "acme" not in expected


def test_tokens_keep_the_order_and_the_lengths_of_values(redacted):
    assert list(redacted.tokens) == NAMES
    assert sorted(redacted.tokens.values()) == list(redacted.tokens.values())
    assert {len(token) for token in redacted.tokens.values()} == {len(NAMES[0])}


def every_byte(path):
    """The file, and everything in it that is packed."""
    yield path.read_bytes()
    with closing(sqlite3.connect(path)) as connection:
        for (body,) in connection.execute("SELECT body FROM payloads"):
            yield zstandard.ZstdDecompressor().decompress(body)
        for (body,) in connection.execute("SELECT body FROM snapshots"):
            arrays, meta = decode_state(body)
            yield msgspec.json.encode(meta) + b"".join(array.tobytes() for array in arrays.values())


@pytest.mark.parametrize("from_ms", [None, 1000 * (START + 50_000)])
def test_nothing_that_was_redacted_or_written_by_people_is_in_the_file(job, redacted, whole, tmp_path, from_ms):
    made = redacted if from_ms is None else create_bundle(job, "j", tmp_path / "b.db", Wish(from_ms, ("series",)))
    if from_ms is not None:
        assert made.manifest.begins_at_version > 3
        assert replay_bundle(made.path).is_equal
    for piece in every_byte(made.path):
        for word in (*NAMES, "acme", *SAID):
            assert word.encode() not in piece, word
    assert any(NAMES[2].encode() in piece for piece in every_byte(whole.path))


def test_ties_and_populations_stay_as_they_are(sqlite_url, tmp_path):
    """Many members are unusual at once and alike, at several attributes: their names decide what is written."""
    lines = []
    for hour in range(26):
        members = [f"user{number}" for number in range(12)]
        lines += [f"{START + 3600 * hour + n},{name},page{n % 3},{10 + n % 3}" for n, name in enumerate(members)]
        if hour == 24:
            lines += [f"{START + 3600 * hour + 100 + n},{name},new{n},500" for n, name in enumerate(members * 3)]
    detectors = [
        {"function": "sum", "field_name": "bytes", "by_field_name": "page", "over_field_name": "user"},
        {"function": "rare", "by_field_name": "page"},
    ]
    body = job_body(detectors, "1h", influencers=["user", "page"]) | {
        "model_plot_config": {"enabled": True, "terms": "page1,new3"}
    }
    with application(sqlite_url) as app:
        make_job(app, DataSet("population", body, "time,user,page,bytes", lines))
        post(app, DataSet("population", body, "time,user,page,bytes", lines))
        handlers.flush_job(app, "j", {"calc_interim": True}, CONTEXT)
        made = create_bundle(app, "j", tmp_path / "b.db", Wish(redact=("user", "page")))
        assert made.manifest.redaction.results_equal
        assert made.manifest.recorded.tables["records"].row_count > 10
        assert made.manifest.recorded.tables["model_plot"].row_count > 10
    assert replay_bundle(made.path).is_equal


def test_every_event_has_a_rule_of_what_stays_of_it():
    assert set(_KEPT) == set(EVENT_TYPES)


@pytest.mark.parametrize(
    ("field", "message"),
    [("value", "only these can be redacted: .series."), ("time", "no by, over or partition field"), ("x", "\\[x\\]")],
)
def test_other_fields_are_refused(job, tmp_path, field, message):
    with pytest.raises(InvalidArgument, match=message):
        create_bundle(job, "j", tmp_path / "b.db", Wish(redact=(field,)))
    assert list(tmp_path.iterdir()) == []


def test_values_that_stand_elsewhere_are_refused_unless_that_is_allowed(sqlite_url, tmp_path):
    data = DataSet(
        "shared",
        job_body([{"function": "count", "by_field_name": "user"}], influencers=["path"]),
        "time,user,path",
        [f"{START + 60 * n},ann{n % 2},/home/ann{n % 3}/x" for n in range(60)],
    )
    with application(sqlite_url) as app:
        make_job(app, data)
        post(app, data)
        with pytest.raises(Conflict, match=r"\[user\] also stand in \[path\]"):
            create_bundle(app, "j", tmp_path / "b.db", Wish(redact=("user",)))
        made = create_bundle(app, "j", tmp_path / "b.db", Wish(redact=("user",), allows_shared=True))
        assert made.manifest.redaction.also_in == ["path"]
        with pytest.raises(AlreadyExists, match="exists already"):
            create_bundle(app, "j", tmp_path / "b.db")


@pytest.mark.parametrize("redact", [(), pytest.param(("series",), marks=pytest.mark.slow)])
def test_an_erasable_job_is_decrypted_only_where_that_is_asked_for(sqlite_url, tmp_path, redact):
    data = DataSet("erasable", {**NAMED.body, "custom_settings": {"erasable": True}}, NAMED.header, NAMED.lines[:300])
    with application(sqlite_url) as app:
        make_job(app, data)
        post(app, data, 0, 200)
        handlers.close_jobs(app, "j", CONTEXT)
        handlers.open_job(app, "j", CONTEXT)
        post(app, data, 200)
        with pytest.raises(Conflict, match="erasable"):
            create_bundle(app, "j", tmp_path / "b.db", Wish(redact=redact))
        made = create_bundle(app, "j", tmp_path / "b.db", Wish(redact=redact, decrypts=True))
        assert made.manifest.is_decrypted
    replayed = replay_bundle(made.path)
    assert replayed.is_equal
    assert replayed.is_state_equal
    with application(str(made.path)) as app:
        actors = {event.actor for event in app.store.iter_stream("job-j")}
    assert actors == ({None} if redact else {"tester"})


def test_settings_can_be_tried_on_a_bundle(job, whole, tmp_path):
    changes = Changes.read(["analysis_config.bucket_span=1h"])
    replayed = replay_bundle(whole.path, changes, tmp_path / "run.db")
    assert replayed.run.results == what_if(job, "j", changes).run.results
    assert not replayed.is_compared


def test_the_commands_tell_it(job, whole, redacted, tmp_path, capsys):
    assert execute(["bundle", "show", str(redacted.path)]) == 0
    assert "5 values of series are tokens" in capsys.readouterr().out
    assert execute(["bundle", "replay", str(whole.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["equal"] is True
    arguments = ["--db", str(job.settings.database), "bundle", "create", "j", "-o", str(tmp_path / "new.db")]
    assert execute([*arguments, "--redact", "series", "--mapping", str(tmp_path / "map.json")]) == 0
    assert list(json.loads((tmp_path / "map.json").read_text())) == NAMES
    assert (tmp_path / "map.json").stat().st_mode & 0o77 == 0


# ---------------------------------------------------------------------------------------- files that nobody vouches for


def changed(whole, tmp_path, *statements):
    """A copy of a bundle with something done to it."""
    path = tmp_path / "changed.db"
    shutil.copyfile(whole.path, path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
        for name in names:
            connection.execute(f"DROP TRIGGER {name}")
        for statement, *values in statements:
            connection.execute(statement, values)
    return path


def manifest_with(whole, **facts):
    text = msgspec.json.encode({**msgspec.to_builtins(whole.manifest), **facts}).decode()
    return "UPDATE events SET data = ? WHERE type = 'bundle_created'", text


def forged(whole, tmp_path, **data):
    """A copy whose events of some types hold other data, with a hash chain that fits."""
    path = changed(whole, tmp_path)
    with EventStore.connect(str(path)) as store:
        events = list(store.iter_stream("job-j"))
        with store.transaction() as connection:
            connection.execute(text("DELETE FROM streams WHERE name = 'job-j'"))
            connection.execute(text("DELETE FROM events WHERE stream_id = 1"))
            writer = StreamWriter(connection, "job-j")
            for event in events:
                writer.add(event._replace(data=data.get(event.type, event.data)))
            writer.finish()
            connection.execute(text("UPDATE payloads SET stream_id = (SELECT id FROM streams WHERE name = 'job-j')"))
    return path


@pytest.mark.parametrize(
    "data",
    [
        {"created": '{"config": {"job_id": 5}}'},
        {"updated": '{"config": null, "changes": {}}'},
        *(
            pytest.param(each, marks=pytest.mark.slow)
            for each in (
                {"created": "[]"},
                {"created": "{}"},
                {"data_posted": '{"counts": {}, "record_count": -1}'},
                {"snapshot_reverted": '{"snapshot_id": "1", "version": 99999999}'},
                {"flushed": '{"advance_time_ms": 4611686018427387904}'},
                {"flushed": '{"skip_time_ms": "soon"}'},
            )
        ),
    ],
)
def test_events_that_make_no_sense_are_refused_in_a_line(whole, tmp_path, capsys, data):
    assert execute(["bundle", "replay", str(forged(whole, tmp_path, **data))]) in (1, 2)
    assert capsys.readouterr().err.count("\n") <= 1


def test_a_state_that_is_none_is_refused(part, tmp_path):
    body = b"MGS1" + zstandard.ZstdCompressor().compress(b"nothing")
    forge = ("UPDATE snapshots SET body = ?, digest = ?, size = ?", body, sha256(body).digest(), len(body))
    with pytest.raises(BundleError, match="model state of version"):
        replay_bundle(changed(part, tmp_path, forge))


BOMB = zstandard.ZstdCompressor().compress(bytes(300 * 1024 * 1024))
DIGEST = "UPDATE payloads SET digest = randomblob(32) WHERE rowid = (SELECT min(rowid) FROM payloads)"
HOSTILE = {
    "a payload with other bytes": (["UPDATE payloads SET body = randomblob(100)"], "do not fit their digest"),
    "a payload with another digest": ([DIGEST], "do not fit their digest"),
    "a missing payload": (["DELETE FROM payloads"], "lacks the records of version 3"),
    "a changed event": (["UPDATE events SET actor = 'somebody' WHERE version = 4"], "not intact at version 4"),
    "a missing event": (["DELETE FROM events WHERE version = 4"], "not intact at version 4"),
    "a changed head": (["UPDATE streams SET version = 99 WHERE name = 'job-j'"], "not intact"),
    "no table of events": (["ALTER TABLE events RENAME TO e2"], "no table events"),
    "a view in place of a table": (
        ["ALTER TABLE events RENAME TO e2", "CREATE VIEW events AS SELECT * FROM e2"],
        "no table events",
    ),
    "no manifest": (["DELETE FROM events WHERE type = 'bundle_created'"], "without a manifest"),
    "a value of another type": (["UPDATE events SET data = x'00' WHERE version = 2"], "holds bytes"),
    "texts that are none": (["UPDATE events SET data = cast(x'ff' as text) WHERE version = 2"], "no intact bundle"),
    "another job": (["UPDATE streams SET name = 'job-k' WHERE name = 'job-j'"], "no events of job"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_with_something_wrong_is_refused_in_a_line(whole, tmp_path, capsys, name):
    statements, message = HOSTILE[name]
    path = changed(whole, tmp_path, *((each,) for each in statements))
    assert execute(["bundle", "replay", str(path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"format": 2}, "format 2, this program reads 1"),
        ({"job_id": "../x"}, "names no job"),
        ({"job_id": "k"}, "no events of job"),
        ({"recorded": None}, "manifest cannot be read"),
        ({"event_count": "many"}, "manifest cannot be read"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(whole, tmp_path, facts, message):
    with pytest.raises(BundleError, match=message):
        replay_bundle(changed(whole, tmp_path, manifest_with(whole, **facts)))


def test_a_part_from_another_engine_is_refused(part, tmp_path):
    recorded = {**msgspec.to_builtins(part.manifest.recorded), "state_schema": "model/0"}
    with pytest.raises(CannotReplay, match="only a bundle of all records"):
        replay_bundle(changed(part, tmp_path, manifest_with(part, recorded=recorded)))


def test_records_that_would_fill_the_memory_are_refused(whole, tmp_path):
    bomb = (
        "UPDATE payloads SET body = ?, digest = ?, size = ? WHERE rowid = 1",
        BOMB,
        sha256(BOMB).digest(),
        len(BOMB),
    )
    with pytest.raises(BundleError, match="would take 314572800 bytes unpacked"):
        replay_bundle(changed(whole, tmp_path, bomb))


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 no database", b"SQLite format 3\0" + bytes(84) + b"garbage" * 100]
)
def test_a_file_that_is_none_is_refused_in_a_line(tmp_path, capsys, content):
    path = tmp_path / "b.db"
    path.write_bytes(content)
    for command in ("show", "replay"):
        assert execute(["bundle", command, str(path)]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert execute(["bundle", "show", str(tmp_path / "none.db")]) == 2


def test_a_part_of_a_file_is_refused(whole, tmp_path):
    path = tmp_path / "b.db"
    path.write_bytes(whole.path.read_bytes()[: whole.path.stat().st_size // 2])
    with pytest.raises(BundleError):
        replay_bundle(path)


def test_results_that_are_not_those_of_the_log_are_found_and_other_versions_told(whole, tmp_path, capsys):
    recorded = msgspec.to_builtins(whole.manifest.recorded)
    recorded["tables"]["records"]["digest"] = "0" * 64
    facts = {"versions": {**whole.manifest.versions, "numpy": "1.0"}, "marigraph_version": "0.0.1"}
    path = changed(whole, tmp_path, manifest_with(whole, recorded=recorded, **facts))
    assert execute(["bundle", "replay", str(path)]) == 1
    out = capsys.readouterr().out
    assert "DIFFERS" in out
    assert "NOT everything is as recorded" in out
    assert "was 1.0 where the bundle was made" in out
    assert "was 0.0.1" in out


def test_a_program_that_is_no_other_installation_is_refused(job, kept_runs, capsys):
    for program, message in (("nosuchprogram", "no program"), ("true", "no Marigraph")):
        arguments = ["--db", str(job.settings.database), "whatif", "j", "--engine", program]
        assert execute(arguments) == 2
        assert message in capsys.readouterr().err


@pytest.fixture
def kept_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.mark.slow
def test_another_installation_gives_the_same(job, capsys):
    arguments = ["--db", str(job.settings.database), "whatif", "j", "--engine", sys.executable, "--json"]
    assert execute(arguments) == 0
    assert json.loads(capsys.readouterr().out)["results_equal"] is True


def test_what_a_file_says_commands_no_terminal(whole, tmp_path, capsys):
    versions = {"numpy": "\x1b[2J\x1b]0;owned\x07[bold]1.0", "\u202egnp": "2"}
    path = changed(whole, tmp_path, manifest_with(whole, versions=versions))
    assert execute(["bundle", "show", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "[bold]1.0" in shown
    assert not {"\x1b", "\x07", "\u202e"}.intersection(shown)


def test_a_log_that_is_not_intact_is_not_given_new_hashes(sqlite_url, tmp_path):
    with application(sqlite_url) as app:
        make_job(app, NAMED)
        post(app, NAMED, 0, 100)
        with app.store.transaction() as connection:
            for trigger in connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all():
                connection.execute(text(f"DROP TRIGGER {trigger.name}"))
            connection.execute(text("UPDATE events SET actor = 'nobody' WHERE version = 2"))
        with pytest.raises(Conflict, match="not intact at version 2"):
            create_bundle(app, "j", tmp_path / "b.db")
    assert list(tmp_path.glob("b.db*")) == []


@pytest.mark.slow
def test_a_bundle_of_a_job_on_postgres_is_the_same_file(postgres_url, tmp_path):
    with application(postgres_url) as app:
        make_job(app, NAMED)
        post(app, NAMED, 0, 400)
        made = create_bundle(app, "j", tmp_path / "b.db", Wish(redact=("series",)))
    assert made.manifest.redaction.results_equal
    assert replay_bundle(made.path).is_equal
