"""Custom rules: which unusual values a user asked not to hear of.

A rule holds where all of its conditions hold; a value is skipped where any rule does. The model learns from it all the
same. What a condition compares is the value, what was expected, the distance between the two, or the bucket's start.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from domain.config.rules import CustomRule, RuleCondition
from domain.model.arrays import Bools, Floats

_COMPARE: Final[dict[str, Callable[[Floats, float], Any]]] = {
    "gt": np.greater,
    "gte": np.greater_equal,
    "lt": np.less,
    "lte": np.less_equal,
}


def skipped(rules: Sequence[CustomRule], actual: Floats, typical: Floats, bucket_start: float) -> Bools:
    """Return which values the rules skip.

    Parameters
    ----------
    actual, typical : ndarray of shape (k,)
    bucket_start : float
        Epoch seconds; a condition on the time is given in seconds too.

    Examples
    --------
    >>> condition = RuleCondition(applies_to="actual", operator="lt", value=5.0)
    >>> skipped([CustomRule(conditions=(condition,))], np.array([4.0, 6.0]), np.array([9.0, 9.0]), 0.0).tolist()
    [True, False]
    """
    skip = np.zeros(actual.shape, np.bool_)
    for rule in rules:
        if "skip_result" in rule.actions:
            holds = np.ones(actual.shape, np.bool_)
            for condition in rule.conditions:
                holds &= _COMPARE[condition.operator](
                    _compared(condition, actual, typical, bucket_start), condition.value
                )
            skip |= holds
    return skip


def _compared(condition: RuleCondition, actual: Floats, typical: Floats, bucket_start: float) -> Floats:
    if condition.applies_to == "actual":
        return actual
    if condition.applies_to == "typical":
        return typical
    if condition.applies_to == "diff_from_typical":
        return np.abs(actual - typical)
    return np.full(actual.shape, bucket_start)
