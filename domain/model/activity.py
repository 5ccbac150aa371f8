"""Activity: in how many buckets by and over values had records, for detectors that leave frequent ones out."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from domain.config.detector import Detector
from domain.model.accumulators import Accumulator
from domain.model.arrays import Arrays, Bools, Ints, capacity_for, grown
from domain.model.groups import Groups

SERIES: Final = "series"
"""Beside the keys of groups: the series themselves."""
FREQUENT_SHARE: Final = 0.1
"""Share of all buckets from which a value is frequent: that of the API's documentation."""


class Activity:
    """Buckets with records per value, as far as ``exclude_frequent`` asks for it.

    Attributes
    ----------
    is_wanted : bool
    n_buckets : int
        Buckets that closed with a result.
    """

    def __init__(self, detector: Detector) -> None:
        wanted = detector.exclude_frequent or "none"
        by = wanted in ("all", "by") and detector.by_field_name is not None
        over = wanted in ("all", "over") and detector.over_field_name is not None
        self._keys = (["attributes"] if by else []) + (["members"] if over else [])
        self.is_wanted = bool(self._keys)
        self.n_buckets = 0
        self._counts: dict[str, Ints] = {key: np.zeros(capacity_for(0), np.int64) for key in self._keys}

    def learn(self, accumulator: Accumulator | None, groups: Mapping[str, Groups], n_slots: int) -> None:
        """Take a bucket in."""
        self.n_buckets += 1
        present = accumulator.present() if accumulator is not None else np.empty(0, np.int64)
        for key in self._keys:
            self._reserve(key, groups[key].n_slots if key in groups else n_slots)
            self._counts[key][_values(present, key, groups)] += 1  # each at most once, however often it is named

    def is_frequent(self, slots: Ints, groups: Mapping[str, Groups]) -> Bools:
        """Tell which series are of a frequent value."""
        frequent = np.zeros(slots.size, np.bool_)
        for key in self._keys:
            values = _values(slots, key, groups)
            self._reserve(key, int(values.max()) + 1 if values.size else 0)
            frequent |= self._counts[key][values] > FREQUENT_SHARE * self.n_buckets
        return frequent

    def forget(self, key: str, slots: Ints, groups: Mapping[str, Groups]) -> None:
        """Clear groups of a kind, or series."""
        for own, counts in self._counts.items():
            if key == (own if own in groups else SERIES):
                counts[slots[slots < counts.size]] = 0

    def _reserve(self, key: str, n_slots: int) -> None:
        if n_slots > self._counts[key].size:
            self._counts[key] = grown(self._counts[key], capacity_for(n_slots))

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Return copies of the arrays, trimmed to what was counted, and the rest."""
        arrays: Arrays = {}
        for key, counts in self._counts.items():
            used = counts.nonzero()[0]
            arrays[key] = counts[: int(used[-1]) + 1 if used.size else 0].copy()
        return arrays, {"n_buckets": self.n_buckets}

    def load(self, arrays: Arrays, meta: dict[str, Any]) -> None:
        """Take over what ``state`` returned."""
        self.n_buckets = meta["n_buckets"]
        for key in self._keys:
            self._reserve(key, arrays[key].size)
            self._counts[key][: arrays[key].size] = arrays[key]


def _values(slots: Ints, key: str, groups: Mapping[str, Groups]) -> Ints:
    """Return the slots of the values of series; where there are no groups, each series is its own value."""
    return groups[key].of_slot[slots] if key in groups else slots
