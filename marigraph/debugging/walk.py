"""A walk through a job: where one stands, what happened there, and what was seen of the watched series on the way.

It is what the terminal shows (``marigraph/cli/stepper.py``), without the terminal.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from domain.model import BucketResult, RecordResult
from marigraph.debugging.debugger import BucketStep, Debugger, Hit, Step
from marigraph.debugging.scope import Atom, Condition
from marigraph.debugging.watching import SeriesPoint
from marigraph.explain import Explained, RecordChoice, explain_record

ANOMALY_FROM = 50.0
"""Record score from which a record is an anomaly to go to: what the API calls a major one."""
EVENTS_BEFORE = 10
"""Events replayed before the place where a walk begins, so that there is something to see of the series."""
POINTS_MAX = 5_000
"""Buckets kept per series, the latest; chosen: several screens."""
STEPS_KEPT = 200
"""Steps that are listed behind the present one."""


@dataclass(slots=True)
class Walk:
    """One's place in a job.

    Attributes
    ----------
    steps : list of Step
        Those taken so far, the last one being where one stands; empty before the first.
    bucket_index : int
        Which of its buckets one stands at the end of; -1: none closed yet.
    series_index : int
        Which of the watched series is looked at.
    """

    debugger: Debugger
    condition: Condition | None = None
    steps: list[Step] = field(default_factory=list)
    bucket_index: int = -1
    series_index: int = 0
    points: dict[str, dict[int, SeriesPoint]] = field(default_factory=dict)

    def begin(self, on_events: Callable[[int], None] = lambda _n: None) -> None:
        """Look at what the series did just before; of all of them unless some are watched."""
        if not self.debugger.watched:
            self.debugger.watched = [""]
        self._look_back(self.debugger.version, on_events)

    # ------------------------------------------------------------------------------------------------ where it is

    @property
    def step(self) -> Step | None:
        """The event that one stands at."""
        return self.steps[-1] if self.steps else None

    @property
    def bucket(self) -> BucketStep | None:
        """The bucket that one stands at the end of."""
        if self.step is None or not 0 <= self.bucket_index < len(self.step.buckets):
            return None
        return self.step.buckets[self.bucket_index]

    @property
    def record(self) -> tuple[BucketResult, RecordResult] | None:
        """The record at hand: the highest of the bucket, else of the event."""
        results = [self.bucket.result] if self.bucket is not None and self.bucket.result.records else []
        if not results and self.step is not None:
            results = [each.result for each in self.step.buckets[: self.bucket_index + 1]]
        found = [(result, record) for result in results for record in result.records]
        return max(found, key=lambda pair: pair[1].record_score, default=None)

    @property
    def series(self) -> str | None:
        """The label of the series that is looked at."""
        labels = list(self.points)
        return labels[self.series_index % len(labels)] if labels else None

    def seen(self) -> list[SeriesPoint]:
        """Return what was seen of the series up to where one stands."""
        if self.series is None:
            return []
        end = None if self.bucket is None else self.bucket.result.timestamp_ms
        points = self.points[self.series]
        return [points[time] for time in sorted(points) if end is None or time <= end]

    # --------------------------------------------------------------------------------------------------- moving on

    def next_event(self) -> bool:
        """Go to the end of the next event; False at the end of the log."""
        step = self._take()
        if step is not None:
            self.bucket_index = len(step.buckets) - 1
        return step is not None

    def next_bucket(self) -> bool:
        """Go to the end of the next bucket, in this event or a later one; False if there is none."""
        if self.step is not None and self.bucket_index + 1 < len(self.step.buckets):
            self.bucket_index += 1
            return True
        while (step := self._take()) is not None:
            self.bucket_index = -1
            if step.buckets:
                self.bucket_index = 0
                return True
        return False

    def towards_anomaly(self) -> Iterator[bool]:
        """Go bucket by bucket to the next one with an anomaly; yield whether it is reached, after each event."""
        version = self.debugger.version
        while self.next_bucket():
            if self.bucket is not None and any(r.record_score >= ANOMALY_FROM for r in self.bucket.result.records):
                self.look_at_record()
                yield True
                return
            if self.debugger.version != version:
                version = self.debugger.version
                yield False

    def towards(self, condition: Condition) -> Iterator[Hit | None]:
        """Go event by event until a condition holds; yield after each event."""
        while (step := self._take(condition.atoms)) is not None:
            self.bucket_index = len(step.buckets) - 1
            hit = self.debugger.find(condition, step)
            if hit is not None and hit.bucket is not None:
                times = [each.result.timestamp_ms for each in step.buckets]
                self.bucket_index = times.index(hit.bucket.timestamp_ms)
                self.look_at_record()
            yield hit
            if hit is not None:
                return

    def back(self) -> bool:
        """Go back to the end of the event before; False at the beginning."""
        version = self.debugger.version - 1
        if version < 0:
            return False
        self.go_to(version)
        return True

    def go_to(self, version: int) -> None:
        """Go to the end of the event with a version, from the nearest state before it."""
        self.debugger.go_to(max(version - 1, 0))
        self.steps = [step for step in self.steps if step.version < version]
        self.bucket_index = -1
        if version > 0:
            self.next_event()

    def watch(self, text: str) -> None:
        """Look at other series, from some events before where one stands."""
        self.debugger.watched = [text]
        self.points.clear()
        self.series_index = 0
        self._look_back(self.debugger.version)

    def look_at_record(self) -> None:
        """Look at the series of the record at hand, if it is one of those watched."""
        if self.record is None:
            return
        record = self.record[1]
        measured = record.function_description + ("" if record.field_name is None else f"({record.field_name})")
        terms = (
            f"{getattr(record, f'{kind}_field_name')}={getattr(record, f'{kind}_field_value')}"
            for kind in ("partition", "by", "over")
            if getattr(record, f"{kind}_field_name") is not None
        )
        labels, label = list(self.points), " ".join([measured, *terms])
        if label in labels:
            self.series_index = labels.index(label)

    def _look_back(self, version: int, on_events: Callable[[int], None] = lambda _n: None) -> None:
        """Take the last events before a version again, to see what the series did in them."""
        index = self.bucket_index
        self.debugger.go_to(max(version - EVENTS_BEFORE, 0))
        self.steps = [step for step in self.steps if step.version <= self.debugger.version]
        while self.debugger.version < version and self._take() is not None:
            on_events(1)
        self.bucket_index = index if index >= 0 or not self.steps else len(self.steps[-1].buckets) - 1

    def _take(self, atoms: frozenset[Atom] = frozenset()) -> Step | None:
        step = self.debugger.step(atoms)
        if step is not None:
            self.steps.append(step)
            del self.steps[:-STEPS_KEPT]
            for each in step.buckets:
                for point in each.points:
                    seen = self.points.setdefault(point.label, {})
                    seen[point.timestamp_ms] = point
                    while len(seen) > POINTS_MAX:
                        del seen[next(iter(seen))]
        return step

    def explain(self) -> Explained | None:
        """Explain the record at hand, from the log; None if there is none."""
        if self.record is None:
            return None
        bucket, record = self.record
        choice = RecordChoice(
            timestamp_ms=bucket.timestamp_ms,
            detector_index=record.detector_index,
            function=record.function_description,
            partition=record.partition_field_value,
            by=record.by_field_value,
            over=record.over_field_value,
        )
        return explain_record(self.debugger.app, self.debugger.job_id, choice)
