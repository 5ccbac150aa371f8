"""Stages of numbers that the model keeps no trace of: worked out by their formula, checked by what they lead to."""

from domain.explanation.formulas import FORMULAS
from domain.explanation.parts import Stage, one


def worked(name: str, meaning: str, formula: str, **inputs: float | Stage) -> Stage:
    """Return a stage of a single part with the value that its formula gives."""
    numbers = {key: given.value if isinstance(given, Stage) else given for key, given in inputs.items()}
    return one(name, FORMULAS[formula](numbers), meaning, formula, **inputs)
