"""Reopen: what opening a closed job costs, by the length of its history and by the number of its series.

The history is posted in small batches, so that it is long in events; the snapshot is what makes the difference.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.table import print_table
from domain.records import RecordBatch
from marigraph import handlers
from marigraph.application import Application
from marigraph.bootstrap import bootstrap
from marigraph.context import Context
from marigraph.settings import Settings

CONTEXT = Context("benchmark")
REPEATS = 5
START_MS = 1_700_006_400_000


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks reopen", description=__doc__.split("\n\n")[0])
    parser.add_argument("--events", type=int, nargs="+", default=[1_000, 100_000], help="lengths of history")
    parser.add_argument("--series", type=int, nargs="+", default=[1_000, 10_000], help="numbers of series")
    options = parser.parse_args(arguments)
    rows = [(f"{n_events:,} events", *reopen_after_history(n_events)) for n_events in options.events]
    rows += [(f"{n_series:,} series", *reopen_with_series(n_series)) for n_series in options.series]
    columns = ("job", "open, ms", "of it the model, ms")
    print_table("Reopen a closed job (median of 5, in a new application)", columns, rows)


def reopen_after_history(n_events: int) -> tuple[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        database = str(Path(folder) / "bench.db")
        app = made(database, {"function": "mean", "field_name": "value"})
        writer = app.own("bench", CONTEXT)
        for index in range(n_events):
            times = np.array([START_MS + index * 60_000], dtype=np.int64)
            batch = RecordBatch(times, {"value": np.array([float(index % 7)])}, {}, record_count=1)
            handlers.post_batches(writer, [batch], CONTEXT)
        handlers.close_jobs(app, "bench", CONTEXT)
        app.close()
        return measured(database)


def reopen_with_series(n_series: int) -> tuple[str, str]:
    lines = ["time,series,value"]
    for bucket in range(5):
        lines += [f"{START_MS // 1000 + bucket * 900},s{which},{which % 13}" for which in range(n_series)]
    with tempfile.TemporaryDirectory() as folder:
        database = str(Path(folder) / "bench.db")
        app = made(database, {"function": "mean", "field_name": "value", "by_field_name": "series"})
        handlers.post_data(app, "bench", "\n".join(lines).encode(), CONTEXT)
        handlers.close_jobs(app, "bench", CONTEXT)
        app.close()
        return measured(database)


def made(database: str, detector: dict) -> Application:
    app = bootstrap(Settings(database))
    body = {
        "analysis_config": {"bucket_span": "15m", "detectors": [detector]},
        "data_description": {"time_field": "time", "time_format": "epoch"},
    }
    handlers.create_job(app, "bench", body, CONTEXT)
    handlers.open_job(app, "bench", CONTEXT)
    return app


def measured(database: str) -> tuple[str, str]:
    whole, model = [], []
    for _ in range(REPEATS):
        app = bootstrap(Settings(database))
        started = time.perf_counter()
        handlers.open_job(app, "bench", CONTEXT)
        whole.append(time.perf_counter() - started)
        job = app.jobs.load("bench")
        started = time.perf_counter()
        app.own("bench", CONTEXT)._source.nearest(job.version, job.created_version)
        model.append(time.perf_counter() - started)
        handlers.close_jobs(app, "bench", CONTEXT)
        app.close()
    return f"{statistics.median(whole) * 1000:.1f}", f"{statistics.median(model) * 1000:.1f}"
