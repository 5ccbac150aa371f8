"""What a detector found in a bucket: unusual values, how unusual they are beside what was, and what explains them."""

import msgspec

from domain.model.accumulator import Accumulator
from domain.model.arrays import Floats, Ints
from domain.model.candidates import Candidates
from domain.model.causes import Causes
from domain.model.influences import Explained, Reconsider, explain


class Standing(msgspec.Struct, frozen=True):
    """How the unusual values of one bucket compare with what their series showed before.

    Attributes
    ----------
    ordinary : ndarray of shape (k,)
        Scores for being improbable.
    heights, peaks : ndarray of shape (k,)
        Calibrated surprisals above those of usual values, and the greatest before.
    strengths : ndarray of shape (k,)
        Of records broken.
    risen : ndarray of shape (l,)
        Places of those that put what came before them in the shade.
    """

    ordinary: Floats
    heights: Floats
    peaks: Floats
    strengths: Floats
    risen: Ints


class Findings(msgspec.Struct, frozen=True):
    """The unusual values of one feature in one bucket.

    Attributes
    ----------
    detector_index, feature_index : int
    candidates : Candidates
        With k unusual values.
    exponents : ndarray of shape (k,)
        ``-ln p``, calibrated.
    scores : ndarray of shape (k,)
        From 0 to 100.
    share : float
        Highest score that a value within what its series showed before may have, in parts of 100.
    accumulator : Accumulator or None
        What they were found in.
    standing : Standing
    causes : Causes or None
        Of members of a population: at which attributes they were unusual.
    reconsider : callable or None
        Judges other values of the same series as they were judged; None where no number was.
    """

    detector_index: int
    feature_index: int
    candidates: Candidates
    exponents: Floats
    scores: Floats
    accumulator: Accumulator | None
    standing: Standing
    share: float = 1.0
    causes: Causes | None = None
    reconsider: Reconsider | None = None

    def explaining(self, place: int, name: str, shown: Ints) -> list[Explained]:
        """Return the values of an influencer field (by place among the detector's) that explain some candidates.

        Parameters
        ----------
        name : str
            Of the feature.
        shown : ndarray of shape (k,)
            Places among the candidates.
        """
        if self.accumulator is None:
            return [[] for _ in range(shown.size)]
        found = self.candidates
        own = (found.slots[shown], found.actual[shown], found.typical[shown])
        return explain(self.accumulator, place, name, own, self.reconsider)
