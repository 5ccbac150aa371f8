"""Audit queries on a large log, each beside a look-up of one event by its primary key in the same run.

The log (tests/support/big_log.py) has, unless told otherwise, 10 million events of 2,000 jobs over 90 days, which take
turns: the events of a job lie far apart. Each query is asked for another job, or another stretch of time, each time,
in turn with the look-ups; what is compared are medians of CPU time, of this process and of the database's (how long one
waits on a busy machine is shown beside it). A look-up takes the same way as a query: the library, SQLAlchemy, a pooled
connection; one row by its position, made into the resource that the API shows. Queries ask for their usual page, 50
rows, and so often return that many.

SQLite's file and PostgreSQL's server (its directory: TMPDIR) take about 9 GB each at full size.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final

from rich.progress import Progress
from sqlalchemy import select

from benchmarks.table import print_table
from eventstore.tables import events
from marigraph import schema
from marigraph.audit.views import HISTORY
from marigraph.history import event_resource
from marigraph.library import Marigraph
from tests.support.big_log import SPAN_MS, START_US, WITH_RECORDS, BigLog, project, write
from tests.support.postgres import DURABLE, conninfo, running_server

HOUR_MS: Final = 3_600_000
LIMIT: Final = 20.0
WARMING_ROUNDS: Final = 7  # statements are compiled, and prepared from the sixth time on
LOOKUPS_PER_ROUND: Final = 5

Ask = Callable[[random.Random], dict[str, Any]]


class Questions:
    """What is asked, and of what: a job, an hour, a day, drawn anew each time."""

    def __init__(self, ml: Marigraph, log: BigLog) -> None:
        self.ml, self.log = ml, log
        self.first_ms = START_US // 1000
        self.span_ms = log.n_events * log.step_us // 1000

    def job(self, draw: random.Random) -> str:
        return f"j{draw.randrange(self.log.n_jobs):05d}"

    def window(self, draw: random.Random, length_ms: int) -> dict[str, Any]:
        start = self.first_ms + draw.randrange(max(self.span_ms - length_ms, 1))
        return {"start": start, "end": start + length_ms}

    def lookup(self, draw: random.Random) -> dict[str, Any]:
        """Look one event up by its primary key."""
        position = 1 + draw.randrange(self.log.n_events)
        with self.ml.application.store.reading() as connection:
            row = connection.execute(select(HISTORY).where(HISTORY.c.position == position)).mappings().one_or_none()
            if row is None:  # of a datafeed, or of the keys
                plain = connection.execute(select(events).where(events.c.position == position)).mappings().one()
                return event_resource(dict(plain), plain["recorded_at"])
        return event_resource(dict(row), row["recorded_at_us"])

    def of_job(self, noun: str, **parameters: Any) -> Ask:
        return lambda draw: self.ml.perform(f"audit_{noun}", {"job_id": self.job(draw)}, parameters)

    def of_time(self, noun: str, length_ms: int, **parameters: Any) -> Ask:
        return lambda draw: self.ml.perform(f"audit_{noun}", {}, {**parameters, **self.window(draw, length_ms)})

    def at(self, draw: random.Random) -> int:
        return self.first_ms + draw.randrange(self.span_ms)

    def lineage(self, draw: random.Random) -> dict[str, Any]:
        job_id = f"j{draw.randrange(min(WITH_RECORDS, self.log.n_jobs)):05d}"
        parameters = {"timestamp": self.at(draw) // SPAN_MS * SPAN_MS, "bucket": True}
        return self.ml.audit_lineage(job_id, **parameters)

    def all(self) -> dict[str, Ask]:
        feed = lambda draw: f"d{draw.randrange(self.log.n_feeds):05d}"  # noqa: E731
        day = 24 * HOUR_MS
        return {
            "history of a job": self.of_job("history"),
            "history of a job, newest first": self.of_job("history", desc=True),
            "history of a job: opened, closed": self.of_job("history", type="opened,closed"),
            "history of an hour": self.of_time("history", HOUR_MS),
            "history of an hour: opened, closed": self.of_time("history", HOUR_MS, type="opened,closed"),
            "history of ten minutes by an actor": self.of_time("history", HOUR_MS // 6, actor="user-3"),
            "sessions of a job": self.of_job("sessions"),
            "sessions of an hour": self.of_time("sessions", HOUR_MS),
            "failures of a job": self.of_job("failures"),
            "failures of an hour": self.of_time("failures", HOUR_MS),
            "gaps of a job": self.of_job("gaps", longer_than="2h"),
            "refusals of a job": self.of_job("refusals"),
            "refusals of ten minutes": self.of_time("refusals", HOUR_MS // 6),
            "changes of a job": self.of_job("changes"),
            "changes of a day": self.of_time("changes", day),
            "posts of a job": self.of_job("posts"),
            "posts of an hour": self.of_time("posts", HOUR_MS),
            "state of a job at a time": lambda draw: self.ml.audit_state(self.job(draw), at=self.at(draw)),
            "snapshots of a job": self.of_job("snapshots"),
            "snapshots of an hour": self.of_time("snapshots", HOUR_MS),
            "lineage of a bucket": self.lineage,
            "searches of a datafeed": lambda draw: self.ml.audit_searches(feed(draw)),
            "searches of an hour": self.of_time("searches", HOUR_MS),
            "keys and users of a day": lambda draw: self.ml.audit_access(**self.window(draw, day)),
        }


class Clock:
    """CPU time of this process and of a PostgreSQL server on this machine, in seconds."""

    def __init__(self, ml: Marigraph) -> None:
        self._server: str | None = None
        if ml.application.store.dialect == "postgresql":
            with ml.application.store.reading() as connection:
                backend = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            self._server = parent_of(str(backend))
            self.find()

    def find(self) -> None:
        """Look which processes the server has now."""
        everyone = (path.name for path in Path("/proc").iterdir() if path.name.isdigit())
        self._processes = [each for each in everyone if self._server and parent_of(each) == self._server]

    def now(self) -> float:
        ours = time.process_time()
        if self._server is None:
            return ours
        return ours + sum(nanoseconds(each) for each in self._processes) / 1e9


def parent_of(process: str) -> str | None:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1]
    except OSError:  # it has ended
        return None


def nanoseconds(process: str) -> int:
    try:
        return int(Path(f"/proc/{process}/schedstat").read_text().split()[0])
    except OSError:
        return 0


def rows_of(answer: dict[str, Any]) -> int:
    return sum(len(value) for value in answer.values() if isinstance(value, list)) or 1


def measure(questions: Questions, rounds: int) -> list[tuple[Any, ...]]:
    """Return, for each query, milliseconds on the clock and of CPU, rows, and how many look-ups that CPU time is."""
    asked = {"look-up of one event": questions.lookup, **questions.all()}
    clock, draw = Clock(questions.ml), random.Random(7)
    waited: dict[str, list[float]] = {name: [] for name in asked}
    worked: dict[str, list[float]] = {name: [] for name in asked}
    rows: dict[str, list[int]] = {name: [] for name in asked}
    for turn in range(rounds + WARMING_ROUNDS):
        clock.find()
        for name, ask in asked.items():
            for _ in range(LOOKUPS_PER_ROUND if name.startswith("look-up") else 1):
                busy, started = clock.now(), time.perf_counter()
                answer = ask(draw)
                ended, still_busy = time.perf_counter(), clock.now()
                if turn >= WARMING_ROUNDS:
                    waited[name].append(ended - started)
                    worked[name].append(still_busy - busy)
                    rows[name].append(rows_of(answer))
    lookup = statistics.median(worked["look-up of one event"])
    return [
        (
            name,
            statistics.median(waited[name]) * 1000,
            statistics.median(times) * 1000,
            statistics.median(rows[name]),
            statistics.median(times) / lookup,
        )
        for name, times in worked.items()
    ]


def prepare(url: str, n_jobs: int, n_events: int, days: float) -> BigLog:
    """Make the log in an empty database."""
    schema.upgrade(url)
    log = BigLog(n_jobs, n_events, days=days)
    with Progress(transient=True) as progress:
        task = progress.add_task("writing the log", total=n_events)
        write(url, log, lambda n_done: progress.advance(task, n_done))
        with closing(Marigraph(url)) as ml:
            task = progress.add_task("read models", total=n_events)
            project(ml.application, log, lambda n_done: progress.advance(task, n_done))
    return log


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks audit", description=__doc__.split("\n\n")[0])
    parser.add_argument("--jobs", type=int, default=2_000)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--days", type=float, default=90.0, help="the time that the log spans")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--only", choices=["sqlite", "postgres"])
    parser.add_argument("--existing", metavar="URL", help="a log of the same numbers that an earlier run has left")
    parser.add_argument("--directory", type=Path, help="where SQLite's file is made, and removed")
    options = parser.parse_args(arguments)
    size = (options.jobs, options.events, options.days)
    with ExitStack() as stack:
        urls: dict[str, Callable[[], str]] = {}
        if options.existing:
            urls["the given database"] = lambda: options.existing
        elif options.only != "postgres":
            directory = stack.enter_context(tempfile.TemporaryDirectory(dir=options.directory))
            urls["SQLite"] = lambda: f"{directory}/log.db"
        if not options.existing and options.only != "sqlite":
            server = stack.enter_context(running_server(DURABLE))  # on the disk, not in memory
            urls["PostgreSQL"] = lambda: conninfo(server.create_database())
        for kind, make in urls.items():
            url = make()
            log = BigLog(options.jobs, options.events, days=options.days) if options.existing else prepare(url, *size)
            with closing(Marigraph(url)) as ml:
                log.n_events = log.n_events or ml.application.store.read_checkpoint("jobs")
                found = measure(Questions(ml, log), options.rounds)
            title = f"{kind}: {log.n_events:,} events of {options.jobs:,} jobs, medians of {options.rounds}"
            print_table(title, ["", "ms", "CPU ms", "rows", "look-ups"], found)
            worst = max(found[1:], key=lambda row: row[4])
            verdict = "within" if worst[4] <= LIMIT else "NOT within"
            print(f"{verdict} {LIMIT:g} look-ups: at most {worst[4]:.1f} ({worst[0]})")
