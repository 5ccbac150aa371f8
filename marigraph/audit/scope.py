"""What bounds an audit query: the streams it is about, a stretch of time, and a page that goes on where one ended.

Three ways lead to the events asked for, none of them over the whole table. Streams, if they are few, are read each in
order of version, the versions of a time being found by bisecting. Events of rare types are read from their index by
time. Everything else is read in order of position, a stretch at a time, its ends being found by bisecting the primary
key.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, FromClause, Select, TableClause, func, literal_column, select, text

from domain.config import is_valid_id
from domain.errors import InvalidArgument, NotFound
from eventstore.tables import events, streams
from marigraph.selection import EVERYTHING, fits, tokens_of
from marigraph.tables import FREQUENT_TYPES

SIZE: Final = 50
"""Rows of a page, unless told otherwise."""
SIZE_MAX: Final = 10_000
"""Most rows of a page."""

POSITIONS_MAX: Final = 50_000
"""Most events that are looked at for one page; a page with fewer rows than asked for goes on behind them. Chosen:
a tenth of a second."""

STREAMS_MERGED_MAX: Final = 50
"""Most streams that are read one by one; more of them are picked from a stretch of the whole log."""

STREAMS_MAX: Final = 10_000
"""Most streams that a pattern may name."""

DISORDER_US: Final = 60_000_000
"""Clocks of the servers that append to one log may differ by so much: positions are looked up with this to spare, and
the events then taken by their own times. Chosen: far more than NTP leaves."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """A stretch of a list.

    Attributes
    ----------
    size : int
    after : str or None
        ``next`` of the page before.
    desc : bool
        Newest first.
    """

    size: int = SIZE
    after: str | None = None
    desc: bool = False

    def check(self) -> None:
        """Refuse what lies outside the bounds."""
        if not 1 <= self.size <= SIZE_MAX:
            msg = f"size must be between 1 and {SIZE_MAX}, got {self.size}"
            raise InvalidArgument(msg)

    def cursor(self, n_numbers: int) -> tuple[int, ...] | None:
        """Return the numbers that ``after`` holds; InvalidArgument if it is no answer's ``next``."""
        if self.after is None:
            return None
        parts = self.after.split(".")
        if len(parts) != n_numbers or not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):
            msg = f"after must be the [next] of the answer before, got [{self.after[:80]}]"
            raise InvalidArgument(msg)
        return tuple(map(int, parts))

    def place(self) -> tuple[int, str | None]:
        """Return the version and the job to go on from, of lists that go job by job."""
        if self.after is None:
            return 0, None
        version, _, job_id = self.after.partition(".")
        (number,) = Page(after=version).cursor(1) or (0,)
        return number, job_id or None


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time by when events were recorded, milliseconds since the epoch; the end is not included."""

    start_ms: int | None = None
    end_ms: int | None = None

    @property
    def start_us(self) -> int | None:
        """The start in microseconds."""
        return None if self.start_ms is None else self.start_ms * 1000

    @property
    def end_us(self) -> int | None:
        """The end in microseconds."""
        return None if self.end_ms is None else self.end_ms * 1000

    def conditions(self, recorded_at_us: ColumnElement[Any]) -> list[ColumnElement[bool]]:
        """Return what a row's time must fulfil."""
        found = []
        if self.start_us is not None:
            found.append(recorded_at_us >= self.start_us)
        if self.end_us is not None:
            found.append(recorded_at_us < self.end_us)
        return found


@dataclass(frozen=True, slots=True)
class Asked:
    """What all lists are asked for.

    Attributes
    ----------
    about : str or None
        Ids and ``*`` patterns of jobs or datafeeds, separated by commas; None: all there ever were.
    """

    about: str | None = None
    window: Window = Window()
    page: Page = Page()


ALL: Final = Asked()


# --------------------------------------------------------------------------------------------------------- streams


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream that is asked about."""

    stream_id: int
    entity_id: str
    """Of the job or datafeed."""
    version: int


def find_streams(connection: Connection, category: str, expression: str | None) -> list[Stream] | None:
    """Return the streams of a category that a comma list of ids and ``*`` patterns names, deleted ones too.

    Returns
    -------
    list of Stream or None
        Ordered by id; None: all of them.

    Raises
    ------
    NotFound
        There never was one of an id that is named.
    """
    tokens = tokens_of(expression)
    if any(token in EVERYTHING for token in tokens):
        return None
    exact = [token for token in tokens if "*" not in token]
    found = {each.entity_id: each for each in _named(connection, category, exact)}
    for token in exact:
        if token not in found:
            msg = f"No known {category} with id '{token}'"
            raise NotFound(msg)
    if len(exact) < len(tokens):
        patterns = [token for token in tokens if "*" in token]
        for each in every_stream(connection, category):
            if any(fits(each.entity_id, pattern) for pattern in patterns):
                found[each.entity_id] = each
    if len(found) > STREAMS_MAX:
        msg = f"[{expression}] names {len(found)} {category}s, a query may be about {STREAMS_MAX}, or about all"
        raise InvalidArgument(msg)
    return [found[each] for each in sorted(found)]


def find_stream(connection: Connection, name: str) -> Stream | None:
    """Return one stream by its whole name, None if it has no event."""
    query = select(streams.c.id, streams.c.entity_id, streams.c.version).where(streams.c.name == name)
    row = connection.execute(query.where(streams.c.version > 0)).one_or_none()
    return None if row is None else Stream(*row)


def every_stream(
    connection: Connection, category: str, from_id: str | None = None, limit: int | None = None
) -> list[Stream]:
    """Return the streams of a category that have events, ordered by id, those of deleted jobs too."""
    query = _streams(category).order_by(streams.c.entity_id)
    if from_id is not None:
        query = query.where(streams.c.entity_id >= from_id)
    return [Stream(*row) for row in connection.execute(query.limit(limit))]


def versions_of(connection: Connection, stream_ids: Sequence[int]) -> dict[int, int]:
    """Return at which version streams are."""
    query = select(streams.c.id, streams.c.version).where(streams.c.id.in_(stream_ids))
    return {stream_id: version for stream_id, version in connection.execute(query)} if stream_ids else {}


def _named(connection: Connection, category: str, ids: Sequence[str]) -> list[Stream]:
    known = [each for each in ids if is_valid_id(each)]
    if not known:
        return []
    names = streams.c.name.in_([f"{category}-{each}" for each in known])
    return [Stream(*row) for row in connection.execute(_streams(category).where(names))]


def _streams(category: str) -> Select[Any]:
    is_of_category = func.substr(streams.c.name, 1, len(category) + 1) == f"{category}-"
    return select(streams.c.id, streams.c.entity_id, streams.c.version).where(is_of_category, streams.c.version > 0)


# --------------------------------------------------------------------------------------------------------- bisecting

_BISECT = """
WITH RECURSIVE halves(low, high) AS (
  SELECT CAST(0 AS bigint), {last}
  UNION ALL
  SELECT CASE WHEN {found} < :bound THEN {middle} ELSE low END,
    CASE WHEN {found} < :bound THEN high ELSE {middle} - 1 END
  FROM halves WHERE low < high
) SELECT low FROM halves WHERE low = high
"""
_MIDDLE = "(low + high + 1) / 2"
_OF_LOG = text(
    _BISECT.format(
        middle=_MIDDLE,
        last="(SELECT coalesce(max(position), 0) FROM events)",
        found="coalesce((SELECT e.recorded_at FROM events e"
        f" WHERE e.position <= {_MIDDLE} ORDER BY e.position DESC LIMIT 1), 0)",
    )
)
_OF_STREAM = {
    name: text(
        _BISECT.format(
            middle=_MIDDLE,
            last="CAST(:version AS bigint)",
            found=f"(SELECT e.{name} FROM events e WHERE e.stream_id = :stream_id AND e.version = {_MIDDLE})",
        )
    )
    for name in ("recorded_at", "position")
}


def position_before(connection: Connection, time_us: int) -> int:
    """Return a position up to which all events were recorded before a time, if they are in order of time."""
    return int(connection.scalar(_OF_LOG, {"bound": time_us}) or 0)


def version_before(connection: Connection, stream: Stream, bound: int, by: str = "recorded_at") -> int:
    """Return the version of a stream's last event before a time, or a position; 0: there is none.

    In a stream times never fall, and positions rise.
    """
    parameters = {"bound": bound, "stream_id": stream.stream_id, "version": stream.version}
    return int(connection.scalar(_OF_STREAM[by], parameters) or 0)


def versions_within(connection: Connection, stream: Stream, window: Window) -> tuple[int, int]:
    """Return after which version and up to which one a stream's events lie in a window."""
    low = 0 if window.start_us is None else version_before(connection, stream, window.start_us)
    high = stream.version if window.end_us is None else version_before(connection, stream, window.end_us)
    return low, high


# ------------------------------------------------------------------------------------------------------------ reading


@dataclass(frozen=True, slots=True)
class Found:
    """One page of rows."""

    rows: list[Row]
    next: str | None
    """To be given as ``after`` for the page that follows; None: there is none."""


@dataclass(frozen=True, slots=True)
class Listing:
    """How the rows of a view are reached.

    Attributes
    ----------
    view : TableClause
    version, position, recorded_at_us : str
        Its columns of these meanings.
    types : tuple of str
        Rare types that all rows asked for have; none: they may be of any.
    where : sequence of conditions
    columns : sequence of columns
        To be read; none: all but the times that are spelt out.
    source : FromClause or None
        The view with what is joined to it; None: the view alone.
    """

    view: TableClause
    version: str = "version"
    position: str = "position"
    recorded_at_us: str = "recorded_at_us"
    types: tuple[str, ...] = ()
    where: tuple[ColumnElement[bool], ...] = ()
    columns: tuple[ColumnElement[Any], ...] = ()
    source: FromClause | None = None

    def read(self, connection: Connection, asked: Asked, category: str = "job") -> Found:
        """Return the page that is asked for, of one stream, of some, or of all of a category."""
        return self.read_streams(connection, find_streams(connection, category, asked.about), asked)

    def read_streams(self, connection: Connection, within: list[Stream] | None, asked: Asked) -> Found:
        """Return the page that is asked for of some streams, of all if ``within`` is None."""
        window, page = asked.window, asked.page
        page.check()
        if within is not None and len(within) == 1:
            return self.of_stream(connection, within[0], *versions_within(connection, within[0], window), page)
        if within is not None and len(within) <= STREAMS_MERGED_MAX:
            return self._of_streams(connection, within, window, page)
        where = [*self.where, *window.conditions(self.view.c[self.recorded_at_us])]
        if within is not None:
            # The sum keeps planners from reading every event of the streams, whatever the time.
            where.append((self.view.c.stream_id + 0).in_([each.stream_id for each in within]))
        if self.types and is_rare(self.types):
            return self._by_type(connection, where, page)
        return self._by_position(connection, where, window, page)

    def of_stream(self, connection: Connection, stream: Stream, low: int, high: int, page: Page) -> Found:
        """Return a page of one stream's events after version ``low`` and up to ``high``."""
        if (cursor := page.cursor(1)) is not None:
            low, high = (low, min(high, cursor[0] - 1)) if page.desc else (max(low, cursor[0]), high)
        rows = self._rows_of_stream(connection, stream, low, high, page)
        return _cut(rows, page, lambda row: str(row[self.version]))

    def _rows_of_stream(self, connection: Connection, stream: Stream, low: int, high: int, page: Page) -> list[Row]:
        version = self.view.c[self.version]
        where = [self.view.c.stream_id == stream.stream_id, version > low, version <= high, *self.where, *self._typed()]
        order = version.desc() if page.desc else version
        return _rows(connection, self._select().where(*where).order_by(order).limit(page.size + 1))

    def _of_streams(self, connection: Connection, within: list[Stream], window: Window, page: Page) -> Found:
        cursor, found = page.cursor(1), []
        for stream in within:
            low, high = versions_within(connection, stream, window)
            if cursor is not None and page.desc:
                high = min(high, version_before(connection, stream, cursor[0], by="position"))
            elif cursor is not None:
                low = max(low, version_before(connection, stream, cursor[0] + 1, by="position"))
            found.append(self._rows_of_stream(connection, stream, low, high, page))
        return self._merged(found, page, lambda row: (row[self.position],))

    def _by_type(self, connection: Connection, where: list[ColumnElement[bool]], page: Page) -> Found:
        time, position = self.view.c[self.recorded_at_us], self.view.c[self.position]
        if (cursor := page.cursor(2)) is not None:
            at, place = cursor
            where.append(time <= at if page.desc else time >= at)
            where.append((time < at) | (position < place) if page.desc else (time > at) | (position > place))
        order = (time.desc(), position.desc()) if page.desc else (time, position)
        query = self._select().where(*where).order_by(*order).limit(page.size + 1)
        if "type" not in self.view.c:  # the view itself is of one type
            found = [_rows(connection, query)]
        else:
            found = [_rows(connection, query.where(*of_types(self.view.c.type, [name]))) for name in self.types]
        return self._merged(found, page, lambda row: (row[self.recorded_at_us], row[self.position]))

    def _by_position(
        self, connection: Connection, where: list[ColumnElement[bool]], window: Window, page: Page
    ) -> Found:
        position = self.view.c[self.position]
        low = 0 if window.start_us is None else position_before(connection, window.start_us - DISORDER_US)
        if window.end_us is None:
            high = connection.scalar(select(func.max(events.c.position))) or 0
        else:
            high = position_before(connection, window.end_us + DISORDER_US)
        if (cursor := page.cursor(1)) is not None:
            low, high = (low, min(high, cursor[0] - 1)) if page.desc else (max(low, cursor[0]), high)
        first, last = (max(low, high - POSITIONS_MAX), high) if page.desc else (low, min(high, low + POSITIONS_MAX))
        query = self._select().where(position > first, position <= last, *where, *self._typed())
        rows = _rows(connection, query.order_by(position.desc() if page.desc else position).limit(page.size + 1))
        found = _cut(rows, page, lambda row: str(row[self.position]))
        if found.next is None and (first, last) != (low, high):
            return Found(found.rows, str(first + 1 if page.desc else last))
        return found

    def _select(self) -> Select[Any]:
        return select(*(self.columns or plain(self.view))).select_from(
            self.view if self.source is None else self.source
        )

    def _typed(self) -> list[ColumnElement[bool]]:
        return of_types(self.view.c.type, self.types) if "type" in self.view.c else []

    def _merged(self, found: list[list[Row]], page: Page, key: Callable[[Row], tuple[int, ...]]) -> Found:
        rows = list(islice(merge(*found, key=key, reverse=page.desc), page.size + 1))
        return _cut(rows, page, lambda row: ".".join(map(str, key(row))))


def plain(view: TableClause) -> list[ColumnElement[Any]]:
    """Return the columns of a view but for the times spelt out, which cost more than all others to be made."""
    return [each for each in view.c if not each.name.endswith("_at")]


def is_rare(types: Sequence[str]) -> bool:
    """Tell whether events of these types are in the indexes of rare ones."""
    return set(types).isdisjoint(FREQUENT_TYPES)


def of_types(column: ColumnElement[str], types: Sequence[str]) -> list[ColumnElement[bool]]:
    """Return what events of these types fulfil, any if there are none, in the words that the indexes know."""
    if not types:
        return []
    # What the conditions of indexes say is said literally: no planner compares them with parameters.
    literal: dict[str, ColumnElement[str]] = {name: literal_column(f"'{name}'") for name in FREQUENT_TYPES}
    chosen = column == literal.get(types[0], types[0]) if len(types) == 1 else column.in_(types)
    return [chosen, *(column != each for each in literal.values() if is_rare(types))]


def _rows(connection: Connection, query: Select[Any]) -> list[Row]:
    result = connection.execute(query)
    names = tuple(result.keys())
    return [dict(zip(names, row, strict=True)) for row in result]


def _cut(rows: Sequence[Row], page: Page, cursor: Callable[[Row], str]) -> Found:
    shown = list(rows[: page.size])
    return Found(shown, cursor(shown[-1]) if len(rows) > page.size else None)


def resource(plural: str, items: Iterable[dict[str, Any]], following: str | None) -> dict[str, Any]:
    """Return a page as the API shows it: how many there are in it, and what to ask for next if there are more."""
    listed = list(items)
    return {"count": len(listed), plural: listed, **({} if following is None else {"next": following})}
