"""Endpoints that clients know and that this version does not have: answered 501, with the reason."""

from collections.abc import Callable
from typing import Any, Final, NoReturn

from marigraph.api.endpoints import Call, Endpoint
from marigraph.api.errors import HttpError
from marigraph.api.jobs import JOB, JOBS


def _absent(what: str) -> Callable[[Call], Any]:
    def answer(_call: Call) -> NoReturn:
        msg = f"{what} not available in this version of Marigraph"
        raise HttpError(501, msg)

    return answer


_ROWS: Final = (
    ("forecasts", "forecasts are", ("POST",), (f"{JOB}/_forecast",)),
    (
        "delete_forecasts",
        "forecasts are",
        ("DELETE",),
        (f"{JOB}/_forecast", f"{JOB}/_forecast/{{forecast_id}}"),
    ),
    ("reset_job", "resetting a job is", ("POST",), (f"{JOB}/_reset",)),
    ("estimate_model_memory", "estimating a job's memory is", ("POST",), (f"{JOBS}/_estimate_model_memory",)),
    (
        "upgrade_job_snapshot",
        "upgrading a snapshot is",
        ("POST",),
        (f"{JOB}/model_snapshots/{{snapshot_id}}/_upgrade",),
    ),
    ("set_upgrade_mode", "the upgrade mode is", ("POST",), ("/set_upgrade_mode",)),
    ("calendars", "calendars are", ("GET", "POST"), ("/calendars",)),
    ("calendar", "calendars are", ("GET", "PUT", "POST", "DELETE"), ("/calendars/{calendar_id}",)),
    (
        "calendar_events",
        "calendars are",
        ("GET", "POST"),
        ("/calendars/{calendar_id}/events",),
    ),
    ("calendar_event", "calendars are", ("DELETE",), ("/calendars/{calendar_id}/events/{event_id}",)),
    ("calendar_job", "calendars are", ("PUT", "DELETE"), ("/calendars/{calendar_id}/jobs/{job_id}",)),
    ("filters", "filters are", ("GET",), ("/filters",)),
    ("filter", "filters are", ("GET", "PUT", "DELETE"), ("/filters/{filter_id}",)),
    ("update_filter", "filters are", ("POST",), ("/filters/{filter_id}/_update",)),
)

ENDPOINTS: Final = tuple(
    Endpoint(
        name,
        methods,
        paths,
        _absent(what),
        f"Not in this version: {what} not available.",
        body="records",
        privilege="manage_ml",
        status=501,
    )
    for name, what, methods, paths in _ROWS
)
