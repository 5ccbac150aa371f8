"""Reading a JSON body field by field: right JSON type, no unknown names, or a clear refusal.

It knows nothing of jobs: which names a section has and what their values mean is said by the readers beside
it (`detector.py`, `analysis.py`, `settings.py`, `create.py`, `update.py`). A null counts as not given, and
numbers and booleans may also come as text.
"""

import math
import re
from typing import Final, TypeVar

from domain.errors import InvalidArgument, ParseError, UnknownField

Choice = TypeVar("Choice", bound=str)
Value = TypeVar("Value")

BODY_DEPTH_MAX: Final = 64  # chosen: far above any real configuration, far below every recursion limit
INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
POSITION: Final = "[1:1]"  # a dict has lost where its fields stood in the text; clients match only the rest
_INTEGER_TEXT = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER_TEXT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_FIELD_TEXT_MAX: Final = 256  # chosen: how much of a wrong name or value an error message repeats


def check_json(body: object, section: str) -> None:
    """Refuse a body that no JSON text could have held, or that could not be stored and read back.

    Parameters
    ----------
    body : object
        What a JSON reader returned.
    section : str
        The name that errors give to the body, such as ``job_details``.

    Raises
    ------
    UnknownField
        On not-a-number, infinite or over-long numbers, half characters, foreign types, or too deep nesting.
    """
    waiting: list[tuple[object, int]] = [(body, 1)]
    while waiting:
        value, depth = waiting.pop()
        if depth > BODY_DEPTH_MAX:
            raise malformed(section, f"objects and arrays are nested deeper than [{BODY_DEPTH_MAX}] levels")
        if isinstance(value, dict):
            waiting.extend((key, depth) for key in value)
            if not all(isinstance(key, str) for key in value):
                raise malformed(section, "the names of an object must be strings")
            waiting.extend((item, depth + 1) for item in value.values())
        elif isinstance(value, list):
            waiting.extend((item, depth + 1) for item in value)
        else:
            _check_leaf(value, section)


def _check_leaf(value: object, section: str) -> None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise malformed(section, "a string holds half of a surrogate pair") from None
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int):
        if not INT_MIN <= value <= INT_MAX:
            raise malformed(section, "an integer does not fit into 64 bits")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise malformed(section, "a number is not finite")
    else:
        raise malformed(section, f"expected a JSON value but got [{type(value).__name__}]")


def malformed(section: str, what: str) -> UnknownField:
    """Return the refusal of a body whose shape is wrong, worded like every other one."""
    return UnknownField(f"{POSITION} [{section}] {what}")


def shorten(text: str) -> str:
    """Return `text`, cut where an error message would grow beyond reading."""
    return text if len(text) <= _FIELD_TEXT_MAX else text[:_FIELD_TEXT_MAX] + "…"


def kind_of(value: object) -> str:
    """Return the JSON name of the type of `value`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


class Section:
    """One JSON object of a body, with the names it may have.

    Parameters
    ----------
    value : object
        What the body holds here; anything but an object is refused.
    name : str
        The name that errors give to the section, such as ``analysis_config``.
    known : frozenset of str
        The names it may have; the first other one is refused.

    Raises
    ------
    UnknownField
        If `value` is no object, or has a name that is not in `known`.
    """

    def __init__(self, value: object, name: str, known: frozenset[str]) -> None:
        if not isinstance(value, dict):
            raise malformed(name, f"expected an object but got [{kind_of(value)}]")
        for key in value:
            if key not in known:
                raise malformed(name, f"unknown field [{shorten(str(key))}]")
        self.name = name
        self._values: dict[str, object] = value

    def has(self, key: str) -> bool:
        """Tell whether `key` is given and not null."""
        return self._values.get(key) is not None

    def is_null(self, key: str) -> bool:
        """Tell whether `key` is given as null."""
        return key in self._values and self._values[key] is None

    def raw(self, key: str) -> object:
        """Return the value of `key` as it is, None when not given."""
        return self._values.get(key)

    def refused(self, key: str, expected: str, value: object) -> UnknownField:
        """Return the refusal of `value` for `key`, which says what was expected and what was got."""
        got = kind_of(value)
        shown = got if got in ("array", "object", "null") else shorten(str(value))
        return malformed(self.name, f"failed to parse field [{key}]: expected {expected} but got [{shown}]")

    def text(self, key: str) -> str | None:
        """Return the string under `key`; None when not given."""
        value = self._values.get(key)
        if value is None or isinstance(value, str):
            return value
        raise self.refused(key, "a string", value)

    def name_text(self, key: str) -> str | None:
        """Return the string under `key`, an empty one counting as not given."""
        return self.text(key) or None

    def integer(self, key: str) -> int | None:
        """Return the 64-bit whole number under `key`, also from ``"5"`` or ``5.0``; None when not given."""
        value = self._values.get(key)
        if value is None:
            return None
        number: int | None = None
        if isinstance(value, str):
            number = int(value) if _INTEGER_TEXT.fullmatch(value) else None
        elif isinstance(value, float):
            number = int(value) if value.is_integer() else None
        elif isinstance(value, int) and not isinstance(value, bool):
            number = value
        if number is None or not INT_MIN <= number <= INT_MAX:
            raise self.refused(key, "a whole number of at most 64 bits", value)
        return number

    def number(self, key: str) -> float | None:
        """Return the finite number under `key`, also from text; None when not given."""
        value = self._values.get(key)
        if value is None:
            return None
        number = math.nan
        if isinstance(value, str):
            number = float(value) if _NUMBER_TEXT.fullmatch(value) else number
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            number = float(value)
        if not math.isfinite(number):
            raise self.refused(key, "a number", value)
        return number

    def flag(self, key: str) -> bool | None:
        """Return the boolean under `key`, also from ``"true"``; None when not given."""
        value = self._values.get(key)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str) and value in ("true", "false"):
            return value == "true"
        raise self.refused(key, "a boolean", value)

    def choice(self, key: str, allowed: tuple[Choice, ...]) -> Choice | None:
        """Return the one of `allowed` that `key` names, whatever its case; None when not given."""
        text = self.text(key)
        if text is None:
            return None
        for name in allowed:
            if name == text.lower():
                return name
        raise self.refused(key, f"one of [{', '.join(allowed)}]", text)

    def choices(self, key: str, allowed: tuple[Choice, ...]) -> tuple[Choice, ...] | None:
        """Return those of `allowed` that the array under `key` names, in any case; None when not given."""
        texts = self.texts(key)
        if texts is None:
            return None
        given = [text.lower() for text in texts]
        for text in given:
            if text not in allowed:
                raise self.refused(key, f"values of [{', '.join(allowed)}]", text)
        return tuple(name for name in allowed if name in given)

    def items(self, key: str) -> list[object] | None:
        """Return the array under `key`; None when not given."""
        value = self._values.get(key)
        if value is None or isinstance(value, list):
            return value
        raise self.refused(key, "an array", value)

    def texts(self, key: str) -> tuple[str, ...] | None:
        """Return the array of strings under `key`; None when not given."""
        items = self.items(key)
        if items is None:
            return None
        for item in items:
            if not isinstance(item, str):
                raise self.refused(key, "only strings", item)
        return tuple(str(item) for item in items)

    def mapping(self, key: str) -> dict[str, object] | None:
        """Return the object under `key`; None when not given."""
        value = self._values.get(key)
        if value is None or isinstance(value, dict):
            return value
        raise self.refused(key, "an object", value)

    def require_text(self, key: str) -> str:
        """Return the string under `key`, which must be there and not empty."""
        return self._require(key, self.name_text(key))

    def require_flag(self, key: str) -> bool:
        """Return the boolean under `key`, which must be there."""
        return self._require(key, self.flag(key))

    def require_number(self, key: str) -> float:
        """Return the number under `key`, which must be there."""
        return self._require(key, self.number(key))

    def require_choice(self, key: str, allowed: tuple[Choice, ...]) -> Choice:
        """Return the one of `allowed` that `key` names, which must be there."""
        return self._require(key, self.choice(key, allowed))

    def _require(self, key: str, value: Value | None) -> Value:
        if value is None:
            raise malformed(self.name, f"required field [{key}] is missing")
        return value

    def section(self, key: str, known: frozenset[str]) -> "Section | None":
        """Return the object under `key` as a section of that name; None when not given."""
        value = self._values.get(key)
        return None if value is None else Section(value, key, known)


def body_section(body: object, name: str, known: frozenset[str]) -> Section:
    """Return a whole request body as a section, checked to be JSON that can be kept.

    Raises
    ------
    ParseError
        If there is no body.
    UnknownField
        If it is no object, has unknown names or values that are no JSON.
    """
    if body is None:
        reason = "request body is required"
        raise ParseError(reason)
    check_json(body, name)
    return Section(body, name, known)


def check_at_least(key: str, value: int | None, low: int, high: int = INT_MAX) -> None:
    """Refuse a number below `low` or above `high`, which errors show with thousands separators.

    Raises
    ------
    InvalidArgument
        If `value` is given and outside of the range.
    """
    if value is not None and value < low:
        reason = f"{key} cannot be less than {low:,}. Value = {value:,}"
        raise InvalidArgument(reason)
    if value is not None and value > high:
        reason = f"{key} cannot be more than {high:,}. Value = {value:,}"
        raise InvalidArgument(reason)
