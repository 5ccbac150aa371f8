"""The ``marigraph`` command: its root, its groups, and the one place where errors become a line and an exit code.

Exit codes: 0 done, 1 a check did not hold (``verify``, ``db check``), 2 a refused command or bad input, 130 stopped
by Ctrl-C. Nothing that comes from outside ends in a traceback.
"""

import logging
import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Annotated, Any, Protocol, cast

import typer

from domain.errors import DomainError, InvalidArgument
from eventstore import EventStoreError
from marigraph import __version__
from marigraph.cli import (
    access,
    audit,
    bundle,
    data,
    database,
    datafeeds,
    debugging,
    explain,
    jobs,
    results,
    retention,
    serve,
    snapshots,
    verify,
    whatif,
)
from marigraph.cli.output import console, printable
from marigraph.cli.session import Session
from marigraph.replay import CannotReplay
from marigraph.runner import JobFailed
from marigraph.schema import SchemaError
from marigraph.settings import Settings
from marigraph.sources.base import MissingIndex, SourceError

REFUSED, INTERRUPTED = 2, 130

REFUSALS = (
    *(CannotReplay, DomainError, EventStoreError, SchemaError, JobFailed, SourceError, MissingIndex),
    ValueError,
)
"""Errors whose message is all that the user needs."""

UsageError = cast(type[Exception], typer.BadParameter.__mro__[1])
"""What the parser raises; typer offers it only as a base class, and its own copy of it besides."""


class ParserError(Protocol):
    """What the parser's error can say of itself."""

    def format_message(self) -> str:
        """Return the message, with the parameter's name."""


app = typer.Typer(
    name="marigraph",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Anomaly-detection jobs whose every fact is an event in SQL.",
    epilog="Example: `marigraph run --job job.json data.csv` makes a job, feeds it and prints the anomalies.",
)
app.add_typer(jobs.app, name="job")
app.add_typer(datafeeds.app, name="datafeed")
app.add_typer(snapshots.app, name="snapshots")
app.add_typer(access.keys, name="keys")
app.add_typer(access.users, name="users")
app.add_typer(database.app, name="db")
app.add_typer(bundle.app, name="bundle")
app.add_typer(audit.app, name="audit")
data.register(app)
results.register(app)
explain.register(app)
debugging.register(app)
verify.register(app)
retention.register(app)
whatif.register(app)
serve.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        console().print(f"marigraph {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    db: Annotated[
        str | None,
        typer.Option(
            "--db",
            metavar="URL",
            help="Database: a file, sqlite:///FILE or postgresql://... "
            "(default: MARIGRAPH_DB, else a file in your data directory).",
        ),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option("--server", metavar="URL", help="A running server to work on instead (or MARIGRAPH_SERVER)."),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            "--api-key",
            metavar="KEY",
            help="For the server (or MARIGRAPH_API_KEY; or MARIGRAPH_USER and MARIGRAPH_PASSWORD).",
        ),
    ] = None,
    sources: Annotated[
        str | None,
        typer.Option(
            "--sources",
            metavar="FILE",
            help="TOML file that says where datafeeds may read from (default: MARIGRAPH_SOURCES, else nowhere).",
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log what happens to standard error.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Set up what all commands share."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    if db is not None and server is not None:
        msg = "give --db or --server, not both"
        raise InvalidArgument(msg)
    context.obj = Session(Settings.read(database=db, server=server, api_key=api_key, sources=sources))


def run() -> None:
    """Run the command line and leave the process with its exit code."""
    raise SystemExit(execute())


@cache
def _command() -> Callable[..., Any]:
    """Return the parser of all commands, which is worth making once where several are run."""
    return typer.main.get_command(app)


def execute(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code.

    Parameters
    ----------
    arguments : sequence of str or None
        What follows the command's name; None: those of the process.
    """
    try:
        result = _command()(arguments, standalone_mode=False)
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            return REFUSED  # the help was printed in place of a message
        return _refuse(cast(ParserError, error).format_message())
    except OSError as error:
        return _refuse(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except (
        CannotReplay,
        DomainError,
        EventStoreError,
        SchemaError,
        JobFailed,
        SourceError,
        MissingIndex,
        ValueError,
    ) as error:
        return _refuse(str(error))
    except (KeyboardInterrupt, typer.Abort):
        _refuse("stopped; what was acknowledged is stored, the same command continues from there")
        return INTERRUPTED
    return result if isinstance(result, int) else 0


def _refuse(message: str) -> int:
    line = printable(" ".join(message.split())) or "failed without a message"
    console(stderr=True).print(f"marigraph: {line}", markup=False, soft_wrap=True)
    return REFUSED
