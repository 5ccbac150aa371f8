"""Two modes: metrics that are on or off. Unusual is what is far from both, and that may be in between.

Two clusters per series are moved along with the values, block by block (online k-means: MacQueen, 1967, with soft
assignment as in the EM algorithm: Dempster et al., 1977). They have a say only where they explain the values clearly
better than one hump around what was expected does. What was expected knows the last value; so that a metric that stays
on or off for hours is not mistaken for one hump that moves, the modes are told by how often they follow each other, as
the states of a Markov chain. How unusual a value is does not depend on that: either mode is a usual place to be.
"""

import math
from typing import Final

import numpy as np

from domain.config.functions import Side
from domain.model.arrays import Bools, Floats

LOWER, UPPER, N_LOWER, N_UPPER, V_LOWER, V_UPPER, SWITCHES, EVIDENCE, BLOCKS, TRUST = range(10)
"""Rows: centres of the two modes, relative to the origin; weights, in values; variances; how often either followed the
other; log of the Bayes factor for them; blocks since they were set; share in the probability that they have earned, 0
to 1."""
N_ROWS: Final = 10

FADE: Final = 1.0 / 60.0
"""Share of the weights forgotten per block. Chosen: some weeks of 15-minute buckets."""
EVIDENCE_FADE: Final = 0.03
EVIDENCE_MIN, EVIDENCE_NEEDED, EVIDENCE_MAX = -15.0, 8.0, 60.0
"""Log Bayes factor: bounds, and where modes have half of the say. Chosen: 3,000 to 1 for what is rarely the case."""
SAMPLE_MAX: Final = 3.0
"""A value changes the evidence by at most so much."""
SEPARATION_MIN: Final = 6.0
"""Distance of the centres, in standard deviations of the wider mode, from which modes are apart: at 6 the density in
the middle is below a fiftieth of that of either. Chosen: no single hump, however skewed, splits like this."""
SHARE_MIN: Final = 0.02
"""Smallest part of the values that makes a mode; fewer are outliers."""
BLOCKS_MIN: Final = 3
"""Blocks before modes have a say."""
ROUNDING: Final = 0.16
"""Smallest variance of whole numbers: of two that are neighbours neither is a mode. Chosen: above that of a uniform
distribution, 1/12, as one may be between two numbers."""
OUTLIER_Z: Final = 4.0
"""Values farther from a mode count in its centre and variance as if they were so far."""
WEIGHT_MIN: Final = 1e-3
"""Smallest weight of a mode, in values; what the centres of modes just set have: they are mere guesses."""
WIDTH_PRIOR: Final = 0.25
"""Weight of the first guess of a width, in values. Chosen: a single value has none of its own, thirty should."""
SWITCHES_PRIOR: Final = 4.0
"""Strength of the belief, in values, that it does not matter which mode the value before was of."""
WIDTH_START: Final = 1.0 / 12.0
"""Their width, in parts of their distance: small enough for values to belong to the nearer one."""
WIDTH_MIN: Final = 0.003
"""Smallest width of a mode in parts of the distance of both, and in parts of the level 1e-4: two exact levels make no
spread to measure by."""
_LOG_ROOT_2PI: Final = 0.5 * math.log(2.0 * math.pi)


def place(rows: Floats, low: Floats, high: Floats) -> None:
    """Set the modes anew, at the ends of a range; in place.

    Parameters
    ----------
    rows : ndarray of shape (N_ROWS, k)
    low, high : ndarray of shape (k,)
        Relative to the origin.
    """
    rows[LOWER], rows[UPPER] = low, high
    rows[N_LOWER] = rows[N_UPPER] = WEIGHT_MIN
    width = (high - low) * WIDTH_START
    rows[V_LOWER] = rows[V_UPPER] = width * width
    rows[SWITCHES] = rows[EVIDENCE] = rows[BLOCKS] = rows[TRUST] = 0.0


def widths(rows: Floats) -> tuple[Floats, Floats]:
    """Return the standard deviations of both modes, wider where few values are behind them, not below their floors."""
    floor = WIDTH_MIN * (rows[UPPER] - rows[LOWER]) + 1e-9
    of_lower = rows[V_LOWER] * (1.0 + 2.0 / np.maximum(rows[N_LOWER], 1.0))
    of_upper = rows[V_UPPER] * (1.0 + 2.0 / np.maximum(rows[N_UPPER], 1.0))
    return np.maximum(np.sqrt(of_lower), floor), np.maximum(np.sqrt(of_upper), floor)


def log_densities(rows: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return the logs of the parts that both modes have in the density of values.

    Parameters
    ----------
    y : ndarray of shape (..., k)
        Relative to the origin.
    """
    of_lower, of_upper = widths(rows)
    total = rows[N_LOWER] + rows[N_UPPER]
    z_lower, z_upper = (y - rows[LOWER]) / of_lower, (y - rows[UPPER]) / of_upper
    lower = np.log(rows[N_LOWER] / (total * of_lower)) - _LOG_ROOT_2PI - 0.5 * z_lower * z_lower
    upper = np.log(rows[N_UPPER] / (total * of_upper)) - _LOG_ROOT_2PI - 0.5 * z_upper * z_upper
    return lower, upper


def learn(rows: Floats, y: Floats, log_otherwise: Floats, is_whole: Bools) -> None:
    """Take a block of values in; in place.

    Parameters
    ----------
    rows : ndarray of shape (N_ROWS, k)
    y : ndarray of shape (n, k)
        Relative to the origin.
    log_otherwise : ndarray of shape (n, k)
        Log of their density without modes.
    is_whole : ndarray of shape (k,)
        Whether values are whole numbers, whose spread is that of rounding at least.
    """
    lower, upper = log_densities(rows, y)
    is_upper = np.exp(upper - np.logaddexp(lower, upper))
    found = _log_foretold(rows, lower, upper, is_upper)
    gain = np.minimum(np.maximum(found - log_otherwise, -SAMPLE_MAX), SAMPLE_MAX)
    switches = np.zeros(y.shape)
    switches[1:] = np.abs(is_upper[1:] - is_upper[:-1])
    of_lower, of_upper = widths(rows)
    off_lower, off_upper = y - rows[LOWER], y - rows[UPPER]
    is_settled = rows[BLOCKS] >= 1.0
    reach = np.where(is_settled, OUTLIER_Z, 1e6)  # the first block knows no width to clip by
    reach_lower, reach_upper = reach * of_lower, reach * of_upper
    off_lower = np.minimum(np.maximum(off_lower, -reach_lower), reach_lower)
    off_upper = np.minimum(np.maximum(off_upper, -reach_upper), reach_upper)
    not_upper = 1.0 - is_upper
    stack = np.stack(
        (
            gain,
            switches,
            not_upper,
            not_upper * off_lower,
            not_upper * off_lower * off_lower,
            is_upper,
            is_upper * off_upper,
            is_upper * off_upper * off_upper,
        )
    )
    sums = np.add.accumulate(stack, axis=1)[:, -1]  # in the order of the values, whatever their number
    rows[EVIDENCE] += is_settled * (sums[0] - EVIDENCE_FADE * rows[EVIDENCE])
    np.minimum(np.maximum(rows[EVIDENCE], EVIDENCE_MIN), EVIDENCE_MAX, out=rows[EVIDENCE])
    # Half of the switches lead either way; what happens between blocks is not seen.
    rows[SWITCHES] += 0.5 * len(y) / (len(y) - 1.0) * sums[1] - FADE * rows[SWITCHES]
    for n, centre, variance, (weight, first, second) in (
        (N_LOWER, LOWER, V_LOWER, sums[2:5]),
        (N_UPPER, UPPER, V_UPPER, sums[5:8]),
    ):
        rows[n] += weight - FADE * rows[n]
        np.maximum(rows[n], WEIGHT_MIN, out=rows[n])
        moved = first / rows[n]
        rows[centre] += moved
        # About the new centre (Welford, 1962).
        rows[variance] += (second - weight * rows[variance] - first * moved) / (rows[n] + WIDTH_PRIOR)
        np.maximum(rows[variance], ROUNDING * is_whole, out=rows[variance])
        np.maximum(rows[variance], 0.0, out=rows[variance])
    rows[BLOCKS] += 1.0
    trust = 1.0 / (1.0 + np.exp(np.minimum(EVIDENCE_NEEDED - rows[EVIDENCE], 50.0)))
    rows[TRUST] = trust * are_apart(rows) * (rows[BLOCKS] >= BLOCKS_MIN)


def _log_foretold(rows: Floats, lower: Floats, upper: Floats, is_upper: Floats) -> Floats:
    """Return the logs of the densities of values, given which mode the value before each was of.

    Parameters
    ----------
    lower, upper : ndarray of shape (n, k)
        From ``log_densities``.
    is_upper : ndarray of shape (n, k)
        How likely each value is of the upper mode.
    """
    share = rows[N_UPPER] / (rows[N_LOWER] + rows[N_UPPER])
    to_upper = (rows[SWITCHES] + SWITCHES_PRIOR * share) / (rows[N_LOWER] + SWITCHES_PRIOR)
    to_lower = (rows[SWITCHES] + SWITCHES_PRIOR * (1.0 - share)) / (rows[N_UPPER] + SWITCHES_PRIOR)
    foretold = np.empty(is_upper.shape)
    foretold[0] = share
    before = is_upper[:-1]
    foretold[1:] = before * (1.0 - to_lower) + (1.0 - before) * to_upper
    np.minimum(np.maximum(foretold, 1e-6), 1.0 - 1e-6, out=foretold)
    found: Floats = np.logaddexp(lower + np.log((1.0 - foretold) / (1.0 - share)), upper + np.log(foretold / share))
    return found


def are_apart(rows: Floats) -> Bools:
    """Tell where the modes are two indeed: far from each other, and neither of a few outliers."""
    of_lower, of_upper = widths(rows)
    smaller = np.minimum(rows[N_LOWER], rows[N_UPPER])
    is_apart: Bools = rows[UPPER] - rows[LOWER] > SEPARATION_MIN * np.maximum(of_lower, of_upper)
    is_apart &= smaller > SHARE_MIN * (rows[N_LOWER] + rows[N_UPPER])
    return is_apart


def are_misplaced(rows: Floats, low: Floats, high: Floats) -> Bools:
    """Tell where modes without evidence are to be set anew: the range grew, or one of them has no values."""
    total, smaller = rows[N_LOWER] + rows[N_UPPER], np.minimum(rows[N_LOWER], rows[N_UPPER])
    distance = rows[UPPER] - rows[LOWER]
    is_lost: Bools = (rows[BLOCKS] >= 10.0) & ((smaller < SHARE_MIN * total) | (rows[EVIDENCE] < 0.0))
    is_lost |= high - low > 2.0 * np.abs(distance)
    is_lost &= rows[TRUST] < 0.5
    is_lost |= rows[BLOCKS] == 0.0
    return is_lost


def distance(rows: Floats, y: Floats) -> Floats:
    """Return the distance of values to the nearer mode, in its standard deviations."""
    of_lower, of_upper = widths(rows)
    nearer: Floats = np.minimum(np.abs(y - rows[LOWER]) / of_lower, np.abs(y - rows[UPPER]) / of_upper)
    return nearer


def probability(rows: Floats, y: Floats, side: Side) -> Floats:
    """Return the probability of values at least as unusual.

    Two-sided, these are all whose density is lower, between the modes too. Where the density of one mode falls to
    that of the value, the other's is taken as nothing, so the mass beyond is that of two normal tails per mode.

    No probability is below that of a first change of what never varied: see ``probability.flat_limit``.

    >>> rows = np.array([0.0, 10.0, 50.0, 50.0, 1.0, 1.0, 9.0, 9.0, 9.0, 1.0])[:, None]
    >>> [round(float(probability(rows, np.array([y]), "both")[0]), 4) for y in (0.0, 10.0, 12.0, 5.0)]
    [1.0, 1.0, 0.0499, 0.0]
    """
    from scipy.special import log_ndtr, ndtr  # late: takes a quarter of a second, and most commands need no model

    of_lower, of_upper = widths(rows)
    total = np.maximum(rows[N_LOWER] + rows[N_UPPER], 1e-3)
    least = np.exp(-3.0 * np.log(total + 2.0))
    parts = ((rows[N_LOWER] / total, rows[LOWER], of_lower), (rows[N_UPPER] / total, rows[UPPER], of_upper))
    if side != "both":
        sign = -1.0 if side == "high" else 1.0
        found = np.zeros_like(y)
        for share, centre, width in parts:
            found += share * ndtr(sign * (y - centre) / width)
        np.maximum(found, least, out=found)
        return found
    log_density = np.logaddexp(*log_densities(rows, y))
    found = np.zeros_like(y)
    for share, _, width in parts:
        half_square = np.log(share / width) - _LOG_ROOT_2PI - log_density
        found += 2.0 * share * np.exp(log_ndtr(-np.sqrt(2.0 * np.maximum(half_square, 0.0))))
    np.maximum(found, least, out=found)
    return found
