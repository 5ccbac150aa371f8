"""From a job configuration and the body of an update request to the changed configuration.

Only fields in the body change; nulls and missing ones stay. Every rule is checked against the merged job.
"""

import copy
from typing import Final

from domain.config.byte_sizes import BYTES_PER_MIB, format_bytes
from domain.config.categorization import check_filters, read_per_partition
from domain.config.create import DAY_FIELDS
from domain.config.detector import Detector, describe
from domain.config.fields import Section, body_section, malformed
from domain.config.job import (
    JobConfig,
    check_days,
    check_groups,
    check_persist_interval,
    check_retention,
)
from domain.config.rules import check_rules_fit, read_rules
from domain.config.settings import LIMITS_FIELDS, AnalysisLimits, read_limits, read_model_plot
from domain.errors import BadRequest

UPDATE_FIELDS: Final = frozenset(
    {
        "description",
        "detectors",
        "model_plot_config",
        "analysis_limits",
        "background_persist_interval",
        "categorization_filters",
        "custom_settings",
        "groups",
        "allow_lazy_open",
        "per_partition_categorization",
        "job_id",  # a repetition of the URL's; ignored
        "model_snapshot_id",  # of old servers; accepted and ignored
        *DAY_FIELDS,
    }
)
_DETECTOR_FIELDS: Final = frozenset({"detector_index", "index", "description", "custom_rules", "rules"})


def update_job_config(
    config: JobConfig,
    body: object,
    *,
    is_open: bool,
    model_bytes: int,
    memory_limit_bytes_max: int | None = None,
) -> JobConfig:
    """Return `config` with the changes of an update request.

    Parameters
    ----------
    config : JobConfig
        The job as it is; it stays as it is.
    body : object
        The body as JSON reader returned it, None when there was none.
    is_open : bool
        Whether the job is open, when its memory limit cannot change.
    model_bytes : int
        How much memory its model takes now.
    memory_limit_bytes_max : int, optional
        The largest model memory limit that the server allows.

    Raises
    ------
    DomainError
        One of its kinds, with the message of the first rule that is broken; never another exception.
    """
    section = body_section(body, "job_update", UPDATE_FIELDS)
    changes = _read_plain(section)
    check_groups(_read_groups(section), config.job_id)
    limits_section = section.section("analysis_limits", LIMITS_FIELDS)
    if limits_section is not None:
        limits = read_limits(limits_section, config.analysis_limits, memory_limit_bytes_max=memory_limit_bytes_max)
        if limits_section.has("model_memory_limit"):
            _check_memory(limits, is_open=is_open, model_bytes=model_bytes)
        changes["analysis_limits"] = limits
    changes["analysis_config"] = config.analysis_config.model_copy(update=_read_analysis(section, config))
    merged = config.model_copy(update=changes)
    check_retention(merged.daily_model_snapshot_retention_after_days, merged.model_snapshot_retention_days)
    return merged


def _read_plain(section: Section) -> dict[str, object]:
    """Return the plain values that are given, each checked by itself."""
    interval = section.text("background_persist_interval")
    check_persist_interval(interval)
    days = {key: section.integer(key) for key in DAY_FIELDS}
    for key, value in days.items():
        check_days(key, value)
    values: dict[str, object] = {
        "description": section.text("description"),
        "background_persist_interval": interval,
        **days,
        "custom_settings": copy.deepcopy(section.mapping("custom_settings")),
        "allow_lazy_open": section.flag("allow_lazy_open"),
        "groups": _read_groups(section) if section.has("groups") else None,
        "model_plot_config": read_model_plot(section, "model_plot_config"),
    }
    return {key: value for key, value in values.items() if value is not None}


def _read_groups(section: Section) -> tuple[str, ...]:
    return tuple(dict.fromkeys(section.texts("groups") or ()))


def _check_memory(limits: AnalysisLimits, *, is_open: bool, model_bytes: int) -> None:
    if is_open:
        reason = "Cannot update analysis_limits while the job is open"
        raise BadRequest(reason)
    wanted = limits.model_memory_limit_mib * BYTES_PER_MIB
    if wanted < model_bytes:
        reason = (
            "Invalid update value for analysis_limits: model_memory_limit cannot be decreased below current "
            f"usage; current usage [{format_bytes(model_bytes)}], update had [{format_bytes(wanted)}]"
        )
        raise BadRequest(reason)


def _read_analysis(section: Section, config: JobConfig) -> dict[str, object]:
    """Return the changes to the analysis: detectors, filters, stopping of categorization."""
    analysis = config.analysis_config
    changes: dict[str, object] = {}
    items = section.items("detectors")
    if items is not None:
        changes["detectors"] = _update_detectors(analysis.detectors, items)
    filters = section.texts("categorization_filters")
    if filters is not None:
        check_filters(
            filters,
            analysis.categorization_field_name,
            has_analyzer=analysis.categorization_analyzer is not None,
        )
        changes["categorization_filters"] = filters or None
    per_partition = read_per_partition(section, "per_partition_categorization")
    if per_partition is not None:
        existing = analysis.per_partition_categorization
        if per_partition.enabled != (existing is not None and existing.enabled):
            reason = "enabled of per_partition_categorization cannot be changed by an update"
            raise BadRequest(reason)
        changes["per_partition_categorization"] = per_partition
    return changes


def _update_detectors(detectors: tuple[Detector, ...], items: list[object]) -> tuple[Detector, ...]:
    updated = list(detectors)
    for item in items:
        section = Section(item, "detectors", _DETECTOR_FIELDS)
        index = section.integer("detector_index")
        if index is None:
            index = section.integer("index")  # as old servers called it
        if index is None:
            raise malformed(section.name, "required field [detector_index] is missing")
        if not 0 <= index < len(updated):
            reason = f"detector_index [{index}] names no detector: expected 0 to {len(updated) - 1}"
            raise BadRequest(reason)
        updated[index] = _update_detector(updated[index], section)
    return tuple(updated)


def _update_detector(detector: Detector, section: Section) -> Detector:
    changes: dict[str, object] = {}
    description = section.text("description")
    if description is not None:
        changes["detector_description"] = description or describe(detector)
    rules = read_rules(section, "custom_rules")
    if rules is not None:
        check_rules_fit(rules, detector.function, detector.base_function, detector.term_fields)
        changes["custom_rules"] = rules
    return detector.model_copy(update=changes)
