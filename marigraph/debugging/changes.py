"""What differs between two states of a job, name by name: configuration, counts and snapshots; levels and spreads."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from domain.events import store_config
from domain.inspection import Readings
from domain.job import Job
from domain.model import Model
from domain.model.series import Name

ReadingsOf = dict[tuple[int, int], tuple[list[Name | None], Readings]]

MOVED_MAX = 100
"""Changes of levels and spreads kept of one event, the largest; chosen: more than anybody reads."""


@dataclass(frozen=True, slots=True)
class Change:
    """One value that is another one now.

    Attributes
    ----------
    name : str
        Names within each other are joined with dots.
    before, after : JSON-able
        None: it is not there.
    size : float
        How large the change is, to compare it with others; in spreads of the series for levels and spreads.
    """

    name: str
    before: Any
    after: Any
    size: float = 0.0

    def resource(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return {"name": self.name, "before": self.before, "after": self.after}


def job_resource(job: Job) -> dict[str, Any]:
    """Return all that a job is as of a version, as JSON-able values."""
    counts = job.data_counts.resource(job.job_id)
    del counts["job_id"]
    return {
        "state": job.state,
        "config": {} if job.config is None else store_config(job.config),
        "data_counts": counts,
        "snapshots": {snapshot.snapshot_id: snapshot.description for snapshot in job.snapshots},
        "model_snapshot_id": job.model_snapshot_id,
        "failure": job.failure,
    }


def job_changes(before: Job, after: Job) -> list[Change]:
    """Return what differs between two states of a job, in the order of ``job_resource``."""
    return list(changes(job_resource(before), job_resource(after)))


def changes(before: Any, after: Any, name: str = "") -> Iterator[Change]:
    """Yield the leaves in which two JSON-able values differ."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys((*before, *after)):
            yield from changes(before.get(key), after.get(key), f"{name}.{key}" if name else key)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for place, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from changes(old, new, f"{name}[{place}]")
    elif before != after:
        yield Change(name, before, after)


def moved_readings(model: Model | None, before: ReadingsOf, after: ReadingsOf) -> tuple[list[Change], list[str]]:
    """Return how levels and spreads moved, the largest change in spreads first, and which series are new."""
    if model is None:
        return [], []
    moved, new = [], []
    for key, (names, now) in after.items():
        detector = model.detectors[key[0]]
        old_names, then = before.get(key, ([], None))
        n = len(old_names)
        new += [label(model, key, name) for name in names[n:] if name is not None] if key[1] == 0 else []
        if then is None or n == 0:
            continue
        same = np.array([old == name for old, name in zip(old_names, names, strict=False)], np.bool_)
        assert detector.series.n_slots >= n
        for what in ("level", "spread"):
            old, value = getattr(then, what), getattr(now, what)[:n]
            with np.errstate(invalid="ignore", divide="ignore"):
                size = np.abs(value - old) / then.spread
            size[~same | ~np.isfinite(size)] = 0.0
            for slot in np.argsort(-size, kind="stable")[:MOVED_MAX].tolist():
                if size[slot] > 0.0:
                    name = f"{label(model, key, names[slot])} {what}"
                    moved.append(Change(name, float(old[slot]), float(value[slot]), float(size[slot])))
    moved.sort(key=lambda change: -change.size)
    return moved[:MOVED_MAX], new


def label(model: Model, key: tuple[int, int], name: Name | None) -> str:
    """Name a series of a feature of a detector."""
    detector = model.detectors[key[0]]
    feature = detector.traits.features[key[1]].description
    measured = feature if detector.detector.field_name is None else f"{feature}({detector.detector.field_name})"
    pairs = [f"{field}={value}" for field, value in zip(detector.series.fields, name or (), strict=False)]
    return " ".join([measured, *pairs])
