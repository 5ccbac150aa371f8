"""Portions of a stretch of time: complete, in order, and never cut within a moment."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.config import create_job_config
from domain.datafeeds import create_datafeed_config
from domain.errors import BadRequest
from marigraph.datafeeds import reader as reader_module
from marigraph.datafeeds.reader import Reader
from marigraph.sources import Search
from tests.support.feeds import job_body

JOB = create_job_config(job_body(), job_id="j", now_ms=0)
SEARCH = Search.of(create_datafeed_config({"job_id": "j", "indices": ["a"]}, datafeed_id="d", job=JOB), JOB)


def portions(pages, limit, end=1_000):
    reader = Reader(SEARCH, iter([[{"time": time} for time in page] for page in pages]), 0, end)
    found = []
    while not reader.is_done or not found or found[-1][1] < end:
        start = reader.position_ms
        records, cut = reader.take(limit)
        found.append(([record["time"] for record in records], cut))
        assert all(start <= record["time"] < cut for record in records)
    return found


@given(st.lists(st.integers(0, 60), max_size=80).map(sorted), st.integers(1, 10), st.integers(1, 12))
def test_portions_are_all_records_once_cut_between_moments(times, page_size, limit):
    pages = [times[place : place + page_size] for place in range(0, len(times), page_size)]
    found = portions(pages, limit)
    assert [time for portion, _ in found for time in portion] == times
    assert all(left < right for (_, left), (_, right) in pairwise(found))
    assert found[-1][1] == 1_000
    assert all(len(portion) <= limit or len(set(portion)) == 1 for portion, _ in found)


def test_the_same_stretch_is_found_again_however_it_was_paged():
    times = [1, 1, 2, 3, 3, 3, 3, 4, 9]
    ends = {cut for size in (1, 2, 9) for _, cut in portions([times[i : i + size] for i in range(0, 9, size)], 3)}
    for end in ends:
        assert {portion[-1] < end for portion, cut in portions([times], 3) if cut == end and portion} <= {True}


def test_what_comes_too_late_within_a_scan_is_left_out():
    assert portions([[1, 2, 3], [5, 6, 2]], 2)[-1][0] == [6]


def test_too_many_records_of_one_moment_are_refused(monkeypatch):
    monkeypatch.setattr(reader_module, "MOMENT_RECORDS_MAX", 10)
    with pytest.raises(BadRequest, match="use aggregations"):
        portions([[5] * 10, [5] * 10, [5]], 3)
