"""Jobs of one series: the judging and learning of a bucket, compiled from the array code.

A detector without by, partition and over field has one series, in slot 0; with custom rules or influencers of its own
it is left to the array code. ``FeatureModel`` run on symbols (``tracing.py``) gives functions of floats that do the
same to the bit; one is made whenever a path through the code is first taken, once for all jobs of a kind. The array
code goes on to do what few buckets need, on the same tables: the families' blocks, the search for periods.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple

import numpy as np

from domain.config.functions import Side
from domain.model import cycles, families, novelty, seasons, stillness, unrest
from domain.model.arrays import Floats, Ints, Selection
from domain.model.candidates import Candidates
from domain.model.feature_model import FeatureModel, nothing_unusual
from domain.model.functions import Feature
from domain.model.judgement import Judgement, Learnt
from domain.model.tracing import Compiled, Path, Trace, Traced, compile_trace, elements

SLOT: Final = slice(0, 1)
SLOTS: Final = np.zeros(1, np.int64)
TO_JUDGE: Final = slice(families.SCREEN, families.MODES.stop)
"""What the judging of a value needs of the families."""
FOUND: Final = (
    "probability",
    "actual",
    "typical",
    "exponents",
    "surprise",
    "noise_exponents",
    "is_news",
    "impact",
    "of_families",
    "still_exponents",
)
"""Fields of `Candidates` that say how unusual a value is."""
PATHS_MAX: Final = 256
"""Paths kept of a program; beyond, all are made anew as they are needed. Chosen: a dozen are taken by most series, some
forty by all sorts of them."""
KINDS_MAX: Final = 256
"""Kinds kept of either program. Chosen: more than a server of very different jobs has in use, at 60 kB per path."""


class Kind(NamedTuple):
    """What compiled code depends on: the parameters of the model, and what is in use of it."""

    feature: Feature
    side: Side
    bucket_span_seconds: int
    has_modes: bool
    has_period: bool
    has_unrest: bool


class Program:
    """Compiled functions of one kind, by the path that they follow.

    Parameters
    ----------
    build : callable
        Runs the array code on a trace; returns what the functions are to return.
    """

    def __init__(self, build: Callable[[Trace], Sequence[Any]]) -> None:
        self._build = build
        self._functions: dict[Path, Compiled] = {}

    def run(self, path: Path, *inputs: Sequence[float]) -> tuple[Path, tuple[Any, ...]]:
        """Return the path that the inputs take, and what comes out; ``path`` is where to look first."""
        while True:
            function = self._functions.get(path)
            if function is None:
                function = self._functions[path] = self._compiled(path)
            found = function(*inputs)
            if not found or not isinstance(found[0], bool):
                return path, found
            path = found

    def _compiled(self, path: Path) -> Compiled:
        trace = Trace(path)
        outputs = self._build(trace)
        known = self._functions.get(trace.path)
        if known is None:
            if len(self._functions) >= PATHS_MAX:
                self._functions.clear()
            known = self._functions[trace.path] = compile_trace(trace, "step", outputs)
        return known


def build_step(kind: Kind, trace: Trace) -> Sequence[Any]:
    """Judge and learn a value."""
    model = _any(FeatureModel(*kind[:3]))
    asked, packed = trace.input(4), _pack(model, trace)
    model.families.rows = Traced(trace, np.zeros((families.N_ROWS, 1), object))
    model.families.rows[TO_JUDGE] = trace.input(TO_JUDGE.stop - TO_JUDGE.start, 1)
    model.families.has_modes = kind.has_modes
    given = model.expectations
    given.seasons = _GivenSeasons(kind.bucket_span_seconds, trace, asked[2:].reshape(2, 1, 1))
    given.cycles = _GivenCycles(kind.bucket_span_seconds, trace if kind.has_period else None)
    model.unrest = _GivenUnrest(kind.bucket_span_seconds, trace if kind.has_unrest else None)
    judged = model.judge(SLOT, asked[0:1], asked[1:2])
    still, news = judged.still.exponents, judged.news
    is_unusual, is_mature = model.screen(judged, model.side, still)
    still = np.zeros(1) if still is None else still
    to_ask = elements(judged.mixed, still, news.streams, news.noise_z)
    learnt = model.take_in(judged)
    model.rows[...] = learnt.rows
    of_value = elements(learnt.value, learnt.z, learnt.scale, learnt.y)
    return [elements(is_unusual, is_mature), of_value, to_ask, packed, given.seasons.cells, given.cycles.cells]


def build_candidates(kind: Kind, trace: Trace) -> Sequence[Any]:
    """Say how unusual a value is, before it is learnt."""
    model, judged, news, still = map(_any, (FeatureModel(*kind[:3]), Judgement, novelty.News, stillness.Stand))
    asked = trace.input(4)
    _pack(model, trace)
    model.families.rows, model.families.has_modes = trace.input(families.N_ROWS, 1), kind.has_modes
    (_, z, scale, y), found = trace.input(4, 1), trace.input(2 + 4 * novelty.N_SCALES, 1)
    streams = found[2 : 2 + 3 * novelty.N_SCALES].reshape(3, novelty.N_SCALES, 1)
    judged = judged(
        selection=SLOT,
        time_seconds=asked[1:2],
        rows=model.rows,
        x=asked[0:1],
        y=y,
        mixed=found[0],
        residual=None,
        scale=scale,
        z=z,
        expectation=None,
        news=news(SLOT, streams, found[-novelty.N_SCALES :]),
        still=still(None, None, found[1]),
        unrest=trace.input(1) if kind.has_unrest else None,
    )
    candidates = model.candidates(judged)
    return [elements(*(getattr(candidates, name) for name in FOUND))] if candidates.slots.size else [elements()]


def _any(value: Any) -> Any:
    """Return the value, with traced arrays let in where its type asks for arrays."""
    return value


class _GivenSeasons(seasons.Seasons):
    """Seasons whose cells are inputs of a trace."""

    def __init__(self, bucket_span_seconds: int, trace: Trace, shares: Any) -> None:
        super().__init__(bucket_span_seconds)
        self._shares = shares
        self.cells: Any = trace.input(2, 2 * seasons.N_SEASONS, 1)

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
            value, is_over_day, gain_min, shares = (trace.input(*shape) for shape in ((1,), (1,), (1,), (2, 1)))
            self.cells = trace.input(2, 2, 1)
            outlook: Any = (SLOTS, value, is_over_day, _NOWHERE, shares, self.cells.copy(), gain_min)
            self._outlook = cycles.Outlook(*outlook)

    def read(self, time_seconds: float, selection: Selection) -> cycles.Outlook | None:
        return self._outlook

    def put(self, outlook: cycles.Outlook, selection: Selection) -> None:
        self.cells = outlook.cells


class _GivenUnrest(unrest.Unrest):
    """How much farther than usual values lie, as an input of a trace, or not at all."""

    def __init__(self, bucket_span_seconds: int, trace: Trace | None) -> None:
        super().__init__(bucket_span_seconds)
        self._factor: Any = None if trace is None else trace.input(1)

    def read(self, selection: Selection, time_seconds: float) -> Floats | None:
        return self._factor  # type: ignore[no-any-return]


_NOWHERE: Final = np.empty(0, np.int64)


@lru_cache(maxsize=KINDS_MAX)
def step_of(kind: Kind) -> Program:
    """Return the judging and learning of a value."""
    return Program(partial(build_step, kind))


@lru_cache(maxsize=KINDS_MAX)
def candidates_of(kind: Kind) -> Program:
    """Return what says how unusual a value is."""
    return Program(partial(build_candidates, kind))


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
        self._paths: tuple[Path, Path] = ((), ())
        self._packed = _pack(model)

    def find_and_learn(self, x: Floats, time_seconds: float) -> Candidates:
        """Judge the value of a bucket, learn it, and return it if it is unusual.

        Parameters
        ----------
        x : ndarray of shape (1,)
        time_seconds : float
            Middle of the bucket.
        """
        model = self._model
        if not _is_packed(model, self._packed):  # a copy of another
            self._packed = _pack(model)
        place = seasons.cells_at(time_seconds)
        period = model.expectations.cycles.read(time_seconds, SLOT)
        found: Candidates
        try:
            of_value, after, cells, of_period, found = self._judged(float(x[0]), time_seconds, place, period)
        except (ArithmeticError, ValueError):  # what floats refuse, arrays make infinite or NaN
            judged = model.judge(SLOT, x, time_seconds)
            model.learn(judged, unusual := model.candidates(judged))
            return unusual
        self._packed[:, 0] = after
        model.expectations.seasons.table[:, place[0], 0] = np.array(cells).reshape(2, -1)
        if period is not None:
            period.cells[...] = np.array(of_period).reshape(period.cells.shape)
            model.expectations.cycles.put(period, SLOT)
        model.keep(Learnt(SLOT, time_seconds, model.rows[:, SLOT], *np.array(of_value)[:, None]), found)
        return found

    def _judged(
        self, x: float, time_seconds: float, place: tuple[Ints, float], period: cycles.Outlook | None
    ) -> tuple[Any, ...]:
        """Calculate what a value makes of the tables; nothing is changed.

        Returns
        -------
        tuple
            Of the value, what the array code goes on with; the tables, the cells of the hours and of the period as they
            are to be; the value as a candidate, if it is one.
        """
        model, (index, share) = self._model, place
        factor = model.unrest.read(SLOT, time_seconds)
        kind = Kind(*self._kind, model.families.has_modes, period is not None, factor is not None)
        asked = (x, time_seconds, 1.0 - share, share)
        before, of_families = self._packed[:, 0].tolist(), model.families.rows[:, 0].tolist()
        given = [of_families[TO_JUDGE], model.expectations.seasons.table[:, index, 0].ravel().tolist()]
        if period is not None:
            own = (period.value, period.is_over_day, period.gain_min, period.shares, period.cells)
            given += [array.ravel().tolist() for array in own]
        calm = [] if factor is None else [factor.tolist()]
        path, made = step_of(kind).run(self._paths[0], asked, before, *given, *calm)
        (is_unusual, is_mature), of_value, to_ask, *learnt = made
        found, of_candidates = nothing_unusual(int(is_mature)), self._paths[1]
        if is_unusual:
            program = candidates_of(kind)
            of_candidates, unusual = program.run(of_candidates, asked, before, of_families, of_value, to_ask, *calm)
            found = Candidates(SLOTS, n_judged=1, **dict(zip(FOUND, np.array(unusual[0])[:, None], strict=True)))
        self._paths = path, of_candidates
        return of_value, *learnt, found


def _tables(model: FeatureModel) -> list[Floats]:
    """Return what is read and written of a model at every value."""
    return [model.rows, model.novelty.streams, model.novelty.rows, model.stillness.rows]


def _pack(model: Any, trace: Trace | None = None) -> Any:
    """Let the tables of a model lie in one array, as views of it: one look, or one input of a trace, for all."""
    tables = _tables(model)
    n_rows = [math.prod(table.shape[:-1]) for table in tables]
    packed: Any = np.empty((sum(n_rows), tables[0].shape[-1])) if trace is None else trace.input(sum(n_rows), 1)
    views, start = [], 0
    for table, n in zip(tables, n_rows, strict=True):
        views.append(packed[start : start + n].reshape(*table.shape[:-1], -1))
        if trace is None:
            views[-1][...] = table
        start += n
    model.rows, model.novelty.streams, model.novelty.rows, model.stillness.rows = views
    return packed


def _is_packed(model: FeatureModel, packed: Floats) -> bool:
    return all(table.base is packed for table in _tables(model))
