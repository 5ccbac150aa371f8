"""Novelty: how far a series went beyond everything that it showed before, as minus the log of a probability.

Three streams are followed: the value, its residual in scales, and the jump from the last value. Each is watched as it
is and smoothed over about 7, 31 and 127 buckets, so that a drift or a lasting shift breaks a record as a spike does.
What exceeds the record H of a stream with the mean M is taken to follow a generalised Pareto tail of shape 1 (Pickands,
1975): the chance of exceeding H by u or more is ``1 / (1 + 20 u / (H - M))``. The surprise of a bucket is the sum of
``-ln`` of these chances over all streams, scales and directions.

Noise breaks records too, ever more rarely and by ever less. A surprise counts only as far as the residual, on one of
the scales, is also beyond what normal noise of the series' own spread would show: ``admitted`` says how far.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from domain.config.functions import Side
from domain.model.arrays import Arrays, Floats, Ints, Selection, capacity_for, grown
from domain.model.spread import SCALE_MIN

VALUE, RESIDUAL, JUMP = range(3)
"""Streams."""
GAINS: Final = np.array([1 / 4, 1 / 16, 1 / 64])[None, :, None]
"""Weights of one bucket in the smoothed scales. Chosen, measured by benchmarks/nab.py: each factor of 4 adds little to
its neighbours but much to all, up to 64."""
N_SCALES: Final = 4
N_INDEPENDENT: Final = 10.0
BUCKETS_OF_SCALE: Final = np.array([1.0, 7.0, 31.0, 127.0])
"""A weighted mean of gain g scatters like a mean of (2 - g) / g independent values."""
IMPACT_MAX: Final = 5.0
_ROOT_HALF_PI: Final = math.sqrt(0.5 * math.pi)
_ROOTS: Final = np.sqrt(BUCKETS_OF_SCALE)[:, None]

SMOOTH, MEAN, HIGH, LOW = slice(0, 3), slice(3, 7), slice(7, 11), slice(11, 15)
"""Rows of each stream: its three smoothed values; of all four scales the mean over days, the highest and the lowest."""
LEVEL, BEGAN, LAST, RECENT = range(4)
"""Rows of a series: mean absolute value; time of the first value; latest value; strongest surprise of late."""
BYTES_PER_SERIES: Final = 8 * (3 * 15 + 4)

DAY: Final = 86_400.0
RECORD_MEMORY_SECONDS: Final = 180 * DAY
"""Time in which a record fades to the mean. Chosen, measured by benchmarks/nab.py: a month is too short."""
MEAN_MEMORY_SECONDS: Final = 5 * DAY
YOUTH_SECONDS: Final = 2 * DAY
"""Age at which a surprise counts for 63 %: until a series has shown a few days, records are cheap. In the first day
they hardly count, by a factor ``1 - exp(-days^4)``: each hour of it is one that the series was never seen at."""
TAIL: Final = 20.0
"""How many times smaller than the distance from mean to record the scale of the tail is. Chosen, measured by
benchmarks/nab.py."""
LEVEL_SHARE: Final = 0.01
RESIDUAL_FLOOR: Final = 0.2
"""Floors of the distance from mean to record: part of the level (values and jumps), scales (residuals). Chosen."""
RESIDUAL_MAX, RESIDUAL_MAX_SMOOTHED = 20.0, 5.0
"""Residuals count for at most so many scales; before smoothing for less, so that one spike is no shift. Chosen."""
JUMP_SHARES: Final = (0.7, 0.3)
"""A jump is this part of the change since the last value and this part of the residual. Chosen."""

RECENT_KEEP: Final = math.exp(-1.0 / 75.0)
RECENT_FACTOR: Final = 1.5
"""A surprise is shown if it is 1.5 times the strongest that was shown of late, which fades over 75 buckets. Chosen,
measured by benchmarks/nab.py: the same incident is not news twice."""

SCREEN_Z: Final = 3.29
"""Smoothed or single residuals below so many of their scales are within noise (1 in 1,000), and not looked at."""
ADMITTED_FROM, ADMITTED_ALL = 4.0, 4.5
"""Minus log10 of the noise probability from which a surprise counts, and from which it counts in full. Chosen,
measured by benchmarks/nab.py: with records being rare too, noise scores above 50 once in 10^4 values, above 75 once in
10^5."""
PROVEN_SECONDS: Final = (14 * DAY, 21 * DAY)
PROVEN_VALUES: Final = 1_500.0
"""History that it takes until noise is what the series' own tails make it, and not normal: two to three weeks, in which
each weekday came twice, and so many values. Chosen, measured by benchmarks/nab.py: what a younger series shows in its
tails is mostly its first incidents, unless all its values lie so: see ``families.tail_evidence``."""
SCORE_HALF: Final = 0.67
"""Surprise whose score is 50. Chosen: surprises worth a look, from about 2, come to 75."""


@dataclass(frozen=True, slots=True)
class News:
    """The streams as a bucket would leave them.

    Attributes
    ----------
    streams : ndarray of shape (3, N_SCALES, m)
        Value relative to the origin, residual in scales, jump; single, then smoothed.
    noise_z : ndarray of shape (N_SCALES, m)
        Residuals in units of what normal noise would make of them.
    """

    selection: Selection
    streams: Floats
    noise_z: Floats

    def far(self, side: Side) -> Floats:
        """Return the largest of the residuals over all scales, as far as the side asks for it."""
        z = self.noise_z if side == "high" else -self.noise_z if side == "low" else np.abs(self.noise_z)
        largest: Floats = np.maximum.reduce(z, axis=0)
        return largest


def impact(news: News, at: Ints, side: Side) -> Floats:
    """Return how much of what is unusual shows over several buckets: -5, only in this one, to 5, only over several.

    The logs of the two chances of normal noise are compared, in units of three powers of ten: at 5 the longer
    scales are by themselves a thousand times less likely.

    Parameters
    ----------
    at : ndarray of shape (k,)
        Places in the news.
    """
    noise_z = news.noise_z[:, at]
    z = np.maximum(noise_z if side == "high" else -noise_z if side == "low" else np.abs(noise_z), 0.0)
    # Two-sided normal tail: minus its log, to within 6 % beyond one standard deviation.
    exponents = 0.5 * z * z + np.log1p(_ROOT_HALF_PI * z)
    single, several = exponents[0], np.maximum.reduce(exponents[1:], axis=0)
    ratio = np.maximum(single, several) / np.maximum(np.minimum(single, several), 1e-3)
    found: Floats = ratio * (several - single) * (IMPACT_MAX / math.log(1000.0))
    return np.minimum(np.maximum(found, -IMPACT_MAX), IMPACT_MAX)


class Novelty:
    """Records of all series.

    Attributes
    ----------
    streams : ndarray of shape (3, 15, capacity), dtype=float64
    rows : ndarray of shape (4, capacity), dtype=float64
    """

    def __init__(self, bucket_span_seconds: int) -> None:
        self._mean_memory = max(MEAN_MEMORY_SECONDS, 100.0 * bucket_span_seconds)
        self.streams: Floats = np.zeros((3, LOW.stop, capacity_for(0)))
        self.rows: Floats = np.zeros((RECENT + 1, capacity_for(0)))

    def reserve(self, n_slots: int) -> None:
        """Make room for ``n_slots`` series."""
        if n_slots > self.rows.shape[1]:
            self.streams = grown(self.streams, capacity_for(n_slots))
            self.rows = grown(self.rows, capacity_for(n_slots))

    def judge(self, selection: Selection, y: Floats, residual: Floats, z: Floats) -> News:
        """Move the streams on; nothing is changed.

        Parameters
        ----------
        y, residual, z : ndarray of shape (m,)
            Values relative to their origins, their distances to the expected ones, the same in scales.
        """
        last = _part(self.rows[LAST], selection)
        streams = np.empty_like(last, shape=(3, N_SCALES, y.size))
        smooth = streams[:, 1:]
        streams[VALUE, 0] = y
        np.minimum(np.maximum(z, -RESIDUAL_MAX), RESIDUAL_MAX, out=streams[RESIDUAL, 0])
        jump = np.abs(y - last)
        jump *= JUMP_SHARES[0]
        jump += JUMP_SHARES[1] * np.abs(residual)
        streams[JUMP, 0] = jump
        smooth[...] = streams[:, :1]
        calm = smooth[RESIDUAL]
        np.minimum(np.maximum(calm, -RESIDUAL_MAX_SMOOTHED, out=calm), RESIDUAL_MAX_SMOOTHED, out=calm)
        before = _part(self.streams[:, SMOOTH], selection)
        smooth -= before
        smooth *= GAINS
        smooth += before
        return News(selection, streams, streams[RESIDUAL] * _ROOTS)

    def surprise(self, news: News, at: Ints, slots: Ints, side: Side, time_seconds: float) -> Floats:
        """Return how surprising the streams of some series are: 0, or minus the log of a chance.

        Parameters
        ----------
        at, slots : ndarray of shape (k,)
            Their places in the news, and their slots.
        """
        now, past = news.streams[:, :, at], self.streams[:, :, slots]
        rows = self.rows[:, slots]
        floor = np.empty_like(now, shape=(3, 1, at.size))
        floor[...] = LEVEL_SHARE * rows[LEVEL] + SCALE_MIN
        floor[RESIDUAL] = RESIDUAL_FLOOR
        total: Floats = np.zeros_like(rows[LEVEL])
        is_above = now[RESIDUAL, 0] > 0.0
        if side != "low":
            _add_tails(total, (now - past[:, HIGH])[:JUMP], (past[:, HIGH] - past[:, MEAN])[:JUMP], floor[:JUMP])
        if side != "high":
            _add_tails(total, (past[:, LOW] - now)[:JUMP], (past[:, MEAN] - past[:, LOW])[:JUMP], floor[:JUMP])
        jump = (now - past[:, HIGH])[JUMP:]
        if side != "both":
            jump = jump * (is_above if side == "high" else ~is_above)
        _add_tails(total, jump, (past[:, HIGH] - past[:, MEAN])[JUMP:], floor[JUMP:])
        age = np.maximum(time_seconds - rows[BEGAN], 0.0)
        total *= -np.expm1(-age / YOUTH_SECONDS)
        days = np.minimum(age / DAY, 3.0)
        days *= days
        total *= -np.expm1(-days * days)
        return total

    def proven(self, slots: Ints, count: Floats, time_seconds: float) -> Floats:
        """Return how far heavy tails of series are proven by their history, 0 to 1, rather than by a few incidents."""
        age = time_seconds - self.rows[BEGAN, slots]
        first, last = PROVEN_SECONDS
        share = np.minimum(np.maximum((age - first) / (last - first), 0.0), count * (1.0 / PROVEN_VALUES))
        proven: Floats = np.minimum(share, 1.0)
        return proven

    def is_news(self, strength: Floats, slots: Ints) -> Floats:
        """Return 1.0 where a surprise stands out from those of late, else 0.0."""
        is_news: Floats = (strength >= RECENT_FACTOR * self.rows[RECENT, slots]).astype(np.float64)
        return is_news

    def learn(self, news: News, value: Floats, time_seconds: float, *, away: Floats, count: Floats) -> None:
        """Take the streams in. Records are learnt at once: what was seen is never new again.

        Parameters
        ----------
        value : ndarray of shape (m,)
            Absolute values.
        away : ndarray of shape (m,)
            Seconds since the value before.
        count : ndarray of shape (m,)
            Values before this one.
        """
        selection = news.selection
        streams, rows = _part(self.streams, selection), _part(self.rows, selection)
        now = news.streams
        gain = -np.expm1(away * (-1.0 / self._mean_memory))
        np.maximum(gain, 1.0 / (count + 1.0), out=gain)
        fade = np.minimum(away * (1.0 / RECORD_MEMORY_SECONDS), 1.0)
        mean, high, low = streams[:, MEAN], streams[:, HIGH], streams[:JUMP, LOW]
        streams[:, SMOOTH] = now[:, 1:]
        high += fade * (mean - high)
        np.maximum(high, now, out=high)
        low += fade * (mean[:JUMP] - low)
        np.minimum(low, now[:JUMP], out=low)
        mean += gain * (now - mean)
        rows[LEVEL] += gain * (np.abs(value) - rows[LEVEL])
        np.copyto(rows[BEGAN], time_seconds, where=count == 0.0)
        rows[LAST] = now[VALUE, 0]
        rows[RECENT] *= RECENT_KEEP
        if not isinstance(selection, slice):
            self.streams[:, :, selection] = streams
            self.rows[:, selection] = rows

    def remember(self, strength: Floats, is_news: Floats, slots: Ints) -> None:
        """Keep surprises as what later ones must stand out from.

        What was not shown only keeps what it is compared with from fading: else a slow rise would hide itself.
        """
        recent = self.rows[RECENT, slots]
        kept = np.where(is_news > 0.0, strength, np.minimum(strength, recent * (1.0 / RECENT_KEEP)))
        self.rows[RECENT, slots] = np.maximum(recent, kept)

    def forget(self, slots: Ints) -> None:
        """Clear slots."""
        self.streams[:, :, slots] = 0.0
        self.rows[:, slots] = 0.0

    def state(self, n_slots: int) -> Arrays:
        """Return copies of all arrays, trimmed to the slots in use."""
        return {"streams": self.streams[:, :, :n_slots].copy(), "novelty": self.rows[:, :n_slots].copy()}

    def load(self, arrays: Arrays) -> None:
        """Take over what ``state`` returned."""
        n_slots = arrays["novelty"].shape[1]
        self.reserve(n_slots)
        self.streams[:, :, :n_slots] = arrays["streams"]
        self.rows[:, :n_slots] = arrays["novelty"]


def admitted(noise_exponents: Floats) -> Floats:
    """Return how far surprises count, 0 to 1, by minus the log of the chance that noise comes this far.

    >>> admitted(np.array([4.0, 4.25, 9.0]) * math.log(10)).round(9).tolist()
    [0.0, 0.5, 1.0]
    """
    share = noise_exponents * (1.0 / math.log(10.0))
    share -= ADMITTED_FROM
    share *= 1.0 / (ADMITTED_ALL - ADMITTED_FROM)
    limited: Floats = np.minimum(np.maximum(share, 0.0), 1.0)
    return limited


def chance_of_record(surprise: Floats, count: Floats) -> Floats:
    """Return the chance that any stream breaks its record by so much.

    The latest of n + 1 values is the highest with chance 1 / (n + 1) (Renyi, 1962). Streams, scales and directions
    share their records: the twenty count as ten, and those that break at once as half as many.

    >>> chance_of_record(np.array([0.0, 0.0]), np.array([4.0, 999.0])).tolist()
    [1.0, 0.01]
    """
    chance: Floats = np.minimum(N_INDEPENDENT / (count + 1.0), 1.0) * np.exp(-0.5 * surprise)
    return chance


def score(strength: Floats) -> Floats:
    """Return the score, 0 to 100, of surprises.

    >>> score(np.array([0.0, SCORE_HALF])).tolist()
    [0.0, 50.0]
    """
    scores: Floats = 100.0 * strength / (strength + SCORE_HALF)
    return scores


def _part(array: Floats, selection: Selection) -> Floats:
    """Return a view of a slice of slots, a copy of any others."""
    part: Floats = array[..., selection] if isinstance(selection, slice) else array.take(selection, axis=-1)
    return part


def _add_tails(total: Floats, excess: Floats, distance: Floats, floor: Floats) -> None:
    """Add minus the logs of the tails to the total, row by row, so that the sum has one order."""
    ratio = np.maximum(excess, 0.0)
    ratio *= TAIL
    ratio /= np.maximum(distance, 0.0) + floor
    np.log1p(ratio, out=ratio)
    for stream in ratio:
        for row in stream:
            total += row
