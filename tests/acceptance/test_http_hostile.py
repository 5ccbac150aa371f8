"""Hostile clients: whatever they send, the server answers the others, and nothing is half-written."""

import gzip
import json
import socket
import time
import zlib

import httpx
import pytest

from marigraph.api import bodies, web
from tests.support.http import CONFIG, FIRST, JOBS, listening, serving

PARSE, CONTENT = "parse_exception", "x_content_parse_exception"


def events(http, job_id):
    return http.server.jobs.load(job_id).version


@pytest.fixture
def j(http):
    return http.job(is_open=True)


# ------------------------------------------------------------------------------------------------- over a real port


@pytest.fixture(scope="module")
def port(sqlite_template, tmp_path_factory):
    path = tmp_path_factory.mktemp("hostile") / "marigraph.db"
    path.write_bytes(sqlite_template.read_bytes())
    with listening(f"sqlite:///{path}") as (port, _server):
        httpx.put(f"http://127.0.0.1:{port}{JOBS}/j", json=CONFIG).raise_for_status()
        httpx.post(f"http://127.0.0.1:{port}{JOBS}/j/_open").raise_for_status()
        yield port


JSON_LINE = ("Content-Type: application/json",)


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def head(path, length, *more, method="POST"):
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {length}", *JSON_LINE, *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def answer_of(connection):
    data = b""
    while b"\r\n" not in data and (piece := connection.recv(65536)):
        data += piece
    return data


def n_records(port):
    stats = httpx.get(f"http://127.0.0.1:{port}{JOBS}/j/_stats").json()["jobs"][0]
    return stats["data_counts"]["input_record_count"]


def test_a_client_that_goes_away_in_mid_post_leaves_nothing(port):
    before = n_records(port)
    record = f'{{"time": {FIRST}}}\n'.encode() * 2_000
    for sent in (0, 1, len(record) // 2, len(record) - 1):
        with connect(port) as connection:
            connection.sendall(head(f"{JOBS}/j/_data", len(record)) + record[:sent])
        with connect(port) as connection:  # chunked, without the end of the last chunk
            start = head(f"{JOBS}/j/_data", 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
            connection.sendall(start + f"{sent:x}\r\n".encode() + record[:sent] + (b"\r\n" if sent else b""))
    time.sleep(0.1)
    assert n_records(port) == before
    assert httpx.post(f"http://127.0.0.1:{port}{JOBS}/j/_flush").json()["flushed"] is True


def test_slow_and_silent_clients_do_not_keep_others_waiting(port):
    idle = [connect(port) for _ in range(40)]
    try:
        for index, connection in enumerate(idle):
            start = head(f"{JOBS}/j/_data", bodies.BODY_BYTES_MAX)
            connection.sendall(start[:20] if index % 2 else start + b'{"time"')
        started = time.monotonic()
        big = "".join(f'{{"time": {FIRST}}}\n' for _ in range(20_000))
        url, headers = f"http://127.0.0.1:{port}{JOBS}/j/_data", {"Content-Type": "application/json"}
        answer = httpx.post(url, content=big, headers=headers)
        assert answer.status_code == 202
        assert time.monotonic() - started < 5
    finally:
        for connection in idle:
            connection.close()


def test_a_silent_body_is_given_up(port, monkeypatch):
    monkeypatch.setattr(bodies, "CHUNK_SECONDS", 0.1)
    with connect(port) as connection:
        connection.sendall(head(f"{JOBS}/j/_data", 1000) + b'{"time"')
        assert b" 408 " in answer_of(connection).split(b"\r\n")[0]


def test_a_flood_of_headers_is_refused_and_the_server_goes_on(port):
    with connect(port) as connection:
        try:
            connection.sendall(head("/", 0, *(f"X-{index}: {'a' * 200}" for index in range(1_000)), method="GET"))
            answer = answer_of(connection)
        except (BrokenPipeError, ConnectionResetError):
            answer = b"HTTP/1.1 400 "  # refused before all was sent
    assert answer.startswith(b"HTTP/1.1 4") or answer == b""
    assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 200


@pytest.mark.parametrize(
    "line", [b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01" * 20]
)
def test_what_is_no_request_ends_the_connection_only(port, line):
    with connect(port) as connection:
        connection.sendall(line)
        connection.shutdown(socket.SHUT_WR)
        assert answer_of(connection)[:12] in (b"HTTP/1.1 400", b"")
    assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 200


def test_a_body_that_says_that_it_is_too_long_is_refused_before_it_is_sent(port):
    with connect(port) as connection:
        connection.sendall(head(f"{JOBS}/j/_data", bodies.BODY_BYTES_MAX + 1))
        assert b" 413 " in answer_of(connection).split(b"\r\n")[0]


@pytest.mark.parametrize("method", ["BREW", "TRACE", "CONNECT", "PROPFIND", "get"])
def test_methods_that_nobody_knows_are_refused(port, method):
    with connect(port) as connection:
        connection.sendall(head(f"{JOBS}/j/_open", 0, method=method))
        assert answer_of(connection).split(b" ")[1] in (b"400", b"405")


# --------------------------------------------------------------------------------------------------------- too much


def test_bodies_beyond_the_limit_are_refused_and_nothing_of_them_kept(http, j, monkeypatch):
    monkeypatch.setattr(web, "BODY_BYTES_MAX", 1_000)
    monkeypatch.setattr(web, "CONFIG_BYTES_MAX", 1_000)
    before = events(http, j)
    record = f'{{"time": {FIRST}}}\n'
    assert http.post(f"{j}/_data", record * (1_000 // len(record))).status == 202
    answer = http.post(f"{j}/_data", record * (1_000 // len(record) + 1))
    assert answer.error[:2] == (413, "status_exception")
    assert http.put("too-long", {**CONFIG, "description": "x" * 1_000}).status == 413
    assert http.get("too-long").status == 404
    assert events(http, j) == before + 1


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_packed_bomb_is_refused_at_the_limit(http, j, monkeypatch, encoding, pack):
    monkeypatch.setattr(web, "BODY_BYTES_MAX", 100_000)
    before = events(http, j)
    bomb = pack(b" " * 30_000_000)
    assert len(bomb) < 100_000
    assert http.post(f"{j}/_data", bomb, {"Content-Encoding": encoding}).status == 413
    assert events(http, j) == before


def test_every_member_of_a_packed_body_counts(http, j, monkeypatch):
    member = gzip.compress(f'{{"time": {FIRST}}}\n'.encode() * 100)
    counts = http.post(f"{j}/_data", member * 3, {"Content-Encoding": "gzip"}).ok(202)
    assert counts["processed_record_count"] == 300
    monkeypatch.setattr(web, "BODY_BYTES_MAX", 10_000)
    assert http.post(f"{j}/_data", member * 10, {"Content-Encoding": "gzip"}).status == 413


def test_a_record_without_end_is_refused(http, j):
    before = events(http, j)
    long = '{"time": 1403481600, "v": "' + "x" * (12 * 1024 * 1024) + '"}'
    assert http.post(f"{j}/_data", long).error[:2] == (400, PARSE)
    assert events(http, j) == before


def test_too_many_requests_at_once_are_told_to_come_again(http, j, monkeypatch):
    monkeypatch.setattr(web, "REQUESTS_MAX", 0)
    answer = http.get(j)
    assert answer.error[:2] == (429, "status_exception")
    assert answer.headers["Retry-After"] == "5"


def test_bodies_that_find_no_room_are_told_to_come_again(sqlite_url, monkeypatch):
    monkeypatch.setattr(web, "IN_FLIGHT_BYTES_MAX", 100)
    monkeypatch.setattr(bodies.ByteBudget.__init__, "__defaults__", (0.05,))
    with serving(sqlite_url) as http:
        answer = http.post("_validate", {**CONFIG, "description": "x" * 100})
        assert answer.error[:2] == (429, "status_exception")
        assert http.post("_validate/detector", {"function": "count"}).ok() == {"acknowledged": True}


# -------------------------------------------------------------------------------------------------------- wrong JSON


@pytest.mark.parametrize("depth", [100, 10_000, 1_000_000])
@pytest.mark.parametrize(("start", "end"), [('{"a":', "}"), ("[", "]")])
def test_deeply_nested_bodies_are_refused(http, j, depth, start, end):
    before = events(http, j)
    nest = start * depth + "1" + end * depth
    for path in ("_validate", f"{j}/_update", f"{j}/_flush", f"{j}/results/buckets"):
        status, kind, _reason = http.post(path, nest).error
        assert (status, kind) in ((400, CONTENT), (400, PARSE)), path
    body = {**CONFIG, "custom_settings": "@"}
    status, kind, _ = http.put("deep", json.dumps(body).replace('"@"', nest)).error
    assert (status, kind) in ((400, CONTENT), (400, PARSE))
    assert http.get("deep").status == 404
    assert events(http, j) == before


def test_a_deeply_nested_record_is_malformed_and_the_others_are_taken(http, j):
    deep = '{"time": 1403481600, "a": ' + '{"a":' * 5_000 + "1" + "}" * 5_000 + "}"
    counts = http.post(f"{j}/_data", f'{{"time": {FIRST}}}\n{deep}\n{{"time": {FIRST}}}\n').ok(202)
    assert counts["processed_record_count"] == 2


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 400, "1e-999", "0." + "1" * 400])
def test_numbers_of_any_size_end_in_an_answer(http, j, number):
    for path, body in (
        ("_validate", f'{{"model_snapshot_retention_days": {number}}}'),
        (f"{j}/_update", f'{{"results_retention_days": {number}, "x": 1}}'),
        (f"{j}/results/records", f'{{"record_score": {number}}}'),
        (f"{j}/results/buckets", f'{{"page": {{"size": {number}}}}}'),
        (f"{j}/_flush", f'{{"advance_time": {number}}}'),
    ):
        assert http.post(path, body).status in (200, 400), path
    assert http.post(f"{j}/_data", f'{{"time": {number}, "v": {number}}}').ok(202)["processed_record_count"] <= 1


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_values_that_are_no_json_are_malformed_in_records_and_refused_in_bodies(http, j, value):
    counts = http.post(f"{j}/_data", f'{{"time": {FIRST}, "v": {value}}}\n{{"time": {FIRST}}}').ok(202)
    assert counts["processed_record_count"] == 1
    assert http.post(f"{j}/results/records", f'{{"record_score": {value}}}').error[:2] == (400, PARSE)
    assert http.get(f"{j}/results/records", record_score=value.lower()).error[0] == 400


def test_a_field_that_stands_twice_in_a_record_counts_once(http, j):
    counts = http.post(f"{j}/_data", f'{{"time": 1, "v": 1, "time": {FIRST}, "v": 2}}').ok(202)
    assert (counts["input_field_count"], counts["latest_record_timestamp"]) == (1, FIRST * 1000)


# -------------------------------------------------------------------------------------------------------- wrong names

NAMES = [
    "..%2F..%2Fetc%2Fpasswd", "%2e%2e%2f%2e%2e%2f", "....//", "a%00b", "'%20OR%20'1'='1", "j';DROP%20TABLE%20jobs;--",
    "%22;--", "%FF%FE", "\u202e", "a" * 5_000, "%25", "${jndi:ldap:x}", "<script>",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("method", "suffix"),
    [("GET", ""), ("GET", "/_stats"), ("PUT", ""), ("DELETE", ""), ("POST", "/_open"), ("POST", "/_close"),
     ("GET", "/results/buckets"), ("GET", "/model_snapshots")],
)  # fmt: skip
def test_names_that_are_no_ids_are_refused_or_not_found(http, name, method, suffix):
    before = http.get("_all").ok()["count"]
    answer = http(method, f"{name}{suffix}", CONFIG if method == "PUT" else None)
    assert answer.status in (400, 404, 405), answer.text
    assert http.get("_all").ok()["count"] == before


INJECTIONS = [
    "' OR 1=1 --", '"; DROP TABLE buckets; --', "timestamp; DELETE FROM jobs", "body", "a' UNION SELECT 1", "%"
]  # fmt: skip


@pytest.mark.parametrize("text", INJECTIONS)
def test_sql_in_any_string_is_a_string(http, j, text):
    http.post(f"{j}/_data", json.dumps({"time": FIRST, "v": text})).ok(202)
    for kind in ("buckets", "records", "influencers"):
        assert http.get(f"{j}/results/{kind}", sort=text).status == 400
        assert http.get(f"{j}/results/{kind}", start=text).status == 400
    assert http.get(f"{j}/results/categories", partition_field_value=text).ok()["count"] == 0
    assert http.get(f"{j}/model_snapshots/x", description=text).ok()["count"] == 0
    kept = http.post(f"{j}/_update", {"description": text, "custom_settings": {text: text}}).ok()
    assert (kept["description"], kept["custom_settings"]) == (text, {text: text})
    assert http.get("_all").ok()["count"] > 0


def test_a_client_s_id_cannot_break_out_of_its_header(http, j):
    answer = http.get(j, None, {"X-Opaque-Id": "a" * 10_000})
    assert len(answer.headers["X-Opaque-Id"]) == 256


def test_credentials_that_clients_send_reach_no_log(http, j, caplog):
    caplog.set_level("DEBUG", logger="marigraph")
    http.get(j, None, {"Authorization": "Basic c2VjcmV0OnNlY3JldA=="})
    http.get("nope", None, {"Authorization": "ApiKey verysecret"})
    assert "c2VjcmV0" not in caplog.text
    assert "verysecret" not in caplog.text
