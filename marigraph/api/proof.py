"""Endpoints of proof: whether a job's events are as they were, and the seals over the log."""

from typing import Any, Final

from marigraph.api.endpoints import Call, Endpoint, Lane
from marigraph.api.results import FROM_SIZE, page_of


def _verify(call: Call) -> Any:
    from marigraph.proof.verification import verify_job  # the library of signatures loads only when asked for

    return verify_job(call.app.store, call.app.settings, call.path["job_id"])


def _seals(call: Call) -> Any:
    from marigraph.proof.sealing import list_seals, seal_resource

    page = page_of(call, "get_audit_seals")
    if not page.every:
        page.check()
    found = list_seals(call.app.store)
    shown = found if page.every else found[page.start : page.start + page.size]
    return {"count": len(found), "seals": [seal_resource(seal) for seal in shown]}


ENDPOINTS: Final = (
    Endpoint(
        "verify_audit",
        ("GET",),
        ("/_audit/verify/{job_id}",),
        _verify,
        "Check all hashes, the head, the payloads and the seals of a job's events.",
        lane=Lane.WAIT,
        privilege="read_history",
        is_absolute=True,
    ),
    Endpoint(
        "get_audit_seals",
        ("GET",),
        ("/_audit/seals",),
        _seals,
        "The seals over the log, oldest first.",
        FROM_SIZE,
        privilege="read_history",
        is_absolute=True,
    ),
)
