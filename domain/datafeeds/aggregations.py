"""Aggregations of a datafeed: checked, kept as a tree, and turned into records, one for each of their leaves.

A datafeed's aggregations are exactly one histogram over the time field; in it a ``max`` of the time field, any number
of metrics, and at most one ``terms`` aggregation per level, which may hold the same again. Each innermost bucket that
holds documents becomes one record: the values of the ``terms`` above it, its metrics, the time, and ``doc_count``.
:class:`Aggregator` does that for sources that cannot aggregate, :func:`flatten` reads the answer of one that can.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from domain.config.durations import parse_duration_ms
from domain.config.fields import kind_of
from domain.datafeeds.matching import as_number
from domain.errors import BadRequest, InvalidArgument

METRICS: Final = ("max", "min", "avg", "sum", "value_count", "cardinality")
PASSED_ON: Final = (
    *("bucket_script", "bucket_selector", "cumulative_sum", "derivative", "median_absolute_deviation", "moving_fn"),
    *("scripted_metric", "serial_diff", "weighted_avg"),
)
"""What only search engines make of buckets; their options are theirs."""
DOC_COUNT: Final = "doc_count"
TERMS_SIZE_DEFAULT: Final = 10
DEPTH_MAX: Final = 10
_CALENDAR_MS: Final = {
    **dict.fromkeys(("second", "1s"), 1_000),
    **dict.fromkeys(("minute", "1m"), 60_000),
    **dict.fromkeys(("hour", "1h"), 3_600_000),
    **dict.fromkeys(("day", "1d"), 86_400_000),
}
_HISTOGRAMS: Final = ("date_histogram", "histogram")
_WITHOUT: Final = frozenset({"meta"})

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Metric:
    """A number made of the documents of a bucket; ``options`` are those of a kind that is passed on."""

    name: str
    kind: str
    field: str
    options: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Level:
    """What is made of the documents of one bucket."""

    metrics: tuple[Metric, ...] = ()
    terms: "TermsBuckets | None" = None


@dataclass(frozen=True, slots=True)
class TermsBuckets:
    """One bucket for each value of a field, the most frequent ones up to ``size``."""

    name: str
    field: str
    size: int
    inner: Level


@dataclass(frozen=True, slots=True)
class Histogram:
    """One bucket for each interval of time."""

    name: str
    field: str
    interval_ms: int
    inner: Level

    @property
    def fields(self) -> tuple[str, ...]:
        """Every field that is read, each once."""
        found = [self.field]
        level: Level | None = self.inner
        while level is not None:
            found += [metric.field for metric in level.metrics if metric.options is None]
            found += [level.terms.field] if level.terms else []
            level = level.terms.inner if level.terms else None
        return tuple(dict.fromkeys(found))

    @property
    def passed_on(self) -> list[Metric]:
        """The metrics that only a search engine can make."""
        return [metric for metric in _all_metrics(self.inner) if metric.options is not None]


def parse_aggregations(body: object, time_field: str | None = None) -> Histogram:
    """Read and check the aggregations of a datafeed.

    Parameters
    ----------
    time_field : str, optional
        What the histogram must be over; whatever it is over unless given.

    Raises
    ------
    BadRequest, InvalidArgument
        They are not of the shape that records can be made of; the message says why.
    """
    name, kind, options, inner = _only(body)
    if kind not in _HISTOGRAMS:
        msg = "aggregations must have a date_histogram or histogram at their top"
        raise BadRequest(msg)
    histogram_field = options.get("field")
    if time_field is None and isinstance(histogram_field, str):
        time_field = histogram_field
    if histogram_field != time_field or time_field is None:
        msg = f"the {kind} must be over the time field [{time_field}], not over [{histogram_field}]"
        raise BadRequest(msg)
    if options.get("time_zone") not in (None, "UTC", "Z", "+00:00"):
        msg = "the date_histogram must be in UTC"
        raise BadRequest(msg)
    level = _level(inner, 0)
    if not any(metric.kind == "max" and metric.field == time_field for metric in _all_metrics(level)):
        msg = f"the {kind} must have a nested max aggregation of the time field [{time_field}]"
        raise BadRequest(msg)
    return Histogram(name, time_field, _interval_ms(kind, options), level)


def _only(body: object) -> tuple[str, str, Mapping[str, Any], object]:
    aggregations = _read_all(body)
    if len(aggregations) != 1:
        msg = "aggregations must have exactly one date_histogram or histogram at their top"
        raise BadRequest(msg)
    return aggregations[0]


def _read_all(body: object) -> list[tuple[str, str, Mapping[str, Any], object]]:
    """Return name, kind, options and inner aggregations of each aggregation of a level."""
    if not isinstance(body, Mapping):
        raise _malformed(what="aggregations", value=body)
    found = []
    for name, definition in body.items():
        if not isinstance(definition, Mapping):
            raise _malformed(what=f"aggregation [{name}]", value=definition)
        inner = definition.get("aggregations", definition.get("aggs"))
        kinds = [key for key in definition if key not in ("aggregations", "aggs", *_WITHOUT)]
        if len(kinds) != 1 or not isinstance(definition[kinds[0]], Mapping):
            msg = f"aggregation [{name}] must have exactly one type, with an object of options"
            raise BadRequest(msg)
        found.append((str(name), str(kinds[0]), definition[kinds[0]], inner))
    return found


def _malformed(*, what: str, value: object) -> BadRequest:
    return BadRequest(f"{what}: expected an object but got [{kind_of(value)}]")


def _level(body: object, depth: int) -> Level:
    metrics: list[Metric] = []
    terms: list[TermsBuckets] = []
    for name, kind, options, inner in _read_all(body) if body is not None else []:
        if kind in PASSED_ON and inner is None:
            metrics.append(Metric(name, kind, "", options))
            continue
        field_name = options.get("field")
        if not isinstance(field_name, str) or not field_name:
            msg = f"aggregation [{name}] must name its field"
            raise BadRequest(msg)
        if kind in METRICS:
            metrics.append(Metric(name, kind, field_name))
        elif kind == "terms" and depth < DEPTH_MAX:
            terms.append(TermsBuckets(name, field_name, _size(name, options), _level(inner, depth + 1)))
        else:
            allowed = ", ".join(("terms", *METRICS))
            msg = f"aggregation [{name}] of type [{kind}] is not supported here; allowed are [{allowed}]"
            raise BadRequest(msg)
    if len(terms) > 1:
        names = ", ".join(each.name for each in terms)
        msg = f"one level may have only one aggregation into buckets, not [{names}]"
        raise BadRequest(msg)
    return Level(tuple(metrics), terms[0] if terms else None)


def _all_metrics(level: Level) -> Iterator[Metric]:
    yield from level.metrics
    if level.terms:
        yield from _all_metrics(level.terms.inner)


def _size(name: str, options: Mapping[str, Any]) -> int:
    size = options.get("size", TERMS_SIZE_DEFAULT)
    if isinstance(size, bool) or not isinstance(size, int) or not 0 < size <= 2**31:
        msg = f"[size] of aggregation [{name}] must be greater than 0"
        raise BadRequest(msg)
    return size


def _interval_ms(kind: str, options: Mapping[str, Any]) -> int:
    key, value = next(
        ((key, options[key]) for key in ("fixed_interval", "calendar_interval", "interval") if key in options),
        ("interval", None),
    )
    interval: int | None = None
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53:
        interval = int(value)
    elif isinstance(value, str) and kind == "date_histogram":
        interval = _CALENDAR_MS.get(value) if key == "calendar_interval" else None
        if interval is None and key != "calendar_interval":
            interval = _CALENDAR_MS.get(value) or parse_duration_ms(value, key)
    if interval is None:
        msg = f"[{key}] of the {kind} must be a length of time that is always the same, not [{value}]"
        raise InvalidArgument(msg)
    if interval <= 0:
        msg = "the interval of the histogram must be greater than 0"
        raise BadRequest(msg)
    return interval


def aggregation_body(histogram: Histogram) -> Record:
    """Return aggregations as a search engine of any version is asked for them."""
    options = {"field": histogram.field, "interval": histogram.interval_ms, "min_doc_count": 1}
    return {histogram.name: {"histogram": options, "aggs": _level_body(histogram.inner)}}


def _level_body(level: Level) -> Record:
    shown: Record = {
        metric.name: {metric.kind: {"field": metric.field} if metric.options is None else metric.options}
        for metric in level.metrics
    }
    if level.terms:
        inner = _level_body(level.terms.inner)
        terms = {"terms": {"field": level.terms.field, "size": level.terms.size}}
        shown[level.terms.name] = {**terms, **({"aggs": inner} if inner else {})}
    return shown


# ------------------------------------------------------------------------------------- from the answer of a source


def flatten(histogram: Histogram, answer: Mapping[str, Any]) -> Iterator[Record]:
    """Make records of the ``aggregations`` of a search's answer, in order of time."""
    for bucket in answer.get(histogram.name, {}).get("buckets", ()):
        yield from _flatten(histogram, histogram.inner, bucket, {})


def _flatten(histogram: Histogram, level: Level, bucket: Mapping[str, Any], above: Record) -> Iterator[Record]:
    if not bucket.get(DOC_COUNT):
        return
    found = dict(above)
    for metric in level.metrics:
        value = bucket.get(metric.name, {}).get("value")
        if value is None:
            continue
        if metric.kind == "max" and metric.field == histogram.field:
            found[histogram.field] = int(value)
        elif isinstance(value, int | float):
            found[metric.name] = value
    inner = bucket.get(level.terms.name, {}).get("buckets", ()) if level.terms else ()
    if level.terms and inner:
        for each in inner:
            key = each.get("key_as_string", each.get("key"))
            yield from _flatten(histogram, level.terms.inner, each, {**found, level.terms.name: key})
    else:
        yield {**found, DOC_COUNT: bucket[DOC_COUNT]}


# -------------------------------------------------------------------------------------------------- from documents


@dataclass(frozen=True, slots=True)
class Partial:
    """What a database made of the documents of one interval that have the same values in every field of ``terms``.

    Attributes
    ----------
    keys : mapping
        These values, by field; None where the documents have none.
    doc_count : int
    counts, sums, lows, highs : mapping
        How many documents have a value, by field, and what the values come to; times are whole milliseconds.
    """

    keys: Mapping[str, Any]
    doc_count: int
    counts: Mapping[str, int] = field(default_factory=dict)
    sums: Mapping[str, int | None] = field(default_factory=dict)
    lows: Mapping[str, float | int | None] = field(default_factory=dict)
    highs: Mapping[str, float | int | None] = field(default_factory=dict)


@dataclass(slots=True)
class _Values:
    """The values of a metric: how many, and those numbers or keys that its result is made of."""

    count: int = 0
    numbers: list[float | int] = field(default_factory=list)
    keys: set[Any] = field(default_factory=set)

    def add(self, metric: Metric, value: Any) -> None:
        if metric.kind == "cardinality":
            self.keys.add(_key(value))
            return
        number = as_number(value) if isinstance(value, int | float | str) else None
        if metric.kind == "value_count":
            self.count += 1
        elif number is not None and math.isfinite(number):
            self.count += 1
            self.numbers.append(number)

    def merge(self, metric: Metric, partial: Partial) -> None:
        source = {"max": partial.highs, "min": partial.lows}.get(metric.kind, partial.sums)
        number = source.get(metric.field)
        self.count += partial.counts.get(metric.field, 0)
        if number is not None:
            self.numbers.append(number)

    def result(self, metric: Metric) -> float | int | None:
        match metric.kind:
            case "value_count":
                return self.count
            case "cardinality":
                return len(self.keys)
            case "sum":
                return float(_total(self.numbers))
        if not self.numbers:
            return None
        if metric.kind == "avg":
            return _total(self.numbers) / self.count
        return max(self.numbers) if metric.kind == "max" else min(self.numbers)


def _total(numbers: list[float | int]) -> float | int:
    """Add up without rounding on the way, so that the parts may have been added up before where they are whole."""
    if all(isinstance(number, int) for number in numbers):
        return sum(numbers)
    return math.fsum(numbers)


@dataclass(slots=True)
class _Bucket:
    """The documents of one bucket, as far as its metrics need them."""

    level: Level
    doc_count: int = 0
    values: dict[str, _Values] = field(default_factory=dict)
    inner: dict[Any, "_Bucket"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.values = {metric.name: _Values() for metric in self.level.metrics}

    def add(self, document: Mapping[str, Any]) -> None:
        self.doc_count += 1
        for metric in self.level.metrics:
            for value in _leaves(document.get(metric.field)):
                self.values[metric.name].add(metric, value)
        if self.level.terms:
            for value in dict.fromkeys(map(_key, _leaves(document.get(self.level.terms.field)))):
                self._bucket(self.level.terms, value).add(document)

    def merge(self, partial: Partial) -> None:
        """Take documents that a database aggregated."""
        self.doc_count += partial.doc_count
        for metric in self.level.metrics:
            self.values[metric.name].merge(metric, partial)
        terms = self.level.terms
        if terms and partial.keys[terms.field] is not None:
            self._bucket(terms, partial.keys[terms.field]).merge(partial)

    def _bucket(self, terms: TermsBuckets, value: Any) -> "_Bucket":
        bucket = self.inner.get(value)
        if bucket is None:
            bucket = self.inner[value] = _Bucket(terms.inner)
        return bucket

    def answer(self) -> Record:
        """Return the bucket as a search engine answers it."""
        shown: Record = {DOC_COUNT: self.doc_count}
        for metric in self.level.metrics:
            value = self.values[metric.name].result(metric)
            if value is not None:
                shown[metric.name] = {"value": value}
        terms = self.level.terms
        if terms:
            ranked = sorted(self.inner.items(), key=lambda item: (-item[1].doc_count, str(item[0])))[: terms.size]
            shown[terms.name] = {"buckets": [{"key": key, **bucket.answer()} for key, bucket in ranked]}
        return shown


def _leaves(value: Any) -> Iterable[Any]:
    if isinstance(value, list):
        return (item for item in value if item is not None)
    return () if value is None else (value,)


def _key(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, int | float | str) else str(value)


class Aggregator:
    """Aggregates documents that come in order of time, one interval after the other.

    Memory is bounded by the documents of one interval.
    """

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._start: int | None = None
        self._bucket = _Bucket(histogram.inner)

    def add(self, documents: Iterable[Mapping[str, Any]]) -> list[Record]:
        """Take documents in; return the records of the intervals that they completed."""
        records: list[Record] = []
        histogram = self._histogram
        for document in documents:
            records += self._go_to(document[histogram.field] // histogram.interval_ms)
            self._bucket.add(document)
        return records

    def merge(self, interval: int, partial: Partial) -> list[Record]:
        """Take documents that a database aggregated; the intervals, counted from the epoch, come in their order."""
        records = self._go_to(interval)
        self._bucket.merge(partial)
        return records

    def _go_to(self, interval: int) -> list[Record]:
        if interval == self._start:
            return []
        records = self.finish()
        self._start = interval
        return records

    def finish(self) -> list[Record]:
        """Return the records of the last interval, and forget it."""
        answer = {self._histogram.name: {"buckets": [self._bucket.answer()]}}
        self._bucket = _Bucket(self._histogram.inner)
        self._start = None
        return list(flatten(self._histogram, answer))
