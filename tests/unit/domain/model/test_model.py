"""The model as a whole: which buckets close when, what flushes do, what results hold."""

from __future__ import annotations

import numpy as np
import pytest

from domain.config.rules import CustomRule, RuleScope
from domain.errors import Unsupported
from domain.model import Model, check_supported
from domain.model.timeline import EMPTY_BUCKETS_MAX
from tests.checks.jobs import START, detector, job, make_batch, records, run

HOUR = 3600
COUNT = job(detector("count"), span="1h")


def starts(results: list) -> list[int]:  # type: ignore[type-arg]
    return [result.timestamp_ms // 1000 for result in results]


def test_nothing_seen_has_no_final_bucket_and_no_interim_results() -> None:
    model = Model(COUNT)
    assert model.last_finalized_bucket_end_ms is None
    assert model.latest_record_ms is None
    assert model.interim(None, None) == []


def test_the_first_record_sets_the_final_end_to_its_buckets_start() -> None:
    model, results = run(job(detector("count"), span="1h"), make_batch([1403481600, 1403481700]))
    assert results == []
    assert model.last_finalized_bucket_end_ms == 1403481600000


def test_latency_moves_the_final_end_back() -> None:
    model, _ = run(job(detector("count"), span="1h", latency="2h"), make_batch([START + 10]))
    assert model.last_finalized_bucket_end_ms == (START - 2 * HOUR) * 1000


def test_skip_time_rounds_up_to_a_bucket() -> None:
    model, _ = run(COUNT, make_batch([1403481600, 1403481700]))
    model.skip_time(1403488700000)
    assert model.last_finalized_bucket_end_ms == 1403488800000


def test_a_bucket_entered_in_the_middle_has_no_result() -> None:
    _, results = run(COUNT, make_batch([START + 10, START + HOUR, START + 2 * HOUR + 5]))
    assert starts(results) == [START + HOUR]


def test_a_first_bucket_entered_at_its_start_has_a_result() -> None:
    _, results = run(COUNT, make_batch([START, START + 10, START + HOUR]))
    assert starts(results) == [START]
    assert results[0].event_count == 2


def test_a_record_on_a_boundary_belongs_to_the_bucket_that_starts_there() -> None:
    _, results = run(COUNT, make_batch([START, START + HOUR - 0.001, START + HOUR, START + 2 * HOUR]))
    assert [result.event_count for result in results] == [2, 1]


def test_empty_buckets_have_results() -> None:
    _, results = run(COUNT, make_batch([START, START + 3 * HOUR]))
    assert [result.event_count for result in results] == [1, 0, 0]


def test_times_before_the_epoch_are_bucketed_too() -> None:
    _, results = run(COUNT, make_batch([-2 * HOUR, -1.5 * HOUR, -1, 0]))
    assert starts(results) == [-2 * HOUR, -HOUR]
    assert [result.event_count for result in results] == [2, 1]


def test_advance_time_finalizes_only_whole_buckets() -> None:
    model, _ = run(COUNT, make_batch([START]))
    results = model.advance_time((START + 2 * HOUR + 1800) * 1000)
    assert starts(results) == [START, START + HOUR]
    assert model.last_finalized_bucket_end_ms == (START + 2 * HOUR) * 1000


def test_advance_time_waits_for_the_latency() -> None:
    model, _ = run(job(detector("count"), span="1h", latency="30m"), make_batch([START]))
    assert model.advance_time((START + HOUR + 1799) * 1000) == []
    assert starts(model.advance_time((START + HOUR + 1800) * 1000)) == [START]


def test_data_before_the_final_end_are_dropped() -> None:
    model, _ = run(COUNT, make_batch([START]))
    model.advance_time((START + 2 * HOUR) * 1000)
    model.add(make_batch([START + 100, START + 2 * HOUR + 100]))
    assert [result.event_count for result in model.advance_time((START + 3 * HOUR) * 1000)] == [1]


def test_skip_time_leaves_neither_results_nor_traces_in_what_is_learnt() -> None:
    batch = records()
    model, _ = run(job(detector("mean", by_field_name="host")), batch)
    end = int(batch.time_ms[-1])
    model.advance_time(end + 900_000)
    learnt = model.state()[0]
    model.add(make_batch([end / 1000 + 1000], {"value": [1e6]}, {"host": ["host-1"]}))
    model.skip_time(end + 50 * 900_000)
    assert model.advance_time(end + 50 * 900_000) == []
    after = model.state()[0]
    assert all(np.array_equal(learnt[name], after[name], equal_nan=True) for name in learnt)


def test_skip_time_never_goes_back() -> None:
    model, _ = run(COUNT, make_batch([START, START + 5 * HOUR]))
    model.skip_time(START * 1000)
    assert model.last_finalized_bucket_end_ms == (START + 5 * HOUR) * 1000


def test_late_records_within_the_latency_count_in_their_bucket() -> None:
    config = job(detector("count"), span="1h", latency="1h")
    _, results = run(config, make_batch([START, START + HOUR + 5, START + 100, START + 3 * HOUR]))
    assert [result.event_count for result in results] == [2, 1]


def test_a_huge_gap_closes_a_bounded_number_of_buckets() -> None:
    config = job(detector("mean"), span="1s")
    value = {"value": [1.0, 2.0, 3.0]}
    model, results = run(config, make_batch([START, 253402300000, 253402300001], value))
    assert len(results) == 1 + EMPTY_BUCKETS_MAX + 1
    assert starts(results)[-1] == 253402300000
    assert model.last_finalized_bucket_end_ms == 253402300001000


def test_interim_results_tell_the_open_bucket() -> None:
    model, _ = run(COUNT, make_batch([START, START + HOUR + 5, START + HOUR + 6]))
    (result,) = model.interim(None, None)
    assert (result.timestamp_ms, result.event_count, result.is_interim) == ((START + HOUR) * 1000, 2, True)


def test_interim_results_keep_to_the_range_asked_for() -> None:
    model, _ = run(job(detector("count"), span="1h", latency="3h"), make_batch([START, START + 2 * HOUR]))
    of_range = model.interim((START + HOUR) * 1000, (START + HOUR + 1) * 1000)
    assert starts(of_range) == [START + HOUR]
    assert starts(model.interim(None, None)) == [START, START + HOUR, START + 2 * HOUR]


def test_a_bucket_in_progress_is_not_yet_low() -> None:
    seconds = np.arange(START, START + 100 * HOUR, 60)
    model, _ = run(COUNT, make_batch(seconds))
    model.add(make_batch([START + 100 * HOUR]))
    (result,) = model.interim(None, None)
    assert not result.records
    (final,) = model.advance_time((START + 101 * HOUR) * 1000)
    assert final.records[0].actual == [1.0]


def test_an_outage_is_a_low_count() -> None:
    rng = np.random.default_rng(1)
    seconds = np.sort(rng.integers(START, START + 200 * HOUR, 20_000))
    seconds = seconds[(seconds < START + 150 * HOUR) | (seconds >= START + 152 * HOUR)]
    _, results = run(COUNT, make_batch(seconds))
    best = max(results, key=lambda result: result.anomaly_score)
    assert best.timestamp_ms == (START + 150 * HOUR) * 1000
    assert best.records[0].actual == [0.0]
    assert best.anomaly_score > 75


@pytest.mark.parametrize(("function", "expected"), [("high_count", 0), ("low_count", 1), ("count", 1)])
def test_one_sided_functions_see_one_side(function: str, expected: int) -> None:
    rng = np.random.default_rng(1)
    seconds = np.sort(rng.integers(START, START + 100 * HOUR, 20_000))
    model, _ = run(job(detector(function), span="1h"), make_batch(seconds))
    (result,) = model.advance_time((START + 101 * HOUR) * 1000)[-1:]
    assert sum(record.record_score > 50 for record in result.records) == expected


def test_records_name_what_they_are_about() -> None:
    config = job(
        detector("metric", by_field_name="host", partition_field_name="region"),
        influencers=["region", "user"],
    )
    batch = make_batch(
        np.repeat(np.arange(40) * 900 + START, 4),
        {"value": [1.0, 2.0, 3.0, 4.0] * 38 + [50.0, 60.0, 70.0, 80.0, 1.0, 2.0, 3.0, 4.0]},
        {"host": ["a"] * 160, "region": ["north"] * 160, "user": ["u1", "u1", "u2", ""] * 40},
    )
    results = run(config, batch)[1]
    found = {record.function_description: record for record in results[-1].records}
    assert sorted(found) == ["max", "mean"]
    record = found["max"]
    assert record.function == "metric"
    assert record.field_name == "value"
    assert (record.by_field_name, record.by_field_value) == ("host", "a")
    assert (record.partition_field_name, record.partition_field_value) == ("region", "north")
    assert record.actual == [80.0]
    assert record.typical == pytest.approx([4.0])
    named = {item.influencer_field_name: item.influencer_field_values for item in record.influencers}
    assert named == {"region": ["north"], "user": ["u1", "u2"]}
    assert {item.influencer_field_name for item in results[-1].bucket_influencers} == {"bucket_time", "region", "user"}
    assert {(item.influencer_field_name, item.influencer_field_value) for item in results[-1].influencers} == {
        ("region", "north"),
        ("user", "u1"),
        ("user", "u2"),
    }


def test_records_without_a_term_are_left_out_unless_nulls_are_used() -> None:
    batch = make_batch([START, START + 1], texts={"host": ["a", ""]})
    without, _ = run(job(detector("count", by_field_name="host")), batch)
    used, _ = run(job(detector("count", by_field_name="host", use_null=True)), batch)
    assert (without.n_series, used.n_series) == (1, 2)


def test_summary_counts_weigh_records() -> None:
    config = job(detector("count"), span="1h", summary_count_field_name="events")
    batch = make_batch([START, START + 1, START + 2, START + HOUR], {"events": [3.0, 0.0, np.nan, 1.0]})
    assert [result.event_count for result in run(config, batch)[1]] == [3]


def test_what_the_engine_cannot_do_is_refused_by_name() -> None:
    config = job(detector("count", by_field_name="host"))
    rule = CustomRule(scope=(RuleScope(field="host", filter_id="f"),))
    ruled = config.detectors[0].model_copy(update={"custom_rules": (rule,)})
    analysis = config.analysis_config.model_copy(update={"detectors": (ruled,)})
    with pytest.raises(Unsupported, match=r"detector \[0\].*custom_rules with a scope need filters"):
        check_supported(config.model_copy(update={"analysis_config": analysis}))
