"""Cycles: the periods of each series that are no day and no week; how they are looked for, kept and dropped.

Each series has a stretch of cell means, from its first bucket on. Cells are as wide as a bucket until there are 256 of
them, then pairs are joined and the width doubles, so that short periods are looked for first and long ones when there
is enough to see them by; after three weeks a new stretch begins. ``periods.py`` looks at a stretch whenever it has
grown by a third. What it finds becomes a table of the period, which is dropped once it predicts no better than anything
else.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.model import periods
from domain.model.arrays import Arrays, Bools, Floats, Ints, Selection, Singles, capacity_for, grown

BEGAN, WIDTH, CELL_END, SUM, COUNT, SECONDS, ANCHOR, N_CELLS, SINCE, IS_OVER_DAY = range(10)
"""Rows: start of the stretch, its cells' width (0: none began yet) and the end of the open cell, seconds; sum and
number of values of the open cell; the period, 0: none; a time at which it begins; cells of its table; when it was
found; whether it comes on top of the daily season."""
N_ROWS: Final = 10

STRETCH_SECONDS: Final = 21 * 86_400.0
"""Least length of a stretch before a new one begins. Chosen: three weeks hold three repeats of a week."""
CHECKS: Final = np.array([24, 32, 42, 56, 75, 100, 133, 170, 213, periods.N_CELLS])
"""Cells at which a stretch is looked at: every third more, so that a period is seen by its fourth repeat. What lies in
the first half of joined cells was looked at before they were joined."""
MISSING: Final = np.finfo(np.float32).max
"""Stands for a cell without values; far above ``VALUE_MAX``."""
HALF: Final = np.float32(0.5)
TABLE_CELLS: Final = 48
MEAN, VISITS = 0, 1
FORGETTING: Final = 0.15
"""Weight of one visit to a cell of the table, as in ``seasons.py``."""
REPEATS_TRIED: Final = 3.0
"""Repeats for which a new period is kept, useful or not."""
GAIN_MIN: Final = 0.97
"""A period is useful if its error is less than this part of the least of the others."""
SAME: Final = 0.02
"""Periods that differ by less are the same one, known better."""
BYTES_PER_SERIES: Final = 8 * N_ROWS + 4 * periods.N_CELLS + 2 * 4 * TABLE_CELLS


@dataclass(frozen=True, slots=True)
class Outlook:
    """The periods of some series as read at a time.

    Attributes
    ----------
    at : ndarray of shape (k,)
        Which of the series judged have a period.
    value : ndarray of shape (k,)
        What it adds to the level.
    is_over_day : ndarray of shape (k,), dtype=bool
    index : ndarray of shape (2, k)
        The cells that it was read from.
    shares : ndarray of shape (2, k)
    cells : ndarray of shape (2, 2, k), dtype=float64
        Means and visits of the two cells.
    gain_min : ndarray of shape (k,)
    """

    at: Ints
    value: Floats
    is_over_day: Bools
    index: Ints
    shares: Floats
    cells: Floats
    gain_min: Floats


@dataclass(frozen=True, slots=True)
class News:
    """Series whose period was found anew, or dropped.

    Attributes
    ----------
    slots : ndarray of shape (k,)
    error, level : ndarray of shape (k,)
        What to expect of the predictor's error, 0: the period was dropped; the level that it starts from.
    is_over_day : ndarray of shape (k,), dtype=bool
        The level is that beside the daily season, and not given.
    """

    slots: Ints
    error: Floats
    level: Floats
    is_over_day: Bools


class Cycles:
    """Stretches and period tables of all series.

    Attributes
    ----------
    rows : ndarray of shape (N_ROWS, capacity), dtype=float64
    stretch : ndarray of shape (256, capacity), dtype=float32
        Means of the filled cells, or ``MISSING``.
    table : ndarray of shape (2, TABLE_CELLS, capacity), dtype=float32
        Mean and visits.
    """

    def __init__(self, bucket_span_seconds: int) -> None:
        self._span = float(bucket_span_seconds)
        width = self._span
        while width * periods.N_CELLS < STRETCH_SECONDS:
            width *= 2.0
        self._width_max = width
        self.rows: Floats = np.zeros((N_ROWS, capacity_for(0)))
        self.stretch: Singles = np.zeros((periods.N_CELLS, capacity_for(0)), np.float32)
        self.table: Singles = np.zeros((2, TABLE_CELLS, capacity_for(0)), np.float32)
        self._has_any = False

    def reserve(self, n_slots: int) -> None:
        """Make room for ``n_slots`` series."""
        if n_slots > self.rows.shape[1]:
            self.rows = grown(self.rows, capacity_for(n_slots))
            self.stretch = grown(self.stretch, capacity_for(n_slots))
            self.table = grown(self.table, capacity_for(n_slots))

    def read(self, time_seconds: float, selection: Selection) -> Outlook | None:
        """Look the periods up; None: no series has one."""
        if not self._has_any:
            return None
        at = (self.rows[SECONDS, selection] > 0.0).nonzero()[0]
        if at.size == 0:
            return None
        slots = at if isinstance(selection, slice) else selection[at]
        seconds, anchor, n_cells = self.rows[SECONDS : N_CELLS + 1].take(slots, axis=1)
        index, shares = _places((time_seconds - anchor) / seconds, n_cells)
        cells = self.table[:, index, slots].astype(np.float64)
        weight = np.minimum(cells[VISITS], 1.0) * shares
        value = weight * cells[MEAN]
        visits = np.maximum(seconds / (n_cells * self._span), 1.0)
        gain_min = 1.0 - np.exp(np.log(1.0 - FORGETTING) / visits)
        is_over_day = self.rows[IS_OVER_DAY, slots] > 0.0
        return Outlook(at, value[0] + value[1], is_over_day, index, shares, cells, gain_min)

    def learn_table(self, outlook: Outlook, selection: Selection, target: Floats, weight: Floats) -> None:
        """Take values into the tables.

        Parameters
        ----------
        target : ndarray of shape (k,)
            What the period is to add to the level.
        weight : ndarray of shape (k,)
            From 0 (ignore) to 1.
        """
        mean, visits = outlook.cells
        part = weight * outlook.shares
        visits += part
        gain = np.maximum(part / np.maximum(visits, 1e-12), part * outlook.gain_min)
        mean += gain * (target - mean)
        self.put(outlook, selection)

    def put(self, outlook: Outlook, selection: Selection) -> None:
        """Put the cells of an outlook back into the tables."""
        slots = outlook.at if isinstance(selection, slice) else selection[outlook.at]
        self.table[:, outlook.index, slots] = outlook.cells

    def learn(self, selection: Selection, y: Floats, time_seconds: float, errors: Floats, own: int) -> News | None:
        """Take values into the stretches; look at those that are due.

        Parameters
        ----------
        y : ndarray of shape (m,)
            Values, relative to the level that they had.
        errors : ndarray of shape (n, m)
            Mean absolute errors of all predictors; ``own`` is the row of the one by the period.

        Returns
        -------
        News or None
            None: nothing was found or dropped.
        """
        at = (self.rows[CELL_END, selection] <= time_seconds).nonzero()[0]
        news = None
        if at.size:
            slots = at if isinstance(selection, slice) else selection[at]
            news = self._advance(slots, time_seconds, errors.take(at, axis=1), own)
        self.rows[SUM, selection] += y
        self.rows[COUNT, selection] += 1.0
        return news

    def _advance(self, slots: Ints, time_seconds: float, errors: Floats, own: int) -> News | None:
        """Close the open cells of some series and open those that a time lies in."""
        rows = self.rows[:, slots]
        start = time_seconds - 0.5 * self._span
        is_new = rows[WIDTH] == 0.0
        open_cell = np.rint((rows[CELL_END] - rows[BEGAN]) / np.maximum(rows[WIDTH], 1.0)).astype(np.int64) - 1
        now = np.floor((start - rows[BEGAN]) / np.maximum(rows[WIDTH], 1.0))
        now = np.minimum(now, 2.0**40).astype(np.int64)
        self._fill(slots, rows, open_cell, now, ~is_new)
        filled = np.minimum(now, periods.N_CELLS)
        passed = np.searchsorted(CHECKS, filled, "right") > np.searchsorted(CHECKS, open_cell, "right")
        due = (passed & ~is_new).nonzero()[0]
        news = None
        if due.size:
            of_due = errors[:, due]
            news = self._look(slots[due], rows, due, filled[due], time_seconds=time_seconds, errors=of_due, own=own)
        self._widen(slots, rows, now, start, is_new)
        cell = np.floor((start - rows[BEGAN]) / rows[WIDTH])
        rows[CELL_END] = rows[BEGAN] + (cell + 1.0) * rows[WIDTH]
        rows[SUM] = rows[COUNT] = 0.0
        self.rows[:, slots] = rows
        return news

    def _fill(self, slots: Ints, rows: Floats, open_cell: Ints, now: Ints, known: Bools) -> None:
        """Write the open cells, and mark those that were passed without a value."""
        at = known.nonzero()[0]
        self.stretch[open_cell[at], slots[at]] = rows[SUM, at] / np.maximum(rows[COUNT, at], 1.0)
        stop = np.minimum(now, periods.N_CELLS)
        gaps = (known & (open_cell + 1 < stop)).nonzero()[0]
        for k in gaps.tolist():  # rare: a series was silent for longer than a cell
            self.stretch[open_cell[k] + 1 : stop[k], slots[k]] = MISSING

    def _widen(self, slots: Ints, rows: Floats, now: Ints, start: float, is_new: Bools) -> None:
        """Join pairs of cells of the stretches that are full; begin new ones where cells are wide enough."""
        cell = now
        full = (cell >= periods.N_CELLS) & ~is_new
        while full.any():
            at = (full & (rows[WIDTH] < self._width_max)).nonzero()[0]
            if at.size:
                first, second = self.stretch[0::2, slots[at]], self.stretch[1::2, slots[at]]
                mean = first * HALF + second * HALF
                mean = np.where(first == MISSING, second, np.where(second == MISSING, first, mean))
                self.stretch[: periods.N_CELLS // 2, slots[at]] = mean
                self.stretch[periods.N_CELLS // 2 :, slots[at]] = 0.0
                rows[WIDTH, at] *= 2.0
            is_new = is_new | (full & ~np.isin(np.arange(full.size), at))
            cell = np.where(is_new, 0, cell // 2)
            full = (cell >= periods.N_CELLS) & ~is_new
        np.copyto(rows[BEGAN], start, where=is_new)
        np.copyto(rows[WIDTH], self._span, where=is_new)

    def _look(
        self, slots: Ints, rows: Floats, at: Ints, filled: Ints, *, time_seconds: float, errors: Floats, own: int
    ) -> News | None:
        """Look for periods in the stretches that are due; drop those that are of no use.

        Parameters
        ----------
        rows : ndarray of shape (N_ROWS, k)
            Changed in place; ``at`` are the places in it of those that are due.
        filled : ndarray of shape (l,)
            Their filled cells.
        """
        x = self.stretch[:, slots].T.astype(np.float64)
        x[(np.arange(periods.N_CELLS) >= filled[:, None]) | (x == MISSING)] = np.nan
        found = periods.find(periods.Stretch(x, filled, rows[WIDTH, at], rows[BEGAN, at]))
        least = np.minimum.reduce(np.delete(errors, own, axis=0), axis=0)
        before = rows[SECONDS, at]
        is_same = np.abs(found.seconds - before) <= SAME * before
        is_new = (found.seconds > 0.0) & ~is_same
        is_tried = time_seconds - rows[SINCE, at] >= REPEATS_TRIED * before
        is_useless = (before > 0.0) & is_tried & (errors[own] > GAIN_MIN * least)
        dropped = is_useless & ~is_new
        changed = (is_new | dropped).nonzero()[0]
        error = np.zeros(at.size)
        self._sharpen(rows, at, found, is_same & (before > 0.0) & (found.seconds > 0.0) & ~is_useless, time_seconds)
        if changed.size == 0:
            return None
        # In the stretch each repeat takes part in the mean that it is compared with, the next one will not.
        repeats = np.maximum(filled * rows[WIDTH, at] / np.maximum(found.seconds, 1.0), REPEATS_TRIED)
        noise = found.residual * np.sqrt(rows[WIDTH, at] / self._span * (repeats + 1.0) / (repeats - 1.0))
        error[is_new] = np.minimum(noise, least)[is_new]
        self._seed(slots, rows, at, found, is_new=is_new, time_seconds=time_seconds)
        rows[SECONDS, at[dropped]] = 0.0
        self.table[:, :, slots[dropped]] = 0.0
        self._has_any = True
        return News(slots[changed], error[changed], found.level[changed], found.is_over_day[changed])

    def _sharpen(self, rows: Floats, at: Ints, found: periods.Found, same: Bools, time_seconds: float) -> None:
        """Take the better known length of periods that were found again, such that nothing jumps now."""
        which = same.nonzero()[0]
        place = at[which]
        phase = np.mod((time_seconds - rows[ANCHOR, place]) / rows[SECONDS, place], 1.0)
        rows[SECONDS, place] = found.seconds[which]
        rows[ANCHOR, place] = time_seconds - phase * found.seconds[which]

    def _seed(
        self, slots: Ints, rows: Floats, at: Ints, found: periods.Found, *, is_new: Bools, time_seconds: float
    ) -> None:
        """Make tables of new periods from their stretches."""
        which = is_new.nonzero()[0]
        if which.size == 0:
            return
        place = at[which]
        seconds, width, began = found.seconds[which], rows[WIDTH, place], rows[BEGAN, place]
        n_cells = np.minimum(np.maximum(np.rint(seconds / width), periods.LAG_MIN), TABLE_CELLS)
        rows[SECONDS, place], rows[ANCHOR, place], rows[N_CELLS, place] = seconds, began, n_cells
        rows[SINCE, place], rows[IS_OVER_DAY, place] = time_seconds, found.is_over_day[which]
        clean = found.clean[which]
        there = ~np.isnan(clean)
        middles = (np.arange(periods.N_CELLS) + 0.5)[:, None] * width
        index, shares = _places(middles / seconds, n_cells)
        shares = shares * there.T
        sums, visits = np.zeros((TABLE_CELLS, which.size)), np.zeros((TABLE_CELLS, which.size))
        column = np.zeros(index.shape, np.int64) + np.arange(which.size)
        np.add.at(sums, (index, column), shares * np.where(there, clean, 0.0).T)
        np.add.at(visits, (index, column), shares)
        # Several cells of a stretch at one cell of the table in one repeat are one visit.
        per_visit = np.maximum(seconds / (n_cells * width), 1.0)
        self.table[MEAN][:, slots[which]] = sums / np.maximum(visits, 1e-12)
        self.table[VISITS][:, slots[which]] = visits / per_visit

    def forget(self, slots: Selection) -> None:
        """Clear slots."""
        for array in (self.rows, self.stretch, self.table):
            array[..., slots] = 0.0

    def state(self, n_slots: int) -> Arrays:
        """Return copies of all arrays, trimmed to the slots in use."""
        return {
            "cycles": self.rows[:, :n_slots].copy(),
            "stretch": self.stretch[:, :n_slots].copy(),
            "periods": self.table[:, :, :n_slots].copy(),
        }

    def load(self, arrays: Arrays) -> None:
        """Take over what ``state`` returned."""
        n_slots = arrays["cycles"].shape[1]
        self.reserve(n_slots)
        self.rows[:, :n_slots] = arrays["cycles"]
        self.stretch[:, :n_slots] = arrays["stretch"]
        self.table[:, :, :n_slots] = arrays["periods"]
        self._has_any = bool((self.rows[SECONDS] > 0.0).any())


def _places(turns: Floats, n_cells: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Find the two cells that places in a period lie between, and the share of each.

    Parameters
    ----------
    turns : ndarray of any shape
        Periods since one began.
    n_cells : ndarray, of a shape that fits
        Cells per period.

    Returns
    -------
    index, shares : ndarray of shape (2, ...)
    """
    position = (turns - np.floor(turns)) * n_cells - 0.5
    whole = np.floor(position)
    share = position - whole
    first = np.mod(whole, n_cells)
    second = np.mod(whole + 1.0, n_cells)
    return np.stack([first, second]).astype(np.int64), np.stack([1.0 - share, share])
