"""The command line as people use it: every command, its JSON, its errors in one line."""

import gzip
import io
import json
import shutil
import subprocess
import sys

import pytest

from marigraph.cli.main import execute
from tests.support.jobs import synthetic, to_ndjson

DATA = synthetic(2_000)


@pytest.fixture
def cli(sqlite_url, capsys, monkeypatch):
    """Run a command on a database of its own; returns (exit code, output, error output)."""

    def run(*arguments, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(stdin))))
        code = execute(["--db", sqlite_url, *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def ok(cli):
    """Run a command that must succeed; returns its output, as JSON if that was asked for."""

    def run(*arguments, **more):
        code, out, err = cli(*arguments, **more)
        assert code == 0, err
        return json.loads(out) if "--json" in arguments else out

    return run


@pytest.fixture
def files(tmp_path):
    config, records = tmp_path / "job.json", tmp_path / "data.csv"
    config.write_text(json.dumps({"job_id": "j", **DATA.body}))
    records.write_bytes(DATA.csv())
    return config, records


@pytest.fixture(scope="module")
def finished(new_module_file):
    """The database of a job that was run over the data; only to be read."""
    path = new_module_file()
    config = path.with_name("job.json")
    config.write_text(json.dumps({"job_id": "j", **DATA.body}))
    data = path.with_name("data.csv")
    data.write_bytes(DATA.csv())
    assert execute(["--db", f"sqlite:///{path}", "run", "--job", str(config), str(data)]) == 0
    return path


@pytest.fixture
def fed(finished, sqlite_url):
    """A job that was run over the data, in the database of the test."""
    shutil.copyfile(finished, sqlite_url.removeprefix("sqlite:///"))
    return "j"


def test_run_makes_a_job_and_prints_its_anomalies(ok, files):
    config, records = files
    out = ok("run", "--job", config, records)
    assert "job j:" in out
    assert "buckets" in out
    assert ok("job", "list", "--json")["count"] == 1


def test_a_life_by_single_commands(ok, files):
    config, records = files
    created = ok("job", "create", config, "--json")
    assert (created["job_id"], created["analysis_config"]["bucket_span"]) == ("j", "15m")
    assert ok("job", "open", "j", "--json") == {"opened": True, "node": ""}
    counts = ok("post", "j", records, "--json")
    assert counts["input_record_count"] == len(DATA.lines)
    flushed = ok("job", "flush", "j", "--calc-interim", "--json")
    assert flushed["flushed"]
    assert flushed["last_finalized_bucket_end"] % 900_000 == 0
    assert any(bucket["is_interim"] for bucket in ok("buckets", "j", "--all", "--json")["buckets"])
    [stats] = ok("job", "stats", "j", "--json")["jobs"]
    assert stats["state"] == "opened"
    assert stats["data_counts"]["input_record_count"] == len(DATA.lines)
    assert ok("job", "update", "j", "-", "--json", stdin=b'{"description": "new"}')["description"] == "new"
    assert ok("job", "update", "j", '{"description": null, "groups": ["g"]}', "--json")["groups"] == ["g"]
    assert ok("job", "close", "j", "--json") == {"closed": True}
    assert ok("job", "close", "j", "--json") == {"closed": True}
    assert ok("job", "delete", "j", "--json") == {"acknowledged": True}
    assert ok("job", "list", "--json") == {"count": 0, "jobs": []}
    assert [event["type"] for event in ok("history", "j", "--json")["events"]][-1] == "deleted"


@pytest.mark.parametrize("form", ["ndjson", "array", "gzip", "stdin"])
def test_data_is_told_by_its_content(ok, files, tmp_path, form):
    config, records = files
    ndjson = to_ndjson(DATA)
    path, stdin = tmp_path / "data", b""
    if form == "ndjson":
        path.write_bytes(ndjson)
    elif form == "array":
        path.write_bytes(b"[" + b",".join(ndjson.splitlines()) + b"]")
    elif form == "gzip":
        path.write_bytes(gzip.compress(records.read_bytes()))
    else:
        path, stdin = "-", records.read_bytes()
    ok("run", "--job", config, path, stdin=stdin)
    [stats] = ok("job", "stats", "j", "--json")["jobs"]
    assert stats["data_counts"]["input_record_count"] == len(DATA.lines)
    assert stats["data_counts"]["invalid_date_count"] == 0


def test_lists_are_paged_and_all_gives_every_one(ok, fed):
    every = ok("buckets", fed, "--all", "--json")
    assert len(every["buckets"]) == every["count"] > 100
    page = ok("buckets", fed, "--from", 5, "--size", 3, "--json")
    assert page["count"] == every["count"]
    assert page["buckets"] == every["buckets"][5:8]
    assert len(ok("buckets", fed, "--json")["buckets"]) == 100


def test_a_single_bucket_is_found_by_its_start(ok, cli, fed):
    [first, *_] = ok("buckets", fed, "--size", 1, "--json")["buckets"]
    found = ok("buckets", fed, "--timestamp", first["timestamp"], "--expand", "--json")
    assert found["count"] == 1
    code, _, err = cli("buckets", fed, "--timestamp", first["timestamp"] + 1)
    assert (code, err) == (2, "marigraph: Could not find requested buckets\n")


def test_records_come_by_falling_score(ok, fed):
    scores = [record["record_score"] for record in ok("records", fed, "--all", "--json")["records"]]
    assert scores == sorted(scores, reverse=True)
    least = ok("records", fed, "--min-score", 10, "--json")["records"]
    assert all(record["record_score"] >= 10 for record in least)


def test_time_filters_take_iso_dates_and_milliseconds(ok, fed):
    every = ok("buckets", fed, "--all", "--json")["buckets"]
    start, end = every[10]["timestamp"], every[20]["timestamp"]
    assert ok("buckets", fed, "--start", start, "--end", end, "--json")["buckets"] == every[10:20]


def test_history_is_filtered(ok, fed):
    every = ok("history", fed, "--json")["events"]
    types = [event["type"] for event in every]
    assert types == ["created", "opened", "data_posted", "flushed", "snapshot_persisted", "closed"]
    some = ok("history", fed, "--type", "opened", "--type", "closed", "--json")["events"]
    assert [event["type"] for event in some] == ["opened", "closed"]
    assert ok("history", fed, "--after-version", 4, "--json")["count"] == 2
    assert ok("history", fed, "--actor", "nobody", "--json")["count"] == 0
    one_request = {event["request_id"] for event in every}
    assert len(one_request) == 1


def test_snapshots_are_listed_changed_reverted_to_and_deleted(ok, cli, fed):
    ok("job", "open", fed)
    ok("job", "close", fed)
    newest, oldest = ok("snapshots", "list", fed, "--json")["model_snapshots"]
    changed = ok("snapshots", "update", fed, oldest["snapshot_id"], "--description", "kept", "--retain", "--json")
    assert (changed["model"]["description"], changed["model"]["retain"]) == ("kept", True)
    code, _, err = cli("snapshots", "delete", fed, newest["snapshot_id"])
    assert code == 2
    assert "is the active snapshot" in err
    reverted = ok("snapshots", "revert", fed, oldest["snapshot_id"], "--delete-intervening-results", "--json")
    assert reverted["model"]["snapshot_id"] == oldest["snapshot_id"]
    assert ok("snapshots", "delete", fed, newest["snapshot_id"], "--json") == {"acknowledged": True}
    assert "everything holds" in ok("verify", fed)


def test_reverting_and_sending_the_later_data_again_gives_the_same_results(ok, files, tmp_path):
    config, _ = files
    parts = []
    for index, (start, end) in enumerate([(0, 900), (900, None)]):
        parts.append(tmp_path / f"part{index}.csv")
        parts[-1].write_bytes(DATA.csv(start, end))
    ok("run", "--job", config, parts[0])
    ok("run", "--job", config, parts[1])
    expected = ok("buckets", "j", "--all", "--json")["buckets"]
    first = ok("snapshots", "list", "j", "--asc", "--json")["model_snapshots"][0]
    ok("snapshots", "revert", "j", first["snapshot_id"], "--delete-intervening-results")
    assert len(ok("buckets", "j", "--all", "--json")["buckets"]) < len(expected)
    again = tmp_path / "again.csv"
    again.write_bytes(DATA.csv(900) + b"\n")  # another file, so that it is not taken for the one already stored
    ok("run", "--job", config, again)

    def comparable(buckets):
        return [{**bucket, "processing_time_ms": 0} for bucket in buckets]

    assert comparable(ok("buckets", "j", "--all", "--json")["buckets"]) == comparable(expected)
    assert "everything holds" in ok("verify", "j")


def test_verify_fails_on_a_changed_result(ok, cli, fed, sqlite_url):
    from sqlalchemy import create_engine, text

    engine = create_engine(sqlite_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE buckets SET anomaly_score = 99.5 WHERE timestamp % 4500000 = 0"))
    engine.dispose()
    code, out, _ = cli("verify", fed)
    assert code == 1
    assert "FAILED  results" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["job", "show", "nope"], "No known job with id 'nope'"),
        (["job", "open", "nope"], "No known job with id 'nope'"),
        (["records", "nope"], "No known job with id 'nope'"),
        (["history", "nope"], "No known job with id 'nope'"),
        (["verify", "nope"], "No known job with id 'nope'"),
        (["job", "create", "/nowhere/job.json"], "/nowhere/job.json: No such file or directory"),
        (["run", "--job", "/dev/null", "x.csv"], "/dev/null is not valid JSON"),
        (["run"], "Missing argument"),
        (["job", "create"], "Missing argument"),
        (["job", "close", "nope"], "No known job with id 'nope'"),
        (["job", "flush", "nope", "--start", "tomorrow"], "cannot be parsed as a date"),
        (["nonsense"], "No such command"),
        (["buckets", "nope", "--size", "many"], "valid int"),
    ],
)
def test_an_error_is_one_line_and_exit_code_two(cli, arguments, message):
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("marigraph: ")
    assert err.count("\n") == 1
    assert message in err


@pytest.mark.parametrize(
    ("database", "message"),
    [
        ("/proc/nothing.db", "unable to open database file"),
        ("/", "unable to open database file"),
        (__file__, "file is not a database"),
        ("mysql://host/name", "must begin with sqlite:// or postgresql://"),
        ("postgresql://127.0.0.1:1/name", "cannot reach the database"),
        ("sqlite://", "name a file"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_line_and_exit_code_two(capsys, database, message):
    assert execute(["--db", database, "job", "list"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err


def test_a_missing_data_file_is_refused_before_a_job_is_made(cli, ok, files):
    code, _, err = cli("run", "--job", files[0], "/nowhere/data.csv")
    assert (code, err) == (2, "marigraph: /nowhere/data.csv: No such file or directory\n")
    assert ok("job", "list", "--json")["count"] == 0


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"job_id": 5}', b'{"job_id": "J"}', b"[" * 5000]
)
def test_a_broken_configuration_is_one_line_and_exit_code_two(cli, body):
    code, out, err = cli("job", "create", "-", stdin=body)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_another_configuration_under_the_same_id_is_refused(cli, fed, tmp_path):
    other = tmp_path / "other.json"
    body = {"job_id": "j", **DATA.body}
    body["analysis_config"] = {**body["analysis_config"], "bucket_span": "5m"}
    other.write_text(json.dumps(body))
    code, _, err = cli("run", "--job", other, other)
    assert code == 2
    assert "exists with another analysis_config" in err


def test_posting_to_a_closed_job_is_refused(cli, fed, files):
    code, _, err = cli("post", fed, files[1])
    assert (code, err) == (2, "marigraph: Cannot perform requested action because job [j] is not open\n")


def test_the_database_commands_tell_the_state(ok, fed, tmp_path):
    assert ok("db", "check", "--json") == {"ok": True, "problems": []}
    current = ok("db", "current", "--json")
    assert current["revision"] == current["expected"]
    ok("db", "upgrade")
    target = tmp_path / "copy.db"
    ok("db", "backup", target)
    assert target.exists()


def test_a_copy_on_postgres_and_back_holds_and_shows_the_same(ok, fed, empty_postgres_url, capsys, tmp_path):
    buckets = ok("buckets", fed, "--all", "--json")
    report = ok("db", "copy", empty_postgres_url, "--json")
    assert report["events"] == 6
    back = str(tmp_path / "back.db")
    assert execute(["--db", empty_postgres_url, "db", "copy", back]) == 0
    assert execute(["--db", back, "verify", fed]) == 0
    assert execute(["--db", empty_postgres_url, "verify", fed]) == 0
    capsys.readouterr()
    assert execute(["--db", empty_postgres_url, "buckets", fed, "--all", "--json"]) == 0
    copied = json.loads(capsys.readouterr().out)
    for each in (*copied["buckets"], *buckets["buckets"]):
        each["processing_time_ms"] = 0
    assert copied == buckets


def test_the_demo_tells_its_story(ok):
    out = ok("demo")
    for word in ("made and opened job demo", "checkout", "snapshot_persisted", "The history of demo"):
        assert word in out


def test_the_installed_command_knows_its_version():
    done = subprocess.run([sys.executable, "-m", "marigraph", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("marigraph 0.")
