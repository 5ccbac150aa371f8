"""Compiled or as arrays: a single series has the same results and the same state, to the bit."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest

from domain.model import BucketResult, Model, decode_state, encode_state, single_series
from domain.records import RecordBatch
from tests.checks.jobs import SPAN, START, cut, detector, job, make_batch

N_BUCKETS = 650


def wild(seed: int) -> RecordBatch:
    """Something of everything: seasons, outliers, standing still, a lasting shift, gaps, on and off, whole numbers."""
    random = np.random.default_rng(seed)
    bucket = np.arange(N_BUCKETS)
    values = 50.0 + 10.0 * np.sin(bucket * (2 * np.pi / 96)) + 8.0 * np.sin(bucket * (2 * np.pi / 37))
    values += random.gamma(2.0, 2.0, N_BUCKETS)
    values[random.random(N_BUCKETS) < 0.02] *= 4.0
    values[210:230] = values[210]
    values[300:450] += 60.0
    values[450:560] = np.where(random.random(110) < 0.5, 0.0, 100.0)
    values[560:] = np.round(values[560:])
    rows = np.repeat(bucket, random.integers(0, 4, N_BUCKETS) * np.where(random.random(N_BUCKETS) < 0.03, 9, 1))
    seconds = START + rows * SPAN + random.integers(0, SPAN, rows.size)
    order = np.argsort(seconds, kind="stable")
    return make_batch(seconds[order], {"value": values[rows][order]})


def fed(function: str, *, is_compiled: bool) -> tuple[Model, list[BucketResult]]:
    model = Model(job(detector(function)))
    if not is_compiled:
        for each in model._detectors:
            each.singles.clear()
    return model, [result for batch in cut(wild(7), [500]) for result in model.add(batch)]


@pytest.mark.parametrize("function", ["mean", "count", "low_mean", "high_sum"])
def test_a_compiled_series_has_the_bits_of_the_array_code(function: str) -> None:
    compiled, expected = fed(function, is_compiled=True), fed(function, is_compiled=False)
    assert compiled[1] == expected[1]
    assert compiled[0].digest() == expected[0].digest()
    assert sum(len(result.records) for result in compiled[1]) > 10


def restored(model: Model) -> Model:
    arrays, meta = decode_state(encode_state(*model.state()))
    return Model.restore(model.config, arrays, meta)


@pytest.mark.parametrize("take", [copy.deepcopy, restored])
def test_a_copy_goes_on_by_itself(take: Callable[[Model], Model]) -> None:
    model, expected = Model(job(detector("mean"))), fed("mean", is_compiled=True)
    first, second = cut(wild(7), [500])
    model.add(first)
    before, taken = model.digest(), take(model)
    results = taken.add(second)
    assert results == expected[1][-len(results) :]
    assert taken.digest() == expected[0].digest()
    assert model.digest() == before


def test_a_compiled_series_whose_hours_differ_has_them_too() -> None:
    hours = np.arange(24 * 30)
    spread = np.where((hours % 24 >= 8) & (hours % 24 < 20), 10.0, 1.0)
    values = 100.0 + spread * np.random.default_rng(1).normal(size=hours.size)
    values[600::17] += 8.0
    batch = make_batch(START + hours * 3600, {"value": values})
    compiled, arrays = (Model(job(detector("mean"), span="1h")) for _ in range(2))
    arrays._detectors[0].singles.clear()
    assert compiled.add(batch) == arrays.add(batch)
    assert compiled.digest() == arrays.digest()
    assert compiled.state()[0]["d0.f0.unrest"][-1].any()


def test_what_floats_refuse_is_left_to_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = fed("mean", is_compiled=False)

    def refuse(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(single_series.Program, "run", refuse)
    refused = fed("mean", is_compiled=True)
    assert refused[1] == expected[1]
    assert refused[0].digest() == expected[0].digest()


def test_only_detectors_that_tell_no_series_apart_are_compiled() -> None:
    apart = detector("mean", by_field_name="host")
    explained = Model(job(detector("mean"), influencers=["host"]))
    model = Model(job(detector("mean"), apart, detector("metric"), detector("time_of_day")))
    assert [list(each.singles) for each in model._detectors] == [[0], [], [0, 1, 2], []]
    assert [list(each.singles) for each in explained._detectors] == [[]]
