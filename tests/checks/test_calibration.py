"""Probabilities are what they say: of all values judged a share near p is below p, whatever the noise."""

from __future__ import annotations

import numpy as np
import pytest

from domain.model import BucketResult
from domain.model.arrays import Floats
from tests.checks.jobs import START, detector, job, make_batch, run

SPAN = 900
N_SERIES = 40
FACTOR = 2.0
SETTLED = 3 * 96
"""Buckets after which probabilities are expected to hold: three days, and so three periods of a daily season."""


def _random(seed: int, n_buckets: int) -> tuple[np.random.Generator, tuple[int, int]]:
    return np.random.default_rng(seed), (n_buckets, N_SERIES)


def _autocorrelated(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    values = rng.normal(0, 1, shape)
    for k in range(1, len(values)):
        values[k] += 0.8 * values[k - 1]
    return values


def _switching(rng: np.random.Generator, shape: tuple[int, int], duty: float, dwell: float) -> Floats:
    """Two levels with noise; ``dwell`` buckets on the rarer one at a time, on average."""
    stay = 1.0 - 1.0 / dwell
    on = rng.random(shape) < duty
    for k in range(1, len(on)):
        is_kept = rng.random(shape[1]) < stay
        on[k] = np.where(is_kept, on[k - 1], on[k])
    return np.where(on, 100.0, 10.0) + np.where(on, 3.0, 1.0) * rng.normal(size=shape)


def values_of(kind: str, seed: int, n_buckets: int) -> Floats:
    rng, shape = _random(seed, n_buckets)
    wave = np.sin(2 * np.pi * np.arange(n_buckets) / 96)[:, None]
    name, _, number = kind.partition(":")
    of: float = float(number or 0)
    match name:
        case "normal":
            return rng.normal(100, 5, shape)
        case "autocorrelated":
            return 100 + 3 * _autocorrelated(rng, shape)
        case "poisson":
            return rng.poisson(of, shape).astype(float)
        case "log-normal":
            return 20 * rng.lognormal(0, of, shape)
        case "gamma":
            return 10 * rng.gamma(of, 1, shape)
        case "shifted gamma":
            return 100 + 3 * rng.gamma(of, 1, shape)
        case "shifted log-normal":
            return 100 + 3 * rng.lognormal(0, of, shape)
        case "student":
            return 100 + 3 * rng.standard_t(of, shape)
        case "on-off":
            return _switching(rng, shape, of, 1.0)
        case "sticky":
            return _switching(rng, shape, of, 20.0)
        case "seasonal":
            return 100 + 50 * wave + rng.normal(0, 3, shape)
        case _:
            return rng.poisson(np.broadcast_to(20 + 15 * wave, shape)).astype(float)


def shares(results: list[BucketResult], first: int, n_judged: int) -> list[float]:
    settled = START + first * SPAN
    found = [record.probability for item in results if item.timestamp_ms >= settled * 1000 for record in item.records]
    probabilities = np.array(found)
    return [float(np.count_nonzero(probabilities < p)) / n_judged / p for p in (1e-2, 1e-3)]


def judged(values: Floats, function: str) -> list[BucketResult]:
    """Run a job over values, a column per series, or over as many records."""
    n_buckets = len(values)
    counts = values.astype(np.int64) if function == "count" else np.ones(values.shape, np.int64)
    seconds = START + np.repeat(np.repeat(np.arange(n_buckets) * SPAN, N_SERIES), counts.ravel())
    hosts = np.repeat(np.tile(np.arange(N_SERIES), n_buckets), counts.ravel())
    numbers = {} if function == "count" else {"value": values.ravel()}
    batch = make_batch(seconds, numbers, {"host": [f"host-{k}" for k in hosts.tolist()]})
    return run(job(detector(function, by_field_name="host")), batch)[1]


def check(values: Floats, function: str, first: int) -> None:
    """Compare the shares of small probabilities with what they should be."""
    n_buckets, results = len(values), judged(values, function)
    for share in shares(results, first, (n_buckets - 1 - first) * N_SERIES):
        assert 1 / FACTOR < share < FACTOR


FAST = ["log-normal:1", "gamma:2", "shifted gamma:2", "on-off:0.5", "poisson:3", "seasonal"]
OTHERS = [
    *("normal", "autocorrelated", "log-normal:0.5", "gamma:1", "gamma:5", "shifted log-normal:0.8"),
    *(
        "student:3",
        "on-off:0.1",
        "on-off:0.9",
        "sticky:0.3",
        "sticky:0.5",
        "poisson:1",
        "poisson:100",
        "seasonal counts",
    ),
]
WEEK = 672
"""Both levels of values that stay for hours, and tails as heavy as those of t, show often enough only in a week."""


@pytest.mark.parametrize("kind", FAST)
def test_probabilities_of_means_are_calibrated_whatever_the_noise(kind: str) -> None:
    check(values_of(kind, 16, 1100), "mean", SETTLED)


def test_probabilities_of_random_counts_are_calibrated() -> None:
    check(values_of("poisson:3", 17, 900), "count", SETTLED)


@pytest.mark.slow
@pytest.mark.parametrize("mean", [1, 2, 5, 20])
def test_probabilities_of_random_counts_are_calibrated_for_any_mean(mean: int) -> None:
    check(values_of(f"poisson:{mean}", 17, 2000), "count", SETTLED)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 103))
@pytest.mark.parametrize("kind", FAST + OTHERS)
def test_probabilities_are_calibrated_for_any_seed(kind: str, seed: int) -> None:
    check(values_of(kind, seed, 2500), "mean", WEEK if kind.startswith(("sticky", "student")) else SETTLED)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "per_ten_thousand"),
    [("normal", 1), ("gamma:1", 6), ("log-normal:0.5", 8), ("log-normal:1", 14), ("student:3", 25)],
)
def test_tails_hardly_alarm_in_the_first_two_weeks_of_a_series(kind: str, per_ten_thousand: float) -> None:
    results = judged(values_of(kind, 7, 2 * WEEK), "mean")
    scores = np.array([record.record_score for item in results for record in item.records])
    assert np.count_nonzero(scores > 50) <= per_ten_thousand * 1e-4 * 2 * WEEK * N_SERIES
