"""Daily and weekly profiles: what a series usually is at an hour of the day and at an hour of the week.

A profile is a table of hourly cells per series, read by linear interpolation between the middles of the two nearest
cells. The cells of a bucket are the same for all series, so a lookup is two rows. Tables are single precision, relative
to the series' first value (so that a large constant costs no digits); they are updated in double precision.
"""

from dataclasses import dataclass

import numpy as np

from domain.model.arrays import Arrays, Floats, Selection, Singles, capacity_for, grown

HOUR_SECONDS = 3600
MEAN, VISITS = 0, 1


@dataclass(frozen=True, slots=True)
class Period:
    """A season.

    Attributes
    ----------
    cells : int
        Hours per period.
    forgetting : float
        Weight of one visit to a cell in its mean, once the plain mean has become slower than that. Chosen: 10 % per
        day and 20 % per week keep a profile a few periods long.
    offset_seconds : int
        Where the period starts, after the epoch: weeks on Monday.
    """

    name: str
    cells: int
    forgetting: float
    offset_seconds: int = 0


DAY = Period("day", 24, 0.10)
WEEK = Period("week", 168, 0.20, 4 * 86_400)


@dataclass(frozen=True, slots=True)
class Cells:
    """The two cells that a time lies between, and the share of the second one."""

    first: int
    second: int
    share: float


class Profile:
    """One period's table for all series.

    Attributes
    ----------
    table : ndarray of shape (cells, 2, capacity), dtype=float32
        Mean relative to the series' origin, and how often the cell was visited, in parts of a visit.
    """

    def __init__(self, period: Period, bucket_span_seconds: int) -> None:
        self.period = period
        # A cell is visited by so many buckets per period; together they weigh as much as one visit.
        visits = max(HOUR_SECONDS / bucket_span_seconds, 1.0)
        self._gain_min = 1.0 - (1.0 - period.forgetting) ** (1.0 / visits)
        self.table: Singles = np.zeros((period.cells, 2, capacity_for(0)), np.float32)

    def reserve(self, n_slots: int) -> None:
        """Make room for ``n_slots`` series."""
        if n_slots > self.table.shape[2]:
            self.table = grown(self.table, capacity_for(n_slots))

    def cells_at(self, time_seconds: float) -> Cells:
        """Find the cells of a time.

        >>> Profile(DAY, 3600).cells_at(1.75 * 3600)
        Cells(first=1, second=2, share=0.25)
        """
        position = (time_seconds - self.period.offset_seconds) / HOUR_SECONDS - 0.5
        whole = int(position // 1.0)
        first = whole % self.period.cells
        return Cells(first, (first + 1) % self.period.cells, position - whole)

    def read(self, cells: Cells, selection: Selection, otherwise: Floats) -> Floats:
        """Look the profile up.

        Parameters
        ----------
        otherwise : ndarray of shape (m,)
            What takes the place of cells not visited yet, relative to the origin like the result.

        Returns
        -------
        ndarray of shape (m,), dtype=float64
        """
        value, evidence = self._weighted(cells.first, 1.0 - cells.share, selection)
        if cells.share > 0.0:
            more, visits = self._weighted(cells.second, cells.share, selection)
            value += more
            evidence += visits
        value += (1.0 - evidence) * otherwise
        return value

    def _weighted(self, cell: int, share: float, selection: Selection) -> tuple[Floats, Floats]:
        # A cell with less than one full visit counts for less than its share, an empty one for nothing.
        visits = self.table[cell, VISITS, selection].astype(np.float64)
        weight: Floats = np.minimum(visits, 1.0)
        weight *= share
        return self.table[cell, MEAN, selection].astype(np.float64) * weight, weight

    def learn(self, cells: Cells, selection: Selection, x: Floats, weight: Floats) -> None:
        """Take values in.

        Parameters
        ----------
        x : ndarray of shape (m,)
            Relative to the origin.
        weight : ndarray of shape (m,)
            From 0 (ignore) to 1.
        """
        self._learn_cell(cells.first, 1.0 - cells.share, selection, x, weight)
        if cells.share > 0.0:
            self._learn_cell(cells.second, cells.share, selection, x, weight)

    def _learn_cell(self, cell: int, share: float, selection: Selection, x: Floats, weight: Floats) -> None:
        part = weight * share
        visits = self.table[cell, VISITS, selection] + part
        mean = self.table[cell, MEAN, selection].astype(np.float64)
        gain = np.maximum(part / np.maximum(visits, 1e-12), self._gain_min * part)
        mean += gain * (x - mean)
        self.table[cell, MEAN, selection] = mean
        self.table[cell, VISITS, selection] = visits

    def forget(self, selection: Selection) -> None:
        """Clear slots."""
        self.table[:, :, selection] = 0.0

    def state(self, n_slots: int) -> Arrays:
        """Return a copy of the table, trimmed to the slots in use."""
        return {self.period.name: self.table[:, :, :n_slots].copy()}

    def load(self, arrays: Arrays) -> None:
        """Take over what ``state`` returned."""
        table = arrays[self.period.name]
        self.reserve(table.shape[2])
        self.table[:, :, : table.shape[2]] = table
