"""Every accumulator gives what its name says."""

from __future__ import annotations

import numpy as np
import pytest

from domain.model.accumulators import ACCUMULATORS, Measured
from domain.model.batch_view import hash_texts

SLOTS = np.array([0, 2, 0, 2, 2, 0])
X = np.array([1.0, 5.0, 3.0, 7.0, 6.0, 8.0])


def value(kind: str, name: str, records: Measured) -> list[float]:
    accumulator = ACCUMULATORS[kind](3)
    accumulator.add(records)
    assert accumulator.present().tolist() == [0, 2]
    return accumulator.value(name, accumulator.present()).tolist()


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("count", "count", [3, 3]),
        ("mean", "mean", [4, 6]),
        ("sum", "sum", [12, 18]),
        ("min", "min", [1, 5]),
        ("max", "max", [8, 7]),
        ("metric", "mean", [4, 6]),
        ("metric", "min", [1, 5]),
        ("metric", "max", [8, 7]),
        ("median", "median", [3, 6]),
        ("variance", "varp", [26 / 3, 2 / 3]),
    ],
)
def test_values_of_plain_records(kind: str, name: str, expected: list[float]) -> None:
    assert value(kind, name, Measured(SLOTS, X)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [("count", "count", [6, 6]), ("mean", "mean", [31 / 6, 37 / 6]), ("sum", "sum", [12, 18])],
)
def test_values_of_summarised_records(kind: str, name: str, expected: list[float]) -> None:
    weights = np.array([1.0, 1.0, 2.0, 2.0, 3.0, 3.0])
    assert value(kind, name, Measured(SLOTS, X, weights)) == pytest.approx(expected, rel=1e-12)


def test_distinct_texts_are_counted_per_series_across_calls() -> None:
    accumulator = ACCUMULATORS["distinct"](3)
    hashes = hash_texts(["a", "a", "b", "a", "c", "b"])
    for k in range(6):
        accumulator.add(Measured(SLOTS[k : k + 1], hashes=hashes[k : k + 1]))
    assert accumulator.value("distinct_count", np.array([0, 2])).tolist() == [2, 2]


def test_a_median_of_an_even_number_lies_between() -> None:
    accumulator = ACCUMULATORS["median"](1)
    accumulator.add(Measured(np.zeros(4, np.int64), np.array([4.0, 1.0, 2.0, 9.0])))
    assert accumulator.value("median", slice(0, 1)).tolist() == [3.0]


def test_the_variance_of_large_values_keeps_its_digits() -> None:
    accumulator = ACCUMULATORS["variance"](1)
    accumulator.add(Measured(np.zeros(4, np.int64), 1e9 + np.array([0.0, 1.0, 2.0, 3.0])))
    assert accumulator.value("varp", slice(0, 1)).tolist() == [1.25]
