"""The hand-over of leadership, without a database."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest

from eventstore import ANY, AppendResult
from eventstore.appending import AppendRequest
from eventstore.group_commit import GroupCommit
from tests.contract.support import event, run_threads


def request(stream: str = "job-a") -> AppendRequest:
    return AppendRequest(stream, [event()], ANY, command_id=None, actor=None, request_id=None, cause=None, epoch=None)


class Writer:
    """Takes batches; waits at the gate before each."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.error: BaseException | None = None

    def __call__(self, batch: Sequence[AppendRequest]) -> None:
        assert self.gate.wait(10)
        self.batches.append(len(batch))
        for one in batch:
            one.result = AppendResult(one.stream, 1, 1, 1)
        if self.error is not None:
            raise self.error


def wait_until(condition: object) -> None:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:  # type: ignore[operator]
        time.sleep(0.001)


def hold_and_queue(group: GroupCommit, writer: Writer, n_followers: int) -> list[threading.Thread]:
    """Hold a leader at the gate with followers behind it."""
    writer.gate.clear()
    threads = [threading.Thread(target=group.submit, args=(request(),)) for _ in range(n_followers + 1)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(group._queue) == n_followers)
    return threads


def test_followers_go_together_into_the_next_batch() -> None:
    writer = Writer()
    group = GroupCommit(writer)
    threads = hold_and_queue(group, writer, 5)
    writer.gate.set()
    for thread in threads:
        thread.join(10)
    assert writer.batches == [1, 5]
    assert not group._has_leader


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()])
def test_failed_batch_gives_each_member_an_error_and_the_next_goes_on(error: BaseException) -> None:
    writer = Writer()
    writer.error = error
    group = GroupCommit(writer)
    one = request()
    if isinstance(error, Exception):
        group.submit(one)
    else:
        with pytest.raises(KeyboardInterrupt):
            group.submit(one)
    assert one.error is error
    assert one.result is None, "the promise of a plan that was not committed"
    writer.error = None
    again = request()
    group.submit(again)
    assert again.result is not None


def test_members_of_a_leader_that_was_interrupted_learn_that_the_outcome_is_unknown() -> None:
    writer = Writer()
    group = GroupCommit(writer)
    requests = [request() for _ in range(4)]

    def follow(one: AppendRequest) -> None:
        try:
            group.submit(one)
        except SystemExit:
            return

    writer.gate.clear()
    threads = [threading.Thread(target=follow, args=(one,)) for one in requests]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(group._queue) == 3)
    writer.error = SystemExit()
    writer.gate.set()
    for thread in threads:
        thread.join(10)
    assert writer.batches == [1, 3]
    errors = sorted(type(one.error).__name__ for one in requests)
    assert errors == ["OutcomeUnknown", "OutcomeUnknown", "SystemExit", "SystemExit"], "each leader's own"
    assert not group._has_leader


class Interrupting:
    """A wake-up call that is interrupted, as by Ctrl-C."""

    def __init__(self, before: object) -> None:
        self._before = before

    def acquire(self) -> None:
        self._before()  # type: ignore[operator]
        raise KeyboardInterrupt

    def release(self) -> None:
        pass


@pytest.mark.parametrize("is_promoted", [False, True])
def test_interrupted_follower_leaves_nobody_waiting(is_promoted: bool) -> None:
    writer = Writer()
    group = GroupCommit(writer)
    threads = hold_and_queue(group, writer, 0)
    interrupted = request()

    def before() -> None:
        if is_promoted:
            writer.gate.set()
            wait_until(lambda: interrupted.is_leader)

    interrupted.wake = Interrupting(before)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        group.submit(interrupted)
    writer.gate.set()
    for thread in threads:
        thread.join(10)
    outcomes = run_threads([lambda: group.submit(request()) for _ in range(4)])
    assert outcomes == [None] * 4
    assert not group._has_leader
