"""Unrest: hours of the day at which a series scatters more or less than at others.

The mean square of the residuals by hour, relative to that of all hours (``seasons.UNREST``), scales the spread. It is
applied as far as it has proved itself: a running log likelihood ratio compares normal residuals of the hour's spread
with those of one spread for all hours, each value judged before it is learnt (prequential: Dawid, 1984).
"""

from typing import Final

import numpy as np

from domain.model.arrays import Floats

OVERALL, EVIDENCE = range(2)
"""Rows: mean square of residuals at all hours, over days; log likelihood ratio, fading over a week."""
N_ROWS: Final = 2

RATIO_MIN: Final = 0.05
"""Smallest mean square of an hour, in parts of that of all hours. Chosen: a night is at most 4.5 times quieter than the
whole day; what is quieter still is a constant of its own kind."""
SQUARE_MAX: Final = 9.0
"""A square counts for at most so many mean squares of its hour. Chosen: one incident must not make an hour restless."""
EVIDENCE_MEMORY_SECONDS: Final = 7 * 86_400.0
EVIDENCE_FROM, EVIDENCE_FULL, EVIDENCE_MIN, EVIDENCE_MAX = 10.0, 20.0, -6.0, 60.0
"""Log likelihood ratios from which the hours' spreads are applied, and applied in full; its bounds. Chosen: restless
spells that come at any hour feign up to 10 (they make the hour restless that they last in); what has changed is noticed
within days."""
STEP_MAX: Final = 3.0
"""Evidence of one value counts for at most this. Chosen: about that of a value 2.5 spreads off."""
DAYS_MAX: Final = 20.0
"""Days that the mean square of an hour is worth at most, by its forgetting."""
SQUARE_MIN: Final = 1e-200


def values_min(bucket_span_seconds: int) -> float:
    """Return how many values a series must have shown before its hours are compared.

    Until all hours were seen twice, the mean square of all is that of a few.
    """
    return 2.0 * 86_400.0 / bucket_span_seconds


def evidence_keep(bucket_span_seconds: int) -> float:
    """Return what is left of the evidence after a bucket."""
    return float(np.exp(-bucket_span_seconds / max(EVIDENCE_MEMORY_SECONDS, 100.0 * bucket_span_seconds)))


def root(rows: Floats, ratio: Floats) -> Floats | None:
    """Return the factor of the spread at this hour; None where no series has any proved.

    Parameters
    ----------
    rows : ndarray of shape (N_ROWS, m)
    ratio : ndarray of shape (m,)
        Mean square of the hour, relative to all hours'; bounded here, in place.
    """
    np.maximum(ratio, RATIO_MIN, out=ratio)
    trust = rows[EVIDENCE] - EVIDENCE_FROM
    trust *= 0.5 / (EVIDENCE_FULL - EVIDENCE_FROM)
    np.maximum(trust, 0.0, out=trust)
    if not trust.any():
        return None
    np.minimum(trust, 0.5, out=trust)
    trust *= np.log(ratio)
    found: Floats = np.exp(trust, out=trust)
    return found


def learn(rows: Floats, ratio: Floats, residual: Floats, gain: Floats, keep: float) -> Floats:
    """Take a residual in; return its square relative to all hours' mean square, for the table of hours.

    Parameters
    ----------
    rows : ndarray of shape (N_ROWS, m)
        Changed in place.
    ratio : ndarray of shape (m,)
        As bounded by ``root``.
    residual : ndarray of shape (m,)
    gain : ndarray of shape (m,)
        Of the long spread.
    keep : float
        From ``evidence_keep``.
    """
    overall, evidence = rows[OVERALL], rows[EVIDENCE]
    relative = residual * residual
    np.copyto(overall, relative, where=overall == 0.0)
    relative /= np.maximum(overall, SQUARE_MIN)
    np.minimum(relative, ratio * SQUARE_MAX, out=relative)
    # Of two normal densities: -1/2 ln q - 1/2 (u / q - u).
    step = relative / ratio
    step += np.log(ratio)
    np.subtract(relative, step, out=step)
    step *= 0.5
    np.minimum(step, STEP_MAX, out=step)
    evidence *= keep
    evidence += step
    np.maximum(evidence, EVIDENCE_MIN, out=evidence)
    np.minimum(evidence, EVIDENCE_MAX, out=evidence)
    growth = relative - 1.0
    growth *= gain
    growth += 1.0
    overall *= growth
    return relative
