"""The walk through a false alarm in docs/debugging.md is run: its commands, in their order, and what they print."""

import re
import shlex
from pathlib import Path

import pytest

from marigraph import demo
from marigraph.cli.main import execute
from marigraph.debugging.scope import NAMES, STATE_FUNCTIONS, Condition
from tests.acceptance.test_documentation import shape

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "debugging.md").read_text()


def parts():
    """The commands of each block, with their exit codes, and what the document says that they print."""
    found = []
    for language, block in re.findall(r"```(console|text)\n(.*?)```", DOCUMENT, re.DOTALL):
        lines = block.splitlines()
        if language == "text":
            found[-1][1].extend(line for line in lines if line != "...")
            continue
        commands = [line for line in lines if line.startswith("marigraph ")]
        found.append(([(line.split("    #")[0], 1 if "# exit code 1" in line else 0) for line in commands], []))
    return [part for part in found if part[0]]


def run(commands, capsys):
    printed = ""
    for line, *codes in commands:
        assert execute(shlex.split(line)[1:]) in codes, f"{line}: {capsys.readouterr().err}"
        printed += capsys.readouterr().out
    return printed


@pytest.fixture
def environment(sqlite_url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MARIGRAPH_DB", sqlite_url)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_walk_through_prints_what_it_says(environment, capsys):
    for commands, expected in parts():
        printed = [shape(line) for line in run(commands, capsys).splitlines()]
        assert [line for line in expected if shape(line) not in printed] == []


def test_the_commands_of_the_walk_through_run_on_coarser_data(environment, capsys, monkeypatch):
    config = {**demo.CONFIG, "analysis_config": {**demo.CONFIG["analysis_config"], "bucket_span": "1h"}}
    monkeypatch.setattr(demo, "CONFIG", config)
    monkeypatch.setattr(demo, "EVERY_SECONDS", 600)
    every = [command for commands, _ in parts() for command in commands]
    assert len(every) >= 12
    # whether a condition ever holds depends on the data
    run([(line, 0, 1) if "bisect" in line else (line, code) for line, code in every if "whatif" not in line], capsys)
    for line, _ in every:
        if "whatif" in line:
            assert execute([*shlex.split(line)[1:2], "--help"]) == 0


def test_the_document_names_conditions_that_there_are():
    named = re.findall(r"--until \"([^\"]+)\"", DOCUMENT)
    assert len(named) >= 2
    for text in named:
        Condition.of(text)
    table = "".join(line for line in DOCUMENT.splitlines() if line.startswith("| a") or line.startswith("| the"))
    for name in re.findall(r"`([a-z_]+)`", table):
        assert name in NAMES
    for name in STATE_FUNCTIONS:
        assert f"`{name}('checkout')`" in table


def test_the_document_is_reached_from_the_readme():
    assert "](docs/debugging.md)" in (ROOT / "README.md").read_text()
