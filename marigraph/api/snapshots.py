"""Endpoints of model snapshots."""

from typing import Any, Final

from domain.errors import ParseError
from marigraph import handlers, queries
from marigraph.api.endpoints import Call, Endpoint, Lane
from marigraph.api.jobs import JOB
from marigraph.api.parameters import Parameter
from marigraph.api.results import FROM_SIZE, RANGE, READ_METHODS, SORTED, filter_of, page_of

SNAPSHOTS: Final = f"{JOB}/model_snapshots"
SNAPSHOT: Final = f"{JOB}/model_snapshots/{{snapshot_id}}"


def _list(call: Call) -> Any:
    page = page_of(call, "get_model_snapshots")
    return queries.get_snapshots(call.app, call.path["job_id"], call.path.get("snapshot_id"), filter_of(call), page)


def _update(call: Call) -> Any:
    if call.body is None:
        msg = "request body is required"
        raise ParseError(msg)
    path = call.path
    return handlers.update_snapshot(call.app, path["job_id"], path["snapshot_id"], call.body, call.context)


def _revert(call: Call) -> Any:
    return handlers.revert_snapshot(
        call.app,
        call.path["job_id"],
        call.path["snapshot_id"],
        call.context,
        delete_intervening_results=call.parameters.get("delete_intervening_results", False),
    )


def _delete(call: Call) -> Any:
    return handlers.delete_snapshot(call.app, call.path["job_id"], call.path["snapshot_id"], call.context)


ENDPOINTS: Final = (
    Endpoint(
        "get_model_snapshots",
        READ_METHODS,
        (SNAPSHOTS, SNAPSHOT),
        _list,
        "Model snapshots of a job, the newest first.",
        (Parameter("description", description="Of a first release; has no effect."), *RANGE, *SORTED, *FROM_SIZE),
        body="parameters",
        section="get_model_snapshots_action_request",
    ),
    Endpoint(
        "update_model_snapshot",
        ("POST",),
        (f"{SNAPSHOT}/_update",),
        _update,
        "Change a snapshot's description or retain flag.",
        body="resource",
        section="model_snapshot_update",
        lane=Lane.WRITE,
        privilege="manage_ml",
    ),
    Endpoint(
        "revert_model_snapshot",
        ("POST",),
        (f"{SNAPSHOT}/_revert",),
        _revert,
        "Take the model of a closed job back to a snapshot.",
        (
            Parameter("delete_intervening_results", "bool", description="Delete results behind the snapshot."),
            Parameter("force", "bool"),
            Parameter("timeout", "duration"),
        ),
        body="parameters",
        section="revert_model_snapshot",
        lane=Lane.WAIT,
        privilege="manage_ml",
    ),
    Endpoint(
        "delete_model_snapshot",
        ("DELETE",),
        (SNAPSHOT,),
        _delete,
        "Delete a snapshot that is not the active one.",
        lane=Lane.WRITE,
        privilege="manage_ml",
    ),
)
