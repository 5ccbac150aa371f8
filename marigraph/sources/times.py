"""Times as sources write them, to milliseconds since the epoch."""

from collections.abc import Sequence

import numpy as np

from domain.api_time import parse_iso
from domain.records.spans import Spans
from domain.records.time_format import parse_times


def times_ms(texts: Sequence[str], time_format: str, default_year: int = 1970) -> list[int | None]:
    """Read times in the job's format, or in ISO 8601 whatever that is; None for what is no time.

    >>> times_ms(["1700000000", "2024-01-31 12:00:00Z", "soon"], "epoch")
    [1700000000000, 1706702400000, None]
    """
    found: list[int | None] = [None] * len(texts)
    ms, is_valid = parse_times(Spans.of_texts(texts), time_format, default_year)
    for row in np.flatnonzero(is_valid).tolist():
        found[row] = int(ms[row])
    return [_from_iso(text) if time is None else time for text, time in zip(texts, found, strict=True)]


def _from_iso(text: str) -> int | None:
    if len(text) > 64:
        return None
    return parse_iso(f"{text[:10]}T{text[11:].replace(' ', '')}" if len(text) > 10 else text)
