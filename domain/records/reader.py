"""Records out of a stream of bytes: recognises the format, cuts at record ends, and hands out batches.

Memory stays bounded by the blocks that come in and the longest record allowed. Decompression and files are
the caller's: this holds no I/O. Data that is refused raises before any batch of the block is handed out.
"""

from dataclasses import replace

from domain.errors import ParseError
from domain.records.batch import RecordBatch, RecordSchema
from domain.records.csv_reader import CsvFormat, CsvHeader, find_csv_cut, read_csv, sniff_format
from domain.records.json_reader import BOM, read_json
from domain.records.json_scan import find_json_cut

RECORD_BYTES_MAX = 10 * 1024 * 1024
"""A longer record is refused: chosen, a tenth of the largest upload, far above any usual record."""

JSON = "xcontent"
DELIMITED = "delimited"
_FORMATS = (JSON, DELIMITED)

_OTHER_ENCODINGS = {
    b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16",
}  # fmt: skip
_SPACE = b" \t\r\n"


def recognize(data: bytes) -> str | None:
    """Return the format of data by its beginning: JSON begins with a brace or a bracket.

    Returns
    -------
    str or None
        `xcontent`, `delimited`, or None when there is nothing but white space to go by.

    Raises
    ------
    ParseError
        When the data is in an encoding other than UTF-8.
    """
    for mark, name in _OTHER_ENCODINGS.items():
        if data.startswith(mark):
            reason = f"Expected records in UTF-8, got {name}"
            raise ParseError(reason)
    start = data.removeprefix(BOM).lstrip(_SPACE)[:1]
    if not start:
        return None
    return JSON if start in b"{[" else DELIMITED


class RecordReader:
    """Reads one upload, or one file, block by block.

    Parameters
    ----------
    schema : RecordSchema
    data_format : str, optional
        `xcontent` or `delimited`; told by content if not given.
    csv_format : CsvFormat, optional
        Of delimited data; if not given, the delimiter that makes the time field a column.

    Attributes
    ----------
    malformed_count : int
        Malformed records so far.
    """

    def __init__(
        self, schema: RecordSchema, data_format: str | None = None, csv_format: CsvFormat | None = None
    ) -> None:
        if data_format not in (*_FORMATS, None):
            reason = f"Expected the data format to be one of {', '.join(_FORMATS)}, got '{data_format}'"
            raise ValueError(reason)
        self.schema = schema
        self.malformed_count = 0
        self._format = data_format
        self._csv_format = csv_format
        self._header: CsvHeader | None = None
        self._header_bytes = 0
        self._pending = b""
        self._is_begun = False
        self._retry_bytes = 0

    def feed(self, block: bytes) -> RecordBatch | None:
        """Take in a block; return its whole records with those left over from before, None if there are none.

        Raises
        ------
        ParseError
            When the data cannot be read on: see `read_json`, `read_csv`, and `RECORD_BYTES_MAX`.
        """
        return self._read(self._pending + block, is_final=False)

    def finish(self) -> RecordBatch | None:
        """Return the records that end with the data, None if there are none."""
        batch = self._read(self._pending, is_final=True)
        if batch is None and self._header_bytes:
            return replace(read_json(b"", self.schema), input_bytes=self._header_bytes)
        return batch

    def _read(self, data: bytes, *, is_final: bool) -> RecordBatch | None:
        if not self._is_begun and not self._begin(data, is_final=is_final):
            self._pending = self._bounded(data)
            return None
        if self._format == DELIMITED and self._header is None:
            rest = self._take_header(data, is_final=is_final)
            if rest is None:
                self._pending = self._bounded(data)
                return None
            data = rest
        cut = len(data) if is_final else self._find_cut(data)
        if cut or len(data) >= self._retry_bytes:
            self._retry_bytes = 0 if cut else 2 * len(data)
        self._pending = self._bounded(data[cut:])
        return self._batch(data[:cut]) if cut else None

    def _begin(self, data: bytes, *, is_final: bool) -> bool:
        """Look at the first bytes; False while there are too few."""
        found = recognize(data)
        if (found is None or len(data) < 4) and not is_final:
            return False
        self._format = self._format or found or JSON
        self._is_begun = True
        return True

    def _take_header(self, data: bytes, *, is_final: bool) -> bytes | None:
        """Read the header line and return what follows it, None while it is not all there."""
        text = data.removeprefix(BOM).lstrip(b"\r\n")
        end = text.find(b"\n") + 1
        if not end:
            if not is_final:
                return None
            end = len(text)
        line, rest = text[:end], text[end:]
        csv_format = self._csv_format or sniff_format(line, self.schema.time_field)
        if line:
            self._header = CsvHeader.parse(line, csv_format)
            self._header.places(self.schema)
        self._header_bytes = len(data) - len(rest)
        return rest

    def _find_cut(self, data: bytes) -> int:
        if len(data) < min(self._retry_bytes, RECORD_BYTES_MAX):
            return 0  # there was no end in half of it: looking anew at every block would take quadratic time
        if self._header is not None:
            return find_csv_cut(data, self._header.format)
        return find_json_cut(data)

    def _bounded(self, rest: bytes) -> bytes:
        if len(rest) > RECORD_BYTES_MAX:
            reason = f"Expected records of at most {RECORD_BYTES_MAX} bytes, got a longer one"
            raise ParseError(reason)
        return rest

    def _batch(self, data: bytes) -> RecordBatch:
        if self._header is None:
            batch = read_json(data, self.schema, malformed_before=self.malformed_count)
            self.malformed_count += batch.malformed_count
            return batch
        batch = read_csv(data, self.schema, self._header, extra_bytes=self._header_bytes)
        self._header_bytes = 0
        return batch


def read_records(
    data: bytes,
    schema: RecordSchema,
    data_format: str | None = None,
    csv_format: CsvFormat | None = None,
    *,
    block_bytes: int = 1 << 20,
) -> list[RecordBatch]:
    """Read a whole upload at once, as batches of about `block_bytes`; an empty body gives one empty batch.

    All of it is read before anything is returned, so an upload that is refused leaves nothing behind.
    """
    reader = RecordReader(schema, data_format, csv_format)
    batches = [reader.feed(data[i : i + block_bytes]) for i in range(0, len(data), block_bytes)]
    batches.append(reader.finish())
    found = [batch for batch in batches if batch is not None]
    return found or [read_json(b"", schema)]
