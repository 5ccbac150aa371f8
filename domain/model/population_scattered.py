"""Times and places of a population: values that have no middle to lie around, judged by how many others are there.

One histogram of times, or one set of centres, per attribute (``times_model.py``, ``places_model.py``), shared by all
its members. Same use as ``population.py``.
"""

from functools import partial
from typing import Final

import numpy as np

from domain.model.arrays import Arrays, Floats, Ints
from domain.model.candidates import Candidates, without_records
from domain.model.functions import Feature
from domain.model.influences import Reconsider
from domain.model.places_model import N_CENTRES_OF_POPULATION, PlaceCandidates, PlacesModel
from domain.model.rules import Hold
from domain.model.times_model import DAY_SECONDS, WEEK_SECONDS, TimesJudgement, TimesModel

PLACES_LEARNT_MAX: Final = 16
"""Members of an attribute whose places are learnt in a bucket, spread evenly over all. Chosen: enough to tell where
a population is."""


def _none(*_: object) -> None:
    """Hold nobody back."""


class PopulationTimes:
    """Times of day or week."""

    def __init__(self, feature: Feature) -> None:
        self.feature = feature
        self.times = TimesModel(feature, WEEK_SECONDS if feature.description == "time_of_week" else DAY_SECONDS)

    @property
    def bytes_per_attribute(self) -> int:
        """What the state of an attribute takes."""
        return self.times.bytes_per_series

    @property
    def peaks(self) -> Floats:
        """A view of the most unusual exponents so far and their times, shape (2, capacity)."""
        return self.times.peaks

    def reserve(self, n_slots: int) -> None:
        """Make room for ``n_slots`` attributes."""
        self.times.reserve(n_slots)

    def find(
        self,
        slots: Ints,
        attributes: Ints,
        x: Floats,
        weights: Floats,
        time_seconds: float,
        *,
        hold: Hold,
        is_interim: bool,
    ) -> tuple[Candidates, Reconsider | None]:
        """Judge the members of a bucket; unless it is interim, learn from those that are not held back.

        Members of one attribute in the same cell are judged, and learnt, as one.
        """
        phase, cell = self.times.locate(x)
        pairs = attributes * self.times.n_cells + cell
        found, place = np.unique(pairs, return_inverse=True)
        of_pair = found // self.times.n_cells
        middle = (found % self.times.n_cells + 0.5) * (self.times.period / self.times.n_cells)
        judged = self.times.judge(of_pair, middle + self.times.offset, time_seconds)
        unusual = self.times.candidates(judged)
        probability, typical = np.ones(found.size), np.zeros(found.size)
        at = np.searchsorted(found, self._pairs_of(unusual))
        probability[at], typical[at] = unusual.probability, unusual.typical
        held = None if is_interim else hold(partial(self._compared, judged, phase, place), time_seconds)
        if held is not None and held.any():
            others = (~held).nonzero()[0]
            if others.size:
                own = (slots[others], attributes[others], x[others], weights[others])
                self.find(*own, time_seconds, hold=_none, is_interim=False)
        elif not is_interim:
            order = np.lexsort((weights, pairs))
            total = np.zeros(found.size)
            np.add.at(total, place[order], weights[order])
            self.times.learn_many(judged, total)
        kept = np.flatnonzero(probability[place] < 1.0)
        own = place[kept]
        p = probability[own]
        return Candidates(slots[kept], p, phase[kept], typical[own], int(slots.size), *without_records(p)), None

    def _compared(
        self, judged: TimesJudgement, phase: Floats, place: Ints, *, with_typical: bool
    ) -> tuple[Floats, Floats]:
        """Return what custom rules compare, of all members."""
        return phase, self.times.compared(judged, with_typical=True)[1][place] if with_typical else phase

    def _pairs_of(self, unusual: Candidates) -> Ints:
        cell = np.minimum(unusual.actual * (self.times.n_cells / self.times.period), self.times.n_cells - 1)
        pairs: Ints = unusual.slots * self.times.n_cells + cell.astype(np.int64)
        return pairs

    def forget(self, slots: Ints) -> None:
        """Clear attributes."""
        self.times.forget(slots)

    def state(self, n_slots: int) -> Arrays:
        """Return copies of all arrays, trimmed to the attributes in use."""
        return self.times.state(n_slots)

    def load(self, arrays: Arrays) -> None:
        """Take over what ``state`` returned."""
        self.times.load(arrays)


class PopulationPlaces:
    """Latitudes and longitudes."""

    def __init__(self, feature: Feature) -> None:
        self.feature = feature
        self.places = PlacesModel(feature, N_CENTRES_OF_POPULATION)

    @property
    def bytes_per_attribute(self) -> int:
        """What the state of an attribute takes."""
        return self.places.bytes_per_series

    @property
    def peaks(self) -> Floats:
        """A view of the most unusual exponents so far and their times, shape (2, capacity)."""
        return self.places.peaks

    def reserve(self, n_slots: int) -> None:
        """Make room for ``n_slots`` attributes."""
        self.places.reserve(n_slots)

    def find(
        self,
        slots: Ints,
        attributes: Ints,
        x: Floats,
        weights: Floats,
        time_seconds: float,
        *,
        hold: Hold,
        is_interim: bool,
    ) -> tuple[PlaceCandidates, Reconsider | None]:
        """Judge the members of a bucket; unless it is interim, learn from some of them."""
        found = self.places.candidates(self.places.judge(attributes, x, time_seconds), slots=slots)
        if not is_interim:
            held = hold(lambda **_: (x[0], x[0]), time_seconds)
            learnt = np.arange(slots.size) if held is None else (~held).nonzero()[0]
            for chosen in self._rounds(attributes[learnt], x[:, learnt]):
                at = learnt[chosen]
                self.places.learn(self.places.judge(attributes[at], x[:, at], time_seconds))
        return found, None

    def _rounds(self, attributes: Ints, x: Floats) -> list[Ints]:
        """Choose members to learn from, one per attribute in each round, evenly by latitude and longitude."""
        order = np.lexsort((x[1], x[0], attributes))
        _, start, count = np.unique(attributes[order], return_index=True, return_counts=True)
        n_learnt = np.minimum(count, PLACES_LEARNT_MAX)
        rounds = []
        for k in range(PLACES_LEARNT_MAX):
            due = np.flatnonzero(k < n_learnt)
            if due.size == 0:
                break
            rounds.append(order[start[due] + k * count[due] // n_learnt[due]])
        return rounds

    def forget(self, slots: Ints) -> None:
        """Clear attributes."""
        self.places.forget(slots)

    def state(self, n_slots: int) -> Arrays:
        """Return copies of all arrays, trimmed to the attributes in use."""
        return self.places.state(n_slots)

    def load(self, arrays: Arrays) -> None:
        """Take over what ``state`` returned."""
        self.places.load(arrays)
