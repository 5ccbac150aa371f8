"""Columns of numbers, times and texts give what reading value by value gives."""

import datetime as dt
import math

from hypothesis import example, given, settings
from hypothesis import strategies as st

from domain.records.decimals import parse_number, parse_numbers
from domain.records.dictionary import encode_texts
from domain.records.spans import Spans
from domain.records.time_format import parse_times
from domain.records.time_pattern import MS_MAX, MS_MIN, PatternError, TimePattern
from tests.unit.domain.records.samples import bits

FAST = settings(max_examples=150, deadline=None)

plain_number = st.builds(
    "{}{:.{}f}".format, st.sampled_from(["", "-", "+", "0"]), st.floats(0, 1e12), st.integers(0, 12)
)
number_text = st.one_of(
    plain_number,
    st.floats().map(repr),
    st.integers().map(str),
    st.text("0123456789.-+eE_ nxi", max_size=20),
    st.text(max_size=5),
)

PATTERNS = (
    "yyyy-MM-dd HH:mm:ss",
    "yyyy-MM-dd'T'HH:mm:ssX",
    "yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
    "dd/MMM/yyyy:HH:mm:ss Z",
    "yyyyMMddHHmmss",
    "yy-MM-dd HH",
    "MM-dd HH:mm",
)
OFFSETS = st.sampled_from(["Z", "z", "+01", "-0130", "+18:00", "+19:00", "+00:00", "-00:60", "", "UTC"])


def equals_float(text: str, number: float) -> bool:
    """Say whether the number is what ``float`` makes of the text, within the letters of decimal numbers."""
    stripped = text.strip(" \t\r\n\f\v")
    if stripped and set(stripped) <= set("0123456789.eE+-"):
        try:
            expected = float(stripped)
        except ValueError:
            return math.isnan(number)
        if math.isfinite(expected):
            return bits(expected) == bits(number)
    return math.isnan(number)


@FAST
@given(st.lists(number_text, max_size=40))
@example(["9007199254740993", "0.1", "-0.0", "5.", ".5", "1e400", "1_0", "12345678.12345678"])
def test_a_column_of_numbers_is_float_of_each(texts: list[str]) -> None:
    column = parse_numbers(Spans.of_texts(texts)).tolist()
    assert [text for text, number in zip(texts, column, strict=True) if not equals_float(text, number)] == []
    assert [bits(parse_number(text.encode())) for text in texts] == [bits(number) for number in column]


@st.composite
def date_text(draw: st.DrawFn, pattern: str) -> str:
    """Draw a text of a pattern, often spoilt a little."""
    moment = draw(st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59)))  # noqa: DTZ001
    text = pattern.replace("'", "")
    for letters, shown in {
        "yyyy": f"{moment.year:04}",
        "yy": f"{moment.year % 100:02}",
        "MMM": moment.strftime("%b"),
        "MM": f"{moment.month:02}",
        "dd": f"{moment.day:02}",
        "HH": f"{moment.hour:02}",
        "mm": f"{moment.minute:02}",
        "SSS": f"{moment.microsecond // 1000:03}",
        "ss": f"{moment.second:02}",
    }.items():
        text = text.replace(letters, shown)
    if pattern[-1] in "XZ":
        text = text.rstrip("XZ") + draw(OFFSETS)
    if text and draw(st.booleans()):
        place = draw(st.integers(0, len(text) - 1))
        text = text[:place] + draw(st.text("0123456789:-+ Zjan\xe9", max_size=2)) + text[place + 1 :]
    return text


@FAST
@given(st.data(), st.sampled_from(PATTERNS))
def test_a_column_of_dates_is_the_pattern_on_each(data: st.DataObject, pattern: str) -> None:
    texts = data.draw(st.lists(date_text(pattern), max_size=20))
    ms, is_valid = parse_times(Spans.of_texts(texts), pattern)
    found = [value if ok else None for value, ok in zip(ms.tolist(), is_valid.tolist(), strict=True)]
    one_by_one = TimePattern(pattern)
    assert found == [one_by_one.parse(text.strip(" \t")) for text in texts]


@FAST
@given(st.text("yuMLdDHhKkmsSnANaEGXxZzO'[]/-: {}T", max_size=30), st.text(max_size=40))
def test_any_pattern_is_refused_or_reads_any_text(pattern: str, text: str) -> None:
    try:
        compiled = TimePattern(pattern)
    except PatternError:
        return
    found = compiled.parse(text)
    assert found is None or MS_MIN <= found <= MS_MAX


@FAST
@given(st.lists(number_text, max_size=20), st.sampled_from(["epoch", "epoch_ms", *PATTERNS]))
def test_any_text_is_a_time_within_the_years_or_none(texts: list[str], time_format: str) -> None:
    ms, is_valid = parse_times(Spans.of_texts(texts), time_format)
    assert ((ms >= MS_MIN) & (ms <= MS_MAX) | ~is_valid).all()


@FAST
@given(st.lists(st.decimals(-62_135_596_799, 253_402_300_799, places=5), max_size=30))
def test_epoch_seconds_are_floored_to_milliseconds_exactly(seconds: list[object]) -> None:
    ms, is_valid = parse_times(Spans.of_texts([str(value) for value in seconds]), "epoch")
    assert is_valid.all()
    assert ms.tolist() == [math.floor(value * 1000) for value in seconds]  # type: ignore[operator]


@FAST
@given(st.lists(st.text(max_size=70), max_size=12), st.integers(1, 60))
def test_a_column_of_texts_is_coded_in_order_of_first_appearance(texts: list[str], times: int) -> None:
    column = encode_texts(Spans.of_texts(texts * times))
    shown = [text.encode("utf-8", "replace").decode().replace("\0", "\ufffd") for text in texts]
    assert column.values == list(dict.fromkeys(text for text in shown if text))
    assert [column.values[code] if code >= 0 else "" for code in column.codes.tolist()] == shown * times
