"""The model plot: between which bounds each series was expected in a bucket, and where it was.

The bounds are those of the middle 95 % of a normal distribution around the expected value, with the usual distance of
the series as its standard deviation: a value outside is nothing special yet, one in twenty lies there. They are made
before the bucket is learnt, from the same state that it is judged by. Functions without a middle to lie around (times,
places, rare) have no bounds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import msgspec
import numpy as np

from domain.config.detector import Detector
from domain.config.settings import ModelPlotConfig
from domain.model.arrays import Bools, Floats, Ints
from domain.model.series import Name, SeriesTable

BAND_Z: Final = 1.959964
"""Standard deviations on either side of the mean that hold 95 % of a normal distribution."""
PLOTTED_SERIES_MAX: Final = 1_000
"""Series of a detector that are plotted, the first to come among those that the terms admit. Chosen: in buckets of 15
minutes they make 100,000 rows a day, far more than anybody looks at; who has more names what to plot."""


class ModelPlot(msgspec.Struct, frozen=True):
    """One feature of one detector in one bucket: a value per series in each list, series in the order of their names.

    Attributes
    ----------
    feature : str
        What is measured: the ``function_description`` of records.
    has_partition, has_by : bool
        Which term fields the names are values of, in this order.
    actual : list of (float or None)
        None where the series had no value in the bucket; all of them in populations, where many members had one each.
    """

    detector_index: int
    feature: str
    has_partition: bool
    has_by: bool
    names: list[Name]
    lower: list[float]
    median: list[float]
    upper: list[float]
    actual: list[float | None]

    def terms_of(self, name: Name) -> tuple[str | None, str | None]:
        """Return partition and by value of a name, None where there is no such field."""
        return name[0] if self.has_partition else None, name[-1] if self.has_by else None


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between which values series are expected.

    Attributes
    ----------
    is_known : ndarray of shape (m,)
        False: the series is too young to expect anything.
    lower, median, upper : ndarray of shape (m,)
    """

    is_known: Bools
    lower: Floats
    median: Floats
    upper: Floats


def bounds_around(median: Floats, scale: Floats, is_known: Bools, *, is_non_negative: bool) -> Bounds:
    """Return the bounds around expected values; values that cannot be negative are not expected to be.

    >>> bounds = bounds_around(np.array([1.0]), np.array([2.0]), np.array([True]), is_non_negative=True)
    >>> bounds.lower.tolist(), bounds.upper.round(6).tolist()
    ([0.0], [4.919928])
    """
    lower, upper = median - BAND_Z * scale, median + BAND_Z * scale
    if is_non_negative:
        lower, upper, median = (np.maximum(each, 0.0) for each in (lower, upper, median))
    return Bounds(is_known, lower, median, upper)


class Plotting:
    """Which series of a detector are plotted."""

    def __init__(self, terms: frozenset[str] | None) -> None:
        self._terms = terms
        self._slots: Ints = np.empty(0, np.int64)
        self._looked_up: tuple[int, int] | None = None

    @classmethod
    def of(cls, config: ModelPlotConfig | None) -> "Plotting | None":
        """Return what a job asks for, None if it asks for nothing."""
        if config is None or not config.enabled:
            return None
        terms = frozenset(term.strip() for term in (config.terms or "").split(",")) - {""}
        return cls(terms or None)

    def slots(self, series: SeriesTable) -> Ints:
        """Return the slots to plot, by name; looked up again only when series came or went."""
        version = (series.generation, series.n_series)
        if version != self._looked_up:
            self._looked_up = version
            admitted = (slot for slot, name in enumerate(series.names) if self._admits(name))
            first = sorted(islice(admitted, PLOTTED_SERIES_MAX), key=lambda slot: series.names[slot] or ())
            self._slots = np.array(first, np.int64)
        return self._slots

    def _admits(self, name: Name | None) -> bool:
        return name is not None and (self._terms is None or not self._terms.isdisjoint(name))


def plot_of(
    detector: Detector,
    feature: str,
    series: SeriesTable,
    slots: Ints,
    *,
    bounds: Bounds,
    actual: Floats | None,
) -> ModelPlot:
    """Return what is plotted of slots, those left out that nothing is expected of yet.

    Parameters
    ----------
    slots : ndarray of shape (m,)
    actual : ndarray of shape (m,) or None
        NaN where there is none.
    """
    known = bounds.is_known.nonzero()[0]
    values: Sequence[float | None] = [None] * known.size
    if actual is not None:
        values = [None if math.isnan(value) else value for value in actual[known].tolist()]
    return ModelPlot(
        detector.detector_index,
        feature,
        detector.partition_field_name is not None,
        detector.by_field_name is not None,
        [series.names[slot] or () for slot in slots[known].tolist()],
        bounds.lower[known].tolist(),
        bounds.median[known].tolist(),
        bounds.upper[known].tolist(),
        list(values),
    )
