"""Columns of times."""

import pytest

from domain.errors import InvalidArgument
from domain.records.spans import Spans
from domain.records.time_format import check_time_format, parse_times
from domain.records.time_pattern import MS_MAX, MS_MIN


def parse(texts: list[str], time_format: str) -> list[int | None]:
    ms, is_valid = parse_times(Spans.of_texts(texts), time_format)
    return [value if ok else None for value, ok in zip(ms.tolist(), is_valid.tolist(), strict=True)]


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1403481600", 1_403_481_600_000),
        ("1403481600.123", 1_403_481_600_123),
        ("1403481600.1239999", 1_403_481_600_123),
        ("-0.0001", -1),
        ("-1.5", -1500),
        ("1.4034816E9", 1_403_481_600_000),
        (" 5 ", 5000),
        ("1e-300", 0),
        ("-62135596800", MS_MIN),
        ("253402300799.999", MS_MAX),
    ],
)
def test_epoch_seconds_are_read_exactly(text: str, ms: int) -> None:
    assert parse([text], "epoch") == [ms]


def test_epoch_milliseconds_are_floored() -> None:
    assert parse(["1403481600000", "1403481600000.9", "-0.5"], "epoch_ms") == [
        1_403_481_600_000,
        1_403_481_600_000,
        -1,
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        ".",
        "now",
        "1_000",
        "0x10",
        "nan",
        "inf",
        "-inf",
        "1e300",
        "1e999999999999",
        "9" * 400,
        "1 2",
        "253402300800",
        "-62135596800.001",
        "2015-12-07",
        "\u0661",
    ],
)
def test_what_is_no_number_of_seconds_within_the_years_is_no_date(text: str) -> None:
    assert parse([text, "1"], "epoch") == [None, 1000]


def test_odd_and_plain_texts_of_a_column_are_read_side_by_side() -> None:
    texts = ["2015-12-07 00:00:00", "x", "2015-12-07 24:00:00", "", "02015-12-07 00:00:00", "2015-02-30 00:00:00"]
    assert parse(texts, "yyyy-MM-dd HH:mm:ss") == [
        1_449_446_400_000,
        None,
        1_449_532_800_000,
        None,
        1_449_446_400_000,
        None,
    ]


def test_every_spelling_of_an_offset_is_read_in_one_column() -> None:
    texts = [f"2015-12-07T00:00:00{offset}" for offset in ("Z", "+00", "+0000", "+00:00", "z")]
    assert parse(texts, "yyyy-MM-dd'T'HH:mm:ssX") == [1_449_446_400_000] * 5


@pytest.mark.parametrize("time_format", ["epoch", "epoch_ms", "yyyy-MM-dd HH", "yyyy-MM-dd'T'HH:mm:ss.SSSXXX"])
def test_legal_formats_pass(time_format: str) -> None:
    check_time_format(time_format)


@pytest.mark.parametrize("time_format", ["", "invalid", "y-M-dd", "epoch_s", "YYY-mm-UU hh:mm:ssY"])
def test_an_illegal_format_is_named(time_format: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_time_format(time_format)
    assert caught.value.reason == f"Invalid Time format string '{time_format}'"
