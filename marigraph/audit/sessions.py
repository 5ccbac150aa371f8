"""Sessions: the times a job was open, how each ended, what it got, and when it got nothing or refused what came.

Sums over a session are differences of two marks (``marigraph/marks.py``), and only those stretches of a stream are read
in which marks say that there is something to find.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, FromClause, literal_column

from domain.errors import InvalidArgument
from marigraph.application import Application
from marigraph.audit.events import filled, head_resource
from marigraph.audit.scope import (
    ALL,
    Asked,
    Listing,
    Page,
    Row,
    Stream,
    every_stream,
    find_streams,
    plain,
    resource,
    versions_of,
    versions_within,
)
from marigraph.audit.views import HISTORY, SESSIONS
from marigraph.marks import EVENTS_PER_MARK, SUMS, Tally
from marigraph.tables import REFUSED, job_marks

ENDINGS: Final = ("open", "closed", "force_closed", "failed", "deleted")
_BORDERS: Final = {name: job_marks.alias(name) for name in ("opened", "ended")}
_MARKED: FromClause = (
    SESSIONS  # the view's sums read every post of a session; the marks at its borders know them already
)
for _name, _mark in _BORDERS.items():
    _is_border = (_mark.c.job_id == SESSIONS.c.job_id) & (_mark.c.version == SESSIONS.c[f"{_name}_version"])
    _MARKED = _MARKED.outerjoin(_mark, _is_border)
_SESSION: Final = (
    *(column for column in plain(SESSIONS) if column.name not in SUMS),
    *(mark.c[name].label(f"{border}_{name}") for border, mark in _BORDERS.items() for name in SUMS),
)

JOBS_PER_PAGE: Final = 100
"""Most jobs that are searched for one page of gaps."""

SILENCE_SECONDS: Final = 3_600.0
"""The least silence that is a gap, unless told otherwise."""

PAGE: Final = 1_000
"""Events read at a time."""

_REFUSED: Final = tuple(
    HISTORY.c[name] for name in ("job_id", "version", "position", "recorded_at_us", "actor", "request_id", "data")
)
_HEARD: Final = ("opened", "data_posted", "closed", "failed", "deleted")
"""Types between which a job is silent."""


# ----------------------------------------------------------------------------------------------------------- sessions


def list_sessions(app: Application, asked: Asked = ALL, ending: str | None = None) -> dict[str, Any]:
    """List the times that jobs were open.

    Parameters
    ----------
    asked : Asked
        Its window is when they were opened.
    ending : str, optional
        One of ``ENDINGS``.
    """
    if ending is not None and ending not in ENDINGS:
        msg = f"ending must be one of {', '.join(ENDINGS)}, got [{ending[:80]}]"
        raise InvalidArgument(msg)
    listing = Listing(
        SESSIONS,
        version="opened_version",
        position="opened_position",
        recorded_at_us="opened_at_us",
        types=("opened",),
        where=() if ending is None else (SESSIONS.c.ending == ending,),
        columns=_SESSION,
        source=_MARKED,
    )
    with app.store.reading() as connection:
        found = listing.read(connection, asked)
        heads = versions_of(connection, [row["stream_id"] for row in found.rows if row["ended_version"] is None])
    return resource("sessions", [_session(app, row, heads) for row in found.rows], found.next)


def _session(app: Application, row: Row, heads: dict[int, int]) -> dict[str, Any]:
    job_id, ended = row["job_id"], row["ended_version"]
    ended_at = row["ended_at_us"] if ended is not None else app.now_ms() * 1000

    def at(border: str, version: int) -> dict[str, int]:
        if row[f"{border}_{SUMS[0]}"] is None:
            return app.jobs.marks.sums_at(job_id, version).sums()
        return {name: row[f"{border}_{name}"] for name in SUMS}

    first = at("opened", row["opened_version"])
    last = at("ended", ended if ended is not None else heads[row["stream_id"]])

    return filled(
        {
            "job_id": job_id,
            "opened_version": row["opened_version"],
            "opened_at": row["opened_at_us"] // 1000,
            "opened_by": row["opened_by"],
            "opened_request_id": row["opened_request_id"],
            "ended_version": ended,
            "ended_at": None if ended is None else ended_at // 1000,
            "ended_by": row["ended_by"],
            "ended_request_id": row["ended_request_id"],
            "ending": row["ending"],
            "failure_reason": row["failure_reason"],
            "duration_seconds": max(ended_at - row["opened_at_us"], 0) / 1e6,
            **{name: last[name] - first[name] for name in SUMS},
        }
    )


# --------------------------------------------------------------------------------------------------- what did not come


class Span(NamedTuple):
    """Which versions of a stream are searched, after the first and up to the last, and for which silence."""

    low: int
    high: int
    silence: int = 0
    """The least that is a gap, microseconds."""


def list_gaps(app: Application, asked: Asked = ALL, seconds_min: float = SILENCE_SECONDS) -> dict[str, Any]:
    """List the times in which a job was open and got nothing, job by job.

    Parameters
    ----------
    asked : Asked
        Its window is when the silence ended; one that lasts still is listed where the window has no end.
    seconds_min : float
        The least length of a gap.
    """
    page = asked.page
    page.check()
    if page.desc or not seconds_min > 0:
        msg = "gaps are listed job by job, oldest first, and last longer than nothing"
        raise InvalidArgument(msg)
    version, job_id = page.place()
    now_us = app.now_ms() * 1000
    gaps: list[dict[str, Any]] = []
    with app.store.reading() as connection:
        streams = _streams_from(connection, asked.about, job_id)
        for stream in streams[:JOBS_PER_PAGE]:
            low, high = versions_within(connection, stream, asked.window)
            low = max(low, version) if stream.entity_id == job_id else low
            span = Span(low, high, int(seconds_min * 1e6))
            for gap in _gaps(app, connection, stream, span, None if asked.window.end_ms is not None else now_us):
                if len(gaps) == page.size:
                    last = gaps[-1]
                    return resource("gaps", gaps, f"{last['until_version']}.{last['job_id']}")
                gaps.append(gap)
    following = f"0.{streams[JOBS_PER_PAGE].entity_id}" if len(streams) > JOBS_PER_PAGE else None
    return resource("gaps", gaps, following)


def _streams_from(connection: Connection, about: str | None, job_id: str | None) -> list[Stream]:
    """Return the jobs from one on, one more than are searched for a page."""
    within = find_streams(connection, "job", about)
    if within is None:
        return every_stream(connection, "job", from_id=job_id, limit=JOBS_PER_PAGE + 1)
    return [each for each in within if job_id is None or each.entity_id >= job_id]


def _gaps(
    app: Application, connection: Connection, stream: Stream, span: Span, now_us: int | None
) -> Iterator[dict[str, Any]]:
    """Yield the gaps of a job; one that lasts still if there is a time that it lasts until."""
    since = None

    def is_wanted(_: Tally, mark: Tally) -> bool:
        return mark.silence >= span.silence

    for before, last in _stretches(app, connection, stream, span, is_wanted):
        since = before.silent_since
        for row in _heard(connection, stream, before.version, last):
            is_heard = row["type"] != "opened" and row["version"] > span.low
            if since is not None and is_heard and row["recorded_at_us"] - since >= span.silence:
                gap = _gap(stream, since, row["recorded_at_us"])
                yield {**gap, "until_version": row["version"], "ended_by": row["type"]}
            since = row["recorded_at_us"] if row["type"] in ("opened", "data_posted") else None
    if now_us is not None and since is not None and span.high == stream.version and now_us - since >= span.silence:
        yield {**_gap(stream, since, now_us), "until_version": stream.version}


def _gap(stream: Stream, since_us: int, until_us: int) -> dict[str, Any]:
    start, end = since_us // 1000, until_us // 1000
    return {"job_id": stream.entity_id, "start": start, "end": end, "duration_seconds": (until_us - since_us) / 1e6}


def _heard(connection: Connection, stream: Stream, low: int, high: int) -> Iterator[Row]:
    """Yield what ends or begins a silence, page by page."""
    columns = (HISTORY.c.version, HISTORY.c.type, HISTORY.c.recorded_at_us)
    listing, after = Listing(HISTORY, types=_HEARD, columns=columns), None
    while True:
        found = listing.of_stream(connection, stream, low, high, Page(size=PAGE, after=after))
        yield from found.rows
        if (after := found.next) is None:
            return


def _stretches(
    app: Application,
    connection: Connection,
    stream: Stream,
    span: Span,
    is_wanted: Callable[[Tally, Tally], bool],
) -> Iterator[tuple[Tally, int]]:
    """Yield the stretches of a stream that are to be read: the tally before each, and its last version.

    They are those between two marks of which ``is_wanted`` holds, and in any case what lies behind the last mark.
    """
    before, *marks = app.jobs.marks.tallies(connection, stream.entity_id, span.low, span.high)
    wanted: tuple[Tally, int] | None = None
    for mark in marks:
        if is_wanted(before, mark):
            if wanted is not None and before.version - wanted[1] > EVENTS_PER_MARK:
                yield wanted
                wanted = None
            # What lies between two stretches that are near to each other is read with them: it saves a query.
            wanted = (before if wanted is None else wanted[0]), mark.version
        before = mark
    if wanted is not None:
        yield wanted
    yield before, span.high


def list_refusals(app: Application, asked: Asked = ALL) -> dict[str, Any]:
    """List the posts of which records came too late or had no readable time, with how many of each."""
    listing = Listing(HISTORY, types=("data_posted",), where=(literal_column(REFUSED),), columns=_REFUSED)
    with app.store.reading() as connection:
        found = listing.read(connection, asked)
    return resource("refusals", map(_refusal, found.rows), found.next)


def _refusal(row: Row) -> dict[str, Any]:
    data = msgspec.json.decode(row["data"])
    counts = {name: data["counts"].get(name, 0) for name in ("out_of_order_timestamp_count", "invalid_date_count")}
    times = {f"{name}_record_timestamp": data.get(f"{name}_record_ms") for name in ("earliest", "latest")}
    return filled({**head_resource(row, "job_id"), **counts, "record_count": data["record_count"], **times})
