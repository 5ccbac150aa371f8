"""Lineage: which posts, and which of their records, a bucket or a record was made from.

Marks say between which versions of the stream the bucket was open (``marigraph/marks.py``); there, the times in the
stored batches decide by the model's own rule which records it took (``domain/intake.py``).
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from domain.config import JobConfig
from domain.errors import InvalidArgument
from domain.events import SnapshotReverted
from domain.intake import Buckets, Intake
from domain.job import Job
from domain.model.functions import FUNCTIONS
from domain.records import RecordBatch, TextColumn
from domain.records.batch import CATEGORY_FIELD
from marigraph.application import Application
from marigraph.audit.events import filled
from marigraph.codec import recorded
from marigraph.explain import RecordChoice, find_record
from marigraph.queries import require_job
from marigraph.replay import ModelSource, RecordsGone

RECORDS_MAX: Final = 10_000
"""Most records that are shown with their values."""

_NEVER: Final = -(2**62)


def get_lineage(
    app: Application, job_id: str, choice: RecordChoice, *, is_bucket: bool = False, with_records: bool = False
) -> dict[str, Any]:
    """Return from what a bucket or a record was made.

    Parameters
    ----------
    choice : RecordChoice
        The record that is meant; of a bucket, only its time is read.
    is_bucket : bool
        All records of the bucket, not those of one series.
    with_records : bool
        Also the records themselves, at most ``RECORDS_MAX``.

    Returns
    -------
    dict
        ``posts``: for each batch its version, author and request, and ``rows``: the first and last place in the batch
        of each run of its records, counted from 0 among those with a readable time.
    """
    job = require_job(app, job_id)
    span_ms = job.settings().bucket_span_seconds * 1000
    record = None
    if is_bucket:
        if choice.timestamp_ms is None:
            msg = "a bucket is named by the time that it starts at: give a timestamp"
            raise InvalidArgument(msg)
        start_ms = choice.timestamp_ms // span_ms * span_ms
    else:
        record, _ = find_record(app, job_id, choice)
        start_ms = record["timestamp"]
    origin = _Origin(app, job, start_ms, start_ms + span_ms, record)
    posts = list(origin.posts(with_records))
    taken = [each for each in posts if "undone_by_version" not in each]
    return filled(
        {
            "job_id": job_id,
            "timestamp": start_ms,
            "bucket_span": span_ms // 1000,
            "record": record,
            "count": len(posts),
            "record_count": sum(each.get("row_count", 0) for each in taken),
            "posts": posts,
        }
    )


class _Origin:
    """Looks for what went into one bucket, or of it into one series."""

    def __init__(self, app: Application, job: Job, start_ms: int, end_ms: int, record: dict[str, Any] | None) -> None:
        self._app, self._job, self._record = app, job, record
        self._config: JobConfig = job.settings()
        self._buckets = Buckets.of(self._config)
        self._source = ModelSource(app.store, app.codec, job.job_id)
        self._start_ms, self._end_ms = start_ms, end_ms
        self._left = RECORDS_MAX

    def posts(self, with_records: bool) -> Iterator[dict[str, Any]]:
        """Yield the posts that brought some of it, in order."""
        found: list[dict[str, Any]] = []
        for version, before, last in self._stretches():
            intake = before
            for stored in self._app.store.iter_stream(self._source.stream, version, last):
                item = recorded(self._app.codec, stored)
                event = item.event
                if event.type == "data_posted":
                    self._empty(found, event, stored.version)
                    if self._overlaps(event) and not self._is_final(intake):
                        origin = {
                            "version": stored.version,
                            "recorded_at": item.recorded_ms,
                            "actor": stored.actor,
                            "request_id": stored.request_id,
                            "command_id": stored.command_id,
                            "batch_record_count": event.record_count,
                        }
                        brought = self._brought(item, intake, with_records)
                        if brought is not None:
                            found.append(filled({**origin, **brought}))
                if event.type == "snapshot_reverted":
                    self._undo(found, event, stored.version)
                    there = self._app.jobs.marks.at(self._job.job_id, event.version)[1]
                    intake = there.intake.reverted(event.skip_time_ms, self._buckets)
                else:
                    intake = intake.after(event, self._buckets)
        yield from found

    def _stretches(self) -> Iterator[tuple[int, Intake, int]]:
        """Yield where the bucket may have taken records: the version before and its intake, and the last version."""
        job = self._job
        with self._app.store.reading() as connection:
            marks = self._app.jobs.marks.intakes(connection, job.job_id, job.created_version, job.version)
        version, before = job.created_version, Intake()
        for last, intake in [*marks, (job.version, None)]:
            if intake is None:  # behind the last mark nothing is known
                is_wanted = version < last
            else:
                latest = intake.latest_record_ms or _NEVER
                # After a revert the latest record is an earlier one than there was meanwhile.
                is_wanted = latest >= self._start_ms or (before.latest_record_ms or _NEVER) > latest
            if is_wanted and not self._is_final(before):
                yield version, before, last
            version, before = last, intake or before

    def _is_final(self, intake: Intake) -> bool:
        return intake.final_end_ms is not None and intake.final_end_ms > self._start_ms

    def _overlaps(self, event: Any) -> bool:
        first, last = event.earliest_record_ms, event.latest_record_ms
        return first is not None and first < self._end_ms and last >= self._start_ms

    def _undo(self, found: list[dict[str, Any]], event: SnapshotReverted, version: int) -> None:
        """Note what a revert took back together with its results."""
        if event.delete_intervening_results:
            for post in found:
                if post["version"] > event.version:
                    post.setdefault("undone_by_version", version)

    def _empty(self, found: list[dict[str, Any]], event: Any, version: int) -> None:
        """Note what a post emptied, which brings the same stretch of time again."""
        span_ms = self._end_ms - self._start_ms
        if event.reset_start_ms is None or not self._config.latency_seconds:
            return
        if event.reset_start_ms - span_ms < self._start_ms < event.reset_end_ms:
            for post in found:
                post.setdefault("undone_by_version", version)

    def _brought(self, item: Any, intake: Intake, with_records: bool) -> dict[str, Any] | None:
        """Return which records of a batch are meant; None if none is."""
        try:
            batch = self._source.batch_of(item, self._source.read_payload(item))
        except RecordsGone:
            return {"is_payload_kept": False}
        assert batch is not None
        rows = intake.taken(batch.time_ms, self._start_ms, self._end_ms, self._buckets)
        rows = rows[self._is_meant(batch, rows)]
        if not rows.size:
            return None
        brought: dict[str, Any] = {"row_count": int(rows.size), "rows": runs(rows)}
        if with_records:
            shown = rows[: self._left]
            self._left -= shown.size
            brought["records"] = [_values(batch, row, self._config.time_field) for row in shown.tolist()]
        return brought

    def _is_meant(self, batch: RecordBatch, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which records say something, and of which the series is the one that is meant."""
        meant = np.ones(rows.size, dtype=np.bool_)
        weight = self._config.summary_count_field_name
        if weight is not None:
            meant &= np.nan_to_num(batch.numbers[weight][rows], nan=0.0) >= 1.0
        if self._record is None:
            return meant
        detector = self._config.detectors[self._record["detector_index"]]
        for kind in ("partition", "by", "over"):
            name, value = self._record.get(f"{kind}_field_name"), self._record.get(f"{kind}_field_value")
            if name is not None and name != CATEGORY_FIELD and value is not None:
                meant &= _equal(batch.texts[name], value)[rows]
        measures, field = FUNCTIONS[detector.base_function].measures, detector.field_name
        if measures == "number" and field is not None:
            meant &= ~np.isnan(batch.numbers[field][rows])
        elif measures in ("text", "content", "place") and field is not None:
            meant &= batch.texts[field].codes[rows] >= 0
        return meant


def _equal(column: TextColumn, value: str) -> NDArray[np.bool_]:
    """Return which rows of a column have a value; a missing one counts as the empty text."""
    codes = [code for code, text in enumerate(column.values) if text == value]
    found: NDArray[np.bool_] = np.isin(column.codes, [*codes, *([-1] if value == "" else [])])
    return found


def runs(rows: NDArray[np.int64]) -> list[list[int]]:
    """Return ascending numbers as runs of neighbours, each by its first and last.

    >>> runs(np.array([3, 4, 5, 9]))
    [[3, 5], [9, 9]]
    """
    starts = np.flatnonzero(np.diff(rows, prepend=rows[0] - 2) > 1)
    ends = np.append(starts[1:], rows.size) - 1
    return [[int(first), int(last)] for first, last in zip(rows[starts], rows[ends], strict=True)]


def _values(batch: RecordBatch, row: int, time_field: str) -> dict[str, Any]:
    """Return one record as far as it is stored: its time in milliseconds, and the fields that the analysis reads."""
    record: dict[str, Any] = {time_field: int(batch.time_ms[row])}
    for name, numbers in batch.numbers.items():
        if not np.isnan(numbers[row]):
            record[name] = float(numbers[row])
    for name, texts in batch.texts.items():
        if texts.codes[row] >= 0:
            record[name] = texts.values[texts.codes[row]]
    return record
