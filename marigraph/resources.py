"""The result resources of the API: buckets, records and influencers as JSON-able objects, fields in the API's order.

The domain's results are values named as in the API; here they get the job's id, their type, and the extra keys that
clients filter by. Fields that do not apply are left out, never null.
"""

from typing import Any

from domain.config import JobConfig
from domain.model import BucketInfluencer, BucketResult, Cause, InfluencerResult, RecordResult

RESERVED = frozenset(
    {
        *("job_id", "result_type", "timestamp", "bucket_span", "is_interim", "detector_index", "probability"),
        *("record_score", "initial_record_score", "multi_bucket_impact", "function", "function_description"),
        *("typical", "actual", "field_name", "influencers", "causes", "geo_results", "anomaly_score"),
        *(
            "by_field_name",
            "by_field_value",
            "over_field_name",
            "over_field_value",
            "correlated_by_field_value",
        ),
        *("partition_field_name", "partition_field_value", "influencer_field_name", "influencer_field_value"),
        *("influencer_score", "initial_influencer_score", "initial_anomaly_score", "event_count"),
    }
)
"""Names that a field of the data cannot take in a result: they mean something of the result's own."""


def bucket_resource(job_id: str, bucket: BucketResult) -> dict[str, Any]:
    """Return a bucket; its processing time is that of the run and is put in when the bucket is read."""
    return {
        "job_id": job_id,
        "timestamp": bucket.timestamp_ms,
        "anomaly_score": bucket.anomaly_score,
        "bucket_span": bucket.bucket_span_seconds,
        "initial_anomaly_score": bucket.initial_anomaly_score,
        "event_count": bucket.event_count,
        "is_interim": bucket.is_interim,
        "bucket_influencers": [_bucket_influencer(job_id, bucket, each) for each in bucket.bucket_influencers],
        "processing_time_ms": 0,
        "result_type": "bucket",
    }


def _bucket_influencer(job_id: str, bucket: BucketResult, influencer: BucketInfluencer) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "result_type": "bucket_influencer",
        "influencer_field_name": influencer.influencer_field_name,
        "initial_anomaly_score": influencer.initial_anomaly_score,
        "anomaly_score": influencer.anomaly_score,
        "raw_anomaly_score": influencer.raw_anomaly_score,
        "probability": influencer.probability,
        "timestamp": bucket.timestamp_ms,
        "bucket_span": bucket.bucket_span_seconds,
        "is_interim": bucket.is_interim,
    }


def record_resource(job_id: str, bucket: BucketResult, record: RecordResult) -> dict[str, Any]:
    """Return a record, with one array per by, partition and influencer field to filter by."""
    resource: dict[str, Any] = {
        "job_id": job_id,
        "result_type": "record",
        "probability": record.probability,
        "multi_bucket_impact": record.multi_bucket_impact,
        "record_score": record.record_score,
        "initial_record_score": record.initial_record_score,
        "bucket_span": bucket.bucket_span_seconds,
        "detector_index": record.detector_index,
        "is_interim": bucket.is_interim,
        "timestamp": bucket.timestamp_ms,
    }
    extra: dict[str, list[str]] = {}
    for kind in ("by", "partition"):
        extra |= _put_field(resource, kind, record)
    resource["function"] = record.function
    resource["function_description"] = record.function_description
    if not record.causes:
        resource["typical"] = record.typical
        resource["actual"] = record.actual
    if record.field_name is not None:
        resource["field_name"] = record.field_name
    extra |= _put_field(resource, "over", record)
    if record.causes:
        resource["causes"] = [_cause(cause) for cause in record.causes]
        by_values = {cause.by_field_value: None for cause in record.causes if cause.by_field_value is not None}
        if by_values and record.causes[0].by_field_name is not None:
            extra[record.causes[0].by_field_name] = list(by_values)
    if record.influencers:
        resource["influencers"] = [
            {
                "influencer_field_name": mention.influencer_field_name,
                "influencer_field_values": mention.influencer_field_values,
            }
            for mention in record.influencers
        ]
        extra.update((mention.influencer_field_name, mention.influencer_field_values) for mention in record.influencers)
    if record.geo_results is not None:
        resource["geo_results"] = {
            "actual_point": record.geo_results.actual_point,
            "typical_point": record.geo_results.typical_point,
        }
    resource.update((name, values) for name, values in extra.items() if name not in RESERVED)
    return resource


def _put_field(resource: dict[str, Any], kind: str, named: RecordResult | Cause) -> dict[str, list[str]]:
    """Put a by, over or partition field into a resource, if it is set; return the key to filter by."""
    name, value = getattr(named, f"{kind}_field_name"), getattr(named, f"{kind}_field_value")
    if name is None or value is None:
        return {}
    resource[f"{kind}_field_name"], resource[f"{kind}_field_value"] = name, value
    return {name: [value]}


def _cause(cause: Cause) -> dict[str, Any]:
    resource: dict[str, Any] = {"probability": cause.probability}
    for kind in ("by", "partition"):
        _put_field(resource, kind, cause)
    resource["function"] = cause.function
    resource["function_description"] = cause.function_description
    resource["typical"] = cause.typical
    resource["actual"] = cause.actual
    if cause.field_name is not None:
        resource["field_name"] = cause.field_name
    resource["over_field_name"] = cause.over_field_name
    resource["over_field_value"] = cause.over_field_value
    return resource


def plot_resource(config: JobConfig, row: dict[str, Any]) -> dict[str, Any]:
    """Return the bounds of one series in one bucket, from the row that they are stored in."""
    detector = config.detectors[row["detector_index"]]
    terms: dict[str, str] = {}
    for kind, name in (("partition", detector.partition_field_name), ("by", detector.by_field_name)):
        if name is not None and row[f"{kind}_field_value"] is not None:
            terms |= {f"{kind}_field_name": name, f"{kind}_field_value": row[f"{kind}_field_value"]}
    if detector.over_field_name is not None:
        terms["over_field_name"] = detector.over_field_name
    return {
        "job_id": row["job_id"],
        "result_type": "model_plot",
        "bucket_span": row["bucket_span"],
        "detector_index": row["detector_index"],
        "timestamp": row["timestamp"],
        **terms,
        "model_feature": row["model_feature"],
        "model_lower": row["model_lower"],
        "model_upper": row["model_upper"],
        "model_median": row["model_median"],
        **({} if row["actual"] is None else {"actual": row["actual"]}),
    }


def influencer_resource(job_id: str, bucket: BucketResult, influencer: InfluencerResult) -> dict[str, Any]:
    """Return an influencer, with its value under the field's own name as well."""
    name, value = influencer.influencer_field_name, influencer.influencer_field_value
    return {
        "job_id": job_id,
        "result_type": "influencer",
        "influencer_field_name": name,
        "influencer_field_value": value,
        **({} if name in RESERVED else {name: value}),
        "influencer_score": influencer.influencer_score,
        "initial_influencer_score": influencer.initial_influencer_score,
        "probability": influencer.probability,
        "bucket_span": bucket.bucket_span_seconds,
        "is_interim": bucket.is_interim,
        "timestamp": bucket.timestamp_ms,
    }
