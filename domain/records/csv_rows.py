"""The grammar of delimited records, field by field, and where a stream of them can be cut.

A record ends at a line feed outside quotes (a carriage return before it belongs to it); empty lines are no
records. A field that begins with the quote character ends at the next single one, two stand for one, and what
follows up to the delimiter is appended; a quote anywhere else is an ordinary character. `csv_reader` reads
the same grammar by whole columns where it can.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from domain.errors import InvalidArgument

_NEWLINE = 10


@dataclass(frozen=True, slots=True)
class CsvFormat:
    """How delimited records are written.

    Attributes
    ----------
    delimiter, quote : str
        One character each.
    """

    delimiter: str = ","
    quote: str = '"'

    def __post_init__(self) -> None:
        for text in (self.delimiter, self.quote):
            if len(text) != 1:
                reason = f"String must be a single character, found [{text}]"
                raise InvalidArgument(reason)
        if self.delimiter in "\r\n" or self.quote in "\r\n" or self.delimiter == self.quote:
            reason = "field_delimiter and quote_character must differ, and neither may end a line"
            raise InvalidArgument(reason)

    @classmethod
    def of(cls, description: Any) -> "CsvFormat | None":
        """Return the format that a job's data description names, None if it leaves that to the header.

        Parameters
        ----------
        description : DataDescription
            Read by attribute only: `field_delimiter`, `quote_character`. A quote without a delimiter goes with tabs.
        """
        delimiter, quote = description.field_delimiter, description.quote_character
        if delimiter is None and quote is None:
            return None
        return cls("\t" if delimiter is None else delimiter, '"' if quote is None else quote)

    @property
    def is_ascii(self) -> bool:
        """Whether both characters are single bytes."""
        return self.delimiter.isascii() and self.quote.isascii()


COMMA = CsvFormat()


def _field_expression(csv_format: CsvFormat) -> re.Pattern[str]:
    quote, delimiter = re.escape(csv_format.quote), re.escape(csv_format.delimiter)
    quoted = f"{quote}((?:[^{quote}]++|{quote}{quote})*+)(?:{quote}|\\Z)([^{delimiter}\\n]*+)"
    return re.compile(f"(?:{quoted}|([^{delimiter}\\n]*+))({delimiter}|\\n|\\Z)")


def read_rows(data: bytes, csv_format: CsvFormat) -> list[list[str]]:
    """Return the fields of every record, field by field."""
    text = data.decode("utf-8", "replace")
    quote = csv_format.quote
    rows: list[list[str]] = []
    row: list[str] = []
    has_quote = False
    for match in _field_expression(csv_format).finditer(text):
        if match.start() == len(text) and not row:
            break  # the end of data that ended with a newline
        inner, tail, plain, separator = match.groups()
        ends_record = separator != csv_format.delimiter
        if inner is None:
            field = plain.removesuffix("\r") if ends_record else plain
        else:
            has_quote = True
            field = inner.replace(quote * 2, quote) + (tail.removesuffix("\r") if ends_record else tail)
        row.append(field)
        if ends_record:
            if len(row) > 1 or field or has_quote:
                rows.append(row)
            row, has_quote = [], False
            if not separator:
                break
    return rows


def find_csv_cut(data: bytes, csv_format: CsvFormat = COMMA) -> int:
    """Return the length of the longest beginning of the data that ends with a whole record, or 0.

    The data must begin where a record begins.
    """
    quote = csv_format.quote.encode()
    if quote not in data:
        return data.rfind(b"\n") + 1
    if csv_format.is_ascii:
        cut = _find_cut_by_parity(data, csv_format)
        if cut is not None:
            return cut
    return _find_cut_by_fields(data, csv_format)


def _find_cut_by_parity(data: bytes, csv_format: CsvFormat) -> int | None:
    """Return the last line feed behind an even number of quotes; None if some quote opens no field."""
    array = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(array == ord(csv_format.quote))
    opening = quotes[0::2]
    before = array[np.maximum(opening - 1, 0)]
    is_doubled = np.zeros(len(opening), dtype=np.bool_)
    is_doubled[1:] = opening[1:] == quotes[1::2][: len(opening) - 1] + 1
    opens_field = (opening == 0) | (before == ord(csv_format.delimiter)) | (before == _NEWLINE)
    if not (opens_field | is_doubled).all():
        return None
    stop = int(quotes[-1]) if len(quotes) % 2 else len(data)
    feeds = np.flatnonzero(array[:stop] == _NEWLINE)
    outside = feeds[np.searchsorted(quotes, feeds) & 1 == 0]
    return int(outside[-1]) + 1 if len(outside) else 0


def _find_cut_by_fields(data: bytes, csv_format: CsvFormat) -> int:
    """Go from field to field; one character stands for one byte, so that places are byte places."""
    text = data.decode("latin-1") if csv_format.is_ascii else data.decode("utf-8", "surrogateescape")
    cut = 0
    for match in _field_expression(csv_format).finditer(text):
        if match[4] == "\n":
            cut = match.end()
        if not match[4]:
            break
    return cut if csv_format.is_ascii else len(text[:cut].encode("utf-8", "surrogateescape"))
