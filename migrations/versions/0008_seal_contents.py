"""Add what each seal covers, event by event.

Additive: the release before writes no seals and does not know the table.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "seal_contents",
        sa.Column("seal_id", ROW_ID, nullable=False, autoincrement=False),
        sa.Column("places", sa.LargeBinary(), nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seal_id", name="pk_seal_contents"),
    )


def downgrade() -> None:
    op.drop_table("seal_contents")
