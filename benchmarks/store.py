"""Append and fold: the store beside the bare driver doing the same durable work, and beside `eventsourcing`.

The bare driver writes position, stream, version, type and data into a table with a unique (stream, version), and a
payload into a second one in the same transaction: no head row, no hash, no command id. All contenders run in turns in
one process, each chunk of work after another contender's, and the median chunk counts. PostgreSQL is a server of its
own with default durability.
"""

import argparse
import importlib.util
import itertools
import os
import sqlite3
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from benchmarks.table import print_table
from eventstore import NO_STREAM, EventStore, NewEvent, Payload
from marigraph import schema
from tests.support.postgres import DURABLE, Server, conninfo, running_server

DATA = b'{"n":%d,"text":"' + b"x" * 172 + b'"}'  # 200 bytes
TEXT = "x" * 172
encode = msgspec.json.Encoder().encode
BODY_BYTES = 65_536
BATCH = 100
N_FOLDED = 100_000
N_THREADS = 16
SLOW_COMMIT_SECONDS = 0.004

Chunk = Callable[[int], None]  # does so many units of work


class Bare:
    """The driver alone, SQLite."""

    name = "bare driver"

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA page_size=8192")
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute("PRAGMA cache_size=-65536")
        self._connection.execute(
            "CREATE TABLE bare (position INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, "
            "version INTEGER NOT NULL, type TEXT NOT NULL, data TEXT NOT NULL, UNIQUE (stream, version))"
        )
        self._connection.execute(
            "CREATE TABLE bodies (stream TEXT, version INTEGER, body BLOB, UNIQUE (stream, version))"
        )
        self._count = itertools.count(1)

    def append(self, n_events: int, body: bytes | None) -> None:
        places = list(itertools.islice(self._count, n_events))
        rows = [("job-a", n, "data_posted", (DATA % (10**8 + n)).decode()) for n in places]
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT INTO bare (stream, version, type, data) VALUES (?,?,?,?)", rows)
        if body is not None:
            self._connection.execute("INSERT INTO bodies VALUES (?,?,?)", ("job-a", places[0], body))
        self._connection.execute("COMMIT")

    def close(self) -> None:
        self._connection.close()


class BarePostgres:
    """The driver alone, psycopg: a prepared INSERT for one event, COPY for more."""

    name = "bare driver"

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.execute(
            "CREATE TABLE bare (position bigserial PRIMARY KEY, stream text NOT NULL, version bigint NOT NULL, "
            "type text NOT NULL, data text NOT NULL, UNIQUE (stream, version))"
        )
        self._connection.execute(
            "CREATE TABLE bodies (stream text, version bigint, body bytea, UNIQUE (stream, version))"
        )
        self._connection.execute("ALTER TABLE bodies ALTER COLUMN body SET STORAGE EXTERNAL")
        self._count = itertools.count(1)

    def append(self, n_events: int, body: bytes | None) -> None:
        if n_events == 1:
            n = next(self._count)
            row = ("job-a", n, "data_posted", (DATA % (10**8 + n)).decode())
            statement = "INSERT INTO bare (stream, version, type, data) VALUES (%b, %b, %b, %b)"
            if body is not None:
                row = (*row, body)
                moved = "INSERT INTO bodies SELECT stream, version, %b FROM e"
                statement = f"WITH e AS ({statement} RETURNING stream, version) {moved}"
            self._connection.execute(statement, row, prepare=True)
            return
        statement = "COPY bare (stream, version, type, data) FROM STDIN (FORMAT BINARY)"
        with self._connection.transaction(), self._connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(["text", "int8", "text", "text"])
            for n in itertools.islice(self._count, n_events):
                copy.write_row(("job-a", n, "data_posted", (DATA % (10**8 + n)).decode()))

    def close(self) -> None:
        self._connection.close()


class Posted(msgspec.Struct):
    n: int
    text: str


class Ours:
    """This store, with the JSON that goes into it and comes out of it."""

    name = "eventstore"

    def __init__(self, url: str) -> None:
        schema.upgrade(url)
        self.store = EventStore.connect(url)
        self._version = 0
        self._count = itertools.count(1)

    def append(self, n_events: int, body: bytes | None) -> None:
        payload = None if body is None else Payload(body, "raw/1", b"c" * 32)
        places = itertools.islice(self._count, n_events)
        events = [NewEvent("data_posted", encode(Posted(10**8 + n, TEXT)), 1, payload) for n in places]
        self._version = self.store.append("job-a", events, self._version).last_version

    def fold(self) -> int:
        decode = msgspec.json.Decoder(Posted).decode
        return sum(decode(stored.data).n for stored in self.store.iter_stream("job-a"))

    def close(self) -> None:
        self.store.close()


class EventSourcing:
    """The `eventsourcing` package: its event store with its mapper and JSON transcoder."""

    name = "eventsourcing"

    def __init__(self, environment: dict[str, str], factory: type) -> None:
        from eventsourcing import persistence
        from eventsourcing.utils import Environment

        self._event = theirs()
        transcoder = persistence.JSONTranscoder()
        transcoder.register(persistence.UUIDAsHex())
        transcoder.register(persistence.DatetimeAsISO())
        self._factory = factory(Environment("bench", environment))
        recorder = self._factory.application_recorder()
        self._store = self._factory.event_store(self._factory.mapper(transcoder), recorder)
        self._id = uuid.uuid4()
        self._count = itertools.count(1)

    def append(self, n_events: int, body: bytes | None) -> None:
        text = TEXT if body is None else body.decode()
        now = datetime.now(UTC)
        places = itertools.islice(self._count, n_events)
        self._store.put([self._event(self._id, n, now, 10**8 + n, text) for n in places])

    def fold(self) -> int:
        return sum(event.n for event in self._store.get(self._id))

    def close(self) -> None:
        self._factory.close()


@lru_cache
def theirs() -> type:
    """Make the package's event class, which must lie in a module to be found again."""
    global TheirPosted  # noqa: PLW0603
    from eventsourcing.domain import DomainEvent

    @dataclass(frozen=True)
    class TheirPosted(DomainEvent):
        n: int
        text: str

    TheirPosted.__qualname__ = "TheirPosted"
    return TheirPosted


def contenders_on_sqlite(directory: Path) -> list[Any]:
    found: list[Any] = [Bare(directory / "bare.db"), Ours(str(directory / "ours.db"))]
    if importlib.util.find_spec("eventsourcing"):
        from eventsourcing.sqlite import SQLiteFactory

        found.append(EventSourcing({"SQLITE_DBNAME": str(directory / "theirs.db")}, SQLiteFactory))
    return found


def contenders_on_postgres(server: Server) -> list[Any]:
    bare, ours = (conninfo(server.create_database()) for _ in range(2))
    found: list[Any] = [BarePostgres(bare), Ours(ours)]
    if importlib.util.find_spec("eventsourcing") and importlib.util.find_spec("psycopg_pool"):
        from eventsourcing.postgres import PostgresFactory

        name = server.create_database().database or ""
        host = server.url.query.get("host") or server.url.host or ""
        environment = {
            "POSTGRES_DBNAME": name,
            "POSTGRES_HOST": str(host),
            "POSTGRES_PORT": str(server.url.port or 5432),
            "POSTGRES_USER": server.url.username or "postgres",
            "POSTGRES_PASSWORD": server.url.password or "none",
        }
        found.append(EventSourcing(environment, PostgresFactory))
    return found


def measure(contenders: list[Any], work: Callable[[Any], None], n_units: int, rounds: int) -> dict[str, float]:
    """Return the units per second of each contender's median round."""
    seconds: dict[str, list[float]] = {one.name: [] for one in contenders}
    for turn in range(rounds + 1):
        for one in contenders[turn % len(contenders) :] + contenders[: turn % len(contenders)]:
            started = time.perf_counter()
            for _ in range(n_units):
                work(one)
            if turn:  # the first round warms up
                seconds[one.name].append(time.perf_counter() - started)
    return {name: n_units / statistics.median(times) for name, times in seconds.items()}


def bodies() -> Iterator[bytes]:
    tail = os.urandom((BODY_BYTES - 8) // 2).hex().encode()  # text, since not everybody's payload is bytes
    for number in itertools.count():
        yield b"%08d" % number + tail


def append_rows(contenders: list[Any], rounds: int) -> list[tuple[Any, ...]]:
    fresh = bodies()
    cases: list[tuple[str, Callable[[Any], None], int]] = [
        ("1 event of 200 B", lambda one: one.append(1, None), 50),
        ("100 events of 200 B", lambda one: one.append(BATCH, None), 10),
        ("1 event with 64 KiB", lambda one: one.append(1, next(fresh)), 20),
    ]
    rows = []
    for title, work, n_units in cases:
        rates = measure(contenders, work, n_units, rounds)
        theirs = rates.get("eventsourcing")
        rows.append(
            (
                title,
                rates["bare driver"],
                rates["eventstore"],
                theirs,
                rates["eventstore"] / rates["bare driver"],
                rates["eventstore"] / theirs if theirs else None,
            )
        )
    return rows


def fold_row(contenders: list[Any]) -> tuple[Any, ...]:
    """Fill and fold streams of their own."""
    folding = [one for one in contenders if hasattr(one, "fold")]
    for one in folding:
        for _ in range(N_FOLDED // 1000):
            one.append(1000, None)
    rates = measure(folding, lambda one: one.fold(), 1, 5)
    ours, theirs = rates["eventstore"] * N_FOLDED, rates.get("eventsourcing", 0) * N_FOLDED
    return (
        "fold 100,000 events of 200 B, events/s",
        None,
        ours,
        theirs or None,
        None,
        ours / theirs if theirs else None,
    )


def group_rows(store: EventStore, n_appends: int) -> list[tuple[Any, ...]]:
    """Sixteen threads on sixteen streams against one thread, the disk as it is and 4 ms slower per commit."""
    rows = []
    streams = itertools.count()
    for title, delay in (("as it is", 0.0), ("4 ms added to each commit", SLOW_COMMIT_SECONDS)):
        store.backend.before_commit = (lambda: time.sleep(SLOW_COMMIT_SECONDS)) if delay else None
        alone, together, per_commit = [], [], []
        for _ in range(3):
            alone.append(run_threads(store, 1, n_appends, streams)[0])
            rate, appends = run_threads(store, N_THREADS, n_appends, streams)
            together.append(rate)
            per_commit.append(appends)
        one, many = statistics.median(alone), statistics.median(together)
        rows.append((title, one, many, many / one, statistics.median(per_commit)))
    store.backend.before_commit = None
    return rows


def run_threads(store: EventStore, n_threads: int, n_appends: int, streams: Iterator[int]) -> tuple[float, float]:
    """Return appends per second and appends per commit."""
    barrier = threading.Barrier(n_threads + 1)

    def work(stream: str) -> None:
        version = NO_STREAM
        barrier.wait()
        for number in range(n_appends):
            version = store.append(stream, [NewEvent("data_posted", DATA % (10**8 + number))], version).last_version

    names = [f"thread-{next(streams)}" for _ in range(n_threads)]
    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    n_commits = store.stats.n_commits
    barrier.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    return n_threads * n_appends / seconds, n_threads * n_appends / (store.stats.n_commits - n_commits)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks store", description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--appends", type=int, default=200, help="appends of each thread")
    parser.add_argument("--only", choices=["sqlite", "postgres"])
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        kinds: dict[str, Callable[[], list[Any]]] = {}
        if options.only != "postgres":
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            kinds["SQLite"] = lambda: contenders_on_sqlite(Path(tempfile.mkdtemp(dir=directory)))
        if options.only != "sqlite":
            server = stack.enter_context(running_server(DURABLE))
            kinds["PostgreSQL"] = lambda: contenders_on_postgres(server)
        for kind, make in kinds.items():
            contenders = make()
            rows = append_rows(contenders, options.rounds)
            ours = next(one for one in contenders if isinstance(one, Ours))
            groups = group_rows(ours.store, options.appends)
            folding = make()
            rows.append(fold_row(folding))
            for one in contenders + folding:
                one.close()
            print_table(
                f"Append on {kind}, appends per second",
                ["", "bare driver", "eventstore", "eventsourcing", "to bare driver", "to eventsourcing"],
                rows,
            )
            print_table(
                f"Group commit on {kind}, appends per second",
                ["", "1 thread", "16 threads", "ratio", "appends per commit"],
                groups,
            )
