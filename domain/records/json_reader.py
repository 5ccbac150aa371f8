"""JSON records to columns: one object per line, one after another, or in an array.

Scalars are texts: numbers keep the digits they were sent with (`1.50` is the by-value `1.50`, not `1.5`),
booleans are `true` and `false`, null is empty. An array of scalars is its values joined by commas; nested
objects flatten with dots. A field that occurs twice counts once, and the last value holds. Objects nested too
deeply are malformed.

A whole chunk is decoded in one call when nothing in it is odd; otherwise record by record. Both mean the
same.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from domain.errors import ParseError
from domain.records.batch import RawRecords, RecordBatch, RecordSchema, build_batch
from domain.records.json_scan import scan_records
from domain.records.spans import Spans

MALFORMED_MAX = 100
"""With so many malformed records an upload is refused (API contract, post data)."""

NESTING_MAX = 100
"""Deepest nesting of a record: chosen, far above real data and far below what the decoder can take."""

BOM = b"\xef\xbb\xbf"
_BETWEEN = b" \t\r\n,[]\x1e"
"""What may stand between records: white space, the punctuation of an array, the separator of RFC 7464."""

_Record = dict[str, Any]
_RECORD = msgspec.json.Decoder(_Record, float_hook=str)
_RECORDS = msgspec.json.Decoder(list[_Record], float_hook=str)
_DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_MISSING = object()


class _TooDeep(Exception):
    """A record is nested too deeply."""


def read_json(data: bytes, schema: RecordSchema, *, malformed_before: int = 0) -> RecordBatch:
    """Read whole records.

    Parameters
    ----------
    data : bytes
        Records as JSON; cut, if at all, where `find_json_cut` says.
    schema : RecordSchema
    malformed_before : int
        Malformed records in the same upload before this data.

    Raises
    ------
    ParseError
        At the hundredth malformed record of the upload.
    """
    records, n_malformed = _decode(data.removeprefix(BOM), malformed_before)
    if data.count(b"{") > len(records) or b"[" in data:
        records, n_deep = _flatten_all(records)
        n_malformed += n_deep
    check_malformed(malformed_before + n_malformed)
    n_fields = sum(map(len, records))
    n_empty = records.count({}) if n_fields < len(records) or not all(records) else 0
    columns: dict[str, Spans] = {}
    missing = 0
    for name in schema.field_names:
        column, n_missing = _column(records, name)
        missing += n_missing if name in schema.analysis_fields else 0
        if n_missing < len(records):
            columns[name] = Spans.of_texts(column)
    raw = RawRecords(
        n_records=len(records),
        columns=columns,
        field_count=n_fields - len(records) + n_empty,
        missing_field_count=missing,
        input_bytes=len(data),
        malformed_count=n_malformed,
    )
    return build_batch(schema, raw)


def check_malformed(count: int) -> None:
    """Refuse an upload with too many malformed records."""
    if count >= MALFORMED_MAX:
        reason = "The input JSON data is malformed."
        raise ParseError(reason)


def _decode(data: bytes, malformed_before: int) -> tuple[list[_Record], int]:
    """Return the records and the number of malformed pieces, trying the common layouts in one call each."""
    attempts: tuple[Callable[[], list[_Record]], ...] = (
        lambda: _RECORD.decode_lines(data),
        lambda: _RECORDS.decode(b"[" + data.strip(_BETWEEN) + b"]"),
    )
    for attempt in attempts:
        try:
            return attempt(), 0
        except _DECODE_ERRORS:
            continue
    return _decode_pieces(data, malformed_before)


def _decode_pieces(data: bytes, malformed_before: int) -> tuple[list[_Record], int]:
    records: list[_Record] = []
    n_malformed = 0
    place = 0
    for start, end, is_whole in scan_records(data):
        n_malformed += _count_junk(data[place:start])
        place = end
        try:
            if is_whole:
                records.append(_RECORD.decode(data[start:end]))
                continue
        except _DECODE_ERRORS:
            pass
        n_malformed += 1
        check_malformed(malformed_before + n_malformed)
    return records, n_malformed + _count_junk(data[place:])


def _count_junk(between: bytes) -> int:
    """Return the number of lines on which something stands between records."""
    return sum(bool(line.strip(_BETWEEN)) for line in between.split(b"\n")) if between.strip(_BETWEEN) else 0


def _flatten_all(records: list[_Record]) -> tuple[list[_Record], int]:
    """Flatten the records that hold objects or arrays, dropping those nested too deeply."""
    flat: list[_Record] = []
    for record in records:
        if any(isinstance(value, dict | list) for value in record.values()):
            target: _Record = {}
            try:
                _flatten(record, "", target, 1)
            except _TooDeep:
                continue
            flat.append(target)
        else:
            flat.append(record)
    return flat, len(records) - len(flat)


def _flatten(value: _Record, prefix: str, target: _Record, depth: int) -> None:
    if depth > NESTING_MAX:
        raise _TooDeep
    for key, item in value.items():
        if isinstance(item, dict):
            _flatten(item, f"{prefix}{key}.", target, depth + 1)
        elif isinstance(item, list):
            target[prefix + key] = ",".join(_array_texts(item, depth + 1))
        else:
            target[prefix + key] = item


def _array_texts(values: Sequence[Any], depth: int) -> list[str]:
    """Return the scalars of an array, those of arrays in it too; objects in it are passed over."""
    if depth > NESTING_MAX:
        raise _TooDeep
    texts: list[str] = []
    for value in values:
        if isinstance(value, list):
            texts += _array_texts(value, depth + 1)
        elif isinstance(value, dict):
            _flatten(value, "", {}, depth + 1)
        else:
            texts.append(_scalar_text(value))
    return texts


def _column(records: list[_Record], name: str) -> tuple[list[str], int]:
    """Return a field's texts, empty where it is missing or null, and how often it is missing."""
    values = [record.get(name, _MISSING) for record in records]
    try:
        "".join(values)
    except TypeError:
        n_missing = sum(value is _MISSING for value in values)
        return [value if type(value) is str else _scalar_text(value) for value in values], n_missing
    return values, 0


def _scalar_text(value: Any) -> str:
    if value is None or value is _MISSING:
        return ""
    if value is True:
        return "true"
    return "false" if value is False else str(value)
