"""What happened: the events of a stream as the API shows them, selected by type, author, time and place."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from domain.errors import NotFound
from eventstore import StoredEvent
from marigraph.application import Application
from marigraph.codec import stream_of
from marigraph.queries import FIRST_PAGE, Page


@dataclass(frozen=True, slots=True)
class HistoryFilter:
    """Which events of a job are wanted; None or empty means any. Times are milliseconds, the end is exclusive."""

    types: tuple[str, ...] = ()
    actor: str | None = None
    request_id: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    after_version: int = 0
    to_version: int | None = None

    def admits(self, event: StoredEvent) -> bool:
        """Whether an event is one of those wanted."""
        recorded_ms = event.recorded_at // 1000
        return (
            (not self.types or event.type in self.types)
            and self.actor in (None, event.actor)
            and self.request_id in (None, event.request_id)
            and (self.start_ms is None or recorded_ms >= self.start_ms)
            and (self.end_ms is None or recorded_ms < self.end_ms)
        )


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
    matched = filter(selection.admits, app.store.iter_stream(stream, selection.after_version, selection.to_version))
    total, shown = _take_page(matched, page)
    return {"count": total, "events": [event_resource(event) for event in shown]}


def event_resource(event: StoredEvent) -> dict[str, Any]:
    """Return a stored event as the API shows it; the hash and digests are in hex."""
    resource = {
        "version": event.version,
        "position": event.position,
        "type": event.type,
        "schema_version": event.schema_version,
        "recorded_at": event.recorded_at // 1000,
        "actor": event.actor,
        "request_id": event.request_id,
        "cause": event.cause,
        "command_id": event.command_id,
        "payload_digest": event.payload_digest.hex() if event.payload_digest else None,
        "hash": event.hash.hex(),
        "data": msgspec.json.decode(event.data),
    }
    return {name: value for name, value in resource.items() if value is not None}


def _take_page(events: Iterable[StoredEvent], page: Page) -> tuple[int, list[StoredEvent]]:
    total, shown = 0, []
    end = page.start + page.size
    for event in events:
        if page.every or page.start <= total < end:
            shown.append(event)
        total += 1
    return total, shown
