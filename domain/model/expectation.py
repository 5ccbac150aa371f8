"""What is expected of a series next, and of what parts that is made.

Levels and profiles (``forecast.py``, ``seasons.py``, ``cycles.py``) are relative to the origin of their series and to
the shifts that it has gone through since (``change.py``). ``read`` and ``judge`` change nothing, ``learn`` takes the
value in. The state is rows of the feature's model, apart from the tables.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from domain.model import change, cycles, forecast, seasons
from domain.model.arrays import Arrays, Floats, Ints, Selection, ordered_sum

FORECAST: Final = slice(0, forecast.N_ROWS)
CHANGE: Final = slice(FORECAST.stop, FORECAST.stop + change.N_ROWS)
N_ROWS: Final = CHANGE.stop
"""Rows of the state."""
SEASON_NAMES: Final = ("day", "week", "workday", "period")
PERIOD_NAME: Final = SEASON_NAMES[-1]
BYTES_PER_SERIES: Final = 8 * N_ROWS + seasons.BYTES_PER_SERIES + cycles.BYTES_PER_SERIES

PROFILE_ON_TRIAL: Final = 0.5
"""Weight of values in the profiles while a new level is on trial. Chosen: what comes daily from now on is learnt within
weeks, what came once leaves a twentieth of it."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known before the value is.

    Attributes
    ----------
    seasons : seasons.Outlook
    cycles : cycles.Outlook or None
        Of the series that have a period of their own.
    level : ndarray of shape (m,)
        Usual level over days, relative to the origin.
    """

    seasons: seasons.Outlook
    cycles: cycles.Outlook | None
    level: Floats


@dataclass(frozen=True, slots=True)
class Expectation:
    """What was expected, in the terms of the mixture; relative to the origin and its shifts but for ``mixed``.

    Attributes
    ----------
    outlook : Outlook
    offsets, expected, weights : ndarray of shape (forecast.N_PREDICTORS, m)
        What each predictor's profile adds to its level; what it expects; for how much it counts, 1 in all.
    value, residual, mixed : ndarray of shape (m,)
        The value; its distance to the expected one; the latter, relative to the origin alone.
    nearer : change.Nearer or None
        Which level the values were judged by, if any series has two.
    """

    outlook: Outlook
    offsets: Floats
    expected: Floats
    weights: Floats
    value: Floats
    residual: Floats
    mixed: Floats
    nearer: change.Nearer | None


@dataclass(frozen=True, slots=True)
class Terms:
    """What an expected value is made of; together they are it, to within rounding.

    Attributes
    ----------
    level : float
        Usual level over days, relative to the origin.
    trend : float
        How far the last hours lie from it, and where they lead.
    seasons : dict of str to float
        What each of ``SEASON_NAMES`` adds; a season that has not proved itself adds about nothing.
    shares : dict of str to float
        How much of the forecast listens to each.
    shift : float
        A change of level on trial.
    bound : float
        What it takes to keep to the smallest possible value.
    """

    level: float
    trend: float
    seasons: dict[str, float]
    shares: dict[str, float]
    shift: float
    bound: float


def terms(rows: Floats, found: Expectation, place: int) -> Terms:
    """Take an expected value apart.

    Parameters
    ----------
    rows : ndarray of shape (N_ROWS, m)
        As it was judged by.
    place : int
        Which of the m.
    """
    weights, offsets = found.weights[:, place].tolist(), found.offsets[:, place].tolist()
    slow, level = float(rows[forecast.SLOW, place]), float(found.outlook.level[place])
    shift = 0.0 if found.nearer is None else float(found.nearer.shift[place])
    shift *= 1.0 - weights[forecast.LAST]
    added, shares = dict.fromkeys(SEASON_NAMES, 0.0), dict.fromkeys(SEASON_NAMES, 0.0)
    for weight, offset, name in zip(weights, offsets, forecast.SEASONS, strict=True):
        if name is not None and name != PERIOD_NAME:
            added[name] += weight * (offset - slow)
            shares[name] += weight
    of_period, shares[PERIOD_NAME] = offsets[forecast.PERIOD_SLOW], weights[forecast.PERIOD_SLOW]
    own = found.outlook.cycles
    at = -1 if own is None else int(np.searchsorted(own.at, place))
    if own is not None and at < own.at.size and own.at[at] == place and own.is_over_day[at]:
        day = float(found.outlook.seasons.values[seasons.DAY, place])
        added[forecast.DAY_NAME] += shares[PERIOD_NAME] * (day - slow)
        of_period -= day
    added[PERIOD_NAME] = shares[PERIOD_NAME] * of_period
    mixed = sum(weight * value for weight, value in zip(weights, found.expected[:, place].tolist(), strict=True))
    bound = float(found.mixed[place]) - (mixed + level - slow)
    trend = mixed - slow - shift - sum(added.values())
    return Terms(level, trend, added, shares, shift, bound)


class Expectations:
    """The arithmetic, and the tables of all series."""

    def __init__(self, bucket_span_seconds: int) -> None:
        self.seasons = seasons.Seasons(bucket_span_seconds)
        self.cycles = cycles.Cycles(bucket_span_seconds)
        self._growth = forecast.growth_share(bucket_span_seconds)
        self._values_min = change.values_min(bucket_span_seconds)

    def reserve(self, n_slots: int) -> None:
        """Make room for ``n_slots`` series."""
        self.seasons.reserve(n_slots)
        self.cycles.reserve(n_slots)

    def read(self, rows: Floats, selection: Selection, time_seconds: float) -> Outlook:
        """Look up what there is to know of a time.

        Parameters
        ----------
        rows : ndarray of shape (N_ROWS, m)
        """
        slow = rows[forecast.SLOW]
        outlook = self.seasons.read(time_seconds, selection, slow)
        return Outlook(outlook, self.cycles.read(time_seconds, selection), slow + rows[CHANGE][change.SHIFT])

    def judge(self, rows: Floats, outlook: Outlook, y: Floats, scale: Floats, value_min: Floats | None) -> Expectation:
        """Say what was expected of values; nothing is changed.

        Parameters
        ----------
        rows : ndarray of shape (N_ROWS, m)
        y : ndarray of shape (m,)
            Relative to the origin.
        scale : ndarray of shape (m,)
        value_min : ndarray of shape (m,) or None
            Smallest possible value, relative to the origin; None: there is none.
        """
        shift = rows[CHANGE][change.SHIFT]
        profiles = outlook.seasons.values
        offsets = np.zeros_like(y, shape=(forecast.N_PREDICTORS, y.size))
        offsets[forecast.DAY_FAST] = profiles[seasons.DAY]
        offsets[forecast.DAY_SLOW : forecast.PERIOD_SLOW] = profiles
        own = outlook.cycles
        if own is not None:
            offsets[forecast.PERIOD_SLOW, own.at] = own.value + own.is_over_day * profiles[seasons.DAY, own.at]
        expected = forecast.predict(rows[FORECAST], offsets, self._growth)
        weights = forecast.weigh(rows[FORECAST], scale, None if own is None else own.at)
        mixed = ordered_sum(weights * expected)
        value = y - shift
        residual = value - mixed
        chosen = change.nearer(rows[CHANGE], residual, share := 1.0 - weights[forecast.LAST])
        if chosen is not None:
            moved = chosen.shift * share
            mixed += moved
            residual -= moved
            expected[forecast.FAST :] += chosen.shift
        mixed += shift
        if value_min is not None:
            np.maximum(mixed, value_min, out=mixed)
            residual = y - mixed
        return Expectation(outlook, offsets, expected, weights, value, residual, mixed, chosen)

    def learn(
        self,
        rows: Floats,
        found: Expectation,
        selection: Selection,
        z: Floats,
        *,
        scale: Floats,
        gains: Floats,
        count: Floats,
        time_seconds: float,
    ) -> tuple[Floats, Floats]:
        """Take values in.

        Parameters
        ----------
        rows : ndarray of shape (N_ROWS, m)
            Changed in place.
        z, scale : ndarray of shape (m,)
            Residuals in scales; scales.
        gains : ndarray of shape (5, m)
            In the order of ``forecast.time_constants``.
        count : ndarray of shape (m,)
            Values before this one.

        Returns
        -------
        believed : ndarray of shape (m,)
            The value as far as it is believed, relative to the origin.
        shift : ndarray of shape (m,)
            How sure it is that the series has changed, 0 to 1.
        """
        weight, shift = change.belief(rows[CHANGE], z, found.residual, count, self._values_min)
        lost = found.residual * (1.0 - weight)
        believed = found.value - lost
        base, for_profiles = believed, weight
        if found.nearer is not None:
            base = believed - found.nearer.shift
            for_profiles = weight * (1.0 - PROFILE_ON_TRIAL * (found.nearer.shift != 0.0))
        self._learn_cycles(rows, found, selection, base, for_profiles)
        self.seasons.learn(found.outlook.seasons, selection, believed, for_profiles)
        forecast.learn(
            rows[FORECAST],
            found.expected,
            found.offsets,
            value=believed,
            base=base,
            error_max=scale * forecast.ERROR_CLIP,
            gains=forecast.gains_of_levels(gains),
            error_gain=gains[forecast.ERROR_MEMORY],
        )
        believed = believed + rows[CHANGE][change.SHIFT]
        moved = change.follow(
            rows[CHANGE], found.nearer, scale, count=count, count_min=self._values_min, time_seconds=time_seconds
        )
        if moved is not None:
            rows[FORECAST][forecast.LAST] -= moved
        return believed, shift

    def _learn_cycles(self, rows: Floats, found: Expectation, selection: Selection, y: Floats, weight: Floats) -> None:
        """Take what is neither level nor daily season into the tables of periods."""
        own = found.outlook.cycles
        if own is not None:
            level = rows[FORECAST][forecast.PERIOD_SLOW, own.at]
            day = own.is_over_day * found.outlook.seasons.values[seasons.DAY, own.at]
            self.cycles.learn_table(own, selection, y[own.at] - level - day, weight[own.at])

    def look_for_cycles(self, rows: Floats, value: Floats, selection: Selection, time_seconds: float) -> None:
        """Take values into the stretches; begin to use periods that were found. To be called after ``learn``.

        Parameters
        ----------
        rows : ndarray of shape (N_ROWS, m)
            Changed in place.
        value : ndarray of shape (m,)
            As of the ``Expectation``.
        """
        errors = rows[FORECAST][forecast.ERRORS]
        news = self.cycles.learn(selection, value, time_seconds, errors, forecast.PERIOD_SLOW)
        if news is None:
            return
        at = news.slots if isinstance(selection, slice) else np.searchsorted(selection, news.slots)
        is_new = news.error > 0.0
        errors[forecast.PERIOD_SLOW, at] = np.where(is_new, news.error, errors[forecast.PERIOD_SLOW, at])
        level = np.where(news.is_over_day, rows[forecast.DAY_SLOW, at], news.level)
        rows[forecast.PERIOD_SLOW, at] = np.where(is_new, level, rows[forecast.SLOW, at])

    def forget(self, slots: Ints) -> None:
        """Clear slots."""
        self.seasons.forget(slots)
        self.cycles.forget(slots)

    def state(self, n_slots: int) -> Arrays:
        """Return copies of all arrays, trimmed to the slots in use."""
        return {**self.seasons.state(n_slots), **self.cycles.state(n_slots)}

    def load(self, arrays: Arrays) -> None:
        """Take over what ``state`` returned."""
        self.seasons.load(arrays)
        self.cycles.load(arrays)
