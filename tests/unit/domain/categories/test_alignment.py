"""What differences cost, and what is left in common."""

from __future__ import annotations

from domain.categories.alignment import FORBIDDEN, distance, merge


def cost(slots: str, tokens: str) -> int:
    return distance([None if slot == "*" else slot for slot in slots.split()], tokens.split(), FORBIDDEN)


def merged(slots: str, tokens: str) -> str:
    return " ".join(
        slot or "*" for slot in merge([None if slot == "*" else slot for slot in slots.split()], tokens.split())
    )


def test_unknown_words_differ_cheaply_nouns_dearly_verbs_never() -> None:
    assert cost("user bob opened", "user alice opened") == 1
    assert cost("user disk opened", "user alice opened") == 2
    assert cost("user disk opened", "user volume opened") == 10
    assert cost("user bob opened", "user bob closed") >= FORBIDDEN


def test_words_that_bind_are_never_exchanged_nor_left_out() -> None:
    assert cost("sent to bob", "sent from bob") >= FORBIDDEN
    assert cost("user bob is ready", "user bob ready") >= FORBIDDEN


def test_a_wildcard_takes_one_token_or_none() -> None:
    assert cost("user * opened", "user opened") == 0
    assert cost("user * opened", "user bob opened") == 0
    assert cost("user * opened", "user bob smith opened") == 1


def test_the_cheapest_of_all_alignments_counts() -> None:
    assert cost("a * b c * d", "a c d b c d") == 1
    assert cost("", "") == 0


def test_differences_become_wildcards() -> None:
    assert merged("user bob opened", "user alice opened") == "user * opened"
    assert merged("user bob opened qz", "user opened") == "user * opened *"
    assert merged("user opened", "user bob smith opened") == "user * * opened"
    assert merged("user * opened", "user opened") == "user * opened"
