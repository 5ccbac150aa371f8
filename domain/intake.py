"""Which bucket takes a record: the model's rule told without a model, for those who ask where a result came from.

An :class:`Intake` follows a job's events by what they say of themselves: the latest record, and up to where buckets
are final. It agrees with ``domain/model/model.py`` on every record (tests compare them), and costs next to nothing,
since records are only looked at where it is asked which of them a bucket took.
"""

from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from domain.config import JobConfig
from domain.data_counts import accept_mask
from domain.model.timeline import Timeline


class Buckets(NamedTuple):
    """How a job cuts time, in seconds."""

    span: int
    latency: int

    @classmethod
    def of(cls, config: JobConfig) -> "Buckets":
        """Return what a configuration says; reading its texts takes longer than most that is done with them."""
        return cls(config.bucket_span_seconds, config.latency_seconds)


class Intake(msgspec.Struct, frozen=True):
    """Where a job stands in data time; milliseconds since the epoch, None: no record was seen."""

    latest_record_ms: int | None = None
    final_end_ms: int | None = None
    """End of the last final bucket; older records are dropped."""

    def after(self, event: Any, buckets: Buckets) -> "Intake":
        """Return the intake after an event of the job's stream, any but ``snapshot_reverted``.

        Parameters
        ----------
        event : Event or its replay struct
        buckets : Buckets
        """
        if event.type not in ("created", "deleted", "data_posted", "flushed"):
            return self
        timeline = self._timeline(buckets)
        match event.type:
            case "created" | "deleted":
                return Intake()
            case "data_posted" if event.latest_record_ms is not None:
                timeline.begin(event.counts.get("earliest_record_ms", event.earliest_record_ms) // 1000)
                timeline.latest_ms = max(event.latest_record_ms, timeline.latest_ms or event.latest_record_ms)
                _close(timeline, timeline.latest_ms // 1000)
            case "flushed":
                if event.skip_time_ms is not None:
                    _skip(timeline, event.skip_time_ms)
                if event.advance_time_ms is not None:
                    timeline.begin(event.advance_time_ms // 1000)
                    _close(timeline, event.advance_time_ms // 1000)
        return _intake(timeline)

    def reverted(self, skip_time_ms: int | None, buckets: Buckets) -> "Intake":
        """Return this intake, that of a snapshot, as it goes on after a revert to it."""
        if skip_time_ms is None:
            return self
        timeline = self._timeline(buckets)
        _skip(timeline, skip_time_ms)
        return _intake(timeline)

    def taken(self, time_ms: NDArray[np.int64], start_ms: int, end_ms: int, buckets: Buckets) -> NDArray[np.int64]:
        """Return which records of the next batch go into buckets of a range of time.

        Parameters
        ----------
        time_ms : ndarray of shape (n,), dtype=int64
            Times of the batch's records, in input order.
        start_ms, end_ms : int
            Borders of buckets; the end is not included.

        Returns
        -------
        ndarray of shape (n_taken,), dtype=int64
            Their places in the batch, ascending.
        """
        mask = accept_mask(time_ms, self.latest_record_ms, buckets.latency)
        seconds = time_ms // 1000
        mask &= (seconds >= start_ms // 1000) & (seconds < end_ms // 1000)
        if self.final_end_ms is not None:
            mask &= seconds >= self.final_end_ms // 1000
        return np.flatnonzero(mask)

    def _timeline(self, buckets: Buckets) -> Timeline:
        timeline = Timeline(*buckets)
        timeline.latest_ms = self.latest_record_ms
        timeline.final_end = None if self.final_end_ms is None else self.final_end_ms // 1000
        return timeline


def _close(timeline: Timeline, time: int) -> None:
    assert timeline.final_end is not None
    timeline.final_end = max(timeline.final_end, timeline.bound(time))


def _skip(timeline: Timeline, time_ms: int) -> None:
    target = timeline.ceil(-(-time_ms // 1000))
    timeline.final_end = target if timeline.final_end is None else max(timeline.final_end, target)


def _intake(timeline: Timeline) -> Intake:
    return Intake(timeline.latest_ms, None if timeline.final_end is None else timeline.final_end * 1000)
