from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, create_engine, inspect, text
from sqlalchemy.engine import Engine

from eventstore import NO_STREAM, EventStore
from eventstore.tables import metadata as store_metadata
from eventstore.urls import parse_url
from marigraph import schema
from marigraph.tables import metadata as read_model_metadata
from tests.contract.support import event, run_threads
from tests.support.postgres import Server, conninfo

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "empty.db")
    url: str = request.getfixturevalue("empty_postgres_url")
    return url


def tables_of(url: str) -> set[str]:
    engine = create_engine(parse_url(url))
    try:
        return set(inspect(engine).get_table_names()) - {"alembic_version", "sqlite_sequence"}
    finally:
        engine.dispose()


def alembic(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "MARIGRAPH_DB"}
    return subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=cwd, env={**kept, **environment}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_there_is_one_head_and_the_program_knows_all_revisions() -> None:
    script = ScriptDirectory(str(schema.migrations_path()))
    chain = [revision.revision for revision in script.walk_revisions()][::-1]
    assert script.get_heads() == [schema.HEAD_REVISION]
    assert list(schema.REVISIONS) == chain
    files = sorted(path.name for path in (schema.migrations_path() / "versions").glob("[0-9]*.py"))
    assert [name.partition("_")[0] for name in files] == chain, "file names sort in the order of the chain"


def test_autogenerate_finds_no_drift(database_url: str) -> None:
    assert schema.find_drift(database_url) == []


def test_drift_would_be_found(database_url: str) -> None:
    engine = create_engine(parse_url(database_url))
    with engine.begin() as connection:
        connection.execute(text("DROP INDEX uq_events_command"))
        connection.execute(text("ALTER TABLE leases ADD COLUMN colour text"))
    engine.dispose()
    assert len(schema.find_drift(database_url)) == 2


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_migrated_tables_are_those_of_the_program(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """What autogenerate does not see, the reflection of all columns, keys and indexes does."""
    migrated: str = request.getfixturevalue(f"{kind}_url")
    created = str(tmp_path / "a.db") if kind == "sqlite" else request.getfixturevalue("empty_postgres_url")
    described = []
    for url in (created, migrated):
        engine = create_engine(parse_url(url))
        if url is created:
            for metadata in (store_metadata, read_model_metadata):
                metadata.create_all(engine)
        described.append(describe(engine))
        engine.dispose()
    assert described[0] == described[1]


def describe(engine: Engine) -> dict[str, object]:
    found = MetaData()
    found.reflect(engine)
    inspector = inspect(engine)
    return {
        name: (
            [(column.name, str(column.type), column.nullable) for column in table.columns],
            inspector.get_pk_constraint(name)["name"],
            sorted(constraint["name"] or "" for constraint in inspector.get_unique_constraints(name)),
            sorted(
                (index["name"], tuple(index["column_names"]))
                for index in inspector.get_indexes(name)
                if index["name"] != "ix_events_recorded_at"  # made by the revision alone
            ),
        )
        for name, table in found.tables.items()
        if name != "alembic_version"
    }


def test_events_are_guarded_by_triggers(database_url: str) -> None:
    engine = create_engine(parse_url(database_url))
    query = (
        "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        if engine.dialect.name == "sqlite"
        else "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
    )
    with engine.connect() as connection:
        names = set(connection.scalars(text(query)))
    engine.dispose()
    sqlite = {"events_no_update", "events_no_delete"}
    assert names == (sqlite if "sqlite" in database_url else {"events_no_change", "events_no_truncate"})


def test_positions_of_postgres_come_from_a_sequence_without_a_cache(postgres_url: str) -> None:
    engine = create_engine(parse_url(postgres_url))
    with engine.connect() as connection:
        query = "SELECT cache_size FROM pg_sequences WHERE sequencename = 'events_position_seq'"
        assert connection.scalar(text(query)) == 1
        of_bodies = "attname = 'body' AND attrelid = 'payloads'::regclass"
        compression = f"SELECT attstorage FROM pg_attribute WHERE {of_bodies}"
        assert set(connection.scalars(text(compression))) == {"e"}
    engine.dispose()


class TestAlembicCommand:
    def test_upgrades_the_database_of_the_environment(self, empty_url: str) -> None:
        done = alembic("upgrade", "head", MARIGRAPH_DB=empty_url)
        assert done.returncode == 0, done.stderr
        assert schema.current_revision(empty_url) == schema.HEAD_REVISION

    def test_url_of_the_command_line_wins(self, tmp_path: Path) -> None:
        done = alembic("-x", f"url={tmp_path}/x.db", "upgrade", "head", MARIGRAPH_DB=f"{tmp_path}/env.db")
        assert done.returncode == 0, done.stderr
        assert schema.current_revision(str(tmp_path / "x.db")) == schema.HEAD_REVISION
        assert not (tmp_path / "env.db").exists()

    def test_without_a_url_says_what_to_give(self) -> None:
        done = alembic("upgrade", "head")
        assert done.returncode != 0
        assert "MARIGRAPH_DB" in done.stderr
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize("kind", ["postgres"])
    def test_prints_sql_that_makes_the_same_tables(self, kind: str, empty_postgres_url: str) -> None:
        done = alembic("upgrade", "head", "--sql", MARIGRAPH_DB="postgresql://")
        assert done.returncode == 0, done.stderr
        assert done.stdout == schema.upgrade_sql()
        engine = create_engine(parse_url(empty_postgres_url))
        connection = engine.raw_connection()
        connection.driver_connection.execute(done.stdout)  # type: ignore[union-attr]
        connection.close()
        engine.dispose()
        assert schema.current_revision(empty_postgres_url) == schema.HEAD_REVISION
        assert schema.find_drift(empty_postgres_url) == []
        with EventStore.connect(empty_postgres_url) as store:
            store.append("job-a", [event()], NO_STREAM)

    def test_sql_for_sqlite_is_refused_with_a_reason(self) -> None:
        done = alembic("upgrade", "head", "--sql", MARIGRAPH_DB="a.db")
        assert done.returncode != 0
        assert "PostgreSQL" in done.stderr

    def test_three_at_once_are_safe(self, empty_url: str) -> None:
        done = run_threads([lambda: alembic("upgrade", "head", MARIGRAPH_DB=empty_url)] * 3)
        assert [one.returncode for one in done] == [0, 0, 0], [one.stderr for one in done]
        assert schema.find_drift(empty_url) == []


class TestStart:
    def test_missing_sqlite_file_is_made(self, tmp_path: Path) -> None:
        url = str(tmp_path / "new directory" / "marigraph.db")
        schema.ensure_ready(url)
        assert schema.current_revision(url) == schema.HEAD_REVISION
        assert [path.name for path in (tmp_path / "new directory").glob("*before*")] == []

    def test_older_sqlite_file_is_upgraded_after_a_backup(self, tmp_path: Path) -> None:
        path = tmp_path / "marigraph.db"
        schema.upgrade(str(path), schema.REVISIONS[0])
        with EventStore.connect(str(path)) as store:
            store.append("job-a", [event(7)], NO_STREAM)
            stored = store.read_all()
            schema.ensure_ready(str(path))  # the file is in use, its events lie in the WAL still
        assert schema.current_revision(str(path)) == schema.HEAD_REVISION
        (saved,) = tmp_path.glob("marigraph.db.before-*")
        assert schema.current_revision(str(saved)) == schema.REVISIONS[0]
        for one in (path, saved):
            with EventStore.connect(str(one)) as store:
                assert store.read_all() == stored

    def test_current_one_is_checked_by_one_query_without_alembic(self, database_url: str) -> None:
        script = (
            "import sys; from marigraph import schema; schema.ensure_ready(sys.argv[1]); "
            "print('alembic' in sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, database_url], capture_output=True, text=True, check=True, cwd=ROOT
        )
        assert done.stdout.strip() == "False"

    @pytest.mark.parametrize("oldest", [schema.HEAD_REVISION, "9998"])
    def test_newer_one_is_used_if_it_admits_this_program_and_else_refused(self, database_url: str, oldest: str) -> None:
        engine = create_engine(parse_url(database_url))
        with engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
            connection.execute(text(f"UPDATE compatibility SET oldest_revision = '{oldest}'"))
        engine.dispose()
        with EventStore.connect(database_url) as store:
            if oldest == schema.HEAD_REVISION:
                schema.ensure_ready(database_url)
                schema.check_ready(store)
            else:
                with pytest.raises(schema.SchemaError, match=r"9999.*newer.*9998"):
                    schema.ensure_ready(database_url)
                with pytest.raises(schema.SchemaError, match="9999"):
                    schema.check_ready(store)

    def test_newer_one_that_does_not_say_whom_it_admits_is_refused(self, database_url: str) -> None:
        engine = create_engine(parse_url(database_url))
        with engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
            connection.execute(text("DROP TABLE compatibility"))
        engine.dispose()
        with pytest.raises(schema.SchemaError, match=r"9999.*newer"):
            schema.ensure_ready(database_url)

    def test_programs_of_the_release_before_are_admitted_until_somebody_says_that_none_runs(
        self, empty_url: str
    ) -> None:
        schema.upgrade(empty_url, "0006")
        with EventStore.connect(empty_url) as store:
            store.append("job-a", [event(7)], NO_STREAM)
        alembic("upgrade", "head", MARIGRAPH_DB=empty_url)
        with EventStore.connect(empty_url) as store:
            with pytest.raises(schema.SchemaError, match=r"revision 0006.*db finish"):
                schema.check_finished(store, "0007")
            assert schema.finish(empty_url) == "0006"
            schema.check_finished(store, "0007")

    def test_a_database_that_nobody_used_before_admits_nobody_older(self, database_url: str) -> None:
        with EventStore.connect(database_url) as store:
            schema.check_finished(store, schema.ERASURE_REVISION)

    @pytest.mark.parametrize("kind", ["postgres"])
    def test_empty_postgres_names_the_command(self, kind: str, empty_postgres_url: str) -> None:
        with pytest.raises(schema.SchemaError, match="db upgrade"):
            schema.ensure_ready(empty_postgres_url)
        assert tables_of(empty_postgres_url) == set()

    @pytest.mark.parametrize("kind", ["postgres"])
    def test_older_postgres_names_the_command(self, kind: str, empty_postgres_url: str) -> None:
        schema.upgrade(empty_postgres_url, schema.REVISIONS[0])
        with pytest.raises(schema.SchemaError, match=r"older.*db upgrade"):
            schema.ensure_ready(empty_postgres_url)
        assert schema.current_revision(empty_postgres_url) == schema.REVISIONS[0]

    def test_password_is_not_shown(self) -> None:
        with pytest.raises(schema.SchemaError) as caught:
            schema.ensure_ready("postgresql://me:secret@127.0.0.1:1/none")
        assert "secret" not in str(caught.value)

    def test_file_that_is_no_database_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "a.db"
        path.write_text("no database " * 1000)
        with pytest.raises(schema.SchemaError, match="cannot read"):
            schema.ensure_ready(str(path))

    def test_memory_is_refused(self) -> None:
        with pytest.raises(schema.SchemaError, match="memory"):
            schema.ensure_ready("sqlite://")

    def test_processes_that_start_at_once_make_one_file(self, tmp_path: Path) -> None:
        url = str(tmp_path / "marigraph.db")
        script = "import sys; from marigraph import schema; schema.ensure_ready(sys.argv[1])"
        command = [sys.executable, "-c", script, url]
        started = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) for _ in range(3)]
        assert [process.communicate()[1] for process in started] == [b"", b"", b""]
        assert schema.find_drift(url) == []


class TestBackup:
    def test_is_a_whole_database_while_the_source_is_written_to(self, sqlite_url: str, tmp_path: Path) -> None:
        with EventStore.connect(sqlite_url) as store:
            store.append("job-a", [event(1), event(2)], NO_STREAM)
            target = schema.backup(sqlite_url, tmp_path / "backups" / "one.db")
            store.append("job-a", [event(3)], 2)
        assert sorted(path.name for path in target.parent.iterdir()) == ["one.db"]
        with EventStore.connect(str(target)) as copy:
            assert len(copy.read_all()) == 2
            assert copy.verify_chain().is_intact

    def test_does_not_overwrite(self, sqlite_url: str, tmp_path: Path) -> None:
        target = schema.backup(sqlite_url, tmp_path / "one.db")
        before = target.read_bytes()
        with pytest.raises(schema.SchemaError, match="exists already"):
            schema.backup(sqlite_url, target)
        assert target.read_bytes() == before

    def test_of_a_missing_file_makes_none(self, tmp_path: Path) -> None:
        with pytest.raises(schema.SchemaError, match="no database file"):
            schema.backup(str(tmp_path / "none.db"), tmp_path / "one.db")
        assert list(tmp_path.iterdir()) == []

    def test_of_postgres_names_what_to_use(self, tmp_path: Path) -> None:
        with pytest.raises(schema.SchemaError, match="pg_dump"):
            schema.backup("postgresql://h/name", tmp_path / "one.db")


def test_sqlite_migration_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    """DDL is in the transaction: a table that stands in the way stops the whole upgrade."""
    path = tmp_path / "a.db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE leases (x)"))
    engine.dispose()
    with pytest.raises(Exception, match="leases"):
        schema.upgrade(str(path))
    assert tables_of(str(path)) == {"leases"}


@pytest.mark.parametrize("source", ["system", "wheel"])
def test_server_can_be_chosen(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support import postgres

    found = postgres.system_binaries() if source == "system" else postgres.wheel_binaries()
    if found is None:
        pytest.skip(f"no PostgreSQL from {source} here")
    monkeypatch.setenv(postgres.VARIABLE, source)
    started = time.monotonic()
    with postgres.running_server() as server:
        assert server.source == source
        url = server.create_database()
        schema.upgrade(url)
        with EventStore.connect(url) as store:
            store.append("job-a", [event(payload=b"p")], NO_STREAM)
            assert store.verify_chain().is_intact
    assert time.monotonic() - started < 30


def test_url_of_a_server_can_be_given(postgres_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support import postgres

    monkeypatch.setenv(postgres.VARIABLE, conninfo(postgres_server.url))
    with postgres.running_server() as server:
        assert server.process is None
        name = server.create_database().database
    with postgres_server.admin() as connection:
        rows = connection.execute("SELECT datname FROM pg_database").fetchall()
    assert name not in {row[0] for row in rows}


def test_unknown_source_of_a_server_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support import postgres

    monkeypatch.setenv(postgres.VARIABLE, "docker")
    with pytest.raises(postgres.NoServer, match="'system' or 'wheel'"):
        postgres.start_server()


def test_paths_with_blanks_quotes_and_percent_signs_work(tmp_path: Path) -> None:
    path = tmp_path / "a b%20c" / "d'e.db"
    schema.ensure_ready(str(path))
    assert schema.current_revision(str(path)) == schema.HEAD_REVISION
