"""What a what-if tells: a run beside what the job itself made of its records, or two runs beside each other."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from domain.errors import InvalidArgument
from marigraph.application import Application
from marigraph.queries import require_job
from marigraph.replay import ModelSource
from marigraph.schema import shown
from marigraph.scratch import digest_tables, row_count
from marigraph.tables import job_stats
from marigraph.whatif import runs
from marigraph.whatif.changes import Changes, analysis_of
from marigraph.whatif.comparison import ANOMALY_SCORE, Difference, Side, compare
from marigraph.whatif.runs import Cost, Run
from marigraph.whatif.trial import EVERY_BUCKET, Window, run_trial

SCRATCH_PREFIX = "marigraph-whatif-"


@dataclass(frozen=True, slots=True)
class Report:
    """A difference, and what it is between.

    Attributes
    ----------
    before : Run or None
        None: what the job itself made of its records.
    is_equal : bool
        Whether every row of the results is the same to the last bit.
    is_state_equal : bool or None
        Whether the model's state is, where that was asked; None: the analysis was another.
    """

    run: Run
    before: Run | None
    before_cost: Cost
    difference: Difference
    is_equal: bool
    is_state_equal: bool | None = None

    def resource(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return {
            "job_id": self.run.job_id,
            "run": run_resource(self.run),
            "before": None if self.before is None else run_resource(self.before),
            "cost": {"before": _cost(self.before_cost), "after": _cost(self.run.cost)},
            "results_equal": self.is_equal,
            "state_equal": self.is_state_equal,
            "difference": self.difference.resource(),
        }


def run_resource(run: Run) -> dict[str, Any]:
    """Return what is known of a run as JSON-able values."""
    resource: dict[str, Any] = msgspec.to_builtins(run)
    resource["cost"] = _cost(run.cost)
    return resource


def _cost(cost: Cost) -> dict[str, Any]:
    resource: dict[str, Any] = msgspec.to_builtins(cost)
    return {**resource, "records_per_second": cost.records_per_second}


def what_if(
    app: Application,
    job_id: str,
    changes: Changes,
    *,
    window: Window = EVERY_BUCKET,
    minimum_score: float = ANOMALY_SCORE,
    name: str | None = None,
    trial: Callable[[Path], Run] | None = None,
    on_records: Callable[[int], None] = lambda _n: None,
) -> Report:
    """Replay a job under changes, and compare with what it made of its records itself.

    Parameters
    ----------
    name : str or None
        Keeps the run under this name.
    trial : callable or None
        Makes the run in a file, instead of this program's own engine.

    Raises
    ------
    DomainError, CannotReplay
        See ``run_trial``; AlreadyExists for a name that is taken.
    """
    if name is not None:
        runs.new_path(name)
    with TemporaryDirectory(prefix=SCRATCH_PREFIX) as folder:
        path = Path(folder) / "run.db"
        if trial is None:
            run = run_trial(app, job_id, changes, path, window, on_records=on_records)
        else:
            run = _within(window, trial(path), path)
        report = _beside_job(app, path, run, minimum_score, is_changed=bool(changes) or trial is not None)
        if name is not None:
            runs.annotate(path, name=name, database=shown(app.settings.database))
            runs.keep(path, name)
    return report


def _within(window: Window, run: Run, path: Path) -> Run:
    """Return a run of which only some buckets are to be compared."""
    with runs.opened(path) as engine, engine.connect() as connection:
        results = digest_tables(connection, run.job_id, window.from_ms, window.to_ms)
    facts = {"compared_from_ms": window.from_ms, "compared_to_ms": window.to_ms, "results": results}
    runs.annotate(path, **facts)
    return msgspec.structs.replace(run, **facts)


def _beside_job(app: Application, path: Path, run: Run, minimum_score: float, *, is_changed: bool) -> Report:
    job = require_job(app, run.job_id)
    analysis = analysis_of(job.settings())
    state = None
    if not is_changed:
        model = ModelSource(app.store, app.codec, run.job_id).fold_at(run.to_version, job.created_version).model
        state = run.state_digest == (None if model is None else model.digest().hex())
    bounds = (run.compared_from_ms, run.compared_to_ms)
    with app.store.reading() as live, runs.opened(path) as engine, engine.connect() as replayed:
        difference = compare(
            Side(live, run.job_id, analysis, *bounds), Side(replayed, run.job_id, run.analysis, *bounds), minimum_score
        )
        is_equal = digest_tables(live, run.job_id, *bounds) == run.results
        cost = Cost(job.data_counts.input_record_count, row_count(live, run.job_id), _model_bytes(live, run.job_id))
    return Report(run, None, cost, difference, is_equal, state)


def _model_bytes(connection: Connection, job_id: str) -> int | None:
    stored = connection.scalar(select(job_stats.c.model_size_stats).where(job_stats.c.job_id == job_id))
    return None if stored is None else int(msgspec.json.decode(stored).get("model_bytes", 0))


def compare_runs(first: str, second: str, minimum_score: float = ANOMALY_SCORE) -> Report:
    """Compare two runs that were saved, where both can be compared.

    Raises
    ------
    NotFound
        There is no such run.
    InvalidArgument
        They are of different jobs.
    """
    paths = runs.existing_path(first), runs.existing_path(second)
    before, after = (runs.read_run(path) for path in paths)
    if before.job_id != after.job_id:
        msg = f"[{first}] is a run of job [{before.job_id}], [{second}] of [{after.job_id}]: they share nothing"
        raise InvalidArgument(msg)
    from_ms = max(
        (each.compared_from_ms for each in (before, after) if each.compared_from_ms is not None), default=None
    )
    to_ms = min((each.compared_to_ms for each in (before, after) if each.compared_to_ms is not None), default=None)
    with runs.opened(paths[0]) as old, runs.opened(paths[1]) as new, old.connect() as ours, new.connect() as theirs:
        difference = compare(
            Side(ours, before.job_id, before.analysis, from_ms, to_ms),
            Side(theirs, after.job_id, after.analysis, from_ms, to_ms),
            minimum_score,
        )
        sides = [digest_tables(connection, before.job_id, from_ms, to_ms) for connection in (ours, theirs)]
    same_state = before.state_digest == after.state_digest if before.analysis == after.analysis else None
    return Report(after, before, before.cost, difference, sides[0] == sides[1], same_state)
