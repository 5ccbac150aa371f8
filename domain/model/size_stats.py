"""The ``model_size_stats`` resource: what a model takes, and what its limits cost it."""

from collections.abc import Sequence
from typing import Any

from domain.categories import JobCategories
from domain.model.detector_model import DetectorModel
from domain.model.memory import HARD_LIMIT, OK, Memory


def size_stats(
    memory: Memory,
    detectors: Sequence[DetectorModel],
    categories: JobCategories | None,
    latest_record_ms: int | None,
    latest_result_ms: int | None,
) -> dict[str, Any]:
    """Return the resource without the job's id. Its times are data times: a replay gives the same.

    ``log_time`` is the time of the latest record, ``timestamp`` the start of the latest bucket with a result.
    """
    by = over = partitions = 0
    for model in detectors:
        values = [set(column) for column in zip(*model.series.slot_of, strict=True)] if model.series.fields else []
        for name, distinct in zip(model.series.fields, values, strict=False):
            if name == model.detector.by_field_name:
                by += len(distinct)
            elif name == model.detector.over_field_name:
                over += len(distinct)
            else:
                partitions += len(distinct)
    n_bytes = 0 if categories is None else categories.size_bytes
    is_full = categories is not None and categories.is_full
    stats: dict[str, Any] = {
        "result_type": "model_size_stats",
        "model_bytes": memory.used + n_bytes,
        "peak_model_bytes": memory.peak + n_bytes,
        "model_bytes_exceeded": 0,
        "model_bytes_memory_limit": memory.limit,
        "total_by_field_count": by,
        "total_over_field_count": over,
        "total_partition_field_count": partitions,
        "bucket_allocation_failures_count": memory.refused_bucket_count,
        "memory_status": HARD_LIMIT if is_full else memory.status(n_bytes),
        **(_NO_CATEGORIES if categories is None else categories.counts()),
        "log_time": latest_record_ms if latest_record_ms is not None else 0,
    }
    if latest_result_ms is not None:
        stats["timestamp"] = latest_result_ms
    return stats


def empty_size_stats() -> dict[str, Any]:
    """Return the resource of a job that never had data."""
    stats = size_stats(Memory(0), [], None, None, None)
    return {**stats, "model_bytes": 0, "peak_model_bytes": 0, "memory_status": OK}


_NO_CATEGORIES: dict[str, Any] = {
    "categorized_doc_count": 0,
    "total_category_count": 0,
    "frequent_category_count": 0,
    "rare_category_count": 0,
    "dead_category_count": 0,
    "failed_category_count": 0,
    "categorization_status": "ok",
}
