"""Finds the categories that a message could belong to, without looking at the others.

Two tokens that bind sentences are never exchanged, so categories are kept by their skeleton. Among those of one
skeleton, each difference costs at least half of the weight that it takes from the category; a category that may lose
at most `weight_lost_max` is therefore found by any set of its constants that weighs more than that, and is kept under
the rarest such set. What is found never depends on which set that is, only how fast.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from domain.categories.alignment import Slot, kind, skeleton
from domain.categories.vocabulary import HARD, WEIGHTS

_Key = tuple[tuple[str, ...], str | None]
"""A skeleton and one of the other constants; None for categories that no constant is sure to find."""


class Index:
    """Category ids by what their messages must have."""

    def __init__(self) -> None:
        self._postings: defaultdict[_Key, dict[int, None]] = defaultdict(dict)
        self._keys_of: dict[int, list[_Key]] = {}

    def put(self, category_id: int, slots: Sequence[Slot], weight_lost_max: int) -> None:
        """Add a category, or put it where its changed slots belong."""
        for key in self._keys_of.pop(category_id, ()):
            del self._postings[key][category_id]
        keys = self._keys(slots, weight_lost_max)
        for key in keys:
            self._postings[key][category_id] = None
        self._keys_of[category_id] = keys

    def candidates(self, tokens: Iterable[str], bones: tuple[str, ...]) -> list[int]:
        """Return ids of all categories that a message may be close enough to, and of some others, ascending."""
        found: dict[int, None] = {}
        for token in (None, *dict.fromkeys(tokens)):
            posted = self._postings.get((bones, token))
            if posted:
                found.update(posted)
        return sorted(found)

    def _keys(self, slots: Sequence[Slot], weight_lost_max: int) -> list[_Key]:
        bones = skeleton(slots)
        constants = dict.fromkeys(slot for slot in slots if slot is not None and kind(slot) != HARD)
        keys: list[_Key] = [(bones, token) for token in constants]
        keys.sort(key=lambda key: len(self._postings.get(key, ())))
        left = weight_lost_max
        for count, (_, token) in enumerate(keys, 1):
            assert token is not None
            left -= WEIGHTS[kind(token)] * slots.count(token)
            if left < 0:
                return keys[:count]
        return [(bones, None)]
