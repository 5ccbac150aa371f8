"""Replay: the model of a job as of any version of its stream, from the nearest snapshot or from zero.

A snapshot is an optimisation, never the truth: a missing, damaged or older-format one is passed over with a warning
and an earlier one, or the start of the job, is taken. ``ModelFold`` is the loop that runs live (``marigraph/runner``),
at reopen and in ``verify`` alike; the fold itself is ``domain.fold``.
"""

import logging
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from typing import Any

from domain.events import read_config, store_config
from domain.fold import NOTHING, Outcome, fold
from domain.model import FOLD_VERSION, DamagedState, Model, decode_state, encode_state
from domain.records import RecordBatch, decode_batch
from eventstore import Codec, EventStore, Snapshot
from marigraph.codec import Recorded, recorded, stream_of

log = logging.getLogger(__name__)

STATE_SCHEMA = f"model/{FOLD_VERSION}"
"""Names the format of stored model states and the code that folds them; another one is rebuilt from the log."""


BEFORE_ALL_MS = -(2**62)
"""A time before that of any result: a snapshot without results keeps none."""


class CannotReplay(Exception):
    """The log no longer holds what a replay needs."""


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

    def step(self, item: Recorded, batch: RecordBatch | None = None) -> Outcome:
        """Fold the next event; ``batch`` spares reading the records of a ``data_posted`` that is at hand."""
        assert item.version == self.version + 1, f"version {item.version} after {self.version}"
        outcome = self._step(item, batch)
        self.version = item.version
        return outcome

    def _step(self, item: Recorded, batch: RecordBatch | None) -> Outcome:
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
        if item.payload_digest is not None and batch is None:
            batch = self.source.read_batch(item)
        return fold(self.model, event, batch)


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

    def read_batch(self, item: Recorded) -> RecordBatch:
        """Read the records of a ``data_posted`` event."""
        assert item.payload_digest is not None
        payload = self.store.read_payload(self.stream, item.payload_digest)
        return decode_batch(payload.body, payload.codec)

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
        for item in self.events(folded.version, version):
            folded.step(item)
        return folded

    def nearest(self, version: int, created_version: int) -> ModelFold:
        """Return the newest stored state at or before a version, or the empty fold before ``created``."""
        if self.uses_snapshots:
            not_after = version
            while (stored := self.store.load_snapshot(self.stream, STATE_SCHEMA, not_after=not_after)) is not None:
                if stored.version < created_version:
                    break
                model = _restore(self.stream, stored)
                if model is not None:
                    self.stored_at = stored.created_at
                    return ModelFold(self, created_version, model, stored.version)
                not_after = stored.version - 1
        return ModelFold(self, created_version, None, max(created_version - 1, 0))

    def exact(self, version: int) -> Model | None:
        """Return the model stored at exactly this version, None if it is missing or damaged."""
        stored = self.store.load_snapshot(self.stream, STATE_SCHEMA, at_version=version)
        return _restore(self.stream, stored) if stored is not None else None

    def save(self, folded: ModelFold, keep: Set[int]) -> None:
        """Store the state of a fold under its version; states of other versions than those to keep are dropped."""
        assert folded.model is not None
        arrays, meta = folded.model.state()
        body = encode_state(arrays, {"config": store_config(folded.model.config), "model": meta})
        self.stored_at = self.store.save_snapshot(self.stream, folded.version, STATE_SCHEMA, body).created_at
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


def _restore(stream: str, stored: Snapshot) -> Model | None:
    try:
        arrays, meta = decode_state(stored.body)
        return Model.restore(read_config(meta["config"]), arrays, meta["model"])
    except (DamagedState, KeyError) as error:
        log.warning(
            "%s: the snapshot at version %d cannot be read and is rebuilt from the log: %s",
            stream,
            stored.version,
            error,
        )
        return None
