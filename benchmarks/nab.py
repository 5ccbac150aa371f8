"""NAB: every file of the corpus as a job through the public service, scored as the benchmark scores.

Each file is a job `mean(value)` whose bucket span is the file's median sampling interval; a row's score is its
bucket's `initial_anomaly_score` / 100, as first written. The same settings for all files, no look-ahead. The corpus
and its scorer are found through MARIGRAPH_TEST_DATA.
"""

import argparse
import csv
import importlib.util
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from benchmarks.cross_validation import print_cross_validation
from benchmarks.ingest import yardstick
from benchmarks.table import print_table
from marigraph import handlers, queries
from marigraph.application import Application
from marigraph.bootstrap import bootstrap
from marigraph.context import Context
from marigraph.settings import Settings

CONTEXT = Context("benchmark")
PROFILES = ("standard", "reward_low_FP_rate", "reward_low_FN_rate")


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks nab", description=__doc__.split("\n\n")[0])
    parser.add_argument("--per-file", action="store_true", help="print the standard score of each file")
    parser.add_argument("--write", type=Path, help="write the scores as NAB result files into this directory")
    parser.add_argument("--read", type=Path, help="score the files that --write left, instead of running the engine")
    parser.add_argument("--folds", type=int, default=0, help="cross-validate over files, in so many folds")
    options = parser.parse_args(arguments)
    root = os.environ.get("MARIGRAPH_TEST_DATA")
    if not root:
        sys.exit("the NAB corpus is found through MARIGRAPH_TEST_DATA, which is not set")
    corpus, scorer = Path(root) / "data" / "nab", load_scorer(Path(root) / "tools" / "score_nab.py")
    labels = scorer.load_labels(corpus / "windows.json")
    if options.read:
        scores = scorer.read_folder(options.read, labels, data=corpus / "data")
    else:
        scores = run_files(corpus / "data", options.write)
    results = scorer.score_set(scores, labels)
    rows = [
        (
            profile,
            f"{result.score:.1f}",
            f"{result.threshold:.3f}",
            f"{result.tp_windows}/{result.windows}",
            result.fp_rows,
        )
        for profile, result in ((profile, results[profile]) for profile in PROFILES)
    ]
    print_table(f"NAB, {len(scores)} files", ("profile", "score", "threshold", "windows hit", "false alarms"), rows)
    if options.folds:
        print_cross_validation(scorer, scores, labels, options.folds)
    if options.per_file:
        per_file = results["standard"].per_file
        found = [
            (name, f"{each['raw']:.2f}", f"{each['found']}/{each['windows']}", each["fp_rows"])
            for name, each in per_file.items()
        ]
        print_table("By file, standard", ("file", "raw", "windows hit", "false alarms"), found)


def run_files(data: Path, write: Path | None) -> dict[str, tuple[NDArray[np.datetime64], NDArray[np.float64]]]:
    """Run every file as a job; return times and scores of its rows, and print how fast that was."""
    unit = [yardstick()]
    started, n_rows, scores = time.process_time(), 0, {}
    with tempfile.TemporaryDirectory() as folder:
        app = bootstrap(Settings(str(Path(folder) / "nab.db")))
        for path in sorted(data.rglob("*.csv")):
            name = str(path.relative_to(data))
            times, values = read_file(path)
            scores[name] = (times, score_rows(app, name, times, path.read_bytes()))
            n_rows += len(values)
            if write:
                write_scores(write / name, times, values, scores[name][1])
        app.close()
    seconds = time.process_time() - started
    unit.append(yardstick())
    rate = n_rows / seconds
    per_yardstick = [f"{rate * statistics.mean(filter(None, unit)):,.0f} per yardstick"] if all(unit) else []
    print(f"{n_rows:,} rows in {seconds:.1f} CPU s: {', '.join([f'{rate:,.0f} per CPU second', *per_yardstick])}")
    return scores


def load_scorer(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("score_nab", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_file(path: Path) -> tuple[NDArray[np.datetime64], list[str]]:
    with path.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    return np.array([row[0] for row in rows], dtype="datetime64[s]"), [row[1] for row in rows]


def score_rows(app: Application, name: str, times: NDArray[np.datetime64], data: bytes) -> NDArray[np.float64]:
    """Run a file as a job; return each row's score, 0 to 1."""
    seconds = times.astype(np.int64)
    span = max(int(np.median(np.diff(seconds))), 1)
    job_id = name.lower().replace("/", ".").removesuffix(".csv").replace("_", "-")[-60:]
    body = {
        "analysis_config": {"bucket_span": f"{span}s", "detectors": [{"function": "mean", "field_name": "value"}]},
        "data_description": {"time_field": "timestamp", "time_format": "yyyy-MM-dd HH:mm:ss"},
    }
    handlers.create_job(app, job_id, body, CONTEXT)
    handlers.open_job(app, job_id, CONTEXT)
    handlers.post_data(app, job_id, data, CONTEXT)
    handlers.flush_job(app, job_id, {"advance_time": str(int(seconds.max()) + 2 * span)}, CONTEXT)
    handlers.close_jobs(app, job_id, CONTEXT)
    found = queries.get_buckets(app, job_id, page=queries.Page(every=True))["buckets"]
    by_bucket = {bucket["timestamp"] // 1000: bucket["initial_anomaly_score"] / 100 for bucket in found}
    return np.array([by_bucket.get(second // span * span, 0.0) for second in seconds.tolist()])


def write_scores(path: Path, times: NDArray[np.datetime64], values: list[str], scores: NDArray[np.float64]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("timestamp", "value", "anomaly_score"))
        for time_, value, score in zip(times, values, scores, strict=True):
            writer.writerow((str(time_).replace("T", " "), value, f"{score:.6f}"))
