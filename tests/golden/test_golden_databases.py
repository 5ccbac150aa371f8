"""Databases of past revisions are upgraded with what is in them, and their logs say what they said, for ever.

The log's digests, counts and jobs hold whatever the program has become. Model states and results hold for the version
of the fold that made them; under another one the results are rebuilt, and then verify.
"""

import msgspec
import pytest
from sqlalchemy import text

from domain.datafeeds.events import EVENT_TYPES
from domain.job import encode_job
from domain.model import FOLD_VERSION
from domain.retention import RETENTION_EVENTS
from eventstore.store import EventStore
from marigraph import schema
from marigraph.codec import build_codec
from marigraph.rebuilding import rebuild
from marigraph.replay import ModelSource
from marigraph.scratch import digest_tables
from marigraph.verify import verify_job
from tests.support import golden
from tests.support.golden import Dump
from tests.support.jobs import application

PATHS = sorted(golden.FOLDER.glob("*.jsonl.gz"))
by_path = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name.partition(".")[0])


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request, tmp_path):
    return str(tmp_path / "golden.db") if request.param == "sqlite" else request.getfixturevalue("empty_postgres_url")


def loaded(path, url):
    """Make a database as it was at its revision."""
    dump = Dump.read(path)
    schema.upgrade(url, dump.revision)
    dump.load(url)
    return dump


def test_there_is_one_of_the_present_revision():
    names = [path.name.partition(".")[0] for path in PATHS]
    assert schema.HEAD_REVISION in names, "run scripts/golden-database, once, and commit what it writes"
    assert set(names) <= set(schema.REVISIONS)


@pytest.mark.parametrize(
    ("path", "empty_url"),
    [*((path, "sqlite") for path in PATHS), (PATHS[-1], "postgres")],
    indirect=["empty_url"],
    ids=lambda value: value if isinstance(value, str) else value.name.partition(".")[0],
)
def test_the_log_of_an_upgraded_database_says_what_it_said(path, empty_url):
    dump = loaded(path, empty_url)
    schema.upgrade(empty_url)
    with application(empty_url) as app:
        app.rebuild_jobs()
        report = app.store.verify_chain()
        assert report.is_intact, report.first_bad
        heads = {name: app.store.head(name) for name in app.store.list_streams()}
        assert {name: [head.version, head.hash.hex()] for name, head in heads.items()} == dump.expected["streams"]
        for job_id, expected in dump.expected["jobs"].items():
            found = msgspec.json.decode(encode_job(app.jobs.load(job_id)))
            assert {name: found[name] for name in expected} == expected
        with app.store.reading() as connection:
            for job_id, tables in dump.expected["results"].items():
                found = digest_tables(connection, job_id)
                assert {name: [each.row_count, each.digest] for name, each in found.items()} == tables
        check_states(app, dump)


def check_states(app, dump):
    """A recorded state is that of a fold; of another fold the job goes on nevertheless, and its results verify."""
    if dump.header["fold_version"] == FOLD_VERSION:
        for job_id, expected in dump.expected["states"].items():
            source, job = ModelSource(app.store, app.codec, job_id), app.jobs.load(job_id)
            assert source.state_digest(source.fold_at(job.version, job.created_version)).hex() == expected
    else:
        rebuild(app, "kept", lambda _job_id: None, lambda _done, _total: None)
    assert [check for check in verify_job(app, "kept").checks if not check.holds] == []


CODECS = {
    "job": build_codec(),
    "datafeed": build_codec(EVENT_TYPES),
    "retention": build_codec(RETENTION_EVENTS),
}


@by_path
def test_every_event_of_it_can_be_read(path):
    rows = Dump.read(path).rows
    names = {row["id"]: row["name"] for table, row in rows if table == "streams"}
    for event in (row for table, row in rows if table == "events"):
        codec = CODECS[names[event["stream_id"]].partition("-")[0]]
        codec.decode(event["type"], event["schema_version"], event["data"], is_checked=True)


def test_a_damaged_one_fails_loudly(tmp_path):
    url = str(tmp_path / "golden.db")
    loaded(PATHS[-1], url)
    with golden.connected(url) as (connection, _tables):
        connection.execute(text("DROP TRIGGER events_no_update"))
        connection.execute(text("UPDATE events SET recorded_at = recorded_at + 1 WHERE version = 2"))
    schema.upgrade(url)
    with EventStore.connect(url) as store:
        assert not store.verify_chain().is_intact


class TestStairway:
    """Up and down with data: what a revision knows is the same before and after the others."""

    def climb(self, dump, url, first):
        schema.upgrade(url, first)
        dump.load(url)
        before = {first: golden.rows_of(url)}
        assert sum(len(rows) for rows in before[first].values()) > 50
        after = schema.REVISIONS[schema.REVISIONS.index(first) + 1 :]
        for revision in after:
            schema.upgrade(url, revision)
            now = golden.rows_of(url)
            assert {name: now[name] for name in before[first]} == before[first], (
                f"rows changed on the way to {revision}"
            )
            before[revision] = now
        with EventStore.connect(url) as store:
            assert store.verify_chain().is_intact
        for revision in [first, *after][-2::-1]:
            schema.downgrade(url, revision)
            assert schema.current_revision(url) == revision
            assert golden.rows_of(url) == before[revision]
        schema.downgrade(url, "base")
        assert set(golden.described(url)) <= {"alembic_version", "sqlite_sequence"}

    def test_from_the_first_revision_to_the_last_and_back(self, empty_url):
        self.climb(Dump.read(PATHS[0]), empty_url, schema.REVISIONS[0])

    @pytest.mark.slow
    @pytest.mark.parametrize("first", schema.REVISIONS[1:-1])
    def test_from_every_revision_to_the_last_and_back(self, first, empty_url):
        self.climb(Dump.read(PATHS[-1]), empty_url, first)


class TestExpandOnly:
    """What a program that is still admitted reads and writes is there, and nothing more is asked of it."""

    @by_path
    def test_tables_and_columns_stay_and_new_ones_fill_themselves(self, path, sqlite_url):
        was, now = Dump.read(path).header["tables"], golden.described(sqlite_url)
        for name, table in was.items():
            assert name in now
            for column, described in table["columns"].items():
                assert now[name]["columns"][column]["type"] == described["type"]
                assert now[name]["columns"][column]["nullable"] >= described["nullable"]
            for column in now[name]["columns"].keys() - table["columns"].keys():
                added = now[name]["columns"][column]
                assert added["nullable"] or added["filled"], f"a program of then would not fill {name}.{column}"
            assert now[name]["unique"] == table["unique"], "a new constraint would refuse what a program of then writes"
