"""The application as a server has it: many jobs at once, appends acknowledged before they are analysed.

It differs from the application of one command in who does the work. Each job that this process runs has a desk
(``desk.py``), where commands append, and a strand (``strands.py``), where its runner folds, opens, closes and reverts.
A housekeeper projects the log, renews leases, and takes jobs that are open and that nobody runs.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from domain.commands import Command
from domain.config.settings import MODEL_MEMORY_LIMIT_MIB_DEFAULT
from domain.datafeeds import Datafeed
from domain.errors import Conflict, TimedOut
from domain.job import CLOSED, OPENED, OPENING, Job, decide
from eventstore import CheckpointMoved, Codec, EventStore, EventStoreError, FencedOut
from marigraph.application import OWN_POLL_SECONDS, Application
from marigraph.capacity import memory_mib
from marigraph.codec import JOB_PREFIX
from marigraph.context import Context
from marigraph.datafeeds.runs import DatafeedRuns
from marigraph.desk import LOOK_SECONDS, Desk
from marigraph.notifier import Notifier
from marigraph.proof.sealing import Sealer
from marigraph.retainer import Retainer
from marigraph.runner import JobFailed, Runner
from marigraph.settings import Settings
from marigraph.strands import Strands
from marigraph.writing import JobWriter, Visitor

T = TypeVar("T")
log = logging.getLogger(__name__)

FOLDING_THREADS = min(8, (os.cpu_count() or 1) + 2)
"""Jobs analysed at once. Chosen: more than the cores, since a fold waits for the database at times."""

HOUSEKEEPING_SECONDS = 0.5
"""Between two rounds of the housekeeper; how late appends by other processes are noticed."""

ADOPT_SECONDS = 10.0
"""Between two looks for open jobs that nobody runs."""

RELEASE_SECONDS = 60.0
"""How long a deletion waits for the analysis of its job to stop."""

JOBS_SHOWN_MAX = 20
"""How many jobs clients are told may be open (the API's default); nothing ends there, memory is the only bound."""

SERVER = Context("marigraph-server")
"""Who takes open jobs over when no client asks for it."""


class Server(Application):
    """Everything that a serving process needs to carry out commands and answer queries."""

    def __init__(self, store: EventStore, codec: Codec, settings: Settings, now_ms: Callable[[], int]) -> None:
        super().__init__(store, codec, settings, now_ms)
        self._desks: dict[str, Desk] = {}
        self._strands = Strands(FOLDING_THREADS, "fold")
        self._projecting = threading.Lock()
        self._datafeed_runs = DatafeedRuns(self)
        self._waiting: set[str] = set()
        self._stopping = threading.Event()
        self.notifier = Notifier(self.store, self.jobs, self.owner, settings.notifications)
        self.retainer = Retainer(self, settings.retention_at_minute)
        self._sealer = Sealer(self.store, settings)
        self._housekeeper = threading.Thread(target=self._keep_house, name="housekeeper", daemon=True)

    def start(self) -> None:
        """Take the jobs that are open and the datafeeds that are started and that nobody runs, and look after them."""
        self.sources.check()
        self._adopt()
        self._housekeeper.start()
        self._datafeed_runs.start()
        self.notifier.start()
        self.retainer.start()
        self._sealer.start()

    @property
    def node(self) -> dict[str, Any]:
        """The process as the API shows the node that runs a job."""
        return {
            "id": self.node_id,
            "name": "marigraph",
            "ephemeral_id": self.node_id,
            "transport_address": "127.0.0.1:9300",
            "attributes": {"ml.max_open_jobs": str(JOBS_SHOWN_MAX)},
        }

    # -------------------------------------------------------------------------------------------------- ownership

    @property
    def n_queued(self) -> int:
        """Tasks on the strands that are not done."""
        return self._strands.n_waiting

    @property
    def desks(self) -> list[Desk]:
        """The jobs that this process runs."""
        with self._guard:
            return list(self._desks.values())

    def as_seen(self, job: Job) -> Job:
        """Return a job with the passing state that it is in, if it is opening or closing."""
        desk = self._desks.get(job.job_id)
        passing = desk.passing if desk is not None else None
        if job.job_id in self._waiting and job.state == CLOSED:
            passing = OPENING
        return job if passing is None else job.in_state(passing)

    @property
    def memory_mib_max(self) -> int | None:
        """The memory of this machine; a limit that every job has by default is always let pass."""
        found = memory_mib()
        return None if found is None else max(found, MODEL_MEMORY_LIMIT_MIB_DEFAULT)

    def wait_for_memory(self, job_id: str) -> None:
        """Show a job as opening that has no room here; the next start of the server finds it closed."""
        self._waiting.add(job_id)

    def stop_waiting(self, job_id: str) -> bool:
        """Show such a job as closed again; tell whether it was one."""
        was_waiting = job_id in self._waiting
        self._waiting.discard(job_id)
        return was_waiting

    def visitor(self, job_id: str) -> Visitor:
        """Return a writer for commands that need no model."""
        visitor = super().visitor(job_id)
        visitor.job = self.as_seen(visitor.job)
        visitor.gives_up = self._stopping
        return visitor

    def writer(self, job_id: str, context: Context) -> JobWriter:
        """Return the desk of an open job, or a visitor if another process runs it."""
        return self._desk(job_id, context) or self.visitor(job_id)

    def through(
        self,
        command: Command,
        job_id: str,
        context: Context,
        task: Callable[[Runner], T],
        *,
        timeout_seconds: float,
        passing: str | None = None,
    ) -> T:
        """Do on the job's strand what needs its model; see ``Application.through``. The wait ends, the task goes on."""
        decide(self.visitor(job_id).job, command)
        deadline = time.monotonic() + timeout_seconds
        desk = self._own_desk(job_id, context, deadline)
        with desk.turn:
            desk.refresh()
            decide(desk.job, command)
            desk.passing = passing
        future = self._strands.submit(job_id, lambda: _perform(desk, task, passing))
        try:
            return future.result(max(deadline - time.monotonic(), 0.0))
        except TimeoutError as error:
            msg = f"job [{job_id}]: the work takes longer than [{timeout_seconds:g}s], and goes on"
            raise TimedOut(msg) from error

    def settle(self, job_id: str, timeout_seconds: float) -> None:
        """Wait until a job is no longer opening or closing; TimedOut if it takes longer."""
        deadline = time.monotonic() + timeout_seconds
        while (desk := self._desks.get(job_id)) is not None and desk.passing is not None:
            if time.monotonic() >= deadline:
                msg = f"job [{job_id}] is {desk.passing} for longer than [{timeout_seconds:g}s]"
                raise TimedOut(msg)
            time.sleep(LOOK_SECONDS / 4)

    def release(self, job_id: str, *, is_gone: bool = False) -> None:
        """Let go of a job at once; its strand stores the state if that is worth it. A gone job is waited for."""
        with self._guard:
            desk = self._desks.pop(job_id, None)
            self._runners.pop(job_id, None)
        if desk is None:
            return
        desk.leave()
        future = self._strands.submit(job_id, lambda: self._finish(desk, is_gone=is_gone))
        if is_gone:
            future.result(RELEASE_SECONDS)

    def _finish(self, desk: Desk, *, is_gone: bool) -> None:
        try:
            if not is_gone:
                desk.runner.save_if_costly()
        except EventStoreError as error:  # the state is only an optimisation
            log.warning("the state of job %s was not stored: %s", desk.runner.job.job_id, error)
        finally:
            self.store.release(desk.runner.lease)

    def _own_desk(self, job_id: str, context: Context, deadline: float) -> Desk:
        while (desk := self._desk(job_id, context)) is None:
            self.jobs.load(job_id).settings()
            if time.monotonic() >= deadline or self._stopping.is_set():
                raise self.held_elsewhere(job_id)
            time.sleep(OWN_POLL_SECONDS)
        return desk

    def _desk(self, job_id: str, context: Context) -> Desk | None:
        """Return the desk of a job, becoming its owner if it is free; None if another process keeps it."""
        with self._guard:
            desk = self._desks.get(job_id)
            if desk is not None:
                return desk
            runner = self._take(job_id, context)
            if runner is None:
                return None
            if not runner.job.exists:  # deleted since somebody asked for it: what it would fold is gone
                del self._runners[job_id]
                self.store.release(runner.lease)
                return None
            visitor = Visitor(self.store, self.jobs, runner.job, runner.lease.epoch)
            desk = self._desks[job_id] = Desk(runner, visitor, self._wake, self.settings.backlog)
        self._wake(desk)
        return desk

    # --------------------------------------------------------------------------------------------------- analysis

    def _wake(self, desk: Desk) -> None:
        """Have a job analysed up to its head, unless that waits on its strand already."""
        if not desk.is_scheduled and not desk.is_gone:
            desk.is_scheduled = True
            self._strands.submit(desk.runner.job.job_id, lambda: self._fold(desk))

    def _fold(self, desk: Desk) -> None:
        desk.is_scheduled = False  # what is appended from here on asks for another fold
        if desk.is_gone:
            return
        job_id = desk.runner.job.job_id
        try:
            desk.fold()
        except JobFailed:  # logged, and an event, already
            desk.refresh()
            self.release(job_id, is_gone=False)
        except (FencedOut, CheckpointMoved) as error:
            log.warning("job %s was taken over: %s", job_id, error)
            with self._guard:
                self._desks.pop(job_id, None)
                self._runners.pop(job_id, None)
            desk.leave()
        except EventStoreError as error:  # the next round tries again
            log.warning("the analysis of job %s waits: %s", job_id, error)

    # ----------------------------------------------------------------------------------------------- housekeeping

    def project(self) -> None:
        """Bring the read model of the jobs up to the head of the log, one thread at a time."""
        with self._projecting:
            super().project()

    def _keep_house(self) -> None:
        position = self._last_position()
        adopted = time.monotonic()
        while not self._stopped.wait(HOUSEKEEPING_SECONDS):
            try:
                self.project()
                position = self._notice(position)
                if time.monotonic() - adopted >= ADOPT_SECONDS:
                    adopted = time.monotonic()
                    self._adopt()
            except EventStoreError as error:
                log.warning("housekeeping waits: %s", error)

    def _last_position(self) -> int:
        return self.store.read_checkpoint("jobs")

    def _notice(self, position: int) -> int:
        """Wake the jobs that others appended to, and those whose analysis was interrupted; return where to go on."""
        while events := self.store.read_all(position):
            position = events[-1].position
            for job_id in {event.stream.removeprefix(JOB_PREFIX) for event in events}:
                desk = self._desks.get(job_id)
                if desk is not None:
                    desk.refresh()
        for desk in self.desks:
            if desk.analysed_version < desk.head_version:
                self._wake(desk)
        return position

    def _adopt(self) -> None:
        """Take the open jobs that nobody runs."""
        self.project()
        for job in self.jobs.all():
            if job.state == OPENED and job.job_id not in self._desks:
                self._desk(job.job_id, SERVER)

    # -------------------------------------------------------------------------------------------------- datafeeds

    def datafeed_as_seen(self, datafeed: Datafeed) -> Datafeed:
        """Return a datafeed with the passing state that it is in, if it is stopping."""
        return self._datafeed_runs.as_seen(datafeed)

    def datafeed_problem(self, datafeed_id: str) -> str:
        """Say what keeps a started datafeed from searching."""
        return self._datafeed_runs.problem(datafeed_id)

    def run_datafeed(self, datafeed_id: str) -> None:
        """Run a datafeed that was started."""
        self._datafeed_runs.take(datafeed_id)

    def halt_datafeed(self, datafeed_id: str, stop: Callable[[], T], timeout_seconds: float) -> T:
        """Stop a datafeed between two of its searches; ``stop`` appends the event."""
        return self._datafeed_runs.halt(datafeed_id, stop, timeout_seconds)

    # -------------------------------------------------------------------------------------------------------- end

    def give_up_waiting(self) -> None:
        """Send away who waits for another process: the server is about to stop. What is at work here goes on."""
        self._stopping.set()

    def close(self) -> None:
        """Let go of all jobs and datafeeds, none of which is closed or stopped by that, and of the database."""
        self.give_up_waiting()
        self._datafeed_runs.close()
        self._stopped.set()
        self.notifier.stop()
        self.retainer.stop()
        self._sealer.stop()
        if self._housekeeper.is_alive():
            self._housekeeper.join()
        for desk in self.desks:
            self.release(desk.runner.job.job_id)
        self._strands.close()
        super().close()


def _perform(desk: Desk, task: Callable[[Runner], T], passing: str | None) -> T:
    if desk.is_gone:  # closed by force, deleted or taken over before its turn came
        job_id = desk.runner.job.job_id
        msg = f"job [{job_id}] was closed or taken over while its turn had not come"
        if passing == OPENING:
            msg = "The job has been closed while waiting to be opened"
        raise Conflict(msg)
    try:
        return task(desk.runner)
    finally:
        desk.refresh()
        desk.passing = None
        desk.note()
