"""Times as clients write them in requests, to int64 milliseconds since the epoch; nothing here reads a clock.

Three kinds of parameters differ in what a number means: flush and post take seconds or milliseconds by its
length (`parse_api_time`), results and snapshots milliseconds (`parse_result_time`), datafeeds milliseconds
and date math (`parse_datafeed_time`). All take ISO 8601. Times of records are read in `domain.records`.
"""

import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta
from typing import Final

from domain.errors import ParseError

TIME_MS_MIN: Final = -62_135_596_800_000  # 0001-01-01T00:00:00Z, the first day that calendars here know
TIME_MS_MAX: Final = 253_402_300_799_999  # the last millisecond of the year 9999
INT64_MAX: Final = 2**63 - 1

_SECONDS_DIGITS_MAX: Final = 10
_TEXT_LENGTH_MAX: Final = 128  # chosen: no legal time is longer
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_ISO = re.compile(
    r"(?P<year>[0-9]{4})(?:-(?P<month>[0-9]{2})(?:-(?P<day>[0-9]{2})"
    r"(?:T(?P<hour>[0-9]{2})(?::(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,9}))?)?)?"
    r"(?P<zone>Z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?)?)?"
)
_MATH_STEP = re.compile(r"(?P<operator>[+-])(?P<count>[0-9]{0,9})(?P<unit>[yMwdhHms])|/(?P<round>[yMwdhHms])")
_UNIT_MS: Final = {
    "w": 604_800_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "H": 3_600_000,
    "m": 60_000,
    "s": 1_000,
}
_MONDAY_MS: Final = 4 * _UNIT_MS["d"]  # 1970-01-05: where weeks are counted from


def parse_api_time(text: str | int, param: str, *, now_ms: int | None = None) -> int:
    """Return a time parameter of flush or post as milliseconds since the epoch.

    Parameters
    ----------
    text : str or int
        An integer (up to ten characters: seconds, more: milliseconds), ``now``, or ISO 8601.
    param : str
        The name of the parameter, for the message.
    now_ms : int, optional
        What ``now`` means; without it ``now`` is refused.

    Raises
    ------
    ParseError
        If it cannot be read, or lies outside of the years 1 to 9999.

    >>> parse_api_time("1403481600", "start"), parse_api_time("1403481600000", "start")
    (1403481600000, 1403481600000)
    """
    cleaned = _clean(text)
    time_ms: int | None
    if cleaned == "now":
        time_ms = now_ms
    elif _INTEGER.fullmatch(cleaned):
        time_ms = int(cleaned) * (1_000 if len(cleaned) <= _SECONDS_DIGITS_MAX else 1)
    else:
        time_ms = parse_iso(cleaned)
    if time_ms is None or not TIME_MS_MIN <= time_ms <= TIME_MS_MAX:
        raise _unreadable(param, text)
    return time_ms


def parse_result_time(text: str | int, param: str, *, now_ms: int | None = None) -> int:
    """Return a time parameter of results or snapshots as milliseconds since the epoch.

    Parameters
    ----------
    text : str or int
        An integer is always milliseconds, and any 64-bit one is taken, since clients send extremes as open
        ends; else ISO 8601, or date math on ``now`` when `now_ms` is given.
    param : str
        The name of the parameter, for the message.
    now_ms : int, optional
        What ``now`` means.

    Raises
    ------
    ParseError
        If it cannot be read.
    """
    cleaned = _clean(text)
    if _INTEGER.fullmatch(cleaned):
        time_ms = int(cleaned)
        if abs(time_ms) <= INT64_MAX:
            return time_ms
        raise _unreadable(param, text)
    return parse_datafeed_time(text, param, now_ms=now_ms)


def parse_datafeed_time(text: str | int, param: str, *, now_ms: int | None = None) -> int:
    """Return a time parameter of a datafeed as milliseconds since the epoch.

    Parameters
    ----------
    text : str or int
        An integer in milliseconds, ISO 8601, or date math such as ``now-1d/d`` or ``2017-04-11||+1M``.
    param : str
        The name of the parameter, for the message.
    now_ms : int, optional
        What ``now`` means; without it ``now`` is refused.

    Raises
    ------
    ParseError
        If it cannot be read, or lies outside of the years 1 to 9999.
    """
    cleaned = _clean(text)
    time_ms = int(cleaned) if _INTEGER.fullmatch(cleaned) else parse_date_math(cleaned, now_ms)
    if time_ms is None or not TIME_MS_MIN <= time_ms <= TIME_MS_MAX:
        raise _unreadable(param, text)
    return time_ms


def parse_iso(text: str) -> int | None:
    """Return an ISO 8601 date or date-time as milliseconds since the epoch, None if it is none.

    Parts after the year may be left out; without a zone it is UTC; digits beyond milliseconds are dropped.

    >>> parse_iso("2017-04-11T15:02:43.5-0700"), parse_iso("2017-02-30")
    (1491948163500, None)
    """
    match = _ISO.fullmatch(text)
    if match is None:
        return None
    parts = [int(match[name] or default) for name, default in (("year", 0), ("month", 1), ("day", 1))]
    clock = [int(match[name] or 0) for name in ("hour", "minute", "second")]
    try:
        moment = datetime(*parts, *clock, tzinfo=UTC)  # type: ignore[misc,arg-type]
    except ValueError:
        return None
    offset_minutes = _zone_minutes(match["zone"])
    if offset_minutes is None:
        return None
    fraction_ms = int((match["fraction"] or "0").ljust(3, "0")[:3])
    return _to_ms(moment) + fraction_ms - offset_minutes * 60_000


def parse_date_math(text: str, now_ms: int | None) -> int | None:
    """Return date math as milliseconds since the epoch, None if it is none.

    Parameters
    ----------
    text : str
        ``now`` or an ISO 8601 date with ``||``, then any number of steps ``+1d``, ``-2M``, or ``/d`` (round
        down); a plain ISO 8601 date as well. Units are ``y M w d h H m s``.
    now_ms : int or None
        What ``now`` means.

    >>> parse_date_math("now-1d", 86_400_000), parse_date_math("1970-01-31||+1M/d", None)
    (0, 5011200000)
    """
    if text.startswith("now"):
        time_ms, steps = now_ms, text[3:]
    else:
        date, _, steps = text.partition("||")
        time_ms = parse_iso(date)
    position = 0
    while time_ms is not None and position < len(steps):
        match = _MATH_STEP.match(steps, position)
        if match is None or not TIME_MS_MIN <= time_ms <= TIME_MS_MAX:
            return None
        time_ms = _step(time_ms, match)
        position = match.end()
    return time_ms


def _step(time_ms: int, match: re.Match[str]) -> int | None:
    if match["round"] is not None:
        return _round_down(time_ms, match["round"])
    count = int(match["count"] or 1) * (-1 if match["operator"] == "-" else 1)
    unit = match["unit"]
    if unit in _UNIT_MS:
        return time_ms + count * _UNIT_MS[unit]
    return _add_months(time_ms, count * 12 if unit == "y" else count)


def _round_down(time_ms: int, unit: str) -> int:
    if unit in _UNIT_MS:
        start = _MONDAY_MS if unit == "w" else 0
        return time_ms - (time_ms - start) % _UNIT_MS[unit]
    moment = _from_ms(time_ms)
    month = moment.month if unit == "M" else 1
    return _to_ms(datetime(moment.year, month, 1, tzinfo=UTC))


def _add_months(time_ms: int, count: int) -> int | None:
    """Move by calendar months; a day that the month lacks becomes its last one. None outside the calendar."""
    moment = _from_ms(time_ms)
    year, month = divmod(moment.year * 12 + moment.month - 1 + count, 12)
    if not 1 <= year <= 9999:
        return None
    day = min(moment.day, monthrange(year, month + 1)[1])
    return _to_ms(moment.replace(year=year, month=month + 1, day=day))


def _zone_minutes(zone: str | None) -> int | None:
    """Return how far a zone is ahead of UTC in minutes, None if there is no such zone."""
    if zone is None or zone == "Z":
        return 0
    digits = zone[1:].replace(":", "")
    hours, minutes = int(digits[:2]), int(digits[2:] or 0)
    if hours > 18 or minutes > 59:
        return None
    return (hours * 60 + minutes) * (-1 if zone[0] == "-" else 1)


def _from_ms(time_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=time_ms)


def _to_ms(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _clean(text: str | int) -> str:
    """Return the text of a parameter, empty where it can be no time at all."""
    if isinstance(text, bool) or not isinstance(text, (str, int)):
        return ""
    if isinstance(text, int):
        return str(text) if abs(text) <= INT64_MAX else ""
    return text.strip() if len(text) <= _TEXT_LENGTH_MAX else ""


def _unreadable(param: str, text: str | int) -> ParseError:
    if isinstance(text, int) and abs(text) > INT64_MAX:
        shown = "an integer of more than 64 bits"
    else:
        shown = str(text)[:_TEXT_LENGTH_MAX]
    return ParseError(
        f"Query param [{param}] with value [{shown}] cannot be parsed as a date or converted to a number (epoch)."
    )
