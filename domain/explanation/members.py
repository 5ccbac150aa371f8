"""The evidence of a member of a population: how far it lies from what all members do, plainly and in logarithms."""

import math
from typing import Final

import numpy as np

from domain.explanation.parts import Part, Stage, made, of, one
from domain.explanation.values import DIRECTIONS, expected_stages
from domain.model.population import ABSOLUTES, EVIDENCE, SAMPLES, SQUARES, PopulationFeature, PopulationJudgement
from domain.model.probability import flat_limit, signed, student_tail, tail_dof
from domain.model.spread import COUNT_SCALE_MIN, SCALE_MIN, VARIATION_MIN

FORMS: Final = ("plain", "log")


def member_stages(
    feature: PopulationFeature, judged: PopulationJudgement, place: int, probability: float
) -> list[Stage]:
    """Return the stages of a member at one attribute.

    Parameters
    ----------
    place : int
        Of the member among those of the bucket.
    """
    at = int(judged.members.of_slot[place])
    plain = _form_stages(feature, judged, 0, place)
    evidence = float(judged.rows[EVIDENCE, at])
    logs = 1.0 / (1.0 + math.exp(-evidence))
    if judged.members.x[place] <= 0.0:
        result = Stage("probability", "only", probability, [of(plain[-1])], "chance of a member this unusual")
        stages = [*plain, result]
    else:
        logarithms = _form_stages(feature, judged, 1, place)
        share = one(
            "share_of_logs", logs, "how much better logarithms explain the members", "logistic", evidence=evidence
        )
        result = one(
            "probability",
            probability,
            "chance of a member this unusual",
            "mixed_forms",
            share_of_logs=share,
            plain_probability=plain[-1],
            log_probability=logarithms[-1],
        )
        stages = [*plain, *logarithms, share, result]
    return [_expected(judged, 1 if logs > 0.5 else 0, at), *stages]


def _expected(judged: PopulationJudgement, form: int, at: int) -> Stage:
    """Return what is expected of a member, in the form that explains the members better."""
    _, found = expected_stages(judged.forms[form].centre, at)
    meaning = "what all members led to expect"
    if form == 0:
        return Stage("expected", "sum", float(judged.forms[0].expected[at]), found.parts, meaning)
    parts = [made(part.name, math.exp(part.value), part.meaning, "exp", log=part.value) for part in found.parts]
    return Stage("expected", "product", math.exp(float(judged.forms[1].expected[at])), parts, meaning)


def _form_stages(feature: PopulationFeature, judged: PopulationJudgement, form: int, place: int) -> list[Stage]:
    """Return the stages from a value to the chance of one as far out, in one form."""
    name, scaled, at = FORMS[form], judged.forms[form], int(judged.members.of_slot[place])
    rows = judged.rows[:, [at]]
    square, samples, direction = float(rows[SQUARES + form, 0]), float(rows[SAMPLES, 0]), DIRECTIONS[feature.side]
    _, found = expected_stages(scaled.centre, at)
    expected = Stage(f"{name}_expected", "sum", float(scaled.expected[at]), found.parts, found.meaning)
    actual = Part("actual", float(scaled.y[place]), "value of the member" + (", its logarithm" if form else ""))
    residual = Stage(
        f"{name}_residual",
        "difference",
        float(scaled.residual[place]),
        [actual, of(expected)],
        "from expected to actual",
    )
    wide = Stage(
        f"{name}_spread",
        "largest",
        float(scaled.scale[at]),
        _spreads(feature, form, square, samples, expected),
        "how far members usually lie from what is expected",
    )
    distance = Stage(
        f"{name}_distance", "quotient", residual.value / wide.value, [of(residual), of(wide)], "the residual in spreads"
    )
    scale = scaled.scale[[at]]
    freedom = tail_dof(rows[SQUARES + form], rows[ABSOLUTES + form], scale, rows[SAMPLES])
    dof = one(
        f"{name}_degrees_of_freedom",
        freedom[0],
        "the fewer, the heavier the tails",
        "dof",
        mean_absolute=rows[ABSOLUTES + form, 0],
        mean_square=square,
        values=samples,
        spread=wide,
    )
    tail = student_tail(signed(np.array([distance.value]), feature.side), freedom, rows[SAMPLES], feature.side)
    limit = flat_limit(rows[SAMPLES], 1.0 - np.minimum(square / (scale * scale), 1.0))
    parts = [
        made(
            "student_t",
            tail[0],
            "Student's t" if form == 0 else "log-t",
            "student_t",
            distance=distance,
            dof=dof,
            values=samples,
            direction=direction,
        ),
        made(
            "flat_line",
            limit[0],
            "a first change of a flat population can have no less",
            "flat_line",
            values=samples,
            mean_square=square,
            spread=wide,
        ),
    ]
    chance = Stage(
        f"{name}_probability", "largest", max(part.value for part in parts), parts, "chance of a member this far out"
    )
    return [expected, residual, wide, distance, dof, chance]


def _spreads(feature: PopulationFeature, form: int, square: float, samples: float, expected: Stage) -> list[Part]:
    own = math.sqrt(square * (1.0 + 2.0 / max(samples, 1.0)))
    spread = made(
        "members", own, "of all members over weeks", "of_squares", mean_square=square, values=samples, share=1.0
    )
    floor = COUNT_SCALE_MIN if feature.feature.is_count else SCALE_MIN
    if form == 0:
        level = abs(expected.value) * VARIATION_MIN
        return [
            spread,
            made("level_floor", level, "1 in 10,000 of the level", "part_of_level", level=expected),
            Part("smallest", floor, "smallest spread of all"),
        ]
    return [
        spread,
        Part("level_floor", VARIATION_MIN, "1 in 10,000"),
        made(
            "smallest",
            floor * math.exp(-expected.value),
            "smallest spread of all, of a value like this",
            "log_floor",
            floor=floor,
            expected=expected,
        ),
    ]
