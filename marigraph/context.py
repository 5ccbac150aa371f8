"""On whose order, and under which request, something happens: it goes on every event."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Context:
    """The author of a command."""

    actor: str | None = None
    request_id: str | None = None
    """One id for everything that a request causes; the client's own, if it sent one."""
    cause: str | None = None
    """What the command follows from, where that is no person's wish: ``retention``."""
