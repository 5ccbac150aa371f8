"""What the environment decides: read once, at start, and passed on as a plain value."""

import os
import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from domain.config import parse_duration_ms
from domain.errors import InvalidArgument

DATABASE_FILE = "marigraph.db"
MASTER_KEY_BYTES = 32
RETENTION_AT_MINUTE = 30  # after midnight, as in the API
SEAL_SECONDS_MIN = 1.0


@dataclass(frozen=True, slots=True)
class Backlog:
    """How much of one job may wait for its analysis in a server."""

    records_max: int = 2_000_000
    """Chosen: a few seconds of work, some 100 MB while the records are at hand."""
    wait_seconds: float = 30.0
    """How long a post waits for room before it is refused."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client shows to a server; never part of a text that is printed or logged."""

    api_key: str | None = field(default=None, repr=False)
    """As `marigraph keys create` prints it: base64 of id and secret."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Notifications:
    """What webhooks need of a server."""

    allows_private: bool = False
    """Whether a webhook may lie at an address that only exists near this machine."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Keys for signatures, by the name that jobs call them by."""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Notifications":
        """Take ``MARIGRAPH_NOTIFY_PRIVATE`` and every ``MARIGRAPH_SECRET_<NAME>``."""
        prefix = "MARIGRAPH_SECRET_"
        named = {name: value for name, value in environment.items() if name.startswith(prefix)}
        return cls(
            environment.get("MARIGRAPH_NOTIFY_PRIVATE", "").lower() in ("1", "true", "yes"),
            {name.removeprefix(prefix).lower(): value for name, value in named.items()},
        )


@dataclass(frozen=True, slots=True)
class Seals:
    """How the log is sealed."""

    key: str | None = None
    """File of the signing key; None: the one in the user's configuration directory."""
    every_seconds: float | None = None
    """How often a server seals; None: never, the command does."""
    export: str | None = None
    """File that a server appends its seals to."""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Seals":
        """Take ``MARIGRAPH_SEAL_KEY``, ``MARIGRAPH_SEAL_EVERY`` (like 10m) and ``MARIGRAPH_SEAL_EXPORT``."""
        every = environment.get("MARIGRAPH_SEAL_EVERY")
        return cls(
            environment.get("MARIGRAPH_SEAL_KEY") or None,
            max(parse_duration_ms(every, "MARIGRAPH_SEAL_EVERY") / 1000, SEAL_SECONDS_MIN) if every else None,
            environment.get("MARIGRAPH_SEAL_EXPORT") or None,
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one process."""

    database: str
    """A database URL, or the path of a SQLite file."""
    lease_seconds: float = 30.0
    """How long a job stays ours when we fall silent; chosen: long against a stalled disk, short for a failover."""
    backlog: Backlog = Backlog()
    server: str | None = None
    """URL of the server that carries commands out, None for the database itself."""
    credentials: Credentials = Credentials()
    notifications: Notifications = field(default_factory=Notifications)

    retention_at_minute: int | None = RETENTION_AT_MINUTE
    """When servers run retention, minutes after midnight, UTC; None: never."""
    master_key: bytes | None = field(default=None, repr=False)
    """Wraps the keys of erasable jobs."""
    seals: Seals = Seals()
    sources: str | None = None
    """The TOML file that says where datafeeds may read from; None: nowhere."""

    @classmethod
    def read(
        cls,
        environment: Mapping[str, str] = os.environ,
        database: str | None = None,
        server: str | None = None,
        api_key: str | None = None,
        sources: str | None = None,
    ) -> "Settings":
        """Take what is not given from the environment.

        The database is that of ``MARIGRAPH_DB``, else a file in the user's data directory; the server that of
        ``MARIGRAPH_SERVER`` unless a database is given, which it would contradict.
        """
        return cls(
            database=database or environment.get("MARIGRAPH_DB") or _default_database(),
            server=server or (None if database else environment.get("MARIGRAPH_SERVER") or None),
            credentials=Credentials(
                api_key or environment.get("MARIGRAPH_API_KEY"),
                environment.get("MARIGRAPH_USER"),
                environment.get("MARIGRAPH_PASSWORD"),
            ),
            notifications=Notifications.read(environment),
            retention_at_minute=_read_time_of_day(environment.get("MARIGRAPH_RETENTION_AT")),
            master_key=_read_master_key(environment.get("MARIGRAPH_MASTER_KEY")),
            seals=Seals.read(environment),
            sources=sources or environment.get("MARIGRAPH_SOURCES") or None,
        )


def _read_time_of_day(text: str | None) -> int | None:
    if not text:
        return RETENTION_AT_MINUTE
    if text == "off":
        return None
    found = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", text)
    if found is None:
        msg = f"MARIGRAPH_RETENTION_AT must be a time of day (UTC) like 00:30, or off, got [{text[:40]}]"
        raise InvalidArgument(msg)
    return int(found[1]) * 60 + int(found[2])


def _read_master_key(text: str | None) -> bytes | None:
    if not text:
        return None
    try:
        key = b64decode(text, validate=True)
    except ValueError:
        key = b""
    if len(key) != MASTER_KEY_BYTES:
        msg = f"MARIGRAPH_MASTER_KEY must be {MASTER_KEY_BYTES} bytes in base64, as `openssl rand -base64 32` makes it"
        raise InvalidArgument(msg)
    return key


def _default_database() -> str:
    folder = Path(platformdirs.user_data_dir("marigraph", appauthor=False))
    return str(folder / DATABASE_FILE)
