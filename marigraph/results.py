"""The result read models: what the runner writes, in one transaction with its checkpoint.

:class:`PendingResults` applies the outcomes of events in order, as rows; the writer commits them and ``verify``
compares them with what is stored. The JSON body of a row is the resource of the API; only a bucket's processing time,
which differs between runs, is kept in its column and put into the resource when it is read.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, delete, insert, select

from domain.fold import Outcome
from domain.model import BucketResult, Model, Renormalization
from eventstore import EventStore
from marigraph.renormalization import PendingBases, base_rows, put_scores, renormalize_stored
from marigraph.resources import bucket_resource, influencer_resource, record_resource
from marigraph.sql import upsert
from marigraph.tables import (
    RESULT_TABLES,
    buckets,
    categories,
    influencers,
    job_stats,
    model_plot,
    records,
    score_bases,
)

Row = dict[str, Any]

EXPONENT = 0.99
"""Weight of the past in the exponential average of processing times; chosen: follows some 100 buckets."""


def subscriber_of(job_id: str) -> str:
    """Name the checkpoint that says up to which version of the job's stream its results are written."""
    return f"results-{job_id}"


@dataclass(slots=True)
class BucketRows:
    """The rows of one bucket."""

    bucket: Row
    records: Sequence[Row] = ()
    influencers: Sequence[Row] = ()
    bases: Sequence[Row] = ()
    """What the scores of final results rest on."""
    plots: Sequence[Row] = ()

    @classmethod
    def of(cls, job_id: str, result: BucketResult) -> "BucketRows":
        """Make the rows of a bucket result."""
        key = {"job_id": job_id, "timestamp": result.timestamp_ms, "is_interim": result.is_interim}
        bucket = {
            **key,
            "anomaly_score": result.anomaly_score,
            "initial_anomaly_score": result.initial_anomaly_score,
            "event_count": result.event_count,
            "bucket_span": result.bucket_span_seconds,
            "processing_time_ms": 0,
            "body": _text(bucket_resource(job_id, result)),
        }
        if not (result.bucket_influencers or result.records or result.influencers or result.plots):
            return cls(bucket)
        return cls(
            bucket,
            records=[
                {
                    **key,
                    "sequence": sequence,
                    "record_score": record.record_score,
                    "initial_record_score": record.initial_record_score,
                    "probability": record.probability,
                    "detector_index": record.detector_index,
                    "body": _text(record_resource(job_id, result, record)),
                }
                for sequence, record in enumerate(result.records)
            ],
            influencers=[
                {
                    **key,
                    "sequence": sequence,
                    "influencer_score": influencer.influencer_score,
                    "initial_influencer_score": influencer.initial_influencer_score,
                    "probability": influencer.probability,
                    "influencer_field_name": influencer.influencer_field_name,
                    "influencer_field_value": influencer.influencer_field_value,
                    "body": _text(influencer_resource(job_id, result, influencer)),
                }
                for sequence, influencer in enumerate(result.influencers)
            ],
            bases=[] if result.is_interim else base_rows(job_id, result),
            plots=plot_rows(job_id, result),
        )

    def settle(self) -> None:
        """Bring the scores up to what they rest on now."""
        for result_type, results in (
            ("bucket_influencer", [self.bucket]),
            ("record", self.records),
            ("influencer", self.influencers),
        ):
            bases = [row for row in self.bases if row["result_type"] == result_type]
            for row in put_scores(result_type, bases, dict(enumerate(results))):
                results[row.get("sequence", 0)].update(row)

    def __len__(self) -> int:
        return 1 + len(self.records) + len(self.influencers) + len(self.bases) + len(self.plots)


def plot_rows(job_id: str, result: BucketResult) -> list[Row]:
    """Make the rows of the bounds of a bucket."""
    rows: list[Row] = []
    for plot in result.plots:
        for name, lower, median, upper, actual in zip(
            plot.names, plot.lower, plot.median, plot.upper, plot.actual, strict=True
        ):
            partition, by = plot.terms_of(name)
            rows.append(
                {
                    "job_id": job_id,
                    "timestamp": result.timestamp_ms,
                    "sequence": len(rows),
                    "bucket_span": result.bucket_span_seconds,
                    "detector_index": plot.detector_index,
                    "model_feature": plot.feature,
                    "partition_field_value": partition,
                    "by_field_value": by,
                    "model_lower": lower,
                    "model_median": median,
                    "model_upper": upper,
                    "actual": actual,
                }
            )
    return rows


def _text(resource: dict[str, Any]) -> str:
    return msgspec.json.encode(resource).decode()


@dataclass(slots=True)
class PendingResults:
    """Changes of a job's results that are not written yet; the fields apply in their order."""

    job_id: str
    deletes_all: bool = False
    deletes_categories: bool = False
    deletes_before_ms: int | None = None
    deletes_after_ms: int | None = None
    deletes_interim: bool = False
    final: list[BucketRows] = field(default_factory=list)
    interim: list[BucketRows] = field(default_factory=list)
    renormalizations: list[Renormalization] = field(default_factory=list)
    """To be applied to what is stored; to the pending rows they already are."""
    bases: PendingBases = field(default_factory=PendingBases)
    n_rows: int = 0

    def add(self, outcome: Outcome, elapsed_ms: float = 0.0) -> None:
        """Apply the outcome of the next event."""
        if outcome.deletes_all:
            self._keep(lambda _start_ms: False)
            self.deletes_all, self.renormalizations = True, []
        self.deletes_categories = self.deletes_categories or outcome.deletes_all or outcome.replaces_model
        if outcome.deletes_before_ms is not None:
            before_ms = outcome.deletes_before_ms
            self.deletes_before_ms = max(before_ms, self.deletes_before_ms or before_ms)
            self._keep(lambda start_ms: start_ms >= before_ms)
        if outcome.deletes_after_ms is not None:
            after_ms = outcome.deletes_after_ms
            self.deletes_after_ms = after_ms if self.deletes_after_ms is None else min(after_ms, self.deletes_after_ms)
            self._keep(lambda start_ms: start_ms <= after_ms)
            self.deletes_interim, self.interim = True, []
        if outcome.buckets:
            self.deletes_interim, self.interim = True, []
            each_ms = round(elapsed_ms / len(outcome.buckets))
            for result in outcome.buckets:
                rows = BucketRows.of(self.job_id, result)
                rows.bucket["processing_time_ms"] = each_ms
                self.final.append(rows)
                self.n_rows += len(rows)
                self.bases.add(rows.bases)
                for each in result.renormalizations:
                    self.bases.renormalize(each)
                    self.renormalizations.append(each)
        if outcome.interim:
            self.deletes_interim = True
            self.interim = [BucketRows.of(self.job_id, result) for result in outcome.interim]

    def _keep(self, is_kept: Callable[[int], bool]) -> None:
        """Forget pending rows of the buckets whose start is not kept."""
        self.final = [rows for rows in self.final if is_kept(rows.bucket["timestamp"])]
        self.interim = [rows for rows in self.interim if is_kept(rows.bucket["timestamp"])]
        self.n_rows = sum(len(rows) for rows in self.final)
        self.bases = self.bases.of(is_kept)

    def settle(self) -> None:
        """Bring the scores of the pending rows up to what they rest on."""
        changed = self.bases.take_changed()
        if changed:
            for rows in self.final:
                if rows.bucket["timestamp"] in changed:
                    rows.settle()


class ResultWriter:
    """Writes the results of one job and its checkpoint, in one transaction each time."""

    def __init__(self, store: EventStore, job_id: str, epoch: int) -> None:
        self._store = store
        self._job_id = job_id
        self._epoch = epoch
        self._written = store.read_checkpoint(subscriber_of(job_id))
        self._version = self._written
        self._pending = PendingResults(job_id)
        with store.reading() as connection:
            self._timing = read_timing_of(connection, job_id)

    @property
    def written(self) -> int:
        """Version of the stream up to which results are written."""
        return self._written

    @property
    def timing(self) -> "Timing":
        """How long the analysis of buckets took."""
        return self._timing

    @property
    def n_pending(self) -> int:
        """Rows held back."""
        return self._pending.n_rows

    def add(self, version: int, outcome: Outcome, elapsed_ms: float) -> None:
        """Take the outcome of the event at a version; what was written before a restart is not written again."""
        if version <= self._written:
            return
        assert version == self._version + 1 or self._version == 0 or outcome.deletes_all, (
            f"job {self._job_id}: results of version {version} come after those of {self._version}"
        )
        self._version = version
        self._pending.add(outcome, elapsed_ms)
        if outcome.deletes_all:
            self._timing = Timing()
        self._timing.add(outcome, elapsed_ms)

    def commit(self, model: Model | None) -> None:
        """Write what is pending; ``model`` gives the statistics as of the last event taken."""
        if self._version == self._written:
            return
        with self._store.transaction() as connection:
            # The checkpoint first: whoever changes results of a job locks it before their rows: no ring of waits.
            self._store.write_checkpoint(
                connection, subscriber_of(self._job_id), self._written, self._version, self._epoch
            )
            write_pending(connection, self._pending)
            write_categories(connection, self._job_id, model, every=self._pending.deletes_categories)
            if model is None:
                connection.execute(delete(job_stats).where(job_stats.c.job_id == self._job_id))
            else:
                upsert(connection, job_stats, [stats_row(self._job_id, model, self._timing)])
        self._written = self._version
        self._pending = PendingResults(self._job_id)


def write_pending(connection: Connection, pending: PendingResults) -> None:
    """Apply pending changes to the stored results."""
    for table in RESULT_TABLES:
        of_job = delete(table).where(table.c.job_id == pending.job_id)
        if pending.deletes_all:
            connection.execute(of_job)
            continue
        if pending.deletes_before_ms is not None:
            connection.execute(of_job.where(table.c.timestamp < pending.deletes_before_ms))
        if pending.deletes_after_ms is not None:
            connection.execute(of_job.where(table.c.timestamp > pending.deletes_after_ms))
        if pending.deletes_interim and "is_interim" in table.c:
            connection.execute(of_job.where(table.c.is_interim))
    if pending.deletes_categories:
        connection.execute(delete(categories).where(categories.c.job_id == pending.job_id))
    if pending.renormalizations:
        renormalize_stored(connection, pending.job_id, pending.renormalizations)
    pending.settle()
    every = [*pending.final, *pending.interim]
    _insert(connection, buckets, [rows.bucket for rows in every])
    _insert(connection, records, [row for rows in every for row in rows.records])
    _insert(connection, influencers, [row for rows in every for row in rows.influencers])
    _insert(connection, score_bases, [row for rows in every for row in rows.bases])
    _insert(connection, model_plot, [row for rows in every for row in rows.plots])


def write_categories(connection: Connection, job_id: str, model: Model | None, *, every: bool) -> None:
    """Write the categories that got messages since they were last written, or every one."""
    if model is None or model.categories is None:
        return
    touched = model.categories.take_touched()
    ids = range(1, model.categories.category_count + 1) if every else touched
    rows = [category_row(job_id, model.categories.resource(category_id)) for category_id in ids]
    if rows:
        upsert(connection, categories, rows)


def category_row(job_id: str, resource: dict[str, Any]) -> Row:
    """Make the row of a category."""
    return {"job_id": job_id, "category_id": resource["category_id"], "body": _text({"job_id": job_id, **resource})}


def _insert(connection: Connection, table: Table, rows: list[Row]) -> None:
    if rows:
        connection.execute(insert(table), rows)


def clear_results(
    store: EventStore, connection: Connection, job_id: str, version: int, *, keeps_results: bool = False
) -> None:
    """Delete the results of a job that ended at a version of its stream; categories also where the others stay."""
    subscriber = subscriber_of(job_id)
    store.reset_checkpoint(connection, subscriber)
    store.write_checkpoint(connection, subscriber, 0, version)
    write_pending(connection, PendingResults(job_id, deletes_all=not keeps_results, deletes_categories=True))
    if not keeps_results:
        connection.execute(delete(job_stats).where(job_stats.c.job_id == job_id))


def results_version(store: EventStore, job_id: str) -> tuple[int, int | None]:
    """Return the version up to which results are written, and the end of the last finalized bucket."""
    query = select(job_stats.c.last_finalized_bucket_end).where(job_stats.c.job_id == job_id)
    with store.reading() as connection:
        version = store.read_checkpoint(subscriber_of(job_id), connection)
        return version, connection.execute(query).scalar()


# ------------------------------------------------------------------------------------------------------ statistics


class Timing(msgspec.Struct):
    """How long the analysis of buckets took, in milliseconds; not part of what a replay repeats."""

    bucket_count: int = 0
    total_ms: float = 0.0
    minimum_ms: float | None = None
    maximum_ms: float | None = None
    exponential_average_ms: float | None = None

    def add(self, outcome: Outcome, elapsed_ms: float) -> None:
        """Count the buckets of an outcome, each with an equal share of the time."""
        n_buckets = len(outcome.buckets)
        if not n_buckets:
            return
        each = elapsed_ms / n_buckets
        self.bucket_count += n_buckets
        self.total_ms += elapsed_ms
        self.minimum_ms = each if self.minimum_ms is None else min(self.minimum_ms, each)
        self.maximum_ms = each if self.maximum_ms is None else max(self.maximum_ms, each)
        past = each if self.exponential_average_ms is None else self.exponential_average_ms
        weight: float = EXPONENT**n_buckets
        self.exponential_average_ms = weight * past + (1.0 - weight) * each

    def resource(self, bucket_span_seconds: int) -> dict[str, Any]:
        """Return the statistics as the API shows them; what needs a bucket is absent until there is one."""
        shown: dict[str, Any] = {
            "bucket_count": self.bucket_count,
            "total_bucket_processing_time_ms": self.total_ms,
        }
        average = self.exponential_average_ms
        if average is not None:
            shown["minimum_bucket_processing_time_ms"] = self.minimum_ms
            shown["maximum_bucket_processing_time_ms"] = self.maximum_ms
            shown["average_bucket_processing_time_ms"] = self.total_ms / self.bucket_count
            shown["exponential_average_bucket_processing_time_ms"] = average
            per_hour = average * 3600 / bucket_span_seconds
            shown["exponential_average_bucket_processing_time_per_hour_ms"] = per_hour
        return shown


def read_timing(text: str) -> Timing:
    """Read the statistics of a row."""
    return msgspec.json.decode(text, type=Timing)


def read_timing_of(connection: Connection, job_id: str) -> Timing:
    """Read the statistics of a job; none so far if it has no row."""
    text = connection.execute(select(job_stats.c.timing_stats).where(job_stats.c.job_id == job_id)).scalar()
    return Timing() if text is None else read_timing(text)


def stats_row(job_id: str, model: Model, timing: Timing) -> Row:
    """Make the row of a job's statistics."""
    return {
        "job_id": job_id,
        "last_finalized_bucket_end": model.last_finalized_bucket_end_ms,
        "model_size_stats": _text(model.size_stats()),
        "timing_stats": msgspec.json.encode(timing).decode(),
    }
