"""A schema and ways to look at batches, shared by the tests of records."""

import struct
from typing import Any

from domain.records import RecordBatch, RecordSchema

SCHEMA = RecordSchema(
    time_field="time",
    time_format="epoch",
    number_fields=("value",),
    text_fields=("series", "a.b"),
    analysis_fields=("value", "series", "a.b"),
)


def texts_of(batch: RecordBatch, name: str) -> list[str | None]:
    """Return a text column as values, None for empty."""
    column = batch.texts[name]
    return [None if code < 0 else column.values[code] for code in column.codes.tolist()]


def bits(number: float) -> bytes:
    return struct.pack("<d", number)


def summary(batch: RecordBatch) -> dict[str, Any]:
    """Return all that a batch says, as values that compare with ==; input bytes are left out."""
    return {
        "time_ms": batch.time_ms.tolist(),
        "numbers": {name: [bits(number) for number in column.tolist()] for name, column in batch.numbers.items()},
        "texts": {name: texts_of(batch, name) for name in batch.texts},
        "values": {name: column.values for name, column in batch.texts.items()},
        "counts": (
            batch.record_count,
            batch.invalid_date_count,
            batch.input_field_count,
            batch.missing_field_count,
            batch.malformed_count,
        ),
    }


def joined(batches: list[RecordBatch]) -> dict[str, Any]:
    """Return what several batches say together."""
    summaries = [summary(batch) for batch in batches]
    names = list(batches[0].texts)
    texts = {name: [value for one in summaries for value in one["texts"][name]] for name in names}
    return {
        "time_ms": [ms for one in summaries for ms in one["time_ms"]],
        "numbers": {
            name: [number for one in summaries for number in one["numbers"][name]] for name in batches[0].numbers
        },
        "texts": texts,
        "values": {name: list(dict.fromkeys(value for value in column if value)) for name, column in texts.items()},
        "counts": tuple(map(sum, zip(*(one["counts"] for one in summaries), strict=True))),
    }
