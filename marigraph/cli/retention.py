"""``marigraph retention run`` and ``marigraph erase``: what is kept no longer, and what nobody may read any more."""

import sys
from typing import Annotated

import typer

from domain.errors import InvalidArgument
from marigraph.cli.output import moment, note, print_answer, print_json, print_table, say
from marigraph.cli.progress import working
from marigraph.cli.session import JobId, Json, session_of

app = typer.Typer(no_args_is_help=True, help="Remove what jobs keep no longer.")

Jobs = Annotated[
    list[str] | None, typer.Argument(help="Ids, groups or patterns with *; all jobs if none is given.", metavar="JOB")
]


def register(root: typer.Typer) -> None:
    """Add the commands to the root."""
    root.add_typer(app, name="retention")
    root.command(epilog="Example: `marigraph erase visitors --yes`")(erase)


@app.command(epilog="Example: `marigraph retention run --dry-run`")
def run(
    context: typer.Context,
    jobs: Jobs = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing, and print what would go.")] = False,
    as_json: Json = False,
) -> None:
    """Remove old snapshots and results by the settings of each job, and records where a job asks for it.

    What goes is an event on the job's stream. Servers do this daily by themselves.
    """
    session = session_of(context)
    with session.application() as application:
        from marigraph.retention import run_retention  # loads with the model only when asked for

        with working("looking at jobs", total=None, unit="jobs") as advance:
            found = run_retention(
                application,
                ",".join(jobs) if jobs else None,
                session.context,
                dry_run=dry_run,
                on_job=lambda _job_id: advance(0, 1),
            )
    resources = [each.resource() for each in found]
    if as_json:
        print_json({"dry_run": dry_run, "jobs": resources})
        return
    if not resources:
        say("nothing is too old")
        return
    rows = []
    for each in resources:
        results, payloads = each.get("results_dropped"), each.get("payloads_dropped")
        rows.append(
            (
                each["job_id"],
                len(each["model_snapshots"]) or "-",
                f"before {moment(results['before_ms'])}" if results else "-",
                f"{payloads['record_count']:,} up to version {payloads['to_version']}" if payloads else "-",
            )
        )
    print_table(("job", "snapshots", "results", "records"), rows, right=("snapshots",))
    if dry_run:
        note("nothing was changed: this is what a run without --dry-run removes")


def erase(
    context: typer.Context,
    job: JobId,
    keep_results: Annotated[
        bool,
        typer.Option("--keep-results", help="Keep buckets, records and influencers, which name values of the data."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Destroy the key of a closed job's records: nobody can read them again. Its history stays, and verifies.

    Only a job that was created with `custom_settings.erasable` has a key. It can be read, but never be opened again.
    Backups that were made before still hold the key.
    """
    if not yes:
        if not sys.stdin.isatty():
            msg = "erasing cannot be undone: give --yes"
            raise InvalidArgument(msg)
        typer.confirm(f"Erase the records and the model of {job} for good?", abort=True)
    with session_of(context).operations() as operations:
        answer = operations.perform("erase_job", {"job_id": job}, {"keep_results": keep_results})
    line = f"job {job} is erased (event {answer['version']})" if answer["erased"] else f"job {job} was erased before"
    print_answer(answer, line, as_json)
