"""Delimited records."""

import pytest

from domain.errors import InvalidArgument, ParseError
from domain.records import CsvFormat, CsvHeader, RecordBatch, find_csv_cut, read_csv
from domain.records.csv_rows import read_rows
from tests.unit.domain.records.samples import SCHEMA, texts_of

HEADER = CsvHeader(("time", "series", "value"))


def read(data: bytes, header: CsvHeader = HEADER) -> RecordBatch:
    return read_csv(data, SCHEMA, header)


@pytest.mark.parametrize(
    "data",
    [
        b"1,a,2\n3,b,4\n",
        b"1,a,2\n3,b,4",
        b"1,a,2\r\n3,b,4\r\n",
        b"\n1,a,2\n\r\n\n3,b,4\n",
        b'"1","a","2"\n"3","b","4"\n',
        b'1,"a",2\r\n3,b,"4"\r\n',
        b'1,""a,2\n3,"b",4\n',
    ],
)
def test_every_way_of_writing_a_row_reads_the_same(data: bytes) -> None:
    batch = read(data)
    assert batch.time_ms.tolist() == [1000, 3000]
    assert texts_of(batch, "series") == ["a", "b"]
    assert batch.numbers["value"].tolist() == [2.0, 4.0]
    assert (batch.record_count, batch.input_field_count, batch.missing_field_count) == (2, 4, 2)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        (b'"a,b"', "a,b"),
        (b'"a\nb"', "a\nb"),
        (b'"a""b"', 'a"b'),
        (b'a"b', 'a"b'),
        (b'"a"b', "ab"),
        (b'""', None),
        (b" a ", " a "),
        (b"a\rb", "a\rb"),
        (b"\xc3\xa9", "\xe9"),
        (b"\xe9", "\ufffd"),
        (b"a\x00", "a\ufffd"),
    ],
)
def test_a_field_is_read_as_its_quotes_say(field: bytes, text: str | None) -> None:
    assert texts_of(read(b"1," + field + b",2\n"), "series") == [text]


def test_a_short_row_misses_its_last_fields_and_a_long_one_counts_more() -> None:
    batch = read(b"1\n2,a\n3,a,1\n4,a,1,x,y\n")
    assert batch.time_ms.tolist() == [1000, 2000, 3000, 4000]
    assert batch.input_field_count == 0 + 1 + 2 + 4
    assert batch.missing_field_count == 3 + 2 + 1 + 1


def test_an_empty_field_is_not_missing() -> None:
    assert read(b"1,,\n").missing_field_count == 1


def test_of_two_columns_with_one_name_the_last_holds() -> None:
    batch = read(b"1,a,b\n", CsvHeader(("time", "series", "series")))
    assert texts_of(batch, "series") == ["b"]


def test_a_header_without_the_time_field_is_refused() -> None:
    with pytest.raises(ParseError, match="no time field 'time'"):
        read(b"1,2\n", CsvHeader(("when", "value")))


def test_a_header_is_read_with_quotes_and_blanks() -> None:
    assert CsvHeader.parse(b'time, "series" ,value\r\n').names == ("time", '"series"', "value")
    assert CsvHeader.parse(b'"time","a,b",value\r\n').names == ("time", "a,b", "value")


@pytest.mark.parametrize("delimiter", ["\t", ";", "|", "\xa7"])
@pytest.mark.parametrize("quote", ["'", "\u00ab"])
def test_any_single_character_may_delimit_and_quote(delimiter: str, quote: str) -> None:
    header = CsvHeader(HEADER.names, CsvFormat(delimiter, quote))
    data = delimiter.join(("1", f"{quote}a{delimiter}b{quote}", "2")).encode() + b"\n"
    assert texts_of(read(data * 2, header), "series") == [f"a{delimiter}b"] * 2
    assert find_csv_cut(data + data[:-1], header.format) == len(data)


@pytest.mark.parametrize(("delimiter", "quote"), [("", '"'), ("ab", '"'), (",", "''"), ("\n", '"'), ('"', '"')])
def test_characters_that_cannot_delimit_are_refused(delimiter: str, quote: str) -> None:
    with pytest.raises(InvalidArgument):
        CsvFormat(delimiter, quote)


@pytest.mark.parametrize(
    ("data", "cut"),
    [
        (b"", 0),
        (b"1,a", 0),
        (b"1,a\n2,b", 4),
        (b'1,"a\n2,b', 0),
        (b'1,"a"\n2,"b\n', 6),
        (b'1,a"b\n2,"c\nd', 6),
        (b'1,"a""\n"\n2', 9),
    ],
)
def test_data_is_cut_behind_its_last_whole_row(data: bytes, cut: int) -> None:
    assert find_csv_cut(data) == cut


def test_rows_read_field_by_field_are_lists_of_fields() -> None:
    assert read_rows(b'a,"b\nc"\n\n"",d', CsvFormat()) == [["a", "b\nc"], ["", "d"]]
