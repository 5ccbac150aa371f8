"""Categories of messages: found, counted by category, kept over close and reopen, replayed."""

import random

import pytest

from domain.errors import BadRequest
from marigraph import handlers, queries
from marigraph.verify import verify_job
from tests.support.jobs import CONTEXT, EVERY, DataSet, application, facts, job_body, make_job, post, reopen

BODY = job_body(
    [{"function": "count", "by_field_name": "mlcategory"}],
    influencers=["host"],
    categorization_field_name="message",
)
TEMPLATES = (
    "connection from {a} port {b} closed by remote host",
    "disk {b} of volume group main is nearly full",
    "user number {b} logged in from address {a}",
    "scheduled backup finished in {b} seconds",
)


def messages(count=900, seed=3):
    chance = random.Random(seed)
    lines = []
    for index in range(count):
        address = ".".join(str(chance.randrange(256)) for _ in range(4))
        text = chance.choice(TEMPLATES).format(a=address, b=chance.randrange(9_999))
        lines.append(f"{1_700_006_400 + index * 60},host-{index % 3},{text}")
    return DataSet("messages", BODY, "time,host,message", lines)


DATA = messages()


@pytest.fixture
def app(database_url):
    with application(database_url) as app:
        make_job(app, DATA)
        yield app


def categories(app):
    return queries.get_categories(app, "j", page=EVERY)["categories"]


def test_messages_of_one_template_are_one_category(app):
    post(app, DATA)
    found = categories(app)
    assert [each["category_id"] for each in found] == [1, 2, 3, 4]
    assert sum(each["num_matches"] for each in found) == len(DATA.lines)
    assert {each["terms"].split()[0] for each in found} == {"connection", "disk", "user", "scheduled"}
    stats = queries.get_job_stats(app, "j")["jobs"][0]["model_size_stats"]
    assert (stats["total_category_count"], stats["categorized_doc_count"]) == (4, len(DATA.lines))


def test_categories_survive_cuts_and_reopenings_and_replay(app, new_sqlite_url):
    for start in range(0, len(DATA.lines), 250):
        post(app, DATA, start, start + 250)
        reopen(app)
    with application(new_sqlite_url()) as other:
        make_job(other, DATA)
        post(other, DATA)
        assert categories(other) == categories(app)
        assert facts(other) == facts(app)
    report = verify_job(app, "j")
    assert report.holds, report.resource()
    assert "categories" in [check.name for check in report.checks]


def test_one_category_is_found_by_its_id_and_an_unknown_one_is_no_error(app):
    post(app, DATA)
    assert queries.get_categories(app, "j", 2)["categories"] == [categories(app)[1]]
    assert queries.get_categories(app, "j", 99) == {"count": 0, "categories": []}


def test_a_revert_takes_the_categories_back(app):
    half = len(DATA.lines) // 2
    post(app, DATA, 0, half)
    before = categories(app)
    handlers.close_jobs(app, "j", CONTEXT)
    [snapshot] = queries.get_snapshots(app, "j")["model_snapshots"]
    handlers.open_job(app, "j", CONTEXT)
    post(app, DATA, half, None)
    handlers.close_jobs(app, "j", CONTEXT)
    assert categories(app) != before
    handlers.revert_snapshot(app, "j", snapshot["snapshot_id"], CONTEXT, delete_intervening_results=True)
    assert categories(app) == before
    assert verify_job(app, "j").holds


def test_a_deleted_job_has_no_categories_left(app):
    post(app, DATA)
    handlers.delete_job(app, "j", CONTEXT, force=True)
    make_job(app, DATA)
    assert categories(app) == []


APART = {
    "per_partition_categorization": {"enabled": True, "stop_on_warn": True},
    "categorization_field_name": "message",
}
DETECTOR = {"function": "count", "by_field_name": "mlcategory", "partition_field_name": "host"}


@pytest.fixture
def app_apart(sqlite_url):
    with application(sqlite_url) as app:
        make_job(app, DataSet("apart", job_body([DETECTOR], influencers=["host"], **APART), DATA.header, DATA.lines))
        yield app


def test_partitions_have_categories_of_their_own(app_apart):
    for start in range(0, len(DATA.lines), 300):
        post(app_apart, DATA, start, start + 300)
        reopen(app_apart)
    found = categories(app_apart)
    assert [each["category_id"] for each in found] == list(range(1, 13))
    assert {each["partition_field_value"] for each in found} == {"host-0", "host-1", "host-2"}
    of_one = queries.get_categories(app_apart, "j", page=EVERY, partition_field_value="host-1")
    assert of_one["categories"] == [each for each in found if each["partition_field_value"] == "host-1"]
    assert of_one["count"] == 4
    assert queries.get_categories(app_apart, "j", 3)["categories"] == [found[2]]
    assert verify_job(app_apart, "j").holds
    stats = queries.get_job_stats(app_apart, "j")["jobs"][0]["model_size_stats"]
    assert (stats["total_category_count"], stats["categorization_status"]) == (12, "ok")


def test_stopping_on_a_warning_may_be_changed_but_not_the_partitions(app_apart):
    handlers.update_job(
        app_apart, "j", {"per_partition_categorization": {"enabled": True, "stop_on_warn": False}}, CONTEXT
    )
    with pytest.raises(BadRequest, match="enabled of per_partition_categorization cannot be changed"):
        handlers.update_job(app_apart, "j", {"per_partition_categorization": {"enabled": False}}, CONTEXT)
    post(app_apart, DATA)
    assert verify_job(app_apart, "j").holds


def test_an_analyzer_says_what_the_tokens_are(sqlite_url):
    analyzer = {
        "char_filter": [{"type": "pattern_replace", "pattern": "user.*", "replacement": ""}],
        "tokenizer": "letter",
    }
    fields = {"categorization_field_name": "message", "categorization_analyzer": analyzer}
    body = job_body([{"function": "count", "by_field_name": "mlcategory"}], **fields)
    with application(sqlite_url) as app:
        make_job(app, DataSet("analyzed", body, DATA.header, DATA.lines))
        post(app, DATA)
        terms = {each["terms"] for each in categories(app)}
        assert terms == {
            "",
            "connection from port closed by remote host",
            "disk of volume group main is nearly full",
            "scheduled backup finished in seconds",
        }
        assert verify_job(app, "j").holds
        unknown = job_body(
            [{"function": "count", "by_field_name": "mlcategory"}], **{**fields, "categorization_analyzer": "thai"}
        )
        with pytest.raises(BadRequest, match="unknown analyzer 'thai', known are"):
            handlers.create_job(app, "k", unknown, CONTEXT)
