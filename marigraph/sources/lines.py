"""One file of records, read by lines: CSV with a header or NDJSON, plain or gzip, told by its content.

The last line of a file that is being written may be half of one: without its line break it is only read when the file
has rested for a while. Lines that are no record, or have no time, are passed over and counted in the log.
"""

import csv
import gzip
import logging
import os
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, cast

import msgspec

from domain.records.csv_reader import CsvHeader, sniff_format
from marigraph.sources.base import PAGE_ROWS, Page, Record, Search
from marigraph.sources.times import times_ms

log = logging.getLogger(__name__)

LINE_BYTES_MAX: Final = 1024 * 1024
"""A longer line is no record; the file is refused."""

SETTLE_SECONDS: Final = 5.0
"""How long a file must have rested for its last line to be whole without a line break."""

DEPTH_MAX: Final = 20
"""Deeper objects in a line are left out."""

GZIP_MAGIC: Final = b"\x1f\x8b"
BOM: Final = b"\xef\xbb\xbf"


class ReadError(Exception):
    """A file that cannot be read on; the message names it."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file, everything before which is older than a time.

    Attributes
    ----------
    before_ms : int
        All records before the place are older.
    is_end : bool
        There was nothing behind the place.
    """

    device: int
    inode: int
    size: int
    modified_ns: int
    offset: int
    header: tuple[str, ...] | None
    delimiter: str
    before_ms: int
    is_end: bool

    def fits(self, now: os.stat_result) -> bool:
        """Tell whether the file is still the one of the mark, and only grew."""
        is_same = (now.st_dev, now.st_ino) == (self.device, self.inode)
        return is_same and now.st_size >= self.size and now.st_size >= self.offset

    def is_exhausted(self, path: Path) -> bool:
        """Tell whether the file was read to its end and has not changed since."""
        now = path.stat()
        return self.is_end and self.fits(now) and (now.st_size, now.st_mtime_ns) == (self.size, self.modified_ns)


class LineFile:
    """An open file of records; closed by leaving its context."""

    def __init__(self, file: BufferedReader, name: str, search: Search, mark: Mark | None) -> None:
        self._raw = file
        self._name = name
        self._search = search
        self._stat = os.fstat(file.fileno())
        self._offset = 0
        self._header: tuple[str, ...] | None = None
        self._delimiter = ","
        self._is_end = False
        self._is_partial = False
        self._first = b""
        self._n_refused = 0
        self._year = time.gmtime().tm_year
        self._is_gzip = file.peek(len(GZIP_MAGIC))[: len(GZIP_MAGIC)] == GZIP_MAGIC
        self._stream: BinaryIO = cast(BinaryIO, gzip.GzipFile(fileobj=file)) if self._is_gzip else file
        self._rested = time.time() - self._stat.st_mtime > SETTLE_SECONDS
        if mark is not None and mark.fits(self._stat) and not self._is_gzip:
            file.seek(mark.offset)
            self._offset, self._header, self._delimiter = mark.offset, mark.header, mark.delimiter
            self._is_begun = mark.offset > 0
        else:
            self._is_begun = False

    def __enter__(self) -> "LineFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._raw.close()
        if self._n_refused:
            log.warning("%s: %d lines are no records with a time and were passed over", self._name, self._n_refused)

    def header(self) -> tuple[str, ...] | None:
        """Return the names of the columns; None for NDJSON and for a file without a whole line."""
        self._begin()
        return self._header

    def mark(self, before_ms: int) -> Mark:
        """Return the place behind the last page."""
        return Mark(
            device=self._stat.st_dev,
            inode=self._stat.st_ino,
            size=self._stat.st_size,
            modified_ns=self._stat.st_mtime_ns,
            offset=0 if self._is_gzip or not self._is_begun else self._offset,
            header=self._header,
            delimiter=self._delimiter,
            before_ms=before_ms,
            is_end=self._is_end,
        )

    def pages(self) -> Iterator[Page]:
        """Yield records, each with its time in milliseconds; an empty page where no line of one was a record.

        Raises
        ------
        ReadError
        """
        self._begin()
        records = self._json() if self._header is None else self._csv()
        page: list[Record | None] = []
        for record in records:
            page.append(record)
            if len(page) >= PAGE_ROWS:
                yield self._timed(page)
                page = []
        self._is_end = not self._is_partial
        yield self._timed(page)

    # ------------------------------------------------------------------------------------------------------- parts

    def _line(self) -> bytes:
        """Return the next whole line, empty at the end."""
        try:
            line = self._stream.readline(LINE_BYTES_MAX + 1)
        except (OSError, EOFError, zlib.error) as error:
            msg = f"{self._name} cannot be read: {error}"
            raise ReadError(msg) from error
        if len(line) > LINE_BYTES_MAX:
            msg = f"{self._name} has a line of more than {LINE_BYTES_MAX} bytes"
            raise ReadError(msg)
        if line and not line.endswith(b"\n") and not (self._rested or self._is_gzip):
            self._is_partial = True  # it is being written
            return b""
        self._offset += len(line)
        return line

    def _begin(self) -> None:
        """Find out the format by the first line that is not empty; it is the header unless it is an object."""
        if self._is_begun:
            return
        while line := self._line():
            text = line.removeprefix(BOM) if self._offset == len(line) else line
            if text.strip():
                break
        else:
            return
        self._is_begun = True
        if text.lstrip().startswith(b"{"):
            self._first = text
            return
        csv_format = sniff_format(text, self._search.time_field)
        self._header = CsvHeader.parse(text, csv_format).names
        self._delimiter = csv_format.delimiter

    def _lines(self) -> Iterator[bytes]:
        if self._first:
            yield self._first
            self._first = b""
        while line := self._line():
            yield line

    def _json(self) -> Iterator[Record | None]:
        for line in self._lines():
            if not line.strip():
                continue
            try:
                value = msgspec.json.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                value = None
            yield flat(value) if isinstance(value, dict) else None

    def _csv(self) -> Iterator[Record | None]:
        names = self._header or ()
        texts = (line.decode("utf-8", "replace").replace("\0", "\ufffd") for line in self._lines())
        rows = csv.reader(texts, delimiter=self._delimiter)
        while True:
            try:
                row = next(rows, None)
            except csv.Error as error:
                if "field limit" in str(error):  # a quote that nothing closes would swallow the rest of the file
                    msg = f"{self._name}: {error}"
                    raise ReadError(msg) from error
                yield None
                continue
            if row is None:
                return
            if row:
                yield {name: value for name, value in zip(names, row, strict=False) if value != ""}

    def _timed(self, page: list[Record | None]) -> Page:
        """Return the records that have a time, in milliseconds."""
        field = self._search.time_field
        records = [record for record in page if record is not None and isinstance(record.get(field), str | int | float)]
        times = times_ms([str(record[field]) for record in records], self._search.time_format, self._year)
        timed = [
            {**record, field: time_ms} for record, time_ms in zip(records, times, strict=True) if time_ms is not None
        ]
        self._n_refused += len(page) - len(timed)
        return timed


def flat(value: dict[str, Any], prefix: str = "", depth: int = 0) -> Record:
    """Return an object with the names of nested values joined by dots.

    >>> flat({"a": {"b": 1, "c": None}, "d": [1, {"e": 2}]})
    {'a.b': 1, 'd': [1]}
    """
    found: Record = {}
    for name, item in value.items():
        if isinstance(item, dict):
            if depth < DEPTH_MAX:
                found.update(flat(item, f"{prefix}{name}.", depth + 1))
        elif isinstance(item, list):
            found[prefix + name] = [each for each in item if isinstance(each, str | int | float)]
        elif item is not None:
            found[prefix + name] = item
    return found
