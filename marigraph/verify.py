"""Verify a job: replay it from the first event and compare everything that is stored with what comes out.

The replay writes its results into a scratch database, in the very way in which they are written live.

Compared are the hash chain, the job as its read model has it, every bucket, record and influencer, and every stored
state: itself, and what a replay that begins with it gives, bucket by bucket, up to the next stored state. Not compared:
processing times, which are of the run and not of the job, and what came of records that are no longer kept: then the
replay begins at the oldest state that is.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Connection, Engine, select
from sqlalchemy import Row as SqlRow

from domain.fold import Outcome
from domain.job import Job, Snapshot, evolve
from marigraph.application import Application
from marigraph.codec import Recorded, stream_of
from marigraph.replay import BEFORE_ALL_MS, STATE_SCHEMA, CannotReplay, ModelFold, ModelSource, Records
from marigraph.results import BucketRows, category_row, results_version
from marigraph.scratch import ResultSink, results_file
from marigraph.tables import RESULT_TABLES, categories

ROWS_PER_PAGE = 10_000


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison."""

    name: str
    holds: bool
    detail: str


@dataclass(slots=True)
class Report:
    """What a verification found."""

    job_id: str
    checks: list[Check] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether every check holds."""
        return all(check.holds for check in self.checks)

    def resource(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        checks = [{"name": c.name, "ok": c.holds, "detail": c.detail} for c in self.checks]
        return {"job_id": self.job_id, "ok": self.holds, "checks": checks}


def verify_job(app: Application, job_id: str, on_event: Callable[[], None] = lambda: None) -> Report:
    """Replay a job from zero and compare.

    Raises
    ------
    NotFound
        There is no such job now; the chain of a deleted one is checked with the whole log.
    """
    app.project()
    job = app.jobs.load(job_id)
    job.settings()
    report = Report(job_id)
    report.checks.append(_check_chain(app, job))
    with (
        TemporaryDirectory(prefix="marigraph-verify-") as folder,
        results_file(Path(folder) / "results.db") as scratch,
    ):
        replayed = Replayed(app, job, scratch)
        try:
            replayed.run(on_event)
        except CannotReplay as error:
            report.checks.append(Check("replay", False, str(error)))
            return report
        report.checks.append(_check_job(job, replayed.job))
        report.checks.append(_check_results(app, replayed))
    report.checks.extend(_check_categories(app, job, replayed.categories))
    report.checks.extend(replayed.snapshot_checks)
    return report


@dataclass(slots=True)
class Replayed:
    """A replay from zero, or from the oldest state behind which records are kept, as far as the results are written."""

    app: Application
    target: Job
    scratch: Engine
    """An empty database for the results."""
    job: Job = field(init=False)
    categories: list[dict[str, Any]] | None = None
    """The rows of the categories as far as the results are written; None for a job without messages."""
    results_to: int = 0
    results_from_ms: int = BEFORE_ALL_MS
    """Results of buckets that start earlier came of records that are no longer kept."""
    snapshot_checks: list[Check] = field(default_factory=list)
    _resumed: "_Resumed | None" = None

    def run(self, on_event: Callable[[], None]) -> None:
        """Replay, keeping digests of the results and comparing the states of snapshots on the way."""
        job_id = self.target.job_id
        self.results_to, _ = results_version(self.app.store, job_id)
        snapshots: dict[int, list[Snapshot]] = {}
        for snapshot in self.target.snapshots:
            snapshots.setdefault(snapshot.version, []).append(snapshot)
        # Where every record is kept nothing rests on stored states, that of a revert neither.
        uses_snapshots = self.target.payloads_dropped_to > 0
        source = ModelSource(self.app.store, self.app.codec, job_id, uses_snapshots=uses_snapshots)
        folded, self.results_from_ms = source.oldest(self.target)
        begun = folded.version
        stored = {row.version for row in self.app.store.list_snapshots(source.stream, STATE_SCHEMA)}
        sink = ResultSink(self.scratch, job_id)
        self.job = Job(job_id)
        for item, posted in source.steps(0, self.target.version):
            self.job = evolve(self.job, item.event, item.version, item.recorded_ms)
            on_event()
            if item.version > begun:
                outcome = folded.step(item, posted)
                if self._resumed is not None:
                    self._resumed.step(item, posted, outcome)
                if item.version <= self.results_to:
                    sink.add(outcome)
                elif outcome.deletes_before_ms is not None:  # carried out before it is folded
                    sink.add(Outcome(deletes_before_ms=outcome.deletes_before_ms))
                found = folded.model.categories if folded.model is not None else None
                if item.version == self.results_to and found is not None:
                    self.categories = [category_row(job_id, each) for each in found.resources()]
            for snapshot in snapshots.get(item.version, ()):
                self._compare(snapshot, folded if item.version > begun else None, source)
            if item.version in stored and begun < item.version < self.target.version:
                self._resume(source, folded)
        self._end_resumed(source, folded)
        sink.flush()

    def _resume(self, source: ModelSource, folded: ModelFold) -> None:
        """Begin another replay with the state that is stored here, beside the one from zero."""
        self._end_resumed(source, folded)
        model = None if folded.model is None else source.exact(folded.version)
        if model is not None:
            self._resumed = _Resumed(folded.version, ModelFold(source, folded.created_version, model, folded.version))

    def _end_resumed(self, source: ModelSource, folded: ModelFold) -> None:
        if self._resumed is not None:
            self.snapshot_checks.append(self._resumed.check(source, folded))
        self._resumed = None

    def _compare(self, snapshot: Snapshot, folded: ModelFold | None, source: ModelSource) -> None:
        name = f"snapshot {snapshot.snapshot_id}"
        if snapshot.state_schema != STATE_SCHEMA:
            detail = f"written by {snapshot.state_schema}; this program folds {STATE_SCHEMA} and rebuilds it"
            self.snapshot_checks.append(Check(name, True, detail))
            return
        model = source.exact(snapshot.version)
        stored = None if model is None else ModelFold(source, self.target.created_version, model, snapshot.version)
        is_right = stored is None or source.state_digest(stored).hex() == snapshot.state_digest
        if folded is not None and source.state_digest(folded).hex() != snapshot.state_digest:
            check = Check(name, False, "the replayed state differs from the one recorded")
        elif not is_right:
            check = Check(name, False, "the stored state differs from the one recorded")
        elif stored is None:
            check = Check(name, True, "its row is missing or damaged; a replay rebuilds it where records are kept")
        elif folded is None:
            check = Check(name, True, "is as recorded; records before it are no longer kept")
        else:
            check = Check(name, True, f"equals the replay up to version {snapshot.version}")
        self.snapshot_checks.append(check)


@dataclass(slots=True)
class _Resumed:
    """A replay that began with a stored state, beside the one from zero."""

    begun: int
    folded: ModelFold
    differs_at: int | None = None
    """First version at which it gave other results."""

    def step(self, item: Recorded, posted: Records, expected: Outcome) -> None:
        """Fold the next event, and compare what comes of it."""
        if self.folded.step(item, posted) != expected and self.differs_at is None:
            self.differs_at = item.version

    def check(self, source: ModelSource, folded: ModelFold) -> Check:
        """Compare the states in which both ended."""
        name = f"replay from version {self.begun}"
        if self.differs_at is not None:
            return Check(name, False, f"gives other results than the replay from zero at version {self.differs_at}")
        if folded.model is None or self.folded.model is None:
            is_same = folded.model is None and self.folded.model is None
        else:
            is_same = source.state_digest(self.folded) == source.state_digest(folded)
        if not is_same:
            return Check(name, False, f"ends in another state at version {folded.version} than the replay from zero")
        return Check(name, True, f"gives the same results and the same state up to version {folded.version}")


def _check_chain(app: Application, job: Job) -> Check:
    report = app.store.verify_chain(stream_of(job.job_id))
    if report.first_bad is not None:
        return Check("hash chain", False, f"version {report.first_bad.version}: {report.first_bad.what}")
    if report.unreadable is not None:
        return Check("hash chain", False, report.unreadable)
    first_kept = max(job.created_version, job.payloads_dropped_to + 1)
    missing = [item for item in report.missing_payloads if item.version >= first_kept]
    if missing:
        return Check("hash chain", False, f"the records of version {missing[0].version} are missing")
    return Check("hash chain", True, f"{report.n_events:,} events intact")


def _check_job(stored: Job, replayed: Job) -> Check:
    if stored == replayed:
        return Check("job", True, f"state, configuration and data counts as replayed to version {replayed.version}")
    differing = [name for name in Job.__struct_fields__ if getattr(stored, name) != getattr(replayed, name)]
    return Check("job", False, f"the stored job differs from the replayed one in {', '.join(differing)}")


def _check_results(app: Application, replayed: Replayed) -> Check:
    job_id, after_ms = replayed.target.job_id, replayed.results_from_ms - 1
    expected = _digests(replayed.scratch.connect, job_id, after_ms)
    stored = _digests(app.store.reading, job_id, after_ms)
    n_buckets = 0
    for wanted, found in zip_longest(expected, stored):
        if wanted != found:
            start = (wanted or found)[0]
            what = "is missing" if found is None or (wanted and found[0] > wanted[0]) else "differs from the replay"
            return Check("results", False, f"bucket {start} {what}")
        n_buckets += 1
    detail = f"{n_buckets:,} buckets with their records and influencers as replayed"
    if replayed.results_from_ms > BEFORE_ALL_MS:
        detail += "; not compared are those whose records are no longer kept"
    return Check("results", True, detail)


def _check_categories(app: Application, job: Job, expected: list[dict[str, Any]] | None) -> Iterator[Check]:
    if expected is None:
        return
    query = select(categories).where(categories.c.job_id == job.job_id).order_by(categories.c.category_id)
    with app.store.reading() as connection:
        found = [dict(row._mapping) for row in connection.execute(query)]
    nothing: dict[str, Any] = {}
    pairs = zip_longest(expected, found, fillvalue=nothing)
    bad = next(((wanted or got)["category_id"] for wanted, got in pairs if wanted != got), None)
    if bad is not None:
        yield Check("categories", False, f"category {bad} differs from the replay")
    else:
        yield Check("categories", True, f"{len(found):,} categories as replayed")


def _digest_of(rows: BucketRows) -> bytes:
    digest = hashlib.sha256()
    for name, row in _in_order(rows):
        digest.update(name.encode())
        for column in sorted(row):
            if column != "processing_time_ms":
                digest.update(f"{column}={row[column]!r};".encode())
    return digest.digest()


def _in_order(rows: BucketRows) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "buckets", rows.bucket
    for row in rows.records:
        yield "records", row
    for row in rows.influencers:
        yield "influencers", row
    for row in rows.bases:
        yield "score_bases", row
    for row in rows.plots:
        yield "model_plot", row


Reading = Callable[[], AbstractContextManager[Connection]]


def _digests(reading: Reading, job_id: str, after: int) -> Iterator[tuple[int, bytes]]:
    """Yield start and digest of each bucket that starts later, page by page; rows without a bucket come as one too."""
    while True:
        page = _page(reading, job_id, after)
        for start in sorted(page):
            yield start, _digest_of(page[start])
        if not page:
            return
        after = max(page)


def _page(reading: Reading, job_id: str, after: int) -> dict[int, BucketRows]:
    page: dict[int, BucketRows] = {}
    with reading() as connection:
        limit = None
        for table in RESULT_TABLES:
            of_job = (table.c.job_id == job_id, table.c.timestamp > after)
            query = select(table).where(*of_job).order_by(*table.primary_key)
            if limit is None:
                rows = connection.execute(query.limit(ROWS_PER_PAGE)).all()
                limit = rows[-1].timestamp if len(rows) == ROWS_PER_PAGE else None
                bounded = len(rows) == ROWS_PER_PAGE
            else:
                rows = connection.execute(query.where(table.c.timestamp <= limit)).all()
            for row in rows:
                _collect(page, table.name, row)
            if not bounded:
                limit = None
    return page


_LISTS: dict[str, Callable[[BucketRows], Any]] = {
    "records": lambda rows: rows.records,
    "influencers": lambda rows: rows.influencers,
    "score_bases": lambda rows: rows.bases,
    "model_plot": lambda rows: rows.plots,
}


def _collect(page: dict[int, BucketRows], table: str, row: SqlRow[Any]) -> None:
    values = dict(row._mapping)
    rows = page.setdefault(row.timestamp, BucketRows({}, [], [], [], []))
    if table == "buckets":
        rows.bucket = values
    else:
        _LISTS[table](rows).append(values)
