"""No audit query that is bounded by a job or a time reads the whole log: what both databases say of each statement.

The log is small: PostgreSQL is told to avoid sequential scans where it can, and what it then still scans has no index
to be found by.
"""

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import event, text

from marigraph.library import Marigraph
from tests.support import big_log
from tests.support.big_log import BigLog, project, write

JOB = "j00003"
DAY = {"start": "2026-02-01T00:00:00Z", "end": "2026-02-02T00:00:00Z"}
LOG_TABLES = ("events", "streams", "payloads", "snapshots", "job_marks")

BOUNDED: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "history of a job": ("history", {"job_id": JOB}, {}),
    "history of a job, rare types": ("history", {"job_id": JOB}, {"type": "opened,closed"}),
    "history of a job, one type": ("history", {"job_id": JOB}, {"type": "updated"}),
    "history of a job, a day by one actor": ("history", {"job_id": JOB}, {**DAY, "actor": "user-3"}),
    "history of some jobs": ("history", {"job_id": "j00001,j00002"}, DAY),
    "history of jobs by pattern": ("history", {"job_id": "j0000*"}, DAY),
    "history of a day": ("history", {}, DAY),
    "history of a day, newest first": ("history", {}, {**DAY, "desc": True}),
    "history of a day, by request": ("history", {}, {**DAY, "request_id": "r-1000"}),
    "history of a day, rare types": ("history", {}, {**DAY, "type": "opened,closed"}),
    "history of a day, posts": ("history", {}, {**DAY, "type": "data_posted"}),
    "sessions of a job": ("sessions", {"job_id": JOB}, {}),
    "sessions of a day": ("sessions", {}, DAY),
    "failures of a job": ("failures", {"job_id": JOB}, {}),
    "failures of a day": ("failures", {}, DAY),
    "gaps of a job": ("gaps", {"job_id": JOB}, {"longer_than": "26h"}),
    "gaps of a day": ("gaps", {}, {**DAY, "longer_than": "26h"}),
    "refusals of a job": ("refusals", {"job_id": JOB}, {}),
    "refusals of a day": ("refusals", {}, DAY),
    "changes of a job": ("changes", {"job_id": JOB}, {}),
    "changes of a day": ("changes", {}, DAY),
    "posts of a job": ("posts", {"job_id": JOB}, {}),
    "posts of a day": ("posts", {}, DAY),
    "state at a time": ("state", {"job_id": JOB}, {"at": DAY["start"]}),
    "state at a version": ("state", {"job_id": JOB}, {"version": 150}),
    "states at a time": ("state", {}, {"at": DAY["start"]}),
    "snapshots of a job": ("snapshots", {"job_id": JOB}, {}),
    "snapshots of a day": ("snapshots", {}, DAY),
    "lineage of a bucket": ("lineage", {"job_id": JOB}, {"timestamp": DAY["start"], "bucket": True}),
    "searches of a datafeed": ("searches", {"datafeed_id": "d00000"}, {}),
    "searches of a day": ("searches", {}, DAY),
    "access of a day": ("access", {}, DAY),
}

VIEWS = {
    "audit_job_history": "job_id = 'j00003'",
    "audit_job_sessions": "job_id = 'j00003'",
    "audit_data_posted": "job_id = 'j00003'",
    "audit_snapshots": "job_id = 'j00003'",
    "audit_datafeed_searches": "datafeed_id = 'd00000'",
    "audit_access": "recorded_at_us > 0",
}


@pytest.fixture(scope="module")
def ml(module_database_url: str) -> Iterator[Marigraph]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(big_log, "WITH_RECORDS", 0)
        log = BigLog(20, 4_000)
        write(module_database_url, log)
    with closing(Marigraph(module_database_url)) as ml:
        project(ml.application, log)
        yield ml


class Plans:
    """What is executed meanwhile, and what the database says of it."""

    def __init__(self, ml: Marigraph) -> None:
        self._engine = ml.application.store.engine
        self._seen: list[tuple[str, Any]] = []
        event.listen(self._engine, "before_cursor_execute", self._note)

    def _note(self, _connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        self._seen.append((statement, parameters))

    def full_reads(self) -> list[str]:
        """Return the steps of all that was executed which read a table, or an index of it, as a whole."""
        event.remove(self._engine, "before_cursor_execute", self._note)
        steps = [
            step for statement, parameters in self._seen for step in full_reads(self._engine, statement, parameters)
        ]
        assert self._seen, "something was asked"
        return steps


def full_reads(engine: Any, statement: str, parameters: Any = ()) -> list[str]:
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
            aliases = dict(re.findall(r"\b(events|streams|job_marks|payloads|snapshots) (?:AS )?(\w+)", statement))
            known = {*LOG_TABLES, *aliases.values(), "e", "s", "n", "p", "x", "c", "m"}
            return [row[3] for row in rows if row[3].startswith("SCAN ") and row[3].split()[1] in known]
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        [(plan,)] = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).all()
        return whole_reads(list(nodes(plan[0]["Plan"])))


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in node.get("Plans", ()):
        yield from nodes(inner)


def whole_reads(plan: list[dict[str, Any]]) -> list[str]:
    """Return the steps that read a table as a whole; all streams, if every event of each of them is read then."""
    found, every_event, is_every_stream = [], False, False
    for node in plan:
        table, condition, chosen = node.get("Relation Name"), node.get("Index Cond", ""), node.get("Filter", "")
        # The newest position is the last entry of the primary key: one step, though without a condition.
        is_last = node["Node Type"].startswith("Index Only Scan") and node.get("Scan Direction") == "Backward"
        is_bound = condition or node["Node Type"] == "Bitmap Heap Scan" or is_last
        if table == "streams":
            is_every_stream = is_every_stream or not (is_bound or "entity_id = " in chosen or "(name = " in chosen)
        elif table in LOG_TABLES and not is_bound:
            found.append(f"{node['Node Type']} on {table}")
        every_event = every_event or ("stream_id = s.id" in condition and "version" not in condition)
    return [*found, *(["every event of every stream"] if every_event and is_every_stream else [])]


@pytest.mark.parametrize("name", BOUNDED)
def test_no_bounded_query_reads_the_whole_log(ml: Marigraph, name: str) -> None:
    noun, path, parameters = BOUNDED[name]
    plans = Plans(ml)
    found = ml.perform(f"audit_{noun}", path, parameters)
    steps = plans.full_reads()
    # Whoever asks about all jobs, or by a pattern, has the names of all streams looked through.
    if not path or "*" in path.get("job_id", ""):
        steps = [step for step in steps if "streams" not in step]
    assert steps == [], found


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_found_by_its_id_alone(ml: Marigraph, view: str) -> None:
    engine = ml.application.store.engine
    assert full_reads(engine, f"SELECT * FROM {view} WHERE {VIEWS[view]}") == []


def test_a_view_is_found_by_time_on_postgresql_and_by_position_on_sqlite(ml: Marigraph) -> None:
    engine = ml.application.store.engine
    statement = "SELECT count(*) FROM audit_job_history WHERE"
    if engine.dialect.name == "sqlite":
        assert full_reads(engine, f"{statement} position > 3990") == []
        assert full_reads(engine, f"{statement} recorded_at_us > 0"), "which is why docs/audit.md goes by position"
        return
    for condition in ("recorded_at >= '2026-02-01Z' AND recorded_at < '2026-02-02Z'", "recorded_at_us > 9e15::bigint"):
        with engine.connect() as connection:
            connection.execute(text("SET LOCAL enable_seqscan = off"))
            told = "\n".join(connection.exec_driver_sql(f"EXPLAIN {statement} {condition}").scalars())
        assert "ix_events_recorded_at" in told


def test_a_scan_would_be_found(ml: Marigraph) -> None:
    engine = ml.application.store.engine
    for statement in (
        "SELECT * FROM events WHERE actor = 'user-3'",
        "SELECT * FROM audit_job_history WHERE actor = 'user-3'",
        "SELECT * FROM audit_job_history WHERE job_id || '' = 'j00003'",
    ):
        assert full_reads(engine, statement), statement


def test_the_log_is_one_that_the_store_would_have_written(ml: Marigraph) -> None:
    report = ml.application.store.verify_chain()
    assert report.is_intact, report.first_bad
    assert {JOB, "j00019"} <= {each["job_id"] for each in ml.audit_state()["jobs"]}
    for noun in ("history", "sessions", "failures", "gaps", "refusals", "changes", "posts", "snapshots", "searches"):
        assert ml.perform(f"audit_{noun}", {}, {})["count"] > 0, noun
