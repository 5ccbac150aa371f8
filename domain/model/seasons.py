"""Seasons: what a series usually is at an hour of the day, of the week, of a working day or a day off.

Each season is a table of hourly cells per series, read by linear interpolation between the middles of the two nearest
hours. All tables lie in one array, and the cells of a bucket are the same for all series, so that a look at all seasons
is one gather of six rows. Cells are single precision, relative to the series' level (so that a large constant costs
no digits); they are updated in double precision. Periods that are no day and no week are in ``cycles.py``.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.model.arrays import Arrays, Floats, Selection, Singles, capacity_for, grown

HOUR_SECONDS: Final = 3600
MEAN, VISITS = 0, 1

VISITS_MIN: Final = 1e-12
"""Keeps the division defined where nothing was ever believed."""
MONDAY_SECONDS: Final = 4 * 86_400
"""The first Monday after the epoch."""
WEEKEND: Final = (5, 6)
"""Days of the week, Monday being 0, that are days off. Chosen: most series that know a weekend know this one; where it
lies elsewhere the week's own table says so."""


@dataclass(frozen=True, slots=True)
class Season:
    """A table.

    Attributes
    ----------
    cells : int
        Hours.
    forgetting : float
        Weight of one visit to a cell in its mean, once the plain mean has become slower than that.
    """

    cells: int
    forgetting: float


DAY, WEEK, WORKDAY = range(3)
SEASONS: Final = (Season(24, 0.10), Season(168, 0.20), Season(48, 0.10))
"""Day; week; the hours of working days, then those of days off. Chosen: 10 % per day and 20 % per week keep a profile a
few periods long."""
N_SEASONS: Final = len(SEASONS)
STARTS: Final = (0, 24, 192)
N_CELLS: Final = 240
BYTES_PER_SERIES: Final = 2 * 4 * N_CELLS


@dataclass(frozen=True, slots=True)
class Outlook:
    """The seasons as read at a time.

    Attributes
    ----------
    values : ndarray of shape (N_SEASONS, m), dtype=float64
        Expected value by day, week and working day, relative to the origin.
    index : ndarray of shape (2 * N_SEASONS,), dtype=int64
        The cells that they were read from: those of the hour before, those of the hour after.
    shares : ndarray of shape (2, 1, 1)
        How much of the time belongs to either hour.
    cells : ndarray of shape (2, 2 * N_SEASONS, m), dtype=float64
        Means and visits.
    """

    values: Floats
    index: NDArray[np.int64]
    shares: Floats
    cells: Floats


class Seasons:
    """The tables of all series.

    Attributes
    ----------
    table : ndarray of shape (2, N_CELLS, capacity), dtype=float32
        Mean, and how often the cell was visited, in parts of a visit.
    """

    def __init__(self, bucket_span_seconds: int) -> None:
        # A cell is visited by so many buckets per period; together they weigh as much as one visit.
        visits = max(HOUR_SECONDS / bucket_span_seconds, 1.0)
        gains = [1.0 - (1.0 - season.forgetting) ** (1.0 / visits) for season in SEASONS]
        self._gains_min = np.array(gains)[None, :, None]
        self.table: Singles = np.zeros((2, N_CELLS, capacity_for(0)), np.float32)

    def reserve(self, n_slots: int) -> None:
        """Make room for ``n_slots`` series."""
        if n_slots > self.table.shape[2]:
            self.table = grown(self.table, capacity_for(n_slots))

    def gather(self, time_seconds: float, selection: Selection) -> tuple[NDArray[np.int64], Floats, Floats]:
        """Take the cells of a time out of the table: ``index``, ``shares`` and ``cells`` of its outlook."""
        index, share = cells_at(time_seconds)
        shares = np.array([[[1.0 - share]], [[share]]])
        if isinstance(selection, slice):
            cells = self.table.take(index, axis=1)[:, :, selection].astype(np.float64)
        else:
            cells = self.table[:, index[:, None], selection].astype(np.float64)
        return index, shares, cells

    def put(self, index: NDArray[np.int64], selection: Selection, cells: Floats) -> None:
        """Put cells back into the table."""
        if isinstance(selection, slice):
            self.table[:, index, selection] = cells
        else:
            self.table[:, index[:, None], selection] = cells

    def read(self, time_seconds: float, selection: Selection, level: Floats) -> Outlook:
        """Look all seasons up.

        Parameters
        ----------
        level : ndarray of shape (m,)
            What takes the place of cells not visited yet.
        """
        index, shares, cells = self.gather(time_seconds, selection)
        values = np.empty_like(level, shape=(N_SEASONS, level.size))
        values[:] = level
        mean, visits = cells.reshape(2, 2, N_SEASONS, level.size)
        # A cell with less than one full visit counts for less than its share, an empty one for nothing.
        weight = np.minimum(visits, 1.0)
        weight *= shares
        weight *= mean - values
        values += weight[0]
        values += weight[1]
        return Outlook(values, index, shares, cells)

    def learn(self, outlook: Outlook, selection: Selection, x: Floats, weight: Floats) -> None:
        """Take values in.

        Parameters
        ----------
        outlook : Outlook
            As read for the same selection since the last change.
        x, weight : ndarray of shape (m,)
            Relative to the origin; from 0 (ignore) to 1.
        """
        cells = outlook.cells
        mean, visits = cells.reshape(2, 2, N_SEASONS, x.size)
        part = outlook.shares * weight
        visits += part
        gain = part / np.maximum(visits, VISITS_MIN)
        np.maximum(gain, part * self._gains_min, out=gain)
        gain *= x - mean
        mean += gain
        self.put(outlook.index, selection, cells)

    def forget(self, selection: Selection) -> None:
        """Clear slots."""
        self.table[:, :, selection] = 0.0

    def state(self, n_slots: int) -> Arrays:
        """Return a copy of the table, trimmed to the slots in use."""
        return {"seasons": self.table[:, :, :n_slots].copy()}

    def load(self, arrays: Arrays) -> None:
        """Take over what ``state`` returned."""
        table = arrays["seasons"]
        self.reserve(table.shape[2])
        self.table[:, :, : table.shape[2]] = table


def cells_at(time_seconds: float) -> tuple[NDArray[np.int64], float]:
    """Find the cells of the two hours that a time lies between, and the share of the later one.

    Returns
    -------
    index : ndarray of shape (2 * N_SEASONS,)
    share : float

    >>> index, share = cells_at(1.75 * 3600)  # of a Thursday
    >>> index.tolist(), share
    ([1, 97, 193, 2, 98, 194], 0.25)
    """
    position = (time_seconds - MONDAY_SECONDS) / HOUR_SECONDS - 0.5
    whole = int(position // 1.0)
    return _CELLS[whole % 168], position - whole


def _cells_of(of_week: int) -> list[int]:
    """Return the cells of an hour of the week."""
    of_day, is_off = of_week % 24, of_week // 24 in WEEKEND
    places = (of_day, of_week, of_day + 24 * is_off)
    return [start + place for start, place in zip(STARTS, places, strict=True)]


_CELLS: Final = np.array([_cells_of(hour) + _cells_of((hour + 1) % 168) for hour in range(168)])
