"""Verification: a replay from zero and from every stored state, for one job or for all of them on all cores."""

import json
import os
import shutil

import pytest

from domain.model.plot import Plotting
from eventstore.tables import payloads
from marigraph import handlers
from marigraph.cli.main import execute
from marigraph.many_jobs import every_job, over_jobs, rebuilt, verified
from marigraph.replay import CannotReplay, ModelSource
from marigraph.verify import verify_job
from tests.support.jobs import CONTEXT, DataSet, application, digest, job_body, make_job, post, reopen, synthetic

DATA = DataSet(
    "hourly",
    job_body([{"function": "mean", "field_name": "value", "by_field_name": "series"}], "1h"),
    "time,series,value",
    synthetic(600).lines,
)


def fill(app, *job_ids):
    for job_id in job_ids:
        make_job(app, DATA, job_id)
        post(app, DATA, 0, 200, job_id)
        reopen(app, job_id)
        post(app, DATA, 200, 400, job_id)
        reopen(app, job_id)
        post(app, DATA, 400, None, job_id)
        handlers.close_jobs(app, job_id, CONTEXT)


@pytest.fixture(scope="module")
def filled(new_module_file):
    path = new_module_file()
    with application(f"sqlite:///{path}") as app:
        fill(app, "a", "b")
    return path


@pytest.fixture
def url(filled, tmp_path):
    shutil.copyfile(filled, tmp_path / "own.db")
    return f"sqlite:///{tmp_path / 'own.db'}"


def whoever(app, job_id):
    return os.getpid(), digest(app, job_id)


def dies(_app, _job_id):
    os._exit(1)


def test_a_replay_begins_with_every_stored_state(url):
    with application(url) as app:
        versions = [row.version for row in app.store.list_snapshots("job-a")]
        report = verify_job(app, "a")
        begun = [check.name for check in report.checks if check.name.startswith("replay from")]
        assert report.holds
        assert begun == [f"replay from version {version}" for version in versions]
        assert len(versions) == 3


def test_a_state_that_goes_on_otherwise_is_found_though_its_digest_is_right(url, monkeypatch):
    exact = ModelSource.exact

    def crooked(source, version):
        model = exact(source, version)
        model.detectors[0].plotting = Plotting(None)  # nothing that is part of the state
        return model

    monkeypatch.setattr(ModelSource, "exact", crooked)
    with application(url) as app:
        report = verify_job(app, "a")
        bad = [check for check in report.checks if not check.holds]
        assert [check.name for check in bad] == [f"replay from version {version}" for version in (3, 7)]
        assert "gives other results than the replay from zero at version 7" in bad[0].detail


def test_all_jobs_are_verified_and_rebuilt(url, capsys):
    with application(url) as app:
        digests = {job_id: digest(app, job_id) for job_id in ("a", "b")}
        found = {done.job.job_id: done.result for done in over_jobs(app, every_job(app), rebuilt)}
        assert {job_id: found[job_id]["state_digest"] for job_id in found} == digests
        assert all(done.result.holds for done in over_jobs(app, every_job(app), verified))
    assert execute(["--db", url, "verify", "--all"]) == 0
    assert capsys.readouterr().out == "2 jobs verified: everything holds\n"
    assert execute(["--db", url, "replay", "--all", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(job["job_id"], job["state_digest"]) for job in listed["jobs"]] == list(digests.items())


def test_one_job_that_fails_is_named_among_all(url, capsys):
    with application(url) as app, app.store.transaction() as connection:
        connection.execute(payloads.delete().where(payloads.c.stream_id == 1))
    assert execute(["--db", url, "verify", "--all"]) == 1
    out = capsys.readouterr().out
    assert "FAILED  a: hash chain: the records of version 3 are missing" in out
    assert out.endswith("2 jobs verified: 1 FAILED\n")
    assert execute(["--db", url, "replay", "--all"]) == 1
    assert "job [a]: the records posted at version 3 of its stream are missing" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["verify"], ["verify", "a", "--all"], ["replay"], ["replay", "a", "--all"]])
def test_one_job_or_all_of_them(url, capsys, arguments):
    assert execute(["--db", url, *arguments]) == 2
    assert "give the id of a job, or --all" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_many_jobs_are_replayed_by_several_processes(database_url):
    with application(database_url) as app:
        fill(app, *(f"job-{number}" for number in range(8)))
        alone = {done.job.job_id: done.result for done in over_jobs(app, every_job(app), whoever, 1)}
        several = {done.job.job_id: done.result for done in over_jobs(app, every_job(app), whoever, 2)}
        assert {process for process, _ in alone.values()} == {os.getpid()}
        assert len({process for process, _ in several.values()} - {os.getpid()}) == 2
        assert {job: state for job, (_, state) in several.items()} == {job: state for job, (_, state) in alone.items()}


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_process_that_dies_is_said_in_one_line(url):
    with application(url) as app, pytest.raises(CannotReplay, match="ended before its work was done"):
        list(over_jobs(app, every_job(app), dies, 2))
