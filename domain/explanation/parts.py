"""What an explanation is made of: named parts, combined stage by stage, until there are a probability and a score.

A stage combines its parts by a rule: their sum, the largest of them, and so on. A part is a number that was found in
the model, or what a formula (``formulas.py``) makes of its inputs, of which some are earlier stages. So the numbers of
an explanation can be worked out again from its leaves alone (``recombination.py``).
"""

from typing import Literal

import msgspec

Rule = Literal["only", "sum", "difference", "product", "quotient", "largest", "smallest", "mixture"]
"""How a stage combines its parts, in their order; ``mixture``: their sum, each with its input ``weight``."""


Kind = Literal["value", "member", "rare", "time", "place"]
"""What judges a series: its own past, a population, how often values occur, times of day or week, places."""


class Part(msgspec.Struct, frozen=True):
    """A named number.

    Attributes
    ----------
    meaning : str
        What it is, in words.
    formula : str
        What makes it of the inputs; empty: it is a number of the model's state.
    inputs : dict of str to float
    stages : dict of str to str
        Which inputs are earlier stages, by the stage's name.
    """

    name: str
    value: float
    meaning: str = ""
    formula: str = ""
    inputs: dict[str, float] = msgspec.field(default_factory=dict)
    stages: dict[str, str] = msgspec.field(default_factory=dict)


class Stage(msgspec.Struct, frozen=True):
    """Parts and what they combine to, as the model itself calculated it."""

    name: str
    rule: Rule
    value: float
    parts: list[Part]
    meaning: str = ""


class Evidence(msgspec.Struct, frozen=True):
    """How one series came to its probability, which is the value of the last stage.

    Attributes
    ----------
    kind : Kind
    terms : dict of str to str
        By, over and partition values of the series, by field.
    actual, typical : list of float
        As in the record, or in its cause. Of ``rare``: 1 and the value's share of all occurrences.
    """

    kind: Kind
    terms: dict[str, str]
    actual: list[float]
    typical: list[float]
    stages: list[Stage]

    def stage(self, name: str) -> Stage | None:
        """Return a stage by its name, None if it does not apply."""
        return next((stage for stage in self.stages if stage.name == name), None)


class Explanation(msgspec.Struct, frozen=True):
    """How a record came to its probability and its initial score.

    Attributes
    ----------
    partition, by, over : tuple of (str, str) or None
        Field and value, as in the record.
    evidence : list of Evidence
        One; of a member of a population one per cause, the least probable first.
    stages : list of Stage
        From there to the score, which is the value of the last one.
    sentence : str
        The same in English.
    """

    timestamp_ms: int
    bucket_span_seconds: int
    detector_index: int
    function: str
    function_description: str
    field_name: str | None
    partition: tuple[str, str] | None
    by: tuple[str, str] | None
    over: tuple[str, str] | None
    probability: float
    initial_record_score: float
    multi_bucket_impact: float
    evidence: list[Evidence]
    stages: list[Stage]
    sentence: str = ""

    def stage(self, name: str) -> Stage | None:
        """Return a stage by its name, of the record or else of its first evidence; None if it does not apply."""
        own = next((stage for stage in self.stages if stage.name == name), None)
        return own if own is not None else self.evidence[0].stage(name)

    def value(self, name: str, otherwise: float = 0.0) -> float:
        """Return the value of a stage."""
        stage = self.stage(name)
        return otherwise if stage is None else stage.value


def made(name: str, value: float, meaning: str, formula: str, **inputs: float | Stage) -> Part:
    """Return a part that a formula makes of numbers and of earlier stages."""
    numbers = {key: given.value if isinstance(given, Stage) else float(given) for key, given in inputs.items()}
    stages = {key: given.name for key, given in inputs.items() if isinstance(given, Stage)}
    return Part(name, float(value), meaning, formula, numbers, stages)


def one(name: str, value: float, meaning: str, formula: str, **inputs: float | Stage) -> Stage:
    """Return a stage of a single part, made by a formula."""
    return Stage(name, "only", float(value), [made(name, value, meaning, formula, **inputs)], meaning)


def of(stage: Stage, meaning: str = "", weight: float | None = None) -> Part:
    """Return the part that stands for an earlier stage; in a mixture with its weight."""
    inputs = {"value": stage.value} if weight is None else {"value": stage.value, "weight": float(weight)}
    return Part(stage.name, stage.value, meaning or stage.meaning, "stage", inputs, {"value": stage.name})
