"""``marigraph audit ...``: what happened on the log, on whose order, and how things stood at any time."""

from typing import Annotated, Any

import typer

from marigraph.audit.scope import SIZE, SIZE_MAX
from marigraph.cli import audit_tables as tables
from marigraph.cli import proof
from marigraph.cli.output import literal, moment, note, print_csv, print_fields, print_json, print_table
from marigraph.cli.session import Csv, End, Every, JobId, Json, Start, session_of
from marigraph.operations import Operations, Resource

app = typer.Typer(no_args_is_help=True, help="Ask the log: who did what, when, and how things stood.")

Jobs = Annotated[
    str | None,
    typer.Argument(metavar="[JOBS]", help="Ids and `*` patterns, with commas; deleted jobs too. All if none is given."),
]
Size = Annotated[int, typer.Option("--size", help="How many to print.", min=1)]
After = Annotated[str | None, typer.Option("--after", help="Go on where an earlier answer ended: its `next`.")]
Newest = Annotated[bool, typer.Option("--desc", help="Newest first.")]

# ------------------------------------------------------------------------------------------------------------- events


@app.command(epilog="Example: `marigraph audit history web --type opened --type closed --start 2026-01-01`")
def history(
    context: typer.Context,
    jobs: Jobs = None,
    types: Annotated[
        list[str] | None, typer.Option("--type", help="Only events of this type; may be given repeatedly.")
    ] = None,
    actor: Annotated[str | None, typer.Option("--actor", help="Only what this actor did.")] = None,
    request_id: Annotated[str | None, typer.Option("--request-id", help="Only what this request did.")] = None,
    start: Start = None,
    end: End = None,
    after_version: Annotated[
        int | None, typer.Option("--after-version", help="Only later events, of one job.", min=0)
    ] = None,
    to_version: Annotated[
        int | None, typer.Option("--to-version", help="Only events up to this one, of one job.", min=0)
    ] = None,
    size: Size = SIZE,
    after: After = None,
    newest: Newest = False,
    every: Every = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """List events of jobs: what happened, when, and on whose order."""
    wanted = {
        **{"type": ",".join(types or ()) or None, "actor": actor, "request_id": request_id, "start": start},
        **{"end": end, "after_version": after_version, "to_version": to_version, "after": after, "desc": newest},
    }
    found = _list(context, "history", {"job_id": jobs}, wanted, size, every)
    tables.print_list(found, "events", tables.EVENTS, as_json, as_csv)


@app.command(epilog="Example: `marigraph audit failures --start 2026-01-01 --csv`")
def failures(
    context: typer.Context,
    jobs: Jobs = None,
    start: Start = None,
    end: End = None,
    size: Size = SIZE,
    after: After = None,
    newest: Newest = False,
    every: Every = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """List jobs that failed, lost their owner, or were closed or deleted by force."""
    wanted = {"start": start, "end": end, "after": after, "desc": newest}
    found = _list(context, "failures", {"job_id": jobs}, wanted, size, every)
    tables.print_list(found, "failures", tables.FAILURES, as_json, as_csv)


@app.command(epilog="Example: `marigraph audit changes web --field analysis_limits`")
def changes(
    context: typer.Context,
    jobs: Jobs = None,
    field: Annotated[
        str | None, typer.Option("--field", help="Only changes of this setting, or of those below it.")
    ] = None,
    start: Start = None,
    end: End = None,
    size: Size = SIZE,
    after: After = None,
    newest: Newest = False,
    every: Every = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """List who changed which settings, from what to what."""
    wanted = {"field": field, "start": start, "end": end, "after": after, "desc": newest}
    found = _list(context, "changes", {"job_id": jobs}, wanted, size, every)
    if as_json:
        print_json(found)
        return
    flat = [
        {**{name: value for name, value in item.items() if name != "changes"}, **change}
        for item in found["changes"]
        for change in item["changes"]
    ]
    tables.print_list({**found, "changes": flat}, "changes", tables.CHANGES, as_json=False, as_csv=as_csv)


@app.command(epilog="Example: `marigraph audit posts web --start 2026-01-01 --end 2026-01-02`")
def posts(
    context: typer.Context,
    jobs: Jobs = None,
    start: Start = None,
    end: End = None,
    size: Size = SIZE,
    after: After = None,
    newest: Newest = False,
    every: Every = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """List the batches of records that jobs accepted; START and END are of their arrival."""
    wanted = {"start": start, "end": end, "after": after, "desc": newest}
    tables.print_list(
        _list(context, "posts", {"job_id": jobs}, wanted, size, every), "posts", tables.POSTS, as_json, as_csv
    )


@app.command(epilog="Example: `marigraph audit searches shop --start 2026-01-01`")
def searches(
    context: typer.Context,
    datafeeds: Annotated[
        str | None, typer.Argument(metavar="[DATAFEEDS]", help="Ids and `*` patterns, with commas; all if none.")
    ] = None,
    start: Start = None,
    end: End = None,
    size: Size = SIZE,
    after: After = None,
    newest: Newest = False,
    every: Every = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """List the searches of datafeeds: the stretch of time, why it was searched, what was found."""
    wanted = {"start": start, "end": end, "after": after, "desc": newest}
    found = _list(context, "searches", {"datafeed_id": datafeeds}, wanted, size, every)
    tables.print_list(found, "searches", tables.SEARCHES, as_json, as_csv)


@app.command(epilog="Example: `marigraph audit access --desc --size 20`")
def access(
    context: typer.Context,
    start: Start = None,
    end: End = None,
    size: Size = SIZE,
    after: After = None,
    newest: Newest = False,
    every: Every = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """List what happened to keys and users."""
    wanted = {"start": start, "end": end, "after": after, "desc": newest}
    tables.print_list(_list(context, "access", {}, wanted, size, every), "events", tables.ACCESS, as_json, as_csv)


# ----------------------------------------------------------------------------------------------------------- sessions


@app.command(epilog="Example: `marigraph audit sessions web --ending failed`")
def sessions(
    context: typer.Context,
    jobs: Jobs = None,
    ending: Annotated[
        str | None, typer.Option("--ending", help="Only those that are open, closed, force_closed, failed or deleted.")
    ] = None,
    start: Start = None,
    end: End = None,
    size: Size = SIZE,
    after: After = None,
    newest: Newest = False,
    every: Every = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """List when jobs were open, how that ended, and what they got; START and END are of their opening."""
    wanted = {"ending": ending, "start": start, "end": end, "after": after, "desc": newest}
    found = _list(context, "sessions", {"job_id": jobs}, wanted, size, every)
    tables.print_list(found, "sessions", tables.SESSIONS, as_json, as_csv)


@app.command(epilog="Example: `marigraph audit gaps 'web*' --longer-than 30m`")
def gaps(
    context: typer.Context,
    jobs: Jobs = None,
    longer_than: Annotated[str, typer.Option("--longer-than", help="The least silence that counts, like 30m.")] = "1h",
    start: Start = None,
    end: End = None,
    size: Size = SIZE,
    after: After = None,
    every: Every = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """List when jobs were open and got nothing, job by job."""
    wanted = {"longer_than": longer_than, "start": start, "end": end, "after": after}
    tables.print_list(
        _list(context, "gaps", {"job_id": jobs}, wanted, size, every), "gaps", tables.GAPS, as_json, as_csv
    )


@app.command(epilog="Example: `marigraph audit refusals web`")
def refusals(
    context: typer.Context,
    jobs: Jobs = None,
    start: Start = None,
    end: End = None,
    size: Size = SIZE,
    after: After = None,
    newest: Newest = False,
    every: Every = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """List posts with records that came too late, or had no time that could be read."""
    wanted = {"start": start, "end": end, "after": after, "desc": newest}
    found = _list(context, "refusals", {"job_id": jobs}, wanted, size, every)
    tables.print_list(found, "refusals", tables.REFUSALS, as_json, as_csv)


# ------------------------------------------------------------------------------------------------------ how it stood


@app.command(epilog="Example: `marigraph audit state web --at 2026-01-09T14:00:00Z`")
def state(
    context: typer.Context,
    jobs: Jobs = None,
    at: Annotated[str | None, typer.Option("--at", help="As of this time; now unless it is given.")] = None,
    version: Annotated[
        int | None, typer.Option("--version", help="As of this version of one job's stream.", min=0)
    ] = None,
    size: Size = SIZE,
    after: After = None,
    every: Every = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Show jobs as of a time or a version: settings, state, counts, snapshots."""
    wanted = {"at": at, "version": version}
    is_one = jobs is not None and not any(sign in jobs for sign in "*,")
    if not is_one:
        found = _list(context, "state", {"job_id": jobs}, {**wanted, "after": after}, size, every)
    else:
        with session_of(context).operations() as operations:
            found = operations.audit_state(jobs, **wanted)
    if is_one and not as_json and not as_csv:
        print_fields(tables.spelt(found["jobs"][0]))
    else:
        tables.print_list(found, "jobs", tables.STATES, as_json, as_csv)


@app.command(epilog="Example: `marigraph audit snapshots web --snapshot-id 1767225600`")
def snapshots(
    context: typer.Context,
    jobs: Jobs = None,
    snapshot_id: Annotated[
        str | None, typer.Option("--snapshot-id", help="Only this one, and what the events it covers brought.")
    ] = None,
    start: Start = None,
    end: End = None,
    size: Size = SIZE,
    after: After = None,
    newest: Newest = False,
    every: Every = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """List what snapshots hold, and which events they cover; those that are gone too."""
    wanted = {"snapshot_id": snapshot_id, "start": start, "end": end, "after": after, "desc": newest}
    found = _list(context, "snapshots", {"job_id": jobs}, wanted, size, every)
    if snapshot_id is not None and found["count"] == 1 and not as_json and not as_csv:
        print_fields(tables.spelt(found["snapshots"][0]))
    else:
        tables.print_list(found, "snapshots", tables.SNAPSHOTS, as_json, as_csv)


@app.command(epilog="Example: `marigraph audit lineage web --timestamp 2026-01-09T14:00:00Z --by checkout`")
def lineage(
    context: typer.Context,
    job: JobId,
    rank: Annotated[
        int | None, typer.Argument(help="Which record, as `marigraph records` lists them, from 1.", metavar="RANK")
    ] = None,
    timestamp: Annotated[str | None, typer.Option("--timestamp", help="Of the bucket that starts here.")] = None,
    is_bucket: Annotated[
        bool, typer.Option("--bucket", help="The whole bucket at --timestamp, not one record of it.")
    ] = False,
    by: Annotated[str | None, typer.Option("--by", help="Only with this value of the by field.")] = None,
    over: Annotated[str | None, typer.Option("--over", help="Only with this value of the over field.")] = None,
    partition: Annotated[
        str | None, typer.Option("--partition", help="Only with this value of the partition field.")
    ] = None,
    detector: Annotated[int | None, typer.Option("--detector", help="Only of the detector with this index.")] = None,
    with_records: Annotated[bool, typer.Option("--records", help="With the posted records themselves.")] = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Show which posts, and which of their records, a result was made from: of the highest score unless told."""
    with session_of(context).operations() as operations:
        found = operations.audit_lineage(
            job,
            rank=rank,
            timestamp=timestamp,
            bucket=is_bucket or None,
            by=by,
            over=over,
            partition=partition,
            detector_index=detector,
            records=with_records or None,
        )
    if with_records and not as_json:
        columns = [{"version": post["version"], **record} for post in found["posts"] for record in post["records"]]
        if as_csv:
            print_csv(columns)
            return
        names = list(dict.fromkeys(name for row in columns for name in row))
        print_table(names, ([literal(row.get(name, "-")) for name in names] for row in columns))
        return
    tables.print_list(found, "posts", tables.ORIGINS, as_json, as_csv)
    if not as_json and not as_csv:
        what = "bucket" if is_bucket else "record"
        note(f"{found['record_count']:,} records in {found['count']} posts, {what} at {moment(found['timestamp'])}")


# ------------------------------------------------------------------------------------------------------------ reading


def _list(
    context: typer.Context,
    noun: str,
    path: dict[str, Any],
    wanted: dict[str, Any],
    size: int,
    every: bool,
) -> Resource:
    """Read a list until there is as much of it as is wanted."""
    with session_of(context).operations() as operations:
        return _collect(operations, f"audit_{noun}", path, {**wanted, "desc": wanted.get("desc") or None}, size, every)


def _collect(
    operations: Operations, name: str, path: dict[str, Any], wanted: dict[str, Any], size: int, every: bool
) -> Resource:
    largest = 1_000 if name == "audit_state" else SIZE_MAX
    found: Resource = {}
    rows: list[Any] = []
    asked = {**wanted, "size": min(size, largest) if not every else largest}
    for found in operations.pages(name, path, asked):
        rows += next(value for value in found.values() if isinstance(value, list))
        if not every and len(rows) >= size:
            break
    plural = next(key for key, value in found.items() if isinstance(value, list))
    following = {"next": found["next"]} if "next" in found else {}
    return {"count": len(rows), plural: rows, **following}


proof.register(app)
