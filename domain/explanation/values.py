"""The evidence of a value: what was expected of its series, how far it lies from it, and how improbable that is.

Everything is read from the model as it was before the bucket closed (``feature_model.py`` and its parts); the stages
are those of its way from the value to the probability.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from domain.explanation.novelty_parts import novelty_stages
from domain.explanation.parts import Part, Stage, made, of, one
from domain.model import forecast, spread
from domain.model.arrays import Floats
from domain.model.feature_model import COUNT, FORECAST, ORIGIN, SPREAD, Candidates, FeatureModel, Judgement
from domain.model.functions import Feature
from domain.model.probability import (
    PROBABILITY_MIN,
    count_tail,
    flat_limit,
    is_random_count,
    signed,
    student_tail,
    tail_dof,
)

DIRECTIONS: Final = {"high": 1.0, "both": 0.0, "low": -1.0}
"""How the side of a detector is given to formulas."""


@dataclass(frozen=True, slots=True)
class ValueView:
    """One value as its model judges it; all arrays have a single element.

    Attributes
    ----------
    found : Candidates
        The value among the unusual ones.
    """

    model: FeatureModel
    judged: Judgement
    found: Candidates

    @classmethod
    def of(cls, model: FeatureModel, slot: int, x: Floats, time_seconds: float) -> "ValueView":
        """Judge a value anew; nothing is changed."""
        judged = model.judge(np.array([slot]), x, time_seconds)
        return cls(model, judged, model.candidates(judged))

    @property
    def direction(self) -> float:
        """Which deviations count: 1 high, -1 low, 0 either."""
        return DIRECTIONS[self.model.side]

    @property
    def spread_rows(self) -> Floats:
        """What is known of the residuals."""
        rows: Floats = self.judged.rows[SPREAD]
        return rows

    @property
    def count(self) -> Floats:
        """Values learnt."""
        count: Floats = self.judged.rows[COUNT]
        return count


def value_stages(view: ValueView) -> list[Stage]:
    """Return the stages from a value to its probability."""
    judged = view.judged
    forecasts, expected = expected_stages(judged)
    actual = Part("actual", float(judged.x[0]), "the value of the bucket")
    residual = Stage(
        "residual", "difference", float(judged.residual[0]), [actual, of(expected)], "from expected to actual"
    )
    wide = _spread_stage(view)
    distance = one("distance", judged.z[0], "the residual in spreads", "in_spreads", residual=residual, spread=wide)
    tail = _tail_stages(view, actual, expected, wide, distance)
    residual_probability = tail[-1]
    novel = novelty_stages(view, expected, wide) if view.found.surprise[0] > 0.0 else []
    outcomes = [of(residual_probability)] + [of(stage) for stage in novel if stage.name == "novelty_probability"]
    probability = Stage(
        "probability", "smallest", float(view.found.probability[0]), outcomes, "chance of a value this unusual"
    )
    return [forecasts, expected, residual, wide, distance, *tail, *novel, _impact_stage(view), probability]


def expected_stages(judged: Judgement, place: int = 0) -> tuple[Stage, Stage]:
    """Return what is expected, twice: by the forecasts that were weighed, and by what those are made of."""
    rows, scale = judged.rows[:, place : place + 1], judged.scale[place : place + 1]
    origin, levels = float(rows[ORIGIN, 0]), rows[FORECAST][: forecast.N_PREDICTORS, 0]
    weights = forecast.weigh(rows[FORECAST], scale)[:, 0]
    weights /= weights.sum()
    errors = rows[FORECAST][forecast.ERRORS, 0]
    forecasts = [
        Part(
            name,
            float(judged.expected[index, place]) + origin,
            f"counts for {100 * weights[index]:.0f} %; off by {errors[index]:.4g} of late",
            inputs={"weight": float(weights[index]), "mean_error": float(errors[index])},
        )
        for index, name in enumerate(forecast.NAMES)
    ]
    value = float(judged.mixed[place]) + origin
    unbound = float(np.dot(weights, judged.expected[:, place])) + origin
    forecast_stage = Stage("forecasts", "mixture", unbound, forecasts, "mean of the forecasts, each by its weight")
    slow = float(levels[forecast.SLOW])
    parts = [Part("level", origin + slow, "mean of the last days")]
    seasons = {"day": float(judged.day.value[place]), "week": float(judged.week.value[place])}
    meanings = {"day": "this hour of the day", "week": "this hour of the week"}
    for season, profile in seasons.items():
        share = sum(weight for weight, name in zip(weights, forecast.SEASONS, strict=True) if name == season)
        parts.append(Part(season, float(share) * (profile - slow), meanings[season]))
    recent = sum(
        float(weight) * (float(level) - (slow if name is None else 0.0))
        for weight, level, name in zip(weights, levels, forecast.SEASONS, strict=True)
    )
    parts.insert(1, Part("trend", recent, "how far the last hours lie from it"))
    if abs(value - unbound) > 1e-9 * abs(unbound):
        parts.append(Part("bound", value - unbound, "never below 0"))
    return forecast_stage, Stage("expected", "sum", value, parts, "what the series led to expect")


def _spread_stage(view: ValueView) -> Stage:
    rows, count = view.spread_rows[:, 0], float(view.count[0])
    scale = float(view.judged.scale[0])
    origin = float(view.judged.rows[ORIGIN, 0])
    level = origin + float(view.judged.rows[FORECAST][forecast.SLOW, 0])
    high, low = float(rows[spread.HIGH]), float(rows[spread.LOW])
    youth = 1.0 + 2.0 / max(count, 1.0)
    days, hours = float(rows[spread.SQUARE]), float(rows[spread.SQUARE_SHORT])
    parts = [
        made(
            "days",
            (days * youth) ** 0.5,
            "of the residuals over days",
            "of_squares",
            mean_square=days,
            values=count,
            share=1.0,
        ),
        made(
            "hours",
            spread.SHORT_SHARE * (hours * youth) ** 0.5,
            "of the residuals over hours, in part",
            "of_squares",
            mean_square=hours,
            values=count,
            share=spread.SHORT_SHARE,
        ),
        made(
            "level_floor", abs(level) * spread.VARIATION_MIN, "1 in 10,000 of the level", "part_of_level", level=level
        ),
        made(
            "range_floor",
            (high - low) * spread.RANGE_SHARE,
            "1 % of the range seen",
            "part_of_range",
            highest=high + origin,
            lowest=low + origin,
        ),
        _smallest(view.model.feature),
    ]
    return Stage("spread", "largest", scale, parts, "how far values usually lie from what is expected")


def _smallest(feature: Feature) -> Part:
    if feature.is_count:
        return Part("count_floor", spread.COUNT_SCALE_MIN, "half an event")
    return Part("smallest", spread.SCALE_MIN, "smallest spread of all")


def _tail_stages(view: ValueView, actual: Part, expected: Stage, wide: Stage, distance: Stage) -> list[Stage]:
    """Return the stages from the distance to the probability of one at least as large."""
    rows, judged, side = view.spread_rows, view.judged, view.model.side
    square, scale, count = float(rows[spread.SQUARE, 0]), judged.scale, float(view.count[0])
    reach = spread.leaning(rows, judged.z)
    lean = one(
        "lean",
        reach[0],
        "how much farther residuals of this sign reach",
        "lean",
        signed_square=rows[spread.SIGNED, 0],
        mean_square=square,
        distance=distance,
    )
    n_effective = np.minimum(view.count, view.model.long_memory_buckets)
    freedom = tail_dof(rows[spread.SQUARE], rows[spread.ABSOLUTE], scale, n_effective)
    dof = one(
        "degrees_of_freedom",
        freedom[0],
        "the fewer, the heavier the tails",
        "dof",
        mean_absolute=rows[spread.ABSOLUTE, 0],
        mean_square=square,
        values=n_effective[0],
        spread=wide,
    )
    student = student_tail(signed(judged.z, side) / reach, freedom, view.count, side)
    family = made(
        "student_t",
        student[0],
        "Student's t",
        "student_t",
        weight=1.0,
        distance=distance,
        lean=lean,
        dof=dof,
        values=count,
        direction=view.direction,
    )
    families = Stage("families", "mixture", float(student[0]), [family], "chance of a residual this far out")
    least = [of(families), *limits(view, square, count, wide)]
    typical = judged.mixed + judged.rows[ORIGIN]
    if view.model.feature.is_count and is_random_count(typical, scale * scale)[0]:
        tail = count_tail(judged.x, typical, scale * scale, side)
        least.append(
            made(
                "count_distribution",
                tail[0],
                "chance of such a count, negative binomial",
                "count_distribution",
                actual=actual.value,
                expected=expected,
                spread=wide,
                direction=view.direction,
            )
        )
    least.append(Part("smallest", PROBABILITY_MIN, "smallest probability of all"))
    value = float(np.exp(-view.found.exponents[0]))
    meaning = "chance by the distance alone, the least unusual stands"
    return [lean, dof, families, Stage("residual_probability", "largest", value, least, meaning)]


def limits(view: ValueView, square: float, count: float, wide: Stage) -> list[Part]:
    """Return below which probability nothing is known of a series that hardly varied."""
    scale = view.judged.scale
    limit = flat_limit(view.count, 1.0 - np.minimum(square / (scale * scale), 1.0))
    part = made(
        "flat_line",
        limit[0],
        "a first change of a flat series can have no less",
        "flat_line",
        values=count,
        mean_square=square,
        spread=wide,
    )
    return [part]


def _impact_stage(view: ValueView) -> Stage:
    z = view.judged.news.noise_z[:, 0]
    return one(
        "multi_bucket",
        view.found.impact[0],
        "-5: unusual in this bucket only, 5: only over several",
        "multi_bucket_impact",
        z_1=z[0],
        z_7=z[1],
        z_31=z[2],
        z_127=z[3],
        direction=view.direction,
    )
