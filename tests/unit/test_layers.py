"""The direction of imports: eventstore and domain know neither each other nor the application; domain sees no world."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FORBIDDEN = {
    "eventstore": {"domain", "marigraph", "migrations"},
    "domain": {"eventstore", "marigraph", "migrations", "sqlalchemy", "alembic", "psycopg", "sqlite3"},
    "migrations": {"domain"},
}
WORLD = {"datetime.now", "time.time", "time.time_ns", "time.monotonic", "uuid.uuid4", "random.random", "open"}


@cache
def modules(package):
    """The modules of a package: path and syntax tree."""
    return [(path, ast.parse(path.read_text())) for path in sorted((ROOT / package).rglob("*.py"))]


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def called(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


@pytest.mark.parametrize("package", FORBIDDEN)
def test_a_package_imports_nothing_above_it(package):
    found = {
        (path.name, name) for path, tree in modules(package) for name in imported(tree) if name in FORBIDDEN[package]
    }
    assert found == set()


def test_the_domain_reads_no_clock_and_does_no_io():
    found = {
        (path.name, name)
        for path, tree in modules("domain")
        for name in called(tree)
        if name in WORLD or name.startswith(("np.random.", "random.", "os.", "socket."))
    }
    assert found == set()


def test_every_module_says_what_it_holds():
    silent = [
        str(path.relative_to(ROOT))
        for package in ("eventstore", "domain", "marigraph", "migrations", "benchmarks")
        for path, tree in modules(package)
        if tree.body and not ast.get_docstring(tree)
    ]
    assert silent == []
