"""The parts of a feature's model: seasons, forecasts, spread, probabilities, scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from domain.model import change, forecast, spread
from domain.model.joint import exponent_of_best
from domain.model.normalizer import (
    BucketNormalizer,
    Calibration,
    Peak,
    faded,
    severity,
)
from domain.model.probability import count_tail, student_tail, tail_dof
from domain.model.seasons import DAY, STARTS, WEEK, Seasons, cells_at

HOUR = 3600.0


def learnt(seasons: Seasons, time: float, x: float, weight: float = 1.0) -> None:
    everyone, level = slice(0, 1), np.zeros(1)
    seasons.learn(seasons.read(time, everyone, level), everyone, np.full(1, x), np.full(1, weight))


def test_the_daily_profile_learns_a_daily_curve() -> None:
    seasons = Seasons(900)
    for k in range(96 * 5):
        time = k * 900 + 450
        learnt(seasons, time, math.sin(2 * math.pi * time / 86_400))
    errors = [
        abs(seasons.read(time, slice(0, 1), np.zeros(1)).values[DAY, 0] - math.sin(2 * math.pi * time / 86_400))
        for time in range(450, 86_400, 900)
    ]
    assert max(errors) < 0.02


def test_cells_not_visited_give_way_to_the_level() -> None:
    outlook = Seasons(3600).read(1e9, slice(0, 2), np.array([3.0, 4.0]))
    assert outlook.values.tolist() == [[3.0, 4.0]] * 3


def test_a_value_that_is_not_believed_leaves_no_mark() -> None:
    seasons = Seasons(3600)
    learnt(seasons, 0.0, 1e9, weight=1e-6)
    assert np.abs(seasons.read(0.0, slice(0, 1), np.zeros(1)).values).max() < 1e4


def test_a_slice_and_numbers_of_slots_give_the_same_seasons() -> None:
    by_slice, by_number = Seasons(900), Seasons(900)
    x = np.random.default_rng(1).normal(size=(50, 3))
    for k in range(50):
        for seasons, selection in ((by_slice, slice(0, 3)), (by_number, np.arange(3))):
            outlook = seasons.read(900.0 * k, selection, np.zeros(3))
            seasons.learn(outlook, selection, x[k], np.ones(3))
    assert by_slice.table.tobytes() == by_number.table.tobytes()


def test_weeks_begin_on_monday() -> None:
    monday = 1_700_438_400  # 2023-11-20 00:00 UTC
    index, share = cells_at(monday + 0.5 * HOUR)
    assert (index[WEEK] - STARTS[WEEK], share) == (0, 0.0)


def test_the_mixture_follows_the_best_predictor() -> None:
    rows = np.zeros((forecast.N_ROWS, 1))
    rows[forecast.ERRORS] = 10.0
    rows[forecast.N_PREDICTORS + forecast.SLOW] = 1.0
    weights = forecast.weigh(rows, np.ones(1), None)
    assert weights[forecast.SLOW, 0] > 0.99
    assert weights.sum() == pytest.approx(1.0)


def test_only_series_with_a_period_listen_to_the_predictor_by_it() -> None:
    rows = np.zeros((forecast.N_ROWS, 2))
    rows[forecast.ERRORS] = 10.0
    rows[forecast.N_PREDICTORS + forecast.PERIOD_SLOW] = 1.0
    weights = forecast.weigh(rows, np.ones(2), np.array([1]))
    assert weights[forecast.PERIOD_SLOW].round(2).tolist() == [0.0, 1.0]


def test_no_scale_is_below_its_floors() -> None:
    rows = np.zeros((spread.N_ROWS, 2))
    rows[spread.HIGH, 1] = 50.0
    level, count = np.array([1000.0, 0.0]), np.full(2, 100.0)
    assert spread.scale_of(rows, count, level, is_count=False).tolist() == [0.1, 0.5]
    assert spread.scale_of(np.zeros((spread.N_ROWS, 1)), count[:1], np.zeros(1), is_count=True).tolist() == [0.5]


def test_ordinary_values_are_believed_and_far_ones_are_not() -> None:
    z = np.array([1.0, -3.5, 10.0])
    weight, shift = change.belief(np.zeros((change.N_ROWS, 3)), z, z, np.full(3, 1e6), 1e3)
    assert weight == pytest.approx([1.0, 0.5, (3.5 / 10) ** 8], abs=1e-3)
    assert shift.tolist() == [0.0, 0.0, 0.0]


def test_residuals_reach_farther_on_the_side_they_lean_to() -> None:
    rows = np.zeros((spread.N_ROWS, 4))
    rows[spread.CALM] = 4.0
    rows[spread.SIGNED] = [3.0, 3.0, -4.0, 0.0]
    lean, below, above = spread.leaning(rows)
    assert lean.tolist() == [0.75, 0.75, -1.0, 0.0]
    assert above.tolist() == [math.sqrt(1.75), math.sqrt(1.75), 1.0, 1.0]
    assert below.tolist() == [1.0, 1.0, math.sqrt(2.0), 1.0]


def test_values_that_stay_away_are_believed_in_the_end_while_a_series_is_young() -> None:
    rows, z, count = np.zeros((change.N_ROWS, 1)), np.array([10.0]), np.array([1e6])
    weights = [float(change.belief(rows, z, z, count, 1e7)[0][0]) for _ in range(8)]
    assert weights[0] < 0.01
    assert weights == sorted(weights)
    assert weights[-1] > 0.7


def test_the_tails_of_normal_residuals_are_normal_and_those_of_t_are_not() -> None:
    rng = np.random.default_rng(1)
    found = []
    for sample in (rng.normal(size=100_000), rng.standard_t(5, size=100_000)):
        square, absolute = np.array([np.mean(sample * sample)]), np.array([np.mean(np.abs(sample))])
        found.append(float(tail_dof(square, absolute, np.sqrt(square), np.array([1e5]))[0]))
    assert found[0] > 50
    assert 4 < found[1] < 7


@pytest.mark.parametrize(("side", "factor"), [("high", 1.0), ("low", 1.0), ("both", 2.0)])
def test_student_tails_are_those_of_the_standardised_distribution(side: str, factor: float) -> None:
    dof = np.array([5.0])
    t = 3.0 * math.sqrt(5 / 3)
    expected = factor * stats.t.sf(t, 5)
    assert student_tail(np.array([3.0]), dof, np.array([100.0]), side)[0] == pytest.approx(expected)


def test_count_tails_are_the_middle_of_those_with_and_without_the_count_itself() -> None:
    mean, actual = np.array([4.0, 4.0, 4.0]), np.array([9.0, 0.0, 1.0])
    poisson, negative = stats.poisson(4), stats.nbinom(2, 2 / 6)
    for variance, counts in ((mean, poisson), (np.full(3, 12.0), negative)):
        high, low = count_tail(actual, mean, variance, "high"), count_tail(actual, mean, variance, "low")
        assert high[0] == pytest.approx(math.sqrt(counts.sf(8) * counts.sf(9)), rel=1e-4)
        assert low[1] == pytest.approx(counts.cdf(0) / 2, rel=1e-4)
        assert low[2] == pytest.approx(math.sqrt(counts.cdf(1) * counts.cdf(0)), rel=1e-4)


@pytest.mark.parametrize("mean", [1.0, 5.0, 30.0])
def test_two_sided_probabilities_of_counts_are_the_share_of_what_is_as_improbable(mean: float) -> None:
    counts = np.arange(200.0)
    chances = stats.poisson(mean).pmf(counts)
    probability = count_tail(counts, np.full(200, mean), np.full(200, mean), "both")
    for threshold in (0.05, 1e-2, 1e-3, 1e-4):
        nearest = min(abs(math.log(tail / threshold)) for tail in np.cumsum(np.sort(chances)) if tail > 0)
        share = chances[probability < threshold].sum()
        assert abs(math.log(share / threshold)) < max(nearest * 1.2, 0.5)


def test_scores_rise_with_the_exponent() -> None:
    scores = severity(np.linspace(0, 700, 200))
    assert (np.diff(scores) >= 0).all()
    assert (scores[0], scores[-1]) == (0.0, 100.0)


def test_peaks_fade() -> None:
    month = 30 * 86_400.0
    now, later = faded(np.array([50.0, 50.0]), np.array([0.0, month]))
    assert now == 50.0
    assert 10 < later < 15
    peak = Peak()
    peak.learn(50.0, 0.0)
    assert peak.at(month) == pytest.approx(later)


def test_a_right_model_is_left_alone_and_a_wrong_one_corrected() -> None:
    rng = np.random.default_rng(1)
    right, wrong = Calibration(900), Calibration(900)
    for _ in range(200):
        exponents = rng.exponential(size=1000)
        right.learn(exponents[exponents > 1], 1000)
        exponents = 2.0 * rng.exponential(size=1000)
        wrong.learn(exponents[exponents > 1], 1000)
    one_in_a_million = np.array([6 * math.log(10)])
    assert right.calibrate(one_in_a_million)[0] == pytest.approx(one_in_a_million[0], rel=0.05)
    assert wrong.calibrate(2 * one_in_a_million)[0] == pytest.approx(one_in_a_million[0], rel=0.1)


def test_calibration_keeps_the_order_of_exponents() -> None:
    calibration = Calibration(900)
    calibration.learn(np.full(500, 9.0), 1000)
    calibrated = calibration.calibrate(np.linspace(0, 50, 500))
    assert (np.diff(calibrated) >= 0).all()


def test_the_order_of_what_is_learnt_leaves_no_trace() -> None:
    exponents = np.random.default_rng(1).exponential(3.0, 1000)
    forth, back = Calibration(900), Calibration(900)
    forth.learn(exponents, 1000)
    back.learn(exponents[::-1], 1000)
    assert forth.state() == back.state()


def test_the_best_of_many_is_less_unusual() -> None:
    assert exponent_of_best(3.0, 1) == pytest.approx(3.0)
    assert exponent_of_best(100.0, 1000) == pytest.approx(100 - math.log(1000))
    assert exponent_of_best(39.9, 1000) == pytest.approx(39.9 - math.log(1000), rel=1e-3)
    assert exponent_of_best(0.0, 5) == 0.0


def test_a_usual_bucket_scores_nothing() -> None:
    normalizer = BucketNormalizer(900)
    assert normalizer.judge(1.0) == (0.0, 0.0)
    assert normalizer.judge(50.0)[0] > 90
