"""The documentation is run: its commands, its configuration, its SQL and its links are real."""

import json
import re
import shlex
from pathlib import Path

import pytest
from sqlalchemy import text

from domain.config import create_job_config
from marigraph.cli.main import execute
from tests.support.jobs import application, make_job, synthetic

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
DATA = synthetic(800)


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def command_lines():
    for block in blocks("console"):
        for line in block.splitlines():
            command = line.partition("  #")[0].strip()
            for part in command.split("&&"):
                if part.strip().startswith("marigraph "):
                    yield part.strip()


def test_the_readme_begins_with_what_it_is_and_the_two_commands():
    head = README[:900]
    assert "pip install . && marigraph demo" in head
    assert "pip install -e '.[test]' && pytest" in head


def test_the_configuration_of_the_readme_is_valid():
    [body] = blocks("json")
    assert create_job_config(json.loads(body), job_id=None, now_ms=0).job_id == "web"


def test_the_single_steps_of_the_readme_work_in_their_order(sqlite_url, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MARIGRAPH_DB", sqlite_url)
    [body] = blocks("json")
    Path("web.json").write_text(body)
    Path("day1.csv").write_text("time,page,responsetime\n1700006400,home,12.5\n1700010000,home,12.7\n")
    lines = [line for line in command_lines() if re.match(r"marigraph (job|post|records) .*\bweb", line)]
    assert len(lines) >= 6
    for line in lines:
        assert execute(shlex.split(line)[1:]) == 0, capsys.readouterr().err


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("day1.csv").write_text("time,page,responsetime\n1700006500,home,12.5\n1700010000,home,12.7\n")
    [program] = blocks("python")
    exec(compile(program, "README.md", "exec"), {})
    capsys.readouterr()
    assert execute(["--db", "web.db", "job", "stats", "web", "--json"]) == 0
    [stats] = json.loads(capsys.readouterr().out)["jobs"]
    assert (stats["state"], stats["data_counts"]["processed_record_count"]) == ("closed", 3)


@pytest.mark.parametrize("line", sorted(set(command_lines())))
def test_every_command_of_the_readme_exists(line, capsys):
    words = [word for word in shlex.split(line)[1:]]
    if words[0] in ("--db", "--server"):
        words = words[2:]
    groups = ("job", "datafeed", "db", "snapshots", "keys", "users", "retention", "audit", "bundle")
    path = words[:2] if words[0] in groups else words[:1]
    assert execute([*path, "--help"]) == 0
    options = re.findall(r" (--[a-z-]+)", re.sub(r"^marigraph --server \S+", "marigraph", line).partition("--db")[0])
    shown = capsys.readouterr().out
    assert all(option in shown for option in options)


def test_the_table_of_commands_names_every_command(capsys):
    assert execute(["--help"]) == 0
    shown = capsys.readouterr().out
    for command in re.findall(r"^│ ([a-z]+) ", shown, re.MULTILINE):
        assert re.search(rf"marigraph.*\b{command}\b", README), command


def test_the_audit_query_runs(database_url):
    [query] = blocks("sql")
    with application(database_url) as app:
        make_job(app, DATA, "web")
        with app.store.reading() as connection:
            rows = connection.execute(text(query)).all()
    assert [(row.job_id, row.ending) for row in rows] == [("web", "open")]


def shape(line):
    """A line without its numbers, which change with every improvement of the engine, and without its padding."""
    return " ".join(re.sub(r"-?\d[\d.,]*(e[-+]\d+)?", "N", line).split())


def test_the_explanation_of_the_readme_is_what_the_program_prints(sqlite_url, capsys):
    [example] = blocks("text")
    [line] = [line for line in command_lines() if "--timestamp" in line]
    assert execute(["--db", sqlite_url, "demo"]) == 0
    capsys.readouterr()
    assert execute(["--db", sqlite_url, *shlex.split(line)[1:]]) == 0
    printed = [shape(line) for line in capsys.readouterr().out.splitlines()]
    missing = [line for line in example.splitlines() if line != "..." and shape(line) not in printed]
    assert missing == []


@pytest.mark.parametrize("document", ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "docs/deployment.md"])
def test_links_and_named_files_exist(document):
    content = (ROOT / document).read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", content) if not link.startswith("http")]
    named = re.findall(r"`((?:domain|eventstore|marigraph|migrations|scripts|tests|benchmarks)/[\w./]*)`", content)
    missing = [name for name in (*links, *named) if not (ROOT / name).exists() and not (ROOT / f"{name}.py").exists()]
    assert missing == []
