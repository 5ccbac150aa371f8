"""Marks: how far a job was at some versions of its stream, so that audits read a few events and not all of them.

A mark holds sums over the stream up to its version, and every so often the job itself. Like a snapshot it is an
optimisation, never the truth: whoever asks starts from the nearest mark before and folds the events after it, so a
missing mark costs time and changes nothing. They are rows of ``job_marks``, written together with the read model of
the jobs (``jobs.py``) where a session begins or ends and every ``EVENTS_PER_MARK`` events.
"""

import logging
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import zstandard
from sqlalchemy import Connection, delete, func, select

from domain.config import JobConfig
from domain.intake import Buckets, Intake
from domain.job import Job, decode_job, encode_job, evolve
from eventstore import Codec, EventStore
from marigraph.codec import Recorded, recorded, stream_of
from marigraph.sql import upsert
from marigraph.tables import job_marks

log = logging.getLogger(__name__)

EVENTS_PER_MARK: Final = 64
"""Chosen: folding so many events takes about a millisecond."""

EVENT_BYTES: Final = 64
"""A stored job may take so many bytes for each event since the one before, so that marks stay a small part of a log."""

BODY_BYTES_MAX: Final = 256 * 1024 * 1024

BOUNDARIES: Final = frozenset({"created", "opened", "closed", "failed", "deleted", "snapshot_reverted"})
"""Types that get a mark of their own: between two of them nothing but data and settings changes."""

SUMS: Final = ("post_count", "record_count", "flush_count", "out_of_order_timestamp_count", "invalid_date_count")


class Tally(msgspec.Struct, frozen=True):
    """Sums over a job's stream, all jobs of its id, up to a version."""

    version: int = 0
    recorded_at: int = 0
    """Of the event at that version, microseconds since 1970."""
    post_count: int = 0
    record_count: int = 0
    flush_count: int = 0
    out_of_order_timestamp_count: int = 0
    invalid_date_count: int = 0
    silence: int = 0
    """Longest time in which the job was open and got no data, since the mark before; microseconds."""
    silent_since: int | None = None
    """When data came last or the job was opened; None while it is not open."""
    intake: Intake = Intake()

    def sums(self, before: "Tally | None" = None) -> dict[str, int]:
        """Return what was counted since an earlier tally, or at all, by name."""
        return {name: getattr(self, name) - (getattr(before, name) if before else 0) for name in SUMS}


class Marks:
    """Reads, and extends, the marks of jobs.

    Parameters
    ----------
    store, codec
    fold_version : int
        Of ``evolve``: jobs that other code has folded are folded anew.
    """

    def __init__(self, store: EventStore, codec: Codec, fold_version: int) -> None:
        self._store = store
        self._codec = codec
        self._fold_version = fold_version
        self._cut: tuple[JobConfig | None, Buckets] = (None, Buckets(0, 0))

    def at(self, job_id: str, version: int) -> tuple[Job, Tally]:
        """Return a job and its tally as of a version, folded from the nearest stored job before."""
        with self._store.reading() as connection:
            job, tally, _ = self._nearest(connection, job_id, version)
        for item in self._items(job_id, job.version, version):
            job, tally = self._step(job, tally, item)
        return job, tally

    def sums_at(self, job_id: str, version: int) -> Tally:
        """Return a job's tally as of a version, its sums only: a third of the work of :meth:`at`."""
        columns = job_marks.c
        query = select(*_COLUMNS).where(columns.job_id == job_id, columns.version <= version)
        with self._store.reading() as connection:
            row = connection.execute(query.order_by(columns.version.desc()).limit(1)).one_or_none()
        tally = Tally() if row is None else _tally(row)
        for stored in self._store.iter_stream(stream_of(job_id), tally.version, version):
            posted = _POSTED.decode(stored.data) if stored.type == "data_posted" else None
            changes = {"version": stored.version, "recorded_at": stored.recorded_at}
            tally = msgspec.structs.replace(tally, **changes, **_counted(tally, stored.type, posted))
        return tally

    def tallies(self, connection: Connection, job_id: str, low: int, high: int) -> list[Tally]:
        """Return the last mark of a job at or before a version, and those after it up to another, oldest first."""
        columns = job_marks.c
        of_job = columns.job_id == job_id
        last = select(func.max(columns.version)).where(of_job, columns.version <= low).scalar_subquery()
        query = select(*_COLUMNS).where(of_job, columns.version >= func.coalesce(last, 0), columns.version <= high)
        found = [_tally(row) for row in connection.execute(query.order_by(columns.version))]
        return found if found and found[0].version <= low else [Tally(), *found]

    def intakes(self, connection: Connection, job_id: str, low: int, high: int) -> list[tuple[int, Intake]]:
        """Return where a job stood in data time at its marks after a version and up to another, oldest first."""
        columns = job_marks.c
        query = select(columns.version, columns.latest_record_ms, columns.final_end_ms)
        query = query.where(columns.job_id == job_id, columns.version > low, columns.version <= high)
        return [(row[0], Intake(row[1], row[2])) for row in connection.execute(query.order_by(columns.version))]

    def extend(self, connection: Connection, job_id: str, to_version: int) -> None:
        """Write the marks that are missing up to a version, in the transaction of the connection."""
        newest = select(func.max(job_marks.c.version)).where(job_marks.c.job_id == job_id)
        job, tally, every = self._nearest(connection, job_id, to_version)
        written = (connection.scalar(newest) or 0) if job.version else 0
        since, rows = job.version, []
        for item in self._items(job_id, job.version, to_version):
            job, tally = self._step(job, tally, item)
            body = None
            if job.version - since >= every:
                body, since = self._encode(job), job.version
                every = _events_between(body)
            if body is not None or item.event.type in BOUNDARIES:
                if job.version > written:
                    rows.append(_row(job_id, tally, body))
                tally = msgspec.structs.replace(tally, silence=0)
        if rows:
            upsert(connection, job_marks, rows)

    def rebuild(self, connection: Connection, job_id: str, to_version: int) -> None:
        """Write the marks of a job anew, in the transaction of the connection."""
        connection.execute(delete(job_marks).where(job_marks.c.job_id == job_id))
        self.extend(connection, job_id, to_version)

    def clear(self, connection: Connection) -> None:
        """Drop every mark."""
        connection.execute(delete(job_marks))

    def _items(self, job_id: str, after_version: int, to_version: int) -> Iterator[Recorded]:
        for stored in self._store.iter_stream(stream_of(job_id), after_version, to_version):
            yield recorded(self._codec, stored)

    def _nearest(self, connection: Connection, job_id: str, version: int) -> tuple[Job, Tally, int]:
        """Return the newest stored job at or before a version, its tally, and how long until the next one."""
        condition = (job_marks.c.job_id == job_id) & (job_marks.c.version <= version) & job_marks.c.body.is_not(None)
        query = select(*_COLUMNS, job_marks.c.body).where(condition).order_by(job_marks.c.version.desc()).limit(1)
        row = connection.execute(query).one_or_none()
        job = self._decode(job_id, row) if row is not None else None
        if row is None or job is None:
            return Job(job_id), Tally(), EVENTS_PER_MARK
        return job, msgspec.structs.replace(_tally(row), silence=0), _events_between(row.body)

    def _step(self, job: Job, tally: Tally, item: Recorded) -> tuple[Job, Tally]:
        event = item.event
        job = evolve(job, event, item.version, item.recorded_ms)
        changes: dict[str, Any] = {"version": item.version, "recorded_at": item.recorded_at}
        changes |= _counted(tally, event.type, event)
        changes |= _silence(tally, item)
        changes["intake"] = self._intake(job, tally, event)
        return job, msgspec.structs.replace(tally, **changes)

    def _intake(self, job: Job, tally: Tally, event: Any) -> Intake:
        if job.config is None:
            return Intake()
        if event.type == "snapshot_reverted":
            _, there = self.at(job.job_id, event.version)
            return there.intake.reverted(event.skip_time_ms, self._buckets(job.config))
        return tally.intake.after(event, self._buckets(job.config))

    def _buckets(self, config: JobConfig) -> Buckets:
        known, buckets = self._cut
        if known is not config:  # the same object from one settings event to the next
            buckets = Buckets.of(config)
            self._cut = config, buckets
        return buckets

    def _encode(self, job: Job) -> bytes:
        text = b"%d\n%s" % (self._fold_version, encode_job(job))
        return zstandard.ZstdCompressor().compress(text)

    def _decode(self, job_id: str, row: Any) -> Job | None:
        """Read a stored job; None if other code folded it, or it is damaged."""
        try:
            text = zstandard.ZstdDecompressor().decompress(row.body, max_output_size=BODY_BYTES_MAX)
            fold_version, _, body = text.partition(b"\n")
            job = decode_job(body) if fold_version == b"%d" % self._fold_version else None
        except (zstandard.ZstdError, ValueError) as error:  # msgspec's errors are of this family
            log.warning(
                "job %s: the mark at version %d cannot be read and is passed over: %s", job_id, row.version, error
            )
            return None
        return job if job is not None and (job.job_id, job.version) == (job_id, row.version) else None


class _Posted(msgspec.Struct):
    """What is counted of a post."""

    record_count: int
    counts: dict[str, Any] = {}


_POSTED: Final = msgspec.json.Decoder(_Posted)


def _counted(tally: Tally, kind: str, event: Any) -> dict[str, int]:
    """Return how the sums change with an event."""
    if kind == "flushed":
        return {"flush_count": tally.flush_count + 1}
    if kind != "data_posted":
        return {}
    refused = ("out_of_order_timestamp_count", "invalid_date_count")
    return {
        "post_count": tally.post_count + 1,
        "record_count": tally.record_count + event.record_count,
        **{name: getattr(tally, name) + event.counts.get(name, 0) for name in refused},
    }


def _silence(tally: Tally, item: Recorded) -> dict[str, Any]:
    """Return how the time without data changes with an event."""
    kind, since = item.event.type, tally.silent_since
    if kind == "opened":
        return {"silent_since": item.recorded_at}
    if since is None or kind not in ("data_posted", "closed", "failed", "deleted"):
        return {}
    return {
        "silence": max(tally.silence, item.recorded_at - since),
        "silent_since": item.recorded_at if kind == "data_posted" else None,
    }


def _events_between(body: bytes) -> int:
    """Return how many events a stored job must stand for."""
    return max(EVENTS_PER_MARK, len(body) // EVENT_BYTES)


_COLUMNS: Final = tuple(column for column in job_marks.c if column.name not in ("job_id", "body"))


def _tally(row: Any) -> Tally:
    return Tally(row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7], row[8], Intake(row[9], row[10]))


def _row(job_id: str, tally: Tally, body: bytes | None) -> dict[str, Any]:
    values = msgspec.structs.asdict(tally)
    intake = values.pop("intake")
    return {"job_id": job_id, **values, **msgspec.structs.asdict(intake), "body": body}
