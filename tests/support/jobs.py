"""Jobs for tests: applications on a database, data sets, and what must be the same whatever way led to it."""

import csv
import io
import random
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sqlalchemy import select

from marigraph import handlers, queries
from marigraph.bootstrap import bootstrap
from marigraph.codec import build_codec
from marigraph.context import Context
from marigraph.replay import ModelSource
from marigraph.settings import Settings
from marigraph.tables import RESULT_TABLES

CONTEXT = Context("tester", "request-1")
EVERY = queries.Page(every=True)
NAB_FILES = (
    "realTweets/Twitter_volume_AAPL.csv",
    "realKnownCause/ambient_temperature_system_failure.csv",
    "realAWSCloudwatch/ec2_cpu_utilization_825cc2.csv",
)
SPAN = {NAB_FILES[0]: "5m", NAB_FILES[1]: "1h", NAB_FILES[2]: "5m"}


@dataclass(frozen=True)
class DataSet:
    """Records as CSV lines under a header, and the job that reads them."""

    name: str
    body: dict
    header: str
    lines: list[str]

    def csv(self, start: int = 0, end: int | None = None) -> bytes:
        return ("\n".join([self.header, *self.lines[start:end]]) + "\n").encode()

    def head(self, n_records: int) -> "DataSet":
        return DataSet(self.name, self.body, self.header, self.lines[:n_records])


def job_body(detectors, bucket_span="15m", time_format="epoch", time_field="time", influencers=(), **more):
    return {
        "analysis_config": {
            "bucket_span": bucket_span,
            "detectors": detectors,
            "influencers": list(influencers),
            **more,
        },
        "data_description": {"time_field": time_field, "time_format": time_format},
    }


def synthetic(n_records=6_000, n_series=5, seconds=3 * 86_400, seed=1, bucket_span="15m") -> DataSet:
    """Three days of a few series with a rhythm, missing values, late records and an anomaly."""
    random_ = np.random.default_rng(seed)
    times = np.sort(random_.integers(1_700_006_400, 1_700_006_400 + seconds, n_records))
    series = random_.integers(0, n_series, n_records)
    values = 50 + 10 * series + 8 * np.sin(times / 86_400 * 2 * np.pi) + random_.standard_normal(n_records)
    values[(times > 1_700_200_000) & (times < 1_700_203_600) & (series == 2)] += 90
    lines = [
        f"{time - (5_000 if index % 500 == 499 else 0)},s{which},{'' if index % 97 == 0 else round(value, 3)}"
        for index, (time, which, value) in enumerate(zip(times, series, values, strict=True))
    ]
    detectors = [
        {"function": "mean", "field_name": "value", "by_field_name": "series"},
        {"function": "high_count", "partition_field_name": "series"},
        {"function": "varp", "field_name": "value"},
    ]
    body = job_body(detectors, bucket_span, influencers=["series"], latency="30m")
    return DataSet("synthetic", body, "time,series,value", lines)


def farequote(root: Path) -> DataSet:
    header, *lines = (root / "data" / "farequote.csv").read_text().splitlines()
    detectors = [{"function": "mean", "field_name": "responsetime", "by_field_name": "airline"}]
    body = job_body(detectors, time_format="yyyy-MM-dd'T'HH:mm:ssX", influencers=["airline"])
    return DataSet("farequote", body, header, lines)


def nab(root: Path, name: str) -> DataSet:
    header, *lines = (root / "data" / "nab" / "data" / name).read_text().splitlines()
    detectors = [{"function": "mean", "field_name": "value"}]
    body = job_body(detectors, SPAN[name], "yyyy-MM-dd HH:mm:ss", "timestamp")
    return DataSet(Path(name).stem.lower(), body, header, lines)


@contextmanager
def application(url: str):
    app = bootstrap(Settings(url))
    try:
        yield app
    finally:
        app.close()


def make_job(app, data: DataSet, job_id="j", *, is_open=True):
    handlers.create_job(app, job_id, data.body, CONTEXT)
    if is_open:
        handlers.open_job(app, job_id, CONTEXT)


def post(app, data: DataSet, start=0, end=None, job_id="j"):
    return handlers.post_data(app, job_id, data.csv(start, end), CONTEXT)


def reopen(app, job_id="j"):
    handlers.close_jobs(app, job_id, CONTEXT)
    handlers.open_job(app, job_id, CONTEXT)


def finish(app, job_id="j"):
    """Flush and close, as a user would at the end."""
    if app.jobs.load(job_id).state == "opened":
        handlers.flush_job(app, job_id, {"calc_interim": True}, CONTEXT)
        handlers.close_jobs(app, job_id, CONTEXT)


def facts(app, job_id="j") -> dict:
    """Everything that must be the same whatever way led to it."""
    app.project()
    job = app.jobs.load(job_id)
    rows = {}
    with app.store.reading() as connection:
        for table in RESULT_TABLES:
            query = select(table).where(table.c.job_id == job_id).order_by(*table.primary_key)
            columns = [name for name in table.columns.keys() if name != "processing_time_ms"]  # noqa: SIM118
            rows[table.name] = [tuple(row._mapping[name] for name in columns) for row in connection.execute(query)]
    counts = job.data_counts.resource(job_id)
    for name in ("last_data_time", "input_bytes"):
        counts.pop(name, None)
    return {**rows, "data_counts": counts, "digest": digest(app, job_id)}


def digest(app, job_id="j", *, uses_snapshots=True) -> str:
    job = app.jobs.load(job_id)
    source = ModelSource(app.store, build_codec(), job_id, uses_snapshots=uses_snapshots)
    return source.fold_at(job.version, job.created_version).model.digest().hex()


def places(n_records: int, count: int, seed: int) -> list[int]:
    return sorted(random.Random(seed).sample(range(1, n_records), count))


def to_ndjson(data: DataSet, start=0, end=None) -> bytes:
    import json

    rows = csv.DictReader(io.StringIO(data.csv(start, end).decode()))
    return "".join(json.dumps(row) + "\n" for row in rows).encode()
