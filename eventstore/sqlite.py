"""The store on SQLite: one writer connection behind a lock, readers of their own, WAL, every commit synced.

A commit is on the disk before its append returns (synchronous=FULL). Other processes may write to the same
file; they wait for one another at BEGIN IMMEDIATE, never in the middle of a transaction.
"""

# ruff: noqa: D102 - the methods are described in `eventstore.backend.Backend`
from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool, StaticPool

from eventstore.appending import (
    EVENT_COLUMNS,
    HEAD_COLUMNS,
    AppendPlan,
    AppendRequest,
    HeadRow,
    StoredCommand,
)
from eventstore.backend import LOCK_SECONDS_MAX, STORED_COLUMNS, CommitStats, OwnTransaction
from eventstore.errors import ConnectionLost, StorageError, StoreBusy, StoreFull
from eventstore.events import StoredEvent
from eventstore.urls import is_in_memory

log = logging.getLogger(__name__)

READERS_MAX = 32
PAGE_SIZE = 8192  # bytes; set before the first table. Measured by benchmarks/store.py: payloads write 1.2x faster

_SELECT_HEAD = f"SELECT {HEAD_COLUMNS} FROM streams WHERE name = ?"
_SELECT_COMMAND = (
    "SELECT e.version, e.position, e.type, e.schema_version, e.data, e.payload_digest, p.content_digest"
    " FROM events e LEFT JOIN payloads p ON p.stream_id = e.stream_id AND p.digest = e.payload_digest"
    " WHERE e.stream_id = ? AND e.command_id = ? ORDER BY e.command_index"
)
_SELECT_LAST = "SELECT seq FROM sqlite_sequence WHERE name = 'events'"
_INSERT_STREAM = "INSERT INTO streams (name, version, head_hash, recorded_at, fence) VALUES (?, 0, ?, 0, 0)"
_UPDATE_STREAM = "UPDATE streams SET version = ?, head_hash = ?, recorded_at = ?, fence = ? WHERE id = ?"
_INSERT_PAYLOAD = (
    "INSERT INTO payloads (stream_id, digest, content_digest, codec, size, body) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (stream_id, digest) DO NOTHING"
)
_READ_STREAM = (
    f"SELECT e.position, ?, e.version, {STORED_COLUMNS} FROM events e"
    " WHERE e.stream_id = (SELECT id FROM streams WHERE name = ?) AND e.version > ?"
    " ORDER BY e.version LIMIT ?"
)
_READ_ALL = (
    f"SELECT e.position, s.name, e.version, {STORED_COLUMNS} FROM events e"
    " JOIN streams s ON s.id = e.stream_id WHERE e.position > ? ORDER BY e.position LIMIT ?"
)
_READ_PAYLOAD = (
    "SELECT body, codec, content_digest FROM payloads"
    " WHERE stream_id = (SELECT id FROM streams WHERE name = ?) AND digest = ?"
)
_READ_PAYLOADS = (
    "SELECT digest, body, codec, content_digest FROM payloads"
    " WHERE stream_id = (SELECT id FROM streams WHERE name = ?) AND digest IN ({})"
)
_GENESIS = bytes(32)


class SqliteBackend:
    """See `eventstore.backend.Backend`."""

    dialect = "sqlite"

    def __init__(self, url: URL, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._own = OwnTransaction()
        self.stats = CommitStats()
        self.before_commit: Callable[[], None] | None = None
        self._is_shared = is_in_memory(url)
        self._writers = make_engine(url, is_writer=True)
        self.engine = self._writers if self._is_shared else make_engine(url, is_writer=False)
        try:
            self._connection = self._writers.connect()
        except DBAPIError as error:
            self._writers.dispose()
            raise (self.wrap(error) or error) from error

    @property
    def _driver(self) -> sqlite3.Connection:
        """The driver's own connection of the writer; another one after Ctrl-C in a statement has ended it."""
        driver = self._connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        return driver

    def write(self, requests: Sequence[AppendRequest]) -> None:
        with self._lock:
            try:
                self._write(requests)
            except sqlite3.Error as error:
                if len(requests) > 1 and not isinstance(error, sqlite3.OperationalError):
                    self._write_each(requests)  # one that the driver refuses must not fail the others
                    return
                for request in requests:
                    request.reset()
                    request.error = self.wrap(error)
                    assert request.error is not None
                    request.error.__cause__ = error

    def _write_each(self, requests: Sequence[AppendRequest]) -> None:
        for request in requests:
            request.reset()
            self.write([request])

    def _write(self, requests: Sequence[AppendRequest]) -> None:
        driver = self._driver
        driver.execute("BEGIN IMMEDIATE")
        try:
            plan = self._plan(requests)
            if plan.accepted:
                self._write_plan(plan)
                if self.before_commit is not None:
                    self.before_commit()
                driver.execute("COMMIT")
                self.stats.n_commits += 1
                self.stats.n_appends += len(plan.accepted)
        finally:
            if driver.in_transaction:
                driver.execute("ROLLBACK")
        plan.finish()

    def _plan(self, requests: Sequence[AppendRequest]) -> AppendPlan:
        driver = self._driver
        last = driver.execute(_SELECT_LAST).fetchone()
        plan = AppendPlan(self._clock(), last[0] + 1 if last else 1)
        heads: dict[str, HeadRow] = {}
        for request in requests:
            stream = request.stream
            head = heads.get(stream)
            if head is None and (row := driver.execute(_SELECT_HEAD, (stream,)).fetchone()) is not None:
                head = heads[stream] = HeadRow(row)
            if plan.decide(request, head, self._find_command):
                if head is None:
                    head = heads[stream] = self._create_stream(stream)
                plan.add(request, head)
        return plan

    def _create_stream(self, stream: str) -> HeadRow:
        cursor = self._driver.execute(_INSERT_STREAM, (stream, _GENESIS))
        assert cursor.lastrowid is not None
        return HeadRow((cursor.lastrowid, stream, 0, _GENESIS, 0, 0))

    def _find_command(self, head: HeadRow, command_id: str) -> StoredCommand | None:
        rows = self._driver.execute(_SELECT_COMMAND, (head.id, command_id)).fetchall()
        return StoredCommand(rows) if rows else None

    def _write_plan(self, plan: AppendPlan) -> None:
        driver = self._driver
        for (stream_id, digest), payload in plan.payloads.items():
            driver.execute(
                _INSERT_PAYLOAD,
                (stream_id, digest, payload.content_digest, payload.codec, len(payload.body), payload.body),
            )
        columns = _filled_columns(plan)
        driver.executemany(_insert_events(columns), map(itemgetter(*columns), plan.rows))
        driver.executemany(
            _UPDATE_STREAM,
            [(head.version, head.hash, head.recorded_at, head.fence, head.id) for head in plan.changed.values()],
        )

    def read_stream(self, stream: str, after_version: int, limit: int) -> list[StoredEvent]:
        rows = self._fetch(_READ_STREAM, (stream, stream, after_version, limit))
        return list(map(StoredEvent._make, rows))

    def read_all(self, after_position: int, limit: int) -> list[StoredEvent]:
        return list(map(StoredEvent._make, self._fetch(_READ_ALL, (after_position, limit))))

    def read_payload(self, stream: str, digest: bytes) -> tuple[bytes, str, bytes] | None:
        rows = self._fetch(_READ_PAYLOAD, (stream, digest))
        return rows[0] if rows else None

    def read_payloads(self, stream: str, digests: list[bytes]) -> list[tuple[bytes, bytes, str, bytes]]:
        return self._fetch(_READ_PAYLOADS.format(", ".join("?" * len(digests))), (stream, *digests))

    def find_command(self, stream: str, command_id: str) -> StoredCommand | None:
        heads = self._fetch(_SELECT_HEAD, (stream,))
        rows = self._fetch(_SELECT_COMMAND, (heads[0][0], command_id)) if heads else []
        return StoredCommand(rows) if rows else None

    def _fetch(self, sql: str, parameters: tuple[Any, ...]) -> list[Any]:
        try:
            with self.reading() as connection:
                driver = connection.connection.driver_connection
                assert isinstance(driver, sqlite3.Connection)
                return driver.execute(sql, parameters).fetchall()
        except (sqlite3.Error, DBAPIError) as error:
            raise (self.wrap(error) or error) from error

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        with self._own.entered(), self._lock:
            try:
                with self._connection.begin():
                    yield self._connection
                    if self.before_commit is not None:
                        self.before_commit()
            except (sqlite3.Error, DBAPIError) as error:
                raise (self.wrap(error) or error) from error
            finally:
                if self._driver.in_transaction:
                    self._driver.execute("ROLLBACK")

    @contextmanager
    def erasing(self) -> Iterator[Connection]:
        with self._lock:
            self._driver.execute("PRAGMA secure_delete=ON")  # deleted content is overwritten with zeros
            try:
                with self.transaction() as connection:
                    yield connection
            finally:
                self._driver.execute("PRAGMA secure_delete=OFF")
            # The pages as they were lie in the write-ahead log until it is written back and cut off.
            is_busy, *_ = self._driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if is_busy:
                log.warning("readers kept the write-ahead log: what was erased lies in it until they have gone")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        if self._is_shared:
            with self._lock:
                try:
                    yield self._connection
                finally:
                    if self._connection.in_transaction() and not self._own.is_open:
                        self._connection.rollback()
        else:
            with self.engine.connect() as connection:
                yield connection

    def check_thread(self) -> None:
        self._own.check()

    def wrap(self, error: BaseException) -> StorageError | None:
        return wrap_error(error)

    def close(self) -> None:
        with self._lock:
            self._connection.close()
            self._writers.dispose()
            self.engine.dispose()


_REQUIRED = (0, 1, 2, 3, 4, 5, 11, 13)  # places in EVENT_COLUMNS of what is never NULL


def _filled_columns(plan: AppendPlan) -> tuple[int, ...]:
    """Return the places of the columns with values in them: binding a NULL costs the driver more than a number."""
    columns = {*_REQUIRED, *((12,) if plan.payloads else ())}
    for request in plan.accepted:
        named = ((request.actor, 6), (request.request_id, 7), (request.cause, 8), (request.command_id, 9))
        columns.update(place for value, place in named if value is not None)
    if 9 in columns:
        columns.add(10)
    return tuple(sorted(columns))


@lru_cache(maxsize=64)
def _insert_events(columns: tuple[int, ...]) -> str:
    names = EVENT_COLUMNS.split(", ")
    return (
        f"INSERT INTO events ({', '.join(names[place] for place in columns)}) VALUES ({', '.join('?' * len(columns))})"
    )


def make_engine(url: URL, *, is_writer: bool) -> Engine:
    """Return an engine whose connections have this project's pragmas; a writer's BEGIN is IMMEDIATE."""
    shared = {"poolclass": StaticPool} if is_in_memory(url) else {"poolclass": QueuePool}
    bounds = {} if is_in_memory(url) else {"pool_size": 1 if is_writer else READERS_MAX, "max_overflow": 0}
    engine = create_engine(
        url,
        connect_args={"check_same_thread": False, "timeout": LOCK_SECONDS_MAX, "isolation_level": None},
        **shared,
        **bounds,
    )

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: object) -> None:
        set_pragmas(connection, is_writer=is_writer)

    if is_writer:

        @event.listens_for(engine, "begin")
        def _began(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def set_pragmas(connection: sqlite3.Connection, *, is_writer: bool) -> None:
    """Set what SQLite does not store in the file, and the journal mode, which it does."""
    connection.isolation_level = None
    pragmas = [
        "synchronous=FULL",
        "foreign_keys=ON",
        "journal_size_limit=67108864",
        "cache_size=-65536",
        "temp_store=MEMORY",
    ]
    if is_writer:
        pragmas[:0] = [f"page_size={PAGE_SIZE}", "journal_mode=WAL"]
    else:
        pragmas.append("query_only=ON")
    for pragma in pragmas:
        connection.execute(f"PRAGMA {pragma}")


_FULL = {sqlite3.SQLITE_FULL}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def wrap_error(error: BaseException) -> StorageError | None:
    """Return the error of ours that says what an SQLite error means."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        error = error.orig
    if not isinstance(error, sqlite3.Error):
        return None
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _FULL:
        return StoreFull(f"the disk or database is full, nothing was written: {error}")
    if code in _BUSY:
        return StoreBusy(f"another process held the database for {LOCK_SECONDS_MAX:g} s: {error}")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR):
        return ConnectionLost(f"the database file cannot be read or written, nothing was written: {error}")
    return StorageError(f"SQLite failed: {error}")
