"""Add what the scores of results rest on, so that later buckets can change them, and the bounds of what was expected.

Additive: results written before have no row in either table and keep the scores that they were given. The release
before does not know the tables and is not disturbed by them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "score_bases",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), nullable=False),
        sa.Column("result_type", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("ordinary_score", sa.Double(), nullable=False),
        sa.Column("height", sa.Double(), nullable=False),
        sa.Column("peak", sa.Double(), nullable=False),
        sa.Column("strength", sa.Double(), nullable=False),
        sa.Column("later_strength", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "timestamp", "result_type", "sequence", name="pk_score_bases"),
    )
    op.create_index("ix_score_bases_scope", "score_bases", ["job_id", "scope", "timestamp"])
    op.create_table(
        "model_plot",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("bucket_span", sa.BigInteger(), nullable=False),
        sa.Column("detector_index", sa.Integer(), nullable=False),
        sa.Column("model_feature", sa.Text(), nullable=False),
        sa.Column("partition_field_value", sa.Text(), nullable=True),
        sa.Column("by_field_value", sa.Text(), nullable=True),
        sa.Column("model_lower", sa.Double(), nullable=False),
        sa.Column("model_median", sa.Double(), nullable=False),
        sa.Column("model_upper", sa.Double(), nullable=False),
        sa.Column("actual", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("job_id", "timestamp", "sequence", name="pk_model_plot"),
    )


def downgrade() -> None:
    op.drop_table("model_plot")
    op.drop_index("ix_score_bases_scope", table_name="score_bases")
    op.drop_table("score_bases")
