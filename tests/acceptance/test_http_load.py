"""Load: many jobs posted to by as many connections, flushed and read beside; nothing acknowledged is missing."""

import http.client
import json
import os
import statistics
import threading
import time
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.support.http import CONFIG, FIRST, JOBS
from tests.support.jobs import application
from tests.support.served import served

N_JOBS = 50
RECORDS_PER_POST = 500
READS_MIN = 20


@dataclass
class Tally:
    """What the clients saw."""

    statuses: Counter = field(default_factory=Counter)
    acknowledged: Counter = field(default_factory=Counter)
    reads: list[float] = field(default_factory=list)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def add(self, status, job_id=None, n_records=0):
        with self.guard:
            self.statuses[status] += 1
            if status == 202:
                self.acknowledged[job_id] += n_records

    def read(self, seconds):
        with self.guard:
            self.reads.append(seconds)


class Connection:
    """One kept connection; the standard library's takes the least time from the server that shares the processors."""

    def __init__(self, port):
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._connection.connect()

    def close(self):
        self._connection.close()

    def __call__(self, method, path, body=None, content_type="application/json"):
        headers = {} if body is None else {"Content-Type": content_type}
        self._connection.request(method, JOBS + path, body, headers)
        answer = self._connection.getresponse()
        answer.read()
        return answer.status


def records(clock):
    return b"".join(b'{"time": %d, %s}\n' % (clock + at, FIELDS[at % 170]) for at in range(RECORDS_PER_POST))


FIELDS = [f'"host": "h{at % 10}", "value": {at % 17}'.encode() for at in range(170)]


def poster(connection, job_id, until, tally, rest_seconds):
    """Post and flush one job until the time is over, resting after each post."""
    clock, n_posts = FIRST, 0
    while time.monotonic() < until or not n_posts:
        status = connection("POST", f"/{job_id}/_data", records(clock), "application/x-ndjson")
        tally.add(status, job_id, RECORDS_PER_POST)
        if status == 429:
            time.sleep(0.2)
            continue
        clock += RECORDS_PER_POST
        n_posts += 1
        if n_posts % 10 == 0:
            tally.add(connection("POST", f"/{job_id}/_flush", b'{"calc_interim": true}'))
        time.sleep(rest_seconds)


def reader(connection, until, tally):
    """Read statistics and results of all jobs until the time is over, and often enough on a busy machine too."""
    paths = ("/{}/_stats", "/{}/results/buckets?size=10", "/{}/results/records?size=10", "/{}")
    index = 0
    while time.monotonic() < until or index < READS_MIN:
        path = paths[index % len(paths)].format(f"load-{index % N_JOBS}")
        started = time.monotonic()
        tally.add(connection("GET", path))
        tally.read(time.monotonic() - started)
        index += 1
        time.sleep(0.02)


def memory_kb(pid):
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0])


def load(server, seconds, rest_seconds=0.0):
    """Make the jobs, and run the clients for a time; return their tally and the memory seen."""
    body = dict(CONFIG, analysis_config={
        "bucket_span": "5m",
        "detectors": [{"function": "mean", "field_name": "value", "by_field_name": "host"}],
    })  # fmt: skip
    tally, memory = Tally(), []
    with ExitStack() as stack:
        first, *connections = [
            stack.enter_context(closing(Connection(server.port))) for _ in range(N_JOBS + 1)
        ]  # fmt: skip
        for index in range(N_JOBS):
            assert first("PUT", f"/load-{index}", json.dumps(body)) == 200
            assert first("POST", f"/load-{index}/_open") == 200
        until = time.monotonic() + seconds
        threads = [
            threading.Thread(target=reader, args=(first, until, tally)),
            *(threading.Thread(target=poster, args=(each, f"load-{index}", until, tally, rest_seconds))
              for index, each in enumerate(connections)),
        ]  # fmt: skip
        for thread in threads:
            thread.start()
        while time.monotonic() < until:
            memory.append(memory_kb(server.process.pid))
            time.sleep(seconds / 20)
        for thread in threads:
            thread.join()
    return tally, memory


def check(server, database, tally):
    """Compare what was acknowledged with what is there, also when the server is gone."""
    assert set(tally.statuses) <= {200, 202, 429}, tally.statuses
    assert tally.statuses[202] >= N_JOBS
    with closing(Connection(server.port)) as connection:
        assert all(connection("POST", f"/load-{index}/_flush") == 200 for index in range(N_JOBS))
    assert counts(server) == dict(tally.acknowledged)
    assert server.stop() == 0, server.log[-4_000:]
    with application(database) as app:
        app.project()
        stored = {job.job_id: job.data_counts.processed_record_count for job in app.jobs.all()}
    assert stored == dict(tally.acknowledged)
    reads = sorted(tally.reads)
    p99 = reads[int(len(reads) * 0.99)]
    assert len(reads) >= READS_MIN
    print(json.dumps({
        "statuses": dict(tally.statuses), "records": sum(tally.acknowledged.values()), "reads": len(reads),
        "median_ms": round(statistics.median(reads) * 1000, 1), "p99_ms": round(p99 * 1000, 1),
    }))  # fmt: skip
    return statistics.median(reads), p99


def counts(server):
    found = httpx.get(f"{server.url}{JOBS}/load-*/_stats", timeout=60).json()["jobs"]
    return {each["job_id"]: each["data_counts"]["processed_record_count"] for each in found}


def test_every_acknowledged_record_is_counted_under_load(sqlite_url, tmp_path):
    with served(sqlite_url, tmp_path) as server:
        tally, _memory = load(server, 10, rest_seconds=2.0)
        check(server, sqlite_url, tally)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_minutes_of_load_leave_reads_quick_and_memory_flat(sqlite_url, tmp_path):
    seconds = float(os.environ.get("MARIGRAPH_LOAD_SECONDS", "120"))
    with served(sqlite_url, tmp_path) as server:
        tally, memory = load(server, seconds)
        median, p99 = check(server, sqlite_url, tally)
    assert p99 < 10 * median
    late = memory[len(memory) // 2 :]  # models and pools have grown to their size in the first half
    assert max(late) < 1.25 * min(late), memory
