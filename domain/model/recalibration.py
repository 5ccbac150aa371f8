"""Recalibration: how a series' own history corrects what the families say of its tails.

If probabilities are what they say, a part of 5 % of them is below 0.05, and minus their logs exceed that threshold by 1
on average (the excess of an exponential variable is exponential). How often and how far a series really went beyond is
counted, far values for at most so much, and with the belief of some dozens of values that the families are right: noise
of any shape becomes calibrated, a few anomalies change little.
"""

import math
from typing import Final

import numpy as np

from domain.model.arrays import Floats

JUDGED, BEYOND, N_ABOVE, ABOVE, N_BELOW, BELOW = range(6)
"""Rows: values judged; those beyond the threshold; among these how many lay above what was expected, and the sum of
their excesses; the same of those below."""
N_ROWS: Final = 6

THRESHOLD: Final = 0.05
THRESHOLD_EXPONENT: Final = -math.log(THRESHOLD)
PRIOR_JUDGED: Final = 300.0
"""Strength of the belief in the rate, in values. Chosen: 15 of them beyond the threshold."""
PRIOR_EXCESS: Final = 8.0
"""Strength of the belief in the mean excess, in values beyond the threshold. Chosen."""
EXCESS_MAX: Final = 6.0
"""An excess counts for at most this: 1 in 400 if the families are right."""
BLOCK_MAX: Final = 6.0
"""The excesses of a block of values sum up to at most this on either side. Chosen: an incident stays one."""
MEMORY_VALUES_MIN: Final = 3000.0
MEMORY_SECONDS: Final = 30 * 86_400.0
RATE_MIN: Final = 0.6
"""A rate below this part of what it should be is not believed."""
STRETCH_MAX: Final = 1.5
"""Excesses grow by no more than this."""
EXCESS_MEAN_MIN, EXCESS_MEAN_MAX = 0.8, 4.0
"""Bounds of the mean excess."""


def learn(rows: Floats, exponents: Floats, is_above: Floats, keep: float) -> None:
    """Take a block of values in; in place.

    Parameters
    ----------
    rows : ndarray of shape (N_ROWS, k)
    exponents : ndarray of shape (n, k)
        Minus the logs of the probabilities that the families gave.
    is_above : ndarray of shape (n, k)
        1 where the value lay above what was expected, else 0.
    keep : float
        Share of the past that is kept.
    """
    excess = np.minimum(exponents - THRESHOLD_EXPONENT, EXCESS_MAX)
    is_beyond = (excess > 0.0).astype(np.float64)
    excess *= is_beyond
    is_above = is_above * is_beyond
    is_below = is_beyond - is_above
    stack = np.stack((is_beyond, is_above, is_above * excess, is_below, is_below * excess))
    sums = np.add.accumulate(stack, axis=1)[:, -1]
    for at in (1, 3):
        share = np.minimum(BLOCK_MAX / np.maximum(sums[at + 1], BLOCK_MAX), 1.0)
        sums[at : at + 2] *= share
    rows *= keep
    rows[JUDGED] += exponents.shape[0]
    rows[BEYOND:] += sums


def correct(rows: Floats, exponents: Floats, is_above: Floats) -> Floats:
    """Return minus the logs of the probabilities as the series' history corrects them.

    Parameters
    ----------
    rows : ndarray of shape (N_ROWS, m)
    exponents : ndarray of shape (m,)
    is_above : ndarray of shape (m,)
        As for ``learn``.
    """
    rate = (PRIOR_JUDGED * THRESHOLD + rows[BEYOND]) / (PRIOR_JUDGED + rows[JUDGED])
    np.maximum(rate, THRESHOLD * RATE_MIN, out=rate)
    n = np.where(is_above > 0.0, rows[N_ABOVE], rows[N_BELOW])
    total = np.where(is_above > 0.0, rows[ABOVE], rows[BELOW])
    mean = np.minimum(np.maximum((PRIOR_EXCESS + total) / (PRIOR_EXCESS + n), EXCESS_MEAN_MIN), EXCESS_MEAN_MAX)
    start = -np.log(rate)
    excess = exponents - THRESHOLD_EXPONENT
    # History says nothing about what it never came near: no probability falls by more than this.
    stretched = np.minimum(excess / mean, np.maximum(excess, 0.0) + STRETCH_MAX)
    corrected: Floats = np.where(excess > 0.0, start + stretched, exponents * (start / THRESHOLD_EXPONENT))
    return corrected
