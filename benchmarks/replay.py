"""Replay: what folding a stored job again costs, against the fold alone on records at hand; CPU seconds of one run.

Each job is replayed from zero, several times in turn with the fold alone, and the smallest time of each counts: what
the machine does besides only adds. The replay reads events and payloads from the database, checks their digests,
decodes and folds them; the fold alone is given decoded events and records, one after another.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.reopen import CONTEXT, START_MS, made
from benchmarks.table import print_table
from domain.records import RecordBatch, TextColumn
from marigraph import handlers
from marigraph.replay import ModelFold, ModelSource

ASKED = 1.15


class Shape(NamedTuple):
    name: str
    n_posts: int
    n_records: int
    """Per post."""
    n_series: int
    seconds: int
    """Data time per post."""


SHAPES = (
    Shape("single records", 4_000, 1, 1, 60),
    Shape("small posts", 2_000, 10, 5, 60),
    Shape("posts of a minute", 1_000, 200, 50, 60),
    Shape("posts of a bucket", 400, 1_000, 100, 900),
    Shape("large posts", 20, 20_000, 100, 3_600),
)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks replay", description=__doc__.split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=10, help="times that each is measured")
    options = parser.parse_args(arguments)
    rows = [(shape.name, *measured(shape, options.repeats)) for shape in SHAPES]
    columns = ("job", "events", "records", "fold, CPU s", "replay, CPU s", "replay / fold")
    print_table(f"Replay against the fold alone (at most {ASKED} is asked)", columns, rows)


def measured(shape: Shape, repeats: int) -> tuple[int, int, float, float, float]:
    with tempfile.TemporaryDirectory() as folder:
        app = made(
            str(Path(folder) / "bench.db"), {"function": "mean", "field_name": "value", "by_field_name": "series"}
        )
        fill(app.own("bench", CONTEXT), shape)
        handlers.close_jobs(app, "bench", CONTEXT)
        job = app.jobs.load("bench")
        source = ModelSource(app.store, app.codec, "bench", uses_snapshots=False)
        steps = [(item, source.unpacked(records)) for item, records in source.steps(0, job.version)]
        folds, replays = [], []
        for _ in range(repeats):
            folded = ModelFold(source, 1)
            folds.append(cpu_seconds(lambda folded=folded: [folded.step(*step) for step in steps]))
            replays.append(cpu_seconds(lambda: source.fold_at(job.version, job.created_version)))
        again = source.fold_at(job.version, job.created_version)
        assert again.model.digest() == folded.model.digest()
        app.close()
    return job.version, shape.n_posts * shape.n_records, min(folds), min(replays), min(replays) / min(folds)


def fill(writer: object, shape: Shape) -> None:
    random = np.random.default_rng(1)
    names = [f"s{index}" for index in range(shape.n_series)]
    for post in range(shape.n_posts):
        steps = np.arange(shape.n_records) * shape.seconds * 1000 // shape.n_records
        values = np.round(random.normal(50.0, 5.0, shape.n_records), 2)
        codes = random.integers(0, shape.n_series, shape.n_records).astype(np.int32)
        times = (START_MS + post * shape.seconds * 1000 + steps).astype(np.int64)
        batch = RecordBatch(times, {"value": values}, {"series": TextColumn(codes, names)}, len(times))
        handlers.post_batches(writer, [batch], CONTEXT)


def cpu_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started
