"""Recombination: the probability and the score of an explanation, worked out from the leaves of its parts alone."""

import math
from collections.abc import Callable, Sequence
from typing import Final

from domain.explanation.formulas import FORMULAS
from domain.explanation.parts import Explanation, Part, Rule, Stage

Worked = dict[str, float]
"""Values of stages by name."""


def recombined(explanation: Explanation) -> tuple[float, float]:
    """Return the probability and the initial score that the parts combine to.

    No value of a stage, nor of a part that has a formula, is read: only the numbers of the model's state.
    """
    worked = work_out(explanation.stages, work_out(explanation.evidence[0].stages))
    return worked["joint_probability" if "joint_probability" in worked else "probability"], worked["record_score"]


def work_out(stages: Sequence[Stage], earlier: Worked | None = None) -> Worked:
    """Return the values of stages, and of those before them, each from its parts."""
    worked = dict(earlier or {})
    for stage in stages:
        values = [_value(part, worked) for part in stage.parts]
        worked[stage.name] = _RULES[stage.rule](values, [part.inputs.get("weight", 1.0) for part in stage.parts])
    return worked


def _value(part: Part, worked: Worked) -> float:
    if not part.formula:
        return part.value
    given = part.inputs | {name: worked[stage] for name, stage in part.stages.items()}
    return FORMULAS[part.formula](given)


_RULES: Final[dict[Rule, Callable[[list[float], list[float]], float]]] = {
    "only": lambda values, _: values[0],
    "sum": lambda values, _: math.fsum(values),
    "difference": lambda values, _: values[0] - math.fsum(values[1:]),
    "product": lambda values, _: math.prod(values),
    "quotient": lambda values, _: values[0] / math.prod(values[1:]),
    "largest": lambda values, _: max(values),
    "smallest": lambda values, _: min(values),
    "mixture": lambda values, weights: math.fsum(map(float.__mul__, weights, values)),
}
