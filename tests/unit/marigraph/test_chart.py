"""The chart: values lie where they belong, whatever they are, and within the space there is."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from marigraph.cli.chart import ACTUAL, BLANK, BOUNDS, OUTSIDE, chart, is_outside
from marigraph.debugging.watching import SeriesPoint


def points(actual, lower=None, typical=None, upper=None):
    return [
        SeriesPoint("s", 1_704_067_200_000 + 900_000 * place, value, lower, typical, upper, 0.0, 1.0)
        for place, value in enumerate(actual)
    ]


def dots(line):
    return [(style, ord(text) - BLANK) for style, text in line if len(text) == 1 and ord(text) >= BLANK]


def test_a_rising_series_rises_from_the_lower_left_to_the_upper_right():
    *rows, times = chart(points([float(value) for value in range(20)]), 40, 6)
    filled = [[column for column, (_, bits) in enumerate(dots(row)) if bits] for row in rows]
    assert [row[0] for row in filled] == sorted((row[0] for row in filled), reverse=True)
    assert filled[-1][0] == 0
    assert filled[0][-1] == 9
    assert "19" in rows[0][0][1]
    assert rows[-1][0][1].split()[0] == "0"
    assert times[0][1].split() == ["01-01", "00:00", "01-01", "04:45"]


def test_a_value_outside_its_bounds_is_marked():
    shown = points([5.0, 20.0], lower=0.0, typical=5.0, upper=10.0)
    assert [is_outside(point) for point in shown] == [False, True]
    styles = {style for row in chart(shown, 30, 8) for style, bits in dots(row) if bits}
    assert styles >= {OUTSIDE, BOUNDS} or styles >= {OUTSIDE}
    calm = points([5.0, 5.0], lower=0.0, typical=5.0, upper=10.0)
    assert OUTSIDE not in {style for row in chart(calm, 30, 8) for style, _ in dots(row)}
    assert ACTUAL in {style for row in chart(calm, 30, 8) for style, _ in dots(row)}


def test_only_the_latest_that_fit_are_drawn():
    lines = chart(points([1e9] + [1.0, 2.0] * 50), 22, 5)
    assert "1e+09" not in lines[0][0][1]


@pytest.mark.parametrize("shown", [[], points([None, None])])
def test_without_values_it_says_so(shown):
    assert chart(shown, 40, 10) == [[("", "no values to draw yet")]]


value = st.one_of(st.none(), st.floats(-1e12, 1e12))


@given(st.lists(value, max_size=40), st.tuples(value, value, value), st.integers(0, 60), st.integers(0, 12))
@example([-1.234567e-300], (None, None, None), 40, 5)
@example([0.0, 5e-324], (None, None, None), 40, 5)
def test_any_values_fit_any_space(actual, expected, width, height):
    lines = chart(points(actual, *expected), width, height)
    if len(lines) > 1:
        assert len(lines) == height
        assert all(sum(len(text) for _, text in line) <= width for line in lines)
