"""What the environment decides: read once, at start, and passed on as a plain value."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

DATABASE_FILE = "marigraph.db"


@dataclass(frozen=True, slots=True)
class Backlog:
    """How much of one job may wait for its analysis in a server."""

    records_max: int = 2_000_000
    """Chosen: a few seconds of work, some 100 MB while the records are at hand."""
    wait_seconds: float = 30.0
    """How long a post waits for room before it is refused."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one process."""

    database: str
    """A database URL, or the path of a SQLite file."""
    lease_seconds: float = 30.0
    """How long a job stays ours when we fall silent; chosen: long against a stalled disk, short for a failover."""
    backlog: Backlog = Backlog()

    sources: str | None = None
    """The TOML file that says where datafeeds may read from; None: nowhere."""

    @classmethod
    def read(
        cls,
        environment: Mapping[str, str] = os.environ,
        database: str | None = None,
        sources: str | None = None,
    ) -> "Settings":
        """Take the database from the argument, else ``MARIGRAPH_DB``, else a file in the user's data directory.

        The file of sources is the argument, else ``MARIGRAPH_SOURCES``.
        """
        chosen = database or environment.get("MARIGRAPH_DB") or _default_database()
        return cls(database=chosen, sources=sources or environment.get("MARIGRAPH_SOURCES") or None)


def _default_database() -> str:
    folder = Path(platformdirs.user_data_dir("marigraph", appauthor=False))
    return str(folder / DATABASE_FILE)
