"""Families of distributions, modes, recalibration and stillness: each does what its formula says."""

import math

import numpy as np
import pytest
from scipy import stats

from domain.model import modes, recalibration, skewed
from domain.model.arrays import Floats
from domain.model.families import COUNTS, GAMMA_OF_RATIOS, HEAVY, LOG_NORMAL_OF_RATIOS, STUDENT
from domain.model.feature_model import FeatureModel
from domain.model.functions import FUNCTIONS
from domain.model.stillness import RUN_MAX, SEEN_FROM, Stillness

SPAN = 900


def learnt(values: Floats, function: str = "mean") -> FeatureModel:
    """A model that has learnt values, a row per bucket and a column per series."""
    model = FeatureModel(FUNCTIONS[function].features[0], "both", SPAN)
    model.reserve(values.shape[1])
    for k, row in enumerate(values):
        judged = model.judge(slice(0, row.size), row, SPAN * (k + 0.5))
        model.learn(judged, model.candidates(judged))
    return model


@pytest.mark.parametrize(
    ("distribution", "family"),
    [
        ("normal", STUDENT),
        ("t3", HEAVY),
        ("log-normal", LOG_NORMAL_OF_RATIOS),
        ("gamma", GAMMA_OF_RATIOS),
        ("poisson", COUNTS),
    ],
)
def test_the_family_that_values_are_of_weighs_most(distribution: str, family: int) -> None:
    rng = np.random.default_rng(1)
    shape = (700, 12)
    values = {
        "normal": rng.normal(100, 5, shape),
        "t3": 100 + 3 * rng.standard_t(3, shape),
        "log-normal": rng.lognormal(3, 1, shape),
        "gamma": rng.gamma(1.5, 10, shape),
        "poisson": rng.poisson(2.0, shape).astype(float),
    }[distribution]
    rows = learnt(values).families.rows[: COUNTS + 1, :12]
    assert np.median(rows[family]) == 0.0


def test_skewed_probabilities_are_the_mass_of_what_is_less_dense() -> None:
    rng = np.random.default_rng(2)
    for draws, density, tail in (
        (rng.lognormal(0, 0.5, 200_000), stats.lognorm(0.5).pdf, skewed.log_normal_tail),
        (rng.gamma(4.0, 1.0, 200_000), stats.gamma(4.0).pdf, skewed.gamma_tail),
    ):
        logs = np.log(draws)
        moments = np.array([logs.mean(), logs.var(), draws.mean()])[:, None]
        at = np.quantile(draws, [0.001, 0.02, 0.95, 0.999])
        expected = [np.mean(density(draws) <= density(x)) for x in at]
        assert tail(moments, at, None) == pytest.approx(expected, rel=0.15)
        upper, lower = tail(moments, at, np.ones(4)), tail(moments, at, -np.ones(4))
        assert upper + lower == pytest.approx(1.0)
        assert upper[2] == pytest.approx(0.05, rel=0.1)


def test_a_value_between_two_modes_is_improbable_and_one_in_either_is_not() -> None:
    rng = np.random.default_rng(3)
    on = rng.random((600, 10)) < 0.3
    model = learnt(np.where(on, 100.0, 10.0) + rng.normal(0, 2, on.shape))
    rows = model.families.rows[:, :10]
    origin = model.rows[2, :10]
    own = rows[-(modes.N_ROWS + recalibration.N_ROWS) : -recalibration.N_ROWS]
    assert own[modes.TRUST].min() > 0.99
    for value, least, most in ((10.0, 0.3, 1.0), (100.0, 0.2, 1.0), (55.0, 0.0, 1e-6)):
        probability = modes.probability(own, value - origin, "both")
        assert least <= probability.min()
        assert probability.max() <= most


def test_one_hump_never_has_two_modes() -> None:
    rng = np.random.default_rng(4)
    values = np.hstack([rng.normal(100, 5, (600, 5)), rng.lognormal(3, 1, (600, 5)), 100 * rng.random((600, 5))])
    model = learnt(values)
    trust = model.families.rows[-(modes.N_ROWS + recalibration.N_ROWS) + modes.TRUST, :15]
    assert trust.max() < 0.01


def test_a_metric_that_stays_on_or_off_for_hours_keeps_its_two_modes() -> None:
    rng = np.random.default_rng(6)
    on = np.cumsum(rng.random((1200, 10)) < 1 / 30, axis=0) % 2 == 1
    model = learnt(np.where(on, 100.0, 10.0) + rng.normal(0, 2, on.shape))
    own = model.families.rows[-(modes.N_ROWS + recalibration.N_ROWS) : -recalibration.N_ROWS, :10]
    assert own[modes.TRUST].min() > 0.99
    assert own[modes.SWITCHES] / (own[modes.N_LOWER] + own[modes.N_UPPER]) == pytest.approx(1 / 60, abs=1 / 120)


def test_a_rare_mode_is_as_wide_as_it_is_from_its_first_values_on() -> None:
    rng = np.random.default_rng(7)
    on = rng.random((360, 40)) < 0.1
    model = learnt(np.where(on, 100.0 + rng.normal(0, 3, on.shape), 10.0 + rng.normal(0, 1, on.shape)))
    own = model.families.rows[-(modes.N_ROWS + recalibration.N_ROWS) : -recalibration.N_ROWS, :40]
    assert np.median(own[modes.V_UPPER]) == pytest.approx(9.0, rel=0.15)
    assert np.median(own[modes.V_LOWER]) == pytest.approx(1.0, rel=0.1)


def test_tails_are_proven_by_how_all_values_lie() -> None:
    rng = np.random.default_rng(8)
    values = np.hstack(
        [rng.lognormal(3, 1, (300, 4)), 100 + 3 * rng.standard_t(3, (300, 4)), rng.normal(9, 1, (300, 4))]
    )
    values[250, 8:] += 40  # an incident is no tail
    families = learnt(values).families
    near, far = (families.proven(families.rows[:, :12], np.full(12, z)).reshape(3, 4) for z in (5.0, 40.0))
    assert near[0].tolist() == far[0].tolist() == [1.0] * 4
    assert np.median(near[1]) > 0.9
    assert not far[1:].any()
    assert not near[2].any()


def test_history_corrects_tails_towards_what_they_were() -> None:
    rng = np.random.default_rng(5)
    rows = np.zeros((recalibration.N_ROWS, 1))
    above = np.ones((24, 1))
    for _ in range(400):
        recalibration.learn(rows, 1.5 * rng.exponential(1.0, (24, 1)), above, 1.0)
    exponents = 1.5 * rng.exponential(1.0, 200_000)
    wide = np.broadcast_to(rows, (recalibration.N_ROWS, exponents.size))
    probability = np.exp(-recalibration.correct(wide, exponents, np.ones(exponents.size)))
    for p in (1e-2, 1e-3):
        assert p / 1.6 < np.mean(probability < p) < 1.6 * p


def test_history_leaves_alone_what_is_right() -> None:
    rows = np.zeros((recalibration.N_ROWS, 3))
    exponents = np.array([1.0, 5.0, 30.0])
    assert recalibration.correct(rows, exponents, np.ones(3)) == pytest.approx(exponents)


def test_an_incident_hardly_changes_what_history_says() -> None:
    rng = np.random.default_rng(6)
    rows = np.zeros((recalibration.N_ROWS, 1))
    above = np.ones((24, 1))
    for _ in range(60):
        recalibration.learn(rows, rng.exponential(1.0, (24, 1)), above, 1.0)
    recalibration.learn(rows, np.full((24, 1), 50.0), above, 1.0)
    corrected = recalibration.correct(rows, np.array([16.0]), np.ones(1))
    assert corrected[0] > 14.0


def test_a_run_of_still_steps_counts_and_a_usual_one_does_not() -> None:
    rng = np.random.default_rng(7)
    stillness = Stillness()
    often = np.repeat(rng.normal(0, 1, 60), 10)
    exponents = []
    for k in range(600):
        y = np.array([rng.normal() if k < 580 else 0.5, often[k]])
        stand = stillness.judge(slice(0, 2), y)
        stillness.learn(slice(0, 2), y, stand)
        exponents.append(np.zeros(2) if stand.exponents is None else stand.exponents)
    of_noise, of_steps = np.array(exponents).T
    assert of_noise[300:580].max() < SEEN_FROM < of_noise[595] <= RUN_MAX
    assert of_steps.max() < SEEN_FROM


def test_what_never_moved_is_no_run() -> None:
    stillness = Stillness()
    largest = 0.0
    for _ in range(1000):
        stand = stillness.judge(slice(0, 1), np.zeros(1))
        stillness.learn(slice(0, 1), np.zeros(1), stand)
        largest = max(largest, 0.0 if stand.exponents is None else float(stand.exponents[0]))
    assert largest < math.log(1e4) < SEEN_FROM


def test_of_one_side_only_the_tail_of_that_side_counts() -> None:
    rng = np.random.default_rng(5)
    model = learnt(rng.lognormal(3, 0.5, (1_500, 3)))
    values = np.array([math.exp(3 - 4.5 * 0.5), math.exp(3), math.exp(3 + 4.5 * 0.5)])  # 4.5 deviations off
    judged = model.judge(slice(0, 3), values, SPAN * 1_500.5)
    setting = model.setting(judged.rows, judged.z, judged.scale, judged.y, judged.mixed)
    known = model.families.rows[:, :3]
    low, high = (model.families.probability(known, setting, side) for side in ("low", "high"))
    assert max(low[0], high[2]) < 0.01
    assert 0.3 < low[1] < 0.7
    assert 0.3 < high[1] < 0.7
    assert min(low[2], high[0]) > 0.99


def test_families_without_a_say_have_none_beside_series_of_other_kinds_either() -> None:
    rng = np.random.default_rng(6)
    normal, skewed_ = rng.normal(100, 5, (700, 1)), rng.lognormal(3, 1, (700, 1))
    alone, both = learnt(normal), learnt(np.hstack([normal, skewed_]))
    x = np.array([120.0])
    found = [model.candidates(model.judge(np.array([0]), x, SPAN * 700.5)).probability[0] for model in (alone, both)]
    beside = both.candidates(both.judge(slice(0, 2), np.array([120.0, 400.0]), SPAN * 700.5))
    assert found == [found[0], beside.probability[0]]
