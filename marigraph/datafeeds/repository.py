"""The ``datafeeds`` read model, and appending to the streams of datafeeds; the twin of ``marigraph/jobs.py``."""

import logging
import threading
from collections.abc import Iterable, Sequence
from itertools import groupby

import msgspec
from sqlalchemy import Connection, Row, delete, select

from domain.datafeeds.commands import DatafeedCommand
from domain.datafeeds.datafeed import ABSENT, Datafeed, decide, decode_datafeed, encode_datafeed, evolve
from domain.datafeeds.events import EVENT_TYPES
from domain.events import Event
from eventstore import EventStore, StoredEvent
from marigraph.codec import DATAFEED_PREFIX, build_codec, datafeed_stream, new_event, recorded
from marigraph.context import Context
from marigraph.racing import until_first
from marigraph.sql import upsert
from marigraph.tables import datafeeds

log = logging.getLogger(__name__)

PROJECTION = "datafeeds"
FOLD_VERSION = 1
"""Raised whenever ``evolve`` or the form of ``Datafeed`` changes; rows of another version are folded anew."""


class Datafeeds:
    """Loads datafeeds, from their rows and the tails of their streams.

    Attributes
    ----------
    naming : lock
        Held while it is checked that an id or a job is free and the datafeed that takes it is stored.
    """

    def __init__(self, store: EventStore) -> None:
        self.naming = threading.Lock()
        self._store = store
        self._codec = build_codec(EVENT_TYPES)

    def load(self, datafeed_id: str) -> Datafeed:
        """Return a datafeed as of the head of its stream; an ``absent`` one if there is none of that id."""
        with self._store.reading() as connection:
            row = connection.execute(select(datafeeds).where(datafeeds.c.datafeed_id == datafeed_id)).one_or_none()
        return self.advance(_read_row(row) if row is not None else Datafeed(datafeed_id))

    def advance(self, datafeed: Datafeed) -> Datafeed:
        """Fold what the stream holds after the datafeed's version."""
        stream = datafeed_stream(datafeed.datafeed_id)
        return self._fold(datafeed, self._store.iter_stream(stream, datafeed.version))

    def all(self) -> list[Datafeed]:
        """Return every datafeed that exists, ordered by id, as of the projection's checkpoint."""
        query = select(datafeeds).where(datafeeds.c.state != ABSENT)
        with self._store.reading() as connection:
            found = [_read_row(row) for row in connection.execute(query)]
        whole = (each if each.version else self.advance(each) for each in found)
        return sorted(whole, key=lambda datafeed: datafeed.datafeed_id)

    def of_job(self, job_id: str) -> Datafeed | None:
        """Return the datafeed of a job as it is now, None if it has none; the read model must be up to date."""
        for datafeed in self.all():
            if datafeed.settings().job_id == job_id:
                return self.advance(datafeed)
        return None

    def writer(self, datafeed_id: str, epoch: int | None = None) -> "DatafeedWriter":
        """Return what appends to a datafeed; ``epoch`` is that of who runs it."""
        return DatafeedWriter(self._store, self, self.load(datafeed_id), epoch)

    def project(self, connection: Connection, events: Sequence[StoredEvent]) -> None:
        """Bring the rows up to date with a page of the log (a projection's handler)."""
        ours = [event for event in events if event.stream.startswith(DATAFEED_PREFIX)]
        ours.sort(key=lambda event: (event.stream, event.version))
        changed = []
        for stream, group in groupby(ours, key=lambda event: event.stream):
            datafeed_id = stream.removeprefix(DATAFEED_PREFIX)
            row = connection.execute(select(datafeeds).where(datafeeds.c.datafeed_id == datafeed_id)).one_or_none()
            datafeed = _read_row(row) if row is not None else Datafeed(datafeed_id)
            page = [event for event in group if event.version > datafeed.version]
            if page and page[0].version != datafeed.version + 1:  # the row was unreadable: its events lie before
                page = [*self._store.iter_stream(stream, datafeed.version, page[0].version - 1), *page]
            if page:
                changed.append(_row(self._fold(datafeed, page)))
        if changed:
            upsert(connection, datafeeds, changed)

    def rebuild(self, datafeed_id: str) -> bool:
        """Fold a datafeed anew from its first event; see ``marigraph.jobs.Jobs.rebuild``."""
        stream, of_datafeed = (
            datafeed_stream(datafeed_id),
            select(datafeeds).where(datafeeds.c.datafeed_id == datafeed_id),
        )
        with self._store.reading() as connection:
            row = connection.execute(of_datafeed).one_or_none()
        to_version = row.version if row is not None else None
        datafeed = self._fold(Datafeed(datafeed_id), self._store.iter_stream(stream, 0, to_version))
        with self._store.transaction() as connection:
            self._store.lock_checkpoint(connection, PROJECTION)
            row = connection.execute(of_datafeed).one_or_none()
            if row is not None and row.version > datafeed.version:
                datafeed = self._fold(datafeed, self._store.iter_stream(stream, datafeed.version, row.version))
            if row is not None and dict(row._mapping) == _row(datafeed):
                return False
            upsert(connection, datafeeds, [_row(datafeed)])
        return True

    def clear(self, connection: Connection) -> None:
        """Drop every row, before a rebuild."""
        connection.execute(delete(datafeeds))

    def _fold(self, datafeed: Datafeed, events: Iterable[StoredEvent]) -> Datafeed:
        for stored in events:
            item = recorded(self._codec, stored)
            datafeed = evolve(datafeed, item.event, item.version)
        return datafeed


class DatafeedWriter:
    """Decides commands on one datafeed and appends what they come to."""

    def __init__(self, store: EventStore, datafeeds: Datafeeds, datafeed: Datafeed, epoch: int | None) -> None:
        self.datafeed = datafeed
        self._store = store
        self._datafeeds = datafeeds
        self._epoch = epoch

    def catch_up(self) -> None:
        """Bring ``datafeed`` up to the head of its stream."""
        self.datafeed = self._datafeeds.advance(self.datafeed)

    def carry_out(self, command: DatafeedCommand, context: Context) -> list[Event]:
        """Decide a command and append what it comes to, again when another writer was faster.

        Raises
        ------
        DomainError
            The command is not allowed.
        FencedOut
            Another process runs the datafeed now.
        """

        def attempt() -> list[Event]:
            events = decide(self.datafeed, command)
            if events:
                self._store.append(
                    datafeed_stream(self.datafeed.datafeed_id),
                    [new_event(event) for event in events],
                    self.datafeed.version,
                    actor=context.actor,
                    request_id=context.request_id,
                    epoch=self._epoch,
                )
                self.catch_up()
            return events

        return until_first(attempt, self.catch_up, f"datafeed [{self.datafeed.datafeed_id}] was")


def _row(datafeed: Datafeed) -> dict[str, object]:
    return {
        "datafeed_id": datafeed.datafeed_id,
        "version": datafeed.version,
        "fold_version": FOLD_VERSION,
        "job_id": datafeed.config.job_id if datafeed.config is not None else None,
        "state": datafeed.state,
        "body": encode_datafeed(datafeed).decode(),
    }


def _read_row(row: Row[tuple[object, ...]]) -> Datafeed:
    datafeed_id: str = row.datafeed_id
    if row.fold_version == FOLD_VERSION:
        try:
            datafeed = decode_datafeed(row.body)
        except (msgspec.MsgspecError, ValueError) as error:
            log.warning("datafeed %s: its row cannot be read and is folded anew: %s", datafeed_id, error)
        else:
            if (datafeed.datafeed_id, datafeed.version, datafeed.state) == (datafeed_id, row.version, row.state):
                return datafeed
            log.warning("datafeed %s: its row does not fit its columns and is folded anew", datafeed_id)
    return Datafeed(datafeed_id)
