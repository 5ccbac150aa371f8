"""The event store: streams, events, payloads, snapshots, checkpoints, leases, seals.

Events are append-only, by triggers in both databases. On PostgreSQL `SET LOCAL eventstore.is_erasing =
'on'` lifts them for a transaction that must erase; on SQLite, which has no settings, that transaction drops
and makes the triggers.

Revision 0001, after nothing.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")

POSTGRES_TRIGGERS = [
    """
CREATE FUNCTION events_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF current_setting('eventstore.is_erasing', true) = 'on' THEN
    RETURN CASE TG_OP WHEN 'UPDATE' THEN NEW ELSE OLD END;
  END IF;
  RAISE EXCEPTION 'events are append-only: % refused', TG_OP USING ERRCODE = 'restrict_violation';
END
$$
""".strip(),
    "CREATE TRIGGER events_no_change BEFORE UPDATE OR DELETE ON events"
    " FOR EACH ROW EXECUTE FUNCTION events_are_append_only()",
    "CREATE TRIGGER events_no_truncate BEFORE TRUNCATE ON events"
    " FOR EACH STATEMENT EXECUTE FUNCTION events_are_append_only()",
]
SQLITE_TRIGGERS = [
    f"CREATE TRIGGER events_no_{verb.lower()} BEFORE {verb} ON events "
    f"BEGIN SELECT RAISE(ABORT, 'events are append-only: {verb} refused'); END"
    for verb in ("UPDATE", "DELETE")
]


def upgrade() -> None:
    create_log()
    create_rest()
    if op.get_context().dialect.name == "postgresql":
        for statement in POSTGRES_TRIGGERS:
            op.execute(statement)
        # Bodies are compressed already; heads are updated with every append and need room for it
        # on their page.
        op.execute("ALTER TABLE payloads ALTER COLUMN body SET STORAGE EXTERNAL")
        op.execute("ALTER TABLE snapshots ALTER COLUMN body SET STORAGE EXTERNAL")
        op.execute("ALTER TABLE streams SET (fillfactor = 50)")
    else:
        for statement in SQLITE_TRIGGERS:
            op.execute(statement)


def create_log() -> None:
    op.create_table(
        "streams",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("head_hash", sa.LargeBinary, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("id", name="pk_streams"),
        sa.UniqueConstraint("name", name="uq_streams_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "events",
        sa.Column("position", ROW_ID, nullable=False),
        sa.Column("stream_id", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("schema_version", sa.Integer, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.Text),
        sa.Column("request_id", sa.Text),
        sa.Column("cause", sa.Text),
        sa.Column("command_id", sa.Text),
        sa.Column("command_index", sa.Integer),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("payload_digest", sa.LargeBinary),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("position", name="pk_events"),
        sa.UniqueConstraint("stream_id", "version", name="uq_events_stream_id_version"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "uq_events_command",
        "events",
        ["stream_id", "command_id", "command_index"],
        unique=True,
        sqlite_where=sa.text("command_id IS NOT NULL"),
        postgresql_where=sa.text("command_id IS NOT NULL"),
    )
    op.create_table(
        "payloads",
        sa.Column("stream_id", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("content_digest", sa.LargeBinary, nullable=False),
        sa.Column("codec", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("stream_id", "digest", name="pk_payloads"),
    )


def create_rest() -> None:
    op.create_table(
        "snapshots",
        sa.Column("stream_id", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("state_schema", sa.Text, nullable=False),
        sa.Column("codec", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("stream_id", "version", "state_schema", name="pk_snapshots"),
    )
    op.create_table(
        "checkpoints",
        sa.Column("subscriber", sa.Text, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("subscriber", name="pk_checkpoints"),
    )
    op.create_table(
        "leases",
        sa.Column("resource", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("resource", name="pk_leases"),
    )
    op.create_table(
        "seals",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("first_position", sa.BigInteger, nullable=False),
        sa.Column("last_position", sa.BigInteger, nullable=False),
        sa.Column("merkle_root", sa.LargeBinary, nullable=False),
        sa.Column("previous_hash", sa.LargeBinary, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_seals"),
        sa.UniqueConstraint("last_position", name="uq_seals_last_position"),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    for table in ("seals", "leases", "checkpoints", "snapshots", "payloads", "events", "streams"):
        op.drop_table(table)
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION events_are_append_only()")
