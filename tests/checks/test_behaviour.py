"""What every function owes its users: quiet on quiet data, sane on hostile data, loud on a real disturbance."""

from __future__ import annotations

import csv
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from domain.model import BucketResult, RecordResult
from tests.checks.jobs import ALL_FUNCTIONS, OF_NUMBERS, START, detector, job, make_batch, run

SPAN = 900


def scored(results: list[BucketResult]) -> list[tuple[int, RecordResult]]:
    return [(result.timestamp_ms // 1000, record) for result in results for record in result.records]


def grid(values: np.ndarray, span: int = SPAN):  # type: ignore[no-untyped-def, type-arg]
    """One record per bucket (row) and series (column); NaN: none."""
    n_buckets, n_series = values.shape
    seconds = START + np.repeat(np.arange(n_buckets) * span, n_series)
    hosts = np.tile(np.arange(n_series), n_buckets)
    value = values.ravel()
    kept = ~np.isnan(value)
    names = [f"host-{k}" for k in hosts[kept]]
    return make_batch(seconds[kept], {"value": value[kept]}, {"host": names})


BY_HOST = job(detector("mean", by_field_name="host"), influencers=["host"])


def test_normal_noise_has_few_high_scores() -> None:
    _, results = run(BY_HOST, grid(np.random.default_rng(7).normal(100, 5, (1000, 100))))
    scores = np.array([record.record_score for _, record in scored(results)])
    assert np.count_nonzero(scores > 50) <= 5
    assert np.count_nonzero(scores > 75) <= 1


def test_probabilities_of_normal_noise_are_calibrated() -> None:
    _, results = run(BY_HOST, grid(np.random.default_rng(8).normal(100, 5, (1000, 100))))
    probabilities = np.array([record.probability for _, record in scored(results)])
    for p in (1e-2, 1e-3):
        assert p / 2 < np.count_nonzero(probabilities < p) / 100_000 < 2 * p


@pytest.mark.parametrize("mean", [0.05, 0.5, 5.0])
def test_sparse_random_counts_are_nothing_unusual(mean: float) -> None:
    counts = np.random.default_rng(9).poisson(mean, (500, 20))
    seconds = START + np.repeat(np.repeat(np.arange(500) * SPAN, 20), counts.ravel())
    hosts = np.repeat(np.tile(np.arange(20), 500), counts.ravel())
    config = job(detector("count", by_field_name="host"))
    _, results = run(config, make_batch(seconds, texts={"host": [f"host-{k}" for k in hosts]}))
    assert max((record.record_score for _, record in scored(results)), default=0.0) < 60


@pytest.mark.parametrize("function", ALL_FUNCTIONS)
def test_constant_series_are_silent(function: str) -> None:
    seconds = START + np.arange(0, 300 * SPAN, SPAN // 3)
    n = seconds.size
    batch = make_batch(
        seconds,
        {"value": np.full(n, 7.25)},
        {name: [name[0]] * n for name in ("host", "user")} | {"place": ["1.5,2"] * n},
    )
    _, results = run(job(detector(function, by_field_name="host")), batch)
    assert scored(results) == []


@pytest.mark.parametrize("function", OF_NUMBERS)
def test_zeros_are_silent(function: str) -> None:
    _, results = run(job(detector(function, by_field_name="host")), grid(np.zeros((300, 2))))
    assert scored(results) == []


def test_a_step_of_a_flat_line_is_unusual_and_then_usual() -> None:
    values = np.full((400, 1), 10.0)
    values[200:] = 11.0
    _, results = run(BY_HOST, grid(values))
    by_bucket = {(time - START) // SPAN: record.record_score for time, record in scored(results)}
    assert by_bucket[200] > 70
    assert all(bucket < 210 for bucket in by_bucket)


def test_the_first_change_of_a_young_flat_series_says_little() -> None:
    values = np.full((12, 50), 10.0)
    values[8] = 17.0
    _, results = run(BY_HOST, grid(values))
    assert max((record.record_score for _, record in scored(results)), default=0.0) < 25


def test_actual_values_are_those_of_the_records() -> None:
    values = np.random.default_rng(15).normal(0.1, 0.01, (300, 1)) + 1e5 / 3
    values[250] += 10
    _, results = run(BY_HOST, grid(values))
    found = {time: record for time, record in scored(results)}
    assert found[START + 250 * SPAN].actual == [values[250, 0]]


def test_a_last_digit_is_nothing_unusual() -> None:
    values = np.full((400, 1), 1e6)
    values[300] += 1.0
    _, results = run(BY_HOST, grid(values))
    assert scored(results) == []


def test_sparse_series_are_judged_without_exploding() -> None:
    rng = np.random.default_rng(10)
    values = rng.normal(50, 5, (2000, 10))
    values[rng.random(values.shape) < 0.97] = np.nan
    _, results = run(BY_HOST, grid(values))
    scores = [record.record_score for _, record in scored(results)]
    assert sum(score > 50 for score in scores) <= 1


def test_a_daily_season_is_learnt_and_its_missing_peak_found() -> None:
    rng = np.random.default_rng(11)
    hours = np.arange(24 * 4 * 12) / 4
    values = 100 + 50 * np.sin(2 * np.pi * hours / 24) + rng.normal(0, 2, hours.size)
    quiet = slice(10 * 96 + 20, 10 * 96 + 28)
    values[quiet] = 100 - 50 + rng.normal(0, 2, 8)
    _, results = run(BY_HOST, grid(values[:, None]))
    late = {(time - START) // SPAN: record.record_score for time, record in scored(results)}
    assert late[quiet.start] > 75
    assert all(score < 50 for bucket, score in late.items() if 5 * 96 < bucket < quiet.start)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_flat_line_in_noise_is_found_within_hours(seed: int) -> None:
    values = np.random.default_rng(seed).normal(100, 3, (1000, 5))
    values[960:990] = values[960]
    _, results = run(BY_HOST, grid(values))
    best: dict[str | None, float] = {}
    for time, record in scored(results):
        if 960 <= (time - START) // SPAN < 984:
            best[record.by_field_value] = max(best.get(record.by_field_value, 0.0), record.record_score)
    assert len(best) == 5
    assert min(best.values()) >= 50


def test_a_series_that_is_often_flat_may_be() -> None:
    rng = np.random.default_rng(4)
    hours = np.arange(96 * 14) / 4 % 24
    values = np.where(hours[:, None] < 8, 10.0, 20 + 3 * rng.normal(size=(hours.size, 10)))
    _, results = run(BY_HOST, grid(values))
    flat = [record for time, record in scored(results) if time >= START + 4 * 86_400 and (time - START) % 86_400 > 3600]
    assert not [record for record in flat if record.actual == [10.0] and record.record_score >= 25]


def test_a_single_outlier_moves_what_is_typical_next_by_less_than_a_fiftieth_of_the_spread() -> None:
    values = np.random.default_rng(12).normal(100, 5, (96 * 14 + 2, 10))
    at = 96 * 14

    def typical(rows: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        model, _ = run(BY_HOST, grid(rows))
        judge = model._detectors[0].features[0]
        judged = judge.judge(slice(0, 10), rows[-1], START + (len(rows) - 1) * SPAN + SPAN / 2)
        return judged.mixed + judged.rows[2]

    values[at] = typical(values[: at + 1])  # where the outlier will be, nothing moves
    plain = typical(values)
    values[at] += 10 * 5
    assert np.abs(typical(values) - plain).max() < 0.02 * 5


def test_a_lasting_shift_is_accepted_within_two_days() -> None:
    rng = np.random.default_rng(13)
    values = rng.normal(100, 5, (96 * 20, 20))
    values[96 * 14 :] += 25
    _, results = run(BY_HOST, grid(values))
    last = [record.record_score for time, record in scored(results) if time >= START + 16 * 86_400]
    first = [record.record_score for time, record in scored(results) if 0 <= time - START - 14 * 86_400 < 3600]
    assert max(first) > 75
    assert max(last, default=0.0) < 25


def wave(seed: int) -> np.ndarray:  # type: ignore[type-arg]
    """Three weeks with a daily season from 50 to 150 and a spread of 3."""
    hours = np.arange(96 * 21) / 4
    return 100 + 50 * np.sin(2 * np.pi * hours / 24) + np.random.default_rng(seed).normal(0, 3, hours.size)


def best_score(values: np.ndarray, first: int, stop: int) -> float:  # type: ignore[type-arg]
    _, results = run(BY_HOST, grid(values[:, None]))
    buckets = {(time - START) // SPAN: record.record_score for time, record in scored(results)}
    return max((score for bucket, score in buckets.items() if first <= bucket < stop), default=0.0)


EVENT = 16 * 96
"""Midnight, where the wave is at 100."""


@pytest.mark.parametrize("seed", [20, 21])
def test_a_value_improbable_for_its_hour_is_found_inside_the_range(seed: int) -> None:
    values = wave(seed)
    values[EVENT + 72] += 30
    assert best_score(values, EVENT + 72, EVENT + 73) >= 50


@pytest.mark.parametrize("seed", [20, 21])
def test_a_repeat_a_week_later_still_counts(seed: int) -> None:
    values = wave(seed)
    values[EVENT - 672 : EVENT - 668] += 60
    values[EVENT : EVENT + 4] += 60
    assert best_score(values, EVENT, EVENT + 4) >= 25


def test_a_change_of_period_is_found() -> None:
    values = wave(22)
    hours = np.arange(values.size - EVENT) / 4
    values[EVENT:] = 100 + 50 * np.sin(2 * np.pi * hours / 12)
    assert best_score(values, EVENT, EVENT + 96) >= 50


def test_what_is_nothing_at_noon_is_unusual_in_a_quiet_night() -> None:
    rng = np.random.default_rng(9)
    hours = np.arange(EVENT + 60) / 4 % 24
    spread = np.where((hours >= 8) & (hours < 20), 10.0, 1.0)[:, None]
    values = 100 + spread * rng.normal(size=(hours.size, 12))
    values[EVENT + 8] = values[EVENT + 52] = 100 + 15
    _, results = run(BY_HOST, grid(values))
    found = {(time, record.by_field_value): record for time, record in scored(results)}
    night, noon = START + (EVENT + 8) * SPAN, START + (EVENT + 52) * SPAN
    assert sum((night, f"host-{k}") in found for k in range(12)) == 12
    assert np.median([found[night, f"host-{k}"].record_score for k in range(12)]) >= 25
    assert not [time for time, _ in found if time == noon]


def test_slow_leaks_are_found() -> None:
    values = np.random.default_rng(23).normal(100, 3, (96 * 18 + 1, 12))
    values[EVENT : EVENT + 192] += np.linspace(0, 30, 192)[:, None]
    _, results = run(BY_HOST, grid(values))
    best: dict[str | None, float] = {}
    for time, record in scored(results):
        if EVENT <= (time - START) // SPAN < EVENT + 192:
            best[record.by_field_value] = max(best.get(record.by_field_value, 0.0), record.record_score)
    assert len(best) == 12
    assert min(best.values()) >= 50


def test_absurd_values_leave_finite_results_and_a_working_model() -> None:
    rng = np.random.default_rng(14)
    values = rng.normal(0, 1, (300, 2))
    values[100] = [1e308, -1e308]
    values[150:160] = [1.7e308, 5e-324]
    values[200] = [-1e300, 1e300]
    alone = [detector(function, by_field_name="host") for function in OF_NUMBERS]
    config = job(*alone, *(detector(function, over_field_name="host") for function in ("metric", "sum", "varp")))
    model, results = run(config, grid(values))
    for _, record in scored(results):
        of_causes = [value for cause in record.causes for value in (*cause.typical, *cause.actual, cause.probability)]
        of_record = [*record.typical, *record.actual, record.probability, record.record_score]
        assert np.isfinite(of_record + of_causes).all()
    for name, array in model.state()[0].items():
        if not name.startswith("o"):
            assert np.isfinite(array).all(), name


def test_farequote_has_the_one_anomaly_that_it_has(test_data: Path) -> None:
    with (test_data / "data" / "farequote.csv").open() as file:
        rows = list(csv.DictReader(file))
    seconds = [datetime.strptime(row["time"], "%Y-%m-%dT%H:%M:%S%z").timestamp() for row in rows]
    batch = make_batch(
        seconds,
        {"responsetime": [float(row["responsetime"]) for row in rows]},
        {"airline": [row["airline"] for row in rows]},
    )
    by_airline = {"function": "mean", "field_name": "responsetime", "by_field_name": "airline"}
    _, results = run(job(by_airline, influencers=["airline"]), batch)
    day = datetime.fromisoformat("2015-12-09T00:00:00+00:00").timestamp()
    records = sorted(scored(results), key=lambda item: -item[1].record_score)
    time, best = records[0]
    assert best.by_field_value == "AAL"
    assert day + 16 * 3600 <= time < day + 16.5 * 3600
    assert best.record_score > 90
    for time, record in records:
        is_event = record.by_field_value == "AAL" and day + 15 * 3600 <= time < day + 18 * 3600
        assert is_event or record.record_score <= 75
    influencer = max(
        (item for result in results for item in result.influencers), key=lambda item: item.influencer_score
    )
    assert (influencer.influencer_field_name, influencer.influencer_field_value) == ("airline", "AAL")
