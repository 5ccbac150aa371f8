"""Influences: which values of the other influencer fields stand behind a series in an open bucket.

Fields that tell the series of a detector apart explain its records by themselves. Of every other influencer field the
events are counted per series and value, and a value with at least half of them is said to explain the series.
"""

from typing import Final

import numpy as np

from domain.model.arrays import Arrays, Floats, Ints

SHARE_MIN: Final = 0.5
"""Share of a series' events that a value must have to explain it. Chosen: at most two values can."""
_SHIFT: Final = 32
_VALUE_MASK: Final = (1 << _SHIFT) - 1


class FieldInfluence:
    """Events per series and value of one field, in one bucket.

    Attributes
    ----------
    keys : ndarray of shape (k,), dtype=int64
        Pairs of slot (upper half) and place in ``texts`` (lower half), ascending.
    counts : ndarray of shape (k,), dtype=int64
    texts : list of str
        Values in order of first appearance in the bucket.
    """

    def __init__(self) -> None:
        self.keys: Ints = np.empty(0, np.int64)
        self.counts: Ints = np.empty(0, np.int64)
        self.texts: list[str] = []
        self._place_of: dict[str, int] = {}

    def add(self, slots: Ints, codes: Ints, texts: list[str], weights: Floats | None) -> None:
        """Add records in order.

        Parameters
        ----------
        slots : ndarray of shape (n,)
        codes : ndarray of shape (n,)
            Place of each record's value in ``texts``; -1: it has none.
        """
        has_value = codes >= 0
        if not has_value.all():
            slots, codes = slots[has_value], codes[has_value]
            weights = None if weights is None else weights[has_value]
        pairs = (slots << _SHIFT) | self._places(codes, texts)
        keys, inverse = np.unique(pairs, return_inverse=True)
        counts = np.zeros(keys.size, np.int64)
        np.add.at(counts, inverse, 1 if weights is None else weights.astype(np.int64))
        place: Ints = np.asarray(np.searchsorted(self.keys, keys))
        known = place < self.keys.size
        known[known] = self.keys[place[known]] == keys[known]
        self.counts[place[known]] += counts[known]
        self.keys = np.insert(self.keys, place[~known], keys[~known])
        self.counts = np.insert(self.counts, place[~known], counts[~known])

    def _places(self, codes: Ints, texts: list[str]) -> Ints:
        """Translate the batch's codes into places in the bucket's texts, new ones in order of appearance."""
        found, first = np.unique(codes, return_index=True)
        translated = np.empty(int(found[-1]) + 1 if found.size else 0, np.int64)
        for code in found[np.argsort(first, kind="stable")].tolist():
            text = texts[code]
            place = self._place_of.get(text)
            if place is None:
                place = self._place_of[text] = len(self.texts)
                self.texts.append(text)
            translated[code] = place
        places: Ints = translated[codes]
        return places

    def explain(self, slot: int, n_events: float) -> list[str]:
        """Return the values that explain a series, the most frequent first.

        Parameters
        ----------
        n_events : float
            All events of the series in the bucket, those without a value too.
        """
        start, stop = np.searchsorted(self.keys, [slot << _SHIFT, (slot + 1) << _SHIFT]).tolist()
        counts = self.counts[start:stop]
        enough = (counts >= SHARE_MIN * n_events).nonzero()[0].tolist()
        found = [(-int(counts[k]), self.texts[int(self.keys[start + k]) & _VALUE_MASK]) for k in enough]
        return [text for _, text in sorted(found)]

    def state(self) -> Arrays:
        """Return copies of the arrays; the texts go beside them."""
        return {"keys": self.keys.copy(), "counts": self.counts.copy()}

    def load(self, arrays: Arrays, texts: list[str]) -> None:
        """Take over what ``state`` returned, and the texts."""
        self.keys, self.counts = arrays["keys"].astype(np.int64), arrays["counts"].astype(np.int64)
        self.texts = list(texts)
        self._place_of = {text: place for place, text in enumerate(self.texts)}
