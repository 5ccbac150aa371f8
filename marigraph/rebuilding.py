"""Rebuilds read models from the log while the service answers: into a shadow first, then in one transaction.

The results of a job are replayed into a file of their own and compared with the stored ones; where they differ, the
rows are exchanged in one transaction that holds the job's checkpoint. Who reads meanwhile sees the old rows, whole;
what is analysed meanwhile is folded too before the exchange. Nothing has to be stopped, and nobody's lease is taken.

What is not of the log stays: processing times, and the results whose records are no longer kept.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from sqlalchemy import Connection, Engine, Table, delete, insert, select

from domain.errors import Conflict
from domain.job import Job
from marigraph.application import Application
from marigraph.codec import DATAFEED_PREFIX, JOB_PREFIX
from marigraph.queries import match_jobs
from marigraph.replay import AFTER_ALL_MS, ModelFold, ModelSource
from marigraph.results import category_row, read_timing_of, stats_row, subscriber_of
from marigraph.scratch import NOT_REPEATED, ResultSink, results_file, stored_rows
from marigraph.sql import upsert
from marigraph.tables import RESULT_TABLES, buckets, categories, job_stats

TRIES_MAX: Final = 5
"""Exchanges tried without holding the analysis up; then the last comparison is made while it waits."""

BUCKETS_PER_STATEMENT: Final = 500
"""Chosen: far below what any database takes as parameters, and some MB of rows."""

Row = dict[str, Any]
OnEvents = Callable[[int, int], None]
"""Told the events folded so far, and those there are."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What became of one job."""

    job_id: str
    event_count: int
    """Events replayed."""
    bucket_count: int
    """Buckets of which something differed and was exchanged."""
    was_job_changed: bool
    kept: str = ""
    """Why older results, or all of them, stayed as they were; empty if none did."""

    def resource(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        shown = {
            "job_id": self.job_id,
            "events": self.event_count,
            "buckets_changed": self.bucket_count,
            "job_changed": self.was_job_changed,
        }
        return {**shown, "kept": self.kept} if self.kept else shown


def rebuild(
    app: Application, expression: str | None, on_job: Callable[[str], None], on_events: OnEvents
) -> list[Rebuilt]:
    """Rebuild the read models of jobs and their results.

    Parameters
    ----------
    expression : str or None
        Which jobs; None: all of them, and datafeeds too.
    on_job : callable
        Told each job before it is rebuilt.
    on_events : callable
        Told how far the job at hand is.

    Raises
    ------
    NotFound
        There is no such job.
    Conflict
        A job that was named was deleted meanwhile, or its records are missing.
    """
    changed = set()
    if expression is None:
        changed = _rebuild_aggregates(app)
    matched = match_jobs(app, expression)
    found = []
    for job in matched:
        on_job(job.job_id)
        was_changed = job.job_id in changed or (expression is not None and app.jobs.rebuild(job.job_id))
        try:
            rebuilt = rebuild_results(app, app.jobs.load(job.job_id), on_events, was_job_changed=was_changed)
        except Conflict as error:  # records are missing, or the job is being deleted: of many jobs the others go on
            if expression is not None:
                raise
            rebuilt = Rebuilt(job.job_id, 0, 0, was_changed, error.reason)
        found.append(rebuilt)
    return found


def _rebuild_aggregates(app: Application) -> set[str]:
    """Fold every job and datafeed anew, those too whose rows are missing; return the jobs whose rows were not right."""
    streams = app.store.list_streams(JOB_PREFIX)
    changed = {job_id for name in streams if app.jobs.rebuild(job_id := name.removeprefix(JOB_PREFIX))}
    for name in app.store.list_streams(DATAFEED_PREFIX):
        app.datafeeds.rebuild(name.removeprefix(DATAFEED_PREFIX))
    app.project()
    return changed


def rebuild_results(app: Application, job: Job, on_events: OnEvents, *, was_job_changed: bool = False) -> Rebuilt:
    """Rebuild the results of one job; see the module.

    Raises
    ------
    Conflict
        The job was deleted, or made again, meanwhile.
    """
    with TemporaryDirectory(prefix="marigraph-rebuild-") as folder, results_file(Path(folder) / "shadow.db") as engine:
        shadow = Shadow(app, job, engine)
        if shadow.from_ms == AFTER_ALL_MS:
            return Rebuilt(job.job_id, 0, 0, was_job_changed, "the records that the results came of are not kept")
        for attempt in range(1, TRIES_MAX + 1):
            version = shadow.target_version()
            shadow.fold_to(version, on_events)
            changes = shadow.find_changes() if attempt < TRIES_MAX else None
            with app.store.transaction() as connection:
                moved = shadow.lock(connection)
                if changes is None:
                    shadow.fold_to(moved, on_events)
                    changes = shadow.find_changes()
                elif moved != version:
                    continue  # more was analysed meanwhile
                n_buckets = shadow.swap(connection, changes)
            return Rebuilt(job.job_id, shadow.n_events, n_buckets, was_job_changed, shadow.kept)
    msg = "the last attempt holds the analysis up and cannot come too late"
    raise AssertionError(msg)


Changes = dict[str, list[int]]
"""By table: starts of the buckets whose rows differ."""


@dataclass(slots=True)
class Shadow:
    """The results of a job as a replay gives them, beside those that are stored."""

    app: Application
    job: Job
    engine: Engine
    n_events: int = 0
    from_ms: int = field(init=False)
    """Results of buckets that start earlier cannot be rebuilt."""
    _source: ModelSource = field(init=False)
    _folded: ModelFold = field(init=False)
    _sink: ResultSink = field(init=False)

    def __post_init__(self) -> None:
        self._source = ModelSource(
            self.app.store, self.app.codec, self.job.job_id, uses_snapshots=self.job.payloads_dropped_to > 0
        )
        self._folded, self.from_ms = self._source.oldest(self.job)
        self._sink = ResultSink(self.engine, self.job.job_id)

    @property
    def kept(self) -> str:
        """Why older results stay as they are."""
        if self.job.payloads_dropped_to == 0:
            return ""
        return f"results from before {self.from_ms} stay: records up to version {self.job.payloads_dropped_to} are gone"

    def target_version(self) -> int:
        """Return the version up to which results are written now; where nothing says so, that of the job."""
        written = self.app.store.read_checkpoint(subscriber_of(self.job.job_id))
        return max(written, self._folded.version) if written else self.app.jobs.load(self.job.job_id).version

    def fold_to(self, version: int, on_events: OnEvents) -> None:
        """Fold up to a version."""
        begun = self._folded.version - self.n_events
        for items, outcome in self._source.advance(self._folded, version):
            self._sink.add(outcome)
            self.n_events += len(items)
            on_events(self.n_events, version - begun)
        self._sink.finish(None)

    def lock(self, connection: Connection) -> int:
        """Let no results of the job be written until the transaction ends; return up to where they are."""
        subscriber = subscriber_of(self.job.job_id)
        written = self.app.store.lock_checkpoint(connection, subscriber)
        now = self.app.jobs.load(self.job.job_id)
        if now.created_version != self.job.created_version or now.erased_version != self.job.erased_version:
            msg = f"job [{self.job.job_id}] was deleted, erased or made again meanwhile; nothing was exchanged"
            raise Conflict(msg)
        if written is not None:
            return written
        self.app.store.write_checkpoint(connection, subscriber, 0, self._folded.version)
        return self._folded.version

    # ------------------------------------------------------------------------------------------------- comparison

    def find_changes(self) -> Changes:
        """Compare the shadow with what is stored, row by row."""
        self._drop_as_told()
        with self.engine.connect() as wanted, self.app.store.reading() as found:
            return {table.name: list(self._differing(table, wanted, found)) for table in RESULT_TABLES}

    def _drop_as_told(self) -> None:
        """Drop what retention dropped before it was folded."""
        events = self._source.events_of("results_dropped", self._folded.version)
        before_ms = max((event.before_ms for event in events), default=None)
        if before_ms is not None:
            with self.engine.begin() as connection:
                for table in RESULT_TABLES:
                    connection.execute(delete(table).where(table.c.timestamp < before_ms))

    def _differing(self, table: Table, wanted: Connection, found: Connection) -> Iterator[int]:
        names = [column.name for column in table.primary_key if column.name != "job_id"]

        def key(row: Row) -> tuple[Any, ...]:
            return tuple(row[name] for name in names)

        last = None
        rows, others = (stored_rows(each, table, self.job.job_id, self.from_ms) for each in (wanted, found))
        for new, old in _aligned(rows, others, key):
            row = new or old
            assert row is not None
            if row["timestamp"] != last and not _is_same(new, old):
                last = row["timestamp"]
                yield last

    # --------------------------------------------------------------------------------------------------- exchange

    def swap(self, connection: Connection, changes: Changes) -> int:
        """Put the shadow's rows where they differ; return of how many buckets."""
        for table in RESULT_TABLES:
            starts = iter(changes[table.name])
            while some := list(islice(starts, BUCKETS_PER_STATEMENT)):
                self._exchange(connection, table, some)
        model = self._folded.model
        if model is not None:
            self._exchange_categories(connection)
            timing = read_timing_of(connection, self.job.job_id)
            upsert(connection, job_stats, [stats_row(self.job.job_id, model, timing)])
        return len({start for starts in changes.values() for start in starts})

    def _exchange(self, connection: Connection, table: Table, starts: Sequence[int]) -> None:
        of_buckets = (table.c.job_id == self.job.job_id, table.c.timestamp.in_(starts))
        took: dict[int, int] = {}
        if table is buckets:
            query = select(table.c.timestamp, table.c.processing_time_ms).where(*of_buckets)
            took = {start: milliseconds for start, milliseconds in connection.execute(query)}
        connection.execute(delete(table).where(*of_buckets))
        with self.engine.connect() as shadow:
            rows = [dict(row._mapping) for row in shadow.execute(select(table).where(*of_buckets))]
        for row in rows if table is buckets else ():
            row["processing_time_ms"] = took.get(row["timestamp"], 0)
        if rows:
            connection.execute(insert(table), rows)

    def _exchange_categories(self, connection: Connection) -> None:
        assert self._folded.model is not None
        found = self._folded.model.categories
        wanted = [category_row(self.job.job_id, each) for each in found.resources()] if found is not None else []
        if wanted != list(stored_rows(connection, categories, self.job.job_id)):
            connection.execute(delete(categories).where(categories.c.job_id == self.job.job_id))
            if wanted:
                connection.execute(insert(categories), wanted)


def _aligned(
    wanted: Iterator[Row], found: Iterator[Row], key: Callable[[Row], tuple[Any, ...]]
) -> Iterator[tuple[Row | None, Row | None]]:
    """Pair the rows of two lists that are ordered by their keys."""
    new, old = next(wanted, None), next(found, None)
    while new is not None or old is not None:
        if old is None or (new is not None and key(new) < key(old)):
            yield new, None
            new = next(wanted, None)
        elif new is None or key(old) < key(new):
            yield None, old
            old = next(found, None)
        else:
            yield new, old
            new, old = next(wanted, None), next(found, None)


def _is_same(new: Row | None, old: Row | None) -> bool:
    return (
        new is not None
        and old is not None
        and all(old[name] == value for name, value in new.items() if name not in NOT_REPEATED)
    )
