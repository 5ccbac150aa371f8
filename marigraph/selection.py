"""Which of several things a comma list of names and ``*`` patterns means: the same for jobs, datafeeds and tables."""

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

EVERYTHING = ("_all", "*")


def tokens_of(expression: str | None) -> list[str]:
    """Return the names and patterns of a comma list; nothing at all means everything.

    >>> tokens_of("a, b*,"), tokens_of(None)
    (['a', 'b*'], ['_all'])
    """
    return [token.strip() for token in (expression or "").split(",") if token.strip()] or ["_all"]


def fits(name: str, pattern: str) -> bool:
    """Tell whether a name is what a pattern stands for, in which nothing but ``*`` is special.

    >>> fits("web-1", "web-*"), fits("web-1", "web-?"), fits("b", "[ab]")
    (True, False, False)
    """
    return fnmatchcase(name, re.sub(r"([\[\]?])", r"[\1]", pattern))


def choose(
    names: Mapping[str, Iterable[str]], tokens: Sequence[str], *, allow_no_match: bool
) -> tuple[list[str], list[str]]:
    """Return the ids of what is selected, sorted, and the tokens that select nothing though they should.

    Parameters
    ----------
    names : mapping
        What each thing may be called by, by its id.
    allow_no_match : bool
        Whether a pattern may select nothing; an exact name never may.

    Examples
    --------
    >>> choose({"a": ["a", "group"], "b": ["b"]}, ["group", "c", "x*"], allow_no_match=True)
    (['a'], ['c'])
    """
    found: set[str] = set()
    missing = []
    for token in tokens:
        if token in EVERYTHING:
            matched = set(names)
        else:
            matched = {key for key, known in names.items() if any(fits(name, token) for name in known)}
        is_pattern = "*" in token or token in EVERYTHING
        if not matched and not (is_pattern and allow_no_match):
            missing.append(token)
        found |= matched
    return sorted(found), missing
