"""The hot statements of `eventstore.postgres`, for psycopg with binary parameters.

Each `APPEND` takes the head it expects, moves it, takes the order lock, draws positions and inserts; a head that is
not as expected makes it insert nothing. One event is inserted from plain parameters (a third faster), several from
arrays.
"""

from __future__ import annotations

from eventstore.appending import HEAD_COLUMNS
from eventstore.backend import STORED_COLUMNS

ORDER_LOCK = 0x6D617269_67726170  # the advisory lock that orders positions; "marigrap" in ASCII

APPEND_ONE = f"""
WITH h AS (
  UPDATE streams SET version = version + %b::bigint, head_hash = %b, recorded_at = %b,
    fence = GREATEST(fence, %b::bigint)
  WHERE id = %b AND version = %b AND head_hash = %b AND fence <= %b::bigint RETURNING id
), l AS MATERIALIZED (SELECT pg_advisory_xact_lock({ORDER_LOCK}) FROM h)
INSERT INTO events (position, stream_id, version, type, schema_version, recorded_at, actor, request_id, cause,
  command_id, command_index, data, payload_digest, hash)
SELECT nextval('events_position_seq'), h.id, %b::bigint, %b::text, %b::integer, %b::bigint, %b::text, %b::text,
  %b::text, %b::text, %b::integer, %b::text, %b::bytea, %b::bytea
FROM h, l RETURNING position, 1
"""
APPEND_ONE_WITH_PAYLOAD = APPEND_ONE.replace(
    f"l AS MATERIALIZED (SELECT pg_advisory_xact_lock({ORDER_LOCK}) FROM h)",
    # Counting the written payload makes it be written before the lock is taken, not under it.
    f"""p AS (
  INSERT INTO payloads (stream_id, digest, content_digest, codec, size, body)
  SELECT h.id, %b::bytea, %b::bytea, %b::text, %b::bigint, %b::bytea FROM h
  ON CONFLICT (stream_id, digest) DO NOTHING RETURNING 1
), l AS MATERIALIZED (SELECT pg_advisory_xact_lock({ORDER_LOCK})
  FROM h, (SELECT count(*) FROM p) AS written)""",
)
APPEND = f"""
WITH h AS (
  UPDATE streams SET version = version + %b::bigint, head_hash = %b, recorded_at = %b,
    fence = GREATEST(fence, %b::bigint)
  WHERE id = %b AND version = %b AND head_hash = %b AND fence <= %b::bigint RETURNING id
), l AS MATERIALIZED (SELECT pg_advisory_xact_lock({ORDER_LOCK}) FROM h),
i AS (
  INSERT INTO events (position, stream_id, version, recorded_at, actor, request_id, cause, command_id,
    command_index, type, schema_version, data, payload_digest, hash)
  SELECT nextval('events_position_seq'), h.id, %b::bigint + n.place, %b::bigint, %b::text, %b::text, %b::text,
    %b::text, %b::integer * (n.place - 1), n.type, n.schema_version, n.data, n.payload_digest, n.hash
  FROM h, l, ROWS FROM (unnest(%b::text[]), unnest(%b::integer[]), unnest(%b::text[]), unnest(%b::bytea[]),
    unnest(%b::bytea[])) WITH ORDINALITY AS n (type, schema_version, data, payload_digest, hash, place)
  RETURNING position
) SELECT max(position), count(*) FROM i
"""
APPEND_WITH_PAYLOADS = APPEND.replace(
    f"l AS MATERIALIZED (SELECT pg_advisory_xact_lock({ORDER_LOCK}) FROM h)",
    # Counting the written payloads makes them be written before the lock is taken, not under it.
    f"""p AS (
  INSERT INTO payloads (stream_id, digest, content_digest, codec, size, body)
  SELECT h.id, n.* FROM h, unnest(%b::bytea[], %b::bytea[], %b::text[], %b::bigint[], %b::bytea[]) AS n
  ON CONFLICT (stream_id, digest) DO NOTHING RETURNING 1
), l AS MATERIALIZED (SELECT pg_advisory_xact_lock({ORDER_LOCK})
  FROM h, (SELECT count(*) FROM p) AS written)""",
)
CREATE_STREAMS = """
INSERT INTO streams (name, version, head_hash, recorded_at)
SELECT name, 0, %b, 0 FROM unnest(%b::text[]) AS name ORDER BY name ON CONFLICT (name) DO NOTHING
"""
LOCK_HEADS = f"SELECT {HEAD_COLUMNS} FROM streams WHERE name = ANY(%b::text[]) ORDER BY id FOR UPDATE"
SELECT_HEAD = f"SELECT {HEAD_COLUMNS} FROM streams WHERE name = %b"
SELECT_COMMAND = """
SELECT e.version, e.position, e.type, e.schema_version, e.data, e.payload_digest, p.content_digest
FROM events e LEFT JOIN payloads p ON p.stream_id = e.stream_id AND p.digest = e.payload_digest
WHERE e.stream_id = %b AND e.command_id = %b ORDER BY e.command_index
"""
SELECT_KNOWN_COMMANDS = """
SELECT DISTINCT e.stream_id, e.command_id FROM events e
JOIN unnest(%b::bigint[], %b::text[]) AS given (stream_id, command_id)
  ON e.stream_id = given.stream_id AND e.command_id = given.command_id AND e.command_index = 0
"""
MOVE_HEADS = f"""
WITH u AS (
  UPDATE streams SET version = n.version, head_hash = n.hash, recorded_at = n.recorded_at, fence = n.fence
  FROM unnest(%b::bigint[], %b::bigint[], %b::bytea[], %b::bigint[], %b::bigint[])
    AS n (id, version, hash, recorded_at, fence)
  WHERE streams.id = n.id RETURNING 1
), l AS MATERIALIZED (SELECT pg_advisory_xact_lock({ORDER_LOCK}) FROM (SELECT count(*) FROM u) AS moved)
SELECT min(p), max(p) FROM (SELECT nextval('events_position_seq') AS p FROM l, generate_series(1, %b)) AS
drawn
"""
COPY_EVENTS = """
COPY events (position, stream_id, version, type, schema_version, recorded_at, actor, request_id, cause,
command_id,
  command_index, data, payload_digest, hash) FROM STDIN (FORMAT BINARY)
"""
INSERT_PAYLOAD = """
INSERT INTO payloads (stream_id, digest, content_digest, codec, size, body) VALUES (%b, %b, %b, %b, %b, %b)
ON CONFLICT (stream_id, digest) DO NOTHING
"""
READ_STREAM = (
    f"SELECT e.position, %b, e.version, {STORED_COLUMNS} FROM events e"
    " WHERE e.stream_id = (SELECT id FROM streams WHERE name = %b) AND e.version > %b"
    " ORDER BY e.version LIMIT %b"
)
READ_ALL = (
    f"SELECT e.position, s.name, e.version, {STORED_COLUMNS} FROM events e"
    " JOIN streams s ON s.id = e.stream_id WHERE e.position > %b ORDER BY e.position LIMIT %b"
)
READ_PAYLOADS = (
    "SELECT digest, body, codec, content_digest FROM payloads"
    " WHERE stream_id = (SELECT id FROM streams WHERE name = %b) AND digest = ANY(%b::bytea[])"
)
READ_PAYLOAD = (
    "SELECT body, codec, content_digest FROM payloads"
    " WHERE stream_id = (SELECT id FROM streams WHERE name = %b) AND digest = %b"
)
