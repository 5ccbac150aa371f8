"""``marigraph explain JOB``: why a record got its probability and its score, part by part, from the log alone."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from marigraph.cli.output import literal, moment, print_json, print_table, say
from marigraph.cli.progress import counting
from marigraph.cli.session import JobId, Json, session_of

Rank = Annotated[
    int | None,
    typer.Argument(help="Which record, as `marigraph records` lists them: 1 is the highest score.", metavar="RANK"),
]
Row = tuple[str, str, str, str]
SHOWN_FROM = 0.01
"""Parts with a smaller weight are shown only if all is asked for."""


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command(epilog="Example: `marigraph explain web --timestamp 2024-01-09T14:00:00Z --by checkout`")(explain)


def explain(
    context: typer.Context,
    job: JobId,
    rank: Rank = None,
    timestamp: Annotated[str | None, typer.Option("--timestamp", help="Only of the bucket that starts here.")] = None,
    by: Annotated[str | None, typer.Option("--by", help="Only with this value of the by field.")] = None,
    over: Annotated[str | None, typer.Option("--over", help="Only with this value of the over field.")] = None,
    partition: Annotated[
        str | None, typer.Option("--partition", help="Only with this value of the partition field.")
    ] = None,
    detector: Annotated[int | None, typer.Option("--detector", help="Only of the detector with this index.")] = None,
    function: Annotated[str | None, typer.Option("--function", help="Only of this function.")] = None,
    is_full: Annotated[bool, typer.Option("--full", help="With every part, and what each is made from.")] = False,
    as_json: Json = False,
) -> None:
    """Explain a record: what was expected, how improbable it was, and how that became its score.

    Without a RANK it is the highest score among those that the options admit. All numbers come from a replay of the
    log up to the moment before the record's bucket closed.
    """
    with session_of(context).operations() as operations, counting(f"replaying {job}", unit="events") as on_event:
        resource = operations.explain_record(
            job,
            on_event,
            rank=rank,
            timestamp=timestamp,
            detector_index=detector,
            function=function,
            partition=partition,
            by=by,
            over=over,
        )
    if as_json:
        print_json(resource)
        return
    say(f"{resource['sentence']}\n")
    for line in _lines(resource):
        say(line)
    say("")
    columns = ("part", "value", "what it is", "made from")
    shown = columns if is_full else columns[:3]
    print_table(shown, (row[: len(shown)] for row in _rows(resource, is_full)), right=("value",))


def _lines(resource: dict[str, Any]) -> Iterator[str]:
    """Say which record it is, and what it was made from."""
    record, replayed = resource["record"], resource["replayed"]
    now, initial = resource["record_score"], resource["initial_record_score"]
    later = "" if now == initial else f", {now:.1f} by now"
    yield (
        f"bucket {moment(record['timestamp'])}, detector {record['detector_index']}: "
        f"probability {resource['probability']:.3g}, initial score {initial:.1f}{later}"
    )
    first, last = replayed["from_version"], replayed["to_version"]
    begun = replayed["snapshot_version"]
    events = f"version {first}" if first == last else f"versions {first} to {last}"
    state = "from the start of the job" if begun is None else f"on the model state of version {begun}"
    held = "equal to what is stored" if resource["matches_stored"] else "NOT what is stored: see marigraph verify"
    yield f"replayed {events} of the log {state}; {held}"


def _rows(resource: dict[str, Any], is_full: bool) -> Iterator[Row]:
    several = len(resource["evidence"]) > 1
    for evidence in resource["evidence"]:
        if several:
            yield (literal(" ".join(f"{name}={value}" for name, value in evidence["terms"].items())), "", "", "")
        yield from _stage_rows(evidence["stages"], is_full)
    if several:
        yield ("all of them together", "", "", "")
    yield from _stage_rows([*resource["stages"], *resource["later_stages"]], is_full)


def _stage_rows(stages: list[dict[str, Any]], is_full: bool) -> Iterator[Row]:
    """Yield a row per stage, and one per part that has a say in it; every part if all is asked for."""
    for stage in stages:
        parts, rule, meaning = stage["parts"], stage["rule"], stage["meaning"]
        is_single = rule == "only" and parts[0]["name"] == stage["name"]
        if rule in ("largest", "smallest") and not is_full:
            chosen = (max if rule == "largest" else min)(parts, key=lambda part: part["value"])
            meaning += f": {_name(chosen)}"
        yield (_name(stage), _value(stage["value"]), literal(meaning), _inputs(parts[0]) if is_single else f"{rule} of")
        for part in parts if not is_single else ():
            if is_full or _has_a_say(part, rule):
                yield (f"  {_name(part)}", _value(part["value"]), literal(part["meaning"]), _inputs(part))


def _has_a_say(part: dict[str, Any], rule: str) -> bool:
    """Tell whether a part changes what its stage comes to and is not a stage by itself."""
    if rule in ("largest", "smallest") or part["formula"] == "stage":
        return False
    return bool(part["value"] != 0.0 and part["inputs"].get("weight", 1.0) >= SHOWN_FROM)


def _inputs(part: dict[str, Any]) -> str:
    if part["formula"] == "stage":
        weight = part["inputs"].get("weight")
        return "" if weight is None else f"weight {_value(weight)}"
    return ", ".join(f"{name.replace('_', ' ')} {_value(value)}" for name, value in part["inputs"].items())


def _name(item: dict[str, Any]) -> str:
    return literal(str(item["name"]).replace("_", " "))


def _value(value: float) -> str:
    return f"{value:.6g}"
