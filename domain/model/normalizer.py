"""From probabilities to scores, calibrated against what this job calls improbable.

Probabilities are carried as exponents, ``e = -ln p``. If a model is right, exponents beyond a threshold exceed it by 1
on average; a job whose data have heavier tails than any model allows for exceeds it by more, and its exponents are
shrunk by that much. How far each scope went, its peak, is noted here; what follows from that for scores given before is
in ``hindsight.py``.
"""

import math
from typing import Any, Final

import numpy as np

from domain.model.arrays import Floats

UNUSUAL: Final = 0.05
"""Probability from which a value takes part in the calibration."""
UNUSUAL_EXPONENT: Final = -math.log(UNUSUAL)
EXCESS_MAX: Final = 8.0
"""An excess counts for at most this. Chosen: one real anomaly must not devalue the next."""
PRIOR_JUDGED, PRIOR_UNUSUAL = 400.0, 20.0
"""Strength of the belief that the model is right: so many values judged, of which 5 % were unusual. Chosen."""
MEMORY_SECONDS: Final = 30 * 86_400.0
PEAK_MEMORY_SECONDS: Final = 20 * 86_400.0
"""Time at which a peak counts for 37 % only: how far it puts others in the shade."""

ORDINARY_SHARE: Final = 0.7
"""Highest score of a value that is improbable, but within what its series showed before, in parts of 100. Chosen,
measured by benchmarks/nab.py: it stays below what never happened before, and above 50 where it is one in 10^7."""

SEVERITY: Final = (
    (0.0, 0.0),
    (-math.log10(0.035), 0.0),
    (3.0, 8.0),
    (4.0, 25.0),
    (5.0, 50.0),
    (7.0, 75.0),
    (10.0, 90.0),
    (20.0, 98.0),
    (300.0, 100.0),
)
"""Score against -log10 of the calibrated probability. Chosen: a chance of 1 in 10^5 is where a warning turns into
something to look at; 0.035 is the cutoff below which the API's users expect nothing."""
_LOG_10: Final = math.log(10.0)
SEVERITY_EXPONENT_25: Final = 4.0 * _LOG_10
"""Exponent that a score of 25 is given for."""
_SEVERITY_EXPONENTS: Final = np.array([point[0] * _LOG_10 for point in SEVERITY])
_SEVERITY_SCORES: Final = np.array([point[1] for point in SEVERITY])


def severity(exponents: Floats) -> Floats:
    """Return the score, 0 to 100, that exponents deserve before any history.

    >>> severity(np.array([0.0, 5 * math.log(10)]))
    array([ 0., 50.])
    """
    scores: Floats = np.interp(exponents, _SEVERITY_EXPONENTS, _SEVERITY_SCORES)
    return scores


def faded(peaks: Floats, ages_seconds: Floats) -> Floats:
    """Return earlier peaks as they count now."""
    return peaks * np.exp(np.maximum(ages_seconds, 0.0) * (-1.0 / PEAK_MEMORY_SECONDS))


class Calibration:
    """How often, and how far, this scope's values were unusual.

    Attributes
    ----------
    n_judged, n_unusual, excess : float
        Sums over the values judged, fading over ``MEMORY_SECONDS``.
    """

    def __init__(self, bucket_span_seconds: int) -> None:
        self._keep = math.exp(-bucket_span_seconds / MEMORY_SECONDS)
        self.n_judged = self.n_unusual = self.excess = 0.0

    def correction(self) -> tuple[float, float]:
        """Return the exponent from which values are unusual here, and how far beyond it they come on average."""
        unusual = PRIOR_UNUSUAL + self.n_unusual
        threshold = -math.log(max(unusual / (PRIOR_JUDGED + self.n_judged), UNUSUAL))
        return threshold, max((PRIOR_UNUSUAL + self.excess) / unusual, 1.0)

    def calibrate(self, exponents: Floats) -> Floats:
        """Return the exponents as they would be if the model were right. Exponents of usual values stay.

        Parameters
        ----------
        exponents : ndarray of shape (k,)
        """
        threshold, mean_excess = self.correction()
        above = np.maximum(exponents - UNUSUAL_EXPONENT, 0.0)
        calibrated: Floats = np.minimum(exponents, threshold) + above / mean_excess
        return calibrated

    def learn(self, exponents: Floats, n_judged: int) -> None:
        """Take in the candidates among the values judged in a bucket.

        The sum is exact, so that the order of the series has no say.
        """
        above = exponents - UNUSUAL_EXPONENT
        above = above[above > 0.0]
        self.n_judged = self.n_judged * self._keep + n_judged
        self.n_unusual = self.n_unusual * self._keep + above.size
        self.excess = self.excess * self._keep + math.fsum(np.minimum(above, EXCESS_MAX).tolist())

    def learn_usual(self, n_judged: int) -> None:
        """Take in a bucket without any candidate."""
        self.n_judged = self.n_judged * self._keep + n_judged
        self.n_unusual *= self._keep
        self.excess *= self._keep

    def state(self) -> list[float]:
        """Return the sums."""
        return [self.n_judged, self.n_unusual, self.excess]

    def load(self, state: list[float]) -> None:
        """Take over what ``state`` returned."""
        self.n_judged, self.n_unusual, self.excess = map(float, state)


class Peak:
    """The greatest height of a scope so far, fading."""

    def __init__(self) -> None:
        self.height = 0.0
        self.time_seconds = 0.0

    def at(self, time_seconds: float) -> float:
        """Return the peak as it counts at a time."""
        return self.height * math.exp(-max(time_seconds - self.time_seconds, 0.0) / PEAK_MEMORY_SECONDS)

    def learn(self, height: float, time_seconds: float) -> None:
        """Take a height in."""
        if height > self.at(time_seconds):
            self.height, self.time_seconds = float(height), float(time_seconds)

    def state(self) -> list[float]:
        """Return the peak and its time."""
        return [self.height, self.time_seconds]

    def load(self, state: list[float]) -> None:
        """Take over what ``state`` returned."""
        self.height, self.time_seconds = map(float, state)


class BucketNormalizer:
    """Scores one thing per bucket: the bucket itself, or one influencer field.

    Attributes
    ----------
    peak, strength_peak : Peak
        Of surprisals above those of usual buckets; of records broken.
    """

    def __init__(self, bucket_span_seconds: int) -> None:
        self.calibration = Calibration(bucket_span_seconds)
        self.peak = Peak()
        self.strength_peak = Peak()

    def judge(self, exponent: float) -> tuple[float, float]:
        """Return the score, 0 to 100, of an exponent, and how far it lies above usual ones; nothing is changed."""
        if exponent <= UNUSUAL_EXPONENT:
            return 0.0, 0.0
        exponents = self.calibration.calibrate(np.array([exponent]))
        return float(severity(exponents)[0]), max(float(exponents[0]) - UNUSUAL_EXPONENT, 0.0)

    def learn(self, exponent: float, height: float, strength: float, time_seconds: float) -> None:
        """Take a bucket in, with the height that ``judge`` gave it; exponent and strength 0 if nothing was unusual."""
        if strength > 0.0:
            self.strength_peak.learn(strength, time_seconds)
        if exponent <= UNUSUAL_EXPONENT:
            self.calibration.learn_usual(1)
            return
        self.peak.learn(height, time_seconds)
        self.calibration.learn(np.array([exponent]), 1)

    def state(self) -> dict[str, Any]:
        """Return what is to be kept."""
        return {
            "calibration": self.calibration.state(),
            "peak": self.peak.state(),
            "strength_peak": self.strength_peak.state(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over what ``state`` returned."""
        self.calibration.load(state["calibration"])
        self.peak.load(state["peak"])
        self.strength_peak.load(state["strength_peak"])
