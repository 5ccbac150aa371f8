"""Jobs and records for the checks of the model: small, seeded, with something unusual in them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from domain.config import JobConfig, create_job_config
from domain.model import BucketResult, Model
from domain.records import RecordBatch, TextColumn

SPAN = 900
START = 1_700_006_400  # 2023-11-15 00:00 UTC, a multiple of every span in use

PLAIN = ["count", "non_zero_count"]
OF_NUMBERS = ["mean", "min", "max", "sum", "non_null_sum", "metric", "median", "varp"]
OF_TEXTS = ["distinct_count", "info_content"]
OF_TIMES = ["time_of_day", "time_of_week"]
OF_PLACES = ["lat_long"]
RARE = ["rare", "freq_rare"]
SIDED = [
    prefix + name
    for name in (
        "count",
        "non_zero_count",
        "distinct_count",
        "mean",
        "median",
        "sum",
        "non_null_sum",
        "varp",
    )
    for prefix in ("high_", "low_")
]
ALL_FUNCTIONS = PLAIN + OF_NUMBERS + OF_TEXTS + OF_TIMES + OF_PLACES + SIDED + ["avg"]


def job(*detectors: dict[str, Any], span: str = "15m", limit: str = "64mb", **analysis: Any) -> JobConfig:
    body = {
        "analysis_config": {"bucket_span": span, "detectors": list(detectors), **analysis},
        "analysis_limits": {"model_memory_limit": limit},
        "data_description": {"time_field": "time"},
    }
    return create_job_config(body, job_id="checked", now_ms=0)


def detector(function: str, **fields: Any) -> dict[str, Any]:
    """A detector of the function on the fields that ``records`` makes."""
    base = function.removeprefix("high_").removeprefix("low_")
    if base in OF_TEXTS:
        fields = {"field_name": "user", **fields}
    elif base in OF_PLACES:
        fields = {"field_name": "place", **fields}
    elif base not in PLAIN + OF_TIMES + RARE:
        fields = {"field_name": "value", **fields}
    return {"function": function, **fields}


def text_column(texts: list[str]) -> TextColumn:
    places: dict[str, int] = {}
    codes = [places.setdefault(text, len(places)) if text else -1 for text in texts]
    return TextColumn(np.array(codes, np.int32), list(places))


def make_batch(
    seconds: Any, numbers: dict[str, Any] | None = None, texts: dict[str, list[str]] | None = None
) -> RecordBatch:
    time_ms = (np.asarray(seconds, np.float64) * 1000).astype(np.int64)
    return RecordBatch(
        time_ms=time_ms,
        numbers={name: np.asarray(values, np.float64) for name, values in (numbers or {}).items()},
        texts={name: text_column(values) for name, values in (texts or {}).items()},
        record_count=len(time_ms),
    )


def records(n_buckets: int = 60, n_series: int = 5, seed: int = 1, jitter_seconds: int = 0) -> RecordBatch:
    """Ordered records of several series with noise, gaps, missing values and one disturbance."""
    rng = np.random.default_rng(seed)
    n = n_buckets * n_series * 3
    seconds = np.sort(rng.integers(0, n_buckets * SPAN, n)) + START + 100
    series = rng.integers(0, n_series, n)
    seconds, series = seconds[~_is_gap(seconds)], series[~_is_gap(seconds)]
    bucket = (seconds - START) // SPAN
    value = 100 + 10 * series + rng.normal(0, 2, seconds.size)
    value[(series == 1) & (bucket == n_buckets - 8)] += 80
    value[rng.random(seconds.size) < 0.02] = np.nan
    user = rng.integers(0, np.where(bucket == n_buckets - 5, 40, 4))
    if jitter_seconds:
        seconds = seconds + rng.integers(0, jitter_seconds, seconds.size)
    place = list(zip(series.tolist(), user.tolist(), strict=True))
    regions = ["", "north", "south", "north", "south"]
    return make_batch(
        seconds,
        {"value": value, "events": rng.integers(0, 4, seconds.size)},
        {
            "host": [f"host-{k}" for k in series],
            "region": [regions[k % len(regions)] for k in series],
            "user": [f"user-{k}" for k in user],
            "place": [f"{48 + user_ / 8},{179.5 + series_ / 4 - 360 * (series_ > 1)}" for series_, user_ in place],
        },
    )


def _is_gap(seconds: Any) -> Any:
    bucket = (seconds - START) // SPAN
    return (bucket >= 20) & (bucket < 23)


def select(batch: RecordBatch, places: Any) -> RecordBatch:
    """Records of a batch as a batch of their own, with texts coded anew in order of first appearance."""
    places = np.arange(batch.time_ms.size)[places]
    texts = {
        name: text_column([column.values[code] if code >= 0 else "" for code in column.codes[places]])
        for name, column in batch.texts.items()
    }
    numbers = {name: values[places] for name, values in batch.numbers.items()}
    return RecordBatch(batch.time_ms[places], numbers, texts, record_count=places.size)


def cut(batch: RecordBatch, edges: list[int]) -> list[RecordBatch]:
    inner = sorted({0, *edges, batch.time_ms.size})
    return [select(batch, slice(a, b)) for a, b in pairwise(inner)]


def run(config: JobConfig, *batches: RecordBatch) -> tuple[Model, list[BucketResult]]:
    model = Model(config)
    return model, [result for batch in batches for result in model.add(batch)]
