"""Data counts do not depend on how the records were cut, and are those of a plain count record by record."""

import math
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.data_counts import DataCounts, accept_mask, count_batch
from domain.records import RecordBatch

FAST = settings(max_examples=200, deadline=None)

steps = st.lists(
    st.one_of(st.sampled_from([0, 0, 500, 1000, 7000]), st.integers(-9000, 100_000), st.integers(0, 10**10)),
    min_size=1,
    max_size=40,
)
spans = st.sampled_from([1, 5, 60])
latencies = st.sampled_from([0, 0, 3, 100])
cuts = st.lists(st.integers(0, 40), max_size=6)


def batch(times: list[int]) -> RecordBatch:
    return RecordBatch(np.array(times, dtype=np.int64), {}, {}, record_count=len(times) + 1, invalid_date_count=1)


def times_of(increments: list[int]) -> list[int]:
    return (np.cumsum(increments) - 50_000).tolist()


def count_in_parts(times: list[int], places: list[int], span: int, latency: int) -> tuple[DataCounts, list[bool]]:
    totals, accepted = DataCounts(), []
    bounds = [0, *sorted(place for place in places if place < len(times)), len(times)]
    for start, end in pairwise(bounds):
        counted = count_batch(
            DataCounts.from_dict(totals.to_dict()),
            batch(times[start:end]),
            bucket_span_seconds=span,
            latency_seconds=latency,
            n_analysis_fields=2,
        )
        assert totals + DataCounts.from_dict(counted.delta.to_dict()) == counted.totals
        totals = counted.totals
        accepted += counted.accepted.tolist()
    return totals, accepted


@FAST
@given(steps, cuts, spans, latencies)
def test_counts_are_those_of_a_plain_count(increments: list[int], places: list[int], span: int, latency: int) -> None:
    times = times_of(increments)
    totals, accepted = count_in_parts(times, places, span, latency)
    latest, expected, per_bucket = None, [], {}
    for time in times:
        expected.append(latest is None or time // 1000 >= latest // 1000 - latency)
        if expected[-1]:
            latest = time if latest is None else max(latest, time)
            bucket = time // (span * 1000)
            per_bucket[bucket] = per_bucket.get(bucket, 0) + 1
    assert latest is not None
    assert accepted == expected
    assert accept_mask(np.array(times), None, latency).tolist() == expected
    assert totals.processed_record_count == sum(expected)
    assert totals.out_of_order_timestamp_count == len(times) - sum(expected)
    assert totals.earliest_record_ms == times[0]
    assert totals.latest_record_ms == latest
    first, horizon = min(per_bucket), (latest - latency * 1000) // (span * 1000)
    assert totals.bucket_count == max(horizon - first, 0)
    done = {bucket: count for bucket, count in per_bucket.items() if bucket < horizon}
    assert totals.empty_bucket_count == totals.bucket_count - len(done)
    n_records, sparse = 0, 0
    for bucket in sorted(done):
        n_records += done[bucket]
        mean = n_records / (bucket - first + 1)
        sparse += math.log(mean) - math.log(done[bucket]) > 2
    assert totals.sparse_bucket_count == sparse


@FAST
@given(steps, cuts, cuts, spans, latencies)
def test_totals_do_not_depend_on_the_cuts(
    increments: list[int], one: list[int], other: list[int], span: int, latency: int
) -> None:
    times = times_of(increments)
    first, first_accepted = count_in_parts(times, sorted(set(one)), span, latency)
    second, second_accepted = count_in_parts(times, sorted(set(other)), span, latency)
    assert first_accepted == second_accepted
    parts = {"invalid_date_count": 0}
    assert {**first.to_dict(), **parts} == {**second.to_dict(), **parts}
