"""Keys of streams: a stream may keep payloads and snapshots encrypted, and destroying its key erases what they said.

What is stored, hashed and sealed are the encrypted bytes, so a chain verifies as well without the key. AES-256-GCM
(NIST SP 800-38D) with a random nonce of 96 bits before the ciphertext; name of the stream and codec are authenticated
with it. Key rows lie in a table of their own, not on the log, and are not cached: after the row is gone, this process
cannot read either. A master key, which the database does not hold, may wrap them.

Destroying a key leaves copies that were made before: backups of the database, replicas, archived write-ahead logs.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, select

from eventstore.backend import Backend
from eventstore.dialects import insert
from eventstore.errors import KeyDestroyed, KeyLocked
from eventstore.tables import stream_keys

KEY_BYTES = 32
NONCE_BYTES = 12
PREFIX = "aes-256-gcm/"  # of a codec: then the id of the key, a plus, and the codec of what was encrypted


@dataclass(frozen=True, slots=True)
class StreamKey:
    """The key of one life of a stream; what it encrypts nobody reads without it."""

    key_id: str
    stream: str
    material: bytes = field(repr=False)

    def encrypt(self, body: bytes, codec: str) -> tuple[bytes, str]:
        """Return a body encrypted, and the codec that says so."""
        named = f"{PREFIX}{self.key_id}+{codec}"
        return _encrypt(self._part("encrypt"), body, f"{self.stream}\0{named}"), named

    def decrypt(self, body: bytes, codec: str) -> tuple[bytes, str]:
        """Undo `encrypt`; KeyDestroyed if the key is another one or the bytes were changed."""
        _, _, inner = codec.removeprefix(PREFIX).partition("+")
        return _decrypt(self._part("encrypt"), body, f"{self.stream}\0{codec}", self.key_id), inner

    def digest(self, digest: bytes) -> bytes:
        """Return a digest that only the holder of the key can make: nobody can try out what its content was."""
        return hmac.digest(self._part("digest"), digest, "sha256")

    def _part(self, purpose: str) -> bytes:
        """Return a key of its own for each purpose."""
        return hmac.digest(self.material, f"eventstore/{purpose}".encode(), "sha256")


class Keys:
    """The keys of a store.

    Parameters
    ----------
    master_key : bytes of length 32, optional
        Wraps the keys that are made, and unwraps those that it wrapped.
    """

    def __init__(self, backend: Backend, clock: Callable[[], int], master_key: bytes | None = None) -> None:
        self._backend = backend
        self._now = clock
        self._master = master_key

    def ensure(self, stream: str, since_version: int) -> StreamKey:
        """Return the key of a stream's life that began at a version, made if there is none."""
        found = self.find(stream, since_version)
        if found is not None:
            return found
        key = StreamKey(os.urandom(16).hex(), stream, os.urandom(KEY_BYTES))
        row = {"key_id": key.key_id, "stream": stream, "since_version": since_version, "created_at": self._now()}
        with self._backend.transaction() as connection:
            statement = insert(connection, stream_keys).values(**row, **self._wrapped(key)).on_conflict_do_nothing()
            connection.execute(statement)
        made = self.find(stream, since_version)  # another process may have been faster
        if made is None:
            raise KeyDestroyed(key.key_id)
        return made

    def find(self, stream: str, since_version: int) -> StreamKey | None:
        """Return the key of a stream's life, None if it has none (any more)."""
        return self._read(and_(stream_keys.c.stream == stream, stream_keys.c.since_version == since_version))

    def open(self, body: bytes, codec: str) -> tuple[bytes, str]:
        """Return what a stored body means and its codec; one that is not encrypted is returned as it is.

        Raises
        ------
        KeyDestroyed
            Nobody can read it any more.
        KeyLocked
            The key is there, but wrapped by a master key that this process was not given.
        """
        if not codec.startswith(PREFIX):
            return body, codec
        key_id = codec.removeprefix(PREFIX).partition("+")[0]
        key = self._read(stream_keys.c.key_id == key_id)
        if key is None:
            raise KeyDestroyed(key_id)
        return key.decrypt(body, codec)

    def lives(self) -> list[tuple[str, int]]:
        """Return stream and first version of every life that has a key."""
        query = select(stream_keys.c.stream, stream_keys.c.since_version).order_by(stream_keys.c.stream)
        with self._backend.reading() as connection:
            return [(stream, version) for stream, version in connection.execute(query)]

    @staticmethod
    def destroy(connection: Connection, stream: str, since_version: int) -> int:
        """Delete a key, in a transaction of `EventStore.erasing`; returns how many there were."""
        columns = stream_keys.c
        statement = delete(stream_keys).where(columns.stream == stream, columns.since_version == since_version)
        return connection.execute(statement).rowcount

    def _read(self, condition: ColumnElement[bool]) -> StreamKey | None:
        with self._backend.reading() as connection:
            row = connection.execute(select(stream_keys).where(condition)).first()
        return None if row is None else StreamKey(row.key_id, row.stream, self._unwrapped(row))

    def _wrapped(self, key: StreamKey) -> dict[str, object]:
        if self._master is None:
            return {"material": key.material, "wrapped_by": None}
        return {"material": _encrypt(self._master, key.material, key.key_id), "wrapped_by": name_of(self._master)}

    def _unwrapped(self, row: Row[tuple[object, ...]]) -> bytes:
        if row.wrapped_by is None:
            return bytes(row.material)
        if self._master is None or name_of(self._master) != row.wrapped_by:
            raise KeyLocked(row.stream, row.wrapped_by)
        return _decrypt(self._master, row.material, row.key_id, row.key_id)


def name_of(master_key: bytes) -> str:
    """Return what tells master keys apart without saying anything else of them."""
    return hashlib.sha256(b"eventstore/master" + master_key).hexdigest()[:16]


def _encrypt(key: bytes, body: bytes, context: str) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # loads only where something is encrypted

    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, body, context.encode())


def _decrypt(key: bytes, body: bytes, context: str, key_id: str) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(key).decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], context.encode())
    except (InvalidTag, ValueError) as error:
        raise KeyDestroyed(key_id) from error
