"""How often the engine cries wolf on a fleet without anomalies, and whether it finds the planted ones."""

from __future__ import annotations

import pytest

from benchmarks.alarms import find_alarms


@pytest.mark.parametrize("n_records", [30.0, 0.3])
def test_a_fleet_without_anomalies_is_quiet(n_records: float) -> None:
    found = find_alarms(1_000, 1_000, seed=11, n_records=n_records)
    assert found.false_alarms[50] <= found.n_judged / 10_000
    assert found.false_alarms[75] <= found.n_judged / 100_000


@pytest.mark.slow
@pytest.mark.parametrize("n_records", [30.0, 0.3])
def test_a_large_fleet_without_anomalies_is_quiet(n_records: float) -> None:
    found = find_alarms(10_000, 2_001, seed=12, n_records=n_records)
    assert found.n_judged == 20_000_000
    assert found.false_alarms[50] <= found.n_judged / 10_000
    assert found.false_alarms[75] <= found.n_judged / 100_000


def test_planted_anomalies_are_found_and_little_else() -> None:
    found = [find_alarms(100, 672, seed=seed, planted=2_000) for seed in range(4)]
    assert sum(each.n_planted for each in found) > 60
    assert min(each.recall for each in found) >= 0.99
    assert min(each.precision for each in found) >= 0.9
