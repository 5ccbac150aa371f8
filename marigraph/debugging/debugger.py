"""The replay that stops wherever one likes: event by event, bucket by bucket, until a condition holds, and back.

It folds by ``marigraph/replay.py`` as everything does, and looks at the model through a witness before each bucket
closes; it writes nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from domain.fold import Outcome
from domain.inspection import SeriesFinder, all_readings
from domain.job import Job, evolve
from domain.model import BucketResult, Model, RecordResult
from domain.model.buckets import OpenBucket
from domain.model.detector_model import DetectorModel
from marigraph.application import Application
from marigraph.codec import Recorded
from marigraph.debugging.changes import Change, job_changes, moved_readings
from marigraph.debugging.expressions import Value
from marigraph.debugging.points import check_version, head_version
from marigraph.debugging.scope import Atom, Condition, Moment, read_state
from marigraph.debugging.watching import WATCHED_MAX, SeriesPoint, watch
from marigraph.replay import ModelFold, ModelSource, Records, restored_model, stored_model
from marigraph.resources import bucket_resource, record_resource

CHECKPOINT_EVERY = 50
"""Events between two states kept in memory to go back to; chosen: going back feels immediate."""
CHECKPOINTS_MAX = 20
"""States kept in memory; the stored ones are used besides."""


@dataclass(frozen=True, slots=True)
class BucketStep:
    """A bucket that an event closed.

    Attributes
    ----------
    points : list of SeriesPoint
        The watched series, as they were before the bucket was learnt.
    state : dict of Atom to value
        What a condition asks of the model, as of after the bucket.
    """

    result: BucketResult
    points: list[SeriesPoint]
    state: dict[Atom, Value]


@dataclass(frozen=True, slots=True)
class Step:
    """What one event changed.

    Attributes
    ----------
    buckets : list of BucketStep
        Final ones, in order of time.
    changes : list of Change
        In the job: its state, configuration, counts and snapshots.
    moved : list of Change
        Levels and spreads of series, the largest change in spreads first; new series come apart.
    new_series : list of str
    """

    item: Recorded
    job: Job
    outcome: Outcome
    buckets: list[BucketStep]
    changes: list[Change]
    moved: list[Change]
    new_series: list[str]
    state: dict[Atom, Value]

    @property
    def version(self) -> int:
        """The event's."""
        return self.item.version


@dataclass(frozen=True, slots=True)
class Hit:
    """Where a condition first held.

    Attributes
    ----------
    bucket, record : BucketResult, RecordResult or None
        None where the condition does not ask for them and no bucket closed.
    """

    version: int
    event_type: str
    bucket: BucketResult | None
    record: RecordResult | None

    def resource(self, job_id: str) -> dict[str, Any]:
        """Return it as JSON-able values; bucket and record as in the API."""
        found: dict[str, Any] = {"version": self.version, "event_type": self.event_type}
        if self.bucket is not None:
            found["bucket"] = bucket_resource(job_id, self.bucket)
            if self.record is not None:
                found["record"] = record_resource(job_id, self.bucket, self.record)
        return found


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    version: int
    created_version: int
    body: bytes


@dataclass(slots=True)
class Debugger:
    """A job as of a version of its stream, to be moved.

    Attributes
    ----------
    job : Job
        As of the version.
    folded : ModelFold
    head : int
        Version of the stream when the debugger was made; what comes later is not seen.
    watched : sequence of str
        The series to read at each bucket (``find_series``).
    n_folded : int
        Events folded into models so far, by whatever way.
    """

    app: Application
    job_id: str
    watched: Sequence[str] = ()
    head: int = field(init=False)
    job: Job = field(init=False)
    folded: ModelFold = field(init=False)
    n_folded: int = 0
    snapshot_version: int | None = None
    """The stored state that the latest jump began with; None: the start of the job."""
    source: ModelSource = field(init=False)
    finder: SeriesFinder = field(default_factory=SeriesFinder)
    _checkpoints: list[_Checkpoint] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.head = head_version(self.app, self.job_id)
        self.source = ModelSource(self.app.store, self.app.codec, self.job_id)
        self.job = Job(self.job_id)
        self.folded = ModelFold(self.source, 0)

    @property
    def version(self) -> int:
        """The version that the job is folded to; 0: before its first event."""
        return self.job.version

    @property
    def model(self) -> Model | None:
        """The model; None before the job was created and after it was deleted."""
        return self.folded.model

    # ----------------------------------------------------------------------------------------------- moving

    def go_to(self, version: int, on_events: Callable[[int], None] = lambda _n: None) -> None:
        """Rebuild the state as of a version, from the nearest state before it.

        Parameters
        ----------
        version : int
            0: before the first event.
        on_events : callable
            Told how many events were folded each time.

        Raises
        ------
        CannotReplay
            Records that it takes are no longer kept.
        """
        self.job = self.job_at(version)
        self.folded = self._nearest(version)
        for items, _outcome in self.source.advance(self.folded, version):
            self.n_folded += len(items)
            on_events(len(items))

    def job_at(self, version: int) -> Job:
        """Return the job alone as of a version; that takes no records, and microseconds per event."""
        if version:
            check_version(self.job_id, version, self.head)
        job = self.job if self.job.version <= version else Job(self.job_id)
        for item in self.source.events(job.version, version):
            job = evolve(job, item.event, item.version, item.recorded_ms)
        return job

    def _nearest(self, version: int) -> ModelFold:
        """Return the nearest fold: the present one, a stored one or one kept in memory."""
        created = self.job.created_version
        if not self.job.exists:  # nothing is left of a deleted job, and nothing need be folded
            return ModelFold(self.source, created, None, version)
        if self.job.erased_version:  # there is no model any more, whatever comes
            return ModelFold(self.source, created, None, self.job.erased_version, is_erased=True)
        found = self.source.nearest(version, created)
        self.snapshot_version = found.version if found.model is not None else None
        if self.folded.created_version == created and found.version <= self.folded.version <= version:
            return self.folded
        for kept in reversed(self._checkpoints):
            if kept.created_version == created and found.version < kept.version <= version:
                return ModelFold(self.source, created, restored_model(kept.body), kept.version)
        return found

    def step(self, atoms: frozenset[Atom] = frozenset(), *, is_brief: bool = False) -> Step | None:
        """Fold the next event and say what it changed; None at the head.

        Parameters
        ----------
        atoms : frozenset of Atom
            What is to be read of the model after each bucket and after the event.
        is_brief : bool
            Leave out what changed in job and model.
        """
        if self.version >= self.head:
            return None
        [(item, records)] = self.source.steps(self.version, self.version + 1)
        before, job = self.job, evolve(self.job, item.event, item.version, item.recorded_ms)
        readings = {} if self.model is None or is_brief else all_readings(self.model.detectors)
        watcher = _Watcher(self, atoms)
        outcome = self._watched_step(item, records, watcher)
        self.job = job
        state = read_state(self.model, atoms, self.finder)
        buckets = watcher.buckets(outcome, state)
        if is_brief:
            return Step(item, job, outcome, buckets, [], [], [], state)
        now = {} if self.model is None else all_readings(self.model.detectors)
        moved, new_series = moved_readings(self.model, readings, now)
        self._keep()
        return Step(item, job, outcome, buckets, job_changes(before, job), moved, new_series, state)

    def _watched_step(self, item: Recorded, records: Records, watcher: "_Watcher") -> Outcome:
        model = self.model
        if model is not None:
            model.witness = watcher
        try:
            outcome = self.folded.step(item, records)
        finally:
            if model is not None:
                model.witness = None
        self.n_folded += 1
        return outcome

    def _keep(self) -> None:
        """Keep a state in memory now and then."""
        latest = self._checkpoints[-1].version if self._checkpoints else 0
        if self.model is None or self.version < latest + CHECKPOINT_EVERY:
            return
        self._checkpoints.append(_Checkpoint(self.version, self.job.created_version, stored_model(self.model)))
        del self._checkpoints[:-CHECKPOINTS_MAX]

    # ----------------------------------------------------------------------------------------------- conditions

    def find(self, condition: Condition, step: Step) -> Hit | None:
        """Return where in a step a condition first holds; None if it does not."""
        moment = Moment(step.item, step.job, step.state)
        if condition.asks_results or (condition.atoms and step.buckets):
            for each in step.buckets:
                moment.bucket, moment.state = each.result, each.state
                if condition.holds_in(moment):
                    return self._hit(moment)
            if condition.asks_results:
                return None
            moment.bucket, moment.state = None, step.state
        return self._hit(moment) if condition.holds_in(moment) else None

    @staticmethod
    def _hit(moment: Moment) -> Hit:
        return Hit(moment.item.version, moment.item.event.type, moment.bucket, moment.record)


class _Watcher:
    """Looks at the model before each bucket closes, which is also after the bucket before."""

    def __init__(self, debugger: Debugger, atoms: frozenset[Atom]) -> None:
        self._debugger, self._atoms = debugger, atoms
        self._points: dict[int, list[SeriesPoint]] = {}
        self._states: list[dict[Atom, Value]] = []

    def __call__(self, detectors: Sequence[DetectorModel], opened: OpenBucket | None, start: int, span: int) -> None:
        """See a bucket that is about to close."""
        debugger = self._debugger
        if debugger.watched:
            found = (debugger.finder.find(detectors, text, WATCHED_MAX) for text in debugger.watched)
            self._points[start * 1000] = watch(detectors, opened, start, span, chain.from_iterable(found))
        if self._atoms:
            self._states.append(read_state(debugger.model, self._atoms, debugger.finder))

    def buckets(self, outcome: Outcome, state: dict[Atom, Value]) -> list[BucketStep]:
        """Return the buckets that closed, each with the state after it."""
        after: list[dict[Atom, Value]] = [*self._states[1:], state] if self._states else [{}] * len(outcome.buckets)
        return [
            BucketStep(result, self._points.get(result.timestamp_ms, []), values)
            for result, values in zip(outcome.buckets, after, strict=True)
        ]
