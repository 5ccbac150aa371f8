"""One run of a datafeed: from its ``started`` to its ``stopped``, step by step, each step one search.

Exactly once, whatever dies: a search is first written down as an event (its range and what it found), then its records
are appended to the job in one append, whose command id is made of the datafeed's incarnation, the run and the range.
Who goes on after a crash looks at the last ``searched``: if the job has no append of its id, the same range is searched
again and posted under it. The store takes an id once, so two processes that both believe to be in charge cannot post
a range twice. Searches follow each other without gap or overlap; where one ends is in its event, so that the clock,
the size of chunks and the number of records that fit into one append never decide what is searched next.
"""

import hashlib
import logging
import time
from dataclasses import replace
from typing import Final

import msgspec

from domain.commands import FlushJob
from domain.config import JobConfig
from domain.datafeeds.commands import RecordSearch, StopDatafeed
from domain.datafeeds.config import OFF, DatafeedConfig
from domain.datafeeds.datafeed import DELAYED_DATA_CHECK, LOOKBACK, REALTIME, STARTED, Datafeed
from domain.datafeeds.events import Searched
from domain.datafeeds.schedule import (
    CHUNK_PAGES,
    SECOND_MS,
    align_down,
    align_up,
    chunk_ms,
    realtime_end_ms,
    realtime_wait_ms,
)
from domain.job import OPENED, Job
from domain.records import RecordSchema, read_records
from domain.records.time_format import EPOCH_MS
from eventstore import CommandIdReused
from marigraph import handlers
from marigraph.application import Application
from marigraph.context import Context
from marigraph.datafeeds.reader import Reader
from marigraph.datafeeds.repository import DatafeedWriter
from marigraph.sources import Search, Source
from marigraph.sources.base import Record
from marigraph.writing import carry_out

log = logging.getLogger(__name__)

RECORDS_MIN: Final = 1_000
RECORDS_MAX: Final = 50_000
"""Records of one search, and so of one append; chosen: a second of work, and some 30 MB while they are at hand."""

_encoder = msgspec.json.Encoder(enc_hook=str)


class DatafeedRun:
    """Runs one started datafeed; called by one thread at a time.

    Attributes
    ----------
    datafeed : Datafeed
        As of the newest event read.
    """

    def __init__(self, app: Application, writer: DatafeedWriter, context: Context) -> None:
        self._app = app
        self._writer = writer
        self._context = context
        self._started_version = writer.datafeed.started_version
        self._reader: Reader | None = None
        self._is_checked = False
        self._is_caught_up = False
        self._lookback_end: int | None = None
        self._chunk: int | None = None
        self._first, self._latest = 0, 0
        self._pending: tuple[str, list[Record]] | None = None
        self._n_reported = writer.datafeed.n_missing
        self._checked_ms: int | None = None

    @property
    def datafeed(self) -> Datafeed:
        """The datafeed as of the newest event read."""
        return self._writer.datafeed

    @property
    def is_running(self) -> bool:
        """Whether the run goes on, as far as is known."""
        datafeed = self.datafeed
        return datafeed.state == STARTED and datafeed.started_version == self._started_version

    @property
    def lookback_end_ms(self) -> int | None:
        """Up to where the look-back goes; None until the first step."""
        return self._lookback_end

    def step(self) -> float | None:
        """Do the next search; return how many seconds to wait before the one after it, None when the run is over.

        Raises
        ------
        SourceError, MissingIndex, DomainError
            The search failed; the next step tries it again.
        """
        self._writer.catch_up()
        if not self.is_running:
            self.close()
            return None
        config = self.datafeed.settings()
        job = self._app.visitor(config.job_id).job
        if job.state != OPENED:
            self.stop(reason=f"job [{config.job_id}] is {job.state}")
            return None
        settings = job.settings()
        search = Search.of(config, settings)
        source = self._app.sources.of(config)
        if not self._is_checked:
            self._resume(job, search, source)
        self._post_pending(settings)
        if self._lookback_end is None:
            self._lookback_end = self._plan(config, settings, search)
        if self.datafeed.position_ms < self._lookback_end:
            self._search(source, search, settings, LOOKBACK, self._lookback_end)
            return 0.0
        if not self._is_caught_up:
            self._flush(calc_interim=True)
            self._is_caught_up = True
        if self.datafeed.has_reached_end:
            self.finish("the end was reached")
            return None
        return self._realtime(source, search, config, settings)

    def settle(self) -> None:
        """Post what the last search wrote down, if that is not done, before the run is stopped from outside."""
        self._writer.catch_up()
        config = self.datafeed.settings()
        job = self._app.visitor(config.job_id).job
        if self.is_running and job.state == OPENED:
            self._pending = None
            self._resume(job, Search.of(config, job.settings()), self._app.sources.of(config))
            self._post_pending(job.settings())

    def stop(self, *, reason: str, closes_job: bool = False) -> None:
        """End the run."""
        command = StopDatafeed(reason=reason, closes_job=closes_job, started_version=self._started_version)
        self._writer.carry_out(command, self._context)
        log.info("datafeed %s stopped: %s", self.datafeed.datafeed_id, reason)
        self.close()

    def finish(self, reason: str) -> None:
        """End the run and close the job."""
        self._flush(calc_interim=True)
        self.stop(reason=reason, closes_job=True)
        close_job(self._app, self.datafeed, self._context)

    def close(self) -> None:
        """Let go of what is read."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    # ------------------------------------------------------------------------------------------------------- parts

    def _resume(self, job: Job, search: Search, source: Source) -> None:
        """Post what an earlier process wrote down and did not post; at the beginning of a run skip what is left out."""
        last = self.datafeed.last_search
        if last is not None and last.n_documents:
            command_id = self._command_id(last.start_ms, last.end_ms)
            if handlers.find_posted(self._app, job.job_id, command_id) is None:
                found = [record for page in source.scan(search, last.start_ms, last.end_ms) for record in page]
                log.warning(
                    "datafeed %s: the records from %d to %d were not posted yet; the search is repeated",
                    self.datafeed.datafeed_id,
                    last.start_ms,
                    last.end_ms,
                )
                self._pending = (command_id, [search.trim(record) for record in found])
        elif last is None:
            self._skip_gap(job)
        self._is_checked = True

    def _skip_gap(self, job: Job) -> None:
        """Let the job jump over the time between its latest record and a later start, as if it had been closed."""
        latest = job.data_counts.latest_record_ms
        span = job.settings().bucket_span_seconds * SECOND_MS
        start = align_down(self.datafeed.position_ms, span)
        if latest is not None and start > align_down(latest, span) + span:
            self._carry_out_flush(FlushJob(skip_time_ms=start), "skip")

    def _plan(self, config: DatafeedConfig, job: JobConfig, search: Search) -> int:
        """Return up to where the look-back goes: the end, or as far as documents are all there."""
        now = self._app.now_ms()
        end = self.datafeed.end_ms
        if end is not None and end <= now:
            return end
        settled = realtime_end_ms(now, config.query_delay_ms, config.frequency_ms(job), end)
        return align_down(settled, search.unit_ms)

    def _realtime(self, source: Source, search: Search, config: DatafeedConfig, job: JobConfig) -> float | None:
        now, delay, frequency = self._app.now_ms(), config.query_delay_ms, config.frequency_ms(job)
        end = realtime_end_ms(now, delay, frequency, self.datafeed.end_ms)
        if self.datafeed.position_ms < end:
            self._search(source, search, job, REALTIME, end)
            if self.datafeed.position_ms < end:
                return 0.0
            self._flush(calc_interim=True, advance_time_ms=end)
            self._check_delayed(source, search, config, job)
        if self.datafeed.has_reached_end:
            self.finish("the end was reached")
            return None
        empty_max = config.max_empty_searches
        if empty_max is not None and self.datafeed.n_documents == 0 and self.datafeed.n_empty >= empty_max:
            self.finish(f"{empty_max} searches in real time found nothing")
            return None
        return realtime_wait_ms(now, delay, frequency, self.datafeed.end_ms) / 1000

    def _search(self, source: Source, search: Search, job: JobConfig, cause: str, until_ms: int) -> None:
        """Search the next stretch of time, write that down, and post what was found."""
        started = time.perf_counter()
        start = self.datafeed.position_ms
        if self._reader is None or self._reader.position_ms != start:
            self.close()
            end = until_ms if cause == REALTIME else self._chunk_end(source, search, until_ms)
            self._reader = Reader(search, source.scan(search, start, end), start, end)
        limit = min(max(CHUNK_PAGES * search.scroll_size, RECORDS_MIN), RECORDS_MAX)
        try:
            records, end = self._reader.take(limit)
        except BaseException:
            self.close()
            raise
        if self._reader.is_done:
            self.close()
        if not records:
            self._chunk = None  # there may be a gap: look again where documents are
        times = [record[search.time_field] for record in records]
        event = Searched(
            start_ms=start,
            end_ms=end,
            record_count=len(records),
            document_count=search.n_documents(records),
            cause=cause,
            earliest_record_ms=max(start, align_down(min(times), search.unit_ms)) if times else None,
            latest_record_ms=max(times) if times else None,
            took_ms=round((time.perf_counter() - started) * 1000, 3),
        )
        self._writer.carry_out(RecordSearch(event, self._started_version), self._context)
        if records:
            self._pending = (self._command_id(start, end), [search.trim(record) for record in records])
            self._post_pending(job)

    def _chunk_end(self, source: Source, search: Search, until_ms: int) -> int:
        """Return where the next chunk ends; the time before the first document and after the last goes with theirs."""
        config = self.datafeed.settings()
        start = self.datafeed.position_ms
        if config.chunking_config.mode == OFF:
            return until_ms
        if self._chunk is None:
            summary = source.summary(search, start, until_ms)
            if summary is None or summary.earliest_ms is None or summary.latest_ms is None:
                return until_ms
            estimate = chunk_ms(summary.earliest_ms, summary.latest_ms, summary.n_documents, search.scroll_size)
            self._chunk = config.fixed_chunk_ms or estimate
            self._first, self._latest = summary.earliest_ms, summary.latest_ms
        first = align_down(max(start, self._first), search.unit_ms)
        end = align_up(first + self._chunk, search.unit_ms)
        return min(end, until_ms) if end <= self._latest else until_ms

    def _post_pending(self, job: JobConfig) -> None:
        """Append the records of the last search to the job, unless that is done."""
        if self._pending is None:
            return
        command_id, records = self._pending
        schema = replace(RecordSchema.of(job), time_format=EPOCH_MS)
        batches = read_records(_encoder.encode_lines(records), schema, "xcontent")
        writer = handlers.data_writer(self._app, job.job_id, self._context)
        try:
            handlers.post_batches(writer, batches, self._context, command_id)
        except CommandIdReused:  # another process in charge found other records in the range, and was faster
            log.warning("datafeed %s: this range is posted already", self.datafeed.datafeed_id)
        self._pending = None

    def _flush(self, *, calc_interim: bool, advance_time_ms: int | None = None) -> None:
        command = FlushJob(calc_interim=calc_interim, advance_time_ms=advance_time_ms)
        self._carry_out_flush(command, f"flush-{advance_time_ms}")

    def _carry_out_flush(self, command: FlushJob, what: str) -> None:
        """Append a flush once for each position; it is analysed in its order, nobody waits for it."""
        job_id = self.datafeed.settings().job_id
        writer = handlers.data_writer(self._app, job_id, self._context)
        command_id = self._command_id(self.datafeed.position_ms, self.datafeed.position_ms, what)
        carry_out(writer, lambda _job: command, self._context, command_id=command_id)

    def _command_id(self, start_ms: int, end_ms: int, what: str = "records") -> str:
        datafeed = self.datafeed
        parts = (datafeed.datafeed_id, datafeed.created_version, self._started_version, start_ms, end_ms, what)
        return hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=16).hexdigest()

    def _check_delayed(self, source: Source, search: Search, config: DatafeedConfig, job: JobConfig) -> None:
        """Once a bucket, count again what was searched lately: what is more now came too late."""
        window = config.delayed_window_ms(job)
        position = self.datafeed.position_ms
        bucket = align_down(position, job.bucket_span_seconds * SECOND_MS)
        if window is None or bucket == self._checked_ms:
            return
        self._checked_ms = bucket
        stretches = [each for each in self.datafeed.history if each.end_ms > position - window]
        if not stretches:
            return
        start = stretches[0].start_ms
        present = source.count(search, start, position)
        n_missing = present - sum(each.n_documents for each in stretches)
        if n_missing > self._n_reported:
            log.warning(
                "datafeed %s missed %d documents from %d to %d: they came after their time had been searched; "
                "a longer query_delay would find them",
                self.datafeed.datafeed_id,
                n_missing,
                start,
                position,
            )
            event = Searched(
                start_ms=start,
                end_ms=position,
                record_count=0,
                document_count=present,
                cause=DELAYED_DATA_CHECK,
                missing_count=n_missing,
            )
            self._writer.carry_out(RecordSearch(event, self._started_version), self._context)
        self._n_reported = max(n_missing, 0)


def close_job(app: Application, datafeed: Datafeed, context: Context) -> None:
    """Close the job of a datafeed that reached its end, unless it was closed or opened anew since."""
    job_id = datafeed.settings().job_id
    job = app.jobs.load(job_id)
    if job.state == OPENED and job.open_time_ms == datafeed.job_open_time_ms:
        handlers.close_jobs(app, job_id, context)
