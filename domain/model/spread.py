"""Spread: how far the values of a series usually lie from what was expected.

The scale is the root of a winsorised mean square over days, never below what the last half day shows and never below
floors that keep near-constant series from calling every digit an anomaly.
"""

from typing import Final

import numpy as np

from domain.model.arrays import Floats

SQUARE, SQUARE_SHORT, ABSOLUTE, LOW, HIGH, SIGNED, CALM = range(7)
"""Rows: mean square of residuals over days, over hours; mean absolute residual; lowest and highest believed value,
relative to the origin; mean square with the sign of the residual; mean square. The absolute residual and the last two
are of residuals as they would be at an hour like any other (``unrest.py``): they tell the shape of the noise."""

N_ROWS: Final = 7

VARIATION_MIN: Final = 1e-4
"""Smallest spread, in parts of the level. A relative change below that is never an anomaly."""
RANGE_SHARE: Final = 0.01
"""Smallest spread, in parts of the range seen. Chosen: below it, series that mostly repeat one value flood."""
COUNT_SCALE_MIN: Final = 0.5
"""Smallest spread of whole numbers. Chosen: one more or less than ever is not worth a word."""
SCALE_MIN: Final = 1e-9
"""Smallest spread of all; only series that were zero for ever come down to it."""
SHORT_SHARE: Final = 0.8
"""How much of the spread of the last hours counts at once. Chosen: its own noise (10 %) must not widen the scale."""
WINSOR: Final = 5.0
"""Residuals count in the spread for at most so many scales."""
RANGE_MEMORY_SECONDS: Final = 60 * 86_400.0
Z_MAX: Final = 1e6


def short_memory_seconds(bucket_span_seconds: int) -> float:
    """Return the memory of the short spread: half a day, or a few dozen buckets where these are long."""
    return max(43_200.0, 30.0 * bucket_span_seconds)


def scale_of(rows: Floats, count: Floats, level: Floats, is_count: bool) -> Floats:
    """Return the spread to expect.

    Parameters
    ----------
    rows : ndarray of shape (N_ROWS, m)
    count : ndarray of shape (m,)
        Values learnt so far.
    level : ndarray of shape (m,)
        Usual value, absolute.
    is_count : bool
        Whether values are whole numbers of events.

    Returns
    -------
    ndarray of shape (m,), in units of the values, above 0
    """
    square: Floats = np.maximum(rows[SQUARE], rows[SQUARE_SHORT] * (SHORT_SHARE * SHORT_SHARE))
    # Young: the expected value itself is uncertain (predictive variance of a mean of n values).
    square *= 1.0 + 2.0 / np.maximum(count, 1.0)
    scale: Floats = np.sqrt(square)
    np.maximum(scale, np.abs(level) * VARIATION_MIN, out=scale)
    np.maximum(scale, (rows[HIGH] - rows[LOW]) * RANGE_SHARE, out=scale)
    np.maximum(scale, COUNT_SCALE_MIN if is_count else SCALE_MIN, out=scale)
    return scale


def leaning(rows: Floats) -> tuple[Floats, Floats, Floats]:
    """Return how residuals lean, and how many times farther than the spread they reach on either side.

    The mean squares of either sign differ where residuals are skewed (two-piece normal: Fechner, 1897). The shorter
    side is not taken as any shorter than the spread.

    Parameters
    ----------
    rows : ndarray of shape (N_ROWS, m)

    Returns
    -------
    lean : ndarray of shape (m,)
        Mean square with the sign of the residual in parts of the mean square, -1 to 1.
    below, above : ndarray of shape (m,)
        1 to 1.41.
    """
    lean = rows[SIGNED] / np.maximum(rows[CALM], SCALE_MIN * SCALE_MIN)
    np.minimum(np.maximum(lean, -1.0, out=lean), 1.0, out=lean)
    return lean, np.sqrt(1.0 + np.maximum(-lean, 0.0)), np.sqrt(1.0 + np.maximum(lean, 0.0))


def learn(
    rows: Floats,
    residual: Floats,
    calm: Floats,
    residual_max: Floats,
    *,
    value: Floats,
    slow: Floats,
    gains: Floats,
    fade: Floats,
) -> None:
    """Take a residual in.

    Parameters
    ----------
    rows : ndarray of shape (N_ROWS, m)
        Changed in place.
    residual, calm, residual_max : ndarray of shape (m,)
        Residual; the same as it would be at an hour like any other; what either counts for at most.
    value, slow : ndarray of shape (m,)
        The value as far as it is believed, and the slow level; relative to the origin.
    gains : ndarray of shape (2, m)
        Of the long and the short spread.
    fade : ndarray of shape (m,)
        Share by which the range shrinks towards the level.
    """
    size = np.minimum(np.abs(residual), residual_max)
    square = size * size
    rows[SQUARE] += gains[0] * (square - rows[SQUARE])
    rows[SQUARE_SHORT] += gains[1] * (square - rows[SQUARE_SHORT])
    if calm is not residual:
        size = np.minimum(np.abs(calm), residual_max)
        square = size * size
    rows[CALM] += gains[0] * (square - rows[CALM])
    rows[SIGNED] += gains[0] * (np.copysign(square, residual) - rows[SIGNED])
    rows[ABSOLUTE] += gains[0] * (size - rows[ABSOLUTE])
    rows[LOW] += fade * (slow - rows[LOW])
    rows[HIGH] += fade * (slow - rows[HIGH])
    np.minimum(rows[LOW], value, out=rows[LOW])
    np.maximum(rows[HIGH], value, out=rows[HIGH])
