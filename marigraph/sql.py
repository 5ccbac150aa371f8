"""The one statement that SQLAlchemy spells differently for SQLite and PostgreSQL: insert or replace a row."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def upsert(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows, replacing those of the same primary key."""
    insert: Any = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(table)
    key = [column.name for column in table.primary_key]
    others = {name: statement.excluded[name] for name in table.columns.keys() if name not in key}  # noqa: SIM118
    connection.execute(statement.on_conflict_do_update(index_elements=key, set_=others), list(rows))
