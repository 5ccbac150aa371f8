"""Small helpers of the contract tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from eventstore import NewEvent, Payload


def event(number: int = 0, *, payload: bytes | None = None, type: str = "data_posted") -> NewEvent:
    body = None if payload is None else Payload(payload, "raw/1", b"content of " + payload[:20])
    return NewEvent(type, b'{"n": %d}' % number, 1, body)


def run_threads(tasks: Iterable[Callable[[], Any]], timeout: float = 60) -> list[Any]:
    """Run the tasks at once; return their results or exceptions, in order."""
    tasks = list(tasks)
    outcomes: list[Any] = [None] * len(tasks)
    barrier = threading.Barrier(len(tasks))

    def run(place: int, task: Callable[[], Any]) -> None:
        barrier.wait(timeout)
        try:
            outcomes[place] = task()
        except Exception as error:
            outcomes[place] = error

    threads = [threading.Thread(target=run, args=item, daemon=True) for item in enumerate(tasks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    return outcomes
