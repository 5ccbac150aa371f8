import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.datafeeds import predicate_of, query_fields, query_resource
from domain.datafeeds.query import QueryError, parse_query

RECORDS = [
    {"time": 1_000, "airline": "AAL", "v": 1, "ok": True, "tags": ["a", "b"]},
    {"time": 2_000, "airline": "KLM", "v": "2.50", "ok": False},
    {"time": 3_000, "airline": "BAW", "when": "2024-01-31T12:00:00Z"},
]


def found(query):
    matches = predicate_of(parse_query(query), "time")
    return [place for place, record in enumerate(RECORDS) if matches(record)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"match_all": {}}, [0, 1, 2]),
        ({"term": {"airline": "KLM"}}, [1]),
        ({"term": {"airline": {"value": "KLM", "boost": 2}}}, [1]),
        ({"term": {"v": 2.5}}, [1]),
        ({"term": {"v": "1"}}, [0]),
        ({"term": {"ok": True}}, [0]),
        ({"term": {"ok": "false"}}, [1]),
        ({"term": {"tags": "b"}}, [0]),
        ({"term": {"nothing": "b"}}, []),
        ({"terms": {"airline": ["KLM", "BAW"]}}, [1, 2]),
        ({"terms": {"airline": []}}, []),
        ({"exists": {"field": "v"}}, [0, 1]),
        ({"range": {"v": {"gt": 1}}}, [1]),
        ({"range": {"v": {"gte": 1, "lt": "2.5"}}}, [0]),
        ({"range": {"airline": {"gte": "B", "lt": "L"}}}, [1, 2]),
        ({"range": {"time": {"gte": "1970-01-01T00:00:02Z"}}}, [1, 2]),
        ({"range": {"time": {"lte": 2, "format": "epoch_second"}}}, [0, 1]),
        ({"range": {"time": {"gt": "no time"}}}, []),
        ({"range": {"when": {"gt": "2024-01-31T13:00:00+02:00"}}}, [2]),
        ({"bool": {}}, [0, 1, 2]),
        ({"bool": {"filter": {"exists": {"field": "v"}}, "must_not": [{"term": {"v": 1}}]}}, [1]),
        ({"bool": {"should": [{"term": {"v": 1}}, {"term": {"airline": "BAW"}}]}}, [0, 2]),
        ({"bool": {"must": [{"match_all": {}}], "should": [{"term": {"v": 1}}]}}, [0, 1, 2]),
        (
            {"bool": {"should": [{"term": {"v": 1}}, {"term": {"ok": True}}], "minimum_should_match": 2}},
            [0],
        ),
    ],
)
def test_a_query_finds(query, expected):
    assert found(query) == expected
    assert found(query_resource(parse_query(query))) == expected


@pytest.mark.parametrize(
    ("query", "resource"),
    [
        ({"match_all": {}}, {"match_all": {"boost": 1.0}}),
        ({"term": {"a": 1}}, {"term": {"a": {"value": 1, "boost": 1.0}}}),
        ({"terms": {"a": ["x"], "boost": 1}}, {"terms": {"a": ["x"], "boost": 1.0}}),
        ({"exists": {"field": "a"}}, {"exists": {"field": "a", "boost": 1.0}}),
        (
            {"range": {"a": {"gt": 1}}},
            {"range": {"a": {"from": 1, "to": None, "include_lower": False, "include_upper": True, "boost": 1.0}}},
        ),
        (
            {"bool": {"must": {"match_all": {}}}},
            {"bool": {"must": [{"match_all": {"boost": 1.0}}], "adjust_pure_negative": True, "boost": 1.0}},
        ),
    ],
)
def test_a_query_is_shown_with_everything_spelt_out(query, resource):
    assert query_resource(parse_query(query)) == resource


@pytest.mark.parametrize(
    "query",
    [
        None,
        [],
        {},
        {"match_all": {}, "term": {"a": 1}},
        {"match_all": []},
        {"match_all": {"x": 1}},
        {"match": {"a": "b"}},
        {"script": {"script": "1"}},
        {"term": {}},
        {"term": {"a": 1, "b": 2}},
        {"term": {"a": None}},
        {"term": {"a": {"value": {}}}},
        {"terms": {"a": "x"}},
        {"terms": {"a": [None]}},
        {"exists": {}},
        {"exists": {"field": 5}},
        {"range": {"a": 5}},
        {"range": {"a": {"over": 5}}},
        {"range": {"a": {"gt": []}}},
        {"range": {"a": {"gt": 1, "time_zone": "+02:00"}}},
        {"bool": {"musty": []}},
        {"bool": {"must": [5]}},
        {"bool": {"should": [], "minimum_should_match": "75%"}},
        {"bool": {"must": [{"match_all": {}}] * 1_100}},
    ],
)
def test_what_is_no_query_is_refused(query):
    with pytest.raises(QueryError):
        parse_query(query)


def test_a_query_nested_too_deeply_is_refused():
    query = {"match_all": {}}
    for _ in range(50):
        query = {"bool": {"must": [query]}}
    with pytest.raises(QueryError):
        parse_query(query)


def test_a_query_says_what_it_looks_at():
    query = {"bool": {"filter": [{"term": {"a": 1}}, {"bool": {"must_not": {"range": {"b": {"gt": 1}}}}}]}}
    assert query_fields(parse_query(query)) == {"a", "b"}


CLAUSES = ["must", "filter", "should", "must_not"]
scalars = st.one_of(st.text(max_size=5), st.integers(-5, 5), st.booleans(), st.floats(allow_nan=False, width=16))
leaves = st.one_of(
    st.just({"match_all": {}}),
    st.builds(lambda f, v: {"term": {f: v}}, st.sampled_from("abc"), scalars),
    st.builds(lambda f, v: {"terms": {f: v}}, st.sampled_from("abc"), st.lists(scalars, max_size=3)),
    st.builds(lambda f, v: {"range": {f: {"gte": v}}}, st.sampled_from("abc"), st.integers(-5, 5)),
    st.builds(lambda f: {"exists": {"field": f}}, st.sampled_from("abc")),
)
queries = st.recursive(
    leaves,
    lambda inner: st.fixed_dictionaries(
        {
            "bool": st.dictionaries(
                st.sampled_from(["must", "filter", "should", "must_not"]), st.lists(inner, max_size=2)
            )
        }
    ),
    max_leaves=6,
)


@given(queries, st.dictionaries(st.sampled_from("abc"), scalars))
def test_what_is_shown_is_read_back_as_the_same_query(body, record):
    query = parse_query(body)
    assert parse_query(query_resource(query)) == query
    assert predicate_of(query, "time")(record) in (True, False)
