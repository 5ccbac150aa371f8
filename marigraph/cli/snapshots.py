"""``marigraph snapshots ...``: the stored model states of a job."""

from typing import Annotated

import typer

from marigraph.cli.output import moment, print_answer, print_json, print_table
from marigraph.cli.session import (
    Descending,
    End,
    Every,
    From,
    JobId,
    Json,
    Size,
    Sort,
    Start,
    listed,
    session_of,
)
from marigraph.queries import PAGE_SIZE

app = typer.Typer(no_args_is_help=True, help="List, change, delete and go back to model snapshots.")

SnapshotId = Annotated[str, typer.Argument(help="Id of the snapshot.", metavar="SNAPSHOT")]


@app.command("list")
def list_snapshots(
    context: typer.Context,
    job: JobId,
    snapshot: Annotated[str | None, typer.Argument(help="Only this one.", metavar="SNAPSHOT")] = None,
    start: Start = None,
    end: End = None,
    sort: Sort = None,
    desc: Descending = None,
    from_: From = 0,
    size: Size = PAGE_SIZE,
    every: Every = False,
    as_json: Json = False,
) -> None:
    """List the model snapshots of a job, the newest first."""
    path = {"job_id": job, "snapshot_id": snapshot}
    wanted = {"start": start, "end": end, "sort": sort, "desc": desc}
    with session_of(context).operations() as operations:
        found = listed(operations, "get_model_snapshots", path, wanted, start=from_, size=size, every=every)
    if as_json:
        print_json(found)
        return
    rows = [
        (
            item["snapshot_id"],
            moment(item["timestamp"]),
            moment(item.get("latest_record_time_stamp")),
            "yes" if item["retain"] else "no",
            item["description"],
        )
        for item in found["model_snapshots"]
    ]
    print_table(("snapshot", "taken", "latest record", "retain", "description"), rows)


@app.command()
def revert(
    context: typer.Context,
    job: JobId,
    snapshot: SnapshotId,
    delete_intervening_results: Annotated[
        bool,
        typer.Option(
            "--delete-intervening-results", help="Delete later results, so that their data can be sent again."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Take the model of a closed job back to a snapshot."""
    with session_of(context).operations() as operations:
        answer = operations.revert_model_snapshot(job, snapshot, delete_intervening_results=delete_intervening_results)
    print_answer(answer, f"job {job} is back at snapshot {snapshot}", as_json)


@app.command()
def update(
    context: typer.Context,
    job: JobId,
    snapshot: SnapshotId,
    description: Annotated[str | None, typer.Option("--description", help="New description.")] = None,
    retain: Annotated[
        bool | None,
        typer.Option("--retain/--no-retain", help="Keep it from automatic removal.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Change the description or the retain flag of a snapshot."""
    given = {"description": description, "retain": retain}
    body = {name: value for name, value in given.items() if value is not None}
    with session_of(context).operations() as operations:
        answer = operations.update_model_snapshot(job, snapshot, body)
    print_answer(answer, f"updated snapshot {snapshot} of job {job}", as_json)


@app.command()
def delete(context: typer.Context, job: JobId, snapshot: SnapshotId, as_json: Json = False) -> None:
    """Delete a snapshot that is not the active one."""
    with session_of(context).operations() as operations:
        answer = operations.delete_model_snapshot(job, snapshot)
    print_answer(answer, f"deleted snapshot {snapshot} of job {job}", as_json)
