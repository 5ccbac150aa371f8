"""What can be read of datafeeds: configurations and statistics, as the resources of the API."""

from typing import Any

from domain.datafeeds import Datafeed
from domain.datafeeds.datafeed import STARTED, no_datafeed
from marigraph.application import Application
from marigraph.selection import choose, tokens_of


def match_datafeeds(app: Application, expression: str | None, *, allow_no_match: bool = True) -> list[Datafeed]:
    """Find the datafeeds that a comma list of ids and ``*`` patterns names, ordered by id.

    Raises
    ------
    NotFound
        An exact name matches nothing, or a pattern does and ``allow_no_match`` is false.
    """
    datafeeds = {datafeed.datafeed_id: app.datafeed_as_seen(datafeed) for datafeed in app.datafeeds.all()}
    names = {datafeed_id: (datafeed_id,) for datafeed_id in datafeeds}
    found, missing = choose(names, tokens_of(expression), allow_no_match=allow_no_match)
    if missing:
        raise no_datafeed(",".join(missing))
    return [datafeeds[datafeed_id] for datafeed_id in found]


def get_datafeeds(app: Application, expression: str | None = None, *, allow_no_match: bool = True) -> dict[str, Any]:
    """List datafeed configurations."""
    app.project()
    matched = match_datafeeds(app, expression, allow_no_match=allow_no_match)
    return {"count": len(matched), "datafeeds": [datafeed.settings().resource() for datafeed in matched]}


def get_datafeed_stats(
    app: Application, expression: str | None = None, *, allow_no_match: bool = True
) -> dict[str, Any]:
    """List the statistics of datafeeds."""
    app.project()
    matched = match_datafeeds(app, expression, allow_no_match=allow_no_match)
    return {"count": len(matched), "datafeeds": [_stats_resource(app, datafeed) for datafeed in matched]}


def _stats_resource(app: Application, datafeed: Datafeed) -> dict[str, Any]:
    resource: dict[str, Any] = {"datafeed_id": datafeed.datafeed_id, "state": datafeed.state}
    if datafeed.state == STARTED and app.node is not None:
        resource["node"] = app.node
        resource["assignment_explanation"] = app.datafeed_problem(datafeed.datafeed_id)
    job_id = datafeed.settings().job_id
    n_buckets = app.jobs.load(job_id).data_counts.bucket_count
    timing: dict[str, Any] = {
        "job_id": job_id,
        "search_count": datafeed.search_count,
        "bucket_count": n_buckets,
        "total_search_time_ms": datafeed.total_search_time_ms,
    }
    if n_buckets:
        timing["average_search_time_per_bucket_ms"] = datafeed.total_search_time_ms / n_buckets
    if datafeed.exponential_average_ms is not None:
        timing["exponential_average_search_time_per_hour_ms"] = datafeed.exponential_average_ms
    return {**resource, "timing_stats": timing}
