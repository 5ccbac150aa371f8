"""Durations and byte sizes: what can be read, what is refused, how sizes are shown."""

import pytest

from domain.config import format_bytes, parse_bytes, parse_duration_ms, parse_duration_seconds
from domain.errors import BadRequest, InvalidArgument


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("5m", 300_000),
        ("300s", 300_000),
        ("300S", 300_000),
        ("250ms", 250),
        ("250MS", 250),
        ("1d", 86_400_000),
        ("1 H", 3_600_000),
        (" 5m ", 300_000),
        ("1500micros", 1),
        ("0", 0),
        ("-1", -1),
        ("-5s", -5_000),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, milliseconds: int) -> None:
    assert parse_duration_ms(text) == milliseconds


@pytest.mark.parametrize("text", ["", "5", "m", "5x", "1.5h", "5m5s", "\u0661m", "5 mm", "+5m", "1e3s", "9" * 30 + "s"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"failed to parse \[timeout\]"):
        parse_duration_ms(text, "timeout")


def test_a_duration_of_centuries_is_refused() -> None:
    assert parse_duration_seconds("106751d") == 106_751 * 86_400
    with pytest.raises(InvalidArgument, match="longer than 292 years"):
        parse_duration_seconds("106752d")


def test_seconds_must_be_whole() -> None:
    assert parse_duration_seconds("2000ms") == 2
    with pytest.raises(InvalidArgument, match=r"^latency has to be a multiple of seconds\. Value = 1500ms$"):
        parse_duration_seconds("1500ms", "latency")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1b", 1),
        ("10mb", 10 << 20),
        ("3G", 3 << 30),
        ("1.5kb", 1536),
        ("2 TB", 2 << 40),
        ("1p", 1 << 50),
        ("0", 0),
        ("-1", -1),
        ("-2k", -2048),
    ],
)
def test_a_size_is_a_number_and_a_unit(text: str, size: int) -> None:
    assert parse_bytes(text, "limit") == size


@pytest.mark.parametrize("text", ["", "10", "mb", "10 mib", "1e3b", "\u0661mb", "9999999p", "9" * 40 + "b"])
def test_anything_else_is_no_size(text: str) -> None:
    with pytest.raises(BadRequest, match=r"failed to parse \[limit\]"):
        parse_bytes(text, "limit")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0b"),
        (1023, "1023b"),
        (1024, "1kb"),
        (9 << 20, "9mb"),
        ((9 << 20) + (1 << 19), "9.5mb"),
        (10 << 30, "10gb"),
        (3000 << 30, "2.9tb"),
        (1 << 60, "1024pb"),
    ],
)
def test_a_size_is_shown_in_its_largest_unit(size: int, text: str) -> None:
    assert format_bytes(size) == text
