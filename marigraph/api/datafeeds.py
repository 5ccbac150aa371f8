"""Endpoints of datafeeds: their configuration, their life, a look at what they would send."""

from typing import Any, Final

from marigraph.api.endpoints import Call, Endpoint, Lane
from marigraph.api.jobs import FORCE, SERVER_SIDE
from marigraph.api.parameters import Parameter
from marigraph.datafeeds import handlers, queries

DATAFEEDS: Final = "/datafeeds"
DATAFEED: Final = "/datafeeds/{datafeed_id}"

ALLOW_NO_MATCH: Final = Parameter(
    "allow_no_match", "bool", deprecated=("allow_no_datafeeds",), description="Whether a pattern may match nothing."
)
JOB_ID_WARNING: Final = "The ability to update a datafeed's job_id is deprecated."


def _create(call: Call) -> Any:
    return handlers.create_datafeed(call.app, call.path["datafeed_id"], call.body, call.context)


def _list(call: Call) -> Any:
    allow = call.parameters.get("allow_no_match", True)
    found = queries.get_datafeeds(call.app, call.path.get("datafeed_id"), allow_no_match=allow)
    if call.parameters.get("exclude_generated", False):
        for resource in found["datafeeds"]:
            del resource["datafeed_id"]
    return found


def _stats(call: Call) -> Any:
    allow = call.parameters.get("allow_no_match", True)
    return queries.get_datafeed_stats(call.app, call.path.get("datafeed_id"), allow_no_match=allow)


def _preview(call: Call) -> Any:
    datafeed_id = call.path.get("datafeed_id")
    stretch = {"start": call.parameters.get("start"), "end": call.parameters.get("end")}
    if datafeed_id is not None:
        return handlers.preview_datafeed(call.app, datafeed_id, **stretch)
    return handlers.preview_config(call.app, call.body, **stretch)


def _start(call: Call) -> Any:
    return handlers.start_datafeed(
        call.app,
        call.path["datafeed_id"],
        call.context,
        start=call.parameters.get("start"),
        end=call.parameters.get("end"),
    )


def _stop(call: Call) -> Any:
    return handlers.stop_datafeeds(
        call.app,
        call.path["datafeed_id"],
        call.context,
        force=call.parameters.get("force", False),
        timeout_seconds=call.parameters.get("timeout", handlers.STOP_SECONDS),
        allow_no_match=call.parameters.get("allow_no_match", True),
    )


def _update(call: Call) -> Any:
    if isinstance(call.body, dict) and call.body.get("job_id") is not None:
        call.warnings.append(JOB_ID_WARNING)
    return handlers.update_datafeed(call.app, call.path["datafeed_id"], call.body, call.context)


def _delete(call: Call) -> Any:
    force = call.parameters.get("force", False)
    return handlers.delete_datafeed(call.app, call.path["datafeed_id"], call.context, force=force)


ENDPOINTS: Final = (
    Endpoint(
        "get_datafeed_stats",
        ("GET",),
        (f"{DATAFEEDS}/_stats", f"{DATAFEED}/_stats"),
        _stats,
        "Statistics of datafeeds: state, searches.",
        (ALLOW_NO_MATCH,),
    ),
    Endpoint(
        "preview_datafeed",
        ("GET", "POST"),
        (f"{DATAFEEDS}/_preview", f"{DATAFEED}/_preview"),
        _preview,
        "The first records that a datafeed would send; without an id, of a datafeed that the body describes.",
        (Parameter("start", place="query"), Parameter("end", place="query"), *SERVER_SIDE),
        body="resource",
        lane=Lane.WAIT,
        privilege="manage_ml",
    ),
    Endpoint(
        "get_datafeeds",
        ("GET",),
        (DATAFEEDS, DATAFEED),
        _list,
        "Configurations of datafeeds.",
        (ALLOW_NO_MATCH, Parameter("exclude_generated", "bool", description="Leave out what only the server sets.")),
    ),
    Endpoint(
        "put_datafeed",
        ("PUT",),
        (DATAFEED,),
        _create,
        "Create a datafeed for a job.",
        (Parameter("timeout", "duration", place="query"), *SERVER_SIDE),
        body="resource",
        lane=Lane.WRITE,
        privilege="manage_ml",
    ),
    Endpoint(
        "delete_datafeed",
        ("DELETE",),
        (DATAFEED,),
        _delete,
        "Delete a datafeed; its history stays.",
        (FORCE, Parameter("timeout", "duration", place="query"), *SERVER_SIDE),
        lane=Lane.WAIT,
        privilege="manage_ml",
    ),
    Endpoint(
        "start_datafeed",
        ("POST",),
        (f"{DATAFEED}/_start",),
        _start,
        "Start a datafeed: look back from a time on, then go on in real time unless there is an end.",
        (
            Parameter("start", description="First time of records; the default is the beginning."),
            Parameter("end", description="The datafeed stops here and closes its job; the default is never."),
            Parameter("timeout", "duration", description="How long to wait for the start."),
        ),
        body="parameters",
        section="start_datafeed_request",
        lane=Lane.WAIT,
        privilege="manage_ml",
    ),
    Endpoint(
        "stop_datafeed",
        ("POST",),
        (f"{DATAFEED}/_stop",),
        _stop,
        "Stop datafeeds after the search that each is at.",
        (
            FORCE,
            Parameter("timeout", "duration", description="How long to wait for the stop."),
            ALLOW_NO_MATCH,
            Parameter("close_job", "bool", description="Accepted for its clients' sake; has no effect."),
        ),
        body="parameters",
        section="stop_datafeed_request",
        lane=Lane.WAIT,
        privilege="manage_ml",
    ),
    Endpoint(
        "update_datafeed",
        ("POST",),
        (f"{DATAFEED}/_update",),
        _update,
        "Change the configuration of a stopped datafeed.",
        SERVER_SIDE,
        body="resource",
        lane=Lane.WRITE,
        privilege="manage_ml",
    ),
)
