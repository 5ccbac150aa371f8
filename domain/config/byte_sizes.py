"""Byte sizes such as ``10mb``: read from settings, and written into messages."""

import re
from decimal import Decimal
from typing import Final

from domain.config.fields import shorten
from domain.errors import BadRequest

BYTES_PER_MIB: Final = 1 << 20
BYTES_MAX: Final = 2**63 - 1

_UNITS: Final = ("b", "k", "m", "g", "t", "p")  # each is 1024 times the one before
_SIZE = re.compile(r"(?P<count>-?[0-9]{1,19}(?:\.[0-9]{1,9})?)\s*(?P<unit>b|[kmgtp]b?)")


def parse_bytes(text: str, field: str) -> int:
    """Return a byte-size text as a number of bytes, rounded down; it may be negative.

    Parameters
    ----------
    text : str
        A number with one of the units ``b kb mb gb tb pb`` (or the first letter alone), in any case; or ``0``
        or ``-1`` alone. Units are powers of 1024.
    field : str
        The name of the setting, for the message.

    Raises
    ------
    BadRequest
        If it cannot be read or does not fit into 64 bits.

    >>> parse_bytes("1.5kb", "size"), parse_bytes("2G", "size")
    (1536, 2147483648)
    """
    cleaned = text.strip().lower()
    if cleaned in ("0", "-1"):
        return int(cleaned)
    match = _SIZE.fullmatch(cleaned)
    size = None
    if match is not None:
        size = int(Decimal(match["count"]) * (1 << 10 * _UNITS.index(match["unit"][0])))
    if size is None or abs(size) > BYTES_MAX:
        reason = (
            f"failed to parse [{field}] with value [{shorten(text)}] as a size in bytes: expected a number "
            "with one of the units [b, kb, mb, gb, tb, pb]"
        )
        raise BadRequest(reason)
    return size


def format_bytes(size: int) -> str:
    """Return a number of bytes as people read it: in its largest unit, with one decimal at most.

    >>> format_bytes(9 << 20), format_bytes(1536), format_bytes(10 << 30), format_bytes(7)
    ('9mb', '1.5kb', '10gb', '7b')
    """
    power = max((index for index in range(len(_UNITS)) if abs(size) >= 1 << 10 * index), default=0)
    if power == 0:
        return f"{size}b"
    tenths = size * 10 // (1 << 10 * power)
    whole, tenth = divmod(tenths, 10)
    return f"{whole}{f'.{tenth}' if tenth else ''}{_UNITS[power]}b"
