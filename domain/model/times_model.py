"""The model of ``time_of_day`` and ``time_of_week``: at which times of its day or week a series usually has records.

Per series a circular histogram of the times seen. How smooth it is shows in how well three widths foretold the times
that came; none is trusted before it has proved itself. Same order of calls as ``feature_model.py``: ``judge`` reads
only, ``learn`` takes what it found out.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from domain.model.arrays import Arrays, Floats, Ints, Selection, Singles, capacity_for, grown
from domain.model.feature_model import Candidates, without_records
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
SCREEN: Final = 0.05
"""A time whose own cell has a larger share than this cannot be unusual."""

COUNT, LAST, FIRST, EVIDENCE, PEAK = 0, 1, 2, 3, 3 + len(HALF_WIDTHS)
N_ROWS: Final = PEAK + 2
"""Rows of the state: times learnt; middle of the latest bucket and of the first (epoch seconds); evidence of each
width; most unusual exponent so far and its time."""


@dataclass(frozen=True, slots=True)
class TimesJudgement:
    """What was found of the times of one bucket.

    Attributes
    ----------
    rows : ndarray of shape (N_ROWS, m)
        A copy of their state.
    cells : ndarray of shape (n_cells, m)
        The histogram as of now.
    sums : ndarray of shape (n_cells + 2 * REACH + 1, m)
        Running sums over the histogram, begun ``REACH`` cells before it and ended as many after it.
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
    rows: Floats
    cells: Floats
    sums: Floats
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
    """

    def __init__(self, feature: Feature, period_seconds: int) -> None:
        self.feature = feature
        self.period = period_seconds
        self.n_cells = CELLS[period_seconds]
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
        rows = self.rows[:, selection].copy()
        away = np.maximum(time_seconds - rows[LAST], 0.0)
        cells = self.cells[:, selection] * np.exp(away * (-1.0 / MEMORY_SECONDS))
        around = np.concatenate([np.zeros_like(cells[:1]), cells[-REACH:], cells, cells[:REACH]])
        sums = np.add.accumulate(around, axis=0)
        phase, place = self.locate(x)
        total = self.total(sums)
        succession = 1.0 / (total + 2.0)
        # Chosen: the third power of the rule of succession, as for series that never varied.
        novelty = succession * succession * succession
        at = np.arange(place.size)
        own = np.empty((len(HALF_WIDTHS), place.size))
        for j, half in enumerate(HALF_WIDTHS):
            near = sums[place + (REACH + half + 1), at] - sums[place + (REACH - half), at]
            own[j] = self._share(near, half, total, novelty)
        evidence = rows[EVIDENCE:PEAK]
        weights = np.exp(evidence - np.maximum.reduce(evidence, axis=0))
        # And however sharp the times were: near them the first power, not far from them the second.
        weights[1] += succession
        weights[2] += succession * succession
        weights /= weights[0] + weights[1] + weights[2]
        return TimesJudgement(selection, time_seconds, rows, cells, sums, phase, place, novelty, own, weights)

    def total(self, sums: Floats) -> Floats:
        """Return how many times the histograms behind running sums hold."""
        total: Floats = sums[REACH + self.n_cells] - sums[REACH]
        return total

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
        at = ((own < SCREEN) & (is_new < SCREEN) & is_mature).nonzero()[0]
        n_judged = int(np.count_nonzero(is_mature))
        shares = self.shares(judged, at)
        as_rare = shares * (shares <= own[at] * (1.0 + 1e-9))
        rare = np.add.accumulate(as_rare, axis=0)[-1]
        probability = is_new[at] + (1.0 - is_new[at]) * rare
        np.minimum(np.maximum(probability, PROBABILITY_MIN), 1.0, out=probability)
        typical = (shares.argmax(axis=0) + 0.5) * (self.period / self.n_cells)
        selection = judged.selection
        slots = at + selection.start if isinstance(selection, slice) else selection[at]
        return Candidates(slots, probability, judged.phase[at], typical, n_judged, *without_records(probability))

    def shares(self, judged: TimesJudgement, at: Ints) -> Floats:
        """Return the shares of all cells of some series, all widths weighed, shape (n_cells, k)."""
        sums, novelty = judged.sums[:, at], judged.novelty[at]
        total = self.total(sums)
        shares = np.zeros((self.n_cells, at.size))
        for j, half in enumerate(HALF_WIDTHS):
            ends = slice(REACH + half + 1, REACH + half + 1 + self.n_cells)
            near = sums[ends] - sums[REACH - half : REACH - half + self.n_cells]
            shares += judged.weights[j, at] * self._share(near, half, total, novelty)
        return shares

    def learn(self, judged: TimesJudgement, _found: Candidates | None = None) -> None:
        """Take the judged times into the state."""
        rows, cells = judged.rows, judged.cells
        np.copyto(rows[FIRST], judged.time_seconds, where=rows[COUNT] == 0.0)
        rows[EVIDENCE:PEAK] *= EVIDENCE_MEMORY
        rows[EVIDENCE:PEAK] += np.log(judged.own * self.n_cells)
        rows[COUNT] += 1.0
        rows[LAST] = judged.time_seconds
        cells[judged.place, np.arange(judged.place.size)] += 1.0
        self.rows[:, judged.selection] = rows
        self.cells[:, judged.selection] = cells

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
        slots = judged.selection
        assert not isinstance(slots, slice)
        found, first, place = np.unique(slots, return_index=True, return_inverse=True)
        total, evidence = np.zeros(found.size), np.zeros((len(HALF_WIDTHS), found.size))
        np.add.at(total, place, weights)
        for j, own in enumerate(judged.own):
            np.add.at(evidence[j], place, np.log(own * self.n_cells) * weights)
        evidence /= total
        part = weights * ((1.0 + np.log(np.maximum(total, 1.0))) / total)[place]
        rows, cells = judged.rows[:, first], judged.cells[:, first]
        np.copyto(rows[FIRST], judged.time_seconds, where=rows[COUNT] == 0.0)
        rows[EVIDENCE:PEAK] *= EVIDENCE_MEMORY
        rows[EVIDENCE:PEAK] += evidence
        rows[COUNT] += 1.0
        rows[LAST] = judged.time_seconds
        np.add.at(cells, (judged.place, place), part)
        self.rows[:, found] = rows
        self.cells[:, found] = cells

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
