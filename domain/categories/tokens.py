"""From a message to its tokens: the words of its first line that may be text, in order, without what is a value.

Dropped are: whatever has a digit in it, addresses, paths, URLs, host and file names, quoted strings, values of
key=value, hexadecimal words, dates, units behind numbers, literals such as ``null``. A token is
always a piece of the message, spelled as there, so that an expression made of tokens finds the message again. Pure
functions of the text, but for caches that change no result.
"""

import re
from collections.abc import Sequence
from typing import Final, Protocol

from domain.categories.vocabulary import is_known, may_be_name, may_be_user
from domain.categories.words import (
    BEFORE_USERS,
    DOMAIN_ENDINGS,
    FILE_EXTENSIONS,
    FUNCTION_WORDS,
    LEVELS,
    LITERALS,
    MESSAGE_KEYS,
    METHODS,
    MONTHS_AND_DAYS,
    NOT_SERVICES,
    NOT_STATES,
    NOUNS,
    OPEN_ENDED_KEYS,
    SERVICE_NOUNS,
    STATE_NOUNS,
    STATE_VERBS,
    UNITS,
)
from domain.config.categorization import compile_filter

Tokens = tuple[str, ...]

MESSAGE_LENGTH_MAX: Final = 2_000
"""Characters of a message's first line that are looked at. Chosen: the longest line of text that a person would read;
it bounds what a filter of quadratic cost can take to some milliseconds."""
TOKEN_COUNT_MAX: Final = 100
"""Tokens of a message that are looked at; alignment takes time with their square."""
TOKEN_LENGTH_MAX: Final = 64
"""Longer words are values: encoded data, most often."""
_CACHE_SIZE_MAX: Final = 10_000
"""Entries of each cache, which is emptied when full. Chosen: a few MB."""
_CACHED_LENGTH_MAX: Final = 400

_BEFORE_STATES: Final = STATE_NOUNS | {"from", "to"}
"""Behind these a state follows, once a noun said that the message tells one."""
_OPEN_ENDED: Final = frozenset(f"{key}=" for key in OPEN_ENDED_KEYS)
_START: Final = "^"
_VALUE: Final = ""
"""Stands among pieces where a value was dropped."""

_LINE_END = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]")
_DIGITS = re.compile(r"\d+")
_SURROGATES = re.compile("[\ud800-\udfff]")
_MESSAGE = re.compile(rf'"(?:{"|".join(MESSAGE_KEYS)})"\s*:\s*"((?:[^"\\]|\\.)*)|\bmsg="((?:[^"\\]|\\.)*)')
_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|[\\/bfnrt0])")
_KEY = re.compile(r'"([^"\s]{1,64})"\s*:')
_QUOTED = re.compile(
    r"""\\?"[^"]{0,500}"|(?<!\w)'[^']{0,200}'(?!\w)|`[^`]{0,200}[`']|\u201c[^\u201d]{0,200}\u201d|\u00ab[^\u00bb]{0,200}\u00bb"""
)
_BRACKETED = re.compile(r"=\s?(?:\[[^\]]{0,500}\]|\{[^}]{0,500}\}|\([^)]{0,500}\)|<[^>]{0,500}>)")
_STATEMENT = re.compile(r"\b(?:SELECT\s.{1,500}?\sFROM|INSERT INTO|UPDATE\s\S{1,100}\sSET|DELETE FROM)\s.*")
_PIECES = re.compile(
    r"""[,;|()\[\]{}<>"`\u201c\u201d\u00ab\u00bb\u3000-\u3003\u3008-\u3011\uff01-\uff0f\uff1a-\uff20]+"""
)
_EDGES: Final = ".:!?'-_+*#^~&%$\\/=\u2018\u2019\u2026\u2013\u2014\u00b7\u2022\u2192"
_COLON_HEX = re.compile(r"[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,}(?:[%/].*)?\Z")
_HEX = re.compile(r"[0-9a-fA-F]{4,}\Z")
_PLACE = re.compile(r"~?/|\.{1,2}/|[A-Za-z]:[\\/]")
_WORD_PAIR = re.compile(r"[A-Za-z]+(?:/[A-Za-z]+){1,2}\Z")
_NAME = re.compile(r"[\w.@-]*[^\W\d_][\w.@-]*\Z")
_VERSIONED = re.compile(r"([A-Za-z]{2,8})/0(?:\.0)?\Z")
_UNSPACED: Final = r"\u0e00-\u0eff\u2e80-\u2fff\u3005-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Letters of scripts whose words are not parted by spaces: each is a token."""
_BY_SCRIPT = re.compile(f"[{_UNSPACED}]|[^{_UNSPACED}]+")
_HEAD = re.compile(
    rf"""(?:\[?0[-/.:,T]0[-/.:,TZ+0]*\]?\s+)+
    (?:(?:-+|\||0|\[[^]=]{{1,80}}\])\s+){{0,3}}
    [\[(<|]?(?:{"|".join(sorted(LEVELS, key=len, reverse=True))})[\])>|]?:?\s+
    (?:(?:-+|\||0|\[[^]=]{{1,80}}\])\s+){{0,3}}""",
    re.VERBOSE,
)
"""What a logging library writes before a text, with zeros for numbers: time, severity, and around it the number of the
process and the thread in brackets."""
_REQUEST = re.compile(r'"[A-Z]{3,9} [^"\s]{1,2000} (HTTP)/0')
_LETTERS_FIRST = re.compile(r"""(?:^|(?<=[\s"'\[(]))[^\W\d_]{3,}""")


def first_line(message: str) -> str:
    r"""Return the first line that has anything in it, cut to `MESSAGE_LENGTH_MAX` characters.

    >>> first_line("  Traceback (most recent call last):\n  File ...")
    'Traceback (most recent call last):'
    """
    text = message[: 2 * MESSAGE_LENGTH_MAX].strip()
    if not text.isprintable():
        text = _SURROGATES.sub(" ", _LINE_END.split(text, maxsplit=1)[0])
    return text[:MESSAGE_LENGTH_MAX]


class Tokenizes(Protocol):
    """What turns messages into tokens."""

    def tokens(self, message: str) -> Tokens:
        """Return the tokens of a message: the same for the same message."""


class Tokenizer:
    """Turns messages into tokens; remembers what it has seen, to be fast.

    Parameters
    ----------
    filters : sequence of re.Pattern
        What matches one of them, in their order, is taken out before. A space takes its place: the pieces beside it
        were not one word.
    """

    def __init__(self, filters: Sequence[re.Pattern[str]] = ()) -> None:
        self._filters = tuple(filters)
        self._lines: dict[str, Tokens] = {}
        self._runs: dict[str, Tokens] = {}

    @classmethod
    def of(cls, filters: Sequence[str]) -> "Tokenizer":
        """Make a tokenizer with filters that are yet to be compiled.

        Raises
        ------
        ValueError
            When a filter is no regular expression.
        """
        compiled = [(expression, compile_filter(expression)) for expression in filters]
        for expression, pattern in compiled:
            if pattern is None:
                reason = f"expected a regular expression, got '{expression}'"
                raise ValueError(reason)
        return cls([pattern for _, pattern in compiled if pattern is not None])

    def tokens(self, message: str) -> Tokens:
        """Return the tokens of a message.

        >>> Tokenizer().tokens("Oct 22 sshd[88]: session opened for user 'bob' by (uid=0) from fe80::1 in 3 ms")
        ('sshd', 'session', 'opened', 'for', 'user', 'by', 'uid=', 'from', 'in')
        """
        text = first_line(message)
        for pattern in self._filters:
            text = pattern.sub(_blank, text)
        line = _DIGITS.sub("0", text)
        found = self._lines.get(line)
        if found is None:
            found = self._read(line)[:TOKEN_COUNT_MAX]
            if len(line) <= _CACHED_LENGTH_MAX:
                _remember(self._lines, line, found)
        return found

    def _read(self, line: str) -> Tokens:
        """Return the tokens of a line; where everything was dropped, of a more generous reading of it."""
        head = _HEAD.match(line)
        line = line[head.end() :] if head and head.end() < len(line) else line
        text = line
        if '"' in line:
            for match in _MESSAGE.finditer(line):
                message = _ESCAPE.sub(" ", (match[1] or match[2] or "").replace('\\"', '"'))
                if found := self._text_tokens(_without_quotes(message)):
                    return found
            text = _KEY.sub(r" \1: ", line) if "{" in line else line
        if "=" in text:
            text = _BRACKETED.sub("=0 ", text)
        found = self._text_tokens(_STATEMENT.sub("", _without_quotes(text)))
        if not found and (request := _REQUEST.search(line)):
            return (request[1],)  # an access log has no text but what users sent
        found = found or self._text_tokens(line.replace("'", " "))
        return found or tuple(
            word for word in _LETTERS_FIRST.findall(line) if not _is_value(word) and word not in UNITS
        )

    def _text_tokens(self, text: str) -> Tokens:
        """Return the tokens of a text without quotes, by the context of each piece."""
        found: list[str] = []
        previous, tells_state = _START, False
        for run in text.split():
            for piece in self._pieces(run):
                token = _in_context(piece, previous, found, tells_state=tells_state)
                previous = token.lower()
                tells_state = tells_state or previous in STATE_NOUNS or previous in STATE_VERBS
                if token:
                    found.append(token)
            if "=" in run and found and found[-1].lower() in _OPEN_ENDED:
                break
        return tuple(found)

    def _pieces(self, run: str) -> Tokens:
        """Return the tokens of what stands between spaces, `_VALUE` for each value."""
        found = self._runs.get(run)
        if found is None:
            is_level = run[0] in "[(<|" and run.strip("[]()<>|:").upper() in LEVELS
            found = (_VALUE,) if is_level else ()
            for piece in () if is_level else _PIECES.split(run):
                for part in (piece,) if piece.isascii() else _BY_SCRIPT.findall(piece):
                    found += _piece_tokens(part)
            if len(run) <= TOKEN_LENGTH_MAX:
                _remember(self._runs, run, found)
        return found


def _blank(match: re.Match[str]) -> str:
    return " " if match.end() > match.start() else ""


def _remember(cache: dict[str, Tokens], key: str, value: Tokens) -> None:
    if len(cache) >= _CACHE_SIZE_MAX:
        cache.clear()
    cache[key] = value


def _without_quotes(text: str) -> str:
    if '"' in text or "'" in text or "`" in text or not text.isascii():
        return _QUOTED.sub(" 0 ", text)
    return text


def _in_context(piece: str, previous: str, found: list[str], *, tells_state: bool) -> str:
    """Return a piece as what it is behind the previous one: itself, its singular, or `_VALUE`."""
    if previous == _VALUE:
        if piece in UNITS:
            return _VALUE
        is_countable = piece[-1:] == "s" and piece[:-1] in NOUNS  # one or more of them
        return piece[:-1] if is_countable else piece
    if tells_state and previous in _BEFORE_STATES and _is_state(piece, previous):
        return _VALUE
    return _VALUE if _is_name(piece, previous, found) else piece


def _is_state(piece: str, previous: str) -> bool:
    lower = piece.lower()
    if lower in ("up", "down"):
        return previous == "to"
    return not (lower in FUNCTION_WORDS or lower in NOT_STATES or piece.endswith("="))


def _is_name(piece: str, previous: str, found: list[str]) -> bool:
    """Whether a piece is the name of a user or a service, announced by the words before it."""
    lower = piece.lower()
    if previous == "user":
        is_announced = len(found) > 1 and found[-2].lower() in BEFORE_USERS
        return is_announced and not piece.endswith("=") and may_be_user(lower)
    return previous in SERVICE_NOUNS and lower not in NOT_SERVICES and not piece.endswith("=") and may_be_name(lower)


def _piece_tokens(piece: str) -> Tokens:
    """Return the tokens of a piece without brackets: a word, an address, a path, key=value, words joined by colons."""
    if "@" in piece or "://" in piece or _PLACE.match(piece) or _COLON_HEX.match(piece.rstrip(".")):
        return (_VALUE,)
    key, is_pair, _ = piece.partition("=")
    if is_pair:
        return _pair_tokens(key.lstrip(_EDGES))
    if "\\" in piece.strip(_EDGES):
        return (_VALUE,)
    if ":" in piece:
        return tuple(token for part in piece.split(":") for token in _word_tokens(part))
    return _word_tokens(piece)


def _pair_tokens(key: str) -> Tokens:
    """Return the tokens of key=value, which are the key with its sign."""
    if _DIGITS.search(key) or len(key) > TOKEN_LENGTH_MAX or not _NAME.match(key):
        return (_VALUE,)
    return (f"{key}=", _VALUE)


def _word_tokens(part: str) -> Tokens:
    """Return the tokens of a word: itself, its parts, or `_VALUE`."""
    word = part.strip(_EDGES)
    if not word.isascii():
        word = word.strip("".join({each for each in word if not each.isalnum()}))
    if not word:
        return (_VALUE,) if part.isalnum() else ()
    if _WORD_PAIR.match(word):
        words = word.split("/")
        return tuple(words) if all(is_known(each.lower()) for each in words) else (_VALUE,)
    if versioned := _VERSIONED.match(word):
        return (versioned[1],)
    if word.endswith(("'s", "\u2019s")):
        word = word[:-2]
    return (_VALUE,) if _is_value(word) else (word,)


def _is_value(word: str) -> bool:
    """Whether a word is a value by its spelling."""
    if word.isalpha() and word.islower() and is_known(word):
        return word in LITERALS
    if len(word) > TOKEN_LENGTH_MAX or _DIGITS.search(word) or "/" in word:
        return True
    if not any(map(str.isalpha, word)):
        return True
    lower = word.lower()
    if lower in LITERALS or word in MONTHS_AND_DAYS or word in METHODS:
        return True
    if "." in word:
        ending = lower.rpartition(".")[2]
        return ending in FILE_EXTENSIONS or ending in DOMAIN_ENDINGS
    return _HEX.match(word) is not None and not is_known(lower)
