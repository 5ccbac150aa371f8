from __future__ import annotations

import hashlib
import struct

import pytest

from eventstore import chain
from eventstore.events import StoredEvent

STORED = StoredEvent(
    7, "job-\u00e4", 3, "created", 2, 1_700_000_000_000_001, "me", None, "", "c-1", 0, '{"a":1}', b"d" * 32, b""
)


def written_out(previous: bytes, event: StoredEvent) -> bytes:
    """The encoding as the module's docstring has it, step by step."""

    def text(value: str | bytes | None) -> bytes:
        if value is None:
            return b"\xff\xff\xff\xff"
        encoded = value.encode() if isinstance(value, str) else value
        return len(encoded).to_bytes(4, "big") + encoded

    index = -1 if event.command_index is None else event.command_index
    parts = [b"eventstore/1", previous]
    parts += [text(one) for one in (event.stream, event.actor, event.request_id, event.cause, event.command_id)]
    parts += [
        one.to_bytes(8, "big", signed=True) for one in (event.version, event.schema_version, event.recorded_at, index)
    ]
    parts += [text(one) for one in (event.type, event.data, event.payload_digest)]
    return hashlib.sha256(b"".join(parts)).digest()


def test_hash_is_what_the_documentation_says() -> None:
    assert chain.hash_stored(chain.GENESIS, STORED) == written_out(chain.GENESIS, STORED)


def test_hash_never_changes_between_releases() -> None:
    expected = "f1c415eeef46f1ebcb610d298e0844dc1e1fa3ca3f45d0d4748af7710bb47abe"
    assert chain.hash_stored(chain.GENESIS, STORED).hex() == expected


@pytest.mark.parametrize("field", [name for name in StoredEvent._fields if name not in ("position", "hash")])
def test_hash_covers_every_column(field: str) -> None:
    value = getattr(STORED, field)
    other = value + 1 if isinstance(value, int) else b"e" * 32 if isinstance(value, bytes) else "other"
    changed = STORED._replace(**{field: other})
    assert chain.hash_stored(chain.GENESIS, changed) != chain.hash_stored(chain.GENESIS, STORED)


def test_hash_does_not_cover_the_position() -> None:
    moved = STORED._replace(position=99)
    assert chain.hash_stored(chain.GENESIS, moved) == chain.hash_stored(chain.GENESIS, STORED)


def test_missing_and_empty_texts_differ() -> None:
    assert chain.encode_text(None) != chain.encode_text(b"")


def test_texts_cannot_flow_into_each_other() -> None:
    one = STORED._replace(actor="ab", request_id="c")
    two = STORED._replace(actor="a", request_id="bc")
    assert chain.hash_stored(chain.GENESIS, one) != chain.hash_stored(chain.GENESIS, two)


def test_lengths_are_big_endian() -> None:
    assert chain.encode_text(b"abc") == struct.pack(">I", 3) + b"abc"
