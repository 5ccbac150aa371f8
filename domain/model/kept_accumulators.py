"""Accumulators of what is no running number: they keep distinct texts, or all values, until the bucket closes.

Each has a bound beyond which later records of the bucket are ignored.
"""

import zlib
from typing import Any, Final

import numpy as np

from domain.model.accumulator import Accumulator, Hashes, Measured, values_of
from domain.model.arrays import Arrays, Floats, Ints, Selection
from domain.model.influences import Apart

MEDIAN_VALUES_MAX = 4_000_000
"""Values kept for the medians of one detector and bucket; later ones of the bucket are ignored. Chosen: 64 MB."""

CONTENT_BYTES_MAX = 16_000_000
CONTENT_PAIRS_MAX = 1_000_000
"""Bytes of distinct texts, and pairs of series and text, kept for the information content of one detector and bucket;
later ones of the bucket are ignored. Chosen: 24 MB."""
DEFLATE_LEVEL: Final = 6
"""The usual one; part of what is measured."""


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

    def load(self, arrays: Arrays, texts: list[Any]) -> None:
        """Take over what ``state`` and ``texts`` returned."""
        super().load(arrays, texts)
        self.keys = arrays["keys"].astype(np.uint64)

    def apart(self, name: str, slots: Ints, parts: Accumulator, pairs: Ints) -> Apart:
        """Return the numbers of distinct texts of the parts alone."""
        return Apart.alone(parts.rows[1, pairs])


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
        slots, x = records.slots[:room], values_of(records)[:room]
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

    def load(self, arrays: Arrays, texts: list[Any]) -> None:
        """Take over what ``state`` and ``texts`` returned."""
        super().load(arrays, texts)
        self._parts = [(arrays["slots"].astype(np.int64), arrays["x"].astype(np.float64))]
        self._n_kept = self._parts[0][0].size

    def apart(self, name: str, slots: Ints, parts: Accumulator, pairs: Ints) -> Apart:
        """Return the medians of all other records."""
        assert isinstance(parts, MedianAccumulator)
        every, own = self._runs(slots), parts._runs(pairs)
        medians = np.array([_median(_without(a, b)) for a, b in zip(every, own, strict=True)], np.float64)
        return Apart.rest(medians, self.share_left(slots, parts, pairs))

    def _runs(self, slots: Ints) -> list[Floats]:
        """Return the values of some slots, ascending."""
        of_slots, x = self._kept()
        order = np.lexsort((x, of_slots))
        of_slots, x = of_slots[order], x[order]
        starts = np.searchsorted(of_slots, slots, "left").tolist()
        stops = np.searchsorted(of_slots, slots, "right").tolist()
        return [x[start:stop] for start, stop in zip(starts, stops, strict=True)]


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

    def texts(self) -> list[Any]:
        """Return the values of each influencer field, then the texts kept."""
        return [*super().texts(), list(self._texts)]

    def load(self, arrays: Arrays, texts: list[Any]) -> None:
        """Take over what ``state`` and ``texts`` returned."""
        super().load(arrays, texts[:-1])
        self._texts = list(texts[-1])
        self._place_of = {text: place for place, text in enumerate(self._texts)}
        self._n_bytes = sum(len(text.encode("utf-8", "surrogatepass")) for text in self._texts)
        self._pairs = arrays["pairs"].astype(np.int64)
        self._sorted = np.sort(self._pairs)

    def apart(self, name: str, slots: Ints, parts: Accumulator, pairs: Ints) -> Apart:
        """Return the information contents of the parts alone."""
        order = np.argsort(pairs, kind="stable")
        lengths = np.empty(pairs.size)
        lengths[order] = parts.value(name, pairs[order])
        return Apart.alone(lengths)


def _without(values: Floats, part: Floats) -> Floats:
    """Return ascending values less some of them, each as often as it is there.

    >>> _without(np.array([1.0, 2.0, 2.0, 3.0]), np.array([2.0, 3.0])).tolist()
    [1.0, 2.0]
    """
    nth = np.arange(part.size) - np.searchsorted(part, part, "left")
    kept = np.ones(values.size, np.bool_)
    at = np.searchsorted(values, part, "left") + nth
    kept[at[at < values.size]] = False
    return values[kept]


def _median(values: Floats) -> float:
    if values.size == 0:
        return 0.0
    last = values.size - 1
    return float(values[last // 2] * 0.5 + values[(last + 1) // 2] * 0.5)


def _deflated_length(text: str) -> int:
    deflater = zlib.compressobj(DEFLATE_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return len(deflater.compress(text.encode("utf-8", "surrogatepass"))) + len(deflater.flush())
