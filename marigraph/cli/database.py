"""``marigraph db ...``: the database itself: its schema, copies and backups."""

from pathlib import Path
from typing import Annotated

import typer

from domain.errors import InvalidArgument
from marigraph import schema
from marigraph.cli.output import print_json, print_table, say
from marigraph.cli.progress import fraction
from marigraph.cli.session import CHECK_FAILED, Json, session_of

app = typer.Typer(no_args_is_help=True, help="Upgrade, check, rebuild, back up and copy the database.")


@app.command()
def upgrade(context: typer.Context, as_json: Json = False) -> None:
    """Bring the schema to this program's revision; an SQLite file is backed up first."""
    url = session_of(context).local_settings().database
    saved = schema.upgrade(url)
    if as_json:
        print_json({"revision": schema.HEAD_REVISION, "backup": str(saved) if saved else None})
        return
    if saved is not None:
        say(f"the database as it was is kept in {saved}")
    say(f"schema is at revision {schema.HEAD_REVISION}")


@app.command()
def current(context: typer.Context, as_json: Json = False) -> None:
    """Print the revision of the schema, and which programs may run with it."""
    url = session_of(context).local_settings().database
    found = schema.current_revision(url)
    admitted = schema.oldest_admitted(url) if found is not None else None
    if as_json:
        print_json({"revision": found, "expected": schema.HEAD_REVISION, "oldest_admitted": admitted})
        return
    say(f"{found or 'no schema yet'} (this program expects {schema.HEAD_REVISION}, or newer ones that admit it)")
    if admitted is not None:
        say(f"programs from revision {admitted} on may run with this database")


@app.command(epilog="Example: `marigraph --db postgresql://host/marigraph db finish`, when the last old server is gone")
def finish(context: typer.Context, as_json: Json = False) -> None:
    """End an upgrade: say that no program of an older release runs any more; from here on none is admitted.

    Until then nothing is written that the release before could not read: no retention and no erasure.
    """
    before = schema.finish(session_of(context).local_settings().database)
    if as_json:
        print_json({"oldest_admitted": max(before, schema.HEAD_REVISION), "before": before})
    else:
        say(f"programs from revision {max(before, schema.HEAD_REVISION)} on may run with this database")


@app.command()
def check(context: typer.Context, as_json: Json = False) -> None:
    """Check that the schema is complete and that every hash chain holds; exit code 1 if not."""
    url = session_of(context).local_settings().database
    found = schema.current_revision(url)
    problems = []
    if found != schema.HEAD_REVISION:
        problems.append(f"schema is at revision {found}, expected {schema.HEAD_REVISION}; run `marigraph db upgrade`")
    else:
        problems += [f"schema drift: {diff}" for diff in schema.find_drift(url)]
        from eventstore import EventStore  # only a database of the right schema can be opened

        with EventStore.connect(url) as store:
            report = store.verify_chain()
        if report.first_bad is not None:
            bad = report.first_bad
            problems.append(f"{bad.stream}, version {bad.version}: {bad.what}")
        if report.unreadable is not None:
            problems.append(report.unreadable)
    if as_json:
        print_json({"ok": not problems, "problems": problems})
    else:
        for problem in problems:
            say(problem)
        say("the database does not hold" if problems else "schema and log are intact")
    if problems:
        raise typer.Exit(CHECK_FAILED)


@app.command(epilog="Example: `marigraph db rebuild web`, while a server runs")
def rebuild(
    context: typer.Context,
    jobs: Annotated[
        list[str] | None, typer.Argument(help="Ids, groups or patterns with *.", metavar="JOB", show_default=False)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All jobs, and what is known of jobs and datafeeds.")] = False,
    as_json: Json = False,
) -> None:
    """Replay jobs from the log and exchange what is stored of them where it differs; nothing has to be stopped.

    Who reads meanwhile sees what was there before, and what is posted meanwhile is in it. Processing times stay, and so
    do results whose records are no longer kept.
    """
    if every == bool(jobs):
        msg = "name the jobs to rebuild, or give --all"
        raise InvalidArgument(msg)
    with session_of(context).application() as application:
        from marigraph.rebuilding import rebuild as rebuild_jobs  # loads with the model only when asked for

        with fraction("replaying") as show:
            found = rebuild_jobs(application, ",".join(jobs) if jobs else None, lambda _job_id: None, show)
    if as_json:
        print_json({"jobs": [each.resource() for each in found]})
        return
    rows = [
        (
            each.job_id,
            f"{each.event_count:,}",
            f"{each.bucket_count:,}",
            "yes" if each.was_job_changed else "no",
            each.kept,
        )
        for each in found
    ]
    print_table(("job", "events", "buckets changed", "job changed", ""), rows, right=("events", "buckets changed"))


@app.command(epilog="Example: `marigraph db backup /backups/marigraph-today.db`")
def backup(
    context: typer.Context, target: Annotated[Path, typer.Argument(help="File to write; must not exist.")]
) -> None:
    """Copy an SQLite database to a file while it is in use."""
    saved = schema.backup(session_of(context).local_settings().database, target)
    say(f"backed up to {saved}")


@app.command(epilog="Example: `marigraph --db marigraph.db db copy postgresql://host/marigraph`")
def copy(
    context: typer.Context,
    target: Annotated[str, typer.Argument(help="Database to copy to: a file or URL; its log must be empty.")],
    as_json: Json = False,
) -> None:
    """Copy the whole log to another database, keeping versions and hashes, verify it, and rebuild the results."""
    from marigraph.copying import copy_database  # loads with the model only when asked for

    settings = session_of(context).local_settings()
    with fraction("copying") as show:
        report = copy_database(settings, target, session_of(context).context, show)
    if as_json:
        print_json(report)
    else:
        say(f"copied and verified {report['events']:,} events of {report['streams']:,} streams to {target}")
