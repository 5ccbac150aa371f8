"""Unrest: hours that differ in spread are told from those that do not, and from incidents."""

from __future__ import annotations

import numpy as np
import pytest

from domain.model.arrays import Floats
from domain.model.unrest import DAY_SECONDS, FACTOR, Unrest, calmed

SPAN = 900
BLOCK = 24
DAYS = 14
N_VALUES = 96 * DAYS
CLOCKS = (np.arange(N_VALUES) + 0.5) * SPAN % DAY_SECONDS
IS_NIGHT = (CLOCKS < 8 * 3600) | (CLOCKS >= 20 * 3600)


def learnt(z: Floats, may_differ: bool = True) -> tuple[Unrest, list[int]]:
    """What hours a column of residuals per series has, and which series began to have any."""
    unrest, begun = Unrest(SPAN), []
    n = z.shape[1]
    unrest.reserve(n)
    for start in range(0, N_VALUES, BLOCK):
        clocks = np.repeat(CLOCKS[start : start + BLOCK, None], n, axis=1)
        begun += unrest.learn(np.arange(n), clocks, z[start : start + BLOCK], np.full(n, may_differ)).tolist()
    return unrest, begun


def noise(n: int = 20) -> Floats:
    return np.random.default_rng(3).normal(0, 1, (N_VALUES, n))


def test_hours_that_differ_are_told_by_how_much() -> None:
    z = noise() * np.where(IS_NIGHT, 0.3, 1.0)[:, None]
    unrest, begun = learnt(z)
    assert sorted(begun) == list(range(20))
    factors = np.exp(unrest.table[FACTOR, :, :20])
    assert np.median(factors[8:20]) / np.median(factors[:8]) == pytest.approx(1 / 0.3, rel=0.2)
    at = unrest.read(slice(0, 20), 12 * 3600.0)
    assert at is not None
    assert at.tolist() == np.exp(unrest.table[FACTOR, 12, :20].astype(np.float64)).tolist()
    assert np.mean((z / unrest.at(np.arange(20), np.repeat(CLOCKS[:, None], 20, axis=1))) ** 2) == pytest.approx(
        np.mean(z**2), rel=0.3
    )


@pytest.mark.parametrize("kind", ["normal", "heavy", "incidents"])
def test_equal_hours_have_no_factors(kind: str) -> None:
    z = noise()
    if kind == "heavy":
        z = np.random.default_rng(4).standard_t(3, z.shape)
    if kind == "incidents":
        z[96 * 5 + 40 : 96 * 5 + 80] *= 5
        z[96 * 11 + 10 : 96 * 11 + 20] *= 5
    unrest, begun = learnt(z)
    assert not begun
    assert unrest.read(slice(0, 20), 0.0) is None


def test_counts_and_modes_may_be_left_out() -> None:
    unrest, _ = learnt(noise() * np.where(IS_NIGHT, 0.1, 1.0)[:, None], may_differ=False)
    assert not unrest.is_in_use


def test_other_series_have_no_say() -> None:
    z = noise() * np.where(IS_NIGHT, 0.3, 1.0)[:, None]
    alone, beside = learnt(z[:, 7:8])[0], learnt(z)[0]
    assert (alone.table[:, :, 0] == beside.table[:, :, 7]).all()


def test_a_calm_value_lies_as_near_as_its_residual() -> None:
    z, y = calmed(np.array([4.0, 4.0]), np.array([50.0, 50.0]), np.array([2.0, 2.0]), np.array([2.0, 1.0]))
    assert z.tolist() == [2.0, 4.0]
    assert y.tolist() == [46.0, 50.0]
