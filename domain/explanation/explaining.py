"""Explaining a record: from the model as it was just before the record's bucket closed, part by part.

A `Witness` is hung on a model (``Model.witness``) and copies its detectors when the bucket asked for is about to close;
`explain` judges the record's series again in that copy, as the model did. So the path of a bucket carries nothing for
the sake of explanations, and what is explained is the state of the log and not a note taken beside it.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from domain.explanation.kinds import place_stages, rare_stages, time_stages
from domain.explanation.members import member_stages
from domain.explanation.parts import Evidence, Explanation, Kind, Stage, one
from domain.explanation.score_parts import score_stages
from domain.explanation.sentence import sentence_of
from domain.explanation.values import ValueView, value_stages
from domain.model.accumulators import Accumulator
from domain.model.arrays import Floats, Ints
from domain.model.buckets import OpenBucket
from domain.model.detector_model import DetectorModel
from domain.model.feature_model import FeatureModel
from domain.model.normalizer import ORDINARY_SHARE
from domain.model.places_model import PlacesModel
from domain.model.population import PopulationFeature
from domain.model.population_model import PopulationModel
from domain.model.population_scattered import PopulationTimes
from domain.model.rare_model import FINE, RareModel, fine_counts
from domain.model.results import Cause, RecordResult
from domain.model.series import Name
from domain.model.times_model import TimesModel


@dataclass(slots=True)
class Closing:
    """A bucket just before it closes.

    Attributes
    ----------
    detectors : sequence of DetectorModel
        They have learnt nothing of the bucket yet.
    start, span : int
        Epoch seconds.
    """

    detectors: Sequence[DetectorModel]
    opened: OpenBucket | None
    start: int
    span: int

    @property
    def middle(self) -> float:
        """The time that the bucket is judged at."""
        return self.start + 0.5 * self.span


@dataclass(slots=True)
class Witness:
    """Keeps what a model knew when a bucket was about to close; of several times the last.

    Attributes
    ----------
    starts : frozenset of int
        Which buckets, by their starts in epoch seconds.
    closings : dict of int to Closing
        Those that were seen, by start.
    """

    starts: frozenset[int]
    closings: dict[int, Closing] = field(default_factory=dict)

    def __call__(self, detectors: Sequence[DetectorModel], opened: OpenBucket | None, start: int, span: int) -> None:
        """Take a copy, if it is one of the buckets asked for."""
        if start in self.starts:
            self.closings[start] = Closing(*copy.deepcopy((list(detectors), opened)), start, span)


def explain(closing: Closing, record: RecordResult) -> Explanation:
    """Explain a record of a bucket.

    Parameters
    ----------
    closing : Closing
        The bucket before it closed.
    record : RecordResult
        As it came out when the bucket closed.
    """
    model = closing.detectors[record.detector_index]
    index = [feature.description for feature in model.traits.features].index(record.function_description)
    accumulator = None if closing.opened is None else closing.opened.accumulators[record.detector_index]
    if accumulator is not None:
        accumulator.reserve(model.series.n_slots)
    case = _Case(closing, record, model, index, accumulator)
    if isinstance(model, RareModel):
        evidence, stages = case.rare(model)
    elif isinstance(model, PopulationModel):
        evidence, stages = case.member(model)
    else:
        evidence, stages = case.single()
    explanation = Explanation(
        timestamp_ms=closing.start * 1000,
        bucket_span_seconds=closing.span,
        detector_index=record.detector_index,
        function=record.function,
        function_description=record.function_description,
        field_name=record.field_name,
        partition=_pair(record.partition_field_name, record.partition_field_value),
        by=_pair(record.by_field_name, record.by_field_value),
        over=_pair(record.over_field_name, record.over_field_value),
        probability=record.probability,
        initial_record_score=record.initial_record_score,
        multi_bucket_impact=record.multi_bucket_impact,
        evidence=evidence,
        stages=stages,
    )
    return msgspec.structs.replace(explanation, sentence=sentence_of(explanation))


def _pair(name: str | None, value: str | None) -> tuple[str, str] | None:
    return None if name is None or value is None else (name, value)


Found = tuple[list[Evidence], list[Stage]]


@dataclass(frozen=True, slots=True)
class _Case:
    """A record to be explained, and where it came from."""

    closing: Closing
    record: RecordResult
    model: DetectorModel
    feature_index: int
    accumulator: Accumulator | None

    # -------------------------------------------------------------------------------------- series by themselves

    def single(self) -> Found:
        """Explain a series that is judged by its own past."""
        record, judge = self.record, self.model.features[self.feature_index]
        slot = self.model.series.slot_of[self._name(record)]
        x = self._values(np.array([slot]))
        kind: Kind = "value"
        if isinstance(judge, TimesModel):
            judged = judge.judge(np.array([slot]), x, self._middle)
            kind, stages = "time", time_stages(judge, judged, 0, record.probability)
            score = self._score(stages[-1])
        elif isinstance(judge, PlacesModel):
            kind, stages = "place", place_stages(judge.judge(np.array([slot]), x, self._middle), 0, record.probability)
            score = self._score(stages[-1])
        else:
            assert isinstance(judge, FeatureModel)
            stages = value_stages(ValueView.of(judge, slot, x, self._middle))
            of_name = {stage.name: stage for stage in stages}
            score = self._score(
                of_name["residual_probability"], of_name.get("novelty"), ORDINARY_SHARE, of_name.get("standing_still")
            )
        return [Evidence(kind, self._terms(slot), record.actual, record.typical, stages)], score

    # -------------------------------------------------------------------------------------------------- rare values

    def rare(self, model: RareModel) -> Found:
        """Explain a rare value, or a member with rare values."""
        model.reserve()
        present = self.accumulator.present() if self.accumulator is not None else np.empty(0, np.int64)
        has_members = "members" in model.groups
        of_value = model.groups["attributes"].of_slot if has_members else np.arange(model.series.n_slots)
        n_values = model.groups["attributes"].n_slots if has_members else model.series.n_slots
        scopes = model.groups["scopes"].of_slot[:n_values]

        def stages(slot: int, probability: float) -> list[Stage]:
            is_counted = bool(model.is_counted[slot])
            return rare_stages(model.rarity, int(of_value[slot]), scopes, probability, is_counted=is_counted)

        if not has_members:
            record = self.record
            slot = model.series.slot_of[self._name(record)]
            own = stages(slot, record.probability)
            alone = Evidence("rare", self._terms(slot), record.actual, record.typical, own)
            return [alone], self._score(own[-1])
        assert self.accumulator is not None
        evidence = self._of_causes("rare", lambda slot, cause: stages(slot, cause.probability))
        joint = self._joint(evidence, present, model.groups["members"].of_slot)
        if self.model.detector.base_function == "freq_rare":
            joint = self._so_often(model, present)
        return evidence, [joint, *self._score(joint)]

    def _so_often(self, model: RareModel, present: Ints) -> Stage:
        """Return the chance that a member does things as rare that often, at the level where it is least."""
        from scipy.special import betainc  # late: takes a quarter of a second, and most commands need no model

        assert self.accumulator is not None
        [finding] = model.find(self.accumulator, self.closing.start, self.closing.span, is_interim=True)
        causes = finding.causes
        assert causes is not None
        first = self._slot_of_cause(self.record.causes[0])
        k = causes.slots[causes.first].tolist().index(first)
        own = slice(*causes.starts[k : k + 2].tolist())
        member_of = model.groups["members"].of_slot
        of_member = present[member_of[present] == member_of[first]]
        often = np.cumsum(fine_counts(self.accumulator.rows[0, causes.slots[own]])) / FINE
        total = np.maximum(float(fine_counts(self.accumulator.rows[0, of_member]).sum()) / FINE, often)
        at_most = causes.probability[own]
        level = int(betainc(often, total - often + 1.0, at_most).argmin())
        return one(
            "joint_probability",
            self.record.probability,
            "chance that a member does things as rare that often",
            "so_often",
            so_often=often[level],
            of_all=total[level],
            at_most=at_most[level],
            n_levels=often.size,
        )

    # --------------------------------------------------------------------------------------------------- populations

    def member(self, model: PopulationModel) -> Found:
        """Explain a member of a population."""
        assert self.accumulator is not None
        model.reserve()
        present = self.accumulator.present()
        population = model.populations[self.feature_index]
        x = self._values(present)
        attribute_of = model.groups["attributes"].of_slot
        if isinstance(population, PopulationFeature):
            judged = population.judge(present, attribute_of[present], x, model.weights_of(present), self._middle)
            place_of = {slot: place for place, slot in enumerate(present.tolist())}
            evidence = self._of_causes(
                "member", lambda slot, cause: member_stages(population, judged, place_of[slot], cause.probability)
            )
        elif isinstance(population, PopulationTimes):
            evidence = self._of_causes(
                "time", lambda slot, cause: self._time_stages(population.times, int(attribute_of[slot]), slot, cause)
            )
        else:
            evidence = self._of_causes(
                "place", lambda slot, cause: self._place_stages(population.places, int(attribute_of[slot]), slot, cause)
            )
        joint = self._joint(evidence, present, model.groups["members"].of_slot)
        return evidence, [joint, *self._score(joint)]

    def _time_stages(self, model: TimesModel, attribute: int, slot: int, cause: Cause) -> list[Stage]:
        _, cell = model.locate(self._values(np.array([slot])))
        middle = (cell.astype(np.float64) + 0.5) * (model.period / model.n_cells)
        judged = model.judge(np.array([attribute]), middle + model.offset, self._middle)
        return time_stages(model, judged, 0, cause.probability)

    def _place_stages(self, model: PlacesModel, attribute: int, slot: int, cause: Cause) -> list[Stage]:
        judged = model.judge(np.array([attribute]), self._values(np.array([slot])), self._middle)
        return place_stages(judged, 0, cause.probability)

    def _of_causes(self, kind: Kind, stages_of: Callable[[int, Cause], list[Stage]]) -> list[Evidence]:
        evidence = []
        for cause in self.record.causes:
            slot = self._slot_of_cause(cause)
            evidence.append(Evidence(kind, self._terms(slot), cause.actual, cause.typical, stages_of(slot, cause)))
        return evidence

    def _joint(self, evidence: list[Evidence], present: Ints, member_of: Ints) -> Stage:
        """Return the chance of the least probable of so many attributes."""
        first = self._slot_of_cause(self.record.causes[0])
        n_attributes = int(np.count_nonzero(member_of[present] == member_of[first]))
        return one(
            "joint_probability",
            self.record.probability,
            "chance of the least of all its attributes",
            "of_least",
            probability=evidence[0].stages[-1],
            n_attributes=n_attributes,
        )

    # -------------------------------------------------------------------------------------------------------- shared

    @property
    def _middle(self) -> float:
        return self.closing.middle

    def _score(
        self, chance: Stage, novel: Stage | None = None, share: float = 1.0, still: Stage | None = None
    ) -> list[Stage]:
        return score_stages(
            chance,
            novel,
            self.model.calibrations[self.feature_index],
            still=still,
            share=share,
            score=self.record.initial_record_score,
        )

    def _values(self, slots: Ints) -> Floats:
        if self.accumulator is None:
            return np.zeros(slots.size)
        return self.accumulator.value(self.record.function_description, slots)

    def _name(self, terms: RecordResult | Cause) -> Name:
        detector = self.model.detector
        values = {
            detector.partition_field_name: terms.partition_field_value,
            detector.by_field_name: terms.by_field_value,
            detector.over_field_name: terms.over_field_value,
        }
        return tuple(values[field] or "" for field in self.model.series.fields)

    def _slot_of_cause(self, cause: Cause) -> int:
        return self.model.series.slot_of[self._name(cause)]

    def _terms(self, slot: int) -> dict[str, str]:
        return dict(zip(self.model.series.fields, self.model.series.names[slot] or (), strict=True))
