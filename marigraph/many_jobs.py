"""The same replay of many jobs, on all cores: each job whole in one process, the longest first.

A fold is one thread of Python, so that jobs are what can be done at once. Processes are started afresh, each with an
application of its own on the same database; only settings, ids and results travel between them.
"""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, NamedTuple

from domain.errors import DomainError
from domain.job import Job
from eventstore import EventStoreError
from eventstore.urls import is_in_memory, is_sqlite, parse_url
from marigraph.application import Application
from marigraph.replay import CannotReplay, ModelSource
from marigraph.settings import Settings
from marigraph.verify import Report, verify_job

Task = Callable[[Application, str], Any]
"""Does something with a job; a function of a module, so that other processes find it."""

JOBS_PER_PROCESS_MIN = 2
"""Jobs below which a further process is not worth its start of a second or two."""


class JobDone(NamedTuple):
    """What came of one job: a result, or why there is none."""

    job: Job
    result: Any
    error: str | None


def every_job(app: Application) -> list[Job]:
    """Return the jobs there are, the longest log first."""
    app.project()
    return sorted(app.jobs.all(), key=lambda job: (-job.version, job.job_id))


def over_jobs(app: Application, jobs: Sequence[Job], task: Task, n_processes: int | None = None) -> Iterator[JobDone]:
    """Do a task for each of some jobs and yield what came of it, in the order in which they are done.

    Parameters
    ----------
    n_processes : int or None
        None: as many as there are cores, and jobs to keep them busy. 1: this process alone.
    """
    if n_processes is None:
        n_processes = min(n_cores(), len(jobs) // JOBS_PER_PROCESS_MIN)
    url = parse_url(app.settings.database)
    if n_processes <= 1 or (is_sqlite(url) and is_in_memory(url)):
        for job in jobs:
            yield JobDone(job, *_carried_out(app, job.job_id, task))
        return
    pool = ProcessPoolExecutor(n_processes, get_context("spawn"), _begin, (app.settings,))
    try:
        running = {pool.submit(_in_process, job.job_id, task): job for job in jobs}
        for future in as_completed(running):
            yield JobDone(running[future], *future.result())
    except BrokenProcessPool as error:
        msg = "a process of the replay ended before its work was done: was it killed, or is there too little memory?"
        raise CannotReplay(msg) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def n_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_application: Application | None = None
"""Of a process that was started for this; never closed, as it ends with the process."""


def _begin(settings: Settings) -> None:
    global _application  # noqa: PLW0603 - what a process of the pool keeps between two jobs can lie nowhere else
    from marigraph.bootstrap import bootstrap  # it imports the application, which imports nothing of this

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches all processes, and one of them says so
    _application = bootstrap(settings)


def _in_process(job_id: str, task: Task) -> tuple[Any, str | None]:
    assert _application is not None
    return _carried_out(_application, job_id, task)


def _carried_out(app: Application, job_id: str, task: Task) -> tuple[Any, str | None]:
    try:
        return task(app, job_id), None
    except (DomainError, EventStoreError, CannotReplay) as error:
        return None, " ".join(str(error).split())


# ----------------------------------------------------------------------------------------------------------- tasks


def verified(app: Application, job_id: str) -> Report:
    """Verify a job."""
    return verify_job(app, job_id)


def rebuilt(app: Application, job_id: str) -> dict[str, Any]:
    """Replay a job from the first of its records that are kept, and say what state that gives."""
    job = app.jobs.load(job_id)
    job.settings()
    source = ModelSource(app.store, app.codec, job_id, uses_snapshots=job.payloads_dropped_to > 0)
    folded, _ = source.oldest(job)
    n_records = 0
    for items, _outcome in source.advance(folded, job.version):
        n_records += sum(getattr(item.event, "record_count", 0) for item in items)
    model = folded.model
    return {
        "job_id": job_id,
        "version": folded.version,
        "record_count": n_records,
        "series_count": 0 if model is None else model.n_series,
        "state_digest": None if model is None else source.state_digest(folded).hex(),
    }
