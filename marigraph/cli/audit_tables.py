"""How ``marigraph audit ...`` prints: the columns of each list, and what stands in them."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from marigraph.cli.output import literal, moment, note, print_csv, print_json, print_table
from marigraph.cli.results import summary
from marigraph.operations import Resource

Row = Sequence[Any]
Columns = Sequence[tuple[str, Callable[[dict[str, Any]], Any]]]
TIMES = frozenset(
    {
        *("recorded_at", "opened_at", "ended_at", "start", "end", "timestamp", "expiration", "open_time"),
        *("reset_start", "reset_end", "earliest_record_timestamp", "latest_record_timestamp"),
        *("latest_record_time_stamp", "latest_result_time_stamp"),
    }
)
"""Fields that hold milliseconds since the epoch; tables for other programs spell them out."""

RUNS_SHOWN = 8
"""Of the rows of a batch, as many runs as fit into a line."""


def print_list(found: Resource, plural: str, columns: Columns, as_json: bool, as_csv: bool) -> None:
    """Print a list of the audit as it is wanted, and say whether there is more."""
    rows = found[plural]
    if as_json:
        print_json(found)
    elif as_csv:
        print_csv([spelt(row) for row in rows])
    else:
        right = [name for name, _ in columns if name in _NUMBERS]
        print_table([name for name, _ in columns], _cells(rows, columns), right=right)
        if "next" in found:
            note(f"there is more: --after {found['next']}, or --all")


def _cells(rows: Iterable[dict[str, Any]], columns: Columns) -> Iterable[Row]:
    for row in rows:
        yield [literal("-" if (value := read(row)) is None else value) for _, read in columns]


def spelt(resource: dict[str, Any]) -> dict[str, Any]:
    """Return a resource with its times spelt out."""
    return {
        name: f"{moment(value).replace(' ', 'T')}Z" if name in TIMES and isinstance(value, int) else value
        for name, value in resource.items()
    }


def _field(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda row: row.get(name)


def _time(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda row: moment(row.get(name))


def _count(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda row: f"{row[name]:,}" if name in row else None


def _duration(row: dict[str, Any]) -> str:
    if row["duration_seconds"] < 60.0:
        return f"{row['duration_seconds']:.3g}s"
    seconds = round(row["duration_seconds"])
    days, rest = divmod(seconds, 86_400)
    clock = f"{rest // 3600}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{days}d {clock}" if days else clock


def _rows(row: dict[str, Any]) -> str:
    if "rows" not in row:
        return "records no longer kept"
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in row["rows"]]
    return ", ".join(shown[:RUNS_SHOWN]) + (", ..." if len(shown) > RUNS_SHOWN else "")


def _value(value: Any) -> str:
    return "-" if value is None else str(value)


_NUMBERS = frozenset(
    {"version", "records", "late", "undated", "flushes", "posts", "bytes", "covers", "found", "duration"}
)
_WHO: Columns = (("actor", _field("actor")), ("request", _field("request_id")))
_WHERE: Columns = (("job", _field("job_id")), ("version", _field("version")), ("recorded", _time("recorded_at")))
EVENTS: Columns = (*_WHERE, ("event", _field("type")), ("actor", _field("actor")), ("what", summary))
FAILURES: Columns = (*_WHERE, ("what", _field("kind")), ("reason", _field("reason")), *_WHO)
CHANGES: Columns = (
    *_WHERE,
    ("setting", _field("field")),
    ("from", lambda row: _value(row["from"])),
    ("to", lambda row: _value(row["to"])),
    *_WHO,
)
POSTS: Columns = (
    *_WHERE,
    ("records", _count("record_count")),
    ("late", _count("out_of_order_timestamp_count")),
    ("undated", _count("invalid_date_count")),
    ("earliest", _time("earliest_record_timestamp")),
    ("latest", _time("latest_record_timestamp")),
    *_WHO,
)
REFUSALS: Columns = (
    *_WHERE,
    ("late", _count("out_of_order_timestamp_count")),
    ("undated", _count("invalid_date_count")),
    ("records", _count("record_count")),
    *_WHO,
)
SEARCHES: Columns = (
    ("datafeed", _field("datafeed_id")),
    ("version", _field("version")),
    ("recorded", _time("recorded_at")),
    ("cause", _field("cause")),
    ("from", _time("start")),
    ("to", _time("end")),
    ("found", _count("record_count")),
    ("job", _field("job_id")),
)
ACCESS: Columns = (
    ("version", _field("version")),
    ("recorded", _time("recorded_at")),
    ("event", _field("type")),
    ("key or user", lambda row: " ".join(filter(None, (row.get("key_id"), row.get("name"))))),
    ("roles", lambda row: ", ".join(row.get("roles", ()))),
    *_WHO,
)
SESSIONS: Columns = (
    ("job", _field("job_id")),
    ("opened", _time("opened_at")),
    ("by", _field("opened_by")),
    ("ended", _time("ended_at")),
    ("how", _field("ending")),
    ("duration", _duration),
    ("posts", _count("post_count")),
    ("records", _count("record_count")),
    ("late", _count("out_of_order_timestamp_count")),
    ("flushes", _count("flush_count")),
)
GAPS: Columns = (
    ("job", _field("job_id")),
    ("from", _time("start")),
    ("to", _time("end")),
    ("duration", _duration),
    ("ended by", lambda row: row.get("ended_by", "nothing yet")),
)
STATES: Columns = (
    ("job", _field("job_id")),
    ("version", _field("version")),
    ("last event", _time("recorded_at")),
    ("state", _field("state")),
    ("records", lambda row: f"{row['data_counts']['processed_record_count']:,}" if "data_counts" in row else None),
    ("latest record", lambda row: moment(row.get("data_counts", {}).get("latest_record_timestamp"))),
    ("model", _field("model_snapshot_id")),
)
SNAPSHOTS: Columns = (
    ("job", _field("job_id")),
    ("snapshot", _field("snapshot_id")),
    ("stored", _time("recorded_at")),
    ("covers", lambda row: f"{row['first_version']}-{row['last_version']}"),
    ("latest record", _time("latest_record_time_stamp")),
    ("bytes", _count("state_bytes")),
    ("model", _count("model_bytes")),
)
ORIGINS: Columns = (
    ("version", _field("version")),
    ("recorded", _time("recorded_at")),
    ("records", _count("row_count")),
    ("rows of the batch", _rows),
    ("undone at", _field("undone_by_version")),
    *_WHO,
)
