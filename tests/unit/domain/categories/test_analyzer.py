"""What analyzers make of messages."""

from __future__ import annotations

from typing import Any

import pytest

from domain.categories import MESSAGE_LENGTH_MAX, TOKEN_COUNT_MAX, AnalyzerTokenizer, JobCategories
from domain.config.analyzer import read_analyzer

LINE = "Oct 22 sshd[88]: Opened /var/log-1.txt for user_7 by 0xff, don't 3.5% a-b."
CHARS = "Oct 22 sshd 88 Opened var log 1 txt for user 7 by 0xff don t 3 5 a b"


def tokens(analyzer: Any, message: str = LINE) -> list[str]:
    return list(AnalyzerTokenizer(read_analyzer(analyzer)).tokens(message))


@pytest.mark.parametrize(
    ("tokenizer", "expected"),
    [
        ("ml_classic", "Oct sshd Opened var log-1.txt for user_7 by don t a-b"),
        ("ml_standard", "Oct sshd Opened /var/log-1.txt for user_7 by don t a-b"),
        ("standard", "Oct 22 sshd 88 Opened var log 1 txt for user_7 by 0xff don't 3.5 a b"),
        ("classic", "Oct 22 sshd 88 Opened var log-1.txt for user_7 by 0xff don't 3.5 a b"),
        ("whitespace", LINE),
        ("letter", "Oct sshd Opened var log txt for user by xff don t a b"),
        ("lowercase", "oct sshd opened var log txt for user by xff don t a b"),
        ({"type": "pattern", "pattern": "[ :]+"}, " ".join(LINE.replace(":", " ").split())),
        ({"type": "pattern", "pattern": r"(\w+)\[", "group": 1}, "sshd"),
        ({"type": "simple_pattern", "pattern": "[0-9]{2}"}, "22 88"),
        ({"type": "char_group", "tokenize_on_chars": ["whitespace", "punctuation"]}, CHARS),
        ({"type": "letter", "max_token_length": 5}, "Oct sshd Opene d var log txt for user by xff don t a b"),
    ],
)
def test_tokenizers(tokenizer: Any, expected: str) -> None:
    assert " ".join(tokens({"tokenizer": tokenizer})) == expected


def test_a_keyword_is_the_whole_message() -> None:
    assert tokens("keyword", "a b\nc") == ["a b\nc"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([{"type": "stop", "stopwords": ["b", "Mon"]}], "B A a d"),
        ([{"type": "stop", "stopwords": ["b", "MON"], "ignore_case": True}], "A a d"),
        (["stop"], "B Mon A b d"),
        ([{"type": "stop", "stopwords": "_none_"}], "B Mon A b a d"),
        ([{"type": "limit", "max_token_count": 2}], "B Mon"),
        (["limit"], "B"),
        (["lowercase", "unique"], "b mon a d"),
        (["uppercase"], "B MON A B A D"),
        ([{"type": "length", "min": 2}], "Mon"),
        ([{"type": "truncate", "length": 2}], "B Mo A b a d"),
        ([{"type": "pattern_replace", "pattern": "[oa]", "replacement": "0"}], "B M0n A b 0 d"),
        ([{"type": "keep", "keep_words": ["b"], "keep_words_case": True}, "trim"], "b"),
    ],
)
def test_token_filters(filters: list[Any], expected: str) -> None:
    assert " ".join(tokens({"tokenizer": "whitespace", "filter": filters}, "B Mon A b a d")) == expected


@pytest.mark.parametrize(
    ("char_filter", "expected"),
    [
        (
            {"type": "pattern_replace", "pattern": r"\[(\d+)\]", "replacement": "<$1>"},
            ["--", "12", "sshd<7>", "\u00fc"],
        ),
        ({"type": "mapping", "mappings": ["sshd => ftp", "\\u00fc => ue"]}, ["--", "12", "ftp[7]", "ue"]),
        ("first_line_with_letters", ["sshd[7]"]),
        ("first_non_blank_line", ["--", "12"]),
    ],
)
def test_character_filters(char_filter: Any, expected: list[str]) -> None:
    analyzer = {"tokenizer": "whitespace", "char_filter": [char_filter]}
    assert tokens(analyzer, "\n-- 12\nsshd[7]\n\u00fc") == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("ann.b@mail.example.com from www.example.com", "ann.b@mail.example.com from www.example.com"),
        ("part X-12-A9 of 1,024.5 items, o'neil wi-fi", "part X-12-A9 of 1,024.5 items o'neil wi fi"),
    ],
)
def test_the_classic_tokenizer_keeps_addresses_and_numbers_whole(message: str, expected: str) -> None:
    assert " ".join(tokens({"tokenizer": "classic"}, message)) == expected


def test_markup_is_taken_out_and_its_entities_are_read() -> None:
    message = "<p class='x'>I&apos;m <b>ha</b>ppy &lt;now&gt;</p><!-- a > b --><br/>end <i>"
    for escaped, expected in (([], ["I'm happy <now>", "end "]), (["B"], ["I'm <b>ha</b>ppy <now>", "end "])):
        filters = [{"type": "html_strip", "escaped_tags": escaped}]
        lines = {"type": "pattern", "pattern": "\n+"}
        assert tokens({"tokenizer": lines, "char_filter": filters}, message) == expected


def test_accents_fold() -> None:
    assert tokens({"tokenizer": "whitespace", "filter": ["asciifolding"]}, "caf\u00e9") == ["cafe"]


def test_messages_are_cut_before_expressions_see_them() -> None:
    growing = {"type": "mapping", "mappings": ["a => aaaaaaaaaa"]}
    analyzer = {"tokenizer": "whitespace", "char_filter": [growing] * 9}
    assert tokens(analyzer, "a" * 100_000) == ["a" * 64]
    slow = {"tokenizer": {"type": "pattern", "pattern": r"\s+$"}}
    assert tokens(slow, "x" + " " * 1_000_000) == ["x"]  # of quadratic cost
    assert tokens(slow, " " * 1_000_000 + "x") == []
    assert len(tokens("whitespace", "ab " * MESSAGE_LENGTH_MAX)) == TOKEN_COUNT_MAX


def test_categories_are_those_of_the_analyzer() -> None:
    date = {"type": "stop", "stopwords": ["Mon", "Tue"]}
    analyzer = {"char_filter": ["first_line_with_letters"], "tokenizer": "ml_standard", "filter": [date]}
    categories = JobCategories(AnalyzerTokenizer(read_analyzer(analyzer)))
    assert categories.categorize(["Mon 12 disk is full", "Tue 13 disk is full\n at x", "12:5"]) == [1, 1, 2]
    assert categories.resource(1)["terms"] == "disk is full"
