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

VISITS_MIN = 1e-12
"""Keeps the division defined where nothing was ever believed."""


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
class Cell:
    """A cell near a time, and what it holds for the series asked for.

    Attributes
    ----------
    index : int
    share : float
        How much of the time belongs to it, from 0 to 1.
    pair : ndarray of shape (2, m), dtype=float64
        Mean relative to the origin, and visits.
    """

    index: int
    share: float
    pair: Floats


@dataclass(frozen=True, slots=True)
class Outlook:
    """A profile as read at a time.

    Attributes
    ----------
    value : ndarray of shape (m,), dtype=float64
        Relative to the origin.
    cells : list of Cell
        The one or two cells that it was read from.
    """

    value: Floats
    cells: list[Cell]


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

    def shares_at(self, time_seconds: float) -> list[tuple[int, float]]:
        """Find the cells that a time lies between, and the share of each.

        >>> Profile(DAY, 3600).shares_at(1.75 * 3600)
        [(1, 0.75), (2, 0.25)]
        """
        position = (time_seconds - self.period.offset_seconds) / HOUR_SECONDS - 0.5
        whole = int(position // 1.0)
        first, share = whole % self.period.cells, position - whole
        if share == 0.0:
            return [(first, 1.0)]
        return [(first, 1.0 - share), ((first + 1) % self.period.cells, share)]

    def read(self, time_seconds: float, selection: Selection, otherwise: Floats) -> Outlook:
        """Look the profile up.

        Parameters
        ----------
        otherwise : ndarray of shape (m,)
            What takes the place of cells not visited yet, relative to the origin.
        """
        cells = [
            Cell(index, share, self.table[index][:, selection].astype(np.float64))
            for index, share in self.shares_at(time_seconds)
        ]
        value = otherwise
        for cell in cells:
            # A cell with less than one full visit counts for less than its share, an empty one for nothing.
            weight = np.minimum(cell.pair[VISITS], 1.0)
            weight *= cell.share
            value = value + weight * (cell.pair[MEAN] - otherwise)
        return Outlook(value, cells)

    def learn(self, outlook: Outlook, selection: Selection, x: Floats, weight: Floats) -> None:
        """Take values in.

        Parameters
        ----------
        outlook : Outlook
            As read for the same selection since the last change.
        x : ndarray of shape (m,)
            Relative to the origin.
        weight : ndarray of shape (m,)
            From 0 (ignore) to 1.
        """
        for cell in outlook.cells:
            part = weight * cell.share
            mean, visits = cell.pair
            visits += part
            gain = part / np.maximum(visits, VISITS_MIN)
            np.maximum(gain, part * self._gain_min, out=gain)
            gain *= x - mean
            mean += gain
            self.table[cell.index][:, selection] = cell.pair

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
