"""Which status and error type each refusal gets, and the error body that clients read."""

import traceback
from pathlib import Path
from typing import Any, Final, NamedTuple

from domain import errors
from eventstore import ConnectionLost, EventStoreError, StoreBusy, StoreFull
from marigraph.schema import SchemaError


class Refusal(NamedTuple):
    """How an exception is answered."""

    status: int
    type: str


class HttpError(Exception):
    """What only the HTTP layer can refuse.

    Attributes
    ----------
    plain : bool
        The error is a bare text and not an object, as for paths and methods that lead nowhere.
    challenges : tuple of str
        How a client may say who it is, one ``WWW-Authenticate`` header each.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        *,
        type: str = "status_exception",
        plain: bool = False,
        headers: dict[str, str] | None = None,
        challenges: tuple[str, ...] = (),
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.type = type
        self.plain = plain
        self.headers = headers or {}
        self.challenges = challenges


REFUSALS: Final[dict[type[Exception], Refusal]] = {
    errors.NotFound: Refusal(404, "resource_not_found_exception"),
    errors.IndexNotFound: Refusal(404, "index_not_found_exception"),
    errors.AlreadyExists: Refusal(400, "resource_already_exists_exception"),
    errors.Conflict: Refusal(409, "status_exception"),
    errors.BadRequest: Refusal(400, "status_exception"),
    errors.InvalidArgument: Refusal(400, "illegal_argument_exception"),
    errors.ParseError: Refusal(400, "parse_exception"),
    errors.UnknownField: Refusal(400, "x_content_parse_exception"),
    errors.Unsupported: Refusal(400, "status_exception"),
    errors.TooManyRequests: Refusal(429, "status_exception"),
    errors.TimedOut: Refusal(500, "exception"),
    StoreBusy: Refusal(503, "status_exception"),
    StoreFull: Refusal(503, "status_exception"),
    ConnectionLost: Refusal(503, "status_exception"),
    EventStoreError: Refusal(500, "exception"),
    SchemaError: Refusal(503, "status_exception"),
}
"""One row per kind of refusal; a kind without a row is answered like the nearest one above it in its tree."""

RETRY_AFTER_SECONDS: Final = 5
"""What clients are told to wait when the backlog of a job is full."""


def refusal_of(error: Exception) -> Refusal:
    """Return how an exception is answered; what is no refusal of ours is an internal error."""
    for kind in type(error).__mro__:
        if kind in REFUSALS:
            return REFUSALS[kind]
    return Refusal(500, "exception")


def trace_of(error: Exception) -> str:
    """Return where an error comes from, by functions and lines; files of the server stay its own."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = (f"  at {Path(frame.filename).stem}.{frame.name}:{frame.lineno}" for frame in reversed(frames))
    return "\n".join((f"{type(error).__name__}: {error}", *lines))


def error_body(status: int, type_name: str, reason: str, challenges: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the error object of the API; the order of its fields is part of it."""
    cause: dict[str, Any] = {"type": type_name, "reason": reason}
    if challenges:
        cause["header"] = {"WWW-Authenticate": list(challenges)}
    return {"error": {"root_cause": [cause], **cause}, "status": status}


def plain_error_body(status: int, reason: str) -> dict[str, Any]:
    """Return the error of requests that reach no endpoint."""
    return {"error": reason, "status": status}
