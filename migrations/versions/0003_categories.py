"""Add the read model of categories: which messages belong together, as the model of a job has it now.

Additive: the release before does not know the table and is not disturbed by it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "categories",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("category_id", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "category_id", name="pk_categories"),
    )


def downgrade() -> None:
    op.drop_table("categories")
