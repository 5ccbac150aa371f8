"""Hindsight: what becomes of a score when the scope it belongs to turns out to hold something far greater.

A score is given at once and kept as the initial one. What it rests on stays beside it (`Basis`), so that the score can
be brought down later, by a pure function and nothing but a few numbers that the fold decided (`Renormalization`). A
scope is what has a history of its own: the series of one feature, or one influencer field.

Two things are compared, each with the greatest of its kind in the scope, as it counts at that distance in time: the
surprisal, minus the log of a calibrated probability, with greater ones before and after; and the strength of records
broken with greater ones after only, since a record that is broken after a greater one was greater than that.
A score loses half of itself at most. Chosen: one absurd value must not hide what was found beside it.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
import numpy as np

from domain.model import novelty
from domain.model.arrays import Bools, Floats
from domain.model.normalizer import PEAK_MEMORY_SECONDS, SEVERITY_EXPONENT_25, UNUSUAL_EXPONENT

RISE: Final = 1.1
"""A peak renormalises what is near it if it is so many times the one before. Chosen: the change of a score is then
worth telling, and a scope does so a few dozen times at most before its peak has faded."""
RISE_HEIGHT_MIN: Final = SEVERITY_EXPONENT_25 - UNUSUAL_EXPONENT
RISE_STRENGTH_MIN: Final = novelty.SCORE_HALF / 3.0
"""Below these, where a score of its own is 25, a peak puts nothing else in the shade."""
LEAST_KEPT: Final = 0.5
EQUAL_SHARE: Final = 2.0 / 3.0
"""What has so large a part of the peak's surprisal keeps its score; below, the square of the part counts. Chosen: of
two incidents of one kind neither sinks, while the first sign of a greater one does, clearly."""

WINDOW_SECONDS_DEFAULT: Final = 30 * 86_400
WINDOW_BUCKETS_DEFAULT: Final = 100
"""How far back scores are changed: the longer of the two, unless the job says how many days. The API's default."""
DAY_SECONDS: Final = 86_400


class Basis(msgspec.Struct, frozen=True):
    """What a score rests on.

    Attributes
    ----------
    scope : str
        A JSON array that names it: see ``scope_of_series`` and ``scope_of_field``.
    ordinary_score : float
        Score for being improbable.
    height : float
        Calibrated surprisal above that of usual values, which ``ordinary_score`` was given for.
    peak : float
        The greatest height near it in its scope, as it counts at this distance in time.
    strength : float
        Of records that were broken; the score for that is ``novelty.score``.
    later_strength : float
        The greatest strength after it, as it counts at this distance.
    """

    scope: str
    ordinary_score: float
    height: float
    peak: float
    strength: float
    later_strength: float = 0.0


class Renormalization(msgspec.Struct, frozen=True):
    """What the fold says of earlier scores: those of a scope, in buckets from ``start_ms`` until before ``end_ms``.

    Attributes
    ----------
    scope : str or None
        None: every scope. No peak rose; scores given meanwhile are compared with the peaks that came before them.
    height, strength : float
        Of the peak that rose, in the bucket that starts at ``end_ms``.
    """

    scope: str | None
    start_ms: int
    end_ms: int
    height: float = 0.0
    strength: float = 0.0

    def at(self, timestamp_ms: int) -> tuple[float, float]:
        """Return height and strength as they count for a bucket."""
        share = math.exp((timestamp_ms - self.end_ms) / (1000.0 * PEAK_MEMORY_SECONDS))
        return self.height * share, self.strength * share


def score_of(basis: Basis) -> float:
    """Return the score, 0 to 100, that a basis comes to.

    >>> score_of(Basis('["host"]', 60.0, height=10.0, peak=0.0, strength=0.0))
    60.0
    >>> score_of(Basis('["host"]', 60.0, height=10.0, peak=30.0, strength=0.0))
    37.5
    """
    ordinary = basis.ordinary_score * kept(basis.height, basis.peak)
    return max(ordinary, score_for_records(basis.strength) * kept(basis.strength, basis.later_strength))


def score_for_records(strength: float) -> float:
    """Return the score for records broken, as ``novelty.score`` does for many."""
    return 100.0 * strength / (strength + novelty.SCORE_HALF)


def kept(own: float, greatest: float) -> float:
    """Return the part of a score that is kept beside something greater.

    >>> [kept(own, 12.0) for own in (0.0, 4.0, 8.0, 30.0)]
    [0.5, 0.625, 1.0, 1.0]
    """
    full = EQUAL_SHARE * greatest
    if own >= full:
        return 1.0
    share = own / full
    return LEAST_KEPT + (1.0 - LEAST_KEPT) * share * share


def height_of(exponents: Floats) -> Floats:
    """Return how far exponents lie above those of usual values."""
    height: Floats = np.maximum(exponents - UNUSUAL_EXPONENT, 0.0)
    return height


def risen(values: Floats, peaks: Floats, least: float) -> Bools:
    """Tell which values put what came before them in the shade; where there was no peak, nothing came before.

    Parameters
    ----------
    values, peaks : ndarray of shape (k,)
        Heights or strengths of a bucket, and the greatest before as they count now.
    least : float
        ``RISE_HEIGHT_MIN`` or ``RISE_STRENGTH_MIN``.
    """
    is_risen: Bools = (values >= least) & (peaks > 0.0) & (values > RISE * peaks)
    return is_risen


def is_risen(value: float, peak: float, least: float) -> bool:
    """Tell the same of one value."""
    return value >= least and peak > 0.0 and value > RISE * peak


def scope_of_series(detector_index: int, feature: str, name: tuple[str, ...]) -> str:
    """Name the scope of a series at one feature of a detector.

    >>> scope_of_series(0, "mean", ("AAL",))
    '[0,"mean","AAL"]'
    """
    return msgspec.json.encode([detector_index, feature, *map(str, name)]).decode()


def scope_of_field(name: str) -> str:
    """Name the scope of an influencer field, or of ``bucket_time``.

    >>> scope_of_field("bucket_time")
    '["bucket_time"]'
    """
    return msgspec.json.encode([name]).decode()


def window_seconds(days: int | None, bucket_span_seconds: int) -> int:
    """Return how far back scores are changed; 0 means never."""
    if days is not None:
        return days * DAY_SECONDS
    return max(WINDOW_SECONDS_DEFAULT, WINDOW_BUCKETS_DEFAULT * bucket_span_seconds)


class Review:
    """Decides, bucket by bucket, which earlier scores are to change.

    Attributes
    ----------
    window : int
        How far back, seconds; 0: none.
    unsettled : int or None
        Start of the first bucket since whose scores were not compared with the peaks before them.
    """

    def __init__(self, bucket_span_seconds: int) -> None:
        self._span = bucket_span_seconds
        self.window = 0
        self.unsettled: int | None = None

    def of_bucket(
        self, bucket_start: int, bases: Iterable[Basis | None], risen: Mapping[str, tuple[float, float]]
    ) -> list[Renormalization]:
        """Return what a bucket makes of earlier scores.

        Parameters
        ----------
        bucket_start : int
            Epoch seconds.
        bases : iterable of Basis
            Of the scores given in this bucket.
        risen : mapping of str to tuple
            Scopes whose peak rose, with the height and the strength that it rose to.
        """
        if self.window == 0:
            return []
        if self.unsettled is None and any(is_shaded(basis) for basis in bases if basis is not None):
            self.unsettled = bucket_start
        first, here = (bucket_start - self.window) * 1000, bucket_start * 1000
        found = [Renormalization(scope, first, here, *risen[scope]) for scope in sorted(risen)]
        end = bucket_start + self._span
        if self.unsettled is not None and end // DAY_SECONDS > bucket_start // DAY_SECONDS:
            found.append(Renormalization(None, self.unsettled * 1000, end * 1000))
            self.unsettled = None
        return found

    def state(self) -> int | None:
        """Return what is to be kept."""
        return self.unsettled

    def load(self, state: int | None) -> None:
        """Take over what ``state`` returned."""
        self.unsettled = state


def is_shaded(basis: Basis) -> bool:
    """Tell whether a score is lower than given, by what came before it."""
    return basis.ordinary_score > 0.0 and kept(basis.height, basis.peak) < 1.0
