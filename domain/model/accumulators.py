"""Accumulators: what a detector keeps of the records of one open bucket, until it closes.

Records go straight into running accumulators, one after the other in the order in which they came. So a bucket's value
does not depend on how its records were cut into batches: ``np.add.at`` adds sequentially, and where order matters
otherwise (first values, capped lists) it is seen to here. ``values`` is asked for when the bucket closes.
"""

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from domain.model.arrays import Arrays, Floats, Ints, Selection, bounded, capacity_for, grown
from domain.model.influences import FieldInfluence

MEDIAN_VALUES_MAX = 4_000_000
"""Values kept for the medians of one detector and bucket; later ones of the bucket are ignored. Chosen: 64 MB."""

Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Measured:
    """Records of one detector and bucket, in order.

    Attributes
    ----------
    slots : ndarray of shape (n,), dtype=int64
        The series of each record.
    x : ndarray of shape (n,), dtype=float64 or None
        Measured values, finite and bounded; None for functions that measure no number.
    weights : ndarray of shape (n,), dtype=float64 or None
        For how many events each record stands, whole numbers; None: one each.
    hashes : ndarray of shape (n,), dtype=uint64 or None
        Of the measured text, for distinct counts.
    influences : tuple of (ndarray of shape (n,), list of str)
        Per influencer field that is no term of the detector: codes of its values (-1: none), and the values.
    """

    slots: Ints
    x: Floats | None = None
    weights: Floats | None = None
    hashes: Hashes | None = None
    influences: tuple[tuple[Ints, list[str]], ...] = ()


class Accumulator:
    """Counts events per series; every other accumulator does so too, in row 0.

    Attributes
    ----------
    rows : ndarray of shape (n_rows, capacity), dtype=float64
        Running values per slot, ``INITIAL`` where nothing came yet.
    influences : list of FieldInfluence
        Per influencer field that is no term of the detector.
    """

    INITIAL: ClassVar[tuple[float, ...]] = (0.0,)

    def __init__(self, n_slots: int = 0, n_influences: int = 0) -> None:
        self.influences = [FieldInfluence() for _ in range(n_influences)]
        self.rows: Floats = np.zeros((len(self.INITIAL), capacity_for(n_slots)))
        self._initialise(0)

    def _initialise(self, start: int) -> None:
        for row, initial in zip(self.rows, self.INITIAL, strict=True):
            if initial != 0.0:
                row[start:] = initial

    def reserve(self, n_slots: int) -> None:
        """Make room for ``n_slots`` series."""
        old = self.rows.shape[1]
        if n_slots > old:
            self.rows = grown(self.rows, capacity_for(n_slots))
            self._initialise(old)

    def add(self, records: Measured) -> None:
        """Add records in order; room for their slots is reserved."""
        np.add.at(self.rows[0], records.slots, 1.0 if records.weights is None else records.weights)
        for influence, (codes, texts) in zip(self.influences, records.influences, strict=True):
            influence.add(records.slots, codes, texts, records.weights)

    def present(self) -> Ints:
        """Return the slots that had records, ascending."""
        present: Ints = self.rows[0].nonzero()[0]
        return present

    def value(self, name: str, selection: Selection) -> Floats:
        """Return a feature's values of the selected slots; a series without records must give 0 or not be asked."""
        return self.rows[0, selection]

    def state(self, n_slots: int) -> Arrays:
        """Return copies of all arrays, trimmed to the slots in use."""
        self.reserve(n_slots)
        arrays: Arrays = {"rows": self.rows[:, :n_slots].copy()}
        for index, influence in enumerate(self.influences):
            arrays |= {f"i{index}.{key}": array for key, array in influence.state().items()}
        return arrays

    def texts(self) -> list[list[str]]:
        """Return the part of the state that is no array: the values of each influencer field."""
        return [list(influence.texts) for influence in self.influences]

    def load(self, arrays: Arrays, texts: list[list[str]]) -> None:
        """Take over what ``state`` and ``texts`` returned."""
        for index, (influence, values) in enumerate(zip(self.influences, texts, strict=True)):
            influence.load({key: arrays[f"i{index}.{key}"] for key in ("keys", "counts")}, values)
        rows = arrays["rows"]
        self.reserve(rows.shape[1])
        self.rows[:, : rows.shape[1]] = rows


class MeanAccumulator(Accumulator):
    """Means: the value of a record is that of each event it stands for."""

    INITIAL = (0.0, 0.0)

    def add(self, records: Measured) -> None:
        """Add records in order."""
        super().add(records)
        np.add.at(self.rows[1], records.slots, _weighted(records))

    def value(self, name: str, selection: Selection) -> Floats:
        """Return the means."""
        return bounded(self.rows[1, selection] / self.rows[0, selection])


class SumAccumulator(Accumulator):
    """Sums: the value of a record is the sum over all events it stands for, as pre-summarised data give it."""

    INITIAL = (0.0, 0.0)

    def add(self, records: Measured) -> None:
        """Add records in order."""
        super().add(records)
        np.add.at(self.rows[1], records.slots, _values(records))

    def value(self, name: str, selection: Selection) -> Floats:
        """Return the sums."""
        return bounded(self.rows[1, selection])


class MinimumAccumulator(Accumulator):
    """Smallest values."""

    INITIAL = (0.0, np.inf)

    def add(self, records: Measured) -> None:
        """Add records in order."""
        super().add(records)
        np.minimum.at(self.rows[1], records.slots, _values(records))

    def value(self, name: str, selection: Selection) -> Floats:
        """Return the minima."""
        return self.rows[1, selection]


class MaximumAccumulator(Accumulator):
    """Largest values."""

    INITIAL = (0.0, -np.inf)

    def add(self, records: Measured) -> None:
        """Add records in order."""
        super().add(records)
        np.maximum.at(self.rows[1], records.slots, _values(records))

    def value(self, name: str, selection: Selection) -> Floats:
        """Return the maxima."""
        return self.rows[1, selection]


class MetricAccumulator(Accumulator):
    """Means, minima and maxima at once."""

    INITIAL = (0.0, 0.0, np.inf, -np.inf)

    def add(self, records: Measured) -> None:
        """Add records in order."""
        super().add(records)
        np.add.at(self.rows[1], records.slots, _weighted(records))
        np.minimum.at(self.rows[2], records.slots, _values(records))
        np.maximum.at(self.rows[3], records.slots, _values(records))

    def value(self, name: str, selection: Selection) -> Floats:
        """Return the feature ``mean``, ``min`` or ``max``."""
        if name == "mean":
            return bounded(self.rows[1, selection] / self.rows[0, selection])
        return self.rows[2 if name == "min" else 3, selection]


class VarianceAccumulator(Accumulator):
    """Population variances, from sums of distances to the first value of the bucket, which cancel little."""

    INITIAL = (0.0, 0.0, 0.0, 0.0)  # count, first value, sum of distances, sum of their squares

    def add(self, records: Measured) -> None:
        """Add records in order."""
        slots, x = records.slots, _values(records)
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


class DistinctAccumulator(Accumulator):
    """Numbers of distinct texts.

    A text is known by 64 bits of its hash, mixed with the slot of its series. Chosen: among a million pairs the
    chance that any two are taken for one is below 1 in 10 million, and a pair costs 8 bytes whatever the text.
    """

    INITIAL = (0.0, 0.0)

    _SLOT_FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd: spreads slots over 64 bits

    def __init__(self, n_slots: int = 0, n_influences: int = 0) -> None:
        super().__init__(n_slots, n_influences)
        self.keys: Hashes = np.empty(0, np.uint64)
        """Pairs of series and text seen in this bucket, ascending."""

    def add(self, records: Measured) -> None:
        """Add records in order."""
        super().add(records)
        assert records.hashes is not None
        keys = records.hashes ^ (records.slots.astype(np.uint64) * self._SLOT_FACTOR)
        found, first = np.unique(keys, return_index=True)
        place = np.searchsorted(self.keys, found)
        known = place < self.keys.size
        known[known] = self.keys[place[known]] == found[known]
        new = ~known
        np.add.at(self.rows[1], records.slots[first[new]], 1.0)
        self.keys = np.insert(self.keys, place[new], found[new])

    def value(self, name: str, selection: Selection) -> Floats:
        """Return the numbers of distinct texts."""
        return self.rows[1, selection]

    def state(self, n_slots: int) -> Arrays:
        """Return copies of all arrays."""
        return {**super().state(n_slots), "keys": self.keys.copy()}

    def load(self, arrays: Arrays, texts: list[list[str]]) -> None:
        """Take over what ``state`` and ``texts`` returned."""
        super().load(arrays, texts)
        self.keys = arrays["keys"].astype(np.uint64)


class MedianAccumulator(Accumulator):
    """Medians, exact: all values of the bucket are kept until it closes, at most ``MEDIAN_VALUES_MAX``."""

    def __init__(self, n_slots: int = 0, n_influences: int = 0) -> None:
        super().__init__(n_slots, n_influences)
        self._parts: list[tuple[Ints, Floats]] = []
        self._n_kept = 0

    def add(self, records: Measured) -> None:
        """Add records in order."""
        super().add(records)
        room = MEDIAN_VALUES_MAX - self._n_kept
        slots, x = records.slots[:room], _values(records)[:room]
        self._parts.append((slots.copy(), x.copy()))
        self._n_kept += slots.size

    def present(self) -> Ints:
        """Return the slots with a value kept, ascending."""
        return np.unique(self._kept()[0])

    def value(self, name: str, selection: Selection) -> Floats:
        """Return the medians."""
        slots, x = self._kept()
        order = np.lexsort((x, slots))
        slots, x = slots[order], x[order]
        wanted = np.arange(self.rows.shape[1])[selection]
        start = np.searchsorted(slots, wanted, "left")
        last = np.searchsorted(slots, wanted, "right") - 1
        middle = start + last
        medians: Floats = x[middle // 2] * 0.5 + x[(middle + 1) // 2] * 0.5
        return medians

    def _kept(self) -> tuple[Ints, Floats]:
        if len(self._parts) != 1:
            slots = [part[0] for part in self._parts] or [np.empty(0, np.int64)]
            x = [part[1] for part in self._parts] or [np.empty(0)]
            self._parts = [(np.concatenate(slots), np.concatenate(x))]
        return self._parts[0]

    def state(self, n_slots: int) -> Arrays:
        """Return copies of all arrays."""
        slots, x = self._kept()
        return {**super().state(n_slots), "slots": slots.copy(), "x": x.copy()}

    def load(self, arrays: Arrays, texts: list[list[str]]) -> None:
        """Take over what ``state`` and ``texts`` returned."""
        super().load(arrays, texts)
        self._parts = [(arrays["slots"].astype(np.int64), arrays["x"].astype(np.float64))]
        self._n_kept = self._parts[0][0].size


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
}


def _values(records: Measured) -> Floats:
    assert records.x is not None, "a function of numbers needs values"
    return records.x


def _weighted(records: Measured) -> Floats:
    x = _values(records)
    return x if records.weights is None else x * records.weights
