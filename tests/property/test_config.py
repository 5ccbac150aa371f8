"""Arbitrary bodies: a configuration comes out or a domain error, and what came out survives storage."""

import copy
import json
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.config import (
    JobConfig,
    create_job_config,
    parse_bytes,
    parse_duration_ms,
    update_job_config,
    validate_detector,
    validate_job,
)
from domain.config.analysis import ANALYSIS_FIELDS
from domain.config.create import JOB_FIELDS
from domain.config.detector import DETECTOR_FIELDS
from domain.config.functions import EXPANDED, FUNCTIONS
from domain.config.rules import RULE_FIELDS
from domain.config.settings import DATA_FIELDS, LIMITS_FIELDS
from domain.config.update import UPDATE_FIELDS
from domain.errors import DomainError

FAST = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

words = st.sampled_from(
    [
        "",
        "a",
        "b",
        "a.b",
        "time",
        "mlcategory",
        "count",
        "5m",
        "0s",
        "1500ms",
        "10mb",
        "all",
        "none",
        "(",
        "epoch",
    ]
)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([-1, 0, 1, 10, 2**63, 10**400]),
    st.floats(),
    st.text(max_size=8),
    words,
)
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | words, inner, max_size=3),
    max_leaves=8,
)


def objects(known: frozenset[str], **strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects that mostly have known names, with mostly fitting values where a strategy is given."""
    fitting = {key: st.one_of(strategies.get(key, anything), anything) for key in sorted(known)}
    return st.one_of(
        st.fixed_dictionaries({}, optional=fitting),
        st.fixed_dictionaries({key: strategies[key] for key in strategies if key in known}),
        anything,
    )


names = st.sampled_from(["a", "b", "c", "d e", "mlcategory", None])
rules = st.lists(
    objects(
        RULE_FIELDS,
        actions=st.just(["skip_result"]),
        conditions=st.just([{"applies_to": "time", "operator": "gt", "value": 1}]),
    ),
    max_size=2,
)
detectors = objects(
    DETECTOR_FIELDS,
    function=st.sampled_from([*FUNCTIONS, *EXPANDED]),
    field_name=names,
    by_field_name=names,
    over_field_name=names,
    partition_field_name=names,
    custom_rules=rules,
)
analyses = objects(
    ANALYSIS_FIELDS,
    bucket_span=st.sampled_from(["5m", "1H", "0s", "1d"]),
    detectors=st.lists(detectors, max_size=3),
    influencers=st.lists(st.sampled_from(["a", "b", "x"]), max_size=2),
)
limits = objects(LIMITS_FIELDS, model_memory_limit=st.sampled_from([1, "10mb", "500kb"]))
data = objects(DATA_FIELDS, time_format=st.sampled_from(["epoch", "yyyy-MM-dd", "x"]))
bodies = objects(
    JOB_FIELDS,
    job_id=st.sampled_from(["web", "other", "_all"]),
    analysis_config=analyses,
    analysis_limits=limits,
    data_description=data,
    custom_settings=st.dictionaries(st.text(max_size=4), anything, max_size=3),
)
updates = objects(
    UPDATE_FIELDS,
    analysis_limits=limits,
    detectors=st.lists(objects(frozenset({"detector_index", "custom_rules"}), detector_index=st.just(0)), max_size=2),
    custom_settings=st.dictionaries(st.text(max_size=4), anything, max_size=3),
)

good_detectors = st.lists(
    st.builds(
        lambda field, by, partition: {
            "function": "mean",
            "field_name": field,
            "by_field_name": by,
            "partition_field_name": partition,
        },
        st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=5),
        st.sampled_from([None, "b1", "b2"]),
        st.sampled_from([None, "p 1", "p2"]),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda one: tuple(one.values()),
)
json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def damaged(draw: st.DrawFn, bodies_: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    """Good bodies in which up to two values, anywhere, are replaced by anything."""
    body = copy.deepcopy(draw(bodies_))
    for _ in range(draw(st.integers(0, 2))):
        place: Any = body
        while True:
            keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if not isinstance(place[key], (dict, list)) or draw(st.booleans()):
                place[key] = draw(anything)
                break
            place = place[key]
    return body


good_bodies = st.fixed_dictionaries(
    {
        "analysis_config": st.fixed_dictionaries(
            {"detectors": good_detectors, "bucket_span": st.sampled_from(["5m", "1H", "1d"])},
            optional={"influencers": st.just(["x", "y"]), "latency": st.just("0s")},
        ),
        "data_description": st.just({"time_field": "@timestamp"}),
    },
    optional={
        "analysis_limits": st.just({"model_memory_limit": "10mb"}),
        "model_plot_config": st.just({"enabled": True}),
        "groups": st.just(["g"]),
        "custom_settings": st.just({"a": {"b": [1]}}),
        "results_retention_days": st.just(3),
        "background_persist_interval": st.just("2h"),
        "description": st.just("d"),
    },
)
good_updates = st.fixed_dictionaries(
    {},
    optional={
        "analysis_limits": st.just({"model_memory_limit": "10mb"}),
        "model_plot_config": st.just({"enabled": True}),
        "groups": st.just(["g"]),
        "custom_settings": st.just({"a": {"b": [1]}}),
        "results_retention_days": st.just(3),
        "description": st.just("d"),
        "detectors": st.just([{"detector_index": 0, "description": "e"}]),
    },
)


def check_survives_storage(config: JobConfig) -> None:
    stored = config.to_json()
    assert JobConfig.from_json(stored) == config
    assert JobConfig.from_json(msgspec.json.encode(msgspec.json.decode(stored))) == config
    json.dumps(config.resource(), allow_nan=False).encode()
    assert [one.detector_index for one in config.detectors] == list(range(len(config.detectors)))


@FAST
@given(st.one_of(bodies, damaged(good_bodies)))
def test_any_body_makes_a_configuration_or_a_domain_error(body: Any) -> None:
    try:
        config = create_job_config(body, job_id="web", now_ms=0)
    except DomainError as error:
        assert error.reason
        return
    check_survives_storage(config)
    validate_job(body)


@FAST
@given(detectors)
def test_any_detector_is_taken_or_refused_with_a_domain_error(body: Any) -> None:
    try:
        validate_detector(body)
    except DomainError as error:
        assert error.reason


@FAST
@given(st.one_of(updates, damaged(good_updates)))
def test_any_update_changes_a_configuration_or_is_a_domain_error(body: Any) -> None:
    base = {"analysis_config": {"detectors": [{"function": "count"}]}, "data_description": {}}
    config = create_job_config(base, job_id="web", now_ms=0)
    try:
        changed = update_job_config(config, body, is_open=False, model_bytes=0)
    except DomainError as error:
        assert error.reason
        return
    check_survives_storage(changed)


@FAST
@given(
    good_detectors,
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), json_values, max_size=3),
)
def test_a_valid_body_always_makes_a_configuration_that_survives_storage(
    valid_detectors: list[dict[str, Any]], custom: dict[str, Any]
) -> None:
    body = {
        "analysis_config": {"detectors": valid_detectors},
        "data_description": {"time_field": "@timestamp"},
        "custom_settings": custom,
    }
    config = create_job_config(body, job_id="web", now_ms=0)
    check_survives_storage(config)
    assert config.resource()["custom_settings"] == custom


@FAST
@given(good_detectors)
def test_what_is_echoed_can_be_sent_again_and_makes_the_same_job(
    valid_detectors: list[dict[str, Any]],
) -> None:
    body = {
        "analysis_config": {"detectors": valid_detectors},
        "data_description": {"time_field": "@timestamp"},
        "results_index_name": "x",
    }
    config = create_job_config(body, job_id="web", now_ms=7)
    echo = {key: value for key, value in config.resource().items() if key != "create_time"}
    assert create_job_config(echo, job_id="web", now_ms=7) == config


@FAST
@given(st.text(max_size=12) | st.from_regex(r"-?[0-9]{1,20}\s?[a-zA-Z]{1,6}", fullmatch=True))
def test_any_text_is_a_length_a_size_or_a_domain_error(text: str) -> None:
    for parse in (parse_duration_ms, parse_bytes):
        try:
            value = parse(text, "x")
        except DomainError:
            continue
        assert abs(value) < 2**63
