"""Kinds of tokens."""

from __future__ import annotations

import pytest

from domain.categories.vocabulary import HARD, SOFT, STRONG, WEAK, kind_of


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (HARD, "from is not don't"),
        (STRONG, "opened stopping retried Disk unavailable up reticulating"),
        (SOFT, "disk sessions cache openSession input_request java.io.FileError STORAGE fruition"),
        (WEAK, "alice uid= ERROR web-server qzx 登 é"),
    ],
)
def test_the_kind_of_a_token_is_in_its_spelling(kind: int, words: str) -> None:
    assert {word: kind for word in words.split()} == {word: kind_of(word) for word in words.split()}
