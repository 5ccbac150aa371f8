"""Seals name what was changed, on both databases, even where hashes and heads were made to fit again."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from eventstore import ANY, NO_STREAM, CorruptSeal, EventStore, SealRefused
from eventstore.chain import GENESIS, encode_context, encode_texts, hash_event
from eventstore.copy import copy_log
from eventstore.links import BadLink
from eventstore.log_reading import LogReader, ReadOnlyLog
from eventstore.sealing import seal_log
from eventstore.seals import ExportedSeals, StoredSeals, export_line
from eventstore.signing import KeyRefused, SigningKey, public_path, read_public_key
from eventstore.verify import ChainReport, Verification, verify_chain
from tests.contract.support import event, run_threads
from tests.contract.test_chain import tamper

KEY = SigningKey.make()
OTHER = SigningKey.make()


@pytest.fixture
def sealed(store: EventStore) -> EventStore:
    """Seven events of two streams in seals of three, two and two; one more is not sealed."""
    store.append("job-a", [event(1, payload=b"one"), event(2)], NO_STREAM, "c-1", actor="me")
    store.append("job-b", [event(3), event(4, payload=b"two")], NO_STREAM)
    store.append("job-a", [event(5)], ANY)
    seal(store, 3)
    store.append("job-a", [event(6), event(7)], ANY)
    seal(store, 3)
    store.append("job-b", [event(8)], ANY)
    return store


def seal(store: EventStore, events_max: int = 10_000, key: SigningKey = KEY) -> list[int]:
    return [made.seal.last_position for made in seal_log(store, key, events_max=events_max)]


def kept(store: EventStore, path: Path) -> Path:
    with store.reading() as connection:
        seals = StoredSeals(LogReader(connection))
        path.write_bytes(b"".join(export_line(each, seals.contents(n)) for n, each in enumerate(seals.headers)))
    return path


def verify(store: EventStore, **what: object) -> ChainReport:
    return verify_chain(store, Verification(keys=frozenset([KEY.key_id]), **what))  # type: ignore[arg-type]


def bad(store: EventStore, **what: object) -> BadLink:
    found = verify(store, **what).first_bad
    assert found is not None
    return found


def place(found: BadLink) -> tuple[str, int, int | None]:
    return found.stream, found.version, found.position


def rewrite(store: EventStore, stream: str) -> None:
    """Make all hashes of a stream and its head fit its columns again, as somebody with the database could."""
    previous, last = GENESIS, None
    statements = []
    for each in store.iter_stream(stream):
        context = encode_context(stream, each.actor, each.request_id, each.cause, each.command_id)
        numbers = (each.version, each.schema_version, each.recorded_at, each.command_index)
        texts = encode_texts(each.type.encode(), each.data.encode(), each.payload_digest)
        previous, last = hash_event(previous, context, numbers, texts), each
        statements.append(f"UPDATE events SET hash = {binary(store, previous)} WHERE position = {each.position}")
    assert last is not None
    head = f"version = {last.version}, recorded_at = {last.recorded_at}, head_hash = {binary(store, previous)}"
    tamper(store, *statements, f"UPDATE streams SET {head} WHERE name = '{stream}'")


def binary(store: EventStore, value: bytes) -> str:
    return f"X'{value.hex()}'" if store.dialect == "sqlite" else f"'\\x{value.hex()}'::bytea"


@contextmanager
def undone(store: EventStore, table: str) -> Iterator[None]:
    """Keep a table and put it back as it was."""
    tamper(store, f"CREATE TABLE before AS SELECT * FROM {table}")
    yield
    tamper(store, f"DELETE FROM {table}", f"INSERT INTO {table} SELECT * FROM before", "DROP TABLE before")


def test_seals_cover_the_log_without_a_gap(sealed: EventStore) -> None:
    with sealed.reading() as connection:
        headers = StoredSeals(LogReader(connection)).headers
    ranges = [(each.first_position, each.last_position) for each in headers]
    positions = [each.position for each in sealed.read_all()]
    assert [end for _, end in ranges] == [positions[2], positions[4], positions[6]]
    assert [start for start, _ in ranges] == [1, positions[2] + 1, positions[4] + 1]
    report = verify(sealed)
    assert report.is_intact
    assert (report.n_events, report.n_sealed, report.n_seals) == (8, 7, 3)
    assert verify(sealed, stream="job-a").n_sealed == 5


def test_what_is_sealed_already_is_not_sealed_again(sealed: EventStore) -> None:
    assert len(seal(sealed)) == 1
    assert seal(sealed) == []
    assert verify(sealed).n_sealed == 8


class TestRewrittenLogs:
    def check(self, store: EventStore, wanted: tuple[str, int, int | None]) -> str:
        """Look at the whole log and at the stream alone."""
        found = bad(store)
        assert place(found) == wanted == place(bad(store, stream=wanted[0]))
        return found.what

    def test_a_changed_event(self, sealed: EventStore) -> None:
        position = sealed.read_stream("job-a")[1].position
        tamper(sealed, f"UPDATE events SET actor = 'nobody' WHERE position = {position}")
        rewrite(sealed, "job-a")
        assert "not the one that was sealed" in self.check(sealed, ("job-a", 2, position))

    def test_a_missing_event(self, sealed: EventStore) -> None:
        position = sealed.read_stream("job-a")[2].position
        tamper(
            sealed,
            f"DELETE FROM events WHERE position = {position}",
            "UPDATE events SET version = 3 WHERE version = 4 AND stream_id = 1",
            "UPDATE events SET version = 4 WHERE version = 5 AND stream_id = 1",
        )
        rewrite(sealed, "job-a")
        self.check(sealed, ("job-a", 3, position))

    def test_a_cut_off_end(self, sealed: EventStore) -> None:
        position = sealed.read_stream("job-a")[4].position
        tamper(sealed, f"DELETE FROM events WHERE position = {position}")
        rewrite(sealed, "job-a")
        assert "missing" in self.check(sealed, ("job-a", 5, position))

    def test_a_stream_that_was_removed(self, sealed: EventStore) -> None:
        position = sealed.read_stream("job-b")[0].position
        tamper(sealed, "DELETE FROM events WHERE stream_id = 2", "DELETE FROM streams WHERE name = 'job-b'")
        assert "missing" in self.check(sealed, ("job-b", 1, position))

    def test_an_event_that_changed_its_position(self, sealed: EventStore) -> None:
        position = sealed.read_stream("job-a")[4].position
        tamper(sealed, f"UPDATE events SET position = 1000 WHERE position = {position}")
        assert "moved to position 1000" in self.check(sealed, ("job-a", 5, position))

    def test_another_codec(self, sealed: EventStore) -> None:
        tamper(sealed, "UPDATE payloads SET codec = 'raw/3' WHERE stream_id = 1")
        position = sealed.read_stream("job-a")[0].position
        assert "codec was 'raw/1'" in self.check(sealed, ("job-a", 1, position))


def test_what_no_seal_covers_can_be_rewritten_unseen(sealed: EventStore) -> None:
    """The limit of seals, as the documentation says: what came after the newest one is proved by nothing but itself."""
    tamper(sealed, "UPDATE events SET actor = 'nobody' WHERE stream_id = 2 AND version = 3")
    rewrite(sealed, "job-b")
    assert verify(sealed).is_intact


class TestKeptSeals:
    def test_equal_those_of_the_database(self, sealed: EventStore, tmp_path: Path) -> None:
        assert verify(sealed, kept_seals=kept(sealed, tmp_path / "seals.jsonl")).is_intact

    def test_show_what_was_sealed_anew(self, sealed: EventStore, tmp_path: Path) -> None:
        """An attacker with the signing key makes everything fit, the seals too; only the copy tells."""
        copy = kept(sealed, tmp_path / "seals.jsonl")
        position = sealed.read_stream("job-a")[1].position
        tamper(sealed, f"UPDATE events SET actor = 'nobody' WHERE position = {position}")
        rewrite(sealed, "job-a")
        tamper(sealed, "DELETE FROM seals", "DELETE FROM seal_contents")
        seal(sealed)
        if sealed.dialect == "sqlite":  # the numbers that were handed out are one more trace
            tamper(sealed, "UPDATE sqlite_sequence SET seq = 1 WHERE name = 'seals'")
        assert verify(sealed).is_intact
        assert place(bad(sealed, kept_seals=copy)) == ("job-a", 2, position)

    def test_show_seals_that_were_removed(self, sealed: EventStore, tmp_path: Path) -> None:
        copy = kept(sealed, tmp_path / "seals.jsonl")
        tamper(sealed, "DELETE FROM seals WHERE id = 3", "DELETE FROM seal_contents WHERE seal_id = 3")
        found = bad(sealed, kept_seals=copy)
        assert place(found) == ("seal", 3, None)
        assert "missing" in found.what

    def test_may_be_older_than_the_newest_seal(self, sealed: EventStore, tmp_path: Path) -> None:
        copy = kept(sealed, tmp_path / "seals.jsonl")
        copy.write_bytes(b"".join(copy.read_bytes().splitlines(keepends=True)[1:2]))
        assert verify(sealed, kept_seals=copy).is_intact

    def test_that_are_none_are_refused_with_the_reason(self, tmp_path: Path) -> None:
        for content in ("{", "[]", '{"id": 1}', "\x00"):
            path = tmp_path / "seals.jsonl"
            path.write_text(content)
            with pytest.raises(CorruptSeal, match=r"seal|JSON"):
                ExportedSeals(path)


class TestSealsThemselves:
    def test_of_a_stranger_prove_nothing(self, sealed: EventStore) -> None:
        seal(sealed, key=OTHER)
        found = bad(sealed)
        assert place(found) == ("seal", 4, None)
        assert OTHER.key_id in found.what

    def test_that_were_changed_are_named(self, sealed: EventStore) -> None:
        changes = [
            "created_at = created_at + 1", "last_position = last_position + 1", "merkle_root = previous_hash",
            "first_position = 0", "signature = merkle_root", "key_id = 'x'", "id = 40",
        ]  # fmt: skip
        for change in changes:
            with undone(sealed, "seals"):
                tamper(sealed, f"UPDATE seals SET {change} WHERE id = 2")
                assert place(bad(sealed)) == ("seal", 2, None), change
        assert verify(sealed).is_intact

    def test_whose_lists_were_changed_are_named(self, sealed: EventStore) -> None:
        for change in ("hashes = places", "places = hashes", "seal_id = 9"):
            with undone(sealed, "seal_contents"):
                tamper(sealed, f"UPDATE seal_contents SET {change} WHERE seal_id = 2")
                assert place(bad(sealed)) == ("seal", 2, None), change
        assert verify(sealed).is_intact

    def test_are_not_made_over_a_log_that_does_not_verify(self, sealed: EventStore) -> None:
        tamper(sealed, "UPDATE events SET actor = 'x' WHERE stream_id = 2 AND version = 3")
        with pytest.raises(SealRefused, match="job-b, version 3"):
            seal(sealed)

    def test_are_not_made_behind_seals_that_do_not_verify(self, sealed: EventStore) -> None:
        tamper(sealed, "UPDATE seals SET signature = merkle_root WHERE id = 2")
        with pytest.raises(SealRefused, match="seal 2"):
            seal(sealed)

    def test_are_made_once_by_two_who_seal_at_the_same_time(self, sealed: EventStore) -> None:
        first, second = seal_log(sealed, KEY), seal_log(sealed, KEY, progress=lambda *_: None)

        def both() -> None:
            original = sealed.clock

            def meanwhile() -> int:
                sealed.clock = original
                assert len(list(second)) == 1
                return original()

            sealed.clock = meanwhile
            list(first)

        with pytest.raises(SealRefused, match="another process"):
            both()
        assert verify(sealed).is_intact


def test_a_copied_log_has_its_seals(
    sealed: EventStore, new_sqlite_url: Callable[[], str], open_store: Callable[..., EventStore]
) -> None:
    target = open_store(new_sqlite_url())
    copy_log(sealed, target)
    assert verify(target).n_sealed == verify(sealed).n_sealed == 7


def test_missing_triggers_are_told_apart(sealed: EventStore) -> None:
    assert verify(sealed).missing_triggers == []
    if sealed.dialect == "sqlite":
        tamper(sealed)
    else:
        with sealed.transaction() as connection:
            connection.execute(text("ALTER TABLE events DISABLE TRIGGER events_no_change"))
    report = verify(sealed)
    assert report.is_intact
    assert {"events_no_update", "events_no_change"} & set(report.missing_triggers)


def test_a_log_is_read_where_nothing_can_be_written(database_url: str, open_store: Callable[..., EventStore]) -> None:
    store = open_store(database_url)
    store.append("job-a", [event(1, payload=b"one")], NO_STREAM)
    with ReadOnlyLog(database_url) as log, log.reading() as connection:
        assert verify_chain(log).n_payloads == 1
        with pytest.raises(Exception, match=r"read-?only"):
            connection.execute(text("DELETE FROM streams"))


def test_a_log_that_is_written_to_meanwhile_raises_no_alarm(
    database_url: str, open_store: Callable[..., EventStore]
) -> None:
    writer, sealer = open_store(database_url), open_store(database_url)
    written: list[int] = []
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            number = len(written)
            stream = f"job-{number % 17}"
            lease = writer.acquire(stream, f"owner-{number % 3}", 0.0)
            epoch = lease.epoch if lease is not None else None
            writer.append(stream, [event(number, payload=b"%d" % number), event(number)], ANY, epoch=epoch)
            written.append(number)

    def seal_often() -> None:
        while not stop.wait(0.02):
            seal(sealer, 30)

    def look() -> list[BadLink | str]:
        alarms = []
        try:
            with ReadOnlyLog(database_url) as log:
                while len(written) < 60 and not alarms:
                    report = verify_chain(log, Verification(checks_fences=True))
                    alarms += [found for found in (report.first_bad, report.unreadable) if found]
        finally:
            stop.set()
        return alarms

    assert run_threads([write, seal_often, look]) == [None, None, []]


class TestSharedWork:
    """A long log is cut into parts; what each of them finds makes the same report."""

    def check(self, store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("eventstore.verify.SHARED_POSITIONS", 3)
        assert verify(store) == verify(store, n_workers=3)
        position = store.read_stream("job-a")[4].position
        tamper(store, f"UPDATE events SET data = '{{}}' WHERE position >= {position}")
        assert place(bad(store, n_workers=3)) == place(bad(store)) == ("job-a", 5, position)

    def test_by_threads(self, sealed: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
        """Processes cost a second each, so most of it is tested without them."""
        monkeypatch.setattr(
            "eventstore.verify_workers.ProcessPoolExecutor", lambda n_workers, **_: ThreadPoolExecutor(n_workers)
        )
        self.check(sealed, monkeypatch)

    @pytest.mark.slow
    def test_by_processes(self, sealed: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.check(sealed, monkeypatch)


class TestKeys:
    def test_are_read_as_they_were_written(self, tmp_path: Path) -> None:
        path = tmp_path / "folder" / "key.pem"
        KEY.write(path)
        assert path.stat().st_mode & 0o777 == 0o600
        assert SigningKey.read(path).key_id == read_public_key(public_path(path)) == KEY.key_id
        (tmp_path / "hex").write_text(f"{KEY.key_id}\n")
        assert read_public_key(tmp_path / "hex") == read_public_key(path) == KEY.key_id

    def test_are_never_overwritten(self, tmp_path: Path) -> None:
        KEY.write(tmp_path / "key.pem")
        with pytest.raises(FileExistsError):
            OTHER.write(tmp_path / "key.pem")

    def test_that_others_can_read_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "key.pem"
        KEY.write(path)
        path.chmod(0o644)
        with pytest.raises(KeyRefused, match="chmod 600"):
            SigningKey.read(path)

    @pytest.mark.parametrize("content", ["", "abc", "-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----", "zz"])
    def test_that_are_none_are_refused(self, tmp_path: Path, content: str) -> None:
        path = tmp_path / "key"
        path.write_text(content)
        path.chmod(0o600)
        for read in (SigningKey.read, read_public_key):
            with pytest.raises(KeyRefused, match="key"):
                read(path)


def test_the_exported_line_is_plain_json(sealed: EventStore, tmp_path: Path) -> None:
    line = json.loads(kept(sealed, tmp_path / "seals.jsonl").read_text().splitlines()[0])
    assert line["key_id"] == KEY.key_id
    assert line["events"]["streams"] == [["job-a", 1], ["job-b", 1]]
    assert line["events"]["stream"] == [0, 0, 1]
