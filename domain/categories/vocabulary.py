"""How telling a token is: what it means for two messages to differ in it.

A message is text that a programmer typed with values put in. Known words are almost always text, unknown ones may be
either. So each token has a kind, from its spelling alone, and :mod:`domain.categories.alignment` says what a difference
between kinds costs. Words come from :mod:`domain.categories.words`; nothing is learned here.
"""

import re
from typing import Final

from domain.categories.words import BINDING_WORDS, FUNCTION_WORDS, IRREGULAR_FORMS, LEVELS, NOUNS, OPPOSITES, VERBS

WEAK: Final = 0
"""An unknown word, a key of key=value, a severity: may be a value."""
SOFT: Final = 1
"""A noun (even if it may be a verb) or an adjective, or an identifier made of known words: text, but of the sort that
values are made of too."""
STRONG: Final = 2
"""A verb, an adjective of state, an adverb, or a known word with a capital, as sentences start with: text."""
HARD: Final = 3
"""A word that binds a sentence: never a value."""

WEIGHTS: Final = (1, 3, 6, 4)
"""What a token of each kind adds to its message. Chosen: verbs twice what nouns weigh, both well above unknown words,
measured by benchmarks/categories.py."""

_VERB_LIKE = re.compile(r"(?=[a-z]{6,24}\Z)[^aeiouy]{0,3}(?:[aeiouy]{1,2}[^aeiouy]{1,3})+(?:ed|ing)\Z")
"""A stem that can be pronounced, and the ending of a verb. Vowels and consonants take turns, so there is one way to
read a word; and it is short."""
_NOUN_LIKE = re.compile(r"[a-z]{3,20}(?:tion|sion|ment|ness|able|ible|ity|ally|ively)\Z")
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_PREFIXED = re.compile(r"(?:re|un|de|dis|pre|non|mis|sub|auto|over|multi)-?([a-z]{3,})\Z")
_CJK_FIRST: Final = "\u0e00"
"""Scripts from here on (Thai, Lao, Chinese, Japanese) do not part words."""


def _inflected(verb: str) -> set[str]:
    """Return the regular forms of a verb; with a final consonant doubled and not, since stress is not to be seen."""
    stem = verb[:-1] if verb.endswith("e") else verb
    forms = {verb, verb + "s", stem + "ed", stem + "ing", verb + "ing", stem + "er"}
    if verb.endswith(("s", "x", "z", "ch", "sh", "o")):
        forms.add(verb + "es")
    if verb.endswith("y") and verb[-2] not in "aeiou":
        forms |= {verb[:-1] + "ies", verb[:-1] + "ied"}
    if verb[-1] not in "aeiouwxy" and verb[-2] in "aeiou":
        forms |= {verb + verb[-1] + "ed", verb + verb[-1] + "ing"}
    return forms


_STRONG_WORDS: Final = frozenset().union(*map(_inflected, VERBS), IRREGULAR_FORMS, OPPOSITES)
_SOFT_WORDS: Final = frozenset({*NOUNS, *(noun + "s" for noun in NOUNS if not noun.endswith("s"))})


def is_known(word: str) -> bool:
    """Whether a word (in lower case) is one of the vocabulary, in any form.

    >>> [is_known(word) for word in ("opened", "recompacting", "sessions", "alice")]
    [True, True, True, False]
    """
    if word in _STRONG_WORDS or word in _SOFT_WORDS or word in FUNCTION_WORDS or word.upper() in LEVELS:
        return True
    if len(word) >= 6 and (_VERB_LIKE.match(word) or _NOUN_LIKE.match(word)):
        return True
    prefixed = _PREFIXED.match(word)
    return prefixed is not None and (prefixed[1] in _STRONG_WORDS or prefixed[1] in _SOFT_WORDS)


def may_be_user(word: str) -> bool:
    """Whether a word (in lower case) may be what a user is called, where one is named: anything but a participle."""
    return word not in BINDING_WORDS and not (word.endswith(("ed", "ing")) and word in _STRONG_WORDS)


def may_be_name(word: str) -> bool:
    """Whether a word (in lower case) may be what somebody named a program, though known: ``cache``, ``billing``."""
    return word not in FUNCTION_WORDS and (word in NOUNS or word not in _STRONG_WORDS)


def kind_of(token: str) -> int:
    """Return the kind of a token.

    >>> [kind_of(token) for token in ("alice", "user=", "disk", "openSession", "opened", "Disk", "from")]
    [0, 0, 1, 1, 2, 2, 3]
    """
    lower = token.lower()
    if not lower.isalpha() and "'" not in lower:
        return WEAK if token.endswith("=") or "-" in token or not _has_known_part(token) else SOFT
    if token in LEVELS or (len(token) == 1 and token < _CJK_FIRST):
        return WEAK
    is_capitals = token.isupper()
    if lower in FUNCTION_WORDS:
        return SOFT if is_capitals else HARD if lower in BINDING_WORDS else STRONG
    if not (is_capitals or token[1:].islower()):
        return SOFT if _has_known_part(token) else WEAK
    if not is_known(lower):
        return WEAK
    if is_capitals:
        return SOFT
    is_noun = lower in _SOFT_WORDS or (lower not in _STRONG_WORDS and _NOUN_LIKE.match(lower))
    return SOFT if is_noun and lower not in OPPOSITES and token.islower() else STRONG


def _has_known_part(token: str) -> bool:
    """Whether a word within an identifier (camelCase, snake_case, dotted) is known."""
    return any(len(part) > 2 and is_known(part.lower()) for part in _PARTS.findall(token))
