"""The read models: what queries read, written only by projections of the log and droppable at any time.

The log's own tables are in ``eventstore/tables.py``; all DDL goes through Alembic (``migrations/``). Rows carry the
columns that queries filter and sort by, and the resource itself as JSON text, written once and handed out as it is.
Times are milliseconds since the epoch. ``jobs`` and ``datafeeds`` are the folds of their streams; the result tables
are written by the job's runner together with its checkpoint.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

from eventstore.tables import NAMING_CONVENTION, events

metadata = MetaData(naming_convention=NAMING_CONVENTION)

compatibility = Table(  # one row, written by migrations and `marigraph db finish` (marigraph/schema.py)
    "compatibility",
    metadata,
    Column("oldest_revision", Text, primary_key=True),  # of the programs that may run with this database
)

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),  # of the stream up to which the row is folded
    Column("fold_version", Integer, nullable=False),  # of the code that folded it; another one starts over
    Column("state", Text, nullable=False),
    Column("body", Text, nullable=False),  # the whole aggregate (domain.job.encode_job)
)

job_marks = Table(  # how far a job was at some versions, so that audits need not read its whole stream (marks.py)
    "job_marks",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("recorded_at", BigInteger, nullable=False),  # of the event at that version, microseconds
    Column("post_count", BigInteger, nullable=False),  # this and the next: of the whole stream up to the version
    Column("record_count", BigInteger, nullable=False),
    Column("flush_count", BigInteger, nullable=False),
    Column("out_of_order_timestamp_count", BigInteger, nullable=False),
    Column("invalid_date_count", BigInteger, nullable=False),
    Column("silence", BigInteger, nullable=False),  # longest time open without data since the mark before, microseconds
    Column("silent_since", BigInteger, nullable=True),  # when data came last, or the job was opened; null: not open
    Column("latest_record_ms", BigInteger, nullable=True),
    Column("final_end_ms", BigInteger, nullable=True),  # end of the last final bucket
    Column("body", LargeBinary, nullable=True),  # the job as of the version, compressed; null: at an earlier mark
)

job_stats = Table(
    "job_stats",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("last_finalized_bucket_end", BigInteger, nullable=True),
    Column("model_size_stats", Text, nullable=False),
    Column("timing_stats", Text, nullable=False),
)

buckets = Table(
    "buckets",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("timestamp", BigInteger, primary_key=True),
    Column("is_interim", Boolean, nullable=False),
    Column("anomaly_score", Double, nullable=False),
    Column("initial_anomaly_score", Double, nullable=False),
    Column("event_count", BigInteger, nullable=False),
    Column("bucket_span", BigInteger, nullable=False),
    Column("processing_time_ms", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Index("ix_buckets_score", "job_id", "anomaly_score"),
)

records = Table(
    "records",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("timestamp", BigInteger, primary_key=True),
    Column("sequence", Integer, primary_key=True),  # place among the records of its bucket
    Column("is_interim", Boolean, nullable=False),
    Column("record_score", Double, nullable=False),
    Column("initial_record_score", Double, nullable=False),
    Column("probability", Double, nullable=False),
    Column("detector_index", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Index("ix_records_score", "job_id", "record_score"),
)

influencers = Table(
    "influencers",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("timestamp", BigInteger, primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("is_interim", Boolean, nullable=False),
    Column("influencer_score", Double, nullable=False),
    Column("initial_influencer_score", Double, nullable=False),
    Column("probability", Double, nullable=False),
    Column("influencer_field_name", Text, nullable=False),
    Column("influencer_field_value", Text, nullable=False),
    Column("body", Text, nullable=False),
    Index("ix_influencers_score", "job_id", "influencer_score"),
)

categories = Table(
    "categories",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("category_id", BigInteger, primary_key=True),
    Column("body", Text, nullable=False),
)

datafeeds = Table(
    "datafeeds",
    metadata,
    Column("datafeed_id", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),  # of the stream up to which the row is folded
    Column("fold_version", Integer, nullable=False),  # of the code that folded it; another one starts over
    Column("job_id", Text, nullable=True),  # null for a deleted datafeed
    Column("state", Text, nullable=False),
    Column("body", Text, nullable=False),  # the whole aggregate (domain.datafeeds.datafeed.encode_datafeed)
)

score_bases = Table(  # what the scores of final results rest on (domain/model/hindsight.py)
    "score_bases",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("timestamp", BigInteger, primary_key=True),
    Column("result_type", Text, primary_key=True),  # bucket_influencer, record or influencer
    Column("sequence", Integer, primary_key=True),  # place among those of its bucket
    Column("scope", Text, nullable=False),
    Column("score", Double, nullable=False),
    Column("ordinary_score", Double, nullable=False),
    Column("height", Double, nullable=False),
    Column("peak", Double, nullable=False),
    Column("strength", Double, nullable=False),
    Column("later_strength", Double, nullable=False),
    Index("ix_score_bases_scope", "job_id", "scope", "timestamp"),
)

model_plot = Table(
    "model_plot",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("timestamp", BigInteger, primary_key=True),
    Column("sequence", Integer, primary_key=True),  # place in its bucket: by detector, feature and name
    Column("bucket_span", BigInteger, nullable=False),
    Column("detector_index", Integer, nullable=False),
    Column("model_feature", Text, nullable=False),
    Column("partition_field_value", Text, nullable=True),
    Column("by_field_value", Text, nullable=True),
    Column("model_lower", Double, nullable=False),
    Column("model_median", Double, nullable=False),
    Column("model_upper", Double, nullable=False),
    Column("actual", Double, nullable=True),  # null: the series had no value
)

RESULT_TABLES = (buckets, records, influencers, score_bases, model_plot)
"""Deleted, rebuilt and verified together, by time."""

# ------------------------------------------------------------------------------- indexes of the log that audits need

FREQUENT_TYPES = ("data_posted", "flushed", "searched", "delivered")
"""Events that come with every post, search or delivery: the indexes of rare events leave them out."""

_RARE = text(" AND ".join(f"type <> '{name}'" for name in FREQUENT_TYPES))
"""Databases use the indexes only where a query has each of these terms, literally."""

REFUSED = """(data LIKE '%"out_of_order_timestamp_count"%' OR data LIKE '%"invalid_date_count"%')"""
"""Of a ``data_posted``: some of its records were refused. Counts that are 0 are not written down."""

for _name, _columns in (
    ("ix_events_rare_stream_id", (events.c.stream_id, events.c.version, events.c.type)),
    ("ix_events_rare_type", (events.c.type, events.c.recorded_at)),
):
    Index(_name, *_columns, sqlite_where=_RARE, postgresql_where=_RARE)

Index(
    "ix_events_refused",
    events.c.stream_id,
    events.c.type,
    events.c.version,
    sqlite_where=text(f"type = 'data_posted' AND {REFUSED}"),
    postgresql_where=text(f"type = 'data_posted' AND {REFUSED}"),
)
