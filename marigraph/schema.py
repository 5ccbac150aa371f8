"""The database's schema: what revision it is at, upgrades, and the rule at start-up.

A missing or older SQLite file is made or upgraded at start, after a backup copy; a newer database of either kind is
used if it admits programs as old as this one (`compatibility`), so that releases can be exchanged one process at a
time (docs/deployment.md); everything else makes the program refuse and say which command to run. The check at start is
one SELECT; Alembic is only imported when there is something to do. The revisions lie in `migrations/`, in an installed
wheel inside this package.
"""

from __future__ import annotations

import io
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import create_engine, pool, select, text, update
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

import marigraph
from eventstore.urls import is_in_memory, is_sqlite, parse_url, sqlite_path
from marigraph.tables import compatibility

if TYPE_CHECKING:
    from alembic.config import Config

    from eventstore import EventStore

HEAD_REVISION = "0008"  # the newest revision in migrations/versions; a test keeps it so
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008")  # all of them, oldest first
ERASURE_REVISION = "0007"  # programs before it know no payloads_dropped, results_dropped and erased
OLDEST_ADMITTED = select(compatibility.c.oldest_revision)
BACKUP_NAMES_MAX = 100
LOCK_SECONDS_MAX = 30.0  # wait for a writer while the file is copied


class SchemaError(Exception):
    """The database cannot be used as it is; the message says what to run."""


def migrations_path() -> Path:
    """Return the directory of the revisions: inside the installed package, or beside it in a checkout."""
    package = Path(marigraph.__file__).parent
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def current_revision(url: str | URL) -> str | None:
    """Return the revision a database is at, None for one without tables or without a file."""
    parsed = parse_url(url)
    if is_sqlite(parsed):
        return _current_of_sqlite(parsed)
    engine = create_engine(parsed, poolclass=pool.NullPool)
    try:
        with engine.connect() as connection:
            exists = connection.scalar(text("SELECT to_regclass('alembic_version') IS NOT NULL"))
            return connection.scalar(text("SELECT version_num FROM alembic_version")) if exists else None
    except DBAPIError as error:
        msg = f"cannot reach the database {_show(parsed)}: {str(error.orig).strip()}"
        raise SchemaError(msg) from error
    finally:
        engine.dispose()


def ensure_ready(url: str | URL) -> None:
    """Apply the rule at start-up.

    Raises
    ------
    SchemaError
        For a PostgreSQL database that is empty or older, and for a newer one of either kind.
    """
    parsed = parse_url(url)
    if is_in_memory(parsed):
        msg = "a database in memory would be gone with the command; name a file"
        raise SchemaError(msg)
    current = current_revision(parsed)
    if current == HEAD_REVISION:
        return
    if current is not None and current not in REVISIONS:
        oldest = oldest_admitted(parsed)
        if oldest is not None and oldest <= HEAD_REVISION:
            return
        msg = (
            f"the database {_show(parsed)} is at revision {current}, newer than this program knows "
            f"({HEAD_REVISION}), and admits programs from {oldest or current} on; install the newer marigraph and run "
            "it with `marigraph db current`"
        )
        raise SchemaError(msg)
    if not is_sqlite(parsed):
        state = "has no tables yet" if current is None else f"is at revision {current}, older than {HEAD_REVISION}"
        msg = f"the database {_show(parsed)} {state}; run `marigraph --db {_show(parsed)} db upgrade`"
        raise SchemaError(msg)
    upgrade(parsed)


def check_ready(store: EventStore) -> None:
    """Refuse if the database of an open store does not answer, or has another schema than this program."""
    with store.reading() as connection:
        found = connection.scalar(text("SELECT version_num FROM alembic_version"))
        if found == HEAD_REVISION:
            return
        is_admitted = str(found) > HEAD_REVISION >= str(connection.scalar(OLDEST_ADMITTED))
    if not is_admitted:
        msg = f"the database is at schema revision {found}, this program needs {HEAD_REVISION}"
        raise SchemaError(msg)


def check_finished(store: EventStore, revision: str) -> None:
    """Refuse what programs older than a revision could not read, while the database admits them.

    Raises
    ------
    SchemaError
        Names the command that says that they run no more.
    """
    with store.reading() as connection:
        oldest = connection.scalar(OLDEST_ADMITTED)
    if str(oldest) < revision:
        msg = (
            f"programs of revision {oldest} may still run with this database, and would stop at events that they do "
            "not know; when none does, run `marigraph db finish`"
        )
        raise SchemaError(msg)


def finish(url: str | URL) -> str:
    """Admit no program older than this one any more: the upgrade is over. Returns the oldest revision before."""
    from eventstore import EventStore

    ensure_ready(url)
    with EventStore.connect(url) as store, store.transaction() as connection:
        before = str(connection.scalar(OLDEST_ADMITTED))
        connection.execute(update(compatibility).values(oldest_revision=max(before, HEAD_REVISION)))
    return before


def oldest_admitted(url: str | URL) -> str | None:
    """Return the revision of the oldest programs that a database admits, None if it does not say."""
    engine = create_engine(parse_url(url), poolclass=pool.NullPool)
    try:
        with engine.connect() as connection:
            return str(connection.scalar(OLDEST_ADMITTED))
    except DBAPIError:
        return None
    finally:
        engine.dispose()


def upgrade(url: str | URL, revision: str = "head") -> Path | None:
    """Run the revisions that are missing; return the backup that was made of an SQLite file, if any."""
    from alembic import command

    parsed = parse_url(url)
    saved = _backup_before_upgrade(parsed) if is_sqlite(parsed) and not is_in_memory(parsed) else None
    try:
        command.upgrade(_config(parsed), revision)
    except DBAPIError as error:
        msg = f"cannot upgrade the database {_show(parsed)}: {str(error.orig).strip()}"
        raise SchemaError(msg) from error
    if is_sqlite(parsed) and revision in ("head", HEAD_REVISION) and not is_in_memory(parsed):
        finish(parsed)  # one host, one program: it has just been exchanged for this one
    return saved


def downgrade(url: str | URL, revision: str) -> None:
    """Run revisions backwards; for tests, a production roll-back is the old program on the newer schema."""
    from alembic import command

    command.downgrade(_config(parse_url(url)), revision)


def upgrade_sql() -> str:
    """Return the SQL of all revisions for PostgreSQL."""
    from alembic import command

    config = _config(parse_url("postgresql://"))
    config.output_buffer = io.StringIO()
    command.upgrade(config, "head", sql=True)
    return config.output_buffer.getvalue()


def find_drift(url: str | URL) -> list[Any]:
    """Return how the database's tables differ from those the program expects; empty when they do not."""
    from alembic import command, util

    config = _config(parse_url(url))
    try:
        command.check(config)
    except util.AutogenerateDiffsDetected as error:
        return list(error.diffs)
    return []


def backup(url: str | URL, target: Path) -> Path:
    """Copy an SQLite database into a new file, while it is in use.

    Raises
    ------
    SchemaError
        For PostgreSQL, whose own tools do this better, a missing source or an existing target.
    """
    parsed = parse_url(url)
    if not is_sqlite(parsed):
        msg = "backup copies an SQLite file; for PostgreSQL use pg_dump, or `marigraph db copy`"
        raise SchemaError(msg)
    source = sqlite_path(parsed)
    if not source.exists():
        msg = f"there is no database file {source}"
        raise SchemaError(msg)
    if target.exists():
        msg = f"the backup file {target} exists already; name another"
        raise SchemaError(msg)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f"{target.name}.part")
    try:
        with _opened(source, mode="rw") as reading, _opened(unfinished, mode="rwc") as writing:
            reading.backup(writing, pages=1_000)
            writing.execute("PRAGMA journal_mode=DELETE")  # one file, nothing beside it
        unfinished.rename(target)
    except (sqlite3.Error, OSError) as error:
        unfinished.unlink(missing_ok=True)
        msg = f"cannot copy {source} to {target}: {error}"
        raise SchemaError(msg) from error
    return target


def _current_of_sqlite(url: URL) -> str | None:
    path = sqlite_path(url)
    if is_in_memory(url) or not path.exists() or path.stat().st_size == 0:
        return None
    try:
        with _opened(path, mode="rw") as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            return str(row[0]) if row else None
    except sqlite3.DatabaseError as error:
        if "no such table" in str(error):
            return None
        msg = f"cannot read the database file {path}: {error}"
        raise SchemaError(msg) from error


def _backup_before_upgrade(url: URL) -> Path | None:
    current = _current_of_sqlite(url)
    path = sqlite_path(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    if current is None or current == HEAD_REVISION:
        return None
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    target = path.with_name(f"{path.name}.before-{current}-{HEAD_REVISION}.{stamp}")
    for count in range(1, BACKUP_NAMES_MAX):
        if not target.exists():
            break
        target = path.with_name(f"{path.name}.before-{current}-{HEAD_REVISION}.{stamp}-{count}")
    return backup(url, target)


@contextmanager
def _opened(path: Path, *, mode: str) -> Iterator[sqlite3.Connection]:
    """Open an SQLite file, in `mode` ``rw`` without making one."""
    quoted = quote(str(path.resolve()))
    connection = sqlite3.connect(f"file:{quoted}?mode={mode}", uri=True, timeout=LOCK_SECONDS_MAX)
    try:
        yield connection
    finally:
        connection.close()


def _config(url: URL) -> Config:
    from alembic.config import Config

    config = Config(stdout=io.StringIO())  # the caller prints
    config.set_main_option("script_location", str(migrations_path()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["url"] = url
    return config


def shown(url: str | URL) -> str:
    """Return a database's URL as messages and logs may hold it: without the password."""
    return _show(parse_url(url))


def _show(url: URL) -> str:
    return url.set(drivername=url.get_backend_name()).render_as_string(hide_password=True)
