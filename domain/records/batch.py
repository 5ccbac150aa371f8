"""What a job reads of its records, and a batch of them as columns.

`RecordSchema` says which fields matter and how; `RecordBatch` is what every reader makes, what is stored, and
what the analysis folds. `build_batch` is the one way from texts to a batch, so all formats mean the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.records.decimals import parse_numbers
from domain.records.dictionary import TextColumn, encode_texts, join_columns
from domain.records.spans import Spans
from domain.records.time_format import EPOCH_MS, parse_times

TEXT_BYTES_MAX = 32_766
"""A longer value of an analysis field is taken as missing: the longest keyword a search index would hold."""

_TEXT_FUNCTIONS = frozenset({"distinct_count", "info_content", "lat_long"})
"""Functions whose field is not a number."""

CATEGORY_FIELD = "mlcategory"
"""The by, over or partition field that the engine makes itself; no record holds it."""


@dataclass(frozen=True, slots=True)
class RecordSchema:
    """Which fields of a record matter.

    Attributes
    ----------
    time_field, time_format : str
        Where the time stands and how it is written.
    number_fields, text_fields : tuple of str
        Fields read as numbers and as texts; a name may be in both.
    analysis_fields : tuple of str
        The distinct fields whose absence counts in `missing_field_count`.
    default_year : int
        The year of dates whose format names none.
    """

    time_field: str
    time_format: str = EPOCH_MS
    number_fields: tuple[str, ...] = ()
    text_fields: tuple[str, ...] = ()
    analysis_fields: tuple[str, ...] = ()
    default_year: int = 1970

    @classmethod
    def of(cls, config: Any, default_year: int = 1970) -> "RecordSchema":
        """Return the schema of a job.

        Parameters
        ----------
        config : JobConfig
            Read by attribute only: `time_field`, `time_format`, `detectors`, `influencers`,
            `analysis_fields`, `summary_count_field_name`, `categorization_field_name`.
        default_year : int
            The year of dates whose format names none.
        """
        numbers: list[str | None] = []
        texts: list[str | None] = []
        for detector in config.detectors:
            is_text = detector.base_function in _TEXT_FUNCTIONS
            (texts if is_text else numbers).append(detector.field_name)
            texts += [detector.by_field_name, detector.over_field_name, detector.partition_field_name]
        texts += config.influencers
        texts.append(getattr(config, "categorization_field_name", None))
        numbers.append(config.summary_count_field_name)
        return cls(
            time_field=config.time_field,
            time_format=config.time_format,
            number_fields=_distinct(numbers),
            text_fields=_distinct(texts),
            analysis_fields=tuple(config.analysis_fields),
            default_year=default_year,
        )

    @property
    def field_names(self) -> tuple[str, ...]:
        """Every field that is read, the time first, each once."""
        return tuple(dict.fromkeys((self.time_field, *self.number_fields, *self.text_fields, *self.analysis_fields)))


def _distinct(names: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if name and name != CATEGORY_FIELD))


COUNTS = (
    "record_count", "invalid_date_count", "input_bytes", "input_field_count", "missing_field_count",
    "malformed_count",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class RecordBatch:
    """Records as columns.

    Attributes
    ----------
    time_ms : ndarray of shape (n,), dtype=int64
        Times of the records with a valid date, in input order, in milliseconds since the epoch.
    numbers : dict of str to ndarray of shape (n,), dtype=float64
        NaN where a record has no finite number.
    texts : dict of str to TextColumn
    record_count : int
        All records read, those with an invalid date too.
    invalid_date_count : int
        Records that are in no column because their time is missing or does not parse.
    input_bytes, input_field_count, missing_field_count : int
        As in the data counts, over all records read.
    malformed_count : int
        Pieces of the input that are no record and were passed over.
    """

    time_ms: NDArray[np.int64]
    numbers: dict[str, NDArray[np.float64]]
    texts: dict[str, TextColumn]
    record_count: int
    invalid_date_count: int = 0
    input_bytes: int = 0
    input_field_count: int = 0
    missing_field_count: int = 0
    malformed_count: int = 0

    def __len__(self) -> int:
        return len(self.time_ms)


def has_same_columns(batch: RecordBatch, other: RecordBatch) -> bool:
    """Tell whether two batches have the same fields, so that they can be joined."""
    return batch.numbers.keys() == other.numbers.keys() and batch.texts.keys() == other.texts.keys()


def join_batches(batches: Sequence[RecordBatch]) -> RecordBatch:
    """Return the records of some batches of the same fields, at least one, as one batch in the same order."""
    first = batches[0]
    if len(batches) == 1:
        return first
    assert all(has_same_columns(first, other) for other in batches[1:])
    return RecordBatch(
        np.concatenate([batch.time_ms for batch in batches]),
        {name: np.concatenate([batch.numbers[name] for batch in batches]) for name in first.numbers},
        {name: join_columns([batch.texts[name] for batch in batches]) for name in first.texts},
        *(sum(getattr(batch, name) for batch in batches) for name in COUNTS),
    )


def numbers_of(column: TextColumn) -> NDArray[np.float64]:
    """Return the numbers that a column of texts would have been read as: of shape (n,), NaN where there is none."""
    values = np.append(parse_numbers(Spans.of_texts(column.values)), np.nan)
    numbers: NDArray[np.float64] = values[column.codes]  # -1, the code of a missing text, is the last place
    return numbers


@dataclass(frozen=True, slots=True)
class RawRecords:
    """Records as a reader found them: one row each, a column of texts per field.

    Attributes
    ----------
    n_records : int
    columns : mapping of str to Spans
        A field without a column is missing in every record.
    field_count : int
        Sum over the records of their fields without the time.
    missing_field_count : int
        Sum over the records of the analysis fields they do not have.
    input_bytes : int
    malformed_count : int
    """

    n_records: int
    columns: Mapping[str, Spans]
    field_count: int
    missing_field_count: int
    input_bytes: int
    malformed_count: int = 0


def build_batch(schema: RecordSchema, raw: RawRecords) -> RecordBatch:
    """Turn columns of texts into a batch, dropping the records without a valid date."""
    columns, n_too_long = _drop_long_values(schema, raw.columns)
    if schema.time_field in columns:
        ms, is_valid = parse_times(columns[schema.time_field], schema.time_format, schema.default_year)
    else:
        ms, is_valid = np.zeros(raw.n_records, np.int64), np.zeros(raw.n_records, np.bool_)
    n_valid = int(np.count_nonzero(is_valid))
    if n_valid < raw.n_records:
        ms = ms[is_valid]
        columns = {name: spans.take(is_valid) for name, spans in columns.items()}
    return RecordBatch(
        time_ms=ms,
        numbers={
            name: parse_numbers(columns[name]) if name in columns else np.full(n_valid, np.nan)
            for name in schema.number_fields
        },
        texts={
            name: encode_texts(columns[name])
            if name in columns
            else TextColumn(np.full(n_valid, -1, dtype=np.int32), [])
            for name in schema.text_fields
        },
        record_count=raw.n_records,
        invalid_date_count=raw.n_records - n_valid,
        input_bytes=raw.input_bytes,
        input_field_count=raw.field_count,
        missing_field_count=raw.missing_field_count + n_too_long,
        malformed_count=raw.malformed_count,
    )


def _drop_long_values(schema: RecordSchema, columns: Mapping[str, Spans]) -> tuple[dict[str, Spans], int]:
    """Empty the values that are too long, and count them."""
    kept = dict(columns)
    count = 0
    for name in schema.analysis_fields:
        spans = kept.get(name)
        if spans is None or len(spans.buffer) <= TEXT_BYTES_MAX:
            continue
        is_long = spans.lengths > TEXT_BYTES_MAX
        if is_long.any():
            count += int(np.count_nonzero(is_long))
            kept[name] = Spans(spans.buffer, spans.starts, np.where(is_long, spans.starts, spans.ends))
    return kept, count
