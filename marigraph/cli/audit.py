"""``marigraph audit ...``: what happened on the log, on whose order, and how things stood at any time."""

import typer

from marigraph.cli import results

app = typer.Typer(no_args_is_help=True, help="Ask the log: who did what, when, and how things stood.")
app.command(epilog="Example: `marigraph audit history web --type opened --type closed`")(results.history)
