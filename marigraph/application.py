"""The application of one process: the store, the jobs, and the runners of the jobs that this process owns.

Handlers (``marigraph/handlers.py``) and queries (``marigraph/queries.py``) are functions over it; it is wired in
``marigraph/bootstrap.py`` and nowhere else.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from domain.commands import Command, ReassignJob
from domain.datafeeds import Datafeed
from domain.errors import Conflict
from domain.job import Job, decide
from eventstore import CheckpointMoved, Codec, EventStore, EventStoreError, Projection
from marigraph.codec import stream_of
from marigraph.context import Context
from marigraph.datafeeds.repository import PROJECTION as DATAFEEDS_PROJECTION
from marigraph.datafeeds.repository import Datafeeds
from marigraph.jobs import PROJECTION, Jobs
from marigraph.ownership import new_owner, take_lease
from marigraph.runner import Runner
from marigraph.settings import Settings
from marigraph.sources.registry import Sources
from marigraph.writing import JobWriter, Visitor, carry_out

T = TypeVar("T")

log = logging.getLogger(__name__)

OWN_POLL_SECONDS = 0.05
"""Between two looks at a lease that another owner holds."""

RENEWALS_PER_LEASE = 3
"""A lease is renewed after this part of its life, so that two renewals may fail before it runs out."""


class Application:
    """Everything one process needs to carry out commands and answer queries."""

    def __init__(self, store: EventStore, codec: Codec, settings: Settings, now_ms: Callable[[], int]) -> None:
        self.store = store
        self.codec = codec
        self.settings = settings
        self.now_ms = now_ms
        self.jobs = Jobs(store, codec)
        self.owner = str(new_owner())
        self.node_id = hashlib.sha256(self.owner.encode()).hexdigest()[:22]
        self.datafeeds = Datafeeds(store)
        self._sources: Sources | None = None
        self._projections = (
            Projection(PROJECTION, self.jobs.project, self.jobs.clear),
            Projection(DATAFEEDS_PROJECTION, self.datafeeds.project, self.datafeeds.clear),
        )
        self._runners: dict[str, Runner] = {}
        self._guard = threading.RLock()
        self._stopped = threading.Event()
        self._keeper: threading.Thread | None = None

    # -------------------------------------------------------------------------------------------------- ownership

    def visitor(self, job_id: str) -> Visitor:
        """Return a writer for commands that need no model."""
        return Visitor(self.store, self.jobs, self.jobs.load(job_id))

    def writer(self, job_id: str, context: Context) -> JobWriter:
        """Return what appends to an open job: what runs it here, or a visitor if another process does."""
        return self.runner(job_id, context) or self.visitor(job_id)

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
        """Do what needs the job's model, once it is checked that the state of the job allows it.

        Parameters
        ----------
        command : Command
            What is to be checked; it is the task that appends.
        task : callable
            Gets the runner of the job.
        timeout_seconds : float
            How long to wait, for another owner too.
        passing : str or None
            State in which others see the job meanwhile; who is alone in his process is seen by nobody.
        """
        decide(self.visitor(job_id).job, command)
        return task(self.own(job_id, context, timeout_seconds))

    @property
    def node(self) -> dict[str, Any] | None:
        """The node of a cluster that runs open jobs, as the API shows it; None where no server is at work."""
        return None

    @property
    def memory_mib_max(self) -> int | None:
        """The largest `model_memory_limit` of a job that can be opened here; None: any."""
        return None

    def wait_for_memory(self, job_id: str) -> None:
        """Show a job as opening that was opened lazily and has no room here."""

    def stop_waiting(self, job_id: str) -> bool:
        """Show such a job as closed again; tell whether it was one."""
        return False

    def as_seen(self, job: Job) -> Job:
        """Return a job with the passing state that it is in, if it is opening or closing."""
        return job

    def settle(self, job_id: str, timeout_seconds: float) -> None:
        """Wait until a job is no longer opening or closing; TimedOut if it takes longer."""

    def runner(self, job_id: str, context: Context, timeout_seconds: float = 0.0) -> Runner | None:
        """Return the runner of a job, becoming its owner if it is free; None if another owner keeps it.

        Parameters
        ----------
        job_id : str
        context : Context
            On whose order, should the job have to be taken over from a dead owner.
        timeout_seconds : float
            How long to wait for an owner that is alive.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            with self._guard:
                runner = self._runners.get(job_id) or self._take(job_id, context)
            if runner is not None or time.monotonic() >= deadline:
                return runner
            time.sleep(OWN_POLL_SECONDS)

    def own(self, job_id: str, context: Context, timeout_seconds: float = 0.0) -> Runner:
        """Return the runner of a job; Conflict if another owner keeps it beyond the timeout."""
        runner = self.runner(job_id, context, timeout_seconds)
        if runner is None:
            raise self.held_elsewhere(job_id)
        return runner

    def held_elsewhere(self, job_id: str) -> Conflict:
        """Return the error for a job that another process keeps."""
        holder = self.store.holder(stream_of(job_id))
        msg = (
            f"job [{job_id}] is run by another process ({holder.owner if holder else 'unknown'}); "
            "try again when it has finished, or give a longer timeout"
        )
        return Conflict(msg)

    def release(self, job_id: str, *, is_gone: bool = False) -> None:
        """Let go of a job, storing its state first if a replay would be costly and the job is not gone."""
        with self._guard:
            runner = self._runners.pop(job_id, None)
        if runner is not None:
            try:
                if not is_gone:
                    runner.save_if_costly()
            finally:
                self.store.release(runner.lease)

    def _take(self, job_id: str, context: Context) -> Runner | None:
        lease, previous = take_lease(self.store, stream_of(job_id), self.owner, self.settings.lease_seconds)
        if lease is None:
            return None
        visitor = Visitor(self.store, self.jobs, self.jobs.load(job_id), lease.epoch)
        if previous is not None and previous.owner != self.owner and visitor.job.exists:
            command = ReassignJob(owner=self.owner, previous_owner=previous.owner, epoch=lease.epoch)
            carry_out(visitor, lambda _job: command, context)
        runner = self._runners[job_id] = Runner(self.store, self.codec, visitor.job, lease)
        self._keep_leases()
        return runner

    def _keep_leases(self) -> None:
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._renew_leases, name="leases", daemon=True)
            self._keeper.start()

    def _renew_leases(self) -> None:
        while not self._stopped.wait(self.settings.lease_seconds / RENEWALS_PER_LEASE):
            with self._guard:
                leases = [runner.lease for runner in self._runners.values()]
            for lease in leases:
                try:
                    self.store.renew(lease, self.settings.lease_seconds)
                except EventStoreError as error:  # the fence keeps us safe; the next round tries again
                    log.warning("the lease of %s was not renewed: %s", lease.resource, error)

    # ------------------------------------------------------------------------------------------------ read models

    def project(self) -> None:
        """Bring the read models of jobs and datafeeds up to the head of the log."""
        for projection in self._projections:
            try:
                projection.catch_up(self.store)
            except CheckpointMoved:
                log.debug("another process is projecting the same events")

    def rebuild_jobs(self) -> None:
        """Drop the read models of jobs and datafeeds and fold them anew from the log."""
        for projection in self._projections:
            projection.rebuild(self.store)

    # -------------------------------------------------------------------------------------------------- datafeeds

    @property
    def sources(self) -> Sources:
        """Where datafeeds may read from; the configuration is read when it is first asked for."""
        with self._guard:
            if self._sources is None:
                self._sources = Sources.read(self.settings.sources)
            return self._sources

    def datafeed_as_seen(self, datafeed: Datafeed) -> Datafeed:
        """Return a datafeed with the passing state that it is in, if it is stopping."""
        return datafeed

    def datafeed_problem(self, datafeed_id: str) -> str:
        """Say what keeps a started datafeed from searching; empty if nothing is known to."""
        return ""

    def run_datafeed(self, datafeed_id: str) -> None:
        """Begin to run a datafeed that was started; a one-shot command does that itself, in the foreground."""

    def halt_datafeed(self, datafeed_id: str, stop: Callable[[], T], timeout_seconds: float) -> T:
        """Stop a datafeed between two of its searches; ``stop`` appends the event."""
        return stop()

    # -------------------------------------------------------------------------------------------------------- end

    def close(self) -> None:
        """Let go of all jobs and of the database."""
        self._stopped.set()
        try:
            for job_id in list(self._runners):
                self.release(job_id)
        finally:
            if self._keeper is not None:
                self._keeper.join()
            if self._sources is not None:
                self._sources.close()
            self.store.close()
