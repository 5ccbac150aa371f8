"""Serving: the web application on a port, with or without TLS, until the process is told to stop."""

import ipaddress
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from domain.errors import InvalidArgument
from marigraph.api.web import make_app
from marigraph.bootstrap import bootstrap_server
from marigraph.settings import Settings

log = logging.getLogger(__name__)

HEADER_BYTES_MAX: Final = 64 * 1024
"""Longest request line and headers."""

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

    @property
    def url(self) -> str:
        """What clients are given."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls_cert else 'http'}://{host}:{self.port}"

    def check(self) -> None:
        """Refuse to serve other machines while anybody who reaches the port may do anything."""
        if (self.tls_cert is None) != (self.tls_key is None):
            msg = "give --tls-cert and --tls-key together"
            raise InvalidArgument(msg)
        if not is_loopback(self.host):
            msg = (
                f"{self.host} can be reached from other machines, and no keys are configured: "
                "serve on 127.0.0.1, behind a proxy that checks who calls"
            )
            raise InvalidArgument(msg)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve(settings: Settings, listening: Listening) -> None:
    """Serve until SIGINT or SIGTERM; no job is closed by that, and nothing acknowledged is lost."""
    listening.check()
    config = configure(make_app(bootstrap_server(settings)), listening)
    log.info("serving %s on %s", settings.database, listening.url)
    uvicorn.Server(config).run()


def configure(app: ASGIApp, listening: Listening) -> uvicorn.Config:
    """Return how the web server is set up: its limits and timeouts."""
    return uvicorn.Config(
        app,
        host=listening.host,
        port=listening.port,
        http="h11",  # its limit on headers is ours to set
        h11_max_incomplete_event_size=HEADER_BYTES_MAX,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        ssl_certfile=listening.tls_cert,
        ssl_keyfile=listening.tls_key,
        log_config=None,
        access_log=False,
        server_header=False,
    )
