"""Jobs as resources: names, lists, groups, configuration and statistics."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from domain.errors import AlreadyExists, BadRequest, Conflict, InvalidArgument, NotFound
from marigraph import handlers, queries
from marigraph.tables import jobs
from tests.support.jobs import CONTEXT, EVERY, application, facts, finish, job_body, make_job, post, synthetic

BODY = job_body([{"function": "count"}])
DATA = synthetic(600)


@pytest.fixture
def app(sqlite_url):
    with application(sqlite_url) as app:
        yield app


def create(app, job_id, **more):
    return handlers.create_job(app, job_id, {**BODY, **more}, CONTEXT)


def names(found):
    return [job["job_id"] for job in found["jobs"]]


def test_a_created_job_is_answered_complete_and_in_the_api_s_order(app):
    resource = create(app, "j", description="d")
    fields = list(resource)
    assert fields[:4] == ["job_id", "job_type", "job_version", "description"]
    assert "finished_time" not in resource
    assert resource["analysis_limits"]["model_memory_limit"] == "1024mb"
    assert queries.get_jobs(app, "j") == {"count": 1, "jobs": [resource]}


def test_a_taken_id_is_refused(app):
    create(app, "j")
    with pytest.raises(AlreadyExists, match=r"The job cannot be created with the Id 'j'. The Id is already used."):
        create(app, "j")


def test_lists_take_ids_groups_and_patterns_and_are_ordered(app):
    create(app, "web-2", groups=["web"])
    create(app, "db")
    create(app, "web-1", groups=["web", "all-of-it"])
    assert names(queries.get_jobs(app)) == ["db", "web-1", "web-2"]
    assert names(queries.get_jobs(app, "_all")) == ["db", "web-1", "web-2"]
    assert names(queries.get_jobs(app, "web")) == ["web-1", "web-2"]
    assert names(queries.get_jobs(app, "web-*,db")) == ["db", "web-1", "web-2"]
    assert names(queries.get_jobs(app, "*-1")) == ["web-1"]


def test_what_matches_nothing_is_not_found_or_empty_as_asked(app):
    create(app, "j")
    assert queries.get_jobs(app, "x*") == {"count": 0, "jobs": []}
    with pytest.raises(NotFound, match=r"No known job with id 'x\*'"):
        queries.get_jobs(app, "x*", allow_no_match=False)
    with pytest.raises(NotFound, match="No known job with id 'a,b'"):
        queries.get_jobs(app, "a,j,b")


def test_a_group_named_like_a_job_is_refused(app):
    create(app, "j")
    with pytest.raises(AlreadyExists, match=r"job \[j\] and group \[j\] have the same name"):
        create(app, "k", groups=["j"])
    create(app, "k", groups=["g"])
    with pytest.raises(AlreadyExists, match=r"job \[g\] and group \[g\] have the same name"):
        create(app, "g")
    with pytest.raises(AlreadyExists, match=r"job \[j\] and group \[j\] have the same name"):
        handlers.update_job(app, "k", {"groups": ["j"]}, CONTEXT)


def test_statistics_of_a_new_job_are_zeros(app):
    create(app, "j")
    [stats] = queries.get_job_stats(app, "j")["jobs"]
    assert list(stats) == ["job_id", "data_counts", "model_size_stats", "forecasts_stats", "state", "timing_stats"]
    assert stats["data_counts"]["processed_record_count"] == 0
    assert stats["model_size_stats"]["memory_status"] == "ok"
    assert list(stats["timing_stats"]) == ["job_id", "bucket_count", "total_bucket_processing_time_ms"]


def test_statistics_of_a_job_that_ran_tell_what_it_did(app):
    make_job(app, DATA)
    post(app, DATA)
    [stats] = queries.get_job_stats(app, "j")["jobs"]
    assert stats["state"] == "opened"
    assert stats["open_time"].endswith("s")
    assert stats["data_counts"]["input_record_count"] == len(DATA.lines)
    n_buckets = queries.get_buckets(app, "j", page=queries.Page(0, 0))["count"]
    assert stats["timing_stats"]["bucket_count"] == n_buckets > 0


def test_finished_time_comes_with_closing_and_goes_with_opening(app):
    create(app, "j")
    handlers.open_job(app, "j", CONTEXT)
    handlers.close_jobs(app, "j", CONTEXT)
    assert "finished_time" in queries.get_jobs(app, "j")["jobs"][0]
    handlers.open_job(app, "j", CONTEXT)
    assert "finished_time" not in queries.get_jobs(app, "j")["jobs"][0]


def test_closing_several_jobs_checks_all_before_it_closes_one(app):
    for job_id in ("a", "b"):
        create(app, job_id)
        handlers.open_job(app, job_id, CONTEXT)
    with pytest.raises(NotFound):
        handlers.close_jobs(app, "a,nope", CONTEXT)
    assert app.jobs.load("a").state == "opened"
    assert handlers.close_jobs(app, "_all", CONTEXT) == {"closed": True}
    assert {app.jobs.load(job_id).state for job_id in ("a", "b")} == {"closed"}
    assert handlers.close_jobs(app, "x*", CONTEXT) == {"closed": True}


def test_an_open_job_deleted_by_force_can_be_made_again_at_once(app):
    make_job(app, DATA)
    post(app, DATA)
    with pytest.raises(Conflict, match="because the job is opened"):
        handlers.delete_job(app, "j", CONTEXT)
    handlers.delete_job(app, "j", CONTEXT, force=True)
    make_job(app, DATA)
    assert queries.get_buckets(app, "j")["count"] == 0
    post(app, DATA)
    finish(app)
    assert facts(app)["buckets"]


def test_a_changed_configuration_reaches_the_model_and_its_replay(app):
    make_job(app, DATA)
    post(app, DATA, 0, 300)
    handlers.update_job(app, "j", {"description": "changed"}, CONTEXT)
    post(app, DATA, 300, None)
    assert app.own("j", CONTEXT).model.config.description == "changed"


def test_pages_outside_their_bounds_are_refused(app):
    create(app, "j")
    with pytest.raises(InvalidArgument, match=r"Parameter \[from\] cannot be < 0"):
        queries.get_buckets(app, "j", page=queries.Page(-1, 10))
    with pytest.raises(InvalidArgument, match=r"\[from\] and \[size\] cannot be higher than 10000"):
        queries.get_records(app, "j", page=queries.Page(9_999, 2))


def test_results_are_sorted_by_any_field_with_time_breaking_ties_in_the_same_direction(app):
    make_job(app, DATA)
    post(app, DATA)
    selection = queries.ResultFilter(sort="event_count", desc=True)
    found = queries.get_buckets(app, "j", selection, EVERY)["buckets"]
    keys = [(bucket["event_count"], bucket["timestamp"]) for bucket in found]
    assert keys == sorted(keys, reverse=True)
    with pytest.raises(BadRequest, match=r"cannot sort by \[body\]"):
        queries.get_buckets(app, "j", queries.ResultFilter(sort="body"))


def first(value):
    return value[0] if isinstance(value, list) else value


def test_both_databases_sort_by_fields_of_the_resource_alike(database_url):
    with application(database_url) as app:
        make_job(app, DATA)
        post(app, DATA)
        for name in ("function", "actual", "multi_bucket_impact", "series"):
            found = queries.get_records(app, "j", queries.ResultFilter(sort=name, desc=False), EVERY)["records"]
            keys = [(first(each[name]), each["timestamp"]) for each in found if name in each]
            assert keys == sorted(keys) != []
            assert all(name not in each for each in found[len(keys) :])


def test_the_read_model_of_jobs_can_be_rebuilt_from_the_log(app):
    make_job(app, DATA)
    post(app, DATA)
    handlers.close_jobs(app, "j", CONTEXT)
    before = app.jobs.all()
    app.rebuild_jobs()
    assert app.jobs.all() == before


def test_results_whose_checkpoint_is_lost_are_written_anew(app):
    make_job(app, DATA)
    post(app, DATA)
    finish(app)
    before = facts(app)
    from marigraph.results import PendingResults, subscriber_of, write_pending

    with app.store.transaction() as connection:
        write_pending(connection, PendingResults("j", deletes_all=True))
        app.store.reset_checkpoint(connection, subscriber_of("j"))
    app.own("j", CONTEXT).catch_up()
    assert facts(app) == before


@pytest.mark.parametrize("damage", [{"body": "{}"}, {"body": "x"}, {"fold_version": 0}, {"version": 1}])
def test_a_row_of_jobs_that_cannot_be_trusted_is_folded_anew(app, damage):
    make_job(app, DATA)
    post(app, DATA)
    handlers.close_jobs(app, "j", CONTEXT)
    before = app.jobs.all()
    with app.store.transaction() as connection:
        connection.execute(update(jobs).values(**damage))
    assert app.jobs.load("j") == before[0]
    assert app.jobs.all() == before
    handlers.open_job(app, "j", CONTEXT)
    assert app.jobs.all()[0].version == before[0].version + 1


def test_dates_without_a_year_are_of_the_present_one(app):
    body = {**BODY, "data_description": {"time_field": "time", "time_format": "MMM dd HH:mm:ss"}}
    handlers.create_job(app, "j", body, CONTEXT)
    handlers.open_job(app, "j", CONTEXT)
    counts = handlers.post_data(app, "j", b'{"time": "Jan 02 03:04:05"}', CONTEXT)
    latest = datetime.fromtimestamp(counts["latest_record_timestamp"] / 1000, UTC)
    now = datetime.fromtimestamp(app.now_ms() / 1000, UTC)
    assert latest == datetime(now.year, 1, 2, 3, 4, 5, tzinfo=UTC)
