"""The time column of a table: numbers, timestamps or texts, and how a stretch of time is asked of each.

What a column holds is told by a value of it, since not every database keeps types (SQLite has texts and numbers for
dates). Numbers are seconds if the job's time format says so, else milliseconds; timestamps without a zone are UTC;
texts must begin with the date, ``yyyy-MM-dd``, so that their order is that of time. For texts the condition in SQL is
by whole days, with a day to spare for zones, and the rest is done on the rows that come back.
"""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal, InvalidOperation
from typing import Any, Final, Literal

from sqlalchemy import Column, ColumnElement, and_, true, type_coerce, types

from domain.api_time import TIME_MS_MAX, TIME_MS_MIN
from domain.errors import BadRequest
from domain.records.time_format import EPOCH
from marigraph.sources.sql_query import TimeCondition, from_ms
from marigraph.sources.times import times_ms

Kind = Literal["number", "aware", "naive", "text"]

DAY_MS: Final = 86_400_000
_DATE_TEXT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class TimeColumn(TimeCondition):
    """The time column of one table.

    Parameters
    ----------
    column : Column
    sample : Any
        A value of it, as the driver gives it.
    time_format : str
        Of the job.

    Attributes
    ----------
    raw : ColumnElement
        The column, its values as the driver gives them.
    ms_per_unit : int
        Milliseconds that a number counts.

    Raises
    ------
    BadRequest
        Its values are no times, or their order is not that of time.
    """

    def __init__(self, column: ColumnElement[Any], field: str, sample: Any, time_format: str) -> None:
        self.field = field
        self.raw = raw(column)
        self._format = time_format
        self.ms_per_unit = 1000 if time_format == EPOCH else 1
        self.kind: Kind = _kind_of(sample, field)

    @property
    def is_exact(self) -> bool:
        """Whether the condition in SQL is all that is needed."""
        return self.kind != "text"

    def between(self, start_ms: int | None, end_ms: int | None) -> ColumnElement[bool]:
        """Return the condition of a stretch of time; of texts it lets some days too many through."""
        conditions: list[ColumnElement[bool]] = []
        if start_ms is not None:
            conditions.append(self.raw >= self._bound(_clamp(start_ms), -DAY_MS))
        if end_ms is not None:
            conditions.append(self.raw < self._bound(_clamp(end_ms), 2 * DAY_MS))
        return and_(true(), *conditions)

    def _bound(self, time_ms: int, margin_ms: int) -> Any:
        match self.kind:
            case "number":
                whole, rest = divmod(time_ms, self.ms_per_unit)
                return whole if not rest else time_ms / self.ms_per_unit
            case "text":
                return from_ms(_clamp(time_ms + margin_ms), is_aware=False).strftime("%Y-%m-%d").zfill(10)
        return from_ms(time_ms, is_aware=self.kind == "aware")

    def to_ms(self, values: Sequence[Any]) -> list[int | None]:
        """Return the times of rows in milliseconds, None for what is no time."""
        match self.kind:
            case "number":
                return [self._from_number(value) for value in values]
            case "text":
                return times_ms([value if isinstance(value, str) else "" for value in values], self._format)
        return [_from_moment(value) for value in values]

    def _from_number(self, value: Any) -> int | None:
        if isinstance(value, int):
            return value * self.ms_per_unit
        try:
            exact = Decimal(repr(value) if isinstance(value, float) else value) * self.ms_per_unit
            return int(exact.to_integral_value(ROUND_FLOOR))
        except (InvalidOperation, TypeError, ValueError, OverflowError):
            return None


def raw(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return a column whose values come as the driver gives them."""
    return type_coerce(column, types.NullType())


def plain_column(column: Column[Any], dialect: str) -> ColumnElement[Any]:
    """Return a column to select; SQLite keeps dates and decimals as it likes, and they are taken as they are."""
    if dialect == "sqlite" and isinstance(
        column.type, types.DateTime | types.Date | types.Time | types.Numeric | types.Float
    ):
        return raw(column).label(column.name)
    return column


def _kind_of(sample: Any, field: str) -> Kind:
    if isinstance(sample, bool):
        sample = None
    if isinstance(sample, int | float | Decimal):
        return "number"
    if isinstance(sample, datetime):
        return "naive" if sample.tzinfo is None else "aware"
    if isinstance(sample, date):
        return "naive"
    if isinstance(sample, str) and _DATE_TEXT.match(sample):
        return "text"
    shown = str(sample)[:64]
    msg = (
        f"the time field [{field}] must hold numbers, timestamps, or texts that begin with a date like 2024-01-31, "
        f"got [{shown}]"
    )
    raise BadRequest(msg)


def _from_moment(value: Any) -> int | None:
    if not isinstance(value, datetime):
        if not isinstance(value, date):
            return None
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    difference: timedelta = value - datetime(1970, 1, 1, tzinfo=UTC)
    return difference // timedelta(milliseconds=1)


def _clamp(time_ms: int) -> int:
    return min(max(time_ms, TIME_MS_MIN), TIME_MS_MAX)
