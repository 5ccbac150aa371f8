"""One detector: its fields as they are kept, its rules in the order of the API, its default description.

The functions themselves are the table in `functions.py`. Which detectors a job may have together is decided
in `analysis.py`.
"""

import re
from typing import Final, Literal, get_args

from pydantic import BaseModel, ConfigDict

from domain.config.fields import Section, shorten
from domain.config.functions import FUNCTIONS, Function, Need, Side, find_function
from domain.config.rules import CustomRule, check_rules_fit, read_rules
from domain.errors import BadRequest

ExcludeFrequent = Literal["all", "none", "by", "over"]

EXCLUDE_FREQUENT: Final[tuple[ExcludeFrequent, ...]] = get_args(ExcludeFrequent)
MLCATEGORY: Final = "mlcategory"  # the name under which the category of a message acts as a field
DETECTOR_FIELDS: Final = frozenset(
    {
        "detector_description",
        "function",
        "field_name",
        "by_field_name",
        "over_field_name",
        "partition_field_name",
        "use_null",
        "exclude_frequent",
        "custom_rules",
        "detector_index",  # accepted, but it is always the place in the array
        "detector_rules",  # of old servers; accepted and ignored
    }
)

_RESERVED_FIELD_NAME: Final = "."
_NOT_BY_OR_OVER: Final = frozenset({"count", "by", "over"})
_FORBIDDEN_CHARACTER = re.compile(r'["\\\x00-\x1f\x7f-\x9f]')
_NON_WORD_CHARACTER = re.compile(r"\W", re.ASCII)


class Detector(BaseModel):
    """What one detector of a job looks for. Field names that are not set are None, never empty.

    Attributes
    ----------
    function : str
        As it is echoed: ``nzc`` and ``dc`` in full, ``avg`` as written.
    detector_index : int
        The place among the job's detectors, from 0.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    detector_description: str
    function: str
    field_name: str | None = None
    by_field_name: str | None = None
    over_field_name: str | None = None
    partition_field_name: str | None = None
    use_null: bool = False
    exclude_frequent: ExcludeFrequent | None = None
    custom_rules: tuple[CustomRule, ...] = ()
    detector_index: int = 0

    @property
    def base_function(self) -> str:
        """What is measured, without the side and with ``avg`` written ``mean``."""
        return FUNCTIONS[self.function].base

    @property
    def side(self) -> Side:
        """Which deviations count."""
        return FUNCTIONS[self.function].side

    @property
    def term_fields(self) -> tuple[str, ...]:
        """The by, over and partition fields that are set, in this order."""
        names = (self.by_field_name, self.over_field_name, self.partition_field_name)
        return tuple(name for name in names if name is not None)

    @property
    def fields(self) -> tuple[str, ...]:
        """All field names that are set: measured, by, over, partition."""
        return (*((self.field_name,) if self.field_name is not None else ()), *self.term_fields)

    def resource(self) -> dict[str, object]:
        """Return the detector as the API shows it, in response order, unset fields left out."""
        shown: dict[str, object] = {
            "detector_description": self.detector_description,
            "function": self.function,
        }
        for key in ("field_name", "by_field_name", "over_field_name", "partition_field_name"):
            if (name := getattr(self, key)) is not None:
                shown[key] = name
        if self.use_null:
            shown["use_null"] = True
        if self.exclude_frequent is not None:
            shown["exclude_frequent"] = self.exclude_frequent
        if self.custom_rules:
            shown["custom_rules"] = [rule.resource() for rule in self.custom_rules]
        shown["detector_index"] = self.detector_index
        return shown


def read_detector(section: Section, detector_index: int = 0) -> Detector:
    """Read and check one detector of a body; a description is built when none is given.

    Raises
    ------
    UnknownField
        If a value has the wrong JSON type.
    BadRequest
        With the message of the first rule that is broken.
    """
    name = section.text("function")
    fields = {
        key: section.name_text(key)
        for key in ("field_name", "by_field_name", "over_field_name", "partition_field_name")
    }
    use_null = section.flag("use_null") or False
    exclude_frequent = section.choice("exclude_frequent", EXCLUDE_FREQUENT)
    description = section.name_text("detector_description")
    section.integer("detector_index")
    rules = read_rules(section, "custom_rules") or ()

    function = find_function(name or "")
    if function is None:
        reason = f"Unknown function '{shorten(name or '')}'"
        raise BadRequest(reason)
    detector = Detector(
        detector_description=description or "",
        function=function.name,
        use_null=use_null,
        exclude_frequent=exclude_frequent,
        custom_rules=rules,
        detector_index=detector_index,
        **fields,
    )
    _check_fields(detector, function)
    _check_names(detector)
    check_rules_fit(rules, function.name, function.base, detector.term_fields)
    if description is None:
        detector = detector.model_copy(update={"detector_description": describe(detector)})
    return detector


def describe(detector: Detector) -> str:
    """Return the description that a detector has when none was given.

    >>> describe(Detector(detector_description="", function="mean", field_name="t", by_field_name="a b"))
    'mean(t) by "a b"'
    """
    text = detector.function
    if detector.field_name is not None:
        text += f"({_quote(detector.field_name)})"
    if detector.by_field_name is not None:
        text += f" by {_quote(detector.by_field_name)}"
    if detector.over_field_name is not None:
        text += f" over {_quote(detector.over_field_name)}"
    if detector.use_null:
        text += " usenull=true"
    if detector.partition_field_name is not None:
        text += f" partitionfield={_quote(detector.partition_field_name)}"
    if detector.exclude_frequent is not None:
        text += f" excludefrequent={detector.exclude_frequent}"
    return text


def check_field_name(name: str | None) -> None:
    """Refuse a field name with characters that would make descriptions and results ambiguous."""
    if name is None:
        return
    if _FORBIDDEN_CHARACTER.search(name):
        reason = (
            f"Invalid field name '{shorten(name)}'. Field names including over, by and partition fields "
            'cannot contain any of these characters: ",\\'
        )
        raise BadRequest(reason)
    if name == _RESERVED_FIELD_NAME:
        reason = f"Invalid field name '{name}'. This name is reserved"
        raise BadRequest(reason)


def _check_fields(detector: Detector, function: Function) -> None:
    """Check which fields the function needs and forbids; the order decides which message a client sees."""
    name = function.name
    has_any = detector.field_name or detector.by_field_name or detector.over_field_name
    if not has_any and not function.can_stand_alone:
        reason = (
            "Unless a count or temporal function is used one of field_name, by_field_name or "
            "over_field_name must be set"
        )
        raise BadRequest(reason)
    if function.field is Need.REQUIRED and detector.field_name is None:
        reason = f"field_name must be set when the '{name}' function is used"
        raise BadRequest(reason)
    if function.field is Need.FORBIDDEN and detector.field_name is not None:
        reason = f"field_name cannot be used with function '{name}'"
        raise BadRequest(reason)
    if function.by is Need.REQUIRED and detector.by_field_name is None:
        reason = f"by_field_name must be set when the '{name}' function is used"
        raise BadRequest(reason)
    if function.over is Need.REQUIRED and detector.over_field_name is None:
        reason = f"over_field_name must be set when the '{name}' function is used"
        raise BadRequest(reason)
    if function.over is Need.FORBIDDEN and detector.over_field_name is not None:
        reason = f"over_field_name cannot be used with function '{name}'"
        raise BadRequest(reason)


def _check_names(detector: Detector) -> None:
    for name in detector.fields:
        check_field_name(name)
    by, over, partition = detector.by_field_name, detector.over_field_name, detector.partition_field_name
    for first_key, first, second_key, second in (
        ("partition_field_name", partition, "by_field_name", by),
        ("partition_field_name", partition, "over_field_name", over),
        ("by_field_name", by, "over_field_name", over),
    ):
        if first is not None and first == second:
            reason = f"{first_key} and {second_key} cannot be the same: '{first}'"
            raise BadRequest(reason)
    for key, value in (("by_field_name", by), ("over_field_name", over)):
        if value in _NOT_BY_OR_OVER:
            reason = f"'{value}' is not a permitted value for {key}"
            raise BadRequest(reason)


def _quote(name: str) -> str:
    return f'"{name}"' if _NON_WORD_CHARACTER.search(name) else name
