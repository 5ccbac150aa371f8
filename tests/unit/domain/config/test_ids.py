"""Which texts are identifiers, and how those that are not are refused."""

from collections.abc import Callable

import pytest

from domain.config.ids import (
    check_body_id,
    check_datafeed_id,
    check_group_id,
    check_job_id,
    check_results_index_name,
    results_index_of,
)
from domain.errors import InvalidArgument

ALPHABET = "lowercase alphanumeric (a-z and 0-9), hyphens or underscores; must start and end with alphanumeric"
BAD_IDS = ["", "_all", "_a", "a_", "-a", "a-", ".a", "a.", "A", "a b", "a/b", "a\n", "ä", "a*", "٣"]


@pytest.mark.parametrize("text", ["a", "7", "a1", "a-b", "a_b", "a.b", "a..b", "0-_.9"])
def test_ids_of_the_alphabet_are_taken(text: str) -> None:
    for check in (check_job_id, check_datafeed_id, check_results_index_name, check_group_id):
        check(text)


@pytest.mark.parametrize("text", BAD_IDS)
@pytest.mark.parametrize(
    ("field", "check"),
    [
        ("job_id", check_job_id),
        ("datafeed_id", check_datafeed_id),
        ("results_index_name", check_results_index_name),
    ],
)
def test_other_ids_are_refused_by_name(field: str, check: Callable[[str], None], text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check(text)
    assert caught.value.reason == f"Invalid {field}; '{text}' can contain {ALPHABET}"


@pytest.mark.parametrize("text", BAD_IDS)
def test_other_groups_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_group_id(text)
    assert caught.value.reason == (f"Invalid group id '{text}'; must be non-empty string and may contain {ALPHABET}")


def test_a_job_id_has_at_most_64_characters() -> None:
    check_job_id("a" * 64)
    with pytest.raises(InvalidArgument, match=r"^The job id cannot contain more than 64 characters\.$"):
        check_job_id("a" * 65)


def test_a_body_may_repeat_the_id_of_its_url_but_not_contradict_it() -> None:
    check_body_id("job_id", "a", "a")
    check_body_id("job_id", "a", None)
    check_body_id("job_id", None, "a")
    with pytest.raises(InvalidArgument) as caught:
        check_body_id("datafeed_id", "u", "b")
    assert caught.value.reason == (
        "Inconsistent datafeed_id; 'b' specified in the body differs from 'u' specified as a URL argument"
    )


@pytest.mark.parametrize(
    ("given", "kept"),
    [(None, "shared"), ("shared", "shared"), ("web", "custom-web"), ("custom-web", "custom-web")],
)
def test_a_custom_results_index_gets_its_prefix_once(given: str | None, kept: str) -> None:
    assert results_index_of(given) == kept
