"""One what-if: replays the stored records and lifecycle events of a job under changes, into a file of its own.

The job's database is only read. What the job was told is repeated as it was (advance and skip times, resets, flushes,
reopenings); what it found out itself is found out anew (how far its results reached at a revert).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from sqlalchemy import Engine

from domain.job import Job
from domain.model import Model
from domain.model.hindsight import window_seconds
from domain.records import RecordSchema
from marigraph import __version__
from marigraph.application import Application
from marigraph.codec import Recorded
from marigraph.queries import require_job
from marigraph.replay import STATE_SCHEMA, CannotReplay, ModelFold, ModelSource
from marigraph.replay_plan import NEVER, Plan, begins_ms, find_beginning, plan_replay
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
        plan = plan_replay(
            self.source, self.job.created_version, self.to_version, self.window.from_ms, self.window.to_ms
        )
        folded, from_ms = self._begin(plan)
        first = folded.version + 1
        sink = ResultSink(engine, self.job.job_id)
        started, started_cpu = time.perf_counter(), time.process_time()
        n_records = self._replay(folded, plan, sink, on_records)
        self._look_behind(sink)
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

    def _begin(self, plan: Plan) -> tuple[ModelFold, int | None]:
        """Return the fold to go on from, and the time from which its results can be compared with the job's."""
        from_ms = self.window.from_ms
        if from_ms is not None or not plan.is_complete:
            folded = self._from_state(plan)
            if folded is not None:
                assert folded.model is not None
                end = folded.model.last_finalized_bucket_end_ms
                self.notes.append(f"began with the model state stored at version {folded.version}")
                return folded, max((each for each in (from_ms, end) if each is not None), default=None)
        folded = ModelFold(self.source, plan.created_version, None, plan.created_version - 1)
        return (folded, from_ms) if plan.is_complete else self._from_nothing(folded, plan)

    def _from_state(self, plan: Plan) -> ModelFold | None:
        """Return the fold at the nearest stored state that the changes let go on; None if there is none of use."""
        now = self.job.settings()
        if not goes_on(now, self.changes.applied(now)):
            return None
        found = find_beginning(ModelSource(self.app.store, self.app.codec, self.job.job_id), plan)
        if found is None:
            return None
        for version, model in found.targets.items():
            self._reconfigure(model)
            self.source.keep(ModelFold(self.source, plan.created_version, model, version))
        assert found.folded.model is not None
        self._reconfigure(found.folded.model)
        return ModelFold(self.source, plan.created_version, found.folded.model, found.folded.version)

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
        begins = (begins_ms(item.event) for item in self.source.events(folded.version, self.to_version))
        first = next((begin for begin in begins if begin != NEVER), None)
        return folded, max((each for each in (self.window.from_ms, first) if each is not None), default=None)

    # ------------------------------------------------------------------------------------------------- the replay

    def _replay(self, folded: ModelFold, plan: Plan, sink: ResultSink, on_records: Callable[[int], None]) -> int:
        """Replay from one event to the next that needs more than its fold; return how many records."""
        n_records = 0
        stops = {*plan.targets, *(version - 1 for version in plan.reverts), self.to_version}
        if folded.version in plan.targets:
            self.source.keep(folded)
        for stop in sorted(stop for stop in stops if stop >= folded.version):
            for items, outcome in self.source.advance(folded, stop):
                sink.add(outcome)
                n = sum(getattr(item.event, "record_count", 0) for item in items)
                n_records += n
                on_records(n)
                if self._is_over(folded, plan):
                    return n_records
            if stop in plan.targets:
                self.source.keep(folded)
            if stop + 1 in plan.reverts:
                [item] = self.source.events(stop, stop + 1)
                sink.add(folded.step(self._found_out_anew(item, folded)))
        return n_records

    def _look_behind(self, sink: ResultSink) -> None:
        """Take into account what lies behind the results that the job has."""
        behind = [item.event for item in ModelSource.events(self.source, self.to_version, self.job.version)]
        sink.add_unfolded(behind)
        if any(event.type in OF_THE_MODEL for event in behind):
            self.notes.append(
                f"ended with version {self.to_version}, which the job's results reach; {len(behind)} events after it "
                "are not analysed yet"
            )

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


def _model_bytes(model: Model | None) -> int | None:
    return None if model is None else int(model.size_stats()["model_bytes"])
