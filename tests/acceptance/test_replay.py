"""Replay is exact: whatever way the same records and lifecycle events took, everything is the same to the last bit."""

import pytest
from sqlalchemy import delete, update

from eventstore.tables import snapshots
from marigraph.verify import verify_job
from tests.support.jobs import (
    NAB_FILES,
    application,
    digest,
    facts,
    farequote,
    finish,
    make_job,
    nab,
    places,
    post,
    reopen,
    synthetic,
)


@pytest.fixture(scope="module", params=["synthetic", "farequote", *NAB_FILES[:2]])
def data(request):
    """Each data set, its beginning only; the whole of it is for the slow tests."""
    if request.param == "synthetic":
        return synthetic(4_000)
    root = request.getfixturevalue("test_data")
    return farequote(root).head(5_000) if request.param == "farequote" else nab(root, request.param).head(700)


@pytest.fixture(scope="module", params=["farequote", *NAB_FILES])
def whole_data(request, test_data):
    """Each real data set, all of it."""
    return farequote(test_data) if request.param == "farequote" else nab(test_data, request.param)


def run_in_posts(url, data, size):
    with application(url) as app:
        make_job(app, data)
        for start in range(0, len(data.lines), size):
            post(app, data, start, start + size)
        finish(app)
        return facts(app)


def run_with_reopenings(url, data, cuts):
    with application(url) as app:
        make_job(app, data)
        for start, end in zip([0, *cuts], [*cuts, None], strict=True):
            post(app, data, start, end)
            if end is not None:
                reopen(app)
        finish(app)
        return facts(app)


@pytest.fixture(scope="module")
def one_run(new_module_file, data):
    return run_in_posts(f"sqlite:///{new_module_file()}", data, len(data.lines))


@pytest.fixture(scope="module")
def one_whole_run(new_module_file, whole_data):
    return run_in_posts(f"sqlite:///{new_module_file()}", whole_data, len(whole_data.lines))


def test_the_cut_into_posts_changes_nothing(new_sqlite_url, data, one_run):
    assert one_run["buckets"]
    assert run_in_posts(new_sqlite_url(), data, 1_000) == one_run
    few = data.head(120)
    assert run_in_posts(new_sqlite_url(), few, 1) == run_in_posts(new_sqlite_url(), few, 7)


def test_closing_and_reopening_changes_nothing(new_sqlite_url, data, one_run):
    assert run_with_reopenings(new_sqlite_url(), data, places(len(data.lines), 3, seed=4)) == one_run


def test_postgres_and_sqlite_give_the_same(postgres_url, data, one_run):
    assert run_in_posts(postgres_url, data, 1_500) == one_run


def test_a_replay_from_zero_and_from_each_snapshot_gives_the_same(sqlite_url, data):
    with application(sqlite_url) as app:
        make_job(app, data)
        cuts = places(len(data.lines), 3, seed=5)
        for start, end in zip([0, *cuts], [*cuts, None], strict=True):
            post(app, data, start, end)
            reopen(app)
        finish(app)
        from_zero = digest(app, uses_snapshots=False)
        for snapshot in app.jobs.load("j").snapshots[::-1]:
            assert digest(app) == from_zero
            app.store.delete_snapshots("job-j", version=snapshot.version)
        report = verify_job(app, "j")
        assert report.holds, report.resource()


@pytest.mark.parametrize("damage", ["deleted", "corrupted", "of another schema"])
def test_a_lost_snapshot_changes_nothing_but_the_time_it_takes(sqlite_url, data, one_run, damage, caplog):
    statement = {
        "deleted": delete(snapshots),
        "corrupted": update(snapshots).values(body=b"nothing that was ever a state"),
        "of another schema": update(snapshots).values(state_schema="model/from-elsewhere"),
    }[damage]
    half = len(data.lines) // 2
    with application(sqlite_url) as app:
        make_job(app, data)
        post(app, data, 0, half)
        reopen(app)
    with application(sqlite_url) as app:
        with app.store.transaction() as connection:
            connection.execute(statement)
        post(app, data, half, None)
        finish(app)
        assert facts(app) == one_run
    assert ("corrupt" in caplog.text) == (damage == "corrupted")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("size", [7, 1_000])
def test_the_cut_of_a_whole_file_changes_nothing(new_sqlite_url, whole_data, one_whole_run, size):
    assert run_in_posts(new_sqlite_url(), whole_data, size) == one_whole_run


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_single_records_change_nothing(new_sqlite_url, whole_data):
    few = whole_data.head(3_000)
    assert run_in_posts(new_sqlite_url(), few, 1) == run_in_posts(new_sqlite_url(), few, len(few.lines))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_reopenings_of_a_whole_file_change_nothing(new_sqlite_url, whole_data, one_whole_run):
    cuts = places(len(whole_data.lines), 10, seed=10)
    assert run_with_reopenings(new_sqlite_url(), whole_data, cuts) == one_whole_run


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_whole_files_are_the_same_on_postgres(postgres_url, whole_data, one_whole_run):
    assert run_in_posts(postgres_url, whole_data, 1_000) == one_whole_run
