"""One function per command to a datafeed: load, decide, append; the twin of ``marigraph/handlers.py``."""

import time
from collections.abc import Callable
from typing import Any, Final

from domain.api_time import parse_datafeed_time
from domain.config import JobConfig, create_job_config
from domain.datafeeds import DatafeedConfig, create_datafeed_config, job_id_of, updated_job_id
from domain.datafeeds.commands import (
    CreateDatafeed,
    DeleteDatafeed,
    StartDatafeed,
    StopDatafeed,
    UpdateDatafeed,
)
from domain.datafeeds.datafeed import STOPPED, check_range, decide, read_config
from domain.datafeeds.events import Updated
from domain.datafeeds.schedule import align_down
from domain.errors import AlreadyExists, BadRequest, Conflict, IndexNotFound
from marigraph.application import Application
from marigraph.context import Context
from marigraph.datafeeds.queries import match_datafeeds
from marigraph.datafeeds.repository import DatafeedWriter
from marigraph.sources import MissingIndex, Search

STOP_SECONDS: Final = 5 * 60.0
"""How long a stop waits for the search at hand."""

PREVIEW_RECORDS_MAX: Final = 1_000
TIME_MS_END: Final = 253_402_300_800_000
"""The first millisecond after the year 9999."""


def create_datafeed(app: Application, datafeed_id: str | None, body: Any, context: Context) -> dict[str, Any]:
    """Create a datafeed; ``datafeed_id`` is the one of the URL, None to take the one in the body.

    Returns
    -------
    dict
        The complete datafeed resource, defaults filled in.
    """
    config = create_datafeed_config(body, datafeed_id=datafeed_id, job=None)
    if not config.datafeed_id:
        msg = "[datafeed_id] must not be null."
        raise BadRequest(msg)
    with app.datafeeds.naming:
        app.project()
        job = app.visitor(config.job_id).job.settings()
        _check_only_one(app, config.datafeed_id, config.job_id)
        app.sources.check_name(config.source)
        writer = app.datafeeds.writer(config.datafeed_id)
        if writer.datafeed.exists:
            msg = f"A datafeed with id [{config.datafeed_id}] already exists"
            raise AlreadyExists(msg)
        writer.carry_out(CreateDatafeed(body, job), context)
        app.project()
    return writer.datafeed.settings().resource()


def update_datafeed(app: Application, datafeed_id: str, body: Any, context: Context) -> dict[str, Any]:
    """Change the configuration of a stopped datafeed; return its resource after that."""
    with app.datafeeds.naming:
        app.project()
        writer = app.datafeeds.writer(datafeed_id)
        job_id = updated_job_id(writer.datafeed.settings(), body)
        job = app.visitor(job_id).job.settings()
        _check_only_one(app, datafeed_id, job_id)
        command = UpdateDatafeed(body, job)
        for event in decide(writer.datafeed, command):
            assert isinstance(event, Updated)
            app.sources.check_name(read_config(event.config).source)
        writer.carry_out(command, context)
        app.project()
    return writer.datafeed.settings().resource()


def _check_only_one(app: Application, datafeed_id: str, job_id: str) -> None:
    """Refuse a second datafeed for a job."""
    other = app.datafeeds.of_job(job_id)
    if other is not None and other.exists and other.datafeed_id != datafeed_id:
        msg = f"A datafeed [{other.datafeed_id}] already exists for job [{job_id}]"
        raise Conflict(msg)


def delete_datafeed(app: Application, datafeed_id: str, context: Context, *, force: bool = False) -> dict[str, Any]:
    """Delete a datafeed; a running one is stopped first if ``force`` says so. Its history stays."""
    writer = app.datafeeds.writer(datafeed_id)
    command = DeleteDatafeed(force)
    decide(writer.datafeed, command)
    app.halt_datafeed(datafeed_id, lambda: writer.carry_out(command, context), STOP_SECONDS)
    app.project()
    return {"acknowledged": True}


# ----------------------------------------------------------------------------------------------------- start, stop


def start_datafeed(
    app: Application, datafeed_id: str, context: Context, *, start: str | None = None, end: str | None = None
) -> dict[str, Any]:
    """Start a datafeed; a server runs it from here on.

    Parameters
    ----------
    start, end : str or None
        Times as the API has them; no start is the beginning of all data, no end goes on in real time.
    """
    begin_datafeed(app, app.datafeeds.writer(datafeed_id), context, start=start, end=end)
    app.project()
    app.run_datafeed(datafeed_id)
    return {"started": True, "node": app.node["id"] if app.node is not None else ""}


def begin_datafeed(
    app: Application, writer: DatafeedWriter, context: Context, *, start: str | None = None, end: str | None = None
) -> None:
    """Append that a datafeed is started, once everything is checked that could keep it from running."""
    now = app.now_ms()
    start_ms = parse_datafeed_time(start or "0", "start", now_ms=now)
    end_ms = None if end is None else parse_datafeed_time(end, "end", now_ms=now)
    config = writer.datafeed.settings()
    check_range(start_ms, end_ms)
    job = app.visitor(config.job_id).job
    command = StartDatafeed(
        start_ms=start_ms,
        end_ms=end_ms,
        job_state=job.state,
        job_latest_record_ms=job.data_counts.latest_record_ms,
        job_open_time_ms=job.open_time_ms,
    )
    decide(writer.datafeed, command)
    check_source(app, config, job.settings())
    writer.carry_out(command, context)


def check_source(app: Application, config: DatafeedConfig, job: JobConfig) -> None:
    """Refuse a datafeed whose source cannot answer it.

    Raises
    ------
    Conflict
        An index is missing.
    BadRequest
        A field is missing, or the configuration asks for what sources cannot do.
    """
    config.check_fits(job)
    if config.script_fields:
        msg = f"[{config.datafeed_id}] script_fields are not supported in this version"
        raise BadRequest(msg)
    try:
        app.sources.of(config).check(Search.of(config, job))
    except MissingIndex as error:
        msg = (
            f"cannot start datafeed [{config.datafeed_id}] because it cannot retrieve data because index "
            f"[{error.index}] does not exist"
        )
        raise Conflict(msg) from error


def stop_datafeeds(
    app: Application,
    expression: str,
    context: Context,
    *,
    force: bool = False,
    timeout_seconds: float = STOP_SECONDS,
    allow_no_match: bool = True,
) -> dict[str, Any]:
    """Stop datafeeds: each after the search it is at, or at once if ``force`` says so."""
    app.project()
    matched = match_datafeeds(app, expression, allow_no_match=allow_no_match)
    deadline = time.monotonic() + timeout_seconds
    for datafeed in matched:
        if datafeed.state != STOPPED:
            _stop(app, datafeed.datafeed_id, context, force=force, deadline=deadline)
    app.project()
    return {"stopped": True}


def _stop(app: Application, datafeed_id: str, context: Context, *, force: bool, deadline: float) -> None:
    def stop() -> None:
        writer = app.datafeeds.writer(datafeed_id)
        writer.carry_out(StopDatafeed(force=force, reason="stopped by request"), context)

    if force:
        stop()
        return
    app.halt_datafeed(datafeed_id, stop, max(deadline - time.monotonic(), 0.0))


# --------------------------------------------------------------------------------------------------------- preview


def preview_datafeed(
    app: Application, datafeed_id: str, *, start: str | None = None, end: str | None = None
) -> list[dict[str, Any]]:
    """Return the first records that a datafeed would send."""
    config = app.datafeeds.load(datafeed_id).settings()
    return _preview(app, config, app.visitor(config.job_id).job.settings(), start, end)


def preview_config(
    app: Application, body: Any, *, start: str | None = None, end: str | None = None
) -> list[dict[str, Any]]:
    """Return the first records that a datafeed would send if there were one; its job may be given in the body too."""
    job_body = None
    if isinstance(body, dict) and "datafeed_config" in body:
        body, job_body = body["datafeed_config"], body.get("job_config")
    if job_body is not None:
        job = create_job_config(job_body, job_id=None, now_ms=app.now_ms())
        if isinstance(body, dict) and body.get("job_id") is None:
            body = {**body, "job_id": job.job_id}
    else:
        job = app.visitor(job_id_of(body)).job.settings()
    config = create_datafeed_config(body, datafeed_id=None, job=job)
    app.sources.check_name(config.source)
    return _preview(app, config, job, start, end)


def _preview(
    app: Application, config: DatafeedConfig, job: JobConfig, start: str | None, end: str | None
) -> list[dict[str, Any]]:
    config.check_fits(job)
    now = app.now_ms()
    first = 0 if start is None else parse_datafeed_time(start, "start", now_ms=now)
    until = TIME_MS_END if end is None else parse_datafeed_time(end, "end", now_ms=now)
    search = Search.of(config, job)
    try:
        source = app.sources.of(config)
        source.check(search)
        summary = source.summary(search, first, until)
        if summary is not None and summary.earliest_ms is not None:
            first = align_down(summary.earliest_ms, search.unit_ms) if start is None else summary.earliest_ms
        limit = min(max(search.scroll_size, 1), PREVIEW_RECORDS_MAX)
        records: list[dict[str, Any]] = []
        pages = source.scan(search, first, until)
        for page in pages:
            records += page
            if len(records) >= limit:
                break
        close = getattr(pages, "close", None)
        if close is not None:
            close()
    except MissingIndex as error:
        raise IndexNotFound(str(error)) from error
    return [search.trim(record) for record in records[:limit]]


HANDLERS: dict[str, Callable[..., Any]] = {
    "create_datafeed": create_datafeed,
    "update_datafeed": update_datafeed,
    "delete_datafeed": delete_datafeed,
    "start_datafeed": start_datafeed,
    "stop_datafeeds": stop_datafeeds,
    "preview_datafeed": preview_datafeed,
    "preview_config": preview_config,
}
