"""Proof: every hash of a stream computed anew from its stored columns, page by page.

Found are a changed column, a missing, inserted or moved event, a head row that does not fit, and payload
bytes that do not fit their digest. A payload that is gone is no break (retention may drop it) but is
listed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, select

from eventstore import chain
from eventstore.events import StoredEvent
from eventstore.tables import events, payloads, streams

if TYPE_CHECKING:
    from eventstore.store import EventStore

PAGE_EVENTS = 1_000
MISSING_LISTED_MAX = 1_000


@dataclass(frozen=True, slots=True)
class BadLink:
    """The first place where a chain does not hold; position is None when the event itself is missing."""

    stream: str
    version: int
    position: int | None
    what: str


@dataclass(frozen=True, slots=True)
class MissingPayload:
    """An event whose payload is no longer there."""

    stream: str
    version: int
    digest: bytes


@dataclass
class ChainReport:
    """What a verification found."""

    n_streams: int = 0
    n_events: int = 0
    n_payloads: int = 0
    n_payloads_missing: int = 0
    first_bad: BadLink | None = None
    missing_payloads: list[MissingPayload] = field(default_factory=list)  # the first `MISSING_LISTED_MAX`

    @property
    def is_intact(self) -> bool:
        """Say whether every link holds."""
        return self.first_bad is None


class _Broken(Exception):
    def __init__(self, bad: BadLink) -> None:
        super().__init__(bad.what)
        self.bad = bad


def verify_chain(store: EventStore, stream: str | None = None) -> ChainReport:
    """Check a stream, or all of them and that every event belongs to one."""
    report = ChainReport()
    try:
        if stream is None:
            _check_orphans(store)
        for name in [stream] if stream is not None else _all_streams(store):
            _verify_stream(store, name, report)
            report.n_streams += 1
    except _Broken as error:
        report.first_bad = error.bad
    return report


def _all_streams(store: EventStore) -> Sequence[str]:
    with store.reading() as connection:
        return list(connection.scalars(select(streams.c.name).order_by(streams.c.id)))


def _check_orphans(store: EventStore) -> None:
    query = (
        select(events.c.stream_id, events.c.version, events.c.position)
        .where(~select(streams.c.id).where(streams.c.id == events.c.stream_id).exists())
        .limit(1)
    )
    with store.reading() as connection:
        row = connection.execute(query).first()
    if row is not None:
        raise _Broken(BadLink(f"#{row.stream_id}", row.version, row.position, "the event's stream has no head row"))


def _verify_stream(store: EventStore, stream: str, report: ChainReport) -> None:
    # The head is read first: events that come meanwhile lie after it and are left for the next time.
    with store.reading() as connection:
        head = connection.execute(select(streams).where(streams.c.name == stream)).first()
    if head is None:
        raise _Broken(BadLink(stream, 0, None, "there is no such stream"))
    previous, recorded_at, version = chain.GENESIS, 0, 0
    while version < head.version:
        page = store.read_stream(stream, version, min(PAGE_EVENTS, head.version - version))
        if not page:
            raise _Broken(BadLink(stream, version + 1, None, "the event is missing; the head row counts more"))
        for event in page:
            _check_event(event, version, previous, recorded_at)
            previous, recorded_at, version = event.hash, event.recorded_at, event.version
            report.n_events += 1
        with store.reading() as connection:
            _check_payloads(connection, head.id, page, report)
    _check_head(store, stream, (head.version, head.head_hash, head.recorded_at), (version, previous, recorded_at))


def _check_event(event: StoredEvent, version: int, previous: bytes, recorded_at: int) -> None:
    if event.version != version + 1:
        raise _Broken(BadLink(event.stream, version + 1, None, f"the event is missing; {event.version} follows"))
    if chain.hash_stored(previous, event) != event.hash:
        what = "the hash does not fit the event's columns and the hash before it"
        raise _Broken(BadLink(event.stream, event.version, event.position, what))
    if event.recorded_at < recorded_at:
        what = "recorded_at is before that of the event before it"
        raise _Broken(BadLink(event.stream, event.version, event.position, what))


def _check_head(store: EventStore, stream: str, head: tuple[int, bytes, int], last: tuple[int, bytes, int]) -> None:
    if head != last:
        what = "the head row does not fit the newest event"
        raise _Broken(BadLink(stream, head[0], None, what))
    with store.reading() as connection:
        beyond = connection.execute(
            select(func.max(events.c.version), func.max(streams.c.version))
            .select_from(streams.join(events, events.c.stream_id == streams.c.id))
            .where(streams.c.name == stream)
        ).one()
    if beyond[0] is not None and beyond[0] > beyond[1]:
        raise _Broken(BadLink(stream, beyond[0], None, "the event lies after the head row's version"))


def _check_payloads(connection: Connection, stream_id: int, page: Sequence[StoredEvent], report: ChainReport) -> None:
    for event in page:
        if event.payload_digest is None:
            continue
        query = select(payloads.c.body).where(
            payloads.c.stream_id == stream_id, payloads.c.digest == event.payload_digest
        )
        body = connection.scalar(query)
        if body is None:
            report.n_payloads_missing += 1
            if len(report.missing_payloads) < MISSING_LISTED_MAX:
                report.missing_payloads.append(MissingPayload(event.stream, event.version, event.payload_digest))
            continue
        report.n_payloads += 1
        if hashlib.sha256(body).digest() != event.payload_digest:
            what = "the payload's bytes do not fit its digest"
            raise _Broken(BadLink(event.stream, event.version, event.position, what))
