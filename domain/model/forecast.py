"""Forecasts: six simple predictors of a series' next value, mixed by how well each did lately.

Some series wander (their last value says most), some have a level, some a daily or weekly shape; which it is shows in
the errors, so no predictor needs to be chosen and none is trusted before it has proved itself. All values here are
relative to the origin of their series.
"""

from typing import Final

import numpy as np

from domain.model.arrays import Floats

LAST, FAST, SLOW, DAY_SLOW, WEEK_SLOW, DAY_FAST = range(6)
"""Rows of levels: last value; level over half an hour; level over days; slow deviation from the daily profile, the same
from the weekly profile; fast deviation from the daily profile."""

N_PREDICTORS: Final = 6
NAMES: Final = ("last value", "fast level", "slow level", "slow by day", "slow by week", "fast by day")
SEASONS: Final = (None, None, None, "day", "week", "day")
"""What the predictors are called, and which profile each adds to its level; for those who explain a forecast."""
ERRORS: Final = slice(N_PREDICTORS, 2 * N_PREDICTORS)
N_ROWS: Final = 2 * N_PREDICTORS
"""Levels, then the mean absolute error of the predictor that uses each."""

HOUR, DAY = 3600.0, 86_400.0

ERROR_CLIP: Final = 10.0
"""An error counts for at most so many scales. Chosen: one incident must not decide which predictor is best."""


def time_constants(bucket_span_seconds: int) -> Floats:
    """Return the memory of the fast and slow levels, the slow deviations, and the errors.

    Chosen: half an hour, two days, six hours and four days carried best over 28 series of many kinds; buckets that are
    long against these get memories of a few buckets.

    Returns
    -------
    ndarray of shape (4, 1), seconds
    """
    span = float(bucket_span_seconds)
    return np.array(
        [
            [max(0.5 * HOUR, 3 * span)],
            [max(2 * DAY, 50 * span)],
            [max(6 * HOUR, 8 * span)],
            [max(4 * DAY, 100 * span)],
        ]
    )


def predict(rows: Floats, day: Floats, week: Floats) -> Floats:
    """Return what each predictor expects.

    Parameters
    ----------
    rows : ndarray of shape (N_ROWS, m)
    day, week : ndarray of shape (m,)
        The profiles at the time of the value.

    Returns
    -------
    ndarray of shape (N_PREDICTORS, m)
    """
    expected: Floats = rows[:N_PREDICTORS].copy()
    expected[DAY_SLOW] += day
    expected[WEEK_SLOW] += week
    expected[DAY_FAST] += day
    return expected


def weigh(rows: Floats, scale: Floats) -> Floats:
    """Return the weight of each predictor: the inverse fourth power of its error, the best one's as 1.

    Returns
    -------
    ndarray of shape (N_PREDICTORS, m)
    """
    errors = rows[ERRORS] + 0.01 * scale
    weights: Floats = np.minimum.reduce(errors, axis=0) / errors
    weights *= weights
    weights *= weights
    return weights


def mix(rows: Floats, expected: Floats, scale: Floats) -> Floats:
    """Return the mean of what the predictors expect, each with its weight.

    Parameters
    ----------
    scale : ndarray of shape (m,)
        Spread of the residuals; errors far below it are taken as equal.

    Returns
    -------
    ndarray of shape (m,)
    """
    weights = weigh(rows, scale)
    total = weights[0].copy()
    mixed: Floats = weights[0] * expected[0]
    for weight, value in zip(weights[1:], expected[1:], strict=True):
        total += weight
        mixed += weight * value
    mixed /= total
    return mixed


def learn(
    rows: Floats,
    expected: Floats,
    profiles: tuple[Floats, Floats],
    *,
    value: Floats,
    error_max: Floats,
    gains: Floats,
) -> None:
    """Take a value in.

    Parameters
    ----------
    rows : ndarray of shape (N_ROWS, m)
        Changed in place.
    expected : ndarray of shape (N_PREDICTORS, m)
        What ``predict`` returned.
    profiles : tuple of ndarray
        The daily and the weekly profile, as for ``predict``.
    value : ndarray of shape (m,)
        The value as far as it is believed.
    error_max : ndarray of shape (m,)
    gains : ndarray of shape (4, m)
        Of the levels in the order of ``time_constants``.
    """
    day, week = profiles
    errors = np.abs(value - expected)
    np.minimum(errors, error_max, out=errors)
    rows[ERRORS] += gains[3] * (errors - rows[ERRORS])
    rows[LAST] = value
    rows[FAST] += gains[0] * (value - rows[FAST])
    rows[SLOW] += gains[1] * (value - rows[SLOW])
    from_day = value - day
    rows[DAY_SLOW] += gains[2] * (from_day - rows[DAY_SLOW])
    rows[WEEK_SLOW] += gains[2] * (value - week - rows[WEEK_SLOW])
    rows[DAY_FAST] += gains[0] * (from_day - rows[DAY_FAST])
