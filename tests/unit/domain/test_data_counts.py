"""What a job counts about its data."""

import numpy as np
import pytest

from domain.bucket_diagnosis import BucketDiagnosis
from domain.data_counts import Counted, DataCounts, accept_mask, count_batch
from domain.records import RecordBatch, read_json
from tests.unit.domain.records.samples import SCHEMA

HOUR = 3600


def batch(*seconds: float, **fields: int) -> RecordBatch:
    ms = np.array([int(second * 1000) for second in seconds], dtype=np.int64)
    return RecordBatch(ms, {}, {}, record_count=len(ms), **fields)


def count(
    records: RecordBatch,
    counts: DataCounts | None = None,
    *,
    span: int = HOUR,
    latency: int = 0,
    n_fields: int = 1,
) -> Counted:
    return count_batch(
        counts or DataCounts(),
        records,
        bucket_span_seconds=span,
        latency_seconds=latency,
        n_analysis_fields=n_fields,
    )


def test_an_older_second_is_out_of_order_even_inside_its_bucket() -> None:
    accepted = accept_mask(np.array([10_900, 10_100, 9_999, 11_000, 10_999]), None, 0)
    assert accepted.tolist() == [True, True, False, True, False]


def test_latency_is_counted_back_from_the_latest_record() -> None:
    accepted = accept_mask(np.array([10_000, 7_000, 6_999, 12_000, 9_000, 8_999]), None, 3)
    assert accepted.tolist() == [True, True, False, True, True, False]


def test_the_latest_record_of_earlier_batches_counts() -> None:
    assert accept_mask(np.array([4_999, 5_000]), 5_900, 0).tolist() == [False, True]
    assert accept_mask(np.array([], dtype=np.int64), None, 0).tolist() == []


def test_times_before_the_epoch_are_floored_to_seconds() -> None:
    assert accept_mask(np.array([-500, -999, -1_001]), None, 0).tolist() == [True, True, False]


def test_records_are_counted_by_what_became_of_them() -> None:
    counted = count(batch(5, 6, 4, invalid_date_count=2, input_field_count=9, input_bytes=70))
    assert counted.accepted.tolist() == [True, True, False]
    assert counted.delta.processed_record_count == 2
    assert counted.delta.out_of_order_timestamp_count == 1
    assert counted.delta.invalid_date_count == 2
    assert counted.delta.input_record_count == 5
    assert (counted.delta.input_field_count, counted.delta.input_bytes) == (9, 70)


def test_processed_fields_are_those_of_processed_records_less_all_missing_ones() -> None:
    records = read_json(b'{"time":5,"value":1,"series":"a"}\n{"time":6}\n{"time":4}\n{"time":"x"}', SCHEMA)
    counts = count(records, n_fields=3).totals
    assert counts.missing_field_count == 1 + 3 + 3 + 3
    assert counts.processed_field_count == 0
    counts = count(batch(7, 8, 9), counts, n_fields=3).totals
    assert counts.processed_field_count == 5 * 3 - 10


def test_the_earliest_record_is_the_first_one_accepted() -> None:
    totals = count(batch(20, 15), latency=10).totals
    totals = count(batch(12, 30), totals, latency=10).totals
    assert totals.earliest_record_ms == 20_000
    assert totals.latest_record_ms == 30_000


def test_the_counts_of_an_upload_are_its_own() -> None:
    first = count(batch(10, 20))
    second = count(batch(30, 5), first.totals)
    assert second.delta.processed_record_count == 1
    assert second.delta.earliest_record_ms == 30_000
    assert second.totals.processed_record_count == 3
    assert second.totals.earliest_record_ms == 10_000
    assert first.totals + second.delta == second.totals


def test_a_bucket_is_complete_when_a_record_comes_at_its_end() -> None:
    totals = count(batch(0, HOUR - 0.001)).totals
    assert totals.bucket_count == 0
    assert count(batch(HOUR), totals).totals.bucket_count == 1


def test_a_bucket_waits_for_the_latency() -> None:
    totals = count(batch(0, HOUR + 59), latency=60).totals
    assert totals.bucket_count == 0
    assert count(batch(HOUR + 60), totals, latency=60).totals.bucket_count == 1


def test_the_first_bucket_is_that_of_the_earliest_accepted_record() -> None:
    totals = count(batch(HOUR, HOUR - 1, 3 * HOUR), latency=10).totals
    assert totals.bucket_count == 2
    assert totals.empty_bucket_count == 0


def test_buckets_in_a_gap_are_empty() -> None:
    totals = count(batch(0, 5 * HOUR)).totals
    assert (totals.bucket_count, totals.empty_bucket_count) == (5, 4)
    assert totals.latest_empty_bucket_ms == 4 * HOUR * 1000
    totals = count(batch(6 * HOUR), totals).totals
    assert (totals.bucket_count, totals.empty_bucket_count) == (6, 4)


def test_a_bucket_with_far_less_than_the_mean_is_sparse() -> None:
    times = [HOUR * bucket + i for bucket in range(9) for i in range(100)] + [9 * HOUR, 10 * HOUR]
    totals = count(batch(*times)).totals
    assert (totals.bucket_count, totals.sparse_bucket_count, totals.empty_bucket_count) == (10, 1, 0)
    assert totals.latest_sparse_bucket_ms == 9 * HOUR * 1000


def test_a_gap_of_all_of_time_costs_nothing() -> None:
    year_1, year_9999 = -62_135_596_800, 253_402_300_799
    totals = count(batch(year_1, year_9999), span=1).totals
    assert totals.bucket_count == year_9999 - year_1
    assert totals.empty_bucket_count == totals.bucket_count - 1


def test_a_revert_sets_back_only_the_latest_record() -> None:
    totals = count(batch(0, 2 * HOUR)).totals
    reverted = totals.reverted(1000)
    assert reverted.latest_record_ms == 1000
    assert reverted.bucket_count == totals.bucket_count == 2
    again = count(batch(2, 2 * HOUR), reverted).totals
    assert again.processed_record_count == 4
    assert again.bucket_count == 4


def test_a_job_that_never_had_data_shows_zeros_and_no_times() -> None:
    assert DataCounts().resource("j") == {
        "job_id": "j",
        "processed_record_count": 0,
        "processed_field_count": 0,
        "input_bytes": 0,
        "input_field_count": 0,
        "invalid_date_count": 0,
        "missing_field_count": 0,
        "out_of_order_timestamp_count": 0,
        "empty_bucket_count": 0,
        "sparse_bucket_count": 0,
        "bucket_count": 0,
        "input_record_count": 0,
    }


def test_the_resource_is_in_the_order_of_the_api() -> None:
    times = [HOUR * bucket + i for bucket in range(9) for i in range(100)] + [9 * HOUR, 11 * HOUR]
    counts = count(batch(*times)).totals.received(123)
    assert list(counts.resource("j"))[-6:] == [
        "earliest_record_timestamp",
        "latest_record_timestamp",
        "last_data_time",
        "latest_empty_bucket_timestamp",
        "latest_sparse_bucket_timestamp",
        "input_record_count",
    ]
    assert counts.resource("j")["last_data_time"] == 123


@pytest.mark.parametrize(
    "counts",
    [
        DataCounts(),
        DataCounts(earliest_record_ms=0, latest_record_ms=0, analysis_field_count=2),
        DataCounts(bucket_count=3, diagnosis=BucketDiagnosis(4, 3, 10, ((4, 1), (6, 2)))),
    ],
)
def test_counts_survive_being_stored(counts: DataCounts) -> None:
    assert DataCounts.from_dict(counts.to_dict()) == counts


def test_no_records_change_nothing() -> None:
    totals = count(batch(5)).totals
    counted = count(batch(), totals)
    assert counted.totals == totals
    assert counted.delta.latest_record_ms is None
