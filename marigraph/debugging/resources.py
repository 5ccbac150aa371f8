"""What the debugger shows, as JSON-able values; records and buckets as in the API."""

from typing import Any

from domain.model import BucketResult, RecordResult
from marigraph.debugging.changes import job_resource
from marigraph.debugging.debugger import BucketStep, Debugger, Step
from marigraph.debugging.watching import SeriesPoint
from marigraph.resources import record_resource

HIGHEST = 3
"""Records shown of each event, the highest."""


def state_resource(debugger: Debugger) -> dict[str, Any]:
    """Return what a job is as of where the debugger stands."""
    model = debugger.model
    return {
        "version": debugger.version,
        **job_resource(debugger.job),
        "series_count": 0 if model is None else model.n_series,
        "model_bytes": 0 if model is None else model.size_stats()["model_bytes"],
        "last_finalized_bucket_end": None if model is None else model.last_finalized_bucket_end_ms,
        "state_digest": None if model is None else debugger.source.state_digest(debugger.folded).hex(),
    }


def step_resource(debugger: Debugger, step: Step, *, by_bucket: bool) -> dict[str, Any]:
    """Return a step as JSON-able values."""
    records = highest(step)
    resource: dict[str, Any] = {
        "version": step.version,
        "event_type": step.item.event.type,
        "recorded_at": step.item.recorded_ms,
        "changes": [change.resource() for change in step.changes],
        "bucket_count": len(step.buckets),
        "record_count": sum(len(each.result.records) for each in step.buckets),
        "highest_records": [record_resource(debugger.job_id, *each) for each in records],
        "new_series": step.new_series,
        "moved": [{**change.resource(), "size": change.size} for change in step.moved],
    }
    if by_bucket:
        resource["buckets"] = [_bucket(each) for each in step.buckets]
    elif step.buckets and step.buckets[-1].points:
        resource["series"] = [_point(point) for point in step.buckets[-1].points]
    return resource


def _bucket(each: BucketStep) -> dict[str, Any]:
    result = each.result
    return {
        "timestamp": result.timestamp_ms,
        "anomaly_score": result.anomaly_score,
        "event_count": result.event_count,
        "record_count": len(result.records),
        "series": [_point(point) for point in each.points],
    }


def _point(point: SeriesPoint) -> dict[str, Any]:
    return {
        "series": point.label,
        "timestamp": point.timestamp_ms,
        "actual": point.actual,
        "lower": point.lower,
        "typical": point.typical,
        "upper": point.upper,
        "level": point.level,
        "spread": point.spread,
    }


def highest(step: Step) -> list[tuple[BucketResult, RecordResult]]:
    """Return the highest records of a step with their buckets."""
    every = [(each.result, record) for each in step.buckets for record in each.result.records]
    return sorted(every, key=lambda pair: -pair[1].record_score)[:HIGHEST]
