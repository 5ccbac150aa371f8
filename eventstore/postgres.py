"""The store on PostgreSQL: one writer connection, a pool of readers, positions that become visible in order.

A sequence hands positions out before they are committed, so a reader of the whole log could pass by an
event that commits late. Every writer therefore takes one advisory transaction lock just before it draws
positions, as the last thing before it inserts; the group commit gives the cost back.

The usual append, one event onto a head this process knows, is a single statement in autocommit: one round
trip. Everything else goes through `_write_batch`.
"""

# ruff: noqa: D102 - the methods are described in `eventstore.backend.Backend`
from __future__ import annotations

import select
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import psycopg
from psycopg import errors as pg
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from eventstore import postgres_sql as sql
from eventstore.appending import AppendPlan, AppendRequest, HeadRow, StoredCommand
from eventstore.backend import LOCK_SECONDS_MAX, CommitStats, OwnTransaction
from eventstore.errors import ConnectionLost, OutcomeUnknown, StorageError, StoreBusy, StoreFull
from eventstore.events import ANY, NO_STREAM, AppendResult, StoredEvent
from eventstore.pgcopy import BytesArray, TextArray, encode_event_rows, register_arrays
from eventstore.tables import stream_keys

Driver: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"

READERS_MAX = 32
HEADS_CACHED_MAX = 10_000  # streams whose head this process remembers; some 300 bytes each
DEADLOCK_RETRIES_MAX = 3
AT_ONCE_BYTES_MAX = 64 * 1024 * 1024  # of one statement; more goes by COPY
NO_FENCE = 2**63 - 1  # the epoch of an append that comes from no owner

_GENESIS = bytes(32)


class PostgresBackend:
    """See `eventstore.backend.Backend`."""

    dialect = "postgresql"

    def __init__(self, url: URL, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._own = OwnTransaction()
        self._heads: OrderedDict[str, HeadRow] = OrderedDict()
        self._writer: Driver | None = None
        self._readers: list[Driver] = []
        self._readers_left = threading.BoundedSemaphore(READERS_MAX)
        self.stats = CommitStats()
        self.before_commit: Callable[[], None] | None = None
        self.engine = make_engine(url)

    # Writing

    def write(self, requests: Sequence[AppendRequest]) -> None:
        with self._lock:
            self._write(list(requests))

    def _write(self, requests: list[AppendRequest]) -> None:
        """Try until decided: once more after a lost connection, a few times after deadlocks."""
        n_lost = n_deadlocks = 0
        is_unknown = False
        while requests:
            attempt = _Attempt()
            try:
                self._attempt(requests, attempt)
            except (psycopg.Error, DBAPIError) as error:
                for request in requests:
                    request.reset()
                self._heads.clear()
                if self._is_lost():
                    n_lost += 1
                    is_unknown = is_unknown or attempt.is_committing
                    requests = self._after_loss(requests, error, is_unknown=is_unknown, is_last=n_lost > 1)
                elif isinstance(error, pg.DeadlockDetected) and n_deadlocks < DEADLOCK_RETRIES_MAX:
                    n_deadlocks += 1
                elif isinstance(error, pg.DataError | pg.IntegrityError) and len(requests) > 1:
                    for request in requests:  # one that the server refuses must not fail the others
                        self._write([request])
                    return
                else:
                    _fail(requests, error)
                    return
            except BaseException:
                self._heads.clear()
                self._drop_writer()
                raise
            else:
                return

    def _after_loss(
        self, requests: list[AppendRequest], error: Exception, *, is_unknown: bool, is_last: bool
    ) -> list[AppendRequest]:
        """Return what can be tried on a new connection without ever being stored twice."""
        self._drop_writer()
        if not is_unknown:
            if is_last:
                _fail(requests, error)
            return [] if is_last else requests
        for request in requests:
            if is_last or request.command_id is None:
                request.error = OutcomeUnknown(
                    f"the connection broke around COMMIT: the append to {request.stream!r} may be stored or "
                    "not; with a command id it can be repeated safely"
                )
                request.error.__cause__ = error
        return [request for request in requests if request.error is None]

    def _is_lost(self) -> bool:
        return self._writer is None or self._writer.closed or self._writer.broken

    def _attempt(self, requests: list[AppendRequest], attempt: _Attempt) -> None:
        driver = self._writer
        if driver is None or _is_hung_up(driver):
            self._drop_writer()
            driver = self._writer = self._connect()
        if len(requests) == 1 and self._append_at_once(driver, requests[0], attempt):
            return
        driver.execute("BEGIN")
        try:
            plan = self._plan(driver, requests)
            if plan.accepted:
                self._write_plan(driver, plan)
                attempt.is_committing = True
                self._commit(driver, len(plan.accepted))
                attempt.is_committing = False
        finally:
            if not driver.closed and driver.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                driver.execute("ROLLBACK")
        plan.finish()
        for head in plan.changed.values():
            self._remember(head)

    def _commit(self, driver: Driver, n_appends: int) -> None:
        if self.before_commit is not None:
            self.before_commit()
        driver.execute("COMMIT")
        self.stats.n_commits += 1
        self.stats.n_appends += n_appends

    def _append_at_once(self, driver: Driver, request: AppendRequest, attempt: _Attempt) -> bool:
        """Append in one round trip onto a head that this process knows; False when that cannot be."""
        head = self._heads.get(request.stream)
        if head is None or request.expected not in (head.version, ANY) or request.size > AT_ONCE_BYTES_MAX:
            return False
        plan = AppendPlan(self._clock(), 0)
        moved = HeadRow((head.id, head.name, head.version, head.hash, head.recorded_at, head.fence))
        plan.add(request, moved)
        request.result = None
        statement, parameters = _statement(request, plan, head, moved)
        attempt.is_committing = True
        if self.before_commit is not None:
            self.before_commit()
        try:
            stored = driver.execute(statement, parameters, prepare=True).fetchone()
        except pg.UniqueViolation:
            stored = None  # the command id is there already; `_plan` compares its contents
        attempt.is_committing = False
        if stored is None or not stored[1]:
            self._heads.pop(request.stream, None)
            return False
        assert stored[1] == len(request.events), "a matching head takes all events"
        self.stats.n_commits += 1
        self.stats.n_appends += 1
        self._remember(moved)
        request.result = AppendResult(request.stream, head.version + 1, moved.version, stored[0])
        return True

    def _plan(self, driver: Driver, requests: list[AppendRequest]) -> AppendPlan:
        heads = self._lock_heads(driver, requests)
        pairs = [
            (heads[request.stream].id, request.command_id)
            for request in requests
            if request.command_id is not None and request.stream in heads and heads[request.stream].version
        ]
        known: set[tuple[int, str]] = set()
        if pairs:
            ids, commands = map(list, zip(*pairs, strict=True))
            found = driver.execute(sql.SELECT_KNOWN_COMMANDS, (ids, commands), binary=True)
            known = {(row[0], row[1]) for row in found}

        def find_command(head: HeadRow, command_id: str) -> StoredCommand | None:
            return _find_command(driver, head.id, command_id) if (head.id, command_id) in known else None

        plan = AppendPlan(self._clock(), 0)
        for request in requests:
            head = heads.get(request.stream)
            if plan.decide(request, head, find_command):
                assert head is not None
                plan.add(request, head)
        return plan

    def _lock_heads(self, driver: Driver, requests: list[AppendRequest]) -> dict[str, HeadRow]:
        """Lock the head rows, by rising id so that two nodes cannot deadlock; make those that are to be."""
        names = sorted({request.stream for request in requests})
        heads = _fetch_heads(driver, names)
        created = sorted(
            {request.stream for request in requests if request.stream not in heads and request.expected <= NO_STREAM}
        )
        if created:
            driver.execute(sql.CREATE_STREAMS, (_GENESIS, created), prepare=True)
            heads |= _fetch_heads(driver, created)
        return heads

    def _write_plan(self, driver: Driver, plan: AppendPlan) -> None:
        if plan.payloads:
            with driver.cursor() as cursor:
                for (stream_id, digest), payload in plan.payloads.items():
                    cursor.execute(
                        sql.INSERT_PAYLOAD,
                        (
                            stream_id,
                            digest,
                            payload.content_digest,
                            payload.codec,
                            len(payload.body),
                            payload.body,
                        ),
                        prepare=True,
                    )
        heads = list(plan.changed.values())
        drawn = driver.execute(
            sql.MOVE_HEADS,
            (
                [head.id for head in heads],
                [head.version for head in heads],
                [head.hash for head in heads],
                [head.recorded_at for head in heads],
                [head.fence for head in heads],
                len(plan.rows),
            ),
            prepare=True,
        ).fetchone()
        assert drawn is not None
        first, last = drawn
        assert last - first + 1 == len(plan.rows), "positions drawn under the order lock are consecutive"
        with driver.cursor() as cursor, cursor.copy(sql.COPY_EVENTS) as copy:
            copy.write(encode_event_rows(plan.rows, first))
        plan.shift(first)

    def _remember(self, head: HeadRow) -> None:
        self._heads[head.name] = head
        self._heads.move_to_end(head.name)
        if len(self._heads) > HEADS_CACHED_MAX:
            self._heads.popitem(last=False)

    # Reading

    def read_stream(self, stream: str, after_version: int, limit: int) -> list[StoredEvent]:
        rows = self._fetch(sql.READ_STREAM, (stream, stream, after_version, limit))
        return list(map(StoredEvent._make, rows))

    def read_all(self, after_position: int, limit: int) -> list[StoredEvent]:
        return list(map(StoredEvent._make, self._fetch(sql.READ_ALL, (after_position, limit))))

    def read_payload(self, stream: str, digest: bytes) -> tuple[bytes, str, bytes] | None:
        rows = self._fetch(sql.READ_PAYLOAD, (stream, digest))
        return rows[0] if rows else None

    def read_payloads(self, stream: str, digests: list[bytes]) -> list[tuple[bytes, bytes, str, bytes]]:
        return self._fetch(sql.READ_PAYLOADS, (stream, digests))

    def find_command(self, stream: str, command_id: str) -> StoredCommand | None:
        heads = self._fetch(sql.SELECT_HEAD, (stream,))
        rows = self._fetch(sql.SELECT_COMMAND, (heads[0][0], command_id)) if heads else []
        return StoredCommand(rows) if rows else None

    def _fetch(self, query: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """Run a query on a connection of its own; once more on a new one when that is found lost."""
        with self._readers_left:
            for is_last in (False, True):
                driver: Driver | None = None
                try:
                    driver = self._take_reader()
                    with driver.cursor(binary=True) as cursor:
                        rows = cursor.execute(query, parameters, prepare=True).fetchall()
                except (psycopg.Error, DBAPIError) as error:
                    is_lost = driver is None or driver.closed or driver.broken
                    if driver is not None:
                        driver.close()
                    if is_last or not is_lost:
                        raise wrap_error(error) or error from error
                    self._drop_readers()
                except BaseException:
                    if driver is not None:
                        driver.close()
                    raise
                else:
                    self._readers.append(driver)
                    return rows
        raise AssertionError

    def _take_reader(self) -> Driver:
        try:
            return self._readers.pop()
        except IndexError:
            return self._connect()

    # Connections

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        with self._own.entered():
            try:
                with self.engine.begin() as connection:
                    yield connection
                    if self.before_commit is not None:
                        self.before_commit()
            except (psycopg.Error, DBAPIError) as error:
                raise (wrap_error(error) or error) from error

    @contextmanager
    def erasing(self) -> Iterator[Connection]:
        with self.transaction() as connection:
            yield connection
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f"VACUUM {stream_keys.name}")  # dead rows of the keys leave their pages

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self.engine.connect() as connection:
            yield connection

    def check_thread(self) -> None:
        self._own.check()

    def wrap(self, error: BaseException) -> StorageError | None:
        return wrap_error(error)

    def _connect(self) -> Driver:
        pooled = self.engine.raw_connection()
        driver = pooled.driver_connection
        assert isinstance(driver, psycopg.Connection)
        pooled.detach()
        driver.autocommit = True
        register_arrays(driver)
        return driver

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _drop_readers(self) -> None:
        while self._readers:
            self._readers.pop().close()

    def close(self) -> None:
        with self._lock:
            self._drop_writer()
            self._drop_readers()
            self.engine.dispose()


class _Attempt:
    """How far an attempt came: a connection lost while `is_committing` leaves its outcome unknown."""

    __slots__ = ("is_committing",)

    def __init__(self) -> None:
        self.is_committing = False


def make_engine(url: URL) -> Engine:
    """Return an engine whose connections wait for locks and for a dead network within bounds."""
    options = {
        "connect_timeout": "10",
        "keepalives_idle": "30",
        "tcp_user_timeout": "60000",
        "application_name": "marigraph",
        "options": f"-c lock_timeout={int(LOCK_SECONDS_MAX * 1000)}",
    }
    return create_engine(
        url,
        connect_args={name: value for name, value in options.items() if name not in url.query},
        pool_size=5,
        max_overflow=READERS_MAX - 5,
        pool_pre_ping=True,
    )


def _statement(
    request: AppendRequest, plan: AppendPlan, head: HeadRow, moved: HeadRow
) -> tuple[str, tuple[object, ...]]:
    """Return the statement that appends at once, and its parameters."""
    epoch = NO_FENCE if request.epoch is None else request.epoch
    parameters: tuple[object, ...] = (
        len(plan.rows), moved.hash, moved.recorded_at, request.epoch or 0,
        head.id, head.version, head.hash, epoch,
    )  # fmt: skip
    bodies = list(plan.payloads.values())
    if len(plan.rows) == 1:
        for payload in bodies:
            size = len(payload.body)
            parameters += (payload.digest, payload.content_digest, payload.codec, size, payload.body)
        row = plan.rows[0]
        return sql.APPEND_ONE_WITH_PAYLOAD if bodies else sql.APPEND_ONE, parameters + row[2:]
    if bodies:
        parameters += (
            BytesArray.of([payload.digest for payload in bodies]),
            BytesArray.of([payload.content_digest for payload in bodies]),
            TextArray.of([payload.codec.encode() for payload in bodies]),
            [len(payload.body) for payload in bodies],
            BytesArray.of([payload.body for payload in bodies]),
        )
    step = None if request.command_id is None else 1  # command_index: 0, 1, ... or NULL
    parameters += (
        head.version, moved.recorded_at, request.actor, request.request_id, request.cause,
        request.command_id, step,
        TextArray.of([type_ for type_, _, _ in request.encoded]),
        [event.schema_version for event in request.events],
        TextArray.of([event.data for event in request.events]),
        BytesArray.of([row[12] for row in plan.rows]),
        BytesArray.of([row[13] for row in plan.rows]),
    )  # fmt: skip
    return sql.APPEND_WITH_PAYLOADS if bodies else sql.APPEND, parameters


def _is_hung_up(driver: Driver) -> bool:
    """Say whether the server has ended an idle connection, by a look at the socket (2 microseconds).

    What would else be noticed after the append was sent, when its outcome is in doubt.
    """
    poll = select.poll()
    poll.register(driver.fileno(), select.POLLIN)
    for _ in range(3):  # a last notice, then the end of the stream
        if not poll.poll(0):
            return False
        driver.pgconn.consume_input()
        if driver.pgconn.status != psycopg.pq.ConnStatus.OK:
            return True
    return False


def _fetch_heads(driver: Driver, names: list[str]) -> dict[str, HeadRow]:
    with driver.cursor(binary=True) as cursor:
        rows = cursor.execute(sql.LOCK_HEADS, (names,), prepare=True).fetchall()
    return {row[1]: HeadRow(row) for row in rows}


def _find_command(driver: Driver, stream_id: int, command_id: str) -> StoredCommand | None:
    with driver.cursor(binary=True) as cursor:
        rows = cursor.execute(sql.SELECT_COMMAND, (stream_id, command_id), prepare=True).fetchall()
    return StoredCommand(rows) if rows else None


def _fail(requests: list[AppendRequest], error: Exception) -> None:
    for request in requests:
        wrapped = wrap_error(error)
        assert wrapped is not None
        wrapped.__cause__ = error
        request.error = wrapped


def wrap_error(error: BaseException) -> StorageError | None:
    """Return the error of ours that says what a PostgreSQL error means."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        error = error.orig
    if not isinstance(error, psycopg.Error):
        return None
    text = str(error).strip().partition("\n")[0]
    if isinstance(error, pg.DiskFull):
        return StoreFull(f"the database's disk is full, nothing was written: {text}")
    if isinstance(error, pg.LockNotAvailable | pg.DeadlockDetected | pg.QueryCanceled):
        return StoreBusy(f"another transaction held a lock for {LOCK_SECONDS_MAX:g} s: {text}")
    if isinstance(error, psycopg.OperationalError) and (error.sqlstate or "08")[:2] in ("08", "57"):
        return ConnectionLost(f"the connection to PostgreSQL is lost or cannot be made: {text}")
    return StorageError(f"PostgreSQL failed: {text}")
