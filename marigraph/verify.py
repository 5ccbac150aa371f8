"""Verify a job: replay it from the first event and compare everything that is stored with what comes out.

Compared are the hash chain, the job as its read model has it, every bucket, record and influencer, and the state of
every snapshot. Not compared: processing times, which are of the run and not of the job.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from sqlalchemy import Row as SqlRow
from sqlalchemy import select

from domain.job import Job, Snapshot, evolve
from marigraph.application import Application
from marigraph.codec import stream_of
from marigraph.replay import STATE_SCHEMA, CannotReplay, ModelSource
from marigraph.results import BucketRows, PendingResults, category_row, results_version
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
    replayed = Replayed(app, job)
    try:
        replayed.run(on_event)
    except CannotReplay as error:
        report.checks.append(Check("replay", False, str(error)))
        return report
    report.checks.append(_check_job(job, replayed.job))
    report.checks.append(_check_results(app, job, replayed))
    report.checks.extend(_check_categories(app, job, replayed.categories))
    report.checks.extend(replayed.snapshot_checks)
    return report


@dataclass(slots=True)
class Replayed:
    """A replay from zero, as far as the results are written."""

    app: Application
    target: Job
    job: Job = field(init=False)
    buckets: dict[int, bytes] = field(default_factory=dict)
    """Start of each bucket, in ms, to the digest of all its rows."""
    interim: dict[int, bytes] = field(default_factory=dict)
    categories: list[dict[str, Any]] | None = None
    """The rows of the categories as far as the results are written; None for a job without messages."""
    results_to: int = 0
    snapshot_checks: list[Check] = field(default_factory=list)

    def run(self, on_event: Callable[[], None]) -> None:
        """Replay, keeping digests of the results and comparing the states of snapshots on the way."""
        job_id = self.target.job_id
        self.results_to, _ = results_version(self.app.store, job_id)
        snapshots: dict[int, list[Snapshot]] = {}
        for snapshot in self.target.snapshots:
            snapshots.setdefault(snapshot.version, []).append(snapshot)
        source = ModelSource(self.app.store, self.app.codec, job_id, uses_snapshots=False)
        stored = ModelSource(self.app.store, self.app.codec, job_id)
        folded = source.nearest(0, self.target.created_version)
        self.job = Job(job_id)
        for item in source.events(0, self.target.version):
            self.job = evolve(self.job, item.event, item.version, item.recorded_ms)
            on_event()
            if item.version < self.target.created_version:
                continue
            outcome = folded.step(item)
            if item.version <= self.results_to:
                pending = PendingResults(job_id)
                pending.add(outcome)
                self._apply(pending)
                found = folded.model.categories if folded.model is not None else None
                if item.version == self.results_to and found is not None:
                    self.categories = [category_row(job_id, each) for each in found.resources()]
            for snapshot in snapshots.get(item.version, ()):
                assert folded.model is not None
                self._compare(snapshot, folded.model.digest(), stored)

    def _apply(self, pending: PendingResults) -> None:
        if pending.deletes_all:
            self.buckets.clear()
        if pending.deletes_after_ms is not None:
            limit = pending.deletes_after_ms
            self.buckets = {start: digest for start, digest in self.buckets.items() if start <= limit}
        if pending.deletes_interim:
            self.interim.clear()
        for rows in pending.final:
            self.buckets[rows.bucket["timestamp"]] = _digest_of(rows)
        for rows in pending.interim:
            self.interim[rows.bucket["timestamp"]] = _digest_of(rows)

    def _compare(self, snapshot: Snapshot, digest: bytes, stored: ModelSource) -> None:
        name = f"snapshot {snapshot.snapshot_id}"
        if snapshot.state_schema != STATE_SCHEMA:
            detail = f"written by {snapshot.state_schema}; this program folds {STATE_SCHEMA} and rebuilds it"
            self.snapshot_checks.append(Check(name, True, detail))
            return
        if snapshot.state_digest != digest.hex():
            self.snapshot_checks.append(Check(name, False, "the replayed state differs from the one recorded"))
            return
        model = stored.exact(snapshot.version)
        if model is None:
            self.snapshot_checks.append(Check(name, True, "its row is missing or damaged; a replay rebuilds it"))
        elif model.digest() != digest:
            self.snapshot_checks.append(Check(name, False, "the stored state differs from the replayed one"))
        else:
            self.snapshot_checks.append(Check(name, True, f"equals the replay up to version {snapshot.version}"))


def _check_chain(app: Application, job: Job) -> Check:
    report = app.store.verify_chain(stream_of(job.job_id))
    if report.first_bad is not None:
        return Check("hash chain", False, f"version {report.first_bad.version}: {report.first_bad.what}")
    missing = [item for item in report.missing_payloads if item.version >= job.created_version]
    if missing:
        return Check("hash chain", False, f"the records of version {missing[0].version} are missing")
    return Check("hash chain", True, f"{report.n_events:,} events intact")


def _check_job(stored: Job, replayed: Job) -> Check:
    if stored == replayed:
        return Check("job", True, f"state, configuration and data counts as replayed to version {replayed.version}")
    differing = [name for name in Job.__struct_fields__ if getattr(stored, name) != getattr(replayed, name)]
    return Check("job", False, f"the stored job differs from the replayed one in {', '.join(differing)}")


def _check_results(app: Application, job: Job, replayed: Replayed) -> Check:
    expected = sorted({**replayed.buckets, **replayed.interim}.items())
    n_buckets = 0
    for wanted, found in zip_longest(expected, _stored_digests(app, job.job_id)):
        if wanted != found:
            start = (wanted or found)[0]
            what = "is missing" if found is None or (wanted and found[0] > wanted[0]) else "differs from the replay"
            return Check("results", False, f"bucket {start} {what}")
        n_buckets += 1
    return Check("results", True, f"{n_buckets:,} buckets with their records and influencers as replayed")


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


def _stored_digests(app: Application, job_id: str) -> Iterator[tuple[int, bytes]]:
    """Yield start and digest of each stored bucket, page by page of time; rows without a bucket come as one too."""
    after = None
    while True:
        page = _stored_page(app, job_id, after)
        for start in sorted(page):
            yield start, _digest_of(page[start])
        if not page:
            return
        after = max(page)


def _stored_page(app: Application, job_id: str, after: int | None) -> dict[int, BucketRows]:
    page: dict[int, BucketRows] = {}
    with app.store.reading() as connection:
        limit = None
        for table in RESULT_TABLES:
            query = select(table).where(table.c.job_id == job_id).order_by(*table.primary_key)
            if after is not None:
                query = query.where(table.c.timestamp > after)
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


def _collect(page: dict[int, BucketRows], table: str, row: SqlRow[Any]) -> None:
    values = dict(row._mapping)
    rows = page.setdefault(row.timestamp, BucketRows({}, [], []))
    if table == "buckets":
        rows.bucket = values
    else:
        getattr(rows, table).append(values)
