"""Accumulators: what a detector keeps of the records of one open bucket, until it closes.

Records go straight into running accumulators, one after the other in the order in which they came. So a bucket's value
does not depend on how its records were cut into batches: ``np.add.at`` adds sequentially, and where order matters
otherwise (first values, capped lists) it is seen to here. ``values`` is asked for when the bucket closes.
"""

import zlib
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from domain.model.arrays import Arrays, Floats, Ints, Selection, bounded, capacity_for, grown
from domain.model.influences import FieldInfluence

MEDIAN_VALUES_MAX = 4_000_000
"""Values kept for the medians of one detector and bucket; later ones of the bucket are ignored. Chosen: 64 MB."""

CONTENT_BYTES_MAX = 16_000_000
CONTENT_PAIRS_MAX = 1_000_000
"""Bytes of distinct texts, and pairs of series and text, kept for the information content of one detector and bucket;
later ones of the bucket are ignored. Chosen: 24 MB."""
DEFLATE_LEVEL: Final = 6
"""The usual one; part of what is measured."""

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
    longitudes : ndarray of shape (n,), dtype=float64 or None
        Degrees, beside latitudes in ``x``.
    content : ndarray of shape (n,), dtype=int64 and list of str, or None
        Place of each record's text among the texts.
    influences : tuple of (ndarray of shape (n,), list of str)
        Per influencer field that is no term of the detector: codes of its values (-1: none), and the values.
    """

    slots: Ints
    x: Floats | None = None
    weights: Floats | None = None
    hashes: Hashes | None = None
    influences: tuple[tuple[Ints, list[str]], ...] = ()
    longitudes: Floats | None = None
    content: tuple[Ints, list[str]] | None = None


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


class ContentAccumulator(Accumulator):
    """Information contents: how long the distinct texts of a series are, deflated.

    The texts of the bucket are kept once each, and per series which it had, in order of first appearance.
    """

    def __init__(self, n_slots: int = 0, n_influences: int = 0) -> None:
        super().__init__(n_slots, n_influences)
        self._texts: list[str] = []
        self._place_of: dict[str, int] = {}
        self._n_bytes = 0
        self._pairs: Ints = np.empty(0, np.int64)
        """Slot (upper half) and place of the text (lower half), in order of first appearance."""
        self._sorted: Ints = np.empty(0, np.int64)

    def add(self, records: Measured) -> None:
        """Add records in order."""
        super().add(records)
        assert records.content is not None, "information content needs texts"
        codes, texts = records.content
        places = self._places(codes, texts)
        kept = places >= 0
        found, first = np.unique((records.slots[kept] << 32) | places[kept], return_index=True)
        at: Ints = np.asarray(np.searchsorted(self._sorted, found))
        known = at < self._sorted.size
        known[known] = self._sorted[at[known]] == found[known]
        found, first = found[~known], first[~known]
        new = found[np.argsort(first, kind="stable")][: CONTENT_PAIRS_MAX - self._pairs.size]
        if new.size:
            self._pairs = np.concatenate([self._pairs, new])
            self._sorted = np.sort(self._pairs)

    def _places(self, codes: Ints, texts: list[str]) -> Ints:
        """Translate codes of a batch into places among the texts kept; -1: there is no room."""
        found, first = np.unique(codes, return_index=True)
        translated = np.empty(int(found[-1]) + 1 if found.size else 0, np.int64)
        for code in found[np.argsort(first, kind="stable")].tolist():
            translated[code] = self._place(texts[code])
        places: Ints = translated[codes]
        return places

    def _place(self, text: str) -> int:
        place = self._place_of.get(text)
        if place is not None:
            return place
        size = len(text.encode("utf-8", "surrogatepass"))
        if self._n_bytes + size > CONTENT_BYTES_MAX:
            return -1
        self._n_bytes += size
        self._texts.append(text)
        place = self._place_of[text] = len(self._texts) - 1
        return place

    def value(self, name: str, selection: Selection) -> Floats:
        """Return the information contents, in bytes."""
        pairs = self._pairs[np.argsort(self._pairs >> 32, kind="stable")]
        slots, places = pairs >> 32, pairs & 0xFFFFFFFF
        wanted = np.arange(self.rows.shape[1])[selection]
        starts = np.searchsorted(slots, wanted, "left").tolist()
        stops = np.searchsorted(slots, wanted, "right").tolist()
        lengths = [
            _deflated_length("".join(self._texts[place] for place in places[start:stop].tolist()))
            for start, stop in zip(starts, stops, strict=True)
        ]
        return np.array(lengths, np.float64)

    def state(self, n_slots: int) -> Arrays:
        """Return copies of all arrays."""
        return {**super().state(n_slots), "pairs": self._pairs.copy()}

    def texts(self) -> list[list[str]]:
        """Return the values of each influencer field, then the texts kept."""
        return [*super().texts(), list(self._texts)]

    def load(self, arrays: Arrays, texts: list[list[str]]) -> None:
        """Take over what ``state`` and ``texts`` returned."""
        super().load(arrays, texts[:-1])
        self._texts = list(texts[-1])
        self._place_of = {text: place for place, text in enumerate(self._texts)}
        self._n_bytes = sum(len(text.encode("utf-8", "surrogatepass")) for text in self._texts)
        self._pairs = arrays["pairs"].astype(np.int64)
        self._sorted = np.sort(self._pairs)


class TimeAccumulator(Accumulator):
    """Mean times of the records, from sums of distances to the first of the bucket, which cancel little."""

    INITIAL = (0.0, 0.0, 0.0)  # count, first time, sum of distances

    def add(self, records: Measured) -> None:
        """Add records in order."""
        slots, x = records.slots, _values(records)
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
        slots, latitudes, longitudes = records.slots, _values(records), records.longitudes
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


def _values(records: Measured) -> Floats:
    assert records.x is not None, "a function of numbers needs values"
    return records.x


def _weighted(records: Measured) -> Floats:
    x = _values(records)
    return x if records.weights is None else x * records.weights


def _deflated_length(text: str) -> int:
    deflater = zlib.compressobj(DEFLATE_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return len(deflater.compress(text.encode("utf-8", "surrogatepass"))) + len(deflater.flush())
