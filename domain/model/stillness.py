"""Stillness: a series that varies and then stands still, as a stuck sensor or a dead exporter does.

A step is still if the value moves by far less than it usually does. How often a still step is followed by another is
learnt of each series, so a run of still steps has a probability: the product of these chances. Series that often stand
still learn so, and then a run of it means nothing.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from domain.model.arrays import Arrays, Bools, Floats, Ints, Selection, capacity_for, grown

LAST, SIZE, RUN, STILL, STEPS = range(5)
"""Rows: latest value; mean size of its steps that were not still, large ones cut; minus the log of the probability of
the present run, 0 without one; steps after a still one that were still too, and all of these, fading."""
N_ROWS: Final = 5
BYTES_PER_SERIES: Final = 8 * N_ROWS

STEP_MAX: Final = 0.18
"""Steps of less than this part of the mean are still: of independent normal values one in nine."""
SIZE_GAIN: Final = 1.0 / 50.0
SIZE_CLIP: Final = 3.0
"""Steps count for at most so many times the mean, and the mean follows them slowly: a metric that jumps now and then
does not stand still in between."""
STILL_PRIOR, STEPS_PRIOR = 4.0, 8.0
"""Before anything is known, half of the steps after a still one are still, too. Chosen: a run must first be compared
with some dozens of others."""
STEPS_FADE: Final = 1.0 / 500.0
"""Share of these steps that each new one makes forgotten."""
RUN_FADE: Final = 0.02
"""Share of a run's exponent forgotten per step: what lasts becomes usual."""
RUN_MAX: Final = 10.0 * math.log(10.0)
"""Largest exponent. Chosen: a stuck value deserves a look, but no alarm as what was never seen before does."""
SEEN_FROM: Final = 5.0 * math.log(10.0)
"""Exponent from which a run counts: rarer than this, it hardly adds to the share of small probabilities."""


@dataclass(frozen=True, slots=True)
class Stand:
    """How far values moved, and what is improbable about that.

    Attributes
    ----------
    step : ndarray of shape (m,)
        Distance to the value before.
    is_still : ndarray of shape (m,) or None
        Whether that is less than usual by far; None: nowhere.
    exponents : ndarray of shape (m,) or None
        Minus the logs of the probabilities of the runs, 0 where there is none.
    """

    step: Floats
    is_still: Bools | None
    exponents: Floats | None


class Stillness:
    """Runs of still steps of all series.

    Attributes
    ----------
    rows : ndarray of shape (N_ROWS, capacity), dtype=float64
    """

    def __init__(self) -> None:
        self.rows: Floats = np.zeros((N_ROWS, capacity_for(0)))

    def reserve(self, n_slots: int) -> None:
        """Make room for ``n_slots`` series."""
        if n_slots > self.rows.shape[1]:
            self.rows = grown(self.rows, capacity_for(n_slots))

    def judge(self, selection: Selection, y: Floats, is_on_or_off: Bools | None = None) -> Stand:
        """Say how far values moved, where runs begin or go on, and how improbable they are.

        Parameters
        ----------
        y : ndarray of shape (m,)
            Values relative to their origins.
        is_on_or_off : ndarray of shape (m,) or None
            Which series have two modes, in either of which they stand; None: no series has.
        """
        last, size = self.rows[:RUN, selection]
        step = np.abs(y - last)
        is_still: Bools = step <= STEP_MAX * size  # so is what never moved
        if not is_still.any():
            return Stand(step, None, None)
        run, still, steps = self.rows[RUN:, selection]
        exponents = run * (1.0 - RUN_FADE) - np.log((STILL_PRIOR + still) / (STEPS_PRIOR + steps))
        np.minimum(exponents, RUN_MAX, out=exponents)
        exponents *= is_still
        if is_on_or_off is not None:
            exponents *= ~is_on_or_off
        return Stand(step, is_still, exponents)

    def learn(self, selection: Selection, y: Floats, stand: Stand) -> None:
        """Take values in, with what ``judge`` returned of them."""
        rows = self.rows[:, selection]
        was_still = rows[RUN] > 0.0
        if was_still.any():
            fade = 1.0 - STEPS_FADE * was_still
            rows[STILL] *= fade
            rows[STEPS] *= fade
            rows[STEPS] += was_still
            if stand.is_still is not None:
                rows[STILL] += stand.is_still & was_still
        size = rows[SIZE]
        step = np.minimum(stand.step, SIZE_CLIP * size)
        np.copyto(step, stand.step, where=size == 0.0)
        gain = np.where(size == 0.0, 1.0, SIZE_GAIN)
        step -= size
        step *= gain
        if stand.is_still is not None:
            step *= ~stand.is_still
        size += step
        rows[RUN] = 0.0 if stand.exponents is None else stand.exponents
        rows[LAST] = y
        if not isinstance(selection, slice):
            self.rows[:, selection] = rows

    def forget(self, slots: Ints) -> None:
        """Clear slots."""
        self.rows[:, slots] = 0.0

    def state(self, n_slots: int) -> Arrays:
        """Return a copy of the rows, trimmed to the slots in use."""
        return {"stillness": self.rows[:, :n_slots].copy()}

    def load(self, arrays: Arrays) -> None:
        """Take over what ``state`` returned."""
        rows = arrays["stillness"]
        self.reserve(rows.shape[1])
        self.rows[:, : rows.shape[1]] = rows
