"""Updating a job: what may change, what stays, and what is refused."""

from typing import Any

import pytest

from domain.config import JobConfig, update_job_config
from domain.errors import AlreadyExists, BadRequest, DomainError, InvalidArgument, ParseError, UnknownField
from tests.unit.domain.config.bodies import detector, make

RULE = {"conditions": [{"applies_to": "time", "operator": "gt", "value": 1}]}


def update(config: JobConfig, *, is_open: bool = False, model_bytes: int = 0, **body: Any) -> JobConfig:
    return update_job_config(config, body, is_open=is_open, model_bytes=model_bytes)


def refusal(config: JobConfig, *, is_open: bool = False, model_bytes: int = 0, **body: Any) -> DomainError:
    with pytest.raises(DomainError) as caught:
        update(config, is_open=is_open, model_bytes=model_bytes, **body)
    return caught.value


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("description", "new"),
        ("description", ""),
        ("groups", ["a", "b"]),
        ("renormalization_window_days", 3),
        ("background_persist_interval", "3H"),
        ("model_snapshot_retention_days", 20),
        ("daily_model_snapshot_retention_after_days", 0),
        ("results_retention_days", 9),
        ("custom_settings", {"b": 2}),
        ("allow_lazy_open", True),
        ("model_plot_config", {"enabled": True, "annotations_enabled": True}),
    ],
)
def test_a_given_field_changes_and_all_others_stay(key: str, value: Any) -> None:
    config = make(custom_settings={"a": 1}, groups=["old"], description="old")
    assert update(config, **{key: value}).resource() == {**config.resource(), key: value}


def test_an_empty_update_and_one_of_nulls_change_nothing() -> None:
    config = make(description="d", groups=["g"])
    assert update(config) == config
    assert update(config, description=None, groups=None, detectors=None, analysis_limits=None) == config


def test_no_groups_at_all_can_be_said() -> None:
    assert "groups" not in update(make(groups=["g"]), groups=[]).resource()


def test_detectors_change_by_their_index() -> None:
    config = make(detector(), detector(by_field_name="b"))
    changed = update(
        config,
        detectors=[
            {"detector_index": 1, "description": "second", "custom_rules": [RULE]},
            {"index": 0, "description": "first", "rules": []},
        ],
    )
    assert [one.detector_description for one in changed.detectors] == ["first", "second"]
    assert [len(one.custom_rules) for one in changed.detectors] == [0, 1]
    assert [one.function for one in changed.detectors] == ["count", "count"]
    cleared = update(changed, detectors=[{"detector_index": 1, "description": "", "custom_rules": []}])
    assert cleared.detectors[1] == config.detectors[1]


@pytest.mark.parametrize(
    ("detectors", "kind", "message"),
    [
        ([{"detector_index": 1}], BadRequest, "detector_index [1] names no detector: expected 0 to 0"),
        ([{"detector_index": -1}], BadRequest, "detector_index [-1] names no detector: expected 0 to 0"),
        (
            [{"description": "x"}],
            UnknownField,
            "[1:1] [detectors] required field [detector_index] is missing",
        ),
        (
            [{"detector_index": 0, "function": "mean"}],
            UnknownField,
            "[1:1] [detectors] unknown field [function]",
        ),
        (["x"], UnknownField, "[1:1] [detectors] expected an object but got [string]"),
    ],
)
def test_an_update_of_no_detector_is_refused(detectors: Any, kind: type[DomainError], message: str) -> None:
    error = refusal(make(), detectors=detectors)
    assert (type(error), error.reason) == (kind, message)


def test_new_rules_must_fit_their_detector() -> None:
    for field in ("x", "b"):
        rule = {"scope": {field: {"filter_id": "f"}}}
        error = refusal(make(), detectors=[{"detector_index": 0, "custom_rules": [rule]}])
        assert isinstance(error, BadRequest)


@pytest.mark.parametrize(
    "key",
    ["analysis_config", "data_description", "job_id", "results_index_name", "foo", "create_time", "job_type"],
)
def test_any_other_field_is_unknown(key: str) -> None:
    body: dict[str, Any] = {key: {}}
    error = refusal(make(), **body)
    assert isinstance(error, UnknownField)
    assert error.reason == f"[1:1] [job_update] unknown field [{key}]"


def test_the_snapshot_field_of_old_servers_is_ignored() -> None:
    assert update(make(), model_snapshot_id="1") == make()


def test_a_memory_limit_changes_only_while_the_job_is_closed() -> None:
    config = make()
    changed = update(config, analysis_limits={"model_memory_limit": "2g"})
    assert changed.analysis_limits.resource() == {
        "model_memory_limit": "2048mb",
        "categorization_examples_limit": 4,
    }
    error = refusal(config, is_open=True, analysis_limits={"model_memory_limit": "2g"})
    assert isinstance(error, BadRequest)
    assert error.reason == "Cannot update analysis_limits while the job is open"


def test_a_memory_limit_may_fall_to_what_the_model_uses_but_not_below() -> None:
    config = make()
    limits = {"model_memory_limit": "5mb"}
    update(config, model_bytes=5 << 20, analysis_limits=limits)
    error = refusal(config, model_bytes=9 << 20, analysis_limits=limits)
    assert isinstance(error, BadRequest)
    assert error.reason == (
        "Invalid update value for analysis_limits: model_memory_limit cannot be decreased below current "
        "usage; current usage [9mb], update had [5mb]"
    )


def test_a_memory_limit_above_that_of_the_server_is_refused() -> None:
    body = {"analysis_limits": {"model_memory_limit": "10gb"}}
    with pytest.raises(BadRequest, match="max_model_memory_limit"):
        update_job_config(make(), body, is_open=False, model_bytes=0, memory_limit_bytes_max=9 << 30)


def test_retention_is_checked_against_the_merged_job() -> None:
    config = make(model_snapshot_retention_days=30)
    error = refusal(config, daily_model_snapshot_retention_after_days=31)
    assert isinstance(error, InvalidArgument)
    assert error.reason == (
        "The value of daily_model_snapshot_retention_after_days [31] cannot be greater than "
        "model_snapshot_retention_days [30]"
    )
    assert isinstance(refusal(config, model_snapshot_retention_days=0), InvalidArgument)
    both: dict[str, Any] = {
        "daily_model_snapshot_retention_after_days": 31,
        "model_snapshot_retention_days": 31,
    }
    assert update(config, **both).model_snapshot_retention_days == 31


def test_annotations_follow_the_model_plot_when_omitted() -> None:
    config = make(model_plot_config={"enabled": True, "annotations_enabled": True, "terms": "a"})
    changed = update(config, model_plot_config={"enabled": False})
    assert changed.resource()["model_plot_config"] == {"enabled": False, "annotations_enabled": False}


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (
            {"background_persist_interval": "10s"},
            InvalidArgument,
            "background_persist_interval cannot be less than 3,600. Value = 10",
        ),
        (
            {"results_retention_days": -1},
            InvalidArgument,
            "results_retention_days cannot be less than 0. Value = -1",
        ),
        (
            {"groups": ["web"]},
            AlreadyExists,
            "job and group names must be unique but job [web] and group [web] have the same name",
        ),
        (
            {"model_plot_config": {}},
            UnknownField,
            "[1:1] [model_plot_config] required field [enabled] is missing",
        ),
        (
            {"categorization_filters": ["a"]},
            BadRequest,
            "categorization_filters need categorization_field_name to be set",
        ),
        (
            {"per_partition_categorization": {"enabled": True}},
            BadRequest,
            "enabled of per_partition_categorization cannot be changed by an update",
        ),
    ],
)
def test_the_rules_of_creation_hold(body: dict[str, Any], kind: type[DomainError], message: str) -> None:
    error = refusal(make(), **body)
    assert (type(error), error.reason) == (kind, message)


def test_filters_and_stopping_of_categorization_change() -> None:
    config = make(
        detector(by_field_name="mlcategory", partition_field_name="p"),
        analysis={
            "categorization_field_name": "m",
            "categorization_filters": ["a"],
            "per_partition_categorization": {"enabled": True},
        },
    )
    changed = update(
        config,
        categorization_filters=["b", "c"],
        per_partition_categorization={"enabled": True, "stop_on_warn": True},
    ).analysis_config
    assert changed.categorization_filters == ("b", "c")
    assert changed.resource()["per_partition_categorization"] == {"enabled": True, "stop_on_warn": True}
    assert update(config, categorization_filters=[]).analysis_config.categorization_filters is None
    assert isinstance(refusal(config, categorization_filters=["("]), BadRequest)


def test_an_updated_job_survives_json_unchanged() -> None:
    changed = update(make(), description="x", custom_settings={"a": 1.0}, analysis_limits={"model_memory_limit": 9})
    assert JobConfig.from_json(changed.to_json()) == changed


def test_a_missing_body_is_refused() -> None:
    with pytest.raises(ParseError, match=r"^request body is required$"):
        update_job_config(make(), None, is_open=False, model_bytes=0)
