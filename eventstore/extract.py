"""Writes one stream into an empty database, event by event, with a hash chain of its own.

Versions, times and contexts are those that are handed in; events as they were stored come out with the hashes that they
had. `eventstore.copy` copies a whole log.
"""

from __future__ import annotations

from sqlalchemy import Connection, insert

from eventstore import chain
from eventstore.dialects import insert as insert_new
from eventstore.events import Payload, StoredEvent
from eventstore.tables import events, payloads, streams

PAGE_ROWS = 1_000


class StreamWriter:
    """Writes the events of a stream in their order.

    Parameters
    ----------
    connection : Connection
        In a transaction of the database to be filled.
    stream : str
    """

    def __init__(self, connection: Connection, stream: str) -> None:
        self._connection = connection
        self._stream = stream
        created = connection.execute(
            insert(streams).values(name=stream, version=0, head_hash=chain.GENESIS, recorded_at=0)
        )
        assert created.inserted_primary_key is not None
        self._id = int(created.inserted_primary_key[0])
        self._pending: list[dict[str, object]] = []
        self.version = 0
        self.head_hash = chain.GENESIS
        self._recorded_at = 0

    def add(self, event: StoredEvent, payload: Payload | None = None) -> bytes:
        """Write an event, and its payload if it is to be there; return the event's hash.

        What `event` says of position, stream and hash does not count.
        """
        assert event.version == self.version + 1, f"version {event.version} after {self.version}"
        event = event._replace(stream=self._stream)
        self.head_hash = chain.hash_stored(self.head_hash, event)
        self.version, self._recorded_at = event.version, event.recorded_at
        row = event._asdict()
        del row["position"], row["stream"]
        self._pending.append({**row, "stream_id": self._id, "hash": self.head_hash})
        if payload is not None:
            self._connection.execute(
                insert_new(self._connection, payloads)
                .values(
                    stream_id=self._id,
                    digest=payload.digest,
                    content_digest=payload.content_digest,
                    codec=payload.codec,
                    size=len(payload.body),
                    body=payload.body,
                )
                .on_conflict_do_nothing()  # equal records may have been posted twice
            )
        if len(self._pending) >= PAGE_ROWS:
            self._flush()
        return self.head_hash

    def finish(self) -> None:
        """Write what is left, and the head row."""
        self._flush()
        self._connection.execute(
            streams.update()
            .where(streams.c.id == self._id)
            .values(version=self.version, head_hash=self.head_hash, recorded_at=self._recorded_at)
        )

    def _flush(self) -> None:
        if self._pending:
            self._connection.execute(insert(events), self._pending)
            self._pending = []
