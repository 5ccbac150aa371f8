"""What SQLAlchemy has no common word for: INSERT ... ON CONFLICT, and the part of a text after its first dash."""

from __future__ import annotations

from typing import Any, TypeAlias

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

Insert: TypeAlias = postgresql.Insert | sqlite.Insert


def insert(connection: Connection, table: Table) -> Insert:
    """Return an INSERT of the connection's database that knows ON CONFLICT."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


class after_dash(FunctionElement[str]):
    """The part of a column after the first dash, spelt as PostgreSQL reflects it."""

    inherit_cache = True

    def __init__(self, column: str) -> None:
        super().__init__()
        self.column = column


@compiles(after_dash, "sqlite")
def _after_dash_sqlite(element: after_dash, _compiler: Any, **_: Any) -> str:
    return f"substr({element.column}, instr({element.column}, '-') + 1)"


@compiles(after_dash, "postgresql")
def _after_dash_postgresql(element: after_dash, _compiler: Any, **_: Any) -> str:
    return f"substr({element.column}, (strpos({element.column}, '-'::text) + 1))"
