"""The time formats of a job: which are legal, and how a column of texts becomes milliseconds since the epoch.

Formats are `epoch` (seconds), `epoch_ms`, and Java patterns (`time_pattern`).
"""

from domain.errors import InvalidArgument
from domain.records.time_pattern import PatternError, TimePattern

EPOCH = "epoch"
EPOCH_MS = "epoch_ms"


def check_time_format(time_format: str) -> None:
    """Accept a legal time format.

    Raises
    ------
    InvalidArgument
        When it is neither `epoch`, nor `epoch_ms`, nor a Java pattern that names a date and a time of day.
    """
    if time_format in (EPOCH, EPOCH_MS):
        return
    try:
        TimePattern(time_format)
    except PatternError as error:
        reason = f"Invalid Time format string '{time_format}'"
        raise InvalidArgument(reason) from error
