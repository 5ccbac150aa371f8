"""How things stood: jobs as of any version of their streams or any time, and what their snapshots hold."""

from dataclasses import replace
from typing import Any, Final

from domain.errors import InvalidArgument, NotFound
from domain.job import Job
from marigraph.application import Application
from marigraph.audit.events import filled, head_resource
from marigraph.audit.scope import (
    ALL,
    Asked,
    Listing,
    Row,
    Stream,
    every_stream,
    find_streams,
    plain,
    resource,
    version_before,
)
from marigraph.audit.views import SNAPSHOTS
from marigraph.queries import job_resource, snapshot_resource

JOBS_PER_PAGE_MAX: Final = 1_000
"""Most jobs whose states make one page."""


def get_state(
    app: Application, job_id: str, *, time_ms: int | None = None, version: int | None = None
) -> dict[str, Any]:
    """Return a job as of a version of its stream or a time, as it is now if neither is given.

    Raises
    ------
    NotFound
        There never was such a job.
    InvalidArgument
        Both are given, or the stream has no such version.
    """
    with app.store.reading() as connection:
        (stream,) = find_streams(connection, "job", job_id) or (None,)
        if stream is None or stream.entity_id != job_id:
            msg = f"No known job with id '{job_id}'"
            raise NotFound(msg)
        if version is None:
            version = stream.version if time_ms is None else version_before(connection, stream, _after(time_ms))
        elif time_ms is not None or not 0 <= version <= stream.version:
            msg = f"give a time or a version, one of 0 to {stream.version} of job [{job_id}]"
            raise InvalidArgument(msg)
    return _state(app, stream, version)


def list_states(
    app: Application, asked: Asked = ALL, time_ms: int | None = None, version: int | None = None
) -> dict[str, Any]:
    """List jobs as of a time, or as they are now, ordered by id; those that did not exist then are left out."""
    page = asked.page
    page.check()
    if version is not None:
        msg = "a version is of one job's stream: name one job"
        raise InvalidArgument(msg)
    if page.desc or page.size > JOBS_PER_PAGE_MAX:
        msg = f"states are listed by job id, at most {JOBS_PER_PAGE_MAX} at a time"
        raise InvalidArgument(msg)
    _, from_id = page.place()
    with app.store.reading() as connection:
        within = find_streams(connection, "job", asked.about)
        if within is None:
            streams = every_stream(connection, "job", from_id=from_id, limit=page.size + 1)
        else:
            streams = [each for each in within if from_id is None or each.entity_id >= from_id][: page.size + 1]
        shown = streams[: page.size]
        versions = [
            each.version if time_ms is None else version_before(connection, each, _after(time_ms)) for each in shown
        ]
    states = [_state(app, each, version) for each, version in zip(shown, versions, strict=True)]
    following = f"0.{streams[page.size].entity_id}" if len(streams) > page.size else None
    return resource("jobs", [each for each in states if each["state"] != "absent"], following)


def _after(time_ms: int) -> int:
    """Return the microsecond after a millisecond: what was recorded within it has been."""
    return (time_ms + 1) * 1000


def _state(app: Application, stream: Stream, version: int) -> dict[str, Any]:
    job, tally = app.jobs.marks.at(stream.entity_id, version)
    about = {"job_id": job.job_id, "version": version, "head_version": stream.version, "state": job.state}
    if version:
        about["recorded_at"] = tally.recorded_at // 1000
    return {**about, **(_existing(job) if job.exists else {})}


def _existing(job: Job) -> dict[str, Any]:
    return filled(
        {
            "created_version": job.created_version,
            "failure_reason": job.failure,
            "open_time": job.open_time_ms,
            "config": job_resource(job),
            "data_counts": job.data_counts.resource(job.job_id),
            "model_snapshot_id": job.model_snapshot_id,
            "snapshots": [
                {**snapshot_resource(job.job_id, each), "version": each.version, "state_digest": each.state_digest}
                for each in job.snapshots
            ],
        }
    )


# ---------------------------------------------------------------------------------------------------------- snapshots


_LISTED: Final = tuple(each for each in plain(SNAPSHOTS) if each.name not in ("retain", "removed_version"))
"""What became of a snapshot is looked for among all later events of its job: only if that one is asked for."""


def list_snapshots(app: Application, asked: Asked = ALL, snapshot_id: str | None = None) -> dict[str, Any]:
    """List the snapshots that jobs ever had: what each holds, and which events it covers.

    Parameters
    ----------
    snapshot_id : str, optional
        Only this one, with what the events that it covers brought, and what became of it.
    """
    listing = Listing(SNAPSHOTS, types=("snapshot_persisted",), columns=_LISTED)
    if snapshot_id is not None:
        listing = replace(listing, where=(SNAPSHOTS.c.snapshot_id == snapshot_id,), columns=tuple(plain(SNAPSHOTS)))
    with app.store.reading() as connection:
        found = listing.read(connection, asked)
    shown = [_snapshot(row) for row in found.rows]
    if snapshot_id is not None:
        for each in shown:
            marks, job_id = app.jobs.marks, each["job_id"]
            before = marks.sums_at(job_id, each["first_version"] - 1)
            each["covers"] = marks.sums_at(job_id, each["last_version"]).sums(before)
    return resource("snapshots", shown, found.next)


def _snapshot(row: Row) -> dict[str, Any]:
    return filled(
        {
            **head_resource(row, "job_id"),
            "snapshot_id": row["snapshot_id"],
            "description": row["description"],
            "first_version": row["first_version"],
            "last_version": row["last_version"],
            "latest_record_time_stamp": row["latest_record_ms"],
            "latest_result_time_stamp": row["latest_result_ms"],
            "state_schema": row["state_schema"],
            "state_digest": row["state_digest"],
            "state_bytes": row["state_bytes"],
            "model_bytes": row["model_bytes"],
            "retain": bool(row["retain"]) if "retain" in row else None,
            "removed_version": row.get("removed_version"),
        }
    )
