"""What-if: a replay of a job's records under a change, against taking them in; CPU seconds of one run, in turn.

Taking in is decoded records to durable events and result rows; the replay reads, decodes and folds them, and writes the
same rows elsewhere. The smallest time of each counts.
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks.reopen import CONTEXT, made
from benchmarks.replay import SHAPES, Shape, cpu_seconds, fill
from benchmarks.table import print_table
from marigraph import handlers
from marigraph.whatif.changes import Changes
from marigraph.whatif.report import what_if

DETECTOR = {"function": "mean", "field_name": "value", "by_field_name": "series"}
UNCHANGED = Changes()
CHANGED = Changes.read(["analysis_config.detectors[0].function=max"])


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks whatif", description=__doc__.split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=3, help="times that each is measured")
    options = parser.parse_args(arguments)
    rows = [(shape.name, shape.n_posts * shape.n_records, *measured(shape, options.repeats)) for shape in SHAPES]
    columns = ("job", "records", "live, CPU s", "what-if, CPU s", "other function, CPU s", "what-if / live")
    print_table("What-if against live ingest", columns, rows)


def measured(shape: Shape, repeats: int) -> tuple[float, float, float, float]:
    lives, unchanged, changed = [], [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            app = made(str(Path(folder) / "bench.db"), DETECTOR)
            writer = app.own("bench", CONTEXT)
            lives.append(cpu_seconds(lambda writer=writer: fill(writer, shape)))
            handlers.close_jobs(app, "bench", CONTEXT)
            for changes, seconds in ((UNCHANGED, unchanged), (CHANGED, changed)):
                seconds.append(cpu_seconds(lambda app=app, changes=changes: what_if(app, "bench", changes)))
            app.close()
    return min(lives), min(unchanged), min(changed), min(unchanged) / min(lives)
