"""Periods that nobody told us of: found in a stretch of cell means by autocorrelation, and tested against chance.

A period must repeat at least three times, correlate with itself at its own length and at twice that, and explain more
than chance does. Values are taken as correlated noise in that test, so that a random walk, which looks like a few waves
wherever it is cut, is not taken for a season. Days and weeks have tables of their own (``seasons.py``): what days
explain is taken off before. Everything is done for many series at once, each series by itself.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.model.arrays import Bools, Floats, Ints

N_CELLS: Final = 256
"""Longest stretch."""
CORRELATION_MIN: Final = 0.5
"""Least correlation of a season with itself."""
REPEATS_MIN: Final = 3.0
LAG_MIN: Final = 4
"""Shortest period, in cells: three values are no shape."""
DIVISOR_SHARE: Final = 0.85
"""A shorter lag is preferred if it correlates at least this well, in parts of the best: a season of 5 hours correlates
as well at 10."""
CHANCE_MAX: Final = 1e-5
"""Greatest chance by the F-test. Chosen: a stretch has up to 80 lags and a series is tested some 30 times, which leaves
less than 1 in 40 that were noise normal and the effective number of values known; measured false acceptances are in
tests/unit/domain/model/test_periods.py."""
FIXED_CHANCE_MAX: Final = 1e-3
"""The same for taking off what days explain. Chosen: to take off too little costs more than too much."""
PRESENT_MIN: Final = 0.7
"""Part of the cells that must not be missing."""
N_PHASES: Final = 24
"""Phases of a season that are told apart in the test."""
DAY_PHASES: Final = N_CELLS // 3 + 1
"""Most phases of a day, of which a stretch holds three or more."""
GRID_STEPS: Final = 6
GRID_REACH_CELLS, GRID_REACH = 0.6, 0.05
"""How far around a lag its exact length is looked for, in cells or parts of it, whichever is more."""
PRECISION: Final = 0.12
"""Error of a period over one repeat, in parts of it; over more repeats in proportion. Chosen: about two standard errors
of the frequency of a sine in noise as strong over fifty cells (Rife and Boorstyn, 1974)."""
WINSOR: Final = 3.0
ROUNDS: Final = 3
"""Cells count for at most three standard deviations, measured anew three times, so that one outlier is no season and
spikes that do recur stay."""
DAY_SECONDS, WEEK_SECONDS = 86_400.0, 604_800.0
ROUND_UNITS: Final = (86_400.0, 43_200.0, 21_600.0, 10_800.0, 3600.0, 1800.0, 900.0, 600.0, 300.0, 60.0)
"""Of the lengths that the cells cannot tell apart, the roundest is taken: seasons of machines are set by people."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Cells of k series.

    Attributes
    ----------
    x : ndarray of shape (k, N_CELLS), dtype=float64
        Means; NaN: missing, or not filled yet.
    n_cells : ndarray of shape (k,), dtype=int64
        How many are filled, missing ones among them.
    width, began : ndarray of shape (k,)
        Seconds per cell; start of the first, seconds since the epoch.
    """

    x: Floats
    n_cells: Ints
    width: Floats
    began: Floats


@dataclass(frozen=True, slots=True)
class Found:
    """Periods.

    Attributes
    ----------
    seconds : ndarray of shape (k,)
        0: none.
    is_over_day : ndarray of shape (k,), dtype=bool
        It comes on top of a daily season.
    residual : ndarray of shape (k,)
        Mean absolute distance of the cells from the season.
    unexplained : ndarray of shape (k,)
        Part of the mean square that the season leaves.
    level : ndarray of shape (k,)
        Usual value at the end of the stretch.
    clean : ndarray of shape (k, N_CELLS)
        The cells without trend, daily season and outliers; NaN: missing.
    """

    seconds: Floats
    is_over_day: Bools
    residual: Floats
    unexplained: Floats
    level: Floats
    clean: Floats


def find(stretch: Stretch) -> Found:
    """Look for one period in each stretch."""
    is_there = ~np.isnan(stretch.x)
    there = is_there.astype(np.float64)
    count = np.maximum(_sum(there), 1.0)
    x, level = _detrended(np.where(is_there, stretch.x, 0.0), there, count)
    x = _winsorised(x, there, count)
    x, is_over_day = _without_days(x, there, count, stretch)
    correlation = _autocorrelation(x, there)
    lag, best = _best_lag(correlation, stretch.n_cells)
    lag *= (best >= CORRELATION_MIN) & (count >= PRESENT_MIN * stretch.n_cells)
    seconds = _refined(x, there, lag, stretch)
    residual, unexplained, chance = _test(x, there, count, seconds, stretch)
    is_fixed = np.abs(seconds / DAY_SECONDS - 1.0) < 0.04
    is_fixed |= np.abs(seconds / WEEK_SECONDS - 1.0) < 0.08
    seconds *= (chance < CHANCE_MAX) & ~is_fixed
    return Found(seconds, is_over_day, residual, unexplained, level, np.where(is_there, x, np.nan))


def _sum(cells: Floats) -> Floats:
    """Return the sum of each row, from left to right, so that it is the same beside any other rows."""
    total: Floats = np.add.accumulate(cells, axis=1)[:, -1]
    return total


def _detrended(x: Floats, there: Floats, count: Floats) -> tuple[Floats, Floats]:
    """Take the line of least squares off; return what is left, and the line's end."""
    place = np.arange(N_CELLS, dtype=np.float64)
    mean_place = _sum(there * place) / count
    away = (place - mean_place[:, None]) * there
    mean = _sum(x) / count
    slope = _sum(away * x) / np.maximum(_sum(away * away), 1e-9)
    last = np.maximum((there * place).max(axis=1), 0.0)
    line = mean[:, None] + slope[:, None] * (place - mean_place[:, None])
    return (x - line) * there, mean + slope * (last - mean_place)


def _winsorised(x: Floats, there: Floats, count: Floats) -> Floats:
    for _ in range(ROUNDS):
        mean = (_sum(x) / count)[:, None]
        x = (x - mean) * there
        limit = (WINSOR * np.sqrt(_sum(x * x) / count))[:, None]
        x = np.minimum(np.maximum(x, -limit), limit)
    x = (x - (_sum(x) / count)[:, None]) * there
    return x


def _folded(x: Floats, there: Floats, phase: NDArray[np.int64], n_phases: int) -> tuple[Floats, Floats]:
    """Return the mean of each phase at each cell, and how many phases have cells.

    Parameters
    ----------
    phase : ndarray of shape (k, N_CELLS)
        From 0 to n_phases - 1.
    """
    k = x.shape[0]
    flat = phase + np.arange(k)[:, None] * n_phases
    sums, counts = np.zeros(k * n_phases), np.zeros(k * n_phases)
    np.add.at(sums, flat.ravel(), x.ravel())  # in order of the cells
    np.add.at(counts, flat.ravel(), there.ravel())
    means = sums / np.maximum(counts, 1.0)
    n_used = np.count_nonzero(counts.reshape(k, n_phases), axis=1)
    return means[flat] * there, n_used.astype(np.float64)


def _without_days(x: Floats, there: Floats, count: Floats, stretch: Stretch) -> tuple[Floats, Bools]:
    """Take the means of each time of day off, where three days are there and they explain more than chance."""
    asked = (stretch.n_cells * stretch.width >= REPEATS_MIN * DAY_SECONDS) & (stretch.width <= DAY_SECONDS / 6.0)
    if not asked.any():
        return x, asked
    at = asked.nonzero()[0]
    # As many phases as cells: the steps of coarser ones would look like seasons.
    n_phases = np.minimum(DAY_PHASES, np.floor(DAY_SECONDS / stretch.width[at]))[:, None]
    middles = stretch.began[at, None] + (np.arange(N_CELLS) + 0.5) * stretch.width[at, None]
    phase = (np.mod(middles, DAY_SECONDS) * (n_phases / DAY_SECONDS)).astype(np.int64)
    profile, n_used = _folded(x[at], there[at], phase, DAY_PHASES)
    left = x[at] - profile
    _, _, chance = _f_test(x[at], left, there[at], count[at], n_used)
    is_daily = np.zeros(asked.shape, np.bool_)
    is_daily[at] = chance < FIXED_CHANCE_MAX
    cleaned = x.copy()
    cleaned[at] = left
    return np.where(is_daily[:, None], cleaned, x), is_daily


def _autocorrelation(x: Floats, there: Floats) -> Floats:
    """Return the correlation with itself at each lag, by pairs that are there (Wiener, 1930; Khinchin, 1934).

    Returns
    -------
    ndarray of shape (k, N_CELLS)
    """
    spectrum = np.fft.rfft(np.concatenate([x, there]), 2 * N_CELLS)
    power = spectrum.real * spectrum.real + spectrum.imag * spectrum.imag
    products, pairs = np.split(np.fft.irfft(power)[:, :N_CELLS], 2)
    covariance = products / np.maximum(pairs, 1.0)
    correlation: Floats = covariance / np.maximum(covariance[:, :1], 1e-300)
    correlation *= pairs > 0.5
    return correlation


def _best_lag(correlation: Floats, n_cells: Ints) -> tuple[Ints, Floats]:
    """Find the lag whose correlation, with that of its double, is best; 0: none is a peak."""
    k = correlation.shape[0]
    lag_max = N_CELLS // 3
    lags = np.arange(lag_max + 1)
    doubled = correlation[:, 2 * lags]
    for shift in (-1, 1):  # twice a lag that is not quite the period is off by one
        doubled = np.maximum(doubled, correlation[:, np.maximum(2 * lags + shift, 0)])
    here = correlation[:, : lag_max + 1]
    lower = np.minimum.accumulate(here, axis=1)
    is_peak = np.zeros((k, lag_max + 1), np.bool_)
    is_peak[:, 1:] = (here[:, 1:] >= here[:, :-1]) & (here[:, 1:] >= correlation[:, 2 : lag_max + 2])
    is_peak &= (lags >= LAG_MIN) & (lags <= (n_cells / REPEATS_MIN)[:, None])
    # What only falls slowly from lag 0 is no season: it must have been lower in between.
    is_peak &= here - lower >= CORRELATION_MIN
    strength = np.where(is_peak, 0.5 * (here + doubled), -1.0)
    best = np.maximum.reduce(strength, axis=1)
    first = (strength >= DIVISOR_SHARE * best[:, None]).argmax(axis=1)
    lag = np.where(best > 0.0, first, 0)
    return lag, best


def _refined(x: Floats, there: Floats, lag: Ints, stretch: Stretch) -> Floats:
    """Sharpen periods by how much they leave unexplained, on a grid and then on a finer one; return seconds."""
    asked = lag.nonzero()[0]
    seconds = np.zeros(lag.size)
    if asked.size == 0:
        return seconds
    values, weights, width = x[asked], there[asked], stretch.width[asked]
    period = lag[asked].astype(np.float64)
    reach = np.maximum(GRID_REACH_CELLS, GRID_REACH * period)
    for _ in range(2):
        least, best = np.full(asked.size, np.inf), period
        for step in range(-GRID_STEPS, GRID_STEPS + 1):
            tried = period + reach * (step / GRID_STEPS)
            left = values - _folded(values, weights, *_phases(tried))[0]
            squares = _sum(left * left)
            best = np.where(squares < least, tried, best)
            least = np.minimum(squares, least)
        period, reach = best, reach / GRID_STEPS
    stretched = stretch.n_cells[asked] / period
    seconds[asked] = _rounded(period * width, PRECISION * period * width / stretched)
    return seconds


def _phases(period: Floats) -> tuple[NDArray[np.int64], int]:
    """Return the phase of each cell, of ``N_PHASES`` or as many as the period has cells."""
    n_phases = np.minimum(np.maximum(np.floor(period), 2.0), N_PHASES)[:, None]
    turns = (np.arange(N_CELLS) + 0.5) / period[:, None]
    phase = np.minimum((turns - np.floor(turns)) * n_phases, n_phases - 1.0)
    return phase.astype(np.int64), N_PHASES


def _rounded(seconds: Floats, tolerance: Floats) -> Floats:
    """Return the roundest lengths within the tolerance, else the lengths themselves."""
    found, is_open = seconds.copy(), np.ones(seconds.size, np.bool_)
    for unit in ROUND_UNITS:
        near = np.maximum(np.rint(seconds / unit), 1.0) * unit
        fits = is_open & (np.abs(near - seconds) <= tolerance)
        found = np.where(fits, near, found)
        is_open &= ~fits
    return found


def _test(x: Floats, there: Floats, count: Floats, seconds: Floats, stretch: Stretch) -> tuple[Floats, Floats, Floats]:
    """Fold at the periods; return the mean absolute residual, the unexplained part and the chance."""
    asked = (seconds > 0.0).nonzero()[0]
    residual, unexplained, chance = np.zeros(seconds.size), np.ones(seconds.size), np.ones(seconds.size)
    if asked.size:
        phases = _phases(seconds[asked] / stretch.width[asked])
        profile, n_used = _folded(x[asked], there[asked], *phases)
        left = x[asked] - profile
        residual[asked], unexplained[asked], chance[asked] = _f_test(x[asked], left, there[asked], count[asked], n_used)
    return residual, unexplained, chance


def _f_test(x: Floats, left: Floats, there: Floats, count: Floats, n_used: Floats) -> tuple[Floats, Floats, Floats]:
    """Test means of phases against none (Fisher, 1925), both numbers of values shrunk to those of independent noise.

    Noise whose neighbours correlate by r is worth (1 - r) / (1 + r) of its values (Bartlett, 1935).

    Returns
    -------
    residual, unexplained, chance : ndarray of shape (k,)
        Mean absolute residual; part of the squares that is left; probability of explaining as much by chance.
    """
    from scipy.special import fdtrc  # late: takes a quarter of a second, and most commands need no model

    before, after = _sum(x * x), _sum(left * left)
    neighbours = _sum(left[:, 1:] * left[:, :-1])
    pairs = np.maximum(_sum(there[:, 1:] * there[:, :-1]), 1.0)
    correlation = (neighbours / pairs) / np.maximum(after / count, 1e-300)
    correlation = np.minimum(np.maximum(correlation, 0.0), 0.99)
    worth = (1.0 - correlation) / (1.0 + correlation)
    between = np.maximum((n_used - 1.0) * worth, 1.0)
    within = (count - n_used) * worth
    unexplained = np.minimum(after / np.maximum(before, 1e-300), 1.0)
    ratio = ((1.0 - unexplained) / between) / (np.maximum(unexplained, 1e-12) / np.maximum(within, 1e-3))
    chance = np.where((within >= 2.0) & (before > 0.0), fdtrc(between, np.maximum(within, 2.0), ratio), 1.0)
    chance /= worth * worth * worth
    return _sum(np.abs(left)) / count, unexplained, chance
