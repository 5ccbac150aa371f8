"""How steps of a replay are said in lines: what happened, what changed in the job, and in its model."""

from collections.abc import Iterator
from typing import Any, Final

from domain.model import RecordResult
from marigraph.cli.output import moment, number
from marigraph.debugging.changes import Change
from marigraph.debugging.debugger import BucketStep, Hit, Step
from marigraph.debugging.resources import highest
from marigraph.debugging.watching import SeriesPoint

CHANGES_SHOWN = 3
"""Levels and spreads printed per event; all of them are in the JSON."""
CONFIG, COUNTS = "config.", "data_counts."
COUNTS_SHOWN: Final = frozenset(
    COUNTS + name
    for name in (
        "processed_record_count",
        "invalid_date_count",
        "missing_field_count",
        "out_of_order_timestamp_count",
        "empty_bucket_count",
        "sparse_bucket_count",
        "bucket_count",
        "latest_record_timestamp",
    )
)
"""The others follow from these, or say how many bytes and fields it was."""


def step_lines(step: Step, *, by_bucket: bool) -> Iterator[str]:
    """Say what an event changed, line by line."""
    yield f"{step.version:>6}  {moment(step.item.recorded_ms)}  {step.item.event.type}{_result_text(step)}"
    for line in change_lines(step.changes):
        yield f"        {line}"
    for line in model_lines(step):
        yield f"        {line}"
    if by_bucket:
        for each in step.buckets:
            yield from (f"        {line}" for line in bucket_lines(each))
        return
    for result, record in highest(step):
        yield f"        record {moment(result.timestamp_ms)}  {record_text(record)}"
    for point in step.buckets[-1].points if step.buckets else ():
        yield f"        {point_text(point)}"


def _result_text(step: Step) -> str:
    if not step.buckets:
        return ""
    n_records = sum(len(each.result.records) for each in step.buckets)
    last = step.buckets[-1].result
    return f": {len(step.buckets):,} buckets closed, up to {moment(last.timestamp_ms)}, {n_records:,} records"


def change_lines(changes: list[Change]) -> Iterator[str]:
    """Say what changed in a job: counts in one line, and so what a new configuration is made of."""
    config = [change for change in changes if change.name.startswith(CONFIG) and change.before is None]
    if len(config) > CHANGES_SHOWN:
        yield f"config: {len(config)} fields set"
    counts = [_count_text(change) for change in changes if change.name in COUNTS_SHOWN]
    if counts:
        yield f"counts: {', '.join(counts)}"
    for change in changes:
        if change.name.startswith(COUNTS) or (len(config) > CHANGES_SHOWN and change in config):
            continue
        yield f"{change.name}: {value_text(change.name, change.before)} -> {value_text(change.name, change.after)}"


def _count_text(change: Change) -> str:
    name = change.name.removeprefix(COUNTS)
    if name.endswith("_timestamp"):
        return f"{name.removesuffix('_timestamp').replace('_', ' ')} {value_text(name, change.after)}"
    more = (change.after or 0) - (change.before or 0)
    return f"{name} {more:+,} to {value_text(name, change.after)}"


def value_text(name: str, value: Any) -> str:
    """Format a value of a job."""
    if value is None:
        return "-"
    if isinstance(value, int) and not isinstance(value, bool):
        is_time = name.endswith(("_timestamp", "_time"))
        return moment(value) if is_time else f"{value:,}"
    return number(value) if isinstance(value, float) else str(value)


def model_lines(step: Step) -> Iterator[str]:
    """Say what changed in the model of a job."""
    if step.new_series:
        names = ", ".join(step.new_series[:CHANGES_SHOWN])
        more = f" and {len(step.new_series) - CHANGES_SHOWN:,} more" if len(step.new_series) > CHANGES_SHOWN else ""
        yield f"new series: {names}{more}"
    for change in step.moved[:CHANGES_SHOWN]:
        yield f"{change.name}: {number(change.before)} -> {number(change.after)} ({change.size:.2g} spreads)"


def bucket_lines(each: BucketStep) -> Iterator[str]:
    """Say what came of a bucket, and where the watched series stood in it."""
    result = each.result
    top = f"  {record_text(result.records[0])}" if result.records else ""
    yield f"bucket {moment(result.timestamp_ms)}  {result.event_count:,} events, score {result.anomaly_score:.1f}{top}"
    for point in each.points:
        yield f"  {point_text(point)}"


def record_text(record: RecordResult) -> str:
    """Say in a line what a record is."""
    terms = ((getattr(record, f"{kind}_field_name"), getattr(record, f"{kind}_field_value")) for kind in _KINDS)
    series = " ".join(f"{name}={value}" for name, value in terms if name is not None)
    field = "" if record.field_name is None else f"({record.field_name})"
    of = next((cause for cause in record.causes), None) if not record.actual else record
    actual, typical = ("-", "-") if of is None else (number(of.actual[0]), number(of.typical[0]))
    what = " ".join(part for part in (f"{record.record_score:.1f}", f"{record.function}{field}", series) if part)
    return f"{what}: actual {actual}, typical {typical}"


_KINDS: Final = ("partition", "by", "over")


def point_text(point: SeriesPoint) -> str:
    """Say in a line where a watched series stood."""
    bounds = f"typical {number(point.typical)} ({number(point.lower)} to {number(point.upper)})"
    usual = f"level {number(point.level)}, spread {number(point.spread)}"
    return f"{point.label}: actual {number(point.actual)}, {bounds}, {usual}"


def hit_text(hit: Hit) -> str:
    """Say where a condition held."""
    text = f"after version {hit.version} ({hit.event_type})"
    if hit.bucket is not None:
        text += f", bucket {moment(hit.bucket.timestamp_ms)}"
    if hit.record is not None:
        text += f", {record_text(hit.record)}"
    return text
