"""``marigraph buckets|records|influencers|history|verify JOB``: what a job found, what happened, if it holds."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from marigraph import plot_queries, queries
from marigraph.cli.output import moment, number, print_json, print_table, say, score
from marigraph.cli.progress import counting
from marigraph.cli.session import (
    CHECK_FAILED,
    Descending,
    End,
    Every,
    From,
    JobId,
    Json,
    NoInterim,
    Size,
    Sort,
    Start,
    filter_of,
    page_of,
    session_of,
    time_ms,
)

MinScore = Annotated[float, typer.Option("--min-score", help="Only with at least this score.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the root."""
    app.command()(buckets)
    app.command(epilog="Example: `marigraph records web --min-score 50 --json`")(records)
    app.command()(influencers)
    app.command()(categories)
    app.command("model-plot", epilog="Example: `marigraph model-plot web --by checkout --start 2026-01-01`")(model_plot)
    app.command(epilog="Example: `marigraph history web --type opened --type closed`")(history)
    app.command()(verify)


def buckets(
    context: typer.Context,
    job: JobId,
    timestamp: Annotated[str | None, typer.Option("--timestamp", help="Only the bucket that starts here.")] = None,
    start: Start = None,
    end: End = None,
    min_score: MinScore = 0.0,
    expand: Annotated[bool, typer.Option("--expand", help="With the records of each bucket.")] = False,
    exclude_interim: NoInterim = False,
    sort: Sort = None,
    desc: Descending = None,
    from_: From = 0,
    size: Size = queries.PAGE_SIZE,
    every: Every = False,
    as_json: Json = False,
) -> None:
    """List the buckets of a job in order of time."""
    selection = filter_of(start, end, score_min=min_score, exclude_interim=exclude_interim, sort=sort, desc=desc)
    with session_of(context).application() as application:
        found = queries.get_buckets(
            application,
            job,
            selection,
            page_of(from_, size, every),
            timestamp_ms=time_ms(timestamp, "timestamp"),
            expand=expand,
        )
    if as_json:
        print_json(found)
        return
    rows = (
        (
            moment(item["timestamp"]),
            score(item["anomaly_score"]),
            f"{item['event_count']:,}",
            "interim" if item["is_interim"] else "",
        )
        for item in found["buckets"]
    )
    print_table(("bucket", "score", "events", ""), rows, right=("score", "events"))


def records(
    context: typer.Context,
    job: JobId,
    start: Start = None,
    end: End = None,
    min_score: MinScore = 0.0,
    exclude_interim: NoInterim = False,
    sort: Sort = None,
    desc: Descending = None,
    from_: From = 0,
    size: Size = queries.PAGE_SIZE,
    every: Every = False,
    as_json: Json = False,
) -> None:
    """List the anomalous records of a job, the highest score first."""
    selection = filter_of(start, end, score_min=min_score, exclude_interim=exclude_interim, sort=sort, desc=desc)
    with session_of(context).application() as application:
        found = queries.get_records(application, job, selection, page_of(from_, size, every))
    if as_json:
        print_json(found)
    else:
        print_records(found["records"])


def print_records(found: list[dict[str, Any]], title: str | None = None) -> None:
    """Print records as a table."""
    rows = (
        (
            moment(item["timestamp"]),
            score(item["record_score"]),
            _detector(item),
            _series(item),
            number(_first(item, "actual")),
            number(_first(item, "typical")),
            f"{item['probability']:.2g}",
            "interim" if item["is_interim"] else "",
        )
        for item in found
    )
    columns = ("bucket", "score", "function", "series", "actual", "typical", "probability", "")
    print_table(columns, rows, title=title, right=("score", "actual", "typical", "probability"))


def influencers(
    context: typer.Context,
    job: JobId,
    start: Start = None,
    end: End = None,
    min_score: MinScore = 0.0,
    exclude_interim: NoInterim = False,
    sort: Sort = None,
    desc: Descending = None,
    from_: From = 0,
    size: Size = queries.PAGE_SIZE,
    every: Every = False,
    as_json: Json = False,
) -> None:
    """List the influencers of a job, the highest score first."""
    selection = filter_of(start, end, score_min=min_score, exclude_interim=exclude_interim, sort=sort, desc=desc)
    with session_of(context).application() as application:
        found = queries.get_influencers(application, job, selection, page_of(from_, size, every))
    if as_json:
        print_json(found)
        return
    rows = (
        (
            moment(item["timestamp"]),
            score(item["influencer_score"]),
            item["influencer_field_name"],
            item["influencer_field_value"],
            f"{item['probability']:.2g}",
        )
        for item in found["influencers"]
    )
    print_table(("bucket", "score", "field", "value", "probability"), rows, right=("score", "probability"))


def model_plot(
    context: typer.Context,
    job: JobId,
    start: Start = None,
    end: End = None,
    detector: Annotated[int | None, typer.Option("--detector", help="Only the detector of this index.")] = None,
    by: Annotated[str | None, typer.Option("--by", help="Only this value of the by field.")] = None,
    partition: Annotated[str | None, typer.Option("--partition", help="Only this partition.")] = None,
    from_: From = 0,
    size: Size = queries.PAGE_SIZE,
    every: Every = False,
    as_json: Json = False,
) -> None:
    """List between which bounds values were expected, for jobs that keep them (`model_plot_config`)."""
    times = time_ms(start, "start"), time_ms(end, "end")
    selection = plot_queries.PlotFilter(*times, detector_index=detector, by=by, partition=partition)
    with session_of(context).application() as application:
        found = plot_queries.get_model_plot(application, job, selection, page_of(from_, size, every))
    if as_json:
        print_json(found)
        return
    rows = (
        (
            moment(item["timestamp"]),
            item["model_feature"],
            _series(item),
            number(item["model_lower"]),
            number(item["model_median"]),
            number(item["model_upper"]),
            number(item.get("actual")),
            _place(item),
        )
        for item in found["model_plots"]
    )
    columns = ("bucket", "feature", "series", "lower", "median", "upper", "actual", "")
    print_table(columns, rows, right=("lower", "median", "upper", "actual"))


def _place(item: dict[str, Any]) -> str:
    """Say on which side of its bounds a value lies, if not between them."""
    actual = item.get("actual")
    if actual is None or item["model_lower"] <= actual <= item["model_upper"]:
        return ""
    return "above" if actual > item["model_upper"] else "below"


def categories(
    context: typer.Context,
    job: JobId,
    category: Annotated[int | None, typer.Argument(help="Only this one.", metavar="CATEGORY")] = None,
    from_: From = 0,
    size: Size = queries.PAGE_SIZE,
    every: Every = False,
    as_json: Json = False,
) -> None:
    """List the categories of a job's messages: which of them come from the same line of a program."""
    with session_of(context).application() as application:
        found = queries.get_categories(application, job, category, page_of(from_, size, every))
    if as_json:
        print_json(found)
        return
    rows = (
        (item["category_id"], f"{item['num_matches']:,}", item["terms"].replace("[", r"\["), _example(item["examples"]))
        for item in found["categories"]
    )
    print_table(("category", "messages", "terms", "example"), rows, right=("category", "messages"))


def _example(examples: list[str]) -> str:
    return examples[0].replace("[", r"\[") if examples else ""


def history(
    context: typer.Context,
    job: JobId,
    types: Annotated[
        list[str] | None, typer.Option("--type", help="Only events of this type; may be given repeatedly.")
    ] = None,
    actor: Annotated[str | None, typer.Option("--actor", help="Only what this actor did.")] = None,
    request_id: Annotated[str | None, typer.Option("--request-id", help="Only what this request did.")] = None,
    start: Start = None,
    end: End = None,
    after_version: Annotated[int, typer.Option("--after-version", help="Only later events.", min=0)] = 0,
    to_version: Annotated[int | None, typer.Option("--to-version", help="Only events up to this one.")] = None,
    from_: From = 0,
    size: Size = queries.PAGE_SIZE,
    every: Every = False,
    as_json: Json = False,
) -> None:
    """List the events of a job's stream: what happened, when, and on whose order. Also for deleted jobs."""
    selection = queries.HistoryFilter(
        types=tuple(types or ()),
        actor=actor,
        request_id=request_id,
        start_ms=time_ms(start, "start"),
        end_ms=time_ms(end, "end"),
        after_version=after_version,
        to_version=to_version,
    )
    with session_of(context).application() as application:
        found = queries.get_history(application, job, selection, page_of(from_, size, every))
    if as_json:
        print_json(found)
    else:
        print_events(found["events"])


def print_events(events: list[dict[str, Any]], title: str | None = None) -> None:
    """Print events as a table."""
    rows = (
        (
            item["version"],
            moment(item["recorded_at"]),
            item["type"],
            item.get("actor", "-"),
            _summary(item),
        )
        for item in events
    )
    print_table(("version", "recorded", "event", "actor", "what"), rows, title=title, right=("version",))


def verify(context: typer.Context, job: JobId, as_json: Json = False) -> None:
    """Replay a job from zero and compare; check its hash chain. Exit code 0 only if everything holds."""
    with session_of(context).application() as application:
        from marigraph.verify import verify_job  # loads with the model only when asked for

        with counting(f"replaying {job}", unit="events") as advance:
            report = verify_job(application, job, advance)
    if as_json:
        print_json(report.resource())
    else:
        for check in report.checks:
            say(f"{'ok    ' if check.holds else 'FAILED'}  {check.name}: {check.detail}")
        say(f"job {job}: {'everything holds' if report.holds else 'NOT everything holds'}")
    if not report.holds:
        raise typer.Exit(CHECK_FAILED)


def _detector(record: dict[str, Any]) -> str:
    field = record.get("field_name")
    return f"{record['function']}({field})" if field else str(record["function"])


def _series(record: dict[str, Any]) -> str:
    parts = [
        f"{record[f'{kind}_field_name']}={record.get(f'{kind}_field_value', '')}"
        for kind in ("partition", "by", "over")
        if f"{kind}_field_name" in record
    ]
    return " ".join(parts).replace("[", r"\[") or "-"


def _first(record: dict[str, Any], name: str) -> float | None:
    """Return the first actual or typical value; of a member of a population, that of its first cause."""
    values = record.get(name) or next((cause[name] for cause in record.get("causes", ())), None)
    return float(values[0]) if values else None


def _summary(item: dict[str, Any]) -> str:
    """Say in a few words what an event holds; its data tell all (``--json``)."""
    data = item["data"]
    if item["type"] == "data_posted":
        first, last = moment(data.get("earliest_record_ms")), moment(data.get("latest_record_ms"))
        return f"{data['record_count']:,} records, {first} to {last}"
    if item["type"] == "snapshot_persisted":
        return f"snapshot {data['snapshot_id']} up to version {data['version']}"
    return ", ".join(_brief(data)).replace("[", r"\[")


def _brief(data: dict[str, Any]) -> Iterator[str]:
    for name, value in data.items():
        if name == "config":
            continue
        is_time = name.endswith("_ms") and isinstance(value, int)
        yield f"{name.removesuffix('_ms')} {moment(value) if is_time else value}"
