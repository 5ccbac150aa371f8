"""Time travel: a job as of any version is what it was then, for no more than the replay from the nearest state."""

from domain.fold import fold
from marigraph import handlers
from marigraph.replay import ModelSource
from tests.support.jobs import CONTEXT, application, make_job, post, reopen, synthetic

DATA = synthetic(2_400)


def source_of(app, **options):
    return ModelSource(app.store, app.codec, "j", **options)


def live(app):
    """Live many events of every kind that the model folds; return the digest of the model after each version."""
    digests = {}

    def note():
        runner = app.own("j", CONTEXT)
        runner.catch_up()
        digests[runner.job.version] = runner.model.digest()

    make_job(app, DATA)
    note()
    for start in range(0, 1_200, 24):
        post(app, DATA, start, start + 24)
        note()
    handlers.flush_job(app, "j", {"calc_interim": True, "advance_time": "1700090000"}, CONTEXT)
    note()
    reopen(app)
    reset = handlers.Reset(1_700_090_000_000, 1_700_094_000_000)
    handlers.post_data(app, "j", DATA.csv(1_200, 1_240), CONTEXT, reset=reset)
    note()
    handlers.update_job(app, "j", {"model_plot_config": {"enabled": True}}, CONTEXT)
    note()
    for start in range(1_240, 1_600, 40):
        post(app, DATA, start, start + 40)
        note()
    handlers.close_jobs(app, "j", CONTEXT)
    first = app.jobs.load("j").snapshots[0]
    handlers.revert_snapshot(app, "j", first.snapshot_id, CONTEXT)
    handlers.open_job(app, "j", CONTEXT)
    note()
    for start in range(1_600, 2_000, 50):
        post(app, DATA, start, start + 50)
        note()
    return digests


def test_posts_folded_together_give_the_state_and_the_results_that_they_gave_one_by_one(sqlite_url):
    with application(sqlite_url) as app:
        digests = live(app)
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


def test_posts_are_folded_in_few_pieces(sqlite_url, monkeypatch):
    with application(sqlite_url) as app:
        live(app)
        calls = []
        monkeypatch.setattr("marigraph.replay.fold", lambda *args: calls.append(args) or fold(*args))
        source = source_of(app, uses_snapshots=False)
        folded = source.nearest(0, 1)
        pieces = [items for items, _ in source.advance(folded, app.jobs.load("j").version)]
        posts = [len(items) for items in pieces if items[0].event.type == "data_posted"]
        assert sum(posts) == 50 + 1 + 9 + 8
        assert len(posts) <= 5
