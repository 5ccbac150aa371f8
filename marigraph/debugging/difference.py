"""Two states of a job side by side: what changed in the job, and in each component of its model, the largest first.

How large a change is, is said in spreads of the series where it is in the units of the values; elsewhere in parts of
the larger of both numbers, of 1 where both are smaller. Times and buffers that fill up change with every bucket, and
are left out.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from domain.errors import Conflict
from domain.inspection import Table, all_readings, find_series, tables
from domain.job import Job
from domain.model import Model
from domain.model.arrays import Arrays, Floats, Ints
from domain.model.series import Name
from marigraph.application import Application
from marigraph.debugging.changes import Change, changes, job_changes
from marigraph.debugging.changes import label as series_label
from marigraph.debugging.debugger import Debugger
from marigraph.replay import restored_model, stored_model

ENTRIES_MAX = 1_000
"""Changes kept per component, the largest; chosen: all of a few series."""
LISTED_SERIES_MAX = 1_000
"""Series looked for by name, and new or gone ones listed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One number of one series that changed.

    Attributes
    ----------
    size : float
        In spreads of the series, or in parts of the larger of both numbers, at least of 1.
    """

    series: str
    component: str
    name: str
    before: float
    after: float
    size: float

    def resource(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return {name: getattr(self, name) for name in ("series", "component", "name", "before", "after", "size")}


@dataclass(slots=True)
class ComponentDifference:
    """What changed in one component of the model.

    Attributes
    ----------
    series_count : int
        Series of which anything in it changed.
    change_count : int
        Numbers that changed.
    entries : list of Entry
        The largest changes first, at most ``ENTRIES_MAX``.
    """

    component: str
    series_count: int = 0
    change_count: int = 0
    entries: list[Entry] = field(default_factory=list)

    @property
    def size(self) -> float:
        """The largest change."""
        return self.entries[0].size if self.entries else 0.0


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between a job as of one version and as of another.

    Attributes
    ----------
    job : list of Change
        Configuration, counts, state and snapshots.
    model : list of Change
        What of the model is not per series: memory, calibration of scores, categories, open buckets.
    components : list of ComponentDifference
        The one with the largest change first.
    new_series, gone_series : list of str
    digests : tuple of (str or None)
        SHA-256 of both model states.
    """

    job_id: str
    versions: tuple[int, int]
    digests: tuple[str | None, str | None]
    job: list[Change]
    model: list[Change]
    components: list[ComponentDifference]
    new_series: list[str]
    gone_series: list[str]

    def resource(self, size: int) -> dict[str, Any]:
        """Return everything as JSON-able values, of each component the ``size`` largest changes."""
        return {
            "job_id": self.job_id,
            "versions": list(self.versions),
            "state_digests": list(self.digests),
            "job": [change.resource() for change in self.job],
            "model": [change.resource() for change in self.model],
            "new_series": self.new_series,
            "gone_series": self.gone_series,
            "components": [
                {
                    "component": each.component,
                    "series_count": each.series_count,
                    "change_count": each.change_count,
                    "changes": [entry.resource() for entry in each.entries[:size]],
                }
                for each in self.components
            ],
        }


@dataclass(frozen=True, slots=True)
class _State:
    """A job and its model as of a version."""

    job: Job
    model: Model | None
    arrays: Arrays
    meta: dict[str, Any]
    digest: str | None

    @classmethod
    def of(cls, debugger: Debugger) -> "_State":
        if debugger.model is None:
            return cls(debugger.job, None, {}, {}, None)
        model = restored_model(stored_model(debugger.model))  # a copy: the debugger goes on with its own
        arrays, meta = model.state()
        return cls(debugger.job, model, arrays, meta, debugger.source.state_digest(debugger.folded).hex())


def compare(
    app: Application,
    job_id: str,
    before: int,
    after: int,
    *,
    series: Sequence[str] = (),
    on_events: Callable[[int], None] = lambda _n: None,
) -> Difference:
    """Compare a job as of two versions of its stream.

    Parameters
    ----------
    series : sequence of str
        Only these (``find_series``); none: all.
    on_events : callable
        Told how many events were folded each time.

    Raises
    ------
    CannotReplay
        Records that it takes are no longer kept.
    Conflict
        They are of different jobs under one id.
    """
    debugger = Debugger(app, job_id)
    _check_same(debugger, before, after)
    states = []
    for version in sorted((before, after)):
        debugger.go_to(version, on_events)
        states.append(_State.of(debugger))
    if before > after:
        states.reverse()
    first, second = states
    new, gone = _came_and_went(first.model, second.model)
    return Difference(
        job_id,
        (before, after),
        (first.digest, second.digest),
        job_changes(first.job, second.job),
        list(changes(_plain(first.meta), _plain(second.meta))),
        _components(first, second, series),
        new,
        gone,
    )


def _check_same(debugger: Debugger, before: int, after: int) -> None:
    created = {job.created_version for job in map(debugger.job_at, (before, after)) if job.exists}
    if len(created) > 1:
        msg = (
            f"versions {before} and {after} of job [{debugger.job_id}] are of two jobs: it was created anew at version "
            f"{max(created)}"
        )
        raise Conflict(msg)


def _plain(meta: dict[str, Any]) -> dict[str, Any]:
    """Return what of a state is neither arrays nor names of series, each number under a name."""
    if not meta:
        return {}
    detectors = {
        f"detector {index}": {
            "calibration": [_calibration(own) for own in detector["calibrations"]],
            "series_count": detector["n_slots"] - len(detector["free"]),
        }
        for index, detector in enumerate(meta["detectors"])
    }
    scores = {
        name: {"calibration": _calibration(own["calibration"])}
        | {peak: own[peak][0] for peak in ("peak", "strength_peak")}
        for name, own in meta["scorer"]["normalizers"].items()
    }
    plain = {"memory": meta["memory"], "scores": scores, **detectors}
    if meta.get("categories") is not None:
        plain["category_count"] = sum(len(partition[2]) for partition in meta["categories"]["partitions"])
    plain["open_bucket_events"] = sum(own["event_count"] for own in meta["open"])
    return plain


def _calibration(state: list[float]) -> dict[str, float]:
    return dict(zip(("judged", "unusual", "excess"), state, strict=True))


def _came_and_went(first: Model | None, second: Model | None) -> tuple[list[str], list[str]]:
    def named(model: Model | None) -> dict[str, None]:
        if model is None:
            return {}
        return {place.label: None for place in find_series(model.detectors, "")}

    old, new = named(first), named(second)
    came, went = (name for name in new if name not in old), (name for name in old if name not in new)
    return list(islice(came, LISTED_SERIES_MAX)), list(islice(went, LISTED_SERIES_MAX))


def _components(first: _State, second: _State, series: Sequence[str]) -> list[ComponentDifference]:
    if first.model is None or second.model is None:
        return []
    wanted = None if not series else _wanted(second.model, series)
    old = {(table.detector_index, table.key): table for table in tables(first.model, first.arrays)}
    spreads = _spreads(second.model)
    found: dict[str, ComponentDifference] = {}
    changed: dict[str, set[tuple[int, Name]]] = {}
    for table in tables(second.model, second.arrays):
        before = old.get((table.detector_index, table.key))
        if before is None or len(before.parts) != len(table.parts):
            continue
        for component, entries, names in _table_entries(second.model, before, table, spreads, wanted):
            own = found.setdefault(component, ComponentDifference(component))
            own.change_count += len(names)
            changed.setdefault(component, set()).update((table.detector_index, name) for name in names)
            own.entries += entries
    for own in found.values():
        own.series_count = len(changed[own.component])
        own.entries = sorted(own.entries, key=lambda entry: -entry.size)[:ENTRIES_MAX]
    return sorted(found.values(), key=lambda own: -own.size)


def _wanted(model: Model, series: Sequence[str]) -> dict[int, set[Name]]:
    wanted: dict[int, set[Name]] = {}
    for text in series:
        for place in islice(find_series(model.detectors, text), LISTED_SERIES_MAX):
            wanted.setdefault(place.detector_index, set()).add(place.name)
    return wanted


def _spreads(model: Model) -> dict[tuple[int, int], Floats]:
    return {key: readings.spread for key, (_names, readings) in all_readings(model.detectors).items()}


def _table_entries(
    model: Model,
    before: Table,
    after: Table,
    spreads: dict[tuple[int, int], Floats],
    wanted: dict[int, set[Name]] | None,
) -> Iterator[tuple[str, list[Entry], list[Name]]]:
    """Yield per component what changed in an array: the largest entries, and the names of all that changed."""
    index = after.detector_index
    at, then, names = _common(before, after, None if wanted is None else wanted.get(index, set()))
    if not names:
        return
    old, new = before.values[:, then].astype(np.float64), after.values[:, at].astype(np.float64)
    head = after.key.split(".")[1]
    feature = int(head[1:]) if head[:1] in "fp" and head[1:].isdigit() else 0
    spread = spreads.get((index, feature)) if head[:1] == "f" else None
    sizes = _sizes(after, old, new, None if spread is None else spread[at])
    for component in dict.fromkeys(part.component for part in after.parts):
        rows = np.array([row for row, part in enumerate(after.parts) if part.component == component])
        own = sizes[rows]
        rows_at, columns = (own > 0.0).nonzero()
        if rows_at.size == 0:
            continue
        order = np.argsort(-own[rows_at, columns], kind="stable")[:ENTRIES_MAX]
        entries = []
        for row, column in zip(rows[rows_at[order]].tolist(), columns[order].tolist(), strict=True):
            numbers = (float(values[row, column]) for values in (old, new, sizes))
            series = series_label(model, (index, feature), names[column])
            entries.append(Entry(series, component, after.parts[row].name, *numbers))
        yield component, entries, [names[column] for column in columns.tolist()]


def _common(before: Table, after: Table, wanted: set[Name] | None) -> tuple[Ints, Ints, list[Name]]:
    """Return the columns that both tables have, in each, and their names."""
    place = {name: column for column, name in enumerate(before.names) if name is not None}
    names = [
        (column, place[name], name)
        for column, name in enumerate(after.names)
        if name is not None and name in place and (wanted is None or name in wanted)
    ]
    at, then = (np.array([each[side] for each in names], np.int64) for side in (0, 1))
    return at, then, [each[2] for each in names]


def _sizes(table: Table, old: Floats, new: Floats, spread: Floats | None) -> Floats:
    """Return how large each change is; 0 where there is none."""
    change = np.abs(new - old)
    with np.errstate(invalid="ignore", divide="ignore"):
        sizes: Floats = change / np.maximum(np.maximum(np.abs(new), np.abs(old)), 1.0)
        for row, part in enumerate(table.parts):
            if part.unit in ("time", "buffer"):
                sizes[row] = 0.0
            elif part.unit == "value" and spread is not None:
                sizes[row] = change[row] / spread
            elif part.unit == "square" and spread is not None:
                sizes[row] = np.sqrt(change[row]) / spread
    sizes[~(change > 0.0) | ~np.isfinite(sizes)] = 0.0
    return sizes
