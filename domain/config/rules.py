"""Custom rules of a detector: when a result is to be skipped, or the model not to learn from it.

Only their shape and their fit to the detector are decided here; the engine applies them. Filters that a scope
names are looked up elsewhere.
"""

from typing import Final, Literal, get_args

from pydantic import BaseModel, ConfigDict

from domain.config.fields import Section, shorten
from domain.config.ids import check_filter_id
from domain.errors import BadRequest

Action = Literal["skip_result", "skip_model_update"]
AppliesTo = Literal["actual", "typical", "diff_from_typical", "time"]
Operator = Literal["gt", "gte", "lt", "lte"]
FilterType = Literal["include", "exclude"]

ACTIONS: Final[tuple[Action, ...]] = get_args(Action)
APPLIES_TO: Final[tuple[AppliesTo, ...]] = get_args(AppliesTo)
OPERATORS: Final[tuple[Operator, ...]] = get_args(Operator)
FILTER_TYPES: Final[tuple[FilterType, ...]] = get_args(FilterType)

# Functions whose actual and typical are no single numbers that a condition could be compared with.
TIME_CONDITIONS_ONLY: Final = frozenset({"lat_long", "metric", "rare", "freq_rare"})

NO_SCOPE: Final = "custom_rules with a scope need filters, which this version does not have; use conditions"

RULE_FIELDS: Final = frozenset({"actions", "scope", "conditions"})
_SCOPE_FIELDS: Final = frozenset({"filter_id", "filter_type"})
_CONDITION_FIELDS: Final = frozenset({"applies_to", "operator", "value"})


class RuleCondition(BaseModel):
    """A comparison that must hold for a rule to act."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    applies_to: AppliesTo
    operator: Operator
    value: float


class RuleScope(BaseModel):
    """A list of values of one field for which, or for all but which, a rule acts."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    field: str
    filter_id: str
    filter_type: FilterType = "include"


class CustomRule(BaseModel):
    """What to do when the scope fits and all conditions hold."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    actions: tuple[Action, ...] = ("skip_result",)
    scope: tuple[RuleScope, ...] = ()
    conditions: tuple[RuleCondition, ...] = ()

    def resource(self) -> dict[str, object]:
        """Return the rule as the API shows it, empty parts left out."""
        shown: dict[str, object] = {"actions": list(self.actions)}
        if self.scope:
            shown["scope"] = {
                scope.field: {"filter_id": scope.filter_id, "filter_type": scope.filter_type} for scope in self.scope
            }
        if self.conditions:
            shown["conditions"] = [condition.model_dump() for condition in self.conditions]
        return shown


def read_rules(section: Section, key: str) -> tuple[CustomRule, ...] | None:
    """Read the array of custom rules under `key`; None when not given.

    Raises
    ------
    UnknownField
        If a rule has the wrong shape.
    BadRequest
        If a rule has neither scope nor conditions.
    """
    items = section.items(key)
    if items is None:
        return None
    return tuple(_read_rule(Section(item, key, RULE_FIELDS)) for item in items)


def check_rules_fit(rules: tuple[CustomRule, ...], function: str, base_function: str, fields: tuple[str, ...]) -> None:
    """Refuse rules that a detector of this function and these by, over and partition fields cannot have.

    Raises
    ------
    BadRequest
        If there is a scope, or a condition compares what the function has not.
    """
    for rule in rules:
        for scope in rule.scope:
            if scope.field not in fields:
                reason = (
                    f"custom_rules scope names the field '{shorten(scope.field)}', but the by, over and "
                    f"partition fields of the detector are [{', '.join(fields)}]"
                )
                raise BadRequest(reason)
        if rule.scope:
            raise BadRequest(NO_SCOPE)
        if base_function in TIME_CONDITIONS_ONLY and any(c.applies_to != "time" for c in rule.conditions):
            reason = f"custom_rules conditions of the function '{function}' can only apply to time"
            raise BadRequest(reason)


def _read_rule(section: Section) -> CustomRule:
    rule = CustomRule(
        actions=section.choices("actions", ACTIONS) or ("skip_result",),
        scope=_read_scope(section),
        conditions=tuple(_read_condition(item) for item in section.items("conditions") or ()),
    )
    if not rule.scope and not rule.conditions:
        reason = "A rule of custom_rules must have a scope or at least one condition"
        raise BadRequest(reason)
    return rule


def _read_scope(section: Section) -> tuple[RuleScope, ...]:
    scopes = []
    for field, value in (section.mapping("scope") or {}).items():
        inner = Section(value, "scope", _SCOPE_FIELDS)
        filter_id = inner.require_text("filter_id")
        check_filter_id(filter_id)
        filter_type = inner.choice("filter_type", FILTER_TYPES) or "include"
        scopes.append(RuleScope(field=field, filter_id=filter_id, filter_type=filter_type))
    return tuple(scopes)


def _read_condition(item: object) -> RuleCondition:
    section = Section(item, "conditions", _CONDITION_FIELDS)
    return RuleCondition(
        applies_to=section.require_choice("applies_to", APPLIES_TO),
        operator=section.require_choice("operator", OPERATORS),
        value=section.require_number("value"),
    )
