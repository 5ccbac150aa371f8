"""Influences: how far values of the other influencer fields explain what is unusual of a series in an open bucket.

Fields that tell the series of a detector apart explain its records by themselves. Of every other influencer field each
open bucket keeps, per series and value, what it keeps per series: so when it closes the bucket's value can be told
without the records of one influencer value, or from these alone, and be judged again. Their share of the logarithm of
the probability is the influence, from 0 to 1 (as in the reference, whose cutoff is 0.4).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from domain.config.functions import Side
from domain.model.arrays import Arrays, Bools, Floats, Ints

if TYPE_CHECKING:
    from domain.model.accumulator import Accumulator, Measured

CUTOFF: Final = 0.4
"""Influence below which a value explains nothing: the reference's."""
SHOWN_MAX: Final = 50
"""Values of a field that a record names. Chosen: nobody reads more."""
PAIRS_MAX: Final = 1_000_000
"""Pairs of series and value of a field that a detector keeps in an open bucket; later ones are ignored. Chosen: some 30
MB."""
JUDGED_MAX: Final = 500
"""Values of a field that are judged again per record, those with most events. Chosen: values with fewer can hardly
explain it, and a bucket may hold hundreds of thousands."""
UNUSUAL_EXPONENT: Final = 3.0
"""``-ln 0.05``: where the bucket's own value is more usual than that, what is unusual shows over several buckets, and
influence is the share of the events."""
_SHIFT: Final = 32
_VALUE_MASK: Final = (1 << _SHIFT) - 1

Reconsider = Callable[[Ints, Floats, Floats, Side], Floats]
"""Minus the logs of the probabilities that series (slots) would have had with other values, in a direction, their usual
distance widened by a factor each."""


@dataclass(frozen=True, slots=True)
class Apart:
    """The bucket's value of series without some of their records, or of these alone.

    Attributes
    ----------
    x : ndarray of shape (n,)
    widen : ndarray of shape (n,)
        How many times farther than usual it may lie from what was expected, as there are fewer records behind it.
    is_rest : bool
        Whether it is the value of all other records.
    """

    x: Floats
    widen: Floats
    is_rest: bool

    @classmethod
    def rest(cls, x: Floats, share: Floats | None = None) -> "Apart":
        """Of all other records, of which there is this share."""
        return cls(x, np.ones(x.shape) if share is None else 1.0 / np.sqrt(share), True)

    @classmethod
    def alone(cls, x: Floats) -> "Apart":
        """Of these records alone."""
        return cls(x, np.ones(x.shape), False)


class FieldInfluence:
    """What an open bucket keeps per series and value of one field.

    Attributes
    ----------
    keys : ndarray of shape (k,), dtype=int64
        Pairs of slot (upper half) and place in ``texts`` (lower half), in order of first appearance.
    parts : Accumulator
        Per pair, by its place among the keys.
    texts : list of str
        Values in order of first appearance in the bucket.
    """

    def __init__(self, parts: "Accumulator") -> None:
        self.parts = parts
        self.keys: Ints = np.empty(0, np.int64)
        self.texts: list[str] = []
        self._place_of: dict[str, int] = {}
        self._order: Ints = np.empty(0, np.int64)
        """The keys' places, ascending by key."""
        self._sorted = self.keys

    def add(self, records: "Measured", codes: Ints, texts: list[str]) -> None:
        """Add records in order.

        Parameters
        ----------
        codes : ndarray of shape (n,)
            Place of each record's value in ``texts``; -1: it has none.
        """
        has_value = codes >= 0
        if not has_value.all():
            records, codes = records.only(has_value), codes[has_value]
        if codes.size == 0:
            return
        pairs = (records.slots << _SHIFT) | self._places(codes, texts)
        found, first, inverse = np.unique(pairs, return_index=True, return_inverse=True)
        at: Ints = np.asarray(np.searchsorted(self._sorted, found))
        known: Bools = at < self.keys.size
        known[known] = self._sorted[at[known]] == found[known]
        places = np.empty(found.size, np.int64)
        places[known] = self._order[at[known]]
        new = (~known).nonzero()[0]
        if new.size:
            places[new] = -1
            new = new[np.argsort(first[new], kind="stable")][: PAIRS_MAX - self.keys.size]
            places[new] = self.keys.size + np.arange(new.size)
            self.keys = np.concatenate([self.keys, found[new]])
            self._sort()
            self.parts.reserve(self.keys.size)
        own = places[inverse]
        if new.size < found.size - np.count_nonzero(known):
            records, own = records.only(own >= 0), own[own >= 0]
        self.parts.add(records.moved(own))

    def _sort(self) -> None:
        self._order = np.argsort(self.keys, kind="stable")
        self._sorted = self.keys[self._order]

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

    def pairs_of(self, slots: Ints) -> tuple[Ints, Ints]:
        """Return whose they are, by place among the slots, and the places of the pairs with most events of each."""
        starts = np.searchsorted(self._sorted, slots << _SHIFT)
        sizes = np.searchsorted(self._sorted, (slots + 1) << _SHIFT) - starts
        which = np.repeat(np.arange(slots.size), sizes)
        within = np.arange(which.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        pairs = self._order[starts[which] + within]
        order = np.lexsort((pairs, -self.parts.rows[0, pairs], which))
        kept = order[within < JUDGED_MAX]
        return which[kept], pairs[kept]

    def n_series(self) -> dict[str, int]:
        """Return in how many series each value was seen."""
        counts = np.bincount(self.keys & _VALUE_MASK, minlength=len(self.texts))
        return dict(zip(self.texts, counts.tolist(), strict=True))

    def text_of(self, pair: int) -> str:
        """Return the value of a pair."""
        return self.texts[int(self.keys[pair]) & _VALUE_MASK]

    def state(self) -> Arrays:
        """Return copies of the arrays; the texts go beside them."""
        parts = self.parts.state(self.keys.size)
        return {"keys": self.keys.copy(), **{f"parts.{key}": array for key, array in parts.items()}}

    def texts_state(self) -> list[Any]:
        """Return the part of the state that is no array."""
        return [list(self.texts), self.parts.texts()]

    def load(self, arrays: Arrays, texts: Sequence[Any]) -> None:
        """Take over what ``state`` and ``texts_state`` returned."""
        self.keys = arrays["keys"].astype(np.int64)
        self._sort()
        self.texts = list(texts[0])
        self._place_of = {text: place for place, text in enumerate(self.texts)}
        own = {key.removeprefix("parts."): arrays[key] for key in arrays if key.startswith("parts.")}
        self.parts.load(own, texts[1])


Explained = list[tuple[str, float]]
"""Values of a field and their influences, the strongest first."""


def explain(
    accumulator: "Accumulator",
    place: int,
    name: str,
    found: tuple[Ints, Floats, Floats],
    reconsider: Reconsider | None,
) -> list[Explained]:
    """Return which values of a field explain series, one list for each.

    Parameters
    ----------
    place : int
        Of the field among the accumulator's.
    name : str
        Of the feature.
    found : tuple of ndarray of shape (k,)
        Slots, actual and typical values.
    reconsider : callable or None
        None: what is unusual is no number that records add to; all values seen explain it.
    """
    field, (slots, actual, typical) = accumulator.influences[place], found
    which, pairs = field.pairs_of(slots)
    share = field.parts.rows[0, pairs] / np.maximum(accumulator.rows[0, slots], 1.0)[which]
    influence = np.ones(pairs.size)
    asked = (share < 1.0).nonzero()[0]  # the only value there is explains all
    if reconsider is not None and asked.size:
        apart = accumulator.apart(name, slots[which[asked]], field.parts, pairs[asked])
        is_high = actual > typical
        sides: tuple[tuple[Side, Bools], ...] = (("high", is_high), ("low", ~is_high))
        for side, is_side in sides:
            of_all = reconsider(slots, actual, np.ones(slots.size), side)
            own = is_side[which[asked]].nonzero()[0]
            at = asked[own]
            of_part = reconsider(slots[which[at]], apart.x[own], apart.widen[own], side)
            ratio = of_part / np.maximum(of_all[which[at]], 1e-9)
            ratio = 1.0 - ratio if apart.is_rest else ratio
            is_here = of_all[which[at]] >= UNUSUAL_EXPONENT
            influence[at] = np.where(is_here, np.minimum(np.maximum(ratio, 0.0), 1.0), share[at])
    return _strongest(field, slots.size, which, (pairs, influence))


def _strongest(field: FieldInfluence, n: int, which: Ints, found: tuple[Ints, Floats]) -> list[Explained]:
    pairs, influence = found
    enough = (influence >= CUTOFF).nonzero()[0]
    counts = field.parts.rows[0, pairs]
    rows = sorted((which[k], -influence[k], -counts[k], field.text_of(pairs[k])) for k in enough.tolist())
    explained: list[Explained] = [[] for _ in range(n)]
    for k, strength, _, text in rows:
        if len(explained[k]) < SHOWN_MAX:
            explained[k].append((text, -float(strength)))
    return explained
