"""What the model says of a bucket: frozen values named as in the API, ready to be written by whoever keeps results.

All scores run from 0 (nothing unusual) to 100; all probabilities from 0 to 1, small is unusual. Scores named
``initial_`` stay; the others, unless interim, may be changed by later buckets: ``basis`` is what they rest on, and
``hindsight.py`` says how.
"""

from collections.abc import Sequence

import msgspec

from domain.model.hindsight import Basis, Renormalization
from domain.model.plot import ModelPlot


class InfluencerMention(msgspec.Struct, frozen=True):
    """One influencer field and its values that explain a record."""

    influencer_field_name: str
    influencer_field_values: list[str]


class Cause(msgspec.Struct, frozen=True):
    """What a member of a population was unusual at. Fields that do not apply are None."""

    probability: float
    function: str
    function_description: str
    typical: list[float]
    actual: list[float]
    field_name: str | None = None
    by_field_name: str | None = None
    by_field_value: str | None = None
    over_field_name: str | None = None
    over_field_value: str | None = None
    partition_field_name: str | None = None
    partition_field_value: str | None = None


class GeoResults(msgspec.Struct, frozen=True):
    """The places of a record, each as ``latitude,longitude``."""

    actual_point: str
    typical_point: str


class RecordResult(msgspec.Struct, frozen=True):
    """One series, unusual in one bucket. Fields that do not apply are None.

    For a member of a population, ``typical`` and ``actual`` are empty: they are in its ``causes``, at most 10, the
    least probable first.
    """

    detector_index: int
    function: str
    function_description: str
    probability: float
    record_score: float
    initial_record_score: float
    typical: list[float]
    actual: list[float]
    field_name: str | None = None
    by_field_name: str | None = None
    by_field_value: str | None = None
    partition_field_name: str | None = None
    partition_field_value: str | None = None
    multi_bucket_impact: float = 0.0
    influencers: list[InfluencerMention] = msgspec.field(default_factory=list)
    geo_results: GeoResults | None = None
    over_field_name: str | None = None
    over_field_value: str | None = None
    causes: list[Cause] = msgspec.field(default_factory=list)
    basis: Basis | None = None


class BucketInfluencer(msgspec.Struct, frozen=True):
    """How unusual a bucket is as seen through one influencer field, or through time itself (``bucket_time``)."""

    influencer_field_name: str
    initial_anomaly_score: float
    anomaly_score: float
    raw_anomaly_score: float
    probability: float
    basis: Basis | None = None


class InfluencerResult(msgspec.Struct, frozen=True):
    """One value of an influencer field that explains unusual records of a bucket."""

    influencer_field_name: str
    influencer_field_value: str
    influencer_score: float
    initial_influencer_score: float
    probability: float
    basis: Basis | None = None


class BucketResult(msgspec.Struct, frozen=True):
    """Everything said of one bucket.

    Attributes
    ----------
    timestamp_ms : int
        Start of the bucket, milliseconds since the epoch.
    event_count : int
        Records in the bucket, or the sum of their summary counts.
    records, influencers : list
        The most unusual first.
    renormalizations : list
        What this bucket makes of the scores of earlier ones, in the order in which it is to be applied.
    plots : list
        Bounds of what was expected, if the job is to keep them.

    Most buckets have nothing of all this: no object is made for it, since a batch may close a hundred thousand buckets.
    """

    timestamp_ms: int
    bucket_span_seconds: int
    anomaly_score: float
    initial_anomaly_score: float
    event_count: int
    is_interim: bool = False
    bucket_influencers: Sequence[BucketInfluencer] = ()
    records: Sequence[RecordResult] = ()
    influencers: Sequence[InfluencerResult] = ()
    renormalizations: Sequence[Renormalization] = ()
    plots: Sequence[ModelPlot] = ()
