"""Custom rules: which values a user asked not to hear of, and from which ones the model is not to learn.

A rule holds where all of its conditions hold, and then does what its actions say. What a condition compares is the
value, what was expected, the distance between the two, or the bucket's start. Where nothing was expected yet, no
condition on what was expected holds.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import numpy as np

from domain.config.rules import Action, CustomRule, RuleCondition
from domain.model.arrays import Bools, Floats, Ints

HOLD_BACK: Final[Action] = "skip_model_update"
LITTLE: Final = 0.005
"""Weight of a value that the model is not to learn from, as in the reference: not 0, so that no model ever starves."""

_COMPARE: Final[dict[str, Callable[[Floats, float], Any]]] = {
    "gt": np.greater,
    "gte": np.greater_equal,
    "lt": np.less,
    "lte": np.less_equal,
}

Hold = Callable[[Callable[..., tuple[Floats, Floats]], float], Bools | None]
"""``DetectorModel.held``."""


def wants(rules: Sequence[CustomRule], action: Action) -> bool:
    """Tell whether any rule has an action."""
    return any(action in rule.actions for rule in rules)


def compares_typical(rules: Sequence[CustomRule], action: Action) -> bool:
    """Tell whether rules with an action compare anything with what was expected."""
    conditions = [condition for rule in rules if action in rule.actions for condition in rule.conditions]
    return any(condition.applies_to in ("typical", "diff_from_typical") for condition in conditions)


def holding(rules: Sequence[CustomRule], action: Action, actual: Floats, typical: Floats, bucket_start: float) -> Bools:
    """Return for which values a rule with this action holds.

    Parameters
    ----------
    actual, typical : ndarray of shape (k,)
        NaN where nothing was expected yet.
    bucket_start : float
        Epoch seconds; a condition on the time is given in seconds too.

    Examples
    --------
    >>> condition = RuleCondition(applies_to="actual", operator="lt", value=5.0)
    >>> rule = CustomRule(conditions=(condition,))
    >>> holding([rule], "skip_result", np.array([4.0, 6.0]), np.array([9.0, 9.0]), 0.0).tolist()
    [True, False]
    """
    found = np.zeros(actual.shape, np.bool_)
    for rule in rules:
        if action in rule.actions:
            holds = np.ones(actual.shape, np.bool_)
            for condition in rule.conditions:
                holds &= _COMPARE[condition.operator](
                    _compared(condition, actual, typical, bucket_start), condition.value
                )
            found |= holds
    return found


def _compared(condition: RuleCondition, actual: Floats, typical: Floats, bucket_start: float) -> Floats:
    if condition.applies_to == "actual":
        return actual
    if condition.applies_to == "typical":
        return typical
    if condition.applies_to == "diff_from_typical":
        return np.abs(actual - typical)
    return np.full(actual.shape, bucket_start)


class Tables(Protocol):
    """A model of which can be said what it has learnt, and where."""

    rows: Floats
    """The first two rows: how many values were learnt, and when the latest was."""

    def tables(self) -> tuple[list[np.ndarray[Any, Any]], list[np.ndarray[Any, Any]]]:
        """Return the arrays, slots last, that a value held back changes little, and those that it does not change."""


def learn_little(model: Tables, learn: Callable[[], None], held: Ints, time_seconds: float) -> None:
    """Let a model learn a bucket, but of the values held back only so much that it never starves.

    The model learns as always; then what it learnt of the series held back is taken back, but for ``LITTLE`` of it. A
    series that has no other value yet learns nothing: what it is like is for a value to say that counts. Time passes.

    Parameters
    ----------
    learn : callable
        Learns the bucket.
    held : ndarray of shape (k,)
        Slots whose values are held back.
    """
    little, nothing = model.tables()
    is_known = model.rows[0, held] > 0.0
    few = [table.take(held, axis=-1) for table in little]
    none = [table.take(held, axis=-1) for table in nothing]
    learn()
    for table, old in zip(little, few, strict=True):
        table[..., held] = old + (LITTLE * is_known) * (table.take(held, axis=-1) - old)
    for table, old in zip(nothing, none, strict=True):
        table[..., held] = old
    model.rows[1, held[is_known]] = time_seconds
