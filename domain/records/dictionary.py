"""Columns of texts to codes and a dictionary in order of first appearance.

Only distinct values become Python strings. The codes come from hashing each text's machine words into a table
in which the earliest row wins its slot; rows whose text is not the winner's go on to the next round with
another multiplier, and what is left after the last round to a plain dict.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.records.spans import Index, Spans, Words

_U = np.uint64
_WORDS_MAX = 8
"""Texts up to 64 bytes are compared as words; longer columns go through a dict."""

_FEW = 128
"""Below so many rows a dict is faster: chosen, the break-even measured on six-byte names."""

_TABLE_BITS = 16
_MULTIPLIERS = (
    # Odd 64-bit constants: the golden ratio (Knuth, Sorting and Searching, 6.4), then splitmix64's.
    0x9E3779B97F4A7C15,
    0xBF58476D1CE4E5B9,
    0x94D049BB133111EB,
    0xD6E8FEB86659FD93,
)
_KEEP = np.array([(1 << (8 * n)) - 1 for n in range(9)], dtype=_U)
_ROUNDS = 12


@dataclass(frozen=True, slots=True, eq=False)
class TextColumn:
    """A column of texts.

    Attributes
    ----------
    codes : ndarray of shape (n,), dtype=int32
        Place of each record's text in `values`; -1 for a missing, null or empty one.
    values : list of str
        The distinct texts in order of first appearance.
    """

    codes: NDArray[np.int32]
    values: list[str]


def join_columns(columns: Sequence[TextColumn]) -> TextColumn:
    """Return columns one after another as one.

    >>> joined = join_columns([TextColumn(np.array([0, -1, 1]), ["a", "b"]), TextColumn(np.array([0, 1]), ["b", "c"])])
    >>> joined.codes.tolist(), joined.values
    ([0, -1, 1, 1, 2], ['a', 'b', 'c'])
    """
    code_of: dict[str, int] = {}
    codes = []
    for column in columns:
        own = [code_of.setdefault(value, len(code_of)) for value in column.values]
        own.append(-1)  # where the code of a missing text points to
        codes.append(np.array(own, dtype=np.int32)[column.codes])
    return TextColumn(np.concatenate(codes), list(code_of))


def encode_texts(spans: Spans) -> TextColumn:
    """Return the column's codes and values.

    Bytes that are no UTF-8, and the NUL that no database keeps in a text, become U+FFFD.
    """
    codes = np.full(len(spans), -1, dtype=np.int32)
    filled = np.flatnonzero(spans.ends > spans.starts)
    if len(filled) < len(spans):
        spans = spans.take(filled)
    if not len(spans):
        return TextColumn(codes, [])
    first = _first_rows(spans)
    own = np.flatnonzero(first == np.arange(len(first)))
    rank = np.empty(len(first), dtype=np.int32)
    rank[own] = np.arange(len(own), dtype=np.int32)
    values = [raw.decode("utf-8", "replace").replace("\0", "\ufffd") for raw in spans.raw(own)]
    found = rank[first]
    if len(set(values)) < len(values):
        found, values = _merge_equal(found, values)
    codes[filled] = found
    return TextColumn(codes, values)


def _merge_equal(codes: NDArray[np.int32], values: list[str]) -> tuple[NDArray[np.int32], list[str]]:
    """Join values that became equal when unreadable bytes were replaced."""
    places: dict[str, int] = {}
    new_codes = np.array([places.setdefault(value, len(places)) for value in values], dtype=np.int32)
    return new_codes[codes], list(places)


def _first_rows(spans: Spans) -> Index:
    """Return for each row the first row that holds the same text."""
    lengths = spans.lengths
    n_words = (int(lengths.max()) + 7) // 8
    if len(spans) < _FEW or n_words > _WORDS_MAX:
        return _first_rows_by_dict(spans, np.arange(len(spans)))
    words = _words_of(spans, lengths, n_words)
    first = np.empty(len(spans), dtype=np.intp)
    rest = np.arange(len(spans))
    table = np.empty(1 << _TABLE_BITS, dtype=np.intp)
    for round_index in range(_ROUNDS):
        slots = _slots([word[rest] for word in words] if round_index else words, round_index)
        table[slots[::-1]] = rest[::-1]  # of several writes to one slot the last one stays: the earliest row
        winners = table[slots]
        is_same = np.ones(len(rest), dtype=np.bool_)
        for word in words:
            is_same &= word[winners] == word[rest]
        first[rest[is_same]] = winners[is_same]
        rest = rest[~is_same]
        if not len(rest):
            return first
    first[rest] = _first_rows_by_dict(spans, rest)
    return first


def _first_rows_by_dict(spans: Spans, rows: Index) -> Index:
    places: dict[bytes, int] = {}
    pairs = zip(spans.raw(rows), rows.tolist(), strict=True)
    return np.array([places.setdefault(raw, row) for raw, row in pairs], dtype=np.intp)


def _words_of(spans: Spans, lengths: Index, n_words: int) -> list[Words]:
    """Return the texts as zero-filled words, with the lengths when a NUL byte could pass for filling."""
    words = []
    for i in range(n_words):
        keep = _KEEP[np.clip(lengths - 8 * i, 0, 8)]
        words.append(spans.words_at(np.minimum(spans.starts + 8 * i, len(spans.buffer) - 8)) & keep)
    if b"\0" in spans.buffer:
        words.append(lengths.astype(_U))
    return words


def _slots(words: list[Words], round_index: int) -> Index:
    multiplier = _MULTIPLIERS[round_index % len(_MULTIPLIERS)] + 2 * round_index
    mixed = words[0] * _U(multiplier)
    for word in words[1:]:
        mixed = ((mixed >> _U(29)) ^ mixed ^ word) * _U(multiplier)
    mixed ^= mixed >> _U(32)
    mixed *= _U(multiplier)
    return (mixed >> _U(64 - _TABLE_BITS)).astype(np.intp)
