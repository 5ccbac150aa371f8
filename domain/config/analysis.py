"""The analysis part of a job's configuration: buckets, detectors, influencers, and how they fit together.

Reading checks each part first and their fit afterwards, in an order that the API fixes for its messages. What
lies outside of the analysis (limits, data description, retention) is in `settings.py` and `job.py`.
"""

from collections.abc import Iterable
from typing import Final

from pydantic import BaseModel, ConfigDict

from domain.config.categorization import (
    PerPartitionCategorization,
    check_filters,
    check_mlcategory,
    check_per_partition,
    read_analyzer_setting,
    read_per_partition,
)
from domain.config.detector import DETECTOR_FIELDS, MLCATEGORY, Detector, check_field_name, read_detector
from domain.config.durations import check_non_negative_seconds, check_positive_seconds, parse_duration_seconds
from domain.config.fields import Section
from domain.errors import BadRequest, InvalidArgument

BUCKET_SPAN_DEFAULT: Final = "5m"
ANALYSIS_FIELDS: Final = frozenset(
    {
        "bucket_span",
        "detectors",
        "influencers",
        "latency",
        "categorization_field_name",
        "categorization_filters",
        "categorization_analyzer",
        "per_partition_categorization",
        "summary_count_field_name",
        "multivariate_by_fields",
        # of old servers; accepted and ignored
        "overlapping_buckets",
        "result_finalization_window",
        "multiple_bucket_spans",
        "use_per_partition_normalization",
    }
)


class AnalysisConfig(BaseModel):
    """What is analysed and in which buckets. Durations are kept as they were written."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    bucket_span: str
    categorization_field_name: str | None = None
    categorization_filters: tuple[str, ...] | None = None
    categorization_analyzer: str | dict[str, object] | None = None
    per_partition_categorization: PerPartitionCategorization | None = None
    latency: str | None = None
    summary_count_field_name: str | None = None
    detectors: tuple[Detector, ...]
    influencers: tuple[str, ...] = ()
    multivariate_by_fields: bool | None = None

    @property
    def bucket_span_seconds(self) -> int:
        """The length of a bucket."""
        return parse_duration_seconds(self.bucket_span, "bucket_span")

    @property
    def latency_seconds(self) -> int:
        """How much older than the latest record a record may be; 0 when not set."""
        return 0 if self.latency is None else parse_duration_seconds(self.latency, "latency")

    @property
    def categorization_partition_field_name(self) -> str | None:
        """The partition field each value of which has categories of its own; None: there are those of the job."""
        setting = self.per_partition_categorization
        if setting is None or not setting.enabled:
            return None
        return next(each.partition_field_name for each in self.detectors if MLCATEGORY in each.term_fields)

    @property
    def analysis_fields(self) -> tuple[str, ...]:
        """All fields that the analysis reads, each once: those of the detectors in order, then the others."""
        names = [name for detector in self.detectors for name in detector.fields]
        names += self.influencers
        names += [n for n in (self.summary_count_field_name, self.categorization_field_name) if n is not None]
        return tuple(name for name in dict.fromkeys(names) if name != MLCATEGORY)

    def resource(self) -> dict[str, object]:
        """Return the analysis as the API shows it, in response order, unset fields left out."""
        shown: dict[str, object] = {"bucket_span": self.bucket_span}
        if self.categorization_field_name is not None:
            shown["categorization_field_name"] = self.categorization_field_name
            if self.categorization_filters is not None:
                shown["categorization_filters"] = list(self.categorization_filters)
        if self.categorization_analyzer is not None:
            shown["categorization_analyzer"] = self.categorization_analyzer
        if self.categorization_field_name is not None:
            setting = self.per_partition_categorization or PerPartitionCategorization()
            shown["per_partition_categorization"] = setting.resource()
        if self.latency is not None:
            shown["latency"] = self.latency
        if self.summary_count_field_name is not None:
            shown["summary_count_field_name"] = self.summary_count_field_name
        shown["detectors"] = [detector.resource() for detector in self.detectors]
        shown["influencers"] = list(self.influencers)
        if self.multivariate_by_fields is not None:
            shown["multivariate_by_fields"] = self.multivariate_by_fields
        return shown


def read_analysis(section: Section) -> AnalysisConfig:
    """Read and check the ``analysis_config`` of a body.

    Raises
    ------
    UnknownField
        If a value has the wrong JSON type.
    BadRequest or InvalidArgument
        With the message of the first rule that is broken.
    """
    detectors = tuple(
        read_detector(Section(item, "detectors", DETECTOR_FIELDS), index)
        for index, item in enumerate(section.items("detectors") or ())
    )
    analysis = AnalysisConfig(
        bucket_span=_text_or(section.text("bucket_span"), BUCKET_SPAN_DEFAULT),
        categorization_field_name=section.name_text("categorization_field_name"),
        categorization_filters=section.texts("categorization_filters") or None,
        categorization_analyzer=read_analyzer_setting(section, "categorization_analyzer"),
        per_partition_categorization=read_per_partition(section, "per_partition_categorization"),
        latency=section.text("latency"),
        summary_count_field_name=section.name_text("summary_count_field_name"),
        detectors=detectors,
        influencers=_read_influencers(section),
        multivariate_by_fields=section.flag("multivariate_by_fields"),
    )
    _check_analysis(analysis)
    return analysis


def check_detectors_differ(detectors: Iterable[Detector]) -> None:
    """Refuse two detectors that are equal in all but their index.

    Raises
    ------
    InvalidArgument
        With the description of the detector that comes twice.
    """
    seen: set[str] = set()
    for detector in detectors:
        key = detector.model_dump_json(exclude={"detector_index"})
        if key in seen:
            reason = f"Duplicate detectors are not allowed: [{detector.detector_description}]"
            raise InvalidArgument(reason)
        seen.add(key)


def _check_analysis(analysis: AnalysisConfig) -> None:
    check_positive_seconds(analysis.bucket_span, "bucket_span")
    if analysis.latency is not None:
        check_non_negative_seconds(analysis.latency, "latency")
    if not analysis.detectors:
        reason = "No detectors configured"
        raise BadRequest(reason)
    check_field_name(analysis.summary_count_field_name)
    if analysis.summary_count_field_name is not None:
        _check_no_metric(analysis.detectors)
    check_field_name(analysis.categorization_field_name)
    check_mlcategory(analysis.categorization_field_name, analysis.detectors)
    check_filters(
        analysis.categorization_filters or (),
        analysis.categorization_field_name,
        has_analyzer=analysis.categorization_analyzer is not None,
    )
    if analysis.categorization_analyzer is not None and analysis.categorization_field_name is None:
        reason = "categorization_analyzer needs categorization_field_name to be set"
        raise BadRequest(reason)
    check_per_partition(analysis.per_partition_categorization, analysis.categorization_field_name, analysis.detectors)
    _check_nesting(analysis.analysis_fields)


def _check_no_metric(detectors: tuple[Detector, ...]) -> None:
    if any(detector.base_function == "metric" for detector in detectors):
        reason = "The 'metric' function cannot be used in jobs that will take pre-summarized input"
        raise BadRequest(reason)


def _check_nesting(fields: tuple[str, ...]) -> None:
    """Refuse a field that is also the parent of another: no record holds a value and an object there."""
    known = set(fields)
    for name in sorted(known):
        for end, character in enumerate(name):
            if character == "." and name[:end] in known:
                reason = f"Fields [{name[:end]}] and [{name}] cannot both be used in the same analysis_config"
                raise BadRequest(reason)


def _read_influencers(section: Section) -> tuple[str, ...]:
    if section.is_null("influencers") or None in (section.items("influencers") or ()):
        reason = "influencers cannot be null nor contain null"
        raise InvalidArgument(reason)
    influencers = section.texts("influencers") or ()
    if not all(influencers):
        reason = "influencers cannot contain an empty field name"
        raise BadRequest(reason)
    return influencers


def _text_or(text: str | None, default: str) -> str:
    return default if text is None else text
