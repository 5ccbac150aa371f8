"""Influences: who is named for what was unusual, and who is not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from domain.model import BucketResult
from domain.model.accumulators import ACCUMULATORS, Accumulator, Measured
from domain.model.batch_view import hash_texts
from domain.model.influences import explain
from tests.checks.jobs import SPAN, START, detector, job, make_batch, run

SLOTS = np.array([0, 0, 0, 0, 0, 1])
X = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 3.0])
CODES = np.array([0, 1, 0, 1, -1, 1])
TEXTS = ["a", "b"]


def filled(kind: str, cuts: int = 1) -> Accumulator:
    accumulator = ACCUMULATORS[kind](2, 1)
    hashes = hash_texts(["x", "y", "z", "y", "w", "x"])
    contents = [f"text {k}" for k in range(6)]
    for part in np.array_split(np.arange(6), cuts):
        content = (part, contents) if kind == "content" else None
        accumulator.add(Measured(SLOTS[part], X[part], None, hashes[part], ((CODES[part], TEXTS),), None, content))
    return accumulator


@pytest.mark.parametrize(
    ("kind", "name", "of_a", "of_b", "is_rest"),
    [
        ("count", "count", 3.0, 3.0, True),
        ("sum", "sum", 26.0, 21.0, True),
        ("mean", "mean", 26 / 3, 7.0, True),
        ("metric", "mean", 26 / 3, 7.0, True),
        ("metric", "max", 4.0, 8.0, False),
        ("min", "min", 1.0, 2.0, False),
        ("max", "max", 4.0, 8.0, False),
        ("variance", "varp", float(np.var([2, 8, 16])), float(np.var([1, 4, 16])), True),
        ("median", "median", 8.0, 4.0, True),
        ("distinct", "distinct_count", 2.0, 1.0, False),
        ("content", "info_content", None, None, False),
    ],
)
@pytest.mark.parametrize("cuts", [1, 6])
def test_values_are_told_without_or_with_a_part_alone(
    kind: str, name: str, of_a: float | None, of_b: float | None, is_rest: bool, cuts: int
) -> None:
    accumulator = filled(kind, cuts)
    parts = accumulator.influences[0].parts
    which, pairs = accumulator.influences[0].pairs_of(np.array([0]))
    assert [accumulator.influences[0].text_of(pair) for pair in pairs.tolist()] == TEXTS
    apart = accumulator.apart(name, np.array([0])[which], parts, pairs)
    assert apart.is_rest == is_rest
    if of_a is not None:
        assert apart.x == pytest.approx([of_a, of_b], rel=1e-12)
    else:
        assert (apart.x > 0.0).all()
        assert (apart.x < accumulator.value(name, np.array([0]))).all()


def test_without_a_number_all_values_seen_explain() -> None:
    found = (np.array([0, 1]), np.ones(2), np.ones(2))
    explained = explain(filled("count"), 0, "count", found, None)
    assert explained == [[("a", 1.0), ("b", 1.0)], [("b", 1.0)]]


N_BUCKETS, USERS = 80, 6


def judged(function: str, change: Any, **fields: str) -> list[BucketResult]:
    """Six users with ten records a bucket each, the last of which is changed in the last bucket."""
    n = N_BUCKETS * USERS * 10
    bucket = np.repeat(np.arange(N_BUCKETS), USERS * 10)
    user = np.tile(np.repeat(np.arange(USERS), 10), N_BUCKETS)
    user[user == 1] = 0  # one has a third of all records, and is innocent
    value = np.random.default_rng(6).normal(100, 5, n)
    text = np.random.default_rng(7).integers(0, 4, n)
    keep = np.ones(n, np.int64)
    change((bucket == N_BUCKETS - 2) & (user == USERS - 1), value, text, keep)
    at = np.repeat(np.arange(n), keep)
    batch = make_batch(
        START + bucket[at] * SPAN,
        {"value": value[at]},
        {"who": [f"user-{k}" for k in user[at]], "user": [f"text-{k}" for k in text[at]], "host": ["h"] * at.size},
    )
    config = job(detector(function, **(fields or {"by_field_name": "host"})), influencers=["who", "host"])
    return run(config, batch)[1]


def more(at: Any, value: Any, text: Any, keep: Any) -> None:
    keep[at] = 5


def higher(at: Any, value: Any, text: Any, keep: Any) -> None:
    value[at] += 800


def wider(at: Any, value: Any, text: Any, keep: Any) -> None:
    value[at] = 100 + 80 * np.where(np.arange(np.count_nonzero(at)) % 2, 1, -1)


def varied(at: Any, value: Any, text: Any, keep: Any) -> None:
    text[at] = np.arange(10, 10 + np.count_nonzero(at))


def lower(at: Any, value: Any, text: Any, keep: Any) -> None:
    value[at] -= 200


@pytest.mark.parametrize(
    ("function", "change"),
    [
        ("count", more),
        ("sum", higher),
        ("mean", higher),
        ("max", higher),
        ("min", lower),
        ("varp", wider),
        ("metric", higher),
        ("distinct_count", varied),
    ],
)
def test_who_is_behind_it_is_named_and_the_innocent_are_not(function: str, change: Any) -> None:
    last = judged(function, change)[-1]
    assert last.records
    for record in last.records:
        named = {each.influencer_field_name: each.influencer_field_values for each in record.influencers}
        assert named == {"who": ["user-5"], "host": ["h"]}
    assert {each.influencer_field_value for each in last.influencers} == {"user-5", "h"}
    assert {each.influencer_field_name for each in last.bucket_influencers} == {"bucket_time", "who", "host"}


def test_members_of_a_population_are_explained_like_series() -> None:
    n, members = 60, 20
    bucket = np.repeat(np.arange(n), members * 4)
    host = np.tile(np.repeat(np.arange(members), 4), n)
    user = np.tile(np.arange(4), n * members)
    value = np.random.default_rng(8).normal(100, 5, bucket.size)
    value[(bucket == n - 2) & (host == 7) & (user == 2)] += 300
    texts = {"host": [f"host-{k}" for k in host], "user": [f"user-{k}" for k in user]}
    config = job(detector("sum", over_field_name="host"), influencers=["user"])
    _, results = run(config, make_batch(START + bucket * SPAN, {"value": value}, texts))
    record = results[-1].records[0]
    assert record.over_field_value == "host-7"
    assert [each.influencer_field_values for each in record.influencers] == [["user-2"]]


def test_a_part_of_the_blame_is_a_part_of_the_exponent() -> None:
    def shared(at: Any, value: Any, text: Any, keep: Any) -> None:
        value[at] += 120
        before = np.flatnonzero(at)[0] - 10
        value[before : before + 10] += 60

    last = judged("sum", shared)[-1]
    (record,) = last.records
    assert record.influencers[0].influencer_field_values[0] == "user-5"
    found = {each.influencer_field_value: each for each in last.influencers}
    strongest, all_of_it = found["user-5"], found["h"]
    assert strongest.probability > all_of_it.probability
    assert strongest.influencer_score <= all_of_it.influencer_score
    share = math.log(strongest.probability) / math.log(all_of_it.probability)
    assert 0.4 <= share < 1.0


def test_what_shows_over_several_buckets_is_explained_by_who_is_in_most_records() -> None:
    def reconsider(slots: Any, x: Any, widen: Any, side: str) -> Any:
        return np.full(slots.size, 0.5)

    found = (np.array([0]), np.array([5.0]), np.array([4.9]))
    assert explain(filled("count"), 0, "count", found, reconsider) == [[("a", 0.4), ("b", 0.4)]]


def test_there_are_only_so_many_pairs_in_the_order_of_their_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domain.model.influences.PAIRS_MAX", 2)
    for cuts in (1, 6):
        field = filled("sum", cuts).influences[0]
        assert field.parts.rows[:, :3].tolist() == [[2.0, 2.0, 0.0], [5.0, 10.0, 0.0]]
