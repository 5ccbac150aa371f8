"""Copies a whole log into an empty database of either kind, and proves that the copy equals its source.

Ids, versions, positions and hashes stay as they are. The copy is one transaction: broken off, it leaves the
target empty. It is taken from one consistent view of the source, which may be written to meanwhile.
Checkpoints are not copied, since the rows they stand for are not: projections build theirs anew. Leases
come as released, so that epochs go on rising.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import Connection, Row, Select, Table, func, insert, select, text, tuple_
from sqlalchemy.exc import DBAPIError

from eventstore.errors import CopyRefused
from eventstore.store import EventStore
from eventstore.tables import events, leases, metadata, payloads, seal_contents, seals, snapshots, stream_keys, streams
from eventstore.verify import ChainReport

PAGE_ROWS = 1_000
PAGE_BODIES = 20  # rows with a body per page; a body is some MB at most
COPIED: tuple[tuple[Table, int], ...] = (
    (streams, PAGE_ROWS),
    (payloads, PAGE_BODIES),
    (events, PAGE_ROWS),
    (snapshots, PAGE_BODIES),
    (stream_keys, PAGE_ROWS),
    (leases, PAGE_ROWS),
    (seals, PAGE_ROWS),
    (seal_contents, PAGE_BODIES),
)
SEQUENCES = (("streams", "id"), ("events", "position"), ("seals", "id"))

Progress: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What was copied, by table, and the verification of the target."""

    n_rows: dict[str, int]
    chain: ChainReport


def copy_log(source: EventStore, target: EventStore, progress: Progress | None = None) -> CopyReport:
    """Copy all streams, events, payloads, snapshots, keys, lease epochs and seals.

    Parameters
    ----------
    progress : callable, optional
        Told the rows done and the rows there are, after each page.

    Raises
    ------
    CopyRefused
        The target has rows, or what lies there after the copy does not verify.
    """
    n_rows: dict[str, int] = {}
    try:
        with consistent_view(source) as reading, target.transaction() as writing:
            _check_empty(writing)
            counts = {table.name: _count(reading, table) for table, _ in COPIED}
            total = sum(counts.values())
            for table, page in COPIED:
                n_rows[table.name] = 0
                for rows in _pages(reading, table, page):
                    writing.execute(insert(table), [_adapt(table, row) for row in rows])
                    n_rows[table.name] += len(rows)
                    if progress is not None:
                        progress(sum(n_rows.values()), total)
            assert n_rows == counts, "a consistent view has as many rows as it counted"
            _move_sequences(writing)
    except DBAPIError as error:
        raise (source.backend.wrap(error) or error) from error
    return CopyReport(n_rows, _verified(target, n_rows))


@contextmanager
def consistent_view(store: EventStore) -> Iterator[Connection]:
    """Give a connection that sees the log as it is now, whatever is appended meanwhile."""
    if store.dialect == "sqlite":
        with store.reading() as connection:
            connection.execute(select(func.count()).select_from(streams))  # begins SQLAlchemy's transaction
            driver = connection.connection.driver_connection
            assert driver is not None
            if not driver.in_transaction:
                driver.execute("BEGIN")
            yield connection
            connection.rollback()
    else:
        with store.engine.connect() as connection:
            yield connection.execution_options(isolation_level="REPEATABLE READ")


def _check_empty(connection: Connection) -> None:
    filled = [table.name for table in metadata.sorted_tables if _count(connection, table)]
    if filled:
        msg = f"the target of a copy must be empty, it has rows in {', '.join(filled)}"
        raise CopyRefused(msg)


def _count(connection: Connection, table: Table) -> int:
    return connection.scalar(select(func.count()).select_from(table)) or 0


def _pages(connection: Connection, table: Table, page: int) -> Iterator[list[Row[Any]]]:
    key = list(table.primary_key.columns)
    query: Select[Any] = select(table).order_by(*key).limit(page)
    rows = list(connection.execute(query))
    while rows:
        yield rows
        last = tuple(getattr(rows[-1], column.name) for column in key)
        rows = list(connection.execute(query.where(tuple_(*key) > tuple_(*last))))


def _adapt(table: Table, row: Row[Any]) -> dict[str, Any]:
    values = {column.name: row._mapping[column.name] for column in table.columns if column.computed is None}
    if table is leases:
        values["expires_at"] = 0
    return values


def _move_sequences(connection: Connection) -> None:
    if connection.dialect.name != "postgresql":
        return  # SQLite's AUTOINCREMENT follows what is inserted
    for table, column in SEQUENCES:
        connection.execute(
            text(f"SELECT setval('{table}_{column}_seq', max({column})) FROM {table} HAVING max({column}) IS NOT NULL")
        )


def _verified(target: EventStore, n_rows: dict[str, int]) -> ChainReport:
    report = target.verify_chain()
    if not report.is_intact or report.n_events != n_rows["events"]:
        found = report.first_bad or report.unreadable or f"{report.n_events} events"
        msg = f"the copy does not verify: {found}; drop the target"
        raise CopyRefused(msg)
    return report
