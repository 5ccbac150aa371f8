"""Elasticsearch as a source: what it is asked, and what is made of its answers; the engine is a small stub."""

import importlib.util
from itertools import pairwise

import pytest

from domain.config import create_job_config
from domain.datafeeds import create_datafeed_config, predicate_of
from marigraph.sources import MissingField, MissingIndex, Search, SourceError, Sources
from tests.support.feeds import START_MS, job_body, rows
from tests.support.search_engine import running_engine
from tests.unit.marigraph.test_sources_sql import END_MS, plain, scanned, search_of

RECORDS = rows(60)


@pytest.fixture
def running():
    with running_engine() as (engine, url):
        engine.indices["air"] = [{"time": t, "airline": a, "v": v} for t, a, v in reversed(RECORDS)]
        yield engine, url


@pytest.fixture
def engine(running):
    return running[0]


CLIENTS = ["elasticsearch", *(["opensearch"] if importlib.util.find_spec("opensearchpy") else [])]


@pytest.fixture(params=CLIENTS)
def opened(running, request):
    made = []

    def open_(**options):
        made.append(Sources({"search": {"type": request.param, "url": running[1], **options}}))
        return made[-1]

    yield open_
    for sources in made:
        sources.close()


def test_documents_come_in_order_page_by_page_and_each_once(engine, opened):
    source, search = search_of(opened(), scroll_size=7)
    source.check(search)
    assert scanned(source, search) == plain()
    assert len([path for _, path, *_ in engine.requests if path == "/_search/scroll"]) == 9 + 1
    assert engine.scrolls == {}, "scrolls are let go of"


def test_a_stretch_of_time_has_no_end_of_its_own(opened):
    source, search = search_of(opened())
    start, end = RECORDS[10][0], RECORDS[20][0]
    assert scanned(source, search, start, end) == plain(start=start, end=end)
    assert source.count(search, start, end) == 10
    summary = source.summary(search, start, end)
    assert (summary.n_documents, summary.earliest_ms, summary.latest_ms) == (10, start, RECORDS[19][0])
    assert source.summary(search, END_MS, END_MS + 1).n_documents == 0


@pytest.mark.parametrize(
    "query",
    [
        {"term": {"airline": "a1"}},
        {"terms": {"airline": ["a0", "a2"]}},
        {"range": {"v": {"gt": 2, "lte": 6.5}}},
        {"range": {"time": {"gte": START_MS + 70_000}}},
        {"bool": {"must_not": [{"term": {"airline": "a0"}}], "filter": [{"exists": {"field": "v"}}]}},
        {"bool": {"should": [{"term": {"airline": "a1"}}, {"range": {"v": {"lt": 1}}}]}},
    ],
)
def test_a_query_is_handed_on(opened, query):
    source, search = search_of(opened(), query=query)
    assert scanned(source, search) == [each for each in plain() if predicate_of(search.query, "time")(each)]


def test_values_are_read_by_column_or_from_the_document(engine, opened):
    document = {"time": START_MS, "deep": {"er": 5}, "message": "a b", "airline": ["x", "y"], "v": 1.5}
    engine.indices["deep"] = [document]
    source, search = search_of(opened(), indices=["deep"], fields=("deep.er", "message", "airline"))
    assert scanned(source, search) == [
        {"time": START_MS, "v": 1.5, "airline": ["x", "y"], "deep.er": 5, "message": "a b"}
    ]


def test_patterns_name_several_indices(engine, opened):
    engine.indices["air-2"] = [{"time": END_MS - 1, "airline": "b", "v": 1}]
    source, search = search_of(opened(), indices=["air*"])
    assert len(scanned(source, search)) == len(RECORDS) + 1


def aggregated(opened, interval="1m", inner=None, **more):
    job = create_job_config(job_body(summary_count_field_name="doc_count"), job_id="j", now_ms=0)
    aggregations = {
        "buckets": {
            "date_histogram": {"field": "time", "fixed_interval": interval},
            "aggs": {
                "time": {"max": {"field": "time"}},
                **(inner or {"airline": {"terms": {"field": "airline"}, "aggs": {"v": {"avg": {"field": "v"}}}}}),
            },
        }
    }
    body = {"job_id": "j", "indices": ["air"], "aggregations": aggregations, **more}
    feed = create_datafeed_config(body, datafeed_id="d", job=job)
    return opened().of(feed), Search.of(feed, job)


def test_the_engine_aggregates_and_the_leaves_are_records(engine, opened, tmp_path):
    source, search = aggregated(opened)
    found = scanned(source, search)
    assert sum(record["doc_count"] for record in found) == source.count(search, START_MS, END_MS) == len(RECORDS)
    times = [record["time"] for record in found]
    assert times == sorted(times)
    first = [(t, v) for t, a, v in RECORDS if a == "a0" and t < START_MS + 60_000]
    assert found[0] == {
        "time": max(t for t, *_ in RECORDS if t < START_MS + 60_000),
        "airline": "a0",
        "doc_count": len(first),
        "v": sum(v for _, v in first) / len(first),
    }
    assert all(body.get("size") == 0 for _, path, _, body in engine.requests if path.endswith("_search"))


def test_what_only_an_engine_makes_of_buckets_is_left_to_it(opened):
    inner = {"v": {"sum": {"field": "v"}}, "change": {"derivative": {"buckets_path": "v"}}}
    source, search = aggregated(opened, inner=inner)
    source.check(search)
    first, *others = scanned(source, search)
    assert "change" not in first
    sums = [record["v"] for record in (first, *others)]
    assert [record["change"] for record in others] == [after - before for before, after in pairwise(sums)]


def test_a_long_stretch_is_aggregated_in_parts(engine, opened):
    engine.indices["air"].append({"time": START_MS + 3_000 * 60_000, "airline": "a0", "v": 1})
    source, search = aggregated(opened)
    found = scanned(source, search)
    assert sum(record["doc_count"] for record in found) == len(RECORDS) + 1
    searches = [body for _, path, _, body in engine.requests if path.endswith("_search")]
    assert len(searches) == 1 + 4


def test_what_is_missing_is_named(engine, opened):
    source, search = search_of(opened(), indices=["utopia"])
    with pytest.raises(MissingIndex, match="utopia"):
        source.check(search)
    source, search = search_of(opened(), indices=["utopia*"])
    with pytest.raises(MissingIndex, match="utopia"):
        source.check(search)
    source, search = search_of(opened(), fields=("nowhere",))
    with pytest.raises(MissingField, match=r"\[nowhere\]"):
        source.check(search)


@pytest.mark.parametrize(
    "index",
    [
        "_all",
        "-air",
        "+air",
        ".security",
        "air/_delete_by_query",
        "../air",
        "air,other",
        "<air-{now/d}>",
        "cluster:air",
        "air?q=1",
        "air#x",
        "air\\x",
        "a ir",
    ],
)
def test_no_name_is_anything_but_an_index(engine, opened, index):
    source, search = search_of(opened(), indices=[index])
    for attempt in (lambda: source.check(search), lambda: scanned(source, search)):
        with pytest.raises(MissingIndex):
            attempt()
    assert engine.requests == []


@pytest.mark.parametrize(
    ("allowed", "index", "is_allowed"),
    [
        (["air"], "air", True),
        (["air"], "airs", False),
        (["air"], "a*", False),
        (["a*"], "air", True),
        (["a*"], "ai*", True),
        (["a*"], "*", False),
        (["a*"], "b*", False),
        (["a*r"], "air", True),
        (["a*r"], "ai*", False),
        (["a*r"], "a*r", True),
    ],
)
def test_only_what_is_allowed_is_asked_for(engine, opened, allowed, index, is_allowed):
    source, search = search_of(opened(indices=allowed), indices=[index])
    if is_allowed:
        source.check(search)
        assert engine.requests
    else:
        with pytest.raises(MissingIndex):
            source.check(search)
        assert engine.requests == []


def test_credentials_are_sent(engine, opened):
    source, search = search_of(opened(user="me", password="secret"))
    source.check(search)
    assert engine.authorization == ["Basic bWU6c2VjcmV0"]


def test_an_api_key_is_sent(running):
    engine, url = running
    sources = Sources({"search": {"type": "elasticsearch", "url": url, "api_key": "key"}})
    source, search = search_of(sources)
    source.check(search)
    assert engine.authorization == ["ApiKey key"]
    sources.close()


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500])
def test_a_failure_is_an_error_of_the_source(engine, opened, status):
    source, search = search_of(opened(user="me", password="secret"))
    engine.failures = [(status, {"error": {"type": "x", "reason": "broken"}, "status": status})] * 10
    with pytest.raises(SourceError) as caught:
        source.count(search, 0, 1)
    assert "secret" not in str(caught.value)


def test_a_scroll_that_ended_is_an_error_and_not_the_end(engine, opened):
    source, search = search_of(opened(), scroll_size=7)
    pages = source.scan(search, START_MS, END_MS)
    next(pages)
    engine.scrolls.clear()
    with pytest.raises(SourceError):
        next(pages)


def test_an_engine_that_is_gone_is_an_error_of_the_source():
    sources = Sources({"search": {"type": "elasticsearch", "url": "http://127.0.0.1:1"}})
    source, search = search_of(sources)
    with pytest.raises(SourceError):
        source.check(search)
    sources.close()
