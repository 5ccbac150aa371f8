"""Candidates: the unusual values of one bucket, as whoever judges a feature hands them on to be scored."""

import math
from dataclasses import dataclass, field, fields, replace
from typing import Self

import numpy as np

from domain.model import novelty
from domain.model.arrays import Bools, Floats, Ints


@dataclass(frozen=True, slots=True)
class Candidates:
    """The unusual values of one bucket.

    Attributes
    ----------
    slots : ndarray of shape (k,)
    probability, actual, typical : ndarray of shape (k,)
    n_judged : int
        How many values were judged to find these.
    exponents : ndarray of shape (k,)
        Minus the log of the probability by the distance to the expected value alone.
    surprise : ndarray of shape (k,)
        Of series that broke records; 0 for others.
    noise_exponents : ndarray of shape (k,)
        Where there is a surprise: minus the log of the chance that noise comes this far.
    is_news : ndarray of shape (k,)
        1 where a surprise stands out from those of late, else 0.
    impact : ndarray of shape (k,)
        How much of what is unusual shows over several buckets, -5 to 5.
    of_families : ndarray of shape (k,) or None
        Minus the logs of the probabilities before the series' own history corrected them.
    still_exponents : ndarray of shape (k,) or None
        Minus the logs of the probabilities that the series stands still so long; 0 where it does not.
    """

    slots: Ints
    probability: Floats
    actual: Floats
    typical: Floats
    n_judged: int
    exponents: Floats
    surprise: Floats
    noise_exponents: Floats
    is_news: Floats
    impact: Floats
    of_families: Floats | None = field(default=None, kw_only=True)
    still_exponents: Floats | None = field(default=None, kw_only=True)

    def only(self, kept: Bools) -> Self:
        """Return those that are marked."""
        arrays = {
            item.name: getattr(self, item.name)[kept]
            for item in fields(self)
            if isinstance(getattr(self, item.name), np.ndarray)
        }
        return replace(self, **arrays)

    def strength(self, n_judged: int = 1) -> Floats:
        """Return the surprises as far as noise does not explain them, news or not.

        Parameters
        ----------
        n_judged : int
            How many values noise had the chance to come this far in.
        """
        if not self.surprise.any():  # as in most buckets
            return self.surprise
        return self.surprise * novelty.admitted(self.noise_exponents - math.log(max(n_judged, 1)))


def without_records(probability: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Return the last five fields of `Candidates` for a model that knows of no records."""
    nothing = np.zeros(probability.shape)
    return -np.log(probability), nothing, nothing, nothing, nothing
