"""The array types of the model, and the few helpers that every part of it uses.

All state lies in arrays with the series last: column ``j`` belongs to the series in slot ``j``. Slots are handed out
in the order in which series first appear and never move, so a part of the state is taken and put back by slot.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Arrays = dict[str, NDArray[np.generic]]

Selection = slice | Ints
"""Slots to work on: a slice when it is all of them, else their numbers in ascending order. Both give the same bits."""

VALUE_MAX = 1e30
"""Values beyond are taken as this. Chosen: squares and their sums stay far below the largest double, and the value
itself fits into single precision."""

ACCUMULATED_MAX = 32
"""Columns up to which a running sum is the faster way to an ordered one."""

CAPACITY_MIN = 16
"""Slots of the smallest table; small, because many jobs have a single series."""


def grown(array: NDArray[Number], capacity: int) -> NDArray[Number]:
    """Return a copy of the array with the last axis lengthened by zeros to ``capacity``."""
    longer = np.zeros((*array.shape[:-1], capacity), array.dtype)
    longer[..., : array.shape[-1]] = array
    return longer


def capacity_for(n_slots: int) -> int:
    """Return the smallest power of two, from ``CAPACITY_MIN``, that holds the slots.

    >>> capacity_for(1), capacity_for(17)
    (16, 32)
    """
    return max(CAPACITY_MIN, 1 << (n_slots - 1).bit_length())


def slots_of(selection: Selection, at: Ints) -> Ints:
    """Return the slots at places of a selection."""
    return at + selection.start if isinstance(selection, slice) else selection[at]


def ordered_sum(rows: Floats) -> Floats:
    """Return the sum over the first axis, row by row, so that a series' sum is the same beside any others.

    Parameters
    ----------
    rows : ndarray of shape (n, m)
    """
    if rows.shape[-1] <= ACCUMULATED_MAX:  # one call, but slow per number; the order is the same
        running: Floats = np.add.accumulate(rows, axis=0)[-1]
        return running
    total: Floats = rows[0].copy()
    for row in rows[1:]:
        total += row
    return total


def bounded(values: Floats) -> Floats:
    """Return the values kept within ``VALUE_MAX`` of zero; NaN stays NaN."""
    return np.minimum(np.maximum(values, -VALUE_MAX), VALUE_MAX)
