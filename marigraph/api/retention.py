"""Endpoints that remove: what jobs keep no longer, and the records of erasable jobs."""

from typing import Any, Final

from marigraph.api.endpoints import Call, Endpoint, Lane
from marigraph.api.parameters import Parameter
from marigraph.erasing import erase_job


def _delete_expired(call: Call) -> Any:
    from marigraph.retention import run_retention  # loads with the model, only when asked for

    run_retention(call.app, call.path.get("job_id"), call.context)
    return {"deleted": True}


def _erase(call: Call) -> Any:
    keeps_results = call.parameters.get("keep_results", False)
    return erase_job(call.app, call.path["job_id"], call.context, keep_results=keeps_results)


ENDPOINTS: Final = (
    Endpoint(
        "delete_expired_data",
        ("DELETE",),
        ("/_delete_expired_data", "/_delete_expired_data/{job_id}"),
        _delete_expired,
        "Remove what jobs keep no longer, as the daily run does.",
        (
            Parameter("requests_per_second", "float", description="Has no effect."),
            Parameter("timeout", "duration", description="Has no effect: what is begun is finished."),
        ),
        body="parameters",
        section="delete_expired_data_request",
        lane=Lane.WAIT,
        privilege="manage_ml",
    ),
    Endpoint(
        "erase_job",
        ("POST",),
        ("/_marigraph/erase/{job_id}",),
        _erase,
        "Make the records of a closed, erasable job unreadable for good.",
        (Parameter("keep_results", "bool", description="Keep buckets, records and influencers."),),
        lane=Lane.WAIT,
        privilege="manage_ml",
        is_absolute=True,
    ),
)
