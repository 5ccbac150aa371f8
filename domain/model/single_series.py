"""Jobs of one series: the judging and learning of a bucket, compiled from the array code.

A detector without by, partition and over field has one series, in slot 0. ``FeatureModel`` run on symbols
(``tracing.py``) gives a function of floats that does the same to the bit; it is made when a path through the code is
first needed, once for all jobs of a kind. The tables stay where they are, and the array code goes on to do what only
some buckets need: probabilities of candidates, blocks of the families, periods.
"""

import operator
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import numpy as np

from domain.config.functions import Side
from domain.model import cycles, families, seasons
from domain.model.arrays import Floats, Ints, Selection
from domain.model.candidates import Candidates
from domain.model.feature_model import FeatureModel, Learnt, nothing_unusual
from domain.model.functions import Feature
from domain.model.tracing import Outputs, Path, Trace, Traced, compile_trace

SLOT: Final = slice(0, 1)
SLOTS: Final = np.zeros(1, np.int64)
TABLES: Final = (("", "rows"), ("novelty", "streams"), ("novelty", "rows"), ("stillness", "rows"))
"""What is read and written of a model at every value: of which part, and its name there."""
OF_FAMILIES: Final = slice(families.SCREEN, families.MODES.stop)
"""What the judging of a value needs of them."""


_NOWHERE: Final = np.empty(0, np.int64)


class Program:
    """Compiled steps of one kind of model, by the path that they follow.

    Parameters
    ----------
    feature, side, bucket_span_seconds
        As of the model.
    has_modes, has_period : bool
        Whether the series has two modes, and a period of its own.
    """

    def __init__(
        self, feature: Feature, side: Side, bucket_span_seconds: int, *, has_modes: bool, has_period: bool
    ) -> None:
        self._kind = (feature, side, bucket_span_seconds)
        self._has_modes, self._has_period = has_modes, has_period
        self._functions: dict[Path, Callable[..., Outputs | Path]] = {}

    def run(self, path: Path, inputs: tuple[Any, ...]) -> tuple[Path, Outputs]:
        """Return the path that the inputs take, and what comes out; ``path`` is where to look first."""
        while True:
            function = self._functions.get(path)
            if function is None:
                function = self._functions[path] = self._compiled(path)
            found = function(*inputs)
            if not isinstance(found[0], bool):
                return path, found
            path = found

    def _compiled(self, path: Path) -> Callable[..., Outputs | Path]:
        trace = Trace(path)
        model: Any = FeatureModel(*self._kind)
        x, time_seconds = trace.input(1), trace.input(1)
        for part, name in TABLES:
            owner = operator.attrgetter(part)(model) if part else model
            setattr(owner, name, trace.input(*getattr(owner, name).shape[:-1], 1))
        of_families = Traced(trace, np.zeros((families.N_ROWS, 1), object))
        of_families[OF_FAMILIES] = trace.input(OF_FAMILIES.stop - OF_FAMILIES.start, 1)
        model.families.rows, model.families.has_modes = of_families, self._has_modes
        given = model.expectations
        given.seasons = _GivenSeasons(self._kind[2], trace)
        given.cycles = _GivenCycles(self._kind[2], trace if self._has_period else None)
        judged = model.judge(SLOT, x, time_seconds)
        is_unusual, is_mature = model.screen(judged, model.side, judged.still.exponents)
        learnt = model.take_in(judged)
        asked = [is_unusual, is_mature, learnt.value, learnt.z, learnt.scale, learnt.y]
        tables = [operator.attrgetter(f"{part}.{name}".strip("."))(model) for part, name in TABLES]
        tables[0] = learnt.rows
        return compile_trace(trace, "step", [*asked, *tables, given.seasons.cells, given.cycles.cells])


class _GivenSeasons(seasons.Seasons):
    """Seasons whose cells are inputs of a trace."""

    def __init__(self, bucket_span_seconds: int, trace: Trace) -> None:
        super().__init__(bucket_span_seconds)
        self._shares, self.cells = trace.input(2, 1, 1), trace.input(2, 2 * seasons.N_SEASONS, 1)

    def gather(self, time_seconds: float, selection: Selection) -> tuple[Ints, Floats, Floats]:
        return _NOWHERE, self._shares, self.cells.copy()

    def put(self, index: Ints, selection: Selection, cells: Floats) -> None:
        self.cells = cells


class _GivenCycles(cycles.Cycles):
    """A period whose cells are inputs of a trace, or none."""

    def __init__(self, bucket_span_seconds: int, trace: Trace | None) -> None:
        super().__init__(bucket_span_seconds)
        self.cells: Any = np.empty(0)
        self._outlook: cycles.Outlook | None = None
        if trace is not None:
            value, is_over_day, gain_min = (trace.input(1) for _ in range(3))
            shares, self.cells = trace.input(2, 1), trace.input(2, 2, 1)
            self._outlook = cycles.Outlook(SLOTS, value, is_over_day, _NOWHERE, shares, self.cells.copy(), gain_min)

    def read(self, time_seconds: float, selection: Selection) -> cycles.Outlook | None:
        return self._outlook

    def put(self, outlook: cycles.Outlook, selection: Selection) -> None:
        self.cells = outlook.cells


_program: Final = lru_cache(maxsize=64)(Program)


class SingleSeries:
    """Judges and learns what a model does, value by value.

    Parameters
    ----------
    model : FeatureModel
        Of a detector with one series.
    """

    def __init__(self, model: FeatureModel, bucket_span_seconds: int) -> None:
        self._model = model
        self._kind = (model.feature, model.side, bucket_span_seconds)
        self._path: Path = ()

    def find_and_learn(self, x: Floats, time_seconds: float) -> Candidates:
        """Judge the value of a bucket, learn it, and return it if it is unusual.

        Parameters
        ----------
        x : ndarray of shape (1,)
        time_seconds : float
            Middle of the bucket.
        """
        model = self._model
        cells_of_hours, cycles_ = model.expectations.seasons.table, model.expectations.cycles
        index, share = seasons.cells_at(time_seconds)
        inputs = [x.tolist(), (time_seconds,)]
        inputs += [table[..., 0].ravel().tolist() for table in self._tables()]
        inputs.append(model.families.rows[OF_FAMILIES, 0].tolist())
        inputs += [(1.0 - share, share), cells_of_hours[:, index, 0].ravel().tolist()]
        period = cycles_.read(time_seconds, SLOT)
        if period is not None:
            of_period = (period.value, period.is_over_day, period.gain_min, period.shares, period.cells)
            inputs += [array.ravel().tolist() for array in of_period]
        program = _program(*self._kind, has_modes=model.families.has_modes, has_period=period is not None)
        self._path, found = program.run(self._path, tuple(inputs))
        (is_unusual,), (is_mature,), value, z, scale, y, rows, *tables, cells, cells_of_period = found
        candidates = nothing_unusual(int(is_mature))
        if is_unusual:  # nothing is learnt yet
            candidates = model.candidates(model.judge(SLOT, x, time_seconds))
        for table, values in zip(self._tables()[1:], tables, strict=True):
            table[..., 0] = np.array(values).reshape(table.shape[:-1])
        cells_of_hours[:, index, 0] = np.array(cells).reshape(2, -1)
        if period is not None:
            period.cells[...] = np.array(cells_of_period).reshape(period.cells.shape)
            cycles_.put(period, SLOT)
        of_value = np.array((value, z, scale, y))
        model.keep(Learnt(SLOT, time_seconds, np.array(rows)[:, None], *of_value), candidates)
        return candidates

    def _tables(self) -> list[Floats]:
        model = self._model
        return [model.rows, model.novelty.streams, model.novelty.rows, model.stillness.rows]
