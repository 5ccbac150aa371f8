"""What a query means on a record at hand, for sources that cannot answer queries themselves.

A field of a record is a text, a number, a boolean, a list of these (any of which may match) or missing. A number and
the text that spells it are the same, as everywhere in the API. Bounds of a range compare numbers with numbers, times
with times, and otherwise texts.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from domain.api_time import parse_iso
from domain.datafeeds.query import Bool, Exists, MatchAll, Query, Range, Scalar, Terms, bound_ms

Record = Mapping[str, Any]
Predicate = Callable[[Record], bool]

NUMBER_LENGTH_MAX: Final = 64
"""Longer texts are never taken for numbers."""


def predicate_of(query: Query, time_field: str) -> Predicate:
    """Return the function that tells whether a record matches.

    Parameters
    ----------
    query : Query
    time_field : str
        Its values are milliseconds since the epoch.
    """
    match query:
        case MatchAll():
            return lambda _record: True
        case Exists(field):
            return lambda record: any(True for _ in _values(record, field))
        case Terms(field, values):
            keys = frozenset(_key(value) for value in values)
            return lambda record: any(_key(value) in keys for value in _values(record, field))
        case Range():
            if query.field == time_field:
                return _time_range(query)
            return _range(query)
        case Bool():
            return _bool(query, time_field)


def _bool(query: Bool, time_field: str) -> Predicate:
    required = [predicate_of(part, time_field) for part in query.required]
    excluded = [predicate_of(part, time_field) for part in query.must_not]
    wanted = [predicate_of(part, time_field) for part in query.should]
    n_wanted = query.n_should

    def holds(record: Record) -> bool:
        if not all(part(record) for part in required) or any(part(record) for part in excluded):
            return False
        return n_wanted == 0 or sum(part(record) for part in wanted) >= n_wanted

    return holds


def _time_range(query: Range) -> Predicate:
    low = None if query.low is None else bound_ms(query.low, query.format)
    high = None if query.high is None else bound_ms(query.high, query.format)
    if (low is None) != (query.low is None) or (high is None) != (query.high is None):
        return lambda _record: False
    return _range(Range(query.field, low, high, query.includes_low, query.includes_high))


def _range(query: Range) -> Predicate:
    def holds(record: Record) -> bool:
        return any(
            _is_beyond(value, query.low, 1, includes=query.includes_low)
            and _is_beyond(value, query.high, -1, includes=query.includes_high)
            for value in _values(record, query.field)
        )

    return holds


def _is_beyond(value: Scalar, bound: Scalar | None, direction: int, *, includes: bool) -> bool:
    if bound is None:
        return True
    order = _compare(value, bound)
    return order * direction > 0 or (includes and order == 0)


def _compare(value: Scalar, bound: Scalar) -> int:
    numbers = as_number(value), as_number(bound)
    if numbers[0] is not None and numbers[1] is not None:
        return (numbers[0] > numbers[1]) - (numbers[0] < numbers[1])
    if isinstance(value, str) and isinstance(bound, str):
        times = parse_iso(value), parse_iso(bound)
        if times[0] is not None and times[1] is not None:
            return (times[0] > times[1]) - (times[0] < times[1])
    texts = _text(value), _text(bound)
    return (texts[0] > texts[1]) - (texts[0] < texts[1])


def as_number(value: Scalar) -> float | int | None:
    """Return the number that a value is or spells, None if it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    if len(value) > NUMBER_LENGTH_MAX or not value[:1] or value[0] not in "+-.0123456789":
        return None
    try:
        return int(value)
    except ValueError:
        pass
    try:
        return float(value)
    except ValueError:
        return None


def _key(value: Scalar) -> tuple[str, Any]:
    number = as_number(value)
    return ("number", number) if number is not None else ("text", _text(value))


def _text(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _values(record: Record, field: str) -> Any:
    value = record.get(field)
    if isinstance(value, list):
        return (item for item in value if isinstance(item, str | int | float))
    return (value,) if isinstance(value, str | int | float) else ()
