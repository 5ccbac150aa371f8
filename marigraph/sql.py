"""Insert or replace rows: what the read models need beyond SQLAlchemy's common statements."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table

from eventstore.dialects import insert


def upsert(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows, replacing those of the same primary key."""
    statement = insert(connection, table)
    key = [column.name for column in table.primary_key]
    others = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in key}
    connection.execute(statement.on_conflict_do_update(index_elements=key, set_=others), list(rows))
