"""Tracing: from the arithmetic of many series to the same arithmetic of one, as straight-line Python on floats.

A job with a single series pays for every array operation a hundred times what its arithmetic costs. Run on
:class:`Traced` arrays, the array code leaves behind what it calculated, element by element; :func:`compile_trace`
writes that down as a function of floats. There is one description of the mathematics, the array code, and both ways
give the same bits: ``+ - * /`` and roots are exact by IEEE 754, the rest is numpy's own functions applied to floats.

What is traced must not branch on values: no ``if`` on an element, no indexing by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Cells = NDArray[np.object_]

INFIX: Final = {
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
CALLS: Final = {
    np.exp: "exp",
    np.expm1: "expm1",
    np.log: "log",
    np.log1p: "log1p",
    np.sqrt: "sqrt",
    np.absolute: "abs",
    np.copysign: "copysign",
    np.floor: "floor",
}
GLOBALS: Final[dict[str, Any]] = {
    "exp": lambda x: float(np.exp(x)),
    "expm1": lambda x: float(np.expm1(x)),
    "log": lambda x: float(np.log(x)),
    "log1p": lambda x: float(np.log1p(x)),
    "floor": lambda x: float(np.floor(x)),
    "sqrt": math.sqrt,
    "abs": abs,
    "copysign": math.copysign,
}
"""What the functions of :data:`CALLS` are in compiled text; roots and signs are exact whoever calculates them."""


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
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.inputs: list[list[Node]] = []
        self._known: dict[tuple[Any, ...], Node] = {}

    def input(self, *shape: int) -> Traced:
        """Return an array of values that are given to the compiled function."""
        cells = np.empty(shape, object)
        for at in np.ndindex(*shape):
            cells[at] = Node(self, "input", ())
        self.inputs.append(list(cells.flat))
        return Traced(self, cells)

    def apply(self, operation: str, *operands: Node | float) -> Node:
        """Return the node of an operation."""
        key = (operation, *operands)
        if key not in self._known:
            self._known[key] = Node(self, operation, operands)
        return self._known[key]


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

    def __len__(self) -> int:
        return len(self.cells)

    def __bool__(self) -> bool:
        msg = "cannot branch on a traced value"
        raise TypeError(msg)

    def __getitem__(self, key: Any) -> Traced:
        cells = self.cells[key]
        return Traced(self.trace, cells if isinstance(cells, np.ndarray) else np.array([cells], object).reshape(()))

    def __setitem__(self, key: Any, value: Any) -> None:
        self.cells[key] = _cells(value)

    def __iter__(self) -> Any:
        return (self[k] for k in range(len(self.cells)))

    def copy(self) -> Traced:
        """As of numpy's arrays."""
        return Traced(self.trace, self.cells.copy())

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
        elif method == "reduce" and options == {"axis": 0} and ufunc in (np.minimum, np.maximum):
            result = cells[0][0]
            for row in cells[0][1:]:
                result = _each(lambda *operands: self._operate(ufunc, *operands), result, row)
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

    def __array_function__(self, function: Any, _types: Any, args: Any, options: Any) -> Any:
        """Record what numpy was asked to do."""
        if function is np.copyto:
            target, source = args
            target.cells[...] = _each(self._choose, _cells(options.get("where", True)), _cells(source), target.cells)
            return None
        if function is np.where:
            return Traced(self.trace, _each(self._choose, *map(_cells, args)))
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
        if ufunc in (np.minimum, np.maximum):
            operation = "min" if ufunc is np.minimum else "max"
        elif ufunc is np.negative:
            operation = "negative"
        elif ufunc in (np.invert, np.logical_not):
            operation = "not"
        elif ufunc in INFIX:
            operation = INFIX[ufunc]
        elif ufunc in CALLS:
            operation = CALLS[ufunc]
        else:
            msg = f"cannot trace {ufunc.__name__}"
            raise TypeError(msg)
        if operation not in ("and", "or", "not"):
            operands = tuple(self._float(operand) for operand in operands)
        return self.trace.apply(operation, *operands)


def compile_trace(trace: Trace, name: str, outputs: Sequence[Traced]) -> Callable[..., tuple[tuple[float, ...], ...]]:
    """Write a trace down as a function.

    Parameters
    ----------
    name : str
        Of the function, for tracebacks.
    outputs : sequence of Traced
        What it returns, each as a tuple of floats.

    Returns
    -------
    callable
        Takes a sequence of floats for each of the trace's inputs.
    """
    lines = [f"def {name}({', '.join(f'i{k}' for k in range(len(trace.inputs)))}):"]
    for k, nodes in enumerate(trace.inputs):
        lines.append(f" {''.join(f'v{node.place}, ' for node in nodes)}= i{k}")
    lines += [f" v{node.place} = {_text(node)}" for node in _needed(outputs) if node.operation != "input"]
    returned = "".join("(" + "".join(f"{_name(cell)}, " for cell in each.cells.flat) + "), " for each in outputs)
    lines.append(f" return {returned or '()'}")
    namespace = dict(GLOBALS)
    exec(compile("\n".join(lines), f"<traced {name}>", "exec"), namespace)
    function: Callable[..., tuple[tuple[float, ...], ...]] = namespace[name]
    return function


def _cells(value: Any) -> Cells:
    return value.cells if isinstance(value, Traced) else np.asarray(value).astype(object)


def _each(function: Callable[..., Any], *cells: Cells) -> Cells:
    result = np.frompyfunc(function, len(cells), 1)(*cells)
    return np.asarray(result, object)


def _needed(outputs: Iterable[Traced]) -> list[Node]:
    """Return the nodes that outputs come of, in the order in which they were made."""
    found: dict[int, Node] = {}
    waiting = [cell for each in outputs for cell in each.cells.flat]
    while waiting:
        cell = waiting.pop()
        if isinstance(cell, Node) and cell.place not in found:
            found[cell.place] = cell
            waiting += cell.operands
    return [found[place] for place in sorted(found)]


def _name(cell: Any) -> str:
    return f"v{cell.place}" if isinstance(cell, Node) else repr(float(cell))


def _text(node: Node) -> str:
    operation, names = node.operation, [_name(operand) for operand in node.operands]
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
        case "not":
            return f"not {names[0]}"
        case _ if operation in INFIX.values():
            return f"{names[0]} {operation} {names[1]}"
        case _:
            return f"{operation}({', '.join(names)})"
