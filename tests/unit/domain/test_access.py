"""Keys, users and roles as facts: what is refused, and what the fold makes of the rest."""

import pytest

from domain.access import (
    ACCESS_EVENTS,
    ROLES,
    Access,
    ChangePassword,
    CreateKey,
    CreateUser,
    DeleteUser,
    RevokeKey,
    decide,
    evolve,
    privileges_of,
)
from domain.errors import AlreadyExists, BadRequest, NotFound
from marigraph.codec import build_codec

ADMIN, USER, AUDITOR = ROLES


def after(*commands):
    access = Access()
    for version, command in enumerate(commands, start=1):
        access = evolve(access, decide(access, command), version, version * 1000, bytes([version]))
    return access


KEY = CreateKey("k1", "shipper", (ADMIN,), now_ms=0, expires_ms=5_000)
BOB = CreateUser("bob", (USER,))


def test_the_roles_give_what_the_api_says():
    assert privileges_of((ADMIN,)) >= {"manage_ml", "monitor_ml"}
    assert privileges_of((USER,)) == {"monitor_ml"}
    assert privileges_of((AUDITOR,)) == {"read_history"}
    assert privileges_of(("unheard_of",)) == frozenset()


def test_a_key_is_usable_until_it_expires_or_is_revoked():
    access = after(KEY)
    assert access.keys["k1"].is_usable(4_999)
    assert not access.keys["k1"].is_usable(5_000)
    assert not after(KEY, RevokeKey("k1")).keys["k1"].is_usable(1)


def test_a_verifier_is_needed_as_long_as_it_opens_something():
    assert after(KEY, BOB).verifiers == {b"\1", b"\2"}
    assert after(KEY, BOB, ChangePassword("bob")).verifiers == {b"\1", b"\3"}
    assert after(KEY, BOB, RevokeKey("k1"), DeleteUser("bob")).verifiers == frozenset()


def test_nobody_can_get_in_without_a_user_or_a_usable_key():
    assert not Access().is_any_usable(0)
    assert after(KEY).is_any_usable(0)
    assert not after(KEY).is_any_usable(9_000)
    assert after(BOB).is_any_usable(9_000)
    assert not after(BOB, DeleteUser("bob")).is_any_usable(0)


def test_a_name_may_be_used_again_after_its_user_is_gone():
    assert after(BOB, DeleteUser("bob"), CreateUser("bob", (AUDITOR,))).users["bob"].roles == (AUDITOR,)


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (CreateUser("bob", (USER,)), AlreadyExists),
        (CreateUser("a:b", (USER,)), BadRequest),
        (CreateUser("a/b", (USER,)), BadRequest),
        (CreateUser("anonymous", (ADMIN,)), BadRequest),
        (CreateUser("eve", ("superuser",)), BadRequest),
        (CreateUser("eve", ()), BadRequest),
        (CreateKey("k1", "again", (ADMIN,), 0), AlreadyExists),
        (CreateKey("k2", "a/b", (ADMIN,), 0), BadRequest),
        (CreateKey("k2", "late", (ADMIN,), now_ms=10, expires_ms=10), BadRequest),
        (RevokeKey("k9"), NotFound),
        (DeleteUser("eve"), NotFound),
        (ChangePassword("eve"), NotFound),
    ],
)
def test_what_makes_no_sense_is_refused(command, error):
    with pytest.raises(error):
        decide(after(KEY, BOB), command)


def test_a_key_is_revoked_once():
    with pytest.raises(NotFound):
        decide(after(KEY, RevokeKey("k1")), RevokeKey("k1"))


def test_events_survive_being_written_and_read():
    codec = build_codec(ACCESS_EVENTS)
    access = after(KEY, BOB)
    for command in (
        CreateKey("k2", "b", (USER, AUDITOR), 0),
        RevokeKey("k1"),
        ChangePassword("bob"),
        DeleteUser("bob"),
    ):
        event = decide(access, command)
        read = codec.decode(event.type, 1, event.model_dump_json(exclude_defaults=True), is_checked=True)
        assert evolve(access, read, 3, 0, b"v") == evolve(access, event, 3, 0, b"v")
