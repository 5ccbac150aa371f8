"""`marigraph audit verify`: what the verification of the log says, as a resource; nothing is changed by it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import text

from domain.errors import NotFound
from eventstore import EventStore, EventStoreError, StorageError
from eventstore.links import BadLink
from eventstore.log_reading import LogReader, Readable, ReadOnlyLog
from eventstore.ranges import NO_STREAM
from eventstore.signing import read_public_key
from eventstore.verification import Progress, Verification
from eventstore.verify import ChainReport, verify_chain
from marigraph.codec import stream_of
from marigraph.proof.keys import own_key_id
from marigraph.proof.payload_rules import LogRules
from marigraph.schema import HEAD_REVISION, OLDEST_ADMITTED, REVISIONS, shown
from marigraph.settings import Settings

OK, TAMPERED, NOT_CHECKED = 0, 1, 2
"""Exit codes."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be verified; see ``eventstore.verify.Verification``."""

    job_id: str | None = None
    kept_seals: Path | None = None
    public_keys: Sequence[Path] = ()
    n_workers: int = 1


def verify_database(settings: Settings, request: Request, progress: Progress | None = None) -> dict[str, Any]:
    """Verify a database that is opened for nothing but reading.

    Raises
    ------
    EventStoreError, KeyRefused
        What was asked for cannot be had; a database that cannot be read is in the answer.
    """
    try:
        with ReadOnlyLog(settings.database) as log:
            _check_revision(log)
            return verify_log(log, settings, request, progress)
    except StorageError as error:
        return _resource(ChainReport(unreadable=f"{shown(settings.database)}: {error}"), [])


def verify_log(log: Readable, settings: Settings, request: Request, progress: Progress | None = None) -> dict[str, Any]:
    """Verify a log; see ``verify_database``."""
    keys = frozenset(map(read_public_key, request.public_keys)) or None
    what = Verification(
        stream=None if request.job_id is None else stream_of(request.job_id),
        kept_seals=request.kept_seals,
        keys=keys,
        rules=LogRules(),
        checks_fences=True,
        n_workers=request.n_workers,
        progress=progress,
    )
    report = verify_chain(log, what)
    if report.first_bad is not None and report.first_bad.what == NO_STREAM and request.job_id is not None:
        raise no_such_job(request.job_id)
    own = own_key_id(settings) if keys is None else None
    return _resource(report, _warnings(report, keys, own, request), _not_checked(report, own))


def no_such_job(job_id: str) -> NotFound:
    """Return the error for a job that never was."""
    return NotFound(f"No known job with id '{job_id}'")


def exit_code(resource: dict[str, Any]) -> int:
    """Return the exit code of a verification: 0 intact, 1 tampered with, 2 could not check."""
    if resource["first_bad"] is not None:
        return TAMPERED
    return OK if resource["ok"] else NOT_CHECKED


def bad_resource(bad: BadLink) -> dict[str, Any]:
    """Return a bad place as JSON."""
    return {"stream": bad.stream, "version": bad.version, "position": bad.position, "what": bad.what}


def _check_revision(log: ReadOnlyLog) -> None:
    """Refuse a database that this program does not know."""
    with log.reading() as connection:
        if not LogReader(connection).has_table("alembic_version"):
            msg = f"{shown(log.url)} is no database of marigraph"
            raise EventStoreError(msg)
        found = connection.scalar(text("SELECT version_num FROM alembic_version"))
        is_newer = found not in REVISIONS and str(connection.scalar(OLDEST_ADMITTED)) > HEAD_REVISION
    if is_newer:
        msg = (
            f"the database {shown(log.url)} is at revision {found}, newer than this program knows ({HEAD_REVISION}); "
            "verify it with the newer marigraph"
        )
        raise EventStoreError(msg)


def _not_checked(report: ChainReport, own: str | None) -> str | None:
    """Say what could not be checked though everything could be read."""
    strangers = [key_id for key_id in report.key_ids if key_id != own]
    if own is None or not strangers or report.first_bad is not None:
        return None
    return (
        f"seals are signed by the key {strangers[0]}, which is not yours: whether they are honest cannot be told; "
        "give the public key of who sealed with --public-key"
    )


def _warnings(report: ChainReport, keys: frozenset[str] | None, own: str | None, request: Request) -> list[str]:
    warnings = []
    if report.missing_triggers:
        names = ", ".join(report.missing_triggers)
        warnings.append(f"triggers that keep events append-only are missing: {names}; events can be changed by SQL")
    if not report.n_seals:
        warnings.append("nothing is sealed: who can write to the database could have made all hashes anew")
    elif keys is None and own is None and report.first_bad is None:
        warnings.append(f"whose key signed the seals is not known here ({report.key_ids[0]}); give --public-key")
    if report.n_seals and request.kept_seals is None:
        warnings.append("the seals are those of the database; compare with a copy kept elsewhere by --seals")
    return warnings


def _resource(report: ChainReport, warnings: list[str], not_checked: str | None = None) -> dict[str, Any]:
    error = report.unreadable or not_checked
    return {
        "ok": report.is_intact and error is None,
        "first_bad": None if report.first_bad is None else bad_resource(report.first_bad),
        "error": error,
        "streams": report.n_streams,
        "events": report.n_events,
        "sealed_events": report.n_sealed,
        "payloads": report.n_payloads,
        "payload_bytes": report.n_payload_bytes,
        "payloads_dropped": report.n_payloads_missing,
        "seals": report.n_seals,
        "keys": report.key_ids,
        "missing_triggers": report.missing_triggers,
        "warnings": warnings,
    }


def verify_job(store: EventStore, settings: Settings, job_id: str) -> dict[str, Any]:
    """Verify one job of an open store."""
    return verify_log(store, settings, Request(job_id))
