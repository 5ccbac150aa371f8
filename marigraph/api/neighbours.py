"""Calls about a cluster and its indices, which programs for this API make beside those about jobs.

There is one node, no shard, no document and no licence; what can be said truly in the API's terms is answered, so that
they go on. The rest is refused with the reason (``answer_about_documents``): Marigraph is no store of documents.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from domain.errors import IndexNotFound, NotFound
from marigraph import __version__
from marigraph.api.cluster import API_VERSION, BUILD_DATE
from marigraph.api.endpoints import Call, Endpoint, Text
from marigraph.api.errors import HttpError
from marigraph.api.parameters import Parameter
from marigraph.codec import JOB_PREFIX
from marigraph.datafeeds.queries import match_datafeeds
from marigraph.queries import match_jobs

NAME: Final = "marigraph"
LICENCE: Final = "apache-2.0"
ROLES: Final = ("ml", "remote_cluster_client")
NODE_COLUMNS: Final = "ip,node.role,master,name"
"""Columns of a list of nodes unless others are asked for."""

DOCUMENT_CALLS: Final = frozenset(
    {
        *("_search", "_msearch", "_count", "_bulk", "_doc", "_create", "_source", "_mget", "_update_by_query"),
        *("_delete_by_query", "_reindex", "_mapping", "_mappings", "_settings", "_alias", "_aliases", "_template"),
        *("_index_template", "_component_template", "_ingest", "_snapshot", "_scripts", "_security", "_open", "_close"),
        *("_state", "_stats", "_segments", "_rollover", "_scroll"),
    }
)
"""Parts of paths that only calls about documents, indices and what belongs to them have."""


def accepted(*names: str) -> tuple[Parameter, ...]:
    """Return query parameters that are taken for their clients' sake and change nothing."""
    return tuple(Parameter(name, place="query", description="Has no effect.") for name in names)


def _health(_call: Call) -> Any:
    counts = ("active_primary", "active", "relocating", "initializing", "unassigned", "delayed_unassigned")
    return {
        "cluster_name": NAME,
        "status": "green",
        "timed_out": False,
        "number_of_nodes": 1,
        "number_of_data_nodes": 0,
        **{f"{each}_shards": 0 for each in counts},
        "number_of_pending_tasks": 0,
        "number_of_in_flight_fetch": 0,
        "task_max_waiting_in_queue_millis": 0,
        "active_shards_percent_as_number": 100.0,
    }


def _nodes(call: Call) -> Any:
    node = call.app.node
    assert node is not None
    described = {
        "name": NAME,
        "transport_address": node["transport_address"],
        "version": API_VERSION,
        "build_hash": __version__,
        "roles": list(ROLES),
        "attributes": node["attributes"],
    }
    return {
        "_nodes": {"total": 1, "successful": 1, "failed": 0},
        "cluster_name": NAME,
        "nodes": {node["id"]: described},
    }


def _cat_nodes(call: Call) -> Any:
    known = {
        "ip": "127.0.0.1",
        "node.role": "l",
        "master": "*",
        "name": NAME,
        "id": call.app.node_id[:4],
        "version": API_VERSION,
    }
    names = [name for name in call.parameters.get("h", NODE_COLUMNS).split(",") if name in known]
    lines = [names] if call.parameters.get("v", False) else []
    lines.append([known[name] for name in names])
    return Text("".join(" ".join(line) + "\n" for line in lines), "text/plain; charset=UTF-8")


def _refresh(_call: Call) -> Any:
    return {"_shards": {"total": 0, "successful": 0, "failed": 0}}


def _license(call: Call) -> Any:
    return {"license": {"uid": call.app.node_id, "type": LICENCE, "mode": LICENCE, "status": "active"}}


def _features(call: Call) -> Any:
    return {
        "build": {"hash": __version__, "date": BUILD_DATE},
        **_license(call),
        "features": {"ml": {"available": True, "enabled": True}},
        "tagline": "You know, for X",
    }


def _usage(call: Call) -> Any:
    jobs, datafeeds = match_jobs(call.app, None), match_datafeeds(call.app, None)
    return {
        "ml": {
            "available": True,
            "enabled": True,
            "jobs": _by_state(job.state for job in jobs),
            "datafeeds": _by_state(datafeed.state for datafeed in datafeeds),
            "node_count": 1,
        }
    }


def _by_state(states: Iterable[str]) -> dict[str, Any]:
    counts = Counter(states)
    return {"_all": {"count": counts.total()}, **{state: {"count": counts[state]} for state in sorted(counts)}}


def _task(call: Call) -> Any:
    """Tell of a deletion that was not waited for; it was done when its task was named."""
    task_id = call.path["task_id"]
    position = task_id.rpartition(":")[2]
    number = int(position) if position.isascii() and position.isdigit() and len(position) < 19 else 0
    event = next(iter(call.app.store.read_all(number - 1, 1) if number else ()), None)
    if event is None or (event.position, event.type) != (number, "deleted") or not event.stream.startswith(JOB_PREFIX):
        msg = f"task [{task_id}] isn't running and hasn't stored its results"
        raise NotFound(msg)
    return {
        "completed": True,
        "task": {
            "node": call.app.node_id,
            "id": number,
            "type": "transport",
            "action": "cluster:admin/xpack/ml/job/delete",
            "description": f"delete-job-{event.stream.removeprefix(JOB_PREFIX)}",
            "start_time_in_millis": event.recorded_at // 1000,
            "cancellable": False,
        },
        "response": {"acknowledged": True},
    }


def answer_about_documents(method: str, path: str) -> Any:
    """Answer a call about documents or indices that has no endpoint; None if it is none.

    Raises
    ------
    HttpError, IndexNotFound
        501 for what would have to be kept, 404 for what is not there.
    """
    first, *others = path.strip("/").split("/")
    if DOCUMENT_CALLS.isdisjoint((first, *others)):
        if others or not first or (first.startswith("_") and first != "_all"):
            return None
        if method == "DELETE" and (first in ("_all", "*") or first.endswith("*")):
            return {"acknowledged": True}
        if method in ("DELETE", "HEAD"):
            msg = f"no such index [{first[:256]}]"
            raise IndexNotFound(msg)
        if method != "PUT":
            return None
    msg = (
        f"[{method} {path[:256]}] is not available: Marigraph keeps jobs and their results, no documents and no "
        "indices; results are read below /_ml/anomaly_detectors/{job_id}/results, datafeeds read from --sources"
    )
    raise HttpError(501, msg)


WAITS: Final = accepted(
    *("wait_for_status", "wait_for_nodes", "wait_for_events", "wait_for_active_shards", "level", "local", "timeout"),
    *("wait_for_no_relocating_shards", "wait_for_no_initializing_shards", "master_timeout", "expand_wildcards"),
)

ENDPOINTS: Final = (
    Endpoint(
        "cluster_health",
        ("GET",),
        ("/_cluster/health", "/_cluster/health/{index}"),
        _health,
        "One node, no shards: green.",
        WAITS,
        is_absolute=True,
    ),
    Endpoint(
        "nodes",
        ("GET",),
        ("/_nodes", "/_nodes/{selection}", "/_nodes/{selection}/{metrics}"),
        _nodes,
        "This process as the one node.",
        accepted("flat_settings", "timeout"),
        is_absolute=True,
    ),
    Endpoint(
        "cat_nodes",
        ("GET",),
        ("/_cat/nodes",),
        _cat_nodes,
        "This process as a line of text.",
        (
            Parameter("h", place="query", description="Columns."),
            Parameter("v", "bool", place="query", description="With a line of names."),
            *accepted("s", "full_id", "bytes", "time", "local", "master_timeout", "include_unloaded_segments"),
        ),
        media_type="text/plain",
        is_absolute=True,
    ),
    Endpoint(
        "refresh",
        ("GET", "POST"),
        ("/_refresh", "/{index}/_refresh"),
        _refresh,
        "Results can be read as soon as they are written: there is nothing to be done.",
        accepted("ignore_unavailable", "allow_no_indices", "expand_wildcards", "force"),
        is_absolute=True,
    ),
    Endpoint(
        "features",
        ("GET",),
        ("/_xpack",),
        _features,
        "Which features there are.",
        accepted("categories", "accept_enterprise"),
        is_absolute=True,
    ),
    Endpoint(
        "license",
        ("GET",),
        ("/_license", "/_xpack/license"),
        _license,
        "There is none to be checked: Marigraph is free software.",
        accepted("local", "accept_enterprise"),
        is_absolute=True,
    ),
    Endpoint(
        "usage",
        ("GET",),
        ("/_xpack/usage",),
        _usage,
        "How many jobs and datafeeds there are, by state.",
        accepted("master_timeout"),
        is_absolute=True,
    ),
    Endpoint(
        "task",
        ("GET",),
        ("/_tasks/{task_id}",),
        _task,
        "What became of a deletion that was not waited for.",
        accepted("wait_for_completion", "timeout"),
        is_absolute=True,
    ),
)
