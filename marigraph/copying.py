"""Copy a database: the log byte for byte, verified, then everything that is only a replay of it, rebuilt there.

Results whose records are no longer kept cannot be rebuilt, and are copied.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from sqlalchemy import Engine, Table, insert

from eventstore import EventStore
from eventstore.copy import consistent_view, copy_log
from eventstore.urls import is_sqlite, parse_url
from marigraph import schema
from marigraph.bootstrap import bootstrap
from marigraph.codec import JOB_PREFIX, build_codec
from marigraph.context import Context
from marigraph.jobs import Jobs
from marigraph.results import subscriber_of
from marigraph.scratch import TABLES as RESULTS
from marigraph.scratch import results_file, stored_rows
from marigraph.settings import Settings
from marigraph.tables import job_stats

TABLES: Final[tuple[Table, ...]] = (*RESULTS, job_stats)
ROWS_PER_PAGE: Final = 1_000


def copy_database(
    settings: Settings, target: str, context: Context, on_rows: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Copy the log, and rebuild jobs and results in the target; results whose records are gone are copied.

    Parameters
    ----------
    settings : Settings
        Name the source.
    target : str
        A database URL or SQLite file. Its tables are made if it is empty.
    on_rows : callable or None
        Told the rows done and the rows there are, after each page.

    Raises
    ------
    CopyRefused
        The target's log is not empty, or the copy did not verify.
    SchemaError
        The source has another schema than this program.
    """
    source = settings.database
    schema.ensure_ready(source)
    if is_sqlite(parse_url(target)) or schema.current_revision(target) is None:
        schema.upgrade(target)
    schema.ensure_ready(target)
    with (
        TemporaryDirectory(prefix="marigraph-copy-") as folder,
        results_file(Path(folder) / "kept.db") as kept,
        EventStore.connect(source) as reading,
        EventStore.connect(target) as writing,
    ):
        versions = _set_aside(reading, kept)  # before the log is read: results must not be ahead of it
        report = copy_log(reading, writing, on_rows)
        _carry_over(kept, writing, versions)
    rebuild(replace(settings, database=target), context)
    return {name: report.n_rows[name] for name in ("events", "streams", "payloads", "snapshots")}


def rebuild(settings: Settings, context: Context) -> None:
    """Rebuild the read models of a database from its log, and go on behind the results that are there already."""
    app = bootstrap(settings)
    try:
        app.rebuild_jobs()
        for job in app.jobs.all():
            if not job.erased_version:
                app.own(job.job_id, context).catch_up()
                app.release(job.job_id)
    finally:
        app.close()


def _set_aside(reading: EventStore, kept: Engine) -> dict[str, int]:
    """Keep the results that no replay could make again; return up to which version they are written, by job."""
    jobs = Jobs(reading, build_codec())
    ids = [name.removeprefix(JOB_PREFIX) for name in reading.list_streams(JOB_PREFIX)]
    gone = [job.job_id for job in map(jobs.load, ids) if job.payloads_dropped_to or job.erased_version]
    job_stats.create(kept)
    with consistent_view(reading) as source, kept.begin() as writing:
        for job_id in gone:
            for table in TABLES:
                for rows in _pages(stored_rows(source, table, job_id)):
                    writing.execute(insert(table), rows)
        return {job_id: reading.read_checkpoint(subscriber_of(job_id), source) for job_id in gone}


def _carry_over(kept: Engine, writing: EventStore, versions: Mapping[str, int]) -> None:
    for job_id, version in versions.items():
        with kept.connect() as source, writing.transaction() as connection:
            for table in TABLES:
                for rows in _pages(stored_rows(source, table, job_id)):
                    connection.execute(insert(table), rows)
            if version:
                writing.write_checkpoint(connection, subscriber_of(job_id), 0, version)


def _pages(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while page := list(islice(rows, ROWS_PER_PAGE)):
        yield page
