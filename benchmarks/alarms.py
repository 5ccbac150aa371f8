"""False and missed alarms on generated data: seasonal series without any anomaly, and series with planted ones.

The data have the shape of a fleet of hosts: each series a daily wave of its own phase and level, with noise. Scores are
those of the records as first written. The model is fed directly: what is measured is the engine, not the service.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.table import print_table
from domain.config import JobConfig, create_job_config
from domain.model import Model
from domain.records import RecordBatch, TextColumn

START = 1_700_006_400
SPAN = 900
DAY_BUCKETS = 96
CHUNK_BUCKETS = 48
LIMITS = (25, 50, 75, 90)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks alarms", description=__doc__.split("\n\n")[0])
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--buckets", type=int, default=2_000, help="of 15 minutes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--records", type=float, default=30, help="records per series and bucket, on average")
    parser.add_argument("--planted", type=int, default=0, help="one anomaly in so many series-buckets, after day 3")
    options = parser.parse_args(arguments)
    started = time.process_time()
    found = find_alarms(
        options.series,
        options.buckets,
        seed=options.seed,
        n_records=options.records,
        planted=options.planted,
    )
    rows = [(f"above {limit}", n, f"{n / found.n_judged:.1e}") for limit, n in found.false_alarms.items()]
    print_table(f"False alarms in {found.n_judged:,} series-buckets", ("record score", "records", "share"), rows)
    if options.planted:
        print(f"planted {found.n_planted}, recall {found.recall:.3f}, precision {found.precision:.3f}")
    print(f"{time.process_time() - started:.0f} CPU s")


@dataclass(frozen=True)
class Alarms:
    """What a run found; the last bucket stays open and is not judged."""

    n_judged: int
    false_alarms: dict[int, int]
    n_planted: int
    n_hits: int
    n_alarms: int

    @property
    def recall(self) -> float:
        """Share of the planted anomalies with a record score of 50 or more."""
        return self.n_hits / max(self.n_planted, 1)

    @property
    def precision(self) -> float:
        """Share of planted anomalies among the scores of 50 or more after day 3."""
        return self.n_hits / max(self.n_alarms, 1)


def find_alarms(n_series: int, n_buckets: int, *, seed: int, n_records: float = 30.0, planted: int = 0) -> Alarms:
    """Run the engine over generated data and count what it finds."""
    truth: set[tuple[int, int]] = set()
    scores: dict[tuple[int, int], float] = {}
    model = Model(job_config())
    for chunk in make_chunks(n_series, n_buckets, seed, n_records=n_records, planted=planted, truth=truth):
        for result in model.add(chunk):
            bucket = (result.timestamp_ms // 1000 - START) // SPAN
            for record in result.records:
                scores[bucket, int((record.by_field_value or "s0")[1:])] = record.initial_record_score
    truth = {key for key in truth if key[0] < n_buckets - 1}
    false = [score for key, score in scores.items() if key not in truth]
    return Alarms(
        n_judged=n_series * (n_buckets - 1),
        false_alarms={limit: sum(score > limit for score in false) for limit in LIMITS},
        n_planted=len(truth),
        n_hits=sum(scores.get(key, 0.0) >= 50 for key in truth),
        n_alarms=sum(score >= 50 for key, score in scores.items() if key[0] >= 3 * DAY_BUCKETS),
    )


def job_config() -> JobConfig:
    body = {
        "analysis_config": {
            "bucket_span": f"{SPAN}s",
            "detectors": [{"function": "mean", "field_name": "value", "by_field_name": "series"}],
        },
        "analysis_limits": {"model_memory_limit": "4gb"},
        "data_description": {"time_field": "time"},
    }
    return create_job_config(body, job_id="alarms", now_ms=0)


def make_chunks(
    n_series: int, n_buckets: int, seed: int, *, n_records: float, planted: int, truth: set[tuple[int, int]]
) -> Iterator[RecordBatch]:
    """Make the records of each series and bucket as one record with their mean; few per bucket leave buckets empty."""
    random = np.random.default_rng(seed)
    names = [f"s{k:05d}" for k in range(n_series)]
    level = 100.0 + 10.0 * (np.arange(n_series) % 7)
    phase = np.arange(n_series) / n_series
    for first in range(0, n_buckets, CHUNK_BUCKETS):
        buckets = np.arange(first, min(first + CHUNK_BUCKETS, n_buckets))
        seconds = START + buckets * SPAN + SPAN // 2
        wave = 20.0 * np.sin(2 * np.pi * ((seconds % 86_400)[:, None] / 86_400 + phase))
        counts = random.poisson(n_records, wave.shape)
        values = level + wave + 5.0 * noise(random, wave.shape, counts)
        if planted:
            is_planted = (random.integers(0, planted, wave.shape) == 0) & (buckets >= 3 * DAY_BUCKETS)[:, None]
            is_planted &= counts > 0
            values += 60.0 * is_planted
            truth.update((int(buckets[b]), int(k)) for b, k in zip(*np.nonzero(is_planted), strict=True))
        at, codes = np.nonzero(counts > 0)
        yield RecordBatch(
            time_ms=seconds[at] * 1000,
            numbers={"value": values[at, codes]},
            texts={"series": TextColumn(codes.astype(np.int32), names)},
            record_count=len(at),
            invalid_date_count=0,
            input_bytes=0,
            input_field_count=0,
            missing_field_count=0,
        )


def noise(random: np.random.Generator, shape: tuple[int, ...], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return means of n draws of variance 1, each a sum of four uniform numbers; of many draws they are normal."""
    of_one = np.sqrt(3.0) * (random.random((4, *shape)).sum(axis=0) - 2.0)
    return np.where(counts < 3, of_one, random.normal(size=shape)) / np.sqrt(np.maximum(counts, 1))
