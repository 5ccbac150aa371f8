"""The log as a verifier reads it: stored bytes of every column, in pages, from a store or a read-only database.

Texts come as the bytes that lie in the database, since a changed bit may leave no valid text; on SQLite a column of
the storage class `is_typed` 0 holds something that this program never writes there. `ReadOnlyLog` opens what must
not be written to: evidence, backups, files on read-only media.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from eventstore.errors import ConnectionLost, StorageError
from eventstore.urls import is_sqlite, parse_url, sqlite_path

PAGE_EVENTS = 1_000
PAGE_HEADS = 1_000
UNWRITABLE = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}  # of a file beside which none can be made


class Readable(Protocol):
    """What can be verified: an `EventStore`, or a `ReadOnlyLog`."""

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""

    @property
    def url(self) -> URL:
        """Where the log lies."""

    def reading(self) -> AbstractContextManager[Connection]:
        """Open a connection to read from."""


class EventRow(NamedTuple):
    """An event as it is stored; texts are their bytes."""

    position: int
    stream_id: int
    version: int
    type: bytes
    schema_version: int
    recorded_at: int
    actor: bytes | None
    request_id: bytes | None
    cause: bytes | None
    command_id: bytes | None
    command_index: int | None
    data: bytes
    payload_digest: bytes | None
    hash: bytes
    is_typed: int


class PayloadRow(NamedTuple):
    """A payload beside the event that refers to it."""

    position: int
    content_digest: bytes
    codec: bytes
    size: int
    body: bytes
    is_typed: int


class HeadState(NamedTuple):
    """A head row, the event at its version, the newest version there is, and the epoch of the stream's lease."""

    id: int
    name: bytes
    version: int
    head_hash: bytes
    recorded_at: int
    fence: int
    is_typed: int
    event_hash: bytes | None
    event_recorded_at: int | None
    newest: int | None
    epoch: int | None


class LogReader:
    """The statements of a verifier, on one connection; the dialects differ in how a text becomes bytes."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.is_sqlite = connection.dialect.name == "sqlite"
        self._sql = _SQLITE if self.is_sqlite else _POSTGRES
        self._driver_error = connection.dialect.loaded_dbapi.Error

    def events_between(self, after: int, to: int, limit: int = PAGE_EVENTS) -> list[EventRow]:
        """Return up to `limit` events after a position and up to another one."""
        return self._rows("events_between", (after, to, limit))

    def events_of(self, stream_id: int, after_version: int, limit: int = PAGE_EVENTS) -> list[EventRow]:
        """Return up to `limit` events of a stream after a version."""
        return self._rows("events_of", (stream_id, after_version, limit))

    def events_of_type(self, stream_id: int, type_: str) -> list[EventRow]:
        """Return all events of one type that a stream has."""
        return self._rows("events_of_type", (stream_id, type_.encode()))

    def positions_of(self, stream_id: int) -> list[int]:
        """Return the positions of all events of a stream."""
        return [row[0] for row in self._fetch("positions_of", (stream_id,))]

    def find_event(self, stream_id: int, version: int) -> EventRow | None:
        """Return one event of a stream."""
        rows = self._rows("events_of", (stream_id, version - 1, 1))
        return rows[0] if rows and rows[0].version == version else None

    def newest_before(self, stream_id: int, position: int) -> EventRow | None:
        """Return the event of the highest version that a stream has before a position; looks at all its events."""
        rows = self._rows("newest_before", (stream_id, position))
        return rows[0] if rows else None

    def payloads_of(self, stream_id: int | None, first: int, last: int) -> Iterator[PayloadRow]:
        """Yield the payloads of events, one at a time: by position, or by version within a stream."""
        name, key = ("payloads_between", ()) if stream_id is None else ("payloads_of", (stream_id,))
        yield from map(PayloadRow._make, self._stream(name, (*key, first, last)))

    def codecs_between(self, first: int, last: int) -> dict[int, bytes]:
        """Return the codecs of the payloads of events, by position."""
        return dict(self._fetch("codecs_between", (first, last)))

    def heads(self, after_id: int) -> list[HeadState]:
        """Return up to `PAGE_HEADS` head rows as one statement sees them beside their events."""
        return list(map(HeadState._make, self._fetch("heads", (after_id, PAGE_HEADS))))

    def head(self, name: bytes) -> HeadState | None:
        """Return one head row."""
        rows = self._fetch("head", (name,))
        return HeadState._make(rows[0]) if rows else None

    def names(self) -> dict[int, bytes]:
        """Return the names of all streams by id."""
        return {stream_id: name or b"" for stream_id, name in self._fetch("names", ())}

    def last_position(self) -> int:
        """Return the newest position, 0 for an empty log."""
        return int(self._fetch("last_position", ())[0][0] or 0)

    def sequences(self) -> list[tuple[str, int, int]]:
        """Return tables, the highest number ever handed out for them, and that of the newest row, as of one moment.

        Nothing on PostgreSQL, whose sequences also count what was rolled back.
        """
        rows = self._fetch("sequences", ()) if self.is_sqlite else []
        return [(table, handed_out or 0, last or 0) for table, handed_out, last in rows]

    def streams_beyond_sequence(self) -> list[tuple[int, bytes]]:
        """Return id and name of the streams whose ids SQLite never handed out."""
        return self._fetch("streams_beyond_sequence", ()) if self.is_sqlite else []

    def find_missing_triggers(self) -> list[str]:
        """Return the triggers that keep events append-only and that are not there or not enabled."""
        there = {row[0] for row in self._fetch("triggers", ())}
        return [name for name in self._sql["trigger_names"].split() if name not in there]

    def seals(self) -> list[Any]:
        """Return the rows of `seals`, oldest first; none where the schema is older than seals with contents."""
        return self._fetch("seals", ()) if self.has_table("seal_contents") else []

    def seal_contents(self, seal_id: int) -> tuple[bytes, bytes] | None:
        """Return places and hashes of a seal."""
        rows = self._fetch("seal_contents", (seal_id,))
        if not rows:
            return None
        places, hashes = (value if isinstance(value, bytes) else b"" for value in rows[0])
        return places, hashes

    def names_in_seal(self, seal_id: int) -> bytes:
        """Return the places of a seal alone, in which the names of its streams are."""
        rows = self._fetch("seal_places", (seal_id,))
        return rows[0][0] if rows and isinstance(rows[0][0], bytes) else b""

    def has_table(self, name: str) -> bool:
        """Say whether a table is there; a log of an older schema lacks some."""
        return self.connection.dialect.has_table(self.connection, name)

    def damage(self) -> str | None:
        """Return what SQLite finds wrong with the pages and indexes of the log's tables."""
        if not self.is_sqlite:
            return None
        for table in ("events", "payloads", "streams", "seals", "seal_contents"):
            found = self.connection.execute(text(f"PRAGMA integrity_check('{table}')")).scalars().all()
            if found != ["ok"] and not (found and str(found[0]).startswith("no such table")):
                return " ".join(str(found[0]).split())
        return None

    def _rows(self, name: str, parameters: Sequence[Any]) -> list[EventRow]:
        return list(map(EventRow._make, self._fetch(name, parameters)))

    def _fetch(self, name: str, parameters: Sequence[Any]) -> list[Any]:
        return list(self._run(name, parameters, is_streamed=False))

    def _stream(self, name: str, parameters: Sequence[Any]) -> Iterator[Any]:
        """Yield rows as they come, so that large ones are not at hand all at once."""
        return self._run(name, parameters, is_streamed=True)

    def _run(self, name: str, parameters: Sequence[Any], *, is_streamed: bool) -> Iterator[Any]:
        driver = self.connection.connection.driver_connection
        assert driver is not None
        statement = self._sql[name]
        try:
            if self.is_sqlite:
                yield from driver.execute(statement, parameters)
                return
            with driver.cursor(binary=True) as cursor:
                if is_streamed:
                    yield from cursor.stream(statement, parameters)
                else:
                    yield from cursor.execute(statement, parameters, prepare=True)
        except self._driver_error as error:
            raise StorageError(describe_error(error)) from error


# ------------------------------------------------------------------------------------------------------- statements


def _statements(placeholder: str, as_bytes: str, is_sqlite: bool) -> dict[str, str]:
    def texts(*names: str) -> dict[str, str]:
        return {name.rpartition(".")[2]: as_bytes.format(name) for name in names}

    def typed(**kinds: str) -> str:
        """Compare the storage classes of columns, of which SQLite lets every row have its own."""
        if not is_sqlite:
            return "1"
        return " AND ".join(f"typeof({column}) IN ({allowed})" for column, allowed in kinds.items())

    of_event = texts("e.type", "e.actor", "e.request_id", "e.cause", "e.command_id", "e.data")
    optional, number = "'text', 'null'", "'integer'"
    event_types = typed(
        **{"e.type": "'text'", "e.data": "'text'", "e.actor": optional, "e.request_id": optional, "e.cause": optional},
        **{"e.command_id": optional, "e.hash": "'blob'", "e.payload_digest": "'blob', 'null'"},
    )
    columns = (
        f"e.position, e.stream_id, e.version, {of_event['type']}, e.schema_version, e.recorded_at, "
        f"{of_event['actor']}, {of_event['request_id']}, {of_event['cause']}, {of_event['command_id']}, "
        f"e.command_index, {of_event['data']}, e.payload_digest, e.hash, {event_types}"
    )
    payload_types = typed(**{"p.codec": "'text'", "p.content_digest": "'blob'", "p.body": "'blob'"})
    payload_columns = f"p.content_digest, {as_bytes.format('p.codec')}, p.size, p.body, {payload_types}"
    joined = "FROM events e JOIN payloads p ON p.stream_id = e.stream_id AND p.digest = e.payload_digest"
    head_types = typed(
        **{"s.name": "'text'", "s.head_hash": "'blob'", "s.version": number, "s.recorded_at": number, "s.fence": number}
    )
    heads = (
        f"SELECT s.id, {as_bytes.format('s.name')}, s.version, s.head_hash, s.recorded_at, s.fence, {head_types}, "
        "e.hash, e.recorded_at, (SELECT max(m.version) FROM events m WHERE m.stream_id = s.id), l.epoch "
        "FROM streams s LEFT JOIN events e ON e.stream_id = s.id AND e.version = s.version "
        "LEFT JOIN leases l ON l.resource = s.name"
    )
    given_text = "CAST(? AS TEXT)" if is_sqlite else "convert_from(?, 'UTF8')"
    statements = {
        "events_between": f"SELECT {columns} FROM events e WHERE e.position > ? AND e.position <= ?"
        " ORDER BY e.position LIMIT ?",
        "events_of": f"SELECT {columns} FROM events e WHERE e.stream_id = ? AND e.version > ?"
        " ORDER BY e.version LIMIT ?",
        "events_of_type": f"SELECT {columns} FROM events e WHERE e.stream_id = ? AND e.type = {given_text}"
        " ORDER BY e.version",
        "positions_of": "SELECT e.position FROM events e WHERE e.stream_id = ?",
        "newest_before": f"SELECT {columns} FROM events e WHERE e.stream_id = ? AND e.position < ?"
        " ORDER BY e.version DESC LIMIT 1",
        "payloads_between": f"SELECT e.position, {payload_columns} {joined}"
        " WHERE e.position >= ? AND e.position <= ? ORDER BY e.position",
        "payloads_of": f"SELECT e.position, {payload_columns} {joined}"
        " WHERE e.stream_id = ? AND e.version >= ? AND e.version <= ? ORDER BY e.version",
        "codecs_between": f"SELECT e.position, {as_bytes.format('p.codec')} {joined}"
        " WHERE e.position >= ? AND e.position <= ?",
        "heads": f"{heads} WHERE s.id > ? ORDER BY s.id LIMIT ?",
        "head": f"{heads} WHERE s.name = {given_text}",
        "names": f"SELECT s.id, {as_bytes.format('s.name')} FROM streams s",
        "seals": "SELECT s.id, s.first_position, s.last_position, s.merkle_root, s.previous_hash, s.signature, "
        f"{as_bytes.format('s.key_id')}, s.created_at FROM seals s ORDER BY s.id",
        "seal_contents": "SELECT c.places, c.hashes FROM seal_contents c WHERE c.seal_id = ?",
        "seal_places": "SELECT c.places FROM seal_contents c WHERE c.seal_id = ?",
        "sequences": "SELECT 'events', (SELECT seq FROM sqlite_sequence WHERE name = 'events'),"
        " (SELECT max(position) FROM events) UNION ALL SELECT 'seals',"
        " (SELECT seq FROM sqlite_sequence WHERE name = 'seals'), (SELECT max(id) FROM seals)",
        "streams_beyond_sequence": f"SELECT s.id, {as_bytes.format('s.name')} FROM streams s"
        " WHERE s.id > (SELECT seq FROM sqlite_sequence WHERE name = 'streams')",
        "last_position": "SELECT max(position) FROM events",
        "triggers": "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'events'"
        if is_sqlite
        else "SELECT tgname FROM pg_trigger WHERE tgrelid = 'events'::regclass AND tgenabled IN ('O', 'A')",
    }
    filled = {name: statement.replace("?", placeholder) for name, statement in statements.items()}
    triggers = "events_no_update events_no_delete" if is_sqlite else "events_no_change events_no_truncate"
    return {**filled, "trigger_names": triggers}


_SQLITE = _statements("?", "CAST({} AS BLOB)", is_sqlite=True)
_POSTGRES = _statements("%b", "convert_to({}, 'UTF8')", is_sqlite=False)


# ------------------------------------------------------------------------------------------------------ read-only


class ReadOnlyLog:
    """A database opened so that nothing in it, and no file beside it, is changed."""

    def __init__(self, url: str | URL) -> None:
        self.url = parse_url(url)
        self.engine = _sqlite_engine(self.url) if is_sqlite(self.url) else _postgres_engine(self.url)

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self.engine.dialect.name

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection to read from; StorageError where the database fails."""
        try:
            with self.engine.connect() as connection:
                yield connection
        except (DBAPIError, UnicodeDecodeError) as error:  # the driver's own message may quote a damaged schema
            raise StorageError(describe_error(error)) from error

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def __enter__(self) -> ReadOnlyLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _sqlite_engine(url: URL) -> Engine:
    path = sqlite_path(url)
    if not path.is_file():
        msg = f"there is no database file {path}"
        raise ConnectionLost(msg)

    def connect() -> sqlite3.Connection:
        return _open_for_reading(path)

    return create_engine("sqlite://", creator=connect, poolclass=QueuePool)


def _open_for_reading(path: Path) -> sqlite3.Connection:
    """Open a file for reading; one that nobody writes to and that nothing may be written beside, as immutable."""
    address = f"file:{quote(str(path.resolve()))}?mode=ro"
    try:
        return _opened(address)
    except sqlite3.OperationalError as error:
        wal = path.with_name(f"{path.name}-wal")
        if error.sqlite_errorcode & 0xFF not in UNWRITABLE or (wal.exists() and wal.stat().st_size):
            raise  # somebody has it open; or what was written last lies beside it, and would be passed over
        return _opened(f"{address}&immutable=1")


def _opened(address: str) -> sqlite3.Connection:
    connection = sqlite3.connect(address, uri=True, timeout=10.0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA query_only=ON")
        connection.execute("PRAGMA cache_size=-65536")
        connection.execute("SELECT count(*) FROM sqlite_master")  # the first read decides whether it can be opened
    except BaseException:
        connection.close()
        raise
    return connection


def _postgres_engine(url: URL) -> Engine:
    from eventstore.postgres import make_engine  # the driver costs start-up time

    engine = make_engine(url)

    @event.listens_for(engine, "connect")
    def _connected(driver: Any, _record: object) -> None:
        driver.read_only = True

    return engine


def describe_error(error: BaseException) -> str:
    """Return what a driver says, in one line."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        error = error.orig
    return " ".join(str(error).split()) or type(error).__name__
