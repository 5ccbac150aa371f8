"""Snapshots: the state of a stream as of a version, kept by the schema of that state; never the truth.

Two versions of the program keep theirs side by side. A corrupt one is skipped, with a warning.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select

from eventstore.dialects import insert
from eventstore.errors import UnknownStream
from eventstore.tables import snapshots, streams

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state with all events up to `version` in it; `digest` is the SHA-256 of the body."""

    stream: str
    version: int
    state_schema: str
    codec: str
    digest: bytes
    created_at: int
    body: bytes

    @classmethod
    def of(cls, stream: str, version: int, state_schema: str, body: bytes, *, codec: str, created_at: int) -> Snapshot:
        """Make a snapshot of a body."""
        return cls(stream, version, state_schema, codec, hashlib.sha256(body).digest(), created_at, body)


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """A snapshot without its body."""

    stream: str
    version: int
    state_schema: str
    codec: str
    digest: bytes
    created_at: int
    size: int


def save(connection: Connection, snapshot: Snapshot) -> None:
    """Store a snapshot; one of the same key is replaced, since it may be the corrupt one."""
    stream_id = connection.scalar(select(streams.c.id).where(streams.c.name == snapshot.stream))
    if stream_id is None:
        raise UnknownStream(snapshot.stream)
    content = {
        "codec": snapshot.codec,
        "digest": snapshot.digest,
        "size": len(snapshot.body),
        "body": snapshot.body,
        "created_at": snapshot.created_at,
    }
    key = {"stream_id": stream_id, "version": snapshot.version, "state_schema": snapshot.state_schema}
    connection.execute(
        insert(connection, snapshots)
        .values(**key, **content)
        .on_conflict_do_update(index_elements=list(snapshots.primary_key.columns), set_=content)
    )


def load(
    connection: Connection, stream: str, state_schema: str, *, at_version: int | None, not_after: int | None
) -> tuple[Snapshot | None, int]:
    """Return the newest intact snapshot of a schema, and how many corrupt ones were passed by."""
    columns = snapshots.c
    query = (
        select(columns.version)
        .join(streams, streams.c.id == columns.stream_id)
        .where(streams.c.name == stream, columns.state_schema == state_schema)
        .order_by(columns.version.desc())
    )
    if at_version is not None:
        query = query.where(columns.version == at_version)
    if not_after is not None:
        query = query.where(columns.version <= not_after)
    n_discarded = 0
    for version in list(connection.scalars(query)):  # bodies are large: one at a time
        snapshot = _load_one(connection, stream, version, state_schema)
        if snapshot is not None:
            return snapshot, n_discarded
        n_discarded += 1
    return None, n_discarded


def _load_one(connection: Connection, stream: str, version: int, state_schema: str) -> Snapshot | None:
    columns = snapshots.c
    row = connection.execute(
        select(columns.codec, columns.digest, columns.created_at, columns.body)
        .join(streams, streams.c.id == columns.stream_id)
        .where(streams.c.name == stream, columns.version == version, columns.state_schema == state_schema)
    ).first()
    if row is None:
        return None  # deleted meanwhile
    snapshot = Snapshot(stream, version, state_schema, row.codec, row.digest, row.created_at, row.body)
    if hashlib.sha256(snapshot.body).digest() == snapshot.digest:
        return snapshot
    logger.warning("snapshot of stream %r at version %d (%s) is corrupt and was skipped", stream, version, state_schema)
    return None


def list_some(connection: Connection, stream: str, state_schema: str | None) -> list[SnapshotInfo]:
    """Return the snapshots of a stream, of one schema or of all, oldest first."""
    columns = snapshots.c
    query = (
        select(
            columns.version,
            columns.state_schema,
            columns.codec,
            columns.digest,
            columns.created_at,
            columns.size,
        )
        .join(streams, streams.c.id == columns.stream_id)
        .where(streams.c.name == stream)
        .order_by(columns.version, columns.created_at)
    )
    if state_schema is not None:
        query = query.where(columns.state_schema == state_schema)
    return [SnapshotInfo(stream, *row) for row in connection.execute(query)]


def delete_some(connection: Connection, stream: str, version: int | None, state_schema: str | None) -> int:
    """Delete the snapshots of a stream, or those of a version or schema."""
    stream_id = select(streams.c.id).where(streams.c.name == stream).scalar_subquery()
    statement = delete(snapshots).where(snapshots.c.stream_id == stream_id)
    if version is not None:
        statement = statement.where(snapshots.c.version == version)
    if state_schema is not None:
        statement = statement.where(snapshots.c.state_schema == state_schema)
    return connection.execute(statement).rowcount
