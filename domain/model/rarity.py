"""Rarity: how small a share of all occurrences belongs to values that are no more frequent than this one.

A Dirichlet distribution over the values of each scope: every bucket in which a value occurs adds one to it, and all
fade alike. A value never seen before is as probable as new values were so far. Weights are whole numbers of a small
unit, so that their sums are exact in any order.
"""

from typing import Final

import numpy as np

from domain.model.arrays import Arrays, Floats, Ints, capacity_for, grown

UNIT: Final = 1 << 20
"""Weight of one occurrence. Chosen: fading by parts of a millionth still shows, and sums stay within 63 bits."""
PRIOR: Final = 0.5
"""Occurrences that a value never seen counts for (Jeffreys' prior)."""
MEMORY_SECONDS: Final = 30 * 86_400.0
MEMORY_BUCKETS: Final = 200.0
"""Memory of how often values are new: a month, or so many buckets. Chosen: so many show what is stable."""
YOUTH_SECONDS: Final = 2 * 86_400.0
YOUTH_MEMORY_SECONDS: Final = 86_400.0
YOUTH_BUCKETS: Final = 40.0
"""New values of the first two days, or so many buckets, are forgotten within half of that. Chosen: at first all is
new, and says nothing of later."""
SURE_SECONDS: Final = 7 * 86_400.0
"""Age at which a first occurrence counts for 63 % of what it will. Chosen: a week shows what comes once a week."""
WEEKS_MAX: Final = 8.0
"""Beyond it age makes no difference to a double."""
NOVEL, EVENTS, YOUNG, AGE = range(4)
"""Rows of a scope: new values and all occurrences, fading; new values of its youth; buckets since its first one."""
N_ROWS: Final = 4


class Rarity:
    """Occurrences of values, in scopes.

    Attributes
    ----------
    weights : ndarray of shape (capacity,), dtype=int64
        Per value, in units.
    scopes : ndarray of shape (N_ROWS, scope capacity), dtype=float64
    """

    def __init__(self, bucket_span_seconds: int, *, fades: bool) -> None:
        """``fades``: older occurrences count for less."""
        self.span = bucket_span_seconds
        self._fades = fades
        self._keep = float(np.exp(-bucket_span_seconds / MEMORY_SECONDS))
        self._keep_events = float(np.exp(-1.0 / max(MEMORY_SECONDS / bucket_span_seconds, MEMORY_BUCKETS)))
        self._youth_buckets = max(YOUTH_SECONDS / bucket_span_seconds, YOUTH_BUCKETS)
        memory = max(YOUTH_MEMORY_SECONDS / bucket_span_seconds, 0.5 * YOUTH_BUCKETS)
        self._keep_young = float(np.exp(-1.0 / memory))
        self.weights: Ints = np.zeros(capacity_for(0), np.int64)
        self.scopes: Floats = np.zeros((N_ROWS, capacity_for(0)))

    def reserve(self, n_values: int, n_scopes: int) -> None:
        """Make room."""
        if n_values > self.weights.size:
            self.weights = grown(self.weights, capacity_for(n_values))
        if n_scopes > self.scopes.shape[1]:
            self.scopes = grown(self.scopes, capacity_for(n_scopes))

    def probabilities(self, values: Ints, scopes: Ints) -> tuple[Floats, Floats, Floats]:
        """Say how rare values are that occur in a bucket; nothing is changed.

        Parameters
        ----------
        values : ndarray of shape (m,)
            Slots.
        scopes : ndarray of shape (n_values,)
            The scope of every slot there is.

        Returns
        -------
        probability : ndarray of shape (m,)
            Of a value never seen, the rate of such values; of others, the share of occurrences of values as rare.
        first : ndarray of shape (m,)
            Power of this probability that the first occurrence with a member has, from 1 to 2: 2 where there was hardly
            any of its kind for weeks. Chosen: what has not happened in a thousand occurrences is expected not to
            happen, as for series that never varied, and one or two that did take most of this away.
        share : ndarray of shape (m,)
            Share of the value itself.
        """
        weights = self.weights[: scopes.size]
        totals = np.zeros(self.scopes.shape[1], np.int64)
        np.add.at(totals, scopes, weights)
        novel, events, young, age = self.scopes[:, scopes[values]]
        total = totals[scopes[values]] * (1.0 / UNIT)
        own = weights[values] * (1.0 / UNIT)
        up_to = weights_up_to(scopes, weights)[values] * (1.0 / UNIT)
        is_new = weights[values] == 0
        rate = (novel + young + PRIOR) / (events + 1.0)
        probability = np.where(is_new, rate, (up_to + PRIOR) / (total + 1.0))
        weeks = np.minimum(age * (self.span / SURE_SECONDS), WEEKS_MAX)
        first = 1.0 + np.exp(-np.where(is_new, novel, own)) * -np.expm1(-weeks * weeks)
        return np.minimum(probability, 1.0), first, own / np.maximum(total, 1.0)

    def learn(self, values: Ints, occurrences: Ints, scopes: Ints) -> None:
        """Take a bucket in.

        Parameters
        ----------
        values : ndarray of shape (m,)
            Slots with occurrences.
        occurrences : ndarray of shape (m,), dtype=int64
            What to add to each; 0: it occurred, but adds nothing.
        scopes : ndarray of shape (n_values,)
        """
        if self._fades:
            self.weights = (self.weights * self._keep).astype(np.int64)
        is_new = self.weights[values] == 0
        self.weights[values] += occurrences * UNIT
        rows, own = self.scopes, scopes[values]
        rows[NOVEL : EVENTS + 1] *= self._keep_events
        rows[YOUNG] *= self._keep_young
        rows[AGE] += rows[EVENTS] > 0.0
        np.add.at(rows[EVENTS], own, 1.0)
        is_young = rows[AGE, own] < self._youth_buckets
        np.add.at(rows[YOUNG], own[is_new & is_young], 1.0)
        np.add.at(rows[NOVEL], own[is_new & ~is_young], 1.0)

    def state(self, n_values: int, n_scopes: int) -> Arrays:
        """Return copies of all arrays, trimmed to what is in use."""
        self.reserve(n_values, n_scopes)
        return {"weights": self.weights[:n_values].copy(), "scopes": self.scopes[:, :n_scopes].copy()}

    def load(self, arrays: Arrays) -> None:
        """Take over what ``state`` returned."""
        weights, scopes = arrays["weights"], arrays["scopes"]
        self.reserve(weights.size, scopes.shape[1])
        self.weights[: weights.size] = weights
        self.scopes[:, : scopes.shape[1]] = scopes


def weights_up_to(scopes: Ints, weights: Ints) -> Ints:
    """Return for each value the sum of all weights in its scope that are no greater.

    >>> weights_up_to(np.array([0, 0, 1, 0]), np.array([2, 1, 9, 2])).tolist()
    [5, 1, 9, 5]
    """
    order = np.lexsort((weights, scopes))
    scope, weight = scopes[order], weights[order]
    sums = np.concatenate([[0], np.cumsum(weight)])
    is_last = np.ones(order.size, np.bool_)
    is_last[:-1] = (scope[1:] != scope[:-1]) | (weight[1:] != weight[:-1])
    run: Ints = np.cumsum(is_last) - is_last
    upper = sums[np.flatnonzero(is_last) + 1][run]
    lower = sums[np.searchsorted(scope, scope, "left")]
    up_to = np.empty(order.size, np.int64)
    up_to[order] = upper - lower
    return up_to
