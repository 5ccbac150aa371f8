"""One function per command, always the same three steps: load, decide, append (``marigraph/writing.py``).

This file is the map of what can be done to a job. Queries are in ``marigraph/queries.py``; what a command is allowed
to do is decided in ``domain/job.py``; what an event does to results is ``domain/fold.py``.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from domain.api_time import parse_api_time
from domain.commands import (
    CloseJob,
    CreateJob,
    DeleteJob,
    DeleteSnapshot,
    FlushJob,
    OpenJob,
    PostData,
    RevertSnapshot,
    UpdateJob,
    UpdateSnapshot,
)
from domain.config import JobConfig, create_job_config, format_duration
from domain.data_counts import DataCounts
from domain.datafeeds.commands import StopDatafeed
from domain.datafeeds.datafeed import STOPPED, Datafeed
from domain.erasure import is_erasable
from domain.errors import AlreadyExists, Conflict, InvalidArgument, TimedOut, TooManyRequests
from domain.events import SnapshotPersisted, Updated, read_config
from domain.job import CLOSED, CLOSING, FAILED, OPENED, OPENING, Job, Snapshot, decide, must_wait
from domain.model import check_supported
from domain.notify import read_notify
from domain.records import CsvFormat, RecordBatch, RecordSchema, read_records
from domain.retention import read_retention
from marigraph.application import Application
from marigraph.codec import recorded, stream_of
from marigraph.context import Context
from marigraph.erasing import remove_job
from marigraph.queries import job_resource, match_jobs, snapshot_resource
from marigraph.replay import STATE_SCHEMA
from marigraph.runner import Runner
from marigraph.schema import ERASURE_REVISION, check_finished
from marigraph.writing import JobWriter, carry_out, encode_records

TIMEOUT_SECONDS = 30 * 60.0
"""How long open and close wait unless told otherwise (the API's default)."""

KEY_CHARACTERS_MAX = 256

# ------------------------------------------------------------------------------------------------------------ jobs


def create_job(app: Application, job_id: str | None, body: Any, context: Context) -> dict[str, Any]:
    """Create a job; ``job_id`` is the one of the URL, None to take the one in the body.

    Returns
    -------
    dict
        The complete job resource, defaults filled in.
    """
    config = create_job_config(body, job_id=job_id, now_ms=app.now_ms())
    _check_custom_settings(config.custom_settings)
    _check_names(app, config.job_id, config.groups)
    writer = app.visitor(config.job_id)
    carry_out(writer, lambda _job: CreateJob(body, config.create_time), context)
    app.project()
    return job_resource(writer.job)


def update_job(app: Application, job_id: str, body: Any, context: Context) -> dict[str, Any]:
    """Change a job's configuration; return the job resource after it."""
    writer = app.visitor(job_id)
    command = UpdateJob(body, _model_bytes(writer.job))
    for event in decide(writer.job, command):
        assert isinstance(event, Updated)
        changed = read_config(event.config)
        _check_custom_settings(changed.custom_settings)
        _check_names(app, job_id, changed.groups)
    carry_out(writer, lambda _job: command, context)
    app.project()
    return job_resource(writer.job)


def _check_custom_settings(custom_settings: Mapping[str, Any] | None) -> None:
    """Refuse settings of ours that cannot be meant so; all others are free."""
    read_notify(custom_settings)
    read_retention(custom_settings)
    is_erasable(custom_settings)


def delete_job(app: Application, job_id: str, context: Context, *, force: bool = False) -> dict[str, Any]:
    """Delete a job with its results, snapshots and records; its history stays."""
    writer = app.visitor(job_id)
    job = writer.job
    if is_erasable(job.settings().custom_settings):
        check_finished(app.store, ERASURE_REVISION)
    _check_unreferred(app, job_id)
    carry_out(writer, lambda _job: DeleteJob(force), context)
    app.stop_waiting(job_id)
    app.release(job_id, is_gone=True)
    remove_job(app.store, job, writer.job.version)
    app.project()
    return {"acknowledged": True}


def _check_unreferred(app: Application, job_id: str) -> None:
    """Refuse to delete a job that a datafeed refers to."""
    app.project()
    datafeed = app.datafeeds.of_job(job_id)
    if datafeed is not None and datafeed.exists:
        msg = f"Cannot delete job [{job_id}] because datafeed [{datafeed.datafeed_id}] refers to it"
        raise Conflict(msg)


def _check_names(app: Application, job_id: str, groups: Sequence[str]) -> None:
    """Refuse a job named like a group of another job, or a group named like a job."""
    app.project()
    others = [job for job in app.jobs.all() if job.job_id != job_id]
    job_ids = {job.job_id for job in others} | {job_id}
    taken = {group for job in others for group in job.settings().groups}
    clash = next((group for group in groups if group in job_ids), job_id if job_id in taken else None)
    if clash is not None:
        msg = f"job and group names must be unique but job [{clash}] and group [{clash}] have the same name"
        raise AlreadyExists(msg)


def _model_bytes(job: Job) -> int:
    newest = job.snapshots[-1].model_size_stats if job.snapshots else {}
    return int(newest.get("model_bytes", 0))


# ---------------------------------------------------------------------------------------------------- open, close


def open_job(
    app: Application, job_id: str, context: Context, timeout_seconds: float = TIMEOUT_SECONDS
) -> dict[str, Any]:
    """Open a job: from here on it takes data, and this process runs it until it is closed or let go of."""
    job = app.visitor(job_id).job
    config = job.settings()
    check_supported(config)
    decide(job, OpenJob())
    memory_max = app.memory_mib_max
    if memory_max is not None and config.analysis_limits.model_memory_limit_mib > memory_max:
        return _open_lazily(app, config, memory_max)

    def task(runner: Runner) -> None:
        carry_out(runner, lambda _job: OpenJob(), context)

    try:
        app.through(OpenJob(), job_id, context, task, timeout_seconds=timeout_seconds, passing=OPENING)
    except TimedOut as error:
        msg = f"Opening job [{job_id}] timed out after [{format_duration(timeout_seconds)}]"
        raise TimedOut(msg) from error
    app.project()
    return {"opened": True, "node": app.node["id"] if app.node is not None else ""}


def _open_lazily(app: Application, config: JobConfig, memory_max: int) -> dict[str, Any]:
    """Let a job wait that may take more memory than there is, if it is one that waits."""
    if not config.allow_lazy_open:
        msg = (
            "Could not open job because no ML nodes with sufficient capacity were found: "
            f"model_memory_limit [{config.analysis_limits.model_memory_limit_mib}mb], this machine has [{memory_max}mb]"
        )
        raise TooManyRequests(msg)
    app.wait_for_memory(config.job_id)
    return {"opened": True, "node": ""}


def close_jobs(
    app: Application,
    expression: str,
    context: Context,
    *,
    force: bool = False,
    timeout_seconds: float = TIMEOUT_SECONDS,
    allow_no_match: bool = True,
) -> dict[str, Any]:
    """Close jobs: final results, a snapshot, and the log's word that the job takes no more data.

    All jobs are checked before the first is closed. A forced close stops the job's datafeed by force too; it appends
    the events and returns: nothing is lost, for the next open replays what was not analysed.
    """
    matched = match_jobs(app, expression, allow_no_match=allow_no_match)
    running = _running_datafeeds(app, matched)
    if running and not force:
        msg = f"cannot close job datafeed [{running[0].datafeed_id}] hasn't been stopped"
        raise Conflict(msg)
    failed = [job.job_id for job in matched if job.state == FAILED]
    if failed and not force:
        msg = (
            f"cannot close job [{failed[0]}] because it failed, use force close"
            if len(matched) == 1
            else "one or more jobs have state failed, use force close"
        )
        raise Conflict(msg)
    deadline = time.monotonic() + timeout_seconds
    for datafeed in running:
        writer = app.datafeeds.writer(datafeed.datafeed_id)
        writer.carry_out(StopDatafeed(force=True, reason="its job was closed by force"), context)
    for job in matched:
        _close(app, job.job_id, context, force=force, deadline=deadline)
    app.project()
    return {"closed": True}


def _running_datafeeds(app: Application, jobs: Sequence[Job]) -> list[Datafeed]:
    """Return the datafeeds that post to jobs which are to be closed."""
    job_ids = {job.job_id for job in jobs if job.state != CLOSED}
    if not job_ids:
        return []
    app.project()
    current = [app.datafeeds.advance(each) for each in app.datafeeds.all() if each.settings().job_id in job_ids]
    return [each for each in current if each.exists and each.state != STOPPED]


def _close(app: Application, job_id: str, context: Context, *, force: bool, deadline: float) -> None:
    def task(runner: Runner) -> None:
        runner.catch_up()
        carry_out(runner, lambda job: CloseJob(snapshot=_persist(runner, job, app.now_ms())), context)
        app.release(job_id)

    if app.stop_waiting(job_id):
        return
    visitor = app.visitor(job_id)
    if must_wait(visitor.job, CloseJob(force)):
        app.settle(job_id, max(deadline - time.monotonic(), 0.0))
        visitor = app.visitor(job_id)
    if force:
        carry_out(visitor, lambda _job: CloseJob(force=True), context)
        app.release(job_id)
    elif visitor.job.state != CLOSED:
        left = max(deadline - time.monotonic(), 0.0)
        try:
            app.through(CloseJob(), job_id, context, task, timeout_seconds=left, passing=CLOSING)
        except TimedOut as error:
            msg = f"closing job [{job_id}] took longer than its timeout; the close itself goes on"
            raise TimedOut(msg) from error
        except Conflict:  # somebody closed it by force meanwhile: what was asked for holds
            if app.visitor(job_id).job.state != CLOSED:
                raise
    else:
        app.release(job_id)


def _persist(runner: Runner, job: Job, now_ms: int) -> SnapshotPersisted | None:
    """Store the model's state and describe it; None if the job has never seen data or is not open."""
    model = runner.model
    if model.last_finalized_bucket_end_ms is None or job.state == CLOSED:
        return None
    runner.save_state()
    seconds = now_ms // 1000
    while any(snapshot.snapshot_id == str(seconds) for snapshot in job.snapshots):
        seconds += 1  # ids are seconds; two closes within one second must not share theirs
    when = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S%z")
    return SnapshotPersisted(
        snapshot_id=str(seconds),
        version=job.version,
        state_schema=STATE_SCHEMA,
        state_digest=runner.state_digest,
        timestamp_ms=now_ms,
        description=f"State persisted due to job close at {when}",
        model_size_stats={"job_id": job.job_id, **model.size_stats()},
        latest_record_ms=model.latest_record_ms,
        latest_result_ms=model.latest_result_ms,
    )


# ------------------------------------------------------------------------------------------------------------ data


class Reset(NamedTuple):
    """The range of time whose buckets a post empties first, milliseconds since the epoch; no start, no range."""

    start_ms: int | None = None
    end_ms: int | None = None

    @classmethod
    def read(cls, parameters: Mapping[str, Any], now_ms: int) -> "Reset":
        """Read ``reset_start`` and ``reset_end``; ParseError names the one that is no date."""
        names = ("reset_start", "reset_end")
        return cls(
            *(parse_api_time(parameters[name], name, now_ms=now_ms) if parameters.get(name) else None for name in names)
        )


NO_RESET = Reset()


def post_data(
    app: Application,
    job_id: str,
    data: bytes,
    context: Context,
    command_id: str | None = None,
    *,
    reset: Reset = NO_RESET,
) -> dict[str, Any]:
    """Post one body of records: all of it is stored, or nothing.

    Parameters
    ----------
    reset : Reset
        Buckets to be emptied before the records are taken.

    Returns
    -------
    dict
        The data counts of this upload only.
    """
    writer = data_writer(app, job_id, context)
    stored = find_posted(app, job_id, command_id) if command_id is not None else None
    if stored is not None:
        return stored.resource(job_id)
    batches = read_records(data, *input_format(writer.job.settings(), app.now_ms()))
    return post_batches(writer, batches, context, command_id, reset).resource(job_id)


def repeatable(app: Application, job_id: str, key: str | None) -> str | None:
    """Return the command id of an upload that a client may repeat under its key; the same key, the same job.

    Raises
    ------
    InvalidArgument
        The key is empty or too long.
    """
    if key is None:
        return None
    if not 0 < len(key) <= KEY_CHARACTERS_MAX:
        msg = f"Idempotency-Key must have 1 to {KEY_CHARACTERS_MAX} characters"
        raise InvalidArgument(msg)
    text = f"{job_id}\0{app.jobs.load(job_id).created_version}\0{key}"
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def data_writer(app: Application, job_id: str, context: Context) -> JobWriter:
    """Return what appends to an open job.

    Raises
    ------
    NotFound, Conflict
        There is no such job, or it is not open.
    """
    check_open(app.visitor(job_id).job)
    return app.writer(job_id, context)


def check_open(job: Job) -> None:
    """Refuse work on a job that is not open, with the message of the contract."""
    job.settings()
    if job.state != OPENED:
        msg = f"Cannot perform requested action because job [{job.job_id}] is not open"
        raise Conflict(msg)


def input_format(config: JobConfig, now_ms: int) -> tuple[RecordSchema, str | None, CsvFormat | None]:
    """Return how a job's data are read: the fields, and the format where the job fixes it.

    Dates whose format names no year are of the present one. What is stored are times, so a replay never asks again.
    """
    schema = RecordSchema.of(config, default_year=datetime.fromtimestamp(now_ms / 1000, UTC).year)
    description = config.data_description
    if description.format != "delimited":
        return schema, None, None
    csv_format = CsvFormat(description.field_delimiter or "\t", description.quote_character or '"')
    return schema, "delimited", csv_format


def post_batches(
    writer: JobWriter,
    batches: Sequence[RecordBatch],
    context: Context,
    command_id: str | None = None,
    reset: Reset = NO_RESET,
) -> DataCounts:
    """Append batches of records, all or none; return what they add to the data counts."""
    writer.admit(sum(batch.record_count for batch in batches))
    created_version = writer.job.created_version
    records = encode_records(batches, writer.key())
    command = PostData(tuple(batches), tuple(each.digest for each in records), *reset)

    def command_for(job: Job) -> PostData:
        if job.created_version != created_version:  # another job under the same id has another key
            msg = f"job [{job.job_id}] was deleted and made again meanwhile; send the records again"
            raise Conflict(msg)
        return command

    events = carry_out(writer, command_for, context, records=records, command_id=command_id)
    return _upload_counts(events, writer.job.data_counts.last_data_ms or 0)


def find_posted(app: Application, job_id: str, command_id: str) -> DataCounts | None:
    """Return the counts of the upload stored under a command id, None if there is none."""
    stream = stream_of(job_id)
    result = app.store.find_command(stream, command_id)
    if result is None:
        return None
    stored = app.store.iter_stream(stream, result.first_version - 1, result.last_version)
    items = [recorded(app.codec, each) for each in stored]
    return _upload_counts([item.event for item in items], items[-1].recorded_ms)


def _upload_counts(events: Sequence[Any], recorded_ms: int) -> DataCounts:
    counts = DataCounts()
    for event in events:
        counts = counts + DataCounts.from_dict(event.counts)
    return counts.received(recorded_ms)


def flush_job(
    app: Application,
    job_id: str,
    parameters: Mapping[str, Any],
    context: Context,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> dict[str, Any]:
    """Flush a job: analyse all that was posted, then skip, advance and compute interim results as asked.

    Parameters
    ----------
    parameters : mapping
        ``calc_interim`` (bool), ``start``, ``end``, ``advance_time``, ``skip_time`` (texts or None).

    Returns
    -------
    dict
        ``flushed`` and, once the job has seen data, ``last_finalized_bucket_end`` in milliseconds.
    """
    command = flush_command(parameters, app.now_ms())
    writer = data_writer(app, job_id, context)
    carry_out(writer, lambda _job: command, context)
    end = writer.analysed(writer.job.version, timeout_seconds)
    return {"flushed": True, **({} if end is None else {"last_finalized_bucket_end": end})}


def flush_command(parameters: Mapping[str, Any], now_ms: int) -> FlushJob:
    """Read the parameters of a flush; ParseError names the one that is no date."""

    def time_of(name: str) -> int | None:
        value = parameters.get(name)
        return None if value is None else parse_api_time(str(value), name, now_ms=now_ms)

    return FlushJob(
        calc_interim=bool(parameters.get("calc_interim", False)),
        start_ms=time_of("start"),
        end_ms=time_of("end"),
        advance_time_ms=time_of("advance_time"),
        skip_time_ms=time_of("skip_time"),
    )


# ------------------------------------------------------------------------------------------------------- snapshots


def revert_snapshot(
    app: Application,
    job_id: str,
    snapshot_id: str,
    context: Context,
    *,
    delete_intervening_results: bool = False,
) -> dict[str, Any]:
    """Take the model of a closed job back to a snapshot."""

    def task(runner: Runner) -> Snapshot:
        runner.catch_up()
        end = runner.model.last_finalized_bucket_end_ms
        carry_out(runner, lambda _job: RevertSnapshot(snapshot_id, delete_intervening_results, end), context)
        runner.save_state()
        app.release(job_id)
        return runner.job.snapshot(snapshot_id)

    _check_snapshot(app.visitor(job_id).job, snapshot_id)
    command = RevertSnapshot(snapshot_id, delete_intervening_results)
    snapshot = app.through(command, job_id, context, task, timeout_seconds=TIMEOUT_SECONDS)
    app.project()
    return {"model": snapshot_resource(job_id, snapshot)}


def update_snapshot(
    app: Application, job_id: str, snapshot_id: str, body: Mapping[str, Any], context: Context
) -> dict[str, Any]:
    """Change a snapshot's description or retain flag; the body is checked."""
    from marigraph.bodies import SnapshotUpdate  # pydantic models load only where a body is read

    update = SnapshotUpdate.read(body)
    writer = app.visitor(job_id)
    carry_out(writer, lambda _job: UpdateSnapshot(snapshot_id, update.description, update.retain), context)
    app.project()
    return {"acknowledged": True, "model": snapshot_resource(job_id, writer.job.snapshot(snapshot_id))}


def delete_snapshot(app: Application, job_id: str, snapshot_id: str, context: Context) -> dict[str, Any]:
    """Delete a snapshot that is not the active one."""
    writer = app.visitor(job_id)
    writer.job.settings()
    version = writer.job.snapshot(snapshot_id).version
    carry_out(writer, lambda _job: DeleteSnapshot(snapshot_id), context)
    if all(snapshot.version != version for snapshot in writer.job.snapshots):
        app.store.delete_snapshots(stream_of(job_id), version=version, state_schema=STATE_SCHEMA)
    app.project()
    return {"acknowledged": True}


def _check_snapshot(job: Job, snapshot_id: str) -> None:
    job.settings()
    job.snapshot(snapshot_id)


HANDLERS: dict[str, Callable[..., dict[str, Any]]] = {
    "create_job": create_job,
    "update_job": update_job,
    "delete_job": delete_job,
    "open_job": open_job,
    "close_jobs": close_jobs,
    "post_data": post_data,
    "flush_job": flush_job,
    "revert_snapshot": revert_snapshot,
    "update_snapshot": update_snapshot,
    "delete_snapshot": delete_snapshot,
}
