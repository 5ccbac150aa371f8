"""A small language of conditions, such as ``record_score > 80 and by == "checkout"``; the text may come from anybody.

A text is parsed by ``ast`` and every node is looked up in the tables below; what is not there is refused by name.
Nothing of Python is ever evaluated: a condition becomes nested closures over values that ``scope.py`` hands out.
Comparing with what is missing (a field that a record has not, a series that is not there yet) is false, arithmetic with
it is missing.
"""

import ast
import difflib
import operator
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

from domain.api_time import parse_result_time
from domain.errors import InvalidArgument, ParseError

LENGTH_MAX = 1_000
"""Characters of a condition; chosen: far beyond any that a person writes, and parsed in a millisecond."""
DEPTH_MAX = 40
"""Parentheses and operators within each other; chosen: far below where the interpreter's own stack ends."""

Value = Any
"""A number, a text, a truth value, or None for what is missing."""
Lookup = Callable[[str], Value]
"""Gives the value of a name."""
Function = Callable[..., Value]


class InvalidExpression(InvalidArgument):
    """A condition that is none; the message says in one line what is wrong and what is known."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words that conditions may use.

    Attributes
    ----------
    names : collection of str
    times : collection of str
        Those of them that are times in milliseconds since the epoch; they compare with texts in ISO 8601.
    functions : mapping of str to (callable or None)
        None: a function of the state, called with the text that it is given; the lookup answers it.
    """

    names: Collection[str]
    times: Collection[str]
    functions: Mapping[str, Function | None]


@dataclass(frozen=True, slots=True)
class Expression:
    """A condition.

    Attributes
    ----------
    text : str
        As it was written.
    names : frozenset of str
        Those that it asks for.
    calls : frozenset of (str, str)
        The functions of the state that it calls, each with its argument.
    """

    text: str
    names: frozenset[str]
    calls: frozenset[tuple[str, str]]
    _evaluate: Callable[["Scope"], Value]

    def value(self, scope: "Scope") -> Value:
        """Return what it comes to."""
        return self._evaluate(scope)

    def holds(self, scope: "Scope") -> bool:
        """Tell whether it comes to something true.

        Raises
        ------
        InvalidExpression
            It compares a number with a text, or calculates with one.
        """
        return bool(self._evaluate(scope))


class Scope:
    """Where the values of names come from: ``name`` answers names, ``call`` functions of the state."""

    def name(self, name: str) -> Value:
        """Return the value of a name; None if it has none here."""
        raise NotImplementedError

    def call(self, function: str, argument: str) -> Value:
        """Return what a function of the state says of a series; None if there is no such series yet."""
        raise NotImplementedError


def parse_expression(text: str, vocabulary: Vocabulary) -> Expression:
    """Read a condition.

    Raises
    ------
    InvalidExpression
    """
    if len(text) > LENGTH_MAX:
        msg = f"a condition has at most {LENGTH_MAX:,} characters, not {len(text):,}"
        raise InvalidExpression(msg)
    text = text.strip()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of texts with odd escapes: they are texts all the same
            tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError, UnicodeError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else error or type(error).__name__
        msg = f"cannot read the condition [{_shown(text)}]: {reason}; an example: record_score > 80 and by == 'x'"
        raise InvalidExpression(msg) from None
    compiler = _Compiler(text, vocabulary)
    evaluate = compiler.compiled(tree.body, 0)
    return Expression(text, frozenset(compiler.names), frozenset(compiler.calls), evaluate)


def _shown(text: str) -> str:
    """Return a text for a message of one line."""
    line = text.encode("unicode_escape").decode("ascii") if not text.isprintable() else text
    return line if len(line) <= 100 else line[:97] + "..."


_Evaluate = Callable[[Scope], Value]

_ARITHMETIC: dict[type[ast.operator], tuple[str, Function]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
    ast.Mod: ("%", operator.mod),
}
_ORDER: dict[type[ast.cmpop], tuple[str, Function]] = {
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
}
_EQUALITY: dict[type[ast.cmpop], tuple[str, Function]] = {
    ast.Eq: ("==", operator.eq),
    ast.NotEq: ("!=", operator.ne),
}
_MEMBERSHIP: dict[type[ast.cmpop], bool] = {ast.In: True, ast.NotIn: False}


class _Compiler:
    """Turns a tree into closures, refusing every node that is in no table."""

    def __init__(self, text: str, vocabulary: Vocabulary) -> None:
        self._text, self._vocabulary = text, vocabulary
        self.names: set[str] = set()
        self.calls: set[tuple[str, str]] = set()

    def compiled(self, node: ast.expr, depth: int) -> _Evaluate:
        if depth > DEPTH_MAX:
            self._refuse(f"is nested more than {DEPTH_MAX} deep")
        compile_ = self._COMPILERS.get(type(node))
        if compile_ is None:
            self._refuse(
                f"has [{self._source(node)}] in it, which is not part of the language: comparisons, and, or, "
                "not, + - * / %, in, names and functions"
            )
        return compile_(self, node, depth + 1)

    def _constant(self, node: ast.Constant, _depth: int) -> _Evaluate:
        value = node.value
        if not isinstance(value, str | int | float | bool | None):
            self._refuse(f"has [{self._source(node)}] in it: only numbers, texts, True, False and None")
        if isinstance(value, int) and abs(value) >= 2**63:
            self._refuse("has a whole number of more than 63 bits in it")
        return lambda _scope: value

    def _name(self, node: ast.Name, _depth: int) -> _Evaluate:
        name = node.id
        if name not in self._vocabulary.names:
            self._refuse_unknown("name", name, self._vocabulary.names)
        self.names.add(name)
        return lambda scope: scope.name(name)

    def _both(self, node: ast.BoolOp, depth: int) -> _Evaluate:
        parts = [self.compiled(value, depth) for value in node.values]
        if isinstance(node.op, ast.And):
            return lambda scope: all(part(scope) for part in parts)
        return lambda scope: any(part(scope) for part in parts)

    def _unary(self, node: ast.UnaryOp, depth: int) -> _Evaluate:
        operand = self.compiled(node.operand, depth)
        if isinstance(node.op, ast.Not):
            return lambda scope: not operand(scope)
        if isinstance(node.op, ast.USub):
            return lambda scope: self._calculated("-", operator.sub, 0, operand(scope))
        if isinstance(node.op, ast.UAdd):
            return operand
        self._refuse(f"has [{self._source(node)}] in it, which is not part of the language")

    def _binary(self, node: ast.BinOp, depth: int) -> _Evaluate:
        found = _ARITHMETIC.get(type(node.op))
        if found is None:
            self._refuse(f"has [{self._source(node)}] in it: the operators are + - * / %")
        sign, function = found
        left, right = self.compiled(node.left, depth), self.compiled(node.right, depth)
        return lambda scope: self._calculated(sign, function, left(scope), right(scope))

    def _compare(self, node: ast.Compare, depth: int) -> _Evaluate:
        operands = [node.left, *node.comparators]
        is_time = any(isinstance(each, ast.Name) and each.id in self._vocabulary.times for each in operands)
        values = [self._time(each) if is_time else None for each in operands]
        parts = [value or self.compiled(each, depth) for value, each in zip(values, operands, strict=True)]
        tests = [self._test(op) for op in node.ops]

        def evaluate(scope: Scope) -> bool:
            left = parts[0](scope)
            for test, part in zip(tests, parts[1:], strict=True):
                right = part(scope)
                if not test(left, right):
                    return False
                left = right
            return True

        return evaluate

    def _time(self, node: ast.expr) -> _Evaluate | None:
        """Return the time that a text compared with a time means."""
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            return None
        try:
            time_ms = parse_result_time(node.value, "time")
        except ParseError:
            self._refuse(f"compares a time with [{_shown(node.value)}], which is none")
        return lambda _scope: time_ms

    def _test(self, op: ast.cmpop) -> Callable[[Value, Value], bool]:
        kind = type(op)
        if kind in _EQUALITY:
            return _EQUALITY[kind][1]
        if kind in _MEMBERSHIP:
            wanted = _MEMBERSHIP[kind]
            return lambda left, right: self._is_in(left, right) == wanted
        if kind in _ORDER:
            sign, function = _ORDER[kind]
            return lambda left, right: self._ordered(sign, function, left, right)
        self._refuse("compares by [is]: use == and !=")

    def _several(self, node: ast.Tuple | ast.List, depth: int) -> _Evaluate:
        parts = [self.compiled(each, depth) for each in node.elts]
        return lambda scope: tuple(part(scope) for part in parts)

    def _call(self, node: ast.Call, depth: int) -> _Evaluate:
        functions = self._vocabulary.functions
        if not isinstance(node.func, ast.Name) or node.func.id not in functions:
            self._refuse_unknown("function", self._source(node.func), functions)
        name, function = node.func.id, functions[node.func.id]
        if node.keywords or any(isinstance(each, ast.Starred) for each in node.args):
            self._refuse(f"calls [{name}] with something else than plain values")
        if function is None:
            return self._of_state(name, node.args)
        parts = [self.compiled(each, depth) for each in node.args]
        if not parts:
            self._refuse(f"calls [{name}] with nothing")

        def evaluate(scope: Scope) -> Value:
            values = [part(scope) for part in parts]
            if any(value is None for value in values):
                return None
            try:
                return function(*values)
            except (TypeError, ValueError, OverflowError, ParseError):
                self._refuse(f"calls [{name}] with what it cannot take: {_shown(repr(values))}")

        return evaluate

    def _of_state(self, name: str, arguments: list[ast.expr]) -> _Evaluate:
        texts = [each.value for each in arguments if isinstance(each, ast.Constant) and isinstance(each.value, str)]
        if len(texts) != len(arguments) or len(texts) > 1:
            self._refuse(f"calls [{name}] with something else than the name of a series in quotes")
        series = texts[0] if texts else ""
        self.calls.add((name, series))
        return lambda scope: scope.call(name, series)

    # ------------------------------------------------------------------------------------------------- on values

    def _calculated(self, sign: str, function: Function, left: Value, right: Value) -> Value:
        if left is None or right is None:
            return None
        if not (_is_number(left) and _is_number(right)):
            self._refuse(f"calculates {_kind(left)} {sign} {_kind(right)}")
        try:
            return function(left, right)
        except (ZeroDivisionError, OverflowError):
            return None

    def _ordered(self, sign: str, function: Function, left: Value, right: Value) -> bool:
        if left is None or right is None:
            return False
        if isinstance(left, str) != isinstance(right, str) or isinstance(left, tuple) or isinstance(right, tuple):
            self._refuse(f"compares {_kind(left)} {sign} {_kind(right)}")
        return bool(function(left, right))

    def _is_in(self, left: Value, right: Value) -> bool:
        if isinstance(right, tuple):
            return left in right
        if right is None or left is None:
            return False
        if not (isinstance(left, str) and isinstance(right, str)):
            self._refuse(f"looks for {_kind(left)} in {_kind(right)}: give values in parentheses, or two texts")
        return left in right

    # --------------------------------------------------------------------------------------------------- refusals

    def _source(self, node: ast.AST) -> str:
        """Return what was written for a node; never by walking it, which a deep one would make costly."""
        return _shown(ast.get_source_segment(self._text, node) or type(node).__name__)

    def _refuse(self, what: str) -> NoReturn:
        msg = f"the condition [{_shown(self._text)}] {what}"
        raise InvalidExpression(msg)

    def _refuse_unknown(self, kind: str, name: str, known: Collection[str]) -> NoReturn:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f", did you mean {close[0]}?" if close else ";"
        self._refuse(f"has an unknown {kind} [{_shown(name)}]{hint} known are {', '.join(sorted(known))}")

    _COMPILERS: ClassVar[dict[type[ast.expr], Callable[["_Compiler", Any, int], _Evaluate]]] = {
        ast.Constant: _constant,
        ast.Name: _name,
        ast.BoolOp: _both,
        ast.UnaryOp: _unary,
        ast.BinOp: _binary,
        ast.Compare: _compare,
        ast.Tuple: _several,
        ast.List: _several,
        ast.Call: _call,
    }


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kind(value: Value) -> str:
    return {str: "a text", tuple: "a list", bool: "a truth value"}.get(type(value), "a number")
