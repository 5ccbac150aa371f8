"""``marigraph run|post|demo``: records into jobs, from files or standard input."""

from pathlib import Path
from typing import Annotated

import typer

from domain.config import create_job_config
from domain.errors import InvalidArgument
from domain.job import CLOSED, OPENED, Job
from marigraph import handlers, queries
from marigraph.application import Application
from marigraph.cli.jobs import read_body
from marigraph.cli.output import note, print_json, say
from marigraph.cli.progress import working
from marigraph.cli.results import print_records
from marigraph.cli.session import JobId, Json, Session, session_of
from marigraph.context import Context
from marigraph.data_files import total_size
from marigraph.ingest import Ingested, ingest
from marigraph.operations import Posted
from marigraph.writing import JobWriter

Files = Annotated[
    list[Path],
    typer.Argument(help="CSV with a header or JSON records, plain or gzip; - for standard input.", metavar="DATA..."),
]
TOP_RECORDS = 10


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the root."""
    app.command(epilog="Example: `marigraph run --job job.json day1.csv day2.csv.gz`")(run)
    app.command(epilog="Example: `zcat day3.csv.gz | marigraph post web -`")(post)
    app.command()(demo)


def run(
    context: typer.Context,
    job: Annotated[str, typer.Option("--job", help="JSON file with the configuration, job_id included.")],
    data: Files,
    size: Annotated[int, typer.Option("--size", help="How many anomalies to print.", min=0)] = TOP_RECORDS,
    as_json: Json = False,
) -> None:
    """Make or reuse a job, feed it files, flush, close, and print the top anomalies.

    Stopped or killed on the way, the same command continues where it stopped, doubling nothing.
    """
    session = session_of(context)
    body = read_body(job)
    total_size(data)  # a file that is not there is refused before anything is made
    with session.application() as application:
        job_id = _make_or_reuse(application, body, session.context)
        ingested = run_files(application, job_id, data, session.context)
        handlers.flush_job(application, job_id, {}, session.context)
        handlers.close_jobs(application, job_id, session.context)
        found = queries.get_records(application, job_id, page=queries.Page(0, size))
        total = queries.get_buckets(application, job_id, page=queries.Page(0, 0))["count"]
    if as_json:
        print_json(found)
        return
    _tell(job_id, Posted(ingested.counts.resource(job_id), ingested.n_skipped))
    say(f"{total:,} buckets, {found['count']:,} anomalous records; the highest:")
    print_records(found["records"])


def post(context: typer.Context, job: JobId, data: Files, as_json: Json = False) -> None:
    """Post records to an open job; the analysis follows at once, results are written as buckets complete."""
    with (
        session_of(context).operations() as operations,
        working(f"posting to {job}", total=total_size(data), unit="records") as advance,
    ):
        posted = operations.post_files(job, data, advance)
    if as_json:
        print_json(posted.counts)
    else:
        _tell(job, posted)


def demo(context: typer.Context) -> None:
    """Show the whole life of a job on made data: post, flush, close, reopen; its anomalies and its history."""
    from marigraph.demo import demo_settings, run_demo  # loads with the model only when asked for

    session = session_of(context)
    session = Session(demo_settings(session.local_settings()), session.context)
    with session.application() as application:
        run_demo(application, session.context)


def run_files(app: Application, job_id: str, data: list[Path], context: Context) -> Ingested:
    """Open a job if it is closed, take it over if its owner is dead, and post files to it."""
    state = queries.require_job(app, job_id).state
    if state == CLOSED:
        handlers.open_job(app, job_id, context)
    return _feed(app, app.own(job_id, context), data, context)


def _feed(app: Application, writer: JobWriter, data: list[Path], context: Context) -> Ingested:
    with working(f"posting to {writer.job.job_id}", total=total_size(data), unit="records") as advance:
        return ingest(app, writer, data, context, advance)


def _make_or_reuse(app: Application, body: object, context: Context) -> str:
    wanted = create_job_config(body, job_id=None, now_ms=app.now_ms())
    found: Job = app.jobs.load(wanted.job_id)
    if not found.exists:
        handlers.create_job(app, None, body, context)
        return wanted.job_id
    existing = found.settings()
    for name in ("analysis_config", "data_description"):
        if getattr(existing, name) != getattr(wanted, name):
            msg = f"job [{wanted.job_id}] exists with another {name}; choose another job_id, or delete the job first"
            raise InvalidArgument(msg)
    if found.state not in (CLOSED, OPENED):
        msg = f"job [{wanted.job_id}] is {found.state}: {found.failure}; close it with --force first"
        raise InvalidArgument(msg)
    return wanted.job_id


def _tell(job_id: str, posted: Posted) -> None:
    counts = posted.counts
    say(f"job {job_id}: {counts['processed_record_count']:,} of {counts['input_record_count']:,} records analysed")
    rejected = (
        (counts["out_of_order_timestamp_count"], "came too late"),
        (counts["invalid_date_count"], "have no readable time"),
    )
    for count, why in rejected:
        if count:
            say(f"{count:,} records {why} and were not analysed")
    if posted.n_skipped:
        note(f"{posted.n_skipped} blocks were stored by an earlier run and were not posted again")
