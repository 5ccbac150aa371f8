"""The configuration of one job as it is kept: frozen, complete, and written to JSON without loss.

`create.py` makes one from a request, `update.py` a changed one. What the job goes through (state, counts) is
not in here, except the few fields that the API shows among the configuration.
"""

import copy
from typing import Final

from pydantic import BaseModel, ConfigDict

from domain.config.analysis import AnalysisConfig
from domain.config.byte_sizes import BYTES_PER_MIB
from domain.config.detector import Detector
from domain.config.durations import parse_duration_seconds
from domain.config.fields import check_at_least
from domain.config.ids import RESULTS_INDEX_DEFAULT, check_group_id
from domain.config.settings import AnalysisLimits, DataDescription, ModelPlotConfig
from domain.errors import AlreadyExists, InvalidArgument

JOB_TYPE: Final = "anomaly_detector"
JOB_VERSION: Final = "7.9.0"  # the version of the API whose rules a configuration keeps

MODEL_SNAPSHOT_RETENTION_DAYS_DEFAULT: Final = 10
DAILY_RETENTION_AFTER_DAYS_DEFAULT: Final = 1
BACKGROUND_PERSIST_SECONDS_MIN: Final = 3_600
DAYS_MAX: Final = 2**31 - 1  # chosen: so that days in milliseconds, added to any date, stay far inside 64 bits

DELIMITED_WARNING: Final = "Creating jobs with delimited data format is deprecated. Please use xcontent instead."


class JobConfig(BaseModel):
    """A checked job configuration with all defaults filled in; None stands for unset.

    ``finished_time`` and ``model_snapshot_id`` are set by what happens to the job: use
    ``config.model_copy(update={"finished_time": ms})``.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", protected_namespaces=())

    job_id: str
    job_type: str = JOB_TYPE
    job_version: str = JOB_VERSION
    groups: tuple[str, ...] = ()
    description: str | None = None
    create_time: int
    finished_time: int | None = None
    analysis_config: AnalysisConfig
    analysis_limits: AnalysisLimits
    data_description: DataDescription
    model_plot_config: ModelPlotConfig | None = None
    renormalization_window_days: int | None = None
    background_persist_interval: str | None = None
    model_snapshot_retention_days: int = MODEL_SNAPSHOT_RETENTION_DAYS_DEFAULT
    daily_model_snapshot_retention_after_days: int = DAILY_RETENTION_AFTER_DAYS_DEFAULT
    results_retention_days: int | None = None
    custom_settings: dict[str, object] | None = None
    model_snapshot_id: str | None = None
    results_index_name: str = RESULTS_INDEX_DEFAULT
    allow_lazy_open: bool = False

    @property
    def detectors(self) -> tuple[Detector, ...]:
        """The detectors, each at the place of its ``detector_index``."""
        return self.analysis_config.detectors

    @property
    def influencers(self) -> tuple[str, ...]:
        """The influencer fields, each once."""
        return tuple(dict.fromkeys(self.analysis_config.influencers))

    @property
    def bucket_span_seconds(self) -> int:
        """The length of a bucket."""
        return self.analysis_config.bucket_span_seconds

    @property
    def latency_seconds(self) -> int:
        """How much older than the latest record a record may be; 0 when not set."""
        return self.analysis_config.latency_seconds

    @property
    def time_field(self) -> str:
        """The field of a record that holds its time."""
        return self.data_description.time_field

    @property
    def time_format(self) -> str:
        """How that time is written: ``epoch``, ``epoch_ms`` or a date-time pattern."""
        return self.data_description.time_format

    @property
    def summary_count_field_name(self) -> str | None:
        """The field that says for how many events a record stands."""
        return self.analysis_config.summary_count_field_name

    @property
    def categorization_field_name(self) -> str | None:
        """The field whose texts are grouped into categories."""
        return self.analysis_config.categorization_field_name

    @property
    def analysis_fields(self) -> tuple[str, ...]:
        """All fields that the analysis reads, each once, in the order of the configuration."""
        return self.analysis_config.analysis_fields

    @property
    def model_memory_limit_bytes(self) -> int:
        """How much memory the model may take."""
        return self.analysis_limits.model_memory_limit_mib * BYTES_PER_MIB

    @property
    def background_persist_seconds(self) -> int | None:
        """How often a running job stores its model, None when not set."""
        if self.background_persist_interval is None:
            return None
        return parse_duration_seconds(self.background_persist_interval, "background_persist_interval")

    @property
    def deprecations(self) -> tuple[str, ...]:
        """What a client is to be warned of when it creates such a job."""
        return (DELIMITED_WARNING,) if self.data_description.format == "delimited" else ()

    def resource(self) -> dict[str, object]:
        """Return the configuration as the API shows it, in response order, unset fields left out."""
        plot = self.model_plot_config
        shown: dict[str, object | None] = {
            "job_id": self.job_id,
            "job_type": self.job_type,
            "job_version": self.job_version,
            "groups": list(self.groups) or None,
            "description": self.description,
            "create_time": self.create_time,
            "finished_time": self.finished_time,
            "analysis_config": self.analysis_config.resource(),
            "analysis_limits": self.analysis_limits.resource(),
            "data_description": self.data_description.resource(),
            "model_plot_config": None if plot is None else plot.resource(),
            "renormalization_window_days": self.renormalization_window_days,
            "background_persist_interval": self.background_persist_interval,
            "model_snapshot_retention_days": self.model_snapshot_retention_days,
            "daily_model_snapshot_retention_after_days": self.daily_model_snapshot_retention_after_days,
            "results_retention_days": self.results_retention_days,
            "custom_settings": self.custom_settings,
            "model_snapshot_id": self.model_snapshot_id,
            "results_index_name": self.results_index_name,
            "allow_lazy_open": self.allow_lazy_open,
        }
        return copy.deepcopy({key: value for key, value in shown.items() if value is not None})

    def to_json(self) -> bytes:
        """Return the configuration as JSON text, from which `from_json` makes an equal one."""
        return self.model_dump_json().encode()

    @classmethod
    def from_json(cls, data: bytes | str) -> "JobConfig":
        """Return the configuration that `to_json` wrote."""
        return cls.model_validate_json(data)


def check_persist_interval(text: str | None) -> None:
    """Refuse a background persist interval that is no whole number of seconds or is under an hour.

    Raises
    ------
    InvalidArgument
        With the length in seconds, thousands separated.
    """
    if text is not None:
        key = "background_persist_interval"
        check_at_least(key, parse_duration_seconds(text, key), BACKGROUND_PERSIST_SECONDS_MIN)


def check_days(key: str, days: int | None) -> None:
    """Refuse a number of days that is negative, or too large to calculate dates with."""
    check_at_least(key, days, 0, DAYS_MAX)


def check_retention(daily_after_days: int, retention_days: int) -> None:
    """Refuse to thin out snapshots later than they are removed.

    Raises
    ------
    InvalidArgument
        With both values.
    """
    if daily_after_days > retention_days:
        reason = (
            f"The value of daily_model_snapshot_retention_after_days [{daily_after_days}] cannot be greater "
            f"than model_snapshot_retention_days [{retention_days}]"
        )
        raise InvalidArgument(reason)


def check_groups(groups: tuple[str, ...], job_id: str | None) -> None:
    """Refuse groups with an invalid name, or one that is the job's own.

    Whether other jobs or groups have these names is not known here.

    Raises
    ------
    InvalidArgument
        If a name breaks the rule for groups.
    AlreadyExists
        If a group is named like the job.
    """
    for group in groups:
        check_group_id(group)
        if group == job_id:
            reason = f"job and group names must be unique but job [{job_id}] and group [{group}] have the same name"
            raise AlreadyExists(reason)


def check_time_field(time_field: str, analysis: AnalysisConfig) -> None:
    """Refuse an analysis that uses the time field as one of its fields."""
    if time_field in analysis.analysis_fields:
        reason = "data_description.time_field may not be used in the analysis_config"
        raise InvalidArgument(reason)
