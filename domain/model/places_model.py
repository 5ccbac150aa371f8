"""The model of ``lat_long``: the few places where a series usually is, and how far around each it moves.

A place is judged by its great-circle distances to the centres. One that is far from all of them makes a centre of its
own, in place of the least visited. Same order of calls as ``feature_model.py``.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from domain.model.accumulators import turned
from domain.model.arrays import Arrays, Floats, Ints, Selection, capacity_for, grown
from domain.model.candidates import Candidates, without_records
from domain.model.functions import Feature
from domain.model.probability import COUNT_MIN, PROBABILITY_MIN

N_CENTRES: Final = 5
N_CENTRES_OF_POPULATION: Final = 24
"""Chosen: home, work and a few more; a few per country of a small continent."""
LATITUDE, LONGITUDE, WEIGHT, SQUARE = range(4)
"""Of a centre: degrees; visits, fading; mean squared distance of its visits, km2."""
COUNT, TIME, NOVEL, PEAK, CENTRES = 0, 1, 2, 3, 5
"""Rows of the state: places learnt; middle of the latest bucket learnt (epoch seconds); share of places that made a new
centre; most unusual exponent so far and its time; the centres."""
NOVEL_GAIN: Final = 0.02
NOVEL_FREE: Final = 0.03
"""Share of new centres that makes none of them likelier. Chosen: so one surprise does not excuse the next, but where
every tenth place is new, none is a surprise."""

EARTH_RADIUS_KM: Final = 6371.0088
"""Mean radius of WGS 84 (Moritz, Geodetic Reference System 1980)."""
RADIUS_KM: Final = 2.0
RADIUS_VISITS: Final = 2.0
"""What a new centre is thought to spread over, and the visits which that counts for. Chosen: a town."""
OWN_DISTANCE: Final = 5.0
"""Spreads from a centre within which a place still belongs to it. Chosen."""
DOF_MIN, DOF_MAX = 2.0, 30.0
MEMORY_SECONDS: Final = 60 * 86_400.0
WEIGHT_LIMIT: Final = 200.0
"""Visits after which a centre moves no more slowly. Chosen."""


@dataclass(frozen=True, slots=True)
class PlaceCandidates(Candidates):
    """Unusual places: ``actual`` and ``typical`` are latitudes, their longitudes are here."""

    actual_longitudes: Floats = field(default_factory=lambda: np.empty(0))
    typical_longitudes: Floats = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True, slots=True)
class PlacesJudgement:
    """What was found of the places of one bucket.

    Attributes
    ----------
    rows : ndarray of shape (n_rows, m)
        A copy of their state.
    centres : ndarray of shape (n_centres, 4, m)
        A view of the centres in it, their weights as of now.
    place : ndarray of shape (2, m)
        Latitudes and longitudes.
    distance2, variance : ndarray of shape (n_centres, m)
        Squared distance to each centre, and its usual one along one axis, km2.
    """

    selection: Selection
    time_seconds: float
    rows: Floats
    centres: Floats
    place: Floats
    distance2: Floats
    variance: Floats


class PlacesModel:
    """State and arithmetic of places for all series of a detector.

    Attributes
    ----------
    rows : ndarray of shape (n_rows, capacity), dtype=float64
    """

    def __init__(self, feature: Feature, n_centres: int = N_CENTRES) -> None:
        self.feature = feature
        self.n_centres = n_centres
        self.rows: Floats = np.zeros((CENTRES + 4 * n_centres, capacity_for(0)))

    @property
    def bytes_per_series(self) -> int:
        """What the state of a series takes."""
        return 8 * (CENTRES + 4 * self.n_centres)

    @property
    def peaks(self) -> Floats:
        """A view of the most unusual exponents so far and their times, shape (2, capacity)."""
        return self.rows[PEAK : PEAK + 2]

    def reserve(self, n_slots: int) -> None:
        """Make room for ``n_slots`` series."""
        if n_slots > self.rows.shape[1]:
            self.rows = grown(self.rows, capacity_for(n_slots))

    def judge(self, selection: Selection, x: Floats, time_seconds: float) -> PlacesJudgement:
        """Measure how far places are from the centres; nothing is changed.

        Parameters
        ----------
        selection : slice or ndarray of shape (m,)
        x : ndarray of shape (2, m)
            Latitudes and longitudes, degrees.
        time_seconds : float
            Middle of the bucket.
        """
        rows = self.rows[:, selection].copy()
        centres = rows[CENTRES:].reshape(self.n_centres, 4, -1)
        centres[:, WEIGHT] *= np.exp(np.maximum(time_seconds - rows[TIME], 0.0) * (-1.0 / MEMORY_SECONDS))
        distance2 = _distance_km(centres[:, LATITUDE], centres[:, LONGITUDE], x[0], x[1])
        distance2 *= distance2
        weight = centres[:, WEIGHT]
        known = weight * centres[:, SQUARE] + 2.0 * RADIUS_VISITS * RADIUS_KM * RADIUS_KM
        variance = 0.5 * known / (weight + RADIUS_VISITS)
        return PlacesJudgement(selection, time_seconds, rows, centres, x, distance2, variance)

    def candidates(
        self, judged: PlacesJudgement, *, grows_on: bool = False, slots: Ints | None = None
    ) -> PlaceCandidates:
        """Pick the unusual places and calculate their probabilities.

        Around a centre, places follow Student's t in the plane, beyond distance d with ``(1 + d^2 / (nu s^2))^(-nu /
        2)``; a place is as unusual as the share of all that are as far from where they belong.

        Parameters
        ----------
        slots : ndarray of shape (m,) or None
            Whose places they are, if not those of the series judged.
        """
        is_mature = judged.rows[COUNT] >= COUNT_MIN
        weight = judged.centres[:, WEIGHT]
        total = weight[0].copy()
        for each in weight[1:]:
            total += each
        dof = np.minimum(np.maximum(weight, DOF_MIN), DOF_MAX)
        beyond = np.exp(-0.5 * dof * np.log1p(judged.distance2 / (dof * judged.variance)))
        # Chosen: the third power of the rule of succession, as for series that never varied.
        probability = np.exp(-3.0 * np.log(total + 2.0))
        probability += np.maximum(judged.rows[NOVEL] - NOVEL_FREE, 0.0)
        for each, tail in zip(weight, beyond, strict=True):
            probability += each / np.maximum(total, 1e-300) * tail
        np.minimum(np.maximum(probability, PROBABILITY_MIN), 1.0, out=probability)
        at = ((probability < 0.05) & is_mature).nonzero()[0]
        main = weight[:, at].argmax(axis=0)
        typical = judged.centres[main, :, at]
        selection = judged.selection
        if slots is None:
            slots = np.arange(selection.start, selection.stop) if isinstance(selection, slice) else selection
        return PlaceCandidates(
            slots[at],
            probability[at],
            judged.place[0, at],
            typical[:, LATITUDE],
            int(np.count_nonzero(is_mature)),
            *without_records(probability[at]),
            actual_longitudes=judged.place[1, at],
            typical_longitudes=typical[:, LONGITUDE],
        )

    def learn(self, judged: PlacesJudgement, _found: Candidates | None = None) -> None:
        """Take the judged places into the state."""
        rows, centres = judged.rows, judged.centres
        ratio = judged.distance2 / (2.0 * judged.variance)
        ratio[centres[:, WEIGHT] == 0.0] = np.inf
        series = np.arange(rows.shape[1])
        nearest = ratio.argmin(axis=0)
        is_own = ratio[nearest, series] < OWN_DISTANCE * OWN_DISTANCE
        chosen = np.where(is_own, nearest, centres[:, WEIGHT].argmin(axis=0))
        own = centres[chosen, :, series].T
        own *= is_own  # a centre that is given up starts anew
        distance2 = judged.distance2[chosen, series] * is_own
        own[WEIGHT] += 1.0
        gain = 1.0 / np.minimum(own[WEIGHT], WEIGHT_LIMIT)
        own[SQUARE] += gain * (distance2 - own[SQUARE])
        latitude, longitude = judged.place
        own[LATITUDE] = np.where(is_own, own[LATITUDE] + gain * (latitude - own[LATITUDE]), latitude)
        moved = turned(own[LONGITUDE] + gain * turned(longitude - own[LONGITUDE]))
        own[LONGITUDE] = np.where(is_own, moved, longitude)
        centres[chosen, :, series] = own.T
        rows[CENTRES:] = centres.reshape(4 * self.n_centres, -1)
        gain = np.maximum(1.0 / (rows[COUNT] + 1.0), NOVEL_GAIN)
        rows[NOVEL] += gain * (~is_own - rows[NOVEL])
        rows[COUNT] += 1.0
        rows[TIME] = judged.time_seconds
        self.rows[:, judged.selection] = rows

    def compared(self, judged: PlacesJudgement, *, with_typical: bool) -> tuple[Floats, Floats]:
        """Return latitudes only: a place is no single number, and rules of places compare none."""
        return judged.place[0], judged.place[0]

    def tables(self) -> tuple[list[np.ndarray[Any, Any]], list[np.ndarray[Any, Any]]]:
        """Return the arrays that a place held back by a rule changes little, and those that it does not: all.

        A part of a new centre makes no sense.
        """
        return [], [self.rows]

    def forget(self, slots: Ints) -> None:
        """Clear slots."""
        self.rows[:, slots] = 0.0

    def state(self, n_slots: int) -> Arrays:
        """Return copies of all arrays, trimmed to the slots in use."""
        self.reserve(n_slots)
        return {"rows": self.rows[:, :n_slots].copy()}

    def load(self, arrays: Arrays) -> None:
        """Take over what ``state`` returned."""
        rows = arrays["rows"]
        self.reserve(rows.shape[1])
        self.rows[:, : rows.shape[1]] = rows


def _distance_km(latitude: Floats, longitude: Floats, to_latitude: Floats, to_longitude: Floats) -> Floats:
    """Return great-circle distances by the haversine formula (Sinnott, 1984).

    >>> round(float(_distance_km(np.array(51.5), np.array(-0.1), np.array(48.9), np.array(2.4))))
    339
    """
    radians = np.pi / 180.0
    north = np.sin((to_latitude - latitude) * (0.5 * radians))
    east = np.sin((to_longitude - longitude) * (0.5 * radians))
    square = north * north + np.cos(latitude * radians) * np.cos(to_latitude * radians) * east * east
    distance: Floats = np.arcsin(np.sqrt(np.minimum(square, 1.0))) * (2.0 * EARTH_RADIUS_KM)
    return distance
