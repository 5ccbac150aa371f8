"""Analyzers and expressions that a job may name: what is read, what is refused, and with which words."""

from __future__ import annotations

import re
from typing import Any

import pytest

from domain.config.analyzer import read_analyzer
from domain.config.expressions import BadExpression, compile_expression, compile_replacement
from domain.errors import BadRequest, UnknownField

REPLACE = {"type": "pattern_replace", "pattern": "a"}


@pytest.mark.parametrize(
    ("analyzer", "message"),
    [
        ("english", "unknown analyzer 'english', known are [standard, simple, whitespace, keyword, stop, pattern]"),
        ({"filter": []}, "needs a tokenizer; known are [ml_standard, ml_classic, standard, "),
        ({"tokenizer": "thai"}, "unknown tokenizer 'thai', known are [ml_standard, "),
        ({"tokenizer": {"pattern": "x"}}, "unknown tokenizer 'none', known are"),
        ({"tokenizer": "standard", "filter": ["stemmer"]}, "unknown filter 'stemmer', known are [stop, limit, "),
        ({"tokenizer": "standard", "char_filter": ["kuromoji"]}, "unknown char_filter 'kuromoji', known are ["),
        ({"tokenizer": "standard", "char_filter": ["mapping"]}, "the char_filter 'mapping' needs [mappings]"),
        (
            {"tokenizer": "standard", "char_filter": [{**REPLACE, "pattern": "a(b"}]},
            "the char_filter 'pattern_replace' has a pattern or replacement that cannot be used: 'a(b': missing )",
        ),
        ({"tokenizer": {"type": "pattern", "pattern": "a", "group": 2}}, "the pattern has no group '2'"),
        ({"tokenizer": {"type": "pattern", "pattern": "a", "flags": "X"}}, "unknown flag 'X', known are [CASE_IN"),
        ({"tokenizer": "standard", "filter": [{**REPLACE, "replacement": "$1"}]}, "the pattern has no group '1'"),
        ({"tokenizer": "standard", "filter": ["trim"] * 65}, "at most 64 filters"),
    ],
)
def test_what_is_not_known_is_refused_with_what_is(analyzer: Any, message: str) -> None:
    with pytest.raises(BadRequest, match=re.escape(message)):
        read_analyzer(analyzer)


@pytest.mark.parametrize(
    "part",
    [
        {"tokenizer": {"type": "standard", "language": "en"}},
        {"tokenizer": "standard", "filter": [{"type": "limit", "max_token_count": -1}]},
        {"tokenizer": "standard", "filter": [{"type": "stop", "stopwords": "_thai_"}]},
        {"tokenizer": "standard", "char_filter": [{"type": "mapping", "mappings": ["a"]}]},
        {"tokenizer": "standard", "char_filter": "mapping"},
    ],
)
def test_wrong_parameters_are_refused(part: Any) -> None:
    with pytest.raises(UnknownField):
        read_analyzer(part)


@pytest.mark.parametrize(
    ("expression", "text", "found"),
    [
        (r"\p{Upper}+", "abCD", "CD"),
        (r"[\p{L}_]+", "1é_x", "é_x"),
        (r"\P{Digit}+", "12ab", "ab"),
        (r"\PL+", "ab12", "12"),
        (r"[\p{Punct}x]+", "ab]x-", "]x-"),
        (r"\Qa.b*\E+", "a.b**", "a.b**"),
        (r"(?<word>\w+) \k", "x", None),
        (r"(?<word>\w+)", "x", "x"),
        (r"(?<=a)b", "ab", "b"),
        (r"[]a]+", "b]a", "]a"),
        (r"a++b", "aab", "aab"),
        (r"\h\R", "a \r\n", " \r\n"),
        (r"b\Z", "ab\n", "b"),
        (r"\\p", "\\p", "\\p"),
    ],
)
def test_the_dialect_of_the_reference_is_understood(expression: str, text: str, found: str | None) -> None:
    if found is None:
        with pytest.raises(BadExpression):
            compile_expression(expression)
        return
    match = compile_expression(expression).search(text)
    assert match is not None
    assert match[0] == found


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("[a-z&&[^b]]", "intersections of sets are not supported"),
        ("[a[b]]", "sets inside of sets"),
        (r"\p{Thai}", r"unknown character class '\p{Thai}', known are [Alpha, "),
        ("(", "missing )"),
        ("a" * 2_001, "longer than 2000 characters"),
    ],
)
def test_what_python_lacks_is_refused_by_name(expression: str, message: str) -> None:
    with pytest.raises(BadExpression, match=re.escape(message)):
        compile_expression(expression)


def test_replacements_are_those_of_the_reference() -> None:
    pattern = compile_expression(r"(?<a>x)(y)")
    assert pattern.sub(compile_replacement(r"$2-${a}\$ \\ .", pattern), "xy") == r"y-x$ \ ."
    for bad in ("$3", "${b}", "$", "a\\"):
        with pytest.raises(BadExpression):
            compile_replacement(bad, pattern)
