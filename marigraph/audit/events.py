"""Lists of events: the history of jobs, what failed, who changed what, what was posted or searched, who got access."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import select

from domain.errors import InvalidArgument
from eventstore.tables import events
from marigraph.application import Application
from marigraph.audit.scope import ALL, Asked, Found, Listing, Row, find_stream, find_streams, of_types, plain
from marigraph.audit.scope import resource as page_resource
from marigraph.audit.views import ACCESS, HISTORY, POSTS, SEARCHES
from marigraph.history import HistoryFilter, event_resource

FAILURES: Final = ("closed", "failed", "deleted", "reassigned")
"""Types among which failures are: closed or deleted by force, failed, taken over from an owner that never let go."""

CONFIGURED: Final = ("created", "updated")


ANY: Final = HistoryFilter()


def list_history(app: Application, asked: Asked = ALL, selection: HistoryFilter = ANY) -> dict[str, Any]:
    """List the events of jobs."""
    where = tuple(selection.authors(HISTORY.c))
    with app.store.reading() as connection:
        within = find_streams(connection, "job", asked.about)
        if selection.after_version or selection.to_version is not None:
            if within is None or len(within) != 1:
                msg = "after_version and to_version are of one job's stream: name one job"
                raise InvalidArgument(msg)
            where += (HISTORY.c.version > selection.after_version,)
            if selection.to_version is not None:
                where += (HISTORY.c.version <= selection.to_version,)
        found = Listing(HISTORY, types=selection.types, where=where).read_streams(connection, within, asked)
    events = ({"job_id": row["job_id"], **event_resource(row, row["recorded_at_us"])} for row in found.rows)
    return page_resource("events", events, found.next)


def list_failures(app: Application, asked: Asked = ALL) -> dict[str, Any]:
    """List what did not go as it should: jobs that failed, were closed or deleted by force, or lost their owner."""
    is_one = HISTORY.c.type.in_(("failed", "reassigned")) | HISTORY.c.data.like('%"is_forced":true%')
    found = _read(app, Listing(HISTORY, types=FAILURES, where=(is_one,)), asked)
    return page_resource("failures", (_failure(row) for row in found.rows), found.next)


def _failure(row: Row) -> dict[str, Any]:
    data = msgspec.json.decode(row["data"])
    kind = row["type"] if row["type"] in ("failed", "reassigned") else f"force_{row['type']}"
    told = {name: data[name] for name in ("reason", "owner", "previous_owner") if name in data}
    return {**head_resource(row, "job_id"), "kind": kind, **told}


# ---------------------------------------------------------------------------------------------------------- settings


def list_changes(app: Application, asked: Asked = ALL, field: str | None = None) -> dict[str, Any]:
    """List who changed which settings of which jobs, from what to what.

    Parameters
    ----------
    field : str, optional
        Only changes of this field, or of fields below it.
    """
    listing = Listing(HISTORY, types=("updated",), columns=(*plain(HISTORY), _BEFORE))
    with app.store.reading() as connection:
        found = listing.read(connection, asked)
    items = []
    for row in found.rows:
        old, new = (msgspec.json.decode(row[name])["config"] for name in ("data_before", "data"))
        changes = [each for each in differences(old, new) if field is None or _is_below(each["field"], field)]
        if changes:
            items.append({**head_resource(row, "job_id"), "changes": changes})
    return page_resource("changes", items, found.next)


_earlier = events.alias("earlier")
_BEFORE: Final = (
    select(_earlier.c.data)
    .where(_earlier.c.stream_id == HISTORY.c.stream_id, _earlier.c.version < HISTORY.c.version)
    .where(*of_types(_earlier.c.type, CONFIGURED))
    .order_by(_earlier.c.version.desc())
    .limit(1)
    .scalar_subquery()
    .label("data_before")
)
"""The event that set the configuration before."""


def differences(old: Any, new: Any) -> list[dict[str, Any]]:
    """Return where two configurations differ, as paths with both values; None stands for what is not set.

    >>> differences({"a": {"b": 1, "c": [1]}}, {"a": {"b": 2, "c": [1]}})
    [{'field': 'a.b', 'from': 1, 'to': 2}]
    """
    return list(_differences(old, new, ""))


def _differences(old: Any, new: Any, path: str) -> Iterator[dict[str, Any]]:
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys((*old, *new)):
            yield from _differences(old.get(name), new.get(name), f"{path}.{name}" if path else name)
        return
    before, after = dict(_leaves(old, path)), dict(_leaves(new, path))
    for field in dict.fromkeys((*before, *after)):
        if before.get(field) != after.get(field):
            yield {"field": field, "from": before.get(field), "to": after.get(field)}


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}")
    elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{index}]")
    else:
        yield path, value


def _is_below(path: str, field: str) -> bool:
    return path == field or path.startswith((f"{field}.", f"{field}["))


# ----------------------------------------------------------------------------------------------- posts and searches


def list_posts(app: Application, asked: Asked = ALL) -> dict[str, Any]:
    """List the batches of records that jobs accepted."""
    found = _read(app, Listing(POSTS, types=("data_posted",)), asked)
    return page_resource("posts", map(post_resource, found.rows), found.next)


def post_resource(row: Row) -> dict[str, Any]:
    """Return a batch of records as the API shows it, without the records."""
    return filled(
        {
            **head_resource(row, "job_id"),
            **_picked(row, "command_id", "record_count", "processed_record_count", "out_of_order_timestamp_count"),
            **_picked(row, "invalid_date_count", "missing_field_count", "input_bytes"),
            "earliest_record_timestamp": row["earliest_record_ms"],
            "latest_record_timestamp": row["latest_record_ms"],
            "reset_start": row["reset_start_ms"],
            "reset_end": row["reset_end_ms"],
            **_picked(row, "content_digest", "payload_digest", "payload_bytes"),
        }
    )


def list_searches(app: Application, asked: Asked = ALL) -> dict[str, Any]:
    """List the searches of datafeeds: the stretch of time, why it was searched, and what was found."""
    found = _read(app, Listing(SEARCHES, types=("searched",)), asked, "datafeed")
    return page_resource("searches", map(_search, found.rows), found.next)


def _search(row: Row) -> dict[str, Any]:
    return filled(
        {
            **head_resource(row, "datafeed_id"),
            **_picked(row, "job_id", "cause"),
            "start": row["start_ms"],
            "end": row["end_ms"],
            **_picked(row, "record_count", "document_count", "missing_count"),
            "earliest_record_timestamp": row["earliest_record_ms"],
            "latest_record_timestamp": row["latest_record_ms"],
            "took_ms": row["took_ms"],
        }
    )


def list_access(app: Application, asked: Asked = ALL) -> dict[str, Any]:
    """List what happened to keys and users."""
    with app.store.reading() as connection:
        stream = find_stream(connection, "access")
        if stream is None:
            return page_resource("events", (), None)
        found = Listing(ACCESS).read_streams(connection, [stream], asked)
    return page_resource("events", map(_access, found.rows), found.next)


def _access(row: Row) -> dict[str, Any]:
    roles = None if row["roles"] is None else msgspec.json.decode(row["roles"])
    named = _picked(row, "type", "key_id", "name")
    return filled({**head_resource(row), **named, "roles": roles, "expiration": row["expires_ms"]})


# ------------------------------------------------------------------------------------------------------------- shared


def _read(app: Application, listing: Listing, asked: Asked, category: str = "job") -> Found:
    with app.store.reading() as connection:
        return listing.read(connection, asked, category)


def head_resource(row: Row, *id_names: str) -> dict[str, Any]:
    """Return what every event says of itself: whose it is, where it lies, when it was recorded, on whose order."""
    recorded_at = row["recorded_at_us"] // 1000
    shown = {**_picked(row, *id_names, "version", "position"), "recorded_at": recorded_at}
    return filled({**shown, **_picked(row, "actor", "request_id")})


def _picked(row: Row, *names: str) -> dict[str, Any]:
    return {name: row[name] for name in names}


def filled(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values without those that are not there."""
    return {name: value for name, value in values.items() if value is not None}
