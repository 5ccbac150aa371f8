"""The nouns of the log: what is handed in to be appended, and what is read back; no SQL here.

A stream is named ``<category>-<id>``; an event's version is its place in its stream (1, 2, ... without
gaps), its position is its place in the whole log. Next: `eventstore.store`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

NO_STREAM = 0  # expected version of a stream that has no event yet
ANY = -1  # expected version of an append that does not care

PAGE = 1_000  # events per page when the caller names no limit
PAYLOADS_MAX = 256  # payloads read at once; chosen: beyond it a query of its own for each no longer shows
PAGE_MAX = 10_000  # chosen: about 5 MB of small events, and a read transaction of a few ms
EVENTS_PER_APPEND_MAX = 10_000
DATA_BYTES_MAX = 16 * 1024 * 1024  # of one event's JSON text; bulk belongs into a payload
PAYLOAD_BYTES_MAX = 512 * 1024 * 1024  # PostgreSQL ends at 1 GB for one value, in text form at half of that
NAME_BYTES_MAX = 1_024  # of stream names, command ids, actors, ...: index rows of PostgreSQL end at 2,704 bytes


@dataclass(frozen=True, slots=True)
class Payload:
    """Bulk that belongs to an event but lies apart from it, so that history can be read without it.

    Attributes
    ----------
    body : bytes
        What is stored, verbatim.
    codec : str
        How the body is to be read, with its version.
    content_digest : bytes
        Digest of what the body means; two payloads of equal content are equal, however they were compressed.
    digest : bytes
        SHA-256 of the stored bytes; this one is in the event and in the hash chain.
    """

    body: bytes
    codec: str
    content_digest: bytes
    digest: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", hashlib.sha256(self.body).digest())


class NewEvent(msgspec.Struct, frozen=True):  # made in a quarter of a dataclass's time
    """An event to be appended; `data` is JSON text as bytes and is stored and hashed verbatim."""

    type: str
    data: bytes
    schema_version: int = 1
    payload: Payload | None = None


class StoredEvent(NamedTuple):
    """An event as it lies in the log: the stored columns, with the stream's name for its id."""

    position: int
    stream: str
    version: int
    type: str
    schema_version: int
    recorded_at: int  # microseconds since 1970, UTC; never falls within a stream
    actor: str | None
    request_id: str | None
    cause: str | None
    command_id: str | None
    command_index: int | None  # place among the events of its command
    data: str  # JSON text, verbatim
    payload_digest: bytes | None
    hash: bytes


@dataclass(frozen=True, slots=True)
class AppendResult:
    """Where the events of one append lie.

    `is_repeated` says that the command id was stored before and nothing was written now.
    """

    stream: str
    first_version: int
    last_version: int
    last_position: int
    is_repeated: bool = False


class Head(NamedTuple):
    """The end of a stream: its version (0 = no event yet), the last event's hash, and the fence."""

    version: int
    hash: bytes
    fence: int
