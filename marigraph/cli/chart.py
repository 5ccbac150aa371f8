"""A chart of one series in characters: its values, what was expected, and between which bounds, in braille dots.

Each character is two dots wide and four high (Unicode block U+2800); a bucket takes one dot of width.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from marigraph.debugging.watching import SeriesPoint

Fragment = tuple[str, str]
"""A class of style and a text."""

BLANK: Final = 0x2800
DOTS: Final = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""Bits of the dots of a braille character, by column and row."""
BOUNDS, TYPICAL, ACTUAL, OUTSIDE = "class:bounds", "class:typical", "class:actual", "class:outside"
ORDER: Final = (BOUNDS, TYPICAL, ACTUAL, OUTSIDE)
"""Styles, the one that shows last where several are in a character."""
SPAN_MIN: Final = 1e-300
"""Values closer together are drawn as one: the scale would be no number."""
AXIS_WIDTH: Final = 12
"""Of the longest number, a blank and the axis."""


def chart(points: Sequence[SeriesPoint], width: int, height: int) -> list[list[Fragment]]:
    """Draw the latest points that fit, one line of fragments for each row.

    Parameters
    ----------
    points : sequence of SeriesPoint
        Of one series, in order of time.
    width, height : int
        Characters, the axis and the line of times included.
    """
    n_columns, n_rows = 2 * (width - AXIS_WIDTH), 4 * (height - 1)
    shown = list(points)[-n_columns:] if n_columns > 0 else []
    drawn = (value for point in shown for value in (point.actual, point.lower, point.typical, point.upper))
    values = [value for value in drawn if value is not None]
    if not values or n_rows < 4:
        return [[("", "no values to draw yet")]]
    low, high = min(values), max(values)
    canvas = _Canvas(n_columns, n_rows, low, high - low if high - low > SPAN_MIN else 1.0)
    for column, point in enumerate(shown):
        canvas.dot(column, point.lower, BOUNDS)
        canvas.dot(column, point.upper, BOUNDS)
        if column % 2 == 0:
            canvas.dot(column, point.typical, TYPICAL)
    before = None
    for column, point in enumerate(shown):
        canvas.line(column, before, point.actual, OUTSIDE if is_outside(point) else ACTUAL)
        before = point.actual
    return [*_with_axis(canvas, low, high), _times(shown, width)]


def is_outside(point: SeriesPoint) -> bool:
    """Tell whether a value lies outside its bounds."""
    if point.actual is None or point.lower is None or point.upper is None:
        return False
    return not point.lower <= point.actual <= point.upper


class _Canvas:
    """Dots with styles."""

    def __init__(self, n_columns: int, n_rows: int, low: float, span: float) -> None:
        self._low, self._scale = low, (n_rows - 1) / span
        self._n_rows = n_rows
        self.cells = [[[BLANK, -1] for _ in range(n_columns // 2)] for _ in range(n_rows // 4)]
        """Of each character: its code, and the place in ``ORDER`` of the style that it has."""

    def dot(self, column: int, value: float | None, style: str) -> None:
        if value is not None:
            self._set(column, self._row(value), style)

    def line(self, column: int, before: float | None, value: float | None, style: str) -> None:
        """Draw a value, joined to the one before by a vertical line."""
        if value is None:
            return
        row = self._row(value)
        start = row if before is None else self._row(before)
        step = 1 if start <= row else -1
        for each in range(start + step if start != row else row, row + step, step):
            self._set(column, each, style)

    def _row(self, value: float) -> int:
        return self._n_rows - 1 - round((value - self._low) * self._scale)

    def _set(self, column: int, row: int, style: str) -> None:
        cell = self.cells[row // 4][column // 2]
        cell[0] |= DOTS[column % 2][row % 4]
        cell[1] = max(cell[1], ORDER.index(style))


def _with_axis(canvas: _Canvas, low: float, high: float) -> list[list[Fragment]]:
    lines = []
    for place, row in enumerate(canvas.cells):
        label = _number(high) if place == 0 else _number(low) if place == len(canvas.cells) - 1 else ""
        line: list[Fragment] = [("class:axis", f"{label:>{AXIS_WIDTH - 2}} │")]
        line += [(ORDER[style] if style >= 0 else "", chr(code)) for code, style in row]
        lines.append(line)
    return lines


def _number(value: float) -> str:
    """Format a value with four digits, or as many as the axis has room for."""
    text = f"{value:.4g}"
    return text if len(text) <= AXIS_WIDTH - 2 else f"{value:.3g}"


def _times(shown: Sequence[SeriesPoint], width: int) -> list[Fragment]:
    first, last = (_time(point.timestamp_ms) for point in (shown[0], shown[-1]))
    gap = max((len(shown) + 1) // 2 - len(first) - len(last), 1)
    return [("class:axis", f"{' ' * (AXIS_WIDTH)}{first}{' ' * gap}{last}"[:width])]


def _time(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms // 1000, UTC):%m-%d %H:%M}"
