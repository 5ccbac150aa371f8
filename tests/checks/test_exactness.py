"""Whatever a function measures, the same records give the same bits: cut, stored, reordered or watched as you like."""

from __future__ import annotations

import copy
from functools import cache

import msgspec
import numpy as np
import pytest

from domain.config import JobConfig
from domain.model import BucketResult, Model, RecordResult, decode_state, encode_state
from tests.checks.jobs import ALL_FUNCTIONS, SIDED, SPAN, START, cut, detector, job, records, run, select

JITTERED = records(46, jitter_seconds=1000)
ORDERED = records(46)


OVER = ["mean", "time_of_day", "lat_long"]
OVER_BY = ["rare", "freq_rare"]


RULES = [
    {"actions": ["skip_model_update"], "conditions": [{"applies_to": "actual", "operator": "gt", "value": 140.0}]},
    {
        "actions": ["skip_model_update", "skip_result"],
        "conditions": [
            {"applies_to": "diff_from_typical", "operator": "gt", "value": 3.0},
            {"applies_to": "time", "operator": "gt", "value": START + 30 * SPAN},
        ],
    },
]
HELD = [(name, {f"{kind}_field_name": "host"}) for name in ("mean", "time_of_day") for kind in ("by", "over")]


def configs() -> list[tuple[str, JobConfig]]:
    found = [(name, job(detector(name, by_field_name="host"))) for name in ALL_FUNCTIONS]
    by_host, more = {"by_field_name": "host"}, {"influencers": ["host", "region"]}
    split = {"by_field_name": "user", "partition_field_name": "host"}
    both = {"by_field_name": "host", "partition_field_name": "region"}
    found += [(f"{name}-split", job(detector(name, **both, use_null=True))) for name in ("count", "metric", "median")]
    found += [(f"{name}-over", job(detector(name, over_field_name="host"))) for name in OVER]
    found += [(f"{name}-by-over", job(detector(name, over_field_name="user", **by_host), **more)) for name in OVER_BY]
    found += [("rare", job(detector("rare", by_field_name="user"))), ("rare-split", job(detector("rare", **split)))]
    found += [
        (f"{name}-without-{kind}", job(detector(name, exclude_frequent=kind, **by_host, over_field_name="user")))
        for name, kind in (("mean", "by"), ("rare", "over"))
    ]
    found.append(("count-without-frequent", job(detector("count", by_field_name="user", exclude_frequent="by"))))
    found += [(f"{name}-held", job(detector(name, **fields, custom_rules=RULES))) for name, fields in HELD]
    explained = ["metric", "median", "info_content"]
    found += [
        (f"{name}-explained", job(detector(name, by_field_name="host"), influencers=["user", "region", "host"]))
        for name in explained
    ]
    found.append(("over-explained", job(detector("sum", over_field_name="host"), influencers=["user", "region"])))
    two = (detector("mean", by_field_name="host"), detector("high_count", partition_field_name="region"))
    influencers = ["host", "user"]
    found.append(("two", job(*two, detector("distinct_count"), influencers=influencers)))
    found.append(("weighted", job(*two, detector("varp", by_field_name="host"), summary_count_field_name="events")))
    return found


CONFIGS = configs()
LATE = [
    (name, job(detector(name, by_field_name="host"), latency="20m"))
    for name in ("count", "mean", "median", "distinct_count", "varp", "info_content", "lat_long")
] + [
    ("rare", job(detector("rare", by_field_name="host", over_field_name="user"), latency="20m")),
    ("over", job(detector("metric", over_field_name="host"), latency="20m")),
]
BY_CATEGORY = detector("count", by_field_name="mlcategory", partition_field_name="user")
APART = {"categorization_field_name": "region", "per_partition_categorization": {"enabled": True}}
LATE.append(("categories", job(BY_CATEGORY, latency="20m", **APART)))
OF_MORE_SIDES = set(SIDED) - {"high_count", "low_mean", "high_varp", "low_distinct_count"}
"""What differs from others only by the side of the tail it looks at: for the slow tests."""


def each_of(jobs: list[tuple[str, JobConfig]]) -> pytest.MarkDecorator:
    marks = {name: [pytest.mark.slow] if name in OF_MORE_SIDES else [] for name, _ in jobs}
    return pytest.mark.parametrize("config", [pytest.param(c, id=n, marks=marks[n]) for n, c in jobs])


every_function = each_of(CONFIGS)
EVERY_JOB = CONFIGS + [(f"{name}-late", config) for name, config in LATE]
every_job = each_of(EVERY_JOB)


def data_for(config: JobConfig):  # type: ignore[no-untyped-def]
    return JITTERED if config.latency_seconds else ORDERED


@cache
def in_one_batch(place: int) -> tuple[str, list[BucketResult]]:
    """Digest and results of a job after all records at once; not to be changed."""
    config = EVERY_JOB[place][1]
    model, results = run(config, data_for(config))
    return model.digest().hex(), results


def of_one_batch(config: JobConfig) -> tuple[str, list[BucketResult]]:
    return in_one_batch(next(place for place, (_name, each) in enumerate(EVERY_JOB) if each is config))


@every_job
def test_one_batch_equals_any_cut(config: JobConfig) -> None:
    batch = data_for(config)
    digest, results = of_one_batch(config)
    rng = np.random.default_rng(2)
    edges = rng.integers(0, batch.time_ms.size, 25).tolist()
    other, others = run(config, *cut(batch, edges))
    assert results == others
    assert digest == other.digest().hex()


@every_job
def test_one_batch_equals_one_record_at_a_time(config: JobConfig) -> None:
    batch = select(data_for(config), slice(0, 250))
    model, results = run(config, batch)
    other, others = run(config, *cut(batch, list(range(batch.time_ms.size))))
    assert results == others
    assert model.digest() == other.digest()


@every_job
def test_a_stored_state_goes_on_to_the_same_bits(config: JobConfig) -> None:
    batch = data_for(config)
    digest, results = of_one_batch(config)
    rng = np.random.default_rng(3)
    parts = cut(batch, rng.integers(0, batch.time_ms.size, 12).tolist())
    stored, others = Model(config), []
    for part in parts:
        stored = Model.restore(config, *decode_state(encode_state(*stored.state())))
        others += stored.add(part)
    assert results == others
    assert digest == stored.digest().hex()


@every_function
def test_records_are_not_changed(config: JobConfig) -> None:
    batch = copy.deepcopy(ORDERED)
    run(config, batch)
    assert np.array_equal(batch.time_ms, ORDERED.time_ms)
    for name, values in batch.numbers.items():
        assert np.array_equal(values, ORDERED.numbers[name], equal_nan=True)
    for name, column in batch.texts.items():
        assert np.array_equal(column.codes, ORDERED.texts[name].codes)
        assert column.values == ORDERED.texts[name].values


@every_job
def test_interim_results_leave_no_trace(config: JobConfig) -> None:
    model, _ = run(config, data_for(config))
    before = model.digest()
    assert model.interim(None, None)
    assert model.digest() == before


@every_function
def test_the_state_returned_is_a_copy(config: JobConfig) -> None:
    first, second = cut(ORDERED, [500])
    model, _ = run(config, first)
    kept = encode_state(*model.state())
    arrays, meta = model.state()
    model.add(second)
    assert encode_state(arrays, meta) == kept


@every_function
def test_the_order_of_series_is_irrelevant(config: JobConfig) -> None:
    # Within a second the records of one series keep their order, but the series come in reverse.
    seconds = ORDERED.time_ms // 1000 // 300
    host = ORDERED.texts["host"].codes
    moved = select(ORDERED, np.lexsort((np.arange(host.size), -host, seconds)))
    moved.time_ms[:] = seconds * 300_000
    still = select(ORDERED, slice(None))
    still.time_ms[:] = seconds * 300_000
    # Users of all hosts share buckets, so counts of them need no order at all.
    assert run(config, moved)[1] == run(config, still)[1]


BY_HOST = [item for item in CONFIGS if item[0] in ALL_FUNCTIONS]


@each_of(BY_HOST)
def test_other_series_have_no_say_in_a_probability(config: JobConfig) -> None:
    alone = select(ORDERED, ORDERED.texts["host"].codes == ORDERED.texts["host"].values.index("host-1"))
    of_all = judged(of_one_batch(config)[1])
    of_one = judged(run(config, alone)[1])
    common = of_all.keys() & of_one.keys()
    assert {key: of_all[key] for key in common} == {key: of_one[key] for key in common}


def judged(results: list[BucketResult]) -> dict[tuple[int, str], tuple[float, list[float], list[float]]]:
    return {
        (result.timestamp_ms, record.function_description): what_series_decide(record)
        for result in results
        for record in result.records
        if record.by_field_value == "host-1"
    }


def what_series_decide(record: RecordResult) -> tuple[float, list[float], list[float]]:
    return record.probability, record.typical, record.actual


@every_function
def test_results_are_plain_json(config: JobConfig) -> None:
    _, results = of_one_batch(config)
    encoded = msgspec.json.encode(results)
    assert msgspec.json.encode(msgspec.json.decode(encoded, type=list[BucketResult])) == encoded


@every_function
def test_scores_and_probabilities_keep_to_their_range(config: JobConfig) -> None:
    _, results = of_one_batch(config)
    for result in results:
        assert 0.0 <= result.anomaly_score <= 100.0
        for record in result.records:
            assert 0.0 < record.record_score <= 100.0
            assert 0.0 < record.probability < 0.05
            assert record.record_score == record.initial_record_score
            assert np.isfinite(record.typical + record.actual).all()
