"""Rarity: how small a share of all occurrences belongs to values that are no more frequent than this one.

A Dirichlet distribution over the values of each scope: every bucket in which a value occurs adds one to it, and all
fade alike. Weights are whole numbers of a small unit, so that their sums are exact in any order.
"""

from typing import Final

import numpy as np

from domain.model.arrays import Arrays, Floats, Ints, capacity_for, grown

UNIT: Final = 1 << 20
"""Weight of one occurrence. Chosen: fading by parts of a millionth still shows, and sums stay within 63 bits."""
PRIOR: Final = 0.5
"""Occurrences that a value never seen counts for (Jeffreys' prior)."""
MEMORY_SECONDS: Final = 30 * 86_400.0
NOVELTY_MEMORY_SECONDS: Final = 86_400.0
NOVELTY_MEMORY_BUCKETS: Final = 20.0
"""Memory of how often values are new: a day, or this many buckets. Chosen: the first hours, when all is new, are soon
forgotten; where new values keep coming they are nothing rare."""
NOVEL, EVENTS = range(2)


class Rarity:
    """Occurrences of values, in scopes.

    Attributes
    ----------
    weights : ndarray of shape (capacity,), dtype=int64
        Per value, in units.
    recent : ndarray of shape (2, scope capacity), dtype=float64
        Per scope: occurrences of new values, and of all, in recent buckets.
    """

    def __init__(self, bucket_span_seconds: int, *, fades: bool) -> None:
        """``fades``: older occurrences count for less."""
        self._keep = float(np.exp(-bucket_span_seconds / MEMORY_SECONDS)) if fades else 1.0
        memory = max(NOVELTY_MEMORY_SECONDS, NOVELTY_MEMORY_BUCKETS * bucket_span_seconds)
        self._keep_recent = float(np.exp(-bucket_span_seconds / memory))
        self.weights: Ints = np.zeros(capacity_for(0), np.int64)
        self.recent: Floats = np.zeros((2, capacity_for(0)))

    def reserve(self, n_values: int, n_scopes: int) -> None:
        """Make room."""
        if n_values > self.weights.size:
            self.weights = grown(self.weights, capacity_for(n_values))
        if n_scopes > self.recent.shape[1]:
            self.recent = grown(self.recent, capacity_for(n_scopes))

    def probabilities(self, values: Ints, scopes: Ints) -> tuple[Floats, Floats]:
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
            Share of all occurrences that belong to values as rare, plus the rate of new values.
        share : ndarray of shape (m,)
            Share of the value itself.
        """
        weights = self.weights[: scopes.size]
        totals = np.zeros(self.recent.shape[1], np.int64)
        np.add.at(totals, scopes, weights)
        novel, events = self.recent[:, scopes[values]]
        total = totals[scopes[values]] * (1.0 / UNIT)
        up_to = weights_up_to(scopes, weights)[values] * (1.0 / UNIT)
        probability = novel / (events + 1.0) + (up_to + PRIOR) / (total + 1.0)
        return np.minimum(probability, 1.0), weights[values] / np.maximum(totals[scopes[values]], 1)

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
        is_new = self.weights[values] == 0
        if self._keep < 1.0:
            self.weights = (self.weights * self._keep).astype(np.int64)
        self.weights[values] += occurrences * UNIT
        self.recent *= self._keep_recent
        np.add.at(self.recent[NOVEL], scopes[values[is_new]], 1.0)
        np.add.at(self.recent[EVENTS], scopes[values], 1.0)

    def state(self, n_values: int, n_scopes: int) -> Arrays:
        """Return copies of all arrays, trimmed to what is in use."""
        self.reserve(n_values, n_scopes)
        return {"weights": self.weights[:n_values].copy(), "recent": self.recent[:, :n_scopes].copy()}

    def load(self, arrays: Arrays) -> None:
        """Take over what ``state`` returned."""
        weights, recent = arrays["weights"], arrays["recent"]
        self.reserve(weights.size, recent.shape[1])
        self.weights[: weights.size] = weights
        self.recent[:, : recent.shape[1]] = recent


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
