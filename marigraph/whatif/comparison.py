"""The difference between two sets of results of one job: what became an anomaly, what no longer is one, what moved.

Records are matched by series (the values of partition, by and over field) and by time: bucket spans may differ, so two
records are of one incident if their buckets overlap. A detector that both sides have is compared with itself, the
others with any of the other side's own. Interim results are left out.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, func, select

from domain.errors import InvalidArgument
from marigraph.tables import buckets, records

ANOMALY_SCORE: Final = 25.0
"""A record from this score on is an anomaly unless told otherwise: the lowest severity that the API colours."""
MOVED: Final = 1.0
"""Scores that differ by less have not moved."""
SEVERITIES: Final = (("critical", 75.0), ("major", 50.0), ("minor", 25.0), ("warning", 0.0))
CHANGES_MAX: Final = 1_000
"""Changed anomalies that are named, those with the largest change of score; chosen: more than anybody reads."""
ROWS_PER_PAGE: Final = 1_000

Series = tuple[tuple[str, str], ...]
Measure = tuple[str, str | None]


class Anomaly(msgspec.Struct, frozen=True):
    """What of a stored record a comparison needs; read from its JSON."""

    timestamp: int
    bucket_span: int
    record_score: float
    function: str
    field_name: str | None = None
    partition_field_name: str | None = None
    partition_field_value: str | None = None
    by_field_name: str | None = None
    by_field_value: str | None = None
    over_field_name: str | None = None
    over_field_value: str | None = None

    @property
    def end(self) -> int:
        """End of its bucket, milliseconds."""
        return self.timestamp + 1000 * self.bucket_span

    @property
    def series(self) -> Series:
        """What it is about: fields and their values."""
        pairs = (
            (self.partition_field_name, self.partition_field_value),
            (self.by_field_name, self.by_field_value),
            (self.over_field_name, self.over_field_value),
        )
        return tuple((name, value) for name, value in pairs if name is not None and value is not None)

    @property
    def measure(self) -> Measure:
        """What its detector measures."""
        return self.function, self.field_name


class Change(msgspec.Struct, frozen=True):
    """An anomaly that is not the same on both sides; a score of None: there is no record at all."""

    kind: str
    """``gained``, ``lost`` or ``moved``."""
    timestamp: int
    bucket_span: int
    function: str
    series: dict[str, str]
    before: float | None
    after: float | None

    @property
    def size(self) -> float:
        """By how much the score differs."""
        return abs((self.after or 0.0) - (self.before or 0.0))


@dataclass(slots=True)
class Counted:
    """What one side has."""

    severities: dict[str, int] = field(default_factory=lambda: dict.fromkeys((name for name, _ in SEVERITIES), 0))
    record_count: int = 0
    bucket_count: int = 0

    def add(self, anomaly: Anomaly) -> None:
        """Count a record."""
        self.record_count += 1
        self.severities[next(name for name, least in SEVERITIES if anomaly.record_score >= least)] += 1


@dataclass(slots=True)
class Difference:
    """How two sets of results differ.

    Attributes
    ----------
    counts : dict of str to int
        ``gained``, ``lost``, ``moved`` and ``same``.
    changes : list of Change
        The largest first, at most ``CHANGES_MAX``.
    """

    minimum_score: float
    before: Counted = field(default_factory=Counted)
    after: Counted = field(default_factory=Counted)
    counts: dict[str, int] = field(default_factory=lambda: {"gained": 0, "lost": 0, "moved": 0, "same": 0})
    changes: list[Change] = field(default_factory=list)

    def resource(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return {
            "minimum_score": self.minimum_score,
            **self.counts,
            "records": {
                side: {"count": counted.record_count, **counted.severities}
                for side, counted in (("before", self.before), ("after", self.after))
            },
            "buckets": {"before": self.before.bucket_count, "after": self.after.bucket_count},
            "changes": msgspec.to_builtins(self.changes),
        }


@dataclass(frozen=True, slots=True)
class Side:
    """Results that lie in a database, of buckets that start in a range of time.

    Attributes
    ----------
    analysis : dict
        What of the job's configuration reached the analysis, as the API shows it.
    """

    connection: Connection
    job_id: str
    analysis: dict[str, Any]
    from_ms: int | None = None
    to_ms: int | None = None

    def anomalies(self) -> Iterator[Anomaly]:
        """Yield the final records in order of time."""
        decode = msgspec.json.Decoder(Anomaly).decode
        query = select(records.c.body).where(*self._where(records)).order_by(records.c.timestamp, records.c.sequence)
        for body in self.connection.execute(query.execution_options(yield_per=ROWS_PER_PAGE)).scalars():
            yield decode(body)

    def measures(self) -> set[Measure]:
        """Return what the detectors measure."""
        detectors = self.analysis["analysis_config"]["detectors"]
        return {(each["function"], each.get("field_name")) for each in detectors}

    def n_buckets(self) -> int:
        """Return how many final buckets there are."""
        return self.connection.scalar(select(func.count()).select_from(buckets).where(*self._where(buckets))) or 0

    def _where(self, table: Any) -> list[Any]:
        where = [table.c.job_id == self.job_id, table.c.is_interim.is_(False)]
        if self.from_ms is not None:
            where.append(table.c.timestamp >= self.from_ms)
        if self.to_ms is not None:
            where.append(table.c.timestamp < self.to_ms)
        return where


def compare(before: Side, after: Side, minimum_score: float = ANOMALY_SCORE) -> Difference:
    """Compare two sets of results.

    Parameters
    ----------
    minimum_score : float
        A record with a lower score is no anomaly.

    Raises
    ------
    InvalidArgument
        The score is none.
    """
    if not 0.0 < minimum_score <= 100.0:
        msg = f"the least score of an anomaly lies above 0 and at most at 100, not {minimum_score:g}"
        raise InvalidArgument(msg)
    difference = Difference(minimum_score)
    shared = before.measures() & after.measures()
    old, new = _Records(before, difference.before, shared), _Records(after, difference.after, shared)
    changes = _changes(difference, old, new)
    difference.changes = nsmallest(CHANGES_MAX, changes, key=lambda each: (-each.size, each.timestamp))
    difference.before.bucket_count, difference.after.bucket_count = before.n_buckets(), after.n_buckets()
    return difference


class _Records:
    """One side's records, counted, by series and by what is compared with each other."""

    def __init__(self, side: Side, counted: Counted, shared: set[Measure]) -> None:
        self._shared = shared
        self.by_kind: dict[tuple[Series, Measure | None], list[Anomaly]] = {}
        for anomaly in side.anomalies():
            counted.add(anomaly)
            self.by_kind.setdefault(self._kind_of(anomaly), []).append(anomaly)

    def _kind_of(self, anomaly: Anomaly) -> tuple[Series, Measure | None]:
        return anomaly.series, anomaly.measure if anomaly.measure in self._shared else None

    def overlapping(self, one: Anomaly) -> Anomaly | None:
        """Return the record with the highest score that is of the same incident; None if there is none."""
        near = _around(self.by_kind.get(self._kind_of(one), []), one)
        return max(
            (other for other in near if other.timestamp < one.end and other.end > one.timestamp),
            key=lambda other: other.record_score,
            default=None,
        )


def _around(every: list[Anomaly], one: Anomaly) -> list[Anomaly]:
    """Return those of a list in order of time that may overlap; a job's buckets are all of one length."""
    longest = 1000 * every[0].bucket_span if every else 0
    first = bisect_left(every, one.timestamp - longest, key=lambda each: each.timestamp)
    last = bisect_left(every, one.end, key=lambda each: each.timestamp)
    return every[first:last]


def _changes(difference: Difference, old: _Records, new: _Records) -> Iterator[Change]:
    """Yield what differs, and count it."""
    least = difference.minimum_score
    for one in _anomalies(old, least):
        other = new.overlapping(one)
        after = None if other is None else other.record_score
        if after is None or after < least:
            difference.counts["lost"] += 1
            yield _change("lost", one, one.record_score, after)
    for one in _anomalies(new, least):
        other = old.overlapping(one)
        score = None if other is None else other.record_score
        kind = _kind(score, one.record_score, least)
        difference.counts[kind] += 1
        if kind != "same":
            yield _change(kind, one, score, one.record_score)


def _kind(before: float | None, after: float, least: float) -> str:
    if before is None or before < least:
        return "gained"
    return "moved" if abs(after - before) >= MOVED else "same"


def _anomalies(found: _Records, least: float) -> Iterator[Anomaly]:
    return (each for every in found.by_kind.values() for each in every if each.record_score >= least)


def _change(kind: str, one: Anomaly, before: float | None, after: float | None) -> Change:
    function = one.function + (f"({one.field_name})" if one.field_name is not None else "")
    return Change(kind, one.timestamp, one.bucket_span, function, dict(one.series), before, after)
