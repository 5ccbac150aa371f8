"""Webhooks: every final anomaly at least once, in order, signed, whatever fails in between."""

import hashlib
import hmac
import json
import signal
import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from domain.errors import BadRequest
from marigraph import handlers, notifier, queries, webhook
from marigraph.bootstrap import bootstrap_server
from marigraph.settings import Notifications, Settings
from marigraph.webhook import NotDelivered
from tests.support.jobs import CONTEXT, EVERY, DataSet, application, finish, make_job, post, synthetic
from tests.support.serving import process_of

DATA = synthetic(500)
DATA.body["analysis_config"]["bucket_span"] = "30m"
HALF = len(DATA.lines) // 2
SECRET = "Sentinel-Secret-3"
WAIT_SECONDS_MAX = 60


class Receiver(ThreadingHTTPServer):
    """A stub of a receiver: keeps what it took, and answers what it is told to."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.posts: list[tuple[dict, dict]] = []
        self.answers: list[tuple[int, dict]] = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/hook"

    @property
    def bodies(self):
        return [body for _headers, body in self.posts]

    @property
    def records(self):
        return [record for body in self.bodies for record in body["records"]]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        status, headers = self.server.answers.pop(0) if self.server.answers else (200, {})
        if status == 200:
            self.server.posts.append((dict(self.headers) | {"content": content}, json.loads(content)))
        self.send_response(status)
        for name, value in (headers | {"Content-Length": "0"}).items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def receiving():
    server = Receiver()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def receiver():
    with receiving() as server:
        yield server


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(notifier, "PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(notifier, "PAUSE_SECONDS_MAX", 0.05)
    monkeypatch.setattr(notifier, "LIST_SECONDS", 0.0)
    monkeypatch.setattr(notifier, "ROUND_SECONDS", 3_600)  # the tests say when to look


def asking(url, **more):
    body = DATA.body | {"custom_settings": {"notify": {"url": url, "minimum_score": 10, **more}}}
    return DataSet("asking", body, DATA.header, DATA.lines)


@contextmanager
def serving(url, **notifications):
    settings = Notifications(**({"allows_private": True, "secrets": {"ops": SECRET}} | notifications))
    server = bootstrap_server(Settings(url, notifications=settings))
    server.start()
    try:
        yield server
    finally:
        server.close()


def look(server, until=lambda: True):
    """Have the notifier look until something holds, and until it is idle."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while True:
        server.project()
        server.notifier.look()
        while server.notifier._strands.n_waiting:
            time.sleep(0.005)
        if until():
            return
        assert time.monotonic() < deadline
        time.sleep(0.02)


def analysed(server, start=0, end=None):
    post(server, DATA, start, end)
    handlers.flush_job(server, "j", {}, CONTEXT)


def expected(app):
    found = queries.get_records(app, "j", page=EVERY)["records"]
    final = [each for each in found if not each["is_interim"] and each["initial_record_score"] >= 10]
    return sorted(final, key=lambda each: each["timestamp"])


def in_order(records):
    """Records as they were found; renormalisation lets their `record_score` sink after they were told."""
    found = [{name: value for name, value in each.items() if name != "record_score"} for each in records]
    return sorted(found, key=lambda each: json.dumps(each, sort_keys=True))


def types_of(app):
    return [event.type for event in app.store.iter_stream("notify-j")]


def test_every_final_anomaly_is_delivered_once_in_order_of_time(database_url, receiver):
    with serving(database_url) as server:
        make_job(server, asking(receiver.url))
        for start, end in ((0, HALF), (HALF, None)):
            analysed(server, start, end)
            look(server)
        assert len(receiver.records) > 3
        assert in_order(receiver.records) == in_order(expected(server))
        times = [record["timestamp"] for record in receiver.records]
        assert times == sorted(times)
        assert set(types_of(server)) == {"notify_started", "delivered"}
        look(server)
        assert len(receiver.records) == len(expected(server))


def test_a_post_is_signed_and_names_itself(sqlite_url, receiver):
    with serving(sqlite_url) as server:
        make_job(server, asking(receiver.url, secret="ops"))
        analysed(server)
        look(server)
    for headers, body in receiver.posts:
        seconds, signature = (part.partition("=")[2] for part in headers["X-Marigraph-Signature"].split(","))
        signed = hmac.new(SECRET.encode(), f"{seconds}.".encode() + headers["content"], hashlib.sha256)
        assert hmac.compare_digest(signature, signed.hexdigest())
        assert abs(int(seconds) - time.time()) < WAIT_SECONDS_MAX
        assert headers["X-Marigraph-Delivery"] == body["delivery_id"]
        assert len({record["timestamp"] for record in body["records"]}) == 1
    assert len({body["delivery_id"] for body in receiver.bodies}) == len(receiver.posts)


def test_failures_are_tried_again_and_are_facts(sqlite_url, receiver, caplog):
    receiver.answers = [(500, {}), (302, {"Location": "/"}), (404, {}), (503, {})]
    with serving(sqlite_url) as server:
        make_job(server, asking(receiver.url, secret="ops"))
        analysed(server)
        look(server, lambda: len(receiver.records) == len(expected(server)))
        events = [(event.type, json.loads(event.data)) for event in server.store.iter_stream("notify-j")]
        assert in_order(receiver.records) == in_order(expected(server))
    failed = [data for kind, data in events if kind == "delivery_failed"]
    assert [(data["attempt_count"], data["reason"]) for data in failed] == [
        (1, "the receiver answered 500"),
        (2, "the receiver answered 302"),
        (4, "the receiver answered 503"),
    ]
    assert next(data for kind, data in events if kind == "delivered")["attempt_count"] == 5
    assert SECRET not in caplog.text
    assert SECRET not in json.dumps(events)


def test_a_receiver_that_is_away_gets_everything_when_it_is_back(sqlite_url):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with serving(sqlite_url) as server:
        make_job(server, asking(f"http://127.0.0.1:{port}/hook"))
        analysed(server)
        look(server, lambda: "delivery_failed" in types_of(server))
        with receiving() as receiver:
            handlers.update_job(
                server, "j", {"custom_settings": {"notify": {"url": receiver.url, "minimum_score": 10}}}, CONTEXT
            )
            look(server, lambda: len(receiver.records) == len(expected(server)))
            assert in_order(receiver.records) == in_order(expected(server))


def test_a_restart_goes_on_behind_what_was_delivered(sqlite_url, receiver):
    with serving(sqlite_url) as server:
        make_job(server, asking(receiver.url))
        analysed(server, 0, HALF)
        look(server)
        n_before = len(receiver.posts)
    with serving(sqlite_url) as server:
        look(server)
        assert len(receiver.posts) == n_before > 0
        analysed(server, HALF, None)
        look(server)
        assert in_order(receiver.records) == in_order(expected(server))


def test_a_crash_between_the_post_and_its_event_posts_the_same_again(sqlite_url, receiver, monkeypatch):
    with serving(sqlite_url) as server:
        make_job(server, asking(receiver.url))
        analysed(server)

        def crash(*_arguments):
            msg = "the power is gone"
            raise SystemError(msg)

        with monkeypatch.context() as patch:
            patch.setattr(notifier, "Delivered", crash)
            look(server)
        assert len(receiver.posts) == 1
    with serving(sqlite_url) as server:
        look(server)
        first, second, *_ = receiver.bodies
        assert first == second
        assert in_order(receiver.records[len(first["records"]) :]) == in_order(expected(server))


def test_of_two_servers_one_delivers(sqlite_url, receiver):
    with serving(sqlite_url) as server, serving(sqlite_url) as other:
        make_job(server, asking(receiver.url))
        analysed(server)
        for each in (server, other, other, server):
            each.project()
            each.notifier.look()
        look(server)
        look(other)
        assert in_order(receiver.records) == in_order(expected(server))


def test_a_job_that_asks_later_hears_of_what_comes_later(sqlite_url, receiver):
    with serving(sqlite_url) as server:
        make_job(server, DATA)
        analysed(server, 0, HALF)
        old = {record["timestamp"] for record in expected(server)}
        settings = {"custom_settings": {"notify": {"url": receiver.url, "minimum_score": 10}}}
        handlers.update_job(server, "j", settings, CONTEXT)
        look(server)
        analysed(server, HALF, None)
        look(server)
        assert receiver.records
        assert in_order(receiver.records) == in_order([r for r in expected(server) if r["timestamp"] not in old])


def test_results_that_were_taken_back_are_delivered_anew(sqlite_url, receiver):
    with serving(sqlite_url) as server:
        make_job(server, asking(receiver.url))
        analysed(server, 0, HALF)
        handlers.close_jobs(server, "j", CONTEXT)
        handlers.open_job(server, "j", CONTEXT)
        analysed(server, HALF, None)
        look(server)
        n_before = len(receiver.records)
        handlers.close_jobs(server, "j", CONTEXT)
        oldest = queries.get_snapshots(server, "j")["model_snapshots"][-1]
        end = oldest["latest_result_time_stamp"]
        handlers.revert_snapshot(server, "j", oldest["snapshot_id"], CONTEXT, delete_intervening_results=True)
        handlers.open_job(server, "j", CONTEXT)
        analysed(server, HALF, None)
        look(server)
        assert "rewound" in types_of(server)
        again = receiver.records[n_before:]
        assert in_order(again) == in_order([r for r in expected(server) if r["timestamp"] > end])


def test_interim_results_are_not_told(sqlite_url, receiver):
    with serving(sqlite_url) as server:
        make_job(server, asking(receiver.url, minimum_score=0))
        post(server, DATA)
        handlers.flush_job(server, "j", {"calc_interim": True}, CONTEXT)
        look(server)
        assert not any(record["is_interim"] for record in receiver.records)


def test_a_secret_that_the_server_does_not_have_is_said(sqlite_url, receiver):
    with serving(sqlite_url, secrets={}) as server:
        make_job(server, asking(receiver.url, secret="ops"))
        analysed(server)
        look(server)
        [failed] = [event for event in server.store.iter_stream("notify-j") if event.type == "delivery_failed"][:1]
        assert "the server has no secret [ops]: set MARIGRAPH_SECRET_OPS" in failed.data
    assert receiver.posts == []


def test_a_webhook_that_makes_no_sense_is_refused(sqlite_url):
    with application(sqlite_url) as app:
        with pytest.raises(BadRequest, match="custom_settings"):
            make_job(app, asking("ftp://example.com"))
        make_job(app, DATA)
        with pytest.raises(BadRequest, match="custom_settings"):
            handlers.update_job(app, "j", {"custom_settings": {"notify": {"url": 5}}}, CONTEXT)


# ------------------------------------------------------------------------------------------------------- addresses


def test_private_addresses_are_refused_unless_allowed(receiver):
    with pytest.raises(NotDelivered, match=r"has the private address 127\.0\.0\.1"):
        webhook.post(receiver.url, b"{}", "1", None)
    with pytest.raises(NotDelivered, match="private address"):
        webhook.post(receiver.url.replace("127.0.0.1", "localhost"), b"{}", "1", None)
    assert receiver.posts == []
    webhook.post(receiver.url, b"{}", "1", None, allows_private=True)
    assert receiver.bodies == [{}]


@pytest.fixture
def outside(monkeypatch, receiver):
    """Names of the outside world, all of which lead to the receiver; gives what was resolved."""
    resolved = {"example.com": "93.184.216.34", "inside.example.com": "10.0.0.1"}
    asked = []

    def resolve(host, port, *_options, **_named):
        if "example" in host:
            asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (resolved.get(host, host), port))]

    monkeypatch.setattr(webhook.socket, "getaddrinfo", resolve)
    send = webhook.httpx.Client.stream
    went = []

    def stream(self, method, url, **options):
        went.append((url, options["headers"]["Host"], options["extensions"]["sni_hostname"]))
        return send(self, method, receiver.url, **options)

    monkeypatch.setattr(webhook.httpx.Client, "stream", stream)
    return asked, went


def test_the_connection_goes_to_the_address_that_was_looked_at(outside, receiver):
    asked, went = outside
    webhook.post("https://example.com/hook", b"{}", "1", None)
    assert asked == ["example.com"]
    assert went == [("https://93.184.216.34:443/hook", "example.com", "example.com")]


@pytest.mark.parametrize("place", ["http://inside.example.com/", "http://169.254.169.254/latest", "http://[::1]/"])
def test_a_redirect_to_a_private_address_is_not_followed(outside, receiver, place):
    receiver.answers = [(307, {"Location": place})]
    with pytest.raises(NotDelivered, match="private address"):
        webhook.post("http://example.com/hook", b"{}", "1", None)
    assert receiver.posts == []


def test_a_redirect_within_the_outside_is_followed_as_a_post_and_not_for_ever(outside, receiver):
    receiver.answers = [(308, {"Location": "/other"})]
    webhook.post("http://example.com/hook", b'{"a":1}', "1", None)
    assert receiver.bodies == [{"a": 1}]
    receiver.answers = [(307, {"Location": "/again"})] * 9
    with pytest.raises(NotDelivered, match="more than 3 redirects"):
        webhook.post("http://example.com/hook", b"{}", "1", None)


@pytest.mark.parametrize("place", ["http://example.com/", "file:///etc/passwd"])
def test_a_redirect_to_something_less_is_not_followed(outside, receiver, place):
    receiver.answers = [(307, {"Location": place})]
    with pytest.raises(NotDelivered, match="redirects to"):
        webhook.post("https://example.com/hook", b"{}", "1", None)


def test_proxies_of_the_environment_are_not_used(monkeypatch, receiver):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    webhook.post(receiver.url, b"{}", "1", None, allows_private=True)
    assert len(receiver.posts) == 1


def test_a_receiver_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(webhook, "ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(NotDelivered, match="ReadTimeout"):
        webhook.post(f"http://127.0.0.1:{silent.getsockname()[1]}/", b"{}", "1", None, allows_private=True)


# ------------------------------------------------------------------------------------------------------- processes


@pytest.mark.slow
def test_a_killed_server_delivers_the_rest_when_it_is_back(sqlite_url, receiver):
    env = {"MARIGRAPH_NOTIFY_PRIVATE": "true", "MARIGRAPH_SECRET_OPS": SECRET}
    with application(sqlite_url) as app:
        make_job(app, asking(receiver.url, secret="ops"))
        post(app, DATA)
        finish(app)
        wanted = expected(app)
    for _ in range(3):
        n_before = len(receiver.posts)
        with process_of(sqlite_url, env=env) as server:
            deadline = time.monotonic() + WAIT_SECONDS_MAX
            while len(receiver.posts) == n_before and len(receiver.records) < len(wanted):
                assert time.monotonic() < deadline, server.log
                time.sleep(0.002)
            server.stop(signal.SIGKILL)
    with process_of(sqlite_url, env=env) as server:
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        with application(sqlite_url) as app:
            while len({json.dumps(each) for each in receiver.records}) < len(wanted):
                assert time.monotonic() < deadline, server.log
                time.sleep(0.05)
        server.stop()
        assert SECRET not in server.log
    told = in_order(receiver.records)
    assert [each for at, each in enumerate(told) if at == 0 or told[at - 1] != each] == in_order(wanted)
