"""Series come and go: slots, the memory limit, pruning, and what the size stats say of them."""

from __future__ import annotations

import numpy as np

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
    assert memory.status == "ok"
    assert memory.reserve(BASE_BYTES // 2)
    assert memory.status == "soft_limit"
    assert not memory.reserve(BASE_BYTES)
    assert memory.status == "hard_limit"
    memory.settle(BASE_BYTES)
    assert memory.status == "ok"


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
