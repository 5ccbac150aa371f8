"""The HTTP API in this process: the real server on a database, and short ways to call it."""

import asyncio
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
import uvicorn

from marigraph.api.server import Listening, configure
from marigraph.api.web import make_app
from marigraph.bootstrap import bootstrap_server
from marigraph.settings import Settings
from tests.support.served import free_port

JOBS = "/_ml/anomaly_detectors"
JSON = {"Content-Type": "application/json"}
CONFIG = {
    "analysis_config": {"bucket_span": "1h", "detectors": [{"function": "count"}]},
    "data_description": {"time_field": "time", "time_format": "epoch"},
}
FIRST = 1_403_481_600
"""A full hour."""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    text: str
    headers: httpx.Headers

    @property
    def body(self) -> Any:
        return json.loads(self.text)

    @property
    def error(self) -> tuple[int, str, str]:
        """Status, type and reason; the whole body is what they make, in its order."""
        error = self.body["error"]
        cause = {"type": error["type"], "reason": error["reason"]}
        whole = {"error": {"root_cause": [cause], **cause}, "status": self.status}
        assert json.dumps(self.body) == json.dumps(whole)
        return self.status, error["type"], error["reason"]

    def ok(self, status=200) -> Any:
        """Return the body of an answer that must be a good one."""
        assert self.status == status, self.text
        return self.body


class Http:
    """Calls the API; paths that do not start with a slash are below the jobs."""

    def __init__(self, server, client, loop):
        self.server = server
        self._client, self._loop = client, loop
        self._ids = count(1)

    def __call__(self, method, path, body=None, headers=None, /, **query) -> Answer:
        url = path if path.startswith("/") else f"{JOBS}/{path}"
        sent = {} if headers is None else dict(headers)
        content = None
        if body is not None:
            content = body if isinstance(body, bytes | str) else json.dumps(body)
            sent = JSON | sent
        query = {name.rstrip("_"): str(value).lower() if isinstance(value, bool) else value
                 for name, value in query.items()}  # fmt: skip
        return self.raw(method, url, content, sent, query or None)

    def raw(self, method, url, content=None, headers=None, params=None) -> Answer:
        """Send a request as it is."""
        request = self._client.request(method, url, content=content, headers=headers, params=params)
        response = asyncio.run_coroutine_threadsafe(request, self._loop).result(120)
        return Answer(response.status_code, response.text, response.headers)

    def get(self, path, body=None, headers=None, /, **query):
        return self("GET", path, body, headers, **query)

    def post(self, path, body=None, headers=None, /, **query):
        return self("POST", path, body, headers, **query)

    def put(self, path, body=None, headers=None, /, **query):
        return self("PUT", path, body, headers, **query)

    def delete(self, path, /, **query):
        return self("DELETE", path, **query)

    def job(self, job_id=None, *, is_open=False, **more) -> str:
        """Make a job that no other test has."""
        job_id = job_id or f"job-{next(self._ids)}"
        self.put(job_id, {**CONFIG, **more}).ok()
        if is_open:
            self.post(f"{job_id}/_open").ok()
        return job_id

    def post_at(self, job_id, *seconds, **query):
        """Post one record for each time."""
        records = "".join(f'{{"time": {second}}}\n' for second in seconds)
        return self.post(f"{job_id}/_data", records, **query)

    def stats(self, job_id) -> dict:
        return self.get(f"{job_id}/_stats").ok()["jobs"][0]

    def state(self, job_id) -> str:
        return self.stats(job_id)["state"]

    @contextmanager
    def busy(self, job_id):
        """Keep the strand of a job from doing anything for the time of the block."""
        begun, ends = threading.Event(), threading.Event()
        self.server._strands.submit(job_id, lambda: begun.set() or ends.wait())
        assert begun.wait(60)  # what came before is done
        try:
            yield
        finally:
            ends.set()


@contextmanager
def listening(url, **settings):
    """Run the server on a port of this machine, as `marigraph serve` does; gives the port and the server."""
    server = bootstrap_server(Settings(url, **settings))
    port = free_port()
    web = uvicorn.Server(configure(make_app(server), Listening(port=port)))
    thread = threading.Thread(target=web.run, name="listening")
    thread.start()
    while not web.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield port, server
    finally:
        web.should_exit = True
        thread.join()


@contextmanager
def serving(url, **settings):
    """Run the server on a database, with an event loop of its own."""
    server = bootstrap_server(Settings(url, **settings))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="http")
    thread.start()

    def wait(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(60)

    app = make_app(server)
    lifespan = app.router.lifespan_context(app)
    wait(lifespan.__aenter__())
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    client = httpx.AsyncClient(transport=transport, base_url="http://testserver", timeout=60)
    try:
        yield Http(server, client, loop)
    finally:
        wait(client.aclose())
        wait(lifespan.__aexit__(None, None, None))
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
