"""Whether a text can be the ``time_format`` of a job: ``epoch``, ``epoch_ms`` or a date-time pattern.

Only the syntax is judged here, and that a pattern names at least year and day; reading times by it is the
business of `domain.records`.
"""

import re
from typing import Final

from domain.config.fields import shorten
from domain.errors import BadRequest

TIME_FORMAT_DEFAULT: Final = "epoch_ms"
EPOCH_FORMATS: Final = frozenset({"epoch", "epoch_ms"})

# How often each pattern letter may stand in a row.
_LETTER_COUNT_MAX: Final = {
    **dict.fromkeys("GMLEecQq", 5),
    **dict.fromkeys("yuYnNA", 19),
    **dict.fromkeys("dHhkKmswW", 2),
    **dict.fromkeys("aF", 1),
    "D": 3,
    "S": 9,
    **dict.fromkeys("XxZ", 5),
    "z": 4,
    "O": 4,
    "V": 2,
}
_TOKEN = re.compile(r"'(?:[^']|'')*'|(?P<letter>[A-Za-z])(?P=letter)*|[^A-Za-z']", re.DOTALL)
_RESERVED: Final = frozenset("{}#")


def check_time_format(text: str) -> None:
    """Refuse a time format that is neither an epoch nor a usable date-time pattern.

    Raises
    ------
    BadRequest
        With the format in the message.
    """
    if text not in EPOCH_FORMATS and not is_date_pattern(text):
        reason = f"Invalid Time format string '{shorten(text)}'"
        raise BadRequest(reason)


def is_date_pattern(text: str) -> bool:
    """Tell whether `text` is a pattern with known letters, closed quotes and brackets, and a full date.

    >>> is_date_pattern("yyyy-MM-dd'T'HH:mm:ss.SSSX"), is_date_pattern("yyyy-MM-ddTHH"), is_date_pattern("HH")
    (True, False, False)
    """
    letters: set[str] = set()
    depth = position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            return False  # a quote that is never closed
        token, letter = match[0], match["letter"]
        if letter is not None:
            if len(token) > _LETTER_COUNT_MAX.get(letter, 0):
                return False
            letters.add(letter)
        elif token in _RESERVED:
            return False
        depth += {"[": 1, "]": -1}.get(token, 0)
        if depth < 0:
            return False
        position = match.end()
    has_day = "D" in letters or ("d" in letters and bool(letters & {"M", "L"}))
    return depth == 0 and has_day and bool(letters & {"y", "u"})
