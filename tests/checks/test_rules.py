"""What custom rules hold back: hardly learnt, whatever is measured, whether it was unusual or not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from domain.model import BucketResult
from tests.checks.jobs import ALL_FUNCTIONS, SPAN, START, detector, job, make_batch, records, run

DAY = 96


def rule(applies_to: str, operator: str, value: float, *actions: str) -> dict[str, Any]:
    return {
        "actions": list(actions or ("skip_model_update",)),
        "conditions": [{"applies_to": applies_to, "operator": operator, "value": value}],
    }


def mean_of(values: np.ndarray, *rules: dict[str, Any], **fields: str):  # type: ignore[no-untyped-def, type-arg]
    """Model and results of one value per bucket, or of one per bucket and member."""
    values = values.reshape(len(values), -1)
    seconds = START + np.repeat(np.arange(len(values)) * SPAN, values.shape[1])
    hosts = [f"host-{k}" for k in range(values.shape[1])] * len(values)
    config = job(detector("mean", custom_rules=list(rules), **(fields or {"by_field_name": "host"})))
    return run(config, make_batch(seconds, {"value": values.ravel()}, {"host": hosts}))


def noise(n_buckets: int, n_series: int = 1, seed: int = 1) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(seed).normal(100, 5, (n_buckets, n_series))


def last_typical(results: list[BucketResult]) -> float:
    record = results[-1].records[0]
    return (record.causes[0] if record.causes else record).typical[0]


def test_a_level_held_back_stays_unusual_for_as_long_as_it_lasts() -> None:
    values = noise(DAY * 9)
    values[DAY * 6 :] += 100
    _, results = mean_of(values, rule("actual", "gt", 150.0))
    _, others = mean_of(values)
    late = [result.records[0].record_score for result in results[-DAY:] if result.records]
    assert len(late) == DAY
    assert min(late) > 40
    assert 95 < last_typical(results) < 105
    # Without the rule the level is usual by then; noise may still leave records of no account.
    assert max((record.record_score for result in others[-DAY:] for record in result.records), default=0.0) < 10


def test_a_value_held_back_counts_for_little_but_not_for_nothing() -> None:
    values = noise(DAY * 4)
    states = []
    for value in (100.0, 200.0):
        values[-2] = value  # the last bucket stays open
        model, _ = mean_of(values, rule("time", "gte", START + (len(values) - 2) * SPAN))
        states.append(model.state()[0]["d0.f0.rows"][:, 0])
    moved = np.abs(states[0] - states[1])
    assert 0.0 < moved[3:].max() <= 0.005 * 100.0
    assert states[0][0] == len(values) - 2 + 0.005


def test_what_is_not_unusual_is_held_back_too() -> None:
    values = noise(DAY * 4)
    model, results = mean_of(values, rule("diff_from_typical", "lt", 1e6))
    assert not [result for result in results if result.records and result.records[0].record_score > 50]
    assert model.state()[0]["d0.f0.rows"][0, 0] == pytest.approx(1.0 + 0.005 * (len(values) - 2))


def test_neither_records_nor_peaks_are_learnt_from_what_is_held_back() -> None:
    values = noise(DAY * 8)
    values[DAY * 6] = values[DAY * 7] = 200.0
    _, results = mean_of(values, rule("actual", "gt", 150.0))
    first, second = (results[at].records[0] for at in (DAY * 6, DAY * 7))
    assert second.record_score == pytest.approx(first.record_score, abs=2.0)
    _, plain = mean_of(values)
    assert not plain[DAY * 7].records or plain[DAY * 7].records[0].record_score < first.record_score - 10


def test_both_actions_go_together() -> None:
    values = noise(DAY * 8)
    values[DAY * 6 :] += 100
    both = rule("actual", "gt", 150.0, "skip_result", "skip_model_update")
    _, results = mean_of(values, both)
    assert not [result for result in results[DAY * 6 :] if result.records]
    values[-2] = 140.0
    _, results = mean_of(values, both)
    assert last_typical(results) < 105


def test_a_population_does_not_learn_from_members_held_back() -> None:
    values = noise(DAY * 3, 20)
    values[DAY:, :8] += 100
    _, plain = mean_of(values, over_field_name="host")
    _, results = mean_of(values, rule("actual", "gt", 150.0), over_field_name="host")
    assert {record.over_field_value for record in results[-1].records} >= {f"host-{k}" for k in range(8)}
    assert last_typical(results) < 105
    assert not plain[-1].records
    _, silent = mean_of(values, rule("actual", "gt", 150.0, "skip_result"), over_field_name="host")
    assert not [record for result in silent for record in result.records if record.causes[0].actual[0] > 150]


@pytest.mark.parametrize("fields", [{"by_field_name": "host"}, {"over_field_name": "host"}], ids=["by", "over"])
@pytest.mark.parametrize("function", ALL_FUNCTIONS)
def test_a_model_that_may_learn_nothing_finds_nothing(function: str, fields: dict[str, str]) -> None:
    if function.endswith("non_zero_count") and "over_field_name" in fields:
        return
    always = rule("time", "gt", 0.0)
    _, results = run(job(detector(function, custom_rules=[always], **fields)), records(n_buckets=30))
    assert not [record for result in results for record in result.records]


def test_rare_values_are_not_learnt_while_a_rule_holds() -> None:
    config = job(detector("rare", by_field_name="user", custom_rules=[rule("time", "lt", START + 40 * SPAN)]))
    model, _ = run(config, records())
    plain, _ = run(job(detector("rare", by_field_name="user")), records())
    weights = [each.state()[0]["d0.rarity.weights"].sum() for each in (model, plain)]
    assert 0 < weights[0] < 0.5 * weights[1]
