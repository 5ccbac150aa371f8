"""What a job keeps no longer: which snapshots, results and records go, decided from the job and a few facts. Pure.

Snapshots and results follow the settings of the API. Records are kept for good unless the job asks otherwise, since
with them goes the possibility to replay what they were and to rebuild the model under other code::

    {"retention": {"payloads": "behind_snapshots"}}

in its ``custom_settings``. Ages are of data, not of clocks: those of snapshots count from the newest one, those of
results from the end of the last finalized bucket, so a job that gets no data loses nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import msgspec
from pydantic import Field

from domain.commands import DropExpired
from domain.errors import BadRequest
from domain.events import Event, PayloadsDropped, ResultsDropped, SnapshotDeleted

if TYPE_CHECKING:
    from domain.job import Job, Snapshot  # which decides by this module

SETTING: Final = "retention"
DAY_MS: Final = 86_400_000


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a job asks for beyond the settings of the API."""

    payloads: Literal["keep", "behind_snapshots"] = "keep"
    """Whether records that only a replay from before the oldest kept snapshot needs are dropped."""


def read_retention(custom_settings: Mapping[str, Any] | None) -> Retention:
    """Return what a job asks for; BadRequest if it cannot be meant so."""
    value = (custom_settings or {}).get(SETTING)
    if value is None:
        return Retention()
    try:
        return msgspec.convert(value, Retention, strict=True)
    except ValueError as error:  # msgspec's is of this family
        msg = f'custom_settings.{SETTING}: {error}; known is {{"payloads": "keep" or "behind_snapshots"}}'
        raise BadRequest(msg) from error


# ---------------------------------------------------------------------------------------------------------- decide


def decide_retention(job: "Job", command: DropExpired) -> list[Event]:
    """Say what goes, as events; none if everything is to stay."""
    events: list[Event] = [SnapshotDeleted(snapshot_id=each.snapshot_id) for each in expired_snapshots(job)]
    before_ms = results_expired_before_ms(job, command)
    if before_ms is not None:
        days = job.settings().results_retention_days
        assert days is not None
        events.append(ResultsDropped(before_ms=before_ms, retention_days=days))
    to_version = payloads_expired_to(job, command.stored_versions, command.reverts)
    if to_version is not None and command.postings is not None and command.postings.payload_count:
        assert command.postings.to_version == to_version, (command.postings, to_version)
        events.append(
            PayloadsDropped(
                from_version=first_kept_payload(job),
                to_version=to_version,
                payload_count=command.postings.payload_count,
                record_count=command.postings.record_count,
            )
        )
    return events


def expired_snapshots(job: "Job") -> list["Snapshot"]:
    """Return the snapshots that are too old, by age before the newest one.

    Beyond ``daily_model_snapshot_retention_after_days`` only the first of each day (UTC) stays, beyond
    ``model_snapshot_retention_days`` none. The active one, the newest one and those with ``retain`` always do. Days are
    those of the calendar, not of the age, so that a second look removes nothing more.
    """
    if not job.snapshots:
        return []
    config = job.settings()
    newest_ms = max(each.timestamp_ms for each in job.snapshots)
    end_ms = newest_ms - config.model_snapshot_retention_days * DAY_MS
    daily_from_ms = newest_ms - config.daily_model_snapshot_retention_after_days * DAY_MS
    days: set[int] = set()
    expired = []
    for each in sorted(job.snapshots, key=lambda snapshot: snapshot.timestamp_ms):
        is_first = each.timestamp_ms // DAY_MS not in days
        days.add(each.timestamp_ms // DAY_MS)
        is_due = each.timestamp_ms < end_ms or (each.timestamp_ms < daily_from_ms and not is_first)
        if is_due and not each.retain and each.snapshot_id != job.model_snapshot_id:
            expired.append(each)
    return expired


def results_expired_before_ms(job: "Job", command: DropExpired) -> int | None:
    """Return the start of the oldest bucket to keep, None if no stored result lies before it."""
    config = job.settings()
    days, end_ms = config.results_retention_days, command.last_finalized_bucket_end_ms
    if days is None or end_ms is None or command.first_result_ms is None:
        return None
    span_ms = config.bucket_span_seconds * 1000
    before_ms = (end_ms - days * DAY_MS) // span_ms * span_ms
    return before_ms if command.first_result_ms < before_ms else None


def first_kept_payload(job: "Job") -> int:
    """Return the first version whose records are still kept."""
    return max(job.payloads_dropped_to + 1, job.created_version)


def payloads_expired_to(job: "Job", stored_versions: frozenset[int], reverts: Sequence[tuple[int, int]]) -> int | None:
    """Return the version up to which no replay needs records, None if nothing more is to go.

    That is the version of the oldest snapshot that stays, if its state is stored in a form that this program reads, and
    nothing that happened since goes back to before it. Nobody reads the records of an erased job.
    """
    if read_retention(job.settings().custom_settings).payloads == "keep":
        return None
    if job.erased_version:
        return job.erased_version if job.erased_version > job.payloads_dropped_to else None
    gone = {each.snapshot_id for each in expired_snapshots(job)}
    kept = [each.version for each in job.snapshots if each.snapshot_id not in gone]
    if not kept:
        return None
    oldest = min(kept)
    is_needed = any(version > oldest and target < oldest for version, target in reverts)
    if oldest not in stored_versions or is_needed or oldest <= job.payloads_dropped_to:
        return None
    return oldest


# -------------------------------------------------------------------------------------------------------- schedule


class RetentionRan(Event):
    """Retention looked at jobs, and appended to their streams what it came to (on the stream ``retention``)."""

    type: ClassVar[str] = "retention_ran"
    job_count: int = Field(ge=0)
    snapshot_count: int = Field(ge=0)
    """Model snapshots deleted."""
    results_count: int = Field(ge=0)
    """Jobs of which results were dropped."""
    payloads_count: int = Field(ge=0)
    """Jobs of which records were dropped."""
    due_ms: int | None = None
    """The time of the day for which a server ran it, for all jobs; None: somebody asked for it."""


RETENTION_EVENTS: Final[dict[str, type[Event]]] = {RetentionRan.type: RetentionRan}


def latest_due_ms(now_ms: int, at_minute: int) -> int:
    """Return the newest time at or before now that is so many minutes after midnight, UTC.

    >>> latest_due_ms(DAY_MS + 29 * 60_000, 30), latest_due_ms(DAY_MS + 30 * 60_000, 30)
    (1800000, 88200000)
    """
    offset_ms = at_minute * 60_000
    return (now_ms - offset_ms) // DAY_MS * DAY_MS + offset_ms


# ---------------------------------------------------------------------------------------------------------- evolve


def _payloads_dropped(_job: Any, event: PayloadsDropped, *_: int) -> dict[str, Any]:
    return {"payloads_dropped_to": event.to_version}


def _results_dropped(_job: Any, event: ResultsDropped, *_: int) -> dict[str, Any]:
    return {"results_dropped_before_ms": event.before_ms}


def _snapshot_deleted(job: Any, event: SnapshotDeleted, *_: int) -> dict[str, Any]:
    return {"snapshots": tuple(each for each in job.snapshots if each.snapshot_id != event.snapshot_id)}


EVOLVERS: Final[dict[str, Callable[..., dict[str, Any]]]] = {
    "payloads_dropped": _payloads_dropped,
    "results_dropped": _results_dropped,
    "snapshot_deleted": _snapshot_deleted,
}
"""What the events of retention make of a job; see ``domain.job.evolve``."""
