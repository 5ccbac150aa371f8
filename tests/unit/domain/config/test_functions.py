"""Every detector function against every combination of fields, with the message that the API fixes."""

from itertools import product

import pytest

from domain.config import validate_detector
from domain.config.functions import FUNCTIONS, find_function
from domain.errors import BadRequest

# function: field, by, over ("+" required, "o" allowed, "-" forbidden) and base, written out by hand.
RULES = {
    "count": ("-oo", "count", "both"),
    "high_count": ("-oo", "count", "high"),
    "low_count": ("-oo", "count", "low"),
    "non_zero_count": ("-o-", "non_zero_count", "both"),
    "high_non_zero_count": ("-o-", "non_zero_count", "high"),
    "low_non_zero_count": ("-o-", "non_zero_count", "low"),
    "distinct_count": ("+oo", "distinct_count", "both"),
    "high_distinct_count": ("+oo", "distinct_count", "high"),
    "low_distinct_count": ("+oo", "distinct_count", "low"),
    "rare": ("-+o", "rare", "both"),
    "freq_rare": ("-++", "freq_rare", "both"),
    "info_content": ("+oo", "info_content", "both"),
    "high_info_content": ("+oo", "info_content", "high"),
    "low_info_content": ("+oo", "info_content", "low"),
    "metric": ("+oo", "metric", "both"),
    "mean": ("+oo", "mean", "both"),
    "high_mean": ("+oo", "mean", "high"),
    "low_mean": ("+oo", "mean", "low"),
    "avg": ("+oo", "mean", "both"),
    "high_avg": ("+oo", "mean", "high"),
    "low_avg": ("+oo", "mean", "low"),
    "median": ("+oo", "median", "both"),
    "high_median": ("+oo", "median", "high"),
    "low_median": ("+oo", "median", "low"),
    "min": ("+oo", "min", "both"),
    "max": ("+oo", "max", "both"),
    "sum": ("+oo", "sum", "both"),
    "high_sum": ("+oo", "sum", "high"),
    "low_sum": ("+oo", "sum", "low"),
    "non_null_sum": ("+oo", "non_null_sum", "both"),
    "high_non_null_sum": ("+oo", "non_null_sum", "high"),
    "low_non_null_sum": ("+oo", "non_null_sum", "low"),
    "varp": ("+oo", "varp", "both"),
    "high_varp": ("+oo", "varp", "high"),
    "low_varp": ("+oo", "varp", "low"),
    "time_of_day": ("-oo", "time_of_day", "both"),
    "time_of_week": ("-oo", "time_of_week", "both"),
    "lat_long": ("+oo", "lat_long", "both"),
}
EXPANDED = {
    "nzc": "non_zero_count",
    "high_nzc": "high_non_zero_count",
    "low_nzc": "low_non_zero_count",
    "dc": "distinct_count",
    "high_dc": "high_distinct_count",
    "low_dc": "low_distinct_count",
}
NO_FIELD_AT_ALL = (
    "Unless a count or temporal function is used one of field_name, by_field_name or over_field_name must be set"
)
COUNTS_AND_TIMES = {name for name, (needs, _, _) in RULES.items() if needs[0] == "-" and needs[1] != "+"}


def expected_message(name: str, has_field: bool, has_by: bool, has_over: bool) -> str | None:
    field, by, over = tuple(RULES[name][0])
    if not (has_field or has_by or has_over) and name not in COUNTS_AND_TIMES:
        return NO_FIELD_AT_ALL
    steps = (
        (field == "+" and not has_field, f"field_name must be set when the '{name}' function is used"),
        (field == "-" and has_field, f"field_name cannot be used with function '{name}'"),
        (by == "+" and not has_by, f"by_field_name must be set when the '{name}' function is used"),
        (over == "+" and not has_over, f"over_field_name must be set when the '{name}' function is used"),
        (over == "-" and has_over, f"over_field_name cannot be used with function '{name}'"),
    )
    return next((message for is_broken, message in steps if is_broken), None)


def outcome(name: str, **fields: str) -> str | None:
    try:
        validate_detector({"function": name, **fields})
    except BadRequest as error:
        return error.reason
    return None


def test_the_table_has_exactly_the_functions_of_the_api() -> None:
    assert set(RULES) == set(FUNCTIONS)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("partition", [{}, {"partition_field_name": "p"}])
def test_each_combination_of_fields_is_taken_or_refused_with_its_message(name: str, partition: dict[str, str]) -> None:
    for has_field, has_by, has_over in product((False, True), repeat=3):
        fields = {
            key: value
            for is_there, key, value in (
                (has_field, "field_name", "f"),
                (has_by, "by_field_name", "b"),
                (has_over, "over_field_name", "o"),
            )
            if is_there
        }
        assert outcome(name, **fields, **partition) == expected_message(name, has_field, has_by, has_over)


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("x", {}, "Unknown function 'x'"),
        ("", {}, "Unknown function ''"),
        ("Mean", {"field_name": "f"}, "Unknown function 'Mean'"),
        ("mean", {}, NO_FIELD_AT_ALL),
        ("rare", {}, NO_FIELD_AT_ALL),
        ("mean", {"by_field_name": "b"}, "field_name must be set when the 'mean' function is used"),
        ("mean", {"partition_field_name": "p"}, NO_FIELD_AT_ALL),
        ("count", {"field_name": "f"}, "field_name cannot be used with function 'count'"),
        ("rare", {"over_field_name": "o"}, "by_field_name must be set when the 'rare' function is used"),
        ("rare", {"field_name": "f"}, "field_name cannot be used with function 'rare'"),
        (
            "freq_rare",
            {"by_field_name": "b"},
            "over_field_name must be set when the 'freq_rare' function is used",
        ),
        ("nzc", {"over_field_name": "o"}, "over_field_name cannot be used with function 'non_zero_count'"),
        ("dc", {"by_field_name": "b"}, "field_name must be set when the 'distinct_count' function is used"),
        ("avg", {"by_field_name": "b"}, "field_name must be set when the 'avg' function is used"),
        ("time_of_day", {}, None),
        ("non_null_sum", {"field_name": "f", "over_field_name": "o"}, None),
    ],
)
def test_messages_are_word_for_word_those_of_the_api(name: str, fields: dict[str, str], message: str | None) -> None:
    assert outcome(name, **fields) == message


@pytest.mark.parametrize("name", RULES)
def test_base_and_side_say_what_is_measured(name: str) -> None:
    function = find_function(name)
    assert function is not None
    assert (function.name, function.base, function.side) == (name, *RULES[name][1:])


@pytest.mark.parametrize(("short", "full"), EXPANDED.items())
def test_short_names_expand(short: str, full: str) -> None:
    function = find_function(short)
    assert function is not None
    assert function.name == full


def test_a_detector_without_function_is_refused() -> None:
    with pytest.raises(BadRequest, match=r"^Unknown function ''$"):
        validate_detector({})
