"""From the body of a create, update or preview request to a datafeed configuration, or to the first rule it breaks.

Whether the id is taken, or the job has another datafeed, is decided where others are known.
"""

import copy
from typing import Any, Final

from domain.config import JobConfig, check_body_id, check_datafeed_id
from domain.config.durations import (
    check_positive_seconds,
    parse_duration_ms,
)
from domain.config.fields import Section, body_section, malformed
from domain.datafeeds.aggregations import parse_aggregations
from domain.datafeeds.config import (
    CHUNKING_MODES,
    MANUAL,
    SCROLL_SIZE_DEFAULT,
    ChunkingConfig,
    DatafeedConfig,
    DelayedDataCheckConfig,
    aggregated_chunking,
)
from domain.datafeeds.query import MATCH_ALL, QueryError, parse_query, query_resource
from domain.datafeeds.schedule import DELAYED_WINDOW_MS_MAX, default_query_delay
from domain.errors import BadRequest, InvalidArgument

SECTION: Final = "datafeed_config"
UPDATE_SECTION: Final = "datafeed_update"
FIELDS: Final = frozenset(
    {
        "datafeed_id",
        "job_id",
        "source",
        "indices",
        "indexes",
        "types",  # of old servers; accepted and ignored
        "query",
        "aggregations",
        "aggs",
        "script_fields",
        "scroll_size",
        "query_delay",
        "frequency",
        "chunking_config",
        "_source",  # of old servers; accepted and ignored
        "delayed_data_check_config",
        "max_empty_searches",
        "indices_options",
    }
)
INDICES_OPTIONS: Final[dict[str, Any]] = {
    "expand_wildcards": ["open"],
    "ignore_unavailable": False,
    "allow_no_indices": True,
    "ignore_throttled": True,
}
_WILDCARDS: Final = ("all", "open", "closed", "hidden", "none")
_FLAGS: Final = ("ignore_unavailable", "allow_no_indices", "ignore_throttled")
_INDICES_MAX: Final = 1_000


def job_id_of(body: object, section: str = SECTION) -> str:
    """Return the job that the body of a create or preview request names."""
    job_id = body_section(body, section, FIELDS).name_text("job_id")
    if job_id is None:
        msg = "[job_id] must not be null."
        raise InvalidArgument(msg)
    return job_id


def create_datafeed_config(body: object, *, datafeed_id: str | None, job: JobConfig | None) -> DatafeedConfig:
    """Make the configuration of a new datafeed from a request body, defaults filled in.

    Parameters
    ----------
    body : object
        The body as the JSON reader returned it, None when there was none. It is neither kept nor changed.
    datafeed_id : str or None
        The id of the URL; None for a preview of a datafeed that is not there yet.
    job : JobConfig or None
        The job it is for; None when there is no such job, so that what is wrong with the body is said first.

    Raises
    ------
    DomainError
        One of its kinds, with the message of the first rule that is broken.
    """
    section = body_section(body, SECTION, FIELDS)
    values = _values(section)
    body_id = section.text("datafeed_id")
    check_body_id("datafeed_id", datafeed_id, body_id)
    own_id = datafeed_id if datafeed_id is not None else body_id
    if own_id is not None:
        check_datafeed_id(own_id)
    job_id = job_id_of(body)
    if "indices" not in values:
        raise _invalid(key="indices", value=None)
    query_delay = values.pop("query_delay", None) or default_query_delay(job_id)
    if values.get("max_empty_searches") == -1:
        del values["max_empty_searches"]
    defaults = {
        "query": query_resource(MATCH_ALL),
        "scroll_size": SCROLL_SIZE_DEFAULT,
        "indices_options": dict(INDICES_OPTIONS),
    }
    config = DatafeedConfig(datafeed_id=own_id or "", job_id=job_id, query_delay=query_delay, **{**defaults, **values})
    return config if job is None else _completed(config, job, has_chunking="chunking_config" in values)


def update_datafeed_config(config: DatafeedConfig, body: object, *, job: JobConfig | None) -> DatafeedConfig:
    """Return `config` with the changes of an update request.

    Parameters
    ----------
    config : DatafeedConfig
        The datafeed as it is; it stays as it is.
    body : object
        The body of the request.
    job : JobConfig or None
        The job that it is for after the update; see `updated_job_id`.
    """
    section = body_section(body, UPDATE_SECTION, FIELDS)
    check_body_id("datafeed_id", config.datafeed_id, section.text("datafeed_id"))
    values = _values(section)
    job_id = updated_job_id(config, body)
    if values.get("max_empty_searches") == -1:
        values["max_empty_searches"] = None
    changed = config.model_copy(update={**values, "job_id": job_id})
    if job is None:
        return changed
    return _completed(changed, job, has_chunking="chunking_config" in values or "aggregations" not in values)


def updated_job_id(config: DatafeedConfig, body: object) -> str:
    """Return the job that a datafeed is for after an update."""
    return body_section(body, UPDATE_SECTION, FIELDS).name_text("job_id") or config.job_id


def _completed(config: DatafeedConfig, job: JobConfig, *, has_chunking: bool) -> DatafeedConfig:
    """Check that a datafeed fits its job, and choose its chunks by its aggregations unless they are given."""
    config.check_fits(job)
    if config.aggregations is None or has_chunking:
        return config
    chunking = aggregated_chunking(parse_aggregations(config.aggregations))
    return config.model_copy(update={"chunking_config": chunking})


def _values(section: Section) -> dict[str, Any]:
    """Return the values that are given, each checked by itself."""
    if section.has("aggregations") and section.has("aggs"):
        raise malformed(section.name, "[aggs] and [aggregations] are the same, only one may be given")
    values: dict[str, Any] = {
        "source": _source(section),
        "query_delay": _query_delay(section),
        "frequency": section.text("frequency"),
        "indices": _indices(section),
        "query": _query(section),
        "aggregations": copy.deepcopy(section.mapping("aggregations") or section.mapping("aggs")),
        "script_fields": copy.deepcopy(section.mapping("script_fields")) or None,
        "scroll_size": section.integer("scroll_size"),
        "chunking_config": _chunking(section),
        "delayed_data_check_config": _delayed_check(section),
        "max_empty_searches": section.integer("max_empty_searches"),
        "indices_options": _indices_options(section),
    }
    section.flag("_source")
    _check_values(values)
    return {key: value for key, value in values.items() if value is not None}


def _check_values(values: dict[str, Any]) -> None:
    if values["frequency"] is not None:
        check_positive_seconds(values["frequency"], "frequency")
    if values["scroll_size"] is not None and not 0 <= values["scroll_size"] < 2**31:
        raise _invalid(key="scroll_size", value=values["scroll_size"])
    empty = values["max_empty_searches"]
    if empty is not None and empty != -1 and not 0 < empty < 2**31:
        raise _invalid(key="max_empty_searches", value=empty)


def _invalid(*, key: str, value: object) -> BadRequest:
    shown = "null" if value is None else str(value)
    return BadRequest(f"Invalid {key} value '{shown}' in datafeed configuration")


def _query_delay(section: Section) -> str | None:
    text = section.text("query_delay")
    if text is not None and parse_duration_ms(text, "query_delay") < 0:
        msg = f"query_delay cannot be less than 0. Value = {text}"
        raise InvalidArgument(msg)
    return text


def _source(section: Section) -> str | None:
    inner = section.section("source", frozenset({"name"}))
    return None if inner is None else inner.require_text("name")


def _indices(section: Section) -> tuple[str, ...] | None:
    key = "indices" if section.has("indices") else "indexes"
    if section.is_null("indices") and not section.has("indexes"):
        raise _invalid(key="indices", value=None)
    value = section.raw(key)
    if value is None:
        return None
    items = value if isinstance(value, list) else [value]
    shown = "[" + ", ".join("null" if item is None else str(item) for item in items) + "]"
    if not items or len(items) > _INDICES_MAX or any(item is None or item == "" for item in items):
        raise _invalid(key="indices", value=shown[:256])
    for item in items:
        if not isinstance(item, str):
            raise section.refused(key, "only strings", item)
    return tuple(dict.fromkeys(str(item) for item in items))


def _query(section: Section) -> dict[str, Any] | None:
    if not section.has("query"):
        return None
    try:
        return query_resource(parse_query(section.raw("query")))
    except QueryError as error:
        raise malformed(section.name, f"failed to parse field [query]: {error.reason}") from error


def _chunking(section: Section) -> ChunkingConfig | None:
    inner = section.section("chunking_config", frozenset({"mode", "time_span"}))
    if inner is None:
        return None
    mode = inner.require_choice("mode", CHUNKING_MODES)
    span = inner.text("time_span")
    if (span is not None) != (mode == MANUAL):
        what = "needs a time_span" if mode == MANUAL else "may not have a time_span"
        msg = f"chunking_config of mode [{mode}] {what}"
        raise InvalidArgument(msg)
    if span is not None:
        check_positive_seconds(span, "time_span")
    return ChunkingConfig(mode=mode, time_span=span)


def _delayed_check(section: Section) -> DelayedDataCheckConfig | None:
    inner = section.section("delayed_data_check_config", frozenset({"enabled", "check_window"}))
    if inner is None:
        return None
    window = inner.text("check_window")
    if window is not None:
        check_positive_seconds(window, "check_window")
        if parse_duration_ms(window, "check_window") > DELAYED_WINDOW_MS_MAX:
            msg = f"check_window [{window}] must be less than or equal to [24h]"
            raise InvalidArgument(msg)
    return DelayedDataCheckConfig(enabled=inner.require_flag("enabled"), check_window=window)


def _indices_options(section: Section) -> dict[str, Any] | None:
    inner = section.section("indices_options", frozenset(INDICES_OPTIONS))
    if inner is None:
        return None
    options = dict(INDICES_OPTIONS)
    key = "expand_wildcards"
    if inner.has(key):
        raw = inner.raw(key)
        texts = raw.split(",") if isinstance(raw, str) else list(inner.texts(key) or ())
        for text in texts:
            if text not in _WILDCARDS:
                raise inner.refused(key, f"values of [{', '.join(_WILDCARDS)}]", text)
        options[key] = ["open", "closed", "hidden"] if "all" in texts else texts
    options.update({name: inner.flag(name) for name in _FLAGS if inner.has(name)})
    return options
