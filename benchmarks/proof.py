"""Verify, seal and export: CPU beside that of SHA-256 alone over the bytes that are hashed.

Small events have 200 bytes of data and no payload; posts have a payload of 64 KiB each. "SHA-256 alone" hashes, in a
loop of Python, as many messages of the same sizes from memory. Positions lie over many streams, as in a log of many
jobs. Figures are CPU seconds of all processes.
"""

import argparse
import hashlib
import os
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.table import print_table
from eventstore import ANY, EventStore, NewEvent, Payload
from eventstore.log_reading import LogReader, ReadOnlyLog
from eventstore.sealing import seal_log
from eventstore.signing import SigningKey
from eventstore.verify import Verification, verify_chain
from marigraph import schema

DATA = b'{"n":%d,"text":"' + b"x" * 172 + b'"}'  # 200 bytes
LINK_BYTES = 330  # of what is hashed for one such event
BODY_BYTES = 65_536
BATCH = 100
N_STREAMS = 200


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks proof", description=__doc__)
    parser.add_argument("--events", type=int, default=300_000, help="small events")
    parser.add_argument("--posts", type=int, default=10_000, help="events with a payload of 64 KiB")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            *measure(Path(folder) / "events.db", options.events, None, options.workers),
            *measure(Path(folder) / "posts.db", options.posts, BODY_BYTES, options.workers),
        ]
    print_table("Proof", ["work", "n", "CPU s", "us each", "beside SHA-256 alone"], rows)


def measure(path: Path, n_events: int, body_bytes: int | None, n_workers: int) -> list[list[str]]:
    schema.upgrade(str(path))
    key = SigningKey.make()
    with EventStore.connect(str(path)) as store:
        fill(store, n_events, body_bytes)
        kind = "posts" if body_bytes else "events"
        alone = cpu_of(lambda: hash_alone(n_events, body_bytes))
        rows = [[f"SHA-256 alone, {kind}", alone]]
        with ReadOnlyLog(str(path)) as log:
            rows.append([f"read alone, {kind}", cpu_of(lambda: read_alone(log))])
            rows.append([f"verify, {kind}", cpu_of(lambda: verify(log, n_events, n_workers))])
            rows.append([f"seal, {kind}", cpu_of(lambda: list(seal_log(store, key)))])
            rows.append([f"verify sealed, {kind}", cpu_of(lambda: verify(log, n_events, n_workers))])
            rows.append([f"integrity check, {kind}", cpu_of(lambda: check_pages(log))])
    return [
        [name, f"{n_events:,}", f"{cpu:.2f}", f"{cpu / n_events * 1e6:.2f}", f"{cpu / alone:.1f}x"]
        for name, cpu in rows
    ]


def fill(store: EventStore, n_events: int, body_bytes: int | None) -> None:
    for start in range(0, n_events, BATCH):
        events = []
        for number in range(start, min(start + BATCH, n_events)):
            body = os.urandom(body_bytes) if body_bytes else None
            payload = None if body is None else Payload(body, "raw/1", hashlib.sha256(body).digest())
            events.append(NewEvent("data_posted", DATA % number, 1, payload))
        store.append(f"job-{start // BATCH % N_STREAMS}", events, ANY, f"c-{start}", actor="shipper", request_id="r")


def hash_alone(n_events: int, body_bytes: int | None) -> None:
    link, body = os.urandom(LINK_BYTES), os.urandom(body_bytes or 0)
    for _ in range(n_events):
        hashlib.sha256(link).digest()
        if body:
            hashlib.sha256(body).digest()


def read_alone(log: ReadOnlyLog) -> None:
    """Fetch what is verified, and look at none of it."""
    with log.reading() as connection:
        reader = LogReader(connection)
        after = 0
        while rows := reader.events_between(after, 2**62):
            if rows[0].payload_digest is not None:
                for _ in reader.payloads_of(None, rows[0].position, rows[-1].position):
                    pass
            after = rows[-1].position


def verify(log: ReadOnlyLog, n_events: int, n_workers: int) -> None:
    report = verify_chain(log, Verification(n_workers=n_workers))
    assert report.is_intact and report.n_events == n_events, report


def check_pages(log: ReadOnlyLog) -> None:
    with log.reading() as connection:
        assert LogReader(connection).damage() is None


def cpu_of(work: Callable[[], object]) -> float:
    before = cpu()
    work()
    return cpu() - before


def cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
