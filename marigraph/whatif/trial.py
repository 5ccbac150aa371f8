"""One what-if: replays the stored records and lifecycle events of a job under changes, into a file of its own.

The job's database is only read. What the job was told is repeated as it was (advance and skip times, resets, flushes,
reopenings); what it found out itself is found out anew (how far its results reached at a revert).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Engine, select

from domain.job import Job
from domain.model import Model
from domain.model.hindsight import window_seconds
from domain.records import RecordSchema
from eventstore.tables import payloads, streams
from marigraph import __version__
from marigraph.application import Application
from marigraph.codec import Recorded
from marigraph.queries import require_job
from marigraph.replay import STATE_SCHEMA, CannotReplay, ModelFold, ModelSource
from marigraph.results import results_version
from marigraph.scratch import ResultSink, digest_tables, results_file, row_count
from marigraph.whatif.changes import Changes, analysis_of, goes_on
from marigraph.whatif.runs import Cost, Run, write_run
from marigraph.whatif.source import ChangedSource

OF_THE_MODEL = frozenset({"data_posted", "flushed", "snapshot_reverted"})
"""Events that an empty model which begins later passes over; configurations it follows."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which buckets are wanted, by their start in milliseconds since the epoch; None: without bound."""

    from_ms: int | None = None
    to_ms: int | None = None


EVERY_BUCKET = Window()


def run_trial(
    app: Application,
    job_id: str,
    changes: Changes,
    path: Path,
    window: Window = EVERY_BUCKET,
    *,
    on_records: Callable[[int], None] = lambda _n: None,
) -> Run:
    """Replay a job under changes.

    Parameters
    ----------
    path : Path
        The file that is made of the results.
    window : Window
        With a start, the replay begins at the nearest stored state before it, if the changes let a model go on; with
        an end, it ends where nothing can change those buckets any more.
    on_records : callable
        Told how many records were replayed since it was last called.

    Raises
    ------
    DomainError
        There is no such job, the changes break a rule of the API, or the records do not hold what they need.
    CannotReplay
        The records are no longer kept.
    """
    job = require_job(app, job_id)
    to_version, _end = results_version(app.store, job_id)
    with results_file(path) as engine:
        run = _Trial(app, job, changes, window, min(to_version, job.version)).run(engine, on_records)
        write_run(engine, run)
    return run


@dataclass(slots=True)
class Plan:
    """What the events alone say of a replay.

    Attributes
    ----------
    targets : set of int
        Versions that the job goes back to.
    complete_from : int
        From this version on all records are kept.
    first : int
        The first event that may end a bucket of the window.
    last : int
        The last event that may say anything of a bucket of the window, but for scores that come later.
    """

    targets: set[int]
    complete_from: int
    first: int
    last: int


@dataclass(slots=True)
class _Trial:
    app: Application
    job: Job
    changes: Changes
    window: Window
    to_version: int
    source: ChangedSource = field(init=False)
    notes: list[str] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.source = ChangedSource(self.app.store, self.app.codec, self.job.job_id, changes=self.changes)

    def run(self, engine: Engine, on_records: Callable[[int], None]) -> Run:
        """Replay, and say what came of it."""
        changed = self.changes.applied(self.job.settings())
        self.source.reads(RecordSchema.of(changed))
        plan = self._plan()
        folded, from_ms = self._begin(plan)
        first = folded.version + 1
        sink = ResultSink(engine, self.job.job_id)
        started, started_cpu = time.perf_counter(), time.process_time()
        n_records = self._replay(folded, plan, sink, on_records)
        sink.finish(folded.model)
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - started_cpu
        with engine.connect() as connection:
            results = digest_tables(connection, self.job.job_id, from_ms, self.window.to_ms)
            n_rows = row_count(connection, self.job.job_id)
        model = folded.model
        return Run(
            job_id=self.job.job_id,
            created_ms=self.app.now_ms(),
            changes=[str(setting) for setting in self.changes.settings],
            analysis=analysis_of(changed),
            from_version=first,
            to_version=folded.version,
            compared_from_ms=from_ms,
            compared_to_ms=self.window.to_ms,
            cost=Cost(n_records, n_rows, _model_bytes(model), seconds, cpu_seconds),
            marigraph_version=__version__,
            state_schema=STATE_SCHEMA,
            state_digest=None if model is None else model.digest().hex(),
            results=results,
            notes=self.notes,
        )

    # ------------------------------------------------------------------------------------------------ before it

    def _plan(self) -> Plan:
        created = self.job.created_version
        kept = self._kept_payloads()
        plan = Plan(set(), created, self.to_version + 1, 0)
        for item in ModelSource.events(self.source, created - 1, self.to_version):
            event = item.event
            if event.type == "erased":
                msg = f"the records of job [{self.job.job_id}] were erased: there is nothing to replay"
                raise CannotReplay(msg)
            if event.type == "snapshot_reverted":
                plan.targets.add(event.version)
                plan.last = item.version
            elif item.payload_digest is not None and item.payload_digest not in kept:
                plan.complete_from = item.version + 1
            reached = _reaches_ms(event)
            if reached is not None:
                if self.window.from_ms is not None and reached >= self.window.from_ms:
                    plan.first = min(plan.first, item.version)
                if self.window.to_ms is None or _begins_ms(event) < self.window.to_ms:
                    plan.last = item.version
        return plan

    def _kept_payloads(self) -> set[bytes]:
        query = select(payloads.c.digest).join(streams, streams.c.id == payloads.c.stream_id)
        with self.app.store.reading() as connection:
            return set(connection.scalars(query.where(streams.c.name == self.source.stream)))

    def _begin(self, plan: Plan) -> tuple[ModelFold, int | None]:
        """Return the fold to go on from, and the time from which its results can be compared with the job's."""
        created, from_ms = self.job.created_version, self.window.from_ms
        is_complete = plan.complete_from == created
        if from_ms is not None or not is_complete:
            folded = self._from_state(plan)
            if folded is not None:
                assert folded.model is not None
                end = folded.model.last_finalized_bucket_end_ms
                self.notes.append(f"began with the model state stored at version {folded.version}")
                return folded, max((each for each in (from_ms, end) if each is not None), default=None)
        folded = ModelFold(self.source, created, None, created - 1)
        if is_complete:
            return folded, from_ms
        return self._from_nothing(folded, plan)

    def _from_state(self, plan: Plan) -> ModelFold | None:
        """Return the fold at the nearest stored state that the changes let go on; None if there is none of use."""
        now = self.job.settings()
        if not goes_on(now, self.changes.applied(now)):
            return None
        stored = ModelSource(self.app.store, self.app.codec, self.job.job_id)
        limit = self.to_version if self.window.from_ms is None else min(plan.first - 1, self.to_version)
        found = stored.nearest(limit, self.job.created_version)
        if found.model is None or found.version < plan.complete_from - 1:
            return None
        for version in plan.targets:
            if version < found.version and not self._take_over(stored, version):
                return None
        self._reconfigure(found.model)
        return ModelFold(self.source, self.job.created_version, found.model, found.version)

    def _take_over(self, stored: ModelSource, version: int) -> bool:
        """Keep a stored state that the job goes back to later."""
        model = stored.exact(version)
        if model is None:
            return False
        self._reconfigure(model)
        self.source.keep(ModelFold(self.source, self.job.created_version, model, version))
        return True

    def _reconfigure(self, model: Model) -> None:
        if self.changes:
            model.reconfigure(self.changes.applied(model.config))

    def _from_nothing(self, folded: ModelFold, plan: Plan) -> tuple[ModelFold, int | None]:
        """Begin with an empty model where records are kept again."""
        if plan.complete_from > self.to_version:
            msg = f"the records of job [{self.job.job_id}] are no longer kept: there is nothing to replay"
            raise CannotReplay(msg)
        for item in self.source.events(folded.version, plan.complete_from - 1):
            if item.event.type in OF_THE_MODEL:
                folded.version = item.version
            else:
                folded.step(item)
        self.notes.append(
            f"began with an empty model at version {plan.complete_from}: the records before are no longer kept, so the "
            "first scores are those of a young model"
        )
        begins = (_begins_ms(item.event) for item in self.source.events(folded.version, self.to_version))
        first = next((begin for begin in begins if begin != _NEVER), None)
        return folded, max((each for each in (self.window.from_ms, first) if each is not None), default=None)

    # ------------------------------------------------------------------------------------------------- the replay

    def _replay(self, folded: ModelFold, plan: Plan, sink: ResultSink, on_records: Callable[[int], None]) -> int:
        n_records = 0
        if folded.version in plan.targets:
            self.source.keep(folded)
        for item, records in self.source.steps(folded.version, self.to_version):
            if self._is_over(folded, plan):
                break
            sink.add(folded.step(self._found_out_anew(item, folded), records))
            if item.version in plan.targets:
                self.source.keep(folded)
            n = getattr(item.event, "record_count", 0)
            n_records += n
            on_records(n)
        return n_records

    def _found_out_anew(self, item: Recorded, folded: ModelFold) -> Recorded:
        """Put into a revert what this run knows: where its own results ended, then and now."""
        event = item.event
        if event.type != "snapshot_reverted" or not self.changes:
            return item
        assert folded.model is not None
        kept = self.source.kept.get(event.version)
        skip = None if event.delete_intervening_results else folded.model.last_finalized_bucket_end_ms
        latest = event.latest_result_ms if kept is None else kept.latest_result_ms
        return item._replace(event=msgspec.structs.replace(event, skip_time_ms=skip, latest_result_ms=latest))

    def _is_over(self, folded: ModelFold, plan: Plan) -> bool:
        """Tell whether nothing that comes can change a bucket of the window."""
        to_ms, model = self.window.to_ms, folded.model
        if to_ms is None or model is None or folded.version < plan.last:
            return False
        end = model.last_finalized_bucket_end_ms
        config = model.config
        later = window_seconds(config.renormalization_window_days, config.bucket_span_seconds)
        return end is not None and end >= to_ms + 1000 * later


_NEVER = 1 << 62


def _begins_ms(event: Any) -> int:
    """Return the earliest time that an event has something to say of."""
    if event.type == "data_posted" and event.earliest_record_ms is not None:
        return int(event.earliest_record_ms)
    return _NEVER


def _reaches_ms(event: Any) -> int | None:
    """Return the latest time that an event brings the analysis to; None if it brings it nowhere."""
    if event.type == "data_posted":
        return None if event.latest_record_ms is None else int(event.latest_record_ms)
    if event.type == "flushed":
        times = [each for each in (event.advance_time_ms, event.skip_time_ms) if each is not None]
        return max(times, default=None)
    return None


def _model_bytes(model: Model | None) -> int | None:
    return None if model is None else int(model.size_stats()["model_bytes"])
