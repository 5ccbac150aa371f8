"""The model of ``time_of_day`` and ``time_of_week``: at which times of its day or week a series usually has records.

Per series a circular histogram of the times seen. How smooth it is shows in how well three widths foretold the times
that came; none is trusted before it has proved itself. Same order of calls as ``feature_model.py``: ``judge`` reads
only, ``learn`` takes what it found out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np

from domain.model.arrays import Arrays, Floats, Ints, Selection, Singles, capacity_for, grown
from domain.model.candidates import Candidates, without_records
from domain.model.functions import Feature
from domain.model.probability import COUNT_MIN, PROBABILITY_MIN

DAY_SECONDS, WEEK_SECONDS = 86_400, 7 * 86_400
CELLS: Final = {DAY_SECONDS: 96, WEEK_SECONDS: 336}
"""Cells per period. Chosen: a quarter of an hour of the day, half an hour of the week."""
MONDAY_SECONDS: Final = 4 * 86_400
"""Where weeks start, after the epoch."""

HALF_WIDTHS: Final = (1, 4, 16)
"""Cells on either side over which each of the three densities is the mean."""
REACH: Final = max(HALF_WIDTHS)
MEMORY_SECONDS: Final = 60 * 86_400.0
EVIDENCE_MEMORY: Final = 0.98
"""Part of a width's evidence that is left after a time more. Chosen: the last fifty times decide."""
UNUSUAL: Final = 0.05
SCREEN: Final = 0.5
"""A time whose own cell has more than this part of the mean share is not unusual. Chosen: where any hour will do, one
that comes half as often as another is no surprise, and need not be looked at."""
REBASED_AFTER: Final = 10.0
"""Memories after which a histogram is brought down to size: times count for ever more instead of fading, so that a
bucket touches one cell. Chosen: e^10 costs single precision nothing."""

COUNT, LAST, FIRST, BASE, TOTAL, EVIDENCE, PEAK = 0, 1, 2, 3, 4, 5, 5 + len(HALF_WIDTHS)
N_ROWS: Final = PEAK + 2
"""Rows of the state: times learnt; middle of the latest bucket and of the first (epoch seconds); when a time counted
for 1; sum of the histogram; evidence of each width; most unusual exponent so far and its time."""
_FROM_INSIDE: Final = np.array(sorted(range(-REACH, REACH + 1), key=abs))[:, None]
"""Distances of cells, the nearest first."""


@dataclass(frozen=True, slots=True)
class TimesJudgement:
    """What was found of the times of one bucket.

    Attributes
    ----------
    slots : ndarray of shape (m,)
    rows : ndarray of shape (N_ROWS, m)
        A copy of their state.
    gain : ndarray of shape (m,)
        What a time counts for now.
    total : ndarray of shape (m,)
        Sum of the histogram, in times of now.
    phase, place : ndarray of shape (m,)
        Seconds of the period, and the cell that they lie in.
    novelty : ndarray of shape (m,)
        Chance of a time never seen before.
    own : ndarray of shape (len(HALF_WIDTHS), m)
        Share of the cell by each width.
    weights : ndarray of shape (len(HALF_WIDTHS), m)
        How far each width is trusted; they sum to 1.
    """

    selection: Selection
    time_seconds: float
    slots: Ints
    rows: Floats
    gain: Floats
    total: Floats
    phase: Floats
    place: Ints
    novelty: Floats
    own: Floats
    weights: Floats


class TimesModel:
    """State and arithmetic of one such feature for all series of a detector.

    Attributes
    ----------
    rows : ndarray of shape (N_ROWS, capacity), dtype=float64
    cells : ndarray of shape (n_cells, capacity), dtype=float32
        The later a time came the more it counts, by ``gain``.
    """

    def __init__(self, feature: Feature, period_seconds: int) -> None:
        self.feature = feature
        self.period = period_seconds
        self.n_cells = CELLS[period_seconds]
        self._around = (np.arange(self.n_cells) + _FROM_INSIDE) % self.n_cells
        self.rows: Floats = np.zeros((N_ROWS, capacity_for(0)))
        self.cells: Singles = np.zeros((self.n_cells, capacity_for(0)), np.float32)

    @property
    def bytes_per_series(self) -> int:
        """What the state of a series takes."""
        return 8 * N_ROWS + 4 * self.n_cells

    @property
    def peaks(self) -> Floats:
        """A view of the most unusual exponents so far and their times, shape (2, capacity)."""
        return self.rows[PEAK : PEAK + 2]

    def reserve(self, n_slots: int) -> None:
        """Make room for ``n_slots`` series."""
        if n_slots > self.rows.shape[1]:
            self.rows = grown(self.rows, capacity_for(n_slots))
            self.cells = grown(self.cells, capacity_for(n_slots))

    @property
    def offset(self) -> int:
        """Where a period starts, seconds after the epoch."""
        return MONDAY_SECONDS if self.period == WEEK_SECONDS else 0

    def locate(self, x: Floats) -> tuple[Floats, Ints]:
        """Return the seconds of the period that times lie at, and their cells."""
        phase = np.remainder(x - self.offset, self.period)
        return phase, np.minimum(phase * (self.n_cells / self.period), self.n_cells - 1).astype(np.int64)

    def judge(self, selection: Selection, x: Floats, time_seconds: float) -> TimesJudgement:
        """Look up how usual times are; nothing is changed.

        Parameters
        ----------
        selection : slice or ndarray of shape (m,)
        x : ndarray of shape (m,)
            Times, seconds since the epoch.
        time_seconds : float
            Middle of the bucket.
        """
        slots = np.arange(selection.start, selection.stop) if isinstance(selection, slice) else selection
        rows = self.rows[:, selection].copy()
        np.copyto(rows[BASE], time_seconds, where=rows[COUNT] == 0.0)
        gain = np.exp((time_seconds - rows[BASE]) * (1.0 / MEMORY_SECONDS))
        total = rows[TOTAL] / gain
        phase, place = self.locate(x)
        around = self._around.take(place, axis=1)
        around *= self.cells.shape[1]
        around += slots
        near = self.cells.ravel().take(around).astype(np.float64)
        succession = 1.0 / (total + 2.0)
        # Chosen: the third power of the rule of succession, as for series that never varied.
        novelty = succession * succession * succession
        own = np.empty((len(HALF_WIDTHS), place.size))
        sums = _running_sums(near)
        for j, half in enumerate(HALF_WIDTHS):
            own[j] = self._share(sums[2 * half] / gain, half, total, novelty)
        evidence = rows[EVIDENCE:PEAK]
        weights = np.exp(evidence - np.maximum.reduce(evidence, axis=0))
        # And however sharp the times were: near them the first power, not far from them the second.
        weights[1] += succession
        weights[2] += succession * succession
        weights /= weights[0] + weights[1] + weights[2]
        return TimesJudgement(selection, time_seconds, slots, rows, gain, total, phase, place, novelty, own, weights)

    def _share(self, near: Floats, half: int, total: Floats, novelty: Floats) -> Floats:
        """Return the share of a cell, given the sum over those around it."""
        mean = np.maximum(near, 0.0) / ((2 * half + 1) * np.maximum(total, 1e-300))
        share: Floats = (1.0 - novelty) * mean + novelty / self.n_cells
        return share

    def candidates(self, judged: TimesJudgement, *, grows_on: bool = False) -> Candidates:
        """Pick the unusual times and calculate their probabilities.

        A time is as unusual as the share of all times that are no more usual. Until a period has passed, most times
        are new, and none is unusual.
        """
        rows = judged.rows
        is_mature = rows[COUNT] >= COUNT_MIN
        age = np.maximum(judged.time_seconds - rows[FIRST], 0.0) * (1.0 / self.period)
        age *= age
        is_new = np.exp(-age * age)
        own = judged.weights[0] * judged.own[0]
        for weight, share in zip(judged.weights[1:], judged.own[1:], strict=True):
            own += weight * share
        at = ((own < SCREEN / self.n_cells) & (is_new < UNUSUAL) & is_mature).nonzero()[0]
        n_judged = int(np.count_nonzero(is_mature))
        shares = self.shares(judged, at)
        as_rare = shares * (shares <= own[at] * (1.0 + 1e-9))
        rare = np.add.accumulate(as_rare, axis=0)[-1]
        probability = is_new[at] + (1.0 - is_new[at]) * rare
        np.minimum(np.maximum(probability, PROBABILITY_MIN), 1.0, out=probability)
        typical = (shares.argmax(axis=0) + 0.5) * (self.period / self.n_cells)
        return Candidates(
            judged.slots[at], probability, judged.phase[at], typical, n_judged, *without_records(probability)
        )

    def shares(self, judged: TimesJudgement, at: Ints) -> Floats:
        """Return the shares of all cells of some series, all widths weighed, shape (n_cells, k)."""
        novelty, total = judged.novelty[at], judged.total[at]
        shares = np.zeros((self.n_cells, at.size))
        for j, (half, near) in enumerate(zip(HALF_WIDTHS, self.near(judged, at), strict=True)):
            shares += judged.weights[j, at] * self._share(near, half, total, novelty)
        return shares

    def near(self, judged: TimesJudgement, at: Ints) -> Iterator[Floats]:
        """Return for each width the sums around all cells of some series, in times of now, shape (n_cells, k)."""
        cells = self.cells[:, judged.slots[at]] / judged.gain[at]
        around = np.concatenate([np.zeros_like(cells[:1]), cells[-REACH:], cells, cells[:REACH]])
        sums = np.add.accumulate(around, axis=0)
        for half in HALF_WIDTHS:
            ends = slice(REACH + half + 1, REACH + half + 1 + self.n_cells)
            yield sums[ends] - sums[REACH - half : REACH - half + self.n_cells]

    def learn(self, judged: TimesJudgement, _found: Candidates | None = None) -> None:
        """Take the judged times into the state."""
        self._note(judged.rows, np.log(judged.own * self.n_cells), judged.gain, judged.time_seconds)
        self.cells[judged.place, judged.slots] += judged.gain
        self.rows[:, judged.selection] = judged.rows
        self._rebase(judged.slots, judged.rows, judged.time_seconds)

    def _note(self, rows: Floats, evidence: Floats, added: Floats, time_seconds: float) -> None:
        """Take a bucket into the rows of series."""
        np.copyto(rows[FIRST], time_seconds, where=rows[COUNT] == 0.0)
        rows[EVIDENCE:PEAK] *= EVIDENCE_MEMORY
        rows[EVIDENCE:PEAK] += evidence
        rows[TOTAL] += added
        rows[COUNT] += 1.0
        rows[LAST] = time_seconds

    def _rebase(self, slots: Ints, rows: Floats, time_seconds: float) -> None:
        """Bring histograms down to size where times count for too much."""
        old = (time_seconds - rows[BASE] > REBASED_AFTER * MEMORY_SECONDS).nonzero()[0]
        if old.size:
            at = slots[old]
            fade = np.exp((rows[BASE, old] - time_seconds) * (1.0 / MEMORY_SECONDS))
            self.cells[:, at] *= fade
            self.rows[TOTAL, at] *= fade
            self.rows[BASE, at] = time_seconds

    def learn_many(self, judged: TimesJudgement, weights: Floats) -> None:
        """Take several times of each series into the state.

        Parameters
        ----------
        judged : TimesJudgement
            Of series, which may come more than once, in ascending order of slots.
        weights : ndarray of shape (m,)
            For how much each time counts; together those of a series count for ``1 + ln`` of their sum. Chosen: a
            thousand members at work at noon are no thousand independent witnesses.
        """
        slots = judged.slots
        found, first, place = np.unique(slots, return_index=True, return_inverse=True)
        total, evidence = np.zeros(found.size), np.zeros((len(HALF_WIDTHS), found.size))
        np.add.at(total, place, weights)
        for j, own in enumerate(judged.own):
            np.add.at(evidence[j], place, np.log(own * self.n_cells) * weights)
        evidence /= total
        rows, gain = judged.rows[:, first], judged.gain[first]
        added = gain * (1.0 + np.log(np.maximum(total, 1.0)))
        self._note(rows, evidence, added, judged.time_seconds)
        self.cells[judged.place, slots] += weights * (added / total)[place]
        self.rows[:, found] = rows
        self._rebase(found, rows, judged.time_seconds)

    def compared(self, judged: TimesJudgement, *, with_typical: bool) -> tuple[Floats, Floats]:
        """Return what custom rules compare: the times judged and, if asked for, the most usual ones."""
        if not with_typical:
            return judged.phase, judged.phase
        shares = self.shares(judged, np.arange(judged.place.size))
        middle = (shares.argmax(axis=0) + 0.5) * (self.period / self.n_cells)
        return judged.phase, np.where(judged.rows[COUNT] > 0.0, middle, np.nan)

    def tables(self) -> tuple[list[np.ndarray[Any, Any]], list[np.ndarray[Any, Any]]]:
        """Return the arrays that a value held back by a rule changes little, and those that it does not change."""
        return [self.rows, self.cells], []

    def forget(self, slots: Ints) -> None:
        """Clear slots."""
        self.rows[:, slots] = 0.0
        self.cells[:, slots] = 0.0

    def state(self, n_slots: int) -> Arrays:
        """Return copies of all arrays, trimmed to the slots in use."""
        self.reserve(n_slots)
        return {"rows": self.rows[:, :n_slots].copy(), "cells": self.cells[:, :n_slots].copy()}

    def load(self, arrays: Arrays) -> None:
        """Take over what ``state`` returned."""
        rows = arrays["rows"]
        self.reserve(rows.shape[1])
        self.rows[:, : rows.shape[1]] = rows
        self.cells[:, : rows.shape[1]] = arrays["cells"]


def _running_sums(rows: Floats) -> Floats:
    """Return the sums up to each row, in order.

    One call is best for few columns, a row at a time thirty times faster for many; both add the same in the same order.

    >>> _running_sums(np.ones((3, 1)))[:, 0].tolist(), _running_sums(np.ones((3, 999)))[:, 7].tolist()
    ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    """
    if rows.shape[1] < 200:
        return np.add.accumulate(rows, axis=0)
    for before, row in pairwise(rows):
        np.add(row, before, out=row)
    return rows
