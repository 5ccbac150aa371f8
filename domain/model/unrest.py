"""Unrest: values that lie farther from what is expected at some hours of the day than at others.

What is noisy by day may be quiet by night; a deviation that is nothing at noon is much at midnight. For every hour of
the day the mean size of the residuals is followed, and how much it scatters from visit to visit. Where an analysis
of variance (Fisher, 1925) finds that hours differ by far more than visits do, residuals are divided by a factor of
their hour before their spread is learnt and the families judge them; everywhere else by nothing. This is Levene's test
(1960) for equal spreads, on visits instead of single values, as an incident is one visit, and on logs, which scatter
alike whatever the spread. Records (``novelty.py``) know no hours, but that noise comes farther in noisy ones.
"""

import math
from typing import Final

import numpy as np

from domain.model.arrays import Arrays, Bools, Floats, Ints, Selection, Singles, capacity_for, grown, ordered_sum

VISITS, MEAN, VARIANCE, FACTOR = range(4)
"""Rows of each cell: visits, in parts of one; mean and variance over visits of the log of the mean size of residuals,
in scales; log of the factor by which they lie farther than usual, 0 where hours do not differ."""
N_ROWS: Final = 4
N_CELLS: Final = 24
DAY_SECONDS: Final = 86_400.0
CELL_SECONDS: Final = DAY_SECONDS / N_CELLS
BYTES_PER_SERIES: Final = 4 * N_ROWS * N_CELLS

SIZE_MIN, SIZE_MAX = 0.02, 5.0
"""Residuals count for at most so many scales, their mean size for no less than that."""
FORGETTING: Final = 0.07
"""Weight of one visit in the means, once plain means have become slower. Chosen: a few weeks."""
VISITS_FULL: Final = 2.0 / FORGETTING - 1.0
"""Independent visits that such a mean is worth."""
VISITS_MIN: Final = 4.0
RATIO_MIN: Final = 3.0
"""Ratio of variances (F, with 23 and at least 72 degrees of freedom) from which hours are taken to differ. By chance it
is exceeded once in 5,000 at four visits, once in 200,000 at twenty; by as much as it is in excess of that the factors
are believed, as by James and Stein (1961)."""
FACTOR_MIN: Final = 0.1
"""Smallest factor. Chosen: nights that are quieter still are not told apart."""


def calmed(z: Floats, y: Floats, scale: Floats, factor: Floats) -> tuple[Floats, Floats]:
    """Return residuals in scales, and values, as they would be at an hour like any other.

    Parameters
    ----------
    z, y : ndarray of shape (..., k)
        Residuals in scales; values, from which as much is taken.
    """
    calm = z / factor
    return calm, y + (calm - z) * scale


class Unrest:
    """What is known of the hours of all series.

    Attributes
    ----------
    table : ndarray of shape (N_ROWS, N_CELLS, capacity), dtype=float32
    is_in_use : bool
        Whether hours of any series differ.
    """

    def __init__(self, bucket_span_seconds: int) -> None:
        self._visit_share = bucket_span_seconds / CELL_SECONDS
        self.table: Singles = np.zeros((N_ROWS, N_CELLS, capacity_for(0)), np.float32)
        self.is_in_use = False

    def reserve(self, n_slots: int) -> None:
        """Make room for ``n_slots`` series."""
        if n_slots > self.table.shape[-1]:
            self.table = grown(self.table, capacity_for(n_slots))

    def read(self, selection: Selection, time_seconds: float) -> Floats | None:
        """Return how many times farther than usual values lie at a time; None: no series' hours differ."""
        if not self.is_in_use:
            return None
        factors: Floats = np.exp(self.table[FACTOR, int(_cells_at(time_seconds)), selection].astype(np.float64))
        return factors

    def at(self, slots: Ints, clocks: Floats) -> Floats | None:
        """Return the same for several times each.

        Parameters
        ----------
        slots : ndarray of shape (k,)
        clocks : ndarray of shape (n, k)
            Seconds of the day.
        """
        if not self.is_in_use:
            return None
        factors: Floats = np.exp(self.table[FACTOR, _cells_at(clocks), slots].astype(np.float64))
        return factors

    def learn(self, slots: Ints, clocks: Floats, z: Floats, may_differ: Bools) -> Ints:
        """Take a block of residuals in; return the slots whose hours are taken to differ from now on.

        Parameters
        ----------
        clocks, z : ndarray of shape (n, k)
            Seconds of the day; residuals in scales.
        may_differ : ndarray of shape (k,)
            Of which series hours may differ at all.
        """
        if self._visit_share > 1.0:
            return slots[:0]  # a bucket is longer than a cell
        cells = _cells_at(clocks)
        columns = np.broadcast_to(np.arange(slots.size), cells.shape)
        sums = np.zeros((2, N_CELLS, slots.size))
        np.add.at(sums[0], (cells, columns), 1.0)
        np.add.at(sums[1], (cells, columns), np.minimum(np.abs(z), SIZE_MAX))
        visited = sums[0] * self._visit_share
        rows = self.table[:, :, slots].astype(np.float64)
        rows[VISITS] += visited
        gain = visited * np.maximum(1.0 / np.maximum(rows[VISITS], 1e-6), FORGETTING)
        np.minimum(gain, 1.0, out=gain)
        off = np.log(np.maximum(sums[1] / np.maximum(sums[0], 1.0), SIZE_MIN)) - rows[MEAN]
        rows[MEAN] += gain * off
        rows[VARIANCE] += gain * ((1.0 - gain) * off * off - rows[VARIANCE])
        did_differ = rows[FACTOR].any(axis=0)
        rows[FACTOR] = _log_factors(rows, may_differ)
        self.table[:, :, slots] = rows
        differ = rows[FACTOR].any(axis=0)
        self.is_in_use = self.is_in_use or bool(differ.any())
        begin: Ints = slots[differ & ~did_differ]
        return begin

    def forget(self, slots: Ints) -> None:
        """Clear slots."""
        self.table[:, :, slots] = 0.0

    def state(self, n_slots: int) -> Arrays:
        """Return a copy of the table, trimmed to the slots in use."""
        return {"unrest": self.table[:, :, :n_slots].copy()}

    def load(self, arrays: Arrays) -> None:
        """Take over what ``state`` returned."""
        table = arrays["unrest"]
        self.reserve(table.shape[-1])
        self.table[:, :, : table.shape[-1]] = table
        self.is_in_use = bool((self.table[FACTOR] != 0.0).any())


def _cells_at(seconds: Floats | float) -> Ints:
    """Return the cells of times."""
    cells: Ints = np.floor_divide(seconds, CELL_SECONDS).astype(np.int64) % N_CELLS
    return cells


def _log_factors(rows: Floats, may_differ: Bools) -> Floats:
    """Return the logs of the factors that the cells of series come to; together they leave the mean square as it is."""
    visits = np.minimum(rows[VISITS], VISITS_FULL)
    total = np.maximum(ordered_sum(visits), 1e-6)
    mean = ordered_sum(visits * rows[MEAN]) / total
    off = rows[MEAN] - mean
    between = ordered_sum(visits * off * off) * (1.0 / (N_CELLS - 1.0))
    within = ordered_sum(visits * rows[VARIANCE]) / np.maximum(total - N_CELLS, 1e-6)
    believed = np.maximum(1.0 - RATIO_MIN * within / np.maximum(between, 1e-12), 0.0)
    believed *= may_differ & (np.minimum.reduce(visits, axis=0) >= VISITS_MIN)
    # The mean square of what is log-normal over visits.
    squares = 2.0 * (rows[MEAN] + rows[VARIANCE])
    usual = np.log(ordered_sum(np.exp(squares)) * (1.0 / N_CELLS))
    logs: Floats = 0.5 * believed * (squares - usual)
    return np.maximum(logs, math.log(FACTOR_MIN))
