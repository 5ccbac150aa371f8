"""Whoever runs a datafeed is killed, again and again: in the end the job has every record once."""

import json
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from domain.datafeeds.datafeed import STARTED
from marigraph.verify import verify_job
from tests.acceptance.test_datafeeds import of, posted
from tests.support.feeds import HOUR_MS, START_MS, Table, events, feeding, make_feed, rows, write_sources

END = str(START_MS + 1_000 * HOUR_MS)
WAIT_SECONDS_MAX = 120


@pytest.fixture
def table(tmp_path):
    return Table(tmp_path / "source.db")


@pytest.fixture
def sources(tmp_path, table):
    return write_sources(tmp_path / "sources.toml", shop=str(table.path))


def marigraph(url, sources, *arguments):
    command = [sys.executable, "-m", "marigraph", "--db", url, "--sources", sources, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process):
    out, err = process.communicate(timeout=WAIT_SECONDS_MAX)
    assert process.returncode == 0, err.decode()
    return out.decode()


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=WAIT_SECONDS_MAX)


def check(url, sources, table_rows):
    with feeding(url, sources) as app:
        assert (app.jobs.load("j").state, app.datafeeds.load("d").state) == ("closed", "stopped")
        found = events(app)
        assert sum(each.record_count for each in found) == len(table_rows)
        assert verify_job(app, "j").holds
        assert of(app) == posted(app, table_rows)


def await_searches(url, sources, process, count):
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    with feeding(url, sources) as app:
        while len(events(app)) < count and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)


def killed_commands(url, sources, table, n_kills, n_rows, seed):
    table.add(rows(n_rows))
    with feeding(url, sources) as app:
        make_feed(app, scroll_size=5)
    moments = random.Random(seed)
    searches = 0
    for _ in range(n_kills):
        process = marigraph(url, sources, "datafeed", "start", "d", "--end", END)
        searches += 1
        await_searches(url, sources, process, searches)
        time.sleep(moments.uniform(0, 0.3))
        kill(process)
        with feeding(url, sources) as app:
            searches = len(events(app))
            if app.datafeeds.load("d").state != STARTED:
                break
    with feeding(url, sources) as app:
        is_left = app.datafeeds.load("d").state == STARTED or app.jobs.load("j").state != "closed"
    if is_left:
        finish(marigraph(url, sources, "datafeed", "start", "d", "--end", END))
    check(url, sources, rows(n_rows))


def test_a_killed_command_started_again_loses_and_doubles_nothing(sqlite_url, sources, table):
    killed_commands(sqlite_url, sources, table, n_kills=1, n_rows=1_000, seed=1)


def test_ctrl_c_stops_it_and_the_same_command_goes_on(sqlite_url, sources, table):
    table.add(rows(1_000))
    with feeding(sqlite_url, sources) as app:
        make_feed(app, scroll_size=5)
    process = marigraph(sqlite_url, sources, "datafeed", "start", "d", "--end", END)
    await_searches(sqlite_url, sources, process, 2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=WAIT_SECONDS_MAX)
    assert process.returncode in (0, 130)
    assert b"Traceback" not in err
    with feeding(sqlite_url, sources) as app:
        assert app.datafeeds.load("d").state == "stopped"
        is_left = app.jobs.load("j").state == "opened"
    if is_left:
        finish(marigraph(sqlite_url, sources, "datafeed", "start", "d", "--end", END))
    check(sqlite_url, sources, rows(1_000))


class Served:
    """A server that can be killed and started anew on the same port."""

    def __init__(self, url, sources):
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        self._command = [sys.executable, "-m", "marigraph", "--db", url, "--sources", sources, "serve", "--quiet"]
        self._command += ["--port", str(self.port)]
        self._log = Path(sources).with_name("server.log")
        self.process = None

    def start(self):
        with self._log.open("ab") as log:  # a pipe that nobody reads would fill and stop the server
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while True:
            try:
                self("GET", "/readyz")
                return
            except OSError:
                assert self.process.poll() is None, self._log.read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def __call__(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=WAIT_SECONDS_MAX) as answer:
            return json.load(answer)


def killed_servers(url, sources, table, n_kills, n_rows, seed):
    table.add(rows(n_rows))
    with feeding(url, sources) as app:
        make_feed(app, scroll_size=5)
    moments = random.Random(seed)
    server = Served(url, sources)
    server.start()
    try:
        server("POST", "/_ml/datafeeds/d/_start", {"end": END})
        for _ in range(n_kills):
            time.sleep(moments.uniform(0, 0.4))
            kill(server.process)
            server.start()
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while server("GET", "/_ml/anomaly_detectors/j/_stats")["jobs"][0]["state"] != "closed":
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        kill(server.process)
    check(url, sources, rows(n_rows))


def test_a_killed_server_goes_on_by_itself(sqlite_url, sources, table):
    killed_servers(sqlite_url, sources, table, n_kills=1, n_rows=1_000, seed=2)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [10, 11])
def test_twenty_kills_of_the_command_change_nothing(database_url, sources, table, seed):
    killed_commands(database_url, sources, table, n_kills=20, n_rows=20_000, seed=seed)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [20, 21])
def test_twenty_kills_of_the_server_change_nothing(database_url, sources, table, seed):
    killed_servers(database_url, sources, table, n_kills=20, n_rows=20_000, seed=seed)
