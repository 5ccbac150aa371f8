"""The tables of the event store, for both databases; their DDL is run by the migrations only.

No foreign key leads from events to streams: the head row is written in the same statement or transaction as
its events, and PostgreSQL would look the stream up once more for every event. `verify_chain` finds what has
no head.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Computed,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from eventstore.dialects import after_dash

# Every constraint has a name from the first revision on, else SQLite could never drop one.
NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

metadata = MetaData(naming_convention=NAMING_CONVENTION)

# SQLite makes a row id of an INTEGER PRIMARY KEY only; its integers have 64 bits whatever they are called.
RowId = BigInteger().with_variant(Integer, "sqlite")

streams = Table(
    "streams",
    metadata,
    Column("id", RowId, nullable=False),
    Column("name", Text, nullable=False),
    Column("version", BigInteger, nullable=False),  # of the newest event: the optimistic lock
    Column("head_hash", LargeBinary, nullable=False),  # of the newest event
    Column("recorded_at", BigInteger, nullable=False),  # of the newest event, microseconds
    Column("fence", BigInteger, nullable=False, server_default=text("0")),  # epoch of the newest owner
    Column("entity_id", Text, Computed(after_dash("name"), persisted=True)),  # the name without its category
    PrimaryKeyConstraint("id"),
    UniqueConstraint("name"),
    Index(None, "entity_id"),
    sqlite_autoincrement=True,
)

events = Table(
    "events",
    metadata,
    Column("position", RowId, nullable=False),
    Column("stream_id", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("schema_version", Integer, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),  # microseconds since 1970, UTC
    Column("actor", Text),
    Column("request_id", Text),
    Column("cause", Text),
    Column("command_id", Text),
    Column("command_index", Integer),
    Column("data", Text, nullable=False),  # JSON text; not jsonb, which gives back other bytes than were hashed
    Column("payload_digest", LargeBinary),
    Column("hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("position"),
    UniqueConstraint("stream_id", "version"),
    # AUTOINCREMENT: without it SQLite hands a deleted newest position out again, and readers would
    # skip an event.
    sqlite_autoincrement=True,
)
Index(
    "uq_events_command",
    events.c.stream_id,
    events.c.command_id,
    events.c.command_index,
    unique=True,
    sqlite_where=events.c.command_id.is_not(None),
    postgresql_where=events.c.command_id.is_not(None),
)

payloads = Table(
    "payloads",
    metadata,
    Column("stream_id", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of body
    Column("content_digest", LargeBinary, nullable=False),
    Column("codec", Text, nullable=False),
    Column("size", BigInteger, nullable=False),  # bytes of body
    Column("body", LargeBinary, nullable=False),
    PrimaryKeyConstraint("stream_id", "digest"),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("stream_id", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),  # the state holds all events up to this one
    Column("state_schema", Text, nullable=False),
    Column("codec", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of body
    Column("size", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("stream_id", "version", "state_schema"),
)

stream_keys = Table(  # what payloads and snapshots of a stream are encrypted with (eventstore/keys.py)
    "stream_keys",
    metadata,
    Column("key_id", Text, nullable=False),
    Column("stream", Text, nullable=False),
    Column("since_version", BigInteger, nullable=False),  # where the life of the stream began that has this key
    Column("wrapped_by", Text),  # name of the master key; null: the material is the key itself
    Column("material", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("key_id"),
    UniqueConstraint("stream", "since_version"),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("subscriber", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False, server_default=text("0")),
    Column("updated_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("subscriber"),
)

leases = Table(
    "leases",
    metadata,
    Column("resource", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),  # rises with every acquisition, also after a release
    Column("expires_at", BigInteger, nullable=False),  # microseconds since 1970; 0 = released
    PrimaryKeyConstraint("resource"),
)

seals = Table(
    "seals",
    metadata,
    Column("id", RowId, nullable=False),
    Column("first_position", BigInteger, nullable=False),
    Column("last_position", BigInteger, nullable=False),
    Column("merkle_root", LargeBinary, nullable=False),
    Column("previous_hash", LargeBinary, nullable=False),  # of the seal before this one
    Column("signature", LargeBinary, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("last_position"),
    sqlite_autoincrement=True,
)

# Which events a seal covers, apart from it, so that seals can be listed without.
seal_contents = Table(
    "seal_contents",
    metadata,
    Column("seal_id", RowId, nullable=False, autoincrement=False),
    Column("places", LargeBinary, nullable=False),  # JSON: stream, version and position of each event
    Column("hashes", LargeBinary, nullable=False),  # of the events, 32 bytes each
    PrimaryKeyConstraint("seal_id"),
)
