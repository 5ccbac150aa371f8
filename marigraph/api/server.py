"""Serving: the web application on a port, with or without TLS, until the process is told to stop."""

import logging
import signal
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from domain.errors import InvalidArgument
from marigraph import schema
from marigraph.access import AccessControl
from marigraph.api.access import is_loopback
from marigraph.api.protocol import BoundedProtocol
from marigraph.api.web import make_app
from marigraph.bootstrap import bootstrap_server
from marigraph.serving import Server
from marigraph.settings import Settings

log = logging.getLogger(__name__)

HEADER_BYTES_MAX: Final = 64 * 1024
"""Longest request line and headers."""

CONNECTIONS_MAX: Final = 4_096
"""Beyond that, requests are answered 503; chosen: below the usual limit on files, far above ``web.REQUESTS_MAX``."""

BACKLOG: Final = 2_048
"""Connections that may wait to be accepted."""

KEEP_ALIVE_SECONDS: Final = 75
SHUTDOWN_SECONDS: Final = 30
"""How long requests in work may go on after the signal to stop."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where to serve."""

    host: str = "127.0.0.1"
    port: int = 9200
    tls_cert: Path | None = None
    tls_key: Path | None = None
    requires_credentials: bool = False
    """Whether even callers on this machine must say who they are; others always must."""
    names: frozenset[str] = frozenset()
    """What the server may be called besides the addresses of this machine, where nobody must say who he is."""

    @property
    def url(self) -> str:
        """What clients are given."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls_cert else 'http'}://{host}:{self.port}"

    @property
    def is_guarded(self) -> bool:
        """Whether callers must say who they are."""
        return self.requires_credentials or not is_loopback(self.host)

    def check(self) -> None:
        """Refuse half of a TLS configuration."""
        if (self.tls_cert is None) != (self.tls_key is None):
            msg = "give --tls-cert and --tls-key together"
            raise InvalidArgument(msg)


def serve(settings: Settings, listening: Listening) -> None:
    """Serve until SIGINT or SIGTERM; no job is closed by that, and nothing acknowledged is lost."""
    listening.check()
    application = bootstrap_server(settings)
    try:
        app = make_app(application, control_of(application, listening), listening.names)
        server = StoppingServer(application, configure(app, listening))
        with listen(listening) as listener:
            port = listener.getsockname()[1]
            url = replace(listening, port=port).url
            log.info("serving", extra={"database": schema.shown(settings.database), "url": url})
            server.run(sockets=[listener])
            log.info("stopped", extra={"url": url})
        if server.is_interrupted:
            raise KeyboardInterrupt
    finally:
        application.store.close()


class StoppingServer(uvicorn.Server):
    """Stops at the first signal when the requests in work are answered, at the second at once."""

    def __init__(self, application: Server, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._application = application
        self.is_interrupted = False
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, self.handle_exit)  # until it runs; then it sets them itself

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop. SIGTERM is not raised again afterwards: to be told to stop is no failure."""
        self.is_interrupted = self.is_interrupted or sig == signal.SIGINT
        self._application.give_up_waiting()
        self.force_exit = self.should_exit
        self.should_exit = True


def configure(app: ASGIApp, listening: Listening) -> uvicorn.Config:
    """Return how the application is served: its limits, times and certificate; InvalidArgument if that is none."""
    config = uvicorn.Config(
        app,
        host=listening.host,
        port=listening.port,
        http=BoundedProtocol,
        ws="none",
        limit_concurrency=CONNECTIONS_MAX,
        h11_max_incomplete_event_size=HEADER_BYTES_MAX,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        ssl_certfile=listening.tls_cert,
        ssl_keyfile=listening.tls_key,
        log_config=None,
        access_log=False,
        server_header=False,
    )
    try:
        config.load()
    except OSError as error:  # ssl.SSLError is one
        msg = f"cannot use the certificate {listening.tls_cert} with the key {listening.tls_key}: {error}"
        raise InvalidArgument(msg) from error
    return config


def listen(listening: Listening) -> socket.socket:
    """Take the port before anything begins, so that a taken one is refused in one line.

    Connections inherit TCP_NODELAY: asyncio sets it only on sockets that name their protocol, which this one does not,
    and without it the end of an answer waits for the client to acknowledge its beginning, some 40 ms.
    """
    family = socket.AF_INET6 if ":" in listening.host else socket.AF_INET
    try:
        listener = socket.create_server((listening.host, listening.port), family=family, backlog=BACKLOG)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        msg = f"cannot listen on {listening.host}, port {listening.port}: {error.strerror or error}"
        raise InvalidArgument(msg) from error


def control_of(application: Server, listening: Listening) -> AccessControl | None:
    """Return who may call, None for everybody; InvalidArgument if nobody could."""
    if not listening.is_guarded:
        return None
    control = AccessControl(application.store, application.now_ms)
    if not control.is_any_usable():
        msg = (
            f"{listening.host} asks for credentials, and no keys are configured: "
            "make one with `marigraph keys create NAME --role machine_learning_admin`, or serve on 127.0.0.1"
        )
        raise InvalidArgument(msg)
    if listening.tls_cert is None and not is_loopback(listening.host):
        log.warning("credentials and data travel in the clear; give --tls-cert and --tls-key, or use a proxy with TLS")
    return control
