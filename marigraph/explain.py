"""Explain a record from the log alone: replay up to the moment before its bucket closed, and take the score apart.

The results table only says which record is meant, and what was stored of it. All else comes from the events, their
records and the nearest model state before (``marigraph/replay.py``); the parts are made in ``domain/explanation``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from sqlalchemy import select

from domain.errors import Conflict, InvalidArgument, NotFound
from domain.explanation import Closing, Explanation, Stage, Witness, explain, later_stages
from domain.job import Job
from domain.model import Basis, RecordResult
from marigraph.application import Application
from marigraph.queries import PAGE_END_MAX, require_job
from marigraph.replay import ModelFold, ModelSource, RecordsGone
from marigraph.tables import records, score_bases

RECORDS_PER_PAGE = 1_000
"""Records read at a time while looking for the one that is meant; chosen: about a megabyte."""
AGREEMENT = 1e-9
"""Largest difference between what is stored and what the log gives, in parts of the probability and of the score."""

SERIES_FIELDS = ("partition_field", "by_field", "over_field")


@dataclass(frozen=True, slots=True)
class RecordChoice:
    """Which record of a job is meant: of those that fit, the one at a rank, as ``marigraph records`` lists them.

    Attributes
    ----------
    rank : int or None
        From 1. None: the first that is final.
    timestamp_ms : int or None
        Start of its bucket.
    partition, by, over : str or None
        Values of its fields; ``by`` also finds members of a population that were unusual at this value.
    function : str or None
        As in ``function`` or in ``function_description``.
    """

    rank: int | None = None
    timestamp_ms: int | None = None
    detector_index: int | None = None
    function: str | None = None
    partition: str | None = None
    by: str | None = None
    over: str | None = None

    def admits(self, record: dict[str, Any]) -> bool:
        """Tell whether a record is one of those that may be meant."""
        return (
            self.function in (None, record["function"], record["function_description"])
            and self.partition in (None, record.get("partition_field_value"))
            and self.over in (None, record.get("over_field_value"))
            and (self.by is None or self.by in _by_values(record))
        )


def _by_values(record: dict[str, Any]) -> set[str | None]:
    return {record.get("by_field_value"), *(cause.get("by_field_value") for cause in record.get("causes", ()))}


@dataclass(frozen=True, slots=True)
class Explained:
    """A record, its explanation, and what of the log it was made from.

    Attributes
    ----------
    record : dict
        As it is stored.
    snapshot_version : int or None
        The stored model state that the replay began at; None: it began where the job was created.
    from_version, to_version : int
        The events replayed after it; the last one closed the bucket.
    later : list of Stage
        How the initial score became the one that the record has by now, by what is stored beside it; empty: it did not
        change.
    """

    job_id: str
    record: dict[str, Any]
    explanation: Explanation
    snapshot_version: int | None
    from_version: int
    to_version: int
    later: list[Stage] = field(default_factory=list)

    @property
    def matches_stored(self) -> bool:
        """Whether the log gives what is stored."""
        found, stored = self.explanation, self.record
        return bool(
            abs(found.probability - stored["probability"]) <= AGREEMENT * stored["probability"]
            and abs(found.initial_record_score - stored["initial_record_score"]) <= AGREEMENT * 100.0
        )

    def resource(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return {
            "job_id": self.job_id,
            "sentence": self.explanation.sentence,
            "record": self.record,
            "probability": self.explanation.probability,
            "initial_record_score": self.explanation.initial_record_score,
            "record_score": self.record["record_score"],
            "matches_stored": self.matches_stored,
            "replayed": {
                "snapshot_version": self.snapshot_version,
                "from_version": self.from_version,
                "to_version": self.to_version,
            },
            "evidence": msgspec.to_builtins(self.explanation.evidence),
            "stages": msgspec.to_builtins(self.explanation.stages),
            "later_stages": msgspec.to_builtins(self.later),
        }


def explain_record(
    app: Application, job_id: str, choice: RecordChoice, on_event: Callable[[], None] = lambda: None
) -> Explained:
    """Explain a record of a job.

    Parameters
    ----------
    on_event : callable
        Called after each event that was replayed.

    Raises
    ------
    NotFound
        There is no such job, or no such record.
    Conflict
        The record is interim, or the log no longer holds what it was made from.
    """
    job = require_job(app, job_id)
    record, sequence = find_record(app, job_id, choice)
    if record["is_interim"]:
        msg = (
            f"the record of job [{job_id}] at {record['timestamp']} is interim: its bucket is still open and its score "
            "will change; explain it when the bucket has closed"
        )
        raise Conflict(msg)
    explained = _Replay(app, job, record).run(on_event)
    if record["record_score"] == record["initial_record_score"]:
        return explained
    return replace(explained, later=_later(app, job_id, record["timestamp"], sequence))


def _later(app: Application, job_id: str, timestamp: int, sequence: int) -> list[Stage]:
    """Return what became of a score, by what is stored beside it."""
    columns, name_of = score_bases.c, Basis.__struct_fields__
    where = (columns.job_id == job_id, columns.timestamp == timestamp, columns.sequence == sequence)
    query = select(*(columns[name] for name in name_of)).where(*where, columns.result_type == "record")
    with app.store.reading() as connection:
        row = connection.execute(query).one_or_none()
    return [] if row is None else later_stages(Basis(**row._mapping))


def find_record(app: Application, job_id: str, choice: RecordChoice) -> tuple[dict[str, Any], int]:
    """Return the stored record that is meant, and its place among those of its bucket."""
    if choice.rank is not None and not 1 <= choice.rank <= PAGE_END_MAX:
        msg = f"the rank of a record must lie between 1 and {PAGE_END_MAX}, not {choice.rank}"
        raise InvalidArgument(msg)
    left, interim = choice.rank or 1, None
    for record, sequence in _listed(app, job_id, choice):
        if choice.admits(record):
            if choice.rank is None and record["is_interim"]:
                interim = interim or (record, sequence)
                continue
            left -= 1
            if left == 0:
                return record, sequence
    if interim is not None:
        return interim
    msg = f"job [{job_id}] has no such record; `marigraph records {job_id}` lists those there are"
    raise NotFound(msg)


def _listed(app: Application, job_id: str, choice: RecordChoice) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield stored records with their places in their buckets, the highest score first, in the order of the lists."""
    columns = records.c
    query = select(columns.body, columns.sequence).where(columns.job_id == job_id)
    if choice.timestamp_ms is not None:
        query = query.where(columns.timestamp == choice.timestamp_ms)
    if choice.detector_index is not None:
        query = query.where(columns.detector_index == choice.detector_index)
    query = query.order_by(columns.record_score.desc(), columns.timestamp.desc(), columns.sequence.asc())
    start = 0
    while True:
        with app.store.reading() as connection:
            page = connection.execute(query.limit(RECORDS_PER_PAGE).offset(start)).all()
        for row in page:
            yield msgspec.json.decode(row.body), row.sequence
        if len(page) < RECORDS_PER_PAGE:
            return
        start += RECORDS_PER_PAGE


class _Replay:
    """A replay of a job up to the event that closed the bucket of a record."""

    def __init__(self, app: Application, job: Job, record: dict[str, Any]) -> None:
        self._job, self._record = job, record
        self._source = ModelSource(app.store, app.codec, job.job_id)
        self._start_ms: int = record["timestamp"]

    def run(self, on_event: Callable[[], None]) -> Explained:
        """Replay and explain."""
        closed = self._closing_version()
        folded = self._source.nearest(closed - 1, self._job.created_version)
        if self._is_final(folded):  # the records' own times said less than the model knew: begin at the beginning
            folded = ModelFold(self._source, self._job.created_version, None, self._job.created_version - 1)
        begun = folded.version
        snapshot_version = begun if folded.model is not None else None
        try:
            closing, result = self._fold(folded, closed, on_event)
        except RecordsGone as error:
            msg = f"the record at {self._start_ms} cannot be explained: {error.reason}"
            raise Conflict(msg) from error
        explanation = explain(closing, result)
        return Explained(self._job.job_id, self._record, explanation, snapshot_version, begun + 1, folded.version)

    def _fold(self, folded: ModelFold, closed: int, on_event: Callable[[], None]) -> tuple[Closing, RecordResult]:
        """Fold up to the event that closed the bucket."""
        witness = Witness(frozenset({self._start_ms // 1000}))
        found = None
        for item, posted in self._source.steps(folded.version, self._job.version):
            if folded.model is not None:
                folded.model.witness = witness
            outcome = folded.step(item, posted)
            on_event()
            found = next((each for each in outcome.buckets if each.timestamp_ms == self._start_ms), found)
            if found is not None and item.version >= closed:
                break
        if found is not None:
            for result in found.records:
                if _is_same(result, self._record):
                    return witness.closings[self._start_ms // 1000], result
        msg = (
            f"the log of job [{self._job.job_id}] gives no such record at {self._start_ms}; "
            f"`marigraph verify {self._job.job_id}` says what else differs"
        )
        raise Conflict(msg)

    def _closing_version(self) -> int:
        """Return the version of the event that closed the bucket (the last one that did), by the times in events alone.

        It is what the model's own timeline comes to, except where records stand for no events at all; then it is an
        earlier one.
        """
        config = self._job.settings()
        end = self._start_ms // 1000 + config.bucket_span_seconds + config.latency_seconds
        closed, reached = self._job.version, 0
        reached_at: dict[int, int] = {}
        for item in self._source.events(self._job.created_version - 1, self._job.version):
            event, before = item.event, reached
            if event.type == "data_posted" and event.latest_record_ms is not None:
                reached = max(reached, event.latest_record_ms // 1000)
            elif event.type == "flushed":
                reached = max(reached, (event.advance_time_ms or 0) // 1000)
                if event.skip_time_ms is not None:
                    reached = before = max(reached, event.skip_time_ms // 1000 + config.latency_seconds)
            elif event.type == "snapshot_reverted":
                reached = before = reached_at.get(event.version, 0)
                if event.skip_time_ms is not None:
                    reached = before = max(reached, event.skip_time_ms // 1000 + config.latency_seconds)
            if before < end <= reached:
                closed = item.version
            reached_at[item.version] = reached
        return closed

    def _is_final(self, folded: ModelFold) -> bool:
        end = None if folded.model is None else folded.model.last_finalized_bucket_end_ms
        return end is not None and end > self._start_ms


def _is_same(result: RecordResult, record: dict[str, Any]) -> bool:
    """Tell whether a replayed record is the stored one, by what it is about."""
    return (
        result.detector_index == record["detector_index"]
        and result.function_description == record["function_description"]
        and all(
            (getattr(result, f"{name}_value") if getattr(result, f"{name}_name") is not None else None)
            == record.get(f"{name}_value")
            for name in SERIES_FIELDS
        )
    )
