"""What happened: the events of a stream as the API shows them, selected by type, author, time and place."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnCollection, ColumnElement, func, select

from domain.errors import NotFound
from eventstore.tables import events
from marigraph.application import Application
from marigraph.audit.scope import Window, find_stream, of_types, versions_within
from marigraph.codec import stream_of
from marigraph.queries import FIRST_PAGE, Page


@dataclass(frozen=True, slots=True)
class HistoryFilter:
    """Which events are wanted; None or empty means any. Times are milliseconds, the end is exclusive."""

    types: tuple[str, ...] = ()
    actor: str | None = None
    request_id: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    after_version: int = 0
    to_version: int | None = None

    @property
    def window(self) -> Window:
        """The stretch of time."""
        return Window(self.start_ms, self.end_ms)

    def authors(self, columns: ColumnCollection[str, Any]) -> Iterator[ColumnElement[bool]]:
        """Return what the author of an event, and its request, must fulfil."""
        if self.actor is not None:
            yield columns.actor == self.actor
        if self.request_id is not None:
            yield columns.request_id == self.request_id


def get_history(
    app: Application, job_id: str, selection: HistoryFilter | None = None, page: Page = FIRST_PAGE
) -> dict[str, Any]:
    """List the events of a job's stream, oldest first; also those of deleted jobs."""
    stream = stream_of(job_id)
    if app.store.head(stream) is None:
        msg = f"No known job with id '{job_id}'"
        raise NotFound(msg)
    return get_stream(app, stream, selection, page)


def get_stream(
    app: Application, stream: str, selection: HistoryFilter | None = None, page: Page = FIRST_PAGE
) -> dict[str, Any]:
    """List the events of any stream, oldest first; none if there is no such stream."""
    selection = selection or HistoryFilter()
    if not page.every:
        page.check()
    with app.store.reading() as connection:
        found = find_stream(connection, stream)
        if found is None:
            return {"count": 0, "events": []}
        low, high = versions_within(connection, found, selection.window)
        low = max(low, selection.after_version)
        high = high if selection.to_version is None else min(high, selection.to_version)
        chosen = [*of_types(events.c.type, selection.types), *selection.authors(events.c)]
        condition = (events.c.stream_id == found.stream_id, events.c.version > low, events.c.version <= high, *chosen)
        query = select(events).where(*condition).order_by(events.c.version)
        if not page.every:
            query = query.limit(page.size).offset(page.start)
        rows = [dict(row) for row in connection.execute(query).mappings()]
        if chosen:
            total = connection.scalar(select(func.count()).select_from(events).where(*condition)) or 0
        else:
            total = max(high - low, 0)  # versions have no gaps
    return {"count": total, "events": [event_resource(row, row["recorded_at"]) for row in rows]}


def event_resource(row: Mapping[str, Any], recorded_at_us: int) -> dict[str, Any]:
    """Return an event as the API shows it; the hash and digests are in hex."""
    resource = {
        "version": row["version"],
        "position": row["position"],
        "type": row["type"],
        "schema_version": row["schema_version"],
        "recorded_at": recorded_at_us // 1000,
        "actor": row["actor"],
        "request_id": row["request_id"],
        "cause": row["cause"],
        "command_id": row["command_id"],
        "payload_digest": _hex(row["payload_digest"]),
        "hash": _hex(row["hash"]),
        "data": msgspec.json.decode(row["data"]),
    }
    return {name: value for name, value in resource.items() if value is not None}


def _hex(digest: bytes | str | None) -> str | None:
    """Return a digest in hex: tables hold its bytes, the views of the audit its hex."""
    return digest.hex() if isinstance(digest, bytes) else digest
