"""Sudden changes of level: suspected after a few buckets, on trial for a day and more, then taken for good.

When values stay away on one side, the mean distance becomes a shift on trial: the levels are read with it, so that the
next values are judged by where the series is now, but nothing of what was learnt moves. A value is judged by the nearer
of both levels meanwhile; when several lie nearer to the old one, the trial ends, and an incident of hours has left
nothing behind. If the new level lasts, the shift becomes part of the origin: all levels and profiles move by it at once
and keep their shapes.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from domain.model.arrays import Bools, Floats

SHIFT, TRIAL, BEGAN, LEAN, RUN, BACK, VOTES = range(7)
"""Rows: sum of all shifts accepted; the one on trial, 0: none; when it began; share of outliers among the latest
values, negative for low ones; mean residual of these; share of the latest values nearer to the old level; how many
more values since the trial began lay nearer to the new level than to the old one."""
N_ROWS: Final = 7

OUTLIER_Z: Final = 3.5
"""Where belief in a value is one half. Chosen: normal noise is beyond it once in 2,000 values."""
GAIN: Final = 0.25
"""Weight of one value in the shares of the latest. Chosen: they span about four buckets."""
SURE: Final = 0.68
"""Share from which a change is suspected, or taken back: four values in a row (1 - 0.75^4)."""
AGE_MIN_SECONDS: Final = 3 * 86_400.0
"""Buckets of so much time are needed before a change is told from a season not known yet; until then values that stay
away are simply believed. Chosen: by then each hour of the day was seen twice."""
TRIAL_SECONDS: Final = 30 * 3600.0
"""How long a shift must last. Chosen: longer than a day, because events of one day are no change."""
TRIAL_VOTES: Final = 14.0
"""How many more values must lie nearer to the new level than to the old. By the sign test (Arbuthnot, 1710) fourteen of
fourteen have a chance of 6 in 10^5 where neither is the level."""
YOUNG_VALUES: Final = 8.0
"""Values after which a series' own idea of what is far is half trusted."""


def values_min(bucket_span_seconds: int) -> float:
    """Return how many values a series must have shown before a shift is put on trial."""
    return max(AGE_MIN_SECONDS / bucket_span_seconds, 50.0)


def belief(rows: Floats, z: Floats, residual: Floats, count: Floats, count_min: float) -> tuple[Floats, Floats]:
    """Say how much of its deviation a value is believed, and note on which side values stay away.

    Parameters
    ----------
    rows : ndarray of shape (N_ROWS, m)
        Shares are updated in place.
    z, residual : ndarray of shape (m,)
        Distance to the expected value, in scales and in units of the values.
    count : ndarray of shape (m,)
        Values before this one.
    count_min : float
        From ``values_min``.

    Returns
    -------
    weight : ndarray of shape (m,)
        From 0 to 1: near 1 for ordinary values, ``(3.5 / z)^8`` for far outliers; for series too young for a trial 1
        again when values stay away.
    shift : ndarray of shape (m,)
        From 0 to 1, how sure it is that the series itself has changed.
    """
    ratio = np.abs(z)
    ratio *= 1.0 / OUTLIER_Z
    is_far = ratio > 1.0
    latest = np.empty_like(z, shape=(2, z.size))
    np.copysign(is_far, z, out=latest[0])
    np.multiply(residual, is_far, out=latest[1])
    shares = rows[LEAN : RUN + 1]
    latest -= shares
    latest *= GAIN
    shares += latest
    ratio *= ratio
    ratio *= ratio
    ratio *= ratio
    ratio += 1.0
    weight = np.reciprocal(ratio, out=ratio)
    # A young series knows little; what it thinks far is not.
    youth = count + YOUNG_VALUES
    np.maximum(weight, np.divide(YOUNG_VALUES, youth, out=youth), out=weight)
    shift = np.abs(shares[0])
    shift -= 0.5
    np.maximum(shift, 0.0, out=shift)
    shift += shift
    np.maximum(weight, shift, out=weight, where=count < count_min)
    return weight, shift


@dataclass(frozen=True, slots=True)
class Nearer:
    """Which level the values of a bucket are judged by.

    Attributes
    ----------
    shift : ndarray of shape (m,)
        The shift on trial where it is nearer, else 0.
    is_back : ndarray of shape (m,), dtype=bool
        Whether the old level is nearer, though there is a new one on trial.
    """

    shift: Floats
    is_back: Bools


def nearer(rows: Floats, residual: Floats, share: Floats) -> Nearer | None:
    """Choose between the old level and the one on trial; None where no series has one.

    Parameters
    ----------
    rows : ndarray of shape (N_ROWS, m)
    residual : ndarray of shape (m,)
        Distance to what the old level lets expect.
    share : ndarray of shape (m,)
        How much of the expected value moves with the level.
    """
    trial = rows[TRIAL]
    if not trial.any():
        return None
    is_new = np.abs(residual - trial * share) <= np.abs(residual)
    return Nearer(trial * is_new, (trial != 0.0) * ~is_new)


def follow(
    rows: Floats, chosen: Nearer | None, scale: Floats, *, count: Floats, count_min: float, time_seconds: float
) -> Floats | None:
    """Begin, end or accept trials.

    Parameters
    ----------
    rows : ndarray of shape (N_ROWS, m)
        Changed in place, after ``belief``.
    chosen : Nearer or None
        From ``nearer``.

    Returns
    -------
    ndarray of shape (m,) or None
        By how much the origin of each series has moved; None: none did.
    """
    begins = np.abs(rows[LEAN]) > SURE
    begins &= count >= count_min
    moved = None
    if chosen is not None:
        moved = _conclude(rows, chosen, time_seconds)
    if begins.any():
        _begin(rows, begins, chosen, scale, time_seconds)
    return moved


def _conclude(rows: Floats, chosen: Nearer, time_seconds: float) -> Floats | None:
    """End trials whose values went back, accept those that lasted."""
    on_trial = rows[TRIAL] != 0.0
    rows[BACK] += GAIN * (chosen.is_back - rows[BACK])
    rows[VOTES] += on_trial * (1.0 - 2.0 * chosen.is_back)
    ends = on_trial & (rows[BACK] > SURE)
    lasted = on_trial & (time_seconds - rows[BEGAN] >= TRIAL_SECONDS) & (rows[VOTES] >= TRIAL_VOTES) & ~ends
    moved = rows[TRIAL] * lasted
    rows[SHIFT] += moved
    over = ends | lasted
    for row in (TRIAL, BACK, VOTES):
        rows[row] *= ~over
    return moved if lasted.any() else None


def _begin(rows: Floats, begins: Bools, chosen: Nearer | None, scale: Floats, time_seconds: float) -> None:
    """Put the mean distance of the latest outliers on trial, on top of a shift that they were judged by."""
    mean = rows[RUN] / np.maximum(np.abs(rows[LEAN]), SURE)
    if chosen is not None:
        mean = mean + chosen.shift
    mean *= np.abs(mean) > OUTLIER_Z * scale  # else they have come back to where they were
    np.copyto(rows[TRIAL], mean, where=begins)
    np.copyto(rows[BEGAN], time_seconds, where=begins)
    for row in (LEAN, RUN, BACK, VOTES):
        rows[row] *= ~begins
