"""Projections: rows built from the log, written with the checkpoint, so that each event counts once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from sqlalchemy import Connection

from eventstore.events import StoredEvent

if TYPE_CHECKING:
    from eventstore.store import EventStore

PAGE_EVENTS = 500  # of one transaction; on SQLite it holds the writer meanwhile

Handle: TypeAlias = Callable[[Connection, Sequence[StoredEvent]], None]


@dataclass(frozen=True)
class Projection:
    """A subscriber of the whole log.

    Attributes
    ----------
    name : str
        Name of its checkpoint.
    handle : callable
        Writes the rows for a page of events, on the connection given, which it neither commits nor closes.
    clear : callable, optional
        Drops all rows; needed to rebuild.
    """

    name: str
    handle: Handle
    clear: Callable[[Connection], None] | None = None

    def catch_up(self, store: EventStore, page: int = PAGE_EVENTS) -> int:
        """Handle all events after the checkpoint; returns how many.

        Raises
        ------
        CheckpointMoved
            Another process projects the same; its rows are as good, nothing of this page was written.
        """
        n_events = 0
        position = store.read_checkpoint(self.name)
        while events := store.read_all(position, page):
            with store.transaction() as connection:
                store.write_checkpoint(connection, self.name, position, events[-1].position)
                self.handle(connection, events)
            position = events[-1].position
            n_events += len(events)
        return n_events

    def rebuild(self, store: EventStore, page: int = PAGE_EVENTS) -> int:
        """Drop the rows and the checkpoint in one transaction and replay the log; returns how many events."""
        assert self.clear is not None, f"projection {self.name!r} cannot be rebuilt: it has no way to clear its rows"
        with store.transaction() as connection:
            self.clear(connection)
            store.reset_checkpoint(connection, self.name)
        return self.catch_up(store, page)
