"""Many appends, one commit: a leader writes for all who came while the one before it was committing.

There is no thread of its own. The first append leads at once and alone; whoever comes while it commits
waits in the queue; then the first of the queue leads and takes all of it. So a lone thread never waits for
company, and under load each commit carries everybody. A leader gathers for a fraction of a millisecond, but
only when the commit before it had company, since those threads are on their way back.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from eventstore.appending import AppendRequest
from eventstore.errors import OutcomeUnknown

GROUP_APPENDS_MAX = 256  # chosen: far above the threads of a node; bounds the time of one commit
GROUP_BYTES_MAX = 32 * 1024 * 1024  # so that one commit of payloads stays below half a second on a plain disk
GATHER_SECONDS_MAX = 0.0006  # chosen: sixteen threads are back in 0.3 to 0.5 ms, measured by benchmarks/store.py


class GroupCommit:
    """Brings concurrent requests together.

    Parameters
    ----------
    write : callable
        Writes a batch in one transaction and sets `result` or `error` of each request.
    """

    def __init__(self, write: Callable[[Sequence[AppendRequest]], None]) -> None:
        self._write = write
        self._mutex = threading.Lock()
        self._queue: deque[AppendRequest] = deque()
        self._has_leader = False
        self._company = 1  # appends to expect: those of the last commit and those that waited for it
        self._gathering: threading.Lock | None = None  # a leader that waits for company sleeps on it

    def submit(self, request: AppendRequest) -> None:
        """Return when the request is decided; its outcome is in it."""
        with self._mutex:
            is_leader = not self._has_leader
            if is_leader:
                self._has_leader = True
                request.is_taken = True
            else:
                self._queue.append(request)
                if self._gathering is not None and len(self._queue) + 1 >= self._company:
                    self._gathering.release()
                    self._gathering = None
        if not is_leader:
            self._wait(request)
        if not request.is_done:
            self._lead(request)

    def _wait(self, request: AppendRequest) -> None:
        try:
            request.wake.acquire()
        except BaseException:
            # Interrupted while waiting: nobody may be left waiting for this thread.
            with self._mutex:
                if not request.is_taken:
                    self._queue.remove(request)
            if request.is_leader and not request.is_done:
                self._hand_over([])
            raise

    def _lead(self, request: AppendRequest) -> None:
        batch = [request]
        try:
            batch = self._gather(request)
            self._write(batch)
        except BaseException as error:
            for member in batch:
                member.result = None  # what a plan promised before it was committed
                member.error = error if member is request else _broken(member, error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._hand_over(batch)

    def _gather(self, request: AppendRequest) -> list[AppendRequest]:
        with self._mutex:
            pause = None
            if len(self._queue) + 1 < min(self._company, GROUP_APPENDS_MAX):
                pause = self._gathering = threading.Lock()
                pause.acquire()
        if pause is not None:
            pause.acquire(timeout=GATHER_SECONDS_MAX)
        batch, size = [request], request.size
        with self._mutex:
            self._gathering = None
            while self._queue and len(batch) < GROUP_APPENDS_MAX:
                size += self._queue[0].size
                if size > GROUP_BYTES_MAX:
                    break
                member = self._queue.popleft()
                member.is_taken = True
                batch.append(member)
        return batch

    def _hand_over(self, batch: Sequence[AppendRequest]) -> None:
        with self._mutex:
            self._company = len(batch) + len(self._queue)
            following = self._queue.popleft() if self._queue else None
            if following is None:
                self._has_leader = False
            else:
                following.is_taken = following.is_leader = True
        for member in batch:
            member.is_done = True
            member.wake.release()
        if following is not None:
            following.wake.release()


def _broken(member: AppendRequest, error: BaseException) -> OutcomeUnknown:
    unknown = OutcomeUnknown(
        f"the append to {member.stream!r} was interrupted in a common commit; it may be stored or not"
    )
    unknown.__cause__ = error
    return unknown
