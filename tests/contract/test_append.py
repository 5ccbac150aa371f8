from __future__ import annotations

import pytest

from eventstore import (
    ANY,
    NO_STREAM,
    AppendResult,
    CommandIdReused,
    EventStore,
    FencedOut,
    InvalidEvent,
    NewEvent,
    Payload,
    PayloadCorrupt,
    PayloadMissing,
    WrongExpectedVersion,
)
from eventstore.events import EVENTS_PER_APPEND_MAX, NAME_BYTES_MAX, PAGE_MAX
from tests.contract.support import event, run_threads


def test_first_append_makes_the_stream(store: EventStore) -> None:
    result = store.append("job-a", [event(1), event(2)], NO_STREAM)
    assert result == AppendResult("job-a", 1, 2, result.last_position)
    assert [stored.version for stored in store.read_stream("job-a")] == [1, 2]
    assert store.read_stream("job-a")[-1].position == result.last_position


def test_events_come_back_verbatim(store: EventStore) -> None:
    data = '{"b":1 , "a": 1e2, "text": "\\u0000 \u00e4\U0001f600"}'
    payload = Payload(bytes(range(256)) * 300, "zstd/1", b"c" * 32)
    store.append(
        "job-a", [NewEvent("created", data.encode(), 3, payload)], NO_STREAM, "command-1",
        actor="me", request_id="r-1", cause="c-1",
    )  # fmt: skip
    (stored,) = store.read_stream("job-a")
    assert (stored.stream, stored.type, stored.schema_version, stored.data) == ("job-a", "created", 3, data)
    assert (stored.actor, stored.request_id, stored.cause) == ("me", "r-1", "c-1")
    assert (stored.command_id, stored.command_index) == ("command-1", 0)
    assert stored.payload_digest == payload.digest
    assert store.read_payload("job-a", payload.digest) == payload
    assert store.read_all() == [stored]


@pytest.mark.parametrize("n_events", [1, 2, 300])
def test_many_appends_give_versions_without_gaps(store: EventStore, n_events: int) -> None:
    version = 0
    for _ in range(4):
        result = store.append("job-a", [event(number) for number in range(n_events)], version)
        assert (result.first_version, result.last_version) == (version + 1, version + n_events)
        version = result.last_version
    stored = list(store.iter_stream("job-a", page=7))
    assert [one.version for one in stored] == list(range(1, 4 * n_events + 1))
    assert [one.position for one in stored] == sorted(one.position for one in stored)
    assert store.verify_chain("job-a").is_intact


@pytest.mark.parametrize("expected", [NO_STREAM, 1, 3])
def test_wrong_version_is_refused_with_both_versions(store: EventStore, expected: int) -> None:
    store.append("job-a", [event(), event()], NO_STREAM)
    with pytest.raises(WrongExpectedVersion) as caught:
        store.append("job-a", [event()], expected)
    assert (caught.value.stream, caught.value.expected, caught.value.actual) == ("job-a", expected, 2)
    assert store.head("job-a").version == 2  # type: ignore[union-attr]


def test_wrong_version_of_an_unknown_stream_makes_no_stream(store: EventStore) -> None:
    with pytest.raises(WrongExpectedVersion) as caught:
        store.append("job-a", [event()], 5)
    assert caught.value.actual == 0
    assert store.head("job-a") is None


def test_any_version_is_accepted_with_any(store: EventStore) -> None:
    assert store.append("job-a", [event()], ANY).last_version == 1
    assert store.append("job-a", [event()], ANY).last_version == 2


def test_an_append_seen_by_another_store_is_not_overwritten(store: EventStore, open_store, database_url: str) -> None:
    other = open_store(database_url)
    store.append("job-a", [event(1)], NO_STREAM)
    other.append("job-a", [event(2)], 1)
    with pytest.raises(WrongExpectedVersion):
        store.append("job-a", [event(3)], 1)  # the version that this store last wrote
    assert store.append("job-a", [event(3)], ANY).last_version == 3
    assert store.verify_chain().is_intact


def test_two_racing_writers_give_one_winner_and_no_gap(store: EventStore, open_store, database_url: str) -> None:
    other = open_store(database_url)
    for version in range(20):
        outcomes = run_threads(
            [lambda one=one, version=version: one.append("job-a", [event()], version) for one in (store, other)]
        )
        winners = [outcome for outcome in outcomes if isinstance(outcome, AppendResult)]
        losers = [outcome for outcome in outcomes if isinstance(outcome, WrongExpectedVersion)]
        assert (len(winners), len(losers)) == (1, 1), outcomes
        assert losers[0].actual == version + 1
    assert [stored.version for stored in store.read_stream("job-a")] == list(range(1, 21))


class TestCommands:
    def test_retry_gives_the_first_result_and_writes_nothing(self, store: EventStore) -> None:
        first = store.append("job-a", [event(1), event(2)], NO_STREAM, "c-1")
        again = store.append("job-a", [event(1), event(2)], NO_STREAM, "c-1")
        assert again == AppendResult("job-a", 1, 2, first.last_position, is_repeated=True)
        assert len(store.read_all()) == 2

    @pytest.mark.parametrize("expected", [NO_STREAM, 1, 2, ANY, 17])
    def test_retry_is_known_at_any_expected_version(self, store: EventStore, expected: int) -> None:
        store.append("job-a", [event(1)], NO_STREAM, "c-1")
        store.append("job-a", [event(2)], 1, "c-2")
        assert store.append("job-a", [event(1)], expected, "c-1").is_repeated
        assert store.head("job-a").version == 2  # type: ignore[union-attr]

    def test_retry_by_another_process_is_known(self, store: EventStore, open_store, database_url: str) -> None:
        store.append("job-a", [event(1)], NO_STREAM, "c-1")
        other = open_store(database_url)
        other.append("job-a", [event(2)], 1)
        assert other.append("job-a", [event(1)], 2, "c-1").is_repeated
        assert other.find_command("job-a", "c-1") == AppendResult("job-a", 1, 1, 1, is_repeated=True)
        assert other.find_command("job-a", "c-2") is None
        assert other.find_command("job-b", "c-1") is None

    @pytest.mark.parametrize("expected", [NO_STREAM, 1, ANY])
    @pytest.mark.parametrize(
        "events",
        [[event(2)], [event(1), event(1)], [event(1, type="other")], [NewEvent("data_posted", b'{"n": 1}', 2)]],
    )
    def test_other_events_under_the_same_id_are_refused(
        self, store: EventStore, events: list[NewEvent], expected: int
    ) -> None:
        store.append("job-a", [event(1)], NO_STREAM, "c-1")
        with pytest.raises(CommandIdReused, match="c-1"):
            store.append("job-a", events, expected, "c-1")
        assert len(store.read_all()) == 1

    def test_payloads_are_compared_by_what_they_mean(self, store: EventStore) -> None:
        store.append("job-a", [NewEvent("t", b"{}", 1, Payload(b"one way", "z/1", b"same"))], 0, "c-1")
        again = [NewEvent("t", b"{}", 1, Payload(b"another way", "z/1", b"same"))]
        assert store.append("job-a", again, 0, "c-1").is_repeated
        with pytest.raises(CommandIdReused):
            store.append("job-a", [NewEvent("t", b"{}", 1, Payload(b"one way?", "z/1", b"other"))], 0, "c-1")

    def test_ids_are_of_their_stream(self, store: EventStore) -> None:
        store.append("job-a", [event(1)], NO_STREAM, "c-1")
        assert not store.append("job-b", [event(2)], NO_STREAM, "c-1").is_repeated

    def test_retries_in_one_commit_write_once(self, store: EventStore) -> None:
        outcomes = run_threads([lambda: store.append("job-a", [event(1)], ANY, "c-1")] * 8)
        assert sorted(outcome.is_repeated for outcome in outcomes) == [False] + [True] * 7
        assert {outcome.last_position for outcome in outcomes} == {store.read_all()[0].position}
        assert len(store.read_all()) == 1


class TestFence:
    def test_paused_owner_cannot_append_after_a_take_over(self, store: EventStore) -> None:
        paused = store.acquire("job-a", "node-1", 0.0)
        assert paused is not None
        store.append("job-a", [event()], NO_STREAM, epoch=paused.epoch)
        owner = store.acquire("job-a", "node-2", 60, replaces="node-1")
        assert owner is not None
        with pytest.raises(FencedOut) as caught:  # it has the right version
            store.append("job-a", [event()], 1, epoch=paused.epoch)
        assert (caught.value.epoch, caught.value.fence) == (paused.epoch, owner.epoch)
        assert store.append("job-a", [event()], 1, epoch=owner.epoch).last_version == 2

    def test_paused_owner_of_another_process_cannot_append(
        self, store: EventStore, open_store, database_url: str
    ) -> None:
        other = open_store(database_url)
        paused = other.acquire("job-a", "node-1", 0.0)
        other.append("job-a", [event()], NO_STREAM, epoch=paused.epoch)
        assert store.acquire("job-a", "node-2", 60, replaces="node-1") is not None
        with pytest.raises(FencedOut):
            other.append("job-a", [event()], 1, epoch=paused.epoch)

    def test_retry_of_a_fenced_owner_is_still_answered(self, store: EventStore) -> None:
        store.append("job-a", [event()], NO_STREAM, "c-1", epoch=1)
        store.append("job-a", [event()], 1, epoch=2)
        assert store.append("job-a", [event()], NO_STREAM, "c-1", epoch=1).is_repeated

    def test_higher_epoch_raises_the_fence(self, store: EventStore) -> None:
        store.append("job-a", [event()], NO_STREAM, epoch=7)
        store.append("job-a", [event()], 1, epoch=8)
        assert store.head("job-a").fence == 8  # type: ignore[union-attr]
        with pytest.raises(FencedOut):
            store.append("job-a", [event()], 2, epoch=7)

    def test_appends_without_an_epoch_pass(self, store: EventStore) -> None:
        store.append("job-a", [event()], NO_STREAM, epoch=7)
        assert store.append("job-a", [event()], 1).last_version == 2
        assert store.head("job-a").fence == 7  # type: ignore[union-attr]


class TestInput:
    @pytest.mark.parametrize("stream", ["", "a\0b", "\ud800", "x" * (NAME_BYTES_MAX + 1)])
    def test_bad_names_are_refused(self, store: EventStore, stream: str) -> None:
        with pytest.raises(InvalidEvent):
            store.append(stream, [event()], ANY)
        with pytest.raises(InvalidEvent):
            store.append("job-a", [event()], ANY, stream)
        with pytest.raises(InvalidEvent):
            store.append("job-a", [event()], ANY, actor=stream)

    @pytest.mark.parametrize("data", [b"\xff", b"a\0b"])
    def test_data_that_is_no_text_is_refused(self, store: EventStore, data: bytes) -> None:
        with pytest.raises(InvalidEvent):
            store.append("job-a", [event(), NewEvent("t", data)], ANY)
        assert store.read_all() == []

    @pytest.mark.parametrize("n_events", [0, EVENTS_PER_APPEND_MAX + 1])
    def test_number_of_events_is_bounded(self, store: EventStore, n_events: int) -> None:
        with pytest.raises(InvalidEvent, match=f"got {n_events}"):
            store.append("job-a", [event()] * n_events, ANY)

    def test_senseless_expected_versions_are_refused(self, store: EventStore) -> None:
        with pytest.raises(InvalidEvent):
            store.append("job-a", [event()], -2)

    def test_names_near_the_bound_are_stored(self, store: EventStore) -> None:
        name = "\u00e4" * (NAME_BYTES_MAX // 2)
        store.append(name, [event()], ANY, name, actor=name)
        assert store.append(name, [event()], ANY, name).is_repeated
        assert store.list_streams() == [name]


class TestReading:
    def test_unknown_streams_are_empty(self, store: EventStore) -> None:
        assert store.read_stream("job-a") == []
        assert store.head("job-a") is None
        assert list(store.iter_stream("job-a")) == []

    def test_pages_of_a_stream(self, store: EventStore) -> None:
        store.append("job-a", [event(number) for number in range(10)], NO_STREAM)
        assert [one.version for one in store.read_stream("job-a", 3, 4)] == [4, 5, 6, 7]
        assert [one.version for one in store.iter_stream("job-a", 2, 8, page=3)] == [3, 4, 5, 6, 7, 8]
        assert [one.version for one in store.iter_stream("job-a", 8, 20, page=2)] == [9, 10]
        assert [one.version for one in store.iter_stream("job-a", 0, 2, page=2)] == [1, 2]

    def test_pages_of_the_log(self, store: EventStore) -> None:
        for number in range(5):
            store.append(f"job-{number % 2}", [event(number), event(number)], ANY)
        whole = store.read_all()
        assert [one.stream for one in whole] == ["job-0", "job-0", "job-1", "job-1"] * 2 + ["job-0"] * 2
        assert store.read_all(whole[3].position, 2) == whole[4:6]
        assert store.read_all(whole[-1].position) == []

    def test_page_size_is_bounded(self, store: EventStore) -> None:
        for _ in range(2):
            store.append("job-a", [event(number) for number in range(PAGE_MAX - 1)], ANY)
        assert len(store.read_stream("job-a", 0, 10**9)) == PAGE_MAX
        assert len(store.read_all(0, 10**9)) == PAGE_MAX

    def test_streams_are_listed_by_prefix(self, store: EventStore) -> None:
        for name in ("job-b", "job-a", "datafeed-a", "Job-a", "job_a", "job%a"):
            store.append(name, [event()], NO_STREAM)
        store.acquire("job-leased", "me", 1)
        assert store.list_streams("job-") == ["job-a", "job-b"]
        assert store.list_streams("job_") == ["job_a"]
        assert len(store.list_streams()) == 6


class TestPayloads:
    def test_equal_payloads_of_a_stream_are_stored_once(self, store: EventStore) -> None:
        store.append("job-a", [event(1, payload=b"same"), event(2, payload=b"same")], NO_STREAM)
        store.append("job-a", [event(3, payload=b"same")], 2)
        assert store.delete_payloads("job-a") == 1

    def test_deleted_ones_are_missing_and_the_chain_stays_intact(self, store: EventStore) -> None:
        store.append("job-a", [event(1, payload=b"one"), event(2, payload=b"two")], NO_STREAM)
        one, two = (Payload(body, "", b"").digest for body in (b"one", b"two"))
        assert store.delete_payloads("job-a", [one]) == 1
        with pytest.raises(PayloadMissing):
            store.read_payload("job-a", one)
        assert store.read_payload("job-a", two).body == b"two"
        assert store.read_payloads("job-a", [two, one, two]) == {two: store.read_payload("job-a", two)}
        assert store.read_payloads("job-a", []) == {}
        report = store.verify_chain()
        assert report.is_intact
        assert [(lost.version, lost.digest) for lost in report.missing_payloads] == [(1, one)]

    def test_corrupt_ones_are_noticed(self, store: EventStore) -> None:
        store.append("job-a", [event(1, payload=b"one")], NO_STREAM)
        with store.transaction() as connection:
            connection.exec_driver_sql("UPDATE payloads SET codec = codec, body = digest")
        with pytest.raises(PayloadCorrupt):
            store.read_payload("job-a", Payload(b"one", "", b"").digest)


def test_recorded_at_never_falls_within_a_stream(database_url: str, open_store) -> None:
    times = iter([5_000_000, 3_000_000, 4_000_000, 6_000_000])
    store = open_store(database_url, clock=lambda: next(times))
    for _ in range(4):
        store.append("job-a", [event()], ANY)
    assert [one.recorded_at for one in store.read_all()] == [5_000_000, 5_000_000, 5_000_000, 6_000_000]
    assert store.verify_chain().is_intact
