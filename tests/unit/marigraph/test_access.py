"""Keys and users of a database: checked, remembered for a moment, forgotten for good."""

import threading
from base64 import b64encode

import pytest

from marigraph import access as module
from marigraph import credentials
from marigraph.access import AccessControl, TooManyFailures, WrongCredentials
from marigraph.context import Context
from tests.support.feeds import Clock
from tests.support.serving import CHEAP

ROOT = Context("root", "request-1")
USER = ("machine_learning_user",)
HERE = "192.0.2.1"


@pytest.fixture
def clock():
    return Clock(1_000)


@pytest.fixture
def control(store, clock):
    return AccessControl(store, clock, CHEAP)


@pytest.fixture
def n_checks(monkeypatch):
    """How often a password was worked out."""
    calls = []

    def counted(*arguments):
        calls.append(arguments)
        return credentials.is_right(*arguments)

    monkeypatch.setattr(module, "is_right", counted)
    return calls


def basic(name, password):
    return "Basic " + b64encode(f"{name}:{password}".encode()).decode()


def test_a_key_opens_and_names_itself(control):
    key, made = control.create_key("shipper", USER, ROOT)
    principal = control.check(f"ApiKey {made.encoded}", HERE)
    assert (principal.actor, principal.roles) == (f"{key.key_id}/shipper", USER)


def test_a_revoked_key_opens_nothing(control):
    key, made = control.create_key("shipper", USER, ROOT)
    control.check(f"ApiKey {made.encoded}", HERE)
    control.revoke_key(key.key_id, ROOT)
    with pytest.raises(WrongCredentials):
        control.check(f"ApiKey {made.encoded}", HERE)


def test_a_key_revoked_by_another_process_opens_nothing_a_moment_later(control, store, clock, monkeypatch):
    key, made = control.create_key("shipper", USER, ROOT)
    control.check(f"ApiKey {made.encoded}", HERE)
    AccessControl(store, clock, CHEAP).revoke_key(key.key_id, ROOT)
    monkeypatch.setattr(module, "REFRESH_SECONDS", 0.0)
    assert control.recall(f"ApiKey {made.encoded}") is None
    with pytest.raises(WrongCredentials):
        control.check(f"ApiKey {made.encoded}", HERE)


def test_an_expired_key_opens_nothing_even_if_it_was_remembered(control, clock, monkeypatch):
    _key, made = control.create_key("shipper", USER, ROOT, expires_ms=clock.now_ms + 1)
    control.check(f"ApiKey {made.encoded}", HERE)
    clock.now_ms += 1
    later = module.time.monotonic() + 0.01
    monkeypatch.setattr(module.time, "monotonic", lambda: later)
    with pytest.raises(WrongCredentials):
        control.check(f"ApiKey {made.encoded}", HERE)


def test_a_user_gets_in_with_the_password_only(control):
    control.create_user("bob", "correct horse", USER, ROOT)
    assert control.check(basic("bob", "correct horse"), HERE).actor == "bob"
    for header in (basic("bob", "wrong horse"), basic("eve", "correct horse"), basic("bob", "")):
        with pytest.raises(WrongCredentials):
            control.check(header, HERE)


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "ApiKey YWJj", "Bearer YWJjOmFiYw==", "", "Basic \xff\xfe"])
def test_what_is_no_credentials_is_refused(control, header):
    with pytest.raises(WrongCredentials):
        control.check(header, HERE)


def test_an_old_password_is_of_no_use(control):
    control.create_user("bob", "correct horse", USER, ROOT)
    control.check(basic("bob", "correct horse"), HERE)
    control.change_password("bob", "battery staple", ROOT)
    with pytest.raises(WrongCredentials):
        control.check(basic("bob", "correct horse"), HERE)
    assert control.check(basic("bob", "battery staple"), HERE).actor == "bob"


def test_a_checked_password_is_remembered_for_a_moment(control, n_checks, monkeypatch):
    control.create_user("bob", "correct horse", USER, ROOT)
    for _ in range(3):
        control.check(basic("bob", "correct horse"), HERE)
    assert len(n_checks) == 1
    later = module.time.monotonic() + module.REMEMBERED_SECONDS + 1
    monkeypatch.setattr(module.time, "monotonic", lambda: later)
    control.check(basic("bob", "correct horse"), HERE)
    assert len(n_checks) == 2


def test_what_is_remembered_is_bounded(control, monkeypatch):
    monkeypatch.setattr(module, "REMEMBERED_MAX", 2)
    headers = [f"ApiKey {control.create_key('k', USER, ROOT)[1].encoded}" for _ in range(4)]
    for header in headers:
        control.check(header, HERE)
    assert [control.recall(header) is not None for header in headers] == [False, False, True, True]


def test_equal_logins_at_once_are_worked_out_once(control, n_checks):
    control.create_user("bob", "correct horse", USER, ROOT)
    threads = [threading.Thread(target=control.check, args=(basic("bob", "correct horse"), HERE)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(n_checks) == 1


def test_an_unknown_user_costs_the_same_work_as_a_known_one(control, n_checks):
    control.create_user("bob", "correct horse", USER, ROOT)
    for name in ("bob", "eve"):
        with pytest.raises(WrongCredentials):
            control.check(basic(name, "wrong horse"), HERE)
    [(known, _), (unknown, _)] = n_checks
    assert known.split(b"$")[:4] == unknown.split(b"$")[:4]
    assert len(known) == len(unknown)


def test_wrong_passwords_are_limited_by_name_and_address(control, n_checks):
    control.create_user("bob", "correct horse", USER, ROOT)
    for _ in range(module.FAILURES_MAX):
        with pytest.raises(WrongCredentials):
            control.check(basic("bob", "wrong horse"), HERE)
    with pytest.raises(TooManyFailures):
        control.check(basic("bob", "correct horse"), HERE)
    assert len(n_checks) == module.FAILURES_MAX
    assert control.check(basic("bob", "correct horse"), "192.0.2.2").actor == "bob"


def test_many_names_from_one_address_are_limited_too(control):
    for number in range(module.ADDRESS_FAILURES_MAX):
        with pytest.raises(WrongCredentials):
            control.check(basic(f"user{number}", "wrong horse"), HERE)
    with pytest.raises(TooManyFailures):
        control.check(basic("another", "wrong horse"), HERE)


def test_secrets_and_their_hashes_are_not_on_the_log(control, store):
    _key, made = control.create_key("shipper", USER, ROOT)
    control.create_user("bob", "correct horse", USER, ROOT)
    events = list(store.iter_stream("access"))
    assert [(event.type, event.actor, event.request_id) for event in events] == [
        ("key_created", "root", "request-1"),
        ("user_created", "root", "request-1"),
    ]
    stored = " ".join(event.data for event in events)
    for part in (made.secret, "correct horse", "scrypt", "sha256"):
        assert part not in stored


def test_what_a_deleted_user_was_checked_against_is_gone_and_the_chain_holds(control, store):
    control.create_user("bob", "correct horse", USER, ROOT)
    control.create_user("ann", "correct horse", USER, ROOT)
    [bob, ann] = [event.payload_digest for event in store.iter_stream("access")]
    control.delete_user("bob", ROOT)
    assert store.read_payload("access", ann).body.startswith(b"scrypt$")
    with pytest.raises(module.PayloadMissing):
        store.read_payload("access", bob)
    assert store.verify_chain("access").is_intact
    assert control.check(basic("ann", "correct horse"), HERE).actor == "ann"


def test_two_processes_make_keys_at_once(control, store, clock):
    other = AccessControl(store, clock, CHEAP)
    controls = [control, other]
    threads = [
        threading.Thread(target=lambda each=each: [each.create_key("k", USER, ROOT) for _ in range(5)])
        for each in controls
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(control.access.keys) == 10
