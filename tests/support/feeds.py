"""Data for datafeeds: a table, a job, the file that configures sources, and a clock that tests can turn."""

import json
import sqlite3
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, text

from marigraph import handlers
from marigraph.bootstrap import bootstrap
from marigraph.codec import build_codec, datafeed_stream, recorded
from marigraph.datafeeds import handlers as feed_handlers
from marigraph.datafeeds.running import DatafeedRun
from marigraph.datafeeds.runs import context_of
from marigraph.settings import Settings
from tests.support.jobs import CONTEXT

START_MS = 1_485_907_200_000
"""A full hour."""

HOUR_MS = 3_600_000


def job_body(bucket_span="1h", **more):
    return {
        "analysis_config": {
            "bucket_span": bucket_span,
            "detectors": [{"function": "mean", "field_name": "v", "by_field_name": "airline"}],
            **more,
        },
        "data_description": {"time_field": "time", "time_format": "epoch_ms"},
    }


def rows(n_rows, start_ms=START_MS, step_ms=7_000):
    """Some series of numbers, in order of time."""
    return [(start_ms + n * step_ms, f"a{n % 3}", (n * 7 % 19) / 2) for n in range(n_rows)]


class Table:
    """A table of records in an SQLite file, with an index on its time."""

    def __init__(self, path: Path, name: str = "air") -> None:
        self.path, self.name = path, name
        with self._connect() as connection:
            connection.execute(f'CREATE TABLE "{name}" ("time" INTEGER, airline TEXT, v REAL)')
            connection.execute(f'CREATE INDEX "{name}_time" ON "{name}" ("time")')

    def add(self, records) -> None:
        with self._connect() as connection:
            connection.executemany(f'INSERT INTO "{self.name}" VALUES (?, ?, ?)', records)

    @contextmanager
    def _connect(self):
        connection = sqlite3.connect(self.path, timeout=30)
        try:
            with connection:
                yield connection
        finally:
            connection.close()


def write_sources(path: Path, **sources) -> str:
    """Write a file of sources; a text is the URL of a database."""
    lines = []
    for name, given in sources.items():
        options = {"type": "sql", "url": given} if isinstance(given, str) else given
        lines.append(f"[sources.{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in options.items() if not isinstance(value, dict)]
        for key, value in options.items():
            if isinstance(value, dict):
                lines.append(f"[sources.{name}.{key}]")
                lines += [f"{inner} = {json.dumps(text_)}" for inner, text_ in value.items()]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


class Clock:
    """Milliseconds that stand still until they are told otherwise."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


@contextmanager
def feeding(url, sources, now_ms=2_000_000_000_000):
    """An application with sources, whose clock is turned by ``app.now_ms.now_ms = ...``."""
    app = bootstrap(Settings(url, sources=sources), Clock(now_ms))
    try:
        yield app
    finally:
        app.close()


def make_feed(app, job_id="j", datafeed_id="d", body=None, **fields):
    """Make an open job and its datafeed."""
    handlers.create_job(app, job_id, body or job_body(), CONTEXT)
    handlers.open_job(app, job_id, CONTEXT)
    fields = {"indices": ["air"], "query_delay": "60s", **fields}
    return feed_handlers.create_datafeed(app, datafeed_id, {"job_id": job_id, **fields}, CONTEXT)


def start(app, datafeed_id="d", **times):
    """Start a datafeed and return its run, which does nothing but by steps."""
    feed_handlers.start_datafeed(app, datafeed_id, CONTEXT, **times)
    return resume(app, datafeed_id)


def resume(app, datafeed_id="d"):
    writer = app.datafeeds.writer(datafeed_id)
    return DatafeedRun(app, writer, context_of(writer.datafeed))


def work(run, n_steps=10_000):
    """Do steps until the run waits or is over; return what the last one said."""
    for _ in range(n_steps):
        seconds = run.step()
        if seconds != 0.0:
            return seconds
    return seconds


def events(app, datafeed_id="d", kind="searched"):
    from domain.datafeeds.events import EVENT_TYPES

    codec = build_codec(EVENT_TYPES)
    stored = app.store.iter_stream(datafeed_stream(datafeed_id))
    return [recorded(codec, each).event for each in stored if each.type == kind]


def n_records(app, job_id="j"):
    return app.jobs.load(job_id).data_counts.input_record_count


def postgres_table(url, records, name="air", kind="bigint"):
    """Make a table of records in a PostgreSQL database."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(text(f'CREATE TABLE "{name}" ("time" {kind}, airline text, v numeric)'))
        for moment, airline, value in records:
            made = "CAST(:t AS bigint)" if kind == "bigint" else f"CAST(to_timestamp(:t / 1000.0) AS {kind})"
            connection.execute(
                text(f'INSERT INTO "{name}" VALUES ({made}, :a, :v)'), {"t": moment, "a": airline, "v": value}
            )
    engine.dispose()
