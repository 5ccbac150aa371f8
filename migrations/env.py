"""How Alembic runs the revisions here: which database, which tables, and one upgrade at a time.

The URL is that of `-x url=...`, else `MARIGRAPH_DB`; `marigraph.schema` hands it in as an attribute. On
SQLite a migration is one IMMEDIATE transaction, DDL included, with foreign keys off and checked before its
end. On PostgreSQL an advisory lock makes concurrent upgrades wait for one another.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from alembic import context
from sqlalchemy import Connection, create_engine, event, pool
from sqlalchemy.engine import URL

from eventstore.tables import metadata as store_metadata
from eventstore.urls import is_sqlite, parse_url
from marigraph.tables import metadata as read_model_metadata

UPGRADE_LOCK = 0x6D617269_616C656D  # "marialem" in ASCII
LOCK_SECONDS = 30  # SQLite's wait for another upgrade
LOCK_TIMEOUT = "10s"  # PostgreSQL: a migration that waits for a table lock stops all who come after it

target_metadata = [store_metadata, read_model_metadata]


def find_url() -> URL:
    given = context.config.attributes.get("url") or context.get_x_argument(as_dictionary=True).get("url")
    given = given or os.environ.get("MARIGRAPH_DB")
    if not given:
        msg = "name the database: alembic -x url=URL ..., or set MARIGRAPH_DB"
        raise SystemExit(msg)
    return parse_url(given)


def run_offline(url: URL) -> None:
    if is_sqlite(url):
        msg = "--sql is for PostgreSQL; an SQLite file is upgraded by the program at its start"
        raise SystemExit(msg)
    context.configure(
        dialect_name="postgresql",
        target_metadata=target_metadata,
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        context.execute(f"SELECT pg_advisory_xact_lock({UPGRADE_LOCK})")
        context.run_migrations()


def run_online(url: URL) -> None:
    engine = create_engine(url, poolclass=pool.NullPool)
    if is_sqlite(url):
        event.listen(engine, "connect", prepare_sqlite)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        with engine.connect() as connection:
            run_on(connection)
    finally:
        engine.dispose()


def run_on(connection: Connection) -> None:
    sqlite = connection.dialect.name == "sqlite"
    with sqlite_transaction(connection) if sqlite else postgres_lock(connection):
        context.configure(
            connection=connection,
            target_metadata=target_metadata,
            render_as_batch=sqlite,
            transactional_ddl=True,
            compare_server_default=True,
            include_object=include_object,
        )
        with context.begin_transaction():
            context.run_migrations()


@contextmanager
def sqlite_transaction(connection: Connection) -> Iterator[None]:
    # Begun here, not by Alembic, which reads the current revision before its own transaction begins.
    with connection.begin():
        yield
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
        if broken:
            msg = f"the migration would leave rows without their parents: {broken[:5]}"
            raise RuntimeError(msg)


@contextmanager
def postgres_lock(connection: Connection) -> Iterator[None]:
    # A session lock on this connection: it outlives the transactions of the revisions and dies with
    # the session.
    connection.exec_driver_sql(f"SELECT pg_advisory_lock({UPGRADE_LOCK})")
    connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
    connection.commit()
    try:
        yield
    finally:
        connection.rollback()
        connection.exec_driver_sql(f"SELECT pg_advisory_unlock({UPGRADE_LOCK})")
        connection.commit()


def prepare_sqlite(driver: object, _record: object) -> None:
    from eventstore.sqlite import set_pragmas  # imported here: PostgreSQL has no use for it

    set_pragmas(driver, is_writer=True)
    driver.execute("PRAGMA foreign_keys=OFF")  # before BEGIN, it is ignored inside: batch mode would fire cascades
    driver.execute(f"PRAGMA busy_timeout={LOCK_SECONDS * 1000}")


def include_object(_object: object, name: str | None, kind: str, _is_reflected: bool, _compare_to: object) -> bool:
    # The index by time is PostgreSQL's alone, and of an expression: no metadata can hold it for both databases.
    return (kind, name) not in {("table", "alembic_version"), ("index", "ix_events_recorded_at")}


if context.is_offline_mode():
    run_offline(find_url())
else:
    run_online(find_url())
