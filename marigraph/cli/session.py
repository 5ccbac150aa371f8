"""What all commands share: the database they work on, who works, and the options that many of them have."""

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from domain.api_time import parse_result_time
from domain.errors import InvalidArgument
from marigraph.application import Application
from marigraph.context import Context
from marigraph.library import Marigraph, user_name
from marigraph.operations import Operations, Resource
from marigraph.queries import PAGE_SIZE
from marigraph.settings import Settings

JobId = Annotated[str, typer.Argument(help="Id of the job.", metavar="JOB")]
Json = Annotated[bool, typer.Option("--json", help="Print the resource of the API as JSON.")]
Size = Annotated[int, typer.Option("--size", help="How many to print.", min=0)]
From = Annotated[int, typer.Option("--from", help="How many to leave out first.", min=0)]
Every = Annotated[bool, typer.Option("--all", help="Print every one, whatever --size says.")]
Start = Annotated[str | None, typer.Option("--start", help="Only from this time on (ISO 8601 or epoch milliseconds).")]
End = Annotated[str | None, typer.Option("--end", help="Only before this time.")]
NoInterim = Annotated[bool, typer.Option("--exclude-interim", help="Leave out interim results.")]
Sort = Annotated[str | None, typer.Option("--sort", help="Field to sort by.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print as CSV, for spreadsheets and other programs.")]
Descending = Annotated[bool | None, typer.Option("--desc/--asc", help="Direction of the sort.", show_default=False)]

CHECK_FAILED = 1
"""Exit code of a command whose check did not hold."""


@dataclass(frozen=True, slots=True)
class Session:
    """One call of the command line."""

    settings: Settings
    context: Context = field(default_factory=lambda: Context(user_name(), str(uuid.uuid4())))

    def now_ms(self) -> int:
        """Return the time of day in milliseconds since the epoch."""
        return time.time_ns() // 1_000_000

    def local_settings(self) -> Settings:
        """Return the settings for a command that needs the database; InvalidArgument if a server was chosen."""
        if self.settings.server is not None:
            msg = f"this command needs the database: give --db, not a server ({self.settings.server})"
            raise InvalidArgument(msg)
        return self.settings

    def with_seal_key(self, path: Path | None) -> Settings:
        """Return the settings with another signing key, if one is given."""
        if path is None:
            return self.settings
        return replace(self.settings, seals=replace(self.settings.seals, key=str(path)))

    @contextmanager
    def operations(self) -> Iterator[Operations]:
        """Give the operations of the API for the time of one command, on the database or on a server."""
        if self.settings.server is None:
            with self.application() as app:
                yield Marigraph.over(app, self.context)
            return
        from marigraph.remote import RemoteMarigraph  # the HTTP client loads only where there is a server

        assert self.context.request_id is not None
        with RemoteMarigraph(self.settings.server, self.settings.credentials, self.context.request_id) as operations:
            yield operations

    @contextmanager
    def application(self) -> Iterator[Application]:
        """Build the application for the time of one command; InvalidArgument if a server was chosen instead."""
        settings = self.local_settings()
        from marigraph.bootstrap import (
            bootstrap,
        )  # numpy and SQLAlchemy load only for commands that need them

        app = bootstrap(settings)
        try:
            yield app
        finally:
            app.close()


def session_of(context: typer.Context) -> Session:
    """Return the session that the root command made."""
    session = context.obj
    assert isinstance(session, Session)
    return session


def listed(
    operations: Operations,
    name: str,
    path: Mapping[str, Any],
    parameters: Mapping[str, Any],
    *,
    start: int = 0,
    size: int = PAGE_SIZE,
    every: bool = False,
) -> Resource:
    """Return a part of a list, or all of it: --all wins over --from and --size."""
    if every:
        return operations.every(name, path, parameters)
    found: Resource = operations.perform(name, path, {**parameters, "from": start, "size": size})
    return found


def time_ms(text: str | None, name: str) -> int | None:
    """Read an optional time."""
    return None if text is None else parse_result_time(text, name)
