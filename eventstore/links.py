"""The links of the hash chain: each event against the event before it in its stream, whichever way they are read.

A link holds when the version is the next one, `recorded_at` does not fall, and the hash is that of the stored bytes
of all columns and of the hash before it. `Links` keeps the last event of each stream; where a pass begins in the
middle of the log, it looks that event up.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from eventstore import chain
from eventstore.chain import GENESIS, TAG, encode_text
from eventstore.log_reading import EventRow, LogReader

_pack_length = struct.Struct(">I").pack
_pack_numbers = struct.Struct(">qqqq").pack
_NULL = encode_text(None)

NEVER_WRITTEN = "the event's row holds what is never written there"
HASH_DIFFERS = "the hash does not fit the event's columns and the hash before it"


@dataclass(frozen=True, slots=True)
class BadLink:
    """A place where the log does not hold.

    Attributes
    ----------
    stream : str
        ``seal`` for a seal, whose version is its id.
    position : int or None
        None for a seal, and where the event itself is missing and no seal says where it was.
    """

    stream: str
    version: int
    position: int | None
    what: str


class Broken(Exception):
    """The first bad link of a pass; `after` is the last position that was good."""

    def __init__(self, bad: BadLink, after: int) -> None:
        super().__init__(bad.what)
        self.bad = bad
        self.after = after


class Last(NamedTuple):
    """The event that the next one of its stream must follow."""

    version: int
    hash: bytes
    recorded_at: int
    position: int


BEFORE_FIRST = Last(0, GENESIS, 0, 0)


def show(name: bytes) -> str:
    """Return a stream's name as messages have it, even one whose bytes are no text."""
    return name.decode(errors="backslashreplace")


class Links:
    """Checks the links of events in the order of their positions, or of their versions in one stream.

    Parameters
    ----------
    reader : LogReader
    names : mapping of int to bytes
        Names of the streams by id.
    from_start : bool
        The pass sees every event of a stream, so that none needs to be looked up.
    """

    def __init__(self, reader: LogReader, names: Mapping[int, bytes], *, from_start: bool) -> None:
        self._reader = reader
        self._names = names
        self._from_start = from_start
        self._last: dict[int, Last] = {}
        self._context_key: tuple[object, ...] = ()
        self._context = b""

    def check(self, rows: Sequence[EventRow]) -> None:
        """Check a page of events.

        Raises
        ------
        Broken
            At the first one that does not fit.
        """
        try:
            self._check(rows)
        except (TypeError, struct.error):
            place = next(place for place, row in enumerate(rows) if not is_well_typed(row))
            self._check(rows[:place])
            row = rows[place]
            last = self._last.get(row.stream_id, BEFORE_FIRST)
            version = row.version if isinstance(row.version, int) else last.version + 1
            raise Broken(self._bad(row, version, row.position, NEVER_WRITTEN), row.position - 1) from None

    def _check(self, rows: Sequence[EventRow]) -> None:
        last_of, key_before, context = self._last, self._context_key, self._context
        good = rows[0].position - 1 if rows else 0
        for row in rows:
            (
                position, stream_id, version, type_, schema_version, recorded_at, actor, request_id, cause,
                command_id, index, data, digest, hash_, is_typed,
            ) = row  # fmt: skip
            last = last_of.get(stream_id)
            if last is None:
                last = self._enter(row, good)
            if version != last.version + 1 or recorded_at < last.recorded_at or position <= last.position:
                raise self._misplaced(row, last, good)
            key = (stream_id, actor, request_id, cause, command_id)
            if key != key_before:
                context = self._encode_context(row)
                key_before = key
            encoded = b"".join(
                (
                    TAG, last.hash, context,
                    _pack_numbers(version, schema_version, recorded_at, -1 if index is None else index),
                    _pack_length(len(type_)), type_, _pack_length(len(data)), data,
                    _NULL if digest is None else _pack_length(len(digest)) + digest,
                )
            )  # fmt: skip
            if not is_typed or sha256(encoded).digest() != hash_ or (index is not None and index < 0):
                raise Broken(self._bad(row, version, position, HASH_DIFFERS), good)
            last_of[stream_id] = Last(version, hash_, recorded_at, position)
            good = position
        self._context_key, self._context = key_before, context

    def _encode_context(self, row: EventRow) -> bytes:
        texts = (self._names[row.stream_id], row.actor, row.request_id, row.cause, row.command_id)
        return b"".join(map(encode_text, texts))

    def _enter(self, row: EventRow, good: int) -> Last:
        """Return the event that the first one seen of a stream must follow."""
        if row.stream_id not in self._names:
            what = "the event's stream has no head row"
            raise Broken(BadLink(f"#{row.stream_id}", row.version, row.position, what), good)
        if self._from_start or row.version == 1:
            return BEFORE_FIRST
        found = self._reader.find_event(row.stream_id, row.version - 1) if row.version > 1 else None
        if found is None or found.position >= row.position:
            found = self._reader.newest_before(row.stream_id, row.position)
        if found is None:
            return BEFORE_FIRST
        return Last(found.version, found.hash, found.recorded_at, found.position)

    def _misplaced(self, row: EventRow, last: Last, good: int) -> Broken:
        expected = last.version + 1
        if row.version == expected:
            if row.position <= last.position:
                what = "the position is not after that of the event before it"
            else:
                what = "recorded_at is before that of the event before it"
            return Broken(self._bad(row, expected, row.position, what), good)
        changed = row._replace(version=expected)
        if hash_row(last.hash, self._encode_context(row), changed) == row.hash:
            what = f"the version was changed to {row.version}"
            return Broken(self._bad(row, expected, row.position, what), good)
        what = f"the event is missing; {row.version} follows"
        return Broken(self._bad(row, expected, None, what), good)

    def _bad(self, row: EventRow, version: int, position: int | None, what: str) -> BadLink:
        name = self._names.get(row.stream_id)
        return BadLink(show(name) if name is not None else f"#{row.stream_id}", version, position, what)


def is_well_typed(row: EventRow) -> bool:
    """Say whether the columns hold numbers and bytes where there should be some; a damaged row may not."""
    numbers = (row.stream_id, row.version, row.schema_version, row.recorded_at, row.command_index or 0)
    texts = (row.type, row.data, row.hash, row.payload_digest or b"", row.actor or b"", row.request_id or b"")
    return all(isinstance(value, int) for value in numbers) and all(
        isinstance(value, bytes) for value in (*texts, row.cause or b"", row.command_id or b"")
    )


def hash_row(previous: bytes, context: bytes, row: EventRow) -> bytes:
    """Return the hash that a row must have."""
    numbers = (row.version, row.schema_version, row.recorded_at, row.command_index)
    return chain.hash_event(previous, context, numbers, chain.encode_texts(row.type, row.data, row.payload_digest))


Progress = Callable[[int], None]
"""Called with the number of events checked since the last call."""
