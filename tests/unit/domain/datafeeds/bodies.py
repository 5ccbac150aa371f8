"""Jobs and datafeeds to try the rules on."""

from domain.config import create_job_config
from domain.datafeeds import create_datafeed_config


def job(bucket_span="1h", job_id="j", **analysis):
    body = {
        "analysis_config": {
            "bucket_span": bucket_span,
            "detectors": [{"function": "mean", "field_name": "v", "by_field_name": "airline"}],
            **analysis,
        },
        "data_description": {"time_field": "time"},
    }
    return create_job_config(body, job_id=job_id, now_ms=0)


def summed_job(**analysis):
    return job(summary_count_field_name="doc_count", **analysis)


def aggregations(interval="1h", **inner):
    return {
        "buckets": {
            "date_histogram": {"field": "time", "fixed_interval": interval},
            "aggregations": {"time": {"max": {"field": "time"}}, **inner},
        }
    }


def make(job_config=None, datafeed_id="d", **fields):
    config = job_config or job()
    body = {"job_id": config.job_id, "indices": ["air"], **fields}
    return create_datafeed_config(body, datafeed_id=datafeed_id, job=config)
