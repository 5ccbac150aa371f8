"""From a datafeed's query to a WHERE clause: a tree of SQLAlchemy's own expressions, every value a bound parameter.

Column names come from the reflected table, never from the query's text: a field is looked up among the columns and
refused if it is not there. A value is brought to its column's kind first, since databases do not compare texts with
numbers; one that cannot be brought there matches nothing, as in a search engine.
"""

import operator
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, case, false, literal, not_, or_, true, types

from domain.datafeeds import Bool, Exists, MatchAll, Query, Range, Terms, bound_ms
from domain.datafeeds.matching import as_number
from domain.datafeeds.query import Scalar

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
Columns = Mapping[str, ColumnElement[Any]]


def where(query: Query, columns: Columns, time: "TimeCondition") -> ColumnElement[bool]:
    """Return the condition that a query puts on a table's rows.

    Parameters
    ----------
    query : Query
    columns : mapping
        Every field of the query, by name.
    time : TimeCondition
        Makes conditions on the time column.
    """
    match query:
        case MatchAll():
            return true()
        case Exists(field):
            return columns[field].is_not(None)
        case Terms(field, values):
            found = [_comparable(value, columns[field]) for value in values]
            return columns[field].in_([value for value in found if value is not None])
        case Range(field=field) if field == time.field:
            return _time_range(query, time)
        case Range():
            return _range(query, columns[query.field])
        case Bool():
            return _bool(query, columns, time)


def _bool(query: Bool, columns: Columns, time: "TimeCondition") -> ColumnElement[bool]:
    conditions = [where(part, columns, time) for part in query.required]
    # A comparison with NULL is neither true nor false in SQL; what does not hold is excluded by none.
    conditions += [not_(case((where(part, columns, time), true()), else_=false())) for part in query.must_not]
    wanted = [where(part, columns, time) for part in query.should]
    if query.n_should == 1:
        conditions.append(or_(false(), *wanted))
    elif query.n_should > 1:
        n_holding = sum((case((part, 1), else_=0) for part in wanted), start=literal(0))
        conditions.append(n_holding >= query.n_should)
    return and_(true(), *conditions)


def _range(query: Range, column: ColumnElement[Any]) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = [column.is_not(None)]
    for bound, is_low, includes in (
        (query.low, True, query.includes_low),
        (query.high, False, query.includes_high),
    ):
        if bound is None:
            continue
        value = _comparable(bound, column)
        if value is None:
            return false()
        conditions.append(_compare(column, value, is_low=is_low, includes=includes))
    return and_(*conditions)


def _compare(column: ColumnElement[Any], value: Any, *, is_low: bool, includes: bool) -> ColumnElement[bool]:
    compare = (operator.ge if includes else operator.gt) if is_low else (operator.le if includes else operator.lt)
    condition: ColumnElement[bool] = compare(column, value)
    return condition


def _time_range(query: Range, time: "TimeCondition") -> ColumnElement[bool]:
    """Return the condition of a range on the time field; times are whole milliseconds here."""
    low = None if query.low is None else bound_ms(query.low, query.format)
    high = None if query.high is None else bound_ms(query.high, query.format)
    if (low is None) != (query.low is None) or (high is None) != (query.high is None):
        return false()
    start = None if low is None else low + (not query.includes_low)
    end = None if high is None else high + query.includes_high
    return time.between(start, end)


def _comparable(value: Scalar, column: ColumnElement[Any]) -> Any:
    """Return a value as its column's kind, None if it cannot be one."""
    kind = column.type
    if isinstance(kind, types.Boolean):
        return {"true": True, "false": False}.get(str(value).lower())
    if isinstance(kind, types.Integer | types.Numeric | types.Float):
        return None if isinstance(value, bool) else as_number(value)
    if isinstance(kind, types.DateTime | types.Date):
        return _moment(value, kind)
    if isinstance(kind, types.NullType):  # a column of a named SELECT: its kind is not known
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _moment(value: Scalar, kind: types.DateTime | types.Date) -> datetime | date | None:
    time_ms = bound_ms(value)
    if time_ms is None:
        return None
    moment = from_ms(time_ms, is_aware=bool(getattr(kind, "timezone", False)))
    return moment if isinstance(kind, types.DateTime) else moment.date()


def from_ms(time_ms: int, *, is_aware: bool) -> datetime:
    """Return a time as a datetime in UTC, with or without saying so; beyond the calendar its first or last moment."""
    try:
        moment = _EPOCH + timedelta(milliseconds=time_ms)
    except OverflowError:
        moment = datetime(1, 1, 1, tzinfo=UTC) if time_ms < 0 else datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)
    return moment if is_aware else moment.replace(tzinfo=None)


class TimeCondition:
    """Makes conditions on the time column; see ``sql_time.py`` for the kinds of it."""

    field: str

    def between(self, start_ms: int | None, end_ms: int | None) -> ColumnElement[bool]:
        """Return the condition that a time is not before the start and before the end."""
        raise NotImplementedError
