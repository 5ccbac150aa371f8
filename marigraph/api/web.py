"""The web application: routes made from the table of endpoints, and what is the same for all of them.

A request is read (bounded), its parameters are checked, and its endpoint answers on a thread of its lane. Everything
that goes wrong is answered with the API's error body; what is no refusal of ours is logged and answered 500.
"""

import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from itertools import product
from typing import Any, Final

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, bound_contextvars

from domain.errors import DomainError, UnknownField
from marigraph import __version__
from marigraph.access import AccessControl
from marigraph.api.access import Gate
from marigraph.api.answers import PRODUCT, opaque_id, options_of, refuse
from marigraph.api.bodies import (
    BODY_BYTES_MAX,
    CONFIG_BYTES_MAX,
    DATA_TYPES,
    IN_FLIGHT_BYTES_MAX,
    JSON_TYPES,
    ByteBudget,
    check_type,
    read_body,
    read_json,
    source_of,
)
from marigraph.api.cluster import API_VERSION
from marigraph.api.documentation import SECURITY_SCHEMES, describe
from marigraph.api.endpoints import BASES, Call, Endpoint, Lane, Text, all_endpoints
from marigraph.api.errors import HttpError
from marigraph.api.metrics import NO_ENDPOINT, Metrics
from marigraph.api.neighbours import answer_about_documents
from marigraph.api.page import render
from marigraph.api.parameters import read_parameters
from marigraph.api.shaping import encode, shape
from marigraph.context import Context
from marigraph.serving import Server

log = logging.getLogger(__name__)

REQUESTS_MAX: Final = 1_000
"""Requests in work at once; beyond that they are refused with 429."""

WARNING_AGENT: Final = f"299 Elasticsearch-{API_VERSION}-unknown"
"""How a warning begins: test runners of the API accept no other agent."""

DESCRIPTION: Final = (
    "Every operation takes `pretty` (indents the answer), `human` (adds times as texts), `filter_path` (picks fields) "
    "and `error_trace` (says where an error comes from) in the query, and an `X-Opaque-Id` header that names the "
    "request. "
    "Errors are `{error: {root_cause, type, reason}, status}`; `Warning` headers tell of names that are deprecated."
)

OURS: Final = (*BASES, "/_marigraph")
"""Below these no path is about documents or indices."""


class Front:
    """Answers the requests of one server."""

    def __init__(self, app: Server, gate: Gate) -> None:
        self._app = app
        self._gate = gate
        self.metrics = Metrics(app)
        self._lanes = {lane: CapacityLimiter(lane.value) for lane in Lane}
        self._budget = ByteBudget(IN_FLIGHT_BYTES_MAX)
        self._n_requests = 0

    async def answer(self, endpoint: Endpoint, request: Request) -> Response:
        """Answer one request."""
        if self._n_requests >= REQUESTS_MAX:
            msg = f"more than {REQUESTS_MAX} requests are in work; send it again later"
            return refuse(HttpError(429, msg), request)
        self._n_requests += 1
        started = time.perf_counter()
        request_id = opaque_id(request).get("X-Opaque-Id") or str(uuid.uuid4())
        warnings = _deprecated_path(request)
        with bound_contextvars(request_id=request_id):
            try:
                response = await self._answer(endpoint, request, request_id, warnings)
            except ClientDisconnect:
                response = Response(status_code=499)
            except Exception as error:
                response = refuse(error, request)
            finally:
                self._n_requests -= 1
            if warnings:
                response.headers["Warning"] = ", ".join(f'{WARNING_AGENT} "{text}"' for text in warnings)
            seconds = time.perf_counter() - started
            self.metrics.count(endpoint.name, request.method, response.status_code, seconds)
            log_request(endpoint.name, request, response, seconds)
        return response

    async def _answer(self, endpoint: Endpoint, request: Request, request_id: str, warnings: list[str]) -> Response:
        principal = await self._gate.admit(endpoint, request)
        bind_contextvars(actor=principal.actor)
        context = Context(principal.actor, request_id)
        limit = BODY_BYTES_MAX if endpoint.body == "records" else CONFIG_BYTES_MAX
        async with self._budget.hold() as held:
            data = await read_body(request, limit, held) or source_of(request)
            options = options_of(request)
            call = self._call(endpoint, request, data, context, warnings)
            answer = await anyio.to_thread.run_sync(endpoint.answer, call, limiter=self._lanes[endpoint.lane])
        if isinstance(answer, Text):
            return Response(answer.body, endpoint.status, {**PRODUCT, **opaque_id(request)}, answer.content_type)
        body = encode(shape(answer, human=options.human, filter_path=options.filter_path), pretty=options.pretty)
        return Response(body, endpoint.status, {**PRODUCT, **opaque_id(request)}, "application/json")

    def _call(self, endpoint: Endpoint, request: Request, data: bytes, context: Context, warnings: list[str]) -> Call:
        if data:
            check_type(request, DATA_TYPES if endpoint.body == "records" else JSON_TYPES)
        body: Any = None
        fields: dict[str, Any] = {}
        if endpoint.body == "none" and data.strip():
            msg = f"request [{request.method} {request.url.path}] does not support having a body"
            raise HttpError(400, msg, type="illegal_argument_exception")
        if endpoint.body in ("resource", "parameters"):
            body = read_json(data)
        if endpoint.body == "parameters" and body is not None:
            if not isinstance(body, dict):
                msg = f"[1:1] [{endpoint.section}] Expected START_OBJECT but was: {type(body).__name__}"
                raise UnknownField(msg)
            # Clients may repeat in the body what stands in the path, which goes first.
            fields = {name: value for name, value in body.items() if name not in request.path_params}
        parameters = read_parameters(
            endpoint.parameters,
            path=request.url.path,
            query=request.query_params.multi_items(),
            body=fields,
            section=endpoint.section,
            warnings=warnings,
        )
        key = request.headers.get("idempotency-key")
        return Call(
            self._app,
            context,
            request.path_params,
            parameters,
            body,
            data,
            metrics=self.metrics,
            idempotency_key=key,
            warnings=warnings,
        )


def log_request(endpoint: str, request: Request, response: Response, seconds: float) -> None:
    """Write down how a request was answered."""
    log.info(
        "request",
        extra={
            "endpoint": endpoint,
            "method": request.method,
            "path": request.url.path,
            "status": response.status_code,
            "duration_ms": round(seconds * 1000, 1),
        },
    )


class Documented(FastAPI):
    """An application whose OpenAPI document says how callers show who they are."""

    def openapi(self) -> dict[str, Any]:
        """Return the document."""
        return {**super().openapi(), "components": {"securitySchemes": SECURITY_SCHEMES}}


def make_app(server: Server, control: AccessControl | None = None, names: Collection[str] | None = None) -> FastAPI:
    """Make the web application of a server; it is started and closed with it.

    Parameters
    ----------
    control : AccessControl or None
        Who may call; None: everybody who reaches the port may do everything.
    names : collection of str or None
        What such a server may be called; see ``Gate``.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await anyio.to_thread.run_sync(server.start)
        try:
            yield
        finally:
            await anyio.to_thread.run_sync(server.close)

    front = Front(server, Gate(control, names))
    app = Documented(
        title="Marigraph",
        version=__version__,
        summary="Anomaly-detection jobs whose every fact is an event in SQL.",
        description=DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        openapi_url="/_openapi.json",
    )
    endpoints = all_endpoints()
    for endpoint in endpoints:
        answer = _route(front, endpoint)
        for (index, path), method in product(enumerate(endpoint.full_paths), endpoint.methods):
            app.add_api_route(
                path,
                answer,
                methods=[method],
                name=endpoint.name,
                operation_id=None,
                include_in_schema=index < len(endpoint.paths),
                openapi_extra=describe(endpoint, path, method),
                response_class=Response,
                status_code=endpoint.status,
            )
    app.add_api_route("/_docs", lambda: HTMLResponse(render(app.openapi())), include_in_schema=False)
    app.add_exception_handler(HTTPException, _no_route(app, front.metrics))
    app.add_middleware(TrailingSlash)
    return app


def _route(front: Front, endpoint: Endpoint) -> Callable[[Request], Any]:
    async def route(request: Request) -> Response:
        return await front.answer(endpoint, request)

    return route


def _no_route(app: FastAPI, metrics: Metrics) -> Callable[[Request, Exception], Any]:
    """Answer requests that no endpoint takes: 405 where another method would do, else 400."""

    async def handle(request: Request, _error: Exception) -> Response:
        try:
            answer = _without_endpoint(request, sorted(_allowed_methods(app, request.scope)))
            response = Response(encode(answer), 200, PRODUCT, "application/json")
        except (DomainError, HttpError) as error:
            response = refuse(error, request)
        metrics.count(NO_ENDPOINT, NO_ENDPOINT, response.status_code, 0.0)
        log_request(NO_ENDPOINT, request, response, 0.0)
        return response

    return handle


def _without_endpoint(request: Request, allowed: list[str]) -> Any:
    uri = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if allowed:
        reason = f"Incorrect HTTP method for uri [{uri}] and method [{request.method}], allowed: [{', '.join(allowed)}]"
        raise HttpError(405, reason, plain=True, headers={"Allow": ",".join(allowed)})
    if not request.url.path.startswith(OURS):
        answer = answer_about_documents(request.method, request.url.path)
        if answer is not None:
            return answer
    msg = f"no handler found for uri [{uri}] and method [{request.method}]"
    raise HttpError(400, msg, plain=True)


def _allowed_methods(app: FastAPI, scope: Scope) -> set[str]:
    allowed: set[str] = set()
    for route in app.routes:
        methods = getattr(route, "methods", None)
        if methods and route.matches(scope)[0].value:
            allowed |= methods
    return allowed


class TrailingSlash:
    """Takes a trailing slash of a path for none."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "http" and len(scope["path"]) > 1 and scope["path"].endswith("/"):
            scope = {**scope, "path": scope["path"].rstrip("/") or "/"}
        await self._app(scope, receive, send)


def _deprecated_path(request: Request) -> list[str]:
    """Return the warning that a path has another name by now, if it has."""
    path, (base, old) = request.scope["route"].path, BASES
    if not path.startswith(old):
        return []
    method = request.method
    return [f"[{method} {path}] is deprecated! Use [{method} {base}{path.removeprefix(old)}] instead."]
