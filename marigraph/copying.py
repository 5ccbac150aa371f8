"""Copy a database: the log byte for byte, verified, then everything that is only a replay of it, rebuilt there."""

from collections.abc import Callable
from typing import Any

from eventstore import EventStore
from eventstore.copy import copy_log
from eventstore.urls import is_sqlite, parse_url
from marigraph import schema
from marigraph.bootstrap import bootstrap
from marigraph.context import Context
from marigraph.settings import Settings


def copy_database(
    source: str, target: str, context: Context, on_rows: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Copy the log, and rebuild jobs and results in the target.

    Parameters
    ----------
    source, target : str
        Database URLs or SQLite files. The target's tables are made if it is empty.
    on_rows : callable or None
        Told the rows done and the rows there are, after each page.

    Raises
    ------
    CopyRefused
        The target's log is not empty, or the copy did not verify.
    SchemaError
        The source has another schema than this program.
    """
    schema.ensure_ready(source)
    if is_sqlite(parse_url(target)) or schema.current_revision(target) is None:
        schema.upgrade(target)
    schema.ensure_ready(target)
    with EventStore.connect(source) as reading, EventStore.connect(target) as writing:
        report = copy_log(reading, writing, on_rows)
    rebuild(target, context)
    return {name: report.n_rows[name] for name in ("events", "streams", "payloads", "snapshots")}


def rebuild(database: str, context: Context) -> None:
    """Rebuild the read models of a database from its log."""
    app = bootstrap(Settings(database))
    try:
        app.rebuild_jobs()
        for job in app.jobs.all():
            app.own(job.job_id, context).catch_up()
            app.release(job.job_id)
    finally:
        app.close()
