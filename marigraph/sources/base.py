"""What a source is asked, and what it answers: the documents of a stretch of time, in order of time.

A document, and a record made of it, is a dict of plain values; its time stands under the time field as whole
milliseconds since the epoch. Fields that a document does not have are left out.
"""

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from operator import itemgetter
from typing import Any, Final, Protocol

import msgspec

from domain.config import MLCATEGORY, JobConfig
from domain.datafeeds import DOC_COUNT, METRICS, Aggregator, DatafeedConfig, Histogram, Query, query_fields
from domain.errors import BadRequest

PAGE_ROWS: Final = 2_000
"""Documents handed on at a time; chosen: some megabytes at most, and few enough that a stop is noticed soon."""

Record = dict[str, Any]
Page = list[Record]


class SourceError(Exception):
    """The source, or the way to it, failed; the same search may succeed later."""


class SourceConfigError(ValueError):
    """The configuration of the sources is wrong; the message says where."""


class MissingIndex(Exception):
    """A source has no table, file or index of this name, or does not show it."""

    def __init__(self, index: str) -> None:
        super().__init__(f"no such index [{index}]")
        self.index = index


class MissingField(BadRequest):
    """An index has no field of a name that the search needs."""

    def __init__(self, datafeed_id: str, field: str) -> None:
        super().__init__(f"[{datafeed_id}] cannot retrieve field [{field}] because it has no mappings")
        self.field = field


@dataclass(frozen=True, slots=True)
class Search:
    """What a datafeed looks for, whatever the time.

    Attributes
    ----------
    fields : tuple of str
        What is needed of a document besides its time: for the analysis, or for the aggregations.
    kept : frozenset of str
        What of a record reaches the job: the analysis fields and the time.
    """

    datafeed_id: str
    indices: tuple[str, ...]
    query: Query
    time_field: str
    time_format: str
    fields: tuple[str, ...]
    kept: frozenset[str]
    scroll_size: int
    histogram: Histogram | None = None

    @classmethod
    def of(cls, config: DatafeedConfig, job: JobConfig) -> "Search":
        """Return the search of a datafeed."""
        histogram = config.histogram(job.time_field)
        analysed = [name for name in job.analysis_fields if name != MLCATEGORY]
        wanted = histogram.fields if histogram else analysed
        return cls(
            datafeed_id=config.datafeed_id,
            indices=config.indices,
            query=config.query_tree,
            time_field=job.time_field,
            time_format=job.time_format,
            fields=tuple(dict.fromkeys(name for name in wanted if name != job.time_field)),
            kept=frozenset((job.time_field, *analysed)),
            scroll_size=config.scroll_size,
            histogram=histogram,
        )

    @property
    def unit_ms(self) -> int:
        """Length of what cannot be split: the histogram's interval, else a millisecond."""
        return self.histogram.interval_ms if self.histogram else 1

    @property
    def read_fields(self) -> tuple[str, ...]:
        """Every field that is fetched or looked at, without the time."""
        names = (*self.fields, *sorted(query_fields(self.query)))
        return tuple(dict.fromkeys(name for name in names if name != self.time_field))

    def check_aggregations(self) -> None:
        """Refuse what only a search engine can make, for a source that is none."""
        for metric in self.histogram.passed_on if self.histogram else ():
            msg = (
                f"[{self.datafeed_id}] aggregation [{metric.name}] of type [{metric.kind}] is made by search engines "
                f"only; this source makes [{', '.join(METRICS)}]"
            )
            raise BadRequest(msg)

    def trim(self, record: Record) -> Record:
        """Return what of a record reaches the job."""
        return {name: value for name, value in record.items() if name in self.kept}

    def n_documents(self, records: Iterable[Mapping[str, Any]]) -> int:
        """Return how many documents records stand for."""
        if self.histogram is None:
            return sum(1 for _ in records)
        return sum(record[DOC_COUNT] for record in records)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a source holds for a stretch of time; it need not be exact, chunks are planned by it."""

    n_documents: int
    earliest_ms: int | None = None
    latest_ms: int | None = None


class Source(Protocol):
    """Somewhere that documents are read from, never written to."""

    def check(self, search: Search) -> None:
        """Refuse what cannot be searched.

        Raises
        ------
        MissingIndex, MissingField, SourceError
        """

    def summary(self, search: Search, start_ms: int, end_ms: int) -> Summary | None:
        """Say what there is in a stretch of time; None if the source is best read in one go."""

    def scan(self, search: Search, start_ms: int, end_ms: int) -> Iterator[Page]:
        """Yield the records of a stretch of time (its end not included), in order of time.

        Of an aggregated search they are those of whole intervals, each with its ``doc_count``.
        """

    def count(self, search: Search, start_ms: int, end_ms: int) -> int:
        """Return how many documents match in a stretch of time."""

    def close(self) -> None:
        """Let go of connections and files."""


def aggregated(search: Search, pages: Iterable[Page]) -> Iterator[Page]:
    """Make records of documents, for a source that cannot aggregate by itself."""
    if search.histogram is None:
        yield from pages
        return
    aggregator = Aggregator(search.histogram)
    for page in pages:
        records = aggregator.add(page)
        if records:
            yield records
    last = aggregator.finish()
    if last:
        yield last


def merged(scans: Sequence[Iterator[Page]], time_field: str) -> Iterator[Page]:
    """Merge the documents of several places by time; those of one place keep their order."""
    if len(scans) == 1:
        yield from scans[0]
        return
    yield from paged(heapq.merge(*map(_flat, scans), key=itemgetter(time_field)))


def paged(documents: Iterable[Record], n_rows: int = PAGE_ROWS) -> Iterator[Page]:
    """Cut a flow of documents into pages."""
    page: Page = []
    for document in documents:
        page.append(document)
        if len(page) >= n_rows:
            yield page
            page = []
    if page:
        yield page


def _flat(pages: Iterator[Page]) -> Iterator[Record]:
    for page in pages:
        yield from page


def plain(value: Any) -> Any:
    """Return a value of a database or a document as JSON has it; None for what is no value."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        if not value.is_finite():
            return None
        return int(value) if value == value.to_integral_value() and value.adjusted() < 19 else float(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8", "replace")
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return msgspec.json.encode(value, enc_hook=str).decode()
    return str(value)
