"""Endpoints of results: buckets, records, influencers, categories, overall buckets."""

from typing import Any, Final

from domain.api_time import parse_result_time
from domain.config import parse_duration_ms
from domain.errors import InvalidArgument
from marigraph import queries
from marigraph.api.endpoints import Call, Endpoint
from marigraph.api.jobs import ALLOW_NO_MATCH, JOB
from marigraph.api.parameters import Parameter, page_values

READ_METHODS: Final = ("GET", "POST")
FROM_SIZE: Final = (
    Parameter("from", "int", ("from_",), "query", "How many to leave out first."),
    Parameter("size", "int", place="query", description="How many to return."),
    Parameter("page", "object", place="body", description="`from` and `size`."),
)
RANGE: Final = (
    Parameter("start", description="Only from this time on."),
    Parameter("end", description="Only before this time."),
)
SORTED: Final = (
    Parameter("sort", description="Field to sort by."),
    Parameter("desc", "bool", description="Descending."),
)
EXCLUDE_INTERIM: Final = Parameter("exclude_interim", "bool", description="Leave out interim results.")
LISTED: Final = (EXCLUDE_INTERIM, *RANGE, *SORTED, *FROM_SIZE)


def time_of(call: Call, name: str) -> int | None:
    """Read a time parameter, milliseconds since the epoch; None if it is not given."""
    text = call.parameters.get(name)
    return None if text in (None, "") else parse_result_time(str(text), name, now_ms=call.app.now_ms())


def page_of(call: Call, section: str) -> queries.Page:
    """Return the part of a list that is asked for."""
    start, size = page_values(call.parameters, section)
    if call.every:
        return queries.Page(every=True)
    return queries.Page(0 if start is None else start, queries.PAGE_SIZE if size is None else size)


def filter_of(call: Call, score: str | None = None) -> queries.ResultFilter:
    """Return what results are asked for."""
    parameters = call.parameters
    return queries.ResultFilter(
        start_ms=time_of(call, "start"),
        end_ms=time_of(call, "end"),
        score_min=parameters.get(score, 0.0) if score else 0.0,
        exclude_interim=parameters.get("exclude_interim", False),
        sort=parameters.get("sort"),
        desc=parameters.get("desc"),
    )


def _buckets(call: Call) -> Any:
    job_id, parameters = call.path["job_id"], call.parameters
    timestamp = call.path.get("timestamp") or parameters.get("timestamp")
    expand = parameters.get("expand", False)
    if timestamp is None:
        page = page_of(call, "get_buckets")
        return queries.get_buckets(call.app, job_id, filter_of(call, "anomaly_score"), page, expand=expand)
    for name in ("start", "end", "from", "size", "page", "anomaly_score"):
        if name in parameters:
            msg = f"Param [{name}] is incompatible with [timestamp]"
            raise InvalidArgument(msg)
    time_ms = parse_result_time(timestamp, "timestamp", now_ms=call.app.now_ms())
    return queries.get_buckets(call.app, job_id, filter_of(call), timestamp_ms=time_ms, expand=expand)


def _records(call: Call) -> Any:
    page = page_of(call, "get_records")
    return queries.get_records(call.app, call.path["job_id"], filter_of(call, "record_score"), page)


def _influencers(call: Call) -> Any:
    page = page_of(call, "get_influencers")
    return queries.get_influencers(call.app, call.path["job_id"], filter_of(call, "influencer_score"), page)


def _categories(call: Call) -> Any:
    job_id, text = call.path["job_id"], call.path.get("category_id") or call.parameters.get("category_id")
    partition = call.parameters.get("partition_field_value")
    if text is None:
        page = page_of(call, "get_categories")
        return queries.get_categories(call.app, job_id, None, page, partition_field_value=partition)
    if any(name in call.parameters for name in ("from", "size", "page")):
        msg = "Param [from, size] is incompatible with [category_id]"
        raise InvalidArgument(msg)
    try:
        category_id = int(text)
        if abs(category_id) >= 2**63:
            raise ValueError
    except ValueError:
        msg = f'For input string: "{text}"'
        raise InvalidArgument(msg) from None
    return queries.get_categories(call.app, job_id, category_id, partition_field_value=partition)


def _overall(call: Call) -> Any:
    parameters = call.parameters
    span = parameters.get("bucket_span")
    return queries.get_overall_buckets(
        call.app,
        call.path["job_id"],
        filter_of(call),
        top_n=parameters.get("top_n", 1),
        overall_score=parameters.get("overall_score", 0.0),
        bucket_span_seconds=None if span is None else parse_duration_ms(span, "bucket_span") // 1000,
        allow_no_match=parameters.get("allow_no_match", True),
    )


ENDPOINTS: Final = (
    Endpoint(
        "get_buckets",
        READ_METHODS,
        (f"{JOB}/results/buckets", f"{JOB}/results/buckets/{{timestamp}}"),
        _buckets,
        "Buckets in order of time, or the one that starts at a time.",
        (
            Parameter("timestamp", place="body", description="Start of the one bucket that is wanted."),
            Parameter("expand", "bool", description="Put the records of each bucket into it."),
            Parameter("anomaly_score", "float", description="Only with at least this score."),
            *LISTED,
        ),
        body="parameters",
        section="get_buckets",
    ),
    Endpoint(
        "get_records",
        READ_METHODS,
        (f"{JOB}/results/records",),
        _records,
        "Records, the highest score first.",
        (Parameter("record_score", "float", description="Only with at least this score."), *LISTED),
        body="parameters",
        section="get_records",
    ),
    Endpoint(
        "get_influencers",
        READ_METHODS,
        (f"{JOB}/results/influencers",),
        _influencers,
        "Influencers, the highest score first.",
        (Parameter("influencer_score", "float", description="Only with at least this score."), *LISTED),
        body="parameters",
        section="get_influencers",
    ),
    Endpoint(
        "get_categories",
        READ_METHODS,
        (f"{JOB}/results/categories", f"{JOB}/results/categories/{{category_id}}"),
        _categories,
        "Categories of a job's messages, by id.",
        (
            Parameter("category_id", place="body", description="Id of the one category that is wanted."),
            Parameter("partition_field_value", description="Only of this partition."),
            *FROM_SIZE,
        ),
        body="parameters",
        section="get_categories",
    ),
    Endpoint(
        "get_overall_buckets",
        READ_METHODS,
        (f"{JOB}/results/overall_buckets",),
        _overall,
        "Buckets over several jobs: the mean of the highest scores at each time.",
        (
            Parameter("top_n", "int", description="How many of the highest scores are averaged."),
            Parameter("overall_score", "float", description="Only with at least this score."),
            Parameter("bucket_span", description="At least the longest bucket span of the jobs."),
            EXCLUDE_INTERIM,
            ALLOW_NO_MATCH,
            *RANGE,
        ),
        body="parameters",
        section="get_overall_buckets",
    ),
)
