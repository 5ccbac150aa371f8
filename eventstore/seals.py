"""Seals: signed statements of what lies in the log from one position to another.

A seal holds the Merkle root over the events of its range, the hash of the seal before it, and a signature (Ed25519)
by a key that is not in the database; its `key_id` is the public key in hex. So a copy of the seals that is kept
elsewhere shows every later change of what they cover, even one that made all hashes and heads fit again.

* leaf of an event: ``SHA-256(00, position, version, hash, codec, stream)``; numbers are 8 bytes, big-endian; codec is
  that of the event's payload, with its length before it in 4 bytes, empty where there is no payload
* signed: ``TAG, id, first_position, last_position, created_at, merkle_root, previous_hash, key_id``
* hash of a seal: SHA-256 of what is signed and of the signature; before the first one 32 zero bytes

Ranges follow each other without gap, the first begins at position 1. `Contents` lists the events of a seal, so that
it can be said which one was changed; the root binds it.
"""

from __future__ import annotations

import struct
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from eventstore.chain import GENESIS, encode_text
from eventstore.errors import CorruptSeal
from eventstore.links import BadLink
from eventstore.log_reading import LogReader
from eventstore.merkle import LEAF, root_of

TAG = b"eventstore seal/1"
STREAM = "seal"  # where a bad seal is said to lie; no events are appended there
HASH_BYTES = 32

_pack_leaf = struct.Struct(">qq").pack
_pack_seal = struct.Struct(">qqqq").pack


class Sealed(NamedTuple):
    """An event as a seal covers it."""

    position: int
    stream: bytes
    version: int
    hash: bytes
    codec: bytes  # of its payload, which the event's own hash does not hold; empty where there is none


class Signer(Protocol):
    """Who signs seals."""

    @property
    def key_id(self) -> str:
        """The public key, in hex."""

    def sign(self, data: bytes) -> bytes:
        """Return the signature of data."""


@dataclass(frozen=True)
class Contents:
    """The events of a seal, in the order of their positions."""

    events: tuple[Sealed, ...]

    @cached_property
    def leaves(self) -> list[bytes]:
        """The leaves of the tree."""
        return [
            sha256(b"".join((LEAF, _pack_leaf(position, version), hash_, encode_text(codec), stream))).digest()
            for position, stream, version, hash_, codec in self.events
        ]

    def encode(self) -> tuple[bytes, bytes]:
        """Return places and hashes as they are stored; the versions of a stream rise by one, so one is enough."""
        first: dict[bytes, int] = {}
        for event in self.events:
            first.setdefault(event.stream, event.version)
        index = {stream: place for place, stream in enumerate(first)}
        codecs = {codec: place for place, codec in enumerate(dict.fromkeys(event.codec for event in self.events))}
        positions = [event.position for event in self.events]
        places = _Places(
            [(stream.decode(), version) for stream, version in first.items()],
            [index[event.stream] for event in self.events],
            [after - before for before, after in zip([0, *positions], positions, strict=False)],
            [codec.decode() for codec in codecs],
            [codecs[event.codec] for event in self.events],
        )
        return msgspec.json.encode(places), b"".join(event.hash for event in self.events)

    @classmethod
    def decode(cls, places: bytes, hashes: bytes) -> Contents:
        """Read what `encode` wrote; CorruptSeal if it is damaged."""
        try:
            found = _PLACES.decode(places)
            n_events = len(found.stream)
            if not n_events or {len(found.position), len(found.codec), len(hashes) / HASH_BYTES} != {n_events}:
                msg = f"a seal's list of {n_events} events has other numbers of positions, codecs or hashes"
                raise CorruptSeal(msg)
            names = [name.encode() for name, _ in found.streams]
            versions = [version for _, version in found.streams]
            codecs = [codec.encode() for codec in found.codecs]
            starts = range(0, len(hashes), HASH_BYTES)
            events = []
            steps = zip(found.stream, accumulate(found.position), found.codec, starts, strict=True)
            for stream, position, codec, start in steps:
                hash_ = hashes[start : start + HASH_BYTES]
                events.append(Sealed(position, names[stream], versions[stream], hash_, codecs[codec]))
                versions[stream] += 1
        except (ValueError, IndexError) as error:  # msgspec's are of the first family
            msg = f"the list of a seal's events is damaged: {error}"
            raise CorruptSeal(msg) from error
        return cls(tuple(events))


class _Places(msgspec.Struct, frozen=True):
    streams: list[tuple[str, int]]  # name, version of the first event in the range
    stream: list[int]  # of each event: place in `streams`
    position: list[int]  # of each event: distance to the one before
    codecs: list[str]
    codec: list[int]  # of each event: place in `codecs`


_PLACES = msgspec.json.Decoder(_Places)


class Seal(msgspec.Struct, frozen=True):
    """A row of `seals`. In JSON, bytes are in hex."""

    id: int
    first_position: int
    last_position: int
    merkle_root: bytes
    previous_hash: bytes
    signature: bytes
    key_id: str
    created_at: int  # microseconds since 1970, UTC

    @property
    def signed(self) -> bytes:
        """What the signature is over."""
        numbers = _pack_seal(self.id, self.first_position, self.last_position, self.created_at)
        return b"".join((TAG, numbers, self.merkle_root, self.previous_hash, encode_text(self.key_id.encode())))

    @property
    def hash(self) -> bytes:
        """What the next seal holds of this one."""
        return sha256(self.signed + self.signature).digest()

    def to_json(self) -> dict[str, Any]:
        """Return the seal as a JSON object."""
        return {
            name: value.hex() if isinstance(value := getattr(self, name), bytes) else value
            for name in self.__struct_fields__
        }

    @classmethod
    def from_json(cls, found: Any) -> Seal:
        """Read a JSON object; CorruptSeal if it is no seal."""
        try:
            kinds = {field.name: field.type for field in msgspec.structs.fields(cls)}
            values = {name: bytes.fromhex(found[name]) if kinds[name] is bytes else found[name] for name in kinds}
            return msgspec.convert(values, cls)
        except (KeyError, TypeError, ValueError) as error:
            msg = f"this is no seal: {error}"
            raise CorruptSeal(msg) from error


def make_seal(contents: Contents, previous: Seal | None, last_position: int, created_at: int, signer: Signer) -> Seal:
    """Sign a seal over events that follow those of the seal before."""
    seal = Seal(
        id=previous.id + 1 if previous is not None else 1,
        first_position=previous.last_position + 1 if previous is not None else 1,
        last_position=last_position,
        merkle_root=root_of(contents.leaves),
        previous_hash=previous.hash if previous is not None else GENESIS,
        signature=b"",
        key_id=signer.key_id,
        created_at=created_at,
    )
    return msgspec.structs.replace(seal, signature=signer.sign(seal.signed))


def is_signed(seal: Seal) -> bool:
    """Say whether the signature is that of the seal's key; whose key it is, is another question."""
    from eventstore.signing import is_signature  # no command but those about seals needs the library

    return is_signature(seal.key_id, seal.signature, seal.signed)


def why_not_believed(seal: Seal, keys: frozenset[str] | None) -> str | None:
    """Say why a seal proves nothing; None if it was signed, by one of the trusted keys where they are known."""
    if not is_signed(seal):
        return "the signature does not fit the seal"
    if keys is not None and seal.key_id not in keys:
        return f"the seal is signed by a key that is not trusted here: {seal.key_id}"
    return None


def check_seals(found: Sequence[Seal], keys: frozenset[str] | None) -> Iterator[BadLink]:
    """Yield what is wrong with the signatures and the chain of seals, in their order.

    Parameters
    ----------
    keys : frozenset of str, optional
        Public keys whose seals are believed; None: any.
    """
    previous: Seal | None = None
    for place, seal in enumerate(found, start=1):
        if seal.id != place:
            yield BadLink(STREAM, place, None, f"the seal is missing; {seal.id} follows")
            return
        what = why_not_believed(seal, keys)
        if what is None and seal.previous_hash != (previous.hash if previous is not None else GENESIS):
            what = "the seal does not follow the seal before it"
        if what is None and seal.first_position != (previous.last_position + 1 if previous is not None else 1):
            what = "the seal's range does not follow that of the seal before it"
        if what is not None:
            yield BadLink(STREAM, place, None, what)
        previous = seal


def check_contents(seal: Seal, contents: Contents) -> str | None:
    """Say what is wrong with the list of a seal's events; None if it is the one that was signed."""
    if root_of(contents.leaves) != seal.merkle_root:
        return "the list of the seal's events does not fit its root"
    events = contents.events
    if events[0].position < seal.first_position or events[-1].position > seal.last_position:
        return "the list of the seal's events leaves its range"
    return None


# ------------------------------------------------------------------------------------------------------ where they lie


class StoredSeals:
    """The seals of a database."""

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader
        self.headers = read_seals(reader)

    def contents(self, place: int) -> Contents:
        """Return what a seal covers; see `SealSource`."""
        row = self._reader.seal_contents(self.headers[place].id)
        if row is None:
            msg = "the list of the seal's events is missing"
            raise CorruptSeal(msg)
        return Contents.decode(*row)

    def mentions(self, place: int, stream: bytes) -> bool:
        """Say whether the list of a seal names a stream."""
        return _quoted(stream) in self._reader.names_in_seal(self.headers[place].id)


def read_seals(reader: LogReader) -> list[Seal]:
    """Return the seals of a database, oldest first; CorruptSeal for a row that holds no seal."""
    found = []
    for row in reader.seals():
        try:
            values = dict(zip(Seal.__struct_fields__, row, strict=True))
            values["key_id"] = values["key_id"].decode(errors="backslashreplace")
            found.append(msgspec.convert(values, Seal))
        except (ValueError, AttributeError) as error:
            msg = f"the seal's row is damaged: {error}"
            raise CorruptSeal(msg, row[0]) from error
    return found


class ExportedSeals:
    """A file of seals as JSON lines, each with the list of its events; lines are read again when they are needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.headers: list[Seal] = []
        self._starts: list[int] = []
        start = 0
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    self.headers.append(Seal.from_json(self._parse(line, number)))
                    self._starts.append(start)
                start += len(line)

    def contents(self, place: int) -> Contents:
        """Return what a seal covers; see `SealSource`."""
        with self._path.open("rb") as lines:
            lines.seek(self._starts[place])
            found = self._parse(lines.readline(), place + 1)
        try:
            parts = found["events"]
            hashes = b64decode(parts.pop("hashes"), validate=True)
            return Contents.decode(msgspec.json.encode(parts), hashes)
        except (KeyError, TypeError, ValueError) as error:
            msg = f"seal {self.headers[place].id} in {self._path} has no list of its events"
            raise CorruptSeal(msg) from error

    def mentions(self, place: int, stream: bytes) -> bool:
        """Say whether the list of a seal names a stream."""
        with self._path.open("rb") as lines:
            lines.seek(self._starts[place])
            return _quoted(stream) in lines.readline()

    def _parse(self, line: bytes, number: int) -> Any:
        try:
            return msgspec.json.decode(line)
        except ValueError as error:
            msg = f"line {number} of {self._path} is no JSON: {error}"
            raise CorruptSeal(msg) from error


class KnownSeals:
    """The seals of a database and those that were kept elsewhere; of two with one id the kept one counts."""

    def __init__(
        self,
        stored: StoredSeals | None = None,
        kept: ExportedSeals | None = None,
        keys: frozenset[str] | None = None,
    ) -> None:
        self._stored_source, self._kept_source = stored, kept
        self._stored = {seal.id: seal for seal in stored.headers} if stored is not None else {}
        self._kept = {seal.id: seal for seal in kept.headers} if kept is not None else {}
        places: dict[int, tuple[StoredSeals | ExportedSeals, int]] = {}
        sources: tuple[StoredSeals | ExportedSeals | None, ...] = (stored, kept)
        for source in sources:
            if source is not None:
                places |= {seal.id: (source, place) for place, seal in enumerate(source.headers)}
        self._places = [places[seal_id] for seal_id in sorted(places)]
        self.headers: Sequence[Seal] = [source.headers[place] for source, place in self._places]
        self.keys = keys

    @cached_property
    def believed(self) -> list[int]:
        """Places of the seals that prove something."""
        return [place for place, seal in enumerate(self.headers) if why_not_believed(seal, self.keys) is None]

    def problems(self) -> Iterator[BadLink]:
        """Yield what is wrong with the seals themselves, the kept ones first."""
        for seal in self._kept.values():
            what = why_not_believed(seal, self.keys)
            if what is not None:
                yield BadLink(STREAM, seal.id, None, f"in the kept copy, {what}")
        yield from self._differences()
        yield from check_seals(self.headers, self.keys)

    def contents(self, place: int) -> Contents:
        """Return what the seal at a place in `headers` covers; CorruptSeal if that is missing or damaged."""
        source, inner = self._places[place]
        return source.contents(inner)

    def mentions(self, place: int, stream: bytes) -> bool:
        """Say whether the list of a seal names a stream."""
        source, inner = self._places[place]
        return source.mentions(inner, stream)

    def _differences(self) -> Iterator[BadLink]:
        """Yield the kept seals that the database no longer has as they were, their lists included."""
        for place, (seal_id, kept) in enumerate(sorted(self._kept.items())):
            what = None
            if seal_id not in self._stored:
                what = "is missing, it is in the kept copy"
            elif self._stored[seal_id] != kept:
                what = "differs from the kept copy"
            elif not self._has_same_contents(seal_id, place):
                what = "has another list of events than the kept copy"
            if what is not None:
                yield BadLink(STREAM, seal_id, None, f"the database's seal {what}")

    def _has_same_contents(self, seal_id: int, place: int) -> bool:
        assert self._kept_source is not None and self._stored_source is not None
        try:
            stored = self._stored_source.contents(list(self._stored).index(seal_id))
            return stored == self._kept_source.contents(place)
        except CorruptSeal:
            return False


def known_seals(reader: LogReader, kept: Path | None, keys: frozenset[str] | None) -> tuple[KnownSeals, BadLink | None]:
    """Return the seals of a database and of a file; where the database's cannot be read, what is wrong with them.

    Raises
    ------
    CorruptSeal
        The file cannot be read.
    """
    kept_seals = ExportedSeals(kept) if kept is not None else None
    try:
        return KnownSeals(StoredSeals(reader), kept_seals, keys), None
    except CorruptSeal as error:
        return KnownSeals(None, kept_seals, keys), BadLink(STREAM, error.seal_id or 0, None, str(error))


def _quoted(stream: bytes) -> bytes:
    """Return a name as `Contents.encode` writes it."""
    return msgspec.json.encode(stream.decode(errors="replace"))


def export_line(seal: Seal, contents: Contents) -> bytes:
    """Return a seal with the list of its events as a line of JSON."""
    places, hashes = contents.encode()
    events = {**msgspec.json.decode(places), "hashes": b64encode(hashes).decode()}
    return msgspec.json.encode({**seal.to_json(), "events": events}) + b"\n"
