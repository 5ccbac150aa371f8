"""What a job says about grouping its messages into categories: filters, analyzer, per-partition switch.

The checks need to know the detectors, because a category is used as the field ``mlcategory`` of one of them.
"""

import copy
import re
from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict

from domain.config.analyzer import read_analyzer
from domain.config.detector import MLCATEGORY, Detector
from domain.config.expressions import BadExpression, compile_expression
from domain.config.fields import Section, shorten
from domain.errors import BadRequest

_PER_PARTITION_FIELDS: Final = frozenset({"enabled", "stop_on_warn"})


class PerPartitionCategorization(BaseModel):
    """Whether each value of the partition field has categories of its own."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    enabled: bool = False
    stop_on_warn: bool = False

    def resource(self) -> dict[str, object]:
        """Return it as the API shows it: ``stop_on_warn`` only where it has a meaning."""
        shown: dict[str, object] = {"enabled": self.enabled}
        if self.enabled:
            shown["stop_on_warn"] = self.stop_on_warn
        return shown


def read_per_partition(section: Section, key: str) -> PerPartitionCategorization | None:
    """Read the per-partition switch under `key`; None when not given."""
    inner = section.section(key, _PER_PARTITION_FIELDS)
    if inner is None:
        return None
    enabled, stop_on_warn = inner.require_flag("enabled"), inner.flag("stop_on_warn")
    if stop_on_warn and not enabled:
        reason = f"stop_on_warn of {key} cannot be true while enabled is false"
        raise BadRequest(reason)
    return PerPartitionCategorization(enabled=enabled, stop_on_warn=bool(stop_on_warn))


def read_analyzer_setting(section: Section, key: str) -> str | dict[str, object] | None:
    """Read an analyzer, which is a name or an object of its parts, and check it; None when not given."""
    value = section.raw(key)
    if value is None:
        return None
    if (isinstance(value, str) and value) or isinstance(value, dict):
        read_analyzer(value)
        return copy.deepcopy(value)
    raise section.refused(key, "a name or an object", value)


def compile_filter(text: str) -> re.Pattern[str] | None:
    """Return a categorization filter as a compiled expression, None when it is none.

    What the reference's dialect has and Python has not is read as Python reads it, if it reads it at all.
    """
    for is_lenient in (False, True):
        try:
            return compile_expression(text, is_lenient=is_lenient)
        except BadExpression:
            continue
    return None


def check_filters(filters: Sequence[str], field_name: str | None, *, has_analyzer: bool) -> None:
    """Refuse filters that cannot be used, in this order: analyzer, field name, duplicates, empty, invalid.

    Raises
    ------
    BadRequest
        With the rule that is broken.
    """
    if not filters:
        return
    reason = None
    if has_analyzer:
        reason = (
            "categorization_filters cannot be used with categorization_analyzer - instead specify them as "
            "pattern_replace char_filters in the analyzer"
        )
    elif field_name is None:
        reason = "categorization_filters need categorization_field_name to be set"
    elif len(set(filters)) < len(filters):
        reason = "categorization_filters contain duplicates"
    elif not all(filters):
        reason = "categorization_filters contain an empty string"
    else:
        invalid = next((text for text in filters if compile_filter(text) is None), None)
        if invalid is not None:
            reason = f"categorization_filters contain an invalid regular expression '{shorten(invalid)}'"
    if reason is not None:
        raise BadRequest(reason)


def check_mlcategory(field_name: str | None, detectors: Sequence[Detector]) -> None:
    """Refuse a categorization field that no detector uses, and a use of categories that nothing makes."""
    is_used = any(MLCATEGORY in detector.term_fields for detector in detectors)
    reason = None
    if field_name is not None and not is_used:
        reason = (
            f"categorization_field_name is set but {MLCATEGORY} is not used in any detector by/over/partition field"
        )
    elif field_name is None and is_used:
        reason = f"categorization_field_name must be set for {MLCATEGORY} to be available"
    if reason is not None:
        raise BadRequest(reason)


def check_per_partition(
    setting: PerPartitionCategorization | None, field_name: str | None, detectors: Sequence[Detector]
) -> None:
    """Refuse per-partition categories unless the detectors that use them have the same partition field."""
    if setting is None or not setting.enabled:
        return
    if field_name is None:
        reason = "per_partition_categorization needs categorization_field_name to be set"
        raise BadRequest(reason)
    partitions = {d.partition_field_name for d in detectors if MLCATEGORY in d.term_fields}
    if len(partitions) > 1 or None in partitions or MLCATEGORY in partitions:
        reason = (
            f"per_partition_categorization needs the same partition_field_name in every detector that uses {MLCATEGORY}"
        )
        raise BadRequest(reason)
