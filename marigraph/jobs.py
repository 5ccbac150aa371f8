"""The ``jobs`` read model: every job as of the newest version folded, so that no command replays a whole stream.

A row is the aggregate itself (``domain.job.Job``) and the version it is folded to; :class:`Jobs` reads it and folds
what came after. A row that cannot be read, or was folded by other code, is folded anew from the log.
"""

import logging
from collections.abc import Iterable, Sequence
from itertools import groupby

import msgspec
from sqlalchemy import Connection, Row, delete, select

from domain.job import ABSENT, Job, decode_job, encode_job, evolve
from eventstore import Codec, EventStore, StoredEvent
from marigraph.codec import JOB_PREFIX, recorded, stream_of
from marigraph.marks import BOUNDARIES, EVENTS_PER_MARK, Marks
from marigraph.sql import upsert
from marigraph.tables import jobs

log = logging.getLogger(__name__)

PROJECTION = "jobs"
FOLD_VERSION = 2
"""Raised whenever ``evolve`` or the form of ``Job`` changes; rows of another version are folded anew."""


class Jobs:
    """Loads jobs, from their rows and the tails of their streams."""

    def __init__(self, store: EventStore, codec: Codec) -> None:
        self._store = store
        self._codec = codec
        self.marks = Marks(store, codec, FOLD_VERSION)

    def load(self, job_id: str) -> Job:
        """Return a job as of the head of its stream; an ``absent`` one if there is none of that id."""
        with self._store.reading() as connection:
            row = connection.execute(select(jobs).where(jobs.c.job_id == job_id)).one_or_none()
        return self.advance(_read_row(row) if row is not None else Job(job_id))

    def advance(self, job: Job) -> Job:
        """Fold what the stream holds after the job's version."""
        return self._fold(job, self._store.iter_stream(stream_of(job.job_id), job.version))

    def replay(self, job_id: str, to_version: int | None = None) -> Job:
        """Fold a job from the first event of its stream."""
        return self._fold(Job(job_id), self._store.iter_stream(stream_of(job_id), 0, to_version))

    def all(self) -> list[Job]:
        """Return every job that exists, ordered by id, as of the projection's checkpoint."""
        query = select(jobs).where(jobs.c.state != ABSENT).order_by(jobs.c.job_id)
        with self._store.reading() as connection:
            jobs_read = [_read_row(row) for row in connection.execute(query)]
        whole = (job if job.version else self.advance(job) for job in jobs_read)
        return sorted(whole, key=lambda job: job.job_id)

    def versions(self) -> dict[str, int]:
        """Return the version of every job that exists, as of the projection's checkpoint: cheap enough to poll."""
        query = select(jobs.c.job_id, jobs.c.version).where(jobs.c.state != ABSENT)
        with self._store.reading() as connection:
            return {job_id: version for job_id, version in connection.execute(query)}

    def project(self, connection: Connection, events: Sequence[StoredEvent]) -> None:
        """Bring the rows of the jobs that a page of the log is about up to date (a projection's handler)."""
        of_jobs = [event for event in events if event.stream.startswith(JOB_PREFIX)]
        of_jobs.sort(key=lambda event: (event.stream, event.version))
        changed = []
        for stream, group in groupby(of_jobs, key=lambda event: event.stream):
            job_id = stream.removeprefix(JOB_PREFIX)
            row = connection.execute(select(jobs).where(jobs.c.job_id == job_id)).one_or_none()
            job = _read_row(row) if row is not None else Job(job_id)
            page = [event for event in group if event.version > job.version]
            if page and page[0].version != job.version + 1:  # the row was unreadable: its events lie before
                page = [*self._store.iter_stream(stream, job.version, page[0].version - 1), *page]
            if page:
                changed.append(row_of(self._fold(job, page)))
                if _is_marked(page):
                    self.marks.extend(connection, job_id, page[-1].version)
        if changed:
            upsert(connection, jobs, changed)

    def rebuild(self, job_id: str) -> bool:
        """Fold a job anew from its first event, and exchange its row and marks; tell whether the row differed.

        They stay readable meanwhile, and the row is never put back behind what others have projected.
        """
        of_job = select(jobs).where(jobs.c.job_id == job_id)
        with self._store.reading() as connection:
            row = connection.execute(of_job).one_or_none()
        job = self.replay(job_id, row.version if row is not None else None)
        with self._store.transaction() as connection:
            self._store.lock_checkpoint(connection, PROJECTION)
            row = connection.execute(of_job).one_or_none()
            if row is not None and row.version > job.version:
                job = self._fold(job, self._store.iter_stream(stream_of(job_id), job.version, row.version))
            self.marks.rebuild(connection, job_id, job.version)
            if row is not None and dict(row._mapping) == row_of(job):
                return False
            upsert(connection, jobs, [row_of(job)])
        return True

    def clear(self, connection: Connection) -> None:
        """Drop every row, before a rebuild."""
        connection.execute(delete(jobs))
        self.marks.clear(connection)

    def _fold(self, job: Job, events: Iterable[StoredEvent]) -> Job:
        for stored in events:
            item = recorded(self._codec, stored)
            job = evolve(job, item.event, item.version, item.recorded_ms)
        return job


def _is_marked(page: Sequence[StoredEvent]) -> bool:
    """Tell whether some of a job's events are such as get a mark."""
    is_crossing = page[-1].version // EVENTS_PER_MARK > (page[0].version - 1) // EVENTS_PER_MARK
    return is_crossing or any(event.type in BOUNDARIES for event in page)


def row_of(job: Job) -> dict[str, object]:
    """Return the row of a job."""
    return {
        "job_id": job.job_id,
        "version": job.version,
        "fold_version": FOLD_VERSION,
        "state": job.state,
        "body": encode_job(job).decode(),
    }


def _read_row(row: Row[tuple[object, ...]]) -> Job:
    job_id: str = row.job_id
    if row.fold_version == FOLD_VERSION:
        try:
            job = decode_job(row.body)
        except (msgspec.MsgspecError, ValueError) as error:
            log.warning("job %s: its row cannot be read and is folded anew: %s", job_id, error)
        else:
            if (job.job_id, job.version, job.state) == (job_id, row.version, row.state):
                return job
            log.warning("job %s: its row does not fit its columns and is folded anew", job_id)
    return Job(job_id)
