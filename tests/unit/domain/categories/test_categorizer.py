"""Which messages belong together, and what is told of them."""

from __future__ import annotations

import re
import sys
import tracemalloc
from pathlib import Path

import pytest

from benchmarks.categories import SEED, TEMPLATES, WORDY_TEMPLATES, generate, grouping_accuracy
from domain.categories import EXAMPLE_LENGTH_MAX, NO_CATEGORY, OK, WARN, Categorizer


def same(*messages: str) -> bool:
    return len(set(Categorizer().categorize(messages))) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Cache hit for key 7", "Cache miss for key 7"),
        ("session opened for user bob", "session closed for user bob"),
        ("Failed password for bob", "Failed password for invalid user bob"),
        ("web INFO app: CPU usage at 3%", "web INFO app: Memory usage at 3%"),
        ("Accepted password for bob from 1.2.3.4", "Accepted publickey for bob from 1.2.3.4"),
        ("Task done", "Task not done"),
        ('{"msg":"request served"}', '{"msg":"request rejected"}'),
    ],
)
def test_messages_with_another_text_are_apart(one: str, other: str) -> None:
    assert not same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("User alice logged in from fe80::1", "User test logged in from 10.0.0.1"),
        ("copied /a/b to /c in 3 ms", "copied ~/x.txt to /c/d.log in 17 seconds"),
        ("lock taken by 'the open door'", 'lock taken by "x"'),
        ("Benutzer hans hat sich angemeldet", "Benutzer eva hat sich angemeldet"),
        ("ERROR disk 5 failed", "WARN disk 6 failed"),
        ("", "12.5"),
    ],
)
def test_messages_with_other_values_are_together(one: str, other: str) -> None:
    assert same(one, other)


@pytest.mark.parametrize("templates", [TEMPLATES, WORDY_TEMPLATES, TEMPLATES + WORDY_TEMPLATES])
def test_messages_of_known_templates_are_grouped_by_template(templates: tuple[str, ...]) -> None:
    lines, truth = generate(templates, 10_000, SEED)
    assert grouping_accuracy(Categorizer().categorize(lines), truth) >= 0.95


def test_a_real_log_has_categories_that_a_person_would_name(test_data: Path) -> None:
    lines = (test_data / "data/logs/secure.log").read_text().splitlines()
    categorizer = Categorizer()
    categorizer.categorize(lines)
    counts = {each["terms"]: each["num_matches"] for each in categorizer.resources()}
    assert len(counts) <= 25
    assert counts["localhost sshd Invalid user from port"] == sum("]: Invalid user" in line for line in lines)
    assert counts["localhost pam_unix session session closed for user"] == sum(
        "session closed" in line for line in lines
    )
    assert categorizer.counts()["categorization_status"] == OK


def test_a_category_is_shown_as_the_api_has_it() -> None:
    categorizer = Categorizer()
    categorizer.categorize(["a.b (user) bob logged in", "a.b (user) alice logged in", "a.b (user) bob logged in"])
    expected = {
        "category_id": 1,
        "terms": "a.b user logged in",
        "regex": r".*?a\.b.+?user.+?logged.+?in.*",
        "max_matching_length": 28,
        "examples": ["a.b (user) alice logged in", "a.b (user) bob logged in"],
        "preferred_to_categories": [],
        "num_matches": 3,
    }
    assert expected == categorizer.resource(1)


def test_examples_are_few_distinct_sorted_and_short() -> None:
    categorizer = Categorizer(examples_limit=2)
    categorizer.categorize(["opened 9", "opened 9", "opened 1 " + "x" * 5_000, "opened 0"])
    examples = categorizer.resource(1)["examples"]
    assert examples == ["opened 1 " + "x" * (EXAMPLE_LENGTH_MAX - 12) + "...", "opened 9"]
    assert Categorizer(examples_limit=0).categorize(["opened"]) == [1]


def test_filters_hide_what_they_match_but_the_expression_still_finds_the_message() -> None:
    categorizer = Categorizer(["job [a-z]+", r"\[.*?\]"])
    messages = ["opened [for bob] job closed there", "opened[not]job stopped there"]
    assert categorizer.categorize(messages) == [1, 1]
    assert all(re.search(categorizer.resource(1)["regex"], message) for message in messages)


def test_beyond_the_maximum_there_are_no_new_categories() -> None:
    categorizer = Categorizer(category_count_max=2)
    assert categorizer.categorize(["opened", "closed", "failed", "opened"]) == [1, 2, NO_CATEGORY, 1]
    counts = categorizer.counts()
    assert (counts["total_category_count"], counts["failed_category_count"], counts["categorized_doc_count"]) == (
        2,
        1,
        3,
    )


def test_a_category_that_covers_another_is_preferred_to_it() -> None:
    categorizer = Categorizer()
    ids = categorizer.categorize([f"{name} volume full now" for name in ("client", "memory", "anna", "bob", "memory")])
    assert ids == [1, 2, 1, 1, 1]
    assert categorizer.resource(1)["preferred_to_categories"] == [2]
    assert categorizer.counts()["dead_category_count"] == 1


@pytest.mark.parametrize(
    ("status", "messages"),
    [
        (OK, ["opened"] * 100),
        (WARN, ["opened"] * 101),
        (OK, ["opened", "closed"] * 100),
    ],
)
def test_a_warning_says_that_categories_tell_nothing(status: str, messages: list[str]) -> None:
    categorizer = Categorizer()
    categorizer.categorize(messages)
    assert status == categorizer.counts()["categorization_status"]


def test_many_categories_of_one_message_each_are_warned_of() -> None:
    categorizer = Categorizer()
    categorizer.categorize([f"q{chr(97 + i // 26)}q {chr(97 + i % 26)}qz" for i in range(300)])
    counts = categorizer.counts()
    assert counts["rare_category_count"] > 0.9 * counts["total_category_count"]
    assert counts["categorization_status"] == WARN


def test_touched_categories_are_told_once() -> None:
    categorizer = Categorizer()
    categorizer.categorize(["opened", "closed", "opened"])
    assert categorizer.take_touched() == [1, 2]
    categorizer.categorize(["closed"])
    assert categorizer.take_touched() == [2]


def test_an_unknown_id_and_an_unknown_state_are_refused() -> None:
    with pytest.raises(IndexError, match="category id"):
        Categorizer().resource(1)
    with pytest.raises(ValueError, match="version"):
        Categorizer.restore({"version": 0})


def test_the_size_told_is_about_the_size_taken() -> None:
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    lines = [f"{a}{b} opened {b}x disk {a}y for {b}{b}z" for a in syllables for b in syllables[:20]]
    grown = Categorizer()
    grown.categorize(lines)
    state = grown.state()
    tracemalloc.start()
    restored = Categorizer.restore(state)
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    shared = sum(sys.getsizeof(each) for category in state["categories"] for each in (*category[0], *category[4]))
    assert 0.8 < restored.size_bytes / (taken + shared) < 1.25
