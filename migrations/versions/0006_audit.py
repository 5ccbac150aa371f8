"""Add the views of the audit, the indexes that bound them, and the marks of jobs.

Additive: the release before neither reads nor writes what is new. The views are a contract (docs/audit.md): a later
revision may add columns at their end, and never changes or removes one. `streams.entity_id` is generated from the
name, so that a job is found by its id without a scan. The indexes on events leave out the types that come with every
post or search, but for posts with records that were refused: appending the others costs a comparison or two.

Audits by time go by PostgreSQL's BRIN, which costs next to nothing; SQLite has none, and the program bisects the
primary key there.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

REFUSED = (
    """type = 'data_posted' AND (data LIKE '%"out_of_order_timestamp_count"%' OR data LIKE '%"invalid_date_count"%')"""
)
FREQUENT = ("data_posted", "flushed", "searched", "delivered")
NAMEABLE_MS = "BETWEEN -62135596800000 AND 253402300799999"  # the years 1 to 9999; records may bear any time
BRIN = (
    "CREATE INDEX ix_events_recorded_at ON events USING brin"
    " (recorded_at, to_timestamp(recorded_at / 1000000::double precision))"
    " WITH (pages_per_range = 32, autosummarize = on)"
)


def upgrade() -> None:
    is_postgres = op.get_context().dialect.name == "postgresql"
    position = "strpos(name, '-')" if is_postgres else "instr(name, '-')"
    kind = "STORED" if is_postgres else "VIRTUAL"
    op.execute(
        f"ALTER TABLE streams ADD COLUMN entity_id TEXT GENERATED ALWAYS AS (substr(name, {position} + 1)) {kind}"
    )
    op.create_index("ix_streams_entity_id", "streams", ["entity_id"])
    rare = sa.text(rare_types("type"))
    for name, columns in (
        ("ix_events_rare_stream_id", ["stream_id", "version", "type"]),
        ("ix_events_rare_type", ["type", "recorded_at"]),
    ):
        op.create_index(name, "events", columns, sqlite_where=rare, postgresql_where=rare)
    refused = sa.text(REFUSED)
    columns = ["stream_id", "type", "version"]  # the type makes SQLite prefer it to the unique index
    op.create_index("ix_events_refused", "events", columns, sqlite_where=refused, postgresql_where=refused)
    if is_postgres:
        op.execute(BRIN)
    op.create_table(
        "job_marks",
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("post_count", sa.BigInteger, nullable=False),
        sa.Column("record_count", sa.BigInteger, nullable=False),
        sa.Column("flush_count", sa.BigInteger, nullable=False),
        sa.Column("out_of_order_timestamp_count", sa.BigInteger, nullable=False),
        sa.Column("invalid_date_count", sa.BigInteger, nullable=False),
        sa.Column("silence", sa.BigInteger, nullable=False),
        sa.Column("silent_since", sa.BigInteger),
        sa.Column("latest_record_ms", sa.BigInteger),
        sa.Column("final_end_ms", sa.BigInteger),
        sa.Column("body", sa.LargeBinary),
        sa.PrimaryKeyConstraint("job_id", "version", name="pk_job_marks"),
    )
    for name, query in views(is_postgres).items():
        op.execute(f"CREATE VIEW {name} AS {query}")


def downgrade() -> None:
    is_postgres = op.get_context().dialect.name == "postgresql"
    for name in reversed(list(views(is_postgres))):
        op.execute(f"DROP VIEW {name}")
    op.drop_table("job_marks")
    if is_postgres:
        op.execute("DROP INDEX ix_events_recorded_at")
    op.drop_index("ix_events_refused", "events")
    op.drop_index("ix_events_rare_type", "events")
    op.drop_index("ix_events_rare_stream_id", "events")
    op.drop_index("ix_streams_entity_id", "streams")
    op.execute("ALTER TABLE streams DROP COLUMN entity_id")


def rare_types(column: str) -> str:
    """Return the condition of the partial indexes: SQLite uses them only where a query has each of its terms."""
    return " AND ".join(f"{column} <> '{name}'" for name in FREQUENT)


class Sqlite:
    """How the views are spelt on SQLite: times as ISO 8601 text, which sorts like the time."""

    def time_us(self, value: str) -> str:
        second = f"strftime('%Y-%m-%dT%H:%M:%S', {value} / 1000000, 'unixepoch')"
        return f"{second} || printf('.%06dZ', {value} % 1000000)"

    def time_ms(self, value: str) -> str:
        # Rounded down, which the division of whole numbers does not do before 1970.
        fraction = f"(({value} % 1000) + 1000) % 1000"
        second = f"strftime('%Y-%m-%dT%H:%M:%S', ({value} - {fraction}) / 1000, 'unixepoch')"
        return f"CASE WHEN {value} {NAMEABLE_MS} THEN {second} || printf('.%03dZ', {fraction}) END"

    def begins(self, value: str, text: str) -> str:
        return f"substr({value}, 1, {len(text)}) = '{text}'"

    def hex(self, value: str) -> str:
        return f"CASE WHEN {value} IS NOT NULL THEN lower(hex({value})) END"

    def read(self, _alias: str, _fields: dict[str, str]) -> str:
        """Return what is joined to read these fields of an event's data; nothing: each is read where it stands."""
        return ""

    def field(self, alias: str, path: str) -> str:
        return f"json_extract({alias}.data, '$.{path}')"

    def flag(self, alias: str, path: str) -> str:
        return f"coalesce({self.field(alias, path)}, 0)"

    def count(self, alias: str, path: str) -> str:
        return f"coalesce({self.field(alias, path)}, 0)"


class Postgres:
    """How the views are spelt on PostgreSQL: `timestamptz`; data that hold a NUL character are read without it."""

    def time_us(self, value: str) -> str:
        return f"to_timestamp({value} / 1000000::double precision)"

    def time_ms(self, value: str) -> str:
        return f"CASE WHEN {value} {NAMEABLE_MS} THEN to_timestamp({value} / 1000::double precision) END"

    def begins(self, value: str, text: str) -> str:
        # Of an equation the planner would believe that few streams fulfil it, and read every event of each.
        return f"starts_with({value}, '{text}')"

    def hex(self, value: str) -> str:
        return f"encode({value}, 'hex')"

    def json(self, alias: str) -> str:
        return rf"replace({alias}.data, '\u0000', '\ufffd')::json"

    def read(self, alias: str, fields: dict[str, str]) -> str:
        """Return what is joined to read these fields: one pass over the data, and one over what is nested in them."""
        if not fields:
            return ""
        columns = ", ".join(f"{name} {kind}" for name, kind in fields.items() if "." not in name)
        joined = f" LEFT JOIN LATERAL json_to_record({self.json(alias)}) AS {alias}_d({columns}) ON true"
        nested = {name.partition(".")[0] for name in fields if "." in name}
        for outer in sorted(nested):
            inner = {name.partition(".")[2]: kind for name, kind in fields.items() if name.startswith(f"{outer}.")}
            columns = ", ".join(f"{name} {kind}" for name, kind in inner.items())
            joined += f" LEFT JOIN LATERAL json_to_record({alias}_d.{outer}) AS {alias}_{outer}({columns}) ON true"
        return joined

    def field(self, alias: str, path: str) -> str:
        outer, _, inner = path.rpartition(".")
        return f"{alias}_{outer or 'd'}.{inner}"

    def flag(self, alias: str, path: str) -> str:
        return f"coalesce({self.field(alias, path)}, false)"

    def count(self, alias: str, path: str) -> str:
        return f"coalesce({self.field(alias, path)}, 0)"


def views(is_postgres: bool) -> dict[str, str]:
    sql = Postgres() if is_postgres else Sqlite()
    return {
        "audit_job_history": job_history(sql),
        "audit_job_sessions": job_sessions(sql),
        "audit_data_posted": data_posted(sql),
        "audit_snapshots": snapshots(sql),
        "audit_datafeed_searches": datafeed_searches(sql),
        "audit_access": access(sql),
    }


def head(sql: Sqlite | Postgres, id_name: str | None) -> str:
    """Return the columns that all views of single events begin with."""
    named = f"s.entity_id AS {id_name}, " if id_name else ""
    return (
        f"{named}e.version, e.position, {sql.time_us('e.recorded_at')} AS recorded_at,"
        " e.recorded_at AS recorded_at_us, e.actor, e.request_id, e.stream_id"
    )


def of_category(sql: Sqlite | Postgres, category: str) -> str:
    return f"FROM events e JOIN streams s ON s.id = e.stream_id AND {sql.begins('s.name', f'{category}-')}"


def job_history(sql: Sqlite | Postgres) -> str:
    return (
        f"SELECT {head(sql, 'job_id')}, e.type, e.schema_version, e.cause, e.command_id, e.command_index, e.data,"
        f" {sql.hex('e.payload_digest')} AS payload_digest, {sql.hex('e.hash')} AS hash {of_category(sql, 'job')}"
    )


def job_sessions(sql: Sqlite | Postgres) -> str:
    ended = (
        "(SELECT min(n.version) FROM events n WHERE n.stream_id = e.stream_id AND n.version > e.version"
        f" AND n.type IN ('closed', 'failed', 'deleted') AND {rare_types('n.type')})"
    )

    def within(value: str, kind: str, fields: dict[str, str]) -> str:
        return (
            f"(SELECT {value} FROM events p{sql.read('p', fields)} WHERE p.stream_id = e.stream_id"
            f" AND p.version > e.version AND p.version < coalesce(c.version, s.version + 1) AND p.type = '{kind}')"
        )

    def summed(path: str) -> str:
        outer, is_nested, _ = path.partition(".")
        fields = {outer: "json", path: "bigint"} if is_nested else {path: "bigint"}
        return within(f"CAST(coalesce(sum({sql.field('p', path)}), 0) AS bigint)", "data_posted", fields)

    ending = (
        "CASE WHEN c.version IS NULL THEN 'open' WHEN c.type = 'closed' AND "
        + (f"{sql.flag('c', 'is_forced')}" if isinstance(sql, Postgres) else f"{sql.flag('c', 'is_forced')} = 1")
        + " THEN 'force_closed' ELSE c.type END"
    )
    read = sql.read("c", {"is_forced": "boolean", "reason": "text"})
    return (
        f"SELECT s.entity_id AS job_id, e.version AS opened_version, {sql.time_us('e.recorded_at')} AS opened_at,"
        " e.recorded_at AS opened_at_us, e.actor AS opened_by, e.request_id AS opened_request_id,"
        f" c.version AS ended_version, {sql.time_us('c.recorded_at')} AS ended_at, c.recorded_at AS ended_at_us,"
        f" c.actor AS ended_by, c.request_id AS ended_request_id, {ending} AS ending,"
        f" {sql.field('c', 'reason')} AS failure_reason,"
        " CAST(c.recorded_at - e.recorded_at AS double precision) / 1000000 AS duration_seconds,"
        f" {within('count(*)', 'data_posted', {})} AS post_count,"
        f" {summed('record_count')} AS record_count,"
        f" {within('count(*)', 'flushed', {})} AS flush_count,"
        f" {summed('counts.out_of_order_timestamp_count')} AS out_of_order_timestamp_count,"
        f" {summed('counts.invalid_date_count')} AS invalid_date_count,"
        " e.position AS opened_position, e.stream_id"
        f" {of_category(sql, 'job')} LEFT JOIN events c ON c.stream_id = e.stream_id AND c.version = {ended}"
        f"{read} WHERE e.type = 'opened' AND {rare_types('e.type')}"
    )


def data_posted(sql: Sqlite | Postgres) -> str:
    counts = (
        "processed_record_count",
        "out_of_order_timestamp_count",
        "invalid_date_count",
        "missing_field_count",
        "input_bytes",
    )
    times = ("earliest_record_ms", "latest_record_ms", "reset_start_ms", "reset_end_ms")
    fields = {"record_count": "bigint", **dict.fromkeys(times, "bigint"), "digest": "text", "counts": "json"}
    read = sql.read("e", {**fields, **{f"counts.{name}": "bigint" for name in counts}})
    shown = ", ".join(f"{sql.count('e', f'counts.{name}')} AS {name}" for name in counts)
    bounds = ", ".join(
        f"{sql.field('e', name)} AS {name}"
        + (f", {sql.time_ms(sql.field('e', name))} AS {name.removesuffix('_ms')}_at" if "record" in name else "")
        for name in times
    )
    kept = (
        "(SELECT p.size FROM payloads p WHERE p.stream_id = e.stream_id AND p.digest = e.payload_digest)"
        " AS payload_bytes"
    )
    return (
        f"SELECT {head(sql, 'job_id')}, e.command_id, {sql.field('e', 'record_count')} AS record_count, {shown},"
        f" {bounds}, {sql.field('e', 'digest')} AS content_digest,"
        f" {sql.hex('e.payload_digest')} AS payload_digest, {kept}"
        f" {of_category(sql, 'job')}{read} WHERE e.type = 'data_posted'"
    )


def snapshots(sql: Sqlite | Postgres) -> str:
    texts = ("snapshot_id", "state_schema", "state_digest", "description")
    numbers = ("version", "timestamp_ms", "latest_record_ms", "latest_result_ms")
    fields = {**dict.fromkeys(texts, "text"), **dict.fromkeys(numbers, "bigint"), "model_size_stats": "json"}
    read = sql.read("e", {**fields, "model_size_stats.model_bytes": "bigint"})
    snapshot_id, version = sql.field("e", "snapshot_id"), sql.field("e", "version")
    later = f"x.stream_id = e.stream_id AND x.version > e.version AND {rare_types('x.type')}"
    of_it = f"{sql.field('x', 'snapshot_id')} = {snapshot_id}"
    own = sql.read("x", {"snapshot_id": "text", "retain": "boolean"})
    created = (
        "(SELECT max(x.version) FROM events x WHERE x.stream_id = e.stream_id AND x.version < e.version"
        f" AND x.type = 'created' AND {rare_types('x.type')})"
    )
    removed = (
        f"(SELECT x.version FROM events x{own} WHERE {later} AND x.type IN ('deleted', 'snapshot_deleted')"
        f" AND (x.type = 'deleted' OR {of_it}) ORDER BY x.version LIMIT 1)"
    )
    retain = (
        f"coalesce((SELECT {sql.field('x', 'retain')} FROM events x{own} WHERE {later} AND x.type = 'snapshot_updated'"
        f" AND {of_it} AND {sql.field('x', 'retain')} IS NOT NULL"
        f" ORDER BY x.version DESC LIMIT 1), {'false' if isinstance(sql, Postgres) else '0'})"
    )
    stored = (
        "(SELECT m.size FROM snapshots m WHERE m.stream_id = e.stream_id"
        f" AND m.version = {version} AND m.state_schema = {sql.field('e', 'state_schema')})"
    )
    times = ", ".join(
        f"{sql.field('e', name)} AS {name}, {sql.time_ms(sql.field('e', name))} AS {name.removesuffix('_ms')}_at"
        for name in ("latest_record_ms", "latest_result_ms")
    )
    return (
        f"SELECT {head(sql, 'job_id')}, {snapshot_id} AS snapshot_id, {sql.field('e', 'description')} AS description,"
        f" {created} AS first_version, {version} AS last_version, {sql.field('e', 'state_schema')} AS state_schema,"
        f" {sql.field('e', 'state_digest')} AS state_digest, {times},"
        f" {sql.field('e', 'model_size_stats.model_bytes')} AS model_bytes, {stored} AS state_bytes,"
        f" {retain} AS retain, {removed} AS removed_version"
        f" {of_category(sql, 'job')}{read} WHERE e.type = 'snapshot_persisted' AND {rare_types('e.type')}"
    )


def datafeed_searches(sql: Sqlite | Postgres) -> str:
    numbers = ("start_ms", "end_ms", "record_count", "document_count", "missing_count")
    times = ("earliest_record_ms", "latest_record_ms")
    fields = {**dict.fromkeys((*numbers, *times), "bigint"), "cause": "text", "took_ms": "double precision"}
    configured = sql.read("x", {"config": "json", "config.job_id": "text"})
    job_id = (
        f"(SELECT {sql.field('x', 'config.job_id')} FROM events x{configured} WHERE x.stream_id = e.stream_id"
        f" AND x.version < e.version AND x.type IN ('created', 'updated') AND {rare_types('x.type')}"
        " ORDER BY x.version DESC LIMIT 1)"
    )
    spans = ", ".join(
        f"{sql.field('e', f'{name}_ms')} AS {name}_ms, {sql.time_ms(sql.field('e', f'{name}_ms'))} AS {name}_at"
        for name in ("start", "end", "earliest_record", "latest_record")
    )
    return (
        f"SELECT {head(sql, 'datafeed_id')}, {job_id} AS job_id, {sql.field('e', 'cause')} AS cause, {spans},"
        f" {sql.field('e', 'record_count')} AS record_count, {sql.field('e', 'document_count')} AS document_count,"
        f" {sql.count('e', 'missing_count')} AS missing_count, {sql.count('e', 'took_ms')} AS took_ms"
        f" {of_category(sql, 'datafeed')}{sql.read('e', fields)} WHERE e.type = 'searched'"
    )


def access(sql: Sqlite | Postgres) -> str:
    fields = {"key_id": "text", "name": "text", "roles": "json", "expires_ms": "bigint"}
    roles = f"CAST({sql.field('e', 'roles')} AS text)"
    return (
        f"SELECT {head(sql, None)}, e.type, {sql.field('e', 'key_id')} AS key_id, {sql.field('e', 'name')} AS name,"
        f" {roles} AS roles, {sql.field('e', 'expires_ms')} AS expires_ms,"
        f" {sql.time_ms(sql.field('e', 'expires_ms'))} AS expires_at"
        " FROM events e JOIN streams s ON s.id = e.stream_id AND s.name = 'access'"
        f"{sql.read('e', fields)}"
    )
