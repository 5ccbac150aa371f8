"""Java date patterns: read one, refuse it if it names no instant, compile it to a regular expression.

This is the exact, value-by-value half of time parsing; `time_format` puts a vectorised parser for fixed-width
patterns in front of it, which must give the same answers. Knows nothing of columns, records or jobs.

Where Java's own rules are of no use to someone sending data we are stricter or kinder: 31 February is an
invalid date (Java's smart resolver takes the 28th), names of months and days are read in any letter case, and
every offset letter reads every spelling of an offset (`Z`, `+01`, `+0100`, `+01:00`).
"""

import re
from dataclasses import dataclass
from datetime import date
from functools import cached_property

PATTERN_LENGTH_MAX = 128
"""Longest pattern taken: chosen, several times the longest in use."""

TEXT_LENGTH_MAX = 256
"""Longest date text looked at: chosen, twice the longest pattern, so that hostile values cost nothing."""

MS_MIN = -62_135_596_800_000
"""Year 1, 1 January, 00:00 UTC: the earliest time that is a valid date."""

MS_MAX = 253_402_300_799_999
"""Year 9999, 31 December, 23:59:59.999 UTC: the latest time that is a valid date."""

_MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_ZONE_HOURS = {
    # RFC 822 section 5.1 and the common European names; a place name such as Europe/Berlin is not read.
    "Z": 0, "UTC": 0, "GMT": 0, "UT": 0, "WET": 0, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7,
    "MDT": -6, "PST": -8, "PDT": -7, "CET": 1, "CEST": 2, "WEST": 1, "EET": 2, "EEST": 3,
}  # fmt: skip
_OFFSET = r"[+-][0-9]{2}(?::?[0-9]{2}(?::?[0-9]{2})?)?"
_SHORT_OFFSET = r"[+-][0-9]{1,2}(?::?[0-9]{2})?"

# Letter -> how many of it may stand together (java.time.format.DateTimeFormatterBuilder.appendPattern).
_COUNT_MAX = {
    "y": 19, "u": 19, "M": 4, "L": 4, "d": 2, "D": 3, "H": 2, "h": 2, "K": 2, "k": 2, "m": 2, "s": 2,
    "S": 9, "n": 19, "A": 19, "N": 19, "a": 1, "E": 4, "G": 4, "X": 5, "x": 5, "Z": 5, "z": 4, "O": 4,
}  # fmt: skip
_ZONE_LETTERS = "XxZzO"
_DIGITS_MAX = {"D": 3, "y": 9, "u": 9, "n": 19, "A": 19, "N": 19}
_ZONE_SECONDS_MAX = 18 * 3600


class PatternError(ValueError):
    """A pattern that is malformed, or from which no instant can be derived."""


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a pattern.

    Attributes
    ----------
    kind : str
        `literal`, `number`, `text`, `zone`, `begin` or `end` (of an optional section).
    letter : str
        The pattern letter; empty for literals and sections.
    count : int
        How many of the letter stood together.
    text : str
        The literal's text.
    """

    kind: str
    letter: str = ""
    count: int = 0
    text: str = ""

    @property
    def width(self) -> int:
        """Digits of a fixed-width number, 0 when the width varies."""
        if self.kind != "number":
            return 0
        if self.letter == "S":
            return self.count
        if self.letter == "D":
            return 3 if self.count == 3 else 0
        if self.letter in "nAN":
            return 0
        return 2 if self.count == 2 else 0


def tokenize(pattern: str) -> list[Part]:
    """Split a pattern into its parts.

    Raises
    ------
    PatternError
        For an unknown or reserved letter, too many letters in a row, an open quote, or an unmatched bracket.
    """
    if not 0 < len(pattern) <= PATTERN_LENGTH_MAX:
        raise PatternError(pattern)
    parts: list[Part] = []
    depth = i = 0
    while i < len(pattern):
        char = pattern[i]
        end = i + 1
        if char.isascii() and char.isalpha():
            while end < len(pattern) and pattern[end] == char:
                end += 1
            parts.append(_letter_part(char, end - i))
        elif char == "'":
            literal, end = _quoted(pattern, i)
            parts.append(Part("literal", text=literal))
        elif char in "[]":
            depth += 1 if char == "[" else -1
            if depth < 0:
                raise PatternError(pattern)
            parts.append(Part("begin" if char == "[" else "end"))
        elif char in "{}#":
            raise PatternError(pattern)
        else:
            parts.append(Part("literal", text=char))
        i = end
    return parts + [Part("end")] * depth


def _letter_part(letter: str, count: int) -> Part:
    if not 0 < count <= _COUNT_MAX.get(letter, 0):
        raise PatternError(letter * count)
    if letter in _ZONE_LETTERS:
        return Part("zone", letter, count)
    is_text = letter in "aEG" or (letter in "ML" and count > 2)
    return Part("text" if is_text else "number", letter, count)


def _quoted(pattern: str, start: int) -> tuple[str, int]:
    """Return the literal that begins with the quote at `start`, and the place after it; `''` is one quote."""
    if pattern[start : start + 2] == "''":
        return "'", start + 2
    match = re.compile(r"'((?:[^']|'')+)'").match(pattern, start)
    if match is None:
        raise PatternError(pattern)
    return match[1].replace("''", "'"), match.end()


def check_derivable(parts: list[Part], pattern: str) -> None:
    """Refuse a pattern whose letters name no date or no time of day.

    The year may be missing: `TimePattern` fills it with a default.
    """
    letters = {part.letter for part in parts}
    has_date = {"M", "d"} <= letters or {"L", "d"} <= letters or bool(letters & {"y", "u"} and "D" in letters)
    has_time = bool(letters & set("HkAN")) or ("a" in letters and bool(letters & {"h", "K"}))
    if not (has_date and has_time):
        raise PatternError(pattern)


class TimePattern:
    """A compiled pattern.

    Parameters
    ----------
    pattern : str
        In the notation of `java.time.format.DateTimeFormatter`.
    default_year : int
        The year of a date whose pattern has none.
    """

    def __init__(self, pattern: str, default_year: int = 1970) -> None:
        self.pattern = pattern
        self.default_year = default_year
        self.parts = tokenize(pattern)
        check_derivable(self.parts, pattern)

    @cached_property
    def _compiled(self) -> tuple[re.Pattern[str], list[Part]]:
        fields = [part for part in self.parts if part.kind in ("number", "text", "zone")]
        return re.compile(_expression(self.parts)), fields

    def parse(self, text: str) -> int | None:
        """Return milliseconds since the epoch, or None when the text is no valid date of this pattern."""
        expression, fields = self._compiled
        match = expression.fullmatch(text) if len(text) <= TEXT_LENGTH_MAX else None
        if match is None:
            return None
        values: dict[str, int] = {}
        for part, group in zip(fields, match.groups(), strict=True):
            if group is None:
                continue
            key, value = _field_value(part, group)
            if values.setdefault(key, value) != value:
                return None
        return resolve(values, self.default_year)


def _expression(parts: list[Part]) -> str:
    """Return the regular expression of the parts.

    Variable-width numbers take all digits, save that one followed by fixed-width numbers leaves them theirs
    (Java's adjacent value parsing). Each such chain is atomic and each optional section possessive: no text
    makes it backtrack far.
    """
    out: list[str] = []
    i = 0
    while i < len(parts):
        part = parts[i]
        if part.kind == "number":
            chain_end = i + 1
            while chain_end < len(parts) and parts[chain_end].width:
                chain_end += 1
            out.append("(?>" + "".join(_number_expression(number) for number in parts[i:chain_end]) + ")")
            i = chain_end
            continue
        out.append(_other_expression(part))
        i += 1
    return "".join(out)


def _number_expression(part: Part) -> str:
    if part.width:
        return f"([0-9]{{{part.width}}})"
    least = min(part.count, 9)
    return f"([0-9]{{{least},{_DIGITS_MAX.get(part.letter, 2)}}})"


def _other_expression(part: Part) -> str:
    if part.kind == "begin":
        return "(?:"
    if part.kind == "end":
        return ")?+"
    if part.kind == "literal":
        return re.escape(part.text)
    if part.kind == "zone":
        names = "|".join(sorted(_ZONE_HOURS, key=len, reverse=True))
        if part.letter in "zO":
            return f"((?i:(?:UTC|GMT|UT)?{_SHORT_OFFSET}|{_OFFSET}|{names}))"
        return f"((?i:GMT{_SHORT_OFFSET}|GMT|Z|{_OFFSET}))" if part.letter == "Z" else f"((?i:Z|{_OFFSET}))"
    words = {"a": ("am", "pm"), "E": _DAYS, "G": ("ad", "ce", "anno domini")}.get(part.letter, _MONTHS)
    if part.letter not in "aG":
        words = tuple(word for full in words for word in (full, full[:3]))
    return "((?i:" + "|".join(words) + "))"


def _field_value(part: Part, text: str) -> tuple[str, int]:
    """Return the field's canonical letter and its value."""
    letter = {"L": "M", "u": "y"}.get(part.letter, part.letter)
    if part.kind == "zone":
        return "Z", _zone_seconds(text)
    if part.kind == "text":
        if letter == "a":
            return letter, int(text.lower() == "pm")
        if letter == "G":
            return letter, 1
        names = _DAYS if letter == "E" else _MONTHS
        return letter, next(i for i, name in enumerate(names, 1) if name.startswith(text.lower()[:3]))
    if letter == "S":
        return letter, int(text.ljust(9, "0"))
    if letter == "y" and part.count == 2:
        return letter, 2000 + int(text)
    return letter, int(text)


def _zone_seconds(text: str) -> int:
    text = text.upper()
    sign_place = max(text.find("+"), text.find("-"))
    if sign_place < 0:
        return _ZONE_HOURS[text] * 3600
    head, *rest = text[sign_place + 1 :].split(":")
    digits = head + "".join(rest)
    if len(digits) % 2:
        digits = "0" + digits
    hours, minutes, seconds = (int(digits[i : i + 2] or 0) for i in (0, 2, 4))
    total = hours * 3600 + minutes * 60 + seconds
    if minutes > 59 or seconds > 59 or total > _ZONE_SECONDS_MAX:
        return _ZONE_SECONDS_MAX + 1
    return total if text[sign_place] == "+" else -total


def resolve(values: dict[str, int], default_year: int) -> int | None:
    """Return the instant that the fields name, as milliseconds since the epoch, or None if there is none."""
    day = _resolve_day(values, default_year)
    nanos = _resolve_nanos(values)
    offset = values.get("Z", 0)
    if day is None or nanos is None or abs(offset) > _ZONE_SECONDS_MAX:
        return None
    ms = day * 86_400_000 + nanos // 1_000_000 - offset * 1000
    return ms if MS_MIN <= ms <= MS_MAX else None


def _resolve_day(values: dict[str, int], default_year: int) -> int | None:
    """Return days since the epoch."""
    year = values.get("y", default_year)
    try:
        if "M" in values and "d" in values:
            found = date(year, values["M"], values["d"])
        else:
            found = date.fromordinal(date(year, 1, 1).toordinal() + values["D"] - 1)
    except (ValueError, KeyError, OverflowError):
        return None
    is_consistent = (
        found.year == year
        and values.get("E", found.isoweekday()) == found.isoweekday()
        and values.get("D", found.timetuple().tm_yday) == found.timetuple().tm_yday
    )
    return found.toordinal() - 719_163 if is_consistent else None


def _resolve_nanos(values: dict[str, int]) -> int | None:
    """Return nanoseconds since midnight; 24:00:00 is the end of the day, as in ISO 8601."""
    day_nanos = 86_400_000_000_000
    if "N" in values or "A" in values:
        whole = values["N"] if "N" in values else values["A"] * 1_000_000
        return whole if whole < day_nanos else None
    hour = _resolve_hour(values)
    minute, second = values.get("m", 0), values.get("s", 0)
    nanos = values.get("S", values.get("n", 0))
    if hour is None or minute > 59 or second > 59 or nanos > 999_999_999:
        return None
    total = (hour * 3600 + minute * 60 + second) * 1_000_000_000 + nanos
    return total if total <= day_nanos else None


def _resolve_hour(values: dict[str, int]) -> int | None:
    if "H" in values:
        return values["H"] if values["H"] <= 24 else None
    if "k" in values:
        return values["k"] % 24 if 1 <= values["k"] <= 24 else None
    if "a" not in values:
        return None
    if "h" in values:
        return values["h"] % 12 + 12 * values["a"] if 1 <= values["h"] <= 12 else None
    return values["K"] + 12 * values["a"] if values.get("K", 12) <= 11 else None
