"""The commands that remove and rebuild, as users call them."""

import json

import pytest

from marigraph.cli.main import execute

JOB = {
    "job_id": "web",
    "analysis_config": {"bucket_span": "1h", "detectors": [{"function": "mean", "field_name": "value"}]},
    "data_description": {"time_format": "epoch"},
    "results_retention_days": 1,
    "custom_settings": {"erasable": True},
}


@pytest.fixture
def command(sqlite_url, capsys, tmp_path):
    """Run a command; return its exit code and what it printed."""

    def run(*arguments):
        code = execute(["--db", sqlite_url, *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    data = tmp_path / "data.csv"
    lines = [f"{1_700_006_400 + hour * 3_600},{hour % 7}" for hour in range(60)]
    data.write_text("\n".join(["time,value", *lines]) + "\n")
    for arguments in (("job", "create", json.dumps(JOB)), ("job", "open", "web"), ("post", "web", str(data))):
        assert run(*arguments)[0] == 0
    return run


def test_retention_shows_what_would_go_and_then_removes_it(command):
    code, out, err = command("retention", "run", "--dry-run")
    assert (code, "web" in out, "before 2023-11-16 11:00:00" in out) == (0, True, True)
    assert "nothing was changed" in err
    code, out, _err = command("retention", "run", "web", "--json")
    assert json.loads(out)["jobs"][0]["results_dropped"] == {"before_ms": 1_700_132_400_000, "retention_days": 1}
    assert command("retention", "run")[1] == "nothing is too old\n"
    assert command("retention", "run", "nobody")[0] == 2


def test_erasing_asks_and_says_what_it_did(command):
    code, _out, err = command("erase", "web")
    assert (code, "--yes" in err) == (2, True)
    code, _out, err = command("erase", "web", "--yes")
    assert (code, "close it first" in err, err.count("\n")) == (2, True, 1)
    command("job", "close", "web")
    assert "is erased (event" in command("erase", "web", "--yes")[1]
    assert json.loads(command("erase", "web", "--yes", "--json")[1])["erased"] is False
    assert command("verify", "web")[0] == 0


def test_a_rebuild_names_its_jobs_and_what_differed(command):
    assert command("db", "rebuild")[0] == 2
    assert command("db", "rebuild", "web", "--all")[0] == 2
    code, out, _err = command("db", "rebuild", "--all", "--json")
    assert (code, json.loads(out)["jobs"][0]["buckets_changed"]) == (0, 0)
    assert "buckets changed" in command("db", "rebuild", "web")[1]


def test_the_database_says_whom_it_admits(command):
    assert "may run with this database" in command("db", "current")[1]
    finished = json.loads(command("db", "finish", "--json")[1])
    assert finished["oldest_admitted"] == finished["before"]
    assert json.loads(command("db", "current", "--json")[1])["oldest_admitted"] == finished["before"]
