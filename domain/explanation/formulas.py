"""The formulas of an explanation's parts, each on single numbers: written apart from the vectorised code of the model.

They take the constants from it and nothing else, so that a test which compares what both make of the same state tests
the arithmetic of either. Where each formula comes from is said beside the vectorised one.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Final

from domain.explanation import family_formulas as family
from domain.model import families, hindsight, novelty, probability, rarity, spread
from domain.model import normalizer as scores

Inputs = Mapping[str, float]
Formula = Callable[[Inputs], float]

# ------------------------------------------------------------------------------------------------------------- spread


def _of_squares(given: Inputs) -> float:
    return given["share"] * math.sqrt(given["mean_square"] * (1.0 + 2.0 / max(given["values"], 1.0)))


def _part_of_level(given: Inputs) -> float:
    return abs(given["level"]) * spread.VARIATION_MIN


def _part_of_range(given: Inputs) -> float:
    return (given["highest"] - given["lowest"]) * spread.RANGE_SHARE


def _in_spreads(given: Inputs) -> float:
    return max(-spread.Z_MAX, min(given["residual"] / given["spread"], spread.Z_MAX))


def _lean(given: Inputs) -> float:
    same_sign = given["signed_square"] * given["distance"] > 0.0
    share = abs(given["signed_square"]) / max(given["mean_square"], spread.SCALE_MIN**2) if same_sign else 0.0
    return math.sqrt(1.0 + min(share, 1.0))


# -------------------------------------------------------------------------------------------------------------- tails


def _dof(given: Inputs) -> float:
    short = math.sqrt(2.0 / math.pi) - given["mean_absolute"] / math.sqrt(max(given["mean_square"], 1e-300))
    short -= 0.2 / math.sqrt(max(given["values"], 1.0))
    short *= min(given["mean_square"] / given["spread"] ** 2, 1.0)
    dof = 2.0 + 0.19 / max(short, 1e-3)
    return min(max(dof, probability.TAIL_DOF_MIN), probability.TAIL_DOF_MAX)


def _nearly_normal(given: Inputs) -> float:
    dof = probability.TAIL_DOF_MAX
    t = given["farthest"] * math.sqrt(dof / (dof - 2.0))
    return family.t_tail(t, min(dof, given["values"]), given["direction"])


def _flat_line(given: Inputs) -> float:
    floor_share = 1.0 - min(given["mean_square"] / given["spread"] ** 2, 1.0)
    return float((given["values"] + 2.0) ** (-3.0 / max(floor_share, 0.01)))


def _count_over_buckets(given: Inputs) -> float:
    mean, scale = given["expected"] * given["buckets"], given["spread"] * math.sqrt(given["buckets"])
    actual = max(mean + given["distance"] * scale, 0.0)
    return family.count_tail(actual, mean, scale**2, given["direction"])


# ------------------------------------------------------------------------------------------------------------ novelty


def _record_tail(given: Inputs) -> float:
    sign = given["direction"]
    excess = max(sign * (given["now"] - given["record"]), 0.0)
    distance = max(sign * (given["record"] - given["mean"]), 0.0) + given["floor"]
    return math.log1p(novelty.TAIL * excess / distance)


def _youth(given: Inputs) -> float:
    return -math.expm1(-given["age_seconds"] / novelty.YOUTH_SECONDS)


def _first_day(given: Inputs) -> float:
    return -math.expm1(-(min(given["age_seconds"] / novelty.DAY, 3.0) ** 4))


def _best_of_scales(given: Inputs) -> float:
    return min(max(given["noise_tail"] * novelty.N_SCALES, probability.PROBABILITY_MIN), 1.0)


def _proven(given: Inputs) -> float:
    """Of two chances the geometric mean, by how far the series' own tails are proven."""
    noise = -math.log(given["noise"])
    first, last = novelty.PROVEN_SECONDS
    share = max((given["age_seconds"] - first) / (last - first), 0.0)
    share = min(share, given["values"] / novelty.PROVEN_VALUES, 1.0)
    near, far = families.PROVEN_TO
    heavy = given["heavy"] * min(max((far - abs(given["z"])) / (far - near), 0.0), 1.0)
    share = max(share, given["skewed"], heavy)
    return math.exp(-noise - share * (min(-math.log(given["own"]), noise) - noise))


def _record_chance(given: Inputs) -> float:
    return min(novelty.N_INDEPENDENT / (given["values"] + 1.0), 1.0) * math.exp(-0.5 * given["surprise"])


def _admitted(given: Inputs) -> float:
    share = -math.log10(given["noise_chance"]) - novelty.ADMITTED_FROM
    return min(max(share / (novelty.ADMITTED_ALL - novelty.ADMITTED_FROM), 0.0), 1.0)


def _is_news(given: Inputs) -> float:
    return 1.0 if given["surprise"] * given["admitted"] >= novelty.RECENT_FACTOR * given["strongest_of_late"] else 0.0


def _novelty_probability(given: Inputs) -> float:
    if given["novelty"] <= 0.0:
        return 1.0
    return max(given["noise_chance"], given["record_chance"], probability.PROBABILITY_MIN)


def _multi_bucket_impact(given: Inputs) -> float:
    exponents = []
    for name in ("z_1", "z_7", "z_31", "z_127"):
        z = max(family.towards(given[name], given["direction"]), 0.0)
        exponents.append(0.5 * z * z + math.log1p(math.sqrt(0.5 * math.pi) * z))
    single, several = exponents[0], max(exponents[1:])
    ratio = max(single, several) / max(min(single, several), 1e-3)
    found = ratio * (several - single) * novelty.IMPACT_MAX / math.log(1000.0)
    return min(max(found, -novelty.IMPACT_MAX), novelty.IMPACT_MAX)


# ------------------------------------------------------------------------------------- rare values, times, places


def _new_values(given: Inputs) -> float:
    return (given["new_values"] + given["of_first_days"] + rarity.PRIOR) / (given["occurrences"] + 1.0)


def _as_rare(given: Inputs) -> float:
    return (given["of_values_as_rare"] + rarity.PRIOR) / (given["of_all"] + 1.0)


def _first_occurrence(given: Inputs) -> float:
    return 1.0 + math.exp(-given["before"]) * (1.0 - math.exp(-(given["weeks"] ** 2)))


def _to_power(given: Inputs) -> float:
    return float(min(given["chance"], 1.0) ** given["power"])


def _never_seen(given: Inputs) -> float:
    return float((given["seen"] + 2.0) ** -3.0)


def _first_periods(given: Inputs) -> float:
    return math.exp(-((given["periods"] ** 2) ** 2))


def _smoothed_share(given: Inputs) -> float:
    return (1.0 - given["never_seen"]) * given["of_seen"] + given["never_seen"] * given["of_period"]


def _unusual_time(given: Inputs) -> float:
    rare, new = given["times_as_unusual"], given["first_periods"]
    return min(max(new + (1.0 - new) * rare, probability.PROBABILITY_MIN), 1.0)


def _beyond(given: Inputs) -> float:
    dof = given["dof"]
    tail = math.exp(-0.5 * dof * math.log1p(given["distance_km"] ** 2 / (dof * given["variance_km2"])))
    return given["visits"] / given["of_all"] * tail


# -------------------------------------------------------------------------------------------------------- populations


def _exp(given: Inputs) -> float:
    return math.exp(given["log"])


def _log_floor(given: Inputs) -> float:
    return given["floor"] * math.exp(-given["expected"])


def _logistic(given: Inputs) -> float:
    return 1.0 / (1.0 + math.exp(-given["evidence"]))


def _mixed_forms(given: Inputs) -> float:
    logs = given["share_of_logs"]
    mixed = logs * given["log_probability"] + (1.0 - logs) * given["plain_probability"]
    return min(max(mixed, probability.PROBABILITY_MIN), 1.0)


def _of_least(given: Inputs) -> float:
    least = min(given["probability"], 1.0 - 1e-16)
    joint = -math.expm1(given["n_attributes"] * math.log1p(-least))
    return min(max(joint, probability.PROBABILITY_MIN), 1.0)


def _so_often(given: Inputs) -> float:
    from scipy.special import betainc  # late: see above

    often = given["so_often"]
    tail = float(betainc(often, given["of_all"] - often + 1.0, given["at_most"])) * given["n_levels"]
    return min(max(tail, probability.PROBABILITY_MIN), 1.0)


# -------------------------------------------------------------------------------------------------------------- score


def _exponent(given: Inputs) -> float:
    return -math.log(given["of"])


def _threshold(given: Inputs) -> float:
    unusual = (scores.PRIOR_UNUSUAL + given["n_unusual"]) / (scores.PRIOR_JUDGED + given["n_judged"])
    return -math.log(max(unusual, scores.UNUSUAL))


def _mean_excess(given: Inputs) -> float:
    return max((scores.PRIOR_UNUSUAL + given["excess"]) / (scores.PRIOR_UNUSUAL + given["n_unusual"]), 1.0)


def _calibrated(given: Inputs) -> float:
    above = max(given["exponent"] - scores.UNUSUAL_EXPONENT, 0.0)
    return min(given["exponent"], given["threshold"]) + above / given["mean_excess"]


def _severity_of(exponent: float) -> float:
    digits = exponent / math.log(10.0)
    after = bisect_right(scores.SEVERITY, digits, key=lambda point: point[0])
    if after == len(scores.SEVERITY):
        return scores.SEVERITY[-1][1]
    if after == 0:
        return scores.SEVERITY[0][1]
    (x0, y0), (x1, y1) = scores.SEVERITY[after - 1 : after + 1]
    return y0 + (y1 - y0) * (digits - x0) / (x1 - x0)


def _severity(given: Inputs) -> float:
    return _severity_of(given["calibrated_exponent"])


def _kept(given: Inputs) -> float:
    if given["own"] >= hindsight.EQUAL_SHARE * given["greatest"]:
        return 1.0
    share = given["own"] / (hindsight.EQUAL_SHARE * given["greatest"])
    return hindsight.LEAST_KEPT + (1.0 - hindsight.LEAST_KEPT) * share**2


def _novelty_score(given: Inputs) -> float:
    return 100.0 * given["novelty"] / (given["novelty"] + novelty.SCORE_HALF)


FORMULAS: Final[dict[str, Formula]] = {
    "stage": lambda given: given["value"],
    "of_squares": _of_squares,
    "part_of_level": _part_of_level,
    "part_of_range": _part_of_range,
    "in_spreads": _in_spreads,
    "lean": _lean,
    "dof": _dof,
    "student_t": family.student_t,
    "heavy_t": family.heavy_t,
    "log_normal": family.log_normal,
    "gamma": family.gamma,
    "negative_binomial": family.negative_binomial,
    "two_modes": family.two_modes,
    "rate": family.rate,
    "mean_beyond": family.mean_beyond,
    "corrected": family.corrected,
    "standing_still": family.standing_still,
    "nearly_normal": _nearly_normal,
    "flat_line": _flat_line,
    "count_over_buckets": _count_over_buckets,
    "record_tail": _record_tail,
    "youth": _youth,
    "first_day": _first_day,
    "best_of_scales": _best_of_scales,
    "proven": _proven,
    "record_chance": _record_chance,
    "admitted": _admitted,
    "is_news": _is_news,
    "novelty_probability": _novelty_probability,
    "multi_bucket_impact": _multi_bucket_impact,
    "new_values": _new_values,
    "as_rare": _as_rare,
    "never_seen": _never_seen,
    "first_periods": _first_periods,
    "first_occurrence": _first_occurrence,
    "to_power": _to_power,
    "smoothed_share": _smoothed_share,
    "unusual_time": _unusual_time,
    "beyond": _beyond,
    "exp": _exp,
    "log_floor": _log_floor,
    "logistic": _logistic,
    "mixed_forms": _mixed_forms,
    "of_least": _of_least,
    "so_often": _so_often,
    "exponent": _exponent,
    "threshold": _threshold,
    "mean_excess": _mean_excess,
    "calibrated": _calibrated,
    "severity": _severity,
    "kept": _kept,
    "novelty_score": _novelty_score,
}
"""By the name that parts have in ``formula``."""
