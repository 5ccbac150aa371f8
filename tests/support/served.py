"""`marigraph serve` as a process of its own, on a port that is free."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx

WAIT_SECONDS_MAX = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Served:
    """One process that serves a database, of this program or of a source tree; it can be started again on its port."""

    def __init__(self, database, log: Path, *options: str, source: Path | None = None):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._database, self._log, self._options, self._source = str(database), log, options, source
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "marigraph", "--db", self._database, "serve", "--port", str(self.port)]
        command += self._options
        with self._log.open("ab") as log:
            environment = os.environ | {"COLUMNS": "200"} | ({"PYTHONPATH": str(self._source)} if self._source else {})
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=self._source)
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while True:
            try:
                httpx.get(f"{self.url}/readyz", timeout=5).raise_for_status()
            except httpx.HTTPError:
                assert self.process.poll() is None, self._log.read_text()
                assert time.monotonic() < deadline, self._log.read_text()
                time.sleep(0.05)
            else:
                return

    def signal(self, number: int) -> int:
        """Send a signal and wait for the end; return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(WAIT_SECONDS_MAX)

    def stop(self) -> int:
        return self.signal(signal.SIGTERM)

    @property
    def log(self) -> str:
        return self._log.read_text()


@contextmanager
def served(database, folder: Path, *options: str, source: Path | None = None):
    """Serve a database for the time of the block."""
    log = folder / ("serve.log" if source is None else f"serve-{source.name}.log")
    server = Served(database, log, *options, source=source)
    server.start()
    try:
        yield server
    finally:
        if server.process is not None and server.process.poll() is None:
            server.process.kill()
            server.process.wait()
