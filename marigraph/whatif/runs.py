"""Runs of what-ifs: what is known of one, and the files that keep them under a name.

A run's file is a database of results (``marigraph/scratch.py``) with one more table, which says what the run was. It is
also what another installation of Marigraph hands back, so its form has a number of its own.
"""

import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import platformdirs
from sqlalchemy import Column, Engine, Integer, MetaData, Table, Text, create_engine, insert
from sqlalchemy.pool import NullPool

from domain.errors import AlreadyExists, InvalidArgument, NotFound
from marigraph.scratch import TableDigest

RUN_FORMAT: Final = 1
SUFFIX: Final = ".db"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_SQLITE_MAGIC: Final = b"SQLite format 3\0"

whatif_run = Table(
    "whatif_run", MetaData(), Column("format", Integer, primary_key=True), Column("facts", Text, nullable=False)
)


class Cost(msgspec.Struct, frozen=True):
    """What a run cost, or the job itself as far as that is known (None: it is not)."""

    record_count: int
    result_rows: int
    model_bytes: int | None = None
    seconds: float | None = None
    cpu_seconds: float | None = None

    @property
    def records_per_second(self) -> float | None:
        """Records replayed per second of the clock."""
        return self.record_count / self.seconds if self.seconds else None


class Run(msgspec.Struct, frozen=True):
    """What is known of one run.

    Attributes
    ----------
    changes : list of str
        As they would be given to ``--set``.
    analysis : dict
        What of the changed configuration reaches the analysis.
    from_version, to_version : int
        The events that were replayed.
    compared_from_ms, compared_to_ms : int or None
        Buckets outside of this are not to be compared.
    state_digest : str or None
        Of the model as of ``to_version``.
    results : dict of str to TableDigest
        By table.
    """

    job_id: str
    created_ms: int
    changes: list[str]
    analysis: dict[str, Any]
    from_version: int
    to_version: int
    cost: Cost
    marigraph_version: str
    state_schema: str
    name: str | None = None
    database: str | None = None
    compared_from_ms: int | None = None
    compared_to_ms: int | None = None
    state_digest: str | None = None
    results: dict[str, TableDigest] = {}
    notes: list[str] = []


def write_run(engine: Engine, run: Run) -> None:
    """Write what is known of a run beside its results."""
    whatif_run.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(whatif_run).values(format=RUN_FORMAT, facts=msgspec.json.encode(run).decode()))


def annotate(path: Path, **facts: Any) -> None:
    """Change what is known of a run."""
    facts_now = msgspec.json.encode(msgspec.structs.replace(read_run(path), **facts)).decode()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE whatif_run SET facts = ?", (facts_now,))
    connection.close()


def read_run(path: Path) -> Run:
    """Read what is known of a run.

    Raises
    ------
    InvalidArgument
        The file is none of a run, or of a format that this program does not know.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(_SQLITE_MAGIC)) != _SQLITE_MAGIC:
                raise _no_run(path, "it is no SQLite file")
        connection = sqlite3.connect(f"file:{path.as_posix()}?mode=ro", uri=True)
        try:
            row = connection.execute("SELECT format, facts FROM whatif_run").fetchone()
        finally:
            connection.close()
        if row is None or row[0] != RUN_FORMAT:
            raise _no_run(path, f"its format is {row[0] if row else 'not said'}, this program knows {RUN_FORMAT}")
        return msgspec.json.decode(row[1], type=Run)
    except (sqlite3.Error, msgspec.DecodeError) as error:
        raise _no_run(path, str(error)) from error


def _no_run(path: Path, why: str) -> InvalidArgument:
    return InvalidArgument(f"{path} is no file of a what-if: {why}")


@contextmanager
def opened(path: Path) -> Iterator[Engine]:
    """Open the results of a run for reading."""
    engine = create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(f"file:{path.as_posix()}?mode=ro", uri=True),
        poolclass=NullPool,
    )
    try:
        yield engine
    finally:
        engine.dispose()


# ---------------------------------------------------------------------------------------------------- under a name


def folder() -> Path:
    """Return where runs are kept: a directory of the user's."""
    return Path(platformdirs.user_data_dir("marigraph", appauthor=False)) / "whatif"


def path_of(name: str) -> Path:
    """Return the file of a name; InvalidArgument if it is none."""
    if not _NAME.fullmatch(name):
        msg = f"the name of a what-if has 1 to 64 letters, digits, dots, dashes or underscores, got [{name[:100]}]"
        raise InvalidArgument(msg)
    return folder() / f"{name}{SUFFIX}"


def new_path(name: str) -> Path:
    """Return the file of a name that is free; AlreadyExists if it is not."""
    path = path_of(name)
    if path.exists():
        msg = f"there is a what-if [{name}] already; choose another name, or `marigraph whatif --delete {name}`"
        raise AlreadyExists(msg)
    return path


def existing_path(name: str) -> Path:
    """Return the file that a name stands for; NotFound if there is none."""
    path = path_of(name)
    if not path.is_file():
        msg = f"there is no what-if [{name}]; `marigraph whatif --list` shows those that were saved"
        raise NotFound(msg)
    return path


def keep(path: Path, name: str) -> Path:
    """Keep a finished file under a name."""
    target = new_path(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f"{target.name}.part")
    try:
        shutil.copyfile(path, unfinished)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    return target


def kept_runs() -> list[Run]:
    """Return the runs that were saved, the newest first; files that are none are passed over."""
    found = []
    for path in sorted(folder().glob(f"*{SUFFIX}")):
        try:
            found.append(msgspec.structs.replace(read_run(path), name=path.name.removesuffix(SUFFIX)))
        except InvalidArgument:
            continue
    return sorted(found, key=lambda run: -run.created_ms)


def delete(name: str) -> None:
    """Delete a run that was saved."""
    existing_path(name).unlink()
