"""How full the buckets of a job's input are: completed, empty and sparse ones, from record times alone.

A bucket is complete when a record has come that lies at or behind its end plus the latency; no accepted
record can fall into it after that. The first bucket counted is that of the earliest accepted record. All is
arithmetic on the buckets that hold records, so a gap of thousands of years costs nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import e
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SPARSE_RATIO = e**2
"""A bucket is sparse when ln(mean count) - ln(its count) > 2 (API contract, data counts)."""


@dataclass(frozen=True, slots=True)
class Completed:
    """What some records completed: counts of buckets, and the starts of the latest empty and sparse one."""

    bucket_count: int = 0
    empty_bucket_count: int = 0
    sparse_bucket_count: int = 0
    latest_empty_bucket_ms: int | None = None
    latest_sparse_bucket_ms: int | None = None


@dataclass(frozen=True, slots=True)
class BucketDiagnosis:
    """Where the diagnosis stands.

    Attributes
    ----------
    next_bucket : int
        Index (start / bucket span) of the first bucket that is not complete; without meaning while nothing is
        open.
    n_buckets, n_records : int
        Completed buckets and the records in them, for the mean.
    open_counts : tuple of (bucket index, record count)
        Buckets with records that are not complete, in order: one or two, more with a latency of many buckets.
    """

    next_bucket: int = 0
    n_buckets: int = 0
    n_records: int = 0
    open_counts: tuple[tuple[int, int], ...] = ()

    def to_list(self) -> list[Any]:
        """Return a small JSON value that `from_list` reads."""
        return [self.next_bucket, self.n_buckets, self.n_records, [list(pair) for pair in self.open_counts]]

    @classmethod
    def from_list(cls, stored: Sequence[Any]) -> "BucketDiagnosis":
        """Return the diagnosis that `to_list` described."""
        next_bucket, n_buckets, n_records, open_counts = stored
        return cls(next_bucket, n_buckets, n_records, tuple((index, count) for index, count in open_counts))

    def add(
        self, time_ms: NDArray[np.int64], latest_ms: int, *, bucket_span_ms: int, latency_ms: int
    ) -> tuple["BucketDiagnosis", Completed]:
        """Take in accepted records.

        Parameters
        ----------
        time_ms : ndarray of shape (n,), dtype=int64
            Times of accepted records, n > 0.
        latest_ms : int
            Time of the latest record, these included.
        bucket_span_ms, latency_ms : int

        Returns
        -------
        BucketDiagnosis, Completed
        """
        open_counts = dict(self.open_counts)
        for bucket, count in _count_by_bucket(time_ms // bucket_span_ms):
            open_counts[bucket] = open_counts.get(bucket, 0) + count
        buckets = sorted(open_counts)
        first = self.next_bucket if self.n_buckets else buckets[0]
        horizon = (latest_ms - latency_ms) // bucket_span_ms
        if horizon <= first:
            pairs = tuple((bucket, open_counts[bucket]) for bucket in buckets)
            return BucketDiagnosis(first, self.n_buckets, self.n_records, pairs), Completed()
        done = [bucket for bucket in buckets if bucket < horizon]
        counts = [open_counts[bucket] for bucket in done]
        n_new = horizon - first
        state = BucketDiagnosis(
            next_bucket=horizon,
            n_buckets=self.n_buckets + n_new,
            n_records=self.n_records + sum(counts),
            open_counts=tuple((bucket, open_counts[bucket]) for bucket in buckets[len(done) :]),
        )
        sparse = self._sparse(done, counts, first)
        empty = _latest_gap(done, first, horizon)
        return state, Completed(
            bucket_count=n_new,
            empty_bucket_count=n_new - len(done),
            sparse_bucket_count=len(sparse),
            latest_empty_bucket_ms=None if empty is None else empty * bucket_span_ms,
            latest_sparse_bucket_ms=sparse[-1] * bucket_span_ms if sparse else None,
        )

    def _sparse(self, done: list[int], counts: list[int], first: int) -> list[int]:
        """Return the sparse ones of newly completed buckets; the mean is over all completed up to each."""
        sparse = []
        n_records = self.n_records
        for bucket, count in zip(done, counts, strict=True):
            n_records += count
            n_buckets = self.n_buckets + bucket - first + 1
            if n_records / (n_buckets * count) > _SPARSE_RATIO:
                sparse.append(bucket)
        return sparse


def _count_by_bucket(buckets: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Count equal bucket indexes; runs are joined first, since records mostly come in order."""
    starts = np.flatnonzero(np.concatenate(([True], buckets[1:] != buckets[:-1])))
    lengths = np.diff(np.append(starts, len(buckets)))
    return list(zip(buckets[starts].tolist(), lengths.tolist(), strict=True))


def _latest_gap(done: list[int], first: int, horizon: int) -> int | None:
    """Return the greatest bucket from `first` to below the horizon that is not in the ordered list."""
    bucket = horizon - 1
    for filled in reversed(done):
        if filled < bucket:
            break
        bucket -= 1
    return bucket if bucket >= first else None
