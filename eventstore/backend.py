"""What a database does for the store; `eventstore.sqlite` and `eventstore.postgres` do it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection, Engine

from eventstore.appending import AppendRequest, StoredCommand
from eventstore.errors import NestedTransaction
from eventstore.events import StoredEvent

LOCK_SECONDS_MAX = 10.0  # how long a writer waits for another before StoreBusy

STORED_COLUMNS = (
    "e.type, e.schema_version, e.recorded_at, e.actor, e.request_id, e.cause, e.command_id, e.command_index, "
    "e.data, e.payload_digest, e.hash"
)


@dataclass(slots=True)
class CommitStats:
    """Counts since the store was opened; benchmarks and tests read them."""

    n_commits: int = 0
    n_appends: int = 0


class Backend(Protocol):
    """The hot statements of one database, run by its driver on held connections."""

    dialect: str
    engine: Engine
    stats: CommitStats
    before_commit: Callable[[], None] | None  # a hook for tests and benchmarks: a slow disk, a crash

    def write(self, requests: Sequence[AppendRequest]) -> None:
        """Write a batch in one transaction; set result or error of each request."""

    def read_stream(self, stream: str, after_version: int, limit: int) -> list[StoredEvent]:
        """Read a page of a stream."""

    def read_all(self, after_position: int, limit: int) -> list[StoredEvent]:
        """Read a page of the log."""

    def read_payload(self, stream: str, digest: bytes) -> tuple[bytes, str, bytes] | None:
        """Read body, codec and content digest."""

    def read_payloads(self, stream: str, digests: list[bytes]) -> list[tuple[bytes, bytes, str, bytes]]:
        """Read digest, body, codec and content digest of those that are there, in any order."""

    def find_command(self, stream: str, command_id: str) -> StoredCommand | None:
        """Find what is stored under a command id."""

    def transaction(self) -> AbstractContextManager[Connection]:
        """Open a write transaction."""

    def erasing(self) -> AbstractContextManager[Connection]:
        """Open a write transaction whose deleted rows are overwritten or vacuumed away once it has committed.

        What the database's own means cannot reach stays: copies made before, and blocks that the file system reuses.
        """

    def reading(self) -> AbstractContextManager[Connection]:
        """Open a connection to read from."""

    def check_thread(self) -> None:
        """Raise `NestedTransaction` when this thread has a transaction open."""

    def wrap(self, error: BaseException) -> Any:
        """Return the error of ours for one of the driver's, or None for any other."""

    def close(self) -> None:
        """Close all connections."""


class OwnTransaction:
    """Knows which thread is inside a transaction of its own, where another write would wait for itself."""

    def __init__(self) -> None:
        self._local = threading.local()

    def check(self) -> None:
        """Raise `NestedTransaction` inside a transaction of this thread."""
        if getattr(self._local, "is_open", False):
            msg = "this thread has a transaction open; end it before appending or opening another"
            raise NestedTransaction(msg)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Mark this thread."""
        self.check()
        self._local.is_open = True
        try:
            yield
        finally:
            self._local.is_open = False

    @property
    def is_open(self) -> bool:
        """Say whether this thread is inside a transaction."""
        return getattr(self._local, "is_open", False)
