"""Groups of series: those that share the values of some fields, such as all members of a population at one attribute.

A group lives as long as any series of it does.
"""

from typing import Any, Final

import numpy as np

from domain.model.arrays import Arrays, Ints, capacity_for, grown
from domain.model.series import FREE, Name, SeriesTable

GROUP_OF_SLOT_BYTES: Final = 8


class Groups:
    """Which group each series is in.

    Attributes
    ----------
    table : SeriesTable
        The groups, each with a slot of its own.
    of_slot : ndarray of shape (capacity,), dtype=int64
        Slot of the group per slot of the series.
    """

    def __init__(self, fields: tuple[str, ...], grouping: tuple[str, ...]) -> None:
        self._places = [fields.index(name) for name in grouping]
        self.table = SeriesTable(grouping, owns_texts=False)  # they are those of the series
        self.of_slot: Ints = np.zeros(capacity_for(0), np.int64)

    @property
    def n_slots(self) -> int:
        """Slots handed out to groups so far."""
        return self.table.n_slots

    def name_of(self, name: Name) -> Name:
        """Return the name of the group of a series."""
        return tuple(name[place] for place in self._places)

    def cost_of(self, name: Name) -> int:
        """Return the bytes that the name of a series' group takes."""
        return self.table.cost_of(self.name_of(name))

    def is_new(self, name: Name) -> bool:
        """Tell whether the group of a series does not exist yet."""
        return self.name_of(name) not in self.table.slot_of

    def put(self, slot: int, name: Name, bucket_start: int) -> None:
        """Put a new series into its group."""
        group_name = self.name_of(name)
        group = self.table.slot_of.get(group_name)
        if group is None:
            group = self.table.create(group_name, bucket_start)
        # A group is never older than its youngest series, so that it is not pruned before it.
        self.table.last_seen[group] = max(int(self.table.last_seen[group]), bucket_start)
        if slot >= self.of_slot.size:
            self.of_slot = grown(self.of_slot, capacity_for(slot + 1))
        self.of_slot[slot] = group

    def see(self, slots: Ints, bucket_start: int) -> None:
        """Note that a bucket with records of these series closes."""
        np.maximum.at(self.table.last_seen, self.of_slot[slots], bucket_start)

    def live(self) -> Ints:
        """Return the slots of all groups alive, ascending."""
        return np.flatnonzero(self.table.last_seen[: self.table.n_slots] != FREE)

    def state(self, n_slots: int) -> tuple[Arrays, dict[str, Any]]:
        """Return copies of the arrays, and the rest."""
        arrays, meta = self.table.state()
        return {**arrays, "of_slot": self.of_slot[:n_slots].copy()}, meta

    def load(self, arrays: Arrays, meta: dict[str, Any]) -> None:
        """Take over what ``state`` returned."""
        self.table.load(arrays, meta)
        of_slot = arrays["of_slot"]
        self.of_slot = np.zeros(capacity_for(of_slot.size), np.int64)
        self.of_slot[: of_slot.size] = of_slot
