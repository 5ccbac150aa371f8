"""The configuration of one datafeed as it is kept: frozen, complete, and written to JSON without loss.

``reading.py`` makes one from the body of a request. Query and aggregations are kept as the API shows them and read
into their trees where they are used.
"""

import copy
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from domain.config import JobConfig
from domain.config.durations import parse_duration_ms
from domain.datafeeds.aggregations import DOC_COUNT, Histogram, parse_aggregations
from domain.datafeeds.query import Query, parse_query
from domain.datafeeds.schedule import (
    AGGREGATED_CHUNK_INTERVALS,
    SECOND_MS,
    default_frequency_ms,
    delayed_window_ms,
)
from domain.errors import BadRequest

AUTO, MANUAL, OFF = "auto", "manual", "off"
CHUNKING_MODES: Final = (AUTO, MANUAL, OFF)
SCROLL_SIZE_DEFAULT: Final = 1_000


class ChunkingConfig(BaseModel):
    """How a look-back is cut into searches."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    mode: str = AUTO
    time_span: str | None = None

    def resource(self) -> dict[str, Any]:
        """Return the setting as the API shows it."""
        return {"mode": self.mode, **({} if self.time_span is None else {"time_span": self.time_span})}


class DelayedDataCheckConfig(BaseModel):
    """Whether, and how far back, documents are looked for that came after their time was searched."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    enabled: bool = True
    check_window: str | None = None

    def resource(self) -> dict[str, Any]:
        """Return the setting as the API shows it."""
        return {"enabled": self.enabled, **({} if self.check_window is None else {"check_window": self.check_window})}


class DatafeedConfig(BaseModel):
    """A checked datafeed configuration with all defaults filled in; None stands for unset."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    datafeed_id: str
    job_id: str
    source: str | None = None
    """Name of the configured source that the indices belong to; None: the server's only one."""
    query_delay: str
    frequency: str | None = None
    indices: tuple[str, ...]
    query: dict[str, Any]
    aggregations: dict[str, Any] | None = None
    script_fields: dict[str, Any] | None = None
    scroll_size: int = SCROLL_SIZE_DEFAULT
    chunking_config: ChunkingConfig = ChunkingConfig()
    delayed_data_check_config: DelayedDataCheckConfig = DelayedDataCheckConfig()
    max_empty_searches: int | None = None
    indices_options: dict[str, Any]

    @property
    def query_delay_ms(self) -> int:
        """How far behind the clock searches stay, so that late documents are still found."""
        return parse_duration_ms(self.query_delay, "query_delay")

    @property
    def query_tree(self) -> Query:
        """The query, read."""
        return parse_query(self.query)

    def histogram(self, time_field: str) -> Histogram | None:
        """Return the aggregations, read; None for a datafeed without any."""
        return None if self.aggregations is None else parse_aggregations(self.aggregations, time_field)

    def frequency_ms(self, job: JobConfig) -> int:
        """Return how often to search in real time."""
        if self.frequency is not None:
            return parse_duration_ms(self.frequency, "frequency")
        histogram = self.histogram(job.time_field)
        return default_frequency_ms(job.bucket_span_seconds, histogram.interval_ms if histogram else None)

    @property
    def fixed_chunk_ms(self) -> int | None:
        """Return the fixed length of a chunk; None if it is to be estimated, or there are none."""
        chunking = self.chunking_config
        return None if chunking.time_span is None else parse_duration_ms(chunking.time_span, "time_span")

    def delayed_window_ms(self, job: JobConfig) -> int | None:
        """Return how far back to look for delayed data; None if not at all."""
        check = self.delayed_data_check_config
        if not check.enabled:
            return None
        if check.check_window is not None:
            return parse_duration_ms(check.check_window, "check_window")
        return delayed_window_ms(job.bucket_span_seconds)

    def check_fits(self, job: JobConfig) -> None:
        """Refuse a datafeed whose records its job could not analyse.

        Raises
        ------
        BadRequest
            With the rule that is broken.
        """
        if job.latency_seconds > 0:
            msg = "A job configured with datafeed cannot support latency"
            raise BadRequest(msg)
        if self.aggregations is None:
            return
        if self.script_fields:
            msg = "script_fields cannot be used in combination with aggregations"
            raise BadRequest(msg)
        if not job.summary_count_field_name:
            msg = (
                "A job configured with a datafeed with aggregations must set summary_count_field_name; "
                f"use {DOC_COUNT} or suitable alternative"
            )
            raise BadRequest(msg)
        self._check_interval(job)

    def _check_interval(self, job: JobConfig) -> None:
        histogram = parse_aggregations(self.aggregations)
        span_ms = job.bucket_span_seconds * SECOND_MS
        shown = f"the interval of the histogram [{histogram.interval_ms}ms]"
        if histogram.interval_ms > span_ms:
            msg = f"{shown} must not be longer than the bucket_span [{job.analysis_config.bucket_span}]"
            raise BadRequest(msg)
        if span_ms % histogram.interval_ms:
            msg = f"{shown} must be a divisor of the bucket_span [{job.analysis_config.bucket_span}]"
            raise BadRequest(msg)
        if self.frequency is not None and parse_duration_ms(self.frequency, "frequency") % histogram.interval_ms:
            msg = f"the frequency [{self.frequency}] must be a multiple of {shown}"
            raise BadRequest(msg)

    def resource(self) -> dict[str, Any]:
        """Return the configuration as the API shows it, in response order, unset fields left out."""
        shown: dict[str, Any] = {
            "datafeed_id": self.datafeed_id,
            "job_id": self.job_id,
            "source": None if self.source is None else {"name": self.source},
            "query_delay": self.query_delay,
            "frequency": self.frequency,
            "indices": list(self.indices),
            "query": self.query,
            "aggregations": self.aggregations,
            "script_fields": self.script_fields,
            "scroll_size": self.scroll_size,
            "chunking_config": self.chunking_config.resource(),
            "delayed_data_check_config": self.delayed_data_check_config.resource(),
            "max_empty_searches": self.max_empty_searches,
            "indices_options": self.indices_options,
        }
        return copy.deepcopy({key: value for key, value in shown.items() if value is not None})


def aggregated_chunking(histogram: Histogram) -> ChunkingConfig:
    """Return the chunks of an aggregated datafeed that asks for none."""
    return ChunkingConfig(mode=MANUAL, time_span=f"{AGGREGATED_CHUNK_INTERVALS * histogram.interval_ms}ms")
