"""Regular expressions as the reference's users write them, in Python's dialect.

The two are close; what differs in spelling is rewritten, what Python lacks is refused by name. An expression may take
time that grows with the square of a text's length, so whoever applies one bounds the length first.
"""

import re
import warnings
from typing import Final

LENGTH_MAX: Final = 2_000
"""Longer expressions are refused. Chosen: far above any that a person wrote."""

_ESCAPES: Final = {
    r"\z": r"\Z",
    r"\Z": r"(?=\n?\Z)",
    r"\h": r"[ \t]",
    r"\R": r"(?:\r\n|[\n\r])",
    r"\e": r"\x1b",
}
_PROPERTIES: Final = {
    "Alpha": "A-Za-z",
    "Upper": "A-Z",
    "Lower": "a-z",
    "Digit": "0-9",
    "Alnum": "A-Za-z0-9",
    "Space": r"\s",
    "XDigit": "0-9A-Fa-f",
    "Punct": r"!-/:-@\[-`{-~",
    "L": r"^\W\d_",
    "IsAlphabetic": r"^\W\d_",
    "N": r"\d",
    "IsDigit": r"\d",
}
"""Character classes by their name, as the inside of a set."""
_PROPERTY = re.compile(r"\\([pP])(?:\{(\w+)\}|([LN]))")
_LETTERS: Final = r"A-Za-z\u00aa-\u02af\u0370-\u1fff\u2c00-\ud7ff"
"""About the letters, for sets, which cannot hold ``^\\W\\d_``."""
_QUOTED = re.compile(r"\\Q(.*?)(?:\\E|\Z)", re.DOTALL)
_REFERENCE = re.compile(r"\\(.)|\$(?:(\d)|\{(\w+)\})|([\\$])", re.DOTALL)
FLAGS: Final = {
    "CASE_INSENSITIVE": re.IGNORECASE,
    "MULTILINE": re.MULTILINE,
    "DOTALL": re.DOTALL,
    "COMMENTS": re.VERBOSE,
    "UNICODE_CASE": re.UNICODE,
    "UNICODE_CHARACTER_CLASS": re.UNICODE,
}


class BadExpression(ValueError):
    """What was expected of an expression and is not so."""


def compile_expression(text: str, flags: str = "", *, is_lenient: bool = False) -> re.Pattern[str]:
    r"""Compile an expression.

    Parameters
    ----------
    flags : str
        Names of `FLAGS`, joined by bars.
    is_lenient : bool
        Take the expression as it is.

    Raises
    ------
    BadExpression
        With what is wrong with it.

    Examples
    --------
    >>> print(compile_expression(r"(?<day>\p{Upper}\p{L}+)\Q.\E").pattern)
    (?P<day>[A-Z][^\W\d_]+)\.
    """
    if len(text) > LENGTH_MAX:
        reason = f"longer than {LENGTH_MAX} characters"
        raise BadExpression(reason)
    bits = re.RegexFlag(0)
    for name in filter(None, flags.split("|")):
        if name not in FLAGS:
            reason = f"unknown flag '{name}', known are [{', '.join(FLAGS)}]"
            raise BadExpression(reason)
        bits |= FLAGS[name]
    expression = text if is_lenient else translate(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of expressions that a later Python may read differently
        try:
            return re.compile(expression, bits)
        except (re.error, RecursionError, OverflowError, ValueError) as error:
            reason = str(error)
            raise BadExpression(reason) from error


def translate(text: str) -> str:
    """Return an expression in Python's spelling.

    Raises
    ------
    BadExpression
        When Python has nothing like a part of it.
    """
    text = _QUOTED.sub(lambda match: re.escape(match[1]), text)
    parts: list[str] = []
    at, depth = 0, 0
    while at < len(text):
        piece = text[at]
        if piece == "\\":
            found = _PROPERTY.match(text, at)
            piece = found[0] if found else text[at : at + 2]
            parts.append(_property(found, is_in_set=depth > 0) if found else _ESCAPES.get(piece, piece))
        elif piece == "[":
            if depth:
                reason = "sets inside of sets are not supported"
                raise BadExpression(reason)
            depth = 1
            # A bracket that follows at once stands for itself.
            piece = next((start for start in ("[^]", "[]") if text.startswith(start, at)), piece)
            parts.append(piece)
        elif depth and text.startswith("&&", at):
            reason = "intersections of sets are not supported"
            raise BadExpression(reason)
        else:
            depth = 0 if piece == "]" else depth
            if not depth and re.match(r"\(\?<[A-Za-z]", text[at : at + 4]):
                piece = "(?<"
                parts.append("(?P<")
            else:
                parts.append(piece)
        at += len(piece)
    return "".join(parts)


def _property(found: re.Match[str], *, is_in_set: bool) -> str:
    name = found[2] or found[3]
    inside = _PROPERTIES.get(name)
    if inside is None:
        reason = f"unknown character class '{found[0]}', known are [{', '.join(_PROPERTIES)}]"
        raise BadExpression(reason)
    is_negated = found[1] == "P"
    if is_in_set:
        if is_negated:
            reason = f"'{found[0]}' inside of a set is not supported"
            raise BadExpression(reason)
        return _LETTERS if inside.startswith("^") else inside
    if is_negated:
        return f"[{inside[1:]}]" if inside.startswith("^") else f"[^{inside}]"
    return f"[{inside}]"


def compile_replacement(text: str, pattern: re.Pattern[str]) -> str:
    r"""Return a replacement in Python's spelling.

    Raises
    ------
    BadExpression
        When it names a group that the pattern has not.

    Examples
    --------
    >>> compile_replacement(r"$1-\$", re.compile("(a)"))
    '\\g<1>-$'
    """

    def rewritten(match: re.Match[str]) -> str:
        if match[1] is not None:
            return "\\\\" if match[1] == "\\" else match[1]
        group = match[2] or match[3]
        if group is None:
            reason = f"'{match[0]}' at its end or before what is no group"
            raise BadExpression(reason)
        is_known = int(group) <= pattern.groups if group.isdigit() else group in pattern.groupindex
        if not is_known:
            reason = f"the pattern has no group '{group}'"
            raise BadExpression(reason)
        return f"\\g<{group}>"

    return _REFERENCE.sub(rewritten, text)
