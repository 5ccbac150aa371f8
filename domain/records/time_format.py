"""The time formats of a job: which are legal, and how a column of texts becomes milliseconds since the epoch.

Formats are `epoch` (seconds), `epoch_ms`, and Java patterns (`time_pattern`; `time_layout` reads those of
fixed width fast). Everything finer than a millisecond is cut off downwards. A time outside the years 1 to
9999 is an invalid date.
"""

from decimal import ROUND_FLOOR, Context, InvalidOperation
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from domain.errors import InvalidArgument
from domain.records.decimals import NUMBER_LETTERS, split_decimals
from domain.records.spans import Spans
from domain.records.time_layout import Layout, layout_of, parse_layout
from domain.records.time_pattern import MS_MAX, MS_MIN, TEXT_LENGTH_MAX, PatternError, TimePattern

EPOCH = "epoch"
EPOCH_MS = "epoch_ms"

_MANTISSA_MAX = 10**15
"""Mantissas below this can be multiplied by 1000 in 64 bits."""

_CONTEXT = Context(prec=2 * TEXT_LENGTH_MAX, rounding=ROUND_FLOOR, Emin=-999_999, Emax=999_999, traps=[])


def check_time_format(time_format: str) -> None:
    """Accept a legal time format.

    Raises
    ------
    InvalidArgument
        When it is neither `epoch`, nor `epoch_ms`, nor a Java pattern that names a date and a time of day.
    """
    if time_format in (EPOCH, EPOCH_MS):
        return
    try:
        TimePattern(time_format)
    except PatternError as error:
        reason = f"Invalid Time format string '{time_format}'"
        raise InvalidArgument(reason) from error


@lru_cache(maxsize=64)
def _compiled(time_format: str, default_year: int) -> tuple[TimePattern, Layout | None]:
    pattern = TimePattern(time_format, default_year)
    return pattern, layout_of(pattern.parts)


def parse_times(
    spans: Spans, time_format: str, default_year: int = 1970
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Read a column of times.

    Parameters
    ----------
    spans : Spans
        The texts.
    time_format : str
        A format that `check_time_format` accepts.
    default_year : int
        The year of dates whose pattern names none.

    Returns
    -------
    ms : ndarray of shape (n,), dtype=int64
        Milliseconds since the epoch, 0 where there is no valid date.
    is_valid : ndarray of shape (n,), dtype=bool
    """
    if time_format in (EPOCH, EPOCH_MS):
        digits = 3 if time_format == EPOCH else 0
        ms, is_valid = _parse_epoch(spans, digits)
        parse_one = _EpochParser(digits).parse
    else:
        pattern, layout = _compiled(time_format, default_year)
        parse_one = pattern.parse
        if layout is None:
            ms, is_valid = np.zeros(len(spans), np.int64), np.zeros(len(spans), np.bool_)
        else:
            ms, is_valid = parse_layout(spans, layout, default_year)
    rest = np.flatnonzero(~is_valid)
    if len(rest):
        known: dict[bytes, int | None] = {b"": None}
        for row, raw in zip(rest.tolist(), spans.raw(rest), strict=True):
            if raw not in known:
                known[raw] = parse_one(raw[: 4 * TEXT_LENGTH_MAX + 4].decode("utf-8", "replace").strip(" \t"))
            value = known[raw]
            ms[row] = 0 if value is None else value
            is_valid[row] = value is not None
    return ms, is_valid


def _parse_epoch(spans: Spans, digits: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Read plain decimals, shifted by `digits` decimal places to milliseconds, in whole-number arithmetic."""
    parts = split_decimals(spans)
    is_valid = parts.is_plain & (parts.mantissa < _MANTISSA_MAX)
    value = np.where(parts.is_negative, -parts.mantissa, parts.mantissa)
    shift = parts.scale - digits
    if shift.any():
        value = value * 10 ** np.maximum(-shift, 0) // 10 ** np.maximum(shift, 0)
    is_valid &= (value >= MS_MIN) & (value <= MS_MAX)
    return value, is_valid


class _EpochParser:
    """Reads one number of seconds or milliseconds exactly, however it is written."""

    def __init__(self, digits: int) -> None:
        self.digits = digits

    def parse(self, text: str) -> int | None:
        raw = text.encode("utf-8", "replace")
        if not raw or len(raw) > TEXT_LENGTH_MAX or raw.translate(None, NUMBER_LETTERS):
            return None
        try:
            shifted = _CONTEXT.create_decimal(text).scaleb(self.digits, _CONTEXT)
        except InvalidOperation:
            return None
        if not shifted.is_finite() or not MS_MIN <= shifted <= MS_MAX + 1:
            return None
        ms = int(shifted.to_integral_value(context=_CONTEXT))
        return ms if MS_MIN <= ms <= MS_MAX else None
