"""The server as a process: signals, restarts, a second process beside it. Nothing acknowledged is ever lost."""

import json
import signal
import socket
import subprocess
import sys

import httpx
import pytest

from marigraph.verify import verify_job
from tests.support.http import CONFIG, FIRST, JOBS, serving
from tests.support.jobs import application
from tests.support.served import served


@pytest.fixture
def server(sqlite_url, tmp_path):
    with served(sqlite_url, tmp_path) as server:
        yield server


@pytest.fixture
def api(server):
    with httpx.Client(base_url=server.url + JOBS, timeout=30) as client:
        yield client


def make(api, job_id="j"):
    api.put(f"/{job_id}", json=CONFIG).raise_for_status()
    api.post(f"/{job_id}/_open").raise_for_status()


def post_at(api, *seconds, job_id="j"):
    records = "".join(f'{{"time": {second}}}\n' for second in seconds)
    answer = api.post(f"/{job_id}/_data", content=records, headers={"Content-Type": "application/x-ndjson"})
    assert answer.status_code == 202, answer.text
    return answer.json()


def stats(api, job_id="j"):
    return api.get(f"/{job_id}/_stats").json()["jobs"][0]


ENDS = {signal.SIGTERM: 0, signal.SIGINT: 130, signal.SIGKILL: -signal.SIGKILL}
"""Exit code of the process after a signal: to be told to stop by a supervisor is no failure."""


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_after_any_end_of_the_process_the_job_is_open_and_nothing_is_lost(server, api, sqlite_url, number):
    assert httpx.get(server.url, headers={"Host": "evil.example.org"}).status_code == 403
    answer = httpx.get(server.url)
    assert json.loads(answer.text)["tagline"] == "You Know, for Search"
    assert "server" not in answer.headers
    make(api)
    for hour in range(20):
        post_at(api, *range(FIRST + hour * 3600, FIRST + hour * 3600 + 300))
    assert server.signal(number) == ENDS[number], server.log
    server.start()
    assert stats(api)["state"] == "opened"
    assert stats(api)["data_counts"]["processed_record_count"] == 20 * 300
    end = api.post("/j/_flush", json={}).json()["last_finalized_bucket_end"]
    assert end == (FIRST + 19 * 3600) * 1000
    found = api.get("/j/results/buckets").json()["buckets"]
    assert [bucket["event_count"] for bucket in found] == [300] * 19
    post_during_shutdown(server, 5_000)
    with application(sqlite_url) as app:
        assert app.jobs.load("j").data_counts.input_record_count == 20 * 300 + 5_000
        report = verify_job(app, "j")
        assert report.holds, report.resource()


def post_during_shutdown(server, n_records):
    """Send the signal to stop in the middle of a body: the request is answered before the process ends."""
    records = "".join(f'{{"time": {FIRST + 19 * 3600 + at}}}\n' for at in range(n_records)).encode()
    headers = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(records)}"
    head = f"POST {JOBS}/j/_data HTTP/1.1\r\n{headers}"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head.encode() + b"\r\n\r\n" + records[:1000])
        server.process.send_signal(signal.SIGTERM)
        connection.sendall(records[1000:])
        answer = connection.recv(65536)
    assert b" 202 " in answer.split(b"\r\n")[0]
    assert server.process.wait(30) == ENDS[signal.SIGTERM]


def test_a_second_process_posts_to_a_job_that_the_server_runs(sqlite_url, tmp_path):
    with serving(sqlite_url) as http:
        job_id = http.job(is_open=True)
        http.post_at(job_id, FIRST, FIRST + 10).ok(202)
        data = tmp_path / "more.ndjson"
        data.write_text("".join(f'{{"time": {FIRST + 20 + at}}}\n' for at in range(0, 7200, 10)))
        command = [sys.executable, "-m", "marigraph", "--db", sqlite_url, "post", job_id, str(data)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        http.post_at(job_id, FIRST + 3 * 3600).ok(202)
        assert http.post(f"{job_id}/_flush").ok()["last_finalized_bucket_end"] == (FIRST + 3 * 3600) * 1000
        assert http.stats(job_id)["data_counts"]["processed_record_count"] == 2 + 720 + 1
        assert http.state(job_id) == "opened"
