"""Endpoints for audits: what happened to a job, or to keys and users, when, and on whose order."""

from typing import Any, Final

from marigraph import history
from marigraph.access import STREAM
from marigraph.api.endpoints import Call, Endpoint
from marigraph.api.parameters import Parameter
from marigraph.api.results import FROM_SIZE, RANGE, page_of, time_of

PARAMETERS: Final = (
    Parameter("type", place="query", description="Only events of these types, separated by commas."),
    Parameter("actor", place="query", description="Only what this actor did."),
    Parameter("request_id", place="query", description="Only what this request did."),
    Parameter("after_version", "int", place="query", description="Only later events."),
    Parameter("to_version", "int", place="query", description="Only events up to this one."),
    *RANGE,
    *FROM_SIZE,
)


def selection_of(call: Call) -> history.HistoryFilter:
    """Return which events are asked for."""
    parameters = call.parameters
    return history.HistoryFilter(
        types=tuple(filter(None, parameters.get("type", "").split(","))),
        actor=parameters.get("actor"),
        request_id=parameters.get("request_id"),
        start_ms=time_of(call, "start"),
        end_ms=time_of(call, "end"),
        after_version=parameters.get("after_version", 0),
        to_version=parameters.get("to_version"),
    )


def _of_job(call: Call) -> Any:
    return history.get_history(call.app, call.path["job_id"], selection_of(call), page_of(call, "get_history"))


def _of_access(call: Call) -> Any:
    return history.get_stream(call.app, STREAM, selection_of(call), page_of(call, "get_history"))


ENDPOINTS: Final = (
    Endpoint(
        "get_history",
        ("GET",),
        ("/_marigraph/history/{job_id}",),
        _of_job,
        "Events of a job, oldest first, those of deleted jobs too.",
        PARAMETERS,
        privilege="read_history",
        is_absolute=True,
    ),
    Endpoint(
        "get_access_history",
        ("GET",),
        ("/_marigraph/access/history",),
        _of_access,
        "What happened to keys and users.",
        PARAMETERS,
        privilege="read_history",
        is_absolute=True,
    ),
)
