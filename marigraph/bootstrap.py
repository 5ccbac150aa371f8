"""The only place where objects are wired; nothing is built at import."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from eventstore import EventStore
from marigraph.application import Application
from marigraph.codec import build_codec
from marigraph.schema import ensure_ready
from marigraph.settings import Settings

if TYPE_CHECKING:
    from marigraph.serving import Server


def system_clock_ms() -> int:
    """Return the time of day in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def bootstrap(settings: Settings, now_ms: Callable[[], int] = system_clock_ms) -> Application:
    """Build the application on a database whose schema is ready.

    Raises
    ------
    SchemaError
        The database has an older or newer schema than this program and is not ours to change.
    """
    return Application(_connect(settings), build_codec(), settings, now_ms)


def bootstrap_server(settings: Settings, now_ms: Callable[[], int] = system_clock_ms) -> "Server":
    """Build the application of a serving process, like :func:`bootstrap`; it is not started yet."""
    from marigraph.serving import Server  # no command but `serve` needs it

    return Server(_connect(settings), build_codec(), settings, now_ms)


def _connect(settings: Settings) -> EventStore:
    ensure_ready(settings.database)
    return EventStore.connect(settings.database, master_key=settings.master_key)
