"""The analyzer of messages that a job may name or build: character filters, one tokenizer, token filters.

Read and checked here, by name and parameter, so that a job with one that is not known is never made; run in
``domain/categories/analyzer.py``. What needs files or languages is not known.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from domain.config.expressions import BadExpression, compile_expression, compile_replacement
from domain.config.fields import Section, shorten
from domain.errors import BadRequest

KEY: Final = "categorization_analyzer"
PARTS_MAX: Final = 64
"""Filters of either kind. Chosen: each takes time for each message."""
ENGLISH_STOPWORDS: Final = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "but",
        "by",
        "for",
        "if",
        "in",
        "into",
        "is",
        "it",
        "no",
        "not",
        "of",
        "on",
        "or",
        "such",
        "that",
        "the",
        "their",
        "then",
        "there",
        "these",
        "they",
        "this",
        "to",
        "was",
        "will",
        "with",
    ]
)
"""What ``_english_`` stands for."""


class Kind(NamedTuple):
    """A kind of part: the parameters it knows, with what each is read by."""

    parameters: Mapping[str, Callable[[Section, str], Any]] = {}
    needed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """A character filter, tokenizer or token filter with its parameters; those not given are absent."""

    type: str
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Analyzer:
    """What makes tokens of messages."""

    tokenizer: Part
    char_filters: tuple[Part, ...] = ()
    token_filters: tuple[Part, ...] = ()


def _count(section: Section, key: str) -> int | None:
    value = section.integer(key)
    if value is not None and value < 0:
        raise section.refused(key, "a number that is not negative", value)
    return value


def _words(section: Section, key: str) -> frozenset[str] | None:
    value = section.raw(key)
    if isinstance(value, list):
        return frozenset(section.texts(key) or ())
    named = {"_english_": ENGLISH_STOPWORDS, "_none_": frozenset[str]()}
    text = section.text(key)
    if text is not None and text not in named:
        raise section.refused(key, f"an array or one of [{', '.join(named)}]", text)
    return None if text is None else named[text]


def _mappings(section: Section, key: str) -> dict[str, str] | None:
    texts = section.texts(key)
    if texts is None:
        return None
    pairs = [tuple(map(str.strip, text.split("=>", 1))) for text in texts]
    for text, pair in zip(texts, pairs, strict=True):
        if len(pair) < 2 or not pair[0]:
            raise section.refused(key, "mappings of the form [a => b]", text)
    return {_unescaped(pair[0]): _unescaped(pair[1]) for pair in pairs}


def _unescaped(text: str) -> str:
    names = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "b": "\b"}
    return re.sub(
        r"\\(?:u([0-9a-fA-F]{4})|(.))",
        lambda match: chr(int(match[1], 16)) if match[1] else names.get(match[2], match[2]),
        text,
    )


def _text(section: Section, key: str) -> str | None:
    return section.text(key)


def _flag(section: Section, key: str) -> bool | None:
    return section.flag(key)


def _texts(section: Section, key: str) -> tuple[str, ...] | None:
    return section.texts(key)


_TOKEN_LENGTH: Final = {"max_token_length": _count}
_EXPRESSION: Final = {"pattern": _text, "flags": _text}

CHAR_FILTERS: Final[dict[str, Kind]] = {
    "pattern_replace": Kind({**_EXPRESSION, "replacement": _text}, ("pattern",)),
    "mapping": Kind({"mappings": _mappings}, ("mappings",)),
    "html_strip": Kind({"escaped_tags": _texts}),
    "first_line_with_letters": Kind(),
    "first_non_blank_line": Kind(),
}
TOKENIZERS: Final[dict[str, Kind]] = {
    "ml_standard": Kind(),
    "ml_classic": Kind(),
    "standard": Kind(_TOKEN_LENGTH),
    "classic": Kind(_TOKEN_LENGTH),
    "whitespace": Kind(_TOKEN_LENGTH),
    "letter": Kind(_TOKEN_LENGTH),
    "lowercase": Kind(_TOKEN_LENGTH),
    "keyword": Kind({"buffer_size": _count}),
    "pattern": Kind({**_EXPRESSION, "group": lambda section, key: section.integer(key)}),
    "simple_pattern": Kind({"pattern": _text}, ("pattern",)),
    "simple_pattern_split": Kind({"pattern": _text}, ("pattern",)),
    "char_group": Kind({"tokenize_on_chars": _texts, **_TOKEN_LENGTH}, ("tokenize_on_chars",)),
}
TOKEN_FILTERS: Final[dict[str, Kind]] = {
    "stop": Kind({"stopwords": _words, "ignore_case": _flag, "remove_trailing": _flag}),
    "limit": Kind({"max_token_count": _count, "consume_all_tokens": _flag}),
    "lowercase": Kind(),
    "uppercase": Kind(),
    "trim": Kind(),
    "unique": Kind({"only_on_same_position": _flag}),
    "length": Kind({"min": _count, "max": _count}),
    "truncate": Kind({"length": _count}),
    "pattern_replace": Kind({**_EXPRESSION, "replacement": _text, "all": _flag}, ("pattern",)),
    "keep": Kind({"keep_words": _words, "keep_words_case": _flag}, ("keep_words",)),
    "asciifolding": Kind(),
}
_LOWERCASE: Final = (Part("lowercase"),)
_STOP: Final = Part("stop", {"stopwords": ENGLISH_STOPWORDS})
ANALYZERS: Final[dict[str, Analyzer]] = {
    "standard": Analyzer(Part("standard"), token_filters=_LOWERCASE),
    "simple": Analyzer(Part("lowercase")),
    "whitespace": Analyzer(Part("whitespace")),
    "keyword": Analyzer(Part("keyword")),
    "stop": Analyzer(Part("lowercase"), token_filters=(_STOP,)),
    "pattern": Analyzer(Part("pattern"), token_filters=_LOWERCASE),
}
_FIELDS: Final = frozenset({"char_filter", "tokenizer", "filter"})


def read_analyzer(value: str | dict[str, Any]) -> Analyzer:
    """Read and check an analyzer, a name or an object of its parts.

    Raises
    ------
    BadRequest
        When a name or an expression is not known here; the message lists what is.
    UnknownField
        When a part has a parameter that it does not know, or one of the wrong type.
    """
    if isinstance(value, str):
        analyzer = ANALYZERS.get(value)
        if analyzer is None:
            raise _unknown(value, "analyzer", ANALYZERS)
        return analyzer
    section = Section(value, KEY, _FIELDS)
    tokenizer = section.raw("tokenizer")
    if tokenizer is None:
        reason = f"{KEY} needs a tokenizer; known are [{', '.join(TOKENIZERS)}]"
        raise BadRequest(reason)
    parts = {
        key: tuple(_read_part(item, key, kinds) for item in section.items(key) or ())
        for key, kinds in (("char_filter", CHAR_FILTERS), ("filter", TOKEN_FILTERS))
    }
    if max(map(len, parts.values())) > PARTS_MAX:
        reason = f"{KEY} can have at most {PARTS_MAX} filters of a kind"
        raise BadRequest(reason)
    return Analyzer(_read_part(tokenizer, "tokenizer", TOKENIZERS), parts["char_filter"], parts["filter"])


def _read_part(value: object, key: str, kinds: Mapping[str, Kind]) -> Part:
    name = value if isinstance(value, str) else value.get("type") if isinstance(value, dict) else None
    if not isinstance(name, str) or name not in kinds:
        raise _unknown(name, key, kinds)
    kind = kinds[name]
    section = Section({} if isinstance(value, str) else value, key, frozenset({"type", *kind.parameters}))
    found = {each: read(section, each) for each, read in kind.parameters.items()}
    given = {each: value for each, value in found.items() if value is not None}
    for each in kind.needed:
        if each not in given:
            reason = f"{KEY}: the {key} '{name}' needs [{each}]"
            raise BadRequest(reason)
    return Part(name, _compiled(given, f"{KEY}: the {key} '{name}'"))


def _compiled(given: dict[str, Any], what: str) -> dict[str, Any]:
    """Return the parameters with expressions and replacements compiled."""
    if "pattern" not in given:
        return given
    try:
        pattern = compile_expression(given["pattern"], given.get("flags", ""))
        replacement = compile_replacement(given.get("replacement", ""), pattern)
        group = given.get("group", -1)
        if not -1 <= group <= pattern.groups:
            reason = f"the pattern has no group '{group}'"
            raise BadExpression(reason)
    except BadExpression as error:
        reason = f"{what} has a pattern or replacement that cannot be used: '{shorten(given['pattern'])}': {error}"
        raise BadRequest(reason) from error
    return {**given, "pattern": pattern, "replacement": replacement}


def _unknown(name: object, what: str, known: Mapping[str, object]) -> BadRequest:
    shown = shorten(name) if isinstance(name, str) else "none"
    return BadRequest(f"{KEY}: unknown {what} '{shown}', known are [{', '.join(known)}]")
