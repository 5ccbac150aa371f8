"""Date patterns, one value at a time."""

import pytest

from domain.records.time_pattern import MS_MAX, MS_MIN, PatternError, TimePattern

DECEMBER_7 = 1_449_446_400_000


@pytest.mark.parametrize(
    ("pattern", "text", "ms"),
    [
        ("yyyy-MM-dd HH:mm:ss", "2015-12-07 00:00:00", DECEMBER_7),
        ("yyyy-MM-dd'T'HH:mm:ssX", "2015-12-07T00:00:00Z", DECEMBER_7),
        ("yyyy-MM-dd'T'HH:mm:ssX", "2015-12-07T01:00:00+01", DECEMBER_7),
        ("yyyy-MM-dd'T'HH:mm:ssX", "2015-12-07T00:00:00+0000", DECEMBER_7),
        ("yyyy-MM-dd'T'HH:mm:ssX", "2015-12-07T05:30:00+05:30", DECEMBER_7),
        ("yyyy-MM-dd HH:mm:ss.SSSXX", "2015-12-06 23:30:00.250-0030", DECEMBER_7 + 250),
        ("yyyy-MM-dd HH:mm:ss.SSSSSSSSSZ", "1969-12-31 23:59:59.999999999+0000", -1),
        ("yyyy-MM-dd HH:mm:ss.n", "2015-12-07 00:00:00.7000000", DECEMBER_7 + 7),
        ("yyyyMMddHHmmss", "20151207000000", DECEMBER_7),
        ("yyMMdd HH", "151207 00", DECEMBER_7),
        ("uuuu-LL-dd HH", "2015-12-07 24", DECEMBER_7 + 86_400_000),
        ("d/M/yyyy H:m", "7/12/2015 0:0", DECEMBER_7),
        ("d/M/yyyy H:m", "07/12/2015 00:00", DECEMBER_7),
        ("dd MMM yyyy hh:mm a", "07 Dec 2015 12:00 AM", DECEMBER_7),
        ("dd MMMM yyyy hh:mm a", "07 december 2015 12:30 pm", DECEMBER_7 + 45_000_000),
        ("yyyy-MM-dd K a", "2015-12-07 0 PM", DECEMBER_7 + 43_200_000),
        ("yyyy-MM-dd k", "2015-12-07 24", DECEMBER_7),
        ("EEE MMM dd HH:mm:ss z yyyy", "Sun Dec 06 19:00:00 EST 2015", DECEMBER_7),
        ("EEEE, d MMM yyyy HH:mm z", "Monday, 7 Dec 2015 00:00 UTC", DECEMBER_7),
        ("yyyy-MM-dd HH:mm O", "2015-12-07 08:00 GMT+8", DECEMBER_7),
        ("yyyy-DDD HH", "2015-341 00", DECEMBER_7),
        ("yyyy-MM-dd A", "2015-12-07 1500", DECEMBER_7 + 1500),
        ("yyyy-MM-dd N", "2015-12-07 1500000000", DECEMBER_7 + 1500),
        ("yyyy-MM-dd'T'HH:mm:ss[.SSS][XXX]", "2015-12-07T00:00:00", DECEMBER_7),
        ("yyyy-MM-dd'T'HH:mm:ss[.SSS][XXX]", "2015-12-07T01:00:00.005+01:00", DECEMBER_7 + 5),
        ("'day' yyyy-MM-dd 'o''clock' HH", "day 2015-12-07 o'clock 00", DECEMBER_7),
        ("yyyy-MM-dd'T'HH:mm:ss.SSS", "0001-01-01T00:00:00.000", MS_MIN),
        ("yyyy-MM-dd'T'HH:mm:ss.SSS", "9999-12-31T23:59:59.999", MS_MAX),
    ],
)
def test_a_pattern_reads_its_texts(pattern: str, text: str, ms: int) -> None:
    assert TimePattern(pattern).parse(text) == ms


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("yyyy-MM-dd HH:mm:ss", ""),
        ("yyyy-MM-dd HH:mm:ss", "2015-12-07"),
        ("yyyy-MM-dd HH:mm:ss", "2015-12-07 00:00:00Z"),
        ("yyyy-MM-dd HH:mm:ss", "2015-02-29 00:00:00"),
        ("yyyy-MM-dd HH:mm:ss", "2015-13-01 00:00:00"),
        ("yyyy-MM-dd HH:mm:ss", "2015-12-00 00:00:00"),
        ("yyyy-MM-dd HH:mm:ss", "2015-12-07 25:00:00"),
        ("yyyy-MM-dd HH:mm:ss", "2015-12-07 00:60:00"),
        ("yyyy-MM-dd HH:mm:ss", "2015-12-07 24:00:01"),
        ("yyyy-MM-dd HH:mm:ss", "0000-01-01 00:00:00"),
        ("yyyy-MM-dd HH:mm:ss", "-001-01-01 00:00:00"),
        ("yyyy-MM-dd HH:mm:ss", "10000-01-01 00:00:00"),
        ("yyyy-MM-dd HH:mm:ss", "\u0662\u0660\u0661\u0665-12-07 00:00:00"),
        ("yyyy-MM-dd HH:mm:ss", "2015-12-07 00:00:00" + " " * 1000),
        ("yyyy-MM-dd'T'HH:mm:ssX", "0001-01-01T00:00:00+01"),
        ("yyyy-MM-dd'T'HH:mm:ssX", "9999-12-31T23:59:59-01"),
        ("yyyy-MM-dd'T'HH:mm:ssX", "2015-12-07T00:00:00+19"),
        ("yyyy-MM-dd'T'HH:mm:ssX", "2015-12-07T00:00:00+0160"),
        ("EEE yyyy-MM-dd HH", "Tue 2015-12-07 00"),
        ("yyyy-MM-dd hh a", "2015-12-07 13 AM"),
        ("yyyy-MM-dd HH z", "2015-12-07 00 Nowhere/City"),
        ("yyyy-DDD HH", "2015-366 00"),
        ("yyyy-MM-dd HH [H]", "2015-12-07 01 2"),
    ],
)
def test_what_is_no_date_of_the_pattern_is_none(pattern: str, text: str) -> None:
    assert TimePattern(pattern).parse(text) is None


def test_a_pattern_without_a_year_takes_the_default_year() -> None:
    assert TimePattern("MMM d HH:mm:ss", default_year=2015).parse("Dec 7 00:00:00") == DECEMBER_7


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "invalid",
        "y-M-dd",
        "HH:mm:ss",
        "YYY-mm-UU hh:mm:ssY",
        "yyyy-MM-dd hh:mm",
        "yyyy-MM-ddTHH:mm:ss",
        "yyyy-MM-dd 'open HH",
        "yyyy-MM-dd] HH",
        "yyyy-MM-dd {HH}",
        "yyyy-MM-dddd HH",
        "yyyy-MM-dd HH VV",
        "y" * 200 + "-MM-dd HH",
    ],
)
def test_a_pattern_that_names_no_instant_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        TimePattern(pattern)


def test_no_text_makes_a_pattern_backtrack_far() -> None:
    pattern = TimePattern("yMM'1'" * 15 + "dd HH")
    assert pattern.parse("1" * 250) is None
