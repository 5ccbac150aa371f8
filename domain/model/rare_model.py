"""The detector model of ``rare`` and ``freq_rare``: values that hardly ever occur, or only with few members.

Without an over field, a value counts once in every bucket in which it occurs. With one it counts once for every member
that was ever seen with it; a member with several values is as unusual as the rarest of so many (``rare``), or as it is
to do rare things that often (``freq_rare``).
"""

from typing import Any, Final

import numpy as np

from domain.config.detector import Detector
from domain.model.accumulators import Accumulator
from domain.model.arrays import Arrays, Bools, Floats, Ints, capacity_for, grown
from domain.model.candidates import Candidates, without_records
from domain.model.causes import Causes, causes_of
from domain.model.detector_model import DetectorModel, under
from domain.model.findings import Findings
from domain.model.groups import GROUP_OF_SLOT_BYTES, Groups
from domain.model.rarity import N_ROWS, UNIT, Rarity

SCREEN: Final = 0.05
"""Values more probable than that are nothing rare."""
FINE: Final = 1 << 20
"""Parts in which the logarithms of counts are summed, so that their sums are exact in any order."""


class RareModel(DetectorModel):
    """Everything learnt for one detector of rare values.

    Attributes
    ----------
    rarity : Rarity
        Of the values (``attributes``) in the scopes of their partitions.
    peaks : ndarray of shape (2, capacity), dtype=float64
        Per series, its most unusual exponent so far and its time.
    is_counted : ndarray of shape (capacity,), dtype=bool
        With an over field: whether the member counts for the value already.
    """

    def __init__(
        self, detector: Detector, influencers: tuple[str, ...], bucket_span_seconds: int, n_open_max: int
    ) -> None:
        super().__init__(detector, influencers, bucket_span_seconds, n_open_max)
        fields = self.series.fields
        self._has_members = detector.over_field_name is not None
        of_partition = tuple(name for name in fields if name == detector.partition_field_name)
        if self._has_members:
            not_over = tuple(name for name in fields if name != detector.over_field_name)
            not_by = tuple(name for name in fields if name != detector.by_field_name)
            self.groups["attributes"] = Groups(fields, not_over)
            self.groups["members"] = Groups(fields, not_by)
        self.groups["scopes"] = Groups(fields, of_partition)
        self.group_bytes = {"attributes": 8 + GROUP_OF_SLOT_BYTES, "members": 8, "scopes": 8 * N_ROWS}
        self.bytes_per_series = self.open_bytes + 8 + 16 + 1 + GROUP_OF_SLOT_BYTES * (2 if self._has_members else 1)
        self.features = []
        self.rarity = Rarity(bucket_span_seconds, fades=not self._has_members)
        self.peaks: Floats = np.zeros((2, capacity_for(0)))
        self.is_counted: Bools = np.zeros(capacity_for(0), np.bool_)

    def find(
        self, accumulator: Accumulator | None, bucket_start: int, bucket_span: int, *, is_interim: bool
    ) -> list[Findings]:
        """Judge a bucket; unless it is interim, learn from it."""
        if self.series.n_slots == 0:
            return []
        self.reserve()
        present = accumulator.present() if accumulator is not None else np.empty(0, np.int64)
        of_series = self.groups["attributes"].of_slot[present] if self._has_members else present
        values, place = np.unique(of_series, return_inverse=True)
        n_values = self.groups["attributes"].n_slots if self._has_members else self.series.n_slots
        scopes = self.groups["scopes"].of_slot[:n_values]
        probability, first, share = self.rarity.probabilities(values, scopes)
        rare = np.flatnonzero(probability[place] < SCREEN)
        typical = share[place][rare]
        # A member that had the value before surprises nobody by having it again.
        power = np.where(self.is_counted[present[rare]], 1.0, first[place][rare])
        p = np.exp(np.log(probability[place][rare]) * power)
        found = Candidates(present[rare], p, np.ones(rare.size), typical, int(present.size), *without_records(p))
        found, causes = self.without_frequent(found), None
        if self._has_members:
            assert accumulator is not None or found.slots.size == 0
            members = self.groups["members"].of_slot
            causes = causes_of(found, members[found.slots], self.series)
            found = self._members(causes, present, accumulator)
        middle = bucket_start + 0.5 * bucket_span
        if not is_interim:
            held = self.held(lambda **_: (probability, probability), middle)  # rules of values compare the time alone
            if held is None or not held.any():
                self._learn_values(present, values, of_series, scopes)
            if self.activity.is_wanted:
                self.activity.learn(accumulator, self.groups, self.series.n_slots)
        return [self.score(0, found, accumulator, self.peaks, middle, is_interim=is_interim, causes=causes)]

    def _members(self, causes: Causes, present: Ints, accumulator: Accumulator | None) -> Candidates:
        """Return the members with rare values, each as unusual as all its values make it."""
        member_of = self.groups["members"].of_slot
        n_attributes = np.zeros(self.groups["members"].n_slots, np.int64)
        np.add.at(n_attributes, member_of[present], 1)
        n_judged = int(np.count_nonzero(n_attributes))
        members = member_of[causes.slots[causes.first]]
        probability = causes.of_least(n_attributes[members])
        if self.detector.base_function == "freq_rare" and members.size and accumulator is not None:
            often = fine_counts(accumulator.rows[0, present])
            total = np.zeros(n_attributes.size, np.int64)
            np.add.at(total, member_of[present], often)
            own = fine_counts(accumulator.rows[0, causes.slots])
            probability = _of_so_often(causes, own, total[members])
        return causes.candidates(probability, n_judged)

    def _learn_values(self, present: Ints, values: Ints, of_series: Ints, scopes: Ints) -> None:
        if not self._has_members:
            self.rarity.learn(values, np.ones(values.size, np.int64), scopes)
            return
        first_time = ~self.is_counted[present]
        n_new = np.zeros(scopes.size, np.int64)
        np.add.at(n_new, of_series[first_time], 1)
        self.is_counted[present] = True
        self.rarity.learn(values, n_new[values], scopes)

    def reserve(self) -> None:
        """Make room for all series, values and scopes."""
        n = self.series.n_slots
        n_values = self.groups["attributes"].n_slots if self._has_members else n
        self.rarity.reserve(n_values, self.groups["scopes"].n_slots)
        if n > self.peaks.shape[1]:
            self.peaks = grown(self.peaks, capacity_for(n))
            self.is_counted = grown(self.is_counted, capacity_for(n))

    def _forget(self, slots: Ints) -> None:
        super()._forget(slots)
        self.reserve()
        self.peaks[:, slots] = 0.0
        if not self._has_members:
            self.rarity.weights[slots] = 0
            return
        counted = slots[self.is_counted[slots]]
        np.subtract.at(self.rarity.weights, self.groups["attributes"].of_slot[counted], UNIT)
        self.is_counted[slots] = False

    def _forget_groups(self, key: str, slots: Ints) -> None:
        super()._forget_groups(key, slots)
        self.reserve()
        if key == "scopes":
            self.rarity.scopes[:, slots] = 0.0

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Return copies of all arrays, and the rest."""
        self.reserve()
        arrays, meta = super().state()
        n = self.series.n_slots
        arrays["peaks"], arrays["is_counted"] = self.peaks[:, :n].copy(), self.is_counted[:n].copy()
        n_values = self.groups["attributes"].n_slots if self._has_members else n
        for key, array in self.rarity.state(n_values, self.groups["scopes"].n_slots).items():
            arrays[f"rarity.{key}"] = array
        return arrays, meta

    def load(self, arrays: Arrays, meta: dict[str, Any]) -> None:
        """Take over what ``state`` returned."""
        super().load(arrays, meta)
        self.reserve()
        n = self.series.n_slots
        self.peaks[:, :n], self.is_counted[:n] = arrays["peaks"], arrays["is_counted"]
        self.rarity.load(under(arrays, "rarity."))


def fine_counts(counts: Floats) -> Ints:
    """Return for how many independent occurrences events count: ``1 + ln n``, in fine parts.

    Chosen: what a member does a hundred times in a bucket it did not decide to do a hundred times.
    """
    return ((1.0 + np.log(np.maximum(counts, 1.0))) * FINE).astype(np.int64)


def _of_so_often(causes: Causes, often: Ints, total: Ints) -> Floats:
    """Return the probability that a member does things as rare that often, the least over how rare is rare.

    Of n occurrences, m have a probability of at most p with that of a binomial tail; of k such levels the best counts
    k-fold (Bonferroni).

    Parameters
    ----------
    often : ndarray of shape (n,)
        Occurrences of each cause, in fine parts.
    total : ndarray of shape (k,)
        Occurrences of all that each member did.
    """
    from scipy.special import betainc  # late: takes a quarter of a second, and most commands need no model

    n_causes = np.diff(causes.starts)
    sums = np.cumsum(often)
    before = np.concatenate([[0], sums])[causes.first]
    so_often = (sums - np.repeat(before, n_causes)) / FINE
    all_of_it = np.maximum(np.repeat(total, n_causes) / FINE, so_often)
    tail = betainc(so_often, all_of_it - so_often + 1.0, causes.probability)
    least: Floats = np.minimum.reduceat(tail, causes.first) * n_causes
    return least
