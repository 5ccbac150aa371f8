"""Load, decide, append: how every command becomes events, whoever runs the job."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Protocol

from domain.commands import Command
from domain.erasure import is_erasable
from domain.errors import TimedOut
from domain.events import Event
from domain.job import Job, decide
from domain.records import EncodedBatch, RecordBatch, encode_batch
from eventstore import AppendResult, EventStore, NewEvent, StreamKey
from marigraph.codec import new_event, stream_of
from marigraph.context import Context
from marigraph.jobs import Jobs
from marigraph.racing import until_first
from marigraph.results import results_version

POLL_SECONDS = 0.05
"""Between two looks whether the owner elsewhere has analysed what we appended."""


class Encoded(NamedTuple):
    """Records as they are, and as they are stored; nothing is stored of a batch without analysable records."""

    batch: RecordBatch
    stored: EncodedBatch | None

    @property
    def digest(self) -> str | None:
        """Hex digest of the content."""
        return self.stored.content_digest.hex() if self.stored is not None else None


def encode_records(batches: Sequence[RecordBatch], key: StreamKey | None = None) -> list[Encoded]:
    """Encode batches for storing, encrypted where the job has a key."""
    return [Encoded(batch, _encode(batch, key) if len(batch) else None) for batch in batches]


def _encode(batch: RecordBatch, key: StreamKey | None) -> EncodedBatch:
    stored = encode_batch(batch)
    if key is None:
        return stored
    body, codec = key.encrypt(stored.body, stored.codec)
    return EncodedBatch(body, codec, key.digest(stored.content_digest))


def encode_events(events: Sequence[Event], records: Sequence[Encoded] = ()) -> list[NewEvent]:
    """Encode decided events; each ``data_posted`` takes the next of the records."""
    batches = iter(records)
    return [new_event(event, next(batches).stored if event.type == "data_posted" else None) for event in events]


def key_of(store: EventStore, job: Job) -> StreamKey | None:
    """Return the key of a job, made when it is first asked for; None for a job that is not erasable."""
    if not is_erasable(job.settings().custom_settings):
        return None
    return store.keys.ensure(stream_of(job.job_id), job.created_version)


class JobWriter(Protocol):
    """Appends to one job: its runner or its desk if this process owns it, else a visitor."""

    @property
    def job(self) -> Job:
        """The job as of the newest version read."""

    @property
    def turn(self) -> AbstractContextManager[object]:
        """Held while a command is decided and appended, by one thread at a time."""

    def append(
        self,
        events: Sequence[Event],
        context: Context,
        *,
        records: Sequence[Encoded] = (),
        command_id: str | None = None,
    ) -> AppendResult:
        """Append events decided on ``job``; see ``Runner.append``."""

    def key(self) -> StreamKey | None:
        """Return the key that the job's records are encrypted under, None for a job that is not erasable."""

    def catch_up(self) -> None:
        """Bring ``job`` up to the head of its stream."""

    def admit(self, n_records: int) -> None:
        """Wait until there is room for more records; TooManyRequests if there is none for long."""

    def analysed(self, version: int, timeout_seconds: float) -> int | None:
        """Wait until everything up to a version is analysed; return the end of the last finalized bucket.

        Raises
        ------
        TimedOut
            It takes longer; the analysis itself goes on.
        """


class Visitor:
    """Appends to a job without its model: none is needed, or somebody else folds it.

    Attributes
    ----------
    epoch : int or None
        Fences the appends of an owner off from those of its successor; None: we claim no ownership.
    gives_up : threading.Event or None
        Once set, nobody waits here for the owner any longer.
    """

    def __init__(self, store: EventStore, jobs: Jobs, job: Job, epoch: int | None = None) -> None:
        self.job = job
        self.turn: AbstractContextManager[object] = nullcontext()
        self.epoch = epoch
        self.gives_up: threading.Event | None = None
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
        """Append events decided on ``job``; see ``Runner.append``."""
        return self.append_encoded(encode_events(events, records), context, command_id)

    def append_encoded(
        self, events: Sequence[NewEvent], context: Context, command_id: str | None = None
    ) -> AppendResult:
        """Append events that are encoded already."""
        return self._store.append(
            stream_of(self.job.job_id),
            events,
            self.job.version,
            command_id,
            actor=context.actor,
            request_id=context.request_id,
            cause=context.cause,
            epoch=self.epoch,
        )

    def key(self) -> StreamKey | None:
        """Return the key that the job's records are encrypted under; see ``JobWriter``."""
        return key_of(self._store, self.job)

    def catch_up(self) -> None:
        """Bring ``job`` up to the head of its stream."""
        self.job = self._jobs.advance(self.job)

    def admit(self, n_records: int) -> None:
        """Take any number of records: what an owner elsewhere has waiting cannot be seen from here."""

    def analysed(self, version: int, timeout_seconds: float) -> int | None:
        """Wait until the job's owner has written the results of a version."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            done, end = results_version(self._store, self.job.job_id)
            if done >= version:
                return end
            if time.monotonic() >= deadline or (self.gives_up is not None and self.gives_up.is_set()):
                raise timed_out_analysis(self.job.job_id, timeout_seconds)
            time.sleep(POLL_SECONDS)


def timed_out_analysis(job_id: str, timeout_seconds: float) -> TimedOut:
    """Return the error of a wait for the analysis that took too long."""
    return TimedOut(f"flushing job [{job_id}] timed out after [{timeout_seconds:g}s]; the flush itself goes on")


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

    def attempt() -> list[Event]:
        events = decide(writer.job, command_for(writer.job))
        if events:
            writer.append(events, context, records=records, command_id=command_id)
            writer.catch_up()
        return events

    with writer.turn:
        return until_first(attempt, writer.catch_up, f"job [{writer.job.job_id}] was")
