"""Whatever a function measures, the parts of an explanation combine to the probability and the score of its record."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import pytest

from domain.config import JobConfig
from domain.explanation import Explanation, Witness, explain, recombined
from domain.explanation.recombination import work_out
from domain.model import Model, RecordResult, decode_state, encode_state
from domain.records import RecordBatch
from tests.checks.jobs import ALL_FUNCTIONS, START, cut, detector, job, make_batch, run

HOUR = 3600
N_HOURS = 290
PER_JOB = 6
"""Records explained of each job: the most unusual, and as many of the others."""


def unusual_records() -> RecordBatch:
    """Twelve days of four hosts and nine users, at the end of which every function has something to find."""
    rng = np.random.default_rng(7)
    rows: list[tuple[float, str, str, float, str, str]] = []

    def add(hour: int, host: int, user: str, value: float, *, page: str = "home", north: float = 48.0) -> None:
        latitude, longitude = north + rng.normal(0, 0.01), 11.0 + rng.normal(0, 0.01)
        second = START + hour * HOUR + float(rng.integers(0, HOUR))
        rows.append((second, f"host-{host}", user, value, f"{latitude:.5f},{longitude:.5f}", page))

    for hour in range(N_HOURS):
        for host in range(4):
            if (host, hour) == (2, 281) or (host == 0 and not 8 <= hour % 24 < 18 and hour != 267):
                continue
            level = 100 + 10 * host + 20 * np.sin(hour / 24 * 2 * np.pi)
            level += 3.0 * max(hour - 240, 0) if host == 2 else -40.0 if (host, hour) == (1, 279) else 0.0
            for _ in range({(1, 270): 60, (2, 283): 1}.get((host, hour), 3)):
                value = 5.0 if host == 3 else level + rng.normal(0, 2)
                value = 121.5 if host == 1 and 242 <= hour < 256 else value
                page = ("home", "cart", "search")[int(rng.integers(3))]
                add(hour, host, f"user-{rng.integers(0, 8)}", float(value), page=page)
    for k in range(40):
        add(275, 1, f"stranger-{k % 10}", 300.0)
    for host, value in ((1, 400.0), (3, 9.0), (3, 9.0)):
        add(262, host, "user-3", value)
        add(284, host, "user-3", value)
    add(278, 1, "user-5", 120.0, north=40.7, page="admin")
    add(286, 1, "user-5", 900.0, north=40.7)
    add(N_HOURS + 1, 1, "user-1", 110.0)
    rows.sort(key=lambda row: row[0])
    seconds, hosts, users, values, places, pages = zip(*rows, strict=True)
    texts = {"host": list(hosts), "user": list(users), "place": list(places), "page": list(pages)}
    texts["region"] = ["north" if host in ("host-0", "host-1") else "" for host in hosts]
    texts["visitor"] = [f"visitor-{k}" for k in rng.integers(0, 60, len(seconds))]
    return make_batch(seconds, {"value": values, "events": rng.integers(1, 4, len(seconds))}, texts)


RECORDS = unusual_records()
QUIET, TAIL = cut(RECORDS, [int(np.searchsorted(RECORDS.time_ms, (START + 240 * HOUR) * 1000))])


def configs() -> dict[str, JobConfig]:
    by, over = {"by_field_name": "host"}, {"over_field_name": "user"}
    found = {name: job(detector(name, **by), span="1h") for name in ALL_FUNCTIONS}
    found |= {f"{name} of all": job(detector(name), span="1h") for name in ("count", "metric", "distinct_count")}
    found |= {
        f"{name} by page": job(detector(name, by_field_name="page"), span="1h") for name in ("count", "low_count")
    }
    found["mean by partition"] = job(detector("mean", partition_field_name="region", **by, use_null=True), span="1h")
    for name in ("mean", "count", "high_sum", "time_of_day", "lat_long"):
        found[f"{name} over"] = job(detector(name, **over), span="1h")
    found["time_of_day over"] = job(detector("time_of_day", **by, **over), span="1h")  # of all hosts none is unusual
    found["mean by over"] = job(detector("mean", **by, **over), span="1h")
    found["distinct_count over"] = job(detector("distinct_count", over_field_name="host"), span="1h")
    found["rare"] = job(detector("rare", by_field_name="user"), span="1h")
    found["rare by partition"] = job(detector("rare", by_field_name="user", partition_field_name="host"), span="1h")
    for name in ("rare", "freq_rare"):
        found[f"{name} over"] = job(detector(name, by_field_name="page", over_field_name="visitor"), span="1h")
    found["late and weighted"] = job(
        detector("mean", **by), span="1h", latency="2h", summary_count_field_name="events", influencers=["user"]
    )
    found["without frequent"] = job(detector("mean", **over, exclude_frequent="over"), span="1h")
    two = (detector("mean", **by), detector("high_count", partition_field_name="host"), detector("varp"))
    found["several detectors"] = job(*two, span="1h")
    return found


CONFIGS = configs()
every_kind = pytest.mark.parametrize("kind", CONFIGS)


class Everything(frozenset[int]):
    """All buckets there are."""

    def __contains__(self, start: object) -> bool:
        return True


@cache
def explained(kind: str) -> list[tuple[RecordResult, Explanation]]:
    """Explain the most unusual records of the last two days of a job, and some of the others."""
    model, _ = run(CONFIGS[kind], QUIET)
    model.witness = witness = Witness(Everything())
    found = [(result.timestamp_ms // 1000, record) for result in model.add(TAIL) for record in result.records]
    found.sort(key=lambda item: -item[1].record_score)
    chosen = found[:PER_JOB] + found[PER_JOB :: max(len(found) // PER_JOB, 1)]
    return [(record, explain(witness.closings[start], record)) for start, record in chosen]


@every_kind
def test_parts_combine_to_the_probability_and_the_score(kind: str) -> None:
    assert explained(kind)
    for record, explanation in explained(kind):
        probability, score = recombined(explanation)
        assert probability == pytest.approx(record.probability, rel=1e-9, abs=0.0)
        assert score == pytest.approx(record.initial_record_score, rel=1e-9, abs=1e-9)
        check_stages(explanation)
        check_expected(explanation)


def check_stages(explanation: Explanation) -> None:
    """Every stage comes to what the model itself calculated."""
    for evidence in explanation.evidence:
        worked = work_out(evidence.stages)
        for stage in evidence.stages:
            assert worked[stage.name] == pytest.approx(stage.value, rel=1e-9, abs=1e-12), stage
    worked = work_out(explanation.stages, work_out(explanation.evidence[0].stages))
    for stage in explanation.stages:
        assert worked[stage.name] == pytest.approx(stage.value, rel=1e-9, abs=1e-12), stage


def check_expected(explanation: Explanation) -> None:
    """What is expected of a value is what the record says is typical, by its parts and by its forecasts."""
    for evidence in explanation.evidence:
        if evidence.kind in ("value", "member"):
            worked = work_out(evidence.stages)
            assert worked["expected"] == pytest.approx(evidence.typical[0], rel=1e-9, abs=1e-12)


def test_what_the_tests_explain_has_every_part_there_is() -> None:
    names = set()
    kinds = ("mean", "count", "count by page", "varp", "sum", "low_sum", "mean over", "high_mean", "low_median")
    for kind in (*kinds, "info_content"):
        for _, explanation in explained(kind):
            for stage in [*explanation.evidence[0].stages, *explanation.stages]:
                names |= {stage.name, *(part.name for part in stage.parts)}
    assert names >= {
        *(
            "level",
            "trend",
            "day",
            "week",
            "bound",
            "days",
            "hours",
            "count_floor",
            "lean",
            "degrees_of_freedom",
            "student_t",
        ),
        *("heavy_t", "gamma_of_expected", "log_normal_of_expected", "negative_binomial", "two_modes", "standing_still"),
        *("flat_line", "count_distribution", "novelty", "multi_bucket", "calibrated_exponent", "novelty_score"),
        *("value_high_1", "value_high_31", "residual_high_1", "jump_high_1", "residual_low_1", "share_of_logs"),
    }


def test_what_is_unusual_for_a_quiet_hour_is_explained_by_it() -> None:
    hours = np.arange(24 * 30)
    spread = np.where((hours % 24 >= 8) & (hours % 24 < 20), 10.0, 1.0)
    values = 100 + spread * np.random.default_rng(1).normal(size=hours.size)
    values[24 * 28 + 2] += 12
    model = Model(job(detector("mean"), span="1h"))
    model.witness = witness = Witness(Everything())
    found = [
        (result.timestamp_ms // 1000, record)
        for result in model.add(make_batch(START + hours * HOUR, {"value": values}))
        for record in result.records
    ]
    record = next(record for start, record in found if start == START + (24 * 28 + 2) * HOUR)
    explanation = explain(witness.closings[START + (24 * 28 + 2) * HOUR], record)
    probability, score = recombined(explanation)
    assert probability == pytest.approx(record.probability, rel=1e-9, abs=0.0)
    assert score == pytest.approx(record.initial_record_score, rel=1e-9, abs=1e-9)
    check_stages(explanation)
    assert explanation.value("distance_of_hour") > 2 * explanation.value("distance")


def test_a_stored_state_explains_the_same() -> None:
    kind = "several detectors"
    model, _ = run(CONFIGS[kind], QUIET)
    witness, edges = Witness(Everything()), [100, 250, 400]
    for part in cut(TAIL, edges):
        model = Model.restore(CONFIGS[kind], *decode_state(encode_state(*model.state())))
        model.witness = witness
        model.add(part)
    for record, explanation in explained(kind):
        assert explain(witness.closings[explanation.timestamp_ms // 1000], record) == explanation


def test_who_looks_on_changes_nothing() -> None:
    model, _ = run(CONFIGS["metric"], QUIET)
    other = copy.deepcopy(model)
    other.witness = Witness(Everything())
    assert model.add(TAIL) == other.add(TAIL)
    assert model.digest() == other.digest()
