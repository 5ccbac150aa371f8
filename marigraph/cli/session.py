"""What all commands share: the database they work on, who works, and the options that many of them have."""

import getpass
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated

import typer

from domain.api_time import parse_result_time
from marigraph.application import Application
from marigraph.context import Context
from marigraph.queries import PAGE_SIZE, Page, ResultFilter
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
Descending = Annotated[bool | None, typer.Option("--desc/--asc", help="Direction of the sort.", show_default=False)]

CHECK_FAILED = 1
"""Exit code of a command whose check did not hold."""


@dataclass(frozen=True, slots=True)
class Session:
    """One call of the command line."""

    settings: Settings
    context: Context = field(default_factory=lambda: Context(_user(), str(uuid.uuid4())))

    def now_ms(self) -> int:
        """Return the time of day in milliseconds since the epoch."""
        return time.time_ns() // 1_000_000

    @contextmanager
    def application(self) -> Iterator[Application]:
        """Build the application for the time of one command."""
        from marigraph.bootstrap import (
            bootstrap,
        )  # numpy and SQLAlchemy load only for commands that need them

        app = bootstrap(self.settings)
        try:
            yield app
        finally:
            app.close()


def session_of(context: typer.Context) -> Session:
    """Return the session that the root command made."""
    session = context.obj
    assert isinstance(session, Session)
    return session


def page_of(start: int = 0, size: int = PAGE_SIZE, every: bool = False) -> Page:
    """Make a page from the options; --all wins over --from and --size."""
    return Page(start, size, every)


def filter_of(
    start: str | None = None,
    end: str | None = None,
    *,
    score_min: float = 0.0,
    exclude_interim: bool = False,
    sort: str | None = None,
    desc: bool | None = None,
) -> ResultFilter:
    """Make a result filter from the options; ParseError names the one that is no date."""
    return ResultFilter(
        start_ms=time_ms(start, "start"),
        end_ms=time_ms(end, "end"),
        score_min=score_min,
        exclude_interim=exclude_interim,
        sort=sort,
        desc=desc,
    )


def time_ms(text: str | None, name: str) -> int | None:
    """Read an optional time."""
    return None if text is None else parse_result_time(text, name)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return f"uid-{os.getuid()}" if hasattr(os, "getuid") else "unknown"
