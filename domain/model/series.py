"""The series of one detector: which by and partition values there are, and in which slot the state of each lies.

Slots are handed out in the order in which series first appear in the records, or taken over from series that were
pruned, oldest free slot first. The number of a slot never enters a result.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from domain.model.arrays import Arrays, Bools, Ints, Selection, capacity_for, grown

Name = tuple[str, ...]
"""One value per term field of the detector (partition first, then by); empty for a detector without any."""

NAME_BYTES = 120
FIELD_BYTES = 8
TEXT_BYTES = 49
SHARED_TEXT_BYTES = 100
"""What the entry of a series in tables and lists costs beside its texts, and more of it per field beyond the first; the
head of a text; and what it costs to know that names of several fields share it. Measured by tracemalloc over
powers of two of names; while tables grow it is up to a quarter more."""

FREE = np.iinfo(np.int64).min
"""``last_seen`` of a slot without a series."""


class SeriesTable:
    """Names to slots.

    Attributes
    ----------
    fields : tuple of str
        The term fields that tell series apart.
    names : list of (tuple of str or None)
        Per slot; None where the series was pruned.
    last_seen : ndarray of shape (capacity,), dtype=int64
        Start of the latest bucket (epoch seconds) with records of the series; until one is closed, of the first.
    is_known : ndarray of shape (capacity,), dtype=bool
        Whether a bucket with records of the series has closed.
    name_bytes : int
        What names and their texts take; a text that several names share is there once.
    generation : int
        Grows when slots change their meaning, so that tables of slots made earlier are to be made anew.
    """

    def __init__(self, fields: tuple[str, ...], *, owns_texts: bool = True) -> None:
        """``owns_texts``: the texts of the names are nobody else's."""
        self.fields = fields
        self._owns_texts = owns_texts
        self._uses: dict[str, int] = {}
        """Names that a text is in, where names have several fields."""
        self.names: list[Name | None] = []
        self.slot_of: dict[Name, int] = {}
        self.free: list[int] = []
        self.name_bytes = 0
        self.generation = 0
        self.last_seen: Ints = np.full(capacity_for(0), FREE, np.int64)
        self.is_known: Bools = np.zeros(capacity_for(0), np.bool_)

    @property
    def n_slots(self) -> int:
        """Slots handed out so far, free ones too."""
        return len(self.names)

    @property
    def n_series(self) -> int:
        """Series alive."""
        return len(self.slot_of)

    def n_with(self, text: str) -> int:
        """Return how many series alive have a text in their names, given that one has."""
        return self._uses.get(text, 1)

    def cost_of(self, name: Name) -> int:
        """Return the bytes that a name takes, with those of its texts that are not there yet."""
        cost = NAME_BYTES + FIELD_BYTES * max(len(name) - 1, 0)
        if self._owns_texts:
            cost += sum(self._cost_of_text(text) for text in dict.fromkeys(name) if text not in self._uses)
        return cost

    def _cost_of_text(self, text: str) -> int:
        n_bytes = TEXT_BYTES + len(text.encode("utf-8", "surrogatepass"))
        return n_bytes + SHARED_TEXT_BYTES if len(self.fields) > 1 else n_bytes

    def _take(self, name: Name) -> Name:
        """Book a name; return it with texts shared with other names."""
        self.name_bytes += self.cost_of(name)
        if not self._owns_texts or len(self.fields) < 2:
            return name
        for text in dict.fromkeys(name):
            self._uses[text] = self._uses.get(text, 0) + 1
        return tuple(map(sys.intern, name))

    def _drop(self, name: Name) -> None:
        """Book a name out."""
        for text in dict.fromkeys(name) if self._uses else ():
            self._uses[text] -= 1
            if not self._uses[text]:
                del self._uses[text]
        self.name_bytes -= self.cost_of(name)

    def create(self, name: Name, bucket_start: int) -> int:
        """Give a new series a slot.

        Parameters
        ----------
        name : tuple of str
        bucket_start : int
            Start of the bucket of its first record, epoch seconds.
        """
        name = self._take(name)
        if self.free:
            slot = self.free.pop(0)
            self.names[slot] = name
        else:
            slot = len(self.names)
            self.names.append(name)
            if slot >= self.last_seen.size:
                self.last_seen = grown(self.last_seen, capacity_for(slot + 1))
                self.is_known = grown(self.is_known, capacity_for(slot + 1))
        self.slot_of[name] = slot
        self.last_seen[slot] = bucket_start
        return slot

    def see(self, present: Ints, bucket_start: int) -> None:
        """Note that a bucket with records of these slots closes."""
        self.last_seen[present] = bucket_start
        self.is_known[present] = True

    def known(self) -> Selection:
        """Return the slots whose series had records in a closed bucket; a slice if these are all."""
        known = self.is_known[: self.n_slots]
        return slice(0, self.n_slots) if known.all() else np.flatnonzero(known)

    def prune(self, before: int, forget: Callable[[Ints], None]) -> int:
        """Drop the series that were last seen before a time, and return how many.

        Parameters
        ----------
        before : int
            Epoch seconds.
        forget : callable
            Clears the other state of the slots it is given.
        """
        last_seen = self.last_seen[: self.n_slots]
        silent = np.flatnonzero((last_seen < before) & (last_seen != FREE))
        if silent.size:
            for slot in silent.tolist():
                name = self.names[slot]
                assert name is not None
                self._drop(name)
                del self.slot_of[name]
                self.names[slot] = None
                self.free.append(slot)
            self.last_seen[silent] = FREE
            self.is_known[silent] = False
            forget(silent)
            self.generation += 1
        return int(silent.size)

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Return copies of the arrays, and the names: one list per field, with empty texts in free slots."""
        n = self.n_slots
        columns = [[name[i] if name else "" for name in self.names] for i in range(len(self.fields))]
        arrays: Arrays = {"last_seen": self.last_seen[:n].copy(), "is_known": self.is_known[:n].copy()}
        return arrays, {"n_slots": n, "names": columns, "free": list(self.free)}

    def load(self, arrays: Arrays, meta: dict[str, Any]) -> None:
        """Take over what ``state`` returned."""
        n, columns = meta["n_slots"], meta["names"]
        self.free = list(meta["free"])
        names: list[Name | None] = list(zip(*columns, strict=True)) if columns else [()] * n
        for slot in self.free:
            names[slot] = None
        self.name_bytes = 0
        self._uses.clear()
        self.names = [None if name is None else self._take(name) for name in names]
        self.slot_of = {name: slot for slot, name in enumerate(self.names) if name is not None}
        capacity = capacity_for(n)
        self.last_seen = np.full(capacity, FREE, np.int64)
        self.last_seen[:n] = arrays["last_seen"]
        self.is_known = np.zeros(capacity, np.bool_)
        self.is_known[:n] = arrays["is_known"]
        self.generation += 1
