"""Read models are rebuilt from the log while others read and post."""

import threading

import pytest
from sqlalchemy import delete, func, insert, select, update

from domain.errors import Conflict
from marigraph import handlers, queries, rebuilding
from marigraph.datafeeds.handlers import create_datafeed
from marigraph.erasing import erase_job
from marigraph.rebuilding import Shadow, rebuild
from marigraph.results import subscriber_of
from marigraph.retention import run_retention
from marigraph.tables import RESULT_TABLES, buckets, categories, datafeeds, job_marks, job_stats, jobs, records
from marigraph.verify import verify_job
from tests.support.jobs import CONTEXT, application, job_body, synthetic
from tests.support.kinds import ON_BOTH

DATA = synthetic(n_records=900, n_series=2, seconds=86_400)
DATA.body["analysis_config"] |= {"bucket_span": "30m", "detectors": DATA.body["analysis_config"]["detectors"][:1]}
del DATA.body["analysis_config"]["latency"]
for place in (380, 580, 780):
    DATA.lines[place] = DATA.lines[place].rpartition(",")[0] + f",{10 * place}"  # makes records, of growing height


@pytest.fixture
def app(url):
    with application(url) as app:
        yield app


def feed(app, start, end, job_id="j"):
    handlers.post_data(app, job_id, DATA.csv(start, end), CONTEXT)
    app.own(job_id, CONTEXT).catch_up()


@pytest.fixture
def job(app):
    handlers.create_job(app, "j", DATA.body, CONTEXT)
    handlers.open_job(app, "j", CONTEXT)
    feed(app, 0, 400)
    feed(app, 400, 600)
    return "j"


def rows_of(app, *tables):
    found = {}
    with app.store.reading() as connection:
        for table in tables or (*RESULT_TABLES, categories, job_stats):
            found[table.name] = connection.execute(select(table).order_by(*table.primary_key)).all()
    return found


def run(app, expression="j"):
    return rebuild(app, expression, lambda _job_id: None, lambda _done, _total: None)


def spoil(app, *tables):
    """Change or remove some of the rows, as a defect of an earlier release might have."""
    with app.store.transaction() as connection:
        for table in tables:
            starts = list(connection.scalars(select(table.c.timestamp).distinct().order_by(table.c.timestamp)))
            assert starts
            connection.execute(delete(table).where(table.c.timestamp.in_(starts[1::3])))
            if "body" in table.c:
                connection.execute(
                    update(table).where(table.c.timestamp.in_(starts[2::3])).values(body=table.c.body + " ")
                )
            row = dict(connection.execute(select(table)).first()._mapping)
            connection.execute(insert(table).values({**row, "timestamp": 17}))


def test_what_is_right_is_left_alone(app, job):
    before = rows_of(app)
    (rebuilt,) = run(app)
    assert (rebuilt.bucket_count, rebuilt.was_job_changed, rebuilt.event_count) == (0, False, 4)
    assert rows_of(app) == before


def test_what_is_wrong_or_missing_is_made_right_and_processing_times_stay(app, job):
    before = rows_of(app)
    spoil(app, *(table for table in RESULT_TABLES if len(before[table.name])))
    with app.store.transaction() as connection:
        connection.execute(update(job_stats).values(model_size_stats="{}"))
    (rebuilt,) = run(app)
    assert rebuilt.bucket_count > len(before["buckets"]) / 2
    after = rows_of(app)
    assert {name: len(rows) for name, rows in after.items()} == {name: len(rows) for name, rows in before.items()}
    assert [check for check in verify_job(app, "j").checks if not check.holds] == []
    kept = {row.timestamp: row.processing_time_ms for row in before["buckets"]}
    assert all(row.processing_time_ms in (0, kept[row.timestamp]) for row in after["buckets"])


def test_results_that_are_gone_with_their_checkpoint_come_back(app, job):
    handlers.close_jobs(app, "j", CONTEXT)
    before = rows_of(app, records, *RESULT_TABLES[2:])
    with app.store.transaction() as connection:
        for table in (*RESULT_TABLES, job_stats):
            connection.execute(delete(table))
        app.store.reset_checkpoint(connection, subscriber_of("j"))
    run(app)
    assert rows_of(app, records, *RESULT_TABLES[2:]) == before
    assert app.store.read_checkpoint(subscriber_of("j")) == app.store.head("job-j").version


@ON_BOTH
def test_what_is_analysed_meanwhile_is_in_it(app, job, monkeypatch):
    spoil(app, buckets, records)
    find, left = Shadow.find_changes, [(600, 700), (700, 900)]

    def busy(shadow):
        changes = find(shadow)
        if left:
            feed(app, *left.pop(0))
        return changes

    with monkeypatch.context() as patch:
        patch.setattr(Shadow, "find_changes", busy)
        run(app)
    assert left == []
    assert [check for check in verify_job(app, "j").checks if not check.holds] == []
    handlers.close_jobs(app, "j", CONTEXT)
    assert [check for check in verify_job(app, "j").checks if not check.holds] == []


def test_a_job_that_is_always_busy_waits_for_the_last_comparison(app, job, monkeypatch):
    spoil(app, buckets)
    find, ends = Shadow.find_changes, iter(range(610, 900, 10))

    def busy(shadow):
        changes = find(shadow)
        if not getattr(app.store.backend._own._local, "is_open", False):
            end = next(ends)
            feed(app, end - 10, end)
        return changes

    with monkeypatch.context() as patch:
        patch.setattr(Shadow, "find_changes", busy)
        run(app)
    assert next(ends) == 610 + 10 * (rebuilding.TRIES_MAX - 1)
    assert [check for check in verify_job(app, "j").checks if not check.holds] == []


@ON_BOTH
def test_who_reads_sees_the_old_rows_whole_until_the_new_ones_are_there(app, job, url, monkeypatch):
    spoil(app, buckets, records)
    old = rows_of(app, buckets, records)
    exchange, seen = Shadow._exchange, []
    with application(url) as reader:

        def watched(shadow, connection, table, starts):
            exchange(shadow, connection, table, starts)
            seen.append(rows_of(reader, buckets, records))

        monkeypatch.setattr(Shadow, "_exchange", watched)
        run(app)
        assert len(seen) >= 2
        assert all(each == old for each in seen)
        assert rows_of(reader, buckets, records) != old


def test_a_job_that_is_deleted_meanwhile_gets_no_rows(app, job, monkeypatch):
    spoil(app, buckets)
    handlers.close_jobs(app, "j", CONTEXT)
    find = Shadow.find_changes

    def late(shadow):
        changes = find(shadow)
        handlers.delete_job(app, "j", CONTEXT)
        return changes

    monkeypatch.setattr(Shadow, "find_changes", late)
    with pytest.raises(Conflict, match="deleted, erased or made again"):
        run(app)
    assert sum(len(rows) for rows in rows_of(app).values()) == 0


@ON_BOTH
def test_the_rows_of_jobs_and_datafeeds_are_rebuilt_and_missing_ones_come_back(app, job):
    handlers.create_job(app, "other", DATA.body, CONTEXT)
    create_datafeed(app, "d", {"job_id": "other", "indices": ["x"]}, CONTEXT)
    before = rows_of(app, jobs, datafeeds, job_marks)
    with app.store.transaction() as connection:
        connection.execute(delete(jobs).where(jobs.c.job_id == "other"))
        connection.execute(update(jobs).where(jobs.c.job_id == "j").values(body="{}"))
        connection.execute(update(datafeeds).values(state="absent"))
        connection.execute(delete(job_marks))
    rebuilt = run(app, None)
    assert [(each.job_id, each.was_job_changed) for each in rebuilt] == [("j", True), ("other", True)]
    assert rows_of(app, jobs, datafeeds, job_marks) == before
    assert before["job_marks"]


def test_results_whose_records_are_gone_stay(app, job):
    handlers.close_jobs(app, "j", CONTEXT)
    handlers.update_job(app, "j", {"custom_settings": {"retention": {"payloads": "behind_snapshots"}}}, CONTEXT)
    run_retention(app, None, CONTEXT)
    handlers.open_job(app, "j", CONTEXT)
    feed(app, 600, 900)
    before = rows_of(app)
    (rebuilt,) = run(app)
    assert "are gone" in rebuilt.kept
    assert rows_of(app) == before
    with app.store.transaction() as connection:
        connection.execute(update(buckets).values(body="{}"))
    run(app)
    n_old = sum(row.body == "{}" for row in rows_of(app, buckets)["buckets"])
    assert 0 < n_old < len(before["buckets"])


def test_results_that_retention_dropped_do_not_come_back(app):
    handlers.create_job(app, "j", {**DATA.body, "results_retention_days": 1}, CONTEXT)
    handlers.open_job(app, "j", CONTEXT)
    feed(app, 0, 900)
    handlers.close_jobs(app, "j", CONTEXT)
    run_retention(app, None, CONTEXT)
    before = rows_of(app)
    assert run(app)[0].bucket_count == 0
    assert rows_of(app) == before


def test_a_job_whose_records_are_missing_keeps_no_other_from_it(app, job):
    handlers.create_job(app, "other", DATA.body, CONTEXT)
    app.store.delete_payloads("job-j")
    spoil(app, buckets)
    with pytest.raises(Conflict, match="no event says why"):
        run(app, "j")
    one, other = run(app, None)
    assert "are missing, and no event says why" in one.kept
    assert other.kept == ""


def test_of_an_erased_job_nothing_is_touched(app):
    handlers.create_job(app, "j", {**DATA.body, "custom_settings": {"erasable": True}}, CONTEXT)
    handlers.open_job(app, "j", CONTEXT)
    feed(app, 0, 300)
    handlers.close_jobs(app, "j", CONTEXT)
    erase_job(app, "j", CONTEXT, keep_results=True)
    before = rows_of(app)
    (rebuilt,) = run(app)
    assert "not kept" in rebuilt.kept
    assert rows_of(app) == before


def test_categories_are_rebuilt(app):
    body = job_body([{"function": "count", "by_field_name": "mlcategory"}], categorization_field_name="message")
    handlers.create_job(app, "j", body, CONTEXT)
    handlers.open_job(app, "j", CONTEXT)
    lines = [f"{1_700_006_400 + 60 * i},{('disk full on host', 'user logged in now')[i % 2]}" for i in range(120)]
    handlers.post_data(app, "j", ("time,message\n" + "\n".join(lines) + "\n").encode(), CONTEXT)
    app.own("j", CONTEXT).catch_up()
    before = rows_of(app, categories)
    with app.store.transaction() as connection:
        connection.execute(update(categories).values(body="{}"))
    run(app)
    assert rows_of(app, categories) == before
    assert len(before["categories"]) == 2


@pytest.mark.slow
@ON_BOTH
def test_rebuilds_beside_posts_and_readers_lose_nothing(app, url):
    """Readers count the buckets: never fewer than before, though each rebuild exchanges all of them."""
    handlers.create_job(app, "j", DATA.body, CONTEXT)
    handlers.open_job(app, "j", CONTEXT)
    done, problems = threading.Event(), []

    def post():
        try:
            for start in range(0, 900, 15):
                feed(app, start, start + 15)
        finally:
            done.set()

    def read():
        with application(url) as reader:
            most = 0
            while not done.wait(0.01):
                with reader.store.reading() as connection:
                    n_buckets = connection.scalar(select(func.count()).select_from(buckets)) or 0
                if n_buckets < most:
                    problems.append((n_buckets, most))
                most = max(most, n_buckets)

    threads = [threading.Thread(target=post), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    n_rebuilt = 0
    try:
        with application(url) as other:
            while not done.wait(0.05):
                with other.store.transaction() as connection:
                    other.store.lock_checkpoint(connection, subscriber_of("j"))
                    connection.execute(update(buckets).values(bucket_span=1))
                run(other)
                n_rebuilt += 1
    finally:
        for thread in threads:
            thread.join()
    assert problems == []
    assert n_rebuilt > 1
    handlers.close_jobs(app, "j", CONTEXT)
    assert queries.require_job(app, "j").data_counts.processed_record_count == 899  # one comes too late
    run(app)
    assert [check for check in verify_job(app, "j").checks if not check.holds] == []
