"""Fixtures for all tests: a real PostgreSQL, migrated databases of both kinds, the test data."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from eventstore import EventStore
from marigraph import schema
from tests.support.postgres import Server, conninfo, start_server

# Tests start many processes: without stored bytecode each of them would compile the whole program again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

MEMORY = Path("/dev/shm")
if MEMORY.is_dir() and os.access(MEMORY, os.W_OK):
    # Every commit waits for the disk, and tests make thousands; what is tested is the order of writes, not the disk.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are processors: some tests wait for servers, timeouts and leases."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(scope="module", autouse=True)
def _settled_heap() -> None:
    """Take what earlier modules left from the garbage collector, which would look through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The directory of the real data, or a skip."""
    directory = os.environ.get("MARIGRAPH_TEST_DATA", "")
    if not directory or not Path(directory).is_dir():
        pytest.skip("test data not present")
    return Path(directory)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A running server; without one the tests that need it fail, they do not skip."""
    server = start_server()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_template(postgres_server: Server) -> str:
    """The name of a migrated database, to make others from."""
    url = postgres_server.create_database()
    schema.upgrade(url)
    assert url.database is not None
    return url.database


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file, to be copied."""
    path = tmp_path_factory.mktemp("template") / "empty.db"
    schema.upgrade(str(path))
    return schema.backup(str(path), path.with_name("template.db"))


@pytest.fixture
def empty_postgres_url(postgres_server: Server) -> Iterator[str]:
    """A PostgreSQL database without any table."""
    url = postgres_server.create_database()
    yield conninfo(url)
    postgres_server.drop_database(url.database or "")


@pytest.fixture
def new_postgres_url(postgres_server: Server, postgres_template: str) -> Iterator[Callable[[], str]]:
    """Make migrated PostgreSQL databases."""
    made = []

    def make() -> str:
        url = postgres_server.create_database(postgres_template)
        made.append(url.database or "")
        return conninfo(url)

    yield make
    for name in made:
        postgres_server.drop_database(name)


@pytest.fixture(scope="module")
def new_module_file(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Make migrated SQLite files for what all tests of a module read."""

    def make() -> Path:
        return shutil.copyfile(sqlite_template, tmp_path_factory.mktemp("module") / "marigraph.db")

    return make


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def module_database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a migrated database that the tests of a module share, of each kind in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{request.getfixturevalue('new_module_file')()}"
        return
    server: Server = request.getfixturevalue("postgres_server")
    url = server.create_database(request.getfixturevalue("postgres_template"))
    yield conninfo(url)
    server.drop_database(url.database or "")


@pytest.fixture
def new_sqlite_url(sqlite_template: Path, tmp_path: Path) -> Callable[[], str]:
    """Make migrated SQLite files."""
    count = 0

    def make() -> str:
        nonlocal count
        count += 1
        path = tmp_path / f"marigraph-{count}.db"
        shutil.copyfile(sqlite_template, path)
        return f"sqlite:///{path}"

    return make


@pytest.fixture
def sqlite_url(new_sqlite_url: Callable[[], str]) -> str:
    """The URL of a migrated SQLite file."""
    return new_sqlite_url()


@pytest.fixture
def postgres_url(new_postgres_url: Callable[[], str]) -> str:
    """The URL of a migrated PostgreSQL database."""
    return new_postgres_url()


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated, empty database; each test runs on both kinds."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def open_store() -> Iterator[Callable[..., EventStore]]:
    """Open stores that are closed after the test."""
    with ExitStack() as stack:
        yield lambda url, **options: stack.enter_context(EventStore.connect(url, **options))


@pytest.fixture
def store(database_url: str, open_store: Callable[..., EventStore]) -> EventStore:
    """A store on an empty database; each test runs on both kinds."""
    return open_store(database_url)
