"""Replay: the model of a job as of any version of its stream, from the nearest snapshot or from zero.

A snapshot is an optimisation, never the truth: a missing, damaged or older-format one is passed over with a warning
and an earlier one, or the start of the job, is taken. ``ModelFold`` is the loop that runs live (``marigraph/runner``),
at reopen and in ``verify`` alike; the fold itself is ``domain.fold``.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from domain.erasure import is_erasable
from domain.errors import Conflict
from domain.events import DataPosted, read_config, store_config
from domain.fold import NOTHING, Outcome, fold
from domain.job import Job
from domain.model import FOLD_VERSION, DamagedState, Model, decode_state, encode_state
from domain.records import RecordBatch, decode_batch, has_same_columns, join_batches
from eventstore import PAYLOADS_MAX, Codec, EventStore, KeyDestroyed, Payload, PayloadMissing, Snapshot
from marigraph.codec import Recorded, recorded, stream_of
from marigraph.kept import config_at, dropped_to, why_gone

log = logging.getLogger(__name__)

STATE_SCHEMA = f"model/{FOLD_VERSION}"
"""Names the format of stored model states and the code that folds them; another one is rebuilt from the log."""


BEFORE_ALL_MS = -(2**62)
"""A time before that of any result: a snapshot without results keeps none."""


AFTER_ALL_MS = 2**62
"""A time after that of any result."""


class CannotReplay(Conflict):
    """The log no longer holds what a replay needs."""


class RecordsGone(CannotReplay):
    """Records that a replay needs are no longer kept; the message says which, since when, and by which event."""


Records = RecordBatch | Payload | None
"""Of an event: decoded, or as they are stored; None: it has none, or they are still to be read."""

NONE_AT_HAND: Mapping[bytes, RecordBatch] = {}

RECORDS_AHEAD_MAX = 200_000
"""Records read at a time for events to come, unless a single post has more; chosen: about a megabyte compressed."""

RUN_RECORDS_MAX = 10_000
"""Records of posts that are folded together; chosen: beyond it nothing is gained, and arrays outgrow the caches."""


@dataclass(slots=True)
class ModelFold:
    """A model and the version of the stream up to which it is folded."""

    source: "ModelSource"
    created_version: int
    """Version of the job's ``created`` event; what lies before belongs to an earlier job of the same id."""
    model: Model | None = None
    version: int = 0
    is_erased: bool = False
    """The job has no model any more, and never will."""

    def step(self, item: Recorded, records: Records = None) -> Outcome:
        """Fold the next event; ``records`` spares reading those of a ``data_posted`` that are at hand."""
        assert item.version == self.version + 1, f"version {item.version} after {self.version}"
        outcome = self._step(item, records)
        self.version = item.version
        return outcome

    def step_together(self, run: "Run") -> Outcome:
        """Fold posts that follow each other as if they had been one: how records are cut changes nothing."""
        first, last = run.items[0], run.items[-1]
        assert first.version == self.version + 1, f"version {first.version} after {self.version}"
        assert self.model is not None
        outcome = fold(self.model, first.event, join_batches(run.batches) if run.batches else None)
        self.version = last.version
        return outcome

    def _step(self, item: Recorded, records: Records) -> Outcome:
        event = item.event
        if event.type == "created":
            self.model, self.created_version = Model(read_config(event.config)), item.version
            self.is_erased = False
            return Outcome(deletes_all=True)
        if event.type == "deleted":
            self.model = None
            return Outcome(deletes_all=True)
        if event.type == "erased":
            self.model, self.is_erased = None, True
            return Outcome(deletes_all=not event.keeps_results, replaces_model=True)
        if event.type == "snapshot_reverted":
            self.model = self.source.revert(self.model, event, self.created_version)
            kept_to = None
            if event.delete_intervening_results:
                kept_to = BEFORE_ALL_MS if event.latest_result_ms is None else event.latest_result_ms
            return Outcome(replaces_model=True, deletes_after_ms=kept_to)
        if self.is_erased and self.model is None:
            return Outcome(deletes_before_ms=event.before_ms) if event.type == "results_dropped" else NOTHING
        if self.model is None:
            msg = f"{self.source.stream}: event {item.version} ({event.type}) comes before the job was created"
            raise CannotReplay(msg)
        if item.payload_digest is not None and records is None:
            records = self.source.read_payload(item)
        return fold(self.model, event, self.source.batch_of(item, records))


@dataclass(slots=True)
class Run:
    """Posts that follow each other, to be folded together."""

    items: list[Recorded] = field(default_factory=list)
    batches: list[RecordBatch] = field(default_factory=list)
    n_records: int = 0

    def takes(self, item: Recorded, batch: RecordBatch | None) -> bool:
        """Tell whether a post may be folded together with those before it."""
        if not self.items:
            return True
        if item.event.reset_start_ms is not None or self.n_records + item.event.record_count > RUN_RECORDS_MAX:
            return False
        return batch is None or not self.batches or has_same_columns(batch, self.batches[-1])

    def add(self, item: Recorded, batch: RecordBatch | None) -> None:
        """Take a post in."""
        self.items.append(item)
        self.n_records += item.event.record_count
        if batch is not None:
            self.batches.append(batch)


@dataclass(slots=True)
class ModelSource:
    """Where the models of one job come from."""

    store: EventStore
    codec: Codec
    job_id: str
    uses_snapshots: bool = True
    stream: str = field(init=False)
    stored_at: int | None = field(init=False, default=None)
    """When the newest state that was read or saved here was stored, microseconds since 1970."""

    def __post_init__(self) -> None:
        self.stream = stream_of(self.job_id)

    def events(self, after_version: int, to_version: int | None = None) -> Iterator[Recorded]:
        """Read the job's events in order, decoded."""
        for stored in self.store.iter_stream(self.stream, after_version, to_version):
            yield recorded(self.codec, stored)

    def events_of(self, type: str, after_version: int) -> list[Any]:
        """Read the events of one type behind a version, decoded; meant for rare types."""
        return [
            recorded(self.codec, each).event for each in self.store.find_events(self.stream, (type,), after_version)
        ]

    def steps(
        self, after_version: int, to_version: int | None = None, at_hand: Mapping[bytes, RecordBatch] = NONE_AT_HAND
    ) -> Iterator[tuple[Recorded, Records]]:
        """Read the job's events in order with their records, which are read for many events at a time.

        Parameters
        ----------
        after_version, to_version : int
            Events behind the first, up to the other; None: to the head of the stream.
        at_hand : mapping of bytes to RecordBatch
            Records by the digest of their payload that need not be read.

        Returns
        -------
        iterator of (Recorded, Records)
            To be given to ``ModelFold.step``. None where an event has no records, or they are not there: the step
            says so.
        """
        for items in _stretches(self.events(after_version, to_version)):
            digests = {item.payload_digest for item in items if item.payload_digest is not None}
            found: dict[bytes, Records] = {d: at_hand[d] for d in digests if d in at_hand}
            found.update(self.store.read_payloads(self.stream, digests - found.keys()))
            for item in items:
                yield item, None if item.payload_digest is None else found.get(item.payload_digest)

    def advance(self, folded: ModelFold, version: int) -> Iterator[tuple[Sequence[Recorded], Outcome]]:
        """Fold everything up to a version, posts that follow each other together; yield what was folded after each.

        It is what a replay is for that wants the state and not which event had which result: the same to the last
        bit, and in less time than the events took one by one.
        """
        run = Run()
        for item, records in self.steps(folded.version, version):
            is_missing = records is None and item.payload_digest is not None
            if item.event.type != DataPosted.type or folded.model is None or is_missing:
                if run.items:
                    yield run.items, folded.step_together(run)
                    run = Run()
                yield [item], folded.step(item, records)
                continue
            batch = self.batch_of(item, records)
            if not run.takes(item, batch):
                yield run.items, folded.step_together(run)
                run = Run()
            run.add(item, batch)
        if run.items:
            yield run.items, folded.step_together(run)

    def read_payload(self, item: Recorded) -> Payload:
        """Read the records of a ``data_posted`` event as they are stored; RecordsGone if they were dropped."""
        assert item.payload_digest is not None
        try:
            return self.store.read_payload(self.stream, item.payload_digest)
        except PayloadMissing as error:
            raise RecordsGone(why_gone(self.store, self.codec, self.job_id, item.version)) from error

    def batch_of(self, item: Recorded, records: Records) -> RecordBatch | None:
        """Return the records of an event as they are folded; RecordsGone if they were erased."""
        try:
            return self.unpacked(records)
        except KeyDestroyed as error:
            raise RecordsGone(why_gone(self.store, self.codec, self.job_id, item.version)) from error

    def unpacked(self, records: Records) -> RecordBatch | None:
        """Return records decrypted and decoded, whether they were before or not."""
        return (
            decode_batch(*self.store.keys.open(records.body, records.codec))
            if isinstance(records, Payload)
            else records
        )

    def fold_at(self, version: int, created_version: int) -> ModelFold:
        """Return the fold as of a version of the stream.

        Parameters
        ----------
        version : int
            Fold all events up to this one.
        created_version : int
            Version of the job's ``created`` event: what lies before belongs to an earlier job of the same id.
        """
        folded = self.nearest(version, created_version)
        for _ in self.advance(folded, version):
            pass
        return folded

    def nearest(self, version: int, created_version: int) -> ModelFold:
        """Return the newest stored state at or before a version, or the fold that a replay without one begins with."""
        if self.uses_snapshots:
            not_after = version
            while (stored := self.store.load_snapshot(self.stream, STATE_SCHEMA, not_after=not_after)) is not None:
                if stored.version < created_version:
                    break
                model = self._restore(stored)
                if model is not None:
                    self.stored_at = stored.created_at
                    return ModelFold(self, created_version, model, stored.version)
                not_after = stored.version - 1
        return self.beginning(version, created_version)

    def beginning(self, version: int, created_version: int) -> ModelFold:
        """Return the fold that a replay begins with where no state is stored: the empty one before ``created``.

        Where records were dropped, it is an empty model behind them: what it had learnt is lost, as it is if other code
        folds now than that which stored the states that were kept.
        """
        begin = dropped_to(self.store, self.codec, self.job_id, created_version, version)
        if not begin:
            return ModelFold(self, created_version, None, max(created_version - 1, 0))
        log.warning(
            "%s: the records up to version %d are no longer kept, nor is a state of %s: an empty model begins there",
            self.stream,
            begin,
            STATE_SCHEMA,
        )
        return ModelFold(self, created_version, Model(config_at(self.store, self.codec, self.job_id, begin)), begin)

    def oldest(self, job: Job) -> tuple[ModelFold, int]:
        """Return the fold from which everything still kept can be replayed, and the first time it has results of.

        Results of buckets that start earlier came of records that are no longer kept: none, ``BEFORE_ALL_MS``, or all
        results so far, ``AFTER_ALL_MS``, where the job was erased or no state is left.
        """
        if job.erased_version:
            return ModelFold(self, job.created_version, None, job.erased_version, is_erased=True), AFTER_ALL_MS
        if not job.payloads_dropped_to:
            return ModelFold(self, job.created_version, None, max(job.created_version - 1, 0)), BEFORE_ALL_MS
        rows = self.store.list_snapshots(self.stream, STATE_SCHEMA)
        for version in [row.version for row in rows if job.payloads_dropped_to <= row.version <= job.version]:
            model = self.exact(version)
            if model is not None:
                from_ms = model.last_finalized_bucket_end_ms
                fold = ModelFold(self, job.created_version, model, version)
                return fold, BEFORE_ALL_MS if from_ms is None else from_ms
        return self.beginning(job.version, job.created_version), AFTER_ALL_MS

    def exact(self, version: int) -> Model | None:
        """Return the model stored at exactly this version, None if it is missing or damaged."""
        stored = self.store.load_snapshot(self.stream, STATE_SCHEMA, at_version=version)
        return self._restore(stored) if stored is not None else None

    def state_digest(self, folded: ModelFold) -> bytes:
        """Return the digest of a fold's state; that of an erasable job tells nothing without the key."""
        assert folded.model is not None
        digest = folded.model.digest()
        if not is_erasable(folded.model.config.custom_settings):
            return digest
        key = self.store.keys.find(self.stream, folded.created_version)
        return digest if key is None else key.digest(digest)

    def save(self, folded: ModelFold, keep: Set[int]) -> None:
        """Store the state of a fold under its version; states of other versions than those to keep are dropped."""
        assert folded.model is not None
        body, codec = stored_model(folded.model), ""
        if is_erasable(folded.model.config.custom_settings):
            key = self.store.keys.find(self.stream, folded.created_version)
            if key is None:
                return  # erased meanwhile, or no record was ever posted
            body, codec = key.encrypt(body, codec)
        stored_now = self.store.save_snapshot(self.stream, folded.version, STATE_SCHEMA, body, codec=codec)
        self.stored_at = stored_now.created_at
        stored = {row.version for row in self.store.list_snapshots(self.stream) if row.state_schema == STATE_SCHEMA}
        for version in stored - {folded.version, *keep}:
            self.store.delete_snapshots(self.stream, version=version, state_schema=STATE_SCHEMA)

    def revert(self, current: Model | None, event: Any, created_version: int) -> Model:
        """Return the model that a ``snapshot_reverted`` event goes back to, under the present configuration."""
        assert current is not None
        folded = self.fold_at(event.version, created_version)
        assert folded.model is not None
        folded.model.reconfigure(current.config)
        if event.skip_time_ms is not None:
            folded.model.skip_time(event.skip_time_ms)
        return folded.model

    def _restore(self, stored: Snapshot) -> Model | None:
        try:
            body, _codec = self.store.keys.open(stored.body, stored.codec)
            return restored_model(body)
        except (DamagedState, KeyError, KeyDestroyed) as error:
            log.warning(
                "%s: the snapshot at version %d cannot be read and is rebuilt from the log: %s",
                self.stream,
                stored.version,
                error,
            )
            return None


def _stretches(events: Iterable[Recorded]) -> Iterator[list[Recorded]]:
    """Cut events into stretches whose records are read together."""
    stretch: list[Recorded] = []
    n_payloads = n_records = 0
    for item in events:
        more = item.event.record_count if item.payload_digest is not None else 0
        if n_payloads == PAYLOADS_MAX or n_records + more > RECORDS_AHEAD_MAX:
            yield stretch
            stretch, n_payloads, n_records = [], 0, 0
        stretch.append(item)
        n_payloads += item.payload_digest is not None
        n_records += more
    yield stretch


def stored_model(model: Model) -> bytes:
    """Return a model as it is stored."""
    arrays, meta = model.state()
    return encode_state(arrays, {"config": store_config(model.config), "model": meta})


def restored_model(body: bytes) -> Model:
    """Return the model that was stored; DamagedState or KeyError if it is none."""
    arrays, meta = decode_state(body)
    return Model.restore(read_config(meta["config"]), arrays, meta["model"])
