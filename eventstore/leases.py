"""Leases: who may run a resource now. They avoid two owners; the fence on the stream's head keeps them apart.

An epoch rises with each acquisition and is never used twice, also after a release. On PostgreSQL the
database's clock counts, on SQLite that of the process, since all of them run on one host.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import BigInteger, ColumnElement, Connection, case, cast, func, literal, or_, select, update

from eventstore.appending import check_name
from eventstore.backend import Backend
from eventstore.chain import GENESIS
from eventstore.dialects import insert
from eventstore.tables import leases, streams

RELEASED = 0


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run a resource until `expires_at` (microseconds since 1970)."""

    resource: str
    owner: str
    epoch: int
    expires_at: int


class Leases:
    """The leases of a store."""

    def __init__(self, backend: Backend, clock: Callable[[], int]) -> None:
        self._backend = backend
        self._now = clock

    def acquire(
        self, resource: str, owner: str, ttl: float, *, replaces: str | None = None, is_stream: bool = True
    ) -> Lease | None:
        """See `EventStore.acquire`."""
        check_name("lease resource", resource)
        check_name("lease owner", owner)
        columns = leases.c
        with self._backend.transaction() as connection:
            clock = self._clock(connection)
            fence = _lock_fence(connection, resource) if is_stream else 0
            is_free = or_(columns.expires_at < clock, columns.owner == owner)
            if replaces is not None:
                is_free = or_(is_free, columns.owner == replaces)
            until = clock + _microseconds(ttl)
            row = connection.execute(
                insert(connection, leases)
                .values(resource=resource, owner=owner, epoch=fence + 1, expires_at=until)
                .on_conflict_do_update(
                    index_elements=[columns.resource],
                    set_={
                        "owner": owner,
                        "epoch": case((columns.epoch < fence, fence), else_=columns.epoch) + 1,
                        "expires_at": until,
                    },
                    where=is_free,
                )
                .returning(columns.epoch, columns.expires_at)
            ).first()
            if row is None:
                return None
            lease = Lease(resource, owner, row.epoch, row.expires_at)
            if is_stream:
                _raise_fence(connection, lease)
            return lease

    def holder(self, resource: str, *, is_running: bool) -> Lease | None:
        """Return the lease that was not released; with `is_running` only one that has not expired either."""
        columns = leases.c
        query = select(columns.owner, columns.epoch, columns.expires_at).where(
            columns.resource == resource, columns.expires_at != RELEASED
        )
        with self._backend.reading() as connection:
            if is_running:
                query = query.where(columns.expires_at >= self._clock(connection))
            row = connection.execute(query).first()
        return Lease(resource, row.owner, row.epoch, row.expires_at) if row is not None else None

    def renew(self, lease: Lease, ttl: float) -> Lease | None:
        """Extend a lease by `ttl` seconds from now; None when it was released or another owner has it."""
        with self._backend.transaction() as connection:
            row = connection.execute(
                update(leases)
                .where(*_is_mine(lease), leases.c.expires_at != RELEASED)
                .values(expires_at=self._clock(connection) + _microseconds(ttl))
                .returning(leases.c.expires_at)
            ).first()
        return Lease(lease.resource, lease.owner, lease.epoch, row.expires_at) if row is not None else None

    def release(self, lease: Lease) -> bool:
        """End a lease, whose row stays since the epoch must go on rising; False when it was lost already."""
        with self._backend.transaction() as connection:
            statement = update(leases).where(*_is_mine(lease)).values(expires_at=RELEASED)
            return connection.execute(statement).rowcount > 0

    def _clock(self, connection: Connection) -> ColumnElement[int]:
        if connection.dialect.name == "sqlite":
            return literal(self._now(), BigInteger)
        return cast(func.extract("epoch", func.clock_timestamp()) * 1_000_000, BigInteger)


def _lock_fence(connection: Connection, stream: str) -> int:
    """Return the stream's fence, its head row locked, so that an epoch can be drawn above it."""
    query = select(streams.c.fence).where(streams.c.name == stream).with_for_update()
    return connection.scalar(query) or 0


def _raise_fence(connection: Connection, lease: Lease) -> None:
    connection.execute(
        insert(connection, streams)
        .values(name=lease.resource, version=0, head_hash=GENESIS, recorded_at=0, fence=lease.epoch)
        .on_conflict_do_update(
            index_elements=[streams.c.name], set_={"fence": lease.epoch}, where=streams.c.fence < lease.epoch
        )
    )


def _is_mine(lease: Lease) -> tuple[ColumnElement[bool], ...]:
    columns = leases.c
    return (columns.resource == lease.resource, columns.owner == lease.owner, columns.epoch == lease.epoch)


def _microseconds(seconds: float) -> int:
    return int(seconds * 1_000_000)
