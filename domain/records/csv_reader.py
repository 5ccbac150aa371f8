"""Delimited records with a header to columns.

A short record misses its last fields, the extra fields of a long one are only counted.

Two ways read the same: `_find_fields` finds the separators of a whole chunk as arrays and makes no object per
row; it refuses quotes that do more than enclose a field, and then `read_rows` goes field by field.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.errors import ParseError
from domain.records.batch import RawRecords, RecordBatch, RecordSchema, build_batch
from domain.records.csv_rows import COMMA, CsvFormat, find_csv_cut, read_rows
from domain.records.spans import BACK, FRONT, NEWLINE, Index, Spans

__all__ = ["COMMA", "CsvFormat", "CsvHeader", "find_csv_cut", "read_csv", "read_rows", "sniff_format"]

_RETURN = 13


@dataclass(frozen=True, slots=True)
class CsvHeader:
    """The names of the columns, and the format that follows them.

    Attributes
    ----------
    names : tuple of str
    format : CsvFormat
    """

    names: tuple[str, ...]
    format: CsvFormat = COMMA

    @classmethod
    def parse(cls, line: bytes, csv_format: CsvFormat = COMMA) -> "CsvHeader":
        """Read the first line; blanks around names do not count."""
        rows = read_rows(line, csv_format)
        return cls(tuple(name.strip() for name in rows[0]) if rows else (), csv_format)

    def places(self, schema: RecordSchema) -> dict[str, int]:
        """Return where the schema's fields stand; of two columns with one name the last.

        Raises
        ------
        ParseError
            When there is no column for the time.
        """
        by_name = {name: place for place, name in enumerate(self.names)}
        if schema.time_field not in by_name:
            shown = "".join(char if char.isprintable() else "?" for char in ", ".join(self.names)[:200])
            reason = f"The header has no time field '{schema.time_field}'; it names: {shown}"
            raise ParseError(reason)
        return {name: by_name[name] for name in schema.field_names if name in by_name}


def read_csv(data: bytes, schema: RecordSchema, header: CsvHeader, *, extra_bytes: int = 0) -> RecordBatch:
    """Read whole records, without the header.

    Parameters
    ----------
    data : bytes
        Lines as UTF-8 (what is no UTF-8 becomes U+FFFD); cut, if at all, where `find_csv_cut` says.
    schema : RecordSchema
    header : CsvHeader
    extra_bytes : int
        Bytes of input that are no record (the header's), to be counted with these.

    Raises
    ------
    ParseError
        When the header has no column for the time.
    """
    places = header.places(schema)
    found = _find_fields(data, header.format) if header.format.is_ascii else None
    if found is None:
        columns, n_fields = _columns_of_rows(read_rows(data, header.format), places)
    else:
        n_fields = found.n_fields
        columns = {name: found.column(place) for name, place in places.items()}
    n = len(n_fields)
    has_all = bool((n_fields >= max(places.values()) + 1).all())
    missing = 0
    for name in schema.analysis_fields:
        if name not in places:
            missing += n
        elif not has_all:
            missing += int(np.count_nonzero(n_fields <= places[name]))
    raw = RawRecords(
        n_records=n,
        columns=columns,
        field_count=int(n_fields.sum()) - n,
        missing_field_count=missing,
        input_bytes=len(data) + extra_bytes,
    )
    return build_batch(schema, raw)


@dataclass(frozen=True, slots=True)
class _Fields:
    """The fields of a chunk by place.

    Attributes
    ----------
    buffer : bytes
        The padded data.
    begins, ends : ndarray of shape (n_fields_in_all,), dtype=intp
        Of every field, quotes and carriage returns taken off.
    first : ndarray of shape (n_rows,), dtype=intp
        Each row's first field.
    n_fields : ndarray of shape (n_rows,), dtype=intp
    """

    buffer: bytes
    begins: Index
    ends: Index
    first: Index
    n_fields: Index

    def column(self, place: int) -> Spans:
        """Return the fields at one place of all rows, empty where a row is too short."""
        has_it = self.n_fields > place
        if has_it.all():
            n = int(self.n_fields[0]) if len(self.n_fields) else 1
            if len(self.begins) == n * len(self.first) and (self.n_fields == n).all():
                return Spans(self.buffer, self.begins[place::n].copy(), self.ends[place::n].copy())
        at = np.where(has_it, self.first + place, 0)
        begins = self.begins[at]
        return Spans(self.buffer, begins, np.where(has_it, self.ends[at], begins))


def _find_fields(data: bytes, csv_format: CsvFormat) -> _Fields | None:
    """Find all fields at once; None when the quotes are not simple."""
    buffer = FRONT + data + (b"" if data.endswith(b"\n") or not data else b"\n") + BACK
    stop = len(buffer) - len(BACK)
    array = np.frombuffer(buffer, np.uint8)
    inner = array[:stop]
    is_break = (inner == ord(csv_format.delimiter)) | (inner == NEWLINE)
    is_break[: len(FRONT)] = False
    quotes: Index | None = None
    if csv_format.quote.encode() in data:
        quotes = np.flatnonzero(inner[len(FRONT) :] == ord(csv_format.quote)) + len(FRONT)
        if not _mask_quoted(is_break, quotes):
            return None
    ends = np.flatnonzero(is_break)
    begins = np.empty_like(ends)
    begins[:1] = len(FRONT)
    begins[1:] = ends[:-1] + 1
    is_last = array[ends] == NEWLINE
    last = np.flatnonzero(is_last)
    row_ends = ends[last]
    has_return = (array[row_ends - 1] == _RETURN) & (row_ends > begins[last])
    ends[last] = row_ends - has_return
    if quotes is not None and not _unquote(begins, ends, quotes):
        return None
    first = np.empty_like(last)
    first[:1] = 0
    first[1:] = last[:-1] + 1
    n_fields = last - first + 1
    is_blank = (n_fields == 1) & (ends[last] - begins[last] == 0)
    if is_blank.any():
        was_quoted = array[begins[last] - 1] == ord(csv_format.quote)
        kept = ~(is_blank & ~was_quoted) if quotes is not None else ~is_blank
        first, n_fields = first[kept], n_fields[kept]
    return _Fields(buffer, begins, ends, first, n_fields)


def _mask_quoted(is_break: NDArray[np.bool_], quotes: Index) -> bool:
    """Take separators between an odd quote and the next one for text; False if a quote is left open."""
    if len(quotes) % 2:
        return False
    breaks = np.flatnonzero(is_break)
    is_inside = (np.searchsorted(quotes, breaks) & 1).astype(np.bool_)
    is_break[breaks[is_inside]] = False
    return True


def _unquote(begins: Index, ends: Index, quotes: Index) -> bool:
    """Take the quotes off the fields, in place; False unless every pair of quotes encloses a whole field."""
    opening, closing = quotes[0::2], quotes[1::2]
    fields = np.searchsorted(begins, opening, side="right") - 1
    if not (np.array_equal(begins[fields], opening) and np.array_equal(ends[fields], closing + 1)):
        return False
    begins[fields] += 1
    ends[fields] -= 1
    return True


def _columns_of_rows(rows: list[list[str]], places: dict[str, int]) -> tuple[dict[str, Spans], Index]:
    columns = {
        name: Spans.of_texts([row[place] if place < len(row) else "" for row in rows]) for name, place in places.items()
    }
    return columns, np.fromiter(map(len, rows), dtype=np.intp, count=len(rows))


def sniff_format(line: bytes, time_field: str, choices: Sequence[str] = ",\t;|") -> CsvFormat:
    """Return the format whose delimiter makes the time field a column of the header; commas if none does."""
    for delimiter in choices:
        csv_format = CsvFormat(delimiter)
        if time_field in CsvHeader.parse(line, csv_format).names:
            return csv_format
    return COMMA
