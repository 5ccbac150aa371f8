"""Arbitrary texts as times of requests: a time in range comes out or a domain error."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.api_time import (
    TIME_MS_MAX,
    TIME_MS_MIN,
    parse_api_time,
    parse_datafeed_time,
    parse_iso,
    parse_result_time,
)
from domain.errors import ParseError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FAST = settings(max_examples=200, deadline=None)

hostile = st.one_of(
    st.text(max_size=40),
    st.integers(),
    st.from_regex(r"[+-]?[0-9]{1,25}", fullmatch=True),
    st.from_regex(r"[0-9]{4}(-[0-9]{2}){0,2}(T[0-9]{2}(:[0-9]{2}){0,2}([.][0-9]{1,9})?[+-][0-9]{4})?", fullmatch=True),
    st.from_regex(r"(now|[0-9]{4}-[01][0-9]-[0-3][0-9]\|\|)([+-][0-9]{0,9}[yMwdhHms]|/[yMwdhms]){0,5}", fullmatch=True),
)
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(
    datetime(1, 1, 3),  # noqa: DTZ001 - bounds are naive, the zone is drawn
    datetime(9999, 12, 29),  # noqa: DTZ001
    timezones=offsets,
)


@FAST
@given(hostile)
@pytest.mark.parametrize(
    ("parse", "low", "high"),
    [
        (parse_api_time, TIME_MS_MIN, TIME_MS_MAX),
        (parse_datafeed_time, TIME_MS_MIN, TIME_MS_MAX),
        (parse_result_time, -(2**63), 2**63 - 1),
    ],
)
def test_any_text_is_a_time_in_range_or_a_domain_error(
    parse: Callable[..., int], low: int, high: int, text: str | int
) -> None:
    try:
        time_ms = parse(text, "start", now_ms=1_491_948_163_123)
    except ParseError:
        return
    assert low <= time_ms <= high


@FAST
@given(moments)
def test_a_moment_written_as_iso_is_read_back_to_the_millisecond(moment: datetime) -> None:
    assert parse_iso(moment.isoformat()) == (moment - EPOCH) // timedelta(milliseconds=1)
