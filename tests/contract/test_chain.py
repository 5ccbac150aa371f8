"""Tampering is found; copies equal their source. The triggers are lifted first, as a tamperer would."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from eventstore import ANY, NO_STREAM, CopyRefused, EventStore, EventStoreError
from eventstore.copy import copy_log
from eventstore.tables import events
from tests.contract.support import event

N_EVENTS = 6


@pytest.fixture
def filled(store: EventStore) -> EventStore:
    store.append("job-a", [event(1, payload=b"one"), event(2)], NO_STREAM, "c-1", actor="me", epoch=3)
    store.append("job-b", [event(3)], NO_STREAM, request_id="r", cause="c")
    for number in range(4, 4 + N_EVENTS - 2):
        store.append("job-a", [event(number)], ANY)
    store.save_snapshot("job-a", 2, "model/1", b"state")
    assert store.verify_chain().is_intact
    return store


def tamper(store: EventStore, *statements: str) -> None:
    with store.transaction() as connection:
        if store.dialect == "postgresql":
            connection.execute(text("SET LOCAL eventstore.is_erasing = 'on'"))
        else:
            for verb in ("update", "delete"):
                connection.execute(text(f"DROP TRIGGER IF EXISTS events_no_{verb}"))
        for statement in statements:
            connection.execute(text(statement))


CHANGES = {
    "version": "version + 100",
    "type": "'other'",
    "schema_version": "2",
    "recorded_at": "recorded_at + 1",
    "actor": "'nobody'",
    "request_id": "'x'",
    "cause": "'x'",
    "command_id": "'x'",
    "command_index": "7",
    "data": "data || ' '",
    "payload_digest": "hash",
    "hash": "payload_digest",
}


@pytest.mark.parametrize("column", CHANGES)
def test_a_change_of_any_column_is_found(filled: EventStore, column: str) -> None:
    tamper(filled, f"UPDATE events SET {column} = {CHANGES[column]} WHERE position = 1")
    report = filled.verify_chain()
    assert not report.is_intact
    assert report.first_bad is not None
    assert (report.first_bad.stream, report.first_bad.version) == ("job-a", 1)
    assert filled.verify_chain("job-b").is_intact


def test_every_stored_column_is_tried() -> None:
    assert set(CHANGES) | {"position", "stream_id"} == {column.name for column in events.columns}


@pytest.mark.parametrize("version", [1, 3, N_EVENTS])
def test_a_missing_event_is_found(filled: EventStore, version: int) -> None:
    tamper(filled, f"DELETE FROM events WHERE version = {version} AND stream_id = 1")
    report = filled.verify_chain()
    assert report.first_bad is not None
    assert (report.first_bad.stream, report.first_bad.version) == ("job-a", version)
    assert "missing" in report.first_bad.what


def test_an_inserted_event_is_found(filled: EventStore) -> None:
    columns = "type, schema_version, recorded_at, data, hash"
    tamper(
        filled,
        f"INSERT INTO events (stream_id, version, {columns}) SELECT stream_id, {N_EVENTS + 1}, {columns} "
        f"FROM events WHERE version = {N_EVENTS}",
    )
    report = filled.verify_chain()
    assert report.first_bad is not None
    assert report.first_bad.version == N_EVENTS + 1


def test_events_that_changed_places_are_found(filled: EventStore) -> None:
    tamper(
        filled,
        "UPDATE events SET version = -3 WHERE version = 3 AND stream_id = 1",
        "UPDATE events SET version = 3 WHERE version = 4 AND stream_id = 1",
        "UPDATE events SET version = 4 WHERE version = -3",
    )
    assert filled.verify_chain().first_bad.version == 3  # type: ignore[union-attr]


def test_an_event_moved_to_another_stream_is_found(filled: EventStore) -> None:
    tamper(
        filled,
        "UPDATE events SET stream_id = 77 WHERE stream_id = 2",
        "UPDATE streams SET id = 77 WHERE id = 2",
        "UPDATE streams SET name = 'job-c' WHERE id = 77",
    )
    assert filled.verify_chain().first_bad.stream == "job-c"  # type: ignore[union-attr]


def test_an_event_without_a_stream_is_found(filled: EventStore) -> None:
    tamper(filled, "DELETE FROM streams WHERE id = 2")
    report = filled.verify_chain()
    assert "no head row" in report.first_bad.what  # type: ignore[union-attr]


@pytest.mark.parametrize("change", ["version = 5", "head_hash = name", "recorded_at = 7"])
def test_a_head_row_that_does_not_fit_is_found(filled: EventStore, change: str) -> None:
    if "name" in change:
        change = "head_hash = (SELECT hash FROM events WHERE position = 1)"
    tamper(filled, f"UPDATE streams SET {change} WHERE id = 1")
    assert filled.verify_chain().first_bad.stream == "job-a"  # type: ignore[union-attr]


def test_payload_bytes_that_do_not_fit_are_found(filled: EventStore) -> None:
    tamper(filled, "UPDATE payloads SET body = digest")
    report = filled.verify_chain()
    assert "payload" in report.first_bad.what  # type: ignore[union-attr]
    assert report.first_bad.version == 1  # type: ignore[union-attr]


def test_an_unknown_stream_does_not_verify(filled: EventStore) -> None:
    assert not filled.verify_chain("job-x").is_intact


@pytest.mark.parametrize("statement", ["UPDATE events SET actor = 'x'", "DELETE FROM events"])
def test_events_are_append_only(filled: EventStore, statement: str) -> None:
    with pytest.raises((EventStoreError, DBAPIError), match="append-only"), filled.transaction() as connection:
        connection.execute(text(statement))
    assert filled.verify_chain().is_intact


class TestCopy:
    @pytest.fixture(params=["sqlite", "postgres"])
    def target(self, request: pytest.FixtureRequest, open_store: Callable[..., EventStore]) -> EventStore:
        return open_store(request.getfixturevalue(f"new_{request.param}_url")())

    def test_equals_its_source(self, filled: EventStore, target: EventStore) -> None:
        told: list[tuple[int, int]] = []
        report = copy_log(filled, target, lambda done, total: told.append((done, total)))
        assert target.read_all() == filled.read_all()
        assert target.head("job-a") == filled.head("job-a")
        assert target.load_snapshot("job-a", "model/1") == filled.load_snapshot("job-a", "model/1")
        digest = filled.read_stream("job-a")[0].payload_digest
        assert digest is not None
        assert target.read_payload("job-a", digest) == filled.read_payload("job-a", digest)
        assert report.n_rows["events"] == N_EVENTS + 1
        assert report.chain.is_intact
        assert told[-1][0] == told[-1][1]

    def test_goes_on_where_its_source_ended(self, filled: EventStore, target: EventStore) -> None:
        filled.acquire("job-b", "node-1", 60)
        copy_log(filled, target)
        last = filled.read_all()[-1].position
        assert target.append("job-c", [event()], NO_STREAM).last_position > last
        assert target.append("job-a", [event()], N_EVENTS).last_version == N_EVENTS + 1
        assert target.append("job-a", [event(1, payload=b"one"), event(2)], 0, "c-1", epoch=3).is_repeated
        assert target.acquire("job-b", "node-2", 60).epoch == 2  # type: ignore[union-attr]
        assert target.verify_chain().is_intact

    def test_needs_an_empty_target(self, filled: EventStore, target: EventStore) -> None:
        target.append("job-a", [event()], NO_STREAM)
        with pytest.raises(CopyRefused, match="must be empty"):
            copy_log(filled, target)
        assert len(target.read_all()) == 1

    def test_broken_off_leaves_the_target_empty(self, filled: EventStore, target: EventStore) -> None:
        def stop(done: int, total: int) -> None:
            if done > total // 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            copy_log(filled, target, stop)
        assert target.read_all() == []
        copy_log(filled, target)

    def test_of_a_corrupt_log_is_refused(self, filled: EventStore, target: EventStore) -> None:
        tamper(filled, "UPDATE events SET data = '{}' WHERE position = 2")
        with pytest.raises(CopyRefused, match="does not verify"):
            copy_log(filled, target)

    def test_sees_one_state_of_a_source_that_is_written_to(
        self, filled: EventStore, target: EventStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("eventstore.copy.COPIED", [(table, 2) for table, _ in _copied()])
        copy_log(filled, target, lambda _done, _total: filled.append("job-b", [event()], ANY) and None)
        assert len(target.read_all()) == N_EVENTS + 1
        assert target.verify_chain().is_intact


def _copied() -> list[tuple[object, int]]:
    from eventstore.copy import COPIED

    return list(COPIED)


def test_many_rows_are_copied_page_by_page(
    store: EventStore, new_sqlite_url: Callable[[], str], open_store: Callable[..., EventStore], tmp_path: Path
) -> None:
    for number in range(3):
        store.append("job-a", [event(number * 1000 + place) for place in range(900)], ANY)
    store.append("job-b", [event(place, payload=b"%d" % place) for place in range(50)], ANY)
    target = open_store(new_sqlite_url())
    copy_log(store, target)
    assert target.read_all(0, 10_000) == store.read_all(0, 10_000)
