"""What is expected follows the series: its periods, its trend, its lasting shifts; and not its incidents."""

from __future__ import annotations

import numpy as np
import pytest

from domain.model import BucketResult, Model, expectation
from domain.model.cycles import SECONDS
from domain.model.feature_model import EXPECTATION, ORIGIN, FeatureModel
from domain.model.functions import Feature
from tests.checks.jobs import START, detector, job, make_batch, run

SPAN = 900
DAY = 96
N_SERIES = 5
SHIFT = 14 * DAY

Array = np.ndarray  # type: ignore[type-arg]


def judged(values: Array, span: str = "15m", seconds: int = SPAN) -> tuple[Model, Array]:
    """Run one series per column; return their scores."""
    n_buckets, n_series = values.shape
    times = START + np.repeat(np.arange(n_buckets) * seconds, n_series)
    hosts = np.tile(np.arange(n_series), n_buckets)
    kept = ~np.isnan(values.ravel())
    batch = make_batch(times[kept], {"value": values.ravel()[kept]}, {"host": [f"h{k}" for k in hosts[kept]]})
    model, results = run(job(detector("mean", by_field_name="host"), span=span), batch)
    return model, scores_of(results, values.shape, seconds)


def scores_of(results: list[BucketResult], shape: tuple[int, ...], seconds: int) -> Array:
    scores = np.zeros(shape)
    for result in results:
        for record in result.records:
            assert record.by_field_value is not None
            scores[(result.timestamp_ms // 1000 - START) // seconds, int(record.by_field_value[1:])] = (
                record.record_score
            )
    return scores


def expected(values: Array, seconds: int = SPAN) -> tuple[FeatureModel, Array]:
    """Return what a model expected of each value, one series per column."""
    model = FeatureModel(Feature("mean"), "both", seconds)
    model.reserve(values.shape[1])
    found = np.empty(values.shape)
    for k, x in enumerate(values):
        each = model.judge(slice(0, values.shape[1]), x, START + (k + 0.5) * seconds)
        found[k] = each.mixed + each.rows[ORIGIN]
        model.learn(each)
    return model, found


def base(seed: int, kind: str, n_days: int = 21) -> Array:
    hours = np.arange(DAY * n_days) / 4
    day = 50 * np.sin(2 * np.pi * hours / 24) * (kind == "daily")
    return 100 + day[:, None] + np.random.default_rng(seed).normal(0, 5, (hours.size, N_SERIES))


@pytest.mark.parametrize("kind", ["flat", "daily"])
def test_a_lasting_shift_scores_at_first_and_is_quiet_within_two_days(kind: str) -> None:
    values = base(1, kind)
    values[SHIFT:] += 25
    _, scores = judged(values)
    first = scores[SHIFT : SHIFT + 4].max(axis=0)
    assert (first >= 40).all()
    assert np.median(first) >= 75
    assert scores[SHIFT + 2 * DAY :].max() < 25


def test_a_shift_keeps_the_daily_profile() -> None:
    values = base(2, "daily", 18)
    values[SHIFT:] += 100
    _, found = expected(values)
    hours = np.arange(len(values)) / 4
    truth = (200 + 50 * np.sin(2 * np.pi * hours / 24))[:, None]
    late = slice(SHIFT + 8, SHIFT + 2 * DAY)
    assert np.sqrt(np.mean((found - truth)[late] ** 2)) < 5


@pytest.mark.parametrize("kind", ["flat", "daily"])
def test_an_incident_of_six_hours_is_no_level(kind: str) -> None:
    plain = base(3, kind, 17)
    values = plain.copy()
    values[SHIFT + 30 : SHIFT + 54] += 50
    (_, without), (_, found) = expected(plain), expected(values)
    _, scores = judged(values)
    after = slice(SHIFT + 56, SHIFT + 56 + DAY // 2)
    assert (scores[SHIFT + 30 : SHIFT + 34].max(axis=0) >= 50).all()
    assert scores[SHIFT + 54 :].max() < 25
    assert np.abs((found - without)[after]).max() < 5


def test_a_spike_is_no_level() -> None:
    plain = base(4, "flat", 16)
    values = plain.copy()
    values[SHIFT] += 100
    (_, without), (_, found) = expected(plain), expected(values)
    assert np.abs((found - without)[SHIFT + 1 :]).max() < 0.02 * 100


def test_steady_growth_is_followed_without_lasting_bias() -> None:
    n = 21 * DAY
    truth = 100 + np.linspace(0, 210, n)[:, None]  # two standard deviations a day
    values = truth + np.random.default_rng(5).normal(0, 5, (n, N_SERIES))
    _, found = expected(values)
    bias = (found - truth)[10 * DAY :].mean(axis=0)
    assert np.abs(bias).max() < 0.2 * 5


@pytest.mark.parametrize(("hours", "repeats"), [(5.0, 7), (8.0, 5), (36.0, 7)])
def test_what_is_expected_follows_a_period_that_was_found(hours: float, repeats: int) -> None:
    n = int(repeats * hours * 4)
    truth = (100 + 20 * np.sin(2 * np.pi * np.arange(n) / 4 / hours))[:, None]
    values = truth + np.random.default_rng(6).normal(0, 2, (n, N_SERIES))
    model, found = expected(values)
    seconds = model.expectations.cycles.rows[SECONDS, :N_SERIES]
    assert np.abs(seconds / (3600 * hours) - 1).max() < 0.03
    last = slice(int((repeats - 2) * hours * 4), n)
    assert np.sqrt(np.mean((found - truth)[last] ** 2)) < 3


def test_a_period_of_ten_minutes_is_found_in_data_by_the_minute() -> None:
    values = 100 + 20 * np.sin(2 * np.pi * np.arange(60) / 10)[:, None] + np.random.default_rng(7).normal(0, 2, (60, 8))
    model, _ = expected(values, seconds=60)
    assert model.expectations.cycles.rows[SECONDS, :8].tolist() == [600.0] * 8


def test_a_period_that_ends_is_dropped() -> None:
    rng = np.random.default_rng(8)
    wave = 20 * np.sin(2 * np.pi * np.arange(10 * DAY) / 20)
    values = 100 + np.concatenate([wave, np.zeros(30 * DAY)])[:, None] + rng.normal(0, 2, (40 * DAY, 4))
    model, _ = expected(values[: 10 * DAY])
    assert (model.expectations.cycles.rows[SECONDS, :4] > 0).all()
    model, _ = expected(values)
    assert model.expectations.cycles.rows[SECONDS, :4].tolist() == [0.0] * 4


def test_noise_and_random_walks_get_no_period_in_three_weeks() -> None:
    steps = np.random.default_rng(9).normal(0, 1, (21 * DAY, 200))
    values = np.concatenate([steps[:, :100], np.cumsum(steps[:, 100:], axis=1)], axis=1)
    values[:, 100:] = np.cumsum(steps[:, 100:], axis=0)
    model, _ = expected(values)
    has = model.expectations.cycles.rows[SECONDS, :200] > 0
    assert np.count_nonzero(has[:100]) == 0
    assert np.count_nonzero(has[100:]) <= 2


def test_the_terms_of_an_expected_value_add_up_to_it() -> None:
    values = base(10, "daily", 8)
    values[:, :3] += 20 * np.sin(2 * np.pi * np.arange(len(values)) / 20)[:, None]
    values[-40:, 2:4] += 80
    model = FeatureModel(Feature("mean", is_non_negative=True), "both", SPAN)
    model.reserve(N_SERIES)
    for k, x in enumerate(values):
        each = model.judge(slice(0, N_SERIES), x, START + (k + 0.5) * SPAN)
        if k % 50 == 49:
            for place in range(N_SERIES):
                part = expectation.terms(each.rows[EXPECTATION], each.expectation, place)
                total = part.level + part.trend + sum(part.seasons.values()) + part.shift + part.bound
                assert total == pytest.approx(each.mixed[place], abs=1e-9)
        model.learn(each)
    assert part.seasons["day"] != 0.0


def test_silence_of_days_and_hostile_gaps_leave_nothing_absurd() -> None:
    rng = np.random.default_rng(11)
    values = np.full((60 * DAY, 4), np.nan)
    values[: 5 * DAY] = rng.normal(100, 5, (5 * DAY, 4))
    values[12 * DAY : 14 * DAY] = rng.normal(100, 5, (2 * DAY, 4))
    values[59 * DAY :] = rng.normal(100, 5, (DAY, 4))  # after six weeks
    values[rng.random(values.shape) < 0.3] = np.nan
    model, scores = judged(values)
    assert np.count_nonzero(scores >= 50) <= 1
    for name, array in model.state()[0].items():
        assert np.isfinite(array).all(), name
