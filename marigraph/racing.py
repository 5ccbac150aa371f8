"""Appending beside other writers: who was too slow looks at what the others wrote, and decides again."""

from collections.abc import Callable
from typing import Final, TypeVar

from domain.errors import Conflict
from eventstore import WrongExpectedVersion

T = TypeVar("T")

TRIES_MAX: Final = 50
"""Decisions made anew because another writer appended first; chosen: far above what honest writers need."""


def until_first(attempt: Callable[[], T], catch_up: Callable[[], object], who: str) -> T:
    """Return what an attempt returns that no other writer was faster than.

    Parameters
    ----------
    attempt : callable
        Decides and appends; WrongExpectedVersion says that another writer was faster.
    catch_up : callable
        Reads what the others appended.
    who : str
        What was changed, as the message begins when ``TRIES_MAX`` attempts came too late (Conflict).
    """
    for _ in range(TRIES_MAX):
        try:
            return attempt()
        except WrongExpectedVersion:
            catch_up()
    msg = f"{who} changed by others {TRIES_MAX} times meanwhile; try again"
    raise Conflict(msg)
