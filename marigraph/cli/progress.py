"""Progress of long work: a bar with a rate on a terminal, nothing where standard error is piped."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from marigraph.cli.output import console

Advance = Callable[[int, int], None]
"""Called with (units of work done, records or events handled) since the last call."""


class _Rate(ProgressColumn):
    """Records or events per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        handled = task.fields.get("handled", 0)
        seconds = task.elapsed or 0.0
        rate = handled / seconds if seconds > 0 else 0.0
        return Text(f"{handled:,} {self._unit}, {rate:,.0f}/s", style="cyan")


@contextmanager
def working(description: str, *, total: int | None, unit: str) -> Iterator[Advance]:
    """Show progress for as long as the context lasts; ``total`` is in the units of work, None if unknown."""
    out = console(stderr=True)
    columns: list[ProgressColumn] = [SpinnerColumn(), TextColumn("{task.description}")]
    if total:
        columns += [BarColumn(), TaskProgressColumn(), TimeRemainingColumn()]
    columns += [_Rate(unit), TimeElapsedColumn()]
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task(description, total=total, handled=0)
        handled = 0

        def advance(done: int, more: int) -> None:
            nonlocal handled
            handled += more
            progress.update(task, advance=done, handled=handled)

        yield advance


@contextmanager
def counting(description: str, unit: str) -> Iterator[Callable[[], None]]:
    """Show a counter that each call raises by one."""
    with working(description, total=None, unit=unit) as advance:
        yield lambda: advance(0, 1)


@contextmanager
def fraction(description: str, unit: str | None = None) -> Iterator[Callable[[int, int], None]]:
    """Show a bar that is told how much is done, and of how much; with a unit, its rate too."""
    out = console(stderr=True)
    columns: list[ProgressColumn] = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()]
    if unit is not None:
        columns.append(_Rate(unit))
    with Progress(
        *columns, TimeRemainingColumn(), console=out, transient=True, disable=not out.is_terminal
    ) as progress:
        task = progress.add_task(description, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total, handled=done)
