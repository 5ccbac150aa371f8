"""The store on an in-memory SQLite, whose one connection serves readers and the writer alike."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from eventstore import ANY, NO_STREAM, EventStore, NestedTransaction, Projection
from eventstore.tables import metadata
from tests.contract.support import event, run_threads


@pytest.fixture
def store() -> Iterator[EventStore]:
    with EventStore.connect("sqlite://") as store:
        with store.transaction() as connection:
            metadata.create_all(connection)
        yield store


def test_appends_and_reads(store: EventStore) -> None:
    store.append("job-a", [event(1, payload=b"p")], NO_STREAM)
    (stored,) = store.read_all()
    assert stored.payload_digest is not None
    assert store.read_payload("job-a", stored.payload_digest).body == b"p"
    assert store.verify_chain().is_intact


def test_serves_many_threads(store: EventStore) -> None:
    def work(place: int) -> None:
        for number in range(20):
            store.append(f"job-{place}", [event(number)], number)
            store.read_all(0, 5)
            store.head(f"job-{place}")
            with store.transaction() as connection:
                store.write_checkpoint(connection, f"p-{place}", number, number + 1)

    assert run_threads([lambda place=place: work(place) for place in range(6)]) == [None] * 6
    assert len(store.read_all()) == 120
    assert store.verify_chain().is_intact


def test_readers_inside_the_own_transaction_see_it(store: EventStore) -> None:
    with store.transaction() as connection:
        store.write_checkpoint(connection, "p", 0, 5)
        assert store.read_checkpoint("p") == 5
        assert store.read_checkpoint("p", connection) == 5
        assert store.read_all() == []
        with pytest.raises(NestedTransaction):
            store.append("job-a", [event()], ANY)


def test_projects(store: EventStore) -> None:
    seen: list[int] = []
    store.append("job-a", [event(), event()], NO_STREAM)
    projection = Projection("p", lambda _connection, events: seen.extend(one.position for one in events))
    assert projection.catch_up(store, page=1) == 2
    assert seen == [1, 2]


def test_projection_without_a_way_to_clear_cannot_be_rebuilt(store: EventStore) -> None:
    with pytest.raises(AssertionError, match="cannot be rebuilt"):
        Projection("p", lambda _connection, _events: None).rebuild(store)


def test_failed_reads_leave_the_connection_usable(store: EventStore) -> None:
    with pytest.raises(ZeroDivisionError), store.reading():
        raise ZeroDivisionError
    assert store.append("job-a", [event()], ANY).last_version == 1
