"""A datafeed run by the command that starts it, for as long as the command lives.

If a server runs the datafeed's job, the server runs the datafeed too, and the command only looks on.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

from domain.api_time import parse_datafeed_time
from domain.datafeeds import Datafeed
from domain.datafeeds.datafeed import STARTED
from domain.errors import Conflict, DomainError
from eventstore import Lease
from marigraph.application import RENEWALS_PER_LEASE, Application
from marigraph.codec import datafeed_stream
from marigraph.context import Context
from marigraph.datafeeds.handlers import begin_datafeed
from marigraph.datafeeds.running import DatafeedRun
from marigraph.datafeeds.runs import context_of
from marigraph.ownership import take_lease
from marigraph.sources import MissingIndex, Search, SourceError

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.5
"""Between two looks at a datafeed that a server runs."""

RETRY_SECONDS: Final = 10.0
"""Between two searches in real time of a source that fails."""

Progress = Callable[[Datafeed, int | None], None]
"""Called after each step with the datafeed and the end of its look-back, None if that is not known."""


def run_in_foreground(
    app: Application,
    datafeed_id: str,
    context: Context,
    on_step: Progress,
    *,
    start: str | None = None,
    end: str | None = None,
) -> Datafeed:
    """Start a datafeed, or go on with one whose process died, until it stops; return it as it is then.

    Raises
    ------
    Conflict
        Another process runs it, or its job is not open.
    SourceError
        A search of the look-back failed; the same command goes on there.
    """
    writer = app.datafeeds.writer(datafeed_id)
    job_id = writer.datafeed.settings().job_id
    if app.visitor(job_id).job.exists and app.runner(job_id, context) is None:
        begin_datafeed(app, writer, context, start=start, end=end)
        return _watch(app, datafeed_id, on_step)
    lease, _previous = take_lease(app.store, datafeed_stream(datafeed_id), app.owner, app.settings.lease_seconds)
    if lease is None:
        msg = f"datafeed [{datafeed_id}] is run by another process"
        raise Conflict(msg)
    try:
        writer = app.datafeeds.writer(datafeed_id, lease.epoch)
        if writer.datafeed.state != STARTED:
            begin_datafeed(app, writer, context, start=start, end=end)
        run = DatafeedRun(app, writer, context_of(writer.datafeed))
        _work(app, run, lease, on_step)
        return run.datafeed
    finally:
        app.store.release(lease)
        app.project()


def expected_documents(app: Application, datafeed_id: str, *, start: str | None, end: str | None) -> int | None:
    """Return how many documents a look-back will find, None where that cannot be known before."""
    config = app.datafeeds.load(datafeed_id).settings()
    job = app.visitor(config.job_id).job
    now = app.now_ms()
    start_ms = parse_datafeed_time(start or "0", "start", now_ms=now)
    latest = job.data_counts.latest_record_ms
    end_ms = now if end is None else parse_datafeed_time(end, "end", now_ms=now)
    try:
        search = Search.of(config, job.settings())
        begin = start_ms if latest is None else max(start_ms, latest + 1)
        summary = app.sources.of(config).summary(search, begin, end_ms) if begin < end_ms else None
    except (DomainError, MissingIndex, SourceError):
        return None  # the start says what is wrong
    return summary.n_documents if summary is not None and search.histogram is None else None


def _work(app: Application, run: DatafeedRun, lease: Lease, on_step: Progress) -> None:
    renewed = time.monotonic()
    renew_seconds = app.settings.lease_seconds / RENEWALS_PER_LEASE
    seconds: float | None = 0.0
    try:
        while seconds is not None:
            try:
                seconds = run.step()
            except SourceError as error:
                if run.lookback_end_ms is None or run.datafeed.position_ms < run.lookback_end_ms:
                    raise
                log.warning("datafeed %s: %s", run.datafeed.datafeed_id, error)
                seconds = RETRY_SECONDS
            on_step(run.datafeed, run.lookback_end_ms)
            until = time.monotonic() + (seconds or 0.0)
            while True:
                if time.monotonic() - renewed >= renew_seconds:
                    renewed = time.monotonic()
                    app.store.renew(lease, app.settings.lease_seconds)
                left = until - time.monotonic()
                if left <= 0:
                    break
                time.sleep(min(left, LOOK_SECONDS))
    except KeyboardInterrupt:
        run.settle()
        run.stop(reason="interrupted")
        raise


def _watch(app: Application, datafeed_id: str, on_step: Progress) -> Datafeed:
    """Look on until a datafeed that a server runs stops, or has nothing but real time before it."""
    while True:
        datafeed = app.datafeeds.load(datafeed_id)
        on_step(datafeed, datafeed.end_ms)
        if datafeed.state != STARTED or datafeed.end_ms is None:
            return datafeed
        time.sleep(LOOK_SECONDS)
