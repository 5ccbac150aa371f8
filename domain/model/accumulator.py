"""The accumulator that all others are made of: it counts events, per series and per value that may explain them.

Records go straight into running accumulators, one after the other in the order in which they came. So a bucket's value
does not depend on how its records were cut into batches: ``np.add.at`` adds sequentially, and where order matters
otherwise (first values, capped lists) it is seen to there. Values are asked for when the bucket closes.
"""

from typing import Any, ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from domain.model.arrays import Arrays, Bools, Floats, Ints, Selection, capacity_for, grown
from domain.model.influences import Apart, FieldInfluence

Hashes = NDArray[np.uint64]


class Measured(msgspec.Struct, frozen=True):
    """Records of one detector and bucket, in order.

    Attributes
    ----------
    slots : ndarray of shape (n,), dtype=int64
        The series of each record.
    x : ndarray of shape (n,), dtype=float64 or None
        Measured values, finite and bounded; None for functions that measure no number.
    weights : ndarray of shape (n,), dtype=float64 or None
        For how many events each record stands, whole numbers; None: one each.
    hashes : ndarray of shape (n,), dtype=uint64 or None
        Of the measured text, for distinct counts.
    longitudes : ndarray of shape (n,), dtype=float64 or None
        Degrees, beside latitudes in ``x``.
    content : ndarray of shape (n,), dtype=int64 and list of str, or None
        Place of each record's text among the texts.
    influences : tuple of (ndarray of shape (n,), list of str)
        Per influencer field that is no term of the detector: codes of its values (-1: none), and the values.
    """

    slots: Ints
    x: Floats | None = None
    weights: Floats | None = None
    hashes: Hashes | None = None
    influences: tuple[tuple[Ints, list[str]], ...] = ()
    longitudes: Floats | None = None
    content: tuple[Ints, list[str]] | None = None

    def only(self, kept: Bools) -> "Measured":
        """Return those records that are marked, without influences."""
        return Measured(
            self.slots[kept],
            None if self.x is None else self.x[kept],
            None if self.weights is None else self.weights[kept],
            None if self.hashes is None else self.hashes[kept],
            (),
            None if self.longitudes is None else self.longitudes[kept],
            None if self.content is None else (self.content[0][kept], self.content[1]),
        )

    def moved(self, slots: Ints) -> "Measured":
        """Return the same records, without influences, in other slots."""
        return Measured(slots, self.x, self.weights, self.hashes, (), self.longitudes, self.content)


class Accumulator:
    """Counts events per series; every other accumulator does so too, in row 0.

    Attributes
    ----------
    rows : ndarray of shape (n_rows, capacity), dtype=float64
        Running values per slot, ``INITIAL`` where nothing came yet.
    influences : list of FieldInfluence
        Per influencer field that is no term of the detector.
    """

    INITIAL: ClassVar[tuple[float, ...]] = (0.0,)

    def __init__(self, n_slots: int = 0, n_influences: int = 0) -> None:
        self.influences = [FieldInfluence(type(self)()) for _ in range(n_influences)]
        self.rows: Floats = np.zeros((len(self.INITIAL), capacity_for(n_slots)))
        if any(self.INITIAL):
            self._initialise(0)

    def _initialise(self, start: int) -> None:
        for row, initial in zip(self.rows, self.INITIAL, strict=True):
            if initial != 0.0:
                row[start:] = initial

    def reserve(self, n_slots: int) -> None:
        """Make room for ``n_slots`` series."""
        old = self.rows.shape[1]
        if n_slots > old:
            self.rows = grown(self.rows, capacity_for(n_slots))
            self._initialise(old)

    def add(self, records: Measured) -> None:
        """Add records in order; room for their slots is reserved."""
        np.add.at(self.rows[0], records.slots, 1.0 if records.weights is None else records.weights)
        for influence, (codes, texts) in zip(self.influences, records.influences, strict=True):
            influence.add(records, codes, texts)

    def present(self) -> Ints:
        """Return the slots that had records, ascending."""
        present: Ints = self.rows[0].nonzero()[0]
        return present

    def value(self, name: str, selection: Selection) -> Floats:
        """Return a feature's values of the selected slots; a series without records must give 0 or not be asked."""
        return self.rows[0, selection]

    def apart(self, name: str, slots: Ints, parts: "Accumulator", pairs: Ints) -> Apart:
        """Return a feature's values of series without part of their records each, or of the part alone.

        Parameters
        ----------
        parts : Accumulator
            Of the same kind, of parts of the series' records.
        pairs : ndarray of shape (n,)
            The part of each series.
        """
        return Apart.rest(self.rows[0, slots] - parts.rows[0, pairs])

    def share_left(self, slots: Ints, parts: "Accumulator", pairs: Ints) -> Floats:
        """Return the share of the series' events that are not of the parts."""
        share: Floats = 1.0 - parts.rows[0, pairs] / self.rows[0, slots]
        return share

    def state(self, n_slots: int) -> Arrays:
        """Return copies of all arrays, trimmed to the slots in use."""
        self.reserve(n_slots)
        arrays: Arrays = {"rows": self.rows[:, :n_slots].copy()}
        for index, influence in enumerate(self.influences):
            arrays |= {f"i{index}.{key}": array for key, array in influence.state().items()}
        return arrays

    def texts(self) -> list[Any]:
        """Return the part of the state that is no array: the values of each influencer field."""
        return [influence.texts_state() for influence in self.influences]

    def load(self, arrays: Arrays, texts: list[Any]) -> None:
        """Take over what ``state`` and ``texts`` returned."""
        for index, (influence, values) in enumerate(zip(self.influences, texts, strict=True)):
            prefix = f"i{index}."
            influence.load({key.removeprefix(prefix): arrays[key] for key in arrays if key.startswith(prefix)}, values)
        rows = arrays["rows"]
        self.reserve(rows.shape[1])
        self.rows[:, : rows.shape[1]] = rows


def values_of(records: Measured) -> Floats:
    """Return the values of records that must have some."""
    assert records.x is not None, "a function of numbers needs values"
    return records.x


def weighted(records: Measured) -> Floats:
    """Return their values, each as often as the record counts."""
    x = values_of(records)
    return x if records.weights is None else x * records.weights
