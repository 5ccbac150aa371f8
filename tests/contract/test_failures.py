from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from eventstore import (
    ANY,
    NO_STREAM,
    CommandIdReused,
    ConnectionLost,
    EventStore,
    NestedTransaction,
    OutcomeUnknown,
    StorageError,
    StoreBusy,
    StoreFull,
    WrongExpectedVersion,
)
from tests.contract.support import event, run_threads
from tests.support.proxy import BreakingProxy, proxy_before

BIG = b"x" * 4_000_000


@pytest.fixture
def proxy(postgres_url: str) -> Iterator[BreakingProxy]:
    proxy = proxy_before(postgres_url)
    yield proxy
    proxy.close()


def fill(store: EventStore) -> None:
    """Make the next large write find no room."""
    if store.dialect == "sqlite":
        driver = store.backend._driver  # type: ignore[attr-defined]
        (pages,) = driver.execute("PRAGMA page_count").fetchone()
        driver.execute(f"PRAGMA max_page_count={pages + 20}")
    else:
        with store.engine.begin() as connection:
            connection.exec_driver_sql(
                "CREATE FUNCTION is_full() RETURNS trigger LANGUAGE plpgsql AS "
                "$$BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = 'disk_full'; END$$"
            )
            connection.exec_driver_sql(
                "CREATE TRIGGER full_disk BEFORE INSERT ON payloads FOR EACH ROW WHEN (NEW.size > 1000000) "
                "EXECUTE FUNCTION is_full()"
            )


@pytest.mark.parametrize("n_events", [1, 3])
def test_full_disk_is_a_clear_error_and_writes_nothing(store: EventStore, n_events: int) -> None:
    store.append("job-a", [event(1)], NO_STREAM)
    fill(store)
    with pytest.raises(StoreFull, match="nothing was written") as caught:
        store.append("job-a", [event(number, payload=BIG) for number in range(n_events)], 1)
    assert caught.value.__cause__ is not None
    assert len(store.read_all()) == 1
    assert store.head("job-a").version == 1  # type: ignore[union-attr]
    assert store.append("job-a", [event(2)], 1).last_version == 2, "small events still find room"
    assert store.verify_chain().is_intact


@pytest.mark.parametrize("n_events", [1, 3])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_append_broken_off_before_its_commit_writes_nothing(
    store: EventStore, n_events: int, error: type[BaseException]
) -> None:
    def fail() -> None:
        raise error

    store.append("job-a", [event()], NO_STREAM)
    store.backend.before_commit = fail
    with pytest.raises(error):
        store.append("job-a", [event(number, payload=b"p") for number in range(n_events)], 1)
    store.backend.before_commit = None
    assert len(store.read_all()) == 1
    assert store.append("job-a", [event()], 1).last_version == 2
    assert store.verify_chain().is_intact


def test_transaction_that_raises_writes_nothing(store: EventStore) -> None:
    with pytest.raises(ZeroDivisionError), store.transaction() as connection:
        store.write_checkpoint(connection, "p", 0, 5)
        raise ZeroDivisionError
    assert store.read_checkpoint("p") == 0


def test_ctrl_c_in_a_statement_leaves_a_store_that_works(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    store.append("job-a", [event(1)], NO_STREAM)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt), store.transaction() as connection:
        patched.setattr(connection.dialect, "do_execute", interrupted)
        connection.exec_driver_sql("SELECT 1")
    lease = store.acquire("job-a", "me", 10.0)
    assert lease is not None
    assert store.append("job-a", [event(2)], 1, epoch=lease.epoch).last_version == 2


def test_append_inside_the_own_transaction_is_refused_and_does_not_hang(store: EventStore) -> None:
    with store.transaction() as connection:
        with pytest.raises(NestedTransaction):
            store.append("job-a", [event()], ANY)
        with pytest.raises(NestedTransaction), store.transaction():
            pass
        store.write_checkpoint(connection, "p", 0, 5)
        assert store.read_stream("job-a") == []
    assert store.read_checkpoint("p") == 5
    assert store.append("job-a", [event()], ANY).last_version == 1


def test_busy_database_is_a_clear_error(store: EventStore, open_store, database_url: str, monkeypatch) -> None:
    store.append("job-a", [event()], NO_STREAM)
    other = open_store(database_url)
    if other.dialect == "sqlite":
        other.backend._driver.execute("PRAGMA busy_timeout=50")
    else:
        other.append("job-z", [event()], NO_STREAM)
        other.backend._writer.execute("SET lock_timeout = 50")
    with store.transaction() as connection:
        connection.exec_driver_sql("UPDATE streams SET fence = fence WHERE name = 'job-a'")
        (outcome,) = run_threads([lambda: other.append("job-a", [event()], 1)])
    assert isinstance(outcome, StoreBusy)
    assert other.append("job-a", [event()], 1).last_version == 2


def test_missing_tables_are_a_storage_error(open_store, tmp_path) -> None:
    store = open_store(str(tmp_path / "empty.db"))
    with pytest.raises(StorageError, match="no such table"):
        store.append("job-a", [event()], ANY)
    with pytest.raises(StorageError, match="no such table"):
        store.read_all()


def test_an_unreachable_database_is_a_clear_error(open_store, tmp_path) -> None:
    with pytest.raises(ConnectionLost):
        open_store(str(tmp_path / "no directory" / "a.db"))
    store = open_store("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(ConnectionLost):
        store.append("job-a", [event()], ANY)
    with pytest.raises(ConnectionLost):
        store.read_all()


class TestLostConnectionPostgres:
    """A connection that breaks after COMMIT reached the server; `postgres` is in each test's id."""

    @pytest.mark.parametrize("n_events", [1, 3], ids=["postgres-one", "postgres-many"])
    @pytest.mark.parametrize("is_new", [True, False], ids=["new", "known"])
    def test_command_is_looked_up_and_its_first_result_returned(
        self, proxy: BreakingProxy, open_store: Callable[..., EventStore], n_events: int, is_new: bool
    ) -> None:
        store = open_store(proxy.url)
        before = 0 if is_new else warm_up(store, n_events)
        arm(store, proxy.break_next_answer)
        result = store.append("job-a", [event(number) for number in range(n_events)], before, "c-1")
        assert (result.first_version, result.last_version) == (before + 1, before + n_events)
        assert len(store.read_all()) == before + n_events
        again = store.append("job-a", [event(number) for number in range(n_events)], before, "c-1")
        assert again.is_repeated
        assert again.last_position == result.last_position
        assert store.verify_chain().is_intact

    @pytest.mark.parametrize("n_events", [1, 3], ids=["postgres-one", "postgres-many"])
    def test_without_a_command_id_the_outcome_is_unknown(
        self, proxy: BreakingProxy, open_store: Callable[..., EventStore], n_events: int
    ) -> None:
        store = open_store(proxy.url)
        before = warm_up(store, n_events, has_commands=False)
        arm(store, proxy.break_next_answer)
        with pytest.raises(OutcomeUnknown, match="may be stored or not"):
            store.append("job-a", [event(number) for number in range(n_events)], before)
        after = before + n_events
        assert store.head("job-a").version == after  # type: ignore[union-attr]
        assert store.append("job-a", [event()], after).last_version == after + 1

    @pytest.mark.parametrize("n_events", [1, 3], ids=["postgres-one", "postgres-many"])
    def test_command_that_did_not_arrive_is_sent_again(
        self, proxy: BreakingProxy, open_store: Callable[..., EventStore], n_events: int
    ) -> None:
        store = open_store(proxy.url)
        store.append("job-a", [event()], NO_STREAM)
        arm(store, proxy.break_next_question)
        result = store.append("job-a", [event(number) for number in range(n_events)], 1, "c-1")
        assert not result.is_repeated
        assert len(store.read_all()) == 1 + n_events

    @pytest.mark.parametrize("command_id", ["c-1", None], ids=["postgres-command", "postgres-none"])
    def test_outcome_is_unknown_when_the_database_stays_away(
        self, proxy: BreakingProxy, open_store: Callable[..., EventStore], command_id: str | None
    ) -> None:
        store = open_store(proxy.url)
        store.append("job-a", [event()], NO_STREAM)

        def cut() -> None:
            proxy.is_refusing = True
            proxy.break_next_answer()

        arm(store, cut)
        with pytest.raises(OutcomeUnknown):
            store.append("job-a", [event()], 1, command_id)
        with pytest.raises(ConnectionLost):
            store.append("job-a", [event()], 1, "c-2")

    @pytest.mark.parametrize("n_events", [1, 3], ids=["postgres-one", "postgres-many"])
    def test_idle_connection_ended_by_the_server_is_replaced(
        self, postgres_url: str, open_store: Callable[..., EventStore], n_events: int
    ) -> None:
        store = open_store(postgres_url)
        store.append("job-a", [event()], NO_STREAM)
        assert len(store.read_all()) == 1
        with open_store(postgres_url).engine.connect() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).all()
        assert store.append("job-a", [event(number) for number in range(n_events)], 1).first_version == 2
        assert len(store.read_all()) == 1 + n_events

    @pytest.mark.parametrize("kind", ["postgres"])
    def test_each_append_of_a_broken_group_commit_gets_its_own_answer(
        self, proxy: BreakingProxy, open_store: Callable[..., EventStore], kind: str
    ) -> None:
        store = open_store(proxy.url)
        for number in range(4):
            store.append(f"job-{number}", [event()], NO_STREAM)
        outcomes = run_grouped(
            store,
            proxy.break_next_answer,
            [
                lambda: store.append("job-0", [event(1)], 1, "c-1"),
                lambda: store.append("job-1", [event(1)], 1),
                lambda: store.append("job-2", [event(1)], 7, "c-2"),
            ],
        )
        assert outcomes[0].last_version == 2
        assert isinstance(outcomes[1], OutcomeUnknown)
        # Its refusal went down with the answer to the others, and was found again.
        assert isinstance(outcomes[2], WrongExpectedVersion)
        assert store.verify_chain().is_intact

    @pytest.mark.parametrize("kind", ["postgres"])
    def test_other_events_of_a_lost_command_are_refused(
        self, proxy: BreakingProxy, open_store: Callable[..., EventStore], kind: str
    ) -> None:
        store = open_store(proxy.url)
        store.append("job-a", [event(1)], NO_STREAM, "c-1")
        arm(store, proxy.break_next_answer)
        with pytest.raises(CommandIdReused):
            store.append("job-a", [event(2)], 1, "c-1")


def warm_up(store: EventStore, n_events: int, *, has_commands: bool = True) -> int:
    """Append twice, so that the statement for a known head is prepared; return the version."""
    for number in range(2):
        command_id = f"warm-{number}" if has_commands else None
        store.append("job-a", [event()] * n_events, number * n_events, command_id)
    return 2 * n_events


def arm(store: EventStore, break_it: Callable[[], None]) -> None:
    """Break the connection at the next commit, once."""

    def before_commit() -> None:
        store.backend.before_commit = None
        break_it()

    store.backend.before_commit = before_commit


def run_grouped(store: EventStore, break_it: Callable[[], None], tasks: list[Callable[[], Any]]) -> list[Any]:
    """Run the tasks in one group commit, whose connection breaks."""
    import threading
    import time

    is_held = threading.Event()

    def hold() -> None:
        deadline = time.monotonic() + 10
        while len(store._group._queue) < len(tasks) and time.monotonic() < deadline:
            time.sleep(0.001)
        arm(store, break_it)

    store.backend.before_commit = hold
    first = threading.Thread(target=lambda: store.append("job-3", [event()], ANY))
    first.start()
    is_held.wait(0.05)
    outcomes = run_threads(tasks)
    first.join()
    return outcomes


WRITER = """
import sys
from eventstore import ANY, EventStore, NewEvent, Payload
store = EventStore.connect(sys.argv[1])
number = 0
while True:
    events = [NewEvent("t", b'{"n": %d}' % (number + place)) for place in range(3)]
    events.append(NewEvent("t", b"{}", 1, Payload(b"%d" % number * 5000, "raw", b"")))
    result = store.append("job-a", events, ANY)
    print(result.last_version, flush=True)
    number += 1
"""


def test_killed_writer_loses_nothing_acknowledged_and_leaves_no_half(store: EventStore, database_url: str) -> None:
    for n_lines in (1, 30):
        command = [sys.executable, "-c", WRITER, database_url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            acknowledged = [int(process.stdout.readline()) for _ in range(n_lines)]
            process.send_signal(signal.SIGKILL)
            acknowledged += [int(line) for line in process.stdout.read().splitlines() if line]
        version = store.append("job-z", [event()], ANY) and store.head("job-a").version  # type: ignore[union-attr]
        assert version >= acknowledged[-1]
        assert version % 4 == 0, "an append is all or nothing"
        report = store.verify_chain()
        assert report.is_intact
        assert report.n_payloads_missing == 0
