"""The evidence of records: how far a series went beyond all it showed before (``novelty.py``), part by part."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from domain.config.functions import Side
from domain.explanation.parts import Part, Stage, made, of, one
from domain.explanation.tails import flat_part
from domain.explanation.worked import worked
from domain.model import families, novelty, spread
from domain.model.feature_model import ORIGIN
from domain.model.novelty import BEGAN, HIGH, JUMP, LEVEL, LOW, MEAN, RECENT, RESIDUAL, VALUE
from domain.model.probability import TAIL_DOF_MAX, count_tail, is_random_count, signed, student_tail

if TYPE_CHECKING:
    from domain.explanation.values import ValueView

STREAMS = {VALUE: "value", RESIDUAL: "residual", JUMP: "jump"}
SPANS = (1, 7, 31, 127)
"""Buckets over which each scale is smoothed."""


def novelty_stages(view: ValueView, residual_probability: Stage, expected: Stage, wide: Stage) -> list[Stage]:
    """Return the stages from the records that a value broke to the chance of it."""
    noise = _noise_stages(view, residual_probability, expected, wide)
    noise_chance = noise[-1]
    surprise = _surprise_stages(view)
    strength = float(view.found.strength()[0])
    count = float(view.count[0])
    record_chance = one(
        "record_chance",
        novelty.chance_of_record(view.found.surprise, view.count)[0],
        "chance that any record is broken by so much",
        "record_chance",
        values=count,
        surprise=surprise[-1],
    )
    admitted = one(
        "admitted",
        novelty.admitted(view.found.noise_exponents)[0],
        "how far noise does not explain it",
        "admitted",
        noise_chance=noise_chance,
    )
    strongest = float(view.model.novelty.rows[RECENT, view.judged.selection][0])
    is_news = made(
        "is_news",
        view.found.is_news[0],
        "1 if it stands out from the surprises of late",
        "is_news",
        surprise=surprise[-1],
        admitted=admitted,
        strongest_of_late=strongest,
    )
    news = Stage(
        "novelty",
        "product",
        strength * float(view.found.is_news[0]),
        [of(surprise[-1]), of(admitted), is_news],
        "how new it is to the series",
    )
    chance = max(noise_chance.value, record_chance.value) if news.value > 0.0 else 1.0
    outcome = one(
        "novelty_probability",
        chance,
        "chance of it, if it is news",
        "novelty_probability",
        novelty=news,
        noise_chance=noise_chance,
        record_chance=record_chance,
    )
    return [*noise, *surprise, record_chance, admitted, news, outcome]


def _noise_stages(view: ValueView, residual_probability: Stage, expected: Stage, wide: Stage) -> list[Stage]:
    """Return the chance that noise comes this far on any of the scales; the last stage is that chance."""
    single, smoothed = _lane(view, "single", (0,), expected, wide), _lane(view, "smoothed", (1, 2, 3), expected, wide)
    model, slot = view.model, view.judged.selection
    of_skewed, of_heavy = families.tail_evidence(model.families.log_weights(model.families.rows[:, slot]))
    own = worked(
        "single_noise",
        "the same, as far as the series' own tails have proved themselves",
        "proven",
        noise=single[-1],
        own=residual_probability,
        values=float(view.count[0]),
        age_seconds=view.judged.time_seconds - float(model.novelty.rows[BEGAN, slot][0]),
        skewed=float(of_skewed[0]),
        heavy=float(of_heavy[0]),
        z=float(view.judged.z[0]),
    )
    value = math.exp(-float(view.found.noise_exponents[0]))
    chance = Stage("noise_chance", "smallest", value, [of(own), of(smoothed[-1])], "chance that noise comes this far")
    return [*single, own, *smoothed, chance]


def _lane(view: ValueView, name: str, scales: tuple[int, ...], expected: Stage, wide: Stage) -> list[Stage]:
    """Return the chance of noise as far out on the farthest of some scales."""
    judged, side, count = view.judged, view.model.side, float(view.count[0])
    z = judged.news.noise_z[:, 0]
    away = np.abs(z) if side == "both" else signed(z, side)
    which = max(scales, key=lambda scale: float(away[scale]))
    parts = [
        Part(f"over_{n}", float(away[scale]), "this bucket" if n == 1 else f"smoothed over {n} buckets")
        for scale, n in enumerate(SPANS)
        if scale in scales
    ]
    farthest = Stage(f"{name}_farthest", "largest", float(away[which]), parts, "distance in spreads of noise")
    tail = student_tail(away[[which]], np.array([TAIL_DOF_MAX]), view.count, side)
    square = float(view.spread_rows[spread.SQUARE, 0])
    chances = [
        made(
            "nearly_normal",
            tail[0],
            "Student's t of 100 degrees",
            "nearly_normal",
            farthest=farthest,
            values=count,
            direction=view.direction,
        ),
        flat_part(view, square, count, wide),
    ]
    if view.model.feature.is_count:
        chances += _count_parts(view, expected, wide, which)
    largest = Stage(f"{name}_tail", "largest", max(part.value for part in chances), chances, "chance of that by noise")
    best = worked(f"{name}_best", "the same, as the best of four scales", "best_of_scales", noise_tail=largest)
    return [farthest, largest, best]


def _count_parts(view: ValueView, expected: Stage, wide: Stage, which: int) -> list[Part]:
    n, z = SPANS[which], float(view.judged.news.noise_z[which, 0])
    mean, scale = expected.value * n, wide.value * math.sqrt(n)
    if not is_random_count(np.array([mean]), np.array([scale * scale]))[0]:
        return []
    actual = max(mean + z * scale, 0.0)
    tail = count_tail(np.array([actual]), np.array([mean]), np.array([scale * scale]), view.model.side)
    part = made(
        "count_distribution",
        tail[0],
        f"chance of such a count in {n} buckets" if n > 1 else "chance of such a count",
        "count_over_buckets",
        expected=expected,
        spread=wide,
        buckets=n,
        distance=z,
        direction=view.direction,
    )
    return [part]


def _surprise_stages(view: ValueView) -> list[Stage]:
    """Return what each broken record adds to the surprise, and how far a young series is believed."""
    slot, side = view.judged.selection, view.model.side
    now, past = view.judged.news.streams[:, :, 0], view.model.novelty.streams[:, :, slot][:, :, 0]
    rows = view.model.novelty.rows[:, slot][:, 0]
    is_above = bool(now[RESIDUAL, 0] > 0.0)
    parts = []
    for stream, name in STREAMS.items():
        floor = novelty.LEVEL_SHARE * float(rows[LEVEL]) + spread.SCALE_MIN
        floor = novelty.RESIDUAL_FLOOR if stream == RESIDUAL else floor
        offset = float(view.judged.rows[ORIGIN, 0]) if stream == VALUE else 0.0
        for sign in _directions(stream, side, is_above):
            for scale, n in enumerate(SPANS):
                numbers = (
                    now[stream, scale],
                    past[stream, HIGH if sign > 0 else LOW][scale],
                    past[stream, MEAN][scale],
                )
                value, record, mean = (float(each) + offset for each in numbers)
                if sign * (value - record) > 0.0:
                    parts.append(_tail_part(name, n, sign, now=value, record=record, mean=mean, floor=floor))
    raw = Stage(
        "records_broken", "sum", math.fsum(part.value for part in parts), parts, "minus the logs of the chances"
    )
    age = max(view.judged.time_seconds - float(rows[BEGAN]), 0.0)
    days = min(age / novelty.DAY, 3.0)
    young = made(
        "youth", -math.expm1(-age / novelty.YOUTH_SECONDS), "until it showed a few days", "youth", age_seconds=age
    )
    first = made(
        "first_day", -math.expm1(-(days**4)), "each hour of the first day is new", "first_day", age_seconds=age
    )
    surprise = Stage(
        "surprise", "product", float(view.found.surprise[0]), [of(raw), young, first], "how surprising the records are"
    )
    return [raw, surprise]


def _directions(stream: int, side: Side, is_above: bool) -> tuple[float, ...]:
    """Return in which directions records count; of a jump, which has a size only, the value says where it went."""
    if stream == JUMP:
        return (1.0,) if side == "both" or is_above == (side == "high") else ()
    return {"both": (1.0, -1.0), "high": (1.0,), "low": (-1.0,)}[side]


def _tail_part(name: str, n: int, sign: float, *, now: float, record: float, mean: float, floor: float) -> Part:
    distance = max(sign * (record - mean), 0.0) + floor
    value = math.log1p(novelty.TAIL * sign * (now - record) / distance)
    what = {"value": "the value", "residual": "the residual, in spreads,", "jump": "the change"}[name]
    where = "" if n == 1 else f" smoothed over {n} buckets"
    than = "above its highest" if sign > 0 else "below its lowest"
    return made(
        f"{name}_{'high' if sign > 0 else 'low'}_{n}",
        value,
        f"{what}{where} is {than}",
        "record_tail",
        now=now,
        record=record,
        mean=mean,
        floor=floor,
        direction=sign,
    )
