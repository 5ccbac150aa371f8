"""``marigraph audit verify``, ``seal``, ``seals``, ``key`` and ``export``: proof that nothing was changed."""

from pathlib import Path
from typing import Annotated, Any

import typer

from domain.errors import InvalidArgument
from marigraph.cli.output import moment, print_json, print_table, say
from marigraph.cli.progress import fraction
from marigraph.cli.session import Json, session_of

seals_app = typer.Typer(no_args_is_help=True, help="List the seals over the log, and export copies of them.")

Job = Annotated[str | None, typer.Option("--job", metavar="JOB", help="Verify only this job.")]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key", metavar="FILE", help="Signing key (default: MARIGRAPH_SEAL_KEY, else one in your configuration)."
    ),
]


def register(audit: typer.Typer) -> None:
    """Add the commands to the group of audits."""
    audit.command(epilog="Example: `marigraph audit verify --seals seals.jsonl --public-key seal-key.pem.pub`")(verify)
    audit.command(epilog="Example: `marigraph audit seal --export /mnt/elsewhere/seals.jsonl`")(seal)
    audit.command(epilog="Example: `marigraph audit export web web-audit.zip`")(export)
    audit.command(epilog="Example: `marigraph audit key /secure/seal-key.pem`")(key)
    audit.add_typer(seals_app, name="seals")


def verify(
    context: typer.Context,
    job: Job = None,
    every: Annotated[bool, typer.Option("--all", help="Verify the whole log; so it is without --job.")] = False,
    seals: Annotated[
        Path | None, typer.Option("--seals", help="Copy of the seals that was kept elsewhere.", exists=True)
    ] = None,
    public_key: Annotated[
        list[Path] | None,
        typer.Option("--public-key", help="Public key of who seals; may be given repeatedly.", exists=True),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", help="Processes to use; 0: one per core.", min=0, max=64)] = 0,
    as_json: Json = False,
) -> None:
    """Check all hashes, heads, payloads and seals; exit code 0 intact, 1 tampered with, 2 could not check.

    Nothing in the database is changed; it may be read-only, damaged, or in use.
    """
    if job is not None and every:
        msg = "give --job or --all, not both"
        raise InvalidArgument(msg)
    session = session_of(context)
    from marigraph.proof.verification import Request, exit_code, verify_database  # loads the drivers

    if session.settings.server is not None and job is not None and not seals and not public_key:
        with session.operations() as operations:
            found = operations.verify_audit(job)
    else:
        request = Request(job, seals, public_key or (), workers)
        with fraction("verifying", "events") as show:
            found = verify_database(session.local_settings(), request, show)
    if as_json:
        print_json(found)
    else:
        _print_verification(found)
    code = exit_code(found)
    if code:
        raise typer.Exit(code)


def _print_verification(found: dict[str, Any]) -> None:
    for warning in found["warnings"]:
        say(f"warning: {warning}", style="yellow")
    bad = found["first_bad"]
    if bad is not None:
        place = "" if bad["position"] is None else f", position {bad['position']}"
        say(f"TAMPERED: {bad['stream']}, version {bad['version']}{place}: {bad['what']}", style="bold red")
    if found["error"] is not None:
        say(f"could not check: {found['error']}", style="red")
    dropped = f", {found['payloads_dropped']:,} dropped as the log says" if found["payloads_dropped"] else ""
    say(
        f"checked {found['events']:,} events of {found['streams']:,} streams, {found['payloads']:,} payloads "
        f"({found['payload_bytes']:,} bytes{dropped}), {found['seals']:,} seals over {found['sealed_events']:,} events"
    )
    if found["ok"]:
        say("the log is intact", style="green")


def seal(
    context: typer.Context,
    key: KeyFile = None,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Append the new seals to this file as JSON lines.")
    ] = None,
    events_max: Annotated[
        int, typer.Option("--events", help="The most events that one seal covers.", min=1, max=10_000)
    ] = 10_000,
    as_json: Json = False,
) -> None:
    """Sign what was appended since the last seal; keep the seals, or their export, where the database is not."""
    session = session_of(context)
    from marigraph.proof.keys import signing_key
    from marigraph.proof.sealing import seal_database, seal_resource

    own = signing_key(session.with_seal_key(key))
    with session.application() as app, fraction("sealing", "events") as show:
        made = seal_database(app.store, own.key, export=export, events_max=events_max, progress=show)
    if as_json:
        print_json(
            {"key_id": own.key.key_id, "key_file": str(own.path), "seals": [seal_resource(each) for each in made]}
        )
        return
    if own.is_new:
        say(f"made a signing key in {own.path}; give the public one, {own.path}.pub, to who shall verify")
    for each in made:
        say(
            f"seal {each.id}: positions {each.first_position} to {each.last_position}, "
            f"root {each.merkle_root.hex()}, hash {each.hash.hex()}"
        )
    say(f"sealed with key {own.key.key_id}" if made else "there is nothing new to seal")


def key(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(help="File to write the private key to; must not exist.", metavar="FILE")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the public key that seals are signed with; with a FILE, make a new pair in it and FILE.pub."""
    from eventstore.signing import public_pem
    from marigraph.proof.keys import key_path, make_key, signing_key

    settings = session_of(context).settings
    if file is None:
        path, key_id = key_path(settings), signing_key(settings).key.key_id
    else:
        if file.exists():
            msg = f"{file} exists already; a signing key is never overwritten"
            raise InvalidArgument(msg)
        path, key_id = file, make_key(file).key_id
    if as_json:
        print_json({"key_id": key_id, "key_file": str(path), "public_key_file": f"{path}.pub"})
    else:
        say(f"key {key_id} in {path}, the public one in {path}.pub")
        say(public_pem(key_id).decode().rstrip())


@seals_app.command("list")
def list_seals(context: typer.Context, as_json: Json = False) -> None:
    """List the seals over the log, oldest first."""
    with session_of(context).operations() as operations:
        found = operations.every("get_audit_seals", {}, {})
    if as_json:
        print_json(found)
        return
    rows = [
        (each["id"], each["first_position"], each["last_position"], moment(each["created_at"]), each["merkle_root"],
         each["key_id"])
        for each in found["seals"]
    ]  # fmt: skip
    print_table(("seal", "first", "last", "made", "root", "key"), rows, right=("seal", "first", "last"))


@seals_app.command("export", epilog="Example: `marigraph audit seals export /mnt/elsewhere/seals.jsonl`")
def export_seals(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="File of JSON lines; what it lacks is appended.", metavar="FILE")],
    as_json: Json = False,
) -> None:
    """Append the seals that a file lacks, each with the list of the events it covers."""
    from marigraph.proof.sealing import export_seals as append_seals

    with session_of(context).application() as app, fraction("exporting", "seals") as show:
        n_seals = append_seals(app.store, file, show)
    if as_json:
        print_json({"file": str(file), "seals": n_seals})
    else:
        say(f"appended {n_seals:,} seals to {file}")


def export(
    context: typer.Context,
    job: Annotated[str, typer.Argument(help="Id of the job.", metavar="JOB")],
    file: Annotated[Path, typer.Argument(help="Zip file to write; must not exist.", metavar="FILE")],
    key: KeyFile = None,
    script: Annotated[
        bool, typer.Option("--script", help="Write verify_export.py beside FILE, with which anybody can verify it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Export a job's events and payloads with proofs that others can verify without Marigraph."""
    session = session_of(context)
    from marigraph.proof.export import export_job, write_script

    with session.application() as app, fraction("exporting", "events") as show:
        found = export_job(app.store, session.with_seal_key(key), job, file, show)
    written = write_script(file.parent) if script else None
    if as_json:
        print_json({**found, "file": str(file), "script": str(written) if written else None})
        return
    say(
        f"exported {found['events']:,} events of {job} to {file}, {found['sealed_events']:,} of them sealed, "
        f"with {found['payloads']:,} payloads; verify it with `python verify_export.py {file} --public-key FILE`"
    )
