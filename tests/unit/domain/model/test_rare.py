"""Rare values: in time, among members, and done often; and values too frequent to be looked at."""

from __future__ import annotations

import numpy as np
import pytest

from domain.model import BucketResult, Model
from domain.model.rarity import UNIT, Rarity, weights_up_to
from tests.checks.jobs import START, detector, job, make_batch, run

HOUR = 3600
RARE = job(detector("rare", by_field_name="host"), span="1h", influencers=["host"])


def usual(n_hours: int, n_hosts: int = 20, seed: int = 1) -> tuple[list[float], list[str]]:
    """Every hour each host with a chance of its own, from 0.3 to 1."""
    rng = np.random.default_rng(seed)
    chances = np.linspace(0.3, 1.0, n_hosts)
    active = rng.random((n_hours, n_hosts)) < chances
    hours, hosts = np.nonzero(active)
    return (START + hours * HOUR).tolist(), [f"host-{k}" for k in hosts]


def scores(results: list[BucketResult]) -> dict[tuple[int, str | None], float]:
    return {
        ((result.timestamp_ms // 1000 - START) // HOUR, record.by_field_value): record.record_score
        for result in results
        for record in result.records
    }


def test_a_value_never_seen_is_rare_and_usual_ones_are_not() -> None:
    seconds, hosts = usual(24 * 20)
    seconds.append(START + 480 * HOUR)
    hosts.append("stranger")
    model, results = run(RARE, make_batch(seconds, texts={"host": hosts}))
    (result,) = model.advance_time((START + 481 * HOUR) * 1000)
    (record,) = result.records
    assert (record.by_field_value, record.actual, record.function_description) == ("stranger", [1.0], "rare")
    assert record.probability < 2e-4
    assert record.record_score >= 50
    assert [item.influencer_field_value for item in result.influencers] == ["stranger"]
    assert max((score for (hour, _), score in scores(results).items() if hour > 48), default=0) < 5


def test_where_new_values_keep_coming_they_are_nothing_rare() -> None:
    n = 24 * 20
    seconds = np.repeat(START + np.arange(n) * HOUR, 3)
    hosts = [name for k in range(n) for name in ("a", "b", f"new-{k}")]
    _, results = run(RARE, make_batch(seconds, texts={"host": hosts}))
    assert scores(results) == {}


def stable(n_hours: int, extra: list[tuple[int, str]]) -> dict[tuple[int, str | None], float]:
    """Scores by hour and value, of five values that are there nearly always, and others."""
    rng = np.random.default_rng(7)
    hours, hosts = np.nonzero(rng.random((n_hours, 5)) < 0.9)
    rows = sorted([*zip(hours.tolist(), [f"host-{k}" for k in hosts], strict=True), *extra])
    batch = make_batch([START + hour * HOUR for hour, _ in rows], texts={"host": [host for _, host in rows]})
    return scores(run(RARE, batch)[1])


def test_the_first_stranger_after_stable_weeks_is_what_an_operator_wants_to_see() -> None:
    found = stable(24 * 28, [(24 * 21, "one"), (24 * 21, "two"), (24 * 27, "one")])
    assert min(found[24 * 21, "one"], found[24 * 21, "two"]) >= 50
    assert found[24 * 27, "one"] < 0.5 * found[24 * 21, "one"]
    assert max((score for (hour, host), score in found.items() if str(host).startswith("host")), default=0.0) < 5


@pytest.mark.parametrize("every", [3, 24])
def test_strangers_that_come_all_the_time_are_no_news(every: int) -> None:
    found = stable(24 * 28, [(k, f"new-{k}") for k in range(0, 24 * 28, every)])
    assert max((score for (hour, _), score in found.items() if hour > 24 * 7), default=0.0) < 5


def test_a_stranger_in_the_first_days_is_nothing_yet() -> None:
    assert max(stable(24 * 4, [(20, "a"), (30, "b"), (60, "c"), (90, "d")]).values()) < 20


def test_what_comes_once_a_week_is_soon_known() -> None:
    found = stable(24 * 42, [(24 * (3 + 7 * k), "weekly") for k in range(6)])
    assert max(score for (hour, host), score in found.items() if host == "weekly" and hour > 24 * 20) < 10


def test_records_count_once_per_bucket() -> None:
    seconds, hosts = usual(24 * 20)
    one, _ = run(RARE, make_batch(seconds, texts={"host": hosts}))
    many, _ = run(RARE, make_batch(np.repeat(seconds, 5), texts={"host": list(np.repeat(hosts, 5))}))
    assert np.array_equal(one.state()[0]["d0.rarity.weights"], many.state()[0]["d0.rarity.weights"])


def test_partitions_have_rare_values_of_their_own() -> None:
    n = 24 * 20
    hours = np.repeat(START + np.arange(n) * HOUR, 2)
    hosts, regions = ["a", "b"] * n, ["north", "south"] * n
    hosts[-1] = "a"  # usual in the north
    config = job(detector("rare", by_field_name="host", partition_field_name="region"), span="1h")
    model, results = run(config, make_batch(hours, texts={"host": hosts, "region": regions}))
    found = [record for result in results + model.advance_time((START + n * HOUR) * 1000) for record in result.records]
    assert [(record.by_field_value, record.partition_field_value) for record in found] == [("a", "south")]


def test_shares_take_all_values_as_rare_in() -> None:
    rarity = Rarity(3600, fades=False)
    rarity.reserve(4, 1)
    scopes = np.zeros(4, np.int64)
    rarity.learn(np.arange(3), np.array([1, 1, 8]), scopes)
    rarity.scopes[:] = [[0.0], [10.0], [0.0], [0.0]]
    probability, first, share = rarity.probabilities(np.array([0, 2, 3]), scopes)
    assert first.tolist() == [1.0, 1.0, 1.0]  # it is young
    assert probability == pytest.approx([2.5 / 11, 10.5 / 11, 0.5 / 11])
    assert share.tolist() == [0.1, 0.8, 0.0]


def test_sums_up_to_a_weight_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(2)
    scopes, weights = rng.integers(0, 4, 60), rng.integers(0, 5, 60) * UNIT
    expected = [int(weights[(scopes == s) & (weights <= w)].sum()) for s, w in zip(scopes, weights, strict=True)]
    assert weights_up_to(scopes, weights).tolist() == expected


def logins(n_hours: int, extra: list[tuple[int, str, str]]):  # type: ignore[no-untyped-def]
    """Forty users with the same five programs, and what else they do."""
    rng = np.random.default_rng(3)
    hours, users, programs = (rng.integers(0, top, n_hours * 60) for top in (n_hours, 40, 5))
    rows = [(int(h), f"user-{u}", f"program-{p}") for h, u, p in zip(hours, users, programs, strict=True)]
    rows = sorted(rows + extra, key=lambda row: row[0])
    texts = {"user": [row[1] for row in rows], "host": [row[2] for row in rows]}
    return make_batch([START + row[0] * HOUR for row in rows], texts=texts)


def members(function: str, extra: list[tuple[int, str, str]]) -> list[tuple[int, str | None, list[str | None], float]]:
    config = job(detector(function, by_field_name="host", over_field_name="user"), span="1h", influencers=["user"])
    model, results = run(config, logins(100, extra))
    results += model.advance_time((START + 101 * HOUR) * 1000)
    return [
        (
            (result.timestamp_ms // 1000 - START) // HOUR,
            record.over_field_value,
            [cause.by_field_value for cause in record.causes],
            record.probability,
        )
        for result in results
        for record in result.records
    ]


def test_a_member_that_does_what_no_other_does_is_rare() -> None:
    found = members("rare", [(90, "user-7", "debugger"), (90, "user-7", "dumper")])
    assert [item[:3] for item in found if item[0] > 24] == [(90, "user-7", ["debugger", "dumper"])]


def test_a_program_that_nobody_had_for_weeks_stands_out_in_a_population() -> None:
    config = job(detector("rare", by_field_name="host", over_field_name="user"), span="1h")
    n_hours = 24 * 21
    _, results = run(
        config, logins(n_hours + 48, [(n_hours, "user-7", "debugger"), (n_hours + 30, "user-7", "debugger")])
    )
    found = {
        ((result.timestamp_ms // 1000 - START) // HOUR, record.over_field_value): record.record_score
        for result in results
        for record in result.records
    }
    assert found[n_hours, "user-7"] >= 50
    assert found.get((n_hours + 30, "user-7"), 0.0) < 20
    assert max((score for (hour, _), score in found.items() if 48 < hour != n_hours), default=0.0) < 20


def test_what_many_members_do_is_not_rare_when_another_begins_with_it() -> None:
    assert [item for item in members("rare", [(90, "new-user", "program-3")]) if item[0] > 24] == []


def test_doing_a_rare_thing_often_is_rarer_than_doing_it_once() -> None:
    once = members("freq_rare", [(90, "user-7", "debugger")])
    often = members("freq_rare", [(90, "user-7", "debugger")] * 50)
    assert [item[:3] for item in often if item[0] > 24] == [(90, "user-7", ["debugger"])]
    assert often[-1][3] < 0.01 * min(item[3] for item in once if item[0] == 90)


def test_members_that_leave_no_longer_count() -> None:
    day = 86_400
    config = job(detector("rare", by_field_name="host", over_field_name="user"), span="1h")
    seconds = [START, START, *(START + day * k for k in range(1, 45))]
    users = ["gone", "stays", *["stays"] * 44]
    programs = ["old", "old", *["new"] * 44]
    model, _ = run(config, make_batch(seconds, texts={"user": users, "host": programs}))
    arrays, meta = model.state()
    assert model.n_series == 1
    assert arrays["d0.rarity.weights"].sum() == UNIT
    assert sum(name is not None for name in meta["detectors"][0]["attributes"]["names"][0]) == 2
    again = Model.restore(config, arrays, meta)
    assert again.digest() == model.digest()


@pytest.mark.parametrize(("excluded", "expected"), [(None, {"busy", "seldom"}), ("by", {"seldom"})])
def test_frequent_values_are_left_out_on_demand(excluded: str | None, expected: set[str]) -> None:
    rng = np.random.default_rng(4)
    n = 24 * 30
    hours = np.sort([*range(n), *range(0, n, 12)])
    is_busy = np.ones(hours.size, np.bool_)
    is_busy[np.flatnonzero(hours % 12 == 0)[1::2]] = False
    value = rng.normal(100, 3, hours.size)
    value[(hours == n - 12)] += 100
    wanted = {} if excluded is None else {"exclude_frequent": excluded}
    config = job(detector("mean", by_field_name="host", **wanted), span="1h")
    texts = {"host": ["busy" if busy else "seldom" for busy in is_busy]}
    _, results = run(config, make_batch(START + hours * HOUR, {"value": value}, texts))
    last = [r for result in results for r in result.records if result.timestamp_ms // 1000 == START + (n - 12) * HOUR]
    assert {record.by_field_value for record in last} == expected
