"""Detectors: names of fields, what is echoed, the description that is built, custom rules."""

from typing import Any

import pytest

from domain.config import validate_detector
from domain.errors import BadRequest, DomainError, InvalidArgument, ParseError, UnknownField
from tests.unit.domain.config.bodies import detector, make


def refusal(**fields: Any) -> DomainError:
    with pytest.raises(DomainError) as caught:
        validate_detector(detector(**fields))
    return caught.value


@pytest.mark.parametrize("character", ['"', "\\", "\n", "\x00", "\x7f", "\x9f"])
@pytest.mark.parametrize("key", ["field_name", "by_field_name", "over_field_name", "partition_field_name"])
def test_a_field_name_with_a_forbidden_character_is_refused(key: str, character: str) -> None:
    name = f"a{character}b"
    error = refusal(function="mean", **{"field_name": "f", key: name})
    assert isinstance(error, BadRequest)
    assert error.reason == (
        f"Invalid field name '{name}'. Field names including over, by and partition fields "
        'cannot contain any of these characters: ",\\'
    )


def test_the_checks_of_fields_come_before_those_of_names() -> None:
    assert refusal(field_name='"').reason == "field_name cannot be used with function 'count'"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"partition_field_name": "x", "by_field_name": "x"},
            "partition_field_name and by_field_name cannot be the same: 'x'",
        ),
        (
            {"partition_field_name": "x", "over_field_name": "x"},
            "partition_field_name and over_field_name cannot be the same: 'x'",
        ),
        (
            {"by_field_name": "x", "over_field_name": "x"},
            "by_field_name and over_field_name cannot be the same: 'x'",
        ),
        ({"by_field_name": "count"}, "'count' is not a permitted value for by_field_name"),
        ({"by_field_name": "by"}, "'by' is not a permitted value for by_field_name"),
        ({"over_field_name": "over"}, "'over' is not a permitted value for over_field_name"),
        ({"by_field_name": "."}, "Invalid field name '.'. This name is reserved"),
    ],
)
def test_names_that_would_be_ambiguous_are_refused(fields: dict[str, str], message: str) -> None:
    error = refusal(**fields)
    assert isinstance(error, BadRequest)
    assert error.reason == message


def test_a_partition_field_may_be_named_count() -> None:
    validate_detector(detector(partition_field_name="count"))


@pytest.mark.parametrize(
    ("fields", "description"),
    [
        ({}, "count"),
        ({"function": "nzc"}, "non_zero_count"),
        ({"function": "avg", "field_name": "f"}, "avg(f)"),
        ({"function": "mean", "field_name": "a b", "by_field_name": "c-d"}, 'mean("a b") by "c-d"'),
        (
            {
                "function": "sum",
                "field_name": "f",
                "by_field_name": "b",
                "over_field_name": "o",
                "partition_field_name": "p.q",
                "use_null": True,
                "exclude_frequent": "ALL",
            },
            'sum(f) by b over o usenull=true partitionfield="p.q" excludefrequent=all',
        ),
        ({"detector_description": ""}, "count"),
        ({"detector_description": "mine"}, "mine"),
    ],
)
def test_a_description_is_built_when_none_is_given(fields: dict[str, Any], description: str) -> None:
    assert make(detector(**fields)).detectors[0].detector_description == description


def test_a_detector_is_echoed_in_order_with_unset_fields_left_out() -> None:
    config = make(
        detector(
            detector_index=7,
            exclude_frequent="by",
            use_null=True,
            partition_field_name="p",
            over_field_name="",
            by_field_name="b",
            field_name=None,
            detector_rules=[],
        ),
        detector(use_null=False),
    )
    assert [list(shown.resource().items()) for shown in config.detectors] == [
        [
            ("detector_description", "count by b usenull=true partitionfield=p excludefrequent=by"),
            ("function", "count"),
            ("by_field_name", "b"),
            ("partition_field_name", "p"),
            ("use_null", True),
            ("exclude_frequent", "by"),
            ("detector_index", 0),
        ],
        [("detector_description", "count"), ("function", "count"), ("detector_index", 1)],
    ]


RULE = {"conditions": [{"applies_to": "actual", "operator": "gt", "value": 5}]}
TIME_RULE = {"conditions": [{"applies_to": "time", "operator": "lt", "value": 5}]}


def test_a_rule_is_echoed_with_its_defaults() -> None:
    config = make(detector(by_field_name="b", custom_rules=[RULE]))
    assert config.detectors[0].resource()["custom_rules"] == [
        {
            "actions": ["skip_result"],
            "conditions": [{"applies_to": "actual", "operator": "gt", "value": 5.0}],
        }
    ]


def test_actions_are_kept_once_in_a_fixed_order() -> None:
    rule = {"actions": ["SKIP_MODEL_UPDATE", "skip_result", "skip_result"], **RULE}
    config = make(detector(custom_rules=[rule]))
    assert config.detectors[0].custom_rules[0].actions == ("skip_result", "skip_model_update")


def test_no_rules_are_not_echoed() -> None:
    assert "custom_rules" not in make(detector(custom_rules=[])).detectors[0].resource()


@pytest.mark.parametrize("function", ["lat_long", "metric", "rare", "freq_rare"])
def test_some_functions_allow_only_conditions_on_time(function: str) -> None:
    fields = {"function": function, "by_field_name": "b", "over_field_name": "o"}
    if function in ("lat_long", "metric"):
        fields["field_name"] = "f"
    validate_detector({**fields, "custom_rules": [TIME_RULE]})
    with pytest.raises(BadRequest, match="can only apply to time"):
        validate_detector({**fields, "custom_rules": [RULE]})


@pytest.mark.parametrize(
    ("rule", "kind", "message"),
    [
        ({}, BadRequest, "must have a scope or at least one condition"),
        ({"scope": {}, "conditions": []}, BadRequest, "must have a scope or at least one condition"),
        ({"scope": {"x": {"filter_id": "f"}}}, BadRequest, r"the field 'x', but .* are \[b\]"),
        ({"scope": {"b": {"filter_id": "f"}}, **RULE}, BadRequest, "scope need filters"),
        ({"scope": {"b": {"filter_id": "F!"}}}, InvalidArgument, "Invalid filter_id; 'F!'"),
        ({"scope": {"b": {}}}, UnknownField, r"required field \[filter_id\]"),
        ({"scope": {"b": "f"}}, UnknownField, "expected an object"),
        ({"scope": {"b": {"filter_id": "f", "filter_type": "x"}}}, UnknownField, "filter_type"),
        ({"actions": ["delete"], **RULE}, UnknownField, "actions"),
        ({"conditions": [{"operator": "gt", "value": 1}]}, UnknownField, "applies_to"),
        ({"conditions": [{"applies_to": "actual", "value": 1}]}, UnknownField, "operator"),
        ({"conditions": [{"applies_to": "actual", "operator": "gt"}]}, UnknownField, "value"),
        ({"conditions": [{"applies_to": "actual", "operator": "eq", "value": 1}]}, UnknownField, "operator"),
        ({"conditions": [{"applies_to": "actual", "operator": "gt", "value": "x"}]}, UnknownField, "value"),
        ({"conditions": ["x"]}, UnknownField, "expected an object"),
        ({"when": 1, **RULE}, UnknownField, r"unknown field \[when\]"),
    ],
)
def test_a_rule_that_cannot_act_is_refused(rule: Any, kind: type[DomainError], message: str) -> None:
    with pytest.raises(kind, match=message):
        validate_detector(detector(by_field_name="b", custom_rules=[rule]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"function": 1}, "expected a string but got [1]"),
        ({"by_field_name": ["b"]}, "expected a string but got [array]"),
        ({"use_null": "yes"}, "expected a boolean but got [yes]"),
        ({"use_null": 1}, "expected a boolean but got [1]"),
        ({"exclude_frequent": "some"}, "expected one of [all, none, by, over] but got [some]"),
        ({"custom_rules": {}}, "expected an array but got [object]"),
        ({"detector_index": "x"}, "expected a whole number of at most 64 bits but got [x]"),
        ({"nonsense": 1}, "[1:1] [detector] unknown field [nonsense]"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(fields: dict[str, Any], message: str) -> None:
    error = refusal(**fields)
    assert isinstance(error, UnknownField)
    assert message in error.reason


def test_a_missing_body_is_refused() -> None:
    with pytest.raises(ParseError, match=r"^request body is required$"):
        validate_detector(None)
