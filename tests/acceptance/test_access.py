"""Access control over HTTP: who gets in, what each role may do, how refusals read, and whose name is on the events."""

import io
import json
import sys
from base64 import b64encode
from collections import defaultdict
from contextlib import nullcontext

import anyio
import pytest
from fastapi import Request

from domain.access import ROLES
from domain.errors import InvalidArgument
from marigraph.api.access import Gate
from marigraph.api.endpoints import all_endpoints
from marigraph.api.errors import HttpError
from marigraph.api.server import Listening, serve
from marigraph.cli.main import execute
from marigraph.context import Context
from marigraph.settings import Settings
from tests.support.proxy import proxy_before
from tests.support.serving import CONFIG, JOBS, client_of

ADMIN, USER, AUDITOR = ROLES
ROOT = Context("root", "request-1")
CHALLENGES = ['Basic realm="security" charset="UTF-8"', "ApiKey"]
PASSWORD = "correct horse"


@pytest.fixture
def client(sqlite_url):
    with client_of(sqlite_url, is_guarded=True) as client:
        yield client


def api_key(client, role, name="key"):
    key, made = client.control.create_key(name, (role,), ROOT)
    return key, {"Authorization": f"ApiKey {made.encoded}"}


def basic(name, password):
    return {"Authorization": "Basic " + b64encode(f"{name}:{password}".encode()).decode()}


def error_of(answer):
    error = answer.json()["error"]
    return answer.status_code, error["type"], error["reason"]


def test_without_credentials_a_caller_is_told_what_to_bring(client):
    answer = client.get(JOBS)
    assert answer.headers.get_list("www-authenticate") == CHALLENGES
    cause = {
        "type": "security_exception",
        "reason": f"missing authentication credentials for REST request [{JOBS}]",
        "header": {"WWW-Authenticate": CHALLENGES},
    }
    assert answer.text == json.dumps({"error": {"root_cause": [cause], **cause}, "status": 401}, separators=(",", ":"))


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (basic("bob", "wrong"), "unable to authenticate user [bob] for REST request [/]"),
        ({"Authorization": "ApiKey YTpi"}, "unable to authenticate with provided credentials for REST request [/]"),
        ({"Authorization": "Digest x"}, "the Authorization header is neither Basic nor ApiKey for REST request [/]"),
    ],
)
def test_wrong_credentials_are_refused_alike(client, headers, reason):
    client.control.create_user("bob", PASSWORD, (ADMIN,), ROOT)
    answer = client.get("/", headers=headers)
    assert error_of(answer) == (401, "security_exception", reason)
    assert answer.headers.get_list("www-authenticate") == CHALLENGES


def test_what_a_user_may_not_do_is_refused_by_name(client):
    client.control.create_user("bob", PASSWORD, (USER,), ROOT)
    assert error_of(client.put(f"{JOBS}/j", json=CONFIG, headers=basic("bob", PASSWORD))) == (
        403,
        "security_exception",
        "action [cluster:admin/xpack/ml/job/put] is unauthorized for user [bob] with roles [machine_learning_user], "
        "this action is granted by the cluster privileges [manage_ml]",
    )
    assert client.get(JOBS, headers=basic("bob", PASSWORD)).json()["count"] == 0


def test_what_a_key_may_not_do_is_refused_by_its_id(client):
    key, headers = api_key(client, AUDITOR)
    assert error_of(client.get(f"{JOBS}/_stats", headers=headers)) == (
        403,
        "security_exception",
        f"action [cluster:monitor/xpack/ml/job/stats/get] is unauthorized for API key id [{key.key_id}] "
        "with roles [auditor], this action is granted by the cluster privileges [monitor_ml,manage_ml]",
    )


@pytest.mark.parametrize("role", [ADMIN, USER, AUDITOR])
def test_every_endpoint_keeps_its_privilege(client, role):
    _key, headers = api_key(client, role)
    wrong = []
    for endpoint in all_endpoints():
        path = endpoint.full_paths[-1].format_map(defaultdict(lambda: "1"))
        status = client.request(endpoint.methods[0], path, headers=headers).status_code
        is_allowed = endpoint.privilege in ("any", "none") or endpoint.privilege in ROLES[role]
        if (status == 403) is is_allowed:
            wrong.append((endpoint.name, status))
    assert wrong == []


def test_every_endpoint_but_the_probes_asks_for_credentials(client):
    open_to_all = {
        endpoint.name
        for endpoint in all_endpoints()
        if client.request(endpoint.methods[0], endpoint.full_paths[0].replace("{", "").replace("}", "")).status_code
        != 401
    }
    assert open_to_all == {"health", "ready"}


@pytest.mark.parametrize(
    ("host", "is_answered"),
    [
        *((host, True) for host in ("localhost:9200", "LOCALHOST", "127.0.0.1:9200", "127.9.9.9", "[::1]:9200")),
        *((host, True) for host in ("ml.example.org", "ml.example.org:443")),
        *((host, False) for host in ("evil.example.org:9200", "127.0.0.1.evil.example.org", "10.0.0.1", "[", "a b")),
        *((host, False) for host in ("ml.example.org.", "localhost@evil.example.org:80x", "[::2]")),
    ],
)
def test_who_need_not_say_who_he_is_must_call_the_server_by_a_name_of_its_own(host, is_answered):
    gate = Gate(None, {"ml.example.org"})
    endpoint = next(each for each in all_endpoints() if each.name == "put_job")
    request = Request({"type": "http", "headers": [(b"host", host.encode())]})
    with nullcontext() if is_answered else pytest.raises(HttpError, match="no name of this server") as refused:
        anyio.run(gate.admit, endpoint, request)
    assert is_answered or (refused.value.status, refused.value.type) == (403, "security_exception")


def test_a_refused_post_changes_nothing_and_its_body_is_not_kept(client):
    _key, admin = api_key(client, ADMIN)
    client.put(f"{JOBS}/j", json=CONFIG, headers=admin)
    client.post(f"{JOBS}/j/_open", headers=admin)
    body = b'{"time": 1}\n' * 500_000
    answer = client.post(f"{JOBS}/j/_data", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 401
    [stats] = client.get(f"{JOBS}/j/_stats", headers=admin).json()["jobs"]
    assert stats["data_counts"]["input_record_count"] == 0


def test_the_actor_and_the_request_id_are_on_every_event(client):
    key, headers = api_key(client, ADMIN, "shipper")
    client.control.create_user("ann", PASSWORD, (ADMIN,), ROOT)
    client.put(f"{JOBS}/j", json=CONFIG, headers=headers | {"X-Opaque-Id": "one"})
    client.post(f"{JOBS}/j/_open", headers=basic("ann", PASSWORD) | {"X-Opaque-Id": "two"})
    events = [(event.type, event.actor, event.request_id) for event in client.server.store.iter_stream("job-j")]
    assert events == [("created", f"{key.key_id}/shipper", "one"), ("opened", "ann", "two")]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_pages_of_other_sites_get_nothing_done_through_a_browser(sqlite_url, origin):
    with client_of(sqlite_url) as client:
        client.put(f"{JOBS}/j", json=CONFIG)
        answer = client.post(f"{JOBS}/j/_open", headers={"Origin": origin})
        assert error_of(answer)[:2] == (403, "security_exception")
        assert client.get(f"{JOBS}/j/_stats").json()["jobs"][0]["state"] == "closed"
        own = {"Origin": f"http://{client.base_url.host}:{client.base_url.port}"}
        assert client.post(f"{JOBS}/j/_open", headers=own).status_code == 200


def test_where_nobody_is_asked_credentials_are_ignored(sqlite_url):
    with client_of(sqlite_url) as client:
        for headers in ({}, basic("bob", "wrong"), {"Authorization": "ApiKey nonsense"}):
            assert client.get(JOBS, headers=headers).status_code == 200
        client.put(f"{JOBS}/j", json=CONFIG, headers=basic("bob", "wrong"))
        [created] = client.server.store.iter_stream("job-j")
        assert created.actor == "anonymous"


def test_too_many_wrong_passwords_are_refused_for_a_while(client):
    client.control.create_user("bob", PASSWORD, (ADMIN,), ROOT)
    statuses = [client.get("/", headers=basic("bob", f"wrong-{number}")).status_code for number in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    answer = client.get("/", headers=basic("bob", PASSWORD))
    assert error_of(answer)[:2] == (429, "security_exception")
    assert answer.headers["retry-after"]


def test_a_lost_database_lets_nobody_in(postgres_url):
    proxy = proxy_before(postgres_url)
    with client_of(proxy.url, is_guarded=True) as client:
        _key, headers = api_key(client, ADMIN)
        assert client.get(JOBS, headers=headers).status_code == 200
        proxy.is_refusing = True
        proxy.cut()
        assert client.get(JOBS, headers=basic("eve", PASSWORD)).status_code in (401, 503)
        assert client.put(f"{JOBS}/j", json=CONFIG, headers=headers).status_code == 503
        proxy.is_refusing = False
    proxy.close()


# ---------------------------------------------------------------------------------------------------- command line


@pytest.fixture
def cli(sqlite_url, capsys, monkeypatch):
    def run(*arguments, stdin=""):
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        code = execute(["--db", sqlite_url, *arguments])
        return code, *capsys.readouterr()

    return run


def test_a_key_made_on_the_command_line_opens_a_running_server(client, cli):
    _code, out, _err = cli("keys", "create", "shipper", "--role", ADMIN, "--expires", "1d", "--json")
    made = json.loads(out)
    assert made["expiration"] - made["creation"] == pytest.approx(86_400_000, abs=1_000)
    headers = {"Authorization": f"ApiKey {made['encoded']}"}
    client.control.access  # noqa: B018 - look for news now, not within a second
    assert client.get(JOBS, headers=headers).status_code == 200
    assert cli("keys", "revoke", made["id"])[0] == 0
    client.control.access  # noqa: B018
    assert client.get(JOBS, headers=headers).status_code == 401
    assert json.loads(cli("keys", "list", "--json")[1])["count"] == 0
    [listed] = json.loads(cli("keys", "list", "--all", "--json")[1])["api_keys"]
    assert listed["invalidated"]
    assert "api_key" not in listed


def test_the_password_of_a_user_comes_from_standard_input(client, cli):
    assert cli("users", "create", "bob", "--role", USER, stdin=f"{PASSWORD}\n")[0] == 0
    client.control.access  # noqa: B018
    assert client.get("/", headers=basic("bob", PASSWORD)).status_code == 200
    assert cli("users", "password", "bob", stdin="battery staple\n")[0] == 0
    assert json.loads(cli("users", "list", "--json")[1])["users"][0]["roles"] == [USER]
    assert cli("users", "delete", "bob")[0] == 0
    client.control.access  # noqa: B018
    assert client.get("/", headers=basic("bob", "battery staple")).status_code == 401


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (("keys", "create", "x", "--role", "superuser"), "", "a role must be one of"),
        (("keys", "revoke", "unheard-of"), "", "there is no key with id [unheard-of]"),
        (("users", "create", "bob", "--role", USER), "", "give the password on standard input"),
        (("users", "create", "bob", "--role", USER), "short\n", "a password must have 8 characters"),
        (("users", "create", "a:b", "--role", USER), f"{PASSWORD}\n", "the name of a user must fit"),
        (("users", "delete", "bob"), "", "there is no user [bob]"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(cli, arguments, stdin, message):
    code, out, err = cli(*arguments, stdin=stdin)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_password_cannot_be_an_argument(cli):
    assert cli("users", "create", "bob", PASSWORD, "--role", USER)[0] == 2
    assert cli("users", "create", "bob", "--password", PASSWORD, "--role", USER)[0] == 2


@pytest.mark.parametrize("listening", [Listening("0.0.0.0", 0), Listening(port=0, requires_credentials=True)])
def test_nobody_is_asked_for_keys_that_do_not_exist(sqlite_url, listening):
    with pytest.raises(InvalidArgument, match="no keys are configured"):
        serve(Settings(sqlite_url), listening)


def test_an_auditor_reads_histories_and_nothing_else(client):
    _key, admin = api_key(client, ADMIN, "shipper")
    _key, auditor = api_key(client, AUDITOR)
    client.put(f"{JOBS}/j", json=CONFIG, headers=admin)
    client.post(f"{JOBS}/j/_open", headers=admin)
    found = client.get("/_marigraph/history/j?type=opened,closed", headers=auditor).json()
    assert (found["count"], found["events"][0]["type"]) == (1, "opened")
    made = client.get("/_marigraph/access/history?size=1", headers=auditor).json()
    assert (made["count"], made["events"][0]["data"]["name"]) == (2, "shipper")
    assert client.get("/_marigraph/history/unheard-of", headers=auditor).status_code == 404
    assert client.get(JOBS, headers=auditor).status_code == 403
