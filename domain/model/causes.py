"""Causes: at which attributes the members of a population were unusual, and what that makes of each member.

A member stands for all its attributes in the bucket: its probability is that of the least of so many
(``1 - (1 - p)^n``), unless the caller says otherwise.
"""

from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from domain.config.detector import Detector
from domain.model.arrays import Floats, Ints
from domain.model.candidates import Candidates, without_records
from domain.model.places_model import PlaceCandidates
from domain.model.probability import PROBABILITY_MIN
from domain.model.results import Cause, RecordResult
from domain.model.series import SeriesTable

CAUSES_MAX: Final = 10
"""Causes written of a record: the API's own limit."""


@dataclass(frozen=True, slots=True)
class Causes:
    """The unusual attributes of k members: those of member ``k`` are ``starts[k]`` to ``starts[k + 1]``.

    Attributes
    ----------
    starts : ndarray of shape (k + 1,)
    slots : ndarray of shape (n,)
        The series, which is a member at an attribute; of each member the least probable first.
    probability : ndarray of shape (n,)
    actual, typical : ndarray of shape (n_elements, n)
        Of more than one element for places.
    """

    starts: Ints
    slots: Ints
    probability: Floats
    actual: Floats
    typical: Floats

    @property
    def first(self) -> Ints:
        """Where each member's least probable attribute stands."""
        return self.starts[:-1]

    def candidates(self, probability: Floats, n_judged: int) -> Candidates:
        """Return the members, each in the slot of its least probable attribute."""
        joint = np.minimum(np.maximum(probability, PROBABILITY_MIN), 1.0)
        first = self.first
        return Candidates(
            self.slots[first],
            joint,
            self.actual[0, first],
            self.typical[0, first],
            n_judged,
            *without_records(joint),
        )

    def of_least(self, n_attributes: Ints) -> Floats:
        """Return each member's probability, given at how many attributes it was seen; shape (k,)."""
        least = np.minimum(self.probability[self.first], 1.0 - 1e-16)
        joint: Floats = -np.expm1(n_attributes * np.log1p(-least))
        return joint

    def complete(self, record: RecordResult, k: int, detector: Detector, series: SeriesTable) -> RecordResult:
        """Return the record of a member with its causes."""
        start, stop = self.starts[k : k + 2].tolist()
        causes = [self._cause(place, record, detector, series) for place in range(start, min(stop, start + CAUSES_MAX))]
        return msgspec.structs.replace(
            record,
            typical=[],
            actual=[],
            by_field_name=None,
            by_field_value=None,
            over_field_name=detector.over_field_name,
            over_field_value=causes[0].over_field_value,
            causes=causes,
        )

    def _cause(self, place: int, record: RecordResult, detector: Detector, series: SeriesTable) -> Cause:
        name = series.names[int(self.slots[place])]
        assert name is not None, "only series alive are judged"
        terms = dict(zip(series.fields, name, strict=True))
        return Cause(
            probability=float(self.probability[place]),
            function=record.function,
            function_description=record.function_description,
            typical=self.typical[:, place].tolist(),
            actual=self.actual[:, place].tolist(),
            field_name=record.field_name,
            by_field_name=detector.by_field_name,
            by_field_value=terms.get(detector.by_field_name or ""),
            over_field_name=detector.over_field_name,
            over_field_value=terms.get(detector.over_field_name or ""),
            partition_field_name=detector.partition_field_name,
            partition_field_value=terms.get(detector.partition_field_name or ""),
        )


def causes_of(found: Candidates, members: Ints, series: SeriesTable) -> Causes:
    """Gather unusual series by member.

    Parameters
    ----------
    found : Candidates
        With n series.
    members : ndarray of shape (n,)
        The member of each.
    """
    # Where probabilities are equal names decide, for the number of a slot must not.
    names = [series.names[slot] or () for slot in found.slots.tolist()]
    by_name = np.empty(len(names), np.int64)
    by_name[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
    order = np.lexsort((by_name, found.probability, members))
    is_first = np.ones(order.size, np.bool_)
    member = members[order]
    is_first[1:] = member[1:] != member[:-1]
    starts = np.append(np.flatnonzero(is_first), order.size)
    actual, typical = [found.actual], [found.typical]
    if isinstance(found, PlaceCandidates):
        actual.append(found.actual_longitudes)
        typical.append(found.typical_longitudes)
    return Causes(
        starts, found.slots[order], found.probability[order], np.stack(actual)[:, order], np.stack(typical)[:, order]
    )
