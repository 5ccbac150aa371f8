"""Uploads as a whole and block by block."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from domain.errors import ParseError
from domain.records import CsvFormat, RecordReader, RecordSchema, read_records
from domain.records.reader import RECORD_BYTES_MAX
from tests.unit.domain.records.samples import SCHEMA, joined, summary

CSV = b"time,series,value\n" + b"".join(b"%d,s%d,%d.25\n" % (i, i % 3, i) for i in range(50))
NDJSON = b"".join(b'{"time":%d,"series":"s%d","value":%d.25}\n' % (i, i % 3, i) for i in range(50))


@pytest.mark.parametrize("data", [CSV, b"\xef\xbb\xbf" + CSV, b"\r\n" + CSV, CSV.replace(b",", b";"), NDJSON])
def test_the_format_is_told_by_content(data: bytes) -> None:
    batches = read_records(data, SCHEMA)
    assert joined(batches)["time_ms"] == [1000 * i for i in range(50)]
    assert sum(batch.input_bytes for batch in batches) == len(data)


@pytest.mark.parametrize("data", [CSV, NDJSON, b"[" + NDJSON.replace(b"\n", b",")[:-1] + b"]"])
@pytest.mark.parametrize("size", [1, 7, 100])
def test_blocks_of_any_size_give_the_same_records(data: bytes, size: int) -> None:
    whole = joined(read_records(data, SCHEMA))
    assert joined(read_records(data, SCHEMA, block_bytes=size)) == whole


@pytest.mark.parametrize("data", [b"", b" \n", b"[", b"time,value", b"time,value\n"])
def test_data_without_records_gives_empty_batches(data: bytes) -> None:
    assert joined(read_records(data, SCHEMA))["counts"][0] == 0


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff"])
def test_another_encoding_is_named(mark: bytes) -> None:
    with pytest.raises(ParseError, match="Expected records in UTF-8, got UTF"):
        read_records(mark + b"{\x00}\x00", SCHEMA)


@pytest.mark.parametrize("start", [b'{"a":"', b"{" * 10, b'time,value\n1,"', b"time"])
def test_a_record_without_an_end_is_refused(start: bytes) -> None:
    with pytest.raises(ParseError, match="records of at most"):
        read_records(start + b"x" * (RECORD_BYTES_MAX + 1), SCHEMA)


def test_a_very_long_line_is_a_record_like_any_other() -> None:
    batches = read_records(b'{"time":1,"other":"%s"}\n{"time":2}\n' % (b"x" * 9_000_000), SCHEMA)
    assert joined(batches)["time_ms"] == [1000, 2000]


def test_malformed_records_are_counted_over_all_blocks_of_an_upload() -> None:
    reader = RecordReader(SCHEMA)
    for _ in range(33):
        reader.feed(b'{"time":1}\n{]}\n{]}\n{]}\n')
    with pytest.raises(ParseError, match="malformed"):
        for _ in range(2):
            reader.feed(b'{"time":1}\n{]}\n{]}\n{]}\n{"time":1}\n')


def test_a_job_may_say_the_format() -> None:
    description = SimpleNamespace(field_delimiter=None, quote_character="'")
    csv_format = CsvFormat.of(description)
    assert csv_format == CsvFormat("\t", "'")
    batches = read_records(b"time\tvalue\n1\t'2'\n", SCHEMA, "delimited", csv_format)
    assert batches[0].numbers["value"].tolist() == [2.0]
    assert CsvFormat.of(SimpleNamespace(field_delimiter=None, quote_character=None)) is None


def test_an_unknown_format_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="xcontent, delimited"):
        RecordReader(SCHEMA, "xml")


def test_farequote_reads_as_it_was_written(test_data: Path) -> None:
    schema = RecordSchema(
        "time", "yyyy-MM-dd'T'HH:mm:ssX", ("responsetime",), ("airline",), ("responsetime", "airline")
    )
    batches = read_records((test_data / "data" / "farequote.csv").read_bytes(), schema)
    whole = joined(batches)
    assert whole["counts"] == (86_274, 0, 86_274 * 3, 0, 0)
    assert len(whole["values"]["airline"]) == 19
    assert summary(batches[0])["time_ms"][0] == 1_449_446_400_000
