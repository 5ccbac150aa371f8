"""The event store: append to streams, read them, and all that hangs on them; start reading here.

An append is decided under the head row of its stream, made durable, and only then acknowledged; concurrent
appends share commits (`eventstore.group_commit`). The SQL of the two databases lies in `eventstore.sqlite`
and `eventstore.postgres`, snapshots, leases and checkpoints in modules of their names.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from sqlalchemy import Connection, Engine, delete, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from eventstore import checkpoints, snapshots
from eventstore.appending import AppendRequest, check_name
from eventstore.backend import Backend, CommitStats
from eventstore.errors import OutcomeUnknown, PayloadCorrupt, PayloadMissing
from eventstore.events import PAGE, PAGE_MAX, PAYLOADS_MAX, AppendResult, Head, NewEvent, Payload, StoredEvent
from eventstore.group_commit import GroupCommit
from eventstore.keys import Keys
from eventstore.leases import Lease, Leases
from eventstore.snapshots import Snapshot
from eventstore.tables import events, payloads, streams
from eventstore.urls import is_sqlite, parse_url
from eventstore.verify import ChainReport, Verification, verify_chain


def now_microseconds() -> int:
    """Return the time as the log keeps it: microseconds since 1970, UTC."""
    return time.time_ns() // 1000


class EventStore:
    """An append-only log in SQLite or PostgreSQL; one object serves all threads of a process.

    Open it by `connect`; the tables must be there (`marigraph.schema` makes them).
    """

    def __init__(self, url: URL, backend: Backend, clock: Callable[[], int], master_key: bytes | None = None) -> None:
        self.url = url
        self.clock = clock
        self.backend = backend
        self.keys = Keys(backend, clock, master_key)
        self._leases = Leases(backend, clock)
        self.n_snapshots_discarded = 0  # corrupt ones that were skipped; a replay storm looks like an outage
        self._group = GroupCommit(backend.write)

    @classmethod
    def connect(
        cls, url: str | URL, *, clock: Callable[[], int] = now_microseconds, master_key: bytes | None = None
    ) -> EventStore:
        """Open a store.

        Parameters
        ----------
        url : str
            A path, ``sqlite:///FILE``, ``sqlite://`` (in memory) or ``postgresql://...``.
        clock : callable
            Gives microseconds since 1970; `recorded_at` comes from it.
        master_key : bytes, optional
            Wraps the keys of streams (`eventstore.keys`).
        """
        parsed = parse_url(url)
        # Imported here: a process uses one database, and each driver costs start-up time.
        if is_sqlite(parsed):
            from eventstore.sqlite import SqliteBackend

            return cls(parsed, SqliteBackend(parsed, clock), clock, master_key)
        from eventstore.postgres import PostgresBackend

        return cls(parsed, PostgresBackend(parsed, clock), clock, master_key)

    def close(self) -> None:
        """Close all connections."""
        self.backend.close()

    def __enter__(self) -> EventStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self.backend.dialect

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's engine, for queries; on SQLite its connections cannot write (see `transaction`)."""
        return self.backend.engine

    @property
    def stats(self) -> CommitStats:
        """Commits and appends since the store was opened."""
        return self.backend.stats

    # Appending

    def append(
        self,
        stream: str,
        events: Sequence[NewEvent],
        expected_version: int,
        command_id: str | None = None,
        *,
        actor: str | None = None,
        request_id: str | None = None,
        cause: str | None = None,
        epoch: int | None = None,
    ) -> AppendResult:
        """Append events to a stream, all or none; when it returns they are durable.

        Parameters
        ----------
        expected_version : int
            The version that the stream must be at, `NO_STREAM` (0) or `ANY` (-1).
        command_id : str, optional
            Makes a retry harmless: the same events under the same id give the first result and write nothing.
        actor, request_id, cause : str, optional
            Who, in which request, because of what; stored and hashed with each event.
        epoch : int, optional
            The appender's lease; refused when a newer owner holds the stream. None for those who own nothing.

        Raises
        ------
        WrongExpectedVersion, FencedOut, CommandIdReused
            Nothing was written.
        StorageError
            Nothing was written either, but for `OutcomeUnknown`.
        """
        request = AppendRequest(
            stream,
            events,
            expected_version,
            command_id=command_id,
            actor=actor,
            request_id=request_id,
            cause=cause,
            epoch=epoch,
        )
        self.backend.check_thread()
        self._group.submit(request)
        if request.error is not None:
            try:
                raise request.error
            finally:
                request.error = None  # no cycle of error, traceback and frame
        if request.result is None:
            msg = f"the append to {stream!r} ended without an outcome"
            raise OutcomeUnknown(msg)
        return request.result

    def find_command(self, stream: str, command_id: str) -> AppendResult | None:
        """Return where the events of a command lie, or None when it was never stored."""
        stored = self.backend.find_command(stream, command_id)
        if stored is None:
            return None
        return AppendResult(stream, stored.first_version, stored.last_version, stored.last_position, is_repeated=True)

    # Reading

    def read_stream(self, stream: str, after_version: int = 0, limit: int = PAGE) -> list[StoredEvent]:
        """Return up to `limit` (at most `PAGE_MAX`) events of a stream after a version."""
        return self.backend.read_stream(stream, after_version, min(limit, PAGE_MAX))

    def iter_stream(
        self, stream: str, after_version: int = 0, to_version: int | None = None, page: int = PAGE
    ) -> Iterator[StoredEvent]:
        """Yield the events of a stream, page by page; no transaction stays open between pages."""
        while True:
            limit = page if to_version is None else min(page, to_version - after_version)
            events = self.read_stream(stream, after_version, limit) if limit > 0 else []
            yield from events
            if len(events) < limit or not events:
                return
            after_version = events[-1].version

    def find_events(self, stream: str, types: Sequence[str], after_version: int = 0) -> list[StoredEvent]:
        """Return the events of a stream that are of one of some types; meant for rare ones."""
        columns = events.c
        query = (
            select(columns.version)
            .join(streams, streams.c.id == columns.stream_id)
            .where(streams.c.name == stream, columns.version > after_version, columns.type.in_(types))
            .order_by(columns.version)
        )
        with self.reading() as connection:
            versions = list(connection.scalars(query))
        return [event for version in versions for event in self.read_stream(stream, version - 1, 1)]

    def read_all(self, after_position: int = 0, limit: int = PAGE) -> list[StoredEvent]:
        """Return up to `limit` (at most `PAGE_MAX`) events of the whole log after a position.

        Positions rise but have gaps. None that comes later lies before one that was seen.
        """
        return self.backend.read_all(after_position, min(limit, PAGE_MAX))

    def head(self, stream: str) -> Head | None:
        """Return the end of a stream, or None when it has no row."""
        query = select(streams.c.version, streams.c.head_hash, streams.c.fence).where(streams.c.name == stream)
        with self.reading() as connection:
            row = connection.execute(query).first()
        return Head(*row) if row is not None else None

    def list_streams(self, prefix: str = "") -> list[str]:
        """Return the names of the streams that have events and begin with `prefix`, sorted."""
        query = (
            select(streams.c.name)
            .where(streams.c.name.startswith(prefix, autoescape=True), streams.c.version > 0)
            .order_by(streams.c.id)
        )
        with self.reading() as connection:
            names = list(connection.scalars(query))
        return sorted(name for name in names if name.startswith(prefix))  # LIKE of SQLite ignores case

    # Payloads

    def read_payload(self, stream: str, digest: bytes) -> Payload:
        """Return a payload whose bytes fit its digest.

        Raises
        ------
        PayloadMissing, PayloadCorrupt
        """
        found = self.backend.read_payload(stream, digest)
        if found is None:
            raise PayloadMissing(stream, digest)
        payload = Payload(*found)
        if payload.digest != digest:
            raise PayloadCorrupt(stream, digest, payload.digest)
        return payload

    def read_payloads(self, stream: str, digests: Collection[bytes]) -> dict[bytes, Payload]:
        """Return those of some payloads that are there, by digest; at most `PAYLOADS_MAX` at a time.

        Raises
        ------
        PayloadCorrupt
        """
        assert len(digests) <= PAYLOADS_MAX, f"{len(digests)} payloads at once"
        found = {}
        for digest, body, codec, content in self.backend.read_payloads(stream, list(digests)) if digests else ():
            payload = found[digest] = Payload(body, codec, content)
            if payload.digest != digest:
                raise PayloadCorrupt(stream, digest, payload.digest)
        return found

    def delete_payloads(self, stream: str, digests: Sequence[bytes] | None = None) -> int:
        """Drop payloads of a stream, all or those named; events and their digests stay. Returns how many."""
        stream_id = select(streams.c.id).where(streams.c.name == stream).scalar_subquery()
        statement = delete(payloads).where(payloads.c.stream_id == stream_id)
        with self.transaction() as connection:
            if digests is None:
                return connection.execute(statement).rowcount
            return sum(connection.execute(statement.where(payloads.c.digest == digest)).rowcount for digest in digests)

    def drop_payloads(self, stream: str, from_version: int, to_version: int) -> int:
        """Drop the payloads of a range of versions, a page at a time; returns how many.

        One that a later event refers to as well, having equal bytes, stays.
        """
        later = self._payload_digests(stream, to_version, None)
        n_dropped = 0
        for after in range(from_version - 1, to_version, PAGE):
            digests = self._payload_digests(stream, after, min(after + PAGE, to_version)) - later
            if digests:
                n_dropped += self.delete_payloads(stream, sorted(digests))
        return n_dropped

    def _payload_digests(self, stream: str, after_version: int, to_version: int | None) -> set[bytes]:
        columns = events.c
        query = (
            select(columns.payload_digest)
            .join(streams, streams.c.id == columns.stream_id)
            .where(streams.c.name == stream, columns.version > after_version, columns.payload_digest.is_not(None))
        )
        if to_version is not None:
            query = query.where(columns.version <= to_version)
        with self.reading() as connection:
            return set(connection.scalars(query))

    # Transactions of projections

    def transaction(self) -> AbstractContextManager[Connection]:
        """Return a context manager giving a SQLAlchemy connection in a write transaction.

        It commits at the end and rolls back on an exception. On SQLite it holds the writer (BEGIN
        IMMEDIATE), so keep it short. Inside it this thread cannot append nor open another: that
        raises `NestedTransaction`.
        """
        return self.backend.transaction()

    def erasing(self) -> AbstractContextManager[Connection]:
        """Return a transaction whose deletions leave as little as can be: see `Backend.erasing`."""
        return self.backend.erasing()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a SQLAlchemy connection to read from; keep it short too."""
        try:
            with self.backend.reading() as connection:
                yield connection
        except DBAPIError as error:
            raise (self.backend.wrap(error) or error) from error

    def read_checkpoint(self, subscriber: str, conn: Connection | None = None) -> int:
        """Return the position a subscriber has reached, 0 when it has none."""
        if conn is not None:
            return checkpoints.read(conn, subscriber)
        with self.reading() as connection:
            return checkpoints.read(connection, subscriber)

    def lock_checkpoint(self, conn: Connection, subscriber: str) -> int | None:
        """Return the position a subscriber has reached, None when it has none; it stays until the transaction ends."""
        return checkpoints.lock(conn, subscriber)

    def write_checkpoint(self, conn: Connection, subscriber: str, old: int, new: int, epoch: int = 0) -> None:
        """Move a checkpoint from `old` to `new` in the transaction of the rows it stands for.

        Raises
        ------
        CheckpointMoved
            It is not at `old`, or a writer of a later epoch has it.
        """
        checkpoints.write(conn, checkpoints.Move(subscriber, old, new, epoch), self.clock())

    def reset_checkpoint(self, conn: Connection, subscriber: str) -> None:
        """Forget a checkpoint, before its rows are built anew."""
        checkpoints.reset(conn, subscriber)

    # Snapshots

    def save_snapshot(
        self,
        stream: str,
        version: int,
        state_schema: str,
        body: bytes,
        *,
        codec: str = "",
        conn: Connection | None = None,
    ) -> Snapshot:
        """Store the state of a stream as of a version, replacing one of the same key."""
        check_name("state schema", state_schema)
        snapshot = Snapshot.of(stream, version, state_schema, body, codec=codec, created_at=self.clock())
        if conn is not None:
            snapshots.save(conn, snapshot)
        else:
            with self.transaction() as connection:
                snapshots.save(connection, snapshot)
        return snapshot

    def load_snapshot(
        self, stream: str, state_schema: str, *, at_version: int | None = None, not_after: int | None = None
    ) -> Snapshot | None:
        """Return the newest intact snapshot of a schema (at exactly, or not after, a version), or None.

        Corrupt ones are skipped with a warning and counted in `n_snapshots_discarded`.
        """
        with self.reading() as connection:
            found, n_discarded = snapshots.load(
                connection, stream, state_schema, at_version=at_version, not_after=not_after
            )
        self.n_snapshots_discarded += n_discarded
        return found

    def list_snapshots(self, stream: str, state_schema: str | None = None) -> list[snapshots.SnapshotInfo]:
        """Return the snapshots of a stream (of one schema) without their bodies, oldest first."""
        with self.reading() as connection:
            return snapshots.list_some(connection, stream, state_schema)

    def delete_snapshots(self, stream: str, *, version: int | None = None, state_schema: str | None = None) -> int:
        """Delete snapshots of a stream, all or those of a version or schema; returns how many."""
        with self.transaction() as connection:
            return snapshots.delete_some(connection, stream, version, state_schema)

    # Leases

    def acquire(
        self, resource: str, owner: str, ttl: float, *, replaces: str | None = None, is_stream: bool = True
    ) -> Lease | None:
        """Take a lease for `ttl` seconds if it is free, expired, one's own or a dead owner's; else None.

        Parameters
        ----------
        replaces : str, optional
            An owner known to be dead, whose lease is taken over at once.
        is_stream : bool
            The resource is a stream's name: its fence rises to the new epoch in the same transaction, so that
            the owner before can no longer append. The stream need not exist yet.
        """
        return self._leases.acquire(resource, owner, ttl, replaces=replaces, is_stream=is_stream)

    def holder(self, resource: str) -> Lease | None:
        """Return the running lease of a resource, or None."""
        return self._leases.holder(resource, is_running=True)

    def last_holder(self, resource: str) -> Lease | None:
        """Return the lease of who acquired a resource last and never released it; it may have expired."""
        return self._leases.holder(resource, is_running=False)

    def renew(self, lease: Lease, ttl: float) -> Lease | None:
        """Extend a lease by `ttl` seconds from now; None when it was released or another owner has it."""
        return self._leases.renew(lease, ttl)

    def release(self, lease: Lease) -> bool:
        """End a lease; False when it was lost already."""
        return self._leases.release(lease)

    # Proof

    def verify_chain(self, stream: str | None = None) -> ChainReport:
        """Check every hash, head, payload and seal of a stream or of the whole log."""
        return verify_chain(self, Verification(stream))
