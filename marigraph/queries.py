"""What can be read: jobs and their statistics, results and snapshots, as the resources of the API.

Each list query returns the envelope ``{"count": N, "<plural>": [...]}`` in which ``count`` is the number of matches,
not the length of the page. Nothing here changes anything but the read model of the jobs, which is brought up to the
head of the log where jobs are selected by more than their ids. What happened to a job is in ``history.py``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Table, and_, case, func, select

from domain.config import is_valid_id
from domain.errors import BadRequest, InvalidArgument, NotFound
from domain.job import OPENED, Job, Snapshot
from domain.model import empty_size_stats
from marigraph.application import Application
from marigraph.ordering import order_by
from marigraph.results import Timing, read_timing
from marigraph.selection import choose, tokens_of
from marigraph.tables import buckets, categories, influencers, job_stats, records

PAGE_SIZE = 100
PAGE_END_MAX = 10_000
"""``from + size`` may not pass this; ``every`` (the command line's ``--all``) reads in pages of its own."""

# ------------------------------------------------------------------------------------------------------------ jobs


def match_jobs(app: Application, expression: str | None, *, allow_no_match: bool = True) -> list[Job]:
    """Find the jobs that a comma list of ids, groups and ``*`` patterns names, ordered by id.

    Raises
    ------
    NotFound
        An exact name matches nothing, or a pattern does and ``allow_no_match`` is false.
    """
    tokens = tokens_of(expression)
    if (named := _load_named(app, tokens)) is not None:
        return named
    app.project()
    jobs = {job.job_id: app.as_seen(job) for job in app.jobs.all()}
    names = {job_id: (job_id, *job.settings().groups) for job_id, job in jobs.items()}
    found, missing = choose(names, tokens, allow_no_match=allow_no_match)
    if missing:
        msg = f"No known job with id '{','.join(missing)}'"
        raise NotFound(msg)
    return [jobs[job_id] for job_id in found]


def _load_named(app: Application, tokens: Sequence[str]) -> list[Job] | None:
    """Load the jobs whose ids the tokens are, and no other; None if one of them is no id of a job."""
    found = {}
    for token in tokens:
        job = app.jobs.load(token) if is_valid_id(token) else None
        if job is None or not job.exists:
            return None
        found[token] = app.as_seen(job)
    return [found[job_id] for job_id in sorted(found)]


def job_resource(job: Job) -> dict[str, Any]:
    """Return a job's configuration as the API shows it."""
    happened = {"finished_time": job.finished_time_ms, "model_snapshot_id": job.model_snapshot_id}
    return job.settings().model_copy(update=happened).resource()


def get_jobs(app: Application, expression: str | None = None, *, allow_no_match: bool = True) -> dict[str, Any]:
    """List job configurations."""
    matched = match_jobs(app, expression, allow_no_match=allow_no_match)
    return {"count": len(matched), "jobs": [job_resource(job) for job in matched]}


def get_job_stats(app: Application, expression: str | None = None, *, allow_no_match: bool = True) -> dict[str, Any]:
    """List the statistics of jobs."""
    matched = match_jobs(app, expression, allow_no_match=allow_no_match)
    return {"count": len(matched), "jobs": [_stats_resource(app, job) for job in matched]}


def _stats_resource(app: Application, job: Job) -> dict[str, Any]:
    with app.store.reading() as connection:
        row = connection.execute(select(job_stats).where(job_stats.c.job_id == job.job_id)).one_or_none()
    model_size = msgspec.json.decode(row.model_size_stats) if row else empty_size_stats()
    timing = read_timing(row.timing_stats) if row else Timing()
    resource: dict[str, Any] = {
        "job_id": job.job_id,
        "data_counts": job.data_counts.resource(job.job_id),
        "model_size_stats": {"job_id": job.job_id, **model_size},
        "forecasts_stats": {"total": 0, "forecasted_jobs": 0},
        "state": job.state,
    }
    if job.state == OPENED and app.node is not None:
        resource |= {"node": app.node, "assignment_explanation": ""}
    if job.state == OPENED and job.open_time_ms is not None:
        resource["open_time"] = f"{max(app.now_ms() - job.open_time_ms, 0) // 1000}s"
    resource["timing_stats"] = {
        "job_id": job.job_id,
        **timing.resource(job.settings().bucket_span_seconds),
    }
    return resource


def require_job(app: Application, job_id: str) -> Job:
    """Load a job that must exist."""
    job = app.jobs.load(job_id)
    job.settings()
    return job


# --------------------------------------------------------------------------------------------------------- results


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is wanted."""

    start: int = 0
    size: int = PAGE_SIZE
    every: bool = False
    """All matches, whatever ``start`` and ``size`` say."""

    def check(self) -> None:
        """Refuse what lies outside the bounds."""
        for name, value in (("from", self.start), ("size", self.size)):
            if value < 0:
                msg = f"Parameter [{name}] cannot be < 0"
                raise InvalidArgument(msg)
        if self.start + self.size > PAGE_END_MAX:
            msg = f"The sum of parameters [from] and [size] cannot be higher than {PAGE_END_MAX}."
            raise InvalidArgument(msg)


FIRST_PAGE = Page()


@dataclass(frozen=True, slots=True)
class ResultFilter:
    """What the result lists have in common; times are milliseconds, the end is exclusive."""

    start_ms: int | None = None
    end_ms: int | None = None
    score_min: float = 0.0
    exclude_interim: bool = False
    sort: str | None = None
    desc: bool | None = None


EVERYTHING = ResultFilter()


def get_buckets(
    app: Application,
    job_id: str,
    selection: ResultFilter = EVERYTHING,
    page: Page = FIRST_PAGE,
    *,
    timestamp_ms: int | None = None,
    expand: bool = False,
) -> dict[str, Any]:
    """List buckets in order of time, or the one that starts at ``timestamp_ms``."""
    require_job(app, job_id)
    where = [buckets.c.timestamp == timestamp_ms] if timestamp_ms is not None else []
    total, bodies = _read_results(
        app, job_id, _Kind(buckets, "anomaly_score", "timestamp", is_descending=False), selection, page, where=where
    )
    if timestamp_ms is not None and total == 0:
        msg = "Could not find requested buckets"
        raise NotFound(msg)
    if expand:
        bodies = [_expand(app, job_id, body, exclude_interim=selection.exclude_interim) for body in bodies]
    return {"count": total, "buckets": bodies}


def get_records(
    app: Application, job_id: str, selection: ResultFilter = EVERYTHING, page: Page = FIRST_PAGE
) -> dict[str, Any]:
    """List records, the highest score first."""
    fields = require_job(app, job_id).settings().analysis_fields
    kind = _Kind(records, "record_score", "record_score", is_descending=True)
    total, bodies = _read_results(app, job_id, kind, selection, page, data_fields=fields)
    return {"count": total, "records": bodies}


def get_influencers(
    app: Application, job_id: str, selection: ResultFilter = EVERYTHING, page: Page = FIRST_PAGE
) -> dict[str, Any]:
    """List influencers, the highest score first."""
    fields = require_job(app, job_id).settings().analysis_fields
    kind = _Kind(influencers, "influencer_score", "influencer_score", is_descending=True)
    total, bodies = _read_results(app, job_id, kind, selection, page, data_fields=fields)
    return {"count": total, "influencers": bodies}


def get_categories(
    app: Application,
    job_id: str,
    category_id: int | None = None,
    page: Page = FIRST_PAGE,
    *,
    partition_field_value: str | None = None,
) -> dict[str, Any]:
    """List the categories of a job's messages by id, or the one asked for; an unknown id gives an empty list.

    With ``partition_field_value`` only those of this partition, of a job that keeps the categories of each apart.
    """
    require_job(app, job_id)
    if not page.every:
        page.check()
    condition = categories.c.job_id == job_id
    if category_id is not None:
        condition = and_(condition, categories.c.category_id == category_id)
    query = select(categories.c.body).where(condition).order_by(categories.c.category_id)
    with app.store.reading() as connection:
        if partition_field_value is not None:  # named in the body alone; there are some thousands of them at most
            every = map(msgspec.json.decode, connection.scalars(query))
            found = [each for each in every if each.get("partition_field_value") == partition_field_value]
            shown = found if page.every else found[page.start : page.start + page.size]
            return {"count": len(found), "categories": shown}
        if not page.every:
            query = query.limit(page.size).offset(page.start)
        total = connection.execute(select(func.count()).select_from(categories).where(condition)).scalar_one()
        found = [msgspec.json.decode(body) for body in connection.scalars(query)]
    return {"count": total, "categories": found}


@dataclass(frozen=True, slots=True)
class _Kind:
    table: Table
    score: str
    sort: str
    is_descending: bool


def _read_results(
    app: Application,
    job_id: str,
    kind: _Kind,
    selection: ResultFilter,
    page: Page,
    *,
    where: Sequence[ColumnElement[bool]] = (),
    data_fields: Sequence[str] = (),
) -> tuple[int, list[Any]]:
    """Read the JSON bodies of one page of a result table, and the number of matches."""
    if not page.every:
        page.check()
    table = kind.table
    condition = and_(table.c.job_id == job_id, *_conditions(kind, selection), *where)
    columns = [table.c.body, *([table.c.processing_time_ms] if table is buckets else [])]
    is_descending = kind.is_descending if selection.desc is None else selection.desc
    order = order_by(table, selection.sort or kind.sort, is_descending=is_descending, data_fields=data_fields)
    query = select(*columns).where(condition).order_by(*order)
    if not page.every:
        query = query.limit(page.size).offset(page.start)
    with app.store.reading() as connection:
        total = connection.execute(select(func.count()).select_from(table).where(condition)).scalar_one()
        rows = connection.execute(query).all()
    bodies = [msgspec.json.decode(row.body) for row in rows]
    if table is buckets:
        for body, row in zip(bodies, rows, strict=True):
            body["processing_time_ms"] = row.processing_time_ms
    return total, bodies


def _conditions(kind: _Kind, selection: ResultFilter) -> Iterator[ColumnElement[bool]]:
    columns = kind.table.c
    if selection.start_ms is not None:
        yield columns.timestamp >= selection.start_ms
    if selection.end_ms is not None:
        yield columns.timestamp < selection.end_ms
    if selection.score_min > 0:
        yield columns[kind.score] >= selection.score_min
    if selection.exclude_interim:
        yield columns.is_interim.is_(False)


def _expand(app: Application, job_id: str, bucket: dict[str, Any], *, exclude_interim: bool) -> dict[str, Any]:
    """Put a bucket's records into it, before ``event_count`` as the API orders them."""
    start = bucket["timestamp"]
    selection = ResultFilter(start, start + 1, exclude_interim=exclude_interim, sort="probability", desc=False)
    kind = _Kind(records, "record_score", "probability", is_descending=False)
    total, bodies = _read_results(app, job_id, kind, selection, Page(0, PAGE_END_MAX))
    if not total:
        return bucket
    expanded: dict[str, Any] = {}
    for name, value in bucket.items():
        if name == "event_count":
            expanded["records"] = bodies
        expanded[name] = value
    return expanded


def get_overall_buckets(
    app: Application,
    expression: str,
    selection: ResultFilter = EVERYTHING,
    *,
    top_n: int = 1,
    overall_score: float = 0.0,
    bucket_span_seconds: int | None = None,
    allow_no_match: bool = True,
) -> dict[str, Any]:
    """List buckets over several jobs: at each time the mean of the ``top_n`` highest bucket scores.

    The buckets are as long as the longest bucket span of the jobs; a longer ``bucket_span_seconds`` joins those that
    begin within it, with the highest score of what it joins.
    """
    matched = match_jobs(app, expression, allow_no_match=allow_no_match)
    if top_n < 1:
        msg = f"[topN] parameter must be positive, found [{top_n}]"
        raise InvalidArgument(msg)
    if not matched:
        return {"count": 0, "overall_buckets": []}
    span_max = max(job.settings().bucket_span_seconds for job in matched)
    span = span_max if bucket_span_seconds is None else bucket_span_seconds
    if span < span_max:
        msg = f"[bucket_span] parameter has to be at least the maximum bucket_span [{span_max}s] of the jobs"
        raise InvalidArgument(msg)
    scores = _scores_by_time(app, [job.job_id for job in matched], selection, span_max * 1000)
    joined: dict[int, dict[str, Any]] = {}
    for start, of_jobs in sorted(scores.items()):
        is_interim = any(interim for _score, interim in of_jobs.values())
        highest = {job_id: score for job_id, (score, _interim) in of_jobs.items()}
        top = sorted(highest.values(), reverse=True)[:top_n]
        overall = sum(top) / min(top_n, len(top))
        bucket = joined.setdefault(
            start // (span * 1000) * span * 1000, {"overall_score": 0.0, "jobs": {}, "is_interim": False}
        )
        bucket["overall_score"] = max(bucket["overall_score"], overall)
        bucket["is_interim"] = bucket["is_interim"] or is_interim
        for job_id, score in highest.items():
            bucket["jobs"][job_id] = max(bucket["jobs"].get(job_id, 0.0), score)
    resources = [
        {
            "timestamp": start,
            "bucket_span": span,
            "overall_score": bucket["overall_score"],
            "jobs": [
                {"job_id": job_id, "max_anomaly_score": score} for job_id, score in sorted(bucket["jobs"].items())
            ],
            "is_interim": bucket["is_interim"],
            "result_type": "overall_bucket",
        }
        for start, bucket in joined.items()
        if bucket["overall_score"] >= overall_score
    ]
    return {"count": len(resources), "overall_buckets": resources}


def _scores_by_time(
    app: Application, job_ids: Sequence[str], selection: ResultFilter, span_ms: int
) -> dict[int, dict[str, tuple[float, bool]]]:
    """Return the highest score of each job in each stretch of time, and whether any of it is interim."""
    start = buckets.c.timestamp - buckets.c.timestamp % span_ms
    is_interim = func.max(case((buckets.c.is_interim, 1), else_=0))
    kind = _Kind(buckets, "anomaly_score", "timestamp", is_descending=False)
    query = (
        select(start.label("start"), buckets.c.job_id, func.max(buckets.c.anomaly_score), is_interim)
        .where(buckets.c.job_id.in_(job_ids), *_conditions(kind, selection))
        .group_by(start, buckets.c.job_id)
    )
    scores: dict[int, dict[str, tuple[float, bool]]] = {}
    with app.store.reading() as connection:
        for at, job_id, score, interim in connection.execute(query):
            scores.setdefault(at, {})[job_id] = (score, bool(interim))
    return scores


# ------------------------------------------------------------------------------------------------------- snapshots


def snapshot_resource(job_id: str, snapshot: Snapshot) -> dict[str, Any]:
    """Return a model snapshot as the API shows it."""
    resource: dict[str, Any] = {
        "job_id": job_id,
        "min_version": "6.4.0",
        "timestamp": snapshot.timestamp_ms,
        "description": snapshot.description,
        "snapshot_id": snapshot.snapshot_id,
        "snapshot_doc_count": 1,
        "model_size_stats": snapshot.model_size_stats,
    }
    if snapshot.latest_record_ms is not None:
        resource["latest_record_time_stamp"] = snapshot.latest_record_ms
    if snapshot.latest_result_ms is not None:
        resource["latest_result_time_stamp"] = snapshot.latest_result_ms
    return {**resource, "retain": snapshot.retain}


SNAPSHOT_SORTS = (
    *("timestamp", "snapshot_id", "description", "latest_record_time_stamp", "latest_result_time_stamp", "retain"),
    *("min_version", "snapshot_doc_count", "job_id"),
)


def get_snapshots(
    app: Application,
    job_id: str,
    snapshot_id: str | None = None,
    selection: ResultFilter = EVERYTHING,
    page: Page = FIRST_PAGE,
) -> dict[str, Any]:
    """List a job's model snapshots, the newest first."""
    job = require_job(app, job_id)
    if not page.every:
        page.check()
    found = [
        snapshot
        for snapshot in job.snapshots
        if snapshot_id in (None, "", "_all", "*", snapshot.snapshot_id)
        and (selection.start_ms is None or snapshot.timestamp_ms >= selection.start_ms)
        and (selection.end_ms is None or snapshot.timestamp_ms < selection.end_ms)
    ]
    resources = [snapshot_resource(job_id, snapshot) for snapshot in found]
    name = selection.sort or "timestamp"
    if name not in SNAPSHOT_SORTS:
        msg = f"cannot sort by [{name[:256]}]; sort by one of: {', '.join(SNAPSHOT_SORTS)}"
        raise BadRequest(msg)
    is_descending = selection.desc is not False
    resources.sort(key=lambda resource: resource["timestamp"], reverse=is_descending)
    resources.sort(key=lambda resource: resource.get(name, ""), reverse=is_descending)
    resources.sort(key=lambda resource: name not in resource)  # those without the field come last
    shown = resources if page.every else resources[page.start : page.start + page.size]
    return {"count": len(resources), "model_snapshots": shown}
