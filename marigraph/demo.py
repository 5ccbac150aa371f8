"""The demo: one job on made data, from creation to reopening, told line by line.

The data are two weeks of response times of a small web service, by page, with a daily rhythm; three things go wrong
in it, and the job should find them. They come from a fixed seed, so everybody sees the same.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import platformdirs

from marigraph import handlers, history, queries
from marigraph.application import Application
from marigraph.cli.output import moment, say
from marigraph.cli.progress import working
from marigraph.cli.results import print_events, print_records
from marigraph.context import Context
from marigraph.explain import RecordChoice, explain_record
from marigraph.settings import DATABASE_FILE, Settings

DEMO_FILE = "demo.db"
START = 1_704_067_200  # 2024-01-01T00:00:00Z, a Monday
DAYS = 14
EVERY_SECONDS = 60
PAGES = ("cart", "checkout", "home", "login", "product", "search")
TROUBLE = (
    (8 * 86_400 + 14 * 3_600, 3_600, "checkout", 2.5, "a slow payment provider for an hour"),
    (10 * 86_400 + 3 * 3_600, 1_800, "search", 1.9, "a slow index, at night, within the values of the day"),
    (12 * 86_400 + 9 * 3_600, 1_200, "login", 4.0, "twenty minutes of a locked table"),
)
"""Start (seconds after START), length, page, factor on the response time, and what it stands for."""

CONFIG = {
    "description": "Response times of a web service, by page",
    "analysis_config": {
        "bucket_span": "15m",
        "detectors": [{"function": "mean", "field_name": "responsetime", "by_field_name": "page"}],
        "influencers": ["page"],
    },
    "data_description": {"time_field": "time", "time_format": "epoch"},
}


def demo_settings(settings: Settings) -> Settings:
    """Put the demo into a file of its own beside the default database, unless a database was chosen."""
    default = Path(platformdirs.user_data_dir("marigraph", appauthor=False)) / DATABASE_FILE
    if settings.database != str(default):
        return settings
    return Settings(str(default.with_name(DEMO_FILE)), settings.lease_seconds)


def run_demo(app: Application, context: Context) -> None:
    """Run the demo and print it."""
    job_id = _free_id(app)
    handlers.create_job(app, job_id, CONFIG, context)
    handlers.open_job(app, job_id, context)
    say(f"made and opened job {job_id}: mean(responsetime) by page, in buckets of 15 minutes")
    days = list(demo_days())
    n_records = _post(app, job_id, days[: DAYS // 2], context)
    flushed = handlers.flush_job(app, job_id, {"calc_interim": True}, context)
    say(f"posted {n_records:,} records, flushed: final up to {moment(flushed['last_finalized_bucket_end'])}")
    handlers.close_jobs(app, job_id, context)
    say("closed it: the model is a snapshot now, the results stay readable")
    handlers.open_job(app, job_id, context)
    n_records = _post(app, job_id, days[DAYS // 2 :], context)
    handlers.flush_job(app, job_id, {}, context)
    handlers.close_jobs(app, job_id, context)
    say(f"reopened it, posted {n_records:,} more, closed it again\n")
    found = queries.get_records(app, job_id, page=queries.Page(0, 8))["records"]
    print_records(found, title=f"The highest anomalies of {job_id}")
    say(f"\nThe highest in words: {explain_record(app, job_id, RecordChoice()).explanation.sentence}")
    say("\nPut in on purpose:")
    for start, seconds, page, factor, why in TROUBLE:
        when = moment((START + start) * 1000)
        say(f"  {when}  page={page}  {factor:g} times slower for {seconds // 60} minutes: {why}")
    events = history.get_history(app, job_id)["events"]
    say("")
    print_events(events, title=f"The history of {job_id}")
    database = app.settings.database
    say(f"\nLook on:  marigraph --db {database} records {job_id}")
    say(f"Ask why:  marigraph --db {database} explain {job_id} 2")
    say(f"Check it: marigraph --db {database} verify {job_id}")


def demo_days() -> Iterator[bytes]:
    """Yield the records of each day as NDJSON."""
    random = np.random.default_rng(20240101)
    encode = msgspec.json.Encoder().encode_lines
    for day in range(DAYS):
        seconds = np.arange(day * 86_400, (day + 1) * 86_400, EVERY_SECONDS)
        rhythm = 1.0 + 0.5 * np.sin(2.0 * np.pi * (seconds / 86_400.0 - 0.25))
        columns = []
        for index, page in enumerate(PAGES):
            values = (60.0 + 20.0 * index) * rhythm * np.exp(0.1 * random.standard_normal(len(seconds)))
            for start, length, where, factor, _why in TROUBLE:
                if where == page:
                    values[(seconds >= start) & (seconds < start + length)] *= factor
            columns.append(np.round(values, 2).tolist())
        yield encode(
            {"time": START + second, "page": page, "responsetime": value}
            for second, values in zip(seconds.tolist(), zip(*columns, strict=True), strict=True)
            for page, value in zip(PAGES, values, strict=True)
        )


def _post(app: Application, job_id: str, days: list[bytes], context: Context) -> int:
    n_records = 0
    with working("posting", total=len(days), unit="records") as advance:
        for day in days:
            counts = handlers.post_data(app, job_id, day, context)
            n_records += counts["input_record_count"]
            advance(1, counts["input_record_count"])
    return n_records


def _free_id(app: Application) -> str:
    app.project()
    taken = {job.job_id for job in app.jobs.all()}
    number = 1
    while (job_id := "demo" if number == 1 else f"demo-{number}") in taken:
        number += 1
    return job_id
