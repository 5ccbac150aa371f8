"""Keys and users of a server: the commands that make and remove them, and the check of what a client sends.

The stream ``access`` is short and folded in memory. A server looks for news on it once a second at most, so a revoked
key opens nothing a second later, whatever process revoked it. Who was checked is remembered for a short time, as a
keyed digest of what was sent, since a password costs tenths of a second.
"""

import hashlib
import hmac
import os
import threading
import time
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from domain.access import (
    ACCESS_EVENTS,
    USER_NAME,
    Access,
    AccessCommand,
    ChangePassword,
    CreateKey,
    CreateUser,
    DeleteUser,
    Key,
    RevokeKey,
    User,
    decide,
    evolve,
    privileges_of,
)
from eventstore import EventStore, NewEvent, Payload, PayloadMissing, StoredEvent
from marigraph.codec import build_codec, recorded
from marigraph.context import Context
from marigraph.credentials import (
    PASSWORD_COST,
    NewKey,
    ScryptCost,
    is_right,
    make_key,
    password_verifier,
    secret_verifier,
    unmatched_verifier,
)
from marigraph.racing import until_first

STREAM: Final = "access"
VERIFIER_CODEC: Final = "verifier-1"

REFRESH_SECONDS: Final = 1.0
"""Between two looks for news; how long a revoked key may still be good."""

REMEMBERED_MAX: Final = 1_000
REMEMBERED_SECONDS: Final = 60.0
"""How long a checked password is not checked again; chosen: a client's burst of requests pays once."""

FAILURES_MAX: Final = 10
"""Wrong passwords per name and address within the window, before the next are refused unseen."""
ADDRESS_FAILURES_MAX: Final = 100
"""The same per address, whatever the names."""
FAILURES_SECONDS: Final = 60.0
FAILURES_TRACKED_MAX: Final = 10_000

TURNS: Final = 64
"""Locks that checks of passwords share by name and address, so that equal ones at once are worked out once."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sends a request.

    Attributes
    ----------
    actor : str
        As it goes on events; a key has a slash in it, which no user name has.
    shown : str
        As messages name it.
    """

    actor: str
    shown: str
    roles: tuple[str, ...]

    def may(self, privilege: str) -> bool:
        """Whether a role of the principal allows something."""
        return privilege in privileges_of(self.roles)


class WrongCredentials(Exception):
    """What was sent opens nothing; the message names the user, if it is one, and no secret."""


class TooManyFailures(Exception):
    """There were too many wrong passwords a moment ago."""


class AccessControl:
    """The keys and users in a database."""

    def __init__(self, store: EventStore, now_ms: Callable[[], int], cost: ScryptCost = PASSWORD_COST) -> None:
        self._store = store
        self._cost = cost
        self._now_ms = now_ms
        self._codec = build_codec(ACCESS_EVENTS)
        self._access = Access()
        self._verifiers: dict[bytes, bytes] = {}
        self._looked = float("-inf")
        self._guard = threading.RLock()
        self._remembered: OrderedDict[bytes, tuple[Principal, float]] = OrderedDict()
        self._pepper = os.urandom(32)
        self._failures = Failures()
        self._nobody = unmatched_verifier(cost)
        self._turns = [threading.Lock() for _ in range(TURNS)]

    # ------------------------------------------------------------------------------------------------------- state

    @property
    def access(self) -> Access:
        """All keys and users as of now."""
        self._refresh(force=True)
        return self._access

    def is_any_usable(self) -> bool:
        """Whether anybody could get in."""
        return self.access.is_any_usable(self._now_ms())

    def _refresh(self, *, force: bool = False) -> None:
        with self._guard:
            if not force and time.monotonic() - self._looked < REFRESH_SECONDS:
                return
            access = self._access
            for stored in self._store.iter_stream(STREAM, access.version):
                access = self._folded(access, stored)
            self._looked = time.monotonic()
            if access is not self._access:
                self._access = access
                self._remembered.clear()
                self._verifiers.clear()

    def _verifier(self, digest: bytes) -> bytes:
        """Return the verifier of a digest; one that was dropped is right for nothing."""
        with self._guard:
            found = self._verifiers.get(digest)
        if found is None:
            try:
                found = self._store.read_payload(STREAM, digest).body
            except PayloadMissing:
                return b""
            with self._guard:
                self._verifiers[digest] = found
        return found

    # ---------------------------------------------------------------------------------------------------- commands

    def create_key(
        self, name: str, roles: tuple[str, ...], context: Context, expires_ms: int | None = None
    ) -> tuple[Key, NewKey]:
        """Make a key; its secret is in the answer and nowhere else."""
        made = make_key()
        command = CreateKey(made.key_id, name, roles, self._now_ms(), expires_ms)
        self._carry_out(command, context, secret_verifier(made.secret))
        return self._access.keys[made.key_id], made

    def revoke_key(self, key_id: str, context: Context) -> None:
        """Make a key useless."""
        self._carry_out(RevokeKey(key_id), context)

    def create_user(self, name: str, password: str, roles: tuple[str, ...], context: Context) -> User:
        """Make a user."""
        command = CreateUser(name, roles)
        decide(self.access, command)  # refused before the work for the password
        self._carry_out(command, context, password_verifier(password, self._cost))
        return self._access.users[name]

    def change_password(self, name: str, password: str, context: Context) -> None:
        """Give a user another password."""
        self._carry_out(ChangePassword(name), context, password_verifier(password, self._cost))

    def delete_user(self, name: str, context: Context) -> None:
        """Remove a user."""
        self._carry_out(DeleteUser(name), context)

    def _carry_out(self, command: AccessCommand, context: Context, verifier: bytes | None = None) -> None:
        payload = None
        if verifier is not None:
            payload = Payload(verifier, VERIFIER_CODEC, hashlib.sha256(verifier).digest())

        def attempt() -> Access:
            access = self.access  # reads what others appended
            event = decide(access, command)
            new = NewEvent(event.type, event.model_dump_json(exclude_defaults=True).encode(), 1, payload)
            self._store.append(STREAM, [new], access.version, actor=context.actor, request_id=context.request_id)
            return access

        before = until_first(attempt, lambda: None, "keys and users were")
        self._drop_unused(before.verifiers - self.access.verifiers)

    def _drop_unused(self, before: frozenset[bytes]) -> None:
        """Drop the verifiers that nothing needs any more, those too that a crash left behind."""
        if not before:
            return
        access, ever = Access(), set()
        for stored in self._store.iter_stream(STREAM):
            access = self._folded(access, stored)
            if stored.payload_digest is not None:
                ever.add(stored.payload_digest)
        self._store.delete_payloads(STREAM, sorted(ever - access.verifiers))

    def _folded(self, access: Access, stored: StoredEvent) -> Access:
        item = recorded(self._codec, stored)
        return evolve(access, item.event, item.version, item.recorded_ms, item.payload_digest)

    # ------------------------------------------------------------------------------------------------------- check

    def recall(self, header: str) -> Principal | None:
        """Return who was found behind a header a moment ago, without any work; None: it must be checked."""
        with self._guard:
            found = self._remembered.get(self._mark(header))
            now = time.monotonic()
            if found is None or now >= found[1] or now - self._looked >= REFRESH_SECONDS:
                return None
            return found[0]

    def check(self, header: str, address: str) -> Principal:
        """Return who sends an ``Authorization`` header.

        Parameters
        ----------
        header : str
            All of it, the scheme included.
        address : str
            Where it comes from, for the bound on failures.

        Raises
        ------
        WrongCredentials, TooManyFailures
        """
        self._refresh()
        known = self.recall(header)
        if known is not None:
            return known
        version = self._access.version
        scheme, _, rest = header.strip().partition(" ")
        name, colon, secret = _decoded(rest)
        if scheme.lower() == "apikey" and colon:
            principal, until = self._check_key(name, secret)
            self._remember(header, principal, until, version)
            return principal
        if scheme.lower() == "basic" and colon:
            with self._turns[hash((name, address)) % TURNS]:
                known = self.recall(header)
                if known is None:
                    known = self._check_user(name, secret, address)
                    self._remember(header, known, float("inf"), version)
                return known
        msg = "the Authorization header is neither Basic nor ApiKey"
        raise WrongCredentials(msg)

    def _check_key(self, key_id: str, secret: str) -> tuple[Principal, float]:
        key = self._access.keys.get(key_id)
        verifier = self._verifier(key.verifier) if key is not None and key.revoked_ms is None else b""
        now_ms = self._now_ms()
        is_valid = is_right(verifier or secret_verifier(self._pepper.hex()), secret)
        if key is None or not is_valid or not key.is_usable(now_ms):
            msg = "unable to authenticate with provided credentials"
            raise WrongCredentials(msg)
        left = float("inf") if key.expires_ms is None else (key.expires_ms - now_ms) / 1000
        principal = Principal(f"{key.key_id}/{key.name}", f"API key id [{key.key_id}]", key.roles)
        return principal, time.monotonic() + left

    def _check_user(self, name: str, password: str, address: str) -> Principal:
        """Check a password; what is not there costs the same work as what is there."""
        tracked = name if USER_NAME.fullmatch(name) else ""
        self._failures.check(tracked, address)
        user = self._access.users.get(name)
        verifier = self._verifier(user.verifier) if user is not None else b""
        is_valid = is_right(verifier or self._nobody, password)
        if user is None or not verifier or not is_valid:
            self._failures.add(tracked, address)
            msg = f"unable to authenticate user [{name[:64]}]"
            raise WrongCredentials(msg)
        self._failures.forget(tracked, address)
        return Principal(user.name, f"user [{user.name}]", user.roles)

    def _remember(self, header: str, principal: Principal, until: float, version: int) -> None:
        with self._guard:
            if version != self._access.version:
                return  # it was checked against what has changed meanwhile
            until = min(until, time.monotonic() + REMEMBERED_SECONDS)
            self._remembered[self._mark(header)] = (principal, until)
            while len(self._remembered) > REMEMBERED_MAX:
                self._remembered.popitem(last=False)

    def _mark(self, header: str) -> bytes:
        return hmac.digest(self._pepper, header.encode("utf-8", "surrogateescape"), "sha256")


class Failures:
    """Wrong passwords of the last moments, by name and address; bounded."""

    def __init__(self) -> None:
        self._times: OrderedDict[tuple[str, ...], list[float]] = OrderedDict()
        self._guard = threading.Lock()

    def check(self, name: str, address: str) -> None:
        """Refuse another try after too many; TooManyFailures."""
        with self._guard:
            for key, limit in (((address, name), FAILURES_MAX), ((address,), ADDRESS_FAILURES_MAX)):
                if len(self._recent(key)) >= limit:
                    msg = f"more than {limit} wrong passwords within {FAILURES_SECONDS:g}s; try again later"
                    raise TooManyFailures(msg)

    def add(self, name: str, address: str) -> None:
        """Count a wrong password."""
        with self._guard:
            for key in ((address, name), (address,)):
                self._times[key] = [*self._recent(key), time.monotonic()]
                self._times.move_to_end(key)
            while len(self._times) > FAILURES_TRACKED_MAX:
                self._times.popitem(last=False)

    def forget(self, name: str, address: str) -> None:
        """Start over for a name whose password was right."""
        with self._guard:
            self._times.pop((address, name), None)

    def _recent(self, key: tuple[str, ...]) -> list[float]:
        since = time.monotonic() - FAILURES_SECONDS
        return [moment for moment in self._times.get(key, []) if moment > since]


def _decoded(text: str) -> tuple[str, str, str]:
    """Split ``base64(name:secret)``; empty parts if it is none."""
    try:
        decoded = b64decode(text.strip(), validate=True).decode()
    except ValueError:
        return "", "", ""
    return decoded.partition(":")


def key_resource(key: Key, now_ms: int) -> dict[str, Any]:
    """Return a key as it is listed."""
    shown: dict[str, Any] = {
        "id": key.key_id,
        "name": key.name,
        "roles": list(key.roles),
        "creation": key.created_ms,
        "invalidated": not key.is_usable(now_ms),
    }
    return shown if key.expires_ms is None else {**shown, "expiration": key.expires_ms}


def user_resource(user: User) -> dict[str, Any]:
    """Return a user as it is listed."""
    return {"username": user.name, "roles": list(user.roles), "creation": user.created_ms}
