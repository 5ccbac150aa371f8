"""The detector model of populations: members are judged against all others at the same attribute, not their own past.

An attribute is a by value (or everything) within a partition; a member is an over value. Of a member no more is kept
than its name, in how many buckets it was active, and what its records came to in open buckets.
"""

from typing import Any

import numpy as np

from domain.config.detector import Detector
from domain.model.accumulators import Accumulator
from domain.model.arrays import CAPACITY_MIN, Arrays, Floats, Ints, capacity_for, grown
from domain.model.causes import causes_of
from domain.model.detector_model import DetectorModel, under
from domain.model.findings import Findings
from domain.model.functions import Feature
from domain.model.groups import GROUP_OF_SLOT_BYTES, Groups
from domain.model.plot import ModelPlot, plot_of
from domain.model.population import PopulationFeature
from domain.model.population_scattered import PopulationPlaces, PopulationTimes
from domain.model.series import Name

TIMES_ACTIVE, N_MEMBERS = range(2)


class PopulationModel(DetectorModel):
    """Everything learnt for one detector with an over field.

    Attributes
    ----------
    populations : list of PopulationFeature, PopulationTimes or PopulationPlaces
    active : ndarray of shape (capacity,), dtype=float64
        Per member and attribute: buckets with records; whole numbers.
    totals : ndarray of shape (2, attribute capacity), dtype=float64
        Per attribute: the sum of these, and how many members there are.
    """

    def __init__(
        self, detector: Detector, influencers: tuple[str, ...], bucket_span_seconds: int, n_open_max: int
    ) -> None:
        super().__init__(detector, influencers, bucket_span_seconds, n_open_max)
        fields = self.series.fields
        self.groups["attributes"] = Groups(fields, tuple(n for n in fields if n != detector.over_field_name))
        self.groups["members"] = Groups(fields, tuple(n for n in fields if n != detector.by_field_name))
        self.populations = [self._population(feature, bucket_span_seconds) for feature in self.traits.features]
        of_attribute = sum(feature.bytes_per_attribute for feature in self.populations)
        self.group_bytes = {"attributes": of_attribute + 16, "members": 8}
        self.bytes_per_series = self.open_bytes + 8 + 2 * GROUP_OF_SLOT_BYTES
        self.empty_bytes = CAPACITY_MIN * of_attribute  # attributes may be few, and their tables are never smaller
        self.features = []
        self.active: Floats = np.zeros(capacity_for(0))
        self.totals: Floats = np.zeros((2, capacity_for(0)))

    def _population(
        self, feature: Feature, bucket_span_seconds: int
    ) -> PopulationFeature | PopulationTimes | PopulationPlaces:
        if self.traits.model == "times":
            return PopulationTimes(feature)
        if self.traits.model == "places":
            return PopulationPlaces(feature)
        return PopulationFeature(feature, self.detector.side, bucket_span_seconds)

    def find(
        self, accumulator: Accumulator | None, bucket_start: int, bucket_span: int, *, is_interim: bool
    ) -> list[Findings]:
        """Judge a bucket; unless it is interim, learn from it."""
        n_slots = self.series.n_slots
        if n_slots == 0:
            return []
        self.reserve()
        if self.activity.is_wanted and accumulator is None and not is_interim:
            self.activity.learn(None, self.groups, n_slots)
        if accumulator is None:
            return []
        accumulator.reserve(n_slots)
        present = accumulator.present()
        if present.size == 0:
            return []
        weights = self.weights_of(present)
        middle = bucket_start + 0.5 * bucket_span
        findings = [
            self._find_members(index, accumulator, present, weights, middle, is_interim=is_interim)
            for index in range(len(self.populations))
        ]
        if not is_interim:
            self._note(present)
            if self.activity.is_wanted:
                self.activity.learn(accumulator, self.groups, n_slots)
        return findings

    def _find_members(
        self, index: int, accumulator: Accumulator, present: Ints, weights: Floats, middle: float, *, is_interim: bool
    ) -> Findings:
        model = self.populations[index]
        attribute_of = self.groups["attributes"].of_slot
        x = accumulator.value(model.feature.description, present)
        found, reconsider = model.find(
            present, attribute_of[present], x, weights, middle, hold=self.held, is_interim=is_interim
        )
        found = self.heard(self.without_frequent(found), middle)
        member_of = self.groups["members"].of_slot
        causes = causes_of(found, member_of[found.slots], self.series)
        n_attributes = np.zeros(self.groups["members"].n_slots, np.int64)
        np.add.at(n_attributes, member_of[present], 1)
        first = causes.slots[causes.first]
        members = causes.candidates(causes.of_least(n_attributes[member_of[first]]), found.n_judged)
        peak_slots = attribute_of[first]
        return self.score(
            index,
            members,
            accumulator,
            model.peaks,
            middle,
            is_interim=is_interim,
            peak_slots=peak_slots,
            causes=causes,
            reconsider=reconsider,
        )

    def plot(self, accumulator: Accumulator | None, middle: float) -> list[ModelPlot]:
        """Return the bounds of the attributes, if they are asked for, whether any member is there or not."""
        attributes = self.groups["attributes"].table
        if self.plotting is None or attributes.n_slots == 0:
            return []
        self.reserve()
        slots = self.plotting.slots(attributes)
        return [
            plot_of(
                self.detector,
                model.feature.description,
                attributes,
                slots,
                bounds=model.bounds(slots, middle),
                actual=None,
            )
            for model in self.populations
            if isinstance(model, PopulationFeature)
        ]

    def peak_name(self, slot: int) -> Name:
        """Return the values that name what a member shares its peak with: the attribute."""
        attributes = self.groups["attributes"]
        name = attributes.table.names[int(attributes.of_slot[slot])]
        assert name is not None, "only series alive are judged"
        return name

    def weights_of(self, present: Ints) -> Floats:
        """Return for how much each member counts: one active far more often than most counts for less."""
        attributes = self.groups["attributes"].of_slot[present]
        times, members = self.totals[:, attributes]
        weights: Floats = np.minimum((times + 1.0) / (members + 1.0) / (self.active[present] + 1.0), 1.0)
        return weights

    def _note(self, present: Ints) -> None:
        attributes = self.groups["attributes"].of_slot[present]
        np.add.at(self.totals[TIMES_ACTIVE], attributes, 1.0)
        np.add.at(self.totals[N_MEMBERS], attributes, (self.active[present] == 0.0) * 1.0)
        self.active[present] += 1.0

    def reserve(self) -> None:
        """Make room for all members and attributes."""
        n_attributes = self.groups["attributes"].n_slots
        if self.series.n_slots > self.active.size:
            self.active = grown(self.active, capacity_for(self.series.n_slots))
        if n_attributes > self.totals.shape[1]:
            self.totals = grown(self.totals, capacity_for(n_attributes))
        for feature in self.populations:
            feature.reserve(n_attributes)

    def _forget(self, slots: Ints) -> None:
        super()._forget(slots)
        self.reserve()
        attributes = self.groups["attributes"].of_slot[slots]
        np.subtract.at(self.totals[TIMES_ACTIVE], attributes, self.active[slots])
        np.subtract.at(self.totals[N_MEMBERS], attributes, (self.active[slots] > 0.0) * 1.0)
        self.active[slots] = 0.0

    def _forget_groups(self, key: str, slots: Ints) -> None:
        super()._forget_groups(key, slots)
        if key == "attributes":
            self.reserve()
            self.totals[:, slots] = 0.0
            for feature in self.populations:
                feature.forget(slots)

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Return copies of all arrays, and the rest."""
        self.reserve()
        arrays, meta = super().state()
        n_attributes = self.groups["attributes"].n_slots
        arrays["active"] = self.active[: self.series.n_slots].copy()
        arrays["totals"] = self.totals[:, :n_attributes].copy()
        for index, feature in enumerate(self.populations):
            arrays.update({f"p{index}.{key}": array for key, array in feature.state(n_attributes).items()})
        return arrays, meta

    def load(self, arrays: Arrays, meta: dict[str, Any]) -> None:
        """Take over what ``state`` returned."""
        super().load(arrays, meta)
        self.reserve()
        self.active[: self.series.n_slots] = arrays["active"]
        self.totals[:, : self.groups["attributes"].n_slots] = arrays["totals"]
        for index, feature in enumerate(self.populations):
            feature.load(under(arrays, f"p{index}."))
