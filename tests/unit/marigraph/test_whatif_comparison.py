"""Comparison of results: matched by series and time, whatever the bucket spans."""

import msgspec
import pytest
from sqlalchemy import create_engine, insert

from domain.errors import InvalidArgument
from marigraph.tables import buckets, metadata, records
from marigraph.whatif.comparison import Side, compare

MEAN = {"function": "mean", "field_name": "value"}
MAX = {"function": "max", "field_name": "value"}


def record(start, score, series="a", span=900, function="mean"):
    body = {
        "timestamp": start * 1000,
        "bucket_span": span,
        "record_score": score,
        "function": function,
        "field_name": "value",
        "by_field_name": "series",
        "by_field_value": series,
    }
    return {
        "job_id": "j",
        "timestamp": start * 1000,
        "is_interim": False,
        "record_score": score,
        "initial_record_score": score,
        "probability": 0.01,
        "detector_index": 0,
        "body": msgspec.json.encode(body).decode(),
    }


def side(rows, detectors=(MEAN,), from_ms=None, to_ms=None):
    engine = create_engine("sqlite://")
    metadata.create_all(engine, [buckets, records])
    connection = engine.connect()
    for sequence, row in enumerate(rows):
        connection.execute(insert(records).values(**row, sequence=sequence))
    return Side(connection, "j", {"analysis_config": {"detectors": list(detectors)}}, from_ms, to_ms)


def kinds(difference):
    return [(each.kind, each.timestamp // 1000, each.before, each.after) for each in difference.changes]


def test_equal_results_differ_in_nothing():
    rows = [record(0, 80.0), record(900, 30.0, "b")]
    difference = compare(side(rows), side(rows))
    assert difference.changes == []
    assert difference.counts == {"gained": 0, "lost": 0, "moved": 0, "same": 2}
    assert difference.before.severities == {"critical": 1, "major": 0, "minor": 1, "warning": 0}


def test_an_anomaly_is_gained_lost_or_moved_with_the_largest_change_first():
    before = [record(0, 80.0), record(9_000, 40.0), record(18_000, 60.0)]
    after = [record(0, 82.0), record(18_000, 3.0), record(27_000, 30.0)]
    assert kinds(compare(side(before), side(after))) == [
        ("lost", 18_000, 60.0, 3.0),
        ("lost", 9_000, 40.0, None),
        ("gained", 27_000, None, 30.0),
        ("moved", 0, 80.0, 82.0),
    ]


def test_buckets_of_other_lengths_match_where_they_overlap():
    before = [record(900, 80.0), record(1_800, 70.0), record(3_600, 50.0)]
    after = [record(0, 80.5, span=3_600)]
    assert kinds(compare(side(before), side(after))) == [("lost", 3_600, 50.0, None)]
    back = compare(side(after), side(before))
    assert kinds(back) == [("gained", 3_600, None, 50.0), ("moved", 1_800, 80.5, 70.0)]


def test_series_are_told_apart():
    assert kinds(compare(side([record(0, 80.0, "a")]), side([record(0, 80.0, "b")]))) == [
        ("lost", 0, 80.0, None),
        ("gained", 0, None, 80.0),
    ]


def test_a_detector_of_both_sides_is_compared_with_itself_only():
    before = [record(0, 80.0), record(0, 60.0, function="max")]
    after = [record(0, 80.0, function="max")]
    both = (MEAN, MAX)
    assert kinds(compare(side(before, both), side(after, both))) == [
        ("lost", 0, 80.0, None),
        ("moved", 0, 60.0, 80.0),
    ]


def test_a_detector_that_took_anothers_place_is_compared_with_it():
    difference = compare(side([record(0, 80.0)]), side([record(0, 80.0, function="max")], (MAX,)))
    assert difference.counts["same"] == 1


def test_only_the_range_asked_for_counts():
    rows = [record(0, 80.0), record(900, 70.0), record(1_800, 60.0)]
    difference = compare(side(rows, from_ms=900_000, to_ms=1_800_000), side([], from_ms=900_000, to_ms=1_800_000))
    assert kinds(difference) == [("lost", 900, 70.0, None)]


@pytest.mark.parametrize("score", [0.0, -1.0, 101.0, float("nan")])
def test_a_least_score_that_is_none_is_refused(score):
    with pytest.raises(InvalidArgument, match="least score"):
        compare(side([]), side([]), score)
