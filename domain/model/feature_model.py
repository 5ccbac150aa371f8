"""The model of one feature of one detector: judges the values of a bucket against each series' past, then learns them.

Judging and learning are apart: ``judge`` reads only, so that results of a bucket in progress leave no trace, and
``learn`` takes what ``judge`` found out. Everything is per series; no other series has a say in a probability.
The parts are ``expectation.py`` (what is expected), ``spread.py``, ``probability.py`` and ``novelty.py``.
"""

from dataclasses import fields, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np

from domain.config.functions import Side
from domain.model import expectation, families, forecast, novelty, spread, stillness, unrest
from domain.model.arrays import Arrays, Bools, Floats, Ints, Selection, capacity_for, grown, slots_of
from domain.model.candidates import Candidates
from domain.model.expectation import Expectations
from domain.model.functions import Feature
from domain.model.judgement import Judgement, Learnt
from domain.model.plot import Bounds, bounds_around
from domain.model.probability import (
    COUNT_MIN,
    PROBABILITY_MIN,
    TAIL_DOF_MAX,
    count_tail,
    flat_limit,
    is_random_count,
    signed,
    student_tail,
    tail_dof,
)
from domain.model.setting import Setting

COUNT, TIME, ORIGIN = range(3)
EXPECTATION: Final = slice(3, 3 + expectation.N_ROWS)
SPREAD: Final = slice(EXPECTATION.stop, EXPECTATION.stop + spread.N_ROWS)
PEAKS: Final = slice(SPREAD.stop, SPREAD.stop + 4)
N_ROWS: Final = PEAKS.stop
"""Rows of the state: values learnt; middle of the latest bucket learnt (epoch seconds); first value; expectation;
spread; greatest surprisal so far and its time, greatest record broken and its time, which belong to
``detector_model.py``."""

_N_LEVEL_MEMORIES: Final = forecast.ERROR_MEMORY
BYTES_PER_SERIES: Final = (
    8 * (N_ROWS - expectation.N_ROWS)
    + expectation.BYTES_PER_SERIES
    + novelty.BYTES_PER_SERIES
    + families.BYTES_PER_SERIES
    + stillness.BYTES_PER_SERIES
    + unrest.BYTES_PER_SERIES
)


class FeatureModel:
    """State and arithmetic of one feature for all series of a detector.

    Attributes
    ----------
    rows : ndarray of shape (N_ROWS, capacity), dtype=float64
    expectations : Expectations
    """

    def __init__(self, feature: Feature, side: Side, bucket_span_seconds: int) -> None:
        self.feature = feature
        self.side: Side = side if side != "both" else feature.side
        self.rows: Floats = np.zeros((N_ROWS, capacity_for(0)))
        self.expectations = Expectations(bucket_span_seconds)
        self.novelty = novelty.Novelty(bucket_span_seconds)
        self.families = families.Families(bucket_span_seconds, is_count=feature.is_count)
        self.stillness = stillness.Stillness()
        self.unrest = unrest.Unrest(bucket_span_seconds)
        levels = forecast.time_constants(bucket_span_seconds)
        self._memories = np.concatenate([levels, [[spread.short_memory_seconds(bucket_span_seconds)]]])
        self.long_memory_buckets = float(levels[forecast.ERROR_MEMORY, 0]) / bucket_span_seconds

    def reserve(self, n_slots: int) -> None:
        """Make room for ``n_slots`` series."""
        if n_slots > self.rows.shape[1]:
            self.rows = grown(self.rows, capacity_for(n_slots))
            self.expectations.reserve(n_slots)
            self.novelty.reserve(n_slots)
            self.families.reserve(n_slots)
            self.stillness.reserve(n_slots)
            self.unrest.reserve(n_slots)

    def judge(self, selection: Selection, x: Floats, time_seconds: float) -> Judgement:
        """Compare values with what their series lead to expect; nothing is changed.

        Parameters
        ----------
        selection : slice or ndarray of shape (m,)
            Slots.
        x : ndarray of shape (m,)
            Their values in this bucket.
        time_seconds : float
            Middle of the bucket, seconds since the epoch.
        """
        rows = self.rows[:, selection].copy() if isinstance(selection, slice) else self.rows.take(selection, axis=1)
        count = rows[COUNT]
        np.copyto(rows[ORIGIN], x, where=count == 0.0)
        origin = rows[ORIGIN]
        y = x - origin
        own = rows[EXPECTATION]
        outlook = self.expectations.read(own, selection, time_seconds)
        scale = spread.scale_of(rows[SPREAD], count, origin + outlook.level, self.feature.is_count)
        value_min = -origin if self.feature.is_non_negative else None
        expected = self.expectations.judge(own, outlook, y, scale, value_min)
        residual = expected.residual
        z = residual / scale
        np.minimum(np.maximum(z, -spread.Z_MAX), spread.Z_MAX, out=z)
        news = self.novelty.judge(selection, y, residual, z)
        still = self.stillness.judge(selection, y, self.families.two_modes(selection))
        calm = self.unrest.read(selection, time_seconds)
        mixed = expected.mixed
        return Judgement(selection, time_seconds, rows, x, y, mixed, residual, scale, z, expected, news, still, calm)

    def bounds(self, slots: Ints, time_seconds: float) -> Bounds:
        """Return between which values series are expected; nothing is changed.

        Parameters
        ----------
        slots : ndarray of shape (m,)
        time_seconds : float
            Middle of the bucket.
        """
        judged = self.judge(slots, self.rows[ORIGIN, slots], time_seconds)
        median, is_known = judged.mixed + judged.rows[ORIGIN], judged.rows[COUNT] >= COUNT_MIN
        scale = judged.scale if judged.unrest is None else judged.scale * judged.unrest
        return bounds_around(median, scale, is_known, is_non_negative=self.feature.is_non_negative)

    def candidates(self, judged: Judgement, *, grows_on: bool = False) -> Candidates:
        """Pick the unusual values and calculate their exact probabilities.

        Parameters
        ----------
        grows_on : bool
            The bucket is still open: a value that records add up to is not too low yet.
        """
        side: Side = "high" if grows_on and self.feature.is_additive else self.side
        if grows_on and self.feature.is_additive and self.side == "low":
            return _NO_CANDIDATES
        still = None if grows_on else judged.still.exponents
        is_unusual, is_mature = self.screen(judged, side, still)
        at = is_unusual.nonzero()[0]
        n_judged = int(np.count_nonzero(is_mature))
        if at.size == 0:
            return nothing_unusual(n_judged)
        slots = slots_of(judged.selection, at)
        far = judged.news.far(side)
        of_families, probability = self._probabilities(judged, at, slots, side)
        exponents, still_exponents = -np.log(probability), np.zeros_like(probability)
        if still is not None:
            still_exponents += still[at] * (still[at] >= stillness.SEEN_FROM)
            np.minimum(probability, np.exp(-still_exponents), out=probability)
        found = Candidates(
            slots=slots,
            probability=probability,
            actual=judged.x[at],
            typical=judged.mixed[at] + judged.rows[ORIGIN][at],
            n_judged=n_judged,
            exponents=exponents,
            surprise=np.zeros_like(probability),
            noise_exponents=np.zeros_like(probability),
            is_news=np.zeros_like(probability),
            impact=novelty.impact(judged.news, at, side),
            of_families=of_families,
            still_exponents=still_exponents,
        )
        new = (far[at] > novelty.SCREEN_Z).nonzero()[0]
        if new.size:
            self._add_news(judged, found, new, at[new], side)
        return found

    def screen(self, judged: Judgement, side: Side, still: Floats | None) -> tuple[Bools, Bools]:
        """Tell which values may be unusual, and which are of series old enough to be judged.

        Parameters
        ----------
        still : ndarray of shape (m,) or None
            Of the judgement, where standing still counts.
        """
        is_mature = judged.rows[COUNT] >= COUNT_MIN
        away = signed(judged.z, side)
        if judged.unrest is not None:
            away = away / judged.unrest
        is_unusual = away > self.families.screen(judged.selection)
        is_unusual |= judged.news.far(side) > novelty.SCREEN_Z
        beyond_modes = self.families.beyond_modes(judged.selection, judged.y)
        if beyond_modes is not None:
            is_unusual |= beyond_modes
        if still is not None:
            is_unusual |= still >= stillness.SEEN_FROM
        is_unusual &= is_mature
        return is_unusual, is_mature

    def _probabilities(self, judged: Judgement, at: Ints, slots: Ints, side: Side) -> tuple[Floats, Floats]:
        """Return how unlikely values at least as far from what was expected are.

        Returns
        -------
        exponents : ndarray of shape (k,)
            Minus the logs of the probabilities by the families.
        probability : ndarray of shape (k,)
            As corrected by each series' own history.
        """
        rows, scale, z = judged.rows[:, at], judged.scale[at], judged.z[at]
        setting = self.setting_of(judged, at)
        own = self.families.of(slots) if judged.of_families is None else judged.of_families[:, at]
        probability = self.families.probability(own, setting, side)
        exponents = -np.log(np.minimum(np.maximum(probability, PROBABILITY_MIN), 1.0))
        probability = np.exp(-self.families.correct(own, exponents, z))
        np.maximum(probability, _limit(rows[SPREAD], scale, rows[COUNT]), out=probability)
        return exponents, np.minimum(np.maximum(probability, PROBABILITY_MIN), 1.0)

    def setting_of(self, judged: Judgement, at: Ints) -> Setting:
        """Return what the families judge values by, at places among those judged."""
        z, y, scale = judged.z[at], judged.y[at], judged.scale[at]
        if judged.unrest is not None:
            z, y = unrest.calmed(z, y, scale, judged.unrest[at])
        return self.setting(judged.rows[:, at], z, scale, y, judged.mixed[at])

    def setting(self, rows: Floats, z: Floats, scale: Floats, y: Floats, mixed: Floats) -> Setting:
        """Return what the families judge values by.

        Parameters
        ----------
        rows : ndarray of shape (N_ROWS, k)
        z, scale, y, mixed : ndarray of shape (k,) or (n, k)
        """
        residuals, count, origin = rows[SPREAD], rows[COUNT], rows[ORIGIN]
        square, absolute = residuals[spread.CALM], residuals[spread.ABSOLUTE]
        n_effective = np.minimum(count, self.long_memory_buckets)
        lean, below, above = spread.leaning(residuals)
        # A block has many scales; the last is as good as any here.
        dof = tail_dof(square, absolute, scale if scale.ndim == 1 else scale[-1], n_effective)
        return Setting(
            z=z,
            scale=scale,
            y=y,
            actual=y + origin,
            typical=mixed + origin,
            square=square * (1.0 + 2.0 / np.maximum(count, 1.0)),
            lately=residuals[spread.SQUARE_SHORT],
            absolute=absolute,
            dof=dof,
            below=below,
            above=above,
            lean=lean,
            count=count,
        )

    def _learn_families(self, learnt: Learnt, found: Candidates | None) -> None:
        """Let the families learn, block by block."""
        slots, exponents = _NO_CANDIDATES.slots, _NONE
        if found is not None and found.of_families is not None:
            slots, exponents = found.slots, found.of_families
        selection, rows = learnt.selection, learnt.rows
        clock = learnt.time_seconds % unrest.DAY_SECONDS
        values = (learnt.z, learnt.scale, learnt.y, clock)
        full = self.families.wait(selection, rows[COUNT], values, slots, exponents)
        if full.size:
            own = slots_of(selection, full)
            z, scale, y, exponents, clocks = self.families.waited(own)
            mixed, factors, calm = y - z * scale, self.unrest.at(own, clocks), (z, y)
            if factors is not None:
                calm = unrest.calmed(z, y, scale, factors)
            setting = self.setting(rows[:, full], calm[0], scale, calm[1], mixed)
            ends = rows[SPREAD][:, full]
            self.families.learn(own, setting, exponents, (ends[spread.LOW], ends[spread.HIGH]))
            begin = self.unrest.learn(own, clocks, z, self.families.have_one_hump(own))
            self.families.forget_history(begin)

    def kept(self, judged: Judgement, slots: Ints) -> Judgement:
        """Return what some of the series were judged by, to be asked again when all is learnt.

        Parameters
        ----------
        slots : ndarray of shape (k,)
            Ascending.
        """
        selection = judged.selection
        at = slots - selection.start if isinstance(selection, slice) else np.searchsorted(selection, slots)
        arrays = {
            item.name: getattr(judged, item.name)[..., at]
            for item in fields(judged)
            if isinstance(getattr(judged, item.name), np.ndarray)
        }
        return replace(judged, **{**arrays, "selection": slots, "of_families": self.families.of(slots)})

    def reconsider(self, kept: Judgement, slots: Ints, x: Floats, widen: Floats, side: Side) -> Floats:
        """Return minus the logs of the probabilities that series would have had with other values.

        Parameters
        ----------
        kept : Judgement
            What ``kept`` returned.
        slots : ndarray of shape (n,)
            Some of those, in any order, more than once if need be.
        x, widen : ndarray of shape (n,)
            The values, and how many times farther than usual each may lie from what was expected.
        """
        assert not isinstance(kept.selection, slice)
        if slots.size == 0:
            return np.empty(0)
        at = np.searchsorted(kept.selection, slots)
        rows, mixed, scale = kept.rows[:, at], kept.mixed[at], kept.scale[at]
        z = (x - rows[ORIGIN] - mixed) / (scale * widen)
        np.minimum(np.maximum(z, -spread.Z_MAX), spread.Z_MAX, out=z)
        assert kept.of_families is not None
        own, calm = kept.of_families[:, at], None if kept.unrest is None else kept.unrest[at]
        other = replace(kept, rows=rows, x=x, y=x - rows[ORIGIN], mixed=mixed, scale=scale, z=z, unrest=calm)
        other = replace(other, of_families=own)
        exponents: Floats = -np.log(self._probabilities(other, np.arange(at.size), slots, side)[1])
        return exponents

    def _add_news(self, judged: Judgement, found: Candidates, new: Ints, at: Ints, side: Side) -> None:
        """Add to candidates what records they broke.

        Parameters
        ----------
        new, at : ndarray of shape (l,)
            Places of those that may have broken some, among the candidates and among the values judged.
        """
        slots, count = found.slots[new], judged.rows[COUNT][at]
        found.surprise[new] = self.novelty.surprise(judged.news, at, slots, side, judged.time_seconds)
        found.noise_exponents[new] = self._noise_exponents(judged, at, side, found.exponents[new])
        found.is_news[new] = self.novelty.is_news(found.strength()[new], slots)
        chance = np.maximum(np.exp(-found.noise_exponents[new]), novelty.chance_of_record(found.surprise[new], count))
        is_shown = (found.strength() * found.is_news)[new] > 0.0
        least = np.where(is_shown, np.maximum(chance, PROBABILITY_MIN), 1.0)
        found.probability[new] = np.minimum(found.probability[new], least)

    def _hold_to_counts(self, probability: Floats, actual: Floats, typical: Floats, scale: Floats, side: Side) -> None:
        """Raise probabilities of random counts to what the distribution of counts makes of them."""
        if self.feature.is_count:
            variance = scale * scale
            discrete = count_tail(actual, typical, variance, side)
            np.maximum(probability, discrete, out=probability, where=is_random_count(typical, variance))

    def _noise_exponents(self, judged: Judgement, at: Ints, side: Side, exponents: Floats) -> Floats:
        """Return minus the log of the chance that noise of the series' spread comes as far on any scale.

        Parameters
        ----------
        at : ndarray of shape (l,)
            Places among the values judged.
        exponents : ndarray of shape (l,)
            Minus the logs of the probabilities of their residuals.
        """
        noise_z, scale = judged.news.noise_z[:, at], judged.scale[at]
        if judged.unrest is not None:
            noise_z = noise_z / np.maximum(judged.unrest[at], 1.0)
        z = np.abs(noise_z) if side == "both" else signed(noise_z, side)
        count, origin = judged.rows[COUNT][at], judged.rows[ORIGIN][at]
        limit = _limit(judged.rows[SPREAD][:, at], scale, count)
        dof = np.full(at.size, TAIL_DOF_MAX)
        several = np.maximum.reduce(z[1:], axis=0)
        chances = np.stack([student_tail(far, dof, count, side) for far in (z[0], several)])
        np.maximum(chances, limit, out=chances)
        if self.feature.is_count:
            which = 1 + z[1:].argmax(axis=0)
            for place, scales in ((0, np.zeros(at.size, np.int64)), (1, which)):
                n_buckets = novelty.BUCKETS_OF_SCALE[scales]
                mean = (judged.mixed[at] + origin) * n_buckets
                actual = mean + noise_z[scales, np.arange(at.size)] * scale * np.sqrt(n_buckets)
                of_counts = np.maximum(actual, 0.0)
                self._hold_to_counts(chances[place], of_counts, mean, scale * np.sqrt(n_buckets), side)
        # Neighbouring scales share little of their tails: the best of four.
        single, smoothed = -np.log(np.minimum(np.maximum(chances * novelty.N_SCALES, PROBABILITY_MIN), 1.0))
        selection = judged.selection
        slots = slots_of(selection, at)
        proven = self.families.proven(self.families.of(slots), judged.z[at])
        np.maximum(proven, self.novelty.proven(slots, count, judged.time_seconds), out=proven)
        single += proven * (np.minimum(exponents, single) - single)
        larger: Floats = np.maximum(single, smoothed)
        return larger

    def learn(self, judged: Judgement, found: Candidates | None = None) -> None:
        """Take the judged values, and what was found unusual of them if anybody asked, into the state."""
        self.keep(self.take_in(judged), found)

    def take_in(self, judged: Judgement) -> Learnt:
        """Let everything learn the judged values that does so value by value."""
        rows = judged.rows
        count = rows[COUNT]
        away = np.maximum(judged.time_seconds - rows[TIME], 0.0)  # a new series has time 0; data may be older
        gains = -np.expm1(-away / self._memories)
        # The first values make plain means, until the memory is full. There is one residual less than values.
        np.maximum(gains[:_N_LEVEL_MEMORIES], 1.0 / (count + 1.0), out=gains[:_N_LEVEL_MEMORIES])
        np.maximum(gains[_N_LEVEL_MEMORIES:], 1.0 / np.maximum(count, 1.0), out=gains[_N_LEVEL_MEMORIES:])
        slow = judged.expectation.outlook.level
        believed, shift = self.expectations.learn(
            rows[EXPECTATION],
            judged.expectation,
            judged.selection,
            judged.z,
            scale=judged.scale,
            gains=gains,
            count=count,
            time_seconds=judged.time_seconds,
        )
        fade = np.minimum(away * (1.0 / spread.RANGE_MEMORY_SECONDS), 1.0)
        widest = judged.scale * (spread.WINSOR + 20.0 * shift + 40.0 / np.maximum(count, 1.0))
        squares = gains[forecast.ERROR_MEMORY :]
        residual = judged.residual
        calm = residual if judged.unrest is None else residual / judged.unrest
        spread.learn(rows[SPREAD], residual, calm, widest, value=believed, slow=slow, gains=squares, fade=fade)
        self.novelty.learn(judged.news, judged.x, judged.time_seconds, away=away, count=count)
        self.stillness.learn(judged.selection, judged.y, judged.still)
        value = judged.expectation.value
        return Learnt(judged.selection, judged.time_seconds, rows, value, judged.z, judged.scale, judged.y)

    def keep(self, learnt: Learnt, found: Candidates | None = None) -> None:
        """Let learn what does so in blocks and stretches or asks what was found; keep the rows."""
        rows = learnt.rows
        self.expectations.look_for_cycles(rows[EXPECTATION], learnt.value, learnt.selection, learnt.time_seconds)
        self._learn_families(learnt, found)
        if found is not None and found.slots.size:
            self.novelty.remember(found.strength(), found.is_news, found.slots)
        rows[COUNT] += 1.0
        rows[TIME] = learnt.time_seconds
        self.rows[:, learnt.selection] = rows

    def compared(self, judged: Judgement, *, with_typical: bool) -> tuple[Floats, Floats]:
        """Return what custom rules compare: the values judged and, if asked for, what was expected of them.

        NaN where nothing was expected, as there was no value before.
        """
        if not with_typical:
            return judged.x, judged.x
        return judged.x, np.where(judged.rows[COUNT] > 0.0, judged.mixed + judged.rows[ORIGIN], np.nan)

    def tables(self) -> tuple[list[np.ndarray[Any, Any]], list[np.ndarray[Any, Any]]]:
        """Return the arrays that a value held back by a rule changes little, and those that it does not: records."""
        cycles = self.expectations.cycles
        of_records: list[np.ndarray[Any, Any]] = [self.novelty.streams, self.novelty.rows]
        of_tails: list[np.ndarray[Any, Any]] = [
            self.families.rows,
            self.families.waiting,
            self.stillness.rows,
            self.unrest.table,
        ]
        unchanged = [*of_records, *of_tails, cycles.rows, cycles.stretch, cycles.table]
        return [self.rows, self.expectations.seasons.table], unchanged

    def forget(self, slots: Ints) -> None:
        """Clear slots."""
        self.rows[:, slots] = 0.0
        self.expectations.forget(slots)
        self.novelty.forget(slots)
        self.families.forget(slots)
        self.stillness.forget(slots)
        self.unrest.forget(slots)

    def state(self, n_slots: int) -> Arrays:
        """Return copies of all arrays, trimmed to the slots in use."""
        self.reserve(n_slots)
        return {
            "rows": self.rows[:, :n_slots].copy(),
            **self.expectations.state(n_slots),
            **self.novelty.state(n_slots),
            **self.families.state(n_slots),
            **self.stillness.state(n_slots),
            **self.unrest.state(n_slots),
        }

    def load(self, arrays: Arrays) -> None:
        """Take over what ``state`` returned."""
        rows = arrays["rows"]
        self.reserve(rows.shape[1])
        self.rows[:, : rows.shape[1]] = rows
        self.expectations.load(arrays)
        self.novelty.load(arrays)
        self.families.load(arrays)
        self.stillness.load(arrays)
        self.unrest.load(arrays)


def _limit(residuals: Floats, scale: Floats, count: Floats) -> Floats:
    """Return the smallest probability that values may have, by the part of their scale that is a floor."""
    return flat_limit(count, 1.0 - np.minimum(residuals[spread.SQUARE] / (scale * scale), 1.0))


@lru_cache(maxsize=64)
def nothing_unusual(n_judged: int) -> Candidates:
    """Return what was found where nothing was."""
    return Candidates(_NO_SLOTS, *_NOTHING[:3], n_judged, *_NOTHING[3:])


_NONE: Final = np.empty(0)
_NO_SLOTS: Final = np.empty(0, np.int64)
_NOTHING: Final = (_NONE,) * 8
_NO_CANDIDATES: Final = nothing_unusual(0)
