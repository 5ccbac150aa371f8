"""Categories kept apart by partition: ids of the job, warnings, what stops, and how much there may be."""

from __future__ import annotations

import json
import random
import sys
import tracemalloc
from typing import Any

from domain.categories import NO_CATEGORY, OK, WARN, Budget, JobCategories, Tokenizer


def apart(**settings: Any) -> JobCategories:
    return JobCategories(Tokenizer(), field_name="host", **settings)


def lines(count: int, seed: int = 1) -> tuple[list[str], list[str]]:
    chance = random.Random(seed)
    texts = ["disk {} is full", "user bob{} left", "backup of {} finished", "link {} down", "qz{0} zq{0} opened"]
    messages = [chance.choice(texts).format(chr(97 + chance.randrange(26))) for _ in range(count)]
    return messages, [f"host-{chance.randrange(12)}" for _ in range(count)]


def test_ids_are_of_the_job_in_the_order_of_first_messages() -> None:
    categories = apart()
    messages = ["disk is full", "disk is full", "user bob left", "disk is full", "user bob left"]
    assert categories.categorize(messages, ["a", "b", "a", "b", "b"]) == [1, 2, 3, 2, 4]
    shown = [(each["partition_field_value"], each["terms"], each["num_matches"]) for each in categories.resources()]
    assert shown == [
        ("a", "disk is full", 1),
        ("b", "disk is full", 2),
        ("a", "user bob left", 1),
        ("b", "user bob left", 1),
    ]
    assert list(categories.resource(4))[:4] == ["category_id", "partition_field_name", "partition_field_value", "terms"]
    assert categories.take_touched() == [1, 2, 3, 4]
    assert categories.take_touched() == []


def test_preferred_categories_are_named_by_their_ids_in_the_job() -> None:
    categories = apart()
    names = ("client", "memory", "anna", "bob", "memory")
    messages = ["link up", *(f"{name} volume full now" for name in names)]
    assert categories.categorize(messages, ["x", *["y"] * 5]) == [1, 2, 3, 2, 2, 2]
    assert categories.resource(2)["preferred_to_categories"] == [3]


def test_without_a_partition_field_all_messages_are_one_partition() -> None:
    categories = JobCategories(Tokenizer())
    assert categories.categorize(["disk is full", "user bob left", "disk is full"]) == [1, 2, 1]
    assert "partition_field_name" not in categories.resource(1)


def test_cuts_and_restores_change_nothing_even_where_room_runs_out() -> None:
    messages, hosts = lines(600)
    settings = {"stop_on_warn": True, "examples_limit": 2}
    whole = apart(budget=Budget(60_000), **settings)
    ids = whole.categorize(messages, hosts)
    part, found = apart(budget=Budget(60_000), **settings), []
    for start in range(0, 600, 37):
        state = json.loads(json.dumps(part.state()))
        part = apart(budget=Budget(60_000), **settings)
        part.load(state)
        found += part.categorize(messages[start : start + 37], hosts[start : start + 37])
    assert whole.is_full
    assert NO_CATEGORY in ids
    assert found == ids
    assert part.state() == whole.state()
    assert (part.counts(), part.size_bytes, part.resources()) == (whole.counts(), whole.size_bytes, whole.resources())


def test_the_number_of_partitions_is_bounded() -> None:
    categories = apart(budget=Budget(100_000))
    ids = categories.categorize(["disk is full"] * 1000, [f"host-{k}" for k in range(1000)])
    assert 10 < max(ids) < 60
    assert ids[-1] == NO_CATEGORY
    assert categories.size_bytes <= 100_000
    assert categories.counts()["failed_category_count"] == ids.count(NO_CATEGORY)


def test_a_partition_that_tells_nothing_is_warned_of_and_stopped_on_demand() -> None:
    messages = [*["opened"] * 150, *["opened", "closed"] * 75]
    hosts = [*["dull"] * 150, *["lively"] * 150]
    for stop_on_warn, n_dull in ((False, 150), (True, 101)):
        categories = apart(stop_on_warn=stop_on_warn)
        ids = categories.categorize(messages, hosts)
        counts = categories.counts()
        assert counts["categorization_status"] == WARN
        assert ids.count(1) == n_dull
        assert counts["categorized_doc_count"] == n_dull + 150
        assert NO_CATEGORY not in ids[150:]


def test_lively_partitions_are_ok() -> None:
    categories = apart(stop_on_warn=True)
    ids = categories.categorize(["opened", "closed"] * 300, ["a", "a", "b", "b"] * 150)
    assert NO_CATEGORY not in ids
    assert categories.counts()["categorization_status"] == OK


def test_a_partition_that_was_stopped_goes_on_when_that_is_no_longer_wanted() -> None:
    stopped = apart(stop_on_warn=True)
    assert stopped.categorize(["opened"] * 102, ["a"] * 102)[-1] == NO_CATEGORY
    again = apart(stop_on_warn=False)
    again.load(stopped.state())
    assert again.categorize(["opened"], ["a"]) == [1]


def test_the_size_told_is_about_the_size_taken() -> None:
    tokenizer = Tokenizer()
    messages = [f"disk{k} of host{k} opened volume group" for k in range(4_000)]
    JobCategories(tokenizer).categorize(messages)
    grown = apart()
    grown.categorize(messages, [f"h{k % 1000}" for k in range(4_000)])
    state = json.loads(json.dumps(grown.state()))
    tracemalloc.start()
    restored = apart()
    restored.load(state)
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    each = [category for part in state["partitions"] for category in part[1]["categories"]]
    shared = sum(sys.getsizeof(text) for category in each for text in (*category[0], *category[4]))
    assert 0.8 < restored.size_bytes / (taken + shared) < 1.2
