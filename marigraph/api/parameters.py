"""Parameters of a request: declared by the endpoint, read from path, body and query in this order, and checked.

Clients send the same parameter in the query or in a JSON body, some both at once. A name that the endpoint does not
know is refused, wherever it stands.
"""

import difflib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final, Literal

from domain.config import parse_duration_ms
from domain.errors import InvalidArgument, ParseError, UnknownField

Kind = Literal["text", "bool", "int", "float", "duration", "object"]

COMMON: Final = ("pretty", "human", "filter_path", "error_trace", "format", "source", "source_content_type")
"""Query parameters of every endpoint."""

INT_MAX: Final = 2**31 - 1
DURATION_MS_MAX: Final = 365 * 86_400_000
"""Longest wait that can be asked for."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of an endpoint.

    Attributes
    ----------
    name : str
        As the rest of the program calls it.
    aliases : tuple of str
        Other names that clients use.
    deprecated : tuple of str
        Names of earlier versions; who uses one is warned.
    place : {"both", "query", "body"}
        Where it may stand.
    """

    name: str
    kind: Kind = "text"
    aliases: tuple[str, ...] = ()
    place: Literal["both", "query", "body"] = "both"
    description: str = ""
    deprecated: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All names."""
        return (self.name, *self.aliases, *self.deprecated)


def read_parameters(
    declared: Sequence[Parameter],
    *,
    path: str,
    query: Sequence[tuple[str, str]],
    body: Mapping[str, Any],
    section: str,
    warnings: list[str] | None = None,
) -> dict[str, Any]:
    """Merge and check the parameters of a request; absent ones are left out.

    Parameters
    ----------
    path : str
        Of the request, for the message.
    section : str
        What the body is called in messages.
    warnings : list of str, optional
        Takes what the caller is to be warned of.

    Raises
    ------
    DomainError
        A name is not known, or a value has the wrong form.
    """
    in_query = {name: each for each in declared if each.place != "body" for name in each.names}
    in_body = {name: each for each in declared if each.place != "query" for name in each.names}
    _check_query_names(path, [name for name, _ in query], [*in_query, *COMMON])
    for name in body:
        if name not in in_body:
            msg = f"[1:2] [{section}] unknown field [{name}]"
            raise UnknownField(msg)
    if warnings is not None:
        warnings += _deprecations(declared, {*body, *(name for name, _ in query)})
    found: dict[str, Any] = {}
    for name, text in query:
        if name in in_query:
            found[in_query[name].name] = _from_query(in_query[name], text)
    for name, value in body.items():
        if value is not None:
            found[in_body[name].name] = _from_body(in_body[name], value, section)
    return found


def _deprecations(declared: Sequence[Parameter], names: Set[str]) -> list[str]:
    used = ((each, name) for each in declared for name in each.deprecated if name in names)
    return [f"Deprecated field [{name}] used, expected [{each.name}] instead" for each, name in used]


def _check_query_names(path: str, names: Sequence[str], known: Sequence[str]) -> None:
    unknown = list(dict.fromkeys(name for name in names if name not in known))
    if not unknown:
        return
    shown = []
    for name in unknown:
        near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.5)
        hint = f"[{near[0]}]" if len(near) == 1 else f"any of [{', '.join(near)}]"
        shown.append(f"[{name}]" + (f" -> did you mean {hint}?" if near else ""))
    plural = "s" if len(unknown) > 1 else ""
    msg = f"request [{path}] contains unrecognized parameter{plural}: {', '.join(shown)}"
    raise InvalidArgument(msg)


def _from_query(parameter: Parameter, text: str) -> Any:
    name = parameter.name
    match parameter.kind:
        case "bool":
            return as_bool(text)
        case "int":
            return _number(name, text, int)
        case "float":
            return _number(name, text, float)
        case "duration":
            return duration_seconds(text, name)
        case "object":
            msg = f"parameter [{name}] is read from the body only"
            raise InvalidArgument(msg)
        case _:
            return text


def _from_body(parameter: Parameter, value: Any, section: str) -> Any:
    kind, name = parameter.kind, parameter.name
    failed = UnknownField(f"[1:2] [{section}] failed to parse field [{name}]")
    if kind == "object":
        if isinstance(value, Mapping):
            return value
        raise failed
    if isinstance(value, Mapping | list):
        raise failed
    if kind == "bool":
        return value if isinstance(value, bool) else as_bool(str(value))
    if isinstance(value, bool):
        raise failed
    if kind == "text":
        return value if isinstance(value, str) else str(value)
    try:
        return _from_query(parameter, str(value))
    except InvalidArgument as error:
        raise failed from error


def as_bool(text: str) -> bool:
    """Read a boolean; a name without a value means true."""
    if text in ("true", ""):
        return True
    if text == "false":
        return False
    msg = f"Failed to parse value [{text}] as only [true] or [false] are allowed."
    raise InvalidArgument(msg)


def _number(name: str, text: str, kind: type[int] | type[float]) -> int | float:
    try:
        number = kind(text)
        if abs(number) > INT_MAX or number != number:  # noqa: PLR0124 - no number at all
            raise ValueError
    except ValueError:
        what = "int" if kind is int else "double"
        msg = f"Failed to parse {what} parameter [{name}] with value [{text}]"
        raise InvalidArgument(msg) from None
    return number


def duration_seconds(text: str, name: str) -> float:
    """Read how long to wait; ParseError if the text is no duration."""
    try:
        return min(parse_duration_ms(text, name), DURATION_MS_MAX) / 1000
    except InvalidArgument as error:
        raise ParseError(error.reason) from error


def page_values(parameters: Mapping[str, Any], section: str) -> tuple[int | None, int | None]:
    """Return ``from`` and ``size``, of the query or of ``page`` in the body."""
    page = parameters.get("page", {})
    for name in page:
        if name not in ("from", "size"):
            msg = f"[1:2] [{section}] unknown field [{name}]"
            raise UnknownField(msg)
        if isinstance(page[name], bool) or not isinstance(page[name], int):
            msg = f"[1:2] [{section}] failed to parse field [page]"
            raise UnknownField(msg)
    return page.get("from", parameters.get("from")), page.get("size", parameters.get("size"))
