"""What hangs on the log: snapshots, checkpoints, projections, leases."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from sqlalchemy import Connection, text

from eventstore import (
    ANY,
    NO_STREAM,
    CheckpointMoved,
    EventStore,
    Lease,
    Projection,
    StoredEvent,
    UnknownStream,
)
from tests.contract.support import event, run_threads


class TestSnapshots:
    @pytest.fixture
    def store(self, store: EventStore) -> EventStore:
        store.append("job-a", [event(number) for number in range(9)], NO_STREAM)
        return store

    def test_newest_of_the_schema_is_loaded(self, store: EventStore) -> None:
        for version in (3, 6):
            store.save_snapshot("job-a", version, "model/1", b"state %d" % version, codec="zstd")
        store.save_snapshot("job-a", 9, "model/2", b"of a newer program")
        found = store.load_snapshot("job-a", "model/1")
        assert found is not None
        assert (found.version, found.body, found.codec) == (6, b"state 6", "zstd")
        assert store.load_snapshot("job-a", "model/3") is None
        assert store.load_snapshot("job-b", "model/1") is None

    def test_loaded_at_or_not_after_a_version(self, store: EventStore) -> None:
        for version in (3, 6):
            store.save_snapshot("job-a", version, "model/1", b"state")
        assert store.load_snapshot("job-a", "model/1", not_after=5).version == 3  # type: ignore[union-attr]
        assert store.load_snapshot("job-a", "model/1", at_version=3).version == 3  # type: ignore[union-attr]
        assert store.load_snapshot("job-a", "model/1", at_version=4) is None
        assert store.load_snapshot("job-a", "model/1", not_after=2) is None

    def test_corrupt_ones_are_skipped_with_a_warning(self, store: EventStore, caplog: pytest.LogCaptureFixture) -> None:
        for version in (3, 6):
            store.save_snapshot("job-a", version, "model/1", b"state %d" % version)
        with store.transaction() as connection:
            connection.execute(text("UPDATE snapshots SET body = digest WHERE version = 6"))
        assert store.load_snapshot("job-a", "model/1").version == 3  # type: ignore[union-attr]
        assert store.load_snapshot("job-a", "model/1", at_version=6) is None
        assert store.n_snapshots_discarded == 2
        assert "version 6" in caplog.text
        store.save_snapshot("job-a", 6, "model/1", b"anew")
        assert store.load_snapshot("job-a", "model/1").body == b"anew"  # type: ignore[union-attr]

    def test_listed_and_deleted(self, store: EventStore) -> None:
        for version, schema in ((3, "a"), (6, "a"), (6, "b")):
            store.save_snapshot("job-a", version, schema, b"state")
        assert [(one.version, one.size) for one in store.list_snapshots("job-a", "a")] == [(3, 5), (6, 5)]
        assert store.delete_snapshots("job-a", version=6, state_schema="a") == 1
        assert store.delete_snapshots("job-b") == 0
        assert store.delete_snapshots("job-a") == 2
        assert store.list_snapshots("job-a") == []

    def test_none_of_an_unknown_stream(self, store: EventStore) -> None:
        with pytest.raises(UnknownStream):
            store.save_snapshot("job-b", 1, "a", b"")

    def test_written_with_other_rows_or_not_at_all(self, store: EventStore) -> None:
        with pytest.raises(ZeroDivisionError), store.transaction() as connection:
            store.save_snapshot("job-a", 3, "a", b"", conn=connection)
            raise ZeroDivisionError
        assert store.list_snapshots("job-a") == []


class TestCheckpoints:
    def test_moves_from_where_it_stood(self, store: EventStore) -> None:
        assert store.read_checkpoint("p") == 0
        for old, new in ((0, 5), (5, 9)):
            with store.transaction() as connection:
                store.write_checkpoint(connection, "p", old, new)
        assert store.read_checkpoint("p") == 9

    @pytest.mark.parametrize("old", [0, 4, 6])
    def test_does_not_move_from_elsewhere(self, store: EventStore, old: int) -> None:
        with store.transaction() as connection:
            store.write_checkpoint(connection, "p", 0, 5)
        with pytest.raises(CheckpointMoved) as caught, store.transaction() as connection:
            store.write_checkpoint(connection, "p", old, 9)
        assert (caught.value.expected, caught.value.actual) == (old, 5)
        assert store.read_checkpoint("p") == 5

    def test_does_not_move_for_a_writer_of_an_older_epoch(self, store: EventStore) -> None:
        with store.transaction() as connection:
            store.write_checkpoint(connection, "p", 0, 5, epoch=2)
        with pytest.raises(CheckpointMoved), store.transaction() as connection:
            store.write_checkpoint(connection, "p", 5, 9, epoch=1)

    def test_moves_for_one_of_two_racing_writers(
        self, store: EventStore, open_store: Callable[..., EventStore], database_url: str
    ) -> None:
        other = open_store(database_url)

        def move(one: EventStore, old: int) -> None:
            with one.transaction() as connection:
                one.write_checkpoint(connection, "p", old, old + 1)

        for old in range(5):
            outcomes = run_threads([lambda one=one, old=old: move(one, old) for one in (store, other)])
            assert sorted(type(outcome).__name__ for outcome in outcomes) == ["CheckpointMoved", "NoneType"]


class Counting:
    """A projection that counts events by stream, in a table of its own."""

    def __init__(self, store: EventStore) -> None:
        with store.transaction() as connection:
            connection.execute(text("CREATE TABLE counted (stream text, n bigint)"))
        self.is_failing = False
        self.projection = Projection("counted", self.handle, self.clear)

    def handle(self, connection: Connection, events: Sequence[StoredEvent]) -> None:
        for stored in events:
            connection.execute(text("INSERT INTO counted VALUES (:s, 1)"), {"s": stored.stream})
        if self.is_failing:
            raise ZeroDivisionError

    def clear(self, connection: Connection) -> None:
        connection.execute(text("DELETE FROM counted"))

    def counts(self, store: EventStore) -> dict[str, int]:
        with store.reading() as connection:
            rows = connection.execute(text("SELECT stream, count(*) FROM counted GROUP BY stream"))
            return {stream: count for stream, count in rows}


class TestProjections:
    @pytest.fixture
    def counting(self, store: EventStore) -> Counting:
        for number in range(7):
            store.append(f"job-{number % 2}", [event()], ANY)
        return Counting(store)

    def test_handles_each_event_once(self, store: EventStore, counting: Counting) -> None:
        assert counting.projection.catch_up(store, page=3) == 7
        assert counting.projection.catch_up(store) == 0
        store.append("job-1", [event()], ANY)
        assert counting.projection.catch_up(store) == 1
        assert counting.counts(store) == {"job-0": 4, "job-1": 4}

    def test_rows_and_checkpoint_are_written_together(self, store: EventStore, counting: Counting) -> None:
        counting.is_failing = True
        with pytest.raises(ZeroDivisionError):
            counting.projection.catch_up(store)
        assert counting.counts(store) == {}
        assert store.read_checkpoint("counted") == 0
        counting.is_failing = False
        assert counting.projection.catch_up(store) == 7
        assert counting.counts(store) == {"job-0": 4, "job-1": 3}

    def test_rebuild_gives_the_same_rows(self, store: EventStore, counting: Counting) -> None:
        counting.projection.catch_up(store)
        with store.transaction() as connection:
            connection.execute(text("INSERT INTO counted VALUES ('stale', 1)"))
        assert counting.projection.rebuild(store, page=2) == 7
        assert counting.counts(store) == {"job-0": 4, "job-1": 3}

    def test_two_at_once_count_each_event_once(
        self, store: EventStore, counting: Counting, open_store: Callable[..., EventStore], database_url: str
    ) -> None:
        other = open_store(database_url)
        outcomes = run_threads([lambda one=one: counting.projection.catch_up(one, page=1) for one in (store, other)])
        assert all(isinstance(outcome, int | CheckpointMoved) for outcome in outcomes)
        counting.projection.catch_up(store)
        assert counting.counts(store) == {"job-0": 4, "job-1": 3}


class TestLeases:
    def test_held_one_is_not_given_to_another(self, store: EventStore) -> None:
        lease = store.acquire("job-a", "node-1", 60)
        assert lease is not None
        assert store.acquire("job-a", "node-2", 60) is None
        assert store.holder("job-a") == lease
        assert store.holder("job-b") is None

    def test_released_one_is_free_and_its_epoch_goes_on(self, store: EventStore) -> None:
        lease = store.acquire("job-a", "node-1", 60)
        assert lease is not None
        assert store.release(lease)
        assert store.holder("job-a") is store.last_holder("job-a") is None
        assert store.acquire("job-a", "node-2", 60).epoch == lease.epoch + 1  # type: ignore[union-attr]
        assert not store.release(lease)
        assert store.renew(lease, 60) is None

    def test_expired_one_is_free_and_its_owner_still_known(self, store: EventStore) -> None:
        lease = store.acquire("job-a", "node-1", -1)
        assert store.holder("job-a") is None
        assert store.last_holder("job-a") == lease
        assert store.acquire("job-a", "node-2", 60) is not None

    def test_dead_owner_is_replaced_at_once_by_one_only(self, store: EventStore) -> None:
        store.acquire("job-a", "dead", 60)
        assert store.acquire("job-a", "node-1", 60, replaces="somebody") is None
        assert store.acquire("job-a", "node-1", 60, replaces="dead").owner == "node-1"  # type: ignore[union-attr]
        assert store.acquire("job-a", "node-2", 60, replaces="dead") is None

    def test_own_one_is_taken_again_with_a_new_epoch(self, store: EventStore) -> None:
        first = store.acquire("job-a", "node-1", 60)
        again = store.acquire("job-a", "node-1", 60)
        assert first is not None
        assert again is not None
        assert again.epoch == first.epoch + 1
        assert store.renew(first, 60) is None

    def test_renewed_one_runs_longer(self, store: EventStore) -> None:
        lease = store.acquire("job-a", "node-1", 1)
        assert lease is not None
        renewed = store.renew(lease, 1000)
        assert renewed is not None
        assert renewed.expires_at > lease.expires_at + 900_000_000
        assert store.holder("job-a") == renewed

    def test_one_of_many_gets_it(
        self, store: EventStore, open_store: Callable[..., EventStore], database_url: str
    ) -> None:
        stores = [store, open_store(database_url)]
        outcomes = run_threads(
            [lambda place=place: stores[place % 2].acquire("job-a", f"node-{place}", 60) for place in range(6)]
        )
        assert sum(isinstance(outcome, Lease) for outcome in outcomes) == 1, outcomes

    def test_sets_the_fence_of_a_stream_that_is_yet_to_come(self, store: EventStore) -> None:
        store.acquire("job-a", "node-1", 60)
        assert store.head("job-a").fence == 1  # type: ignore[union-attr]
        assert store.append("job-a", [event()], NO_STREAM, epoch=1).last_version == 1

    def test_epoch_is_above_the_fence_of_its_stream(self, store: EventStore) -> None:
        store.append("job-a", [event()], NO_STREAM, epoch=40)
        assert store.acquire("job-a", "node-1", 60).epoch == 41  # type: ignore[union-attr]
        store.append("job-a", [event()], 1, epoch=50)
        assert store.acquire("job-a", "node-1", 60).epoch == 51  # type: ignore[union-attr]
        assert store.head("job-a").fence == 51  # type: ignore[union-attr]

    def test_resource_that_is_no_stream_makes_none(self, store: EventStore) -> None:
        assert store.acquire("keeper", "node-1", 60, is_stream=False) is not None
        assert store.head("keeper") is None
