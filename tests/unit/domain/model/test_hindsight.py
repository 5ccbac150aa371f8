"""Hindsight: how far a score sinks beside something greater, and when the fold says so."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from domain.model import Basis, Renormalization, score_of
from domain.model.hindsight import RISE, Review, kept, risen, scope_of_series, window_seconds

DAY = 86_400
HOUR = 3_600
IMPROBABLE = Basis("[0]", ordinary_score=60.0, height=10.0, peak=0.0, strength=0.0)
NEW = Basis("[0]", ordinary_score=5.0, height=1.0, peak=0.0, strength=2.01)
SHADED = msgspec.structs.replace(IMPROBABLE, peak=40.0)


def test_a_score_rests_on_the_better_of_being_improbable_and_being_new() -> None:
    assert score_of(IMPROBABLE) == 60.0
    assert score_of(NEW) == pytest.approx(75.0)


def test_the_greatest_of_its_scope_keeps_its_score() -> None:
    assert score_of(msgspec.structs.replace(IMPROBABLE, peak=10.0)) == 60.0
    assert score_of(msgspec.structs.replace(NEW, later_strength=2.01)) == pytest.approx(75.0)


def test_a_greater_peak_never_raises_a_score_and_takes_half_of_it_at_most() -> None:
    scores = [score_of(msgspec.structs.replace(IMPROBABLE, peak=peak)) for peak in np.linspace(0, 1e6, 1000).tolist()]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == 60.0
    assert 30.0 <= scores[-1] < 30.01


def test_under_one_peak_what_is_less_probable_keeps_more() -> None:
    parts = [kept(own, 30.0) for own in np.linspace(0, 40, 100).tolist()]
    assert parts == sorted(parts)
    assert (parts[0], parts[-1]) == (0.5, 1.0)


def test_records_broken_are_held_down_by_later_ones_only() -> None:
    greater_before = msgspec.structs.replace(NEW, peak=1000.0)
    assert score_of(greater_before) == pytest.approx(75.0)
    assert score_of(msgspec.structs.replace(NEW, later_strength=20.0)) < 50.0


def test_a_peak_counts_for_less_the_farther_away_it_is() -> None:
    peak = Renormalization("[0]", 0, 30 * DAY * 1000, height=50.0, strength=5.0)
    near, far = peak.at(29 * DAY * 1000), peak.at(0)
    assert far[0] < near[0] < 50.0
    assert far[1] < near[1] < 5.0


def test_a_peak_rises_by_a_named_factor_above_an_earlier_one() -> None:
    heights = np.array([50.0, 50.0, 50.0, 5.0])
    earlier = np.array([49.0, 50.0 / RISE - 0.1, 0.0, 1.0])
    assert risen(heights, earlier, 10.0).tolist() == [False, True, False, False]


def test_the_window_is_a_month_or_a_hundred_buckets_unless_said() -> None:
    assert window_seconds(None, HOUR) == 30 * DAY
    assert window_seconds(None, DAY) == 100 * DAY
    assert window_seconds(3, DAY) == 3 * DAY


def make_review(window: int = 30 * DAY) -> Review:
    review = Review(HOUR)
    review.window = window
    return review


def test_a_risen_peak_reaches_back_over_the_window_and_not_into_its_own_bucket() -> None:
    (found,) = make_review(3 * DAY).of_bucket(100 * DAY, [], {"[1]": (50.0, 2.0)})
    assert found == Renormalization("[1]", 97 * DAY * 1000, 100 * DAY * 1000, 50.0, 2.0)


def test_scopes_come_in_one_order() -> None:
    risen_scopes = {scope: (50.0, 0.0) for scope in ("[2]", "[1]", "[3]")}
    assert [each.scope for each in make_review().of_bucket(0, [], risen_scopes)] == ["[1]", "[2]", "[3]"]


def test_scores_given_below_an_earlier_peak_are_settled_at_the_end_of_their_day() -> None:
    review = make_review()
    assert review.of_bucket(5 * HOUR, [IMPROBABLE], {}) == []
    assert review.of_bucket(6 * HOUR, [SHADED], {}) == []
    restored = make_review()
    restored.load(review.state())
    assert restored.of_bucket(23 * HOUR, [], {}) == [Renormalization(None, 6 * HOUR * 1000, DAY * 1000)]
    assert restored.of_bucket(47 * HOUR, [], {}) == []


def test_without_a_window_nothing_is_ever_changed() -> None:
    review = make_review(0)
    assert review.of_bucket(23 * HOUR, [SHADED], {"[1]": (50.0, 2.0)}) == []


def test_scopes_of_different_series_never_share_a_name() -> None:
    names = [("a", "b"), ("a,b",), ('a","b',), ("a", "b", "")]
    assert len({scope_of_series(0, "mean", name) for name in names}) == len(names)
