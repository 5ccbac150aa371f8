"""Records on their way to a job: from whatever holds them to bodies of bounded size that each make sense alone.

A body ends where a record ends; each body of delimited records begins with the header. So a file of any size becomes
posts that the API takes, in memory of one block and the longest record.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

import msgspec

from domain.errors import InvalidArgument, ParseError
from domain.records import CsvFormat
from domain.records.csv_reader import find_csv_cut, sniff_format
from domain.records.json_scan import find_json_cut
from domain.records.reader import DELIMITED, RECORD_BYTES_MAX, recognize
from marigraph.data_files import BLOCK_BYTES, file_blocks, stream_blocks

Record: TypeAlias = Mapping[str, Any]
Records: TypeAlias = bytes | bytearray | str | Path | IO[bytes] | IO[str] | Record | Iterable[Record]
"""Text or bytes in any form that the API takes, a file (by its path, or open), one record, or many."""

RECORDS_PER_BODY: Final = 10_000


class Splitter:
    """Cuts a stream of bytes into bodies.

    Parameters
    ----------
    description : mapping
        The job's ``data_description``: which field is the time, and how delimited records are written.
    """

    def __init__(self, description: Mapping[str, Any]) -> None:
        self._time_field = str(description.get("time_field", "time"))
        self._csv: CsvFormat | None = None
        if description.get("format") == DELIMITED:
            delimiter, quote = description.get("field_delimiter"), description.get("quote_character")
            self._csv = CsvFormat(delimiter or "\t", quote or '"')
        self._is_delimited = self._csv is not None
        self._is_begun = self._is_delimited
        self._header = b""
        self._pending = b""

    def feed(self, block: bytes) -> bytes:
        """Take in a block; return the body of its whole records with those left over, empty if there are none."""
        return self._split(self._pending + block, is_final=False)

    def finish(self) -> bytes:
        """Return the body of what is left, empty if nothing is."""
        return self._split(self._pending, is_final=True)

    def _split(self, data: bytes, *, is_final: bool) -> bytes:
        self._pending = b""
        if not self._is_begun and (len(data) >= 4 or is_final):
            found = recognize(data)
            self._is_begun, self._is_delimited = found is not None, found == DELIMITED
        if not self._is_begun or (self._is_delimited and not self._header):
            end = data.find(b"\n") + 1 or (len(data) if is_final else 0)
            if not self._is_begun or not end:
                return self._keep(data)
            self._header, data = data[:end], data[end:]
            self._csv = self._csv or sniff_format(self._header, self._time_field)
        cut = len(data) if is_final else self._find_cut(data)
        self._keep(data[cut:])
        body = data[:cut]
        if self._is_delimited:
            return self._header + body if body.strip() else b""
        return body.strip(b"[], \t\r\n")  # what a list has between its records means nothing outside of it

    def _find_cut(self, data: bytes) -> int:
        return find_csv_cut(data, self._csv) if self._csv is not None else find_json_cut(data)

    def _keep(self, rest: bytes) -> bytes:
        if len(rest) > RECORD_BYTES_MAX:
            msg = f"Expected records of at most {RECORD_BYTES_MAX} bytes, got a longer one"
            raise ParseError(msg)
        self._pending = rest
        return b""


def bodies_of(data: Records, description: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield bodies to post: one for what is at hand as text or bytes, several for files and many records.

    Raises
    ------
    InvalidArgument
        It is nothing that could hold records.
    """
    if isinstance(data, str):
        yield data.encode()
    elif isinstance(data, bytes | bytearray):
        yield bytes(data)
    elif isinstance(data, Path):
        yield from split(file_blocks(data), description)
    elif hasattr(data, "read"):
        yield from split(stream_blocks(data), description)
    elif isinstance(data, Mapping):
        yield msgspec.json.encode(data)
    elif isinstance(data, Iterable):
        records = iter(data)
        encode = msgspec.json.Encoder().encode_lines
        while part := list(islice(records, RECORDS_PER_BODY)):
            yield encode(part)
    else:
        msg = f"records must be text, bytes, a file, a mapping or a list of mappings, got {type(data).__name__}"
        raise InvalidArgument(msg)


def split(blocks: Iterable[bytes], description: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield the bodies of a stream of blocks."""
    splitter = Splitter(description)
    for block in blocks:
        if body := splitter.feed(block):
            yield body
    if body := splitter.finish():
        yield body


def add_counts(total: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data counts of two uploads together, as the API shows them."""
    added = dict(total)
    for name, value in more.items():
        if name not in added or isinstance(value, str):
            added[name] = value
        elif name.startswith("earliest"):
            added[name] = min(added[name], value)
        elif name.endswith(("_timestamp", "_time")):
            added[name] = max(added[name], value)
        else:
            added[name] += value
    return added


__all__ = ["BLOCK_BYTES", "Records", "Splitter", "add_counts", "bodies_of", "split"]
