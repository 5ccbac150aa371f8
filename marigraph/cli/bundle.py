"""``marigraph bundle ...``: one job in one file, to attach to a report or to replay elsewhere."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from domain.errors import InvalidArgument
from marigraph.cli.output import literal, moment, note, print_json, print_table, say
from marigraph.cli.progress import working
from marigraph.cli.session import CHECK_FAILED, JobId, Json, session_of, time_ms

if TYPE_CHECKING:
    from marigraph.bundles.manifest import Manifest
    from marigraph.bundles.replaying import Replayed

app = typer.Typer(no_args_is_help=True, help="A job in one file: make it, look into it, replay it anywhere.")

BundleFile = Annotated[Path, typer.Argument(help="The bundle.", metavar="FILE")]
SUFFIX = ".bundle.db"


@app.command(epilog="Example: `marigraph bundle create web --from-time 2024-01-09 --redact page -o web.bundle.db`")
def create(
    context: typer.Context,
    job: JobId,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to make; default: JOB.bundle.db here.", metavar="FILE")
    ] = None,
    from_time: Annotated[
        str | None,
        typer.Option("--from-time", help="Records from this time on, and the nearest model state before it."),
    ] = None,
    redact: Annotated[
        list[str] | None,
        typer.Option(
            "--redact",
            metavar="FIELD",
            help="A by, over or partition field or influencer whose values become tokens. May be given several times.",
        ),
    ] = None,
    allow_shared: Annotated[
        bool, typer.Option("--allow-shared", help="Redacted values may stand in other fields, which are kept.")
    ] = False,
    decrypt: Annotated[
        bool, typer.Option("--decrypt", help="Of an erasable job: records that stay readable when it is erased.")
    ] = False,
    mapping: Annotated[
        Path | None,
        typer.Option("--mapping", help="JSON file to keep which value has which token; for you only.", metavar="FILE"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a bundle: events, records, the state to begin at, results and their digests, in one SQLite file.

    Redacted values become tokens, the same for the same value; results stay the same, names aside.
    """
    if mapping is not None and not redact:
        msg = "--mapping is for --redact"
        raise InvalidArgument(msg)
    from marigraph.bundles.creating import Wish, create_bundle  # loads with the model only when asked for
    from marigraph.queries import require_job

    wish = Wish(time_ms(from_time, "from-time"), tuple(dict.fromkeys(redact or ())), allow_shared, decrypt)
    path = output or Path(f"{job}{SUFFIX}")
    if mapping is not None and mapping.exists():
        msg = f"the file {mapping} exists already; name another"
        raise InvalidArgument(msg)
    with session_of(context).application() as application:
        total = require_job(application, job).data_counts.input_record_count * (2 if redact else 1)
        with working(f"bundling {job}", total=total, unit="records") as advance:
            made = create_bundle(application, job, path, wish, lambda n: advance(n, n))
    if mapping is not None:
        _write_private(mapping, json.dumps(made.tokens, ensure_ascii=False, indent=2))
    if as_json:
        print_json({"file": str(path), "size": path.stat().st_size, "manifest": msgspec.to_builtins(made.manifest)})
        return
    say(
        f"{path}: {made.manifest.record_count:,} records, {made.manifest.event_count:,} events, "
        f"{path.stat().st_size:,} bytes"
    )
    if wish.from_ms is not None and not made.manifest.begins_at_version:
        note("no model state before that time is stored, so the bundle holds everything")
    for line in _warnings(made.manifest):
        say(line)


def _write_private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


@app.command(epilog="Example: `marigraph bundle show web.bundle.db`")
def show(_context: typer.Context, file: BundleFile, as_json: Json = False) -> None:
    """Say what a bundle holds, and by which versions it was made."""
    from marigraph.bundles.opening import look_into  # loads with the tables only when asked for

    manifest, size = look_into(file)
    if as_json:
        print_json({"size": size, "manifest": msgspec.to_builtins(manifest)})
        return
    begins = manifest.begins_at_version
    rows = [
        ("job", manifest.job_id),
        ("made", moment(manifest.created_ms)),
        ("size", f"{size:,} bytes"),
        ("records", f"{manifest.record_count:,}" + (f", after the model state of version {begins}" if begins else "")),
        ("events", f"{manifest.event_count:,}"),
        ("results", f"up to version {manifest.recorded.version}"),
        ("marigraph", f"{manifest.marigraph_version}, {manifest.recorded.state_schema}, {manifest.schema_revision}"),
        *manifest.versions.items(),
    ]
    print_table(("", ""), ((literal(name), literal(value)) for name, value in rows))
    for line in _warnings(manifest):
        say(line)


def _warnings(manifest: "Manifest") -> list[str]:
    redaction = manifest.redaction
    decrypted = ["the job is erasable: what it keeps encrypted is here for anybody to read"] * manifest.is_decrypted
    if redaction is None:
        return decrypted
    equal = "are the job's" if redaction.results_equal else "DIFFER from the job's: see marigraph verify"
    lines = [
        f"redacted: {redaction.value_count:,} values of {', '.join(redaction.fields)} are tokens; "
        f"results, names aside, {equal}"
    ]
    if redaction.also_in:
        lines.append(f"values that were redacted also stand in {', '.join(redaction.also_in)}, which was kept")
    return [*decrypted, *lines]


@app.command(epilog="Example: `marigraph bundle replay web.bundle.db`")
def replay(
    _context: typer.Context,
    file: BundleFile,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Replay under other settings, as `marigraph whatif` does."),
    ] = None,
    results: Annotated[
        Path | None, typer.Option("--results", help="Keep the results in this file (new).", metavar="FILE")
    ] = None,
    as_json: Json = False,
) -> None:
    """Replay a bundle and compare with what it says; exit code 1 if anything differs."""
    from marigraph.bundles.opening import look_into
    from marigraph.bundles.replaying import replay_bundle  # loads with the model only when asked for
    from marigraph.whatif.changes import Changes

    manifest, _size = look_into(file)
    with working(f"replaying {manifest.job_id}", total=manifest.record_count, unit="records") as advance:
        replayed = replay_bundle(file, Changes.read(settings or []), results, lambda n: advance(n, n))
    if as_json:
        print_json(replayed.resource())
    else:
        _print_replayed(replayed)
    if replayed.is_compared and not replayed.is_equal:
        raise typer.Exit(CHECK_FAILED)


def _print_replayed(replayed: "Replayed") -> None:
    run, recorded = replayed.run, replayed.manifest.recorded
    rate = run.cost.records_per_second
    say(
        f"job {run.job_id}: {run.cost.record_count:,} records replayed, versions {run.from_version} to {run.to_version}"
        + ("" if rate is None else f", {rate:,.0f} records/s")
    )
    for each in run.notes:
        note(each)
    for name, (there, here) in replayed.differing_versions.items():
        say(f"{name} is {here} here, was {there} where the bundle was made")
    rows: list[Any] = [
        (name, digest.row_count, run.results[name].row_count, _verdict(replayed.tables.get(name)))
        for name, digest in recorded.tables.items()
        if name in run.results
    ]
    print_table(("table", "recorded rows", "replayed rows", ""), rows, right=("recorded rows", "replayed rows"))
    say(f"state of the model: {_verdict(replayed.is_state_equal)}")
    if not replayed.is_compared:
        say("not compared: the settings or the beginning were others than those of the job")
    else:
        say("everything is as recorded" if replayed.is_equal else "NOT everything is as recorded")


def _verdict(is_equal: bool | None) -> str:
    return "not compared" if is_equal is None else "equal" if is_equal else "DIFFERS"
