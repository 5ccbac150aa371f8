"""``marigraph job ...``: the life of a job, from its creation to its deletion."""

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from domain.errors import InvalidArgument, ParseError
from marigraph.cli.output import moment, print_answer, print_fields, print_json, print_table
from marigraph.cli.session import JobId, Json, session_of

app = typer.Typer(no_args_is_help=True, help="Create, open, flush, close, change and delete jobs.")

Pattern = Annotated[str, typer.Argument(help="Id, group, pattern with * or comma list.", metavar="JOB")]
Timeout = Annotated[str, typer.Option("--timeout", help="How long to wait at most, like 30s or 5m.")]
BODY_BYTES_MAX = 16 * 1024 * 1024
"""A configuration is never longer; guards against being handed a data file by mistake."""


def read_body(source: str) -> Any:
    """Read a JSON body: a file's name, ``-`` for standard input, or the JSON object itself.

    Raises
    ------
    ParseError
        It is not JSON, or too long to be a configuration.
    OSError
        The file cannot be read.
    """
    name = {"-": "standard input"}.get(source, source)
    if source == "-":
        text = sys.stdin.buffer.read(BODY_BYTES_MAX + 1)
    elif source.lstrip().startswith("{"):
        name, text = "the argument", source.encode()
    else:
        with Path(source).open("rb") as file:
            text = file.read(BODY_BYTES_MAX + 1)
    if len(text) > BODY_BYTES_MAX:
        msg = f"{name} is longer than {BODY_BYTES_MAX} bytes: that is no configuration"
        raise ParseError(msg)
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        msg = f"{name} is not valid JSON: {error}"
        raise ParseError(msg) from error


@app.command(epilog="Example: `marigraph job create job.json`")
def create(
    context: typer.Context,
    config: Annotated[
        str, typer.Argument(help="Configuration: a JSON file, - for standard input, or the JSON itself.")
    ],
    job_id: Annotated[str | None, typer.Option("--id", help="Id of the job, if the file has none.")] = None,
    as_json: Json = False,
) -> None:
    """Create a job from a configuration; it starts closed."""
    session = session_of(context)
    body = read_body(config)
    named = job_id or (body.get("job_id") if isinstance(body, dict) else None)
    if not isinstance(named, str) or not named:
        msg = "the configuration has no job_id: give one with --id"
        raise InvalidArgument(msg)
    with session.operations() as operations:
        resource = operations.put_job(named, body)
    print_answer(resource, f"created job {resource['job_id']}", as_json)


@app.command()
def show(context: typer.Context, job: Pattern, as_json: Json = False) -> None:
    """Print the complete configuration of a job."""
    with session_of(context).operations() as operations:
        found = operations.get_jobs(job)
    if as_json:
        print_json(found)
        return
    for resource in found["jobs"]:
        print_fields(resource)


@app.command("list")
def list_jobs(
    context: typer.Context,
    job: Annotated[str, typer.Argument(help="Id, group, pattern or comma list.", metavar="JOB")] = "_all",
    as_json: Json = False,
) -> None:
    """List jobs with their state and how much data they have seen."""
    with session_of(context).operations() as operations:
        found = operations.get_jobs(job)
        if as_json:
            print_json(found)
            return
        statistics = operations.get_job_stats(job)["jobs"]
    rows = [
        (
            config["job_id"],
            stats["state"],
            f"{stats['data_counts']['processed_record_count']:,}",
            moment(stats["data_counts"].get("latest_record_timestamp")),
            config.get("description", ""),
        )
        for config, stats in zip(found["jobs"], statistics, strict=True)
    ]
    print_table(("job", "state", "records", "latest record", "description"), rows, right=("records",))


@app.command()
def stats(
    context: typer.Context,
    job: Annotated[str, typer.Argument(help="Id, group, pattern or comma list.", metavar="JOB")] = "_all",
    as_json: Json = False,
) -> None:
    """Print the statistics of jobs: data counts, model size, state."""
    with session_of(context).operations() as operations:
        found = operations.get_job_stats(job)
    if as_json:
        print_json(found)
        return
    for resource in found["jobs"]:
        print_fields(resource)


@app.command("open")
def open_job(context: typer.Context, job: JobId, timeout: Timeout = "30m", as_json: Json = False) -> None:
    """Open a job, so that it takes data; its newest model state is loaded."""
    with session_of(context).operations() as operations:
        answer = operations.open_job(job, timeout=timeout)
    print_answer(answer, f"opened job {job}", as_json)


@app.command(epilog="Example: `marigraph job flush web --calc-interim --advance-time 2024-01-31T00:00:00Z`")
def flush(
    context: typer.Context,
    job: JobId,
    calc_interim: Annotated[
        bool, typer.Option("--calc-interim", help="Compute interim results for the bucket in progress.")
    ] = False,
    start: Annotated[str | None, typer.Option("--start", help="First time of interim results.")] = None,
    end: Annotated[str | None, typer.Option("--end", help="End of the interim results.")] = None,
    advance_time: Annotated[
        str | None,
        typer.Option("--advance-time", help="No data before this time will come: finish its buckets."),
    ] = None,
    skip_time: Annotated[
        str | None, typer.Option("--skip-time", help="Jump to this time without results or learning.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Analyse all posted data now; times are ISO 8601, epoch seconds (10 digits) or milliseconds."""
    with session_of(context).operations() as operations:
        answer = operations.flush_job(
            job, calc_interim=calc_interim, start=start, end=end, advance_time=advance_time, skip_time=skip_time
        )
    end_ms = answer.get("last_finalized_bucket_end")
    print_answer(answer, f"flushed job {job}; results are final up to {moment(end_ms)}", as_json)


@app.command()
def close(
    context: typer.Context,
    job: Pattern,
    force: Annotated[bool, typer.Option("--force", help="Close at once; needed for a failed job.")] = False,
    timeout: Timeout = "30m",
    as_json: Json = False,
) -> None:
    """Close jobs: results are finished and a snapshot is stored; results stay readable."""
    with session_of(context).operations() as operations:
        answer = operations.close_job(job, force=force, timeout=timeout)
    print_answer(answer, f"closed job {job}", as_json)


@app.command(epilog="""Example: `marigraph job update web '{"description": "the shop"}'`""")
def update(
    context: typer.Context,
    job: JobId,
    changes: Annotated[
        str, typer.Argument(help="Fields to change: a JSON file, - for standard input, or the JSON itself.")
    ],
    as_json: Json = False,
) -> None:
    """Change the configuration of a job."""
    body = read_body(changes)
    with session_of(context).operations() as operations:
        resource = operations.update_job(job, body)
    print_answer(resource, f"updated job {job}", as_json)


@app.command()
def delete(
    context: typer.Context,
    job: JobId,
    force: Annotated[bool, typer.Option("--force", help="Also if the job is open.")] = False,
    as_json: Json = False,
) -> None:
    """Delete a job with its results and snapshots; its history stays."""
    with session_of(context).operations() as operations:
        answer = operations.delete_job(job, force=force)
    print_answer(answer, f"deleted job {job}", as_json)
