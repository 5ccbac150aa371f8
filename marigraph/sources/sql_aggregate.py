"""Aggregations in SQL, where a database comes to exactly what would be made of its rows here.

That is so on PostgreSQL, where columns keep their types: intervals of whole numbers or timestamps, terms of texts and
whole numbers; counts, sums and means of whole numbers, least and greatest of all numbers. Fractions are added up in
another order there, and so are made of the rows. What comes back is one row for each interval and combination of terms;
``domain/datafeeds/aggregations.py`` makes the records of them.
"""

import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    cast,
    func,
    literal_column,
    select,
    types,
)

from domain.datafeeds.aggregations import Histogram, Level, Metric, Partial
from marigraph.sources.sql_time import TimeColumn

EXACT_EPOCH_VERSION: Final = (14,)
"""PostgreSQL from here on tells the seconds of a timestamp as an exact number."""

_TEXTS: Final = (types.TEXT, types.VARCHAR, types.Text, types.String)


class Aggregation(NamedTuple):
    """A statement, and how its rows are read: interval, terms, number of documents, then one value per measure."""

    query: Select[Any]
    terms: tuple[str, ...]
    measures: tuple[tuple[str, str], ...]
    """What each further column is, and of which field: ``counts``, ``sums``, ``lows`` or ``highs``."""
    moment: TimeColumn

    def read(self, row: Sequence[Any]) -> tuple[int, Partial]:
        """Return the interval of a row, counted from the epoch, and what it says."""
        interval, *rest = row
        keys, (n_documents, *values) = rest[: len(self.terms)], rest[len(self.terms) :]
        found: dict[str, dict[str, Any]] = {"counts": {}, "sums": {}, "lows": {}, "highs": {}}
        for (measure, field), value in zip(self.measures, values, strict=True):
            found[measure][field] = self._plain(measure, field, value)
        return interval, Partial(dict(zip(self.terms, keys, strict=True)), n_documents, **found)

    def _plain(self, measure: str, field: str, value: Any) -> Any:
        if field == self.moment.field:
            return self.moment.to_ms([value])[0]
        is_sum = measure == "sums" and value is not None
        return int(value) if is_sum else value  # the sum of large whole numbers comes as a decimal one


def aggregation_of(
    connection: Connection,
    selectable: FromClause,
    moment: TimeColumn,
    histogram: Histogram,
    *,
    condition: ColumnElement[bool],
) -> Aggregation | None:
    """Return the statement that aggregates what a condition leaves of a table; None if it would not come to the same.

    The condition leaves no time before the epoch, from where intervals are counted.
    """
    interval = _interval(connection, selectable.c[moment.field], moment, histogram.interval_ms)
    if interval is None:
        return None
    terms, metrics = _parts(histogram.inner)
    columns = {field: selectable.c[field] for field in histogram.fields}
    if moment.field in terms or not all(_is_key(columns[field]) for field in terms):
        return None
    measures: dict[tuple[str, str], ColumnElement[Any]] = {}
    for metric in metrics:
        found = _measures(metric, columns[metric.field], moment)
        if found is None:
            return None
        measures |= {(name, metric.field): expression for name, expression in found.items()}
    keys = [interval, *(columns[field] for field in terms)]
    query = select(*keys, func.count(), *measures.values()).select_from(selectable).where(condition)
    places: list[ColumnElement[Any]] = [literal_column(str(place)) for place, _ in enumerate(keys, 1)]
    return Aggregation(query.group_by(*places).order_by(places[0]), terms, tuple(measures), moment)


def _parts(level: Level) -> tuple[tuple[str, ...], list[Metric]]:
    """Return the fields of all terms, and all metrics."""
    terms: list[str] = []
    metrics = list(level.metrics)
    while level.terms is not None:
        terms.append(level.terms.field)
        level = level.terms.inner
        metrics += level.metrics
    return tuple(dict.fromkeys(terms)), metrics


def _interval(
    connection: Connection, column: ColumnElement[Any], moment: TimeColumn, interval_ms: int
) -> ColumnElement[int] | None:
    """Return the interval that a row lies in, None where it cannot be told exactly."""
    if connection.dialect.name != "postgresql":
        return None
    if moment.kind == "number" and isinstance(column.type, types.Integer):
        units, rest = divmod(interval_ms, moment.ms_per_unit)
        return None if rest else column // units
    version = connection.dialect.server_version_info or ()
    if isinstance(column.type, types.DateTime) and moment.kind != "text" and version >= EXACT_EPOCH_VERSION:
        return cast(func.floor(func.extract("epoch", column) * 1000), BigInteger) // interval_ms
    return None


def _is_key(column: ColumnElement[Any]) -> bool:
    """Tell whether values are equal to the database exactly where they are equal here."""
    kind = column.type
    is_text = type(kind) in _TEXTS and getattr(kind, "collation", None) is None
    return is_text or isinstance(kind, types.Integer)


def _measures(metric: Metric, column: ColumnElement[Any], moment: TimeColumn) -> dict[str, ColumnElement[Any]] | None:
    """Return what has to be asked for a metric, None if that would not be exact."""
    is_extreme = metric.kind in ("max", "min")
    side = "highs" if metric.kind == "max" else "lows"
    extreme = func.max if metric.kind == "max" else func.min
    if metric.field == moment.field:
        return {side: extreme(moment.raw)} if is_extreme else None
    if isinstance(column.type, types.Float) and is_extreme:
        is_finite = and_(column > -math.inf, column < math.inf)  # not-a-number is beyond infinity
        return {side: extreme(column).filter(is_finite)}
    if metric.kind == "value_count" and _is_key(column):
        return {"counts": func.count(column)}
    if not isinstance(column.type, types.Integer):
        return None
    if is_extreme:
        return {side: extreme(column)}
    return {"counts": func.count(column), "sums": func.sum(column)} if metric.kind in ("sum", "avg") else None
