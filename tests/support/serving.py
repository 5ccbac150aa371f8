"""Servers for tests: the web application in this process, on a port, and `marigraph serve` as a process of its own."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import httpx
import uvicorn

from marigraph.access import AccessControl
from marigraph.api.server import Listening, configure, listen
from marigraph.api.web import make_app
from marigraph.bootstrap import bootstrap_server
from marigraph.credentials import ScryptCost
from marigraph.settings import Settings

CHEAP = ScryptCost(2**4, 1, 1)
"""Passwords that cost nothing: what they cost in earnest has a test of its own."""

JOBS = "/_ml/anomaly_detectors"
CONFIG = {
    "analysis_config": {"bucket_span": "1h", "detectors": [{"function": "count"}]},
    "data_description": {"time_field": "time", "time_format": "epoch"},
}
FIRST = 1_700_006_400
"""A full hour."""
WAIT_SECONDS_MAX = 60


@contextmanager
def client_of(url, *, is_guarded=False, tls=(), verify=True, **settings):
    """Run the web application on a database; gives a client, whose `.control` knows the keys if it is guarded."""
    server = bootstrap_server(Settings(url, **settings))
    control = AccessControl(server.store, server.now_ms, CHEAP)
    listening = Listening("127.0.0.1", free_port(), *tls)
    app = make_app(server, control if is_guarded else None)
    serving = uvicorn.Server(configure(app, listening))
    listener = listen(listening)
    thread = threading.Thread(target=serving.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not serving.started:
        assert thread.is_alive()
        time.sleep(0.005)
    is_verified = verify if tls else False  # certificates take longer to load than a test takes
    with httpx.Client(base_url=listening.url, timeout=WAIT_SECONDS_MAX, verify=is_verified) as client:
        client.control = control
        client.server = server
        yield client
    serving.should_exit = True
    thread.join(WAIT_SECONDS_MAX)
    assert not thread.is_alive()


class Process:
    """`marigraph serve` on a free port of 127.0.0.1, with what it writes to standard error."""

    def __init__(self, url, *options, env=None, tls=None):
        self.port = free_port()
        self.base = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "marigraph", "--db", url, "serve", "--port", str(self.port), *options]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=os.environ | (env or {})
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    def await_ready(self, **options):
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while True:
            assert self.process.poll() is None, self.log
            try:
                if httpx.get(f"{self.base}/readyz", **options).status_code == 200:
                    return self
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    @property
    def log(self):
        return "\n".join(self.lines)

    def stop(self, how=signal.SIGTERM):
        """Send a signal; returns the exit code."""
        self.process.send_signal(how)
        return self.wait()

    def wait(self):
        code = self.process.wait(WAIT_SECONDS_MAX)
        self._reader.join(WAIT_SECONDS_MAX)
        return code


@contextmanager
def process_of(url, *options, **more):
    """Run `marigraph serve` until the block ends."""
    process = Process(url, *options, **more)
    try:
        yield process
    finally:
        if process.process.poll() is None:
            process.process.kill()
            process.wait()
        process.process.stderr.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def measured(text, name, **labels):
    """Return one value of a text in Prometheus' format, None if it is not there."""
    wanted = {f'{key}="{value}"' for key, value in labels.items()}
    for line in text.splitlines():
        found = re.fullmatch(rf"{name}(?:{{(.*)}})? (\S+)", line)
        if found and wanted <= set((found[1] or "").split(",")):
            return float(found[2])
    return None
