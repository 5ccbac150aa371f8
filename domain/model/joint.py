"""Joint probabilities: what several unusual values, of series and detectors, come to together.

Two questions are asked of n values judged at once. How likely is it that the least probable of them is so improbable
(``1 - (1 - p)^n``)? And that their small probabilities have so small a product: the truncated product of Zaykin et al.
(2002, Genetic Epidemiology 22), which counts only those below a threshold and therefore needs no others? The first is
right whatever series have in common, the second where that is nothing. Which is the case nobody knows, so half of
either is believed: e times the geometric mean of two probabilities is one again, however they depend on each other
(Vovk and Wang, 2020, Biometrika 107). How far a fleet moves as one its normaliser learns (``normalizer.py``).
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from domain.model.probability import PROBABILITY_MIN

MOST_SMALL: Final = 200
"""Values below the threshold that a product counts with. Chosen: scopes have a few that are there by chance."""


def exponent_of_best(exponent: float, n_judged: float) -> float:
    """Return the exponent of the smallest of n probabilities: ``1 - (1 - p)^n``.

    >>> round(exponent_of_best(-math.log(0.01), 10), 4) == round(-math.log(1 - 0.99**10), 4)
    True
    """
    n = max(n_judged, 1.0)
    if exponent > 40.0:
        return exponent - math.log(n)  # p is far below rounding: 1 - (1 - p)^n = n p
    p = min(math.exp(-exponent), 1.0 - 1e-16)
    return max(0.0, -math.log(-math.expm1(n * math.log1p(-p))))


def exponent_of_product(total: float, n_judged: int, threshold: float) -> float:
    """Return the exponent of the product of those of n probabilities that are below a threshold.

    Of n uniform numbers k lie below t with a binomial probability, and the product of these is below w with that of
    ``Gamma(k)`` beyond ``-ln w + k ln t`` (Zaykin et al., eq. 2).

    Parameters
    ----------
    total : float
        Minus the log of the product.
    threshold : float
        As an exponent.

    >>> round(exponent_of_product(5.0, 1, 3.0), 9)  # of one it is the probability itself
    5.0
    """
    from scipy.special import gammaincc, gammaln  # late: takes a quarter of a second, and most commands need no model

    k = np.arange(1.0, min(n_judged, MOST_SMALL) + 1.0)
    log_share = -k * threshold + (n_judged - k) * math.log1p(-math.exp(-threshold))
    log_share += gammaln(n_judged + 1.0) - gammaln(k + 1.0) - gammaln(n_judged - k + 1.0)
    chances = np.exp(log_share) * gammaincc(k, np.maximum(total - k * threshold, 0.0))
    return -math.log(min(max(math.fsum(chances.tolist()), PROBABILITY_MIN), 1.0))


def joint_exponent(exponents: Sequence[float], n_judged: float, threshold: float, best: float = 0.0) -> float:
    """Return minus the log of the joint probability of the unusual values among those judged.

    A single one says no more by its product than by being the best. The order of the values has no say.

    Parameters
    ----------
    exponents : sequence of float
        Minus the logs of the probabilities of what was found; those that do not exceed the threshold do not count in
        the product.
    n_judged : float
        How many values they were found among, found ones too.
    threshold : float
        Exponent that a probability counts from, above 0.
    best : float
        The largest exponent, if one was found that is not among these.
    """
    best = max([best, *exponents])
    extreme = exponent_of_best(best, n_judged)
    small = [exponent for exponent in exponents if exponent > threshold]
    if len(small) < 2:
        return extreme
    n = max(math.ceil(n_judged), len(small))
    product = exponent_of_product(math.fsum(small), n, threshold)
    return max(extreme, 0.5 * (extreme + product) - 1.0)
