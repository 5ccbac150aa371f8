"""Tables, views and named SELECTs of an SQL database as a source.

``indices`` of a datafeed name tables and views that the database lists itself, or SELECTs of the configuration, with
``*`` for several; a name is only ever compared with those, and what reaches the database is an expression over the
reflected table. Connections can only read: SQLite files are opened so, PostgreSQL transactions are told so, and for
other databases the account that is configured should have no other right.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    FromClause,
    MetaData,
    Row,
    Select,
    Table,
    TextClause,
    and_,
    column,
    create_engine,
    event,
    func,
    inspect,
    select,
    text,
    true,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from domain.datafeeds import Aggregator
from marigraph.selection import fits
from marigraph.sources.base import (
    PAGE_ROWS,
    MissingField,
    MissingIndex,
    Page,
    Search,
    SourceConfigError,
    SourceError,
    Summary,
    aggregated,
    merged,
    plain,
)
from marigraph.sources.registry import Options
from marigraph.sources.sql_aggregate import Aggregation, aggregation_of
from marigraph.sources.sql_query import where
from marigraph.sources.sql_time import TimeColumn, plain_column, raw

CONNECTIONS_MAX: Final = 8
"""Searches of one source at once."""

SEARCH_SECONDS_MAX: Final = 600
"""A statement that takes longer is given up (on PostgreSQL)."""

CONNECT_SECONDS_MAX: Final = 10

NAMES_SECONDS: Final = 30.0
"""How long the list of tables is believed."""

INDICES_MAX: Final = 1_000


class Relation(NamedTuple):
    """A table, view or SELECT, and its columns."""

    name: str
    selectable: FromClause


class SqlSource:
    """A database to read from; see ``base.Source``."""

    def __init__(self, name: str, options: Options) -> None:
        self._name = name
        self._engine = _engine(name, options.require_text("url"))
        self._allowed = options.texts("tables")
        self._schemas = options.texts("schemas") or ()
        self._queries = options.mapping("queries")
        options.finish()
        self._names: tuple[float, list[str]] = (0.0, [])
        self._relations: dict[str, Relation] = {}

    def check(self, search: Search) -> None:
        """Refuse indices and fields that are not there."""
        search.check_aggregations()
        with self._connected() as connection:
            for relation in self._find(connection, search):
                self._time_of(connection, relation, search)

    def summary(self, search: Search, start_ms: int, end_ms: int) -> Summary | None:
        """Ask for the number of rows, and the first and last time."""
        n_rows = 0
        earliest: list[int] = []
        latest: list[int] = []
        with self._connected() as connection:
            for relation, moment in self._searchable(connection, search):
                condition = _condition(relation, search, moment, start_ms, end_ms)
                query = select(func.count(), func.min(moment.raw), func.max(moment.raw)).select_from(
                    relation.selectable
                )
                count, *bounds = connection.execute(query.where(condition)).one()
                n_rows += count
                first, last = moment.to_ms(bounds)
                earliest += [] if first is None else [first]
                latest += [] if last is None else [last]
        if not earliest or not latest:
            return Summary(0)
        return Summary(n_rows, max(min(earliest), start_ms), min(max(latest), end_ms - 1))

    def scan(self, search: Search, start_ms: int, end_ms: int) -> Iterator[Page]:
        """Yield the rows of a stretch of time."""
        with self._connected() as connection:
            found = list(self._searchable(connection, search))
            aggregation = _aggregation(connection, found, search, start_ms, end_ms)
            if aggregation is not None:
                yield from _merged_intervals(connection, aggregation, search)
                return
            scans = [self._rows(connection, relation, moment, search, (start_ms, end_ms)) for relation, moment in found]
            if scans:
                yield from aggregated(search, merged(scans, search.time_field))

    def count(self, search: Search, start_ms: int, end_ms: int) -> int:
        """Count the documents of a stretch of time."""
        with self._connected() as connection:
            found = list(self._searchable(connection, search))
            if search.histogram is None and all(moment.is_exact for _, moment in found):
                return sum(
                    connection.execute(
                        select(func.count())
                        .select_from(relation.selectable)
                        .where(_condition(relation, search, moment, start_ms, end_ms))
                    ).scalar_one()
                    for relation, moment in found
                )
        return sum(search.n_documents(page) for page in self.scan(search, start_ms, end_ms))

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    # ------------------------------------------------------------------------------------------------------- parts

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """Give a connection in a transaction that only reads and is rolled back."""
        try:
            with self._engine.connect() as connection:
                try:
                    yield connection
                finally:
                    connection.rollback()
        except SQLAlchemyError as error:
            self._relations.clear()  # a table may have changed
            what = str(error.orig) if isinstance(error, DBAPIError) else type(error).__name__
            msg = f"source [{self._name}] failed: {' '.join(what.split())}"
            raise SourceError(msg) from error

    def _find(self, connection: Connection, search: Search) -> list[Relation]:
        names: dict[str, None] = {}
        for index in search.indices:
            matched = self._match(connection, index)
            if not matched and "*" not in index:
                raise MissingIndex(index)
            names.update(dict.fromkeys(matched))
        if not names:
            raise MissingIndex(search.indices[0])
        relations = [self._relation(connection, name) for name in list(names)[:INDICES_MAX]]
        for relation in relations:
            for field in (search.time_field, *search.read_fields):
                if field not in relation.selectable.c:
                    raise MissingField(search.datafeed_id, field)
        return relations

    def _match(self, connection: Connection, index: str) -> list[str]:
        names = [*self._queries, *self._list(connection, wanted=index)]
        return sorted(name for name in dict.fromkeys(names) if fits(name, index))

    def _list(self, connection: Connection, wanted: str) -> list[str]:
        """Return the names of the tables and views that may be searched."""
        when, names = self._names
        if time.monotonic() - when > NAMES_SECONDS or wanted not in names:
            inspector = inspect(connection)
            names = [*inspector.get_table_names(), *inspector.get_view_names()]
            for schema in self._schemas:
                listed = (*inspector.get_table_names(schema), *inspector.get_view_names(schema))
                names += [f"{schema}.{name}" for name in listed]
            if self._allowed is not None:
                names = [name for name in names if any(fnmatchcase(name, each) for each in self._allowed)]
            self._names = (time.monotonic(), names)
        return names

    def _relation(self, connection: Connection, name: str) -> Relation:
        known = self._relations.get(name)
        if known is not None:
            return known
        if name in self._queries:
            query = self._queries[name]
            keys = list(connection.execute(_no_rows(query)).keys())
            selectable: FromClause = _text(query).columns(*(column(key) for key in keys)).subquery("searched")
        else:
            schema = next((each for each in self._schemas if name.startswith(f"{each}.")), None)
            bare = name if schema is None else name.removeprefix(f"{schema}.")
            selectable = Table(bare, MetaData(), schema=schema, autoload_with=connection, resolve_fks=False)
        relation = self._relations[name] = Relation(name, selectable)
        return relation

    def _time_of(self, connection: Connection, relation: Relation, search: Search) -> TimeColumn | None:
        """Return the time column; None while the relation has no row with a time."""
        found = relation.selectable.c[search.time_field]
        query = select(raw(found)).select_from(relation.selectable).where(found.is_not(None)).limit(1)
        sample = connection.execute(query).scalar()
        return None if sample is None else TimeColumn(found, search.time_field, sample, search.time_format)

    def _searchable(self, connection: Connection, search: Search) -> Iterator[tuple[Relation, TimeColumn]]:
        for relation in self._find(connection, search):
            moment = self._time_of(connection, relation, search)
            if moment is not None:
                yield relation, moment

    def _rows(
        self, connection: Connection, relation: Relation, moment: TimeColumn, search: Search, stretch: tuple[int, int]
    ) -> Iterator[Page]:
        start_ms, end_ms = stretch
        dialect = connection.dialect.name
        columns = [plain_column(_column(relation, field), dialect) for field in search.fields]
        query = (
            select(moment.raw.label("mg_time"), *columns)
            .select_from(relation.selectable)
            .where(_condition(relation, search, moment, start_ms, end_ms))
            .order_by(moment.raw)
        )
        for rows in _fetched(connection, query):
            times = moment.to_ms([row[0] for row in rows])
            page = [
                _document(search, time_ms, row[1:])
                for time_ms, row in zip(times, rows, strict=True)
                if time_ms is not None and start_ms <= time_ms < end_ms
            ]
            if page:
                yield page


def _fetched(connection: Connection, query: Select[Any]) -> Iterator[Sequence[Row[Any]]]:
    """Yield the rows of a statement as they come, some at a time."""
    options = {"stream_results": True, "max_row_buffer": PAGE_ROWS}
    result = connection.execute(query, execution_options=options)
    try:
        while rows := result.fetchmany(PAGE_ROWS):
            yield rows
    finally:
        result.close()


def _aggregation(
    connection: Connection, found: Sequence[tuple[Relation, TimeColumn]], search: Search, start_ms: int, end_ms: int
) -> Aggregation | None:
    """Return the statement that does the search's aggregations, None if they are to be made of rows."""
    if search.histogram is None or len(found) != 1 or start_ms < 0:  # whole numbers are divided towards zero
        return None
    [(relation, moment)] = found
    condition = _condition(relation, search, moment, start_ms, end_ms)
    return aggregation_of(connection, relation.selectable, moment, search.histogram, condition=condition)


def _merged_intervals(connection: Connection, aggregation: Aggregation, search: Search) -> Iterator[Page]:
    """Yield the records of a search whose aggregations the database does."""
    assert search.histogram is not None
    aggregator = Aggregator(search.histogram)
    for rows in _fetched(connection, aggregation.query):
        page = [record for row in rows for record in aggregator.merge(*aggregation.read(row))]
        if page:
            yield page
    if last := aggregator.finish():
        yield last


def _text(query: str) -> TextClause:
    """Take a SELECT of the configuration as it is: a colon in it is no parameter."""
    return text(query.replace(":", r"\:"))


def _no_rows(query: str) -> Any:
    return select(text("*")).select_from(_text(f"({query}) AS searched")).where(text("1 = 0"))


def _column(relation: Relation, field: str) -> Column[Any]:
    found: Any = relation.selectable.c[field]
    return found  # type: ignore[no-any-return]


def _condition(
    relation: Relation, search: Search, moment: TimeColumn, start_ms: int, end_ms: int
) -> ColumnElement[bool]:
    columns = {name: relation.selectable.c[name] for name in (*search.read_fields, search.time_field)}
    return and_(true(), moment.between(start_ms, end_ms), where(search.query, columns, moment))


def _document(search: Search, time_ms: int, values: Any) -> dict[str, Any]:
    document = {search.time_field: time_ms}
    for name, value in zip(search.fields, values, strict=True):
        shown = plain(value)
        if shown is not None:
            document[name] = shown
    return document


def _engine(name: str, url: str) -> Engine:
    """Make the engine of a source; nothing is connected yet."""
    try:
        parsed = make_url(url) if "://" in url else URL.create("sqlite", database=url)
        if parsed.get_backend_name() == "sqlite":
            return _sqlite_engine(parsed)
        options: dict[str, Any] = {}
        if parsed.get_backend_name() == "postgresql":
            if parsed.drivername == "postgresql":
                parsed = parsed.set(drivername="postgresql+psycopg")
            limits = f"-c default_transaction_read_only=on -c statement_timeout={SEARCH_SECONDS_MAX * 1000}"
            options = {"options": limits, "connect_timeout": CONNECT_SECONDS_MAX}
        return create_engine(
            parsed,
            pool_size=CONNECTIONS_MAX,
            max_overflow=0,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args=options,
            execution_options={"postgresql_readonly": True},
        )
    except (ArgumentError, SQLAlchemyError, ImportError) as error:
        msg = f"source [{name}]: url: {type(error).__name__}: {str(error).splitlines()[0]}"
        raise SourceConfigError(msg.replace(url, "...")) from error


def _sqlite_engine(parsed: URL) -> Engine:
    path = Path(parsed.database or "").resolve()
    read_only = parsed.set(database=f"file:{quote(str(path))}", query={"mode": "ro", "uri": "true"})
    engine = create_engine(read_only, pool_size=CONNECTIONS_MAX, max_overflow=0, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _only_read(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA query_only = ON")

    return engine
