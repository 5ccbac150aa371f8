"""Ingest: a CSV file through durable events and analysis to result rows, in records per CPU second.

The four cases are one series, 100 and 10,000 series of means, and 100 series of counts, over seven days in buckets of
15 minutes. The whole process is measured (`marigraph run` on an SQLite file), less the CPU time of the same command
on a file of one record: start-up and closing. With MARIGRAPH_TEST_DATA the data come from its generator and the
yardstick beside it turns records per CPU second into records per yardstick, which carries between machines.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.table import print_table

N_RECORDS = 2_000_000
MEAN = {"function": "mean", "field_name": "value"}


@dataclass(frozen=True)
class Case:
    name: str
    n_series: int
    detector: dict


CASES = (
    Case("a", 1, MEAN),
    Case("b", 100, {**MEAN, "by_field_name": "series"}),
    Case("c", 10_000, {**MEAN, "by_field_name": "series"}),
    Case("d", 100, {"function": "count", "by_field_name": "series"}),
)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks ingest", description=__doc__.split("\n\n")[0])
    parser.add_argument("--records", type=int, default=N_RECORDS, help="records per case (default: %(default)s)")
    parser.add_argument("--cases", default="abcd", help="which cases to run (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="directory to keep the generated files in")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.data or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        rows = [run_case(case, folder, Path(scratch), options.records) for case in CASES if case.name in options.cases]
    columns = (
        "case",
        "series",
        "function",
        "records",
        "CPU s",
        "records/CPU s",
        "records/yardstick",
        "snapshot B/series",
    )
    print_table("Ingest: CSV file to result rows, start-up taken off", columns, rows)


def run_case(case: Case, folder: Path, scratch: Path, n_records: int) -> tuple:
    data = records_file(case.n_series, folder, n_records)
    single = scratch / "single.csv"
    single.write_text("time,series,value\n1700006400,s00000,1.0\n")
    before = yardstick()
    startup = min(cpu_seconds(case, single, scratch) for _ in range(2))
    seconds = cpu_seconds(case, data, scratch, keep := scratch / f"{case.name}.db") - startup
    unit = [each for each in (before, yardstick()) if each is not None]
    per_second = n_records / seconds
    per_yardstick = f"{per_second * statistics.median(unit):,.0f}" if unit else "-"
    size = snapshot_bytes(keep) / case.n_series
    return (
        case.name,
        f"{case.n_series:,}",
        case.detector["function"],
        f"{n_records:,}",
        f"{seconds:.2f}",
        f"{per_second:,.0f}",
        per_yardstick,
        f"{size:,.0f}",
    )


def cpu_seconds(case: Case, data: Path, scratch: Path, keep: Path | None = None) -> float:
    """Run one case in a process of its own; return the CPU time of all its threads."""
    database = keep or scratch / "scratch.db"
    for leftover in scratch.glob(f"{database.name}*"):
        leftover.unlink()
    config = scratch / "job.json"
    body = {
        "job_id": "bench",
        "analysis_config": {"bucket_span": "15m", "detectors": [case.detector]},
        "data_description": {"time_field": "time", "time_format": "epoch"},
    }
    config.write_text(json.dumps(body))
    command = [sys.executable, "-m", "marigraph", "--db", str(database), "run", "--job", str(config), str(data)]
    start = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    return end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime


def records_file(n_series: int, folder: Path, n_records: int) -> Path:
    """Make the data file once: by the generator of the test data, else by one of the same shape."""
    path = folder / f"records-{n_series}-{n_records}.csv"
    if not path.exists():
        root = os.environ.get("MARIGRAPH_TEST_DATA")
        generator = Path(root) / "tools" / "gen_throughput.py" if root else None
        if generator is not None and generator.exists():
            subprocess.run([sys.executable, generator, str(n_series), path, str(n_records)], check=True)
        else:
            write_like_data(n_series, path, n_records)
    return path


def write_like_data(n_series: int, path: Path, n_records: int) -> None:
    """Write seven days of records of the given number of series, in order of time."""
    random = np.random.default_rng(20261122)
    times = 1_700_006_400 + np.arange(n_records) * 604_800 // n_records
    series = random.integers(0, n_series, n_records)
    phase = 2 * np.pi * (times % 86_400 / 86_400 + series / n_series)
    values = 100 + 10 * (series % 7) + 20 * np.sin(phase) + 5 * random.standard_normal(n_records)
    with path.open("w") as file:
        file.write("time,series,value\n")
        for time, which, value in zip(times.tolist(), series.tolist(), values.tolist(), strict=True):
            file.write(f"{time},s{which:05d},{value:.3f}\n")


def snapshot_bytes(database: Path) -> int:
    """Return the stored size of the newest model snapshot."""
    from eventstore import EventStore

    with EventStore.connect(str(database)) as store:
        stored = store.list_snapshots("job-bench")
    return stored[-1].size if stored else 0


def yardstick() -> float | None:
    """Return the CPU seconds of the fixed piece of work that comes with the test data, None without it."""
    root = os.environ.get("MARIGRAPH_TEST_DATA")
    program = Path(root) / "tools" / "yardstick.py" if root else None
    if program is None or not program.exists():
        return None
    done = subprocess.run([sys.executable, program], check=True, capture_output=True, text=True)
    return float(done.stdout.split()[1])
