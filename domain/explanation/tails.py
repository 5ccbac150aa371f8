"""The evidence of tails: the families of distributions, the two modes, the series' own history (``families.py``)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from domain.explanation.parts import Part, Stage, made, of, one
from domain.explanation.worked import worked
from domain.model import families, modes, recalibration, skewed, spread, stillness
from domain.model.arrays import Floats
from domain.model.families import COUNTS, HEAVY, HISTORY, MODES, MOMENTS, STUDENT
from domain.model.probability import PROBABILITY_MIN, flat_limit, is_random_count
from domain.model.setting import Setting

if TYPE_CHECKING:
    from domain.explanation.values import ValueView

RATIOS: Final = ("of_expected", "of_own_level")
"""The two kinds of ratios of skewed families."""


def tail_stages(view: ValueView, actual: Part, expected: Stage, wide: Stage, distance: Stage) -> list[Stage]:
    """Return the stages from the distance to the probability of one at least as large."""
    judged, model = view.judged, view.model
    setting = model.setting_of(judged, np.zeros(1, np.int64))
    rows = model.families.rows[:, judged.selection]
    lean, dof = _lean_stage(view, setting, distance), _dof_stage(view, setting, wide)
    weights = model.families.weights(rows)
    tails = model.families.tails(rows, weights, setting, model.side)
    has_say = [tail is not None for tail in tails]
    total = sum(float(weight[0]) for weight, seen in zip(weights, has_say, strict=True) if seen)
    families_of = _Families(view, setting, rows[:, 0], actual.value, expected, wide, distance, lean, dof)
    parts = [
        families_of.part(index, float(tail[0]), float(weights[index, 0]) / total)
        for index, tail in enumerate(tails)
        if tail is not None
    ]
    mixed = math.fsum(part.value * part.inputs["weight"] for part in parts)
    stages = [lean, dof, Stage("families", "mixture", mixed, parts, "chance of a residual this far out")]
    trust = float(rows[MODES][modes.TRUST, 0])
    if trust > families.WEIGHT_SEEN:
        stages.append(_modes_stage(view, rows[MODES], trust, stages[-1]))
    stages += _history_stages(view, rows, stages[-1])
    square, count = float(view.spread_rows[spread.SQUARE, 0]), float(view.count[0])
    least = [of(stages[-1]), flat_part(view, square, count, wide), Part("smallest", PROBABILITY_MIN, "smallest of all")]
    value = float(np.exp(-view.found.exponents[0]))
    meaning = "chance by the distance alone, the least unusual stands"
    return [*stages, Stage("residual_probability", "largest", value, least, meaning)]


def still_stages(view: ValueView) -> list[Stage]:
    """Return the chance that a series stands still for so long; nothing if it does not."""
    if view.found.still_exponents is None or view.found.still_exponents[0] <= 0.0:
        return []
    run, still, steps = view.model.stillness.rows[stillness.RUN :, view.judged.selection][:, 0].tolist()
    chance = float(np.exp(-view.found.still_exponents[0]))
    meaning = "chance that the series stands still for so long"
    return [one("standing_still", chance, meaning, "standing_still", run=run, still=still, steps=steps)]


def flat_part(view: ValueView, square: float, count: float, wide: Stage) -> Part:
    """Return below which probability nothing is known of a series that hardly varied."""
    scale = view.judged.scale
    limit = flat_limit(view.count, 1.0 - np.minimum(square / (scale * scale), 1.0))
    meaning = "a first change of a flat series can have no less"
    return made("flat_line", limit[0], meaning, "flat_line", values=count, mean_square=square, spread=wide)


def _lean_stage(view: ValueView, setting: Setting, distance: Stage) -> Stage:
    rows = view.spread_rows[:, 0]
    reach = setting.above if view.judged.z[0] > 0.0 else setting.below
    return one(
        "lean",
        reach[0],
        "how much farther residuals of this sign reach",
        "lean",
        signed_square=rows[spread.SIGNED],
        mean_square=rows[spread.CALM],
        distance=distance,
    )


def _dof_stage(view: ValueView, setting: Setting, wide: Stage) -> Stage:
    rows = view.spread_rows[:, 0]
    return one(
        "degrees_of_freedom",
        setting.dof[0],
        "the fewer, the heavier the tails",
        "dof",
        mean_absolute=rows[spread.ABSOLUTE],
        mean_square=rows[spread.CALM],
        values=min(float(view.count[0]), view.model.long_memory_buckets),
        spread=wide,
    )


@dataclass(frozen=True, slots=True)
class _Families:
    """Makes the part of each family."""

    view: ValueView
    setting: Setting
    rows: Floats
    actual: float
    expected: Stage
    wide: Stage
    distance: Stage
    lean: Stage
    dof: Stage

    def part(self, index: int, tail: float, weight: float) -> Part:
        """Return what a family makes of the value."""
        setting, direction = self.setting, self.view.direction
        if index == COUNTS and is_random_count(setting.typical, setting.square)[0]:
            return made(
                "negative_binomial",
                tail,
                "negative binomial, for counts",
                "negative_binomial",
                weight=weight,
                actual=max(self.actual, 0.0),
                expected=self.expected,
                variance=float(setting.square[0]),
                direction=direction,
            )
        common: dict[str, float | Stage] = {"weight": weight, "distance": self.distance, "direction": direction}
        if index in (STUDENT, COUNTS):
            name = "student_t" if index == STUDENT else "no_random_count"
            count = float(self.view.count[0])
            return made(name, tail, "Student's t", "student_t", lean=self.lean, dof=self.dof, values=count, **common)
        if index == HEAVY:
            reaches = {"below": float(setting.below[0]), "above": float(setting.above[0])}
            absolute = float(setting.absolute[0])
            meaning = "Student's t with heavy tails"
            return made(
                "heavy_t", tail, meaning, "heavy_t", spread=self.wide, mean_absolute=absolute, **reaches, **common
            )
        return self._skewed(index, tail, weight)

    def _skewed(self, index: int, tail: float, weight: float) -> Part:
        """Return what the log-normal or the gamma distribution makes of one of the two kinds of ratios."""
        direction = self.view.direction
        form, kind = divmod(index - families.SKEWED.start, 2)
        moments = self.rows[MOMENTS].reshape(skewed.N_MOMENTS, 2)[:, kind]
        name = ("log_normal", "gamma")[form]
        where = ("the ratio to what is expected", "the ratio to a level of its own")[kind]
        levels = self.setting.levels()
        known = {
            "ratio": max(float(self.setting.ratios(levels)[kind, 0]), 0.0),
            "level": float(levels[kind, 0]),
            "log_mean": float(moments[skewed.LOG_MEAN]),
        }
        if form == 0:
            known["log_variance"] = float(moments[skewed.LOG_VARIANCE])
        else:
            known["mean_ratio"] = float(moments[skewed.RATIO])
        meaning = f"{name.replace('_', '-')}, of {where}"
        return made(f"{name}_{RATIOS[kind]}", tail, meaning, name, weight=weight, direction=direction, **known)


def _modes_stage(view: ValueView, rows: Floats, trust: float, mixed: Stage) -> Stage:
    """Return the chance with the two modes of the series, as far as they are trusted."""
    tail = modes.probability(rows, view.judged.y, view.model.side)
    part = made(
        "two_modes",
        tail[0],
        "far from both modes of the series",
        "two_modes",
        weight=trust,
        at=view.judged.y[0],
        lower=rows[modes.LOWER, 0],
        upper=rows[modes.UPPER, 0],
        n_lower=rows[modes.N_LOWER, 0],
        n_upper=rows[modes.N_UPPER, 0],
        variance_lower=rows[modes.V_LOWER, 0],
        variance_upper=rows[modes.V_UPPER, 0],
        direction=view.direction,
    )
    value = mixed.value + trust * (float(tail[0]) - mixed.value)
    return Stage("with_modes", "mixture", value, [of(mixed, weight=1.0 - trust), part], "chance of so unusual a value")


def _history_stages(view: ValueView, rows: Floats, chance: Stage) -> list[Stage]:
    """Return how the history of the series corrects the chance."""
    history = rows[HISTORY][:, 0]
    is_above = view.judged.z[0] > 0.0
    number, total = (
        (recalibration.N_ABOVE, recalibration.ABOVE) if is_above else (recalibration.N_BELOW, recalibration.BELOW)
    )
    beyond, judged = float(history[recalibration.BEYOND]), float(history[recalibration.JUDGED])
    found = view.found.of_families
    assert found is not None
    value = math.exp(-float(view.model.families.correct(rows, found, view.judged.z)[0]))
    rate = worked(
        "rate_beyond",
        "part of its values that were as unusual as 1 in 20 should be",
        "rate",
        beyond=beyond,
        judged=judged,
    )
    mean = worked(
        "mean_beyond",
        "how far such values went, on this side",
        "mean_beyond",
        number=float(history[number]),
        sum=float(history[total]),
    )
    corrected = one(
        "corrected",
        value,
        "the chance as the series' own history corrects it",
        "corrected",
        chance=chance,
        rate=rate,
        mean_beyond=mean,
    )
    return [rate, mean, corrected]
