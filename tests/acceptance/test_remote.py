"""`--server URL`: the same commands with the same answers, on a server instead of a database."""

import gzip
import io
import json
import sys

import pytest

from marigraph import remote
from marigraph.cli.main import execute
from marigraph.context import Context
from tests.support.jobs import synthetic, to_ndjson
from tests.support.serving import JOBS, client_of

DATA = synthetic(400)
DATA.body["analysis_config"]["bucket_span"] = "1h"
ROOT = Context("root")


@pytest.fixture
def client(new_sqlite_url):
    with client_of(new_sqlite_url()) as client:
        yield client


@pytest.fixture
def run(capsys, monkeypatch):
    """Run a command; returns (exit code, output, error output)."""
    monkeypatch.delenv("MARIGRAPH_SERVER", raising=False)

    def run(*arguments, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(stdin))))
        code = execute([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def both(run, client, sqlite_url):
    """Run a command on a server and on a database; returns what both print, which must be the same."""

    def both(*arguments, **more):
        results = [run(*where, *arguments, **more) for where in (at(client), ("--db", sqlite_url))]
        assert [code for code, _out, _err in results] == [0, 0], results
        there, here = (comparable(out, "--json" in arguments) for _code, out, _err in results)
        assert there == here
        return there

    return both


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "job.json"
    path.write_text(json.dumps({"job_id": "j", **DATA.body}))
    return path


@pytest.fixture
def records(tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes(DATA.csv())
    return path


def at(client):
    return ("--server", str(client.base_url).rstrip("/"))


RUN = {
    *("create_time", "finished_time", "last_data_time", "processing_time_ms", "timing_stats", "node", "open_time"),
    *("assignment_explanation", "model_snapshot_id", "snapshot_id", "description", "input_bytes", "log_time", "hash"),
    *("position", "recorded_at", "actor", "request_id", "command_id", "payload_digest", "job_version"),
}
"""What belongs to one run and not to the job; `timestamp` of a snapshot is told apart by its neighbours."""


def comparable(out, is_json):
    return strip(json.loads(out)) if is_json else None


def strip(value):
    if isinstance(value, list):
        return [strip(item) for item in value]
    if not isinstance(value, dict):
        return value
    dropped = RUN | ({"timestamp"} if "snapshot_doc_count" in value else set())
    return {name: strip(item) for name, item in value.items() if name not in dropped}


def test_a_whole_life_is_the_same_on_a_server(both, config, records):
    both("job", "create", config, "--json")
    both("job", "list", "--json")
    both("job", "open", "j", "--json")
    counts = both("post", "j", records, "--json")
    assert counts["input_record_count"] == len(DATA.lines)
    assert both("job", "flush", "j", "--calc-interim", "--json")["flushed"]
    assert len(both("buckets", "j", "--all", "--json")["buckets"]) > 50
    both("buckets", "j", "--from", 5, "--size", 3, "--sort", "anomaly_score", "--desc", "--json")
    assert both("records", "j", "--min-score", 1, "--exclude-interim", "--json")["count"] > 0
    both("influencers", "j", "--json")
    assert both("explain", "j", "--json")["matches_stored"]
    both("explain", "j", 1, "--function", "mean")
    both("categories", "j", "--json")
    both("job", "stats", "j", "--json")
    both("job", "update", "j", '{"groups": ["g"]}', "--json")
    both("job", "show", "g", "--json")
    both("job", "close", "j", "--json")
    assert both("snapshots", "list", "j", "--json")["count"] == 1
    history = both("history", "j", "--type", "opened", "--type", "closed", "--json")
    assert [event["type"] for event in history["events"]] == ["opened", "closed"]
    for command in ("buckets", "records", "influencers"):
        both(command, "j", "--csv")
    assert both("job", "delete", "j", "--json") == {"acknowledged": True}


def test_a_single_bucket_is_the_same_on_a_server(both, config, records):
    for step in (("job", "create", config), ("job", "open", "j"), ("post", "j", records), ("job", "flush", "j")):
        both(*step)
    start = both("buckets", "j", "--size", 1, "--json")["buckets"][0]["timestamp"]
    assert both("buckets", "j", "--timestamp", start, "--expand", "--json")["count"] == 1


def test_snapshots_are_changed_on_a_server(run, client, config, records):
    for step in (("create", config), ("open", "j")):
        run(*at(client), "job", *step)
    run(*at(client), "post", "j", records)
    for step in ("close", "open", "close"):
        run(*at(client), "job", step, "j")
    listed = json.loads(run(*at(client), "snapshots", "list", "j", "--json")[1])
    newest, oldest = (each["snapshot_id"] for each in listed["model_snapshots"])
    _code, out, _err = run(*at(client), "snapshots", "update", "j", oldest, "--description", "kept", "--json")
    assert json.loads(out)["model"]["description"] == "kept"
    assert run(*at(client), "snapshots", "revert", "j", oldest, "--delete-intervening-results")[0] == 0
    assert run(*at(client), "snapshots", "delete", "j", newest)[0] == 0


@pytest.mark.parametrize("form", ["csv", "ndjson", "array", "pretty", "gzip", "stdin"])
def test_files_of_every_form_are_posted_in_blocks(run, client, config, tmp_path, monkeypatch, form):
    monkeypatch.setattr("marigraph.data_files.BLOCK_BYTES", 2_001)
    ndjson, path, stdin = to_ndjson(DATA), tmp_path / "data", b""
    rows = [json.loads(line) for line in ndjson.splitlines()]
    content = {
        "csv": DATA.csv(),
        "ndjson": ndjson,
        "array": json.dumps(rows).encode(),
        "pretty": json.dumps(rows, indent=2).encode(),
        "gzip": gzip.compress(DATA.csv()),
    }
    if form == "stdin":
        path, stdin = "-", DATA.csv()
    else:
        path.write_bytes(content[form])
    run(*at(client), "job", "create", config)
    run(*at(client), "job", "open", "j")
    code, out, err = run(*at(client), "post", "j", path, "--json", stdin=stdin)
    assert code == 0, err
    assert json.loads(out)["input_record_count"] == len(DATA.lines)
    [stats] = client.get(f"{JOBS}/j/_stats").json()["jobs"]
    assert stats["data_counts"]["input_record_count"] == len(DATA.lines)
    assert stats["data_counts"]["invalid_date_count"] == 0
    posts = [event for event in client.server.store.iter_stream("job-j") if event.type == "data_posted"]
    assert len(posts) > 3


def test_the_same_file_again_is_stored_once(run, client, config, records, monkeypatch):
    monkeypatch.setattr("marigraph.data_files.BLOCK_BYTES", 2_001)
    run(*at(client), "job", "create", config)
    run(*at(client), "job", "open", "j")
    first = json.loads(run(*at(client), "post", "j", records, "--json")[1])
    assert json.loads(run(*at(client), "post", "j", records, "--json")[1]) == first
    [stats] = client.get(f"{JOBS}/j/_stats").json()["jobs"]
    assert stats["data_counts"]["input_record_count"] == len(DATA.lines)


def test_a_post_whose_answer_was_lost_is_sent_again_and_stored_once(run, client, config, records, monkeypatch):
    monkeypatch.setattr("marigraph.data_files.BLOCK_BYTES", 3_001)
    monkeypatch.setattr(remote.time, "sleep", lambda _seconds: None)
    run(*at(client), "job", "create", config)
    run(*at(client), "job", "open", "j")
    send, n_sent = remote.httpx.Client.request, []

    def breaking(self, method, url, **options):
        answer = send(self, method, url, **options)
        if url.endswith("/_data"):
            n_sent.append(url)
            if len(n_sent) % 2:
                msg = "the line broke before the answer"
                raise remote.httpx.ReadError(msg)
        return answer

    monkeypatch.setattr(remote.httpx.Client, "request", breaking)
    code, out, _err = run(*at(client), "post", "j", records, "--json")
    assert (code, json.loads(out)["input_record_count"]) == (0, len(DATA.lines))
    monkeypatch.undo()
    [stats] = client.get(f"{JOBS}/j/_stats").json()["jobs"]
    assert stats["data_counts"]["input_record_count"] == len(DATA.lines)
    assert len(n_sent) >= 4


def test_all_of_a_list_is_the_same_though_it_comes_in_pages(both, config, records, monkeypatch):
    for step in (("job", "create", config), ("job", "open", "j"), ("post", "j", records), ("job", "flush", "j")):
        both(*step)
    monkeypatch.setattr(remote, "PAGE_MAX", 20)
    for options in ((), ("--sort", "anomaly_score"), ("--desc",)):
        found = both("buckets", "j", "--all", *options, "--json")
        assert len(found["buckets"]) == found["count"] > 50
    monkeypatch.setattr(remote, "PAGE_MAX", 5)
    for options in ((), ("--sort", "timestamp"), ("--asc",)):
        assert both("records", "j", "--all", *options, "--json")["count"] > 5
    monkeypatch.setattr(remote, "PAGE_MAX", 2)
    assert both("history", "j", "--all", "--json")["count"] == 4


@pytest.mark.parametrize(
    "arguments",
    [("run", "--job", "x", "y"), ("demo",), ("verify", "j"), ("db", "current"), ("serve",), ("keys", "list"),
     ("users", "list")],
)  # fmt: skip
def test_what_needs_the_database_says_so_in_one_line(run, client, arguments, config):
    arguments = [str(config) if argument == "x" else "-" if argument == "y" else argument for argument in arguments]
    code, out, err = run(*at(client), *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "this command needs the database" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("job", "show", "nope"), "No known job with id 'nope'"),
        (("job", "create", '{"job_id": "j"}'), "An analysis_config must be set"),
        (("job", "create", "{}"), "the configuration has no job_id"),
        (("records", "nope", "--start", "tomorrow"), "cannot be parsed as a date"),
        (("post", "nope", __file__), "No known job with id 'nope'"),
        (("snapshots", "revert", "a/../b", "1"), "no handler found"),
        (("snapshots", "revert", "nope?x=1", "1"), "No known job with id 'nope?x=1'"),
    ],
)
def test_refusals_of_a_server_are_one_line(run, client, arguments, message):
    code, out, err = run(*at(client), *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert message in err


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ("http://127.0.0.1:1", "cannot reach http://127.0.0.1:1"),
        ("localhost:9200", "the server must be http://HOST:PORT"),
        ("http://me:secret@localhost", "the server must be http://HOST:PORT"),
    ],
)
def test_a_server_that_is_none_is_one_line(run, server, message):
    code, out, err = run("--server", server, "job", "list")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert "secret" not in err


def test_credentials_come_from_options_or_the_environment(run, new_sqlite_url, monkeypatch):
    with client_of(new_sqlite_url(), is_guarded=True) as client:
        _key, made = client.control.create_key("k", ("machine_learning_user",), ROOT)
        client.control.create_user("ann", "correct horse", ("machine_learning_admin",), ROOT)
        code, _out, err = run(*at(client), "job", "list")
        assert (code, "missing authentication credentials" in err) == (2, True)
        assert run(*at(client), "--api-key", made.encoded, "job", "list")[0] == 0
        monkeypatch.setenv("MARIGRAPH_API_KEY", made.encoded)
        assert run(*at(client), "job", "list")[0] == 0
        code, _out, err = run(*at(client), "job", "delete", "j")
        assert (code, "is unauthorized for API key id" in err) == (2, True)
        monkeypatch.delenv("MARIGRAPH_API_KEY")
        monkeypatch.setenv("MARIGRAPH_USER", "ann")
        monkeypatch.setenv("MARIGRAPH_PASSWORD", "correct horse")
        monkeypatch.setenv("MARIGRAPH_SERVER", str(client.base_url))
        assert run("job", "list")[0] == 0
        code, _out, err = run("job", "delete", "j")
        assert "No known job with id 'j'" in err


def test_a_database_that_is_named_wins_over_a_server_of_the_environment(run, sqlite_url, monkeypatch):
    monkeypatch.setenv("MARIGRAPH_SERVER", "http://127.0.0.1:1")
    assert run("--db", sqlite_url, "job", "list")[0] == 0
    code, _out, err = run("--db", sqlite_url, "--server", "http://127.0.0.1:1", "job", "list")
    assert (code, "not both" in err) == (2, True)
