"""Readers of uploads: the ways of reading agree, cuts do not show, and no input does more than be refused."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from domain.errors import DomainError
from domain.records import CsvFormat, CsvHeader, csv_reader, find_csv_cut, read_csv, read_json, read_records
from domain.records.csv_rows import COMMA, _find_cut_by_fields, read_rows
from domain.records.json_reader import _decode_pieces
from tests.unit.domain.records.samples import SCHEMA, joined, summary

FAST = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
HEADER = CsvHeader(("time", "series", "value", "a.b"))

csv_soup = st.text('12.-"",,\n\n\ra\xe9\0 ', max_size=30).map(str.encode)
csv_field = st.one_of(
    st.text('a1,"\n\r \xe9', max_size=5).map(lambda text: '"' + text.replace('"', '""') + '"'),
    st.text("a1 .-\xe9", max_size=6),
    st.integers(0, 99).map(str),
)
csv_rows = st.lists(
    st.tuples(st.lists(csv_field, min_size=1, max_size=6).map(",".join), st.sampled_from(["\n", "\r\n"])),
    max_size=8,
).map(lambda rows: "".join(row + end for row, end in rows).encode())
csv_data = st.one_of(csv_soup, csv_rows)

scalar = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=6),
)
value = st.recursive(
    scalar, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text("ab", max_size=2), inner))
)
record = st.dictionaries(st.sampled_from(["time", "value", "series", "a", "b", "a.b"]), value, max_size=5)
layout = st.sampled_from(["lines", "array", "joined", "pretty", "pretty array"])


def laid_out(records: list[dict[str, Any]], how: str) -> bytes:
    if how == "array":
        text = json.dumps(records, ensure_ascii=False)
    elif how == "pretty array":
        text = json.dumps(records, indent=1)
    else:
        indent = 1 if how == "pretty" else None
        ends = {"lines": "\n", "joined": "", "pretty": "\n"}[how]
        text = "".join(json.dumps(one, indent=indent) + ends for one in records)
    return text.encode("utf-8", "replace")


@st.composite
def spoilt_json(draw: st.DrawFn) -> bytes:
    """Draw records with a few bytes changed, dropped or put in."""
    data = laid_out(draw(st.lists(record, max_size=6)), draw(layout))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(data)))
        kept = draw(st.integers(0, 3))
        data = (
            data[:place]
            + draw(st.sampled_from([b"", b'"', b"{", b"}", b"\n{", b"\\", b"\xff", b"x", b"\n"]))
            + data[place + kept :]
        )
    return data


@FAST
@given(csv_data)
@example(b'""\n"a"')
@example(b'1,"a\r"\r\n')
def test_whole_columns_and_single_fields_read_the_same(data: bytes) -> None:
    by_columns = summary(read_csv(data, SCHEMA, HEADER))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_reader, "_find_fields", lambda *_: None)
        assert summary(read_csv(data, SCHEMA, HEADER)) == by_columns


@FAST
@given(csv_data)
def test_a_cut_by_quotes_is_the_cut_by_fields_and_parts_no_row(data: bytes) -> None:
    cut = find_csv_cut(data)
    assert cut == _find_cut_by_fields(data, COMMA)
    assert read_rows(data[:cut], COMMA) + read_rows(data[cut:], COMMA) == read_rows(data, COMMA)


@FAST
@given(st.lists(record, max_size=8), layout)
def test_every_layout_reads_as_the_records_one_by_one(records: list[dict[str, Any]], how: str) -> None:
    data = laid_out(records, how)
    pieces, n_malformed = _decode_pieces(data, 0)
    batch = read_json(data, SCHEMA)
    assert (len(pieces), n_malformed) == (len(records), 0)
    assert (batch.record_count, batch.malformed_count) == (len(records), 0)
    assert summary(batch) == summary(read_json(laid_out(records, "lines"), SCHEMA))


@FAST
@given(spoilt_json(), st.integers(1, 40))
@example(b'{"a":{"b":1}\n}', 13)
@example(b'{"a":"}\n}\n{"b":1}', 8)
def test_blocks_of_json_do_not_show_in_what_is_read(data: bytes, size: int) -> None:
    whole = joined(read_records(data, SCHEMA, "xcontent"))
    assert joined(read_records(data, SCHEMA, "xcontent", block_bytes=size)) == whole


@FAST
@given(csv_data, st.integers(1, 40))
def test_blocks_of_csv_do_not_show_in_what_is_read(data: bytes, size: int) -> None:
    data = b"time,series,value,a.b\n" + data
    whole = joined(read_records(data, SCHEMA, "delimited"))
    assert joined(read_records(data, SCHEMA, "delimited", block_bytes=size)) == whole


@FAST
@given(
    st.one_of(st.binary(max_size=200), spoilt_json(), csv_data, csv_data.map(lambda data: b"time,value\n" + data)),
    st.sampled_from([None, "xcontent", "delimited"]),
    st.sampled_from([None, CsvFormat(), CsvFormat(";", "'"), CsvFormat("\xa7", "\xab")]),
)
def test_any_bytes_are_read_or_refused_with_a_reason(
    data: bytes, data_format: str | None, csv_format: CsvFormat | None
) -> None:
    try:
        batches = read_records(data, SCHEMA, data_format, csv_format)
    except DomainError as error:
        assert error.reason
        return
    for batch in batches:
        assert batch.record_count == len(batch) + batch.invalid_date_count
        assert all(len(column) == len(batch) for column in batch.numbers.values())
        assert all(len(column.codes) == len(batch) for column in batch.texts.values())
    assert sum(batch.input_bytes for batch in batches) == len(data)
