"""docs/audit.md is true: its commands run, its SQL answers, and the views have the columns that it promises."""

import re
import shlex
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from marigraph.audit.views import VIEWS
from marigraph.cli.main import execute
from marigraph.library import Marigraph
from tests.support.jobs import application, make_job, synthetic

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "audit.md").read_text()
DATA = synthetic(150)
POSTGRES = {
    "text": {"text"},
    "number": {"bigint", "integer"},
    "real": {"double precision"},
    "time": {"timestamp with time zone"},
    "flag": {"boolean"},
}
SQLITE = {"text": {"text"}, "number": {"integer"}, "real": {"real"}, "time": {"text"}, "flag": {"integer"}}


def documented():
    """Return the columns of each view, in order, with their kinds."""
    sections = re.split(r"^### ", DOCUMENT, flags=re.MULTILINE)[1:]
    return {
        section.split("\n", 1)[0]: re.findall(r"^\| (\w+) \| (text|number|real|time|flag) \|", section, re.MULTILINE)
        for section in sections
    }


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)


@pytest.fixture(scope="module")
def ml(module_database_url):
    with closing(Marigraph(module_database_url, actor="ann")) as ml:
        ml.put_job("web", DATA.body)
        ml.open_job("web")
        ml.post_data("web", DATA.csv())
        ml.close_job("web")
        ml.update_model_snapshot("web", ml.get_model_snapshots("web")["model_snapshots"][0]["snapshot_id"], retain=True)
        yield ml


def test_the_views_are_those_that_are_documented_column_by_column(ml):
    promised = documented()
    assert list(promised) == [view.name for view in VIEWS]
    for view in VIEWS:
        assert [column.name for column in view.columns] == [name for name, _ in promised[view.name]]
        with ml.application.store.reading() as connection:
            found = connection.execute(text(f"SELECT * FROM {view.name}"))
            assert list(found.keys()) == [name for name, _ in promised[view.name]]
            rows = found.mappings().all()
            kinds = kinds_of(connection, view.name, [name for name, _ in promised[view.name]])
        if view.name not in ("audit_datafeed_searches", "audit_access"):
            assert rows
        allowed = SQLITE if ml.application.store.dialect == "sqlite" else POSTGRES
        for name, kind in promised[view.name]:
            assert kinds[name] <= allowed[kind], (view.name, name)


def kinds_of(connection, view, names):
    """Return the types of columns: as declared, or on SQLite, where views declare none, those of their values."""
    if connection.dialect.name == "sqlite":
        return {
            name: set(connection.scalars(text(f"SELECT DISTINCT typeof({name}) FROM {view} WHERE {name} IS NOT NULL")))
            for name in names
        }
    query = text("SELECT column_name, data_type FROM information_schema.columns WHERE table_name = :view")
    return {name: {kind} for name, kind in connection.execute(query, {"view": view})}


def test_values_of_the_views_are_what_happened(ml):
    with ml.application.store.reading() as connection:
        one = connection.execute(text("SELECT * FROM audit_snapshots")).mappings().one()
        post = connection.execute(text("SELECT * FROM audit_data_posted")).mappings().one()
        session = connection.execute(text("SELECT * FROM audit_job_sessions")).mappings().one()
    assert (one["job_id"], one["first_version"], one["last_version"], bool(one["retain"])) == ("web", 1, 3, True)
    assert one["removed_version"] is None
    assert one["state_bytes"] > 0
    assert (post["record_count"], post["actor"]) == (len(DATA.lines), "ann")
    assert post["payload_bytes"] > 0
    assert str(post["recorded_at"])[:10] == str(session["opened_at"])[:10]
    assert (session["ending"], session["record_count"]) == ("closed", len(DATA.lines))


def test_the_queries_of_the_document_answer(ml):
    grouped, bounded = blocks("sql")
    with ml.application.store.reading() as connection:
        assert connection.execute(text(grouped)).all() == [("ann", 1, len(DATA.lines))]
        if connection.dialect.name == "sqlite":
            assert connection.execute(text(bounded)).all()[0][:2] == ("web", "created")
            plan = [row[3] for row in connection.execute(text(f"EXPLAIN QUERY PLAN {bounded}"))]
            assert any(step.startswith("SEARCH e USING INTEGER PRIMARY KEY (rowid>?)") for step in plan), plan
            assert not any(step.startswith("SCAN e") for step in plan), plan


def test_hostile_texts_and_times_break_no_view(ml):
    ml.open_job("web")
    ml.post_data("web", [{"time": 9_007_199_254_740, "airline": "a", "responsetime": 1.0}])
    ml.close_job("web")
    [snapshot, *_] = ml.get_model_snapshots("web", desc=True)["model_snapshots"]
    ml.update_model_snapshot("web", snapshot["snapshot_id"], description="nul \0 here, \\u0000 there")
    ml.update_job("web", description="nul \0")
    for view in VIEWS:
        with ml.application.store.reading() as connection:
            connection.execute(text(f"SELECT * FROM {view.name}")).all()
    assert ml.audit_changes("web")["changes"][0]["changes"][0]["to"] == "nul \0"


def test_the_commands_of_the_document_run(sqlite_url, capsys):
    with application(sqlite_url) as app:
        make_job(app, DATA, "web")
    [block] = blocks("console")
    lines = [line.partition("  #")[0].strip() for line in block.splitlines() if line.strip()]
    assert len(lines) > 10
    for line in lines:
        code = execute(["--db", sqlite_url, *shlex.split(line)[1:]])
        out, err = capsys.readouterr()
        assert code == 0 or "has no such record" in err, (line, out, err)
