"""What lies where in the state of a model: each row of its arrays by component, name and series.

The arrays are those of ``Model.state``, with the series (or the groups of series) last. What has no name here is shown
by that of its array, so that nothing is ever left out of a comparison.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from domain.model import change, families, forecast, modes, recalibration, skewed, spread, stillness, unrest
from domain.model.arrays import Arrays
from domain.model.detector_model import DetectorModel
from domain.model.feature_model import EXPECTATION, ORIGIN, PEAKS, SPREAD
from domain.model.feature_model import N_ROWS as N_FEATURE_ROWS
from domain.model.groups import Groups
from domain.model.model import Model
from domain.model.seasons import N_CELLS as N_SEASON_CELLS
from domain.model.seasons import SEASONS, STARTS
from domain.model.series import Name

Unit = Literal["value", "square", "number", "time", "buffer"]
"""Of the measured values; of their squares; a plain number or share; epoch seconds; what waits to be looked at."""


@dataclass(frozen=True, slots=True)
class Part:
    """One row of an array.

    Attributes
    ----------
    is_relative : bool
        The state has it relative to the origin of the series; tables have it as it is.
    """

    component: str
    name: str
    unit: Unit = "number"
    is_relative: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """An array of the state.

    Attributes
    ----------
    key : str
        Its name in the state.
    parts : list of Part
        What its rows are, of length r.
    names : list of (tuple of str or None)
        What its columns are, of length n; None where nothing is.
    values : ndarray of shape (r, n)
    """

    detector_index: int
    key: str
    parts: list[Part]
    names: Sequence[Name | None]
    values: np.ndarray[Any, Any]


def tables(model: Model, arrays: Arrays) -> Iterator[Table]:
    """Yield the arrays of a model's state that are kept per series or per group of series, by key.

    Parameters
    ----------
    arrays : dict of str to ndarray
        As ``Model.state`` returned them.
    """
    for key in sorted(arrays):
        head, _, own = key.partition(".")
        if not head.startswith("d"):
            continue
        index = int(head[1:])
        names, array = _names(model.detectors[index], own), arrays[key]
        if array.ndim == 0 or array.shape[-1] > len(names) or own.endswith("of_slot"):
            continue  # which group a series is in follows from its name
        parts, values = _parts(own, array.shape[:-1]), array.reshape(-1, array.shape[-1])
        relative = [row for row, part in enumerate(parts) if part.is_relative]
        rows = arrays.get(f"{key.rsplit('.', 1)[0]}.rows")
        if relative and rows is not None and len(rows) == N_FEATURE_ROWS:
            values = values.astype(np.float64)
            values[relative] = values[relative] + rows[ORIGIN]
        yield Table(index, key, parts, names[: array.shape[-1]], values)


def _names(detector: DetectorModel, key: str) -> Sequence[Name | None]:
    """Return what the columns of an array are named by."""
    group = _group(detector, key)
    return detector.series.names if group is None else group.table.names


def _group(detector: DetectorModel, key: str) -> Groups | None:
    head, _, rest = key.partition(".")
    if head == "activity":
        return detector.groups.get(rest)
    if head == "rarity":
        return detector.groups.get("scopes" if key.endswith("scopes") else "attributes")
    if head == "totals" or (head[:1] == "p" and head[1:].isdigit()):
        return detector.groups.get("attributes")
    return detector.groups.get(head)


def _parts(key: str, shape: tuple[int, ...]) -> list[Part]:
    name = key.rsplit(".", 1)[-1]
    n_rows = int(np.prod(shape, dtype=np.int64))
    is_feature = name != "rows" or n_rows == N_FEATURE_ROWS
    known = _KNOWN.get(name) if is_feature else None
    if known is not None and len(known) == n_rows:
        return known
    component, row_name, unit = _ARRAYS.get(name, (name, "row", "number"))
    return [Part(component, f"{row_name} {row}" if n_rows > 1 else row_name, unit) for row in range(n_rows)]


_ARRAYS: Final[dict[str, tuple[str, str, Unit]]] = {
    "waiting": ("families", "value waiting to be learnt", "buffer"),
    "stretch": ("period", "cell of the stretch", "buffer"),
    "periods": ("period", "cell of the table", "value"),
    "cells": ("times", "cell of the histogram", "number"),
    "peaks": ("peaks", "peak", "number"),
    "weights": ("occurrences", "of the value", "number"),
    "scopes": ("occurrences", "of the scope", "number"),
}
"""Arrays with rows that have no names of their own: component, what a row is, unit."""


def _named(n_rows: int, component: str, names: dict[int, str], unit: Unit = "number") -> list[Part]:
    return [Part(component, names.get(row, f"row {row}"), unit) for row in range(n_rows)]


def _feature_rows() -> list[Part]:
    rows = [Part("age", f"row {row}") for row in range(N_FEATURE_ROWS)]
    rows[0] = Part("age", "values learnt", "time")
    rows[1] = Part("age", "latest bucket", "time")
    rows[2] = Part("level", "first value", "value")
    levels = [Part(_component_of(name), name, "value", " by " not in name) for name in forecast.NAMES]
    errors = [Part("forecast", f"error of {name}", "value") for name in forecast.NAMES]
    rows[EXPECTATION] = [*levels, *errors, *_change_rows()]
    rows[SPREAD] = _spread_rows()
    rows[PEAKS] = [
        Part("peaks", "greatest surprisal"),
        Part("peaks", "its time", "time"),
        Part("peaks", "greatest record broken"),
        Part("peaks", "its time", "time"),
    ]
    return rows


def _component_of(predictor: str) -> str:
    if predictor == forecast.NAMES[forecast.TREND]:
        return "trend"
    return "seasons" if " by " in predictor else "level"


def _change_rows() -> list[Part]:
    rows = _named(
        change.N_ROWS,
        "change",
        {
            change.SHIFT: "shifts accepted",
            change.TRIAL: "shift on trial",
            change.LEAN: "share of outliers",
            change.RUN: "mean outlier",
            change.BACK: "share back at the old level",
            change.VOTES: "votes for the new level",
        },
    )
    for row in (change.SHIFT, change.TRIAL, change.RUN):
        rows[row] = Part("change", rows[row].name, "value")
    rows[change.BEGAN] = Part("change", "trial began", "time")
    return rows


def _spread_rows() -> list[Part]:
    names = {
        spread.SQUARE: "mean square over days",
        spread.SQUARE_SHORT: "mean square over hours",
        spread.ABSOLUTE: "mean distance",
        spread.LOW: "lowest value",
        spread.HIGH: "highest value",
        spread.SIGNED: "mean square with sign",
        spread.CALM: "mean square at hours alike",
    }
    rows = _named(spread.N_ROWS, "spread", names, "value")
    for row in (spread.SQUARE, spread.SQUARE_SHORT, spread.SIGNED, spread.CALM):
        rows[row] = Part("spread", rows[row].name, "square")
    for row in (spread.LOW, spread.HIGH):
        rows[row] = Part("spread", rows[row].name, "value", is_relative=True)
    return rows


def _family_rows() -> list[Part]:
    rows = _named(families.N_ROWS, "families", {})
    skewed_ones = [f"{family} of {kind}" for family in ("log-normal", "gamma") for kind in _KINDS]
    for row, name in enumerate(("Student's t", "heavy tails", *skewed_ones, "counts")):
        rows[row] = Part("families", f"weight of {name}")
    moments = ("mean log", "variance of logs", "mean")
    for place, row in enumerate(range(families.N_FAMILIES, families.N_FAMILIES + 2 * skewed.N_MOMENTS)):
        kind, moment = divmod(place, skewed.N_MOMENTS)
        rows[row] = Part("families", f"{moments[moment]} of {_KINDS[kind]}")
    rows[families.N_BLOCKS] = Part("families", "blocks learnt")
    rows[families.BROKEN] = Part("families", "values that are no whole numbers")
    rows[families.SCREEN] = Part("families", "screen")
    rows[families.MODES] = _mode_rows()
    rows[families.HISTORY] = _named(
        recalibration.N_ROWS,
        "recalibration",
        {
            recalibration.JUDGED: "values judged",
            recalibration.BEYOND: "values beyond the threshold",
            recalibration.N_ABOVE: "of them above",
            recalibration.ABOVE: "excesses above",
            recalibration.N_BELOW: "of them below",
            recalibration.BELOW: "excesses below",
        },
    )
    return rows


_KINDS: Final = ("ratios", "residuals")


def _mode_rows() -> list[Part]:
    names = {
        modes.LOWER: "lower centre",
        modes.UPPER: "upper centre",
        modes.N_LOWER: "weight of the lower",
        modes.N_UPPER: "weight of the upper",
        modes.V_LOWER: "variance of the lower",
        modes.V_UPPER: "variance of the upper",
        modes.SWITCHES: "how often either followed the other",
        modes.EVIDENCE: "evidence",
        modes.BLOCKS: "blocks since they were set",
        modes.TRUST: "share in the probability",
    }
    rows = _named(modes.N_ROWS, "modes", names)
    for row in (modes.LOWER, modes.UPPER):
        rows[row] = Part("modes", rows[row].name, "value", is_relative=True)
    for row in (modes.V_LOWER, modes.V_UPPER):
        rows[row] = Part("modes", rows[row].name, "square")
    return rows


def _season_rows() -> list[Part]:
    """Name the cells of the seasons: their means, then how often each was visited."""
    cells = []
    for name, start, season in zip(("day", "week", "working day"), STARTS, SEASONS, strict=True):
        cells += [f"{name}, hour {cell}" for cell in range(season.cells)]
        assert len(cells) == start + season.cells
    assert len(cells) == N_SEASON_CELLS
    return [Part("seasons", cell, "value", is_relative=True) for cell in cells] + [
        Part("visits", cell) for cell in cells
    ]


def _stillness_rows() -> list[Part]:
    rows = _named(
        stillness.N_ROWS,
        "stillness",
        {
            stillness.LAST: "latest value",
            stillness.SIZE: "mean step",
            stillness.RUN: "surprisal of the run",
            stillness.STILL: "still steps after a still one",
            stillness.STEPS: "steps after a still one",
        },
    )
    rows[stillness.LAST] = Part("stillness", rows[stillness.LAST].name, "value", is_relative=True)
    rows[stillness.SIZE] = Part("stillness", rows[stillness.SIZE].name, "value")
    return rows


def _novelty_rows() -> list[Part]:
    return [
        Part("novelty", "mean absolute value", "value"),
        Part("novelty", "first value's time", "time"),
        Part("novelty", "latest value", "value", is_relative=True),
        Part("novelty", "strongest surprise of late"),
    ]


def _stream_rows() -> list[Part]:
    """Name what novelty follows of each stream: smoothed values, then mean, highest and lowest of each scale."""
    rows = []
    scales = ("each bucket", "7 buckets", "31 buckets", "127 buckets")
    for stream in ("value", "residual", "jump"):
        names = [f"smoothed over {scale}" for scale in scales[1:]]
        names += [f"{kind} over {scale}" for kind in ("mean", "highest", "lowest") for scale in scales]
        is_value = stream == "value"
        rows += [Part("novelty", f"{stream}, {name}", "value" if is_value else "number", is_value) for name in names]
    return rows


def _cycle_rows() -> list[Part]:
    names = ("stretch began", "cell width", "cell end", "sum of the cell", "values of the cell")
    own = ("length, seconds", "begins at", "cells of its table", "found at", "on top of the day")
    times = {"stretch began", "cell end", "begins at", "found at"}
    return [Part("period", name, "time" if name in times else "number") for name in (*names, *own)]


def _unrest_rows() -> list[Part]:
    names = ("visits at hour", "log of the distance at hour", "variance of that at hour", "log of the factor at hour")
    return [Part("hours", f"{name} {hour}") for name in names for hour in range(unrest.N_CELLS)]


_KNOWN: Final = {
    "rows": _feature_rows(),
    "seasons": _season_rows(),
    "families": _family_rows(),
    "stillness": _stillness_rows(),
    "unrest": _unrest_rows(),
    "novelty": _novelty_rows(),
    "streams": _stream_rows(),
    "cycles": _cycle_rows(),
    "last_seen": [Part("activity", "latest bucket with records", "time")],
    "is_known": [Part("activity", "had records in a closed bucket")],
}
