"""The demo data that users of such a system know: one real anomaly, found, and nothing else shouted about."""

from datetime import UTC, datetime

import pytest

from marigraph import handlers, queries
from tests.support.jobs import CONTEXT, EVERY, application, farequote, make_job, post


def at(hour, minute=0):
    return int(datetime(2015, 12, 9, hour, minute, tzinfo=UTC).timestamp() * 1000)


@pytest.fixture(scope="module")
def records(test_data, tmp_path_factory):
    with application(str(tmp_path_factory.mktemp("farequote") / "marigraph.db")) as app:
        make_job(app, farequote(test_data))
        post(app, farequote(test_data))
        handlers.flush_job(app, "j", {}, CONTEXT)
        handlers.close_jobs(app, "j", CONTEXT)
        return queries.get_records(app, "j", page=EVERY)["records"]


def test_the_real_anomaly_is_the_highest_record(records):
    highest = records[0]
    assert highest["airline"] == ["AAL"]
    assert at(16) <= highest["timestamp"] < at(16, 30)
    assert highest["record_score"] > 90


def test_no_other_airline_is_critical(records):
    assert [r for r in records if r["by_field_value"] != "AAL" and r["record_score"] > 75] == []


def test_the_airline_is_not_critical_at_other_times(records):
    around = range(at(15), at(18))
    assert [r for r in records if r["timestamp"] not in around and r["record_score"] > 75] == []


def test_the_influencer_of_the_anomaly_is_the_airline(records):
    [influencer] = records[0]["influencers"]
    assert influencer == {"influencer_field_name": "airline", "influencer_field_values": ["AAL"]}
