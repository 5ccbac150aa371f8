"""Families of distributions: which of them the values of a series follow, and how likely a value is under all of them.

Student's t around what was expected is one, with the tails that the residuals seem to have and again with heavy ones;
the log-normal and the gamma distribution of ``skewed.py`` are two more, each of two kinds of ratios; for counts there
is the negative binomial; for metrics that are on or off there are the two modes of ``modes.py``. How well each foretold
the values so far is its weight, and a probability is the weighted mean of all (Bayesian model averaging: Hoeting et
al., 1999). What is left is corrected by the series' own history: ``recalibration.py``.

Values are learnt in blocks, so that learning costs a few array calls per value at most: until a block is full they wait
in a ring, in single precision.
"""

import math
from typing import Final

import numpy as np

from domain.config.functions import Side
from domain.model import modes, recalibration, skewed
from domain.model.arrays import Arrays, Bools, Floats, Ints, Selection, Singles, capacity_for, grown
from domain.model.probability import (
    SCREEN_Z,
    count_tail,
    is_random_count,
    log_count,
    log_student,
    log_student_t,
    student_t,
    student_tail,
)
from domain.model.setting import HEAVY_ABSOLUTE, Setting

BLOCK: Final = 24
"""Values that are learnt together. Chosen: their cost is spread over many buckets, and the ring is small."""
Z, SCALE, VALUE, EXPONENT, CLOCK = range(5)
"""Rows of the ring: residual in scales; scale; value relative to the origin; minus the log of the probability that the
families gave, 0 where nobody asked; seconds of the day."""
N_WAITING: Final = 5

STUDENT, HEAVY = 0, 1
LOG_NORMAL_OF_RATIOS, LOG_NORMAL_OF_RESIDUALS, GAMMA_OF_RATIOS, GAMMA_OF_RESIDUALS = range(2, 6)
SKEWED: Final = slice(2, 6)
COUNTS, N_FAMILIES = 6, 7
"""Rows: logs of the weights of the families, 0 for the largest."""
MOMENTS: Final = slice(N_FAMILIES, N_FAMILIES + 2 * skewed.N_MOMENTS)
"""Of the ratios of either kind."""
N_BLOCKS, BROKEN, SCREEN = range(MOMENTS.stop, MOMENTS.stop + 3)
"""Blocks learnt; values that were no whole numbers, fading; what residuals must exceed to be looked at, less
``SCREEN_Z``."""
MODES: Final = slice(SCREEN + 1, SCREEN + 1 + modes.N_ROWS)
HISTORY: Final = slice(MODES.stop, MODES.stop + recalibration.N_ROWS)
N_ROWS: Final = HISTORY.stop
BYTES_PER_SERIES: Final = 8 * N_ROWS + 4 * N_WAITING * BLOCK

HEAVY_DOF: Final = 3.0
BAYES_MAX: Final = 2.5
"""A value changes the log of a weight by at most so much: no single one decides what a series is."""
FIT_DEPTH: Final = 9.0
"""A value whose density is below e^-9 of a normal mode by every family is noise of none of them, but an anomaly, and
tells nothing of which family it is: its say falls with its density. Chosen: a heavy tail is so thin 15 scales out."""
BLOCK_BAYES_MAX: Final = 8.0
"""A block of values does by at most so much: an incident of hours is one event."""
WEIGHT_MIN: Final = -12.0
WEIGHTS_MIN: Final = np.array([-3.0, *[WEIGHT_MIN] * 6])[:, None]
"""Bounds of the logs of weights, so that a family can come back. Student's t is never ruled out altogether: skewed
distributions end somewhere, and what a forecast errs by does not."""
WEIGHT_FADE: Final = 0.03
"""Share of the logs of weights that is forgotten per block."""
PRIOR: Final = np.array([0.0, -3.0, -2.0, -2.0, -2.0, -2.0, 3.0])[:, None]
"""Logs of the weights before the first block, and towards which they are forgotten. Chosen: a count is random until
it proves regular, and what is not known to be skewed is not."""
MEMORY_SECONDS: Final = 7 * 86_400.0
MEMORY_BLOCKS: Final = (20.0, 100.0)
"""Memory of the moments of the ratios, and its bounds in blocks."""
LOG_CLIP: Final = 4.0
"""Logs of ratios count for at most so many of their standard deviations."""
BLOCK_VARIANCE_MAX: Final = 3.0
"""A block's variance counts for at most so many times the usual one."""
RATIO_CLIP: Final = 12.0
"""Ratios count for at most so many times their mean."""
SCREENED: Final = 0.12
"""Part of the values that is looked at: more than twice those whose probability is below 0.05."""
SCREEN_STEP: Final = 0.3
SCREEN_RANGE: Final = (-0.3, 0.9)
WEIGHT_SEEN: Final = 1e-3
"""A family of less weight than this has no say."""
PROVEN_TO: Final = (15.0, 30.0)
"""Residuals, in scales, up to which a heavy tail explains noise in full, and from which it does not. Chosen: a tail so
far out is thin even if it is heavy, and what lies there is rather an incident."""
IMPOSSIBLE: Final = -1e6
"""Log of the density of what a family cannot be."""


class Families:
    """What is known of the distributions of all series.

    Attributes
    ----------
    rows : ndarray of shape (N_ROWS, capacity), dtype=float64
    waiting : ndarray of shape (N_WAITING, BLOCK, capacity), dtype=float32
    """

    def __init__(self, bucket_span_seconds: int, *, is_count: bool) -> None:
        self._is_count = is_count
        blocks = MEMORY_SECONDS / (BLOCK * bucket_span_seconds)
        self._gain_min = 1.0 / min(max(blocks, MEMORY_BLOCKS[0]), MEMORY_BLOCKS[1])
        values = max(recalibration.MEMORY_SECONDS / bucket_span_seconds, recalibration.MEMORY_VALUES_MIN)
        self._history_keep = math.exp(-BLOCK / values)
        self.rows: Floats = np.zeros((N_ROWS, capacity_for(0)))
        self.waiting: Singles = np.zeros((N_WAITING, BLOCK, capacity_for(0)), np.float32)
        self.has_modes = False

    def reserve(self, n_slots: int) -> None:
        """Make room for ``n_slots`` series."""
        if n_slots > self.rows.shape[1]:
            self.rows = grown(self.rows, capacity_for(n_slots))
            self.waiting = grown(self.waiting, capacity_for(n_slots))

    def screen(self, selection: Selection) -> Floats:
        """Return the residuals, in scales, below which values are nothing unusual, by each series' own quantile."""
        row: Floats = self.rows[SCREEN, selection]
        return row + SCREEN_Z

    def beyond_modes(self, selection: Selection, y: Floats) -> Bools | None:
        """Tell which values lie apart from both modes of their series; None: no series has modes."""
        if not self.has_modes:
            return None
        rows = self.rows[MODES, selection] if isinstance(selection, slice) else self.rows[MODES][:, selection]
        beyond: Bools = (modes.distance(rows, y) > 1.9) & (rows[modes.TRUST] > WEIGHT_SEEN)
        return beyond

    def two_modes(self, selection: Selection) -> Bools | None:
        """Tell which series have two modes beyond doubt; None: none has."""
        if not self.has_modes:
            return None
        found: Bools = self.rows[MODES.start + modes.TRUST, selection] >= 0.5
        return found

    def of(self, slots: Ints) -> Floats:
        """Return a copy of the rows of some series."""
        rows: Floats = self.rows[:, slots]
        return rows

    def probability(self, rows: Floats, setting: Setting, side: Side) -> Floats:
        """Return the probabilities of values at least as unusual, by all families of the series' rows."""
        weights = self.weights(rows)
        total, found = np.zeros_like(setting.z), np.zeros_like(setting.z)
        for weight, tail in zip(weights, self.tails(rows, weights, setting, side), strict=True):
            if tail is not None:
                total += weight
                found += weight * tail
        found /= total
        trust = rows[MODES][modes.TRUST]
        if self.has_modes and (trust > WEIGHT_SEEN).any():
            of_modes = modes.probability(rows[MODES], setting.y, side)
            np.copyto(found, found + trust * (of_modes - found), where=trust > WEIGHT_SEEN)
        return found

    def weights(self, rows: Floats) -> Floats:
        """Return the weights of the families that have a say, the largest as 1; 0 for the others.

        Which have one is each series' own affair: other series have no say in its probability.
        """
        weights: Floats = np.exp(self.log_weights(rows))
        weights *= weights > WEIGHT_SEEN
        return weights

    def log_weights(self, rows: Floats) -> Floats:
        """Return the logs of the weights; of those that have no say, one that leaves them none."""
        logs = rows[:N_FAMILIES].copy()
        is_young = rows[N_BLOCKS] == 0.0
        np.copyto(logs, PRIOR, where=is_young)
        np.copyto(logs[SKEWED], 2.0 * WEIGHT_MIN, where=is_young)
        if not self._is_count:
            np.copyto(logs[COUNTS], 2.0 * WEIGHT_MIN, where=is_young | (rows[BROKEN] > 0.0))
        return logs

    def tails(self, rows: Floats, weights: Floats, setting: Setting, side: Side) -> list[Floats | None]:
        """Return what each family that has a say makes of values."""
        is_seen = np.maximum.reduce(weights, axis=1) > WEIGHT_SEEN
        tails: list[Floats | None] = [None] * N_FAMILIES
        reach = np.where(setting.z > 0.0, setting.above, setting.below)
        sign = -1.0 if side == "low" else 1.0
        away = setting.z * sign / reach if side != "both" else np.abs(setting.z) / reach
        of_student = student_tail(away, setting.dof, setting.count, side)
        tails[STUDENT] = of_student
        if is_seen[HEAVY]:
            t = setting.heavy()
            tails[HEAVY] = student_t(np.abs(t) if side == "both" else t * sign, HEAVY_DOF, side)
        if is_seen[SKEWED].any():
            levels = setting.levels()
            ratios = np.maximum(setting.ratios(levels), 0.0)
            moments = rows[MOMENTS].reshape(skewed.N_MOMENTS, 2, -1)
            upward = None if side == "both" else sign * np.copysign(1.0, levels)
            tails[SKEWED] = [
                *skewed.log_normal_tail(moments, ratios, upward),
                *skewed.gamma_tail(moments, ratios, upward),
            ]
        if is_seen[COUNTS]:
            actual, typical = setting.actual, setting.typical
            is_random = is_random_count(typical, setting.square)
            of_counts = count_tail(np.maximum(actual, 0.0), typical, setting.square, side)
            tails[COUNTS] = np.where(is_random, of_counts, of_student)
        return tails

    def correct(self, rows: Floats, exponents: Floats, z: Floats) -> Floats:
        """Return minus the logs of the probabilities as each series' history corrects them."""
        return recalibration.correct(rows[HISTORY], exponents, (z > 0.0).astype(np.float64))

    def proven(self, rows: Floats, z: Floats) -> Floats:
        """Return how far tails that are no normal ones are proven by how all values lie, 0 to 1.

        What is skewed is so around its middle already. It counts when it is e times likelier than Student's t.

        Parameters
        ----------
        rows : ndarray of shape (N_ROWS, k)
        z : ndarray of shape (k,)
        """
        of_skewed, heavy = tail_evidence(self.log_weights(rows))
        first, last = PROVEN_TO
        heavy *= np.minimum(np.maximum((last - np.abs(z)) * (1.0 / (last - first)), 0.0), 1.0)
        proven: Floats = np.maximum(of_skewed, heavy)
        return proven

    def wait(
        self,
        selection: Selection,
        count: Floats,
        values: tuple[Floats, Floats, Floats, float],
        slots: Ints,
        exponents: Floats,
    ) -> Ints:
        """Let values wait; return the places of the series whose block is full.

        Parameters
        ----------
        count : ndarray of shape (m,)
            Values before these.
        values : tuple of ndarray of shape (m,) and float
            Residuals in scales, scales, values relative to the origin; seconds of the day.
        slots, exponents : ndarray of shape (k,)
            Of those judged unusual.
        """
        phases = count.astype(np.int64) % BLOCK
        first = int(phases[0])
        if isinstance(selection, slice) and (phases.size == 1 or bool((phases == first).all())):
            row = self.waiting[:, first, selection]
            row[Z], row[SCALE], row[VALUE], row[CLOCK] = values
            row[EXPONENT] = 0.0
            if slots.size:
                self.waiting[EXPONENT, first, slots] = exponents
            return np.arange(phases.size) if first == BLOCK - 1 else _NONE
        own = np.arange(selection.start, selection.stop) if isinstance(selection, slice) else selection
        *of_values, clock = values
        for place, each in zip((Z, SCALE, VALUE), of_values, strict=True):
            self.waiting[place, phases, own] = each
        self.waiting[CLOCK, phases, own] = clock
        self.waiting[EXPONENT, phases, own] = 0.0
        if slots.size:
            self.waiting[EXPONENT, phases[np.searchsorted(own, slots)], slots] = exponents
        full: Ints = (phases == BLOCK - 1).nonzero()[0]
        return full

    def waited(self, slots: Ints) -> Floats:
        """Return the rows of the ring of full blocks; shape (N_WAITING, BLOCK, k)."""
        waited: Floats = self.waiting[:, :, slots].astype(np.float64)
        return waited

    def forget_history(self, slots: Ints) -> None:
        """Forget how far values went so far: they are judged in another way from now on."""
        self.rows[HISTORY, slots] = 0.0

    def have_one_hump(self, slots: Ints) -> Bools:
        """Tell which series are neither random counts nor on or off: their spread may be another at any hour."""
        rows = self.rows[:, slots]
        if self._is_count:
            return np.zeros(slots.size, np.bool_)
        has_hump: Bools = (rows[BROKEN] > 0.0) & (rows[MODES][modes.TRUST] <= WEIGHT_SEEN)
        return has_hump

    def learn(self, slots: Ints, setting: Setting, exponents: Floats, ends: tuple[Floats, Floats]) -> None:
        """Take full blocks in.

        Parameters
        ----------
        exponents : ndarray of shape (BLOCK, k)
            As ``waited`` returned them.
        ends : tuple of ndarray
            Lowest and highest value believed, relative to the origin.
        """
        rows = self.rows[:, slots]
        whole = np.add.accumulate((np.floor(setting.actual) != setting.actual) | (setting.actual < 0.0), axis=0)[-1]
        rows[BROKEN] *= 0.9
        rows[BROKEN] += whole
        np.copyto(rows[BROKEN], 0.0, where=rows[BROKEN] < 0.01)
        levels = setting.levels()
        ratios = setting.ratios(levels)
        is_ratio = ratios > 0.0
        log_ratios = np.log(np.where(is_ratio, ratios, 1.0))
        logs = self._log_densities(rows, setting, levels, is_ratio, log_ratios)
        mixed = self._weigh(rows, logs, setting.scale)
        self._learn_moments(rows, ratios, is_ratio, log_ratios)
        beyond = np.add.accumulate(np.abs(setting.z) > rows[SCREEN] + SCREEN_Z, axis=0)[-1]
        rows[SCREEN] += SCREEN_STEP * (beyond * (1.0 / BLOCK) - SCREENED)
        np.minimum(np.maximum(rows[SCREEN], SCREEN_RANGE[0]), SCREEN_RANGE[1], out=rows[SCREEN])
        trust = rows[MODES][modes.TRUST].copy()
        self._learn_modes(rows[MODES], setting.y, mixed, ends, rows[BROKEN] == 0.0)
        is_above = (setting.z > 0.0).astype(np.float64)
        # What one hump made of two is no history of either.
        np.copyto(rows[HISTORY], 0.0, where=(trust < 0.5) & (rows[MODES][modes.TRUST] >= 0.5))
        recalibration.learn(rows[HISTORY], exponents, is_above, self._history_keep)
        rows[N_BLOCKS] += 1.0
        self.rows[:, slots] = rows
        self.has_modes = self.has_modes or bool((rows[MODES][modes.TRUST] > WEIGHT_SEEN).any())

    def _log_densities(
        self, rows: Floats, setting: Setting, levels: Floats, is_ratio: Bools, log_ratios: Floats
    ) -> Floats:
        """Return the logs of the densities of values by each family, shape (N_FAMILIES, BLOCK, k)."""
        found = np.empty((N_FAMILIES, *setting.z.shape))
        reaches = (setting.below, setting.above)
        found[STUDENT] = log_student(setting.z, setting.dof, reaches) - np.log(setting.scale)
        # A spread that has just changed is no heavy tail: what a normal distribution of the latest one explains is
        # Student's too.
        lately = np.sqrt(np.maximum(setting.lately, 1e-300))
        normal = log_student(setting.z * setting.scale / lately, np.full(setting.dof.shape, 100.0), reaches)
        found[STUDENT] = np.logaddexp(found[STUDENT], normal - np.log(lately)) - math.log(2.0)
        dof = np.full(setting.dof.shape, HEAVY_DOF)
        heavy = setting.heavy()
        found[HEAVY] = log_student_t(heavy, dof)
        spread = setting.below * setting.below + setting.above * setting.above
        found[HEAVY] += np.log(
            2.0
            * HEAVY_ABSOLUTE
            * spread
            / (np.maximum(setting.absolute, 1e-300) * (setting.below + setting.above) ** 2)
        )
        moments = rows[MOMENTS].reshape(skewed.N_MOMENTS, 2, 1, -1)
        log_normal, gamma = skewed.log_densities(moments, log_ratios)
        # The density of values is that of ratios over the level.
        change = log_ratios + np.log(np.maximum(np.abs(levels), 1e-300))
        found[LOG_NORMAL_OF_RATIOS:GAMMA_OF_RATIOS] = np.where(is_ratio, log_normal - change, IMPOSSIBLE)
        found[GAMMA_OF_RATIOS:COUNTS] = np.where(is_ratio, gamma - change, IMPOSSIBLE)
        found[COUNTS] = IMPOSSIBLE
        is_counted = rows[BROKEN] == 0.0
        if self._is_count or is_counted.any():
            is_random = is_random_count(setting.typical, np.broadcast_to(setting.square, setting.typical.shape))
            of_counts = log_count(np.maximum(setting.actual, 0.0), setting.typical, setting.square)
            np.copyto(found[COUNTS], of_counts, where=is_random & (is_counted | self._is_count))
        return found

    def _weigh(self, rows: Floats, logs: Floats, scale: Floats) -> Floats:
        """Move the weights on; return the logs of the densities under all families as they were weighted before."""
        weights = np.exp(self.log_weights(rows))
        total = weights[0].copy()
        for weight in weights[1:]:
            total += weight
        best = np.maximum.reduce(logs, axis=0)
        relative = np.maximum(logs - best, -30.0)
        shares = np.exp(relative)
        mixed: Floats = weights[0] * shares[0]
        for weight, share in zip(weights[1:], shares[1:], strict=True):
            mixed += weight * share
        mixed /= total
        gains = np.minimum(np.maximum(logs - logs[STUDENT], -BAYES_MAX), BAYES_MAX)
        gains *= np.exp(np.minimum(best + np.log(scale) + FIT_DEPTH, 0.0))
        gained = np.add.accumulate(gains, axis=1)[:, -1]
        np.minimum(np.maximum(gained, -BLOCK_BAYES_MAX), BLOCK_BAYES_MAX, out=gained)
        own = rows[:N_FAMILIES]
        own += WEIGHT_FADE * (PRIOR - own)
        own += gained
        np.copyto(own, PRIOR, where=rows[N_BLOCKS] == 0.0)
        own -= np.maximum.reduce(own, axis=0)
        np.maximum(own, WEIGHTS_MIN, out=own)
        mixed = np.log(np.maximum(mixed, 1e-300))
        mixed += best
        return mixed

    def _learn_moments(self, rows: Floats, ratios: Floats, is_ratio: Bools, log_ratios: Floats) -> None:
        """Learn mean and variance of the logs of the ratios, and their mean."""
        moments = rows[MOMENTS].reshape(skewed.N_MOMENTS, 2, -1)
        mean, variance, ratio = moments
        is_known = rows[N_BLOCKS] > 0.0
        # The first block knows no variance to clip by.
        reach = np.where(is_known, LOG_CLIP * np.sqrt(variance), 1e3)[:, None]
        off = np.minimum(np.maximum(log_ratios - mean[:, None], -reach), reach)
        clipped = np.minimum(ratios, np.where(is_known, RATIO_CLIP * ratio, 1e6)[:, None])
        off *= is_ratio
        stack = np.stack((is_ratio, off, off * off, is_ratio * clipped))
        n, first, second, total = np.add.accumulate(stack, axis=2)[:, :, -1]
        gain = np.maximum(1.0 / (rows[N_BLOCKS] + 1.0), self._gain_min) * (n > 0.0)
        np.maximum(n, 1.0, out=n)
        first /= n
        second /= n
        np.minimum(second, np.where(is_known, BLOCK_VARIANCE_MAX * variance, np.inf), out=second)
        variance += gain * (second - variance - gain * first * first)  # about the new mean
        np.maximum(variance, 0.0, out=variance)
        mean += gain * first
        ratio += gain * (total / n - ratio)

    def _learn_modes(
        self, rows: Floats, y: Floats, mixed: Floats, ends: tuple[Floats, Floats], is_whole: Bools
    ) -> None:
        low, high = ends
        is_misplaced = modes.are_misplaced(rows, low, high) & (high > low)
        if is_misplaced.any():
            at = is_misplaced.nonzero()[0]
            anew = rows[:, at]
            modes.place(anew, low[at], high[at])
            rows[:, at] = anew
        is_placed = rows[modes.N_LOWER] > 0.0
        if is_placed.all():
            modes.learn(rows, y, mixed, is_whole)
        elif is_placed.any():
            at = is_placed.nonzero()[0]
            own = rows[:, at]
            modes.learn(own, y[:, at], mixed[:, at], is_whole[at])
            rows[:, at] = own

    def forget(self, slots: Ints) -> None:
        """Clear slots."""
        self.rows[:, slots] = 0.0
        self.waiting[:, :, slots] = 0.0

    def state(self, n_slots: int) -> Arrays:
        """Return copies of all arrays, trimmed to the slots in use."""
        return {"families": self.rows[:, :n_slots].copy(), "waiting": self.waiting[:, :, :n_slots].copy()}

    def load(self, arrays: Arrays) -> None:
        """Take over what ``state`` returned."""
        n_slots = arrays["families"].shape[1]
        self.reserve(n_slots)
        self.rows[:, :n_slots] = arrays["families"]
        self.waiting[:, :, :n_slots] = arrays["waiting"]
        self.has_modes = bool((self.rows[MODES][modes.TRUST] > WEIGHT_SEEN).any())


def tail_evidence(log_weights: Floats) -> tuple[Floats, Floats]:
    """Return how far skewed families, and the heavy tail, are likelier than Student's t; 0 to 1 each.

    Parameters
    ----------
    log_weights : ndarray of shape (N_FAMILIES, k)
    """
    of_skewed = np.maximum.reduce(log_weights[SKEWED], axis=0) - log_weights[STUDENT]
    of_heavy = log_weights[HEAVY] - log_weights[STUDENT]
    return np.minimum(np.maximum(of_skewed, 0.0), 1.0), np.minimum(np.maximum(of_heavy, 0.0), 1.0)


_NONE: Final = np.empty(0, np.int64)
