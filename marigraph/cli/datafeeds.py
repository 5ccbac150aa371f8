"""``marigraph datafeed ...``: the life of a datafeed, and running one without a server."""

from typing import Annotated

import typer

from domain.datafeeds import Datafeed
from domain.datafeeds.datafeed import STARTED
from domain.errors import InvalidArgument
from marigraph.cli.jobs import read_body
from marigraph.cli.output import moment, note, print_answer, print_fields, print_json, print_table, say
from marigraph.cli.progress import Advance, working
from marigraph.cli.session import Json, session_of
from marigraph.datafeeds.foreground import Progress, expected_documents, run_in_foreground

app = typer.Typer(no_args_is_help=True, help="Create, preview, start, stop, change and delete datafeeds.")

DatafeedId = Annotated[str, typer.Argument(help="Id of the datafeed.", metavar="DATAFEED")]
Pattern = Annotated[str, typer.Argument(help="Id, pattern with * or comma list.", metavar="DATAFEED")]
Config = Annotated[str, typer.Argument(help="Configuration: a JSON file, - for standard input, or the JSON itself.")]


@app.command(epilog="Example: `marigraph --sources sources.toml datafeed create feed.json`")
def create(
    context: typer.Context,
    config: Config,
    datafeed_id: Annotated[str | None, typer.Option("--id", help="Id of the datafeed, if the file has none.")] = None,
    as_json: Json = False,
) -> None:
    """Create a datafeed from a configuration; it starts stopped."""
    body = read_body(config)
    named = datafeed_id or (body.get("datafeed_id") if isinstance(body, dict) else None)
    if not isinstance(named, str) or not named:
        msg = "the configuration has no datafeed_id: give one with --id"
        raise InvalidArgument(msg)
    with session_of(context).operations() as operations:
        resource = operations.put_datafeed(named, body)
    print_answer(resource, f"created datafeed {resource['datafeed_id']} for job {resource['job_id']}", as_json)


@app.command()
def show(context: typer.Context, datafeed: Pattern, as_json: Json = False) -> None:
    """Print the complete configuration of a datafeed."""
    with session_of(context).operations() as operations:
        found = operations.get_datafeeds(datafeed)
    if as_json:
        print_json(found)
        return
    for resource in found["datafeeds"]:
        print_fields(resource)


@app.command("list")
def list_datafeeds(context: typer.Context, datafeed: Pattern = "_all", as_json: Json = False) -> None:
    """List datafeeds with their state and how often they searched."""
    with session_of(context).operations() as operations:
        found = operations.get_datafeeds(datafeed)
        if as_json:
            print_json(found)
            return
        statistics = operations.get_datafeed_stats(datafeed)["datafeeds"]
    rows = [
        (
            config["datafeed_id"],
            config["job_id"],
            stats["state"],
            f"{stats['timing_stats']['search_count']:,}",
            ", ".join(config["indices"]),
        )
        for config, stats in zip(found["datafeeds"], statistics, strict=True)
    ]
    print_table(("datafeed", "job", "state", "searches", "indices"), rows, right=("searches",))


@app.command()
def stats(context: typer.Context, datafeed: Pattern = "_all", as_json: Json = False) -> None:
    """Print the statistics of datafeeds."""
    with session_of(context).operations() as operations:
        found = operations.get_datafeed_stats(datafeed)
    if as_json:
        print_json(found)
        return
    for resource in found["datafeeds"]:
        print_fields(resource)


@app.command()
def preview(
    context: typer.Context,
    datafeed: Annotated[str | None, typer.Argument(help="Id of the datafeed.", metavar="DATAFEED")] = None,
    config: Annotated[
        str | None, typer.Option("--config", help="Configuration of a datafeed that is not there yet.")
    ] = None,
) -> None:
    """Print the first records that a datafeed would send, as JSON."""
    if (datafeed is None) == (config is None):
        msg = "give the id of a datafeed, or --config"
        raise InvalidArgument(msg)
    body = None if config is None else read_body(config)
    with session_of(context).operations() as operations:
        print_json(operations.preview_datafeed(datafeed, body))


@app.command(epilog="Example: `marigraph datafeed start web --end now` looks back, closes the job and ends")
def start(
    context: typer.Context,
    datafeed: DatafeedId,
    start: Annotated[
        str | None, typer.Option("--start", help="First time of records (ISO 8601, epoch milliseconds, now-1d).")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--end", help="Stop here and close the job; without it, real time until Ctrl-C.")
    ] = None,
) -> None:
    """Run a datafeed in the foreground; interrupted or killed, the same command goes on where it was.

    On a server (--server, or one that runs the job) the server runs it, and goes on when this command has ended.
    """
    session = session_of(context)
    if session.settings.server is not None:
        with session.operations() as operations:
            operations.start_datafeed(datafeed, start=start, end=end)
        say(f"started datafeed {datafeed} on {session.settings.server}")
        return
    with session.application() as application:
        total = expected_documents(application, datafeed, start=start, end=end)
        with working(f"datafeed {datafeed}", total=total, unit="records") as advance:
            last = run_in_foreground(application, datafeed, session.context, _shown(advance), start=start, end=end)
    if last.state == STARTED:
        say(f"started datafeed {datafeed}; the server that runs its job runs it")
    else:
        say(f"datafeed {datafeed} found {last.n_documents} documents up to {moment(last.position_ms)} and stopped")


def _shown(advance: Advance) -> Progress:
    """Return what shows the progress of a run, and tells once that it goes on in real time."""
    seen = 0
    is_told = False

    def on_step(now: Datafeed, lookback_end_ms: int | None) -> None:
        nonlocal seen, is_told
        advance(now.n_documents - seen, now.n_documents - seen)
        seen = now.n_documents
        if is_told or now.end_ms is not None or lookback_end_ms is None:
            return
        if now.position_ms >= lookback_end_ms:
            is_told = True
            note(f"looked back up to {moment(now.position_ms)}; going on in real time, Ctrl-C stops it")

    return on_step


@app.command()
def stop(
    context: typer.Context,
    datafeed: Pattern,
    force: Annotated[bool, typer.Option("--force", help="Stop without waiting for the search at hand.")] = False,
    timeout: Annotated[str, typer.Option("--timeout", help="How long to wait at most, like 30s or 5m.")] = "5m",
    as_json: Json = False,
) -> None:
    """Stop datafeeds, whoever runs them; their jobs stay open."""
    with session_of(context).operations() as operations:
        answer = operations.stop_datafeed(datafeed, force=force, timeout=timeout)
    print_answer(answer, f"stopped datafeed {datafeed}", as_json)


@app.command(epilog="""Example: `marigraph datafeed update web '{"frequency": "5m"}'`""")
def update(context: typer.Context, datafeed: DatafeedId, changes: Config, as_json: Json = False) -> None:
    """Change the configuration of a stopped datafeed."""
    body = read_body(changes)
    with session_of(context).operations() as operations:
        resource = operations.update_datafeed(datafeed, body)
    print_answer(resource, f"updated datafeed {datafeed}", as_json)


@app.command()
def delete(
    context: typer.Context,
    datafeed: DatafeedId,
    force: Annotated[bool, typer.Option("--force", help="Also if the datafeed is started.")] = False,
    as_json: Json = False,
) -> None:
    """Delete a datafeed; its job and its history stay."""
    with session_of(context).operations() as operations:
        answer = operations.delete_datafeed(datafeed, force=force)
    print_answer(answer, f"deleted datafeed {datafeed}", as_json)
