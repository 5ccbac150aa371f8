"""Populations: members judged against all others, with causes, and no history of their own."""

from __future__ import annotations

import numpy as np
import pytest

from domain.model import BucketResult, RecordResult
from marigraph.resources import record_resource
from tests.checks.jobs import START, detector, job, make_batch, run

SPAN = 900


def grid(values: np.ndarray, first: int = 0):  # type: ignore[no-untyped-def, type-arg]
    """One record per bucket (row) and user (column); NaN: none."""
    n_buckets, n_users = values.shape
    seconds = START + np.repeat(np.arange(n_buckets) * SPAN, n_users)
    kept = ~np.isnan(values.ravel())
    users = [f"user-{k}" for k in np.tile(np.arange(n_users), n_buckets)[kept]]
    return make_batch(seconds[kept], {"value": values.ravel()[kept]}, {"user": users})


def records(results: list[BucketResult]) -> list[tuple[int, RecordResult]]:
    return [((result.timestamp_ms // 1000 - START) // SPAN, record) for result in results for record in result.records]


OVER_USER = job(detector("mean", over_field_name="user"), influencers=["user"])


def test_a_member_unlike_all_others_is_found_at_once() -> None:
    values = np.random.default_rng(1).normal(100, 5, (100, 50))
    values[:, 49] = np.nan
    values[80, 49] = 200  # its first value ever
    _, results = run(OVER_USER, grid(values))
    bucket, best = max(records(results), key=lambda item: item[1].record_score)
    assert (bucket, best.over_field_name, best.over_field_value) == (80, "user", "user-49")
    assert best.record_score > 75
    (cause,) = best.causes
    assert cause.actual == [200.0]
    assert cause.typical == pytest.approx([100], abs=2)
    assert cause.probability == best.probability
    assert [item.influencer_field_value for item in results[80].influencers][:1] == ["user-49"]


def test_members_that_are_unlike_their_own_past_but_like_others_are_nothing_unusual() -> None:
    rng = np.random.default_rng(2)
    levels = rng.normal(100, 20, 60)
    values = levels + rng.normal(0, 0.5, (150, 60))
    values[120, 0], values[120, 1] = levels[1], levels[0]
    assert max((r.record_score for k, r in records(run(OVER_USER, grid(values))[1]) if k == 120), default=0) < 25


@pytest.mark.parametrize("spread", ["normal", "log-normal"])
def test_probabilities_of_populations_are_calibrated(spread: str) -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(0, 1, (400, 100))
    values = 100 + 5 * values if spread == "normal" else np.exp(3 + values)
    found = records(run(OVER_USER, grid(values))[1])
    probabilities = np.array([record.probability for k, record in found if k >= 100])
    for p in (1e-2, 1e-3):
        assert p / 2 < np.count_nonzero(probabilities < p) / 30_000 < 2 * p


def test_the_season_of_a_population_is_its_attributes() -> None:
    rng = np.random.default_rng(4)
    hours = np.arange(96 * 6) / 4
    values = (100 + 50 * np.sin(2 * np.pi * hours / 24))[:, None] + rng.normal(0, 3, (hours.size, 20))
    night = 96 * 5 + 72
    values[night, 3] = 150  # what all have at noon
    found = {(k, r.over_field_value): r.record_score for k, r in records(run(OVER_USER, grid(values))[1]) if k > 300}
    assert found.pop((night, "user-3")) > 75
    assert max(found.values(), default=0) < 50


def test_members_that_are_always_there_do_not_rule() -> None:
    rng = np.random.default_rng(5)
    robots = np.full((300, 5), 1000.0) + rng.normal(0, 1, (300, 5))
    people = np.where(rng.random((300, 400)) < 0.02, rng.normal(100, 10, (300, 400)), np.nan)
    model, _ = run(OVER_USER, grid(np.hstack([robots, people])))
    feature = model._detectors[0].populations[0]  # type: ignore[attr-defined]
    judged = feature.judge(
        np.zeros(1, np.int64), np.zeros(1, np.int64), np.array([100.0]), np.ones(1), START + 300 * SPAN
    )
    assert abs(float(judged.forms[0].expected[0]) - 100) < 250


def test_a_member_is_unusual_once_with_all_its_attributes() -> None:
    rng = np.random.default_rng(6)
    n, k = 100, 20 * 14
    seconds = np.repeat(START + np.arange(n) * SPAN, k)
    users = [f"user-{j % 20}" for _ in range(n) for j in range(k)]
    programs = [f"program-{j // 20}" for _ in range(n) for j in range(k)]
    values = rng.normal(100, 5, n * k)
    last = np.arange(n * k) // k == n - 1
    unusual = np.array([user == "user-3" for user in users]) & last & (np.arange(n * k) % k // 20 != 5)
    values[unusual] += 100 + np.arange(unusual.sum())
    config = job(detector("high_mean", by_field_name="host", over_field_name="user", partition_field_name="region"))
    texts = {"host": programs, "user": users, "region": ["north"] * (n * k)}
    model, _ = run(config, make_batch(seconds, {"value": values}, texts))
    (result,) = model.advance_time((START + n * SPAN) * 1000)
    record = result.records[0]
    assert [item.over_field_value for item in result.records].count("user-3") == 1
    assert (record.by_field_value, record.typical, record.actual) == (None, [], [])
    assert len(record.causes) == 10
    probabilities = [cause.probability for cause in record.causes]
    assert probabilities == sorted(probabilities)
    assert "program-5" not in [cause.by_field_value for cause in record.causes]
    assert record.probability == pytest.approx(14 * probabilities[0])
    resource = record_resource("j", result, record)
    assert resource["over_field_value"] == "user-3"
    assert resource["user"] == ["user-3"]
    assert resource["region"] == ["north"]
    assert resource["host"] == list(dict.fromkeys(cause.by_field_value for cause in record.causes))
    assert "typical" not in resource
    assert list(resource["causes"][0]) == [
        *("probability", "by_field_name", "by_field_value", "partition_field_name", "partition_field_value"),
        *("function", "function_description", "typical", "actual", "field_name", "over_field_name"),
        "over_field_value",
    ]


def test_counts_of_members_that_were_silent_say_nothing() -> None:
    values = np.full((200, 30), 1.0)
    values[100:110] = np.nan
    _, results = run(job(detector("count", over_field_name="user")), grid(values))
    assert records(results) == []


def test_size_stats_count_members_and_memory_holds_without_histories() -> None:
    batch = grid(np.random.default_rng(7).normal(100, 5, (3, 3000)))
    stats = run(job(detector("mean", over_field_name="user")), batch)[0].size_stats()
    assert (stats["total_over_field_count"], stats["total_by_field_count"]) == (3000, 0)
    assert stats["model_bytes"] < 3000 * 800


def test_a_member_at_work_when_nobody_is_and_one_where_nobody_is_are_unusual() -> None:
    rng = np.random.default_rng(8)
    hours = rng.integers(9 * 4, 17 * 4, (30, 60)) * SPAN + rng.integers(0, SPAN, (30, 60))
    seconds = (START + np.arange(30)[:, None] * 86_400 + hours).ravel()
    who = rng.integers(0, 40, seconds.size)
    cities = np.array([[48.1, 11.6], [52.5, 13.4], [50.1, 8.7]])[who % 3]
    cities += rng.normal(0, 0.05, cities.shape)
    users = [f"user-{k}" for k in who]
    late = START + 29 * 86_400 + 23 * 3600
    order = np.argsort(seconds, kind="stable")
    places = [f"{latitude!r},{longitude!r}" for latitude, longitude in cities[order].tolist()]
    texts = {"user": [users[k] for k in order] + ["user-1"], "place": [*places, "-33.9,151.2"]}
    batch = make_batch([*seconds[order], late], texts=texts)
    for function in ("time_of_day", "time_of_week", "lat_long"):
        model, results = run(job(detector(function, over_field_name="user")), batch)
        results += model.advance_time((late + SPAN) * 1000)
        ((bucket, record),) = [item for item in records(results) if item[1].record_score > 25]
        assert (bucket, record.over_field_value) == ((late - START) // SPAN, "user-1")
        (cause,) = record.causes
        assert cause.actual == ([-33.9, 151.2] if function == "lat_long" else [cause.actual[0]])
