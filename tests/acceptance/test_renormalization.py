"""Renormalised scores of jobs: what looked great and was not sinks, in the same way whatever way the records took."""

import numpy as np
import pytest
from sqlalchemy import update

from marigraph import handlers, queries
from marigraph.tables import records
from marigraph.verify import verify_job
from tests.support.jobs import CONTEXT, EVERY, DataSet, application, facts, finish, job_body, make_job, post, reopen

START = 1_700_006_400
HOUR, DAY = 3_600, 86_400
WEAK, GREAT, AFTER = 8 * DAY, 12 * DAY + 5 * HOUR, 16 * DAY


def incident(n_days=17.5, **more) -> DataSet:
    """Two series; in one an early weak anomaly, four days later a far greater one, then one like the first."""
    rng = np.random.default_rng(3)
    lines = []
    for k in range(int(n_days * 24)):
        for host, level in (("a", 100.0), ("b", 50.0)):
            value = level + rng.normal(0, 2)
            if host == "a":
                value += {WEAK: 9, GREAT: 300, AFTER: 13}.get(k * HOUR, 0)
            lines.append(f"{START + k * HOUR},{host},{value:.3f}")
    detectors = [{"function": "mean", "field_name": "value", "by_field_name": "host"}]
    body = {**job_body(detectors, "1h", influencers=["host"]), **more}
    return DataSet("incident", body, "time,host,value", lines)


DATA = incident()


def scores(app, kind="records"):
    """By seconds after the start: score now, and as first given; of series or value a."""
    get, score = {
        "records": (queries.get_records, "record_score"),
        "buckets": (queries.get_buckets, "anomaly_score"),
        "influencers": (queries.get_influencers, "influencer_score"),
    }[kind]
    found = get(app, "j", page=EVERY)[kind]
    return {
        each["timestamp"] // 1000 - START: (each[score], each[f"initial_{score}"])
        for each in found
        if kind == "buckets" or each.get("by_field_value", each.get("influencer_field_value")) == "a"
    }


def run(url, data=DATA, size=None, then=scores):
    with application(url) as app:
        make_job(app, data)
        step = size or len(data.lines)
        for start in range(0, len(data.lines), step):
            post(app, data, start, start + step)
        return then(app)


@pytest.fixture(scope="module")
def scores_of_kind(tmp_path_factory):
    """Scores of each kind of result after everything."""
    kinds = ("records", "buckets", "influencers")
    url = str(tmp_path_factory.mktemp("incident") / "x.db")
    return run(url, then=lambda app: {kind: scores(app, kind) for kind in kinds})


@pytest.mark.parametrize("kind", ["records", "buckets", "influencers"])
def test_what_looked_great_sinks_when_something_far_greater_comes(scores_of_kind, kind):
    found = scores_of_kind[kind]
    weak, great = found[WEAK], found[GREAT]
    assert weak[1] > 90
    assert 0.5 * weak[1] <= weak[0] < 0.75 * weak[1]
    assert great[0] == great[1] > 90


def test_before_the_greater_one_came_the_score_was_the_initial_one(sqlite_url):
    found = run(sqlite_url, incident(12))
    assert found[WEAK][0] == found[WEAK][1] > 90


def test_scores_given_after_a_peak_are_compared_with_it_at_the_end_of_the_day(scores_of_kind, sqlite_url):
    now, initial = scores_of_kind["records"][AFTER]
    assert now < initial
    during = run(sqlite_url, DATA.head((AFTER // HOUR + 3) * 2))
    assert during[AFTER] == (initial, initial)


def test_the_window_limits_how_far_back_scores_change(new_sqlite_url):
    assert run(new_sqlite_url(), incident(renormalization_window_days=3))[WEAK][0] > 90
    assert run(new_sqlite_url(), incident(renormalization_window_days=5))[WEAK][0] < 75
    untouched = run(new_sqlite_url(), incident(renormalization_window_days=0))
    assert all(now == initial for now, initial in untouched.values())


def test_the_window_can_be_changed_while_the_job_is_open(sqlite_url):
    with application(sqlite_url) as app:
        make_job(app, DATA)
        post(app, DATA, 0, 500)
        handlers.update_job(app, "j", {"renormalization_window_days": 0}, CONTEXT)
        post(app, DATA, 500, None)
        assert scores(app)[WEAK][0] > 90
        assert verify_job(app, "j").holds


def test_posts_reopenings_and_databases_change_nothing(new_sqlite_url, postgres_url):
    def everything(app):
        finish(app)
        return facts(app)

    expected = run(new_sqlite_url(), then=everything)
    assert run(new_sqlite_url(), size=50, then=everything) == expected
    assert run(postgres_url, size=400, then=everything) == expected
    with application(new_sqlite_url()) as app:
        make_job(app, DATA)
        for start in range(0, len(DATA.lines), 300):
            post(app, DATA, start, start + 300)
            reopen(app)
        assert everything(app) == expected


def test_rebuilt_results_have_the_renormalised_scores(sqlite_url):
    with application(sqlite_url) as app:
        make_job(app, DATA)
        for start in range(0, len(DATA.lines), 200):
            post(app, DATA, start, start + 200)
        finish(app)
        before = facts(app)
        with app.store.transaction() as connection:
            app.store.reset_checkpoint(connection, "results-j")
        app.own("j", CONTEXT).catch_up()
        assert facts(app) == before


def test_verify_finds_a_renormalised_score_that_was_tampered_with(sqlite_url):
    with application(sqlite_url) as app:
        make_job(app, DATA)
        post(app, DATA)
        assert verify_job(app, "j").holds
        changed = update(records).where(records.c.timestamp == (START + WEAK) * 1000).values(record_score=80.0)
        with app.store.transaction() as connection:
            connection.execute(changed)
        assert not verify_job(app, "j").holds


def test_a_skipped_value_puts_nothing_in_the_shade(sqlite_url):
    rule = {"actions": ["skip_result"], "conditions": [{"applies_to": "actual", "operator": "gt", "value": 300}]}
    data = incident()
    data.body["analysis_config"]["detectors"][0]["custom_rules"] = [rule]
    assert run(sqlite_url, data)[WEAK][0] > 90
