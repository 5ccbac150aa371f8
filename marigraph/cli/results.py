"""``marigraph buckets|records|influencers|history JOB``: what a job found, and what happened."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from domain.errors import InvalidArgument
from marigraph import plot_queries
from marigraph.cli.output import literal, moment, number, print_csv, print_json, print_table, score
from marigraph.cli.session import (
    Csv,
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
    listed,
    session_of,
    time_ms,
)
from marigraph.queries import PAGE_SIZE, Page

MinScore = Annotated[float, typer.Option("--min-score", help="Only with at least this score.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the root."""
    app.command()(buckets)
    app.command(epilog="Example: `marigraph records web --min-score 50 --json`")(records)
    app.command()(influencers)
    app.command()(categories)
    app.command("model-plot", epilog="Example: `marigraph model-plot web --by checkout --start 2026-01-01`")(model_plot)
    app.command(epilog="Example: `marigraph history web --type opened --type closed`")(history)


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
    size: Size = PAGE_SIZE,
    every: Every = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """List the buckets of a job in order of time."""
    check_forms(as_json, as_csv)
    wanted = wanted_of("anomaly_score", min_score, start, end, exclude_interim, sort, desc) | {"expand": expand}
    with session_of(context).operations() as operations:
        if timestamp is not None:
            found = operations.get_buckets(job, timestamp, **wanted)
        else:
            path = {"job_id": job}
            found = listed(operations, "get_buckets", path, wanted, start=from_, size=size, every=every)
    if print_as_asked(found, "buckets", as_json, as_csv):
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
    size: Size = PAGE_SIZE,
    every: Every = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """List the anomalous records of a job, the highest score first."""
    check_forms(as_json, as_csv)
    wanted = wanted_of("record_score", min_score, start, end, exclude_interim, sort, desc)
    with session_of(context).operations() as operations:
        found = listed(operations, "get_records", {"job_id": job}, wanted, start=from_, size=size, every=every)
    if not print_as_asked(found, "records", as_json, as_csv):
        print_records(found["records"])


def wanted_of(
    score_name: str,
    min_score: float,
    start: str | None,
    end: str | None,
    exclude_interim: bool,
    sort: str | None,
    desc: bool | None,
) -> dict[str, Any]:
    """Return what is asked for as parameters of the API; what nobody gave is None."""
    return {
        score_name: min_score or None,
        "start": start,
        "end": end,
        "exclude_interim": exclude_interim,
        "sort": sort,
        "desc": desc,
    }


def check_forms(as_json: bool, as_csv: bool) -> None:
    """Refuse two forms at once."""
    if as_json and as_csv:
        msg = "give --json or --csv, not both"
        raise InvalidArgument(msg)


def print_as_asked(found: dict[str, Any], plural: str, as_json: bool, as_csv: bool) -> bool:
    """Print a list as JSON or CSV; False if neither was asked for."""
    if as_json:
        print_json(found)
    elif as_csv:
        print_csv(found[plural])
    return as_json or as_csv


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
    size: Size = PAGE_SIZE,
    every: Every = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """List the influencers of a job, the highest score first."""
    check_forms(as_json, as_csv)
    wanted = wanted_of("influencer_score", min_score, start, end, exclude_interim, sort, desc)
    with session_of(context).operations() as operations:
        found = listed(operations, "get_influencers", {"job_id": job}, wanted, start=from_, size=size, every=every)
    if print_as_asked(found, "influencers", as_json, as_csv):
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
    size: Size = PAGE_SIZE,
    every: Every = False,
    as_json: Json = False,
) -> None:
    """List between which bounds values were expected, for jobs that keep them (`model_plot_config`)."""
    times = time_ms(start, "start"), time_ms(end, "end")
    selection = plot_queries.PlotFilter(*times, detector_index=detector, by=by, partition=partition)
    with session_of(context).application() as application:
        found = plot_queries.get_model_plot(application, job, selection, Page(from_, size, every))
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
    partition: Annotated[str | None, typer.Option("--partition", help="Only of this partition.")] = None,
    from_: From = 0,
    size: Size = PAGE_SIZE,
    every: Every = False,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """List the categories of a job's messages: which of them come from the same line of a program."""
    check_forms(as_json, as_csv)
    with session_of(context).operations() as operations:
        if category is not None:
            found = operations.get_categories(job, category)
        else:
            found = listed(
                operations,
                "get_categories",
                {"job_id": job},
                {} if partition is None else {"partition_field_value": partition},
                start=from_,
                size=size,
                every=every,
            )
    if print_as_asked(found, "categories", as_json, as_csv):
        return
    is_apart = any("partition_field_value" in item for item in found["categories"])
    rows = (
        (
            item["category_id"],
            *([literal(item.get("partition_field_value", ""))] if is_apart else []),
            f"{item['num_matches']:,}",
            literal(item["terms"]),
            literal(next(iter(item["examples"]), "")),
        )
        for item in found["categories"]
    )
    columns = ("category", *(["partition"] if is_apart else []), "messages", "terms", "example")
    print_table(columns, rows, right=("category", "messages"))


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
    size: Size = PAGE_SIZE,
    every: Every = False,
    as_json: Json = False,
) -> None:
    """List the events of a job's stream: what happened, when, and on whose order. Also for deleted jobs."""
    wanted = {
        "type": ",".join(types or ()) or None,
        "actor": actor,
        "request_id": request_id,
        "start": start,
        "end": end,
        "after_version": after_version,
        "to_version": to_version,
    }
    with session_of(context).operations() as operations:
        found = listed(operations, "get_history", {"job_id": job}, wanted, start=from_, size=size, every=every)
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
            summary(item),
        )
        for item in events
    )
    print_table(("version", "recorded", "event", "actor", "what"), rows, title=title, right=("version",))


def _detector(record: dict[str, Any]) -> str:
    field = record.get("field_name")
    return f"{record['function']}({field})" if field else str(record["function"])


def _series(record: dict[str, Any]) -> str:
    parts = [
        f"{record[f'{kind}_field_name']}={record.get(f'{kind}_field_value', '')}"
        for kind in ("partition", "by", "over")
        if f"{kind}_field_name" in record
    ]
    return literal(" ".join(parts)) or "-"


def _first(record: dict[str, Any], name: str) -> float | None:
    """Return the first actual or typical value; of a member of a population, that of its first cause."""
    values = record.get(name) or next((cause[name] for cause in record.get("causes", ())), None)
    return float(values[0]) if values else None


def summary(item: dict[str, Any]) -> str:
    """Say in a few words what an event holds; its data tell all (``--json``)."""
    data = item["data"]
    if item["type"] == "data_posted":
        first, last = moment(data.get("earliest_record_ms")), moment(data.get("latest_record_ms"))
        return f"{data['record_count']:,} records, {first} to {last}"
    if item["type"] == "snapshot_persisted":
        return f"snapshot {data['snapshot_id']} up to version {data['version']}"
    return literal(", ".join(_brief(data)))


def _brief(data: dict[str, Any]) -> Iterator[str]:
    for name, value in data.items():
        if name == "config":
            continue
        is_time = name.endswith("_ms") and isinstance(value, int)
        yield f"{name.removesuffix('_ms')} {moment(value) if is_time else value}"
