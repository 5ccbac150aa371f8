"""The job as a state machine over its events: ``decide`` says what a command makes of a job, ``evolve`` folds.

Both are pure. ``decide(job, command)`` returns the events that carry the command out, or raises a domain error that
says why it is refused; ``evolve(job, event)`` returns the job after an event and never refuses one. The states are
those of the API: ``closed``, ``opened`` and ``failed`` are on the log; ``opening`` and ``closing`` exist only while a
command is at work and are laid over the job by the application (``Job.in_state``). A job that was never created, or
was deleted, is ``absent``. The model that analyses the records is folded apart, in ``domain/model``.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from domain import erasure, retention
from domain.commands import (
    CloseJob,
    Command,
    CreateJob,
    DeleteJob,
    DeleteSnapshot,
    DropExpired,
    EraseJob,
    FailJob,
    FlushJob,
    OpenJob,
    PostData,
    ReassignJob,
    RevertSnapshot,
    UpdateJob,
    UpdateSnapshot,
)
from domain.config import JobConfig, create_job_config, update_job_config
from domain.data_counts import DataCounts, count_batch
from domain.errors import AlreadyExists, BadRequest, Conflict, InvalidArgument, NotFound
from domain.events import (
    Closed,
    Created,
    DataPosted,
    Deleted,
    Event,
    Failed,
    Flushed,
    Opened,
    Reassigned,
    SnapshotDeleted,
    SnapshotPersisted,
    SnapshotReverted,
    SnapshotUpdated,
    Updated,
    read_config,
    store_config,
)

ABSENT, CLOSED, OPENING, OPENED, CLOSING, FAILED = (
    "absent",
    "closed",
    "opening",
    "opened",
    "closing",
    "failed",
)
STATES = (CLOSED, OPENING, OPENED, CLOSING, FAILED)


class Snapshot(msgspec.Struct, frozen=True):
    """What the job knows of one of its model snapshots."""

    snapshot_id: str
    version: int
    """The stored state is folded up to this version of the stream."""
    state_schema: str
    state_digest: str
    timestamp_ms: int
    description: str
    model_size_stats: dict[str, Any]
    latest_record_ms: int | None = None
    latest_result_ms: int | None = None
    retain: bool = False


class Job(msgspec.Struct, frozen=True):
    """One job as of a version of its stream."""

    job_id: str
    version: int = 0
    state: str = ABSENT
    config: JobConfig | None = None
    created_version: int = 0
    """Version of the latest ``created``: what lies before belongs to an earlier job of the same id."""
    finished_time_ms: int | None = None
    """When the job was last closed; None while it is open or was never closed."""
    open_time_ms: int | None = None
    data_counts: DataCounts = DataCounts()
    snapshots: tuple[Snapshot, ...] = ()
    model_snapshot_id: str | None = None
    """The active snapshot: the newest one, or the one reverted to."""
    failure: str | None = None
    payloads_dropped_to: int = 0
    """Records posted up to this version are no longer kept."""
    results_dropped_before_ms: int | None = None
    erased_version: int = 0
    """Version of ``erased``; 0 while the job's records can be read."""
    erased_time_ms: int | None = None

    @property
    def exists(self) -> bool:
        """Whether there is such a job now."""
        return self.config is not None

    def in_state(self, state: str) -> "Job":
        """Lay a passing state (``opening``, ``closing``) over the job."""
        return msgspec.structs.replace(self, state=state)

    def snapshot(self, snapshot_id: str) -> Snapshot:
        """Find a snapshot by its id; NotFound if the job has none of that id."""
        for snapshot in self.snapshots:
            if snapshot.snapshot_id == snapshot_id:
                return snapshot
        msg = f"No model snapshot with id [{snapshot_id}] exists for job [{self.job_id}]"
        raise NotFound(msg)

    def settings(self) -> JobConfig:
        """Return the configuration; NotFound if there is no such job."""
        if self.config is None:
            msg = f"No known job with id '{self.job_id}'"
            raise NotFound(msg)
        return self.config


# ---------------------------------------------------------------------------------------------------------- decide


def decide(job: Job, command: Command) -> list[Event]:
    """Say which events carry a command out.

    Returns
    -------
    list of Event
        Empty when there is nothing to do, such as closing a closed job.

    Raises
    ------
    DomainError
        The command is not allowed; its reason is fixed by the API contract.
    """
    return _DECIDERS[type(command)](job, command)


def must_wait(job: Job, command: Command) -> bool:
    """Tell whether a command has to wait for a passing state to end before it is decided."""
    waits_in = (OPENING, CLOSING) if isinstance(command, CloseJob) and not command.force else ()
    return job.state in waits_in


def _create(job: Job, command: CreateJob) -> list[Event]:
    if job.exists:
        msg = f"The job cannot be created with the Id '{job.job_id}'. The Id is already used."
        raise AlreadyExists(msg)
    config = create_job_config(command.body, job_id=job.job_id, now_ms=command.now_ms)
    return [Created(config=store_config(config))]


def _update(job: Job, command: UpdateJob) -> list[Event]:
    config = job.settings()
    changed = update_job_config(
        config, command.body, is_open=job.state not in (CLOSED, FAILED), model_bytes=command.model_bytes
    )
    erasure.check_erasable_kept(config.custom_settings, changed.custom_settings)
    return [] if changed == config else [Updated(config=store_config(changed), changes=command.body)]


def _open(job: Job, _command: OpenJob) -> list[Event]:
    job.settings()
    if job.state != CLOSED:
        msg = f"Cannot open job [{job.job_id}] because it has already been opened"
        raise Conflict(msg)
    erasure.check_not_erased(job)
    return [Opened()]


def _require_open(job: Job) -> JobConfig:
    config = job.settings()
    if job.state != OPENED:
        msg = f"Cannot perform requested action because job [{job.job_id}] is not open"
        raise Conflict(msg)
    return config


def _post(job: Job, command: PostData) -> list[Event]:
    config = _require_open(job)
    if command.reset_start_ms is not None:
        check_time_range(command.reset_start_ms, command.reset_end_ms)
    counts = job.data_counts
    events: list[Event] = []
    for batch, digest in zip(command.batches, command.digests, strict=True):
        delta, counts, _accepted = count_batch(
            counts,
            batch,
            bucket_span_seconds=config.bucket_span_seconds,
            latency_seconds=config.latency_seconds,
            n_analysis_fields=len(config.analysis_fields),
        )
        times = batch.time_ms
        reset_start_ms = None if events else command.reset_start_ms  # before the first batch of the upload only
        events.append(
            DataPosted(
                counts=delta.to_dict(),
                record_count=batch.record_count,
                earliest_record_ms=int(times.min()) if len(times) else None,
                latest_record_ms=int(times.max()) if len(times) else None,
                digest=digest,
                reset_start_ms=reset_start_ms,
                reset_end_ms=range_end_ms(reset_start_ms, command.reset_end_ms) if reset_start_ms is not None else None,
            )
        )
    return events


def _flush(job: Job, command: FlushJob) -> list[Event]:
    _require_open(job)
    if (command.start_ms, command.end_ms) != (None, None):
        name = "start" if command.start_ms is not None else "end"
        if not command.calc_interim:
            msg = f"Invalid flush parameters: unexpected '{name}'."
            raise InvalidArgument(msg)
        if command.start_ms is None:
            msg = "Invalid flush parameters: 'start' has not been specified."
            raise InvalidArgument(msg)
        check_time_range(command.start_ms, command.end_ms)
    if (
        command.advance_time_ms is not None
        and command.skip_time_ms is not None
        and command.advance_time_ms <= command.skip_time_ms
    ):
        msg = f"advance_time [{command.advance_time_ms}] must be later than skip_time [{command.skip_time_ms}]"
        raise BadRequest(msg)
    return [
        Flushed(
            calc_interim=command.calc_interim,
            start_ms=command.start_ms,
            end_ms=range_end_ms(command.start_ms, command.end_ms),
            advance_time_ms=command.advance_time_ms,
            skip_time_ms=command.skip_time_ms,
        )
    ]


def check_time_range(start_ms: int, end_ms: int | None) -> None:
    """Refuse a range that ends before it starts; the message speaks seconds, as the contract has it."""
    if end_ms is not None and end_ms < start_ms:
        end, start = end_ms // 1000, start_ms // 1000
        msg = f"Invalid time range: end time '{end}' is earlier than start time '{start}'."
        raise InvalidArgument(msg)


def range_end_ms(start_ms: int | None, end_ms: int | None) -> int | None:
    """Fill in the end of a range: omitted or equal to the start it means one second later."""
    if start_ms is not None and (end_ms is None or end_ms == start_ms):
        return start_ms + 1000
    return end_ms


def _close(job: Job, command: CloseJob) -> list[Event]:
    job.settings()
    if job.state == CLOSED:
        return []
    if command.force:
        return [Closed(is_forced=True)]
    if job.state == FAILED:
        msg = f"cannot close job [{job.job_id}] because it failed, use force close"
        raise Conflict(msg)
    return [*([command.snapshot] if command.snapshot else []), Closed()]


def _fail(job: Job, command: FailJob) -> list[Event]:
    return [Failed(reason=command.reason)] if job.state in (OPENING, OPENED, CLOSING) else []


def _revert(job: Job, command: RevertSnapshot) -> list[Event]:
    job.settings()
    if job.state != CLOSED:
        msg = "Can only revert to a model snapshot when the job is closed."
        raise Conflict(msg)
    snapshot = job.snapshot(command.snapshot_id)
    keeps_results = not command.delete_intervening_results
    return [
        SnapshotReverted(
            snapshot_id=snapshot.snapshot_id,
            version=snapshot.version,
            delete_intervening_results=command.delete_intervening_results,
            latest_record_ms=snapshot.latest_record_ms,
            latest_result_ms=snapshot.latest_result_ms,
            skip_time_ms=command.last_finalized_bucket_end_ms if keeps_results else None,
        )
    ]


def _update_snapshot(job: Job, command: UpdateSnapshot) -> list[Event]:
    job.settings()
    job.snapshot(command.snapshot_id)
    if command.description is None and command.retain is None:
        return []
    return [SnapshotUpdated(snapshot_id=command.snapshot_id, description=command.description, retain=command.retain)]


def _delete_snapshot(job: Job, command: DeleteSnapshot) -> list[Event]:
    job.settings()
    job.snapshot(command.snapshot_id)
    if command.snapshot_id == job.model_snapshot_id:
        msg = (
            f"Model snapshot '{command.snapshot_id}' is the active snapshot for job '{job.job_id}', "
            "so cannot be deleted"
        )
        raise InvalidArgument(msg)
    return [SnapshotDeleted(snapshot_id=command.snapshot_id)]


def _reassign(job: Job, command: ReassignJob) -> list[Event]:
    job.settings()
    return [
        Reassigned(owner=command.owner, previous_owner=command.previous_owner, epoch=command.epoch),
    ]


def _delete(job: Job, command: DeleteJob) -> list[Event]:
    job.settings()
    if job.state != CLOSED and not command.force:
        msg = f"Cannot delete job [{job.job_id}] because the job is {job.state}"
        raise Conflict(msg)
    return [*erasure.erasure_before_deletion(job), Deleted(is_forced=command.force)]


_DECIDERS: dict[type, Callable[[Job, Any], list[Event]]] = {
    CreateJob: _create,
    UpdateJob: _update,
    OpenJob: _open,
    PostData: _post,
    FlushJob: _flush,
    CloseJob: _close,
    FailJob: _fail,
    RevertSnapshot: _revert,
    UpdateSnapshot: _update_snapshot,
    DeleteSnapshot: _delete_snapshot,
    DropExpired: retention.decide_retention,
    EraseJob: erasure.decide_erasure,
    ReassignJob: _reassign,
    DeleteJob: _delete,
}


# ---------------------------------------------------------------------------------------------------------- evolve


def evolve(job: Job, event: Any, version: int, recorded_ms: int) -> Job:
    """Fold one event into a job.

    Parameters
    ----------
    job : Job
        The job before the event.
    event : Event or its replay struct
        What happened (``domain.events``).
    version : int
        Place of the event in the job's stream.
    recorded_ms : int
        When the event was recorded, milliseconds since the epoch. It reaches only the job's own times, never
        the model or the results.
    """
    changes = _EVOLVERS[event.type](job, event, version, recorded_ms)
    if event.type == Deleted.type:
        return Job(job.job_id, version=version)
    return msgspec.structs.replace(job, version=version, **changes)


def _created(_job: Job, event: Created, version: int, _recorded_ms: int) -> dict[str, Any]:
    return {
        "config": read_config(event.config),
        "state": CLOSED,
        "created_version": version,
    }


def _updated(_job: Job, event: Updated, *_: int) -> dict[str, Any]:
    return {"config": read_config(event.config)}


def _opened(_job: Job, _event: Opened, _version: int, recorded_ms: int) -> dict[str, Any]:
    return {"state": OPENED, "open_time_ms": recorded_ms, "finished_time_ms": None, "failure": None}


def _data_posted(job: Job, event: DataPosted, _version: int, recorded_ms: int) -> dict[str, Any]:
    upload = DataCounts.from_dict({**event.counts, "last_data_ms": recorded_ms})
    return {"data_counts": job.data_counts + upload}


def _snapshot_persisted(job: Job, event: SnapshotPersisted, *_: int) -> dict[str, Any]:
    snapshot = Snapshot(
        snapshot_id=event.snapshot_id,
        version=event.version,
        state_schema=event.state_schema,
        state_digest=event.state_digest,
        timestamp_ms=event.timestamp_ms,
        description=event.description,
        model_size_stats=event.model_size_stats,
        latest_record_ms=event.latest_record_ms,
        latest_result_ms=event.latest_result_ms,
    )
    return {"snapshots": (*job.snapshots, snapshot), "model_snapshot_id": event.snapshot_id}


def _closed(_job: Job, _event: Closed, _version: int, recorded_ms: int) -> dict[str, Any]:
    return {"state": CLOSED, "finished_time_ms": recorded_ms, "open_time_ms": None, "failure": None}


def _failed(_job: Job, event: Failed, *_: int) -> dict[str, Any]:
    return {"state": FAILED, "failure": event.reason, "open_time_ms": None}


def _snapshot_reverted(job: Job, event: SnapshotReverted, *_: int) -> dict[str, Any]:
    changes: dict[str, Any] = {"model_snapshot_id": event.snapshot_id}
    if event.delete_intervening_results:
        changes["data_counts"] = job.data_counts.reverted(event.latest_record_ms)
    return changes


def _snapshot_updated(job: Job, event: SnapshotUpdated, *_: int) -> dict[str, Any]:
    def change(snapshot: Snapshot) -> Snapshot:
        if snapshot.snapshot_id != event.snapshot_id:
            return snapshot
        return msgspec.structs.replace(
            snapshot,
            description=snapshot.description if event.description is None else event.description,
            retain=snapshot.retain if event.retain is None else event.retain,
        )

    return {"snapshots": tuple(change(snapshot) for snapshot in job.snapshots)}


def _unchanged(*_: Any) -> dict[str, Any]:
    return {}


_EVOLVERS: dict[str, Callable[..., dict[str, Any]]] = {
    "created": _created,
    "updated": _updated,
    "opened": _opened,
    "data_posted": _data_posted,
    "flushed": _unchanged,
    "snapshot_persisted": _snapshot_persisted,
    "closed": _closed,
    "failed": _failed,
    "snapshot_reverted": _snapshot_reverted,
    "snapshot_updated": _snapshot_updated,
    "reassigned": _unchanged,
    "deleted": _unchanged,
    **retention.EVOLVERS,
    **erasure.EVOLVERS,
}


# ------------------------------------------------------------------------------------------------- as stored text


def encode_job(job: Job) -> bytes:
    """Write a job as JSON, for the read model that spares the replay of its stream."""
    return msgspec.json.encode(job, enc_hook=_encode_special)


def decode_job(data: bytes | str) -> Job:
    """Read a job back from :func:`encode_job`; ValueError (msgspec's) if the text is not one."""
    return msgspec.json.decode(data, type=Job, dec_hook=_decode_special)


def _encode_special(value: Any) -> Any:
    if isinstance(value, JobConfig):
        return store_config(value)
    msg = f"cannot store a {type(value).__name__}"
    raise NotImplementedError(msg)


def _decode_special(kind: type, value: Any) -> Any:
    if kind is JobConfig:
        return read_config(value)
    msg = f"cannot read a {kind.__name__}"
    raise NotImplementedError(msg)
