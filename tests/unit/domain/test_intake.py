"""The intake agrees with the model: on what is final, and on every record that a bucket takes."""

from types import SimpleNamespace

import numpy as np
import pytest

from domain.config import create_job_config
from domain.data_counts import DataCounts, count_batch
from domain.events import DataPosted, Flushed
from domain.fold import fold
from domain.intake import Buckets, Intake
from domain.model import Model
from domain.records import RecordBatch

SPAN_MS = 60_000


def config_of(latency):
    analysis = {"bucket_span": "60s", "detectors": [{"function": "count"}]}
    body = {"analysis_config": {**analysis, **({"latency": latency} if latency else {})}, "data_description": {}}
    return create_job_config(body, job_id="j", now_ms=0)


def batch_of(times):
    return RecordBatch(np.asarray(times, np.int64), {}, {}, record_count=len(times))


def posted(counts, batch, config):
    delta, counts, _ = count_batch(
        counts,
        batch,
        bucket_span_seconds=config.bucket_span_seconds,
        latency_seconds=config.latency_seconds,
        n_analysis_fields=0,
    )
    times = batch.time_ms
    event = DataPosted(
        counts=delta.to_dict(),
        record_count=len(times),
        earliest_record_ms=int(times.min()),
        latest_record_ms=int(times.max()),
    )
    return event, counts


def life(random, config):
    """Yield events with their batches: posts that run ahead and fall back, flushes that advance and skip."""
    now, counts = 1_000_000_000, DataCounts()
    for _ in range(30):
        now += int(random.integers(0, 4 * SPAN_MS))
        kind = random.random()
        if kind < 0.12:
            yield Flushed(advance_time_ms=now + int(random.integers(-2, 4)) * SPAN_MS), None
        elif kind < 0.2:
            yield Flushed(skip_time_ms=now + int(random.integers(-1, 5)) * SPAN_MS), None
        else:
            times = now + random.integers(-5 * SPAN_MS, 5 * SPAN_MS, size=int(random.integers(1, 40)))
            batch = batch_of(times if kind < 0.6 else np.sort(times))
            event, counts = posted(counts, batch, config)
            yield event, batch


@pytest.mark.parametrize("latency", [None, "30s", "150s"])
@pytest.mark.parametrize("seed", range(8))
def test_buckets_take_what_the_model_takes(latency, seed):
    config = config_of(latency)
    buckets, model, intake = Buckets.of(config), Model(config), Intake()
    found, taken = {}, {}
    for event, batch in life(np.random.default_rng(seed), config):
        if batch is not None:
            for start in np.unique(batch.time_ms // SPAN_MS * SPAN_MS).tolist():
                rows = intake.taken(batch.time_ms, start, start + SPAN_MS, buckets)
                assert (batch.time_ms[rows] // SPAN_MS * SPAN_MS == start).all()
                taken[start] = taken.get(start, 0) + len(rows)
        outcome = fold(model, event, batch)
        found.update({each.timestamp_ms: each.event_count for each in outcome.buckets})
        intake = intake.after(event, buckets)
        assert intake.latest_record_ms == model.latest_record_ms
        if model.latest_record_ms is not None:
            assert intake.final_end_ms == model.last_finalized_bucket_end_ms
    assert sum(found.values()) > 0
    assert {start: taken.get(start, 0) for start in found} == found


def test_a_new_job_begins_with_nothing():
    seen = Intake(5_000, 60_000)
    for kind in ("created", "deleted"):
        assert seen.after(SimpleNamespace(type=kind), Buckets(60, 0)) == Intake()
    assert seen.after(SimpleNamespace(type="closed"), Buckets(60, 0)) == seen


def test_a_revert_jumps_over_the_results_that_stay():
    there = Intake(5_000, 60_000)
    assert there.reverted(None, Buckets(60, 0)) == there
    assert there.reverted(90_000, Buckets(60, 0)) == Intake(5_000, 120_000)
