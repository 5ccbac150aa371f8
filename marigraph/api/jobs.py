"""Endpoints of jobs: their configuration, their life, their data."""

from typing import Any, Final

from domain.config import validate_detector, validate_job
from domain.errors import InvalidArgument
from marigraph import handlers, queries
from marigraph.api.endpoints import Call, Endpoint, Lane
from marigraph.api.parameters import Parameter
from marigraph.codec import stream_of

JOBS: Final = "/anomaly_detectors"
JOB: Final = "/anomaly_detectors/{job_id}"

ALLOW_NO_MATCH: Final = Parameter(
    "allow_no_match", "bool", deprecated=("allow_no_jobs",), description="Whether a pattern may match nothing."
)
TIMEOUT: Final = Parameter("timeout", "duration", description="How long to wait.")
SERVER_SIDE: Final = tuple(
    Parameter(name, place="query", description="Accepted for its clients' sake; has no effect.")
    for name in ("master_timeout", "ignore_unavailable", "allow_no_indices", "expand_wildcards", "ignore_throttled")
)

GENERATED: Final = (
    *("job_id", "job_type", "job_version", "create_time", "finished_time", "model_snapshot_id"),
    *("model_snapshot_min_version", "deleting"),
)
"""Fields that ``exclude_generated`` leaves out, so that the rest can be used to create the job elsewhere."""

DELIMITED_WARNING: Final = "Creating jobs with delimited data format is deprecated. Please use xcontent instead."


def _create(call: Call) -> Any:
    resource = handlers.create_job(call.app, call.path["job_id"], call.body, call.context)
    if resource["data_description"].get("format") == "delimited":
        call.warnings.append(DELIMITED_WARNING)
    return resource


def _list(call: Call) -> Any:
    allow = call.parameters.get("allow_no_match", True)
    found = queries.get_jobs(call.app, call.path.get("job_id"), allow_no_match=allow)
    if call.parameters.get("exclude_generated", False):
        found["jobs"] = [_without_generated(resource) for resource in found["jobs"]]
    return found


def _without_generated(resource: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in resource.items() if name not in GENERATED}
    index = kept.get("results_index_name", "")
    return {**kept, "results_index_name": index.removeprefix("custom-")} if index else kept


def _stats(call: Call) -> Any:
    allow = call.parameters.get("allow_no_match", True)
    return queries.get_job_stats(call.app, call.path.get("job_id"), allow_no_match=allow)


def _open(call: Call) -> Any:
    seconds = call.parameters.get("timeout", handlers.TIMEOUT_SECONDS)
    return handlers.open_job(call.app, call.path["job_id"], call.context, seconds)


def _post(call: Call) -> Any:
    reset = handlers.Reset.read(call.parameters, call.app.now_ms())
    command_id = handlers.repeatable(call.app, call.path["job_id"], call.idempotency_key)
    return handlers.post_data(call.app, call.path["job_id"], call.data, call.context, command_id, reset=reset)


def _flush(call: Call) -> Any:
    return handlers.flush_job(call.app, call.path["job_id"], call.parameters, call.context)


def _close(call: Call) -> Any:
    return handlers.close_jobs(
        call.app,
        call.path["job_id"],
        call.context,
        force=call.parameters.get("force", False),
        timeout_seconds=call.parameters.get("timeout", handlers.TIMEOUT_SECONDS),
        allow_no_match=call.parameters.get("allow_no_match", True),
    )


def _update(call: Call) -> Any:
    if call.path["job_id"] in ("_all", "*"):
        msg = "Cannot update more than 1 job at a time"
        raise InvalidArgument(msg)
    return handlers.update_job(call.app, call.path["job_id"], call.body, call.context)


def _delete(call: Call) -> Any:
    force = call.parameters.get("force", False)
    answer = handlers.delete_job(call.app, call.path["job_id"], call.context, force=force)
    if call.parameters.get("wait_for_completion", True):
        return answer
    return {"task": f"{call.app.node_id}:{_position_of_last(call)}"}  # done already


def _position_of_last(call: Call) -> int:
    """Return where the log has the last event of the job."""
    stream = stream_of(call.path["job_id"])
    head = call.app.store.head(stream)
    assert head is not None
    [event] = call.app.store.read_stream(stream, head.version - 1, 1)
    return event.position


def _validate(call: Call) -> Any:
    validate_job(call.body)
    return {"acknowledged": True}


def _validate_detector(call: Call) -> Any:
    validate_detector(call.body)
    return {"acknowledged": True}


FORCE: Final = Parameter("force", "bool", description="Do it in any state, without finishing what is at hand.")

ENDPOINTS: Final = (
    Endpoint(
        "validate",
        ("POST",),
        (f"{JOBS}/_validate",),
        _validate,
        "Check a job's configuration; nothing is stored.",
        body="resource",
        privilege="manage_ml",
    ),
    Endpoint(
        "validate_detector",
        ("POST",),
        (f"{JOBS}/_validate/detector",),
        _validate_detector,
        "Check one detector.",
        body="resource",
        privilege="manage_ml",
    ),
    Endpoint(
        "get_job_stats",
        ("GET",),
        (f"{JOBS}/_stats", f"{JOB}/_stats"),
        _stats,
        "Statistics of jobs: data counts, model size, state.",
        (ALLOW_NO_MATCH,),
    ),
    Endpoint(
        "get_jobs",
        ("GET",),
        (JOBS, JOB),
        _list,
        "Configurations of jobs.",
        (ALLOW_NO_MATCH, Parameter("exclude_generated", "bool", description="Leave out what only the server sets.")),
    ),
    Endpoint(
        "put_job",
        ("PUT",),
        (JOB,),
        _create,
        "Create a job.",
        (Parameter("timeout", "duration", place="query"), *SERVER_SIDE),
        body="resource",
        lane=Lane.WRITE,
        privilege="manage_ml",
    ),
    Endpoint(
        "delete_job",
        ("DELETE",),
        (JOB,),
        _delete,
        "Delete a job with its results, snapshots and records; its history stays.",
        (
            FORCE,
            Parameter("wait_for_completion", "bool"),
            Parameter("delete_user_annotations", "bool"),
            TIMEOUT,
            *SERVER_SIDE,
        ),
        lane=Lane.WAIT,
        privilege="manage_ml",
    ),
    Endpoint(
        "open_job",
        ("POST",),
        (f"{JOB}/_open",),
        _open,
        "Let a job take data.",
        (Parameter("timeout", "duration", ("open_timeout",)), Parameter("ignore_downtime", "bool"), *SERVER_SIDE),
        body="parameters",
        section="open_job",
        lane=Lane.WAIT,
        privilege="manage_ml",
    ),
    Endpoint(
        "post_data",
        ("POST",),
        (f"{JOB}/_data",),
        _post,
        "Post records: JSON objects, an array of them, or CSV if the job says so.",
        (
            Parameter("reset_start", place="query", description="Start of the buckets to be sent again."),
            Parameter("reset_end", place="query", description="End of the buckets to be sent again."),
        ),
        body="records",
        lane=Lane.WRITE,
        privilege="manage_ml",
        status=202,
    ),
    Endpoint(
        "flush_job",
        ("POST",),
        (f"{JOB}/_flush",),
        _flush,
        "Analyse all posted data now; interim results, advancing and skipping time.",
        (
            Parameter("calc_interim", "bool", description="Compute interim results of the bucket in progress."),
            Parameter("start", description="First time of the interim results."),
            Parameter("end", description="End of the interim results."),
            Parameter("advance_time", description="No data before this time will come."),
            Parameter("skip_time", description="Jump to this time without results and without learning."),
        ),
        body="parameters",
        section="flush_job",
        lane=Lane.WAIT,
        privilege="manage_ml",
    ),
    Endpoint(
        "close_job",
        ("POST",),
        (f"{JOB}/_close",),
        _close,
        "Close jobs: final results, a snapshot; their results stay readable.",
        (FORCE, TIMEOUT, ALLOW_NO_MATCH),
        body="parameters",
        section="close_job",
        lane=Lane.WAIT,
        privilege="manage_ml",
    ),
    Endpoint(
        "update_job",
        ("POST",),
        (f"{JOB}/_update",),
        _update,
        "Change a job's configuration.",
        SERVER_SIDE,
        body="resource",
        lane=Lane.WRITE,
        privilege="manage_ml",
    ),
)
