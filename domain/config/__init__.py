"""The configuration of jobs: what a client may ask for, checked, completed and kept.

`create_job_config`, `validate_job` and `update_job_config` are the ways in; `JobConfig` is what comes out.
Nothing here knows of other jobs, of a job's state, or of how it is analysed. Start reading at ``create.py``.
"""

from domain.config.analysis import AnalysisConfig
from domain.config.byte_sizes import format_bytes, parse_bytes
from domain.config.create import create_job_config, validate_detector, validate_job
from domain.config.detector import MLCATEGORY, Detector
from domain.config.durations import format_duration, parse_duration_ms, parse_duration_seconds
from domain.config.ids import (
    check_body_id,
    check_datafeed_id,
    check_group_id,
    check_job_id,
    check_results_index_name,
    is_valid_id,
)
from domain.config.job import JobConfig
from domain.config.rules import CustomRule
from domain.config.settings import AnalysisLimits, DataDescription, ModelPlotConfig
from domain.config.update import update_job_config

__all__ = [
    "MLCATEGORY",
    "AnalysisConfig",
    "AnalysisLimits",
    "CustomRule",
    "DataDescription",
    "Detector",
    "JobConfig",
    "ModelPlotConfig",
    "check_body_id",
    "check_datafeed_id",
    "check_group_id",
    "check_job_id",
    "check_results_index_name",
    "create_job_config",
    "format_bytes",
    "format_duration",
    "is_valid_id",
    "parse_bytes",
    "parse_duration_ms",
    "parse_duration_seconds",
    "update_job_config",
    "validate_detector",
    "validate_job",
]
