"""The evidence of rare values, times and places: what makes each improbable, part by part."""

import numpy as np

from domain.explanation.parts import Part, Stage, made, of, one
from domain.model.arrays import Ints
from domain.model.places_model import (
    DOF_MAX,
    DOF_MIN,
    LATITUDE,
    LONGITUDE,
    NOVEL,
    NOVEL_FREE,
    WEIGHT,
    PlacesJudgement,
)
from domain.model.probability import PROBABILITY_MIN
from domain.model.rarity import AGE, EVENTS, PRIOR, SURE_SECONDS, UNIT, WEEKS_MAX, YOUNG, Rarity, weights_up_to
from domain.model.rarity import NOVEL as NEW_VALUES
from domain.model.times_model import FIRST, HALF_WIDTHS, SCREEN, TimesJudgement, TimesModel


def rare_stages(rarity: Rarity, value: int, scopes: Ints, probability: float, *, is_counted: bool) -> list[Stage]:
    """Return the stages of a rare value.

    Parameters
    ----------
    value : int
        Its slot.
    scopes : ndarray of shape (n_values,)
        The scope of every slot there is.
    is_counted : bool
        Whether the member had the value before.
    """
    weights = rarity.weights[: scopes.size]
    scope = scopes[value]
    total = float(weights[scopes == scope].sum()) / UNIT
    up_to = float(weights_up_to(scopes, weights)[value]) / UNIT
    novel, events, young, age = rarity.scopes[[NEW_VALUES, EVENTS, YOUNG, AGE], scope].tolist()
    own = float(weights[value]) / UNIT
    seen = Part("seen", own, "how often the value itself occurred, older occurrences for less")
    if own == 0.0:
        chance = one(
            "chance",
            (novel + young + PRIOR) / (events + 1.0),
            "how often values were new so far",
            "new_values",
            new_values=novel,
            of_first_days=young,
            occurrences=events,
        )
    else:
        chance = one(
            "chance",
            (up_to + PRIOR) / (total + 1.0),
            "share of all occurrences that is of values as rare",
            "as_rare",
            of_values_as_rare=up_to,
            of_all=total,
        )
    stages = [
        Stage("occurrences", "only", own, [seen], "of the value, in buckets or by members"),
        Stage("sightings", "only", total, [Part("of_all", total, "of all values together")], "of all values together"),
        chance,
    ]
    meaning = "chance of a value as rare"
    if is_counted:
        return [*stages, one("probability", probability, meaning, "to_power", chance=chance, power=1.0)]
    weeks = min(age * rarity.span / SURE_SECONDS, WEEKS_MAX)
    n_before = novel if own == 0.0 else own
    power = one(
        "power",
        1.0 + float(np.exp(-n_before) * -np.expm1(-weeks * weeks)),
        "what a first occurrence counts for after weeks without one",
        "first_occurrence",
        before=n_before,
        weeks=weeks,
    )
    return [*stages, power, one("probability", probability, meaning, "to_power", chance=chance, power=power)]


def time_stages(model: TimesModel, judged: TimesJudgement, place: int, probability: float) -> list[Stage]:
    """Return the stages of an unusual time."""
    at = np.array([place])
    seen, unseen = float(judged.total[place]), float(judged.novelty[place])
    never = one("never_seen", unseen, "chance of a time never seen", "never_seen", seen=seen)
    weights = judged.weights[:, place]
    own = float(sum(weight * share for weight, share in zip(weights, judged.own[:, place], strict=True)))
    shares = model.shares(judged, at)[:, 0]
    as_rare = shares <= own * (1.0 + 1e-9)
    parts = []
    for j, (half, near) in enumerate(zip(HALF_WIDTHS, model.near(judged, at), strict=True)):
        of_seen = float(np.maximum(near[:, 0], 0.0)[as_rare].sum()) / ((2 * half + 1) * max(seen, 1e-300))
        minutes = (2 * half + 1) * model.period / model.n_cells / 60.0
        of_period = float(np.count_nonzero(as_rare)) / model.n_cells
        parts.append(
            made(
                f"within_{minutes:.0f}_minutes",
                (1.0 - unseen) * of_seen + unseen * of_period,
                f"times smoothed over {minutes:.0f} minutes",
                "smoothed_share",
                weight=float(weights[j]),
                of_seen=of_seen,
                of_period=of_period,
                never_seen=never,
            )
        )
    unusual = Stage(
        "times_as_unusual", "mixture", float((shares * as_rare).sum()), parts, "share of all times no more usual"
    )
    age = max(judged.time_seconds - float(judged.rows[FIRST, place]), 0.0) / model.period
    first = one(
        "first_periods",
        float(np.exp(-((age * age) ** 2))),
        "until a period has passed, most times are new",
        "first_periods",
        periods=age,
    )
    result = one(
        "probability",
        probability,
        "chance of a time this unusual",
        "unusual_time",
        times_as_unusual=unusual,
        first_periods=first,
    )
    assert own < SCREEN / model.n_cells, "a time of a larger share is no candidate"
    return [never, unusual, first, result]


def place_stages(judged: PlacesJudgement, place: int, probability: float) -> list[Stage]:
    """Return the stages of an unusual place."""
    centres = judged.centres[:, :, place]
    visits = centres[:, WEIGHT].tolist()
    total = 0.0
    for each in visits:
        total += each
    unseen = one("never_seen", (total + 2.0) ** -3.0, "chance of a place never seen", "never_seen", seen=total)
    new = max(float(judged.rows[NOVEL, place]) - NOVEL_FREE, 0.0)
    parts = [of(unseen), Part("new_places", new, "how often places are new")]
    for index, weight in enumerate(visits):
        if weight <= 0.0:
            continue
        dof = min(max(weight, DOF_MIN), DOF_MAX)
        distance2, variance = float(judged.distance2[index, place]), float(judged.variance[index, place])
        tail = float(np.exp(-0.5 * dof * np.log1p(distance2 / (dof * variance))))
        where = f"{centres[index, LATITUDE]:.4g},{centres[index, LONGITUDE]:.4g}"
        parts.append(
            made(
                f"around {where}",
                weight / total * tail,
                f"{distance2**0.5:.4g} km from where it usually is",
                "beyond",
                visits=weight,
                of_all=total,
                dof=dof,
                distance_km=distance2**0.5,
                variance_km2=variance,
            )
        )
    chance = Stage("chance", "sum", sum(part.value for part in parts), parts, "share of places as far from any centre")
    least = Stage(
        "chance_at_least",
        "largest",
        max(chance.value, PROBABILITY_MIN),
        [of(chance), Part("smallest", PROBABILITY_MIN, "smallest probability of all")],
        "bounded below",
    )
    result = Stage("probability", "smallest", probability, [of(least), Part("certain", 1.0)], "chance of such a place")
    return [unseen, chance, least, result]
