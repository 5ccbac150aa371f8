"""Small request bodies that the tests of configurations start from."""

from typing import Any

from domain.config import JobConfig, create_job_config

NOW_MS = 1_491_948_163_000


def detector(**fields: Any) -> dict[str, Any]:
    return {"function": "count", **fields}


def job_body(*detectors: dict[str, Any], analysis: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """Return a valid body, the analysis and the rest changed as asked."""
    config = {"detectors": list(detectors) or [detector()], **(analysis or {})}
    return {"analysis_config": config, "data_description": {}, **fields}


def make(*detectors: dict[str, Any], analysis: dict[str, Any] | None = None, **fields: Any) -> JobConfig:
    """Return the configuration of `job_body` as job ``web``."""
    return create_job_config(job_body(*detectors, analysis=analysis, **fields), job_id="web", now_ms=NOW_MS)
