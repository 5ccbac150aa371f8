"""Forecasts: nine simple predictors of a series' next value, mixed by how well each did lately.

Some series wander (their last value says most), some have a level, some grow, some have a daily, weekly or any other
shape; which it is shows in the errors, so no predictor needs to be chosen and none is trusted before it has proved
itself. All values here are relative to the origin of their series.
"""

from typing import Final

import numpy as np

from domain.model.arrays import Floats, Ints, ordered_sum

LAST, FAST, DAY_FAST, SLOW, DAY_SLOW, WEEK_SLOW, WORKDAY_SLOW, PERIOD_SLOW, TREND = range(9)
"""Rows of levels: last value; level over half an hour; deviation over half an hour from the daily profile; level over
days; deviations over hours from the profiles of the day, the week, working days, and of the series' own period; the
slow level of the slow level, by which the trend is told."""

N_PREDICTORS: Final = 9
NAMES: Final = (
    "last value",
    "fast level",
    "fast by day",
    "slow level",
    "slow by day",
    "slow by week",
    "slow by working day",
    "slow by period",
    "trend",
)
DAY_NAME: Final = "day"
SEASONS: Final = (None, None, DAY_NAME, None, DAY_NAME, "week", "workday", "period", None)
"""What the predictors are called, and which profile each adds to its level; for those who explain a forecast."""
LEVELS: Final = slice(0, N_PREDICTORS)
ERRORS: Final = slice(N_PREDICTORS, 2 * N_PREDICTORS)
N_ROWS: Final = 2 * N_PREDICTORS
"""Levels, then the mean absolute error of the predictor that uses each."""
OVER_HOURS: Final = slice(DAY_SLOW, TREND)

HOUR, DAY = 3600.0, 86_400.0

NO_PREDICTOR: Final = 1e60
"""Error of a predictor that is not to be used; its weight is far below rounding, or 0."""
ERROR_CLIP: Final = 10.0
"""An error counts for at most so many scales. Chosen: one incident must not decide which predictor is best."""

FAST_MEMORY, SLOW_MEMORY, HOURS_MEMORY, NO_MEMORY, ERROR_MEMORY = range(5)
MEMORY_OF_LEVEL: Final = np.array([NO_MEMORY, FAST_MEMORY, FAST_MEMORY, SLOW_MEMORY, *(HOURS_MEMORY,) * 4, SLOW_MEMORY])


def time_constants(bucket_span_seconds: int) -> Floats:
    """Return the memory of the fast and slow levels, of the deviations over hours, none at all, and that of the errors.

    Chosen: half an hour, two days, six hours and four days carried best over 28 series of many kinds; buckets that are
    long against these get memories of a few buckets.

    Returns
    -------
    ndarray of shape (5, 1), seconds
    """
    span = float(bucket_span_seconds)
    return np.array(
        [
            [max(0.5 * HOUR, 3 * span)],
            [max(2 * DAY, 50 * span)],
            [max(6 * HOUR, 8 * span)],
            [1e-3],
            [max(4 * DAY, 100 * span)],
        ]
    )


def growth_share(bucket_span_seconds: int) -> float:
    """Return how much of the lag of the slow level the levels over hours lag behind a steady growth.

    An exponential mean of memory tau lags behind a line of slope b by b tau (Brown, 1963).
    """
    memories = time_constants(bucket_span_seconds)[:, 0]
    return float(memories[HOURS_MEMORY] / memories[SLOW_MEMORY])


def predict(rows: Floats, offsets: Floats, growth: float) -> Floats:
    """Return what each predictor expects.

    Parameters
    ----------
    rows : ndarray of shape (N_ROWS, m)
    offsets : ndarray of shape (N_PREDICTORS, m)
        What the profile of each predictor adds to its level.
    growth : float
        From ``growth_share``.

    Returns
    -------
    ndarray of shape (N_PREDICTORS, m)
    """
    levels = rows[LEVELS]
    expected: Floats = levels + offsets
    # The mean of the mean lags twice as much: what lies between them is the slope times their memory.
    lag = levels[SLOW] - levels[TREND]
    expected[TREND] = levels[SLOW] + lag
    lag *= growth
    expected[OVER_HOURS] += lag
    return expected


def weigh(rows: Floats, scale: Floats, with_period: Ints | None) -> Floats:
    """Weigh the predictors by the inverse fourth power of their errors.

    Parameters
    ----------
    scale : ndarray of shape (m,)
        Spread of the residuals; errors far below it are taken as equal.
    with_period : ndarray of shape (k,) or None
        Places of the series that have a period of their own; the predictor by it has no weight for the others.

    Returns
    -------
    ndarray of shape (N_PREDICTORS, m)
        They sum up to 1.
    """
    errors = scale * 0.01 + rows[ERRORS]
    if with_period is None:
        errors[PERIOD_SLOW] = NO_PREDICTOR
    else:
        of_period = errors[PERIOD_SLOW, with_period]
        errors[PERIOD_SLOW] = NO_PREDICTOR
        errors[PERIOD_SLOW, with_period] = of_period
    weights: Floats = np.minimum.reduce(errors, axis=0) / errors
    weights *= weights
    weights *= weights
    weights /= ordered_sum(weights)
    return weights


def learn(
    rows: Floats,
    expected: Floats,
    offsets: Floats,
    *,
    value: Floats,
    base: Floats,
    error_max: Floats,
    gains: Floats,
    error_gain: Floats,
) -> None:
    """Take a value in.

    Parameters
    ----------
    rows : ndarray of shape (N_ROWS, m)
        Changed in place.
    expected : ndarray of shape (N_PREDICTORS, m)
        What each predictor expected.
    offsets : ndarray of shape (N_PREDICTORS, m)
        As for ``predict``; used up.
    value, base : ndarray of shape (m,)
        The value as far as it is believed; the same without a change of level that is on trial.
    error_max : ndarray of shape (m,)
    gains : ndarray of shape (N_PREDICTORS, m)
        Of the levels.
    error_gain : ndarray of shape (m,)
    """
    errors = value - expected
    np.abs(errors, out=errors)
    np.minimum(errors, error_max, out=errors)
    errors -= rows[ERRORS]
    errors *= error_gain
    rows[ERRORS] += errors
    levels = rows[LEVELS]
    steps = np.subtract(base, offsets, out=offsets)
    steps[LAST] = value
    steps[TREND] = levels[SLOW]
    steps -= levels
    steps *= gains
    levels += steps


def gains_of_levels(gains: Floats) -> Floats:
    """Return the gain of each level, from those of the memories in the order of ``time_constants``."""
    taken: Floats = gains.take(MEMORY_OF_LEVEL, axis=0)
    return taken
