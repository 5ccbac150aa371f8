"""From the body of a create or validate request to a job configuration, or to the first rule that it breaks.

The order of the checks is that of the API: shape and parts of the body first (analysis, then the rest), then
whether everything needed is there, then the values of the job itself. Whether the id or a group is taken is
decided where other jobs are known.
"""

import copy
from typing import Final, NamedTuple

from domain.config.analysis import ANALYSIS_FIELDS, AnalysisConfig, check_detectors_differ, read_analysis
from domain.config.detector import DETECTOR_FIELDS, read_detector
from domain.config.fields import Section, body_section
from domain.config.ids import check_body_id, check_job_id, results_index_of
from domain.config.job import (
    DAILY_RETENTION_AFTER_DAYS_DEFAULT,
    JOB_TYPE,
    MODEL_SNAPSHOT_RETENTION_DAYS_DEFAULT,
    JobConfig,
    check_days,
    check_groups,
    check_persist_interval,
    check_retention,
    check_time_field,
)
from domain.config.settings import (
    DATA_FIELDS,
    LIMITS_FIELDS,
    AnalysisLimits,
    DataDescription,
    ModelPlotConfig,
    read_data_description,
    read_limits,
    read_model_plot,
)
from domain.errors import InvalidArgument

SERVER_FIELDS: Final = ("create_time", "finished_time", "model_snapshot_id")  # no client may set these
JOB_FIELDS: Final = frozenset(
    {
        "job_id",
        "job_type",
        "job_version",  # accepted and ignored: it is always that of the rules applied here
        "groups",
        "description",
        "analysis_config",
        "analysis_limits",
        "data_description",
        "model_plot_config",
        "renormalization_window_days",
        "background_persist_interval",
        "model_snapshot_retention_days",
        "daily_model_snapshot_retention_after_days",
        "results_retention_days",
        "custom_settings",
        "results_index_name",
        "allow_lazy_open",
        *SERVER_FIELDS,
    }
)
DAY_FIELDS: Final = (
    "renormalization_window_days",
    "model_snapshot_retention_days",
    "daily_model_snapshot_retention_after_days",
    "results_retention_days",
)
_BODY: Final = "job_details"


class _Parts(NamedTuple):
    """The objects inside of a body, each read and checked by itself."""

    analysis: AnalysisConfig | None
    limits: AnalysisLimits
    data: DataDescription | None
    plot: ModelPlotConfig | None


def create_job_config(
    body: object, *, job_id: str | None, now_ms: int, memory_limit_bytes_max: int | None = None
) -> JobConfig:
    """Make the configuration of a new job from a request body, defaults filled in.

    Parameters
    ----------
    body : object
        The body as JSON reader returned it, None when there was none. It is neither kept nor changed.
    job_id : str or None
        The id of the URL.
    now_ms : int
        The time of creation, in milliseconds since the epoch.
    memory_limit_bytes_max : int, optional
        The largest model memory limit that the server allows.

    Raises
    ------
    DomainError
        One of its kinds, with the message of the first rule that is broken; never another exception.
    """
    section = body_section(body, _BODY, JOB_FIELDS)
    return _build(section, job_id=job_id, is_id_needed=True, now_ms=now_ms, limit_max=memory_limit_bytes_max)


def validate_job(body: object, *, memory_limit_bytes_max: int | None = None) -> None:
    """Check the body of a create request without a job id of its own; the id in it is checked if given.

    Raises
    ------
    DomainError
        As `create_job_config` does.
    """
    section = body_section(body, _BODY, JOB_FIELDS)
    _build(section, job_id=None, is_id_needed=False, now_ms=0, limit_max=memory_limit_bytes_max)


def validate_detector(body: object) -> None:
    """Check the body of one detector.

    Raises
    ------
    DomainError
        With the message of the first rule that is broken.
    """
    read_detector(body_section(body, "detector", DETECTOR_FIELDS))


def _build(
    section: Section, *, job_id: str | None, is_id_needed: bool, now_ms: int, limit_max: int | None
) -> JobConfig:
    values = _read_values(section)
    days = {key: section.integer(key) for key in DAY_FIELDS}
    parts = _read_parts(section, limit_max)

    body_id = section.text("job_id")
    check_body_id("job_id", job_id, body_id)
    own_id = job_id if job_id is not None else body_id
    analysis, data = _require_parts(parts)
    _check_parts_fit(analysis, data)
    _check_values(values, days)
    if own_id is not None or is_id_needed:
        check_job_id(own_id or "")
    check_groups(values.groups, own_id)
    _check_server_fields(section)
    retention, daily = _retention(
        days["model_snapshot_retention_days"], days["daily_model_snapshot_retention_after_days"]
    )
    return JobConfig(
        job_id=own_id or "",
        groups=values.groups,
        description=values.description,
        create_time=now_ms,
        analysis_config=analysis,
        analysis_limits=parts.limits,
        data_description=data,
        model_plot_config=parts.plot,
        renormalization_window_days=days["renormalization_window_days"],
        background_persist_interval=values.background_persist_interval,
        model_snapshot_retention_days=retention,
        daily_model_snapshot_retention_after_days=daily,
        results_retention_days=days["results_retention_days"],
        custom_settings=values.custom_settings,
        results_index_name=results_index_of(values.results_index_name),
        allow_lazy_open=values.allow_lazy_open,
    )


class _Values(NamedTuple):
    """The plain values of a body, of the right JSON type but not yet checked."""

    groups: tuple[str, ...]
    description: str | None
    background_persist_interval: str | None
    custom_settings: dict[str, object] | None
    results_index_name: str | None
    allow_lazy_open: bool


def _read_values(section: Section) -> _Values:
    section.choice("job_type", (JOB_TYPE,))
    section.text("job_id")
    section.text("job_version")
    return _Values(
        groups=tuple(dict.fromkeys(section.texts("groups") or ())),
        description=section.text("description"),
        background_persist_interval=section.text("background_persist_interval"),
        custom_settings=copy.deepcopy(section.mapping("custom_settings")),
        results_index_name=section.text("results_index_name"),
        allow_lazy_open=section.flag("allow_lazy_open") or False,
    )


def _read_parts(section: Section, limit_max: int | None) -> _Parts:
    analysis = section.section("analysis_config", ANALYSIS_FIELDS)
    limits = section.section("analysis_limits", LIMITS_FIELDS)
    data = section.section("data_description", DATA_FIELDS)
    return _Parts(
        analysis=None if analysis is None else read_analysis(analysis),
        limits=read_limits(limits, memory_limit_bytes_max=limit_max),
        data=None if data is None else read_data_description(data),
        plot=read_model_plot(section, "model_plot_config"),
    )


def _require_parts(parts: _Parts) -> tuple[AnalysisConfig, DataDescription]:
    if parts.analysis is None:
        reason = "An analysis_config must be set"
        raise InvalidArgument(reason)
    if parts.data is None:
        reason = "A data_description must be set"
        raise InvalidArgument(reason)
    return parts.analysis, parts.data


def _check_parts_fit(analysis: AnalysisConfig, data: DataDescription) -> None:
    check_detectors_differ(analysis.detectors)
    check_time_field(data.time_field, analysis)


def _check_values(values: _Values, days: dict[str, int | None]) -> None:
    check_persist_interval(values.background_persist_interval)
    for key in DAY_FIELDS:
        check_days(key, days[key])


def _check_server_fields(section: Section) -> None:
    given = [key for key in SERVER_FIELDS if section.has(key)]
    if given:
        names = ", ".join(given)
        reason = f"The job is configured with fields [{names}] that are illegal to set at job creation"
        raise InvalidArgument(reason)


def _retention(retention_days: int | None, daily_after_days: int | None) -> tuple[int, int]:
    """Return both retention settings, the ones not given filled in so that they fit each other."""
    retention = MODEL_SNAPSHOT_RETENTION_DAYS_DEFAULT if retention_days is None else retention_days
    if daily_after_days is None:
        daily_after_days = min(DAILY_RETENTION_AFTER_DAYS_DEFAULT, retention)
    check_retention(daily_after_days, retention)
    return retention, daily_after_days
