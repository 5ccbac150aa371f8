"""Secrets and what they are checked against; the only place that sees a secret in the clear.

A *verifier* is a text that says how it was made and with what: ``sha256$...`` of a key's secret, which is 256 random
bits and needs no slow hash, or ``scrypt$n$r$p$salt$hash`` of a password (RFC 7914), which people choose.
"""

import hashlib
import hmac
import os
import secrets
from base64 import b64encode
from typing import Final, NamedTuple

from domain.errors import BadRequest

PASSWORD_CHARACTERS_MIN: Final = 8
"""NIST SP 800-63B (2017), section 5.1.1."""
PASSWORD_BYTES_MAX: Final = 1_024
"""Longer ones are refused before any work is done for them."""

SECRET_BYTES: Final = 32
SALT_BYTES: Final = 16


class ScryptCost(NamedTuple):
    """Parameters of scrypt (RFC 7914, section 2)."""

    n: int
    r: int
    p: int


PASSWORD_COST: Final = ScryptCost(2**15, 8, 3)
"""32 MB and some tenths of a second: among the minima of OWASP's Password Storage Cheat Sheet (2023)."""

SCRYPT_BYTES_MAX: Final = 256 * 1024 * 1024
"""A stored verifier that asks for more memory than this is not computed."""


class NewKey(NamedTuple):
    """A key as it is shown once, to whoever made it."""

    key_id: str
    secret: str

    @property
    def encoded(self) -> str:
        """What goes behind ``ApiKey`` in the header."""
        return b64encode(f"{self.key_id}:{self.secret}".encode()).decode()


def make_key() -> NewKey:
    """Make a key of random parts."""
    return NewKey(secrets.token_hex(10), secrets.token_urlsafe(SECRET_BYTES))


def secret_verifier(secret: str) -> bytes:
    """Return what the secret of a key is checked against."""
    return f"sha256${hashlib.sha256(secret.encode()).hexdigest()}".encode()


def password_verifier(password: str, cost: ScryptCost = PASSWORD_COST) -> bytes:
    """Return what a password is checked against; BadRequest if it is too short or too long."""
    if len(password) < PASSWORD_CHARACTERS_MIN or len(password.encode()) > PASSWORD_BYTES_MAX:
        msg = f"a password must have {PASSWORD_CHARACTERS_MIN} characters to {PASSWORD_BYTES_MAX} bytes"
        raise BadRequest(msg)
    salt = os.urandom(SALT_BYTES)
    return f"scrypt${cost.n}${cost.r}${cost.p}${salt.hex()}${_scrypt(password, salt, cost).hex()}".encode()


def unmatched_verifier(cost: ScryptCost = PASSWORD_COST) -> bytes:
    """Return a verifier that no password fits, and that costs as much to check as any."""
    return f"scrypt${cost.n}${cost.r}${cost.p}${os.urandom(SALT_BYTES).hex()}${os.urandom(32).hex()}".encode()


def is_right(verifier: bytes, secret: str) -> bool:
    """Check a secret, in a time that does not depend on where it is wrong."""
    kind, *parts = verifier.decode("ascii", "replace").split("$")
    if len(secret.encode("utf-8", "surrogateescape")) > PASSWORD_BYTES_MAX:
        return False
    try:
        if kind == "sha256":
            found = hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
            return hmac.compare_digest(found, parts[0])
        if kind == "scrypt":
            n, r, p, salt, expected = parts
            found = _scrypt(secret, bytes.fromhex(salt), ScryptCost(int(n), int(r), int(p))).hex()
            return hmac.compare_digest(found, expected)
    except (ValueError, IndexError):
        return False  # no verifier at all: it opens nothing
    return False


def _scrypt(password: str, salt: bytes, cost: ScryptCost) -> bytes:
    data = password.encode("utf-8", "surrogateescape")
    return hashlib.scrypt(data, salt=salt, n=cost.n, r=cost.r, p=cost.p, maxmem=SCRYPT_BYTES_MAX, dklen=32)
