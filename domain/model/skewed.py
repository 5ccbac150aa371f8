"""Log-normal and gamma distributions of ratios: what is skewed, as most of what counts, lasts or costs is.

A ratio is that of a value to what was expected, or, where the spread does not follow the level, the same with a level
of its own that the skewness of the residuals suggests. Mean, mean of the logs and variance of the logs say all of both
distributions. Two-sided probabilities are the mass of all that is less dense.
"""

from typing import Final

import numpy as np

from domain.model.arrays import Floats

LOG_MEAN, LOG_VARIANCE, RATIO = range(3)
"""Moments: mean and variance of the logs of the ratios, their mean."""
N_MOMENTS: Final = 3
RATIO_MIN: Final = 1e-300
VARIANCE_MIN: Final = 1e-12
SHORT_MIN: Final = 1e-5
"""Log of the mean less the mean of the logs: below it a gamma distribution is normal (shape 50,000)."""


def gamma_shape(moments: Floats) -> Floats:
    """Return the shape of the gamma distribution with the mean and the mean log (Thom, 1958)."""
    short = np.log(np.maximum(moments[RATIO], VARIANCE_MIN)) - moments[LOG_MEAN]
    np.maximum(short, SHORT_MIN, out=short)
    shape: Floats = (1.0 + np.sqrt(1.0 + short * (4.0 / 3.0))) / (4.0 * short)
    return shape


def log_densities(moments: Floats, log_ratio: Floats) -> tuple[Floats, Floats]:
    """Return the logs of the densities of ratios, log-normal and gamma, less that of ``1 / ratio``.

    Parameters
    ----------
    moments : ndarray of shape (N_MOMENTS, ...)
    log_ratio : ndarray
    """
    from scipy.special import gammaln  # late: takes a quarter of a second, and most commands need no model

    variance = np.maximum(moments[LOG_VARIANCE], VARIANCE_MIN)
    off = log_ratio - moments[LOG_MEAN]
    off *= off
    off *= -0.5 / variance
    off -= 0.5 * np.log(2.0 * np.pi * variance)
    shape = gamma_shape(moments)
    log_x = log_ratio + np.log(shape / np.maximum(moments[RATIO], VARIANCE_MIN))
    of_gamma: Floats = np.exp(np.minimum(log_x, 700.0))
    log_x *= shape
    np.subtract(log_x, of_gamma, out=of_gamma)
    of_gamma -= gammaln(shape)
    return off, of_gamma


def log_normal_tail(moments: Floats, ratio: Floats, upward: Floats | None) -> Floats:
    """Return the probability of ratios at least as unusual under the log-normal distribution.

    Their density is symmetric in logs about the mean less one variance.

    Parameters
    ----------
    moments : ndarray of shape (N_MOMENTS, ...)
    upward : ndarray or None
        Which tail: above 0 the upper, below 0 the lower one; None: all that is less dense.
    """
    from scipy.special import ndtr  # late: see above

    deviation = np.sqrt(np.maximum(moments[LOG_VARIANCE], VARIANCE_MIN))
    at = (np.log(np.maximum(ratio, RATIO_MIN)) - moments[LOG_MEAN]) / deviation
    if upward is not None:
        one: Floats = ndtr(-np.copysign(1.0, upward) * at)
        return one
    twin = -2.0 * deviation - at
    both: Floats = ndtr(-np.maximum(at, twin)) + ndtr(np.minimum(at, twin))
    return both


def gamma_tail(moments: Floats, ratio: Floats, upward: Floats | None) -> Floats:
    """Return the probability of ratios at least as unusual under the gamma distribution.

    The other ratio of the same density is found in cube roots (Wilson and Hilferty, 1931): there the log of the density
    """
    from scipy.special import gammainc, gammaincc  # late: see above

    shape = gamma_shape(moments)
    x = ratio * (shape / np.maximum(moments[RATIO], VARIANCE_MIN))
    if upward is not None:
        one: Floats = np.where(upward > 0.0, gammaincc(shape, x), gammainc(shape, x))
        return one
    mode = np.cbrt(np.maximum(shape - 1.0, 0.0))
    root = np.cbrt(x)
    twin = np.maximum(2.0 * mode - root, 0.0)
    low, high = np.minimum(root, twin), np.maximum(root, twin)
    both: Floats = gammaincc(shape, high * high * high) + gammainc(shape, low * low * low)
    return both
