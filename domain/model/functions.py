"""What each detector function measures: the features of a series per bucket, and what is known of their values.

A function becomes one feature, ``metric`` three. How a feature is accumulated is in ``accumulators.py``, how it is
judged in ``feature_model.py``.
"""

from dataclasses import dataclass
from typing import Final, Literal

from domain.config.functions import Side
from domain.config.job import JobConfig
from domain.config.rules import NO_SCOPE
from domain.errors import Unsupported


@dataclass(frozen=True, slots=True)
class Feature:
    """One number per series and bucket.

    Attributes
    ----------
    description : str
        The ``function_description`` of its records, and its name in the accumulator.
    side : {'both', 'high', 'low'}
        Which deviations count when the function itself does not say.
    is_count : bool
        Values are whole numbers of events.
    is_non_negative : bool
        Values are never below 0, and neither is what is expected.
    is_additive : bool
        Records add up to it, so that a bucket in progress is not too low yet.
    """

    description: str
    side: Side = "both"
    is_count: bool = False
    is_non_negative: bool = False
    is_additive: bool = False


@dataclass(frozen=True, slots=True)
class FunctionTraits:
    """How a function is accumulated and judged.

    Attributes
    ----------
    accumulator : str
        Key of ``accumulators.ACCUMULATORS``.
    features : tuple of Feature
    has_zeros : bool
        A bucket without records of the series counts as the value 0; otherwise it says nothing.
    measures : {'number', 'text', 'content', 'place', 'time', None}
        What is measured of a record: its field as a number, as a text to count, as a text to keep, or as a latitude
        and longitude; the record's own time; None: nothing.
    model : {'values', 'times', 'places', 'rare'}
        What judges the values: see ``feature_model.py``, ``times_model.py``, ``places_model.py``, ``rare_model.py``.
    """

    accumulator: str
    features: tuple[Feature, ...]
    has_zeros: bool = False
    measures: Literal["number", "text", "content", "place", "time"] | None = "number"
    model: Literal["values", "times", "places", "rare"] = "values"


def _count(description: str) -> Feature:
    return Feature(description, is_count=True, is_non_negative=True, is_additive=True)


FUNCTIONS: Final[dict[str, FunctionTraits]] = {
    "count": FunctionTraits("count", (_count("count"),), has_zeros=True, measures=None),
    "non_zero_count": FunctionTraits("count", (_count("count"),), measures=None),
    "distinct_count": FunctionTraits("distinct", (_count("distinct_count"),), measures="text"),
    "mean": FunctionTraits("mean", (Feature("mean"),)),
    "min": FunctionTraits("min", (Feature("min", "low"),)),
    "max": FunctionTraits("max", (Feature("max", "high"),)),
    "sum": FunctionTraits("sum", (Feature("sum", is_additive=True),), has_zeros=True),
    "non_null_sum": FunctionTraits("sum", (Feature("sum", is_additive=True),)),
    "median": FunctionTraits("median", (Feature("median"),)),
    "varp": FunctionTraits("variance", (Feature("varp", is_non_negative=True),)),
    "metric": FunctionTraits("metric", (Feature("mean"), Feature("min", "low"), Feature("max", "high"))),
    "info_content": FunctionTraits(
        "content", (Feature("info_content", is_non_negative=True, is_additive=True),), measures="content"
    ),
    "time_of_day": FunctionTraits("time", (Feature("time_of_day"),), measures="time", model="times"),
    "time_of_week": FunctionTraits("time", (Feature("time_of_week"),), measures="time", model="times"),
    "rare": FunctionTraits("count", (Feature("rare"),), measures=None, model="rare"),
    "freq_rare": FunctionTraits("count", (Feature("freq_rare"),), measures=None, model="rare"),
    "lat_long": FunctionTraits("place", (Feature("lat_long"),), measures="place", model="places"),
}
"""By base function. ``min`` looks for values that are too low and ``max`` for values that are too high, since the
other direction is no extreme."""


def check_supported(config: JobConfig) -> None:
    """Refuse a job with a setting that this engine cannot follow yet.

    Raises
    ------
    Unsupported
        Names the setting.
    """
    for detector in config.detectors:
        if any(rule.scope for rule in detector.custom_rules):
            reason = f"detector [{detector.detector_index}] '{detector.detector_description}': {NO_SCOPE}"
            raise Unsupported(reason)
