"""Add the read model of datafeeds.

Additive: the release before does not know the table and is not disturbed by it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "datafeeds",
        sa.Column("datafeed_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("fold_version", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("datafeed_id", name="pk_datafeeds"),
    )


def downgrade() -> None:
    op.drop_table("datafeeds")
