"""Add the read models: jobs and their statistics, buckets, records, influencers.

They hold nothing that the log does not; dropping them costs a rebuild, never a fact.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("fold_version", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name="pk_jobs"),
    )
    op.create_table(
        "job_stats",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("last_finalized_bucket_end", sa.BigInteger(), nullable=True),
        sa.Column("model_size_stats", sa.Text(), nullable=False),
        sa.Column("timing_stats", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name="pk_job_stats"),
    )
    op.create_table(
        "buckets",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), nullable=False),
        sa.Column("is_interim", sa.Boolean(), nullable=False),
        sa.Column("anomaly_score", sa.Double(), nullable=False),
        sa.Column("initial_anomaly_score", sa.Double(), nullable=False),
        sa.Column("event_count", sa.BigInteger(), nullable=False),
        sa.Column("bucket_span", sa.BigInteger(), nullable=False),
        sa.Column("processing_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "timestamp", name="pk_buckets"),
    )
    op.create_index("ix_buckets_score", "buckets", ["job_id", "anomaly_score"])
    op.create_table(
        "records",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("is_interim", sa.Boolean(), nullable=False),
        sa.Column("record_score", sa.Double(), nullable=False),
        sa.Column("initial_record_score", sa.Double(), nullable=False),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.Column("detector_index", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "timestamp", "sequence", name="pk_records"),
    )
    op.create_index("ix_records_score", "records", ["job_id", "record_score"])
    op.create_table(
        "influencers",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("is_interim", sa.Boolean(), nullable=False),
        sa.Column("influencer_score", sa.Double(), nullable=False),
        sa.Column("initial_influencer_score", sa.Double(), nullable=False),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.Column("influencer_field_name", sa.Text(), nullable=False),
        sa.Column("influencer_field_value", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "timestamp", "sequence", name="pk_influencers"),
    )
    op.create_index("ix_influencers_score", "influencers", ["job_id", "influencer_score"])


def downgrade() -> None:
    op.drop_table("influencers")
    op.drop_table("records")
    op.drop_table("buckets")
    op.drop_table("job_stats")
    op.drop_table("jobs")
