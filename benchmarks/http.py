"""HTTP: records posted through the API, against the same work done in process.

Each case posts NDJSON bodies to its jobs, one connection (or thread) per job, and flushes them at the end. The server
is a process of its own; so is the work without HTTP, which calls the handlers of the same application. Compared are
records per second, and records per CPU second of the process that does the work, which shared machines disturb less.
"""

import argparse
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.table import print_table

N_RECORDS = 1_000_000
RECORDS_PER_POST = 10_000
BODY = b"""{"analysis_config": {"bucket_span": "15m", "detectors": [
    {"function": "mean", "field_name": "value", "by_field_name": "series"}]},
    "data_description": {"time_field": "time", "time_format": "epoch"}}"""
RATIO_ASKED = 0.7


@dataclass(frozen=True)
class Case:
    n_jobs: int
    n_series: int


CASES = (Case(1, 1), Case(1, 100), Case(8, 100))


@dataclass(frozen=True)
class Measured:
    n_records: int
    seconds: float
    cpu_seconds: float


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks http", description=__doc__.split("\n\n")[0])
    parser.add_argument("--records", type=int, default=N_RECORDS, help="records per case (default: %(default)s)")
    parser.add_argument("--in-process", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.in_process:
        database, n_jobs, n_series, n_records = options.in_process
        run_in_process(database, Case(int(n_jobs), int(n_series)), int(n_records))
        return
    with tempfile.TemporaryDirectory() as scratch:
        rows = [row_of(case, Path(scratch), options.records) for case in CASES]
    columns = (
        "jobs",
        "series",
        "records",
        "http/s",
        "in process/s",
        "ratio",
        "http/CPU s",
        "in process/CPU s",
        "ratio",
    )
    print_table(f"HTTP against in process; a ratio of {RATIO_ASKED} is asked for", columns, rows)


def row_of(case: Case, scratch: Path, n_records: int) -> tuple:
    through = over_http(case, scratch, n_records)
    within = in_process(case, scratch, n_records)
    assert through.n_records == within.n_records
    speeds = [each.n_records / each.seconds for each in (through, within)]
    efforts = [each.n_records / each.cpu_seconds for each in (through, within)]
    return (
        case.n_jobs,
        case.n_series,
        f"{through.n_records:,}",
        *(f"{each:,.0f}" for each in speeds),
        f"{speeds[0] / speeds[1]:.2f}",
        *(f"{each:,.0f}" for each in efforts),
        f"{efforts[0] / efforts[1]:.2f}",
    )


def bodies(case: Case, n_records: int) -> list[bytes]:
    """Make the bodies that one job gets: seven days of records in order of time."""
    n_posts = max(n_records // case.n_jobs // RECORDS_PER_POST, 1)
    count = n_posts * RECORDS_PER_POST
    random = np.random.default_rng(20261122)
    times = (1_700_006_400 + np.arange(count) * 604_800 // count).tolist()
    series = random.integers(0, case.n_series, count).tolist()
    values = (100 + 5 * random.standard_normal(count)).tolist()
    lines = [
        f'{{"time":{time},"series":"s{which}","value":{value:.3f}}}\n'
        for time, which, value in zip(times, series, values, strict=True)
    ]
    return ["".join(lines[start : start + RECORDS_PER_POST]).encode() for start in range(0, count, RECORDS_PER_POST)]


def in_parallel(n_jobs: int, work: Callable[[str], None]) -> None:
    failures: list[BaseException] = []

    def guarded(job_id: str) -> None:
        try:
            work(job_id)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(f"job-{index}",)) for index in range(n_jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


# -------------------------------------------------------------------------------------------------------- over HTTP


def over_http(case: Case, scratch: Path, n_records: int) -> Measured:
    posts = bodies(case, n_records)
    database = scratch / f"http-{case.n_jobs}-{case.n_series}.db"
    port = free_port()
    command = [sys.executable, "-m", "marigraph", "--db", str(database), "serve", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        await_port(port)

        def call(connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None) -> None:
            headers = {"Content-Type": "application/json"} if body else {}
            connection.request(method, f"/_ml/anomaly_detectors/{path}", body, headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status >= 300:
                raise RuntimeError(text)

        def prepare(job_id: str) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            call(connection, "PUT", job_id, BODY)
            call(connection, "POST", f"{job_id}/_open")
            connection.close()

        def work(job_id: str) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            for body in posts:
                call(connection, "POST", f"{job_id}/_data", body)
            call(connection, "POST", f"{job_id}/_flush")
            connection.close()

        in_parallel(case.n_jobs, prepare)
        cpu, started = cpu_seconds(server.pid), time.perf_counter()
        in_parallel(case.n_jobs, work)
        seconds = time.perf_counter() - started
        return Measured(case.n_jobs * len(posts) * RECORDS_PER_POST, seconds, cpu_seconds(server.pid) - cpu)
    finally:
        server.terminate()
        server.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_port(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ------------------------------------------------------------------------------------------------------- in process


def in_process(case: Case, scratch: Path, n_records: int) -> Measured:
    database = scratch / f"process-{case.n_jobs}-{case.n_series}.db"
    numbers = [str(each) for each in (database, case.n_jobs, case.n_series, n_records)]
    command = [sys.executable, "-m", "benchmarks", "http", "--in-process", *numbers]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    count, seconds, cpu = done.stdout.split()
    return Measured(int(count), float(seconds), float(cpu))


def run_in_process(database: str, case: Case, n_records: int) -> None:
    """Do the work of a case here, and print what it took."""
    import msgspec

    from marigraph import handlers
    from marigraph.bootstrap import bootstrap_server
    from marigraph.context import Context
    from marigraph.settings import Settings

    posts = bodies(case, n_records)
    context = Context("benchmark")
    server = bootstrap_server(Settings(database))
    server.start()

    def prepare(job_id: str) -> None:
        handlers.create_job(server, job_id, msgspec.json.decode(BODY), context)
        handlers.open_job(server, job_id, context)

    def work(job_id: str) -> None:
        for body in posts:
            handlers.post_data(server, job_id, body, context)
        handlers.flush_job(server, job_id, {}, context)

    in_parallel(case.n_jobs, prepare)
    cpu, started = time.process_time(), time.perf_counter()
    in_parallel(case.n_jobs, work)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    server.close()
    print(case.n_jobs * len(posts) * RECORDS_PER_POST, seconds, cpu)
