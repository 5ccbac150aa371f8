"""Custom rules: results that a user asked not to hear of are not written, and values not learnt from."""

import pytest

from domain.config import validate_job
from domain.errors import BadRequest
from marigraph import handlers, queries
from marigraph.verify import verify_job
from tests.support.jobs import CONTEXT, EVERY, DataSet, application, digest, job_body, make_job, post, synthetic

DATA = synthetic(4_000)
MEAN = {"function": "mean", "field_name": "value", "by_field_name": "series"}


def with_rules(*rules):
    body = job_body([{**MEAN, "custom_rules": list(rules)} if rules else MEAN], influencers=["series"], latency="30m")
    return DataSet("rules", body, DATA.header, DATA.lines)


def rule(*conditions, **more):
    keys = ("applies_to", "operator", "value")
    return {"conditions": [dict(zip(keys, each, strict=True)) for each in conditions], **more}


@pytest.fixture
def app(sqlite_url):
    with application(sqlite_url) as app:
        yield app


def run(app, job_id, *rules):
    make_job(app, with_rules(*rules), job_id)
    post(app, DATA, job_id=job_id)
    return queries.get_records(app, job_id, page=EVERY)["records"]


def test_a_rule_keeps_its_records_out_and_changes_no_other_nor_the_model(app):
    every = run(app, "every")
    high = [record for record in every if record["actual"][0] > 100]
    assert 0 < len(high) < len(every)
    some = run(app, "some", rule(("actual", "gt", 100.0)))
    assert [record["timestamp"] for record in some if record["actual"][0] > 100] == []
    kept = {(record["timestamp"], record["series"][0]): record["probability"] for record in some}
    others = {(r["timestamp"], r["series"][0]): r["probability"] for r in every if r not in high}
    assert kept == {key: value for key, value in others.items() if key in kept}
    assert len(kept) == len(others)
    assert verify_job(app, "some").holds


def test_all_conditions_of_a_rule_must_hold(app):
    everything = ("actual", "gt", 0.0)
    assert run(app, "never", rule(everything, ("actual", "lt", 0.0))) == run_without_ids(app)
    assert run(app, "always", rule(everything)) == []


def run_without_ids(app):
    return [{**record, "job_id": "never"} for record in run(app, "plain")]


def test_conditions_on_time_and_difference_hold_by_the_bucket(app):
    every = run(app, "every")
    limit = sorted(record["timestamp"] for record in every)[len(every) // 2]
    late = run(app, "late", rule(("time", "lt", limit / 1000)))
    assert late
    assert min(record["timestamp"] for record in late) >= limit
    near = run(app, "near", rule(("diff_from_typical", "lt", 50.0)))
    assert all(abs(record["actual"][0] - record["typical"][0]) >= 50.0 for record in near)


def test_a_rule_added_by_an_update_acts_from_then_on(app):
    make_job(app, with_rules(), "j")
    handlers.update_job(
        app, "j", {"detectors": [{"detector_index": 0, "custom_rules": [rule(("actual", "gt", 0.0))]}]}, CONTEXT
    )
    post(app, DATA, job_id="j")
    assert queries.get_records(app, "j")["count"] == 0
    assert digest(app, "j", uses_snapshots=False) == app.own("j", CONTEXT).model.digest().hex()


def test_values_held_back_do_not_move_what_is_typical(app):
    make_job(app, with_rules(rule(("actual", "gt", 100.0), actions=["skip_model_update"])), "held")
    make_job(app, with_rules(), "plain")
    for job_id in ("held", "plain"):
        post(app, DATA, job_id=job_id)
    held, plain = (
        [r for r in queries.get_records(app, job_id, page=EVERY)["records"] if r["actual"][0] > 100]
        for job_id in ("held", "plain")
    )
    assert len(held) >= len(plain) > 0
    assert max(r["typical"][0] for r in held if r["series"] == ["s2"]) < 80
    assert verify_job(app, "held").holds


def test_rules_with_a_scope_are_refused_by_create_validate_and_update(app):
    scoped = {"scope": {"series": {"filter_id": "f"}}}
    with pytest.raises(BadRequest, match="custom_rules with a scope need filters"):
        make_job(app, with_rules(scoped), "j")
    with pytest.raises(BadRequest, match="custom_rules with a scope need filters"):
        validate_job(with_rules(scoped).body)
    make_job(app, with_rules(), "j")
    with pytest.raises(BadRequest, match="custom_rules with a scope need filters"):
        handlers.update_job(app, "j", {"detectors": [{"detector_index": 0, "custom_rules": [scoped]}]}, CONTEXT)
