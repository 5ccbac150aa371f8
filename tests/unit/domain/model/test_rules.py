"""The model's code keeps to what gives the same bits everywhere: read from its syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import domain.model

FILES = sorted(Path(domain.model.__file__).parent.glob("*.py"))
LINEAR_ALGEBRA = {"dot", "matmul", "einsum", "inner", "tensordot", "linalg", "vdot"}
CLOCKS_AND_CHANCE = {"time", "datetime", "random", "uuid", "secrets", "os", "socket", "threading"}


def nodes(file: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(file.read_text()))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_sum_is_left_to_a_library_that_may_order_it_anew(file: Path) -> None:
    for node in nodes(file):
        assert not isinstance(node, ast.MatMult)
        if isinstance(node, ast.Attribute):
            assert node.attr not in LINEAR_ALGEBRA


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_argsort_is_stable(file: Path) -> None:
    for node in nodes(file):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "argsort":
            kinds = [word.value for word in node.keywords if word.arg == "kind"]
            assert [kind.value for kind in kinds if isinstance(kind, ast.Constant)] == ["stable"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_neither_clocks_nor_chance_are_imported(file: Path) -> None:
    for node in nodes(file):
        if isinstance(node, ast.Import):
            assert not {alias.name.split(".")[0] for alias in node.names} & CLOCKS_AND_CHANCE
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in CLOCKS_AND_CHANCE
