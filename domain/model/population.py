"""One feature of a population: the values of all members at an attribute, judged against one model of the attribute.

What the members' mean will be is forecast like any series, seasons and all (``feature_model.py``); how far members lie
from it is the population's spread. Both are kept of the values and of their logarithms, and whichever explains the
members better decides: some populations spread by amounts, some by factors. Nothing is kept of single members.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np

from domain.config.functions import Side
from domain.model.arrays import Arrays, Bools, Floats, Ints, capacity_for, grown
from domain.model.candidates import Candidates, without_records
from domain.model.feature_model import BYTES_PER_SERIES, FeatureModel
from domain.model.functions import Feature
from domain.model.influences import Reconsider
from domain.model.judgement import Judgement
from domain.model.plot import Bounds, bounds_around
from domain.model.probability import PROBABILITY_MIN, SCREEN_Z, flat_limit, signed, student_tail, tail_dof
from domain.model.rules import LITTLE, Hold, learn_little
from domain.model.spread import COUNT_SCALE_MIN, SCALE_MIN, VARIATION_MIN, WINSOR

SAMPLES, LAST, EVIDENCE, SQUARES, ABSOLUTES, PEAK = 0, 1, 2, 3, 5, 7
N_ROWS: Final = PEAK + 2
"""Rows of the state: weight of the values behind the spreads; middle of the latest bucket; how much better logarithms
explain the members (log of the ratio); mean squared and mean absolute distances, plain and of logarithms; most unusual
exponent so far and its time."""

EXPONENT_MAX: Final = 700.0
"""The exponential of it is a finite number still."""
SAMPLES_MIN: Final = 20.0
"""Values that an attribute must have shown before one is judged."""
MEMORY_SECONDS: Final = 14 * 86_400.0
EVIDENCE_KEEP: Final = 0.95
EVIDENCE_STEP: Final = 5.0
"""Evidence of one bucket counts for at most this. Chosen: a few buckets decide, and twenty later others can."""
UNUSUAL: Final = 0.05
LOG_MIN: Final = 1e-30
"""Logarithms are taken of this instead of anything smaller."""

BYTES_PER_ATTRIBUTE: Final = 2 * BYTES_PER_SERIES + 8 * N_ROWS


@dataclass(frozen=True, slots=True)
class Scaled:
    """The values of one bucket in one form, plain or as logarithms.

    Attributes
    ----------
    centre : Judgement
        Of the members' mean, per attribute, shape (k,).
    expected, scale : ndarray of shape (k,)
    y : ndarray of shape (m,)
        Values in this form.
    residual : ndarray of shape (m,)
    """

    centre: Judgement
    expected: Floats
    scale: Floats
    y: Floats
    residual: Floats


@dataclass(frozen=True, slots=True)
class Members:
    """The members of one bucket.

    Attributes
    ----------
    slots : ndarray of shape (m,)
        Each at one attribute.
    attributes : ndarray of shape (k,)
        Attributes that have members, ascending.
    of_slot : ndarray of shape (m,)
        Place of each member's attribute among them.
    order : ndarray of shape (m,)
        Members by attribute, value and weight, so that sums do not depend on slots.
    x, weights : ndarray of shape (m,)
    total : ndarray of shape (k,)
        Sum of the weights.
    """

    slots: Ints
    attributes: Ints
    of_slot: Ints
    order: Ints
    x: Floats
    weights: Floats
    total: Floats

    def mean(self, y: Floats) -> Floats:
        """Return the weighted mean per attribute."""
        sums = np.zeros(self.attributes.size)
        np.add.at(sums, self.of_slot[self.order], (y * self.weights)[self.order])
        return sums / self.total


@dataclass(frozen=True, slots=True)
class PopulationJudgement:
    """What was found of the members of one bucket.

    Attributes
    ----------
    rows : ndarray of shape (N_ROWS, k)
        A copy of the attributes' state.
    forms : tuple of Scaled
        Plain, logarithms.
    """

    members: Members
    time_seconds: float
    rows: Floats
    forms: tuple[Scaled, Scaled]


class PopulationFeature:
    """State and arithmetic of one feature for all attributes of a detector.

    Attributes
    ----------
    rows : ndarray of shape (N_ROWS, capacity), dtype=float64
    centres : tuple of FeatureModel
        Of the members' mean: plain, of logarithms.
    """

    def __init__(self, feature: Feature, side: Side, bucket_span_seconds: int) -> None:
        self.feature = feature
        self.side: Side = side if side != "both" else feature.side
        self.rows: Floats = np.zeros((N_ROWS, capacity_for(0)))
        plain = Feature(feature.description, is_non_negative=feature.is_non_negative)
        self.centres = (
            FeatureModel(plain, "both", bucket_span_seconds),
            FeatureModel(Feature(feature.description), "both", bucket_span_seconds),
        )

    @property
    def bytes_per_attribute(self) -> int:
        """What the state of an attribute takes."""
        return BYTES_PER_ATTRIBUTE

    @property
    def peaks(self) -> Floats:
        """A view of the most unusual exponents so far and their times, shape (2, capacity)."""
        return self.rows[PEAK : PEAK + 2]

    def reserve(self, n_slots: int) -> None:
        """Make room for ``n_slots`` attributes."""
        if n_slots > self.rows.shape[1]:
            self.rows = grown(self.rows, capacity_for(n_slots))
        for centre in self.centres:
            centre.reserve(n_slots)

    def find(
        self,
        slots: Ints,
        attributes: Ints,
        x: Floats,
        weights: Floats,
        time_seconds: float,
        *,
        hold: Hold,
        is_interim: bool,
    ) -> tuple[Candidates, Reconsider | None]:
        """Judge the members of a bucket; unless it is interim, learn from them. For parameters see ``judge``.

        Members that are held back from learning count for little.

        Returns
        -------
        found : Candidates
        reconsider : callable or None
            Judges other values of the same members as they were judged.
        """
        judged = self.judge(slots, attributes, x, weights, time_seconds)
        found = self.candidates(judged, grows_on=is_interim)
        reconsider = partial(self.reconsider, replace(judged, rows=judged.rows.copy()))
        if is_interim:
            return found, reconsider
        held = hold(partial(self._compared, judged), time_seconds)
        if held is not None and held.any():
            judged = self.judge(slots, attributes, x, np.where(held, LITTLE * weights, weights), time_seconds)
        self.learn(judged, held)
        return found, reconsider

    def _compared(self, judged: PopulationJudgement, *, with_typical: bool) -> tuple[Floats, Floats]:
        """Return what custom rules compare: the values of all members and, if asked for, what was expected."""
        x, at = judged.members.x, judged.members.of_slot
        if not with_typical:
            return x, x
        typical = np.where(judged.rows[EVIDENCE] > 0.0, np.exp(judged.forms[1].expected), judged.forms[0].expected)
        return x, np.where(judged.rows[SAMPLES] > 0.0, typical, np.nan)[at]

    def judge(
        self, slots: Ints, attributes: Ints, x: Floats, weights: Floats, time_seconds: float
    ) -> PopulationJudgement:
        """Compare members with what their attributes lead to expect; nothing is changed.

        Parameters
        ----------
        slots, attributes : ndarray of shape (m,)
            Members, and the attribute of each.
        x : ndarray of shape (m,)
            Their values in this bucket.
        weights : ndarray of shape (m,)
            For how much each counts, from 0 to 1.
        time_seconds : float
            Middle of the bucket.
        """
        found, of_slot = np.unique(attributes, return_inverse=True)
        order = np.lexsort((weights, x, attributes))
        total = np.zeros(found.size)
        np.add.at(total, of_slot[order], weights[order])
        rows = self.rows[:, found].copy()
        members = Members(slots, found, of_slot, order, x, weights, total)
        plain = self._scaled(members, 0, x, rows, time_seconds)
        logs = self._scaled(members, 1, np.log(np.maximum(x, LOG_MIN)), rows, time_seconds)
        return PopulationJudgement(members, time_seconds, rows, (plain, logs))

    def _scaled(self, members: Members, form: int, y: Floats, rows: Floats, time_seconds: float) -> Scaled:
        centre, at = self.centres[form], members.of_slot
        mean = members.mean(y)
        first = centre.judge(members.attributes, mean, time_seconds)
        expected = mean - first.residual
        scale = self._scale(rows, form, expected)
        # Once the spread is known, a member far out must not move the mean.
        far = np.where(rows[SAMPLES] >= SAMPLES_MIN, WINSOR * scale, np.inf)[at]
        near = np.minimum(np.maximum(y, expected[at] - far), expected[at] + far)
        second = centre.judge(members.attributes, members.mean(near), time_seconds)
        return Scaled(second, expected, scale, y, y - expected[at])

    def _scale(self, rows: Floats, form: int, expected: Floats) -> Floats:
        scale: Floats = np.sqrt(rows[SQUARES + form] * (1.0 + 2.0 / np.maximum(rows[SAMPLES], 1.0)))
        floor = COUNT_SCALE_MIN if self.feature.is_count else SCALE_MIN
        if form == 0:
            np.maximum(scale, np.maximum(np.abs(expected) * VARIATION_MIN, floor), out=scale)
        else:
            np.maximum(scale, np.maximum(VARIATION_MIN, floor * np.exp(-expected)), out=scale)
        return scale

    def bounds(self, slots: Ints, time_seconds: float) -> Bounds:
        """Return between which values most members at some attributes are expected; nothing is changed.

        Parameters
        ----------
        slots : ndarray of shape (m,)
            Attributes.
        time_seconds : float
            Middle of the bucket.
        """
        rows, nothing = self.rows[:, slots], np.zeros(slots.size)
        is_known, is_non_negative = rows[SAMPLES] >= SAMPLES_MIN, self.feature.is_non_negative
        expected = [nothing - centre.judge(slots, nothing, time_seconds).residual for centre in self.centres]
        plain, logs = (
            bounds_around(middle, self._scale(rows, form, middle), is_known, is_non_negative=is_bounded)
            for form, (middle, is_bounded) in enumerate(zip(expected, (is_non_negative, False), strict=True))
        )
        is_log_normal = rows[EVIDENCE] > 0.0
        lower, median, upper = (
            np.where(is_log_normal, np.exp(np.minimum(getattr(logs, name), EXPONENT_MAX)), getattr(plain, name))
            for name in ("lower", "median", "upper")
        )
        return Bounds(is_known, lower, median, upper)

    def candidates(self, judged: PopulationJudgement, *, grows_on: bool = False) -> Candidates:
        """Pick the unusual members and calculate their probabilities.

        Parameters
        ----------
        grows_on : bool
            The bucket is still open: a value that records add up to is not too low yet.
        """
        side: Side = "high" if grows_on and self.feature.is_additive else self.side
        at, rows = judged.members.of_slot, judged.rows
        is_mature = (rows[SAMPLES] >= SAMPLES_MIN)[at]
        n_judged = int(np.count_nonzero(is_mature))
        aways = [signed(form.residual / form.scale[at], side) for form in judged.forms]
        is_far = (aways[0] > SCREEN_Z) | (aways[1] > SCREEN_Z)
        if grows_on and self.feature.is_additive and self.side == "low":
            is_far[:] = False
        far = (is_far & is_mature).nonzero()[0]
        at = at[far]
        probability = self._probability(judged, (aways[0][far], aways[1][far]), judged.members.x[far], at, side)
        share = _share_of_logs(rows[EVIDENCE, at])
        typical = np.where(share > 0.5, np.exp(judged.forms[1].expected[at]), judged.forms[0].expected[at])
        kept = probability < UNUSUAL
        slots, x, p = judged.members.slots[far[kept]], judged.members.x[far[kept]], probability[kept]
        return Candidates(slots, p, x, typical[kept], n_judged, *without_records(p))

    def _probability(
        self, judged: PopulationJudgement, aways: tuple[Floats, Floats], x: Floats, at: Ints, side: Side
    ) -> Floats:
        """Return the probabilities of values, by either form as far as it explains the members better."""
        plain, logs = (self._tail(judged, form, aways[form], at, side) for form in range(2))
        np.copyto(logs, plain, where=x <= 0.0)
        share = _share_of_logs(judged.rows[EVIDENCE, at])
        probability = share * logs + (1.0 - share) * plain
        return np.minimum(np.maximum(probability, PROBABILITY_MIN), 1.0)

    def reconsider(self, judged: PopulationJudgement, slots: Ints, x: Floats, widen: Floats, side: Side) -> Floats:
        """Return minus the logs of the probabilities that members would have had with other values.

        Parameters
        ----------
        judged : PopulationJudgement
            With the rows as they were.
        slots : ndarray of shape (n,)
            Of members judged, in any order.
        x, widen : ndarray of shape (n,)
            The values, and how many times farther than usual each may lie from what was expected.
        """
        at = judged.members.of_slot[np.searchsorted(judged.members.slots, slots)]
        plain, logs = (
            signed((y - form.expected[at]) / (form.scale[at] * widen), side)
            for form, y in zip(judged.forms, (x, np.log(np.maximum(x, LOG_MIN))), strict=True)
        )
        exponents: Floats = -np.log(self._probability(judged, (plain, logs), x, at, side))
        return exponents

    def _tail(self, judged: PopulationJudgement, form: int, away: Floats, at: Ints, side: Side) -> Floats:
        rows, scale = judged.rows[:, at], judged.forms[form].scale[at]
        square = rows[SQUARES + form]
        dof = tail_dof(square, rows[ABSOLUTES + form], scale, rows[SAMPLES])
        probability = student_tail(away, dof, rows[SAMPLES], side)
        floor_share = 1.0 - np.minimum(square / (scale * scale), 1.0)
        return np.maximum(probability, flat_limit(rows[SAMPLES], floor_share))

    def learn(self, judged: PopulationJudgement, held: Bools | None = None) -> None:
        """Take the judged members into the state; where all members of an attribute are held back, little of them."""
        rows = judged.rows
        idle = np.empty(0, np.int64)
        if held is not None:
            is_idle = np.ones(judged.members.attributes.size, np.bool_)
            is_idle[judged.members.of_slot[~held]] = False
            idle = judged.members.attributes[is_idle]
        is_mature = rows[SAMPLES] >= SAMPLES_MIN
        logs = judged.members.mean(self._log_ratio(judged)) * np.minimum(judged.members.total, EVIDENCE_STEP)
        step = np.minimum(np.maximum(logs, -EVIDENCE_STEP), EVIDENCE_STEP)
        rows[EVIDENCE] = np.where(is_mature, rows[EVIDENCE] * EVIDENCE_KEEP + step, 0.0)
        away = np.maximum(judged.time_seconds - rows[LAST], 0.0)
        rows[SAMPLES] *= np.exp(away * (-1.0 / MEMORY_SECONDS))
        rows[SAMPLES] += judged.members.total
        gain = judged.members.total / rows[SAMPLES]
        for form, scaled in enumerate(judged.forms):
            limit = np.where(is_mature, WINSOR * scaled.scale, np.inf)[judged.members.of_slot]
            size = np.minimum(np.abs(scaled.residual), limit)
            rows[SQUARES + form] += gain * (judged.members.mean(size * size) - rows[SQUARES + form])
            rows[ABSOLUTES + form] += gain * (judged.members.mean(size) - rows[ABSOLUTES + form])
            learn = partial(self.centres[form].learn, scaled.centre)
            if idle.size:
                learn_little(self.centres[form], learn, idle, judged.time_seconds)
            else:
                learn()
        rows[LAST] = judged.time_seconds
        self.rows[:, judged.members.attributes] = rows

    def _log_ratio(self, judged: PopulationJudgement) -> Floats:
        """Return how much better each value is explained as log-normal than as normal; far ones count like near."""
        at = judged.members.of_slot
        plain, logs = (np.minimum(np.abs(form.residual / form.scale[at]), WINSOR) for form in judged.forms)
        densities = np.log(judged.forms[0].scale / judged.forms[1].scale)[at] - judged.forms[1].y
        ratio = densities + 0.5 * (plain * plain - logs * logs)
        return np.where(judged.members.x > 0.0, ratio, -EVIDENCE_STEP)

    def forget(self, slots: Ints) -> None:
        """Clear attributes."""
        self.rows[:, slots] = 0.0
        for centre in self.centres:
            centre.forget(slots)

    def state(self, n_slots: int) -> Arrays:
        """Return copies of all arrays, trimmed to the attributes in use."""
        self.reserve(n_slots)
        arrays: Arrays = {"rows": self.rows[:, :n_slots].copy()}
        for form, centre in enumerate(self.centres):
            arrays |= {f"c{form}.{key}": array for key, array in centre.state(n_slots).items()}
        return arrays

    def load(self, arrays: Arrays) -> None:
        """Take over what ``state`` returned."""
        rows = arrays["rows"]
        self.reserve(rows.shape[1])
        self.rows[:, : rows.shape[1]] = rows
        for form, centre in enumerate(self.centres):
            prefix = f"c{form}."
            centre.load({key.removeprefix(prefix): arrays[key] for key in arrays if key.startswith(prefix)})


def _share_of_logs(evidence: Floats) -> Floats:
    """Return how far logarithms decide."""
    share: Floats = 1.0 / (1.0 + np.exp(-evidence))
    return share
