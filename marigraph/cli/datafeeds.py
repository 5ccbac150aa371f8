"""``marigraph datafeed ...``: the life of a datafeed, and running one without a server."""

from typing import Annotated

import typer

from domain.config import parse_duration_seconds
from domain.datafeeds import Datafeed
from domain.errors import InvalidArgument
from marigraph.cli.jobs import read_body
from marigraph.cli.output import moment, note, print_answer, print_fields, print_json, print_table, say
from marigraph.cli.progress import working
from marigraph.cli.session import Json, session_of
from marigraph.datafeeds import handlers, queries
from marigraph.datafeeds.foreground import run_in_foreground

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
    session = session_of(context)
    body = read_body(config)
    with session.application() as application:
        resource = handlers.create_datafeed(application, datafeed_id, body, session.context)
    print_answer(resource, f"created datafeed {resource['datafeed_id']} for job {resource['job_id']}", as_json)


@app.command()
def show(context: typer.Context, datafeed: Pattern, as_json: Json = False) -> None:
    """Print the complete configuration of a datafeed."""
    with session_of(context).application() as application:
        found = queries.get_datafeeds(application, datafeed)
    if as_json:
        print_json(found)
        return
    for resource in found["datafeeds"]:
        print_fields(resource)


@app.command("list")
def list_datafeeds(context: typer.Context, datafeed: Pattern = "_all", as_json: Json = False) -> None:
    """List datafeeds with their state and how far they are."""
    with session_of(context).application() as application:
        found = queries.get_datafeeds(application, datafeed)
        if as_json:
            print_json(found)
            return
        matched = queries.match_datafeeds(application, datafeed)
    rows = [
        (
            each.datafeed_id,
            each.settings().job_id,
            each.state,
            moment(each.position_ms) if each.search_count else "-",
            ", ".join(each.settings().indices),
        )
        for each in matched
    ]
    print_table(("datafeed", "job", "state", "searched up to", "indices"), rows)


@app.command()
def stats(context: typer.Context, datafeed: Pattern = "_all", as_json: Json = False) -> None:
    """Print the statistics of datafeeds."""
    with session_of(context).application() as application:
        found = queries.get_datafeed_stats(application, datafeed)
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
    with session_of(context).application() as application:
        if datafeed is not None:
            records = handlers.preview_datafeed(application, datafeed)
        else:
            records = handlers.preview_config(application, read_body(config or ""))
    print_json(records)


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
    """Run a datafeed in the foreground; interrupted or killed, the same command goes on where it was."""
    session = session_of(context)
    with session.application() as application, working(f"datafeed {datafeed}", total=None, unit="records") as advance:
        seen = 0
        is_told = False

        def on_step(now: Datafeed, lookback_end_ms: int | None) -> None:
            nonlocal seen, is_told
            advance(0, now.n_documents - seen)
            seen = now.n_documents
            if (
                lookback_end_ms is not None
                and now.position_ms >= lookback_end_ms
                and now.end_ms is None
                and not is_told
            ):
                is_told = True
                note(f"looked back up to {moment(now.position_ms)}; going on in real time, Ctrl-C stops it")

        last = run_in_foreground(application, datafeed, session.context, on_step, start=start, end=end)
        if last.state == "started":
            say(f"started datafeed {datafeed}; the server that runs its job runs it")
        else:
            say(f"datafeed {datafeed} found {last.n_documents} documents up to {moment(last.position_ms)} and stopped")


@app.command()
def stop(
    context: typer.Context,
    datafeed: Pattern,
    force: Annotated[bool, typer.Option("--force", help="Stop without waiting for the search at hand.")] = False,
    timeout: Annotated[str, typer.Option("--timeout", help="How long to wait at most, like 30s or 5m.")] = "5m",
    as_json: Json = False,
) -> None:
    """Stop datafeeds, whoever runs them; their jobs stay open."""
    session = session_of(context)
    seconds = parse_duration_seconds(timeout, "timeout")
    with session.application() as application:
        answer = handlers.stop_datafeeds(application, datafeed, session.context, force=force, timeout_seconds=seconds)
    print_answer(answer, f"stopped datafeed {datafeed}", as_json)


@app.command(epilog="""Example: `marigraph datafeed update web '{"frequency": "5m"}'`""")
def update(context: typer.Context, datafeed: DatafeedId, changes: Config, as_json: Json = False) -> None:
    """Change the configuration of a stopped datafeed."""
    session = session_of(context)
    body = read_body(changes)
    with session.application() as application:
        resource = handlers.update_datafeed(application, datafeed, body, session.context)
    print_answer(resource, f"updated datafeed {datafeed}", as_json)


@app.command()
def delete(
    context: typer.Context,
    datafeed: DatafeedId,
    force: Annotated[bool, typer.Option("--force", help="Also if the datafeed is started.")] = False,
    as_json: Json = False,
) -> None:
    """Delete a datafeed; its job and its history stay."""
    session = session_of(context)
    with session.application() as application:
        answer = handlers.delete_datafeed(application, datafeed, session.context, force=force)
    print_answer(answer, f"deleted datafeed {datafeed}", as_json)
