"""INSERT ... ON CONFLICT: both databases spell it alike, SQLAlchemy has no common word for it."""

from __future__ import annotations

from typing import TypeAlias

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

Insert: TypeAlias = postgresql.Insert | sqlite.Insert


def insert(connection: Connection, table: Table) -> Insert:
    """Return an INSERT of the connection's database that knows ON CONFLICT."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)
