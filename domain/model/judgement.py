"""What judging the values of one bucket found out, and what is left of it to be learnt: see ``feature_model.py``."""

from dataclasses import dataclass

import msgspec

from domain.model import novelty, stillness
from domain.model.arrays import Floats, Selection
from domain.model.expectation import Expectation


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found of the values of one bucket.

    Attributes
    ----------
    selection : slice or ndarray
        The slots judged.
    rows : ndarray of shape (feature_model.N_ROWS, m)
        A copy of their state.
    x, y, residual, scale, z : ndarray of shape (m,)
        Values; the same relative to their origin; distance to the expected ones; usual distance; their ratio.
    mixed : ndarray of shape (m,)
        The expected value, relative to the origin.
    expectation : Expectation
        Of what it is made.
    news : novelty.News
        How far each series went beyond what it showed before.
    still : stillness.Stand
        Where values stand still.
    unrest : ndarray of shape (m,) or None
        How many times farther than usual values lie at this hour of the day; None: as far.
    of_families : ndarray of shape (families.N_ROWS, m) or None
        Their state of the families, where it may have moved on since.
    """

    selection: Selection
    time_seconds: float
    rows: Floats
    x: Floats
    y: Floats
    mixed: Floats
    residual: Floats
    scale: Floats
    z: Floats
    expectation: Expectation
    news: novelty.News
    still: stillness.Stand
    unrest: Floats | None = None
    of_families: Floats | None = None


class Learnt(msgspec.Struct, frozen=True):
    """What the values of one bucket made of the rows, and what is left to be learnt of them.

    Attributes
    ----------
    selection : slice or ndarray
    time_seconds : float
    rows : ndarray of shape (N_ROWS, m)
        As they are to be kept, but for number and time of the values.
    value, z, scale, y : ndarray of shape (m,)
        As of the ``Expectation`` and the ``Judgement``.
    """

    selection: Selection
    time_seconds: float
    rows: Floats
    value: Floats
    z: Floats
    scale: Floats
    y: Floats
