"""The analysis part of a configuration: spans, fields, categorization, and how detectors fit together."""

from typing import Any

import pytest

from domain.config.categorization import compile_filter
from domain.errors import BadRequest, DomainError, InvalidArgument, UnknownField
from tests.unit.domain.config.bodies import detector, make

ML = {"by_field_name": "mlcategory"}


def refusal(*detectors: dict[str, Any], **analysis: Any) -> DomainError:
    with pytest.raises(DomainError) as caught:
        make(*detectors, analysis=analysis)
    return caught.value


def test_the_analysis_is_echoed_in_order_with_its_defaults() -> None:
    assert make(detector()).resource()["analysis_config"] == {
        "bucket_span": "5m",
        "detectors": [{"detector_description": "count", "function": "count", "detector_index": 0}],
        "influencers": [],
    }


def test_everything_given_is_echoed_in_order() -> None:
    analysis = {
        "multivariate_by_fields": False,
        "influencers": ["i"],
        "summary_count_field_name": "n",
        "latency": "2M",
        "categorization_filters": ["a+"],
        "categorization_field_name": "message",
        "bucket_span": "300S",
    }
    shown = make(detector(**ML), analysis=analysis).resource()["analysis_config"]
    assert isinstance(shown, dict)
    shown.pop("detectors")
    assert list(shown.items()) == [
        ("bucket_span", "300S"),
        ("categorization_field_name", "message"),
        ("categorization_filters", ["a+"]),
        ("per_partition_categorization", {"enabled": False}),
        ("latency", "2M"),
        ("summary_count_field_name", "n"),
        ("influencers", ["i"]),
        ("multivariate_by_fields", False),
    ]


def test_spans_keep_their_text_and_tell_their_seconds() -> None:
    config = make(analysis={"bucket_span": "1H", "latency": "120s"})
    assert (config.bucket_span_seconds, config.latency_seconds) == (3600, 120)
    assert (make().bucket_span_seconds, make().latency_seconds) == (300, 0)


@pytest.mark.parametrize(
    ("analysis", "message"),
    [
        ({"bucket_span": "0s"}, "bucket_span cannot be less or equal than 0. Value = 0s"),
        ({"bucket_span": "-5m"}, "bucket_span cannot be less or equal than 0. Value = -5m"),
        ({"bucket_span": "1500ms"}, "bucket_span has to be a multiple of seconds. Value = 1500ms"),
        ({"bucket_span": "100micros"}, "bucket_span has to be a multiple of seconds. Value = 100micros"),
        ({"latency": "-1s"}, "latency cannot be less than 0. Value = -1s"),
        ({"latency": "10ms"}, "latency has to be a multiple of seconds. Value = 10ms"),
    ],
)
def test_a_span_that_buckets_cannot_have_is_refused(analysis: dict[str, str], message: str) -> None:
    error = refusal(**analysis)
    assert isinstance(error, InvalidArgument)
    assert error.reason == message


@pytest.mark.parametrize("span", [300, True, ["5m"]])
def test_a_span_is_a_text(span: Any) -> None:
    assert isinstance(refusal(bucket_span=span), UnknownField)


@pytest.mark.parametrize("latency", ["0", "0s", "1m"])
def test_latency_may_be_zero(latency: str) -> None:
    assert make(analysis={"latency": latency}).analysis_config.latency == latency


@pytest.mark.parametrize("detectors", [[], None])
def test_an_analysis_without_detectors_is_refused(detectors: Any) -> None:
    error = refusal(detectors=detectors)
    assert isinstance(error, BadRequest)
    assert error.reason == "No detectors configured"


def test_two_detectors_that_differ_only_in_their_index_are_refused() -> None:
    error = refusal(detector(by_field_name="b", detector_index=0), detector(by_field_name="b", detector_index=5))
    assert isinstance(error, InvalidArgument)
    assert error.reason == "Duplicate detectors are not allowed: [count by b]"


def test_two_spellings_of_one_function_are_the_same_detector() -> None:
    assert refusal(detector(function="nzc"), detector(function="non_zero_count")).reason == (
        "Duplicate detectors are not allowed: [non_zero_count]"
    )


@pytest.mark.parametrize("other", [{"detector_description": "mine"}, {"use_null": True}, {"partition_field_name": "p"}])
def test_detectors_that_differ_in_anything_else_are_taken(other: dict[str, Any]) -> None:
    assert [shown.detector_index for shown in make(detector(), detector(**other)).detectors] == [0, 1]


@pytest.mark.parametrize("influencers", [None, [None], ["a", None]])
def test_influencers_are_never_null(influencers: Any) -> None:
    assert isinstance(refusal(influencers=influencers), InvalidArgument)


@pytest.mark.parametrize("influencers", ["a", [1], [["a"]], {}])
def test_influencers_are_an_array_of_strings(influencers: Any) -> None:
    assert isinstance(refusal(influencers=influencers), UnknownField)


def test_the_metric_function_takes_no_summaries() -> None:
    metric = {"function": "metric", "field_name": "f"}
    assert refusal(metric, summary_count_field_name="n").reason == (
        "The 'metric' function cannot be used in jobs that will take pre-summarized input"
    )


@pytest.mark.parametrize(
    ("detectors", "analysis", "message"),
    [
        (
            [detector()],
            {"categorization_field_name": "m"},
            "categorization_field_name is set but mlcategory is not used in any detector by/over/partition field",
        ),
        (
            [detector(partition_field_name="mlcategory")],
            {},
            "categorization_field_name must be set for mlcategory to be available",
        ),
        (
            [detector()],
            {"categorization_filters": ["a"]},
            "categorization_filters need categorization_field_name to be set",
        ),
        (
            [detector(**ML)],
            {"categorization_field_name": "m", "categorization_filters": ["a", "a"]},
            "categorization_filters contain duplicates",
        ),
        (
            [detector(**ML)],
            {"categorization_field_name": "m", "categorization_filters": ["a", ""]},
            "categorization_filters contain an empty string",
        ),
        (
            [detector(**ML)],
            {"categorization_field_name": "m", "categorization_filters": ["a", "("]},
            "categorization_filters contain an invalid regular expression '('",
        ),
        (
            [detector(**ML)],
            {
                "categorization_field_name": "m",
                "categorization_filters": ["a"],
                "categorization_analyzer": "standard",
            },
            "categorization_filters cannot be used with categorization_analyzer - instead specify them as "
            "pattern_replace char_filters in the analyzer",
        ),
        (
            [detector()],
            {"categorization_analyzer": "standard"},
            "categorization_analyzer needs categorization_field_name to be set",
        ),
        (
            [detector()],
            {"per_partition_categorization": {"enabled": True}},
            "per_partition_categorization needs categorization_field_name to be set",
        ),
        (
            [detector(partition_field_name="p", **ML), detector(partition_field_name="q", **ML)],
            {"categorization_field_name": "m", "per_partition_categorization": {"enabled": True}},
            "per_partition_categorization needs the same partition_field_name in every detector that uses mlcategory",
        ),
        (
            [detector(**ML)],
            {"categorization_field_name": "m", "per_partition_categorization": {"enabled": True}},
            "per_partition_categorization needs the same partition_field_name in every detector that uses mlcategory",
        ),
        (
            [detector(**ML)],
            {
                "categorization_field_name": "m",
                "per_partition_categorization": {"enabled": False, "stop_on_warn": True},
            },
            "stop_on_warn of per_partition_categorization cannot be true while enabled is false",
        ),
    ],
)
def test_categorization_needs_all_its_parts_and_no_other(
    detectors: list[dict[str, Any]], analysis: dict[str, Any], message: str
) -> None:
    error = refusal(*detectors, **analysis)
    assert isinstance(error, BadRequest)
    assert error.reason == message


def test_categories_per_partition_are_echoed() -> None:
    setting = {"enabled": True, "stop_on_warn": False}
    analysis = {"categorization_field_name": "m", "per_partition_categorization": {"enabled": True}}
    config = make(detector(partition_field_name="p", **ML), detector(), analysis=analysis)
    assert config.analysis_config.resource()["per_partition_categorization"] == setting


@pytest.mark.parametrize("analyzer", ["standard", {"tokenizer": "ml_classic", "filter": [{"type": "stop"}]}])
def test_an_analyzer_is_a_name_or_an_object(analyzer: Any) -> None:
    analysis = {"categorization_field_name": "m", "categorization_analyzer": analyzer}
    config = make(detector(**ML), analysis=analysis)
    assert config.analysis_config.resource()["categorization_analyzer"] == analyzer


@pytest.mark.parametrize("analyzer", ["", 1, [], {"foo": 1}])
def test_anything_else_is_no_analyzer(analyzer: Any) -> None:
    assert isinstance(refusal(detector(**ML), categorization_analyzer=analyzer), UnknownField)


@pytest.mark.parametrize("text", [r"\[statement:.*\]", r"\p{Alpha}+\z", r"a\h+b", r"(?i)x", "[[a]&&b]", r"\\p{L}"])
def test_a_filter_may_use_the_common_escapes_of_other_dialects(text: str) -> None:
    assert compile_filter(text) is not None


@pytest.mark.parametrize("text", ["(", "[a", "*", "a{2,1}", "(" * 20_000, "a{99999999999999999999}", "\\"])
def test_what_does_not_compile_is_no_filter(text: str) -> None:
    assert compile_filter(text) is None


@pytest.mark.parametrize(
    ("detectors", "analysis", "pair"),
    [
        ([detector(by_field_name="a", over_field_name="a.b")], {}, ("a", "a.b")),
        ([detector(by_field_name="a")], {"influencers": ["a.b.c"]}, ("a", "a.b.c")),
        ([detector(by_field_name="a-x")], {"influencers": ["a", "a.b"]}, ("a", "a.b")),
    ],
)
def test_a_field_cannot_be_the_parent_of_another(
    detectors: list[dict[str, Any]], analysis: dict[str, Any], pair: tuple[str, str]
) -> None:
    assert refusal(*detectors, **analysis).reason == (
        f"Fields [{pair[0]}] and [{pair[1]}] cannot both be used in the same analysis_config"
    )


@pytest.mark.parametrize("key", ["influencers", "summary_count_field_name", "categorization_field_name"])
def test_the_time_field_is_no_field_of_the_analysis(key: str) -> None:
    value = ["time"] if key == "influencers" else "time"
    fields = ML if key == "categorization_field_name" else {}
    error = refusal(detector(**fields), **{key: value})
    assert isinstance(error, InvalidArgument)
    assert error.reason == "data_description.time_field may not be used in the analysis_config"


def test_fields_of_the_analysis_come_once_in_order_without_the_category() -> None:
    config = make(
        {"function": "sum", "field_name": "f", "by_field_name": "b", "partition_field_name": "p"},
        detector(by_field_name="mlcategory", over_field_name="o", partition_field_name="p"),
        analysis={
            "influencers": ["i", "b", "i"],
            "summary_count_field_name": "n",
            "categorization_field_name": "m",
        },
    )
    assert config.analysis_fields == ("f", "b", "p", "o", "i", "n", "m")
    assert config.influencers == ("i", "b")
    assert config.analysis_config.influencers == ("i", "b", "i")


def test_fields_of_old_servers_are_ignored() -> None:
    old = {
        "overlapping_buckets": True,
        "result_finalization_window": 2,
        "multiple_bucket_spans": ["10m"],
        "use_per_partition_normalization": False,
    }
    assert make(analysis=old) == make()


def test_an_unknown_field_is_refused_by_name() -> None:
    assert refusal(bucket_spam="5m").reason == "[1:1] [analysis_config] unknown field [bucket_spam]"


def test_detectors_are_checked_before_the_span_and_the_span_before_their_number() -> None:
    assert refusal({"function": "x"}, bucket_span="0s").reason == "Unknown function 'x'"
    assert refusal(bucket_span="0s", detectors=[]).reason.startswith("bucket_span cannot")
