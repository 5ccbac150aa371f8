"""Probabilities: how likely a value at least as unusual is, given what was expected.

Only for candidates, whose residual is beyond ``SCREEN_Z``: nothing below it comes near a probability that matters.
Residuals are judged by Student's t, whose degrees of freedom follow the tails of the series and the length of its
history; small counts by the negative binomial too, the less unusual of both stands.
"""

from typing import Final

import numpy as np

from domain.config.functions import Side
from domain.model.arrays import Bools, Floats

SCREEN_Z: Final = 1.1
"""Residuals below so many scales are never candidates. At the heaviest tails allowed, probability 0.05 needs 1.14."""
COUNT_MIN: Final = 4
"""Values that a series must have shown before one is judged."""
TAIL_DOF_MIN, TAIL_DOF_MAX = 2.6, 100.0
PROBABILITY_MIN: Final = 1e-300
"""Stands for everything below; its logarithm is still exact."""
COUNT_MEAN_MAX: Final = 1000.0
"""Counts expected above that are near enough to normal."""
REGULAR_SHARE: Final = 0.25
"""A count whose variance is below this part of its mean is no random count, but a beat."""

_NORMAL_RATIO: Final = 0.7978845608028654  # mean absolute over standard deviation of the normal: sqrt(2 / pi)


def signed(z: Floats, side: Side) -> Floats:
    """Return the residuals such that larger means more unusual.

    >>> signed(np.array([-2.0, 1.0]), "low")
    array([ 2., -1.])
    """
    return z if side == "high" else -z if side == "low" else np.abs(z)


def tail_dof(square: Floats, absolute: Floats, scale: Floats, n_effective: Floats) -> Floats:
    """Estimate the degrees of freedom of Student's t from the mean absolute residual and the mean square.

    Their ratio is 0.798 for normal residuals and falls as tails get heavier (Geary, 1935, as a test of normality);
    for t with nu degrees of freedom it is short of that by 0.19 / (nu - 2) to within 5 %, nu from 4 to 100.

    Where the scale stands on a floor far above the residuals, their tails say nothing about it, and it is normal.

    Returns
    -------
    ndarray of shape (m,)
        From ``TAIL_DOF_MIN`` to ``TAIL_DOF_MAX``.
    """
    short = _NORMAL_RATIO - absolute / np.sqrt(np.maximum(square, 1e-300))
    # The ratio of n normal residuals scatters by 0.21 / sqrt(n): so much says nothing.
    short -= 0.2 / np.sqrt(np.maximum(n_effective, 1.0))
    short *= np.minimum(square / (scale * scale), 1.0)
    dof = 2.0 + 0.19 / np.maximum(short, 1e-3)
    return np.minimum(np.maximum(dof, TAIL_DOF_MIN), TAIL_DOF_MAX)


def student_tail(z: Floats, dof: Floats, count: Floats, side: Side) -> Floats:
    """Return the probability of a residual at least as unusual.

    Parameters
    ----------
    z : ndarray of shape (m,)
        Signed by ``signed``: residual over standard deviation.
    dof : ndarray of shape (m,)
        Of the tails.
    count : ndarray of shape (m,)
        Values behind the standard deviation; with few the tails are heavier for not knowing it.
    """
    from scipy.special import stdtr  # late: takes a quarter of a second, and most commands need no model

    t = z * np.sqrt(dof / (dof - 2.0))
    tail: Floats = stdtr(np.minimum(dof, count), -t)
    return tail * 2.0 if side == "both" else tail


def flat_limit(count: Floats, floor_share: Floats) -> Floats:
    """Return the smallest probability that a first change of a flat series can have.

    A series that never varied has no spread to measure a change by, only a number of values: by the rule of
    succession a first change among n values has a probability of about 1 / (n + 2). Chosen: its third power, since
    what never varied for a thousand values is expected not to.

    Parameters
    ----------
    count : ndarray of shape (m,)
        Values seen.
    floor_share : ndarray of shape (m,)
        Part of the squared scale that is a floor and not the series' own, from 0 (no limit) to 1.
    """
    limit: Floats = np.exp(np.log(count + 2.0) * -3.0 / np.maximum(floor_share, 0.01))
    return limit


def count_tail(actual: Floats, mean: Floats, variance: Floats, side: Side) -> Floats:
    """Return the probability of a count at least as unusual under the negative binomial (or Poisson) distribution.

    Parameters
    ----------
    actual, mean, variance : ndarray of shape (m,)
        The count; what is expected of it. A variance below the mean is taken as equal to it.

    Returns
    -------
    ndarray of shape (m,)
        Two-sided: twice the smaller tail, at most 1.
    """
    from scipy.special import betainc, gammainc, gammaincc  # late: see above

    mean = np.maximum(mean, 1e-3)
    # Very many failures to come are Poisson; beyond 1e6 the two differ by less than rounding.
    failures = np.minimum(mean * mean / np.maximum(variance - mean, mean * mean * 1e-6), 1e6)
    success = failures / (failures + mean)
    is_poisson = failures >= 1e6
    high: Floats = np.where(
        is_poisson,
        gammainc(np.maximum(actual, 1e-12), mean),
        betainc(np.maximum(actual, 1e-12), failures, 1.0 - success),
    )
    low: Floats = np.where(is_poisson, gammaincc(actual + 1.0, mean), betainc(failures, actual + 1.0, success))
    if side == "high":
        return high
    if side == "low":
        return low
    both: Floats = np.minimum(2.0 * np.minimum(high, low), 1.0)
    return both


def is_random_count(mean: Floats, variance: Floats) -> Bools:
    """Tell for which counts ``count_tail`` applies."""
    return (mean < COUNT_MEAN_MAX) & (variance >= REGULAR_SHARE * mean)
