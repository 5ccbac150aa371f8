"""What a job counts about its data: how many records came, were taken, were late, and how full buckets were.

Counting is a fold over records in order and does not depend on how they were cut into batches. What an upload
adds is a `DataCounts` of its own; `totals + delta` are the new totals, so an event need only hold the delta.
Knows nothing of the model: the buckets here are a simple diagnosis over record times, not written results.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.bucket_diagnosis import BucketDiagnosis, Completed
from domain.records.batch import RecordBatch

_LONG_AGO = -(1 << 60)
"""Earlier than any second that a record can have."""


def accept_mask(time_ms: NDArray[np.int64], latest_ms: int | None, latency_seconds: int) -> NDArray[np.bool_]:
    """Return which records are in order: the one rule, for the counts and for the analysis.

    A record is out of order when its whole second lies more than the latency before the whole second of the
    latest record until then. (Of the latest accepted one, which is the same: a record that is refused is
    never the latest.)

    Parameters
    ----------
    time_ms : ndarray of shape (n,), dtype=int64
        Record times in input order.
    latest_ms : int or None
        Time of the latest record before these.
    latency_seconds : int
        Not negative.

    Returns
    -------
    ndarray of shape (n,), dtype=bool

    Examples
    --------
    >>> accept_mask(np.array([5_000, 9_000, 4_999, 8_500, 9_999, 9_000]), 5_999, 1).tolist()
    [True, True, False, True, True, True]
    """
    seconds = time_ms // 1000
    latest_before = np.empty_like(seconds)
    latest_before[:1] = _LONG_AGO if latest_ms is None else latest_ms // 1000
    latest_before[1:] = seconds[:-1]
    np.maximum.accumulate(latest_before, out=latest_before)
    return seconds >= latest_before - latency_seconds


@dataclass(frozen=True, slots=True)
class DataCounts:
    """The data counts of a job, or of one upload. Times are milliseconds since the epoch, None while unset.

    Attributes
    ----------
    processed_record_count : int
        Records handed to the analysis.
    analysis_field_count : int
        Distinct fields that the analysis reads from a record.
    diagnosis : BucketDiagnosis or None
        Where the diagnosis of buckets stands; in the counts of an upload, where it stood at its end.
    """

    processed_record_count: int = 0
    input_bytes: int = 0
    input_field_count: int = 0
    invalid_date_count: int = 0
    missing_field_count: int = 0
    out_of_order_timestamp_count: int = 0
    empty_bucket_count: int = 0
    sparse_bucket_count: int = 0
    bucket_count: int = 0
    earliest_record_ms: int | None = None
    latest_record_ms: int | None = None
    last_data_ms: int | None = None
    latest_empty_bucket_ms: int | None = None
    latest_sparse_bucket_ms: int | None = None
    analysis_field_count: int = 0
    diagnosis: BucketDiagnosis | None = None

    @property
    def input_record_count(self) -> int:
        """All records that were read."""
        return self.processed_record_count + self.out_of_order_timestamp_count + self.invalid_date_count

    @property
    def processed_field_count(self) -> int:
        """Analysis fields of the processed records, less the missing ones; never below 0."""
        return max(self.processed_record_count * self.analysis_field_count - self.missing_field_count, 0)

    def __add__(self, later: "DataCounts") -> "DataCounts":
        """Return the counts of this data followed by the later data."""
        values: dict[str, Any] = {}
        for name in _SUMMED:
            values[name] = getattr(self, name) + getattr(later, name)
        for name in _GREATEST:
            known = [value for value in (getattr(self, name), getattr(later, name)) if value is not None]
            values[name] = max(known) if known else None
        is_started = self.earliest_record_ms is not None
        values["earliest_record_ms"] = self.earliest_record_ms if is_started else later.earliest_record_ms
        values["analysis_field_count"] = later.analysis_field_count or self.analysis_field_count
        values["diagnosis"] = later.diagnosis or self.diagnosis
        return DataCounts(**values)

    def received(self, now_ms: int) -> "DataCounts":
        """Return the counts with the server's time at the end of an upload."""
        return replace(self, last_data_ms=now_ms)

    def reverted(self, latest_record_ms: int | None) -> "DataCounts":
        """Return the counts after a revert to a snapshot: only the latest record is that of the snapshot.

        The diagnosis begins anew with the next record.
        """
        return replace(self, latest_record_ms=latest_record_ms, diagnosis=None)

    def resource(self, job_id: str) -> dict[str, Any]:
        """Return the API's `data_counts`, unset times left out."""
        values = {key: getattr(self, name) for key, name in _RESOURCE.items()}
        return {"job_id": job_id} | {key: value for key, value in values.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """Return a small JSON value that `from_dict` reads; what is zero or unset is left out."""
        values = {name: getattr(self, name) for name in _STORED}
        stored = {name: value for name, value in values.items() if value not in (0, None) or name in _TIMES}
        stored = {name: value for name, value in stored.items() if value is not None}
        if self.diagnosis is not None:
            stored["diagnosis"] = self.diagnosis.to_list()
        return stored

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "DataCounts":
        """Return the counts that `to_dict` described."""
        values = dict(stored)
        if "diagnosis" in values:
            values["diagnosis"] = BucketDiagnosis.from_list(values["diagnosis"])
        return cls(**values)


_SUMMED = (
    "processed_record_count", "input_bytes", "input_field_count", "invalid_date_count", "missing_field_count",
    "out_of_order_timestamp_count", "empty_bucket_count", "sparse_bucket_count", "bucket_count",
)  # fmt: skip
_GREATEST = ("latest_record_ms", "last_data_ms", "latest_empty_bucket_ms", "latest_sparse_bucket_ms")
_TIMES = frozenset((*_GREATEST, "earliest_record_ms"))
_STORED = tuple(field.name for field in fields(DataCounts) if field.name != "diagnosis")
_RESOURCE = {
    # The API's name, in the API's order -> ours.
    "processed_record_count": "processed_record_count",
    "processed_field_count": "processed_field_count",
    "input_bytes": "input_bytes",
    "input_field_count": "input_field_count",
    "invalid_date_count": "invalid_date_count",
    "missing_field_count": "missing_field_count",
    "out_of_order_timestamp_count": "out_of_order_timestamp_count",
    "empty_bucket_count": "empty_bucket_count",
    "sparse_bucket_count": "sparse_bucket_count",
    "bucket_count": "bucket_count",
    "earliest_record_timestamp": "earliest_record_ms",
    "latest_record_timestamp": "latest_record_ms",
    "last_data_time": "last_data_ms",
    "latest_empty_bucket_timestamp": "latest_empty_bucket_ms",
    "latest_sparse_bucket_timestamp": "latest_sparse_bucket_ms",
    "input_record_count": "input_record_count",
}


class Counted(NamedTuple):
    """What one batch did to the counts.

    `delta` is of the batch alone, `totals` are the counts after it, `accepted` says which of its records are
    in order.
    """

    delta: DataCounts
    totals: DataCounts
    accepted: NDArray[np.bool_]


def count_batch(
    counts: DataCounts,
    batch: RecordBatch,
    *,
    bucket_span_seconds: int,
    latency_seconds: int,
    n_analysis_fields: int,
) -> Counted:
    """Count a batch on top of what was counted before.

    Parameters
    ----------
    counts : DataCounts
        Of everything before the batch.
    batch : RecordBatch
    bucket_span_seconds, latency_seconds : int
    n_analysis_fields : int
        Number of distinct analysis fields of the job.

    Returns
    -------
    Counted
    """
    accepted = accept_mask(batch.time_ms, counts.latest_record_ms, latency_seconds)
    times = batch.time_ms if accepted.all() else batch.time_ms[accepted]
    diagnosis, completed = counts.diagnosis, Completed()
    earliest = latest = None
    if len(times):
        earliest, latest = int(times[0]), int(times.max())
        now = latest if counts.latest_record_ms is None else max(latest, counts.latest_record_ms)
        diagnosis, completed = (diagnosis or BucketDiagnosis()).add(
            times, now, bucket_span_ms=bucket_span_seconds * 1000, latency_ms=latency_seconds * 1000
        )
    delta = DataCounts(
        processed_record_count=len(times),
        input_bytes=batch.input_bytes,
        input_field_count=batch.input_field_count,
        invalid_date_count=batch.invalid_date_count,
        missing_field_count=batch.missing_field_count,
        out_of_order_timestamp_count=len(accepted) - len(times),
        empty_bucket_count=completed.empty_bucket_count,
        sparse_bucket_count=completed.sparse_bucket_count,
        bucket_count=completed.bucket_count,
        earliest_record_ms=earliest,
        latest_record_ms=latest,
        latest_empty_bucket_ms=completed.latest_empty_bucket_ms,
        latest_sparse_bucket_ms=completed.latest_sparse_bucket_ms,
        analysis_field_count=n_analysis_fields,
        diagnosis=diagnosis,
    )
    return Counted(delta, counts + delta, accepted)
