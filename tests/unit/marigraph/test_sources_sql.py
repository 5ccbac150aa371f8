"""SQL databases as sources: the same on SQLite and PostgreSQL, whatever the time column holds, and never written to."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest
from sqlalchemy import create_engine, text

from domain.config import create_job_config
from domain.datafeeds import create_datafeed_config, predicate_of
from domain.errors import BadRequest
from marigraph.sources import MissingField, MissingIndex, Search, SourceError, Sources, sql
from tests.support.feeds import START_MS, job_body, rows

END_MS = START_MS + 10**9
RECORDS = rows(60)


def search_of(sources, time_format="epoch_ms", fields=("v", "airline"), **config):
    body = job_body(influencers=[name for name in fields if name not in ("v", "airline")])
    body["data_description"]["time_format"] = time_format
    job = create_job_config(body, job_id="j", now_ms=0)
    feed = create_datafeed_config({"job_id": "j", "indices": ["air"], **config}, datafeed_id="d", job=job)
    return sources.of(feed), Search.of(feed, job)


def scanned(source, search, start=START_MS, end=END_MS):
    return [record for page in source.scan(search, start, end) for record in page]


def plain(records=RECORDS, start=START_MS, end=END_MS):
    return [{"time": t, "v": v, "airline": a} for t, a, v in records if start <= t < end]


def engine_of(url):
    return create_engine(url.replace("postgresql://", "postgresql+psycopg://"))


KINDS = {
    "sqlite": {
        "milliseconds": ("INTEGER", lambda t: t, "epoch_ms"),
        "seconds": ("INTEGER", lambda t: t // 1000, "epoch"),
        "fractions of seconds": ("REAL", lambda t: t / 1000, "epoch"),
        "datetimes": ("DATETIME", lambda t: iso(t, " "), "epoch_ms"),
        "texts": ("TEXT", lambda t: iso(t, "T") + "Z", "epoch_ms"),
        "texts of the job's own form": ("TEXT", lambda t: iso(t, " "), "yyyy-MM-dd HH:mm:ss"),
    },
    "postgres": {
        "milliseconds": ("bigint", lambda t: t, "epoch_ms"),
        "seconds": ("bigint", lambda t: t // 1000, "epoch"),
        "decimal seconds": ("numeric", lambda t: t / 1000, "epoch"),
        "timestamps": ("timestamp", lambda t: iso(t, " "), "epoch_ms"),
        "timestamps with zones": ("timestamptz", lambda t: iso(t, " ") + "+00", "epoch_ms"),
        "texts": ("text", lambda t: iso(t, "T") + "+00:00", "epoch_ms"),
    },
}


def iso(time_ms, between):
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime(f"%Y-%m-%d{between}%H:%M:%S")


@pytest.fixture(params=["sqlite", "postgres"])
def database(request, tmp_path):
    """A database without tables, and what its kind is called."""
    if request.param == "sqlite":
        return request.param, f"sqlite:///{tmp_path}/source.db"
    return request.param, request.getfixturevalue("empty_postgres_url")


def make_table(url, kind="BIGINT", write=lambda t: t, records=RECORDS, name="air"):
    engine = engine_of(url)
    with engine.begin() as connection:
        connection.execute(text(f'CREATE TABLE "{name}" ("time" {kind}, airline TEXT, v FLOAT)'))
        values = [{"t": write(t), "a": a, "v": v} for t, a, v in records]
        value = f"CAST(:t AS {kind})" if engine.dialect.name == "postgresql" else ":t"
        if values:
            connection.execute(text(f'INSERT INTO "{name}" VALUES ({value}, :a, :v)'), values)
    engine.dispose()


@pytest.fixture
def opened():
    """Open sources that are closed after the test."""
    made = []

    def open_(url, **options):
        made.append(Sources({"shop": {"type": "sql", "url": url, **options}}))
        return made[-1]

    yield open_
    for sources in made:
        sources.close()


@pytest.mark.parametrize("place", range(6))
def test_times_of_every_kind_are_read_and_cut_exactly(database, opened, place):
    name, url = database
    kind, write, time_format = list(KINDS[name].values())[place]
    make_table(url, kind, write)
    source, search = search_of(opened(url), time_format)
    source.check(search)
    assert scanned(source, search) == plain()
    start, end = RECORDS[10][0], RECORDS[20][0]
    assert scanned(source, search, start, end) == plain(start=start, end=end)
    assert scanned(source, search, start + 1, end + 1) == plain(start=start + 1, end=end + 1)
    assert source.count(search, start, end) == 10
    summary = source.summary(search, start, end)
    assert summary.earliest_ms <= start <= summary.latest_ms < end
    assert source.summary(search, END_MS, END_MS + 1).n_documents in (0, 60)


QUERIES = [
    {"match_all": {}},
    {"term": {"airline": "a1"}},
    {"term": {"v": 3.5}},
    {"term": {"v": "3.5"}},
    {"term": {"v": "no number"}},
    {"terms": {"airline": ["a0", "a2", "x'y"]}},
    {"terms": {"v": [0, 1, "2"]}},
    {"range": {"v": {"gt": 2, "lte": 6.5}}},
    {"range": {"v": {"gt": "abc"}}},
    {"range": {"airline": {"gte": "a1", "lt": "a2"}}},
    {"range": {"time": {"gte": START_MS + 70_000, "lt": "2017-02-01T00:05:00Z"}}},
    {"range": {"time": {"gt": START_MS // 1000 + 70, "format": "epoch_second"}}},
    {"exists": {"field": "v"}},
    {"bool": {"must_not": {"exists": {"field": "v"}}}},
    {"bool": {"must_not": [{"term": {"v": 0}}]}},
    {"bool": {"filter": [{"term": {"airline": "a0"}}, {"range": {"v": {"lt": 5}}}]}},
    {"bool": {"should": [{"term": {"airline": "a1"}}, {"term": {"v": 0}}]}},
    {
        "bool": {
            "should": [{"term": {"airline": "a1"}}, {"range": {"v": {"gt": 4}}}, {"exists": {"field": "v"}}],
            "minimum_should_match": 2,
        }
    },
]


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_means_the_same_in_sql_as_on_records_at_hand(tmp_path, opened, query):
    same_as_at_hand(f"sqlite:///{tmp_path}/source.db", opened, query)


def test_queries_mean_the_same_on_postgres(empty_postgres_url, opened):
    records = [*RECORDS, (START_MS + 500_000, None, None), (START_MS + 600_000, "a1", None)]
    make_table(empty_postgres_url, records=records)
    for query in QUERIES:
        compare(opened(empty_postgres_url), records, query)


def same_as_at_hand(url, opened, query):
    records = [*RECORDS, (START_MS + 500_000, None, None), (START_MS + 600_000, "a1", None)]
    make_table(url, records=records)
    compare(opened(url), records, query)


def compare(sources, records, query):
    source, search = search_of(sources, query=query)
    matches = predicate_of(search.query, "time")
    wanted = [{key: value for key, value in each.items() if value is not None} for each in plain(records)]
    assert scanned(source, search) == [each for each in wanted if matches(each)]
    assert source.count(search, START_MS, END_MS) == sum(map(matches, wanted))


def test_several_tables_are_merged_by_time(database, opened):
    _, url = database
    make_table(url, records=RECORDS[::2], name="air-1")
    make_table(url, records=RECORDS[1::2], name="air-2")
    make_table(url, records=[], name="air-3")
    for indices in (["air-1", "air-2"], ["air-*"], ["air-1", "air-*"]):
        source, search = search_of(opened(url), indices=indices)
        source.check(search)
        assert scanned(source, search) == plain()
        assert source.count(search, START_MS, END_MS) == len(RECORDS)


def test_views_and_named_selects_are_tables_too(database, opened):
    _, url = database
    make_table(url)
    engine = engine_of(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE VIEW high AS SELECT * FROM air WHERE v > 5"))
    engine.dispose()
    sources = opened(url, queries={"low": 'SELECT "time", airline, v * 1.0 AS v FROM air WHERE v <= 5'})
    high = scanned(*search_of(sources, indices=["high"]))
    low = scanned(*search_of(sources, indices=["low"], query={"range": {"v": {"gte": 1}}}))
    assert high == [each for each in plain() if each["v"] > 5]
    assert low == [each for each in plain() if 1 <= each["v"] <= 5]


def test_a_named_select_is_taken_as_it_is(database, opened):
    name, url = database
    make_table(url)
    cast = "v::float8" if name == "postgres" else "v"
    query = f"SELECT \"time\", airline, {cast} AS v FROM air WHERE airline LIKE 'a%' AND airline <> ' :x 10%s'"
    source, search = search_of(opened(url, queries={"odd": query}), indices=["odd"])
    source.check(search)
    assert scanned(source, search) == plain()
    assert source.count(search, START_MS, END_MS) == len(RECORDS)


def test_a_named_select_that_is_wrong_is_an_error_of_the_source(database, opened):
    _, url = database
    make_table(url)
    source, search = search_of(opened(url, queries={"odd": "SELECT nothing FROM nowhere"}), indices=["odd"])
    with pytest.raises(SourceError):
        source.check(search)


def test_an_empty_table_has_no_records_and_no_mistakes(database, opened):
    _, url = database
    make_table(url, records=[])
    source, search = search_of(opened(url))
    source.check(search)
    assert scanned(source, search) == []
    assert (source.count(search, 0, END_MS), source.summary(search, 0, END_MS).n_documents) == (0, 0)


def test_a_table_that_comes_later_is_found(database, opened):
    _, url = database
    make_table(url, name="other")
    source, search = search_of(opened(url))
    with pytest.raises(MissingIndex):
        source.check(search)
    make_table(url)
    source.check(search)


def test_only_what_is_allowed_is_found(database, opened):
    _, url = database
    make_table(url)
    make_table(url, name="secret")
    sources = opened(url, tables=["air*"])
    assert scanned(*search_of(sources)) == plain()
    assert scanned(*search_of(sources, indices=["*"])) == plain()
    for indices in (["secret"], ["s*"]):
        source, search = search_of(sources, indices=indices)
        with pytest.raises(MissingIndex):
            source.check(search)


@pytest.mark.parametrize("name", ["pg_catalog.pg_user", "information_schema.tables", "pg_user", "pg_*"])
def test_the_catalog_of_a_database_is_no_table(empty_postgres_url, opened, name):
    make_table(empty_postgres_url)
    source, search = search_of(opened(empty_postgres_url), indices=[name])
    with pytest.raises(MissingIndex):
        source.check(search)


def test_a_missing_field_is_named(database, opened):
    _, url = database
    make_table(url)
    source, search = search_of(opened(url), fields=("nowhere",))
    with pytest.raises(MissingField, match=r"^\[d\] cannot retrieve field \[nowhere\] because it has no mappings$"):
        source.check(search)


def test_a_time_that_is_none_is_refused(database, opened):
    _, url = database
    make_table(url, "TEXT", lambda _t: "31/01/2024")
    source, search = search_of(opened(url))
    with pytest.raises(BadRequest, match=r"time field \[time\].*31/01/2024"):
        source.check(search)


@pytest.mark.parametrize("statement", ["DELETE FROM air", "CREATE TABLE more (a INTEGER)", "DROP TABLE air"])
def test_a_source_can_only_read(database, opened, statement):
    _, url = database
    make_table(url)
    source, search = search_of(opened(url))
    source.check(search)
    with pytest.raises(SourceError), source._connected() as connection:
        connection.execute(text(statement))
    assert len(scanned(source, search)) == len(RECORDS)


def test_a_scan_that_is_given_up_lets_go_of_its_connection(database, opened):
    _, url = database
    make_table(url, records=rows(10_000))
    source, search = search_of(opened(url))
    for _ in range(20):
        pages = source.scan(search, START_MS, END_MS)
        next(pages)
        pages.close()
    assert source.count(search, START_MS, END_MS) == 10_000


def test_values_become_those_of_json(empty_postgres_url, opened):
    engine = engine_of(empty_postgres_url)
    with engine.begin() as connection:
        connection.execute(
            text(
                'CREATE TABLE air ("time" bigint, airline uuid, v numeric, d date, b bytea, a int[], j jsonb, f float8)'
            )
        )
        connection.execute(
            text(
                "INSERT INTO air VALUES (:t, '00000000-0000-0000-0000-000000000001', 1.50, '2024-01-31', 'x', "
                "'{1,2}', '{\"k\": 1}', 'NaN')"
            ),
            {"t": START_MS},
        )
    engine.dispose()
    source, search = search_of(opened(empty_postgres_url), fields=("d", "b", "a", "j", "f"))
    assert scanned(source, search) == [
        {
            "time": START_MS,
            "airline": "00000000-0000-0000-0000-000000000001",
            "v": 1.5,
            "d": "2024-01-31",
            "b": "x",
            "a": [1, 2],
            "j": '{"k":1}',
        }
    ]


def test_a_database_that_is_gone_is_an_error_without_secrets(opened):
    source, search = search_of(opened("postgresql://me:secret@127.0.0.1:1/none"))
    with pytest.raises(SourceError) as caught:
        source.check(search)
    assert "secret" not in str(caught.value)


def test_a_locked_database_is_read_all_the_same(tmp_path, opened):
    path = tmp_path / "source.db"
    make_table(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        assert len(scanned(*search_of(opened(str(path))))) == len(RECORDS)


# ------------------------------------------------------------------------------------------------ aggregations

WHOLE, FRACTION, WORD = "n", "v", "word"
METRICS = {
    "greatest": {"max": {"field": WHOLE}},
    "least fraction": {"min": {"field": FRACTION}},
    "greatest fraction": {"max": {"field": FRACTION}},
    "mean": {"avg": {"field": WHOLE}},
    "total": {"sum": {"field": WHOLE}},
    "how many": {"value_count": {"field": WORD}},
    "last": {"min": {"field": "time"}},
}
IN_ROWS = {"total": {"sum": {"field": FRACTION}}, "kinds": {"cardinality": {"field": WORD}}}
TIMES = {
    "bigint": (str, "epoch_ms"),
    "integer": (lambda t: str(t // 1000), "epoch"),
    "timestamp": (lambda t: f"to_timestamp({t} / 1000.0) AT TIME ZONE 'UTC'", "epoch_ms"),
    "timestamptz": (lambda t: f"to_timestamp({t} / 1000.0)", "epoch_ms"),
    "numeric": (lambda t: f"{t} / 1000.0", "epoch"),
}


def aggregated_search(sources, time_format="epoch_ms", interval="1m", **inner):
    body = job_body(summary_count_field_name="doc_count")
    body["data_description"]["time_format"] = time_format
    job = create_job_config(body, job_id="j", now_ms=0)
    metrics = {"time": {"max": {"field": "time"}}, **inner}
    aggregations = {"buckets": {"date_histogram": {"field": "time", "fixed_interval": interval}, "aggs": metrics}}
    config = {"job_id": "j", "indices": ["air"], "aggregations": aggregations, "query": {"range": {"n": {"lt": 2**62}}}}
    feed = create_datafeed_config(config, datafeed_id="d", job=job)
    return sources.of(feed), Search.of(feed, job)


def fill(url, kind, write):
    """Make a table with everything that databases and programs may aggregate differently."""
    numbers = ["1", "-7", "NULL", str(2**53 + 1), "3", str(2**40), "2", "NULL"]
    fractions = ["0.1", "'NaN'", "'Infinity'", "NULL", "-2.5e300", "0.30000000000000004", "'-Infinity'"]
    words = ["'a'", "'A'", "NULL", "'b '", "'b'", "''"]
    values = ",".join(
        f"({write(START_MS + at * 7_001 + (at % 3) * 333)}, {numbers[at % 8]}, {fractions[at % 7]}, "
        f"{words[at % 6]}, 'host-{at % 4}')"
        for at in range(300)
    )
    engine = engine_of(url)
    with engine.begin() as connection:
        connection.execute(
            text(f'CREATE TABLE air ("time" {kind}, n BIGINT, v DOUBLE PRECISION, word TEXT, host VARCHAR(9))')
        )
        connection.execute(text(f"INSERT INTO air VALUES {values}".replace(":", r"\:")))
    engine.dispose()


def by_terms(**inner):
    words = {WORD: {"terms": {"field": WORD, "size": 3}, "aggs": inner}}
    return {"host": {"terms": {"field": "host", "size": 3}, "aggs": {**words, "mean": METRICS["mean"]}}}


@pytest.mark.parametrize("kind", TIMES)
def test_a_database_aggregates_to_what_its_rows_come_to(empty_postgres_url, opened, monkeypatch, kind):
    write, time_format = TIMES[kind]
    fill(empty_postgres_url, kind, write)
    sources = opened(empty_postgres_url)
    for inner, in_sql in (
        ({}, True),
        (METRICS, True),
        (by_terms(**METRICS), True),
        ({**METRICS, **by_terms()}, True),
        (IN_ROWS, False),
        (by_terms(**IN_ROWS), False),
    ):
        source, search = aggregated_search(sources, time_format, **inner)
        with source._connected() as connection:
            plan = sql._aggregation(connection, list(source._searchable(connection, search)), search, START_MS, END_MS)
        assert (plan is not None) is (in_sql and kind != "numeric")
        found = scanned(source, search)
        with monkeypatch.context() as patch:
            patch.setattr(sql, "_aggregation", lambda *_: None)
            expected = scanned(source, search)
        assert json.dumps(found) == json.dumps(expected)
        assert len(found) > 30
