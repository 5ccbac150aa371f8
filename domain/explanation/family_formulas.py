"""The formulas of families of distributions on single numbers: see ``formulas.py`` and ``domain/model/families.py``."""

import math
from collections.abc import Callable, Mapping

from domain.model import families, modes, probability, recalibration, skewed, stillness
from domain.model.setting import HEAVY_ABSOLUTE

Inputs = Mapping[str, float]
Formula = Callable[[Inputs], float]


def normal_tail(z: float) -> float:
    """Return the chance of a normal value above ``z``."""
    return 0.5 * math.erfc(z / math.sqrt(2.0))


def t_tail(t: float, dof: float, direction: float) -> float:
    """Return the tail of Student's t; of both sides where either counts.

    By the incomplete beta function (Abramowitz and Stegun, 1964, 26.7.1), which is another way than the model's.
    """
    from scipy.special import betainc  # late: takes a quarter of a second

    tail = 0.5 * float(betainc(0.5 * dof, 0.5, dof / (dof + t * t)))
    if t < 0.0:
        tail = 1.0 - tail
    return 2.0 * tail if direction == 0.0 else tail


def towards(z: float, direction: float) -> float:
    """Return a distance such that larger is more unusual; direction 1: high, -1: low, 0: either."""
    return abs(z) if direction == 0.0 else z * direction


def student_t(given: Inputs) -> float:
    """Return the tail of Student's t as heavy as the residuals are, scaled to their standard deviation."""
    away = towards(given["distance"], given["direction"]) / given.get("lean", 1.0)
    t = away * math.sqrt(given["dof"] / (given["dof"] - 2.0))
    return t_tail(t, min(given["dof"], given["values"]), given["direction"])


def heavy_t(given: Inputs) -> float:
    """Return the tail of a heavy Student's t, scaled to the mean absolute residual."""
    below, above = given["below"], given["above"]
    factor = HEAVY_ABSOLUTE * (below**2 + above**2) / ((below + above) * max(given["mean_absolute"], 1e-300))
    t = given["distance"] * given["spread"] * factor / (above if given["distance"] > 0.0 else below)
    return t_tail(towards(t, given["direction"]), families.HEAVY_DOF, given["direction"])


def log_normal(given: Inputs) -> float:
    """Return the tail of the log-normal distribution, or all that is less dense."""
    deviation = math.sqrt(max(given["log_variance"], skewed.VARIANCE_MIN))
    at = (math.log(max(given["ratio"], skewed.RATIO_MIN)) - given["log_mean"]) / deviation
    if given["direction"] != 0.0:
        return normal_tail(math.copysign(1.0, given["direction"] * math.copysign(1.0, given["level"])) * at)
    twin = -2.0 * deviation - at
    return normal_tail(max(at, twin)) + normal_tail(-min(at, twin))


def gamma(given: Inputs) -> float:
    """Return the tail of the gamma distribution, or about all that is less dense."""
    from scipy.special import gammainc, gammaincc  # late: see above

    mean = max(given["mean_ratio"], skewed.VARIANCE_MIN)
    short = max(math.log(mean) - given["log_mean"], skewed.SHORT_MIN)
    shape = (1.0 + math.sqrt(1.0 + short * 4.0 / 3.0)) / (4.0 * short)
    x = given["ratio"] * shape / mean
    if given["direction"] != 0.0:
        upward = given["direction"] * math.copysign(1.0, given["level"]) > 0.0
        return float(gammaincc(shape, x) if upward else gammainc(shape, x))
    mode, root = math.cbrt(max(shape - 1.0, 0.0)), math.cbrt(x)
    twin = max(2.0 * mode - root, 0.0)
    low, high = min(root, twin), max(root, twin)
    return float(gammaincc(shape, high**3)) + float(gammainc(shape, low**3))


def count_tail(actual: float, expected: float, variance: float, direction: float) -> float:
    """Return the chance of a count as improbable, between those with and without the count itself."""
    mean = max(expected, probability.MEAN_MIN)
    failures = min(mean * mean / max(variance - mean, mean * mean * 1e-6), probability.FAILURES_MAX)
    own, beyond = _at_most(actual, mean, failures), _at_most(actual - 1.0, mean, failures)
    if actual <= 0.0:
        beyond = max(beyond, own * 0.25)
    if direction < 0.0:
        return math.sqrt(own * beyond)
    is_above = direction > 0.0 or actual > max(mean * (failures - 1.0) / failures - 0.5, 0.0)
    if is_above:
        own, beyond = _at_least(actual, mean, failures), _at_least(actual + 1.0, mean, failures)
    if direction > 0.0:
        return math.sqrt(own * beyond)
    other = _other_end(actual, mean, failures, is_above=is_above)
    return min(math.sqrt((own + other) * (beyond + other)), 1.0)


def _other_end(actual: float, mean: float, failures: float, *, is_above: bool) -> float:
    """Return the chance of the counts on the other side that are no more probable."""
    mode = max(mean * (failures - 1.0) / failures - 0.5, 0.0)
    root = 2.0 * math.sqrt(mode + 0.375) - math.sqrt(actual + 0.375)
    twin = -1.0
    if root > 0.0:
        near = root * root - 0.375
        twin = float(math.floor(near + 0.5) if is_above else math.ceil(near - 0.5))
    if _log_count(max(twin, 0.0), mean, failures) > _log_count(actual, mean, failures):
        twin += -1.0 if is_above else 1.0
    return _at_most(twin, mean, failures) if is_above else _at_least(twin, mean, failures)


def _log_count(count: float, mean: float, failures: float) -> float:
    from scipy.special import gammaln  # late: see above

    found = float(gammaln(count + failures) - gammaln(failures) - gammaln(count + 1.0))
    return found + count * math.log(mean / (failures + mean)) - failures * math.log1p(mean / failures)


def _at_least(count: float, mean: float, failures: float) -> float:
    from scipy.special import betainc, gammainc  # late: see above

    at = max(count, 1e-12)
    if failures >= probability.FAILURES_MAX:
        return float(gammainc(at, mean))
    return float(betainc(at, failures, mean / (failures + mean)))


def _at_most(count: float, mean: float, failures: float) -> float:
    from scipy.special import betainc, gammaincc  # late: see above

    if count < 0.0:
        return 0.0
    if failures >= probability.FAILURES_MAX:
        return float(gammaincc(count + 1.0, mean))
    return float(betainc(failures, count + 1.0, failures / (failures + mean)))


def negative_binomial(given: Inputs) -> float:
    """Return the tail of the negative binomial distribution."""
    return count_tail(given["actual"], given["expected"], given["variance"], given["direction"])


def two_modes(given: Inputs) -> float:
    """Return the chance of a value as far from both modes of a metric that is on or off."""
    total = max(given["n_lower"] + given["n_upper"], 1e-3)
    floor = modes.WIDTH_MIN * (given["upper"] - given["lower"]) + 1e-9
    found, value, direction = [], given["at"], given["direction"]
    for name in ("lower", "upper"):
        n = given[f"n_{name}"]
        width = max(math.sqrt(given[f"variance_{name}"] * (1.0 + 2.0 / max(n, 1.0))), floor)
        found.append((n / total, (value - given[name]) / width, math.log(n / total / width)))
    least = float((total + 2.0) ** -3.0)
    if direction != 0.0:
        return max(math.fsum(share * normal_tail(direction * z) for share, z, _ in found), least)
    logs = [height - 0.5 * z * z for _, z, height in found]
    density = max(logs) + math.log1p(math.exp(min(logs) - max(logs)))
    # All whose density is lower: beyond the distance at which each mode's own has fallen to that of the value.
    beyond = [(share, math.sqrt(2.0 * max(height - density, 0.0))) for share, _, height in found]
    return max(math.fsum(2.0 * share * normal_tail(z) for share, z in beyond), least)


def rate(given: Inputs) -> float:
    """Return which part of the values was as unusual as one in twenty should be."""
    found = (recalibration.PRIOR_JUDGED * recalibration.THRESHOLD + given["beyond"]) / (
        recalibration.PRIOR_JUDGED + given["judged"]
    )
    return max(found, recalibration.THRESHOLD * recalibration.RATE_MIN)


def mean_beyond(given: Inputs) -> float:
    """Return how far values went beyond that, on this side."""
    found = (recalibration.PRIOR_EXCESS + given["sum"]) / (recalibration.PRIOR_EXCESS + given["number"])
    return min(max(found, recalibration.EXCESS_MEAN_MIN), recalibration.EXCESS_MEAN_MAX)


def corrected(given: Inputs) -> float:
    """Return the chance as the series' history corrects it."""
    exponent = -math.log(min(max(given["chance"], probability.PROBABILITY_MIN), 1.0))
    threshold, start = recalibration.THRESHOLD_EXPONENT, -math.log(given["rate"])
    excess = exponent - threshold
    if excess > 0.0:
        found = start + min(excess / given["mean_beyond"], excess + recalibration.STRETCH_MAX)
    else:
        found = exponent * start / threshold
    return math.exp(-found)


def standing_still(given: Inputs) -> float:
    """Return the chance of a run of still steps."""
    after_still = (stillness.STILL_PRIOR + given["still"]) / (stillness.STEPS_PRIOR + given["steps"])
    return math.exp(-min(given["run"] * (1.0 - stillness.RUN_FADE) - math.log(after_still), stillness.RUN_MAX))
