"""The runs of a server: which datafeeds it runs, when each has its next step, and the threads that do the steps.

A step is one search with its post, on a bounded pool; between steps a datafeed costs no thread. Each is run under the
lease of its stream, so that no other process runs it too; what was started and nobody runs is taken, at the start of
the server and now and then.
"""

import hashlib
import heapq
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from domain.datafeeds.datafeed import STARTED, STOPPING, Datafeed
from domain.errors import Conflict, DomainError, TimedOut, TooManyRequests
from eventstore import EventStoreError, FencedOut, Lease
from marigraph.application import RENEWALS_PER_LEASE, Application
from marigraph.codec import datafeed_stream
from marigraph.context import Context
from marigraph.datafeeds.running import DatafeedRun, close_job
from marigraph.ownership import take_lease
from marigraph.runner import JobFailed
from marigraph.sources import MissingIndex, SourceError
from marigraph.strands import Strands

T = TypeVar("T")
log = logging.getLogger(__name__)

SEARCHING_THREADS: Final = 8
"""Searches at once; chosen: each mostly waits for its source."""

ADOPT_SECONDS: Final = 10.0
"""Between two looks for started datafeeds that nobody runs."""

RETRY_SECONDS_MIN: Final = 1.0
RETRY_SECONDS_MAX: Final = 60.0
"""Waits after a search that failed: doubled each time, from the first to the second."""

LOOK_SECONDS: Final = 1.0
"""Between two looks whether another process stopped a datafeed that waits."""


class _Running:
    """A run, and what the scheduler knows of it."""

    def __init__(self, run: DatafeedRun, lease: Lease) -> None:
        self.run = run
        self.lease = lease
        self.problem = ""
        self.n_failed = 0
        self.is_halted = False
        self.due = time.monotonic()


class DatafeedRuns:
    """All datafeeds that a server runs."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._runs: dict[str, _Running] = {}
        self._guard = threading.Lock()
        self._changed = threading.Condition(self._guard)
        self._due: list[tuple[float, str]] = []
        self._is_stopped = False
        self._strands = Strands(SEARCHING_THREADS, "datafeed")
        self._thread = threading.Thread(target=self._keep, name="datafeeds", daemon=True)

    def start(self) -> None:
        """Take the datafeeds that are started and that nobody runs, and begin to look after them."""
        self.adopt()
        self._thread.start()

    def adopt(self) -> None:
        """Take what nobody runs, and close the jobs of those that ended while nobody could."""
        self._app.project()
        for datafeed in self._app.datafeeds.all():
            if datafeed.state == STARTED:
                self.take(datafeed.datafeed_id)
            elif datafeed.closes_job and datafeed.datafeed_id not in self._runs:
                self._strands.submit(datafeed.datafeed_id, _closing(self._app, datafeed))

    def take(self, datafeed_id: str) -> None:
        """Run a started datafeed here, unless another process does."""
        with self._guard:
            if datafeed_id in self._runs or self._is_stopped:
                return
        stream, owner = datafeed_stream(datafeed_id), self._app.owner
        lease, _previous = take_lease(self._app.store, stream, owner, self._app.settings.lease_seconds)
        if lease is None:
            return
        writer = self._app.datafeeds.writer(datafeed_id, lease.epoch)
        run = DatafeedRun(self._app, writer, context_of(writer.datafeed))
        with self._changed:
            if datafeed_id in self._runs or self._is_stopped or not run.is_running:
                if datafeed_id not in self._runs:
                    self._app.store.release(lease)
                return
            running = self._runs[datafeed_id] = _Running(run, lease)
            self._schedule(datafeed_id, running, 0.0)

    def as_seen(self, datafeed: Datafeed) -> Datafeed:
        """Return a datafeed with the passing state that it is in, if it is stopping."""
        running = self._runs.get(datafeed.datafeed_id)
        is_stopping = running is not None and running.is_halted and datafeed.state == STARTED
        return datafeed.in_state(STOPPING) if is_stopping else datafeed

    def problem(self, datafeed_id: str) -> str:
        """Say why the latest search of a datafeed failed; empty if it did not."""
        running = self._runs.get(datafeed_id)
        return running.problem if running is not None else ""

    def halt(self, datafeed_id: str, stop: Callable[[], T], timeout_seconds: float) -> T:
        """Stop a datafeed between two searches; the wait ends at the timeout, the stop itself goes on.

        Raises
        ------
        TimedOut
            The search at hand takes longer.
        """
        running = self._runs.get(datafeed_id)
        if running is None:
            return stop()
        running.is_halted = True

        def task() -> T:
            try:
                self._settle(datafeed_id, running)
                return stop()
            finally:
                self._drop(datafeed_id, running)

        future: Future[T] = self._strands.submit(datafeed_id, task)
        try:
            return future.result(timeout_seconds)
        except TimeoutError as error:
            msg = (
                f"datafeed [{datafeed_id}] is at a search that takes longer than [{timeout_seconds:g}s]; it stops after"
            )
            raise TimedOut(msg) from error

    def close(self) -> None:
        """Finish the searches at hand and let go of all datafeeds, none of which is stopped by that."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self._strands.close()
        for datafeed_id, running in list(self._runs.items()):
            self._drop(datafeed_id, running)

    # ------------------------------------------------------------------------------------------------------- parts

    def _schedule(self, datafeed_id: str, running: _Running, seconds: float) -> None:
        """Have the next step done after some seconds; the guard is held."""
        running.due = time.monotonic() + seconds
        heapq.heappush(self._due, (running.due, datafeed_id))
        self._changed.notify_all()

    def _keep(self) -> None:
        renewed = adopted = looked = time.monotonic()
        renew_seconds = self._app.settings.lease_seconds / RENEWALS_PER_LEASE
        while True:
            with self._changed:
                if self._is_stopped:
                    return
                now = time.monotonic()
                wait = min(self._due[0][0] - now, LOOK_SECONDS) if self._due else LOOK_SECONDS
                if wait > 0:
                    self._changed.wait(wait)
                if self._is_stopped:
                    return
                now = time.monotonic()
                ready = []
                while self._due and self._due[0][0] <= now:
                    due, datafeed_id = heapq.heappop(self._due)
                    running = self._runs.get(datafeed_id)
                    if running is not None and running.due == due:  # else it was put off or brought forward
                        ready.append(datafeed_id)
            for datafeed_id in ready:
                self._strands.submit(datafeed_id, self._stepping(datafeed_id))
            try:
                if now - looked >= LOOK_SECONDS:
                    looked = now
                    self._look()
                if now - renewed >= renew_seconds:
                    renewed = now
                    self._renew()
                if now - adopted >= ADOPT_SECONDS:
                    adopted = now
                    self.adopt()
            except EventStoreError as error:
                log.warning("looking after datafeeds waits: %s", error)

    def _stepping(self, datafeed_id: str) -> Callable[[], None]:
        return lambda: self._step(datafeed_id)

    def _step(self, datafeed_id: str) -> None:
        running = self._runs.get(datafeed_id)
        if running is None or running.is_halted or self._is_stopped:
            return
        try:
            seconds = running.run.step()
        except FencedOut as error:
            log.warning("datafeed %s was taken over: %s", datafeed_id, error)
            seconds = None
        except TooManyRequests:
            seconds = RETRY_SECONDS_MIN
        except Conflict as error:  # stopped or closed meanwhile: the next step finds out
            running.problem = error.reason
            seconds = RETRY_SECONDS_MIN
        except (DomainError, SourceError, MissingIndex, JobFailed, EventStoreError) as error:
            seconds = self._failed(running, datafeed_id, error)
        except Exception as error:
            log.exception("datafeed %s: a search failed", datafeed_id)
            seconds = self._failed(running, datafeed_id, error)
        else:
            running.problem, running.n_failed = "", 0
        if seconds is None:
            self._drop(datafeed_id, running)
            if self._app.datafeeds.load(datafeed_id).state == STARTED:  # anew, before this run noticed its end
                self.take(datafeed_id)
            return
        with self._changed:
            if self._runs.get(datafeed_id) is running:
                self._schedule(datafeed_id, running, seconds)

    def _failed(self, running: _Running, datafeed_id: str, error: Exception) -> float:
        seconds: float = min(RETRY_SECONDS_MIN * 2.0**running.n_failed, RETRY_SECONDS_MAX)
        running.n_failed = min(running.n_failed + 1, 10)
        running.problem = f"the latest search failed: {error}"
        log.warning("datafeed %s: %s; it is tried again in %g s", datafeed_id, running.problem, seconds)
        return seconds

    def _settle(self, datafeed_id: str, running: _Running) -> None:
        try:
            running.run.settle()
        except (DomainError, SourceError, MissingIndex, EventStoreError) as error:
            log.warning("datafeed %s: its last search is not posted, the next start repeats it: %s", datafeed_id, error)

    def _drop(self, datafeed_id: str, running: _Running) -> None:
        with self._guard:
            if self._runs.get(datafeed_id) is running:
                del self._runs[datafeed_id]
        running.run.close()
        try:
            self._app.store.release(running.lease)
        except EventStoreError as error:  # it runs out by itself
            log.warning("the lease of datafeed %s was not released: %s", datafeed_id, error)

    def _look(self) -> None:
        """Bring forward the steps of waiting datafeeds that another process stopped."""
        for datafeed_id, running in list(self._runs.items()):
            head = self._app.store.head(datafeed_stream(datafeed_id))
            is_waiting = running.due > time.monotonic() + LOOK_SECONDS
            if head is not None and is_waiting and head.version > running.run.datafeed.version:
                with self._changed:
                    self._schedule(datafeed_id, running, 0.0)

    def _renew(self) -> None:
        for running in list(self._runs.values()):
            self._app.store.renew(running.lease, self._app.settings.lease_seconds)


def context_of(datafeed: Datafeed) -> Context:
    """Return on whose order a run acts: the datafeed itself, one request id for all that a run does."""
    text = f"{datafeed.datafeed_id}\0{datafeed.created_version}\0{datafeed.started_version}"
    return Context(f"datafeed-{datafeed.datafeed_id}", hashlib.blake2b(text.encode(), digest_size=8).hexdigest())


def _closing(app: Application, datafeed: Datafeed) -> Callable[[], Any]:
    def task() -> None:
        try:
            close_job(app, datafeed, context_of(datafeed))
        except (DomainError, EventStoreError) as error:
            log.warning("the job of datafeed %s was not closed: %s", datafeed.datafeed_id, error)

    return task
