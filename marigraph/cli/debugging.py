"""``marigraph replay|diff|bisect JOB``: go through a job's log, compare two states of it, find when something began.

What they do is in ``replaying.py``, which loads with the model only when one of them is called.
"""

from typing import Annotated

import typer

from domain.errors import InvalidArgument
from marigraph.cli.session import CHECK_FAILED, JobId, Json, session_of, time_ms
from marigraph.cli.verify import EveryJob, SomeJob, check_choice

Series = Annotated[
    list[str] | None,
    typer.Option("--series", help="Watch this series: VALUE or FIELD=VALUE, joined by commas; may be repeated."),
]
Until = Annotated[
    str | None, typer.Option("--until", metavar="CONDITION", help="Stop after the first event that makes it hold.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    app.command(epilog="Example: `marigraph replay web --until 'record_score > 80' --series checkout`")(replay)
    app.command(epilog="Example: `marigraph diff web --at 2024-01-09T00:00:00Z --at 2024-01-10T00:00:00Z`")(diff)
    app.command(epilog="Example: `marigraph bisect web --until 'level(\"checkout\") > 200'`")(bisect)


def replay(
    context: typer.Context,
    job: SomeJob = None,
    every: EveryJob = False,
    to_version: Annotated[int | None, typer.Option("--to-version", help="End with this version.", min=0)] = None,
    to_time: Annotated[str | None, typer.Option("--to-time", help="End with what was recorded by then.")] = None,
    from_version: Annotated[
        int | None, typer.Option("--from-version", help="Show what comes behind this version.", min=0)
    ] = None,
    from_snapshot: Annotated[
        str | None, typer.Option("--from-snapshot", help="Show what comes behind this model snapshot.")
    ] = None,
    until: Until = None,
    step: Annotated[bool, typer.Option("--step", help="Go by keys, on a terminal.")] = False,
    by: Annotated[str, typer.Option("--by", metavar="event|bucket", help="What one step is.")] = "event",
    series: Series = None,
    as_json: Json = False,
) -> None:
    """Rebuild a job from its log and show what each event changed; the job and its results are not touched.

    With --all every job is rebuilt from its first record, and shown is the state that it comes to.

    Begins at the start of the job, unless told otherwise: then the state before is rebuilt from the nearest stored one.
    Exit code 1: the condition never held.
    """
    check_choice(job, every)
    if by not in ("event", "bucket"):
        msg = f"--by is event or bucket, not {by!r}"
        raise InvalidArgument(msg)
    _only_one(**{"--from-version": from_version, "--from-snapshot": from_snapshot})
    _only_one(**{"--to-version": to_version, "--to-time": to_time})
    with session_of(context).application() as application:
        from marigraph.cli import replaying  # loads with the model only when asked for

        if job is None:
            if not replaying.show_every(application, as_json=as_json):
                raise typer.Exit(CHECK_FAILED)
            return
        shown = replaying.Shown(application, job, series or (), until, by_bucket=by == "bucket")
        shown.go_to_begin(
            replaying.begin_of(application, job, from_version, from_snapshot),
            replaying.end_of(application, job, to_version, time_ms(to_time, "to_time")),
        )
        holds = shown.by_keys() if step and replaying.is_terminal() else shown.run(as_json=as_json)
    if not holds:
        raise typer.Exit(CHECK_FAILED)


def _only_one(**options: object) -> None:
    given = [name for name, value in options.items() if value is not None]
    if len(given) > 1:
        msg = f"give {' or '.join(given)}, not both"
        raise InvalidArgument(msg)


def diff(
    context: typer.Context,
    job: JobId,
    at: Annotated[
        list[str] | None,
        typer.Option("--at", metavar="POINT", help="A version, a time or a snapshot id; to be given twice."),
    ] = None,
    series: Series = None,
    size: Annotated[int, typer.Option("--size", help="How many changes to print of each component.", min=0)] = 3,
    as_json: Json = False,
) -> None:
    """Compare a job as of two points: configuration, counts, each component of its model; largest changes first."""
    if at is None or len(at) != 2:
        msg = f"give --at twice, each a version, a time or a snapshot id (it was given {len(at or ())} times)"
        raise InvalidArgument(msg)
    with session_of(context).application() as application:
        from marigraph.cli import replaying  # loads with the model only when asked for

        replaying.show_difference(application, job, at, series or (), size=size, as_json=as_json)


def bisect(
    context: typer.Context,
    job: JobId,
    until: Annotated[
        str,
        typer.Option("--until", metavar="CONDITION", help="What is to hold; `names` lists the names there are."),
    ],
    from_version: Annotated[int, typer.Option("--from-version", help="Only events behind this version.", min=0)] = 0,
    to_version: Annotated[int | None, typer.Option("--to-version", help="Only events up to this one.", min=0)] = None,
    lasting: Annotated[
        bool, typer.Option("--lasting", help="It goes on holding once it does: look at stored states first.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Find the first event, and the bucket and record in it, after which a condition holds.

    Exit code 1: it never does.
    """
    with session_of(context).application() as application:
        from marigraph.cli import replaying  # loads with the model only when asked for

        if until == "names":
            replaying.show_names()
            return
        versions = (from_version, to_version)
        if not replaying.show_bisection(application, job, until, versions, lasting=lasting, as_json=as_json):
            raise typer.Exit(CHECK_FAILED)
