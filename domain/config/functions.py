"""The detector functions: what each is called, which side it looks at and which fields it needs.

A table and nothing else; `detector.py` checks detectors against it, in the order that the API fixes.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

Side = Literal["both", "high", "low"]


class Need(Enum):
    """Whether a detector of a function has a certain field."""

    REQUIRED = "required"
    ALLOWED = "allowed"
    FORBIDDEN = "forbidden"


@dataclass(frozen=True, slots=True)
class Function:
    """One detector function.

    Attributes
    ----------
    name : str
        As it is echoed; short names that expand are not in here.
    base : str
        What is measured, without the side and with ``avg`` written ``mean``.
    side : {'both', 'high', 'low'}
        Which deviations count.
    field, by, over : Need
        Whether ``field_name``, ``by_field_name``, ``over_field_name`` must, may or must not be set.
    """

    name: str
    base: str
    side: Side
    field: Need
    by: Need
    over: Need

    @property
    def can_stand_alone(self) -> bool:
        """Whether it counts or times records, so that it needs no field at all."""
        return self.field is Need.FORBIDDEN and self.by is not Need.REQUIRED


_ONE: Final[tuple[Side, ...]] = ("both",)
_THREE: Final[tuple[Side, ...]] = ("both", "high", "low")
_YES, _MAY, _NO = Need.REQUIRED, Need.ALLOWED, Need.FORBIDDEN

# base, sides, field, by, over
_ROWS: Final[tuple[tuple[str, tuple[Side, ...], Need, Need, Need], ...]] = (
    ("count", _THREE, _NO, _MAY, _MAY),
    ("non_zero_count", _THREE, _NO, _MAY, _NO),
    ("distinct_count", _THREE, _YES, _MAY, _MAY),
    ("rare", _ONE, _NO, _YES, _MAY),
    ("freq_rare", _ONE, _NO, _YES, _YES),
    ("info_content", _THREE, _YES, _MAY, _MAY),
    ("metric", _ONE, _YES, _MAY, _MAY),
    ("mean", _THREE, _YES, _MAY, _MAY),
    ("median", _THREE, _YES, _MAY, _MAY),
    ("min", _ONE, _YES, _MAY, _MAY),
    ("max", _ONE, _YES, _MAY, _MAY),
    ("sum", _THREE, _YES, _MAY, _MAY),
    ("non_null_sum", _THREE, _YES, _MAY, _MAY),
    ("varp", _THREE, _YES, _MAY, _MAY),
    ("time_of_day", _ONE, _NO, _MAY, _MAY),
    ("time_of_week", _ONE, _NO, _MAY, _MAY),
    ("lat_long", _ONE, _YES, _MAY, _MAY),
)
_PREFIX: Final[dict[Side, str]] = {"both": "", "high": "high_", "low": "low_"}

# Short names that are echoed in full.
EXPANDED: Final = {
    prefix + short: prefix + long
    for prefix in _PREFIX.values()
    for short, long in (("nzc", "non_zero_count"), ("dc", "distinct_count"))
}


def _functions() -> dict[str, Function]:
    table = {}
    for base, sides, field, by, over in _ROWS:
        for side in sides:
            # ``avg`` is the one synonym that is echoed as written.
            for spelling in (base, "avg") if base == "mean" else (base,):
                name = _PREFIX[side] + spelling
                table[name] = Function(name, base, side, field, by, over)
    return table


FUNCTIONS: Final[dict[str, Function]] = _functions()


def find_function(name: str) -> Function | None:
    """Return the function of that name or short name, None when there is none.

    >>> find_function("high_nzc").name, find_function("low_avg").base, find_function("Mean")
    ('high_non_zero_count', 'mean', None)
    """
    return FUNCTIONS.get(EXPANDED.get(name, name))
