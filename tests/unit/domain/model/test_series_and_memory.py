"""Series come and go: slots, the memory limit, pruning, and what the size stats say of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from domain.model import Model, decode_state, empty_size_stats, encode_state
from domain.model.memory import BASE_BYTES, Memory
from domain.model.series import SeriesTable
from tests.checks.jobs import START, cut, detector, job, make_batch, run

DAY = 86_400
BY_HOST = detector("mean", by_field_name="host")


def many_names(n: int = 3000, n_buckets: int = 3):  # type: ignore[no-untyped-def]
    names = [f"host-{k % n}" for k in range(n * n_buckets)]
    return make_batch(START + np.arange(n * n_buckets) * 900 // n, {"value": np.arange(n * n_buckets)}, {"host": names})


def test_a_free_slot_is_used_again() -> None:
    table = SeriesTable(("host",))
    for name in ("a", "b", "c"):
        table.create((name,), 0)
    table.see(np.array([0, 2]), 100)
    cleared: list[list[int]] = []
    assert table.prune(50, lambda slots: cleared.append(slots.tolist())) == 1
    assert cleared == [[1]]
    assert table.create(("d",), 200) == 1
    assert table.names == [("a",), ("d",), ("c",)]


def test_a_table_is_stored_and_restored() -> None:
    table = SeriesTable(("region", "host"))
    for name in (("n", "a"), ("n", "b"), ("", "c")):
        table.create(name, 0)
    table.see(np.array([0]), 100)
    table.prune(50, lambda _: None)
    again = SeriesTable(("region", "host"))
    again.load(*table.state())
    assert (again.slot_of, again.free, again.name_bytes) == (table.slot_of, table.free, table.name_bytes)


def test_beyond_the_limit_no_series_is_made_and_the_others_go_on() -> None:
    config = job(BY_HOST, limit="1mb")
    model, results = run(config, many_names())
    assert 100 < model.n_series < 3000
    stats = model.size_stats()
    assert stats["memory_status"] == "hard_limit"
    assert stats["bucket_allocation_failures_count"] == 2  # of two closed buckets; the third is open
    assert stats["model_bytes"] <= stats["model_bytes_memory_limit"]
    assert [result.event_count for result in results] == [3000, 3000]


def test_who_still_found_room_does_not_depend_on_the_cut() -> None:
    config = job(detector("median", by_field_name="host"), detector("count", partition_field_name="host"), limit="1mb")
    batch = many_names()
    model, results = run(config, batch)
    other, others = run(config, *cut(batch, list(range(0, 9000, 101))))
    assert results == others
    assert model.digest() == other.digest()


def test_a_raised_limit_lets_new_series_in() -> None:
    config = job(BY_HOST, limit="1mb")
    model, _ = run(config, many_names())
    model.reconfigure(job(BY_HOST, limit="64mb"))
    model.add(make_batch([START + 2701], {"value": [1.0]}, {"host": ["late"]}))
    assert model.size_stats()["memory_status"] == "ok"
    before = model.n_series
    model.add(make_batch([START + 2702], {"value": [1.0]}, {"host": ["later"]}))
    assert model.n_series == before + 1


def test_series_silent_for_a_month_are_pruned() -> None:
    hosts = ["a", "b", *["a"] * 40]
    seconds = START + np.array([0, 1, *range(DAY, 41 * DAY, DAY)])
    batch = make_batch(seconds, {"value": np.ones(42)}, {"host": hosts})
    config = job(BY_HOST, span="1h")
    model, _ = run(config, batch)
    assert model.n_series == 1
    alone = make_batch(seconds[[0, *range(2, 42)]], {"value": np.ones(41)}, {"host": ["a"] * 41})
    assert model.size_stats()["model_bytes"] == run(config, alone)[0].size_stats()["model_bytes"]


def test_pruning_does_not_depend_on_the_cut() -> None:
    rng = np.random.default_rng(4)
    n = 400
    hosts = [f"host-{k}" for k in (np.arange(n) // 40) + rng.integers(0, 3, n)]
    batch = make_batch(START + np.arange(n) * DAY // 2, {"value": rng.normal(size=n)}, {"host": hosts})
    config = job(BY_HOST, detector("count", by_field_name="host"), span="6h")
    model, results = run(config, batch)
    other, others = Model(config), []
    for part in cut(batch, rng.integers(0, n, 60).tolist()):
        other = Model.restore(config, *decode_state(encode_state(*other.state())))
        others += other.add(part)
    assert model.n_series < 10
    assert results == others
    assert model.digest() == other.digest()


def test_the_status_turns_soft_before_it_turns_hard() -> None:
    memory = Memory(2 * BASE_BYTES)
    assert memory.status() == "ok"
    assert memory.reserve(BASE_BYTES // 2)
    assert memory.status() == "soft_limit"
    assert not memory.reserve(BASE_BYTES)
    assert memory.status() == "hard_limit"
    memory.settle(BASE_BYTES)
    assert memory.status() == "ok"


def test_size_stats_count_values_of_each_kind() -> None:
    config = job(
        detector("count", by_field_name="host", partition_field_name="region"), detector("count", by_field_name="host")
    )
    batch = make_batch([START] * 3, texts={"host": ["a", "b", "a"], "region": ["n", "n", "s"]})
    stats = run(config, batch)[0].size_stats()
    assert (stats["total_by_field_count"], stats["total_partition_field_count"]) == (4, 2)
    assert stats["log_time"] == START * 1000


def test_empty_size_stats_have_the_same_fields_as_those_of_a_model() -> None:
    model, _ = run(job(detector("count")), make_batch([START]))
    assert list(empty_size_stats()) == list(model.size_stats())
    assert set(empty_size_stats().values()) <= {0, "ok", "model_size_stats"}


POPULATIONS = [
    detector("high_mean", by_field_name="host", over_field_name="user", exclude_frequent="all"),
    detector("rare", by_field_name="host", over_field_name="user", partition_field_name="region"),
    detector("freq_rare", by_field_name="host", over_field_name="user", exclude_frequent="over"),
    detector("rare", by_field_name="host", exclude_frequent="by"),
    detector("time_of_day", over_field_name="host"),
    detector("lat_long", by_field_name="host"),
]


@pytest.mark.parametrize("fields", POPULATIONS, ids=lambda fields: fields["function"])
def test_pruning_of_members_does_not_depend_on_the_cut(fields: dict[str, Any]) -> None:
    rng = np.random.default_rng(5)
    n = 400
    texts = {
        "host": [f"host-{k}" for k in (np.arange(n) // 60) + rng.integers(0, 3, n)],
        "user": [f"user-{k}" for k in (np.arange(n) // 40) + rng.integers(0, 4, n)],
        "region": [f"region-{k}" for k in np.arange(n) // 130],
        "place": [f"{k},{k}" for k in rng.integers(0, 5, n)],
    }
    batch = make_batch(START + np.arange(n) * DAY // 4, {"value": rng.normal(size=n)}, texts)
    config = job(fields, span="6h")
    model, results = run(config, batch)
    other, others = Model(config), []
    for part in cut(batch, rng.integers(0, n, 40).tolist()):
        other = Model.restore(config, *decode_state(encode_state(*other.state())))
        others += other.add(part)
    assert results == others
    assert model.digest() == other.digest()
    detector_model = model._detectors[0]
    n_slots_used = detector_model.series.n_slots
    assert detector_model.series.n_series <= n_slots_used < len(set(zip(*texts.values(), strict=True)))
    for groups in detector_model.groups.values():
        assert groups.table.n_series <= detector_model.series.n_series


@pytest.mark.parametrize("fields", POPULATIONS, ids=lambda fields: fields["function"])
def test_a_forgotten_past_leaves_no_trace(fields: dict[str, Any]) -> None:
    """What was pruned counts for nothing: not in sums, not in slots that are used again."""
    n = 60
    texts = {name: [f"{name}-{k % 4}" for k in range(n)] for name in ("host", "user", "region")}
    texts["place"] = [f"{k % 7},{k % 5}" for k in range(n)]
    later = make_batch(START + 100 * DAY + np.arange(n) * 900, {"value": np.arange(n)}, texts)
    before = {name: [f"old-{text}" for text in column] for name, column in texts.items()} | {"place": texts["place"]}
    config = job(fields, span="3h")
    model, _ = run(config, make_batch(START + np.arange(n) * 900, {"value": np.arange(n)}, before))
    model.advance_time((START + 95 * DAY) * 1000)
    assert model.n_series == 0
    assert model.size_stats()["model_bytes"] == Model(config).size_stats()["model_bytes"]
    for name, array in model.state()[0].items():
        if not name.endswith(("last_seen", "of_slot")):
            assert not array.any(), name
    model.add(later)
    arrays, _ = model.state()
    fresh, _ = run(config, later)
    for name, array in fresh.state()[0].items():
        if name.endswith((".active", ".totals", ".counts", "rarity.weights")):
            assert sorted(arrays[name][..., arrays[name].any(axis=0)].ravel()) == sorted(
                array[..., array.any(axis=0)].ravel()
            ), name


@pytest.mark.parametrize("fields", POPULATIONS, ids=lambda fields: fields["function"])
def test_memory_of_members_is_limited(fields: dict[str, Any]) -> None:
    n = 15_000
    texts = {name: [f"{name}-{k % 5000}" for k in range(n)] for name in ("host", "user", "region")}
    batch = make_batch(START + np.arange(n) * 900 // 5000, {"value": np.arange(n)}, {**texts, "place": ["1,2"] * n})
    config = job(fields, limit="1mb")
    model, results = run(config, batch)
    other, others = run(config, *cut(batch, list(range(0, n, 1300))))
    stats = model.size_stats()
    assert stats["memory_status"] == "hard_limit"
    assert BASE_BYTES < stats["model_bytes"] <= stats["model_bytes_memory_limit"]
    assert model._memory.used == BASE_BYTES + sum(each.memory_bytes for each in model._detectors)
    assert results == others
    assert model.digest() == other.digest()
