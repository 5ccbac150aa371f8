"""The hash chain: how an event's hash is made of its stored columns and of the hash before it.

``hash = SHA-256(TAG, previous hash, context, numbers, texts)`` with

* context: stream name, actor, request id, cause, command id
* numbers: version, schema version, recorded_at, command index (-1 for none), each as 8 bytes, big-endian,
signed
* texts: type, data, payload digest

Each text of context and texts is its length in UTF-8 bytes (4 bytes, big-endian; FFFFFFFF for NULL) and the
bytes. So every stored column but the position is covered, no two different events have one encoding, and a
changed, inserted, missing or moved event breaks the chain. The hash before the first event is 32 zero
bytes. The newest hash also lies on the stream's head row, so a cut-off tail is seen too.
"""

from __future__ import annotations

import struct
from hashlib import sha256

from eventstore.events import StoredEvent

TAG = b"eventstore/1"  # another way of hashing gets another tag
GENESIS = bytes(32)

_NULL = b"\xff\xff\xff\xff"
_pack_length = struct.Struct(">I").pack
_pack_numbers = struct.Struct(">qqqq").pack
_NO_INDEX = -1


def encode_text(value: bytes | None) -> bytes:
    """Encode one text or digest with its length before it."""
    if value is None:
        return _NULL
    return _pack_length(len(value)) + value


def encode_context(
    stream: str, actor: str | None, request_id: str | None, cause: str | None, command_id: str | None
) -> bytes:
    """Encode the columns that all events of one append have in common."""
    return b"".join(
        [
            encode_text(None if text is None else text.encode())
            for text in (stream, actor, request_id, cause, command_id)
        ]
    )


def encode_texts(type_: bytes, data: bytes, payload_digest: bytes | None) -> bytes:
    """Encode the columns that are each event's own and known before its place is."""
    return b"".join(
        (
            _pack_length(len(type_)),
            type_,
            _pack_length(len(data)),
            data,
            _NULL if payload_digest is None else _pack_length(len(payload_digest)) + payload_digest,
        )
    )


def hash_event(previous: bytes, context: bytes, numbers: tuple[int, int, int, int | None], texts: bytes) -> bytes:
    """Return the hash of an event.

    Parameters
    ----------
    previous : bytes
        Hash of the event before, `GENESIS` for the first.
    context : bytes
        Of `encode_context`.
    numbers : tuple
        version, schema_version, recorded_at, command_index
    texts : bytes
        Of `encode_texts`.
    """
    version, schema_version, recorded_at, index = numbers
    packed = _pack_numbers(version, schema_version, recorded_at, _NO_INDEX if index is None else index)
    return sha256(b"".join((TAG, previous, context, packed, texts))).digest()


def hash_stored(previous: bytes, event: StoredEvent) -> bytes:
    """Return the hash that a stored event must have."""
    return hash_event(
        previous,
        encode_context(event.stream, event.actor, event.request_id, event.cause, event.command_id),
        (event.version, event.schema_version, event.recorded_at, event.command_index),
        encode_texts(event.type.encode(), event.data.encode(), event.payload_digest),
    )
