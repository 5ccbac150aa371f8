import pytest

from domain.datafeeds import DatafeedConfig, create_datafeed_config
from domain.datafeeds.reading import update_datafeed_config
from domain.errors import DomainError, InvalidArgument, ParseError, UnknownField
from tests.unit.domain.datafeeds.bodies import aggregations, job, make, summed_job


def test_the_defaults_are_filled_in_in_the_order_of_the_api():
    assert list(make().resource().items()) == [
        ("datafeed_id", "d"),
        ("job_id", "j"),
        ("query_delay", make().query_delay),
        ("indices", ["air"]),
        ("query", {"match_all": {"boost": 1.0}}),
        ("scroll_size", 1000),
        ("chunking_config", {"mode": "auto"}),
        ("delayed_data_check_config", {"enabled": True}),
        (
            "indices_options",
            {
                "expand_wildcards": ["open"],
                "ignore_unavailable": False,
                "allow_no_indices": True,
                "ignore_throttled": True,
            },
        ),
    ]


def test_everything_given_is_shown_in_the_order_of_the_api():
    shown = make(
        summed_job(),
        max_empty_searches=3,
        aggs=aggregations(),
        frequency="2H",
        query_delay="90S",
        source={"name": "shop"},
        delayed_data_check_config={"enabled": True, "check_window": "2h"},
        types=["ignored"],
        _source=False,
        indices_options={"expand_wildcards": "all", "allow_no_indices": False},
    ).resource()
    assert list(shown) == [
        *("datafeed_id", "job_id", "source", "query_delay", "frequency", "indices", "query", "aggregations"),
        *("scroll_size", "chunking_config", "delayed_data_check_config", "max_empty_searches", "indices_options"),
    ]
    assert (shown["frequency"], shown["query_delay"], shown["source"]) == ("2H", "90S", {"name": "shop"})
    assert shown["chunking_config"] == {"mode": "manual", "time_span": "3600000000ms"}
    assert shown["indices_options"]["expand_wildcards"] == ["open", "closed", "hidden"]
    assert shown["delayed_data_check_config"] == {"enabled": True, "check_window": "2h"}


def test_a_configuration_is_kept_without_loss():
    config = make(summed_job(), aggregations=aggregations(), max_empty_searches=2)
    assert DatafeedConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize("job_id", ["a", "b", "farequote", "web-1.eu"])
def test_the_query_delay_is_between_one_and_two_minutes_and_always_the_same(job_id):
    delays = {make(job(job_id=job_id)).query_delay_ms for _ in range(2)}
    assert len(delays) == 1
    assert all(60_000 <= delay < 120_000 for delay in delays)


def test_the_query_delay_differs_between_jobs():
    assert len({make(job(job_id=f"job-{n}")).query_delay for n in range(20)}) > 15


def test_indexes_is_another_name_of_indices_and_one_may_be_a_text():
    body = {"job_id": "j", "indexes": "air"}
    assert create_datafeed_config(body, datafeed_id="d", job=job()).indices == ("air",)


LATENT = job(latency="1m")
CHUNK = "chunking_config"


@pytest.mark.parametrize(
    ("fields", "config", "reason"),
    [
        ({"indices": []}, None, r"^Invalid indices value '\[\]' in datafeed configuration$"),
        ({"indices": None}, None, "^Invalid indices value 'null' in datafeed configuration$"),
        ({"indices": [""]}, None, r"^Invalid indices value '\[\]' in datafeed configuration$"),
        ({"indices": [None]}, None, r"^Invalid indices value '\[null\]' in datafeed configuration$"),
        ({"indices": [5]}, None, r"failed to parse field \[indices\]"),
        ({"scroll_size": -1}, None, "^Invalid scroll_size value '-1' in datafeed configuration$"),
        ({"max_empty_searches": 0}, None, "^Invalid max_empty_searches value '0' in datafeed configuration$"),
        ({"max_empty_searches": -2}, None, "^Invalid max_empty_searches value '-2' in datafeed configuration$"),
        ({"query": {"blarg": {}}}, None, r"failed to parse field \[query\]"),
        ({"query": []}, None, r"failed to parse field \[query\]"),
        ({"headers": {}}, None, r"unknown field \[headers\]"),
        ({"frequency": "0s"}, None, "frequency cannot be less or equal than 0"),
        ({"frequency": "1500ms"}, None, "frequency has to be a multiple of seconds"),
        ({"query_delay": "-1m"}, None, "query_delay cannot be less than 0"),
        ({"query_delay": "soon"}, None, r"failed to parse \[query_delay\]"),
        ({CHUNK: {"mode": "manual"}}, None, "needs a time_span"),
        ({CHUNK: {"mode": "auto", "time_span": "1h"}}, None, "may not have a time_span"),
        ({CHUNK: {"mode": "manual", "time_span": "0s"}}, None, "time_span cannot be less or equal than 0"),
        ({CHUNK: {"mode": "often"}}, None, r"failed to parse field \[mode\]"),
        ({CHUNK: {}}, None, r"required field \[mode\]"),
        ({"delayed_data_check_config": {}}, None, r"required field \[enabled\]"),
        ({"delayed_data_check_config": {"enabled": True, "check_window": "25h"}}, None, "check_window"),
        ({"indices_options": {"expand_wildcards": ["some"]}}, None, r"failed to parse field \[expand_wildcards\]"),
        ({"source": "shop"}, None, "expected an object"),
        ({"source": {}}, None, r"required field \[name\]"),
        ({"source": {"name": "x", "url": "sqlite://"}}, None, r"unknown field \[url\]"),
        ({"aggs": {}, "aggregations": {}}, None, "only one may be given"),
        (
            {"aggs": aggregations(), "script_fields": {"a": {}}},
            summed_job(),
            "^script_fields cannot be used in combination with aggregations$",
        ),
        ({}, LATENT, "^A job configured with datafeed cannot support latency$"),
        (
            {"aggs": aggregations()},
            None,
            "^A job configured with a datafeed with aggregations must set summary_count_field_name; "
            "use doc_count or suitable alternative$",
        ),
        ({"aggs": aggregations("2h")}, summed_job(), "must not be longer than the bucket_span"),
        ({"aggs": aggregations("7m")}, summed_job(), "must be a divisor of the bucket_span"),
        ({"aggs": aggregations("10m"), "frequency": "15m"}, summed_job(), "must be a multiple of"),
    ],
)
def test_a_broken_rule_is_named(fields, config, reason):
    with pytest.raises(DomainError, match=reason):
        make(config, **fields)


def test_ids_are_checked():
    for datafeed_id in ("A", "-a", "", "a b"):
        with pytest.raises(InvalidArgument, match=r"^Invalid datafeed_id; "):
            make(datafeed_id=datafeed_id)
    with pytest.raises(InvalidArgument, match=r"^Inconsistent datafeed_id; 'other' specified in the body"):
        body = {"datafeed_id": "other", "job_id": "j", "indices": ["a"]}
        create_datafeed_config(body, datafeed_id="d", job=job())


def test_a_body_is_needed_and_a_job():
    with pytest.raises(ParseError, match="request body is required"):
        create_datafeed_config(None, datafeed_id="d", job=job())
    with pytest.raises(UnknownField):
        create_datafeed_config([], datafeed_id="d", job=job())
    with pytest.raises(InvalidArgument, match="job_id"):
        create_datafeed_config({"indices": ["a"]}, datafeed_id="d", job=job())


@pytest.mark.parametrize(
    ("span", "interval", "expected_seconds"),
    [
        ("1m", None, 60),
        ("2m", None, 60),
        ("5m", None, 150),
        ("20m", None, 600),
        ("1h", None, 600),
        ("12h", None, 600),
        ("1d", None, 3600),
        ("1h", "4m", 480),
        ("1h", "1h", 3600),
    ],
)
def test_the_frequency_follows_the_bucket_span(span, interval, expected_seconds):
    config = make(summed_job(bucket_span=span), **({"aggs": aggregations(interval)} if interval else {}))
    assert config.frequency_ms(summed_job(bucket_span=span)) == expected_seconds * 1000


def update(config, job_config=None, **changes):
    return update_datafeed_config(config, changes, job=job_config or job())


def test_an_update_changes_what_it_names_and_nothing_else():
    before = make(query={"term": {"a": 1}}, max_empty_searches=5)
    after = update(before, scroll_size=10, indexes=["other"])
    assert after.resource() == {**before.resource(), "scroll_size": 10, "indices": ["other"]}
    assert update(before) == before


def test_an_update_unsets_max_empty_searches_by_minus_one():
    assert update(make(max_empty_searches=5), max_empty_searches=-1).max_empty_searches is None


def test_an_update_keeps_the_rules():
    with pytest.raises(DomainError, match="summary_count_field_name"):
        update(make(), aggs=aggregations())
    with pytest.raises(DomainError, match="Inconsistent datafeed_id"):
        update(make(), datafeed_id="other")
    with pytest.raises(UnknownField, match=r"unknown field \[blarg\]"):
        update(make(), blarg=1)


def test_new_aggregations_bring_their_chunks():
    config = update(make(summed_job()), summed_job(), aggregations=aggregations("30m"))
    assert config.chunking_config.resource() == {"mode": "manual", "time_span": "1800000000ms"}
