"""Add keys of streams, and which programs may run with the database.

Additive: the release before (0006) does not know the tables and is not disturbed by them. It would stop at events of
types that it does not know, so none are written before somebody says that it runs no more (`marigraph db finish`); in
a database without events nobody needs to.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "stream_keys",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("since_version", sa.BigInteger(), nullable=False),
        sa.Column("wrapped_by", sa.Text()),
        sa.Column("material", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", name="pk_stream_keys"),
        sa.UniqueConstraint("stream", "since_version", name="uq_stream_keys_stream_since_version"),
    )
    op.create_table(
        "compatibility",
        sa.Column("oldest_revision", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("oldest_revision", name="pk_compatibility"),
    )
    op.execute(
        "INSERT INTO compatibility (oldest_revision)"
        " SELECT CASE WHEN EXISTS (SELECT 1 FROM events) THEN '0006' ELSE '0007' END"
    )


def downgrade() -> None:
    op.drop_table("compatibility")
    op.drop_table("stream_keys")
