"""Strands: tasks with the same key run one after the other, those of different keys at once, on a bounded pool."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class Strands:
    """A pool of threads on which each key has one task running at most."""

    def __init__(self, n_threads: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(n_threads, thread_name_prefix=name)
        self._waiting: dict[str, deque[tuple[Callable[[], Any], Future[Any]]]] = {}
        self._guard = threading.Lock()

    def submit(self, key: str, task: Callable[[], T]) -> Future[T]:
        """Run a task after those of its key that were submitted before."""
        future: Future[T] = Future()
        with self._guard:
            queue = self._waiting.get(key)
            if queue is not None:
                queue.append((task, future))
                return future
            self._waiting[key] = deque([(task, future)])
            self._pool.submit(self._run, key)
        return future

    @property
    def n_waiting(self) -> int:
        """Tasks that are not done."""
        with self._guard:
            return sum(len(queue) for queue in self._waiting.values())

    def close(self) -> None:
        """Run what was submitted, then end the threads."""
        self._pool.shutdown(wait=True)

    def _run(self, key: str) -> None:
        """Run one task of a key, then let the pool's other keys have their turn."""
        with self._guard:
            task, future = self._waiting[key][0]
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(task())
            except BaseException as error:  # belongs to whoever waits for the task
                future.set_exception(error)
        with self._guard:
            queue = self._waiting[key]
            queue.popleft()
            if not queue:
                del self._waiting[key]
                return
        self._resubmit(key)

    def _resubmit(self, key: str) -> None:
        try:
            self._pool.submit(self._run, key)
        except RuntimeError:  # the pool is closing and takes nothing new: finish the key on this thread
            self._run(key)
