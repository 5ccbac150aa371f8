"""Jobs of one series: the judging and learning of a bucket, compiled from the array code.

A detector without by, partition and over field has one series, in slot 0. ``FeatureModel`` run on symbols
(``tracing.py``) gives functions of floats that do the same to the bit; one is made whenever a path through the code is
first taken, once for all jobs of a kind. The tables stay where they are, and the array code goes on to do what few
buckets need: the families' blocks, the search for periods.
"""

import operator
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple

import numpy as np

from domain.config.functions import Side
from domain.model import cycles, families, novelty, seasons, stillness, unrest
from domain.model.arrays import Floats, Ints, Selection
from domain.model.candidates import Candidates
from domain.model.feature_model import N_ROWS, FeatureModel, nothing_unusual
from domain.model.functions import Feature
from domain.model.judgement import Judgement, Learnt
from domain.model.tracing import Compiled, Path, Trace, Traced, compile_trace

SLOT: Final = slice(0, 1)
SLOTS: Final = np.zeros(1, np.int64)
TABLES: Final = (("", "rows"), ("novelty", "streams"), ("novelty", "rows"), ("stillness", "rows"))
"""What is read and written of a model at every value: of which part, and its name there."""
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
    x, time_seconds = trace.input(1), trace.input(1)
    for part, name in TABLES:
        owner = operator.attrgetter(part)(model) if part else model
        setattr(owner, name, trace.input(*getattr(owner, name).shape[:-1], 1))
    model.families.rows = Traced(trace, np.zeros((families.N_ROWS, 1), object))
    model.families.rows[TO_JUDGE] = trace.input(TO_JUDGE.stop - TO_JUDGE.start, 1)
    model.families.has_modes = kind.has_modes
    given = model.expectations
    given.seasons = _GivenSeasons(kind.bucket_span_seconds, trace)
    given.cycles = _GivenCycles(kind.bucket_span_seconds, trace if kind.has_period else None)
    model.unrest = _GivenUnrest(kind.bucket_span_seconds, trace if kind.has_unrest else None)
    judged = model.judge(SLOT, x, time_seconds)
    is_unusual, is_mature = model.screen(judged, model.side, judged.still.exponents)
    still = np.empty(0) if judged.still.exponents is None else judged.still.exponents
    to_ask = [each.copy() for each in (judged.mixed, still, judged.news.streams, judged.news.noise_z)]
    learnt = model.take_in(judged)
    of_value = np.stack([learnt.value, learnt.z, learnt.scale, learnt.y])
    tables = [learnt.rows, model.novelty.streams, model.novelty.rows, model.stillness.rows]
    return [is_unusual, is_mature, of_value, *to_ask, *tables, given.seasons.cells, given.cycles.cells]


def build_candidates(kind: Kind, is_still: bool, trace: Trace) -> Sequence[Any]:
    """Say how unusual a value is, before it is learnt."""
    model, judged, news, still = map(_any, (FeatureModel(*kind[:3]), Judgement, novelty.News, stillness.Stand))
    x, time_seconds, rows = trace.input(1), trace.input(1), trace.input(N_ROWS, 1)
    model.novelty.streams = trace.input(*model.novelty.streams.shape[:-1], 1)
    model.novelty.rows = trace.input(len(model.novelty.rows), 1)
    model.families.rows, model.families.has_modes = trace.input(families.N_ROWS, 1), kind.has_modes
    (_, z, scale, y), mixed, exponents = trace.input(4, 1), trace.input(1), trace.input(int(is_still))
    news = news(SLOT, trace.input(3, novelty.N_SCALES, 1), trace.input(novelty.N_SCALES, 1))
    judged = judged(
        selection=SLOT,
        time_seconds=time_seconds,
        rows=rows,
        x=x,
        y=y,
        mixed=mixed,
        residual=None,
        scale=scale,
        z=z,
        expectation=None,
        news=news,
        still=still(None, None, exponents if is_still else None),
        unrest=trace.input(1) if kind.has_unrest else None,
    )
    found = model.candidates(judged)
    return [getattr(found, name) for name in FOUND] if found.slots.size else []


def _any(value: Any) -> Any:
    """Return the value, with traced arrays let in where its type asks for arrays."""
    return value


class _GivenSeasons(seasons.Seasons):
    """Seasons whose cells are inputs of a trace."""

    def __init__(self, bucket_span_seconds: int, trace: Trace) -> None:
        super().__init__(bucket_span_seconds)
        self._shares: Any = trace.input(2, 1, 1)
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


@lru_cache(maxsize=64)
def step_of(kind: Kind) -> Program:
    """Return the judging and learning of a value."""
    return Program(partial(build_step, kind))


@lru_cache(maxsize=64)
def candidates_of(kind: Kind, *, is_still: bool) -> Program:
    """Return what says how unusual a value is."""
    return Program(partial(build_candidates, kind, is_still))


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

    def find_and_learn(self, x: Floats, time_seconds: float) -> Candidates:
        """Judge the value of a bucket, learn it, and return it if it is unusual.

        Parameters
        ----------
        x : ndarray of shape (1,)
        time_seconds : float
            Middle of the bucket.
        """
        try:
            return self._find_and_learn(x, time_seconds)
        except ArithmeticError:  # what floats refuse, arrays make infinite; nothing is learnt yet
            judged = self._model.judge(SLOT, x, time_seconds)
            found = self._model.candidates(judged)
            self._model.learn(judged, found)
            return found

    def _find_and_learn(self, x: Floats, time_seconds: float) -> Candidates:
        model = self._model
        of_hours, cycles_ = model.expectations.seasons.table, model.expectations.cycles
        index, share = seasons.cells_at(time_seconds)
        period = cycles_.read(time_seconds, SLOT)
        factor = model.unrest.read(SLOT, time_seconds)
        kind = Kind(*self._kind, model.families.has_modes, period is not None, factor is not None)
        tables = [model.rows, model.novelty.streams, model.novelty.rows, model.stillness.rows]
        asked = (x.tolist(), (time_seconds,))
        before = [table[..., 0].ravel().tolist() for table in tables]
        of_families = model.families.rows[:, 0].tolist()
        given = [(1.0 - share, share), of_hours[:, index, 0].ravel().tolist()]
        if period is not None:
            of_period = (period.value, period.is_over_day, period.gain_min, period.shares, period.cells)
            given += [array.ravel().tolist() for array in of_period]
        calm = [] if factor is None else [factor.tolist()]
        given += calm
        path, made = step_of(kind).run(self._paths[0], *asked, *before, of_families[TO_JUDGE], *given)
        (is_unusual,), (is_mature,), of_value, mixed, still, streams, noise_z, *after, cells, of_cycle = made
        found = nothing_unusual(int(is_mature))
        of_candidates = self._paths[1]
        if is_unusual:
            rows, past, records, _ = before
            program = candidates_of(kind, is_still=bool(still))
            inputs = (*asked, rows, past, records, of_families, of_value, mixed, still, streams, noise_z)
            of_candidates, unusual = program.run(of_candidates, *inputs, *calm)
            found = Candidates(SLOTS, n_judged=1, **dict(zip(FOUND, np.array(unusual), strict=True)))
        self._paths = path, of_candidates
        for table, values in zip(tables[1:], after[1:], strict=True):
            table[..., 0] = np.array(values).reshape(table.shape[:-1])
        of_hours[:, index, 0] = np.array(cells).reshape(2, -1)
        if period is not None:
            period.cells[...] = np.array(of_cycle).reshape(period.cells.shape)
            cycles_.put(period, SLOT)
        learnt = Learnt(SLOT, time_seconds, np.array(after[0])[:, None], *np.array(of_value)[:, None])
        model.keep(learnt, found)
        return found
