"""Times of requests: what each kind of parameter reads, and how everything else is refused."""

from collections.abc import Callable
from typing import Any

import pytest

from domain.api_time import parse_api_time, parse_datafeed_time, parse_iso, parse_result_time
from domain.errors import ParseError

NOW_MS = 1_491_948_163_123  # 2017-04-11T22:02:43.123Z, a Tuesday
DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("1403481600", 1_403_481_600_000),
        ("1403481600000", 1_403_481_600_000),
        ("0", 0),
        ("-1", -1_000),
        ("9999999999", 9_999_999_999_000),
        ("10000000000", 10_000_000_000),
        (1403481600, 1_403_481_600_000),
        (1403481600000, 1_403_481_600_000),
        (" 1403481600 ", 1_403_481_600_000),
        ("now", NOW_MS),
        ("2014-06-23T00:00:00Z", 1_403_481_600_000),
    ],
)
def test_flush_times_are_seconds_or_milliseconds_by_their_length(text: str | int, time_ms: int) -> None:
    assert parse_api_time(text, "start", now_ms=NOW_MS) == time_ms


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("1970", 0),
        ("1970-02", 31 * DAY_MS),
        ("1970-01-02", DAY_MS),
        ("1970-01-02T03", DAY_MS + 3 * 3_600_000),
        ("1970-01-02T03:04", DAY_MS + 3 * 3_600_000 + 4 * 60_000),
        ("1970-01-01T00:00:01", 1_000),
        ("1970-01-01T00:00:01.5", 1_500),
        ("1970-01-01T00:00:01,123456789Z", 1_123),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T01:30+0130", 0),
        ("1969-12-31T16-08", 0),
        ("1969-12-31T23:59:59.999Z", -1),
        ("2016-02-29", 1_456_704_000_000),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
    ],
)
def test_iso_dates_are_read_in_every_length(text: str, time_ms: int) -> None:
    assert parse_iso(text) == time_ms


HOSTILE: list[Any] = [
    "", " ", "x", "Now", "now()", "2017-13-01", "2017-02-30", "2017-01-01T25:00", "2017-01-01T00:60",
    "2017-01-01T00:00:61", "2017-01-01 00:00", "2017-1-1", "2017-01-01Z", "2017-01-01T00:00:00z",
    "2017-01-01T00:00:00.Z", "2017-01-01T00:00:00+25:00", "2017-01-01T00:00:00+01:75", "0000-01-01",
    "-2017-01-01", "+", "-", "--1", "1e10", "1.5", "0x10", "1_000", "\u0661\u0662", "2017-01-01\n\x00",
    "9" * 19, "9" * 20, "9" * 100_000, "-" + "9" * 18, 10**30, -(10**5000), True, None, 1.5, ["1"], b"1",
    {"a": 1}, "now-1d", "NaN", "infinity", "2017-01-01||", "10000-01-01",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: type(text).__name__)
def test_anything_else_is_refused_by_name(text: Any) -> None:
    with pytest.raises(ParseError, match=r"^Query param \[advance_time\] with value \["):
        parse_api_time(text, "advance_time", now_ms=NOW_MS)


def test_the_refusal_is_word_for_word_that_of_the_api() -> None:
    with pytest.raises(ParseError) as caught:
        parse_api_time("not a date", "start")
    assert caught.value.reason == (
        "Query param [start] with value [not a date] cannot be parsed as a date or converted to a number (epoch)."
    )


def test_a_refusal_does_not_repeat_a_whole_attack() -> None:
    with pytest.raises(ParseError) as caught:
        parse_api_time("x" * 1_000_000, "start")
    assert len(caught.value.reason) < 300


@pytest.mark.parametrize("parse", [parse_api_time, parse_result_time, parse_datafeed_time])
def test_now_needs_a_clock(parse: Callable[[str, str], int]) -> None:
    with pytest.raises(ParseError):
        parse("now", "start")


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("1403481600", 1_403_481_600),
        (1403481600000, 1_403_481_600_000),
        ("9223372036854775807", 2**63 - 1),
        (-(2**63) + 1, -(2**63) + 1),
        ("2014-06-23", 1_403_481_600_000),
        ("now-1d", NOW_MS - DAY_MS),
    ],
)
def test_numbers_of_results_are_always_milliseconds(text: str | int, time_ms: int) -> None:
    assert parse_result_time(text, "start", now_ms=NOW_MS) == time_ms


@pytest.mark.parametrize("text", ["9223372036854775808", 2**63, "x", "", "2017-02-30"])
def test_other_times_of_results_are_refused(text: str | int) -> None:
    with pytest.raises(ParseError):
        parse_result_time(text, "end")


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("0", 0),
        ("1403481600", 1_403_481_600),
        ("now", NOW_MS),
        ("now-1d", NOW_MS - DAY_MS),
        ("now+2h-30m", NOW_MS + 90 * 60_000),
        ("now-d", NOW_MS - DAY_MS),
        ("now/s", 1_491_948_163_000),
        ("now/d", 1_491_868_800_000),
        ("now/w", 1_491_782_400_000),
        ("now/M", 1_491_004_800_000),
        ("now/y", 1_483_228_800_000),
        ("now-1M/M", 1_488_326_400_000),
        ("2017-03-31||-1M", 1_488_240_000_000),
        ("2016-02-29||+1y", 1_488_240_000_000),
        ("2017-01-01T00:00:00Z||+1w", 1_483_833_600_000),
    ],
)
def test_datafeed_times_may_be_date_math(text: str, time_ms: int) -> None:
    assert parse_datafeed_time(text, "start", now_ms=NOW_MS) == time_ms


@pytest.mark.parametrize(
    "text",
    [
        "now-", "now-1", "now-1x", "now/", "now1d", "now-1d/", "now--1d", "now+999999999y", "now-99999M",
        "now-99999d" * 40, "now+999999999d", "now||+1d", "2017||/q", "now" + "+999999999w" * 8,
    ],
)  # fmt: skip
def test_other_math_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        parse_datafeed_time(text, "start", now_ms=NOW_MS)
