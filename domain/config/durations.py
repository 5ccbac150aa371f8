"""Durations such as ``5m`` or ``250ms``: kept as written; these functions say how long they are."""

import re
from typing import Final

from domain.config.fields import shorten
from domain.errors import InvalidArgument

NANOS_PER_MS: Final = 1_000_000
NANOS_PER_SECOND: Final = 1_000_000_000
DURATION_NANOS_MAX: Final = 2**63 - 1  # 292 years: times plus durations in ms then stay far inside 64 bits

_UNIT_NANOS: Final = {
    "d": 86_400 * NANOS_PER_SECOND,
    "h": 3_600 * NANOS_PER_SECOND,
    "m": 60 * NANOS_PER_SECOND,
    "s": NANOS_PER_SECOND,
    "ms": NANOS_PER_MS,
    "micros": 1_000,
    "nanos": 1,
}
_DURATION = re.compile(r"(?P<count>-?[0-9]{1,19})\s*(?P<unit>[a-z]+)")


def parse_duration_nanos(text: str, field: str = "duration") -> int:
    """Return the length of a duration text in nanoseconds; it may be negative.

    Parameters
    ----------
    text : str
        A whole number and a unit of ``d h m s ms micros nanos``, in any case; or ``0`` or ``-1`` alone.
    field : str
        The name of the setting, for the message.

    Raises
    ------
    InvalidArgument
        If it cannot be read, or is longer than 292 years.
    """
    cleaned = text.strip().lower()
    if cleaned in ("0", "-1"):
        return int(cleaned) * NANOS_PER_MS
    match = _DURATION.fullmatch(cleaned)
    if match is None or match["unit"] not in _UNIT_NANOS:
        reason = (
            f"failed to parse [{field}] with value [{shorten(text)}] as a time: expected a whole number "
            f"with one of the units [{', '.join(_UNIT_NANOS)}]"
        )
        raise InvalidArgument(reason)
    nanos = int(match["count"]) * _UNIT_NANOS[match["unit"]]
    if abs(nanos) > DURATION_NANOS_MAX:
        reason = f"failed to parse [{field}] with value [{shorten(text)}] as a time: longer than 292 years"
        raise InvalidArgument(reason)
    return nanos


def parse_duration_ms(text: str, field: str = "duration") -> int:
    """Return the length of a duration text in whole milliseconds, a fraction being dropped.

    >>> parse_duration_ms("250ms"), parse_duration_ms("1D")
    (250, 86400000)
    """
    return parse_duration_nanos(text, field) // NANOS_PER_MS


def parse_duration_seconds(text: str, field: str = "duration") -> int:
    """Return the length of a duration text in seconds, which must be whole.

    >>> parse_duration_seconds("5m"), parse_duration_seconds("300S")
    (300, 300)

    Raises
    ------
    InvalidArgument
        If it cannot be read or is no multiple of a second.
    """
    seconds, rest = divmod(parse_duration_nanos(text, field), NANOS_PER_SECOND)
    if rest:
        reason = f"{field} has to be a multiple of seconds. Value = {shorten(text)}"
        raise InvalidArgument(reason)
    return seconds


def format_duration(seconds: float) -> str:
    """Return a length in the largest unit that leaves it whole.

    >>> format_duration(1800), format_duration(90), format_duration(0.05)
    ('30m', '90s', '50ms')
    """
    millis = round(seconds * 1000)
    for unit in ("d", "h", "m", "s"):
        size = _UNIT_NANOS[unit] // NANOS_PER_MS
        if millis and millis % size == 0:
            return f"{millis // size}{unit}"
    return f"{millis}ms"


def check_positive_seconds(text: str, field: str) -> None:
    """Refuse a duration that is not positive or no multiple of a second, in this order."""
    if parse_duration_nanos(text, field) <= 0:
        reason = f"{field} cannot be less or equal than 0. Value = {shorten(text)}"
        raise InvalidArgument(reason)
    parse_duration_seconds(text, field)


def check_non_negative_seconds(text: str, field: str) -> None:
    """Refuse a duration that is negative or no multiple of a second, in this order."""
    if parse_duration_nanos(text, field) < 0:
        reason = f"{field} cannot be less than 0. Value = {shorten(text)}"
        raise InvalidArgument(reason)
    parse_duration_seconds(text, field)
