"""Results of a replay in a database file of their own, written in the very way in which they are written live.

Verifications, what-ifs and replays of bundles fill one; nothing in it needs to be durable before it is kept under a
name.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, func, insert, select

from domain.events import ResultsDropped
from domain.fold import Outcome
from domain.model import Model
from marigraph.results import PendingResults, category_row, write_pending
from marigraph.tables import RESULT_TABLES, categories, metadata

ROWS_PER_WRITE = 10_000
"""Result rows held back; chosen: some 10 MB."""
ROWS_PER_PAGE = 1_000

TABLES: tuple[Table, ...] = (*RESULT_TABLES, categories)
NOT_REPEATED = frozenset({"processing_time_ms"})
"""Columns that are of the run and not of the job."""

Reading = Callable[[], AbstractContextManager[Connection]]


@contextmanager
def results_file(path: Path) -> Iterator[Engine]:
    """Make a database file with empty tables of results."""
    engine = create_engine(URL.create("sqlite", database=str(path)))

    @event.listens_for(engine, "connect")
    def _fast(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    try:
        metadata.create_all(engine, list(TABLES))
        yield engine
    finally:
        engine.dispose()


@dataclass(slots=True)
class ResultSink:
    """Takes the outcomes of a replay in their order, and writes them."""

    engine: Engine
    job_id: str
    pending: PendingResults = field(init=False)

    def __post_init__(self) -> None:
        self.pending = PendingResults(self.job_id)

    def add(self, outcome: Outcome) -> None:
        """Take the outcome of the next event."""
        self.pending.add(outcome)
        if self.pending.n_rows >= ROWS_PER_WRITE:
            self.flush()

    def add_unfolded(self, events: Iterable[Any]) -> None:
        """Take what events do to results at once, before they are folded: those that retention drops."""
        for each in events:
            if each.type == ResultsDropped.type:
                self.add(Outcome(deletes_before_ms=each.before_ms))

    def finish(self, model: Model | None) -> None:
        """Write what is left, and the categories of the model."""
        self.flush()
        found = None if model is None else model.categories
        if found is not None and (rows := [category_row(self.job_id, each) for each in found.resources()]):
            with self.engine.begin() as connection:
                connection.execute(insert(categories), rows)

    def flush(self) -> None:
        """Write what is held back."""
        with self.engine.begin() as connection:
            write_pending(connection, self.pending)
        self.pending = PendingResults(self.job_id)


class TableDigest(msgspec.Struct, frozen=True):
    """What a table holds of a job: how many rows, and the SHA-256 over all of them in the order of their keys."""

    row_count: int
    digest: str


def digest_tables(
    connection: Connection, job_id: str, from_ms: int | None = None, to_ms: int | None = None
) -> dict[str, TableDigest]:
    """Return the digests of all result tables, equal wherever the rows are.

    Parameters
    ----------
    from_ms, to_ms : int or None
        Only of buckets that start in ``[from_ms, to_ms)``; categories have no time.
    """
    return {table.name: _digest(stored_rows(connection, table, job_id, from_ms, to_ms)) for table in TABLES}


def _digest(rows: Iterator[dict[str, Any]]) -> TableDigest:
    digest, count = sha256(), 0
    for row in rows:
        digest.update(msgspec.json.encode([row[name] for name in sorted(row) if name not in NOT_REPEATED]))
        count += 1
    return TableDigest(count, digest.hexdigest())


def stored_rows(
    connection: Connection, table: Table, job_id: str, from_ms: int | None = None, to_ms: int | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a job in the order of their keys."""
    query = select(table).where(table.c.job_id == job_id).order_by(*table.primary_key)
    if from_ms is not None and "timestamp" in table.c:
        query = query.where(table.c.timestamp >= from_ms)
    if to_ms is not None and "timestamp" in table.c:
        query = query.where(table.c.timestamp < to_ms)
    for row in connection.execute(query.execution_options(yield_per=ROWS_PER_PAGE)):
        yield dict(row._mapping)


def row_count(connection: Connection, job_id: str) -> int:
    """Return how many rows of results a job has."""
    counts = (select(func.count()).select_from(table).where(table.c.job_id == job_id) for table in TABLES)
    return sum(connection.scalar(count) or 0 for count in counts)


def pages(rows: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    """Cut rows into lists of a size, the last one shorter."""
    iterator = iter(rows)
    while page := list(islice(iterator, size)):
        yield page
