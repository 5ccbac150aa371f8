import pytest

from domain.datafeeds import Aggregator, aggregation_body, flatten, parse_aggregations
from domain.errors import DomainError

TIME = {"time": {"max": {"field": "time"}}}


def histogram(interval="1h", kind="date_histogram", **inner):
    return {"buckets": {kind: {"field": "time", "interval": interval}, "aggs": {**TIME, **inner}}}


def by_airline(**inner):
    return {"airline": {"terms": {"field": "airline", "size": 10}, "aggs": inner}}


def aggregate(body, documents):
    aggregator = Aggregator(parse_aggregations(body, "time"))
    return aggregator.add(documents) + aggregator.finish()


DOCUMENTS = [
    {"time": 1_000, "airline": "a", "v": 1.0},
    {"time": 2_000, "airline": "b", "v": 5},
    {"time": 3_000, "airline": "a", "v": 4.0},
    {"time": 3_600_000, "airline": "b"},
    {"time": 3_600_001, "airline": "c", "v": None},
]


def test_a_histogram_makes_one_record_for_each_interval_that_holds_documents():
    documents = [*DOCUMENTS, {"time": 36_000_000, "v": 3}]
    assert aggregate(histogram(v={"avg": {"field": "v"}}), documents) == [
        {"time": 3_000, "v": 10 / 3, "doc_count": 3},
        {"time": 3_600_001, "doc_count": 2},
        {"time": 36_000_000, "v": 3.0, "doc_count": 1},
    ]


def test_terms_make_one_record_for_each_of_their_values():
    metrics = {"total": {"sum": {"field": "v"}}, "time": {"max": {"field": "time"}}}
    assert aggregate(histogram(**by_airline(**metrics)), DOCUMENTS[:4]) == [
        {"time": 3_000, "airline": "a", "total": 5.0, "doc_count": 2},
        {"time": 2_000, "airline": "b", "total": 5.0, "doc_count": 1},
        {"time": 3_600_000, "airline": "b", "total": 0.0, "doc_count": 1},
    ]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("max", 5), ("min", 1.0), ("avg", 10 / 3), ("sum", 10.0), ("value_count", 3), ("cardinality", 3)],
)
def test_a_metric_is(kind, expected):
    (record, _) = aggregate(histogram(v={kind: {"field": "v"}}), DOCUMENTS)
    assert record["v"] == expected


def test_how_documents_are_paged_does_not_matter():
    body = histogram(**by_airline(v={"avg": {"field": "v"}}))
    aggregator = Aggregator(parse_aggregations(body, "time"))
    one_by_one = [record for document in DOCUMENTS for record in aggregator.add([document])] + aggregator.finish()
    assert one_by_one == aggregate(body, DOCUMENTS)


def test_the_most_frequent_values_are_kept():
    body = histogram(**by_airline())
    body["buckets"]["aggs"]["airline"]["terms"]["size"] = 1
    assert [record["airline"] for record in aggregate(body, DOCUMENTS)] == ["a", "b"]


def test_the_answer_of_a_search_is_flattened():
    answer = {
        "buckets": {
            "buckets": [
                {"key": 0, "doc_count": 0},
                {
                    "key": 3_600_000,
                    "doc_count": 4,
                    "time": {"value": 7_000_000.0},
                    "airline": {
                        "buckets": [
                            {"key": "a", "doc_count": 3, "v": {"value": 1.5}},
                            {"key": 1, "key_as_string": "true", "doc_count": 1, "v": {"value": None}},
                        ]
                    },
                },
            ]
        }
    }
    tree = parse_aggregations(histogram(**by_airline(v={"avg": {"field": "v"}})), "time")
    assert list(flatten(tree, answer)) == [
        {"time": 7_000_000, "airline": "a", "v": 1.5, "doc_count": 3},
        {"time": 7_000_000, "airline": "true", "doc_count": 1},
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"fixed_interval": "5m"}, 300_000),
        ({"interval": "1h"}, 3_600_000),
        ({"interval": "hour"}, 3_600_000),
        ({"interval": 300_000}, 300_000),
        ({"calendar_interval": "day"}, 86_400_000),
    ],
)
def test_intervals_are_read(options, expected):
    body = {"buckets": {"date_histogram": {"field": "time", **options}, "aggs": TIME}}
    assert parse_aggregations(body, "time").interval_ms == expected


def test_what_only_engines_make_is_kept_as_it_is_and_over_whatever_field():
    options = {"buckets_path": {"n": "v"}, "script": "params.n"}
    inner = {"t": {"max": {"field": "t"}}, "v": {"avg": {"field": "v"}}, "made": {"bucket_script": options}}
    body = {"buckets": {"histogram": {"field": "t", "interval": 5, "min_doc_count": 1}, "aggs": inner}}
    tree = parse_aggregations(body)
    assert aggregation_body(tree) == body
    assert (tree.fields, [metric.name for metric in tree.passed_on]) == (("t", "v"), ["made"])
    bucket = {"key": 0, "doc_count": 2, "t": {"value": 4.0}, "v": {"value": 1.5}}
    for made, shown in (({"value": 3.0}, {"made": 3.0}), ({"value": {"a": 1}}, {}), ({"value": None}, {}), ({}, {})):
        answer = {"buckets": {"buckets": [{**bucket, "made": made}]}}
        assert list(flatten(tree, answer)) == [{"t": 4, "v": 1.5, **shown, "doc_count": 2}]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "exactly one"),
        ([], "expected an object"),
        ({"a": []}, "expected an object"),
        ({"a": {}}, "exactly one type"),
        ({**histogram(), "more": {"max": {"field": "v"}}}, "exactly one"),
        ({"a": {"terms": {"field": "x"}, "aggs": histogram()}}, "date_histogram or histogram"),
        ({"a": {"date_histogram": {"field": "when", "interval": "1h"}, "aggs": TIME}}, r"time field \[time\]"),
        ({"a": {"date_histogram": {"field": "time", "interval": "1h"}}}, r"max aggregation of the time field \[time\]"),
        (histogram(time={"max": {"field": "v"}}), r"max aggregation of the time field \[time\]"),
        (histogram(interval="0s"), "greater than 0"),
        (histogram(interval=-5, kind="histogram"), "greater than 0"),
        ({"a": {"date_histogram": {"field": "time"}, "aggs": TIME}}, "always the same"),
        ({"a": {"date_histogram": {"field": "time", "calendar_interval": "month"}, "aggs": TIME}}, "always the same"),
        (
            {"a": {"date_histogram": {"field": "time", "interval": "1h", "time_zone": "+01:00"}, "aggs": TIME}},
            "UTC",
        ),
        (histogram(a={"terms": {"field": "x"}}, b={"terms": {"field": "y"}}), "only one aggregation into buckets"),
        (histogram(a={"geohash_grid": {"field": "x"}}), "not supported"),
        (histogram(a={"avg": {}}), "must name its field"),
        (histogram(a={"terms": {"field": "x", "size": 0}}), "greater than 0"),
    ],
)
def test_other_shapes_are_refused(body, reason):
    with pytest.raises(DomainError, match=reason):
        parse_aggregations(body, "time")
