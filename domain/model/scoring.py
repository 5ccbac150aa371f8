"""Scores of a bucket: what its detectors found becomes records, influencers, bucket influencers and one score.

The probability of a bucket is the joint one of all that was found in it (``joint.py``). The same is asked of each value
of an influencer field, with the records that it explains among the values judged that it takes part in, and of each
field, as the best of its values. Buckets and fields have their own history to be calibrated against. What a series
never showed before bypasses that history: it is scored as it is, or higher if it is improbable too. Scores come with
what they rest on, and a bucket with what it makes of earlier ones: ``hindsight.py``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Final

import numpy as np

from domain.config.job import JobConfig
from domain.model.arrays import Floats, Ints
from domain.model.detector_model import DetectorModel
from domain.model.findings import Findings
from domain.model.hindsight import (
    RISE_HEIGHT_MIN,
    RISE_STRENGTH_MIN,
    Basis,
    Renormalization,
    Review,
    is_risen,
    scope_of_field,
    score_for_records,
    window_seconds,
)
from domain.model.influences import Explained
from domain.model.joint import exponent_of_best, joint_exponent
from domain.model.normalizer import UNUSUAL_EXPONENT, BucketNormalizer, severity
from domain.model.participation import TakingPart
from domain.model.results import (
    BucketInfluencer,
    BucketResult,
    InfluencerMention,
    InfluencerResult,
    RecordResult,
)

CUTOFF: Final = 0.035
"""Calibrated probability from which a value is not written as a record."""
RECORDS_PER_BUCKET_EXPECTED: Final = 3.5
"""In jobs of more than 100 series the cutoff falls, so that chance alone writes no more records per bucket."""
BUCKET_TIME: Final = "bucket_time"


@dataclass(frozen=True, slots=True)
class Evidence:
    """How unusual something is beside the others of its bucket.

    Attributes
    ----------
    exponent : float
        Minus the log of its probability, calibrated.
    share : float
        Highest score that it can have by this, in parts of 100.
    strength : float
        How surprising the records are that it broke, as far as noise in any value of the bucket does not explain them.
    """

    exponent: float = 0.0
    share: float = 1.0
    strength: float = 0.0

    def or_better(self, other: "Evidence") -> "Evidence":
        """Return the better of each of two findings about the same thing."""
        exponent, share = max((self.exponent, self.share), (other.exponent, other.share))
        return Evidence(exponent, share, max(self.strength, other.strength))

    def probability(self) -> float:
        """Return the smaller of the probabilities of both kinds."""
        return math.exp(-max(self.exponent, self.strength))

    def part(self, influence: float) -> "Evidence":
        """Return what of it one value explains: the probability to the power of its influence."""
        return Evidence(self.exponent * influence, self.share, self.strength * influence)


@dataclass(frozen=True, slots=True)
class Found:
    """A record, and what speaks for it.

    Attributes
    ----------
    explained : list of (str, Explained)
        Influencer fields and their values with influences, the strongest first.
    """

    evidence: Evidence
    record: RecordResult
    explained: list[tuple[str, Explained]]


class BucketScorer:
    """Turns findings into results; keeps the history that they are normalised against."""

    def __init__(self, config: JobConfig) -> None:
        self._span = config.bucket_span_seconds
        self._fields = config.influencers
        self._normalizers = {name: BucketNormalizer(self._span) for name in (BUCKET_TIME, *self._fields)}
        self._scopes = {name: scope_of_field(name) for name in self._normalizers}
        self._review = Review(self._span)
        self.reconfigure(config)

    def reconfigure(self, config: JobConfig) -> None:
        """Go on under a changed configuration."""
        self._review.window = window_seconds(config.renormalization_window_days, self._span)

    def score(
        self,
        detectors: Sequence[DetectorModel],
        findings: Sequence[Findings],
        bucket_start: int,
        event_count: int,
        *,
        is_interim: bool,
    ) -> BucketResult:
        """Make the result of a bucket; unless it is interim, its scores enter the history.

        Parameters
        ----------
        findings : sequence of Findings
            Of all detectors and features.
        bucket_start : int
            Epoch seconds.
        """
        if not any(map(_is_unusual, findings)):
            return self._usual(bucket_start, event_count, is_interim=is_interim)
        n_judged = sum(finding.candidates.n_judged for finding in findings)
        cutoff = min(CUTOFF, RECORDS_PER_BUCKET_EXPECTED / max(n_judged, 1))
        strengths = [finding.candidates.strength(n_judged) * finding.candidates.is_news for finding in findings]
        records = self._records(detectors, findings, strengths, cutoff)
        of_values = _of_values(records, TakingPart(detectors, findings), -math.log(cutoff))
        influencers = self._influencers(of_values, bucket_start)
        evidence = self._evidence(_best_of_all(findings, strengths), records, of_values, n_judged, cutoff)
        unusual = {name: each for name, each in evidence.items() if each.exponent > 0.0 or each.strength > 0.0}
        seen = [self._bucket_influencer(name, each, bucket_start) for name, each in unusual.items()]
        bucket_influencers = [item for item in seen if item.anomaly_score > 0.0]
        score = max((item.anomaly_score for item in bucket_influencers), default=0.0)
        renormalizations = []
        if not is_interim:
            bases = [item.basis for item in bucket_influencers] + [item.basis for item in influencers]
            bases += [found.record.basis for found in records]
            risen = {**_risen(detectors, findings), **self._learn(unusual, bucket_start)}
            renormalizations = self._review.of_bucket(bucket_start, bases, risen)
        return BucketResult(
            timestamp_ms=bucket_start * 1000,
            bucket_span_seconds=self._span,
            anomaly_score=score,
            initial_anomaly_score=score,
            event_count=event_count,
            is_interim=is_interim,
            bucket_influencers=bucket_influencers,
            records=[found.record for found in records],
            influencers=influencers,
            renormalizations=renormalizations,
        )

    def _usual(self, bucket_start: int, event_count: int, *, is_interim: bool) -> BucketResult:
        """Make the result of a bucket in which nothing was unusual."""
        renormalizations: Sequence[Renormalization] = ()
        if not is_interim:
            for normalizer in self._normalizers.values():
                normalizer.calibration.learn_usual(1)
            renormalizations = self._review.of_bucket(bucket_start, (), {}) or ()
        return BucketResult(
            timestamp_ms=bucket_start * 1000,
            bucket_span_seconds=self._span,
            anomaly_score=0.0,
            initial_anomaly_score=0.0,
            event_count=event_count,
            is_interim=is_interim,
            renormalizations=renormalizations,
        )

    def _evidence(
        self,
        best: Evidence,
        records: list[Found],
        of_values: dict[tuple[str, str], tuple[Evidence, float]],
        n_judged: int,
        cutoff: float,
    ) -> dict[str, Evidence]:
        """Return what speaks for the bucket, and for each influencer field: the best of its values.

        There are as many values like one as it goes into what was judged.
        """
        exponents = [found.evidence.exponent for found in records]
        joint = joint_exponent(exponents, n_judged, -math.log(cutoff), best.exponent)
        evidence = {BUCKET_TIME: replace(best, exponent=joint), **{name: Evidence() for name in self._fields}}
        for (name, _), (each, n_own) in of_values.items():
            of_field = exponent_of_best(each.exponent, n_judged / n_own)
            evidence[name] = evidence[name].or_better(replace(each, exponent=of_field))
        return evidence

    def _bucket_influencer(self, name: str, evidence: Evidence, bucket_start: int) -> BucketInfluencer:
        score, basis = self._score(name, evidence, bucket_start)
        raw = float(severity(np.array([evidence.exponent]))[0]) if score > 0.0 else 0.0
        return BucketInfluencer(name, score, score, raw, evidence.probability(), basis)

    def _score(self, name: str, evidence: Evidence, bucket_start: int) -> tuple[float, Basis]:
        """Return the better of the scores for being improbable and for being new, and what it rests on."""
        normalizer = self._normalizers[name]
        score, height = normalizer.judge(evidence.exponent)
        ordinary, peak = evidence.share * score, normalizer.peak.at(bucket_start)
        basis = Basis(self._scopes[name], ordinary, height, peak, evidence.strength)
        return max(ordinary, score_for_records(evidence.strength)), basis

    def _learn(self, unusual: dict[str, Evidence], bucket_start: int) -> dict[str, tuple[float, float]]:
        """Take a bucket into the history; return the scopes whose peak rose, with heights and strengths."""
        risen = {}
        for name, normalizer in self._normalizers.items():
            each = unusual.get(name)
            if each is None:
                normalizer.calibration.learn_usual(1)
                continue
            height = normalizer.judge(each.exponent)[1]
            peaks = normalizer.peak.at(bucket_start), normalizer.strength_peak.at(bucket_start)
            is_higher = is_risen(height, peaks[0], RISE_HEIGHT_MIN)
            if is_higher or is_risen(each.strength, peaks[1], RISE_STRENGTH_MIN):
                risen[self._scopes[name]] = (height, each.strength)
            normalizer.learn(each.exponent, height, each.strength, bucket_start)
        return risen

    def _records(
        self,
        detectors: Sequence[DetectorModel],
        findings: Sequence[Findings],
        strengths: Sequence[Floats],
        cutoff: float,
    ) -> list[Found]:
        least = -math.log(cutoff)
        records = []
        for finding, strength in zip(findings, strengths, strict=True):
            if finding.exponents.size == 0:
                continue
            is_new = (strength > 0.0) & (finding.candidates.probability <= CUTOFF)
            shown = np.flatnonzero(((finding.exponents >= least) | is_new) & (finding.scores > 0.0))
            if shown.size == 0:
                continue
            detector = detectors[finding.detector_index]
            explained = _explained(detector, finding, shown, self._fields)
            for k, fields in zip(shown.tolist(), explained, strict=True):
                evidence = Evidence(float(finding.exponents[k]), finding.share, float(strength[k]))
                records.append(Found(evidence, _record(detector, finding, k, fields), fields))
        records.sort(key=_most_unusual_first)
        return records

    def _influencers(
        self, of_values: dict[tuple[str, str], tuple[Evidence, float]], bucket_start: int
    ) -> list[InfluencerResult]:
        results = []
        for (name, value), (evidence, _) in of_values.items():
            score, basis = self._score(name, evidence, bucket_start)
            if score > 0.0:
                results.append(InfluencerResult(name, value, score, score, evidence.probability(), basis))
        results.sort(key=lambda item: (-item.influencer_score, item.influencer_field_name, item.influencer_field_value))
        return results

    def state(self) -> dict[str, Any]:
        """Return what is to be kept."""
        normalizers = {name: normalizer.state() for name, normalizer in self._normalizers.items()}
        return {"normalizers": normalizers, "review": self._review.state()}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what ``state`` returned."""
        for name, normalizer in self._normalizers.items():
            normalizer.load(state["normalizers"][name])
        self._review.load(state["review"])


def _is_unusual(finding: Findings) -> bool:
    """Tell whether something in it has a height or broke a record: all else scores 0, and is no history."""
    if finding.exponents.size == 0:
        return False
    return bool(finding.exponents.max() > UNUSUAL_EXPONENT) or bool(finding.standing.strengths.any())


def _of_values(
    records: list[Found], taking_part: TakingPart, threshold: float
) -> dict[tuple[str, str], tuple[Evidence, float]]:
    """Return what speaks for each value of an influencer field, and at how many of the values judged it takes part.

    Parameters
    ----------
    threshold : float
        Exponent that records are written from.
    """
    parts: dict[tuple[str, str], list[Evidence]] = {}
    for found in records:
        for name, values in found.explained:
            for value, influence in values:
                parts.setdefault((name, value), []).append(found.evidence.part(influence))
    of_values = {}
    for (name, value), own in parts.items():
        n_own = max(taking_part.count(name, value), 1.0)
        best = reduce(Evidence.or_better, own)
        joint = joint_exponent([each.exponent for each in own], n_own, threshold)
        of_values[name, value] = (replace(best, exponent=joint), n_own)
    return of_values


def _best_of_all(findings: Sequence[Findings], strengths: Sequence[Floats]) -> Evidence:
    """Return what speaks most for a bucket."""
    best = Evidence()
    for finding, strength in zip(findings, strengths, strict=True):
        if finding.exponents.size:
            best = best.or_better(Evidence(float(finding.exponents.max()), finding.share, float(strength.max())))
    return best


def _risen(detectors: Sequence[DetectorModel], findings: Sequence[Findings]) -> dict[str, tuple[float, float]]:
    """Return the scopes of series whose peak rose, with heights and strengths; of several in a scope the greatest."""
    risen: dict[str, tuple[float, float]] = {}
    for finding in findings:
        standing = finding.standing
        for k in standing.risen.tolist():
            slot = int(finding.candidates.slots[k])
            scope = detectors[finding.detector_index].scope(finding.feature_index, slot)
            height, strength = risen.get(scope, (0.0, 0.0))
            risen[scope] = (max(height, float(standing.heights[k])), max(strength, float(standing.strengths[k])))
    return risen


def _record(detector: DetectorModel, finding: Findings, k: int, explained: list[tuple[str, Explained]]) -> RecordResult:
    config, candidates = detector.detector, finding.candidates
    slot = int(candidates.slots[k])
    name = detector.series.names[slot]
    assert name is not None, "only series alive are judged"
    terms = dict(zip(detector.series.fields, name, strict=True))
    score = float(finding.scores[k])
    record = RecordResult(
        detector_index=config.detector_index,
        function=config.function,
        function_description=detector.traits.features[finding.feature_index].description,
        probability=float(candidates.probability[k]),
        record_score=score,
        initial_record_score=score,
        typical=[float(candidates.typical[k])],
        actual=[float(candidates.actual[k])],
        field_name=config.field_name,
        by_field_name=config.by_field_name,
        by_field_value=terms.get(config.by_field_name or ""),
        partition_field_name=config.partition_field_name,
        partition_field_value=terms.get(config.partition_field_name or ""),
        multi_bucket_impact=float(candidates.impact[k]),
        influencers=[InfluencerMention(field, [value for value, _ in values]) for field, values in explained],
        basis=_basis(detector, finding, k),
    )
    return detector.complete(record, finding, k)


def _basis(detector: DetectorModel, finding: Findings, k: int) -> Basis:
    """Return what the score of a record rests on."""
    standing = finding.standing
    return Basis(
        detector.scope(finding.feature_index, int(finding.candidates.slots[k])),
        float(standing.ordinary[k]),
        float(standing.heights[k]),
        float(standing.peaks[k]),
        float(standing.strengths[k]),
    )


def _explained(
    detector: DetectorModel, finding: Findings, shown: Ints, influencer_fields: tuple[str, ...]
) -> list[list[tuple[str, Explained]]]:
    """Return the influencer fields with values that explain candidates, in the order of the configuration."""
    feature = detector.traits.features[finding.feature_index].description
    every: list[list[tuple[str, Explained]]] = [[] for _ in range(shown.size)]
    if shown.size == 0:
        return every
    for field in influencer_fields:
        if field in detector.series.fields:
            place = detector.series.fields.index(field)
            names = [detector.series.names[slot] or () for slot in finding.candidates.slots[shown].tolist()]
            of_field: list[Explained] = [[(name[place], 1.0)] if name[place] else [] for name in names]
        else:
            of_field = finding.explaining(detector.influencers.index(field), feature, shown)
        for own, values in zip(every, of_field, strict=True):
            if values:
                own.append((field, values))
    return every


def _most_unusual_first(found: Found) -> tuple[float, float, int, str, str, str, str]:
    record = found.record
    return (
        -record.record_score,
        record.probability,
        record.detector_index,
        record.function_description,
        record.partition_field_value or "",
        record.by_field_value or "",
        record.over_field_value or "",
    )
