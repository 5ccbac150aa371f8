"""The evidence of a value: what was expected of its series, how far it lies from it, and how improbable that is.

Everything is read from the model as it was before the bucket closed (``feature_model.py`` and its parts); the stages
are those of its way from the value to the probability.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from domain.explanation.novelty_parts import novelty_stages
from domain.explanation.parts import Part, Stage, made, of, one
from domain.explanation.tails import still_stages, tail_stages
from domain.model import expectation, forecast, spread
from domain.model.arrays import Floats
from domain.model.candidates import Candidates
from domain.model.feature_model import COUNT, EXPECTATION, ORIGIN, SPREAD, FeatureModel
from domain.model.functions import Feature
from domain.model.judgement import Judgement

MEANINGS: Final = {
    "day": "this hour of the day",
    "week": "this hour of the week",
    "workday": "this hour of a working day or a day off",
    "period": "this point of the period that was found",
}
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
    of_hour = [] if judged.unrest is None else [_of_hour(distance, float(judged.unrest[0]))]
    tail = tail_stages(view, actual, expected, wide, of_hour[0] if of_hour else distance)
    residual_probability = tail[-1]
    novel = novelty_stages(view, residual_probability, expected, wide) if view.found.surprise[0] > 0.0 else []
    still = still_stages(view)
    outcomes = [of(residual_probability), *map(of, still)] + [
        of(stage) for stage in novel if stage.name == "novelty_probability"
    ]
    probability = Stage(
        "probability", "smallest", float(view.found.probability[0]), outcomes, "chance of a value this unusual"
    )
    first = [forecasts, expected, residual, wide, distance, *of_hour]
    return [*first, *tail, *still, *novel, _impact_stage(view), probability]


def _of_hour(distance: Stage, factor: float) -> Stage:
    """Return the distance as it would be at an hour like any other."""
    unrest = Part("unrest", factor, "how many times farther than usual values lie at this hour")
    meaning = "the distance, as far as it is unusual for the hour"
    return Stage("distance_of_hour", "quotient", distance.value / factor, [of(distance), unrest], meaning)


def expected_stages(judged: Judgement, place: int = 0) -> tuple[Stage, Stage]:
    """Return what is expected, twice: by the forecasts that were weighed, and by what those are made of."""
    found, own = judged.expectation, judged.rows[EXPECTATION]
    origin = float(judged.rows[ORIGIN, place])
    start = origin + float(found.outlook.level[place] - own[forecast.SLOW, place])
    weights, errors = found.weights[:, place], own[forecast.ERRORS, place]
    has_period = found.outlook.cycles is not None and place in found.outlook.cycles.at
    forecasts = [
        Part(
            name,
            float(found.expected[index, place]) + start,
            f"counts for {100 * weights[index]:.0f} %; off by {errors[index]:.4g} of late",
            inputs={"weight": float(weights[index]), "mean_error": float(errors[index])},
        )
        for index, name in enumerate(forecast.NAMES)
        if index != forecast.PERIOD_SLOW or has_period
    ]
    value = float(judged.mixed[place]) + origin
    unbound = float(np.dot(weights, found.expected[:, place])) + start
    forecast_stage = Stage("forecasts", "mixture", unbound, forecasts, "mean of the forecasts, each by its weight")
    terms = expectation.terms(own, found, place)
    parts = [
        Part("level", origin + terms.level, "mean of the last days"),
        Part("trend", terms.trend, "how far the last hours lie from it, and where they lead"),
    ]
    parts += [
        Part(name, added, MEANINGS[name], inputs={"share": terms.shares[name]})
        for name, added in terms.seasons.items()
        if name != expectation.PERIOD_NAME or has_period
    ]
    if terms.shift:
        parts.append(Part("shift", terms.shift, "a change of level, on trial until it has lasted"))
    if abs(terms.bound) > 1e-9 * abs(unbound):
        parts.append(Part("bound", terms.bound, "never below 0"))
    return forecast_stage, Stage("expected", "sum", value, parts, "what the series led to expect")


def _spread_stage(view: ValueView) -> Stage:
    rows, count = view.spread_rows[:, 0], float(view.count[0])
    scale = float(view.judged.scale[0])
    origin = float(view.judged.rows[ORIGIN, 0])
    level = origin + float(view.judged.expectation.outlook.level[0])
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
