"""Tokens of messages by an analyzer that a job named or built: character filters, a tokenizer, token filters.

Pure functions of the text, like the tokens of `tokens.py`, in whose place they stand. A message is cut before anything
else is done to it, so that no expression can take more than some milliseconds of quadratic work.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from html import unescape
from typing import Any, Final

from domain.categories.tokens import MESSAGE_LENGTH_MAX, TOKEN_COUNT_MAX, TOKEN_LENGTH_MAX, Tokens
from domain.config.analyzer import ENGLISH_STOPWORDS, Analyzer, Part

_LINES = re.compile(r"[\r\n]+")
_LETTER = re.compile(r"[^\W\d_]")
_HEX = re.compile(r"(?:0x)?[0-9a-fA-F]+\Z")
_W, _D, _P = r"[^\W_]+", r"[^\W\d_]*\d[^\W_]*", r"[\-/.,_]"  # a word, one with a digit in it, what joins them
_TOKENS: Final = {
    "ml_classic": re.compile(r"[^\W_][\w.\-]*"),
    "ml_standard": re.compile(r"[^\W_/][\w./\-]*|/[\w./\-]+"),
    # Words of Unicode's annex 29: points and apostrophes join letters, points and commas join digits.
    "standard": re.compile(r"\w+(?:(?:(?<=[^\W\d_])[.:'\u2019](?=[^\W\d_])|(?<=\d)[.,;'\u2019](?=\d))\w+)*"),
    # Addresses of mail, names of hosts, numbers joined to words, words with apostrophes, then plain words.
    "classic": re.compile(
        rf"(?<![\w.\-]){_W}(?:[._\-]{_W})*@{_W}(?:[.\-]{_W})+|{_W}(?:\.{_W})+"
        rf"|{_W}(?:{_P}{_D}{_P}{_W})+(?:{_P}{_D})?|{_W}{_P}{_D}|{_D}(?:{_P}{_W}{_P}{_D})+(?:{_P}{_W})?|{_D}{_P}{_W}"
        rf"|[^\W\d_]+(?:'[^\W\d_]+)+|{_W}"
    ),
    "whitespace": re.compile(r"\S+"),
    "letter": re.compile(r"[^\W\d_]+"),
    "lowercase": re.compile(r"[^\W\d_]+"),
    "keyword": re.compile(r".+", re.DOTALL),
}
_TAG = re.compile(r"<!--(?:(?!-->).)*(?:-->)?|</?(?P<tag>[A-Za-z][\w:\-]*)[^<>]*>", re.DOTALL)
_INLINE_TAGS: Final = frozenset(
    {
        *("a", "abbr", "acronym", "b", "big", "cite", "code", "em", "font", "i", "img", "kbd", "label", "q", "s"),
        *("samp", "small", "span", "strike", "strong", "sub", "sup", "tt", "u", "var"),
    }
)
"""Markup that ends no line."""
_NON_WORD = re.compile(r"\W+")
_CHAR_GROUPS: Final = {"whitespace": r"\s", "letter": "A-Za-z", "digit": r"\d", "punctuation": r"!-/:-@\[-`{-~"}
_TEXT_GROWTH_MAX: Final = 2 * MESSAGE_LENGTH_MAX
"""Characters that a text may have after a character filter; a mapping could make it ever longer."""

Filter = Callable[[list[str]], list[str]]


class AnalyzerTokenizer:
    """Turns messages into tokens by an analyzer.

    Examples
    --------
    >>> from domain.config.analyzer import read_analyzer
    >>> AnalyzerTokenizer(read_analyzer("stop")).tokens("The disk is full")
    ('disk', 'full')
    """

    def __init__(self, analyzer: Analyzer) -> None:
        self._char_filters = [_char_filter(part) for part in analyzer.char_filters]
        self._tokenize = _tokenizer(analyzer.tokenizer)
        self._filters = [_token_filter(part) for part in analyzer.token_filters]

    def tokens(self, message: str) -> Tokens:
        """Return the tokens of a message, those that are empty or too many left out."""
        text = message[:MESSAGE_LENGTH_MAX]
        for change in self._char_filters:
            text = change(text)[:_TEXT_GROWTH_MAX]
        found = [token for token in self._tokenize(text) if token]
        for each in self._filters:
            found = each(found)
        kept = [token[:TOKEN_LENGTH_MAX] for token in found if token]
        return tuple(kept[:TOKEN_COUNT_MAX])


def _char_filter(part: Part) -> Callable[[str], str]:
    given = part.parameters
    if part.type == "pattern_replace":
        pattern, replacement = given["pattern"], given["replacement"]
        return lambda text: pattern.sub(replacement, text)
    if part.type == "mapping":
        mapping = given["mappings"]
        longest_first = sorted(mapping, key=lambda key: (-len(key), key))
        matched = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        return lambda text: matched.sub(lambda match: mapping[match[0]], text)
    if part.type == "html_strip":
        kept = {tag.lower() for tag in given.get("escaped_tags", ())}
        return lambda text: unescape(_TAG.sub(lambda match: _without_tag(match, kept), text))
    if part.type == "first_line_with_letters":
        return lambda text: next(filter(_LETTER.search, _LINES.split(text)), "")
    return lambda text: next(filter(str.strip, _LINES.split(text)), "")


def _without_tag(match: re.Match[str], kept: set[str]) -> str:
    """Return what stands for a piece of markup: itself, nothing within a line, or the end of one."""
    tag = (match["tag"] or "").lower()
    if tag in kept:
        return match[0]
    return "" if tag in _INLINE_TAGS else "\n"


def _tokenizer(part: Part) -> Callable[[str], Iterable[str]]:
    given = part.parameters
    if part.type == "pattern":
        pattern, group = given.get("pattern", _NON_WORD), given.get("group", -1)
        if group >= 0:
            return lambda text: [match[group] or "" for match in pattern.finditer(text)]
        return lambda text: _split(pattern, text)
    if part.type == "simple_pattern":
        return lambda text: [match[0] for match in given["pattern"].finditer(text)]
    if part.type == "simple_pattern_split":
        return lambda text: _split(given["pattern"], text)
    if part.type == "char_group":
        inside = "".join(_CHAR_GROUPS.get(each) or re.escape(each) for each in given["tokenize_on_chars"])
        return lambda text: re.split(f"[{inside}]", text) if inside else [text]
    wanted = _TOKENS[part.type]
    if part.type.startswith("ml_"):
        return lambda text: _without_values(wanted.findall(text))
    if part.type == "lowercase":
        return lambda text: wanted.findall(text.lower())
    length = given.get("max_token_length") or 0
    if not length:
        return wanted.findall
    return lambda text: [t[k : k + length] for t in wanted.findall(text) for k in range(0, len(t), length)]


def _split(pattern: re.Pattern[str], text: str) -> list[str]:
    """Return what stands between matches; groups in the pattern are no tokens."""
    found, start = [], 0
    for match in pattern.finditer(text):
        if match.end() > match.start():
            found.append(text[start : match.start()])
            start = match.end()
    return [*found, text[start:]]


def _without_values(words: list[str]) -> list[str]:
    """Leave out what starts with a digit or is a hexadecimal number, and punctuation at the end."""
    stripped = (word.rstrip("_.-") for word in words)
    return [word for word in stripped if word and not word[0].isdigit() and not _HEX.match(word)]


def _token_filter(part: Part) -> Filter:
    return _TOKEN_FILTERS[part.type](part.parameters)


def _stop(given: dict[str, Any]) -> Filter:
    words = given.get("stopwords", ENGLISH_STOPWORDS)
    if not given.get("ignore_case"):
        return lambda tokens: [token for token in tokens if token not in words]
    lower = {word.lower() for word in words}
    return lambda tokens: [token for token in tokens if token.lower() not in lower]


def _keep(given: dict[str, Any]) -> Filter:
    words = {word.lower() if given.get("keep_words_case") else word for word in given["keep_words"]}
    return lambda tokens: [token for token in tokens if token in words]


def _limit(given: dict[str, Any]) -> Filter:
    most = given.get("max_token_count", 1)
    return lambda tokens: tokens[:most]


def _length(given: dict[str, Any]) -> Filter:
    least, most = given.get("min", 0), given.get("max", 1 << 31)
    return lambda tokens: [token for token in tokens if least <= len(token) <= most]


def _truncate(given: dict[str, Any]) -> Filter:
    most = given.get("length", 10)
    return lambda tokens: [token[:most] for token in tokens]


def _replace(given: dict[str, Any]) -> Filter:
    pattern, replacement = given["pattern"], given["replacement"]
    count = 0 if given.get("all", True) else 1
    return lambda tokens: [pattern.sub(replacement, token, count=count) for token in tokens]


def _folded(token: str) -> str:
    return "".join(each for each in unicodedata.normalize("NFKD", token) if not unicodedata.combining(each))


def _each(change: Callable[[str], str]) -> Callable[[dict[str, Any]], Filter]:
    return lambda _given: lambda tokens: list(map(change, tokens))


_TOKEN_FILTERS: Final[dict[str, Callable[[dict[str, Any]], Filter]]] = {
    "stop": _stop,
    "keep": _keep,
    "limit": _limit,
    "length": _length,
    "truncate": _truncate,
    "pattern_replace": _replace,
    "lowercase": _each(str.lower),
    "uppercase": _each(str.upper),
    "trim": _each(str.strip),
    "asciifolding": _each(_folded),
    "unique": lambda _given: lambda tokens: list(dict.fromkeys(tokens)),
}
