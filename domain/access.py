"""Who may use a server: keys and users as facts on the stream ``access``, and what each role may do.

``decide(access, command)`` and ``evolve(access, event)`` work as in ``domain/job.py``, and are as pure: ids, secrets
and times come in from outside. An event never holds a secret nor its hash: what a secret is checked against (its
*verifier*) lies in the event's payload, where it can be dropped without touching the log, and is known here by its
digest only.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import msgspec

from domain.errors import AlreadyExists, BadRequest, NotFound
from domain.events import Event

ROLES: Final[dict[str, frozenset[str]]] = {
    "machine_learning_admin": frozenset({"manage_ml", "monitor_ml", "read_history"}),
    "machine_learning_user": frozenset({"monitor_ml"}),
    "auditor": frozenset({"read_history"}),
}
"""What each role may do; the first two are roles of the API, with its privileges."""

USER_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
"""Without a colon, which ends the name in HTTP Basic (RFC 7617), and without what key actors are told by."""

RESERVED_NAMES: Final = frozenset({"anonymous", "marigraph-server"})
"""Actors that are no users."""

KEY_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@ -]{0,63}")

CREDENTIALS_MAX: Final = 10_000
"""Keys that are not revoked, and users; each costs some hundred bytes of every server's memory."""


# ---------------------------------------------------------------------------------------------------------- events


class KeyCreated(Event):
    """A key was made; the verifier of its secret is the event's payload."""

    type: ClassVar[str] = "key_created"
    key_id: str
    name: str
    """For people; several keys may have the same."""
    roles: list[str]
    expires_ms: int | None = None


class KeyRevoked(Event):
    """A key is of no use any more."""

    type: ClassVar[str] = "key_revoked"
    key_id: str


class UserCreated(Event):
    """A user was made; the verifier of the password is the event's payload."""

    type: ClassVar[str] = "user_created"
    name: str
    roles: list[str]


class PasswordChanged(Event):
    """A user has another password; its verifier is the event's payload."""

    type: ClassVar[str] = "password_changed"
    name: str


class UserDeleted(Event):
    """A user is gone; the name may be used again."""

    type: ClassVar[str] = "user_deleted"
    name: str


ACCESS_EVENTS: Final[dict[str, type[Event]]] = {
    model.type: model for model in (KeyCreated, KeyRevoked, UserCreated, PasswordChanged, UserDeleted)
}


# ----------------------------------------------------------------------------------------------------------- state


class Key(msgspec.Struct, frozen=True):
    """A key as of a version of the stream."""

    key_id: str
    name: str
    roles: tuple[str, ...]
    created_ms: int
    verifier: bytes
    """Digest of the payload that a secret is checked against."""
    expires_ms: int | None = None
    revoked_ms: int | None = None

    def is_usable(self, now_ms: int) -> bool:
        """Whether the key opens anything."""
        return self.revoked_ms is None and (self.expires_ms is None or now_ms < self.expires_ms)


class User(msgspec.Struct, frozen=True):
    """A user as of a version of the stream."""

    name: str
    roles: tuple[str, ...]
    created_ms: int
    verifier: bytes


class Access(msgspec.Struct, frozen=True):
    """All keys and users as of a version of the stream."""

    version: int = 0
    keys: dict[str, Key] = {}
    users: dict[str, User] = {}

    def is_any_usable(self, now_ms: int) -> bool:
        """Whether anybody could get in."""
        return bool(self.users) or any(key.is_usable(now_ms) for key in self.keys.values())

    @property
    def verifiers(self) -> frozenset[bytes]:
        """Digests of the payloads that are still needed."""
        keys = {key.verifier for key in self.keys.values() if key.revoked_ms is None}
        return frozenset(keys | {user.verifier for user in self.users.values()})


def privileges_of(roles: tuple[str, ...]) -> frozenset[str]:
    """Return what roles allow together; one that is not known to this program allows nothing."""
    return frozenset().union(*(ROLES.get(role, frozenset()) for role in roles))


# -------------------------------------------------------------------------------------------------------- commands


@dataclass(frozen=True, slots=True)
class CreateKey:
    """Make a key."""

    key_id: str
    name: str
    roles: tuple[str, ...]
    now_ms: int
    expires_ms: int | None = None


@dataclass(frozen=True, slots=True)
class RevokeKey:
    """Make a key useless."""

    key_id: str


@dataclass(frozen=True, slots=True)
class CreateUser:
    """Make a user."""

    name: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChangePassword:
    """Give a user another password."""

    name: str


@dataclass(frozen=True, slots=True)
class DeleteUser:
    """Remove a user."""

    name: str


AccessCommand = CreateKey | RevokeKey | CreateUser | ChangePassword | DeleteUser


def decide(access: Access, command: AccessCommand) -> Event:
    """Return the event that carries a command out.

    Raises
    ------
    DomainError
        The command is not allowed.
    """
    match command:
        case CreateKey():
            return _create_key(access, command)
        case RevokeKey(key_id):
            key = access.keys.get(key_id)
            if key is None or key.revoked_ms is not None:
                msg = f"there is no key with id [{key_id}]"
                raise NotFound(msg)
            return KeyRevoked(key_id=key_id)
        case CreateUser():
            return _create_user(access, command)
        case ChangePassword(name):
            _require_user(access, name)
            return PasswordChanged(name=name)
        case DeleteUser(name):
            _require_user(access, name)
            return UserDeleted(name=name)


def _create_key(access: Access, command: CreateKey) -> KeyCreated:
    _check_roles(command.roles)
    if KEY_NAME.fullmatch(command.name) is None:
        msg = f"the name of a key must fit {KEY_NAME.pattern}, got [{command.name[:80]}]"
        raise BadRequest(msg)
    if command.expires_ms is not None and command.expires_ms <= command.now_ms:
        msg = "the key would have expired already"
        raise BadRequest(msg)
    if command.key_id in access.keys:
        msg = f"there is a key with id [{command.key_id}] already"
        raise AlreadyExists(msg)
    _check_room(sum(key.is_usable(command.now_ms) for key in access.keys.values()), "keys")
    return KeyCreated(
        key_id=command.key_id, name=command.name, roles=list(command.roles), expires_ms=command.expires_ms
    )


def _create_user(access: Access, command: CreateUser) -> UserCreated:
    _check_roles(command.roles)
    if USER_NAME.fullmatch(command.name) is None or command.name in RESERVED_NAMES:
        msg = f"the name of a user must fit {USER_NAME.pattern} and not be reserved, got [{command.name[:80]}]"
        raise BadRequest(msg)
    if command.name in access.users:
        msg = f"there is a user [{command.name}] already"
        raise AlreadyExists(msg)
    _check_room(len(access.users), "users")
    return UserCreated(name=command.name, roles=list(command.roles))


def _check_roles(roles: tuple[str, ...]) -> None:
    unknown = [role for role in roles if role not in ROLES]
    if unknown or not roles:
        msg = f"a role must be one of {', '.join(ROLES)}, got [{', '.join(unknown)}]"
        raise BadRequest(msg)


def _check_room(count: int, what: str) -> None:
    if count >= CREDENTIALS_MAX:
        msg = f"there are {count} {what}, and may be {CREDENTIALS_MAX}"
        raise BadRequest(msg)


def _require_user(access: Access, name: str) -> None:
    if name not in access.users:
        msg = f"there is no user [{name}]"
        raise NotFound(msg)


# ------------------------------------------------------------------------------------------------------------ fold


def evolve(access: Access, event: Any, version: int, recorded_ms: int, verifier: bytes | None) -> Access:
    """Fold one event; ``verifier`` is the digest of its payload."""
    changes = _EVOLVERS[event.type](access, event, recorded_ms, verifier or b"")
    return msgspec.structs.replace(access, version=version, **changes)


def _key_created(access: Access, event: KeyCreated, recorded_ms: int, verifier: bytes) -> dict[str, Any]:
    key = Key(event.key_id, event.name, tuple(event.roles), recorded_ms, verifier, event.expires_ms)
    return {"keys": {**access.keys, key.key_id: key}}


def _key_revoked(access: Access, event: KeyRevoked, recorded_ms: int, _verifier: bytes) -> dict[str, Any]:
    revoked = msgspec.structs.replace(access.keys[event.key_id], revoked_ms=recorded_ms)
    return {"keys": {**access.keys, event.key_id: revoked}}


def _user_created(access: Access, event: UserCreated, recorded_ms: int, verifier: bytes) -> dict[str, Any]:
    user = User(event.name, tuple(event.roles), recorded_ms, verifier)
    return {"users": {**access.users, user.name: user}}


def _password_changed(access: Access, event: PasswordChanged, _recorded_ms: int, verifier: bytes) -> dict[str, Any]:
    changed = msgspec.structs.replace(access.users[event.name], verifier=verifier)
    return {"users": {**access.users, event.name: changed}}


def _user_deleted(access: Access, event: UserDeleted, _recorded_ms: int, _verifier: bytes) -> dict[str, Any]:
    return {"users": {name: user for name, user in access.users.items() if name != event.name}}


_EVOLVERS: Final[dict[str, Callable[..., dict[str, Any]]]] = {
    "key_created": _key_created,
    "key_revoked": _key_revoked,
    "user_created": _user_created,
    "password_changed": _password_changed,
    "user_deleted": _user_deleted,
}
