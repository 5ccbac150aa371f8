"""Load, decide, append: how every command becomes events, whoever runs the job."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from domain.commands import Command
from domain.errors import Conflict
from domain.events import Event
from domain.job import Job, decide
from domain.records import EncodedBatch, RecordBatch, encode_batch
from eventstore import AppendResult, EventStore, NewEvent, WrongExpectedVersion
from marigraph.codec import new_event, stream_of
from marigraph.context import Context
from marigraph.jobs import Jobs

TRIES_MAX = 50
"""Decisions made anew because another writer appended first; chosen: far above what honest writers need."""


class Encoded(NamedTuple):
    """Records as they are, and as they are stored; nothing is stored of a batch without analysable records."""

    batch: RecordBatch
    stored: EncodedBatch | None

    @property
    def digest(self) -> str | None:
        """Hex digest of the content."""
        return self.stored.content_digest.hex() if self.stored is not None else None


def encode_records(batches: Sequence[RecordBatch]) -> list[Encoded]:
    """Encode batches for storing."""
    return [Encoded(batch, encode_batch(batch) if len(batch) else None) for batch in batches]


def encode_events(events: Sequence[Event], records: Sequence[Encoded] = ()) -> list[NewEvent]:
    """Encode decided events; each ``data_posted`` takes the next of the records."""
    batches = iter(records)
    return [new_event(event, next(batches).stored if event.type == "data_posted" else None) for event in events]


class JobWriter(Protocol):
    """Appends to one job: its runner if this process owns it, else a visitor."""

    job: Job

    def append(
        self,
        events: Sequence[Event],
        context: Context,
        *,
        records: Sequence[Encoded] = (),
        command_id: str | None = None,
    ) -> AppendResult:
        """Append events decided on ``job``; see ``Runner.append``."""

    def catch_up(self) -> None:
        """Bring ``job`` up to the head of its stream."""


class Visitor:
    """Appends to a job that needs no model for it, or that another process runs."""

    def __init__(self, store: EventStore, jobs: Jobs, job: Job) -> None:
        self.job = job
        self._store = store
        self._jobs = jobs

    def append(
        self,
        events: Sequence[Event],
        context: Context,
        *,
        records: Sequence[Encoded] = (),
        command_id: str | None = None,
    ) -> AppendResult:
        """Append events decided on ``job``; see ``Runner.append``. There is no fence: we claim no ownership."""
        return self._store.append(
            stream_of(self.job.job_id),
            encode_events(events, records),
            self.job.version,
            command_id,
            actor=context.actor,
            request_id=context.request_id,
        )

    def catch_up(self) -> None:
        """Bring ``job`` up to the head of its stream."""
        self.job = self._jobs.advance(self.job)


def carry_out(
    writer: JobWriter,
    command_for: Callable[[Job], Command],
    context: Context,
    *,
    records: Sequence[Encoded] = (),
    command_id: str | None = None,
) -> list[Event]:
    """Decide a command and append what it comes to, again when another writer was faster.

    Parameters
    ----------
    writer : JobWriter
        Stands at the head of the job's stream afterwards.
    command_for : callable
        Makes the command for the job as it is now.
    context : Context
    records, command_id
        As for ``Runner.append``.

    Returns
    -------
    list of Event
        What was appended; empty if there was nothing to do.

    Raises
    ------
    DomainError
        The command is not allowed.
    """
    for _ in range(TRIES_MAX):
        events = decide(writer.job, command_for(writer.job))
        if not events:
            return []
        try:
            writer.append(events, context, records=records, command_id=command_id)
        except WrongExpectedVersion:
            writer.catch_up()
            continue
        writer.catch_up()
        return events
    msg = f"job [{writer.job.job_id}] was changed by others {TRIES_MAX} times meanwhile; try again"
    raise Conflict(msg)
