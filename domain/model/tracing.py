"""Tracing: from the arithmetic of many series to the same arithmetic of one, as straight-line Python on floats.

A job with a single series pays for every array operation a hundred times what its arithmetic costs. Run on
:class:`Traced` arrays, the array code leaves behind what it calculated, element by element; :func:`compile_trace`
writes that down as a function of floats. There is one description of the mathematics, the array code, and both ways
give the same bits: ``+ - * /`` and roots are exact by IEEE 754, the rest is numpy's own functions applied to floats.

A trace follows one path through the code. Where the code asks whether something is so (``if mask.any()``), the
compiled function asks too, and leaves where the answer is another than on its path. What is traced must not index by
values.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Cells = NDArray[np.object_]
Path = tuple[bool, ...]
"""Answers to the questions of a trace, in their order."""
Compiled = Callable[..., tuple[Any, ...]]
"""Takes sequences of floats; returns outputs, each a tuple of floats or bools, or else another path."""

INFIX: Final[dict[Any, str]] = {
    np.add: "+",
    np.subtract: "-",
    np.multiply: "*",
    np.true_divide: "/",
    np.less: "<",
    np.less_equal: "<=",
    np.greater: ">",
    np.greater_equal: ">=",
    np.equal: "==",
    np.not_equal: "!=",
    np.bitwise_and: "and",
    np.bitwise_or: "or",
}
TRUTHS: Final = frozenset({"<", "<=", ">", ">=", "==", "!=", "and", "or", "not"})
"""Operations whose result is true or false; in arithmetic that is 1.0 or 0.0."""
EXTREMES: Final[dict[Any, str]] = {np.minimum: "min", np.maximum: "max"}
UNARY: Final[dict[Any, str]] = {
    np.negative: "negative",
    np.reciprocal: "reciprocal",
    np.invert: "not",
    np.logical_not: "not",
}
OPERATIONS: Final = {**INFIX, **UNARY, **EXTREMES}
"""What is written as Python's own operations; everything else is called by its name."""

_expm1 = lru_cache(maxsize=256)(lambda x: float(np.expm1(x)))

FASTER: Final[dict[Any, Callable[..., float]]] = {
    # Of the time since the last value, nearly always the same. Zeros of either sign are equal, and their own result.
    np.expm1: lambda x: _expm1(x) if x else x,
    np.sqrt: math.sqrt,
    np.absolute: abs,
    np.copysign: math.copysign,
}
"""Roots and signs are exact whoever calculates them; all else is what numpy and scipy make of floats."""


class Node:
    """One value of a trace: an input, or what an operation made of others."""

    __slots__ = ("operands", "operation", "place")

    def __init__(self, trace: Trace, operation: str, operands: tuple[Node | float, ...]) -> None:
        self.operation = operation
        self.operands = operands
        self.place = len(trace.nodes)
        trace.nodes.append(self)

    @property
    def is_truth(self) -> bool:
        """Whether the value is true or false."""
        return self.operation in TRUTHS

    def __repr__(self) -> str:
        return f"v{self.place}"


class Trace:
    """What was calculated so far.

    Attributes
    ----------
    nodes : list of Node
        In the order in which they were made; equal ones are made once.
    inputs : list of list of Node
        What the compiled function is given, in C order.
    guards : list of (Node, bool)
        What the code asked, and which answer it was given: first those that the trace was made with, then no.
    called : dict of str
        Names in the compiled function that are not its own.
    """

    def __init__(self, path: Path = ()) -> None:
        self.nodes: list[Node] = []
        self.inputs: list[list[Node]] = []
        self.guards: list[tuple[Node, bool]] = []
        self.called: dict[str, Any] = {"inf": math.inf, "nan": math.nan}
        self._answers = path
        self._known: dict[tuple[Any, ...], Node] = {}

    @property
    def path(self) -> Path:
        """The answers that were given."""
        return tuple(answer for _, answer in self.guards)

    def input(self, *shape: int) -> Traced:
        """Return an array of values that are given to the compiled function."""
        cells = np.empty(shape, object)
        for at in np.ndindex(*shape):
            cells[at] = Node(self, "input", ())
        self.inputs.append(list(cells.flat))
        return Traced(self, cells)

    def apply(self, operation: str, *operands: Node | float) -> Node:
        """Return the node of an operation."""
        # Zeros of either sign are equal, and so are 1.0 and True: constants are told apart by how they are written.
        key = (operation, *(operand if isinstance(operand, Node) else repr(operand) for operand in operands))
        if key not in self._known:
            self._known[key] = Node(self, operation, operands)
        return self._known[key]

    def answer(self, question: Node | bool) -> bool:
        """Answer a question of the code as the path says."""
        if not isinstance(question, Node):
            return question
        for earlier, answer in self.guards:
            if earlier is question:
                return answer
        place = len(self.guards)
        answer = self._answers[place] if place < len(self._answers) else False
        self.guards.append((question, answer))
        return answer


class Traced(np.lib.mixins.NDArrayOperatorsMixin):
    """An array whose elements are nodes of a trace; slices are views, as of numpy's arrays."""

    def __init__(self, trace: Trace, cells: Cells) -> None:
        self.trace = trace
        self.cells = cells

    @property
    def shape(self) -> tuple[int, ...]:
        """As of numpy's arrays."""
        return self.cells.shape

    @property
    def size(self) -> int:
        """As of numpy's arrays."""
        return self.cells.size

    @property
    def ndim(self) -> int:
        """As of numpy's arrays."""
        return self.cells.ndim

    def __len__(self) -> int:
        return len(self.cells)

    def __bool__(self) -> bool:
        if self.size != 1:
            msg = "the truth of several traced values is ambiguous"
            raise ValueError(msg)
        return self.any()

    def any(self) -> bool:
        """Answer as the trace's path says."""
        question: Node | bool = False
        for truth in self._truths():
            if truth is True or isinstance(question, bool):
                question = truth
            elif isinstance(truth, Node):
                question = self.trace.apply("or", question, truth)
            if question is True:
                return True
        return self.trace.answer(question)

    def tolist(self) -> list[bool]:
        """Answer for each element as the trace's path says; only truths can be listed."""
        return [self.trace.answer(truth) for truth in self._truths()]

    def nonzero(self) -> tuple[NDArray[np.int64], ...]:
        """Answer as the trace's path says."""
        return np.reshape(self.tolist(), self.shape).nonzero()

    def argmax(self, axis: int) -> NDArray[np.int64]:
        """Answer as the trace's path says; of equal ones the first."""
        assert axis == 0
        best, places = self[0].copy(), np.zeros(self.shape[1:], np.int64)
        for place in range(1, len(self)):
            is_higher = self[place] > best
            places[is_higher.nonzero()] = place
            best.cells = _each(self._choose, is_higher.cells, self.cells[place], best.cells)
        return places

    def _truths(self) -> Iterator[Node | bool]:
        for cell in self.cells.flat:
            if not isinstance(cell, Node):
                yield bool(cell)
            else:
                yield cell if cell.is_truth else self.trace.apply("!=", cell, 0.0)

    def __getitem__(self, key: Any) -> Traced:
        cells = self.cells[key]
        return Traced(self.trace, cells if isinstance(cells, np.ndarray) else np.array([cells], object).reshape(()))

    def __setitem__(self, key: Any, value: Any) -> None:
        cells = _cells(value)
        self.cells[key] = cells if cells.ndim else cells.item()

    def __iter__(self) -> Any:
        return (self[k] for k in range(len(self.cells)))

    def copy(self) -> Traced:
        """As of numpy's arrays."""
        return Traced(self.trace, self.cells.copy())

    def reshape(self, *shape: int) -> Traced:
        """As of numpy's arrays."""
        return Traced(self.trace, self.cells.reshape(*shape))

    def take(self, places: NDArray[np.int64], axis: int) -> Traced:
        """As of numpy's arrays."""
        return Traced(self.trace, self.cells.take(places, axis=axis))

    def astype(self, _dtype: Any) -> Traced:
        """Return the values as floats."""
        return Traced(self.trace, _each(self._float, self.cells))

    def _float(self, cell: Node | float) -> Node | float:
        return self.trace.apply("float", cell) if isinstance(cell, Node) and cell.is_truth else cell

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Traced:
        """Record what numpy was asked to do."""
        out = options.pop("out", (None,))[0]
        where = options.pop("where", True)
        cells = [_cells(each) for each in inputs]
        if method == "__call__" and not options:
            result = _each(lambda *operands: self._operate(ufunc, *operands), *cells)
        elif method in ("reduce", "accumulate") and list(options) == ["axis"] and where is True:
            rows = np.moveaxis(cells[0], options["axis"], 0)
            result = self._one_after_the_other(ufunc, method, rows)
            result = result if method == "reduce" else np.moveaxis(result, 0, options["axis"])
        else:
            msg = f"cannot trace {ufunc.__name__}.{method} with {sorted(options)}"
            raise TypeError(msg)
        if where is not True:
            assert out is not None, "where= needs out=: other elements have no value"
            result = _each(self._choose, _cells(where), result, out.cells)
        if out is None:
            return Traced(self.trace, result)
        out.cells[...] = result
        traced: Traced = out
        return traced

    def _one_after_the_other(self, ufunc: np.ufunc, method: str, rows: Cells) -> Cells:
        """Combine the rows in their order, which is that of ``accumulate``, and any for extremes."""
        if method == "reduce" and ufunc not in EXTREMES:
            msg = f"cannot trace {ufunc.__name__}.reduce: its order is numpy's own"
            raise TypeError(msg)
        made = [rows[0]]
        for row in rows[1:]:
            made.append(_each(lambda *operands: self._operate(ufunc, *operands), made[-1], row))
        return made[-1] if method == "reduce" else np.stack(made)

    def __array_function__(self, function: Any, _types: Any, args: Any, options: Any) -> Any:
        """Record what numpy was asked to do."""
        if function is np.copyto:
            target, source = args
            target.cells[...] = _each(self._choose, _cells(options.get("where", True)), _cells(source), target.cells)
            return None
        if function is np.where:
            return Traced(self.trace, _each(self._choose, *map(_cells, args)))
        if function is np.stack:
            return Traced(self.trace, np.stack([_cells(each) for each in args[0]]))
        if function is np.count_nonzero:
            return sum(args[0].tolist())
        if function in (np.empty_like, np.zeros_like):
            return Traced(self.trace, np.full(options.get("shape", args[0].shape), 0.0, object))
        msg = f"cannot trace {function.__name__}"
        raise TypeError(msg)

    def _choose(self, condition: Node | bool, chosen: Node | float, other: Node | float) -> Node | float:
        if not isinstance(condition, Node):
            return chosen if condition else other
        return chosen if chosen is other else self.trace.apply("choose", condition, chosen, other)

    def _operate(self, ufunc: np.ufunc, *operands: Node | float) -> Node | float:
        if not any(isinstance(operand, Node) for operand in operands):
            value: bool | float = ufunc(*operands).item()
            return value
        operation = OPERATIONS.get(ufunc, ufunc.__name__)
        if ufunc not in OPERATIONS:
            self.trace.called[operation] = FASTER.get(ufunc) or (lambda *x: float(ufunc(*x)))
        if operation not in ("and", "or", "not"):
            operands = tuple(self._float(operand) for operand in operands)
        return self.trace.apply(operation, *operands)


def compile_trace(trace: Trace, name: str, outputs: Sequence[Any]) -> Compiled:
    """Write a trace down as a function.

    Parameters
    ----------
    name : str
        Of the function, for tracebacks.
    outputs : sequence of Traced, or of what ``elements`` returned
        What it returns, each as a tuple of floats, or of bools for truths.

    Returns
    -------
    callable
        Takes a sequence of floats for each of the trace's inputs. Where an answer is not that of the trace's path, it
        returns the path with the right one; what comes after is a guess.
    """
    lines = [f"def {name}({', '.join(f'i{k}' for k in range(len(trace.inputs)))}):"]
    for k, nodes in enumerate(trace.inputs):
        if nodes:
            lines.append(f" {''.join(f'v{node.place}, ' for node in nodes)}= i{k}")
    asked: dict[int, list[str]] = {}
    for k, (node, answer) in enumerate(trace.guards):
        other = (*trace.path[:k], not answer, *trace.path[k + 1 :])
        asked[node.place] = [f" if {'not ' * answer}v{node.place}: return {other}"]
    made = [each if isinstance(each, list) else elements(each) for each in outputs]
    cells = [cell for each in made for cell in each]
    needed = _needed([*cells, *(node for node, _ in trace.guards)])
    written = _Text(needed, [*cells, *(node for node, _ in trace.guards)])
    for node in needed:
        lines += written.line(node)
        lines += asked.get(node.place, [])
    returned = "".join("(" + "".join(f"{written.of(cell)}, " for cell in each) + "), " for each in made)
    lines.append(f" return {returned or '()'}")
    namespace: dict[str, Any] = dict(trace.called)
    exec(compile("\n".join(lines), f"<traced {name}>", "exec"), namespace)
    function: Compiled = namespace[name]
    return function


def elements(*arrays: Any) -> list[Any]:
    """Return the elements of arrays, traced or not, one after the other."""
    return [cell for array in arrays for cell in _cells(array).flat]


def _cells(value: Any) -> Cells:
    return value.cells if isinstance(value, Traced) else np.asarray(value).astype(object)


def _each(function: Callable[..., Any], *cells: Cells) -> Cells:
    result = np.frompyfunc(function, len(cells), 1)(*cells)
    return np.asarray(result, object)


def _needed(cells: Iterable[Any]) -> list[Node]:
    """Return the nodes that values come of, in the order in which they were made."""
    found: dict[int, Node] = {}
    waiting = list(cells)
    while waiting:
        cell = waiting.pop()
        if isinstance(cell, Node) and cell.place not in found:
            found[cell.place] = cell
            waiting += cell.operands
    return [found[place] for place in sorted(found)]


class _Text:
    """How values are written: once by name, or in place where only one operation asks for them."""

    def __init__(self, nodes: Sequence[Node], kept: Iterable[Any]) -> None:
        uses: Counter[int] = Counter()
        for node in nodes:
            times = 2 if node.operation in EXTREMES.values() else 1
            uses.update(times * [operand.place for operand in node.operands if isinstance(operand, Node)])
        uses.update(2 * [cell.place for cell in kept if isinstance(cell, Node)])
        self._is_named = {node.place for node in nodes if node.operation == "input" or uses[node.place] > 1}
        self._texts: dict[int, str] = {}

    def line(self, node: Node) -> list[str]:
        """Return the line that names a value, if it has a name of its own."""
        if node.operation == "input":
            return []
        text = _text(node.operation, [self.of(operand) for operand in node.operands])
        if node.place in self._is_named:
            return [f" v{node.place} = {text}"]
        self._texts[node.place] = f"({text})"
        return []

    def of(self, cell: Any) -> str:
        """Return how a value is written where it is used."""
        if not isinstance(cell, Node):
            return repr(cell)
        return f"v{cell.place}" if cell.place in self._is_named else self._texts[cell.place]


def _text(operation: str, names: Sequence[str]) -> str:
    match operation:
        case "min":
            return f"{names[0]} if {names[0]} < {names[1]} else {names[1]}"
        case "max":
            return f"{names[0]} if {names[0]} > {names[1]} else {names[1]}"
        case "choose":
            return f"{names[1]} if {names[0]} else {names[2]}"
        case "float":
            return f"1.0 if {names[0]} else 0.0"
        case "negative":
            return f"-{names[0]}"
        case "reciprocal":
            return f"1.0 / {names[0]}"
        case "not":
            return f"not {names[0]}"
        case _ if operation in INFIX.values():
            return f"{names[0]} {operation} {names[1]}"
        case _:
            return f"{operation}({', '.join(names)})"
