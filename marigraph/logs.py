"""What a server logs, and how: one line per record, as JSON or for people, all of it through structlog.

The program logs with the standard library; what is bound to the context (``request_id``, ``actor``) and what a record
brings along (``extra=...``) become fields. Secrets are never handed to a logger; a mask for what looks like
credentials stands behind that all the same.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final, Literal, TextIO

import structlog

CREDENTIALS: Final = re.compile(r"(?i)\b(basic|apikey|bearer)\s+[A-Za-z0-9+/=_.~-]{8,}")
URL_PASSWORD: Final = re.compile(r"(://[^/\s:@]*):[^/\s@]*@")


def configure_logs(
    log_format: Literal["json", "console"], level: int = logging.INFO, stream: TextIO | None = None
) -> None:
    """Send everything that is logged in this process to a stream, standard error unless told otherwise."""
    stream = stream or sys.stderr
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _mask,
    ]
    render: Any = (
        structlog.processors.JSONRenderer(default=str)
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=stream.isatty())
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "alembic"):  # what they tell of their start is no news; warnings are
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(capture=True)


def mask(text: str) -> str:
    """Return a text without the credentials that are in it.

    >>> mask("Authorization: Basic dXNlcjpwYXNz, postgresql://me:secret@host/db")
    'Authorization: Basic ***, postgresql://me:***@host/db'
    """
    return URL_PASSWORD.sub(r"\1:***@", CREDENTIALS.sub(r"\1 ***", text))


def _mask(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in fields.items():
        if isinstance(value, str) and not name.startswith("_"):
            fields[name] = mask(value)
    return fields
