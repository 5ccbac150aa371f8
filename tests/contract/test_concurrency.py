from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from eventstore import ANY, NO_STREAM, AppendResult, EventStore, WrongExpectedVersion, group_commit
from tests.contract.support import event, run_threads

N_THREADS = 16


def slow_commit() -> None:
    time.sleep(0.004)


def append_many(store: EventStore, stream: str, n_appends: int, n_events: int = 1) -> None:
    version = 0
    for number in range(n_appends):
        version = store.append(stream, [event(number)] * n_events, version, f"c-{number}").last_version


def test_reader_of_the_log_never_skips_an_event_that_commits_late(
    database_url: str, open_store: Callable[..., EventStore]
) -> None:
    stores = [open_store(database_url) for _ in range(4)]
    reader = open_store(database_url)
    is_over = threading.Event()
    seen: list[int] = []

    def read() -> None:
        while True:
            was_over = is_over.is_set()
            events = reader.read_all(seen[-1] if seen else 0, 50)
            seen.extend(stored.position for stored in events)
            if was_over and not events:
                return

    def write(place: int) -> None:
        # Single events go by another statement than several, and each writer pauses at another place.
        for number in range(60):
            store = stores[place]
            store.append(f"job-{place}", [event(number)] * (1 + (number + place) % 3), ANY)

    reading = threading.Thread(target=read)
    reading.start()
    outcomes = run_threads([lambda place=place: write(place) for place in range(4)])
    is_over.set()
    reading.join()
    assert outcomes == [None] * 4
    assert seen == [stored.position for stored in reader.read_all(0, 10_000)]
    assert len(seen) == len(set(seen)) == 4 * 60 * 2
    assert reader.verify_chain().is_intact


def test_writers_of_one_stream_leave_no_gap(database_url: str, open_store: Callable[..., EventStore]) -> None:
    stores = [open_store(database_url) for _ in range(3)]

    def write(store: EventStore) -> int:
        n_refused = 0
        for number in range(20):
            while True:
                head = store.head("job-a")
                try:
                    store.append("job-a", [event(number)] * (1 + number % 2), head.version if head else NO_STREAM)
                    break
                except WrongExpectedVersion:
                    n_refused += 1
        return n_refused

    outcomes = run_threads([lambda store=store: write(store) for store in stores])
    assert all(isinstance(outcome, int) for outcome in outcomes), outcomes
    assert [one.version for one in stores[0].iter_stream("job-a")] == list(range(1, 91))
    assert stores[0].verify_chain().is_intact


def test_nodes_that_commit_groups_of_the_same_streams_do_not_deadlock(
    database_url: str, open_store: Callable[..., EventStore]
) -> None:
    stores = [open_store(database_url) for _ in range(2)]

    def write(place: int) -> None:
        for number in range(20):
            stores[place % 2].append(f"job-{(place + number) % 4}", [event(number)], ANY)

    assert run_threads([lambda place=place: write(place) for place in range(8)]) == [None] * 8
    assert len(stores[0].read_all()) == 160
    assert stores[0].verify_chain().is_intact


class TestGroupCommit:
    def test_sixteen_threads_share_commits(self, store: EventStore) -> None:
        store.backend.before_commit = slow_commit
        tasks = [lambda place=place: append_many(store, f"job-{place}", 20) for place in range(N_THREADS)]
        assert run_threads(tasks) == [None] * N_THREADS
        assert store.stats.n_appends == N_THREADS * 20
        assert store.stats.n_commits <= store.stats.n_appends / 8
        assert store.verify_chain().is_intact

    def test_lone_thread_never_waits_for_company(self, store: EventStore, monkeypatch) -> None:
        monkeypatch.setattr(group_commit, "GATHER_SECONDS_MAX", 3600.0)
        append_many(store, "job-a", 20)
        assert store.stats.n_commits == 20

    def test_thread_left_alone_waits_for_company_once_at_most(self, store: EventStore, monkeypatch) -> None:
        store.backend.before_commit = slow_commit
        run_threads([lambda place=place: append_many(store, f"job-{place}", 3) for place in range(4)])
        append_many(store, "job-x", 2)
        monkeypatch.setattr(group_commit, "GATHER_SECONDS_MAX", 3600.0)
        append_many(store, "job-y", 20)
        assert store.head("job-y").version == 20  # type: ignore[union-attr]

    def test_conflict_of_one_stream_leaves_the_others_of_its_commit(self, store: EventStore) -> None:
        store.append("job-1", [event()], NO_STREAM)
        n_commits = store.stats.n_commits
        outcomes = append_together(
            store,
            [
                lambda: store.append("job-1", [event()], 1),
                lambda: store.append("job-2", [event()], 5),
                lambda: store.append("job-3", [event()], NO_STREAM),
                lambda: store.append("job-4", [event()] * 3, ANY, "c-1"),
            ],
        )
        assert [type(outcome) for outcome in outcomes] == [
            AppendResult,
            WrongExpectedVersion,
            AppendResult,
            AppendResult,
        ]
        assert store.stats.n_commits == n_commits + 2
        assert store.head("job-2") is None
        stored = store.read_all()
        assert sorted(one.stream for one in stored) == ["job-0", "job-1", "job-1", "job-3"] + ["job-4"] * 3
        assert [one.position for one in stored if one.stream == "job-4"][-1] == outcomes[3].last_position
        assert store.verify_chain().is_intact

    def test_appends_to_one_stream_in_one_commit_follow_each_other(self, store: EventStore) -> None:
        tasks = [lambda: store.append("job-1", [event()], ANY) for _ in range(6)]
        outcomes = append_together(store, tasks)
        assert sorted(outcome.last_version for outcome in outcomes) == [1, 2, 3, 4, 5, 6]
        assert store.verify_chain().is_intact

    def test_one_winner_among_equal_expectations_in_one_commit(self, store: EventStore) -> None:
        outcomes = append_together(store, [lambda: store.append("job-1", [event()], NO_STREAM)] * 6)
        assert sum(isinstance(outcome, AppendResult) for outcome in outcomes) == 1
        assert sum(isinstance(outcome, WrongExpectedVersion) for outcome in outcomes) == 5

    @pytest.mark.parametrize("limit", ["GROUP_APPENDS_MAX", "GROUP_BYTES_MAX"])
    def test_group_is_bounded(self, store: EventStore, monkeypatch, limit: str) -> None:
        monkeypatch.setattr(group_commit, limit, 3 if limit == "GROUP_APPENDS_MAX" else 30)
        append_together(store, [lambda: store.append("job-1", [event()], ANY)] * 9)
        assert store.stats.n_appends == 10
        assert store.stats.n_commits >= 4


def append_together(store: EventStore, tasks: list[Callable[[], AppendResult]]) -> list[object]:
    """Run the tasks while a commit of another append is under way, so that the next commit takes all of them."""
    is_committing = threading.Event()

    def hold() -> None:
        store.backend.before_commit = None
        is_committing.set()
        deadline = time.monotonic() + 10
        while len(store._group._queue) < len(tasks) and time.monotonic() < deadline:
            time.sleep(0.001)

    store.backend.before_commit = hold
    first = threading.Thread(target=lambda: store.append("job-0", [event()], ANY))
    first.start()
    assert is_committing.wait(10)
    outcomes = run_threads(tasks)
    first.join()
    return outcomes
