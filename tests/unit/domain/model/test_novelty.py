"""Records of a series: what was never seen is new, once, as far as noise does not explain it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from domain.model import novelty
from domain.model.novelty import JUMP, LOW, N_SCALES, RESIDUAL, VALUE, Novelty

SPAN = 900
ALL = slice(0, 2)
FIRST = np.array([0])


def fed(values: np.ndarray, span: int = SPAN) -> tuple[Novelty, float]:  # type: ignore[type-arg]
    """Records of the series in the columns, whose residual is the value itself, and the time of the next bucket."""
    records = Novelty(span)
    for k, row in enumerate(values):
        news = records.judge(slice(0, row.size), row, row, row)
        away, count = np.full(row.size, float(span)), np.full(row.size, float(k))
        records.learn(news, row, k * float(span), away=away, count=count)
    return records, len(values) * float(span)


def noise(n_buckets: int = 2000) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(1).normal(size=(n_buckets, 2))


def surprise(records: Novelty, value: float, time: float, side: str = "both") -> float:
    x = np.full(2, value)
    news = records.judge(ALL, x, x, x)
    return float(records.surprise(news, FIRST, FIRST, side, time)[0])  # type: ignore[arg-type]


def test_what_stays_within_its_records_is_no_surprise() -> None:
    records, time = fed(noise())
    assert surprise(records, 0.0, time) == 0.0


def test_surprise_grows_with_what_exceeds_the_record_but_slowly() -> None:
    records, time = fed(noise())
    found = [surprise(records, value, time) for value in (5.0, 10.0, 20.0)]
    assert 0.0 < found[0] < found[1] < found[2] < 5 * found[0]


def test_surprise_is_minus_the_log_of_the_tail_beyond_the_record() -> None:
    records, _ = fed(noise())
    past = records.streams[VALUE, :, 0]
    high, mean = past[novelty.HIGH][0], past[novelty.MEAN][0]
    level = novelty.LEVEL_SHARE * records.rows[novelty.LEVEL, 0]
    total = np.zeros(1)
    novelty._add_tails(total, np.array([[[1.0]]]), np.array([[[high - mean]]]), np.array([[[level]]]))
    assert total[0] == pytest.approx(math.log(1 + 20 * 1.0 / (high - mean + level)))


@pytest.mark.parametrize(("side", "value", "is_new"), [("high", 9, True), ("high", -9, False), ("low", -9, True)])
def test_one_sided_functions_know_records_of_their_side(side: str, value: float, is_new: bool) -> None:
    records, time = fed(noise())
    assert (surprise(records, value, time, side) > 0.0) is is_new


def test_a_record_is_new_once() -> None:
    values = noise()
    plain, time = fed(values)
    values[-500] = 20.0
    records, _ = fed(values)
    assert surprise(plain, 10.0, time) > 5.0
    assert surprise(records, 10.0, time) == 0.0


def test_a_shift_within_the_range_is_new_on_a_smoothed_scale() -> None:
    values = noise()
    records, time = fed(np.vstack([values, np.full((30, 2), 1.8)]))
    assert records.streams[VALUE, novelty.HIGH, 0].argmax() == 0
    news = records.judge(ALL, np.full(2, 1.8), np.full(2, 1.8), np.full(2, 1.8))
    assert (np.abs(news.noise_z[0]) < 2).all()
    assert (news.far("both") > 5).all()
    assert time > 0


def test_records_of_a_young_series_are_cheap() -> None:
    young, early = fed(noise(20))
    grown, late = fed(noise(2000))
    assert surprise(young, 10.0, early) < 0.3 * surprise(grown, 10.0, late)


def test_a_far_spike_is_no_shift() -> None:
    records, _ = fed(noise())
    news = records.judge(ALL, *[np.full(2, 1e9)] * 3)
    assert news.streams[RESIDUAL, 0, 0] == novelty.RESIDUAL_MAX
    assert news.streams[RESIDUAL, -1, 0] < 0.2


def test_a_surprise_must_stand_out_from_those_of_late() -> None:
    records, _ = fed(noise())
    records.remember(np.array([4.0]), np.ones(1), FIRST)
    assert records.is_news(np.array([5.9]), FIRST).tolist() == [0.0]
    assert records.is_news(np.array([6.1]), FIRST).tolist() == [1.0]


def test_a_slow_rise_does_not_hide_itself() -> None:
    records, _ = fed(noise())
    records.remember(np.array([1.0]), np.ones(1), FIRST)
    for strength in (1.1, 1.2, 1.3, 1.4, 1.51):
        is_news = records.is_news(np.array([strength]), FIRST)
        records.rows[novelty.RECENT] *= novelty.RECENT_KEEP
        records.remember(np.array([strength]), is_news, FIRST)
    assert is_news.tolist() == [1.0]


def test_what_is_remembered_fades() -> None:
    records, _ = fed(noise())
    records.remember(np.array([4.0]), np.ones(1), FIRST)
    for _ in range(75):
        news = records.judge(ALL, *[np.zeros(2)] * 3)
        records.learn(news, np.zeros(2), 0.0, away=np.zeros(2), count=np.full(2, 2000.0))
    assert records.rows[novelty.RECENT, 0] == pytest.approx(4.0 / math.e)


def test_judging_leaves_no_trace() -> None:
    records, time = fed(noise(50))
    before = {name: array.copy() for name, array in records.state(2).items()}
    surprise(records, 50.0, time)
    assert all(np.array_equal(before[name], array) for name, array in records.state(2).items())


def test_lows_and_highs_mirror_each_other() -> None:
    values = noise(500)
    up, time = fed(values)
    down, _ = fed(-values)
    assert up.streams[VALUE, LOW].tolist() == (-down.streams[VALUE, novelty.HIGH]).tolist()
    assert surprise(up, 8.0, time) == surprise(down, -8.0, time)
    assert up.streams[JUMP].tolist() == down.streams[JUMP].tolist()


def test_picked_slots_learn_as_all_of_them_do() -> None:
    row = np.array([1.0, 2.0])
    records, others = Novelty(SPAN), Novelty(SPAN)
    for selection, into in ((ALL, records), (np.array([0, 1]), others)):
        for k in range(5):
            news = into.judge(selection, row * k, row, row)
            into.learn(news, row * k, 0.0, away=np.full(2, 900.0), count=np.full(2, float(k)))
    assert all(np.array_equal(a, b) for a, b in zip(records.state(2).values(), others.state(2).values(), strict=True))


def test_forgotten_slots_are_as_new() -> None:
    records, _ = fed(noise(50))
    records.forget(FIRST)
    state = records.state(2)
    assert not state["streams"][..., 0].any()
    assert not state["novelty"][:, 0].any()
    assert state["streams"][..., 1].any()
    assert state["streams"].shape == (3, 3 + 3 * N_SCALES, 2)


def test_impact_tells_a_spike_from_a_spell() -> None:
    quiet, _ = fed(noise())
    spell, _ = fed(np.vstack([noise(), np.full((20, 2), 3.0)]))
    news = [quiet.judge(ALL, *[np.full(2, 8.0)] * 3), spell.judge(ALL, *[np.full(2, 1.0)] * 3)]
    assert [novelty.impact(each, FIRST, "both").tolist() for each in news] == [[-5.0], [5.0]]


def test_records_of_a_long_history_are_less_probable() -> None:
    chances = novelty.chance_of_record(np.full(3, 2.0), np.array([10.0, 100.0, 1000.0]))
    assert (np.diff(chances) < 0).all()
