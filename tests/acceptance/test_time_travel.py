"""Time travel: a job as of any version is what it was then, for no more than the replay from the nearest state."""

import random
import shutil

import pytest

from domain.fold import fold
from domain.job import Job, evolve
from marigraph import handlers
from marigraph.debugging.debugger import Debugger
from marigraph.replay import ModelSource
from tests.support.jobs import (
    CONTEXT,
    NAB_FILES,
    DataSet,
    application,
    farequote,
    job_body,
    make_job,
    nab,
    post,
    reopen,
    synthetic,
)

DATA = DataSet(
    "hourly",
    job_body(
        [
            {"function": "mean", "field_name": "value", "by_field_name": "series"},
            {"function": "high_count", "partition_field_name": "series"},
        ],
        "1h",
        influencers=["series"],
        latency="30m",
    ),
    "time,series,value",
    synthetic(2_000).lines,
)


def source_of(app, job_id="j", **options):
    return ModelSource(app.store, app.codec, job_id, **options)


def live(app, data=DATA, job_id="j"):
    """Live many events of every kind that the model folds; return the digest of the model after each version."""
    digests = {}

    def note():
        runner = app.own(job_id, CONTEXT)
        runner.catch_up()
        digests[runner.job.version] = runner.model.digest()

    def post_some(start, end, size):
        for place in range(start, end, size):
            post(app, data, place, min(place + size, end), job_id)
            note()

    n = len(data.lines)
    make_job(app, data, job_id)
    note()
    post_some(0, n // 2, n // 100)
    handlers.flush_job(app, job_id, {"calc_interim": True}, CONTEXT)
    note()
    reopen(app, job_id)
    end_ms = app.own(job_id, CONTEXT).last_finalized_bucket_end_ms
    reset = handlers.Reset(end_ms, end_ms + 3_600_000)
    handlers.post_data(app, job_id, data.csv(n // 2, n // 2 + 40), CONTEXT, reset=reset)
    note()
    handlers.update_job(app, job_id, {"model_plot_config": {"enabled": True}}, CONTEXT)
    note()
    post_some(n // 2 + 40, n * 2 // 3, n // 50)
    handlers.close_jobs(app, job_id, CONTEXT)
    first = app.jobs.load(job_id).snapshots[0]
    handlers.revert_snapshot(app, job_id, first.snapshot_id, CONTEXT)
    handlers.open_job(app, job_id, CONTEXT)
    note()
    post_some(n * 2 // 3, n * 5 // 6, n // 50)
    return digests


@pytest.fixture(scope="module")
def lived(sqlite_template, tmp_path_factory):
    """A job that much happened to, only to be read, and the digests of its model after each version."""
    path = tmp_path_factory.mktemp("travel") / "job.db"
    shutil.copyfile(sqlite_template, path)
    with application(f"sqlite:///{path}") as app:
        yield app, live(app)


def test_posts_folded_together_give_the_state_and_the_results_that_they_gave_one_by_one(lived):
    app, digests = lived
    job, source = app.jobs.load("j"), source_of(app, uses_snapshots=False)
    folded, alone = source.nearest(0, 1), source.nearest(0, 1)
    found, buckets = [], []
    for items, outcome in source.advance(folded, job.version):
        found += outcome.buckets
        assert folded.version == items[-1].version
        assert folded.version not in digests or folded.model.digest() == digests[folded.version]
    for step in source.steps(0, job.version):
        buckets += alone.step(*step).buckets
    assert (found, folded.model.digest()) == (buckets, alone.model.digest())


def test_posts_are_folded_in_few_pieces(lived, monkeypatch):
    app, _ = lived
    calls = []
    monkeypatch.setattr("marigraph.replay.fold", lambda *args: calls.append(args) or fold(*args))
    source = source_of(app, uses_snapshots=False)
    folded = source.nearest(0, 1)
    pieces = [items for items, _ in source.advance(folded, app.jobs.load("j").version)]
    posts = [len(items) for items in pieces if items[0].event.type == "data_posted"]
    assert sum(posts) > 60
    assert len(posts) <= 5


def at_every_version(app, digests, versions, job_id="j"):
    """The state as of each version: its digest, the job, how many events it took, and how many it may take."""
    job_of, job = {}, Job(job_id)
    for item in source_of(app, job_id).events(0):
        job = job_of[item.version] = evolve(job, item.event, item.version, item.recorded_ms)
    stored = [row.version for row in app.store.list_snapshots(f"job-{job_id}")]
    for version in versions:
        debugger = Debugger(app, job_id)
        debugger.go_to(version)
        assert debugger.model.digest() == digests[version]
        assert debugger.job == job_of[version]
        nearest = max((each for each in stored if each <= version), default=0)
        assert debugger.snapshot_version == (nearest or None)
        assert debugger.n_folded <= version - nearest


def test_the_state_as_of_a_version_is_the_one_recorded_live_then(lived):
    app, digests = lived
    at_every_version(app, digests, random.Random(3).sample(sorted(digests), 10))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_state_as_of_any_of_200_points_is_the_one_recorded_live_then(database_url, test_data):
    with application(database_url) as app:
        n_points = 0
        for place, data in enumerate(
            (DATA, farequote(test_data).head(5_000), nab(test_data, NAB_FILES[0]).head(1_500))
        ):
            digests = live(app, data, f"job{place}")
            chosen = random.Random(place).sample(sorted(digests), min(75, len(digests)))
            at_every_version(app, digests, chosen, f"job{place}")
            n_points += len(chosen)
        assert n_points >= 200
