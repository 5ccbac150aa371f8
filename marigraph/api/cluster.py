"""Endpoints about the server itself: who it is, whether it is well, what it can do."""

from typing import Any, Final

from domain.config.job import DAILY_RETENTION_AFTER_DAYS_DEFAULT, MODEL_SNAPSHOT_RETENTION_DAYS_DEFAULT
from eventstore import EventStoreError
from marigraph import __version__
from marigraph.api.endpoints import Call, Endpoint, Text
from marigraph.api.errors import HttpError
from marigraph.schema import SchemaError, check_ready

API_VERSION: Final = "7.17.0"
"""The version that clients are told: the newest whose API this is, and one that all of them accept."""

BUILD_DATE: Final = "2026-01-01T00:00:00.000Z"
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus' text format."""


ANALYZER: Final = {"tokenizer": "ml_classic"}
"""What comes nearest to the tokens that messages have by default, of all that an analyzer can say."""


def _root(call: Call) -> Any:
    return {
        "name": "marigraph",
        "cluster_name": "marigraph",
        "cluster_uuid": call.app.node_id,
        "version": {
            "number": API_VERSION,
            "build_flavor": "default",
            "build_type": "marigraph",
            "build_hash": __version__,
            "build_date": BUILD_DATE,
            "build_snapshot": False,
            "lucene_version": "8.11.1",
            "minimum_wire_compatibility_version": "6.8.0",
            "minimum_index_compatibility_version": "6.0.0-beta1",
        },
        "tagline": "You Know, for Search",
    }


def _info(call: Call) -> Any:
    limit = call.app.memory_mib_max
    names = ("effective_max_model_memory_limit", "total_ml_memory")
    return {
        "defaults": {
            "anomaly_detectors": {
                "categorization_analyzer": ANALYZER,
                "model_memory_limit": "1gb",
                "categorization_examples_limit": 4,
                "model_snapshot_retention_days": MODEL_SNAPSHOT_RETENTION_DAYS_DEFAULT,
                "daily_model_snapshot_retention_after_days": DAILY_RETENTION_AFTER_DAYS_DEFAULT,
            },
            "datafeeds": {"scroll_size": 1000},
        },
        "upgrade_mode": False,
        "native_code": {"version": __version__, "build_hash": __version__},
        "limits": {} if limit is None else dict.fromkeys(names, f"{limit}mb"),
    }


def _health(_call: Call) -> Any:
    return {"status": "ok"}


def _ready(call: Call) -> Any:
    try:
        check_ready(call.app.store)
    except (EventStoreError, SchemaError) as error:
        msg = f"not ready: {error}"
        raise HttpError(503, msg) from error
    return {"status": "ready"}


def _metrics(call: Call) -> Any:
    assert call.metrics is not None
    return Text(call.metrics.text(), METRICS_TYPE)


ENDPOINTS: Final = (
    Endpoint("ping", ("GET", "HEAD"), ("/",), _root, "Name and version.", privilege="any", is_absolute=True),
    Endpoint("health", ("GET",), ("/healthz",), _health, "The process answers.", privilege="none", is_absolute=True),
    Endpoint(
        "ready",
        ("GET",),
        ("/readyz",),
        _ready,
        "The database answers and has the schema of this program.",
        privilege="none",
        is_absolute=True,
    ),
    Endpoint(
        "metrics",
        ("GET",),
        ("/metrics",),
        _metrics,
        "Measurements for Prometheus.",
        media_type="text/plain",
        is_absolute=True,
    ),
    Endpoint("info", ("GET",), ("/info",), _info, "Defaults and limits."),
)
