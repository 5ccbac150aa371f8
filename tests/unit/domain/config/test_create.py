"""Creating a job: what must be there, which values are taken, what comes back, and the order of checks."""

import copy
import json
from typing import Any

import pytest

from domain.config import JobConfig, create_job_config, validate_job
from domain.errors import AlreadyExists, BadRequest, DomainError, InvalidArgument, ParseError, UnknownField
from tests.unit.domain.config.bodies import NOW_MS, detector, job_body, make


def refusal(**fields: Any) -> DomainError:
    with pytest.raises(DomainError) as caught:
        make(**fields)
    return caught.value


def test_a_new_job_is_echoed_complete_and_in_order() -> None:
    assert list(make().resource().items()) == [
        ("job_id", "web"),
        ("job_type", "anomaly_detector"),
        ("job_version", "7.9.0"),
        ("create_time", NOW_MS),
        ("analysis_config", make().analysis_config.resource()),
        ("analysis_limits", {"model_memory_limit": "1024mb", "categorization_examples_limit": 4}),
        ("data_description", {"time_field": "time", "time_format": "epoch_ms"}),
        ("model_snapshot_retention_days", 10),
        ("daily_model_snapshot_retention_after_days", 1),
        ("results_index_name", "shared"),
        ("allow_lazy_open", False),
    ]


def test_everything_given_is_echoed_in_order() -> None:
    config = make(
        allow_lazy_open=True,
        results_index_name="web",
        custom_settings={"z": [1, None], "a": {}},
        results_retention_days=7,
        daily_model_snapshot_retention_after_days=2,
        model_snapshot_retention_days=3,
        background_persist_interval="2H",
        renormalization_window_days=0,
        model_plot_config={"enabled": True},
        description="",
        groups=["b", "a", "b"],
    ).model_copy(update={"finished_time": 5, "model_snapshot_id": "1"})
    shown = config.resource()
    assert list(shown) == [
        "job_id", "job_type", "job_version", "groups", "description", "create_time", "finished_time",
        "analysis_config", "analysis_limits", "data_description", "model_plot_config",
        "renormalization_window_days", "background_persist_interval", "model_snapshot_retention_days",
        "daily_model_snapshot_retention_after_days", "results_retention_days", "custom_settings",
        "model_snapshot_id", "results_index_name", "allow_lazy_open",
    ]  # fmt: skip
    assert shown["groups"] == ["b", "a"]
    assert shown["results_index_name"] == "custom-web"
    assert shown["background_persist_interval"] == "2H"
    assert shown["custom_settings"] == {"z": [1, None], "a": {}}
    assert config.background_persist_seconds == 7200


def test_nulls_count_as_not_given() -> None:
    nulls = dict.fromkeys(
        (
            "job_id", "job_type", "job_version", "groups", "description", "create_time", "analysis_limits",
            "model_plot_config", "renormalization_window_days", "background_persist_interval",
            "model_snapshot_retention_days", "results_retention_days", "custom_settings", "allow_lazy_open",
        )
    )  # fmt: skip
    assert make(**nulls) == make()


def test_a_configuration_survives_json_unchanged() -> None:
    config = make(
        detector(
            by_field_name="é\u2028",
            custom_rules=[{"conditions": [{"applies_to": "time", "operator": "gt", "value": 0.1}]}],
        ),
        custom_settings={"n": [1, 1.0, -0.0, 5e-324, 2**63 - 1, True, None, "\x00"]},
        model_plot_config={"enabled": False, "terms": "a,b"},
        groups=["g"],
    )
    again = JobConfig.from_json(config.to_json())
    assert again == config
    assert json.dumps(again.resource()) == json.dumps(config.resource())


def test_neither_body_nor_echo_share_anything_with_the_configuration() -> None:
    body = job_body(custom_settings={"a": [1]})
    before = copy.deepcopy(body)
    config = create_job_config(body, job_id="web", now_ms=0)
    assert body == before
    body["custom_settings"]["a"].append(2)
    echo: Any = config.resource()
    echo["custom_settings"]["a"].append(3)
    assert config.resource()["custom_settings"] == {"a": [1]}


def test_the_id_may_come_from_the_body_alone() -> None:
    assert create_job_config(job_body(job_id="web"), job_id=None, now_ms=0).job_id == "web"


@pytest.mark.parametrize(
    ("fields", "kind", "message"),
    [
        ({"analysis_config": None}, InvalidArgument, "An analysis_config must be set"),
        ({"data_description": None}, InvalidArgument, "A data_description must be set"),
        (
            {"job_id": "other"},
            InvalidArgument,
            "Inconsistent job_id; 'other' specified in the body differs from 'web' specified as a URL argument",
        ),
        (
            {"groups": ["web"]},
            AlreadyExists,
            "job and group names must be unique but job [web] and group [web] have the same name",
        ),
        (
            {"groups": ["A"]},
            InvalidArgument,
            "Invalid group id 'A'; must be non-empty string and may contain lowercase alphanumeric "
            "(a-z and 0-9), hyphens or underscores; must start and end with alphanumeric",
        ),
        (
            {"results_index_name": "_x"},
            InvalidArgument,
            "Invalid results_index_name; '_x' can contain lowercase alphanumeric (a-z and 0-9), "
            "hyphens or underscores; must start and end with alphanumeric",
        ),
        (
            {"model_snapshot_id": "1"},
            InvalidArgument,
            "The job is configured with fields [model_snapshot_id] that are illegal to set at job creation",
        ),
        (
            {"finished_time": 1, "create_time": 1},
            InvalidArgument,
            "The job is configured with fields [create_time, finished_time] that are illegal to set at job creation",
        ),
        (
            {"background_persist_interval": "10s"},
            InvalidArgument,
            "background_persist_interval cannot be less than 3,600. Value = 10",
        ),
        (
            {"background_persist_interval": "3599s"},
            InvalidArgument,
            "background_persist_interval cannot be less than 3,600. Value = 3,599",
        ),
        (
            {"background_persist_interval": "3600001ms"},
            InvalidArgument,
            "background_persist_interval has to be a multiple of seconds. Value = 3600001ms",
        ),
        (
            {"model_snapshot_retention_days": -1},
            InvalidArgument,
            "model_snapshot_retention_days cannot be less than 0. Value = -1",
        ),
        (
            {"results_retention_days": -1000},
            InvalidArgument,
            "results_retention_days cannot be less than 0. Value = -1,000",
        ),
        (
            {"renormalization_window_days": -1},
            InvalidArgument,
            "renormalization_window_days cannot be less than 0. Value = -1",
        ),
        (
            {"daily_model_snapshot_retention_after_days": -1},
            InvalidArgument,
            "daily_model_snapshot_retention_after_days cannot be less than 0. Value = -1",
        ),
        (
            {"results_retention_days": 2**40},
            InvalidArgument,
            "results_retention_days cannot be more than 2,147,483,647. Value = 1,099,511,627,776",
        ),
        (
            {"daily_model_snapshot_retention_after_days": 31, "model_snapshot_retention_days": 30},
            InvalidArgument,
            "The value of daily_model_snapshot_retention_after_days [31] cannot be greater than "
            "model_snapshot_retention_days [30]",
        ),
        (
            {"analysis_limits": {"model_memory_limit": 0}},
            BadRequest,
            "model_memory_limit must be at least 1 MiB. Value = 0",
        ),
        (
            {"analysis_limits": {"model_memory_limit": "1000kb"}},
            BadRequest,
            "model_memory_limit must be at least 1 MiB. Value = 0",
        ),
        (
            {"analysis_limits": {"categorization_examples_limit": -1}},
            InvalidArgument,
            "categorization_examples_limit cannot be less than 0. Value = -1",
        ),
        (
            {"data_description": {"time_format": "hello"}},
            InvalidArgument,
            "Invalid Time format string 'hello'",
        ),
        (
            {"data_description": {"field_delimiter": "ab"}},
            BadRequest,
            "String must be a single character, found [ab]",
        ),
        (
            {"data_description": {"quote_character": ""}},
            BadRequest,
            "String must be a single character, found []",
        ),
        ({"foo": 1}, UnknownField, "[1:1] [job_details] unknown field [foo]"),
        (
            {"model_plot_config": {"terms": "a"}},
            UnknownField,
            "[1:1] [model_plot_config] required field [enabled] is missing",
        ),
        (
            {"job_type": "other"},
            UnknownField,
            "[1:1] [job_details] failed to parse field [job_type]: expected one of [anomaly_detector] but got [other]",
        ),
    ],
)
def test_a_broken_rule_is_refused_word_for_word(fields: dict[str, Any], kind: type[DomainError], message: str) -> None:
    error = refusal(**fields)
    assert (type(error), error.reason) == (kind, message)


@pytest.mark.parametrize("job_id", ["_all", "A", "", "a" * 65])
def test_a_bad_job_id_is_refused(job_id: str) -> None:
    with pytest.raises(InvalidArgument):
        create_job_config(job_body(), job_id=job_id, now_ms=0)


def test_a_job_needs_an_id() -> None:
    with pytest.raises(InvalidArgument, match="Invalid job_id; ''"):
        create_job_config(job_body(), job_id=None, now_ms=0)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({}, (10, 1)),
        ({"model_snapshot_retention_days": 0}, (0, 0)),
        ({"model_snapshot_retention_days": 40}, (40, 1)),
    ],
)
def test_retention_defaults_fit_each_other(given: dict[str, Any], kept: tuple[int, int]) -> None:
    config = make(**given)
    assert (config.model_snapshot_retention_days, config.daily_model_snapshot_retention_after_days) == kept


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"description": 1}, "[description]: expected a string but got [1]"),
        ({"groups": "g"}, "[groups]: expected an array but got [g]"),
        ({"groups": [1]}, "[groups]: expected only strings but got [1]"),
        ({"custom_settings": []}, "[custom_settings]: expected an object but got [array]"),
        ({"analysis_config": "x"}, "[analysis_config] expected an object but got [string]"),
        (
            {"model_snapshot_retention_days": True},
            "expected a whole number of at most 64 bits but got [True]",
        ),
        ({"model_snapshot_retention_days": 1.5}, "expected a whole number of at most 64 bits but got [1.5]"),
        ({"model_snapshot_retention_days": "9" * 19}, "expected a whole number of at most 64 bits"),
        ({"custom_settings": {"a": float("nan")}}, "a number is not finite"),
        ({"custom_settings": {"a": float("inf")}}, "a number is not finite"),
        ({"custom_settings": {"a": 10**5000}}, "an integer does not fit into 64 bits"),
        ({"custom_settings": {"a": "\ud800"}}, "half of a surrogate pair"),
        ({"custom_settings": {"\udfff": 1}}, "half of a surrogate pair"),
        ({"custom_settings": {"a": b"x"}}, "expected a JSON value but got [bytes]"),
        ({"custom_settings": {1: 2}}, "the names of an object must be strings"),
    ],
)
def test_what_no_json_could_hold_or_has_the_wrong_type_is_refused(fields: dict[str, Any], message: str) -> None:
    error = refusal(**fields)
    assert isinstance(error, UnknownField)
    assert message in error.reason


@pytest.mark.parametrize("depth", [100, 100_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    deep: Any = {}
    for _ in range(depth):
        deep = {"a": deep}
    error = refusal(custom_settings=deep)
    assert error.reason == "[1:1] [job_details] objects and arrays are nested deeper than [64] levels"


@pytest.mark.parametrize("body", ["x", 1, [], True])
def test_a_body_that_is_no_object_is_refused(body: Any) -> None:
    with pytest.raises(UnknownField, match="expected an object"):
        create_job_config(body, job_id="web", now_ms=0)


def test_a_missing_body_is_refused() -> None:
    for call in (lambda: create_job_config(None, job_id="web", now_ms=0), lambda: validate_job(None)):
        with pytest.raises(ParseError, match=r"^request body is required$"):
            call()


def test_numbers_may_come_as_text_or_with_a_zero_fraction() -> None:
    assert make(results_retention_days="5").results_retention_days == 5
    assert make(results_retention_days=5.0).results_retention_days == 5


def test_a_body_is_checked_from_its_shape_inwards() -> None:
    broken = {
        "foo": 1,
        "job_id": "other",
        "analysis_config": {"detectors": [{"function": "x"}]},
        "groups": ["A"],
        "model_snapshot_id": "1",
    }
    messages = []
    for key in tuple(broken):
        messages.append(refusal(**broken).reason.split("'")[0])
        broken.pop(key)
        if key == "job_id":
            broken["analysis_config"] = {"detectors": [detector()]}
    assert messages == [
        "[1:1] [job_details] unknown field [foo]",
        "Unknown function ",
        "Invalid group id ",
        "Invalid group id ",
        "The job is configured with fields [model_snapshot_id] that are illegal to set at job creation",
    ]


@pytest.mark.parametrize("extra", [{}, {"job_id": "web"}])
def test_validation_takes_what_creation_takes(extra: dict[str, Any]) -> None:
    validate_job(job_body(**extra))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"job_id": "_all"}, "Invalid job_id; '_all'"),
        ({"model_snapshot_id": "1"}, r"fields \[model_snapshot_id\]"),
        ({"foo": 1}, r"unknown field \[foo\]"),
    ],
)
def test_validation_refuses_what_creation_refuses(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(DomainError, match=message):
        validate_job(job_body(**fields))


def test_validation_refuses_equal_detectors() -> None:
    with pytest.raises(InvalidArgument, match="Duplicate detectors"):
        validate_job(job_body(detector(), detector()))
