"""Renormalisation of stored results: applies what the fold says of earlier scores (``domain/model/hindsight.py``).

Beside each final result lies what its score rests on, a row of ``score_bases``. A renormalisation raises the peaks in
the rows of its scope and window, and gives their scores anew. What a row comes to does not depend on the order, or on
whether it was stored already: pending rows are changed where they lie, stored ones just before those are inserted.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Table, bindparam, literal, select, tuple_, update

from domain.model import Basis, BucketResult, Renormalization, score_of
from marigraph.tables import buckets, influencers, records, score_bases

Values = dict[str, Any]

KEYS_PER_QUERY = 500
"""Scopes or buckets named in one statement; chosen: far below what any database takes as parameters."""

ROWS_PER_PAGE = 10_000
"""Bases changed at a time; chosen: some 10 MB, however many records an outage has written in a day."""

_COLUMNS = ("peak", "later_strength", "score")


def base_rows(job_id: str, result: BucketResult) -> list[Values]:
    """Make the rows that say what the scores of a bucket rest on."""
    scored = (
        *(("bucket_influencer", k, each.anomaly_score, each.basis) for k, each in enumerate(result.bucket_influencers)),
        *(("record", k, each.record_score, each.basis) for k, each in enumerate(result.records)),
        *(("influencer", k, each.influencer_score, each.basis) for k, each in enumerate(result.influencers)),
    )
    return [
        {
            "job_id": job_id,
            "timestamp": result.timestamp_ms,
            "result_type": result_type,
            "sequence": sequence,
            "score": score,
            **msgspec.structs.asdict(basis),
        }
        for result_type, sequence, score, basis in scored
        if basis is not None
    ]


def _touch(row: Values, each: Renormalization) -> None:
    """Apply a renormalisation to a row of its scope and window."""
    if each.scope is not None:
        height, strength = each.at(row["timestamp"])
        row["peak"] = max(row["peak"], height)
        row["later_strength"] = max(row["later_strength"], strength)
    row["score"] = score_of(Basis(**{name: row[name] for name in Basis.__struct_fields__}))


def _covers(each: Renormalization, timestamp: int) -> bool:
    return each.start_ms <= timestamp < each.end_ms


@dataclass(slots=True)
class PendingBases:
    """The bases of results that are not written yet, by scope and by bucket, each in order of time."""

    _by_scope: dict[str, list[Values]] = field(default_factory=dict)
    _by_bucket: dict[int, list[Values]] = field(default_factory=dict)
    _changed: set[int] = field(default_factory=set)

    def add(self, rows: Sequence[Values]) -> None:
        """Take the rows of the next bucket."""
        for row in rows:
            self._by_scope.setdefault(row["scope"], []).append(row)
        if rows:
            self._by_bucket[rows[0]["timestamp"]] = list(rows)

    def renormalize(self, each: Renormalization) -> None:
        """Apply a renormalisation to the rows that it is about."""
        for row in self._about(each):
            _touch(row, each)
            self._changed.add(row["timestamp"])

    def _about(self, each: Renormalization) -> Iterator[Values]:
        if each.scope is not None:
            for row in reversed(self._by_scope.get(each.scope, ())):
                if row["timestamp"] < each.start_ms:
                    return
                if row["timestamp"] < each.end_ms:
                    yield row
            return
        for timestamp in reversed(self._by_bucket):
            if timestamp < each.start_ms:
                return
            if timestamp < each.end_ms:
                yield from self._by_bucket[timestamp]

    def take_changed(self) -> set[int]:
        """Return the buckets with changed rows since this was last asked."""
        changed, self._changed = self._changed, set()
        return changed

    def of(self, is_kept: Callable[[int], bool]) -> "PendingBases":
        """Return what is left when the buckets whose start is not kept are dropped."""
        left = PendingBases()
        for timestamp, rows in self._by_bucket.items():
            if is_kept(timestamp):
                left.add(rows)
        left._changed = self._changed & left._by_bucket.keys()
        return left


def put_scores(result_type: str, bases: Iterable[Values], rows: dict[int, Values]) -> list[Values]:
    """Put the scores of bases of one type and bucket into the rows of their results; return the rows that changed.

    Parameters
    ----------
    rows : dict of int to dict
        By sequence; those of a bucket all lie in the one row of the bucket itself, under 0.
    """
    changed: dict[int, Values] = {}
    for basis in bases:
        sequence = 0 if result_type == "bucket_influencer" else basis["sequence"]
        row = changed.get(sequence) or {**rows[sequence], "body": msgspec.json.decode(rows[sequence]["body"])}
        body = row["body"]
        if result_type == "bucket_influencer":
            body["bucket_influencers"][basis["sequence"]]["anomaly_score"] = basis["score"]
            name, score = "anomaly_score", max(each["anomaly_score"] for each in body["bucket_influencers"])
        else:
            name, score = f"{result_type}_score", basis["score"]
        row[name] = body[name] = score
        changed[sequence] = row
    for row in changed.values():
        row["body"] = msgspec.json.encode(row["body"]).decode()
    return list(changed.values())


TABLES: dict[str, Table] = {"bucket_influencer": buckets, "record": records, "influencer": influencers}
"""Where the scores of each type of result lie."""


def renormalize_stored(connection: Connection, job_id: str, renormalizations: Sequence[Renormalization]) -> None:
    """Apply renormalisations to the results that are stored."""
    by_scope: dict[str, list[Renormalization]] = {}
    for each in renormalizations:
        if each.scope is not None:
            by_scope.setdefault(each.scope, []).append(each)
            continue
        _change(connection, job_id, _in_window([each]), lambda _scope, each=each: [each])
    for scopes in _chunks(by_scope):
        every = [each for scope in scopes for each in by_scope[scope]]
        _change(connection, job_id, [*_in_window(every), score_bases.c.scope.in_(scopes)], by_scope.__getitem__)


def _in_window(every: Sequence[Renormalization]) -> list[ColumnElement[bool]]:
    first, end = min(each.start_ms for each in every), max(each.end_ms for each in every)
    return [score_bases.c.timestamp >= first, score_bases.c.timestamp < end]


def _change(connection: Connection, job_id: str, where: list[ColumnElement[bool]], renormalizations_of: Any) -> None:
    for page in _pages(connection, [score_bases.c.job_id == job_id, *where]):
        changed, rescored = [], []
        for stored in page:
            row = dict(stored._mapping)
            for each in renormalizations_of(row["scope"]):
                if _covers(each, row["timestamp"]):
                    _touch(row, each)
            if any(row[name] != stored._mapping[name] for name in _COLUMNS):
                changed.append(row)
            if row["score"] != stored.score:
                rescored.append(row)
        _update(connection, score_bases, _COLUMNS, changed)
        _put_stored_scores(connection, job_id, rescored)


def _pages(connection: Connection, where: list[ColumnElement[bool]]) -> Iterator[Sequence[Row[Any]]]:
    """Read bases in the order of their keys, which no renormalisation changes."""
    key = (score_bases.c.timestamp, score_bases.c.result_type, score_bases.c.sequence)
    query = select(score_bases).where(*where).order_by(*key).limit(ROWS_PER_PAGE)
    page = connection.execute(query).all()
    while page:
        yield page
        if len(page) < ROWS_PER_PAGE:
            return
        last = tuple_(*(literal(getattr(page[-1], column.name)) for column in key))
        page = connection.execute(query.where(tuple_(*key) > last)).all()


def _put_stored_scores(connection: Connection, job_id: str, bases: list[Values]) -> None:
    for result_type, table in TABLES.items():
        of_bucket: dict[int, list[Values]] = {}
        for basis in bases:
            if basis["result_type"] == result_type:
                of_bucket.setdefault(basis["timestamp"], []).append(basis)
        columns = ["body", "anomaly_score" if table is buckets else f"{result_type}_score"]
        for timestamps in _chunks(of_bucket):
            query = select(table).where(table.c.job_id == job_id, table.c.timestamp.in_(timestamps))
            stored: dict[int, dict[int, Values]] = {}
            for row in connection.execute(query):
                stored.setdefault(row.timestamp, {})[_sequence(row)] = dict(row._mapping)
            changed = [
                row
                for timestamp in timestamps
                if timestamp in stored  # else retention is just dropping the bucket
                for row in put_scores(result_type, of_bucket[timestamp], stored[timestamp])
            ]
            _update(connection, table, columns, changed)


def _sequence(row: Row[Any]) -> int:
    return int(row._mapping.get("sequence", 0))


def _update(connection: Connection, table: Table, columns: Sequence[str], rows: list[Values]) -> None:
    """Write columns of rows that are stored."""
    if not rows:
        return
    keys = [column.name for column in table.primary_key]
    statement = update(table).where(*(table.c[name] == bindparam(f"key_{name}") for name in keys))
    named = [(f"key_{name}", name) for name in keys] + [(f"new_{name}", name) for name in columns]
    parameters = [{parameter: row[name] for parameter, name in named} for row in rows]
    connection.execute(statement.values({name: bindparam(f"new_{name}") for name in columns}), parameters)


def _chunks(keys: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(keys)
    while chunk := list(islice(iterator, KEYS_PER_QUERY)):
        yield chunk
