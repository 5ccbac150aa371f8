"""Retention and erasure through HTTP."""

from tests.support.http import FIRST

DAYS = {"model_snapshot_retention_days": 0, "daily_model_snapshot_retention_after_days": 0}


def closed_twice(http, **config):
    job_id = http.job(is_open=True, **config)
    http.post_at(job_id, FIRST, FIRST + 3600).ok(202)
    http.post(f"{job_id}/_close").ok()
    http.post(f"{job_id}/_open").ok()
    http.post_at(job_id, FIRST + 7200, FIRST + 10_800).ok(202)
    http.post(f"{job_id}/_close").ok()
    return job_id


def test_expired_data_are_deleted_on_request_of_one_job_or_of_all(http):
    one, other = closed_twice(http, **DAYS), closed_twice(http, **DAYS)
    assert http.delete(f"/_ml/_delete_expired_data/{one}").ok() == {"deleted": True}
    counts = [http.get(f"{each}/model_snapshots").ok()["count"] for each in (one, other)]
    assert counts == [1, 2]
    assert http.delete("/_xpack/ml/_delete_expired_data", requests_per_second="-1").ok() == {"deleted": True}
    assert http.get(f"{other}/model_snapshots").ok()["count"] == 1
    assert http.delete("/_ml/_delete_expired_data/nobody").error[0] == 404


def test_an_erasable_job_is_erased_once_it_is_closed(http):
    job_id = http.job(is_open=True, custom_settings={"erasable": True})
    http.post_at(job_id, FIRST, FIRST + 7200).ok(202)
    assert http.post(f"/_marigraph/erase/{job_id}").error[0] == 409
    http.post(f"{job_id}/_close").ok()
    assert http.post(f"/_marigraph/erase/{job_id}", keep_results="true").ok()["erased"] is True
    assert http.get(f"{job_id}/results/buckets").ok()["count"] > 0
    status, _kind, reason = http.post(f"{job_id}/_open").error
    assert status == 409
    assert "was erased" in reason
    assert http.post("/_marigraph/erase/nobody").error[0] == 404
