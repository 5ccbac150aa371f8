"""Golden databases: what a database of a revision held, table by table, with what must come of it for ever.

A dump is gzipped lines of JSON: a header (revision, version of the fold, the tables with their columns), one line per
row, and what was expected. It is loaded into either kind of database at its own revision. The one of the present
revision is written by ``scripts/golden-database``.
"""

import gzip
from base64 import b64decode, b64encode
from dataclasses import dataclass
from pathlib import Path

import msgspec
from sqlalchemy import Connection, MetaData, create_engine, inspect, select, text

from domain.job import encode_job
from domain.model import FOLD_VERSION
from eventstore.urls import parse_url
from marigraph import handlers, schema
from marigraph.bootstrap import bootstrap
from marigraph.context import Context
from marigraph.datafeeds.handlers import create_datafeed
from marigraph.replay import ModelSource
from marigraph.scratch import digest_tables
from marigraph.settings import Settings
from tests.support.jobs import job_body

FOLDER = Path(__file__).parents[1] / "golden" / "databases"
NOT_DUMPED = {"alembic_version", "compatibility", "sqlite_sequence"}
"""Written by migrations, or by the database itself."""

CONTEXT = Context("golden", "request-golden")


@dataclass(frozen=True)
class Dump:
    header: dict
    rows: list
    """(table, row) in an order in which they may be inserted."""
    expected: dict

    @classmethod
    def read(cls, path):
        header, *rows, expected = (
            msgspec.json.decode(line) for line in gzip.decompress(path.read_bytes()).splitlines()
        )
        return cls(header, [(table, {name: unpack(v) for name, v in row.items()}) for table, row in rows], expected)

    @property
    def revision(self):
        return self.header["revision"]

    def load(self, url):
        """Insert the rows, as far as the database has their tables and columns."""
        with connected(url) as (connection, tables):
            for name, row in self.rows:
                table = tables.get(name)
                if table is not None:
                    kept = {
                        key: value for key, value in row.items() if key in table.c and table.c[key].computed is None
                    }
                    connection.execute(table.insert().values(**kept))
            if connection.dialect.name == "postgresql":
                for table, column in (("streams", "id"), ("events", "position")):
                    moved = f"SELECT setval('{table}_{column}_seq', max({column})) FROM {table}"
                    connection.execute(text(moved))

    def columns_at(self, url):
        """The dumped rows, cut down to the tables and columns that the database has."""
        with connected(url) as (_connection, tables):
            found = {name: [] for name in tables if name not in NOT_DUMPED}
            for name, row in self.rows:
                if name in found:
                    columns = tables[name].c
                    found[name].append({k: v for k, v in row.items() if k in columns and columns[k].computed is None})
            return found


class connected:
    """A connection in a transaction, and the tables that there are."""

    def __init__(self, url):
        self._engine = create_engine(parse_url(url))

    def __enter__(self) -> tuple[Connection, dict]:
        found = MetaData()
        found.reflect(self._engine)
        self._begun = self._engine.begin()
        return self._begun.__enter__(), dict(found.tables)

    def __exit__(self, *error):
        self._begun.__exit__(*error)
        self._engine.dispose()


def rows_of(url):
    """Every row of every table, without generated columns."""
    with connected(url) as (connection, tables):
        return {
            name: [
                dict(row._mapping)
                for row in connection.execute(
                    select(*(c for c in table.c if c.computed is None)).order_by(*table.primary_key)
                )
            ]
            for name, table in tables.items()
            if name not in NOT_DUMPED
        }


def pack(value):
    return {"b": b64encode(bytes(value)).decode()} if isinstance(value, bytes | memoryview) else value


def unpack(value):
    return b64decode(value["b"]) if isinstance(value, dict) else value


def described(url):
    """What columns there are: name, whether one may be null, and whether it has a value of its own."""
    engine = create_engine(parse_url(url))
    try:
        inspector = inspect(engine)
        return {
            table: {
                "columns": {
                    each["name"]: {
                        "type": str(each["type"]),
                        "nullable": each["nullable"],
                        "filled": each.get("default") is not None or each.get("computed") is not None,
                    }
                    for each in inspector.get_columns(table)
                },
                "unique": sorted(
                    [*([each["column_names"] for each in inspector.get_unique_constraints(table)])]
                    + [each["column_names"] for each in inspector.get_indexes(table) if each["unique"]]
                ),
            }
            for table in sorted(inspector.get_table_names())
        }
    finally:
        engine.dispose()


def expectations(app):
    """What must hold of a log: heads, counts, jobs; and, for this version of the fold only, states and results."""
    app.project()
    streams = {name: list(app.store.head(name)[:2]) for name in app.store.list_streams()}
    jobs = {job.job_id: msgspec.json.decode(encode_job(app.jobs.replay(job.job_id))) for job in app.jobs.all()}
    states, results = {}, {}
    for job in app.jobs.all():
        if not job.erased_version:
            source = ModelSource(app.store, app.codec, job.job_id)
            folded = source.fold_at(job.version, job.created_version)
            states[job.job_id] = source.state_digest(folded).hex()
        with app.store.reading() as connection:
            tables = digest_tables(connection, job.job_id)
        results[job.job_id] = {name: [each.row_count, each.digest] for name, each in tables.items()}
    return {
        "streams": {name: [version, hash_.hex()] for name, (version, hash_) in streams.items()},
        "jobs": jobs,
        "states": states,
        "results": results,
    }


def write(path, url):
    """Dump a database that `fill` has filled."""
    app = bootstrap(Settings(url))
    try:
        expected = expectations(app)
    finally:
        app.close()
    header = {"revision": schema.current_revision(url), "fold_version": FOLD_VERSION, "tables": described(url)}
    rows = [(t, {n: pack(v) for n, v in row.items()}) for t, found in rows_of(url).items() for row in found]
    lines = [header, *rows, expected]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(b"\n".join(msgspec.json.encode(line) for line in lines), 9, mtime=0))


def fill(url):
    """Make a small database in which everything has happened that a log can tell."""
    from marigraph.erasing import erase_job
    from marigraph.retention import run_retention

    app = bootstrap(Settings(url))
    try:
        life_of_a_job(app, "kept")
        handlers.create_job(app, "fed", body({}), CONTEXT)
        create_datafeed(app, "feed", {"job_id": "fed", "indices": ["requests"]}, CONTEXT)
        life_of_a_job(app, "messages", categorization_field_name="message", by="mlcategory")
        life_of_a_job(app, "deleted")
        handlers.delete_job(app, "deleted", CONTEXT)
        life_of_a_job(app, "dropped", {"retention": {"payloads": "behind_snapshots"}})
        life_of_a_job(app, "erasable", {"erasable": True})
        life_of_a_job(app, "erased", {"erasable": True})
        run_retention(app, None, CONTEXT)
        erase_job(app, "erased", CONTEXT, keep_results=True)
    finally:
        app.close()


def body(custom_settings, by="series", **analysis):
    detectors = [{"function": "mean", "field_name": "value", "by_field_name": by}]
    made = job_body(detectors, "1h", influencers=["series"], **analysis)
    return {**made, "custom_settings": custom_settings, "results_retention_days": 1}


def life_of_a_job(app, job_id, custom_settings=None, by="series", **analysis):
    handlers.create_job(app, job_id, body(custom_settings or {}, by, **analysis), CONTEXT)
    for day in range(2):
        handlers.open_job(app, job_id, CONTEXT)
        handlers.post_data(app, job_id, records(day), CONTEXT)
        handlers.flush_job(app, job_id, {"calc_interim": True}, CONTEXT)
        handlers.close_jobs(app, job_id, CONTEXT)
    first = app.jobs.load(job_id).snapshots[0].snapshot_id
    handlers.update_snapshot(app, job_id, first, {"description": "the first", "retain": True}, CONTEXT)
    handlers.revert_snapshot(app, job_id, first, CONTEXT)
    handlers.update_job(app, job_id, {"description": "lived through everything"}, CONTEXT)
    handlers.open_job(app, job_id, CONTEXT)
    handlers.post_data(app, job_id, records(2), CONTEXT)
    handlers.close_jobs(app, job_id, CONTEXT, force=True)


def records(day):
    lines = ["time,series,value,message"]
    for minute in range(0, 1_440, 20):
        time = 1_700_006_400 + day * 86_400 + minute * 60
        value = 900 if minute == 1_200 else 10 + minute % 7
        lines.append(f"{time},s{minute // 20 % 2},{value},{('disk full on host', 'user logged in')[minute // 20 % 2]}")
    return ("\n".join(lines) + "\n").encode()
