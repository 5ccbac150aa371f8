"""Running a server: probes, measurements, logs, TLS, limits, and stopping without losing anything."""

import json
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
from dataclasses import dataclass

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from domain.errors import InvalidArgument
from marigraph import handlers, schema
from marigraph.access import AccessControl
from marigraph.api import metrics as metrics_module
from marigraph.api import protocol
from marigraph.api.metrics import OTHER_JOBS, JobFacts, families
from marigraph.api.server import Listening, configure, listen, serve
from marigraph.context import Context
from marigraph.settings import Settings
from marigraph.verify import verify_job
from tests.support.jobs import CONTEXT, application
from tests.support.proxy import proxy_before
from tests.support.serving import CHEAP, CONFIG, FIRST, JOBS, client_of, measured, process_of

NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture
def client(sqlite_url):
    with client_of(sqlite_url) as client:
        yield client


def make_open_job(client, job_id="j", body=CONFIG):
    assert client.put(f"{JOBS}/{job_id}", json=body).status_code == 200
    assert client.post(f"{JOBS}/{job_id}/_open").status_code == 200


def records(start, count):
    return "".join(f'{{"time": {FIRST + (start + number) * 10}}}\n' for number in range(count))


# ---------------------------------------------------------------------------------------------------------- probes


def test_the_server_is_ready_while_the_database_answers_at_its_revision(client):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    with client.server.store.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "schema revision 0001" in answer.json()["error"]["reason"]
    assert client.get("/healthz").status_code == 200


def test_the_server_is_not_ready_while_the_database_is_gone_and_is_again_after_it(postgres_url):
    proxy = proxy_before(postgres_url)
    with client_of(proxy.url) as client:
        assert client.get("/readyz").status_code == 200
        proxy.is_refusing = True
        proxy.cut()
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["status"]) == (503, 503)
        assert client.get("/healthz").status_code == 200
        proxy.is_refusing = False
        assert client.get("/readyz").status_code == 200
    proxy.close()


# ---------------------------------------------------------------------------------------------------- measurements


def test_requests_are_counted_by_endpoint_and_status(client):
    client.get(JOBS)
    client.get(f"{JOBS}/unheard-of")
    client.get("/nowhere")
    shown = client.get("/metrics")
    assert shown.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    count = "marigraph_http_requests_total"
    assert measured(shown.text, count, endpoint="get_jobs", method="GET", status="200") == 1
    assert measured(shown.text, count, endpoint="get_jobs", method="GET", status="404") == 1
    assert measured(shown.text, count, endpoint="none", status="400") == 1
    assert measured(shown.text, "marigraph_http_request_seconds_count", endpoint="get_jobs") == 2


def test_clients_cannot_make_new_series(client):
    for number in range(20):
        client.request(f"VERB{number}", f"/nowhere-{number}")
        client.get(f"{JOBS}/job-{number}")
    series = client.get("/metrics").text.splitlines()
    assert not [line for line in series if "VERB" in line or "nowhere" in line or "job-1" in line]


def test_a_job_is_measured_while_it_is_run(client):
    make_open_job(client)
    client.post(f"{JOBS}/j/_data", content=records(0, 2_000), headers=NDJSON)
    client.post(f"{JOBS}/j/_flush")
    shown = client.get("/metrics").text
    assert measured(shown, "marigraph_running_jobs") == 1
    assert measured(shown, "marigraph_appends_total") >= 4
    assert measured(shown, "marigraph_fold_lag_events", job="j") == 0
    assert measured(shown, "marigraph_fold_lag_records", job="j") == 0
    assert measured(shown, "marigraph_bucket_seconds_count", job="j") == 5
    assert measured(shown, "marigraph_bucket_seconds_sum", job="j") > 0
    assert measured(shown, "marigraph_queued_tasks") is not None
    assert measured(shown, "process_resident_memory_bytes") > 1e6
    client.server.release("j")
    client.server._desk("j", Context("tester")).runner.save_state()
    assert 0 <= measured(client.get("/metrics").text, "marigraph_snapshot_age_seconds", job="j") < 60


def test_what_waits_for_analysis_is_measured(client):
    make_open_job(client)
    release = threading.Event()
    client.server._strands.submit("j", release.wait)
    client.post(f"{JOBS}/j/_data", content=records(0, 500), headers=NDJSON)
    shown = client.get("/metrics").text
    release.set()
    assert measured(shown, "marigraph_fold_lag_records", job="j") == 500
    assert measured(shown, "marigraph_fold_lag_events", job="j") == 1
    assert measured(shown, "marigraph_queued_tasks") >= 1


def test_the_jobs_that_lag_least_share_a_series():
    count = metrics_module.JOBS_LABELLED_MAX + 3
    jobs = [JobFacts(f"j{number}", number, 10 * number, 1, 0.5, None) for number in range(count)]
    lag = next(family for family in families(jobs) if family.name == "marigraph_fold_lag_events")
    values = {sample.labels["job"]: sample.value for sample in lag.samples}
    assert len(values) == metrics_module.JOBS_LABELLED_MAX + 1
    assert values[OTHER_JOBS] == 0 + 1 + 2
    assert "j2" not in values


# ------------------------------------------------------------------------------------------------------- documents


def test_the_page_and_the_document_need_nothing_from_elsewhere(client):
    page = client.get("/_docs")
    assert page.headers["content-type"].startswith("text/html")
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", page.text)
    assert "<script" not in page.text
    assert "/_ml/anomaly_detectors/{job_id}/_open" in page.text
    names = [
        operation["operationId"]
        for operations in client.get("/_openapi.json").json()["paths"].values()
        for operation in operations.values()
    ]
    assert len(names) == len(set(names))


# ---------------------------------------------------------------------------------------------------------- limits


def test_a_flood_of_headers_is_refused_and_the_server_goes_on(client):
    with socket.create_connection((client.base_url.host, client.base_url.port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-Flood: aaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 4_000)
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"], ids=["nothing", "half of the headers"])
def test_who_sends_no_request_is_cut_off(sqlite_url, monkeypatch, sent):
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.3)
    with (
        client_of(sqlite_url) as client,
        socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as connection,
    ):
        connection.sendall(sent)
        assert connection.recv(100) == b""
        assert client.get("/healthz").status_code == 200
        time.sleep(0.5)
        assert client.get("/healthz").status_code == 200  # on the same connection: to be idle is another matter


def test_a_body_that_says_it_is_too_long_is_refused_unread(client):
    headers = NDJSON | {"Content-Length": str(101 * 1024 * 1024)}
    with socket.create_connection((client.base_url.host, client.base_url.port)) as connection:
        lines = [f"POST {JOBS}/j/_data HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers.items())]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


# ------------------------------------------------------------------------------------------------------------ logs


PASSWORD, WRONG = "Sentinel-Password-1", "Sentinel-Wrong-1"


@dataclass
class Told:
    """What a guarded server wrote to its log, its clients and its history, and the secrets that it was sent."""

    lines: list[str]
    answers: list[str]
    history: str
    secrets: list[str]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    url = str(tmp_path_factory.mktemp("told") / "marigraph.db")
    with application(url) as app:
        control = AccessControl(app.store, app.now_ms, CHEAP)
        control.create_user("ann", PASSWORD, ("machine_learning_admin",), Context("root"))
        _key, made = control.create_key("k", ("machine_learning_admin",), Context("root"))
    answers = []
    with process_of(url, "--require-credentials") as server:
        server.await_ready()
        httpx.get(server.base + JOBS, auth=("ann", PASSWORD), headers={"X-Opaque-Id": "my-request"})
        logins = (("ann", PASSWORD), ("ann", WRONG), (WRONG, PASSWORD))
        answers += [httpx.put(f"{server.base}{JOBS}/j", auth=auth, json=CONFIG) for auth in logins]
        for header in (f"ApiKey {made.encoded}", f"ApiKey {made.encoded[:-4]}", f"Bearer {made.secret}"):
            for path in (JOBS, f"{JOBS}/j/_data", "/metrics", "/no%0Awhere"):
                headers = {"Authorization": header}
                answers.append(httpx.post(server.base + path, headers=headers, content=b"{"))
        httpx.get(f"{server.base}/nowhere?api_key={made.secret}")
        assert server.stop() == 0
    with application(url) as app:
        history = " ".join(str(event) for event in app.store.read_all())
    texts = [answer.text + str(answer.headers) for answer in answers]
    return Told(server.lines, texts, history, [PASSWORD, made.secret, made.encoded, WRONG + ":"])


def test_a_server_logs_json_with_who_asked_what_and_how_it_ended(told):
    lines = [json.loads(line) for line in told.lines]
    assert (lines[0]["event"], lines[-1]["event"]) == ("serving", "stopped")
    [line] = [line for line in lines if line.get("request_id") == "my-request"]
    assert line["duration_ms"] >= 0
    shown = {name: line[name] for name in ("event", "endpoint", "method", "path", "status", "actor", "level")}
    assert shown == {
        "event": "request",
        "endpoint": "get_jobs",
        "method": "GET",
        "path": JOBS,
        "status": 200,
        "actor": "ann",
        "level": "info",
    }


def test_no_secret_gets_into_logs_answers_or_history(told):
    for secret in told.secrets:
        assert secret not in "\n".join(told.lines)
        assert secret not in " ".join(told.answers)
        assert secret not in told.history


def test_the_password_of_a_database_is_not_shown():
    assert schema.shown("postgresql://me:Sentinel@host/db") == "postgresql://me:***@host/db"


# ------------------------------------------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return cert, key


def test_tls_is_served_with_the_certificate_given(sqlite_url, certificate):
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    with client_of(sqlite_url, tls=certificate, verify=trusting) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        with pytest.raises(httpx.TransportError):
            httpx.get(client.base_url.join("/healthz"))
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{client.base_url.port}/healthz")


def test_outdated_tls_is_not_spoken(sqlite_url, certificate):
    config = configure(FastAPI(), Listening("127.0.0.1", 0, *certificate))
    assert config.ssl.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("places", "message"),
    [((0, None), "give --tls-cert and --tls-key together"), ((1, 0), "cannot use the certificate")],
)
def test_a_certificate_that_is_none_is_refused(sqlite_url, certificate, places, message):
    files = [None if place is None else certificate[place] for place in places]
    with pytest.raises(InvalidArgument, match=message):
        serve(Settings(sqlite_url), Listening("127.0.0.1", 0, *files))


def test_a_port_that_is_taken_is_refused(sqlite_url):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(InvalidArgument, match="cannot listen on"):
        serve(Settings(sqlite_url), Listening("127.0.0.1", taken.getsockname()[1]))


def test_the_end_of_an_answer_waits_for_no_acknowledgement():
    with listen(Listening("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        connection, _address = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# -------------------------------------------------------------------------------------------------------- stopping


class Poster(threading.Thread):
    """Posts to a job until the server goes away; counts what was acknowledged."""

    def __init__(self, base, job_id):
        super().__init__(daemon=True)
        self.base, self.job_id = base, job_id
        self.n_acknowledged = 0
        self.n_unknown = 0
        self.refused = []

    def run(self):
        with httpx.Client(base_url=self.base, timeout=60) as client:
            start = 0
            while True:
                try:
                    answer = client.post(f"{JOBS}/{self.job_id}/_data", content=records(start, 200), headers=NDJSON)
                except httpx.ConnectError:
                    return
                except httpx.TransportError:
                    self.n_unknown += 200  # sent, and not answered: it may be stored or not
                    return
                if answer.status_code != 202:
                    self.refused.append(answer.text)
                    return
                self.n_acknowledged += 200
                start += 200


@pytest.mark.parametrize("how", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_a_server_stopped_under_load_loses_nothing_and_closes_nothing(sqlite_url, how):
    with process_of(sqlite_url) as server:
        server.await_ready()
        posters = [Poster(server.base, f"j{number}") for number in range(3)]
        with httpx.Client(base_url=server.base, timeout=60) as client:
            for poster in posters:
                make_open_job(client, poster.job_id)
        for poster in posters:
            poster.start()
        while min(poster.n_acknowledged for poster in posters) < 600:
            time.sleep(0.01)
            assert all(poster.is_alive() for poster in posters), [poster.refused for poster in posters]
        code = server.stop(how)
        for poster in posters:
            poster.join(60)
    if how is signal.SIGTERM:
        assert code == 0
        assert "Traceback" not in server.log
    with application(sqlite_url) as app:
        for poster in posters:
            job = app.jobs.load(poster.job_id)
            assert job.state == "opened"
            n_stored = job.data_counts.input_record_count
            n_unknown = poster.n_unknown if how is signal.SIGKILL else 0  # who stops answers what it has begun
            assert poster.n_acknowledged <= n_stored <= poster.n_acknowledged + n_unknown
            assert poster.refused == []
            assert handlers.flush_job(app, poster.job_id, {}, CONTEXT)["flushed"]
            assert handlers.close_jobs(app, poster.job_id, CONTEXT) == {"closed": True}
            assert verify_job(app, poster.job_id).holds


def test_who_waits_for_another_process_does_not_keep_a_server_from_stopping(client):
    client.put(f"{JOBS}/j", json=CONFIG)
    client.server.store.acquire("job-j", "elsewhere/1/1/1", 3_600)  # an owner that never lets go
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(client.post(f"{JOBS}/j/_open")))
    waiting.start()
    time.sleep(0.3)
    assert answers == []
    client.server.give_up_waiting()
    waiting.join(5)
    assert [answer.status_code for answer in answers] == [409]
