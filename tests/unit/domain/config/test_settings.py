"""The smaller parts of a configuration: memory limit, model plot, data description."""

from typing import Any

import pytest

from domain.config import create_job_config
from domain.errors import BadRequest, DomainError, UnknownField
from tests.unit.domain.config.bodies import job_body, make


def refusal(**fields: Any) -> DomainError:
    with pytest.raises(DomainError) as caught:
        make(**fields)
    return caught.value


@pytest.mark.parametrize(
    ("limit", "echo", "size"),
    [
        (10, "10mb", 10 << 20),
        ("10", None, 0),
        (10.7, "10mb", 10 << 20),
        ("10mb", "10mb", 10 << 20),
        ("3G", "3072mb", 3 << 30),
        ("3000g", "3072000mb", 3000 << 30),
        ("1500kb", "1mb", 1 << 20),
    ],
)
def test_a_memory_limit_is_echoed_in_whole_mebibytes(limit: Any, echo: str | None, size: int) -> None:
    if echo is None:
        assert isinstance(refusal(analysis_limits={"model_memory_limit": limit}), BadRequest)
        return
    config = make(analysis_limits={"model_memory_limit": limit})
    assert config.analysis_limits.resource()["model_memory_limit"] == echo
    assert config.model_memory_limit_bytes == size


def test_a_memory_limit_above_that_of_the_server_is_refused() -> None:
    body = job_body(analysis_limits={"model_memory_limit": "10gb"})
    with pytest.raises(BadRequest) as caught:
        create_job_config(body, job_id="web", now_ms=0, memory_limit_bytes_max=9 << 30)
    assert caught.value.reason == (
        "model_memory_limit [10gb] must be less than the value of the xpack.ml.max_model_memory_limit setting [9gb]"
    )
    create_job_config(body, job_id="web", now_ms=0, memory_limit_bytes_max=10 << 30)


@pytest.mark.parametrize("limit", [True, [], {}, 1e300, 2**60])
def test_a_memory_limit_of_the_wrong_type_or_size_is_refused(limit: Any) -> None:
    assert isinstance(refusal(analysis_limits={"model_memory_limit": limit}), UnknownField)


@pytest.mark.parametrize(
    ("given", "annotations"),
    [
        ({"enabled": True}, True),
        ({"enabled": False}, False),
        ({"enabled": "true", "annotations_enabled": False}, False),
        ({"enabled": False, "annotations_enabled": True}, True),
    ],
)
def test_annotations_follow_the_model_plot_unless_given(given: dict[str, Any], annotations: bool) -> None:
    plot = make(model_plot_config=given).model_plot_config
    assert plot is not None
    assert plot.annotations_enabled is annotations


@pytest.mark.parametrize(
    ("given", "echo"),
    [
        ({}, {"time_field": "time", "time_format": "epoch_ms"}),
        ({"format": "XCONTENT"}, {"time_field": "time", "time_format": "epoch_ms"}),
        ({"time_field": "t", "time_format": "epoch"}, {"time_field": "t", "time_format": "epoch"}),
        (
            {"time_format": "yyyy-MM-dd'T'HH:mm:ssX"},
            {"time_field": "time", "time_format": "yyyy-MM-dd'T'HH:mm:ssX"},
        ),
        (
            {"quote_character": "'", "field_delimiter": "\t", "format": "delimited"},
            {
                "format": "delimited",
                "time_field": "time",
                "time_format": "epoch_ms",
                "field_delimiter": "\t",
                "quote_character": "'",
            },
        ),
    ],
)
def test_a_data_description_is_echoed_without_the_default_format(given: dict[str, str], echo: dict[str, str]) -> None:
    shown = make(data_description=given).data_description.resource()
    assert list(shown.items()) == list(echo.items())


def test_the_json_format_is_refused() -> None:
    assert refusal(data_description={"format": "json"}).reason.startswith(
        "[1:1] [data_description] failed to parse field [format]"
    )


def test_delimited_data_is_taken_with_a_warning() -> None:
    warning = "Creating jobs with delimited data format is deprecated. Please use xcontent instead."
    assert make(data_description={"format": "delimited"}).deprecations == (warning,)
    assert make().deprecations == ()
