"""Periods are found within four repeats, and hardly ever in noise, however the series beside look."""

from __future__ import annotations

import numpy as np
import pytest

from domain.model import periods
from domain.model.periods import N_CELLS, Found, Stretch, find

BEGAN = 1_700_006_400.0


def stretch(x: np.ndarray, width: float = 900.0) -> Stretch:  # type: ignore[type-arg]
    cells = np.full((x.shape[0], N_CELLS), np.nan)
    cells[:, : x.shape[1]] = x
    k = x.shape[0]
    return Stretch(cells, np.full(k, x.shape[1]), np.full(k, width), np.full(k, BEGAN))


def waves(seed: int, seconds: float, width: float, repeats: float, n: int = 100) -> np.ndarray:  # type: ignore[type-arg]
    times = (np.arange(int(np.ceil(repeats * seconds / width))) + 0.5) * width
    noise = np.random.default_rng(seed).normal(size=(n, times.size))
    return 3.0 * np.sin(2 * np.pi * times / seconds) + noise


@pytest.mark.parametrize(
    ("seconds", "width"),
    [(18_000, 900), (28_800, 900), (129_600, 7200), (259_200, 7200), (600, 60), (15_732, 900)],
)
def test_periods_are_found_by_their_fourth_repeat(seconds: float, width: float) -> None:
    found = find(stretch(waves(1, seconds, width, 4.0), width)).seconds
    right = np.abs(found / seconds - 1.0) < 0.05
    assert np.count_nonzero(right) >= (55 if seconds == 600 else 90)
    assert np.count_nonzero((found > 0.0) & ~right) <= 10


def test_a_round_length_is_found_to_the_second() -> None:
    found = find(stretch(waves(2, 18_000, 900, 8.0))).seconds
    assert np.count_nonzero(found == 18_000.0) >= 95


@pytest.mark.parametrize("n", [32, 100, N_CELLS])
def test_white_noise_has_no_period(n: int) -> None:
    noise = np.random.default_rng(3).normal(size=(2000, n))
    assert np.count_nonzero(find(stretch(noise)).seconds) <= 1


@pytest.mark.parametrize(("kept", "most"), [(1.0, 4), (0.95, 8), (0.8, 6)])
def test_random_walks_and_red_noise_hardly_ever_have_one(kept: float, most: int) -> None:
    steps = np.random.default_rng(4).normal(size=(2000, N_CELLS))
    for k in range(1, N_CELLS):
        steps[:, k] += kept * steps[:, k - 1]
    assert np.count_nonzero(find(stretch(steps)).seconds) <= most


def test_days_are_not_found_again() -> None:
    times = (np.arange(N_CELLS) + 0.5) * 3600
    day = 20.0 * np.sin(2 * np.pi * times / 86_400) + (times % 86_400 < 7200) * 30.0
    noise = np.random.default_rng(5).normal(size=(200, N_CELLS))
    assert np.count_nonzero(find(stretch(day + noise, 3600.0)).seconds) == 0


def test_a_period_beside_a_day_is_found() -> None:
    times = (np.arange(N_CELLS) + 0.5) * 3600
    both = 20.0 * np.sin(2 * np.pi * times / 86_400) + 4.0 * np.sin(2 * np.pi * times / 18_000)
    found = find(stretch(both + np.random.default_rng(6).normal(size=(50, N_CELLS)), 3600.0))
    assert np.count_nonzero(found.seconds == 18_000.0) >= 45
    assert found.is_over_day.all()


def test_missing_cells_and_one_outlier_do_not_hide_a_period() -> None:
    x = waves(7, 18_000, 900, 6.0)
    x[:, 30:42] = np.nan
    x[:, 60] = 60.0
    assert np.count_nonzero(find(stretch(x)).seconds == 18_000.0) >= 90


def test_a_series_has_the_same_bits_alone_and_among_others() -> None:
    rng = np.random.default_rng(8)
    x = np.concatenate([waves(9, 18_000, 900, 6.0, 20), rng.normal(size=(20, 120)), 1e6 * rng.normal(size=(5, 120))])
    x[3, 5:9] = np.nan
    together = find(stretch(x))
    for k in range(len(x)):
        alone = find(stretch(x[k : k + 1]))
        for name in Found.__slots__:
            assert getattr(alone, name).tobytes() == getattr(together, name)[k : k + 1].tobytes(), name


def test_flat_and_empty_stretches_have_none() -> None:
    x = np.full((2, 60), 7.0)
    x[1] = np.nan
    found = find(stretch(x))
    assert found.seconds.tolist() == [0.0, 0.0]
    assert np.isfinite(found.level).all()


def test_the_chance_of_too_little_is_one() -> None:
    assert periods.CHANCE_MAX < 1e-4
    assert np.count_nonzero(find(stretch(waves(10, 18_000, 900, 2.5))).seconds) == 0
