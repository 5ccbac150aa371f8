"""The desk of one job that a server runs: appends are acknowledged here at once, the analysis follows behind.

Whoever appends holds the desk's turn, decides on the job as of the head of its stream, and leaves; a strand
(``strands.py``) folds what was appended. What waits to be folded is bounded: beyond that, posts wait, and are refused
when the wait takes too long.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from domain.errors import Conflict, TooManyRequests
from domain.events import Event
from domain.job import Job
from eventstore import AppendResult, StreamKey
from marigraph.context import Context
from marigraph.runner import Runner
from marigraph.settings import Backlog
from marigraph.writing import Encoded, Visitor, encode_events, timed_out_analysis

WAITING_POSTS_MAX = 8
"""Posts to one job that wait for room in its backlog; more are refused at once, for they keep threads from others."""

LOOK_SECONDS = 0.2
"""Longest time between two looks at the progress of the analysis."""


class Desk:
    """Takes the appends to one job, and knows how far its analysis is.

    Attributes
    ----------
    runner : Runner
        Used by the job's strand only.
    turn : lock
        Held while a command is decided and appended.
    passing : str or None
        ``opening`` or ``closing`` while such a command is at work.
    is_scheduled : bool
        Whether a fold waits on the strand.
    is_gone : bool
        Set when this process lets go of the job.
    """

    def __init__(self, runner: Runner, visitor: Visitor, wake: Callable[["Desk"], None], backlog: Backlog) -> None:
        self.runner = runner
        self.turn = threading.RLock()
        self.passing: str | None = None
        self.is_gone = False
        self.is_scheduled = False
        self._visitor = visitor
        self._wake = wake
        self._backlog = backlog
        self._n_waiting_posts = 0
        self._moved = threading.Condition()
        self._waiting: deque[tuple[int, int]] = deque()
        self._analysed = 0
        self._end_ms: int | None = None
        self._failure: BaseException | None = None

    @property
    def job(self) -> Job:
        """The job as of the newest version read, in its passing state."""
        job = self._visitor.job
        return job.in_state(self.passing) if self.passing is not None else job

    @property
    def head_version(self) -> int:
        """Version of the newest event that is known here."""
        return self._visitor.job.version

    @property
    def analysed_version(self) -> int:
        """Version up to which results are written."""
        return self._analysed

    @property
    def backlog_records(self) -> int:
        """Records appended and not analysed yet."""
        with self._moved:
            self._forget_folded()
            return sum(n_records for _version, n_records in self._waiting)

    def append(
        self,
        events: Sequence[Event],
        context: Context,
        *,
        records: Sequence[Encoded] = (),
        command_id: str | None = None,
    ) -> AppendResult:
        """Append events decided on ``job``; see ``Runner.append``."""
        new = encode_events(events, records)
        result = self._visitor.append_encoded(new, context, command_id)
        if not result.is_repeated:
            self.runner.keep_at_hand(new, records)
            with self._moved:
                self._waiting.append((result.last_version, sum(each.batch.record_count for each in records)))
        return result

    def key(self) -> StreamKey | None:
        """Return the key that the job's records are encrypted under; see ``JobWriter``."""
        return self._visitor.key()

    def catch_up(self) -> None:
        """Bring ``job`` up to the head of its stream, and have the analysis follow."""
        self._visitor.catch_up()
        self._wake(self)

    def admit(self, n_records: int) -> None:
        """Wait until there is room for more records in the backlog, TooManyRequests if there is none for long.

        A batch larger than the whole backlog goes in when nothing else waits.
        """
        if self._has_room(n_records):
            return
        with self._moved:
            is_refused = self._n_waiting_posts >= WAITING_POSTS_MAX
            self._n_waiting_posts += 1
        try:
            deadline = time.monotonic() + (0.0 if is_refused else self._backlog.wait_seconds)
            while not self._has_room(n_records):
                if time.monotonic() >= deadline or self.is_gone:
                    msg = (
                        f"job [{self.job.job_id}] has {self.backlog_records} records waiting for analysis, and may "
                        f"have {self._backlog.records_max}; send them again later"
                    )
                    raise TooManyRequests(msg)
                with self._moved:
                    self._moved.wait(LOOK_SECONDS)
        finally:
            with self._moved:
                self._n_waiting_posts -= 1

    def _has_room(self, n_records: int) -> bool:
        waiting = self.backlog_records
        return waiting == 0 or waiting + n_records <= self._backlog.records_max

    def analysed(self, version: int, timeout_seconds: float) -> int | None:
        """Wait until the results of a version are written; see ``JobWriter``."""
        deadline = time.monotonic() + timeout_seconds
        with self._moved:
            while self._analysed < version:
                if self._failure is not None or self.is_gone:
                    why = self._failure or "it was closed or taken over meanwhile"
                    msg = f"job [{self.job.job_id}] was not analysed up to version {version}: {why}"
                    raise Conflict(msg)
                left = deadline - time.monotonic()
                if left <= 0:
                    raise timed_out_analysis(self.job.job_id, timeout_seconds)
                self._moved.wait(min(left, LOOK_SECONDS))
            return self._end_ms

    def fold(self) -> None:
        """Analyse what was appended (on the job's strand)."""
        try:
            self.runner.catch_up()
        except BaseException as error:
            self.note(error)
            raise
        self.note()

    def note(self, failure: BaseException | None = None) -> None:
        """Tell who waits how far the analysis is, or why it goes no further."""
        with self._moved:
            if failure is None:
                self._analysed = self.runner.job.version
                self._end_ms = self.runner.last_finalized_bucket_end_ms
            self._failure = failure
            self._moved.notify_all()

    def leave(self) -> None:
        """Stop the analysis after the event at hand, and send away who waits."""
        with self._moved:
            self.is_gone = True
            self.runner.is_stopped = True
            self._moved.notify_all()

    def refresh(self) -> None:
        """Read what was appended on the job's strand, or by others."""
        with self.turn:
            self._visitor.catch_up()

    def _forget_folded(self) -> None:
        done = self.runner.job.version
        while self._waiting and self._waiting[0][0] <= done:
            self._waiting.popleft()
