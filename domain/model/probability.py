"""Probabilities: how likely a value at least as unusual is, given what was expected.

Only for candidates, whose residual is beyond ``SCREEN_Z``: nothing below it comes near a probability that matters.
Residuals are judged by Student's t, whose degrees of freedom follow the tails of the series and the length of its
history; small counts by the negative binomial too, the less unusual of both stands.
"""

import math
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

FAILURES_MAX: Final = 1e6
"""Beyond it the negative binomial and the Poisson distribution differ by less than rounding."""
MEAN_MIN: Final = 1e-3
"""Smallest mean of counts."""

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
    return student_t(z * np.sqrt(dof / (dof - 2.0)), np.minimum(dof, count), side)


def student_t(t: Floats, dof: Floats | float, side: Side) -> Floats:
    """Return the tail of Student's t, twice that where both sides count."""
    from scipy.special import stdtr  # late: takes a quarter of a second, and most commands need no model

    tail: Floats = stdtr(dof, -t)
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


def log_student(z: Floats, dof: Floats, reaches: tuple[Floats, Floats]) -> Floats:
    """Return the log of the density of residuals, in scales, that reach farther on one side.

    Parameters
    ----------
    z : ndarray of shape (n, k)
    dof : ndarray of shape (k,)
    reaches : tuple of ndarray of shape (k,)
        Of those below and above: see ``spread.leaning``.
    """
    below, above = reaches
    stretch = np.sqrt(dof / (dof - 2.0))
    t = z * stretch / np.where(z > 0.0, above, below)
    return log_student_t(t, dof) + np.log(stretch * 2.0 / (below + above))


def log_student_t(t: Floats, dof: Floats) -> Floats:
    """Return the log of the density of Student's t."""
    from scipy.special import gammaln  # late: see above

    half = 0.5 * (dof + 1.0)
    log_density: Floats = np.log1p(t * t / dof)
    log_density *= -half
    log_density += gammaln(half) - gammaln(0.5 * dof) - 0.5 * np.log(dof * math.pi)
    return log_density


def _failures(mean: Floats, variance: Floats) -> Floats:
    """Return the parameter of the negative binomial. Very many failures to come are Poisson."""
    failures: Floats = np.minimum(mean * mean / np.maximum(variance - mean, mean * mean * 1e-6), FAILURES_MAX)
    return failures


def log_count(actual: Floats, mean: Floats, variance: Floats) -> Floats:
    """Return the log of the probability of a count under the negative binomial distribution."""
    from scipy.special import gammaln  # late: see above

    mean = np.maximum(mean, MEAN_MIN)
    failures = _failures(mean, variance)
    log_probability: Floats = gammaln(actual + failures) - gammaln(failures) - gammaln(actual + 1.0)
    log_probability += actual * np.log(mean / (failures + mean)) - failures * np.log1p(mean / failures)
    return log_probability


def count_tail(actual: Floats, mean: Floats, variance: Floats, side: Side) -> Floats:
    """Return the probability of a count at least as unusual under the negative binomial (or Poisson) distribution.

    Counts are few and far between: with and without the count itself the probability differs by far. The middle of
    the logs of both is returned, which makes the share of counts below a threshold as near to it as can be. Below 0
    there is no count: 0 has half of its own probability.

    Parameters
    ----------
    actual, mean, variance : ndarray of shape (m,)
        The count; what is expected of it. A variance below the mean is taken as equal to it.

    Returns
    -------
    ndarray of shape (m,)
        Two-sided: of all that are no more probable, at most 1. The other end of these is found by the square root,
        which makes the distribution symmetric (Anscombe, 1948).
    """
    mean = np.maximum(mean, MEAN_MIN)
    failures = _failures(mean, variance)
    if side == "high":
        high: Floats = np.sqrt(_at_least(actual, mean, failures) * _at_least(actual + 1.0, mean, failures))
        return high
    if side == "low":
        own = _at_most(actual, mean, failures)
        low: Floats = np.sqrt(own * np.maximum(_at_most(actual - 1.0, mean, failures), own * 0.25 * (actual <= 0.0)))
        return low
    mode = np.maximum(mean * (failures - 1.0) / failures - 0.5, 0.0)
    is_above = actual > mode
    root = 2.0 * np.sqrt(mode + 0.375) - np.sqrt(actual + 0.375)
    # From above the twin is the largest count that is less probable, from below the smallest; to within one.
    twin = np.where(is_above, np.floor(root * root - 0.375 + 0.5), np.ceil(root * root - 0.375 - 0.5))
    twin = np.where(root > 0.0, twin, -1.0)
    is_denser = log_count(np.maximum(twin, 0.0), mean, variance) > log_count(actual, mean, variance)
    twin += np.where(is_above, -1.0, 1.0) * is_denser
    other = np.where(is_above, _at_most(twin, mean, failures), _at_least(twin, mean, failures))
    with_own = np.where(is_above, _at_least(actual, mean, failures), _at_most(actual, mean, failures))
    beyond = np.where(is_above, _at_least(actual + 1.0, mean, failures), _at_most(actual - 1.0, mean, failures))
    np.maximum(beyond, with_own * 0.25, out=beyond, where=~is_above & (actual <= 0.0))
    both: Floats = np.minimum(np.sqrt((with_own + other) * (beyond + other)), 1.0)
    return both


def _at_least(count: Floats, mean: Floats, failures: Floats) -> Floats:
    from scipy.special import betainc, gammainc  # late: see above

    at = np.maximum(count, 1e-12)
    tail: Floats = np.where(
        failures >= FAILURES_MAX, gammainc(at, mean), betainc(at, failures, mean / (failures + mean))
    )
    return tail


def _at_most(count: Floats, mean: Floats, failures: Floats) -> Floats:
    from scipy.special import betainc, gammaincc  # late: see above

    at = np.maximum(count, 0.0) + 1.0
    of_poisson, of_others = gammaincc(at, mean), betainc(failures, at, failures / (failures + mean))
    tail: Floats = np.where(failures >= FAILURES_MAX, of_poisson, of_others) * (count >= 0.0)
    return tail


def is_random_count(mean: Floats, variance: Floats) -> Bools:
    """Tell for which counts ``count_tail`` applies."""
    return (mean < COUNT_MEAN_MAX) & (variance >= REGULAR_SHARE * mean)
