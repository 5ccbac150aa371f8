"""Where records begin and end in JSON text: one per line, one after another, in an array, over many lines.

Only braces outside strings matter. A string never goes over the end of a line (JSON forbids it), so a stray
quote spoils one line at most; and a line that begins with a brace where JSON could not go on begins a record,
so a missing closing brace spoils one record at most.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_QUOTE, _OPEN, _CLOSE, _NEWLINE, _BACKSLASH = b'"{}\n\\'
_GOES_ON = b":,["
"""After one of these an opening brace may belong to the record before it."""


class Piece(NamedTuple):
    """A stretch of the input that begins like a record.

    `is_whole` says that its braces match; if not, the piece ends where the next record seems to begin.
    """

    start: int
    end: int
    is_whole: bool


def _is_escaped(data: bytes, places: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which places stand behind an odd number of backslashes."""
    array = np.frombuffer(data, np.uint8)
    other = np.flatnonzero(array != _BACKSLASH)
    before = np.searchsorted(other, places) - 1
    last_other = np.where(before >= 0, other[before], -1)
    return ((places - 1 - last_other) & 1).astype(np.bool_)


def _braces(data: bytes) -> tuple[list[int], list[int]]:
    """Return where braces stand outside strings, and their signs: +1 opens, -1 closes, +2 begins a record."""
    array = np.frombuffer(data, np.uint8)
    places = np.flatnonzero((array == _QUOTE) | (array == _OPEN) | (array == _CLOSE) | (array == _NEWLINE))
    kinds = array[places]
    if b"\\" in data:
        is_string_part = (kinds == _QUOTE) & _is_escaped(data, places)
        places, kinds = places[~is_string_part], kinds[~is_string_part]
    n_quotes = np.cumsum(kinds == _QUOTE)
    at_line_start = np.maximum.accumulate(np.where(kinds == _NEWLINE, n_quotes, 0))
    is_brace = ((kinds == _OPEN) | (kinds == _CLOSE)) & ((n_quotes - at_line_start) & 1 == 0)
    places, kinds = places[is_brace], kinds[is_brace]
    signs = np.where(kinds == _OPEN, 1, -1)
    at_line = (kinds == _OPEN) & (places > 0) & (array[places - 1] == _NEWLINE)
    for i in np.flatnonzero(at_line).tolist():
        before = data[max(0, int(places[i]) - 64) : int(places[i])].rstrip()
        if before and before[-1] not in _GOES_ON:
            signs[i] = 2
    return places.tolist(), signs.tolist()


def scan_records(data: bytes) -> Iterator[Piece]:
    """Yield what looks like a record, in order.

    The last piece is not whole when the data ends inside a record.
    """
    places, signs = _braces(data)
    start, depth = -1, 0
    for place, sign in zip(places, signs, strict=True):
        if sign == 2:
            if depth:
                yield Piece(start, place, is_whole=False)
            start, depth = place, 1
        elif sign == 1:
            if not depth:
                start = place
            depth += 1
        elif depth:
            depth -= 1
            if not depth:
                yield Piece(start, place + 1, is_whole=True)
    if depth:
        yield Piece(start, len(data), is_whole=False)


def find_json_cut(data: bytes) -> int:
    """Return the length of the longest beginning of the data that ends with a whole record, or 0.

    Lines with one record each are recognised without a scan: a brace that begins a line after one that ends a line
    is where a record begins.
    """
    cut = data.rfind(b"}\n{") + 2
    if cut > 1 and data.startswith(b"{") and data.count(b"\n", 0, cut) == data.count(b"}\n{", 0, cut + 1):
        return cut + _scan_cut(data[cut:])
    return _scan_cut(data)


def _scan_cut(data: bytes) -> int:
    end = 0
    if b"}" not in data:
        return end
    for piece in scan_records(data):
        if piece.is_whole or piece.end < len(data):
            end = piece.end
    if end:
        end = len(data) - len(data[end:].lstrip(b" \t\r\n"))  # white space behind a record goes with it
    return end
