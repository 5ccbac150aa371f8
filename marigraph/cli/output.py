"""How the command line prints: tables and colours on a terminal, plain text when piped, JSON when asked.

Every command prints through here, so that one way of formatting times, scores and missing values holds everywhere.
"""

import csv
import io
import math
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

PLAIN_WIDTH = 10_000
"""Columns of piped output: wide enough that no line is ever folded."""

_COMMANDING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters but tab and newline, and what turns the direction of writing."""

SEVERITIES = ((75.0, "bold red"), (50.0, "red"), (25.0, "yellow"), (0.0, "cyan"))
"""Colours of scores from a limit on: critical, major, minor, warning (the API's usual limits)."""


def console(*, stderr: bool = False) -> Console:
    """Make a console for one of the streams as they are now."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else PLAIN_WIDTH, highlight=False)


def print_json(resource: Any) -> None:
    """Print a resource of the API as JSON, its fields in the API's order."""
    text = msgspec.json.format(msgspec.json.encode(resource), indent=2)
    sys.stdout.buffer.write(text + b"\n")
    sys.stdout.flush()


def print_csv(rows: Sequence[dict[str, Any]]) -> None:
    """Print resources as CSV, one column per field that any of them has.

    Times are in ISO 8601, a list of one number is the number, and what is nested otherwise stands there as JSON.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(name, row.get(name)) for name in columns])
    sys.stdout.buffer.write(out.getvalue().encode())
    sys.stdout.flush()


def _cell(name: str, value: Any) -> Any:
    if name == "timestamp":
        return datetime.fromtimestamp(value / 1000, UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], int | float):
        return value[0]
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        return msgspec.json.encode(value).decode()
    return value


def print_answer(resource: Any, line: str, as_json: bool) -> None:
    """Print what a command was answered: the resource if JSON was asked for, else one line."""
    if as_json:
        print_json(resource)
    else:
        say(line)


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    title: str | None = None,
    right: Iterable[str] = (),
) -> None:
    """Print rows under headings; numbers in the columns named by ``right`` are aligned at their end."""
    out = console()
    style = box.SIMPLE_HEAD if out.is_terminal else None
    table = Table(title=title, box=style, pad_edge=False, title_justify="left", show_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=not out.is_terminal)
    for row in rows:
        table.add_row(*(printable(str(cell)) for cell in row))
    out.print(table)


def print_fields(resource: dict[str, Any]) -> None:
    """Print a resource as one ``name value`` line per leaf, nested names joined with dots."""
    print_table(("field", "value"), _leaves(resource))


def say(text: str, style: str | None = None) -> None:
    """Print one line of result."""
    console().print(printable(text), markup=False, style=style)


def note(text: str) -> None:
    """Print one line about the work itself, where it does not mix with the output."""
    console(stderr=True).print(printable(text), markup=False, style="dim")


def printable(text: str) -> str:
    """Return a text without what would command a terminal: it may come out of data that nobody vouches for."""
    return text if text.isprintable() else _COMMANDING.sub("\N{REPLACEMENT CHARACTER}", text)


def literal(value: Any) -> str:
    """Return a value as a cell of a table in which nothing is taken for markup."""
    return str(value).replace("[", r"\[")


def score(value: float) -> str:
    """Format a score of 0 to 100, coloured by severity."""
    colour = next(colour for limit, colour in SEVERITIES if value >= limit)
    return f"[{colour}]{value:.1f}[/]"


def number(value: float | None) -> str:
    """Format a measured value with five significant digits."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.5g}"


def moment(time_ms: int | None) -> str:
    """Format a time in UTC, to the second unless it has a fraction."""
    if time_ms is None:
        return "-"
    when = datetime.fromtimestamp(time_ms // 1000, UTC)
    fraction = f".{time_ms % 1000:03d}" if time_ms % 1000 else ""
    return f"{when:%Y-%m-%d %H:%M:%S}{fraction}"


def _leaves(value: Any, prefix: str = "") -> Iterable[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{prefix}.{name}" if prefix else name)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{prefix}[{index}]")
    else:
        text = ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)
        yield prefix, literal(text)
