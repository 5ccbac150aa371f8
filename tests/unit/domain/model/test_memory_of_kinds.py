"""What a model says that it takes, for every kind of detector: near to what it takes, and given back by pruning."""

from __future__ import annotations

import gc
import math
import tracemalloc
from typing import Any

import numpy as np
import pytest

from domain.model import Model
from tests.checks.jobs import START, detector, job, make_batch, run

DAY = 86_400
N = 1024
BY, OVER = {"by_field_name": "host"}, {"over_field_name": "user"}
SPLIT = {"by_field_name": "host", "partition_field_name": "region"}
KINDS: list[tuple[dict[str, Any], tuple[int, int, int]]] = [
    (detector("mean", **BY), (N, 1, 1)),
    (detector("metric", **SPLIT), (8, 1, N // 8)),
    (detector("count", partition_field_name="region"), (1, 1, N)),
    (detector("time_of_day", **BY), (N, 1, 1)),
    (detector("time_of_week", **BY), (N, 1, 1)),
    (detector("lat_long", **BY), (N, 1, 1)),
    (detector("rare", **BY), (N, 1, 1)),
    (detector("rare", **SPLIT), (8, 1, N // 2)),
    (detector("rare", **BY, **OVER), (32, N // 8, 1)),
    (detector("freq_rare", **BY, **OVER, exclude_frequent="all"), (32, N // 8, 1)),
    (detector("mean", **OVER), (1, N, 1)),
    (detector("mean", **BY, **OVER), (128, N // 128, 1)),
    (detector("time_of_day", **BY, **OVER), (128, N // 128, 1)),
    (detector("lat_long", **BY, **OVER), (128, N // 128, 1)),
    (detector("median", **BY), (N, 1, 1)),
    (detector("distinct_count", **BY), (N, 1, 1)),
    (detector("info_content", **BY), (N, 1, 1)),
]
every_kind = pytest.mark.parametrize(
    ("fields", "shape"), KINDS, ids=[f"{k}-{fields['function']}" for k, (fields, _) in enumerate(KINDS)]
)


def grid(shape: tuple[int, int, int], seconds: float):  # type: ignore[no-untyped-def]
    """One record of each series: so many hosts, users and regions."""
    n_hosts, n_users, n_regions = shape
    k = np.arange(n_hosts * n_users * n_regions)
    texts = {
        "host": [f"host-{x}" for x in k % n_hosts],
        "user": [f"user-{x}" for x in k // n_hosts % n_users],
        "region": [f"region-{x}" for x in k // n_hosts // n_users],
        "place": [f"{x % 80},{x % 170}" for x in k],
    }
    return make_batch(np.full(k.size, START + seconds), {"value": k * 1.0}, texts)


@every_kind
def test_the_memory_told_is_within_a_fifth_of_what_is_taken(
    fields: dict[str, Any], shape: tuple[int, int, int]
) -> None:
    config = job(fields, limit="1gb")
    run(config, grid((2, 2, 2), 0), grid((2, 2, 2), 900))  # imports
    gc.collect()
    tracemalloc.start()
    model = Model(config)
    for seconds in (0, 900, 1800):
        model.add(grid(shape, seconds))
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert model.n_series == math.prod(shape)
    assert 0.8 < model.size_stats()["model_bytes"] / taken < 1.2


@every_kind
def test_what_was_silent_for_a_month_is_given_back(fields: dict[str, Any], shape: tuple[int, int, int]) -> None:
    config = job(fields, span="6h")
    few = (min(shape[0], 4), min(shape[1], 4), min(shape[2], 4))
    days = [grid((1, 1, 1), day * DAY) for day in (0, 10, 20, 30, 40)]
    model, _ = run(config, grid(few, 0), *days)
    alone, _ = run(config, *days)
    assert model.n_series == alone.n_series == 1
    assert model.size_stats()["peak_model_bytes"] > alone.size_stats()["peak_model_bytes"]
    assert model.size_stats()["model_bytes"] == alone.size_stats()["model_bytes"]


@every_kind
def test_beyond_the_limit_there_are_no_new_series(fields: dict[str, Any], shape: tuple[int, int, int]) -> None:
    model = Model(job(fields, limit="1mb"))
    model._memory.limit = model._memory.used + 100_000
    model.add(grid(shape, 0))
    model.add(grid((1, 1, 1), 900))
    stats = model.size_stats()
    assert stats["memory_status"] == "hard_limit"
    assert stats["bucket_allocation_failures_count"] == 1
    assert stats["model_bytes"] <= stats["model_bytes_memory_limit"]


def test_categories_have_a_quarter_of_the_limit() -> None:
    by_category = detector("count", by_field_name="mlcategory", partition_field_name="user")
    apart = {"categorization_field_name": "host", "per_partition_categorization": {"enabled": True}}
    users = [f"user-{k}" for k in range(500)]
    batch = make_batch(np.full(500, START), texts={"user": users, "host": ["disk is full"] * 500})
    model, _ = run(job(by_category, limit="1mb", **apart), batch)
    stats = model.size_stats()
    assert stats["memory_status"] == "hard_limit"
    assert 50 < stats["total_category_count"] < 200
    assert stats["failed_category_count"] == 500 - stats["total_category_count"]
    assert model.categories is not None
    assert model.categories.size_bytes <= 0.25 * stats["model_bytes_memory_limit"]
