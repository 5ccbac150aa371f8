"""What conditions can ask for: names of an event, its job and model, a bucket and a record, at a moment of a replay."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from domain.api_time import parse_result_time
from domain.inspection import Readings, SeriesFinder
from domain.job import Job
from domain.model import BucketResult, Model, RecordResult
from marigraph.codec import Recorded
from marigraph.debugging.expressions import Expression, Function, Scope, Value, Vocabulary, parse_expression


class Level(IntEnum):
    """What a name belongs to; a condition is asked as often as its highest level asks for."""

    EVENT = 0
    MODEL = 1
    BUCKET = 2
    RECORD = 3


@dataclass(frozen=True, slots=True)
class Known:
    """A name and what it means."""

    level: Level
    meaning: str
    get: Callable[["Moment"], Value]
    is_time: bool = False


Atom = tuple[str, str]
"""A name of the model's state and an empty text, or a function of it and the series it is called with."""


@dataclass(slots=True)
class Moment(Scope):
    """Everything that is known after an event, or after a bucket that it closed.

    Attributes
    ----------
    state : mapping of Atom to value
        What a condition asks of the model's state, read by ``read_state``.
    """

    item: Recorded
    job: Job
    state: Mapping[Atom, Value] = field(default_factory=dict)
    bucket: BucketResult | None = None
    record: RecordResult | None = None

    def name(self, name: str) -> Value:
        """Return the value of a name."""
        return NAMES[name].get(self)

    def call(self, function: str, argument: str) -> Value:
        """Return what a function says of the first series that a text names."""
        return self.state.get((function, argument))


def read_state(model: Model | None, atoms: Iterable[Atom], finder: SeriesFinder) -> dict[Atom, Value]:
    """Read what conditions ask of a model's state; None for what is not there."""
    return {} if model is None else {atom: _read(model, *atom, finder) for atom in atoms}


def _read(model: Model, name: str, argument: str, finder: SeriesFinder) -> Value:
    if name not in STATE_FUNCTIONS:
        return model.n_series if name == "series_count" else model.size_stats()[name]
    places = finder.find(model.detectors, argument, 1)
    readings = Readings.at(model.detectors, places[0]) if places else None
    value = math.nan if readings is None else float(getattr(readings, name)[0])
    return None if math.isnan(value) else value


def _of_event(name: str) -> Callable[[Moment], Value]:
    return lambda moment: getattr(moment.item.event, name, None)


def _of_counts(name: str) -> Callable[[Moment], Value]:
    return lambda moment: getattr(moment.job.data_counts, name)


def _of_bucket(name: str) -> Callable[[Moment], Value]:
    return lambda moment: None if moment.bucket is None else getattr(moment.bucket, name)


def _of_record(name: str) -> Callable[[Moment], Value]:
    return lambda moment: None if moment.record is None else getattr(moment.record, name)


def _first(name: str) -> Callable[[Moment], Value]:
    def get(moment: Moment) -> Value:
        if moment.record is None:
            return None
        values = getattr(moment.record, name) or next((getattr(cause, name) for cause in moment.record.causes), None)
        return values[0] if values else None

    return get


def _of_state(name: str) -> Callable[[Moment], Value]:
    return lambda moment: moment.state.get((name, ""))


EVENT, MODEL, BUCKET, RECORD = Level.EVENT, Level.MODEL, Level.BUCKET, Level.RECORD

NAMES: Final[dict[str, Known]] = {
    "version": Known(EVENT, "place of the event in the job's stream", lambda moment: moment.item.version),
    "event_type": Known(EVENT, "created, data_posted, flushed, ...", lambda moment: moment.item.event.type),
    "recorded_time": Known(EVENT, "when the event was recorded", lambda moment: moment.item.recorded_ms, is_time=True),
    "record_count": Known(EVENT, "records of the post, if it is one", _of_event("record_count")),
    "job_state": Known(EVENT, "opened, closed or failed, after the event", lambda moment: moment.job.state),
    "processed_record_count": Known(EVENT, "as in the data counts", _of_counts("processed_record_count")),
    "out_of_order_timestamp_count": Known(EVENT, "as in the data counts", _of_counts("out_of_order_timestamp_count")),
    "invalid_date_count": Known(EVENT, "as in the data counts", _of_counts("invalid_date_count")),
    "missing_field_count": Known(EVENT, "as in the data counts", _of_counts("missing_field_count")),
    "latest_record_time": Known(EVENT, "latest record so far", _of_counts("latest_record_ms"), is_time=True),
    "series_count": Known(MODEL, "series of the model", _of_state("series_count")),
    "model_bytes": Known(MODEL, "counted memory of the model", _of_state("model_bytes")),
    "memory_status": Known(MODEL, "ok, soft_limit or hard_limit", _of_state("memory_status")),
    "bucket_time": Known(BUCKET, "start of a bucket that closed", _of_bucket("timestamp_ms"), is_time=True),
    "anomaly_score": Known(BUCKET, "its score when it closed, 0 to 100", _of_bucket("anomaly_score")),
    "event_count": Known(BUCKET, "records in it", _of_bucket("event_count")),
    "record_score": Known(RECORD, "score of a record when its bucket closed, 0 to 100", _of_record("record_score")),
    "probability": Known(RECORD, "0 to 1, small is unusual", _of_record("probability")),
    "actual": Known(RECORD, "the value; of a member of a population, its least probable one", _first("actual")),
    "typical": Known(RECORD, "what was expected in its place", _first("typical")),
    "function": Known(RECORD, "as in the detector", _of_record("function")),
    "field_name": Known(RECORD, "the field that is measured", _of_record("field_name")),
    "detector_index": Known(RECORD, "from 0", _of_record("detector_index")),
    "by": Known(RECORD, "value of the by field", _of_record("by_field_value")),
    "over": Known(RECORD, "value of the over field", _of_record("over_field_value")),
    "partition": Known(RECORD, "value of the partition field", _of_record("partition_field_value")),
    "multi_bucket_impact": Known(RECORD, "-5 to 5", _of_record("multi_bucket_impact")),
}
STATE_FUNCTIONS: Final = {
    "level": "usual level of a series over days, such as level('checkout')",
    "spread": "usual distance of its values to what is expected",
    "values": "how many values it learnt",
}


def _time(text: str) -> int:
    return parse_result_time(text, "time")


FUNCTIONS: Final[dict[str, Function | None]] = {
    "abs": abs,
    "min": min,
    "max": max,
    "time": _time,
    **dict.fromkeys(STATE_FUNCTIONS),
}

VOCABULARY: Final = Vocabulary(
    NAMES.keys(), frozenset(name for name, known in NAMES.items() if known.is_time), FUNCTIONS
)


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition, and how often it is to be asked.

    Attributes
    ----------
    level : Level
        The highest that it has a name of.
    atoms : frozenset of Atom
        What it asks of the model's state.
    """

    expression: Expression
    level: Level
    atoms: frozenset[Atom]

    @classmethod
    def of(cls, text: str) -> "Condition":
        """Read a condition; InvalidExpression if it is none."""
        expression = parse_expression(text, VOCABULARY)
        atoms = expression.calls | {(name, "") for name in expression.names if NAMES[name].level == MODEL}
        levels = [NAMES[name].level for name in expression.names] + [MODEL for _ in atoms]
        return cls(expression, max(levels, default=EVENT), atoms)

    @property
    def asks_results(self) -> bool:
        """Whether it has a name of buckets or records."""
        return self.level >= BUCKET

    def holds_in(self, moment: Moment) -> bool:
        """Ask it of a moment, and of each record of its bucket if it has a name of these.

        The moment is left with the record that it holds for.
        """
        records: Sequence[RecordResult | None] = (None,)
        if self.level == RECORD and moment.bucket is not None and moment.bucket.records:
            records = moment.bucket.records
        for record in records:
            moment.record = record
            if self.expression.holds(moment):
                return True
        return False
