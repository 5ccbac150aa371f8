"""The whole life of a job through an official Python client, run by the interpreter that has that client.

The same code for all versions but for where the calls are found and how a body is given. What came back is printed as
JSON, without times and ids that differ between runs, so that versions can be compared.
"""

import json
import sys
import time
import warnings

import elasticsearch
from elasticsearch import Elasticsearch, exceptions

MAJOR = elasticsearch.__version__[0]
FIRST = 1_403_481_600
HOUR = 3_600
ANOMALIES = {(60, 3): 500.0, (63, 2): 300.0, (66, 1): 200.0, (69, 0): 150.0}
REFUSED = exceptions.RequestError if MAJOR < 8 else exceptions.BadRequestError


def whole(answer):
    return getattr(answer, "body", answer)


def with_body(call, body, **parameters):
    """Give a body as this version wants it."""
    if MAJOR < 8:
        return whole(call(body=body, **parameters))
    return whole(call(**parameters, **body))


def refusal_of(kind, call, *arguments, **parameters):
    """Return status and type of the error that a call must end in."""
    try:
        call(*arguments, **parameters)
    except kind as error:
        status = error.status_code if MAJOR < 8 else error.meta.status
        return [status, error.error]
    raise AssertionError(f"{kind.__name__} expected")


def records(start, end):
    rows = []
    for hour in range(start, end):
        for each in range(20):
            value = ANOMALIES.get((hour, each), 10.0 + each % 5)
            rows.append({"time": (FIRST + hour * HOUR + each * 60) * 1000, "host": f"h{each % 4}", "value": value,
                         "message": f"disk number {each} of the server is full"})  # fmt: skip
    return rows


JOB = {
    "description": "life",
    "groups": ["lives"],
    "analysis_config": {
        "bucket_span": "1h",
        "categorization_field_name": "message",
        "detectors": [
            {"function": "high_mean", "field_name": "value", "by_field_name": "host"},
            {"function": "count", "by_field_name": "mlcategory"},
        ],
        "influencers": ["host"],
    },
    "data_description": {"time_field": "time"},
}


def post(ml, job_id, data):
    if MAJOR < 8:
        return whole(ml.post_data(job_id=job_id, body=data))
    return whole(ml.post_data(job_id=job_id, data=data))


def live(es, ml):
    facts = {}
    job = with_body(ml.put_job, JOB, job_id="life")
    facts["put"] = [list(job), job["analysis_config"]]
    facts["found"] = [each["job_id"] for each in whole(ml.get_jobs(job_id="lives"))["jobs"]]
    facts["opened"] = whole(ml.open_job(job_id="life"))["opened"]

    facts["posted"] = post(ml, "life", records(0, 40))["processed_record_count"]
    lines = "".join(json.dumps(each) + "\n" for each in records(40, 72))
    facts["posted as text"] = post(ml, "life", lines)["processed_record_count"]
    facts["flushed"] = whole(ml.flush_job(job_id="life", calc_interim=True))
    interim = whole(ml.get_buckets(job_id="life", exclude_interim=True))["count"]
    facts["interim"] = [interim, whole(ml.get_buckets(job_id="life"))["count"]]
    facts["advanced"] = whole(ml.flush_job(job_id="life", advance_time=str(FIRST + 72 * HOUR)))
    facts["results"] = results(ml)

    [stats] = whole(ml.get_job_stats(job_id="life"))["jobs"]
    facts["stats"] = [list(stats), stats["state"], stats["data_counts"]["processed_record_count"]]
    facts["closed"] = whole(ml.close_job(job_id="life"))
    facts["closed again"] = whole(ml.close_job(job_id="life"))
    facts["snapshots"] = snapshots(ml)
    updated = with_body(ml.update_job, {"description": "changed", "groups": ["later"]}, job_id="life")
    facts["updated"] = [updated["description"], updated["groups"]]
    facts["datafeed"] = datafeed(ml)
    facts["validated"] = validated(ml)
    facts["refused"] = refused(ml)
    facts["deleted"] = whole(ml.delete_job(job_id="life"))
    facts["gone"] = refusal_of(exceptions.NotFoundError, ml.get_jobs, job_id="life")
    return facts


def results(ml):
    top = whole(ml.get_records(job_id="life", record_score=50, sort="record_score", desc=True, size=1))
    low = whole(ml.get_records(job_id="life", from_=1, size=2, sort="timestamp", desc=False))
    page = whole(ml.get_buckets(job_id="life", start=str(FIRST * 1000), end=str((FIRST + 10 * HOUR) * 1000), size=3))
    one = whole(ml.get_buckets(job_id="life", timestamp=str((FIRST + 60 * HOUR) * 1000), expand=True))
    influencers = whole(ml.get_influencers(job_id="life", influencer_score=10))
    categories = whole(ml.get_categories(job_id="life"))
    found = {
        "top": top["records"], "low": low["records"], "count": low["count"],
        "page": [page["count"], [each["timestamp"] for each in page["buckets"]]],
        "one": [each["records"] for each in one["buckets"]],
        "influencers": influencers["influencers"],
        "categories": [[each["category_id"], each["num_matches"]] for each in categories["categories"]],
    }  # fmt: skip
    if hasattr(ml, "get_overall_buckets"):
        overall = whole(ml.get_overall_buckets(job_id="life", top_n=1, overall_score=10))
        found["overall"] = overall["overall_buckets"]
    return found


def snapshots(ml):
    [snapshot] = whole(ml.get_model_snapshots(job_id="life", desc=True, size=5))["model_snapshots"]
    snapshot_id = snapshot["snapshot_id"]
    ml.open_job(job_id="life")
    post(ml, "life", records(72, 76))
    ml.close_job(job_id="life")
    change = {"description": "kept", "retain": True}
    changed = with_body(ml.update_model_snapshot, change, job_id="life", snapshot_id=snapshot_id)
    active = refusal_of(
        REFUSED, ml.delete_model_snapshot, job_id="life",
        snapshot_id=whole(ml.get_jobs(job_id="life"))["jobs"][0]["model_snapshot_id"],
    )  # fmt: skip
    reverted = whole(ml.revert_model_snapshot(job_id="life", snapshot_id=snapshot_id, delete_intervening_results=True))
    others = [
        each["snapshot_id"] for each in whole(ml.get_model_snapshots(job_id="life"))["model_snapshots"]
        if each["snapshot_id"] != snapshot_id
    ]  # fmt: skip
    deleted = [whole(ml.delete_model_snapshot(job_id="life", snapshot_id=each)) for each in others]
    return {
        "fields": list(snapshot), "changed": [changed["model"]["description"], changed["model"]["retain"]],
        "active": active, "reverted": list(reverted), "deleted": deleted,
        "buckets": whole(ml.get_buckets(job_id="life"))["count"],
    }  # fmt: skip


def datafeed(ml):
    detectors = [{"function": "mean", "field_name": "v", "by_field_name": "airline"}]
    job = {"analysis_config": {"bucket_span": "1h", "detectors": detectors}, "data_description": {"time_field": "time"}}
    with_body(ml.put_job, job, job_id="fed")
    made = with_body(ml.put_datafeed, {"job_id": "fed", "indices": ["air"]}, datafeed_id="feed")
    facts = {"put": [made["datafeed_id"], made["job_id"], made["indices"]]}
    facts["updated"] = with_body(ml.update_datafeed, {"scroll_size": 50}, datafeed_id="feed")["scroll_size"]
    found = whole(ml.get_datafeeds(datafeed_id="fe*"))
    facts["found"] = [found["count"], [each["datafeed_id"] for each in found["datafeeds"]], feed_state(ml)]
    facts["preview"] = whole(ml.preview_datafeed(datafeed_id="feed"))[0]

    ml.open_job(job_id="fed")
    end = {"start": "2017-01-31T00:00:00Z", "end": "2017-03-01T00:00:00Z"}
    facts["started"] = with_body(ml.start_datafeed, end, datafeed_id="feed")["started"]
    await_that(lambda: whole(ml.get_job_stats(job_id="fed"))["jobs"][0]["state"] == "closed")
    [stats] = whole(ml.get_job_stats(job_id="fed"))["jobs"]
    facts["state"], facts["records"] = feed_state(ml), stats["data_counts"]["processed_record_count"]

    ml.open_job(job_id="fed")
    started = with_body(ml.start_datafeed, {}, datafeed_id="feed")["started"]
    facts["started on and on"] = [started, feed_state(ml)]
    facts["refused"] = refusal_of(exceptions.ConflictError, ml.delete_datafeed, datafeed_id="feed")
    facts["stopped"] = whole(ml.stop_datafeed(datafeed_id="feed"))
    facts["deleted"] = whole(ml.delete_datafeed(datafeed_id="feed"))
    facts["gone"] = refusal_of(exceptions.NotFoundError, ml.get_datafeed_stats, datafeed_id="feed")
    return facts


def feed_state(ml):
    return whole(ml.get_datafeed_stats(datafeed_id="feed"))["datafeeds"][0]["state"]


def await_that(holds):
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def validated(ml):
    detector = {"function": "mean", "field_name": "v"}
    single = whole(ml.validate_detector(**{"body" if MAJOR < 8 else "detector": detector}))
    job = {"analysis_config": {"detectors": [detector]}, "data_description": {}}
    return [single, with_body(ml.validate, job)]


def refused(ml):
    return [
        refusal_of(exceptions.NotFoundError, ml.get_jobs, job_id="nope"),
        refusal_of(exceptions.NotFoundError, ml.flush_job, job_id="nope"),
        refusal_of(exceptions.ConflictError, ml.flush_job, job_id="life"),
        refusal_of(REFUSED, with_body, ml.put_job, JOB, job_id="life"),
        refusal_of(REFUSED, with_body, ml.put_job, {**JOB, "groups": ["_"]}, job_id="other"),
        refusal_of(REFUSED, ml.get_buckets, job_id="life", start="never"),
    ]


def main():
    warnings.simplefilter("error")
    if MAJOR >= 8:  # the client warns of its own: keyword styles, calls that it calls private
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", exceptions.GeneralAvailabilityWarning)
    es = Elasticsearch([sys.argv[1]])
    facts = live(es, es.xpack.ml if MAJOR < 7 else es.ml)
    json.dump(facts, sys.stdout)


if __name__ == "__main__":
    main()
