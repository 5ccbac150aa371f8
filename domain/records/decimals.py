"""Columns of decimal texts to numbers, equal in every bit to `float(text)`.

A ladder of three steps, each for what the one before leaves: sixteen characters at a time as two machine
words (an optional minus, digits, at most one point: the integer mantissa divided by a power of ten is
correctly rounded while both are exact doubles, Clinger 1990); `float` on bytes whose letters were checked;
one value at a time. Texts that Python would read but data should not hold (`1_0`, `nan`, `inf`, digits of
other scripts) are no numbers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.records.spans import Spans, Words

NUMBER_LETTERS = b"0123456789.eE+-"
_SPACE = b" \t\r\n\f\v"
_U = np.uint64
_ZEROS = _U(0x3030303030303030)
_LOW7 = _U(0x7F7F7F7F7F7F7F7F)
_HIGH = _U(0x8080808080808080)
_DOTS = _U(0x2E2E2E2E2E2E2E2E)
_OVER_NINE = _U(0x7676767676767676)
_EXACT_MAX = 1 << 53
_WINDOW = 16
_POWERS = 10.0 ** np.arange(_WINDOW)
# How much of the two words belongs to a text of 0..16 characters that ends where they end.
_KEEP_LAST = np.array([0] + [(1 << 64) - (1 << (64 - 8 * min(n, 8))) for n in range(1, 17)], dtype=_U)
_KEEP_FIRST = np.array([0] * 9 + [(1 << 64) - (1 << (128 - 8 * n)) for n in range(9, 17)], dtype=_U)


@dataclass(frozen=True, slots=True)
class Decimals:
    """Texts of the plain form `-123.45` taken apart.

    Attributes
    ----------
    mantissa : ndarray of shape (n,), dtype=int64
        The digits without sign and point, at most 16.
    scale : ndarray of shape (n,), dtype=int64
        Digits after the point.
    is_negative, is_plain : ndarray of shape (n,), dtype=bool
        Whether a minus came first; whether the text has the form at all (the rest is meaningless if not).
    """

    mantissa: NDArray[np.int64]
    scale: NDArray[np.int64]
    is_negative: NDArray[np.bool_]
    is_plain: NDArray[np.bool_]


def split_decimals(spans: Spans) -> Decimals:
    """Take apart every text of the plain form that has at most 16 characters after its minus."""
    lengths = spans.lengths
    is_negative = (lengths > 0) & (spans.bytes_at(spans.starts) == ord("-"))
    n_chars = lengths - is_negative
    is_plain = (n_chars > 0) & (n_chars <= _WINDOW)
    window = np.minimum(n_chars, _WINDOW)
    last = _fill(spans.words_at(spans.ends - 8), _KEEP_LAST[window])
    first = _fill(spans.words_at(spans.ends - 16), _KEEP_FIRST[window])
    first, last, scale, n_dots = _take_out_dot(first, last)
    is_plain &= (n_dots <= 1) & (n_chars > n_dots)
    first_value, first_ok = _eight_digits(first)
    last_value, last_ok = _eight_digits(last)
    is_plain &= first_ok & last_ok
    mantissa = (first_value * _U(100_000_000) + last_value).view(np.int64)
    return Decimals(mantissa, scale, is_negative, is_plain)


def _fill(words: Words, keep: Words) -> Words:
    """Replace the bytes that do not belong to the text by the digit 0."""
    return (words & keep) | (_ZEROS & ~keep)


def _dot_bits(words: Words) -> Words:
    """Return words whose bit 7 of each byte says whether that byte is a point."""
    other = words ^ _DOTS
    return ~(((other & _LOW7) + _LOW7) | other | _LOW7)


def _take_out_dot(first: Words, last: Words) -> tuple[Words, Words, NDArray[np.int64], NDArray[np.int64]]:
    """Close the gap that the point leaves, shifting the digits before it; return also the digits after it.

    The last result counts the points: 2 stands for any number above one.
    """
    in_last, in_first = _dot_bits(last), _dot_bits(first)
    has_last, has_first = in_last != 0, in_first != 0
    n_dots = has_last.astype(np.int64) + has_first
    if not n_dots.any():
        return first, last, n_dots, n_dots
    dots = in_last | in_first
    n_dots[(in_last & (in_last - _U(1))) | (in_first & (in_first - _U(1))) != 0] = 2
    place = (np.frexp(dots.astype(np.float64))[1].astype(np.int64) - 8) >> 3  # the byte of a word that is the point
    scale = np.where(has_last, 7 - place, np.where(has_first, 15 - place, 0))
    eight, top, zero = _U(8), _U(56), _ZEROS & _U(0xFF)
    before = (dots >> _U(7)) - _U(1)
    after = ~((dots << _U(1)) - _U(1))
    short_last = (last & after) | ((last & before) << eight) | (first >> top)
    short_first = (first & after) | ((first & before) << eight) | zero
    new_last = np.where(has_last, short_last, last)
    new_first = np.where(has_last, (first << eight) | zero, np.where(has_first, short_first, first))
    return new_first, new_last, scale, n_dots


def _eight_digits(words: Words) -> tuple[Words, NDArray[np.bool_]]:
    """Return the number that eight ASCII digits spell, and whether they are all digits.

    Pairs, then fours, then eights are joined inside the word (Lemire 2018, "Quickly parsing eight digits").
    """
    digits = words ^ _ZEROS
    is_digits = (((digits + _OVER_NINE) | digits) & _HIGH) == 0
    pairs = ((digits * _U(2561)) >> _U(8)) & _U(0x00FF00FF00FF00FF)
    fours = ((pairs * _U(6553601)) >> _U(16)) & _U(0x0000FFFF0000FFFF)
    return (fours * _U(42949672960001)) >> _U(32), is_digits


def parse_numbers(spans: Spans) -> NDArray[np.float64]:
    """Return the numbers that the texts spell.

    Returns
    -------
    ndarray of shape (n,), dtype=float64
        `float(text)` where the text is a finite decimal number, white space around it or not; else NaN.
    """
    parts = split_decimals(spans)
    numbers: NDArray[np.float64] = parts.mantissa.astype(np.float64)
    numbers /= _POWERS[parts.scale]
    np.negative(numbers, out=numbers, where=parts.is_negative)
    is_done = parts.is_plain & (parts.mantissa <= _EXACT_MAX)
    if is_done.all():
        return numbers
    rest = np.flatnonzero(~is_done)
    is_empty = spans.lengths[rest] == 0
    numbers[rest[is_empty]] = np.nan
    rest = rest[~is_empty]
    if len(rest):
        numbers[rest] = _parse_odd(spans.raw(rest))
        numbers[rest[~np.isfinite(numbers[rest])]] = np.nan
    return numbers


def _parse_odd(texts: list[bytes]) -> list[float]:
    if not b"".join(texts).translate(None, NUMBER_LETTERS):
        try:
            return list(map(float, texts))
        except ValueError:
            pass
    return list(map(parse_number, texts))


def parse_number(text: bytes) -> float:
    """Return the finite number that one text spells, NaN if there is none."""
    text = text.strip(_SPACE)
    if text.translate(None, NUMBER_LETTERS):
        return np.nan
    try:
        number = float(text)
    except ValueError:
        return np.nan
    return number if np.isfinite(number) else np.nan
