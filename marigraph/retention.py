"""Carries out what retention decides: first the events, on each job's stream, then the deletion of what they name.

A crash in between leaves rows that an event says are gone; the next run removes them. What goes is decided in
``domain/retention.py``. ``marigraph retention run`` runs it, and servers do daily (``marigraph/retainer.py``).
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from sqlalchemy import delete, func, select

from domain.commands import DropExpired, Postings
from domain.errors import DomainError
from domain.events import Event, SnapshotDeleted
from domain.job import Job, decide
from domain.retention import (
    RETENTION_EVENTS,
    RetentionRan,
    first_kept_payload,
    payloads_expired_to,
    read_retention,
)
from eventstore import ANY, EventStore, KeyLocked
from eventstore.events import PAGE
from marigraph.application import Application
from marigraph.codec import build_codec, new_event, recorded, stream_of
from marigraph.context import Context
from marigraph.erasing import finish_deletions, finish_erasures
from marigraph.queries import match_jobs
from marigraph.replay import STATE_SCHEMA, ModelSource
from marigraph.results import results_version, subscriber_of
from marigraph.schema import ERASURE_REVISION, check_finished
from marigraph.tables import RESULT_TABLES, buckets, score_bases
from marigraph.writing import carry_out

log = logging.getLogger(__name__)

STREAM: Final = "retention"
CAUSE: Final = "retention"

ROWS_PER_COMMIT: Final = 20_000
"""Result rows deleted in a transaction, and those of one bucket more; chosen: well under a second."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """What goes, or went, of one job."""

    job_id: str
    events: Sequence[Event]

    def resource(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        shown: dict[str, Any] = {
            "job_id": self.job_id,
            "model_snapshots": [each.snapshot_id for each in self.events if isinstance(each, SnapshotDeleted)],
        }
        others = (each for each in self.events if not isinstance(each, SnapshotDeleted))
        shown.update((each.type, each.model_dump()) for each in others)
        return shown


class Schedule(NamedTuple):
    """A run of a server."""

    due_ms: int
    epoch: int
    """Of the server's lease on ``STREAM``."""


OnJob = Callable[[str], None]


def run_retention(
    app: Application,
    expression: str | None,
    context: Context,
    *,
    dry_run: bool = False,
    on_job: OnJob = lambda _job_id: None,
    schedule: Schedule | None = None,
) -> list[Dropped]:
    """Remove what jobs keep no longer.

    Parameters
    ----------
    expression : str or None
        Which jobs: ids, groups and patterns; None: all of them.
    dry_run : bool
        Change nothing, and return what would go.
    on_job : callable
        Told each job when it is done.
    schedule : Schedule or None
        For when a server does it; None: somebody asked for it.

    Returns
    -------
    list of Dropped
        The jobs of which something goes.

    Raises
    ------
    NotFound
        There is no such job.
    SchemaError
        Older programs, which would stop at the events, may still run with the database.
    """
    app.project()
    matched = match_jobs(app, expression)
    if not dry_run:
        check_finished(app.store, ERASURE_REVISION)
        finish_erasures(app)
        finish_deletions(app)
    found = []
    for job in matched:
        try:
            events = _planned(app, job) if dry_run else _drop(app, job, replace(context, cause=CAUSE))
        except (DomainError, KeyLocked) as error:  # deleted meanwhile, or its master key is not here
            if schedule is None:
                raise
            log.warning("job %s: retention leaves it out: %s", job.job_id, error)
            events = []
        if events:
            found.append(Dropped(job.job_id, events))
        on_job(job.job_id)
    if not dry_run:
        _record_run(app.store, len(matched), found, context, schedule)
        app.project()
    return found


def last_due_ms(store: EventStore) -> int | None:
    """Return the time for which a server ran retention last, None if none did (within the last page of runs)."""
    head = store.head(STREAM)
    if head is None:
        return None
    codec = build_codec(RETENTION_EVENTS)
    for stored in reversed(store.read_stream(STREAM, max(head.version - PAGE, 0))):
        due_ms: int | None = recorded(codec, stored).event.due_ms
        if due_ms is not None:
            return due_ms
    return None


def _record_run(
    store: EventStore, job_count: int, found: Sequence[Dropped], context: Context, schedule: Schedule | None
) -> None:
    types = [event.type for each in found for event in each.events]
    ran = RetentionRan(
        job_count=job_count,
        snapshot_count=types.count("snapshot_deleted"),
        results_count=types.count("results_dropped"),
        payloads_count=types.count("payloads_dropped"),
        due_ms=schedule.due_ms if schedule is not None else None,
    )
    store.append(
        STREAM,
        [new_event(ran)],
        ANY,
        actor=context.actor,
        request_id=context.request_id,
        cause=CAUSE,
        epoch=schedule.epoch if schedule is not None else None,
    )


# --------------------------------------------------------------------------------------------------------- one job


def _planned(app: Application, job: Job) -> list[Event]:
    return decide(job, gather(app, job))


def _drop(app: Application, job: Job, context: Context) -> list[Event]:
    writer = app.visitor(job.job_id)
    events = carry_out(writer, lambda job: gather(app, job), context)
    job = writer.job
    if any(event.type == "results_dropped" for event in events):
        assert job.results_dropped_before_ms is not None
        drop_results(app.store, job.job_id, job.results_dropped_before_ms)
    drop_states(app.store, job)
    _drop_payloads(app.store, job)
    return events


def gather(app: Application, job: Job) -> DropExpired:
    """Look up what is decided on."""
    first_ms = end_ms = None
    if job.settings().results_retention_days is not None:
        _version, end_ms = results_version(app.store, job.job_id)
        with app.store.reading() as connection:
            first_ms = connection.scalar(select(func.min(buckets.c.timestamp)).where(buckets.c.job_id == job.job_id))
    command = DropExpired(first_result_ms=first_ms, last_finalized_bucket_end_ms=end_ms)
    if read_retention(job.settings().custom_settings).payloads == "keep":
        return command
    source = ModelSource(app.store, app.codec, job.job_id)
    stored = frozenset(row.version for row in app.store.list_snapshots(source.stream, STATE_SCHEMA))
    reverts = tuple(
        (each.version, recorded(app.codec, each).event.version)
        for each in app.store.find_events(source.stream, ("snapshot_reverted",), job.created_version)
    )
    to_version = payloads_expired_to(job, stored, reverts)
    if to_version is None or (not job.erased_version and source.exact(to_version) is None):
        return command
    return replace(
        command, stored_versions=stored, reverts=reverts, postings=_count(source, first_kept_payload(job), to_version)
    )


def _count(source: ModelSource, from_version: int, to_version: int) -> Postings:
    """Count the events of a range that have payloads, and their records."""
    posted = [
        item.event.record_count
        for item in source.events(from_version - 1, to_version)
        if item.payload_digest is not None
    ]
    return Postings(to_version, len(posted), sum(posted))


def drop_results(store: EventStore, job_id: str, before_ms: int) -> int:
    """Delete the results of buckets that start earlier, some at a time; returns how many rows.

    First goes what scores rest on, so that no renormalisation looks for a result that is gone; last go the buckets:
    while one is left, the next run finds that something is too old, and goes on.
    """
    n_rows = 0
    for table in sorted(RESULT_TABLES, key=lambda table: (table is buckets, table is not score_bases)):
        old = (table.c.job_id == job_id, table.c.timestamp < before_ms)
        page = select(table.c.timestamp).where(*old).order_by(table.c.timestamp).offset(ROWS_PER_COMMIT).limit(1)
        while True:
            with store.transaction() as connection:
                store.lock_checkpoint(connection, subscriber_of(job_id))
                last = connection.scalar(page)
                some = old if last is None else (*old, table.c.timestamp <= last)
                n_rows += connection.execute(delete(table).where(*some)).rowcount
            if last is None:
                break
    return n_rows


def drop_states(store: EventStore, job: Job) -> int:
    """Delete the stored states that belong to no snapshot of the job, but for the newest of each schema."""
    stream = stream_of(job.job_id)
    kept = {snapshot.version for snapshot in job.snapshots}
    rows = store.list_snapshots(stream)
    newest = {row.state_schema: row.version for row in rows}  # they come oldest first
    gone = [row for row in rows if row.version not in kept and row.version != newest[row.state_schema]]
    return sum(store.delete_snapshots(stream, version=row.version, state_schema=row.state_schema) for row in gone)


def _drop_payloads(store: EventStore, job: Job) -> None:
    """Delete the payloads that are said to be dropped; how far that is done is a checkpoint."""
    subscriber = f"{STREAM}-{job.job_id}"
    done = store.read_checkpoint(subscriber)
    if job.payloads_dropped_to <= done:
        return
    store.drop_payloads(stream_of(job.job_id), max(done + 1, job.created_version), job.payloads_dropped_to)
    with store.transaction() as connection:
        store.write_checkpoint(connection, subscriber, done, job.payloads_dropped_to)
