"""Ed25519 keys that sign seals: made, read and written as PEM files; a private one is for its owner's eyes only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

OWNER_ONLY = 0o600
OTHERS = 0o077
PUBLIC_SUFFIX = ".pub"
KEY_BYTES = 32


class KeyRefused(ValueError):
    """A key file that cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True, repr=False)
class SigningKey:
    """A private key; its `key_id` is the public one in hex."""

    private: Ed25519PrivateKey
    key_id: str

    @classmethod
    def make(cls) -> SigningKey:
        """Make a new key."""
        return cls._of(Ed25519PrivateKey.generate())

    @classmethod
    def read(cls, path: Path) -> SigningKey:
        """Read a private key.

        Raises
        ------
        KeyRefused
            It is no private Ed25519 key in PEM, or others may read it.
        """
        mode = path.stat().st_mode
        if os.name == "posix" and mode & OTHERS:
            msg = f"the signing key {path} can be read by others (mode {mode & 0o777:o}); run `chmod 600 {path}`"
            raise KeyRefused(msg)
        try:
            found = serialization.load_pem_private_key(path.read_bytes(), None)
        except (ValueError, TypeError) as error:
            msg = f"{path} is no private key in PEM without a password: {error}"
            raise KeyRefused(msg) from error
        if not isinstance(found, Ed25519PrivateKey):
            msg = f"{path} is no Ed25519 key"
            raise KeyRefused(msg)
        return cls._of(found)

    @classmethod
    def _of(cls, private: Ed25519PrivateKey) -> SigningKey:
        return cls(private, private.public_key().public_bytes_raw().hex())

    def write(self, path: Path) -> None:
        """Write the key into a new file that nobody else can read, and the public one beside it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        pem = self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        public_path(path).write_bytes(public_pem(self.key_id))

    def sign(self, data: bytes) -> bytes:
        """Return the signature of data, 64 bytes."""
        return self.private.sign(data)


def public_path(path: Path) -> Path:
    """Name the file of the public key beside that of the private one."""
    return path.with_name(path.name + PUBLIC_SUFFIX)


def public_pem(key_id: str) -> bytes:
    """Return a public key in PEM."""
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(key_id)).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def read_public_key(path: Path) -> str:
    """Return the public key of a file, in hex: a public or a private key in PEM, or the hex itself.

    Raises
    ------
    KeyRefused
    """
    text = path.read_bytes()
    try:
        if b"PRIVATE KEY" in text:
            return SigningKey.read(path).key_id
        if b"-----BEGIN" in text:
            found = serialization.load_pem_public_key(text)
            if isinstance(found, Ed25519PublicKey):
                return found.public_bytes_raw().hex()
        else:
            raw = bytes.fromhex(text.decode().strip())
            if len(raw) == KEY_BYTES:
                return raw.hex()
    except (ValueError, TypeError) as error:
        msg = f"{path} holds no public key: {error}"
        raise KeyRefused(msg) from error
    msg = f"{path} holds no public Ed25519 key (PEM, or 64 hexadecimal digits)"
    raise KeyRefused(msg)


def is_signature(key_id: str, signature: bytes, data: bytes) -> bool:
    """Say whether a signature is that of a key, given as its public half in hex."""
    try:
        key = bytes.fromhex(key_id)
        if key.hex() != key_id:
            return False
        Ed25519PublicKey.from_public_bytes(key).verify(signature, data)
    except (ValueError, InvalidSignature):
        return False
    return True
