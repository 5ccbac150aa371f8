"""Tells webhooks of the anomalies of jobs: at least once each, in order, going on after a restart where it stopped.

A server looks every second at the jobs that ask for it (``domain/notify.py``). What is final and not delivered yet is
posted; then the delivery becomes an event. A crash in between posts the same once more, under the same id. Each job has
a lease, so that of several servers one delivers. Failures are tried again, later each time.
"""

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from sqlalchemy import select, tuple_

from domain.errors import BadRequest
from domain.events import Event, SnapshotReverted
from domain.job import Job
from domain.notify import (
    NOTIFY_EVENTS,
    Delivered,
    DeliveryFailed,
    Notify,
    NotifyStarted,
    Progress,
    Rewound,
    evolve,
    is_told,
    read_notify,
)
from eventstore import EventStore, EventStoreError, FencedOut, Lease, WrongExpectedVersion
from marigraph.codec import build_codec, new_event, recorded, stream_of
from marigraph.jobs import Jobs
from marigraph.ownership import dead_holder
from marigraph.results import results_version
from marigraph.settings import Notifications
from marigraph.strands import Strands
from marigraph.tables import records

log = logging.getLogger(__name__)

PREFIX: Final = "notify-"
ROUND_SECONDS: Final = 1.0
LIST_SECONDS: Final = 5.0
"""Between two looks which jobs ask for notifications."""

RECORDS_PER_POST_MAX: Final = 100
THREADS: Final = 4
LEASE_SECONDS: Final = 60.0
"""Longer than a post may take, see ``webhook.py``."""

PAUSE_SECONDS: Final = 1.0
PAUSE_SECONDS_MAX: Final = 300.0
"""Pauses between tries double from the first to the last."""


@dataclass(slots=True)
class Task:
    """The deliveries of one job, as this process sees them."""

    job: Job
    notify: Notify
    progress: Progress = field(default_factory=Progress)
    looked_ms: int = 0
    """There is nothing to deliver in buckets before this time."""
    seen_version: int = 0
    """Version of the job's stream up to which no results were taken back unnoticed."""
    attempt_count: int = 0
    not_before: float = 0.0
    is_busy: bool = False


class Notifier:
    """Delivers for all jobs of a database.

    Parameters
    ----------
    store : EventStore
    jobs : Jobs
    owner : str
        Who holds the leases.
    settings : Notifications
    """

    def __init__(self, store: EventStore, jobs: Jobs, owner: str, settings: Notifications) -> None:
        self._store = store
        self._jobs = jobs
        self._owner = owner
        self._settings = settings
        self._codec = build_codec(NOTIFY_EVENTS)
        self._tasks: dict[str, Task] = {}
        self._listed = float("-inf")
        self._stopped = threading.Event()
        self._strands = Strands(THREADS, "notify")
        self._thread = threading.Thread(target=self._run, name="notifier", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the posts at hand, and begin no others."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        self._strands.close()

    def _run(self) -> None:
        while not self._stopped.wait(ROUND_SECONDS):
            try:
                self.look()
            except EventStoreError as error:  # the next round tries again
                log.warning("notifications wait: %s", error)

    def look(self) -> None:
        """Have delivered what there is, in the background."""
        now = time.monotonic()
        if now - self._listed >= LIST_SECONDS:
            self._list()
            self._listed = now
        for job_id, task in list(self._tasks.items()):
            if not task.is_busy and now >= task.not_before:
                task.is_busy = True
                self._strands.submit(job_id, lambda task=task: self._attend(task))  # type: ignore[misc]

    def _list(self) -> None:
        """Find the jobs that ask for notifications."""
        found = {}
        for job in self._jobs.all():
            notify = _notify_of(job)
            if notify is None:
                continue
            known = self._tasks.get(job.job_id)
            if known is not None and known.job.created_version == job.created_version:
                known.job = job
                if known.notify != notify:
                    known.notify, known.looked_ms, known.not_before = notify, 0, 0.0
                found[job.job_id] = known
            else:
                found[job.job_id] = Task(job, notify)
        self._tasks = found

    # -------------------------------------------------------------------------------------------------- deliveries

    def _attend(self, task: Task) -> None:
        """Deliver what one job has, if it is ours to do."""
        try:
            self._catch_up(task)
            version, end_ms = results_version(self._store, task.job.job_id)
            first = self._beginning(task, version, end_ms) or self._rewinds(task, version)
            if first or self._find(task, end_ms):
                self._deliver(task, first, version, end_ms)
            else:
                task.seen_version, task.looked_ms = version, end_ms or 0
        except (FencedOut, WrongExpectedVersion):
            log.info("job %s: another server delivers", task.job.job_id)
        except EventStoreError as error:
            log.warning("the notifications of job %s wait: %s", task.job.job_id, error)
        except Exception:
            log.exception("the notifications of job %s wait", task.job.job_id)
            task.not_before = time.monotonic() + PAUSE_SECONDS_MAX
        finally:
            task.is_busy = False

    def _catch_up(self, task: Task) -> None:
        """Read what became of the deliveries, here or in another process."""
        for stored in self._store.iter_stream(PREFIX + task.job.job_id, task.progress.version):
            item = recorded(self._codec, stored)
            task.progress = evolve(task.progress, item.event, item.version)

    def _beginning(self, task: Task, version: int, end_ms: int | None) -> list[Event]:
        """Return the event that the deliveries of a job begin with, if they have not begun."""
        created = task.job.created_version
        if task.progress.created_version == created:
            return []
        # What asked when it was made gets everything; what asks later gets what is found from then on.
        is_new = _notify_of(self._jobs.replay(task.job.job_id, created)) is not None
        seen = created if is_new else max(version, created)
        start_ms = 0 if is_new or end_ms is None else end_ms
        return [NotifyStarted(created_version=created, job_version=seen, timestamp_ms=start_ms)]

    def _rewinds(self, task: Task, version: int) -> list[Event]:
        """Return the events that go back with the results, if any were taken back since the last look."""
        seen = max(task.seen_version, task.progress.job_version, task.job.created_version)
        return [
            Rewound(job_version=stored.version, timestamp_ms=(reverted.latest_result_ms or -1) + 1)
            for stored in self._store.iter_stream(stream_of(task.job.job_id), seen, version)
            if stored.type == SnapshotReverted.type
            and (reverted := SnapshotReverted.model_validate_json(stored.data)).delete_intervening_results
        ]

    def _deliver(self, task: Task, first: list[Event], version: int, end_ms: int | None) -> None:
        stream = PREFIX + task.job.job_id
        dead = dead_holder(self._store, stream)
        lease = self._store.acquire(stream, self._owner, LEASE_SECONDS, replaces=dead)
        if lease is None:
            return
        try:
            for event in first:
                self._append(task, lease, event)
            while found := self._find(task, end_ms):
                last = found[-1]
                if self._stopped.is_set() or not self._post(task, lease, found):
                    return
                delivered = Delivered(
                    created_version=task.job.created_version,
                    job_version=max(version, 1),
                    timestamp_ms=last["timestamp"],
                    sequence=last["sequence"],
                    record_count=len(found),
                    attempt_count=task.attempt_count,
                )
                self._append(task, lease, delivered)
                task.attempt_count = 0
                if self._store.renew(lease, LEASE_SECONDS) is None:
                    return
            task.seen_version, task.looked_ms = version, end_ms or 0
        finally:
            self._store.release(lease)

    def _find(self, task: Task, end_ms: int | None) -> list[dict[str, Any]]:
        """Return the next final records to deliver: those of one bucket, so that a retry is the same post again."""
        place = max(task.progress.place, (task.looked_ms, -1))
        if end_ms is None or place >= (end_ms, -1):
            return []
        columns = records.c
        query = (
            select(columns.timestamp, columns.sequence, columns.body)
            .where(
                columns.job_id == task.job.job_id,
                tuple_(columns.timestamp, columns.sequence) > place,
                columns.timestamp < end_ms,
                columns.is_interim.is_(False),
                columns.initial_record_score >= task.notify.minimum_score,
            )
            .order_by(columns.timestamp, columns.sequence)
            .limit(RECORDS_PER_POST_MAX)
        )
        with self._store.reading() as connection:
            found = [dict(row._mapping) for row in connection.execute(query)]
        return [row for row in found if row["timestamp"] == found[0]["timestamp"]]

    def _post(self, task: Task, lease: Lease, found: list[dict[str, Any]]) -> bool:
        """Post a batch; False if the receiver did not take it."""
        from marigraph.webhook import NotDelivered, post  # the HTTP client loads with the first delivery only

        last = found[-1]
        delivery_id = f"{task.job.job_id}-{task.job.created_version}-{last['timestamp']}-{last['sequence']}"
        bodies = [msgspec.Raw(row["body"].encode()) for row in found]
        body = msgspec.json.encode({"delivery_id": delivery_id, "job_id": task.job.job_id, "records": bodies})
        task.attempt_count += 1
        try:
            secret = self._secret(task.notify)
            post(task.notify.url, body, delivery_id, secret, allows_private=self._settings.allows_private)
        except NotDelivered as error:
            pause = min(PAUSE_SECONDS * 2.0 ** min(task.attempt_count - 1, 20), PAUSE_SECONDS_MAX)
            task.not_before = time.monotonic() + pause
            log.warning("a notification of job %s is tried again in %g s: %s", task.job.job_id, pause, error)
            if is_told(task.attempt_count):
                event = DeliveryFailed(
                    timestamp_ms=last["timestamp"],
                    sequence=last["sequence"],
                    attempt_count=task.attempt_count,
                    reason=str(error)[:500],
                )
                self._append(task, lease, event)
            return False
        return True

    def _secret(self, notify: Notify) -> bytes | None:
        from marigraph.webhook import NotDelivered

        if notify.secret is None:
            return None
        secret = self._settings.secrets.get(notify.secret)
        if not secret:
            msg = f"the server has no secret [{notify.secret}]: set MARIGRAPH_SECRET_{notify.secret.upper()}"
            raise NotDelivered(msg)
        return secret.encode()

    def _append(self, task: Task, lease: Lease, event: Event) -> None:
        result = self._store.append(
            PREFIX + task.job.job_id,
            [new_event(event)],
            task.progress.version,
            actor="marigraph-server",
            epoch=lease.epoch,
        )
        task.progress = evolve(task.progress, event, result.last_version)
        if isinstance(event, NotifyStarted | Rewound):
            task.looked_ms, task.seen_version = 0, event.job_version


def _notify_of(job: Job) -> Notify | None:
    """Return what a job asks for; one that was made by a program that did not check it asks for nothing."""
    try:
        return read_notify(job.config.custom_settings) if job.config is not None else None
    except BadRequest as error:
        log.warning("job %s: %s", job.job_id, error.reason)
        return None
