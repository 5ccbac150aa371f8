"""JSON records: layouts, meaning of values, and what is malformed."""

import pytest

from domain.errors import ParseError
from domain.records import RecordBatch, find_json_cut, read_json
from domain.records.json_reader import MALFORMED_MAX, NESTING_MAX
from domain.records.json_scan import scan_records
from tests.unit.domain.records.samples import SCHEMA, summary, texts_of


def read(data: bytes) -> RecordBatch:
    return read_json(data, SCHEMA)


@pytest.mark.parametrize(
    "data",
    [
        b'{"time":1,"value":2}\n{"time":3,"value":4}\n',
        b'{"time":1,"value":2}\r\n\r\n{"time":3,"value":4}',
        b'{"time":1,"value":2}{"time":3,"value":4}',
        b' {"time":1,"value":2} \t {"time":3,"value":4} ',
        b'[{"time":1,"value":2},{"time":3,"value":4}]',
        b'[\n  {\n    "time": 1,\n    "value": 2\n  },\n  {\n    "time": 3,\n    "value": 4\n  }\n]\n',
        b'{"time":1,\n"value":2}\n{"time":3,\n"value":4}',
        b'\xef\xbb\xbf{"time":1,"value":2}\n{"time":3,"value":4}',
        b'{"value":"2","time":"1"}\n{"value":"4.0","time":3.0}',
    ],
)
def test_every_layout_of_records_reads_the_same(data: bytes) -> None:
    batch = read(data)
    assert batch.time_ms.tolist() == [1000, 3000]
    assert batch.numbers["value"].tolist() == [2.0, 4.0]
    assert (batch.record_count, batch.malformed_count, batch.input_bytes) == (2, 0, len(data))


@pytest.mark.parametrize("data", [b"", b" \n\t", b"[]", b"[ ]\n"])
def test_an_empty_body_holds_no_records(data: bytes) -> None:
    assert (read(data).record_count, read(data).malformed_count) == (0, 0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b'"x"', "x"),
        (b"1.50", "1.50"),
        (b"1e3", "1e3"),
        (b"12345678901234567890123", "12345678901234567890123"),
        (b"true", "true"),
        (b"false", "false"),
        (b"null", None),
        (b'""', None),
        (b'["a",1,true,null]', "a,1,true,"),
        (b'[["a"],"b",{"c":1}]', "a,b"),
        (b"[]", None),
        (b'"\\u0000"', "\ufffd"),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
    ],
)
def test_a_value_is_taken_as_text(value: bytes, text: str | None) -> None:
    batch = read(b'{"time":1,"series":%s}' % value)
    assert texts_of(batch, "series") == [text]
    assert batch.missing_field_count == 2


def test_nested_objects_flatten_with_dots() -> None:
    batch = read(b'{"time":1,"a":{"b":"deep","c":{"d":1,"e":[1,2]}},"x":{}}')
    assert texts_of(batch, "a.b") == ["deep"]
    assert batch.input_field_count == 3
    assert batch.missing_field_count == 2


def test_fields_are_counted_without_the_time() -> None:
    assert read(b'{"time":1,"x":1,"y":[1,2]}\n{"time":2}\n{}').input_field_count == 2


def test_a_field_that_is_null_or_empty_is_not_missing() -> None:
    batch = read(b'{"time":1,"value":null,"series":"","a.b":null}\n{"time":2}')
    assert batch.missing_field_count == 3


def test_of_a_field_that_occurs_twice_the_last_value_holds() -> None:
    batch = read(b'{"time":1,"series":"a","series":"b"}')
    assert texts_of(batch, "series") == ["b"]
    assert batch.input_field_count == 1


@pytest.mark.parametrize(
    "bad",
    [
        b'{"time":NaN}',
        b'{"time":Infinity}',
        b'{"time":1,}',
        b"{'time':1}",
        b'{"time":01}',
        b'{"time":1',
        b'{"time":1}}',
        b'{"series":"open}',
        b'{"series":"\xff"}',
        b'{"\xff":1}',
        b'{"series":"\\ud800"}',
        b'{"series":"\x00"}',
        b'{"time":\xed\xa0\x80}',
        b'{"time":' + b"9" * 5000 + b"}",
        b'{"time":1,"x":' + b"[" * 200 + b"]" * 200 + b"}",
        b'{"time":1,"x":' + b'{"x":' * 5000 + b"1" + b"}" * 5001,
        b"hello",
        b"7",
        b'"text"',
    ],
)
def test_a_malformed_record_is_dropped_and_counted(bad: bytes) -> None:
    batch = read(b'{"time":5}\n' + bad + b'\n{"time":6}\n')
    n_read = 3 if bad.endswith(b"}}") and bad.startswith(b'{"time":1}}') else 2
    assert (batch.record_count, batch.malformed_count) == (n_read, 1)
    assert batch.time_ms.tolist()[-1] == 6000


def test_nesting_up_to_the_limit_is_read() -> None:
    n = NESTING_MAX - 1
    assert read(b'{"time":1,"x":' + b"[" * n + b"]" * n + b"}").record_count == 1


def test_the_hundredth_malformed_record_refuses_the_upload() -> None:
    data = b'{"time":1}\n{"time":}\n'
    assert read(data * (MALFORMED_MAX - 1)).malformed_count == MALFORMED_MAX - 1
    with pytest.raises(ParseError) as caught:
        read(data * MALFORMED_MAX)
    assert caught.value.reason == "The input JSON data is malformed."
    with pytest.raises(ParseError):
        read_json(data, SCHEMA, malformed_before=MALFORMED_MAX - 1)


def test_records_read_one_by_one_are_those_read_at_once() -> None:
    lines = [b'{"time":%d,"series":"s%d","value":%d.5,"a":{"b":[%d,"x"]}}' % (i, i % 7, i, i) for i in range(300)]
    at_once = read(b"\n".join(lines))
    with_bad = read(b"\n".join([*lines, b"{]}"]))
    assert summary(with_bad) | {"counts": 0} == summary(at_once) | {"counts": 0}


@pytest.mark.parametrize(
    ("data", "cut"),
    [
        (b"", 0),
        (b'{"a":1', 0),
        (b'{"a":1}\n{"a":2}\n{"a"', 16),
        (b'[{"a":1},{"a"', 8),
        (b'{"a":"}"}{"b":"\\"}', 9),
        (b'{"a":{"b":1}\n', 0),
        (b'{"a":\n{"b":1}\n}\n{', 16),
        (b'{"x":{},"a":1\n{"b":2', 14),
    ],
)
def test_data_is_cut_behind_its_last_whole_record(data: bytes, cut: int) -> None:
    assert find_json_cut(data) == cut


def test_a_missing_brace_spoils_only_its_own_record() -> None:
    pieces = [(piece.start, piece.is_whole) for piece in scan_records(b'{"a":1}\n{"a":{"b":1}\n{"a":3}\n')]
    assert pieces == [(0, True), (8, False), (21, True)]
