"""Accumulators: what a detector keeps of the records of one open bucket, until it closes.

Those of running numbers are here; see ``accumulator.py`` for the first of all, ``kept_accumulators.py`` for those that
keep texts and values.
"""

from typing import Final

import numpy as np

from domain.model.accumulator import Accumulator, Hashes, Measured, values_of, weighted
from domain.model.arrays import Floats, Ints, Selection, bounded
from domain.model.influences import Apart
from domain.model.kept_accumulators import ContentAccumulator, DistinctAccumulator, MedianAccumulator

__all__ = ["ACCUMULATORS", "Accumulator", "Hashes", "Measured", "turned"]


class MeanAccumulator(Accumulator):
    """Means: the value of a record is that of each event it stands for."""

    INITIAL = (0.0, 0.0)

    def add(self, records: Measured) -> None:
        """Add records in order."""
        super().add(records)
        np.add.at(self.rows[1], records.slots, weighted(records))

    def value(self, name: str, selection: Selection) -> Floats:
        """Return the means."""
        return bounded(self.rows[1, selection] / self.rows[0, selection])

    def apart(self, name: str, slots: Ints, parts: Accumulator, pairs: Ints) -> Apart:
        """Return the means of all other records."""
        return _mean_of_rest(self, slots, parts, pairs)


class SumAccumulator(Accumulator):
    """Sums: the value of a record is the sum over all events it stands for, as pre-summarised data give it."""

    INITIAL = (0.0, 0.0)

    def add(self, records: Measured) -> None:
        """Add records in order."""
        super().add(records)
        np.add.at(self.rows[1], records.slots, values_of(records))

    def value(self, name: str, selection: Selection) -> Floats:
        """Return the sums."""
        return bounded(self.rows[1, selection])

    def apart(self, name: str, slots: Ints, parts: Accumulator, pairs: Ints) -> Apart:
        """Return the sums of all other records."""
        return Apart.rest(bounded(self.rows[1, slots] - parts.rows[1, pairs]))


class MinimumAccumulator(Accumulator):
    """Smallest values."""

    INITIAL = (0.0, np.inf)

    def add(self, records: Measured) -> None:
        """Add records in order."""
        super().add(records)
        np.minimum.at(self.rows[1], records.slots, values_of(records))

    def value(self, name: str, selection: Selection) -> Floats:
        """Return the minima."""
        return self.rows[1, selection]

    def apart(self, name: str, slots: Ints, parts: Accumulator, pairs: Ints) -> Apart:
        """Return the minima of the parts alone."""
        return Apart.alone(parts.rows[1, pairs])


class MaximumAccumulator(Accumulator):
    """Largest values."""

    INITIAL = (0.0, -np.inf)

    def add(self, records: Measured) -> None:
        """Add records in order."""
        super().add(records)
        np.maximum.at(self.rows[1], records.slots, values_of(records))

    def value(self, name: str, selection: Selection) -> Floats:
        """Return the maxima."""
        return self.rows[1, selection]

    def apart(self, name: str, slots: Ints, parts: Accumulator, pairs: Ints) -> Apart:
        """Return the maxima of the parts alone."""
        return Apart.alone(parts.rows[1, pairs])


class MetricAccumulator(Accumulator):
    """Means, minima and maxima at once."""

    INITIAL = (0.0, 0.0, np.inf, -np.inf)

    def add(self, records: Measured) -> None:
        """Add records in order."""
        super().add(records)
        np.add.at(self.rows[1], records.slots, weighted(records))
        np.minimum.at(self.rows[2], records.slots, values_of(records))
        np.maximum.at(self.rows[3], records.slots, values_of(records))

    def value(self, name: str, selection: Selection) -> Floats:
        """Return the feature ``mean``, ``min`` or ``max``."""
        if name == "mean":
            return bounded(self.rows[1, selection] / self.rows[0, selection])
        return self.rows[2 if name == "min" else 3, selection]

    def apart(self, name: str, slots: Ints, parts: Accumulator, pairs: Ints) -> Apart:
        """Return the means of all other records, or the minima or maxima of the parts alone."""
        if name == "mean":
            return _mean_of_rest(self, slots, parts, pairs)
        return Apart.alone(parts.rows[2 if name == "min" else 3, pairs])


class VarianceAccumulator(Accumulator):
    """Population variances, from sums of distances to the first value of the bucket, which cancel little."""

    INITIAL = (0.0, 0.0, 0.0, 0.0)  # count, first value, sum of distances, sum of their squares

    def add(self, records: Measured) -> None:
        """Add records in order."""
        slots, x = records.slots, values_of(records)
        is_new = self.rows[0, slots] == 0.0
        if is_new.any():
            # Of several assignments to one slot the last one stands: reversed, that is the first record.
            self.rows[1, slots[is_new][::-1]] = x[is_new][::-1]
        super().add(records)
        distance = x - self.rows[1, slots]
        weighted = distance if records.weights is None else distance * records.weights
        np.add.at(self.rows[2], slots, weighted)
        np.add.at(self.rows[3], slots, weighted * distance)

    def value(self, name: str, selection: Selection) -> Floats:
        """Return the variances."""
        count = self.rows[0, selection]
        mean = self.rows[2, selection] / count
        return bounded(np.maximum(self.rows[3, selection] / count - mean * mean, 0.0))

    def apart(self, name: str, slots: Ints, parts: Accumulator, pairs: Ints) -> Apart:
        """Return the variances of all other records: those of all less those of the parts about the common mean."""
        n, m = self.rows[0, slots], parts.rows[0, pairs]
        mean = self.rows[1, slots] + self.rows[2, slots] / n
        off = parts.rows[1, pairs] + parts.rows[2, pairs] / m - mean
        shift = m * off / (n - m)
        square = n * self.value(name, slots) - m * (parts.value(name, pairs) + off * off)
        return Apart.rest(
            bounded(np.maximum(square / (n - m) - shift * shift, 0.0)), self.share_left(slots, parts, pairs)
        )


class TimeAccumulator(Accumulator):
    """Mean times of the records, from sums of distances to the first of the bucket, which cancel little."""

    INITIAL = (0.0, 0.0, 0.0)  # count, first time, sum of distances

    def add(self, records: Measured) -> None:
        """Add records in order."""
        slots, x = records.slots, values_of(records)
        is_new = self.rows[0, slots] == 0.0
        if is_new.any():
            self.rows[1, slots[is_new][::-1]] = x[is_new][::-1]  # of several the last stands: reversed, the first
        super().add(records)
        distance = x - self.rows[1, slots]
        np.add.at(self.rows[2], slots, distance if records.weights is None else distance * records.weights)

    def value(self, name: str, selection: Selection) -> Floats:
        """Return the mean times, seconds since the epoch."""
        means: Floats = self.rows[1, selection] + self.rows[2, selection] / self.rows[0, selection]
        return means


class PlaceAccumulator(Accumulator):
    """Mean places, from sums of distances in degrees to the first place of the bucket, the short way round the globe.

    So a place that is the only one comes out as it went in.
    """

    INITIAL = (0.0, 0.0, 0.0, 0.0, 0.0)  # count, first latitude and longitude, sums of distances

    def add(self, records: Measured) -> None:
        """Add records in order."""
        slots, latitudes, longitudes = records.slots, values_of(records), records.longitudes
        assert longitudes is not None, "places need longitudes"
        is_new = self.rows[0, slots] == 0.0
        if is_new.any():
            first = slots[is_new][::-1]
            self.rows[1, first] = latitudes[is_new][::-1]
            self.rows[2, first] = longitudes[is_new][::-1]
        super().add(records)
        for row, distance in ((3, latitudes - self.rows[1, slots]), (4, turned(longitudes - self.rows[2, slots]))):
            np.add.at(self.rows[row], slots, distance if records.weights is None else distance * records.weights)

    def value(self, name: str, selection: Selection) -> Floats:
        """Return the mean latitudes and longitudes, shape (2, m)."""
        count, latitude, longitude, north, east = self.rows[:, selection]
        return np.stack([latitude + north / count, turned(longitude + east / count)])


def _mean_of_rest(all_of_it: Accumulator, slots: Ints, parts: Accumulator, pairs: Ints) -> Apart:
    """Return the means of all records but the parts, from the sums in row 1."""
    sums = all_of_it.rows[1, slots] - parts.rows[1, pairs]
    counts = all_of_it.rows[0, slots] - parts.rows[0, pairs]
    return Apart.rest(bounded(sums / counts), all_of_it.share_left(slots, parts, pairs))


def turned(degrees: Floats) -> Floats:
    """Return angles from -180 to 180; what lies there already is not touched.

    >>> turned(np.array([-190.0, 180.0, 200.0])).tolist()
    [170.0, 180.0, -160.0]
    """
    turns = (np.abs(degrees) > 180.0) * np.floor((degrees + 180.0) / 360.0)
    return degrees - 360.0 * turns


ACCUMULATORS: Final[dict[str, type[Accumulator]]] = {
    "count": Accumulator,
    "mean": MeanAccumulator,
    "sum": SumAccumulator,
    "min": MinimumAccumulator,
    "max": MaximumAccumulator,
    "metric": MetricAccumulator,
    "variance": VarianceAccumulator,
    "distinct": DistinctAccumulator,
    "median": MedianAccumulator,
    "content": ContentAccumulator,
    "time": TimeAccumulator,
    "place": PlaceAccumulator,
}
