"""Runs retention once a day in servers: one of several does it, by lease, and it is on the log that it did.

Due is the newest time of the day asked for (``MARIGRAPH_RETENTION_AT``, UTC) that lies behind the last run, so a server
that was down then makes up for it, and one that starts for the first time waits for the next.
"""

import logging
import threading
import time
from typing import Final

from domain.errors import DomainError
from domain.retention import latest_due_ms
from eventstore import EventStoreError, Lease
from marigraph.application import Application
from marigraph.context import Context
from marigraph.ownership import take_lease
from marigraph.retention import STREAM, Schedule, last_due_ms, run_retention
from marigraph.schema import SchemaError

log = logging.getLogger(__name__)

ROUND_SECONDS: Final = 30.0
LEASE_SECONDS: Final = 300.0
"""Renewed after each job; longer than one may take."""

RETAINER: Final = Context("marigraph-server")


class Retainer:
    """Looks every half minute whether retention is due.

    Parameters
    ----------
    app : Application
    at_minute : int or None
        Minutes after midnight, UTC; None: never.
    """

    def __init__(self, app: Application, at_minute: int | None) -> None:
        self._app = app
        self._at_minute = at_minute
        self._started_ms = app.now_ms()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        if self._at_minute is not None:
            self._thread.start()

    def stop(self) -> None:
        """Finish the job at hand, and begin no other."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(ROUND_SECONDS):
            try:
                self.look()
            except _Stopped:
                log.info("retention goes on at the next start")
            except SchemaError as error:
                log.info("retention waits for the end of the upgrade: %s", error)
            except (EventStoreError, DomainError) as error:  # the next round tries again
                log.warning("retention waits: %s", error)

    def look(self) -> bool:
        """Run retention if it is due and no other server does; tell whether it ran."""
        assert self._at_minute is not None
        due_ms = latest_due_ms(self._app.now_ms(), self._at_minute)
        last_ms = last_due_ms(self._app.store)
        if (self._started_ms if last_ms is None else last_ms) >= due_ms:
            return False
        lease, _previous = take_lease(self._app.store, STREAM, self._app.owner, LEASE_SECONDS)
        if lease is None:
            return False
        try:
            started = time.monotonic()
            schedule = Schedule(due_ms, lease.epoch)
            found = run_retention(
                self._app, None, RETAINER, on_job=lambda _job_id: self._keep(lease), schedule=schedule
            )
            log.info("retention removed something of %d jobs in %.1f s", len(found), time.monotonic() - started)
        finally:
            self._app.store.release(lease)
        return True

    def _keep(self, lease: Lease) -> None:
        """Go on only while this server is to, and no other does."""
        if self._stopped.is_set() or self._app.store.renew(lease, LEASE_SECONDS) is None:
            raise _Stopped


class _Stopped(Exception):
    """The run ends here; what it did stays done."""
