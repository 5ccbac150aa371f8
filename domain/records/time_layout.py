"""The vectorised half of date parsing: patterns whose every letter has a fixed width, read by position.

It answers for the texts that it can read whole and says which those are; `TimePattern` answers for the rest.
So it may give up on anything odd, but what it answers must be what `TimePattern.parse` answers.
"""

from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from domain.records.spans import Spans
from domain.records.time_pattern import MS_MAX, MS_MIN, Part

_Ints = NDArray[np.int64]
_Bools = NDArray[np.bool_]

_WIDTH_MAX = 64
_OFFSET_WIDTHS = (1, 3, 5, 6)
"""`Z`, `+01`, `+0100`, `+01:00`."""

_MONTH_NAMES = b"janfebmaraprmayjunjulaugsepoctnovdec"
_MONTH_KEYS = np.array([int.from_bytes(_MONTH_NAMES[i : i + 3], "big") for i in range(0, 36, 3)], dtype=np.int64)
_LOWER_CASE = 0x202020


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the letters of a fixed-width pattern stand.

    Attributes
    ----------
    width : int
        Length of everything before the offset.
    has_offset : bool
        Whether a UTC offset ends the text.
    numbers : dict of str to (place, width)
        By canonical letter.
    literals : list of (place, byte)
    """

    width: int
    has_offset: bool
    numbers: dict[str, tuple[int, int]] = field(default_factory=dict)
    literals: list[tuple[int, int]] = field(default_factory=list)


def layout_of(parts: list[Part]) -> Layout | None:
    """Return the layout of a pattern, or None when some letter of it varies in width or is rare."""
    numbers: dict[str, tuple[int, int]] = {}
    literals: list[tuple[int, int]] = []
    place = 0
    for i, part in enumerate(parts):
        if part.kind == "literal" and part.text.isascii():
            literals += [(place + j, byte) for j, byte in enumerate(part.text.encode())]
            place += len(part.text)
            continue
        if part.kind == "zone" and part.letter in "XxZ" and i == len(parts) - 1:
            return Layout(place, has_offset=True, numbers=numbers, literals=literals)
        letter, width = _fixed_width(part)
        if not width or letter in numbers:
            return None
        numbers[letter] = (place, width)
        place += width
    return Layout(place, has_offset=False, numbers=numbers, literals=literals)


def _fixed_width(part: Part) -> tuple[str, int]:
    letter = {"u": "y", "L": "M"}.get(part.letter, part.letter)
    if letter == "y" and part.count == 4:
        return letter, 4
    if letter == "M" and part.count == 3:
        return "name", 3
    if letter in "yMdHms" and part.count == 2:
        return letter, 2
    return (letter, part.count) if letter == "S" else ("", 0)


def parse_layout(spans: Spans, layout: Layout, default_year: int) -> tuple[_Ints, _Bools]:
    """Return milliseconds since the epoch, and which texts they were read from."""
    ms = np.zeros(len(spans), dtype=np.int64)
    is_read = np.zeros(len(spans), dtype=np.bool_)
    lengths = spans.lengths
    widths = [layout.width + extra for extra in (_OFFSET_WIDTHS if layout.has_offset else (0,))]
    for width in widths:
        rows = np.flatnonzero(lengths == width)
        if len(rows) and width <= _WIDTH_MAX:
            columns = np.ascontiguousarray(spans.rows_of(spans.starts[rows], width).T)
            ms[rows], is_read[rows] = _parse_columns(columns, layout, default_year)
    return ms, is_read


def _parse_columns(columns: NDArray[np.uint8], layout: Layout, default_year: int) -> tuple[_Ints, _Bools]:
    """Read texts of one length, given as an ndarray of shape (width, n)."""
    is_read = np.ones(columns.shape[1], dtype=np.bool_)
    for place, byte in layout.literals:
        is_read &= columns[place] == byte
    values: dict[str, _Ints] = {}
    for letter, (place, width) in layout.numbers.items():
        piece = columns[place : place + width]
        values[letter], is_number = _month_of(piece) if letter == "name" else _digits(piece)
        is_read &= is_number
    if "y" in values and layout.numbers["y"][1] == 2:
        values["y"] += 2000
    seconds, is_time = _time_of_day(values)
    days, is_day = _days(values, columns.shape[1], default_year)
    is_read &= is_time & is_day
    offset, is_offset = _offset_seconds(columns[layout.width :])
    is_read &= is_offset
    ms = (days * 86_400 + seconds - offset) * 1000
    if "S" in values:
        width = layout.numbers["S"][1]
        ms += values["S"] * 10 ** (3 - width) if width <= 3 else values["S"] // 10 ** (width - 3)
    is_read &= (ms >= MS_MIN) & (ms <= MS_MAX)
    return ms, is_read


def _digits(columns: NDArray[np.uint8]) -> tuple[_Ints, _Bools]:
    value = np.zeros(columns.shape[1], dtype=np.int64)
    is_number = np.ones(columns.shape[1], dtype=np.bool_)
    for column in columns:
        digit = column - np.uint8(48)  # wraps for what lies below the digits, so one test is enough
        is_number &= digit <= 9
        value *= 10
        value += digit
    return value, is_number


def _month_of(columns: NDArray[np.uint8]) -> tuple[_Ints, _Bools]:
    wide = columns.astype(np.int64)
    keys = (wide[0] << 16 | wide[1] << 8 | wide[2]) | _LOWER_CASE
    is_letters = (columns >= ord("A")).all(axis=0)
    month = np.zeros(columns.shape[1], dtype=np.int64)
    for number, key in enumerate(_MONTH_KEYS.tolist(), 1):
        month[keys == key] = number
    return month, (month > 0) & is_letters


def _time_of_day(values: dict[str, _Ints]) -> tuple[_Ints, _Bools]:
    """Return seconds since midnight, and where hour, minute and second are in range."""
    hour = values["H"]
    seconds = hour * 3600
    is_time = hour <= 23
    for letter, unit in (("m", 60), ("s", 1)):
        if letter in values:
            is_time &= values[letter] <= 59
            seconds += values[letter] * unit
    return seconds, is_time


@cache
def _month_starts() -> _Ints:
    """Return the day (since the epoch) on which each month from year 1 on begins, up to January of 10000."""
    months = np.arange(np.datetime64("0001-01", "M"), np.datetime64("10000-02", "M"))
    return months.astype("M8[D]").astype(np.int64)


def _days(values: dict[str, _Ints], n: int, default_year: int) -> tuple[_Ints, _Bools]:
    """Return days since the epoch, and where there is such a day."""
    year = values.get("y")
    if year is None:
        year = np.full(n, default_year, dtype=np.int64)
    month = values["name"] if "name" in values else values["M"]
    day = values["d"]
    is_month = (year >= 1) & (year <= 9999) & (month >= 1) & (month <= 12)
    starts = _month_starts()
    place = np.where(is_month, (year - 1) * 12 + month - 1, 0)
    first = starts[place]
    return first + day - 1, is_month & (day >= 1) & (day <= starts[place + 1] - first)


def _offset_seconds(columns: NDArray[np.uint8]) -> tuple[_Ints, _Bools]:
    """Read an offset of 0, 1, 3, 5 or 6 characters."""
    n = columns.shape[1]
    if len(columns) == 0:
        return np.zeros(n, dtype=np.int64), np.ones(n, dtype=np.bool_)
    if len(columns) == 1:
        return np.zeros(n, dtype=np.int64), (columns[0] | 0x20) == ord("z")
    is_minus = columns[0] == ord("-")
    hours, is_offset = _digits(columns[1:3])
    is_offset &= is_minus | (columns[0] == ord("+"))
    minutes = np.zeros(n, dtype=np.int64)
    if len(columns) > 3:
        minutes, is_minutes = _digits(columns[-2:])
        is_offset &= is_minutes & (minutes <= 59)
    if len(columns) == 6:
        is_offset &= columns[3] == ord(":")
    seconds = hours * 3600 + minutes * 60
    is_offset &= seconds <= 18 * 3600
    return np.where(is_minus, -seconds, seconds), is_offset
