"""Joint probabilities: several small ones say more than one, and one among many says less."""

from __future__ import annotations

import math

import numpy as np
import pytest

from domain.model import BucketResult, InfluencerResult
from domain.model.joint import exponent_of_product, joint_exponent
from tests.checks.jobs import SPAN, START, detector, job, make_batch, run

THRESHOLD = -math.log(0.035)


@pytest.mark.parametrize("n", [2, 20, 100])
def test_products_and_joint_probabilities_are_uniform(n: int) -> None:
    exponents = -np.log(np.random.default_rng(n).random((2500, n)))
    small = [[e for e in row if e > THRESHOLD] for row in exponents.tolist()]
    products = np.array([exponent_of_product(math.fsum(row), n, THRESHOLD) if row else 0.0 for row in small])
    both = np.array(
        [joint_exponent(row, n, THRESHOLD, best) for row, best in zip(small, exponents.max(axis=1), strict=True)]
    )
    for found in (products, both):
        for p in (0.05, 0.01):
            assert 0.6 * p < np.mean(found > -math.log(p)) < 1.5 * p


def test_one_alone_is_what_it_is_and_one_of_many_less() -> None:
    assert joint_exponent([9.0], 1, THRESHOLD) == pytest.approx(9.0)
    assert joint_exponent([9.0], 50, THRESHOLD) == pytest.approx(9.0 - math.log(50), abs=0.01)


def test_several_say_more_than_the_least_probable_of_them_in_any_order() -> None:
    found = [7.0, 9.1, 6.3, 8.2]
    joint = joint_exponent(found, 10, THRESHOLD)
    assert joint > joint_exponent([9.1], 10, THRESHOLD) + 3.0
    assert joint_exponent(found[::-1], 10, THRESHOLD) == joint


def test_no_number_of_values_is_too_many() -> None:
    assert joint_exponent([20.0] * 5000, 100_000, THRESHOLD) > 300.0
    assert joint_exponent([], 0, THRESHOLD) == pytest.approx(0.0, abs=1e-12)


N_BUCKETS, N_HOSTS, N_METRICS = 150, 4, 8


def judged(change: np.ndarray, *detectors: dict[str, str]) -> BucketResult:  # type: ignore[type-arg]
    """Hosts with metrics each, moved by so many standard deviations in the last bucket, shape (hosts, metrics)."""
    rng = np.random.default_rng(8)
    values = rng.normal(100, 5, (N_BUCKETS, N_HOSTS, N_METRICS))
    values[-2] = 100 + 5 * change
    n = values.size
    host = np.tile(np.repeat(np.arange(N_HOSTS), N_METRICS), N_BUCKETS)
    metric = np.tile(np.arange(N_METRICS), N_BUCKETS * N_HOSTS)
    batch = make_batch(
        START + np.repeat(np.arange(N_BUCKETS), n // N_BUCKETS) * SPAN,
        {"value": values.ravel()},
        {
            "host": [f"host-{k}" for k in host],
            "metric": [f"metric-{k}" for k in metric],
            "rack": [f"rack-{k // 2}" for k in host],
        },
    )
    each = detectors or (detector("mean", by_field_name="metric", partition_field_name="host"),)
    return run(job(*each, influencers=["host", "rack"]), batch)[1][-1]


def best(result: BucketResult, value: str) -> InfluencerResult:
    return next(item for item in result.influencers if item.influencer_field_value == value)


def test_a_host_whose_metrics_all_move_outranks_one_with_a_single_metric_moved_as_far() -> None:
    change = np.zeros((N_HOSTS, N_METRICS))
    change[1], change[2, 0] = 4.0, 4.0
    result = judged(change)
    assert result.influencers[0].influencer_field_value in {"host-1", "rack-0"}
    assert best(result, "host-1").probability < 1e-4 * best(result, "host-2").probability
    assert best(result, "rack-0").probability < 1e-4 * best(result, "rack-1").probability
    alone = np.zeros((N_HOSTS, N_METRICS))
    alone[2, 0] = 4.0
    assert result.anomaly_score > judged(alone).anomaly_score


def test_one_metric_of_many_makes_its_host_less_unusual_than_itself() -> None:
    change = np.zeros((N_HOSTS, N_METRICS))
    change[2, 0] = 6.0
    result = judged(change)
    [record] = result.records
    influencer = best(result, "host-2")
    assert influencer.probability == pytest.approx(N_METRICS * record.probability, rel=0.5)


def test_detectors_that_agree_make_a_value_more_unusual() -> None:
    change = np.zeros((N_HOSTS, N_METRICS))
    change[1] = 3.0
    of_one = detector("mean", by_field_name="host")
    one = judged(change, of_one)
    three = judged(change, of_one, detector("max", by_field_name="host"), detector("sum", by_field_name="host"))
    assert best(three, "host-1").probability < 0.1 * best(one, "host-1").probability
