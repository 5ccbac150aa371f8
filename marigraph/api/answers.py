"""What every answer has: the options that all endpoints take, the headers, and how a refusal is written."""

import logging
from typing import Final, NamedTuple

from fastapi import Request, Response

from domain.errors import DomainError
from marigraph.api.errors import RETRY_AFTER_SECONDS, HttpError, error_body, plain_error_body, refusal_of, trace_of
from marigraph.api.parameters import as_bool
from marigraph.api.shaping import encode, shape

log = logging.getLogger(__name__)

OPAQUE_ID_CHARACTERS_MAX: Final = 256
"""Longest client-given request id that is kept."""

PRODUCT: Final = {"X-Elastic-Product": "Elasticsearch"}
"""Without this header on their first answer, newer clients refuse to work."""


class Options(NamedTuple):
    """What the parameters of every endpoint ask for."""

    human: bool = False
    pretty: bool = False
    error_trace: bool = False
    filter_path: str | None = None


def options_of(request: Request) -> Options:
    """Read the options; a refusal if one of them is none."""
    query = request.query_params
    if query.get("format", "json") != "json":
        msg = f"answers come as [json], not as [{query['format'][:256]}]"
        raise HttpError(406, msg, plain=True)
    human, pretty, error_trace = (as_bool(query.get(name, "false")) for name in ("human", "pretty", "error_trace"))
    return Options(human, pretty, error_trace, query.get("filter_path"))


def opaque_id(request: Request) -> dict[str, str]:
    """Return the header that repeats the client's name for a request, if it gave one."""
    text = request.headers.get("x-opaque-id", "")
    kept = "".join(character for character in text if character.isprintable())[:OPAQUE_ID_CHARACTERS_MAX]
    return {"X-Opaque-Id": kept} if kept else {}


def refuse(error: Exception, request: Request) -> Response:
    """Answer what went wrong."""
    headers = {**PRODUCT, **opaque_id(request)}
    challenges: tuple[str, ...] = ()
    if isinstance(error, HttpError):
        status, reason, challenges = error.status, error.reason, error.challenges
        plain = plain_error_body(status, reason)
        body = plain if error.plain else error_body(status, error.type, reason, challenges)
        headers |= error.headers
    else:
        refusal = refusal_of(error)
        status, reason = refusal.status, getattr(error, "reason", None) or str(error)
        if status == 500 and not isinstance(error, DomainError):
            log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        body = error_body(status, refusal.type, reason)
    if status in (429, 503):
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    try:
        options = options_of(request)
    except (DomainError, HttpError):  # it is what the answer tells of
        options = Options()
    if options.error_trace and isinstance(body["error"], dict):
        body["error"]["stack_trace"] = trace_of(error)
    shaped = encode(shape(body, filter_path=options.filter_path), pretty=options.pretty)
    response = Response(shaped, status, headers, "application/json")
    for challenge in challenges:
        response.headers.append("WWW-Authenticate", challenge)
    return response
