"""``marigraph whatif JOB``: the stored records under another configuration, and what would have been different."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from domain.errors import InvalidArgument
from marigraph.cli.output import literal, moment, note, print_json, print_table, say, score
from marigraph.cli.progress import working
from marigraph.cli.session import Json, Session, Size, session_of, time_ms

if TYPE_CHECKING:
    from marigraph.application import Application
    from marigraph.whatif.changes import Changes
    from marigraph.whatif.report import Report
    from marigraph.whatif.runs import Run

CONFIG_BYTES_MAX = 16 * 1024 * 1024


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    example = "Example: `marigraph whatif web --set analysis_config.bucket_span=5m --save fine`"
    app.command(name="whatif", epilog=example)(whatif)


def whatif(
    context: typer.Context,
    job: Annotated[str | None, typer.Argument(help="Id of the job.", metavar="[JOB]")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="What is to be different, such as `analysis_config.detectors[0].function=max`; values as in JSON, "
            "null takes a setting away. May be given several times.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="JSON file of a job whose analysis is to be tried instead.", metavar="FILE"),
    ] = None,
    from_time: Annotated[
        str | None, typer.Option("--from-time", help="Compare buckets from this time on; begins at a state before it.")
    ] = None,
    to_time: Annotated[str | None, typer.Option("--to-time", help="Compare buckets before this time only.")] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            help="Python interpreter of another installation of Marigraph, which is to replay.",
            metavar="PYTHON",
        ),
    ] = None,
    min_score: Annotated[float, typer.Option("--min-score", help="A record from this score on is an anomaly.")] = 25.0,
    size: Size = 20,
    save: Annotated[str | None, typer.Option("--save", help="Keep the run under this name.", metavar="NAME")] = None,
    compared: Annotated[
        tuple[str, str] | None, typer.Option("--compare", help="Compare two runs that were saved.", metavar="A B")
    ] = None,
    is_list: Annotated[bool, typer.Option("--list", help="List the runs that were saved.")] = False,
    deleted: Annotated[str | None, typer.Option("--delete", help="Delete a saved run.", metavar="NAME")] = None,
    as_json: Json = False,
) -> None:
    """Replay a job's records under changed settings, and say which anomalies are gained, lost or moved.

    The job itself is only read. Without any change the replay gives what the job has, to the last bit.
    """
    tasks = [job is not None, compared is not None, is_list, deleted is not None]
    if sum(tasks) != 1:
        msg = "give a JOB to try something on, or one of --compare A B, --list and --delete NAME"
        raise InvalidArgument(msg)
    from marigraph.whatif import runs  # loads with the tables only when asked for

    if is_list:
        _print_runs(runs.kept_runs(), as_json)
    elif deleted is not None:
        runs.delete(deleted)
        if as_json:
            print_json({"acknowledged": True})
        else:
            say(f"deleted what-if {deleted}")
    elif compared is not None:
        from marigraph.whatif.report import compare_runs

        _print_report(compare_runs(*compared, minimum_score=min_score), size, as_json)
    else:
        assert job is not None
        times = time_ms(from_time, "from-time"), time_ms(to_time, "to-time")
        report = _run(session_of(context), job, settings or [], config, times, min_score, save, engine)
        _print_report(report, size, as_json)


def _run(
    session: Session,
    job: str,
    settings: list[str],
    config: Path | None,
    times: tuple[int | None, int | None],
    min_score: float,
    save: str | None,
    engine: str | None,
) -> "Report":
    from marigraph.queries import require_job
    from marigraph.whatif.changes import Changes  # loads with the model only when asked for
    from marigraph.whatif.report import what_if
    from marigraph.whatif.trial import Window

    changes = Changes.read(settings, None if config is None else _read_config(config))
    with session.application() as application:
        total = require_job(application, job).data_counts.input_record_count
        with working(f"replaying {job}", total=None if engine else total, unit="records") as advance:
            return what_if(
                application,
                job,
                changes,
                window=Window(*times),
                minimum_score=min_score,
                name=save,
                trial=None if engine is None else _elsewhere(application, job, changes, engine),
                on_records=lambda n: advance(n, n),
            )


def _elsewhere(application: "Application", job: str, changes: "Changes", python: str) -> "Callable[[Path], Run]":
    from marigraph.bundles.elsewhere import run_elsewhere

    return lambda path: run_elsewhere(application, job, changes, path, python)


def _read_config(path: Path) -> Any:
    with path.open("rb") as file:
        data = file.read(CONFIG_BYTES_MAX + 1)
    if len(data) > CONFIG_BYTES_MAX:
        msg = f"{path}: a configuration has at most {CONFIG_BYTES_MAX} bytes"
        raise InvalidArgument(msg)
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        msg = f"{path}: no JSON: {error}"
        raise InvalidArgument(msg) from error


# ------------------------------------------------------------------------------------------------------- printing


def _print_runs(found: "list[Run]", as_json: bool) -> None:
    if as_json:
        from marigraph.whatif.report import run_resource

        print_json({"count": len(found), "runs": [run_resource(run) for run in found]})
        return
    rows = (
        (run.name, run.job_id, moment(run.created_ms), f"{run.cost.record_count:,}", literal(_changes(run)))
        for run in found
    )
    print_table(("name", "job", "made", "records", "changes"), rows, right=("records",))


def _changes(run: "Run") -> str:
    return " ".join(run.changes) or "no change"


def _print_report(report: "Report", size: int, as_json: bool) -> None:
    if as_json:
        print_json(report.resource())
        return
    run, cost, found = report.run, report.run.cost, report.difference
    before = "what it made of them itself" if report.before is None else f"with {_changes(report.before)}"
    say(f"job {run.job_id} with {_changes(run)}, beside {before}")
    rate = cost.records_per_second
    say(
        f"{cost.record_count:,} records of versions {run.from_version} to {run.to_version} replayed"
        + ("" if rate is None else f" in {cost.seconds:.1f} s, {rate:,.0f} records/s")
        + f", by marigraph {run.marigraph_version} ({run.state_schema})"
    )
    for each in run.notes:
        note(each)
    if report.is_equal:
        state = ", nor in the state of the model" if report.is_state_equal else ""
        n_rows = sum(digest.row_count for digest in run.results.values())
        say(f"no difference in any of {n_rows:,} rows of results{state}")
    if report.is_state_equal is False:
        say("the state of the model differs")
    say("")
    print_table(("", "before", "after"), _counts(report), right=("before", "after"))
    say("")
    counts = found.resource()
    say(
        f"anomalies from score {found.minimum_score:g}: {counts['gained']:,} gained, {counts['lost']:,} lost, "
        f"{counts['moved']:,} moved, {counts['same']:,} the same"
    )
    if found.changes and size:
        rows = (
            (
                each.kind,
                moment(each.timestamp),
                each.function,
                literal(" ".join(f"{name}={value}" for name, value in each.series.items())) or "-",
                "-" if each.before is None else score(each.before),
                "-" if each.after is None else score(each.after),
            )
            for each in found.changes[:size]
        )
        print_table(("", "bucket", "detector", "series", "before", "after"), rows, right=("before", "after"))


def _counts(report: "Report") -> Iterable[tuple[str, str, str]]:
    before, after = report.difference.before, report.difference.after
    for name in before.severities:
        yield f"{name} records", f"{before.severities[name]:,}", f"{after.severities[name]:,}"
    yield "buckets", f"{before.bucket_count:,}", f"{after.bucket_count:,}"
    yield "result rows", f"{report.before_cost.result_rows:,}", f"{report.run.cost.result_rows:,}"
    yield "model bytes", _number(report.before_cost.model_bytes), _number(report.run.cost.model_bytes)


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
