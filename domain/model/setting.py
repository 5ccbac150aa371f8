"""What the families of distributions judge values by: residuals, spreads and shapes of series (``families.py``)."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from domain.model.arrays import Floats

HEAVY_ABSOLUTE: Final = 2.0 * math.sqrt(3.0) / math.pi
"""Mean absolute value of Student's t with 3 degrees of freedom: its scale is taken from that of the residuals, which a
heavy tail leaves alone."""
LEVEL_BY_LEAN: Final = 0.64
"""Skewed residuals suggest a level of their own, in spreads, of this over their lean: 0.53 is what the gamma
distribution of whatever shape has (to 5 %); a fifth more leaves room for what the forecast adds."""
LEVEL_MIN, LEVEL_MAX = 1.1, 10.0


@dataclass(frozen=True, slots=True)
class Setting:
    """What values are judged by: of k series, and for n values or, left out, one of each.

    Attributes
    ----------
    z, scale, y, actual, typical : ndarray of shape (n, k) or (k,)
        Residuals in scales; scales; values relative to the origin, and as they are; what was expected of them.
    square, lately, absolute : ndarray of shape (k,)
        Mean square of the residuals, the same over hours, and their mean absolute value.
    dof, below, above : ndarray of shape (k,)
        Degrees of freedom of the tails, and how many times farther than the spread they reach on either side.
    lean : ndarray of shape (k,)
        Mean square with the sign of the residual, in parts of the mean square.
    count : ndarray of shape (k,)
        Values behind all this.
    """

    z: Floats
    scale: Floats
    y: Floats
    actual: Floats
    typical: Floats
    square: Floats
    lately: Floats
    absolute: Floats
    dof: Floats
    below: Floats
    above: Floats
    lean: Floats
    count: Floats

    def levels(self) -> Floats:
        """Return what the two kinds of ratios are relative to, with the sign of the direction of the longer tail."""
        size = np.minimum(np.maximum(LEVEL_BY_LEAN / np.maximum(np.abs(self.lean), 1e-6), LEVEL_MIN), LEVEL_MAX)
        own = self.scale * np.copysign(size, self.lean)
        return np.stack((np.maximum(self.typical, 0.0), own))

    def ratios(self, levels: Floats) -> Floats:
        """Return the ratios of either kind; below 0 where they make no sense."""
        found: Floats = self.z * self.scale / np.where(levels != 0.0, levels, 1.0) + 1.0
        return np.where(levels != 0.0, found, -1.0)

    def heavy(self) -> Floats:
        """Return the residuals in scales of the heavy tail (two-piece, as Student's) by their mean absolute value."""
        spread = self.below * self.below + self.above * self.above
        factor = HEAVY_ABSOLUTE * spread / ((self.below + self.above) * np.maximum(self.absolute, 1e-300))
        heavy: Floats = self.z * self.scale * factor / np.where(self.z > 0.0, self.above, self.below)
        return heavy
