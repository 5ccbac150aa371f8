"""Checkpoints: how far a subscriber has read, moved in the transaction of what it wrote."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, delete, select, update

from eventstore.dialects import insert
from eventstore.errors import CheckpointMoved
from eventstore.tables import checkpoints


class Move(NamedTuple):
    """A step of a checkpoint."""

    subscriber: str
    old: int
    new: int
    epoch: int


def read(connection: Connection, subscriber: str) -> int:
    """Return the position, 0 for none."""
    query = select(checkpoints.c.position).where(checkpoints.c.subscriber == subscriber)
    return connection.scalar(query) or 0


def lock(connection: Connection, subscriber: str) -> int | None:
    """Return the position, None for none; on PostgreSQL nobody moves it until the transaction ends.

    On SQLite a write transaction is alone anyway.
    """
    query = select(checkpoints.c.position).where(checkpoints.c.subscriber == subscriber).with_for_update()
    return connection.scalar(query)


def write(connection: Connection, move: Move, now: int) -> None:
    """Move a checkpoint, or raise `CheckpointMoved`."""
    columns = checkpoints.c
    moved = connection.execute(
        update(checkpoints)
        .where(columns.subscriber == move.subscriber, columns.position == move.old, columns.epoch <= move.epoch)
        .values(position=move.new, epoch=move.epoch, updated_at=now)
    ).rowcount
    if not moved and move.old == 0:
        made = connection.execute(
            insert(connection, checkpoints)
            .values(subscriber=move.subscriber, position=move.new, epoch=move.epoch, updated_at=now)
            .on_conflict_do_nothing()
            .returning(columns.position)  # the driver's row count of an INSERT is not to be trusted
        ).first()
        moved = 0 if made is None else 1
    if not moved:
        raise CheckpointMoved(move.subscriber, move.old, read(connection, move.subscriber))


def reset(connection: Connection, subscriber: str) -> None:
    """Forget a checkpoint."""
    connection.execute(delete(checkpoints).where(checkpoints.c.subscriber == subscriber))
