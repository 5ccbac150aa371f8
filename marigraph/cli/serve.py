"""``marigraph serve``: the HTTP API on a port."""

import logging
import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from marigraph.cli.session import session_of


class LogFormat(StrEnum):
    """How a server logs."""

    JSON = "json"
    CONSOLE = "console"


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command(epilog="Example: `marigraph serve --port 9200`, then `curl localhost:9200/_ml/anomaly_detectors`")(
        serve
    )


def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port to listen on.", min=0, max=65535)] = 9200,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", help="Certificate chain (PEM); makes it HTTPS.", exists=True)
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="Private key (PEM).", exists=True)] = None,
    sources: Annotated[
        Path | None, typer.Option("--sources", help="TOML file that says where datafeeds may read from.", exists=True)
    ] = None,
    require_credentials: Annotated[
        bool, typer.Option("--require-credentials", help="Ask callers on this machine too who they are.")
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            help="Another name of this machine that callers without credentials may use; may be given again.",
            show_default=False,
        ),
    ] = None,
    log_format: Annotated[
        LogFormat | None,
        typer.Option("--log-format", help="Default: console on a terminal, else json.", show_default=False),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Log warnings and errors only, no requests.")] = False,
) -> None:
    """Answer the HTTP API until Ctrl-C or SIGTERM; open jobs stay open and go on at the next start."""
    from marigraph.api.server import Listening, serve  # the web framework loads only here
    from marigraph.logs import configure_logs

    settings = session_of(context).local_settings()
    if sources is not None:
        settings = replace(settings, sources=str(sources))
    chosen = log_format or (LogFormat.CONSOLE if sys.stderr.isatty() else LogFormat.JSON)
    configure_logs(chosen.value, logging.WARNING if quiet else logging.INFO)
    names = frozenset(name.lower() for name in allow_host or ())
    serve(settings, Listening(host, port, tls_cert, tls_key, require_credentials, names))
