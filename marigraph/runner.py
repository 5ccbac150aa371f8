"""The runner of one job: reads its stream in order, folds, and writes results and its checkpoint in one transaction.

Whoever runs a job holds its lease; every append of the owner carries the lease's epoch, so an owner that slept
through a take-over can append nothing (``eventstore`` fences it), and the checkpoint of the results carries the epoch
too. The model is loaded only when there is something to fold. Next stop: ``marigraph/replay.py`` for the fold's loop.
"""

import logging
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from domain.commands import FailJob
from domain.errors import NotFound
from domain.events import Event
from domain.fold import Outcome
from domain.job import Job, decide, evolve
from domain.model import Model
from domain.records import RecordBatch
from eventstore import ANY, AppendResult, Codec, EventStore, EventStoreError, Lease, NewEvent, StreamKey
from marigraph.codec import Recorded, stream_of
from marigraph.context import Context
from marigraph.replay import ModelFold, ModelSource, Records
from marigraph.results import ResultWriter, Timing
from marigraph.writing import Encoded, encode_events, key_of

log = logging.getLogger(__name__)

ROWS_PER_COMMIT = 20_000
"""Result rows held back before they are committed; chosen: some 10 MB, a transaction of well under a second."""

REPLAY_BUDGET = 3_000_000
"""Cost of the tail, in records, beyond which the state is stored: bounds a reopen to a few seconds."""

EVENT_COST = 20
"""Cost of one event without records, in records; chosen: reading and decoding one takes as long as 20 rows."""

SERIES_BUCKETS_PER_RECORD = 4
"""Series-buckets closed in the time of one record grouped; chosen: measured by benchmarks/ingest, cases b and c."""


class JobFailed(Exception):
    """The analysis of a job stopped with an error of our own; the job is in state failed."""


class Runner:
    """Holds the model of one job and keeps its results up with its stream."""

    def __init__(self, store: EventStore, codec: Codec, job: Job, lease: Lease) -> None:
        self.job = job
        self.lease = lease
        self._store = store
        self._source = ModelSource(store, codec, job.job_id)
        self._writer = ResultWriter(store, job.job_id, lease.epoch)
        self._folded: ModelFold | None = None
        self._at_hand: dict[bytes, RecordBatch] = {}
        self._cost = 0
        self.turn: AbstractContextManager[object] = nullcontext()
        self.is_stopped = False
        """Set to make ``catch_up`` stop after the event at hand."""

    @property
    def model(self) -> Model:
        """The model as of ``self.job.version``; NotFound if there is no such job."""
        model = self._load().model
        if model is None:
            msg = f"No known job with id '{self.job.job_id}'"
            raise NotFound(msg)
        return model

    @property
    def state_digest(self) -> str:
        """Hex digest of the model's state, as events hold it."""
        return self._source.state_digest(self._load()).hex()

    @property
    def timing(self) -> Timing:
        """How long the analysis of buckets took."""
        return self._writer.timing

    @property
    def state_stored_at(self) -> int | None:
        """When the newest state known here was stored, microseconds since 1970."""
        return self._source.stored_at

    @property
    def last_finalized_bucket_end_ms(self) -> int | None:
        """End of the last finalized bucket; None while the job has seen no data, or there is no such job."""
        model = self._load().model
        return None if model is None else model.last_finalized_bucket_end_ms

    def append(
        self,
        events: Sequence[Event],
        context: Context,
        *,
        records: Sequence[Encoded] = (),
        command_id: str | None = None,
    ) -> AppendResult:
        """Append events that were decided on ``self.job``; the runner then has to catch up.

        Parameters
        ----------
        events : sequence of Event
        context : Context
        records : sequence of Encoded
            The records of the ``data_posted`` events, in order.
        command_id : str or None
            Makes a repetition of the append a no-op.

        Raises
        ------
        WrongExpectedVersion
            Somebody else appended first: catch up and decide again.
        FencedOut
            Another owner took the job over.
        """
        new = encode_events(events, records)
        result = self._store.append(
            stream_of(self.job.job_id),
            new,
            self.job.version,
            command_id,
            actor=context.actor,
            request_id=context.request_id,
            cause=context.cause,
            epoch=self.lease.epoch,
        )
        self._at_hand.clear()
        self.keep_at_hand(new, records)
        return result

    def keep_at_hand(self, events: Sequence[NewEvent], records: Sequence[Encoded]) -> None:
        """Keep records that were just stored until they are folded, which spares reading them back."""
        batches = [each.batch for each in records if each.stored is not None]
        digests = [event.payload.digest for event in events if event.payload is not None]
        self._at_hand.update(zip(digests, batches, strict=True))

    def key(self) -> StreamKey | None:
        """Return the key that the job's records are encrypted under; see ``JobWriter``."""
        return key_of(self._store, self.job)

    def admit(self, n_records: int) -> None:
        """Take any number of records: they are folded before the next can come."""

    def analysed(self, version: int, timeout_seconds: float) -> int | None:
        """Return the end of the last finalized bucket; there is nothing to wait for, ``catch_up`` folds at once."""
        assert self.job.version >= version, (self.job.version, version, timeout_seconds)
        return self.last_finalized_bucket_end_ms

    def catch_up(self) -> None:
        """Fold everything up to the head of the stream and write what comes of it.

        Raises
        ------
        JobFailed
            The fold itself failed; that is recorded as an event.
        """
        folded = self._load()
        for item, records in self._source.steps(self.job.version, at_hand=self._at_hand):
            if self.is_stopped:
                break
            self._fold(folded, item, records)
            self.job = evolve(self.job, item.event, item.version, item.recorded_ms)
            if self._cost > REPLAY_BUDGET:
                self.save_state()
        self._writer.commit(folded.model)

    def save_state(self) -> None:
        """Store the model's state, so that the next replay starts here.

        Of the states stored for this purpose only the newest is kept; those of model snapshots all are. Results are
        written first: a state ahead of them could not be started from.
        """
        folded = self._load()
        self._writer.commit(folded.model)
        self._cost = 0
        if folded.model is not None:
            self._source.save(folded, keep={snapshot.version for snapshot in self.job.snapshots})

    def save_if_costly(self, budget: int = REPLAY_BUDGET // 10) -> None:
        """Store the state if replaying the tail behind the last stored one costs more than the budget."""
        if self._folded is not None and self._cost > budget and self.job.exists:
            self.save_state()

    def _load(self) -> ModelFold:
        """Return the fold, at the first call from the nearest state that lies not behind the written results."""
        if self._folded is None:
            job = self.job
            folded = self._source.nearest(min(job.version, self._writer.written), job.created_version)
            for item, records in self._source.steps(folded.version, job.version, self._at_hand):
                self._fold(folded, item, records)
            self._folded = folded
            self._writer.commit(folded.model)
        return self._folded

    def _fold(self, folded: ModelFold, item: Recorded, records: Records) -> None:
        started = time.perf_counter()
        outcome = self._step(folded, item, records)
        if item.payload_digest is not None:
            self._at_hand.pop(item.payload_digest, None)
        self._writer.add(item.version, outcome, (time.perf_counter() - started) * 1000)
        if self._writer.n_pending >= ROWS_PER_COMMIT:
            self._writer.commit(folded.model)
        self._cost += EVENT_COST + getattr(item.event, "record_count", 0)
        if folded.model is not None:
            self._cost += len(outcome.buckets) * folded.model.n_series // SERIES_BUCKETS_PER_RECORD

    def _step(self, folded: ModelFold, item: Recorded, records: Records) -> Outcome:
        try:
            return folded.step(item, records)
        except EventStoreError:
            raise  # the log or the way to it: the fold is not at fault
        except Exception as error:
            log.exception("job %s: the analysis failed at version %d", self.job.job_id, item.version)
            self._folded = None
            failed = encode_events(decide(self.job, FailJob(reason=str(error))))
            if failed:
                self._store.append(stream_of(self.job.job_id), failed, ANY, epoch=self.lease.epoch)
            msg = f"job [{self.job.job_id}] failed at version {item.version} of its stream: {error}"
            raise JobFailed(msg) from error
