"""What the verification of the log must know of payloads: what binds them to their events, and which may be gone."""

import re
from contextlib import suppress
from typing import Final, NamedTuple

import msgspec

from domain.access import ACCESS_EVENTS, Access, evolve
from domain.events import Deleted, PayloadsDropped
from domain.records.codec import CODEC
from eventstore import CodecError, StoredEvent
from eventstore.log_reading import EventRow, LogReader, PayloadRow
from marigraph.access import STREAM as ACCESS_STREAM
from marigraph.access import VERIFIER_CODEC
from marigraph.codec import JOB_PREFIX, build_codec, recorded

KNOWN_CODECS: Final = re.compile(
    rb"(aes-256-gcm/[0-9a-f]{32}\+)?" + re.escape(CODEC.encode()) + b"|" + VERIFIER_CODEC.encode()
)
"""Records, encrypted or not, and what secrets are checked against."""


class _Bound(msgspec.Struct):
    """The field by which an event names the content of its payload."""

    digest: str | None = None


class _Dropped(NamedTuple):
    """Payloads of the events from one version to another may be gone."""

    first: int
    last: int


_BOUND = msgspec.json.Decoder(_Bound)


class LogRules:
    """The rules of this program's streams; what it looked up of a stream, it keeps."""

    def __init__(self) -> None:
        self._dropped: dict[str, list[_Dropped]] = {}
        self._needed: frozenset[bytes] | None = None

    def problem(self, event: EventRow, payload: PayloadRow) -> str | None:
        """Say what is wrong with a payload's content digest or codec; None if nothing is."""
        if not KNOWN_CODECS.fullmatch(payload.codec):
            return f"the payload's codec {payload.codec!r} is none of this program"
        try:
            named = _BOUND.decode(event.data).digest
            expected = bytes.fromhex(named) if named is not None else event.payload_digest
        except ValueError as error:
            return f"the event's data cannot be read: {error}"
        if payload.content_digest != expected:
            return "the payload's content digest is not the one that its event names"
        return None

    def may_be_missing(self, reader: LogReader, stream: str, event: EventRow) -> bool:
        """Say whether an event of the log says that the payload of this one was dropped."""
        if stream == ACCESS_STREAM:
            if self._needed is None or event.payload_digest in self._needed:
                self._needed = _needed_verifiers(reader, event.stream_id)  # a key may have been revoked meanwhile
            return event.payload_digest not in self._needed
        if not stream.startswith(JOB_PREFIX):
            return False
        if not self._is_dropped(stream, event.version):
            self._dropped[stream] = _dropped_ranges(reader, event.stream_id)  # the job may have been deleted meanwhile
        return self._is_dropped(stream, event.version)

    def _is_dropped(self, stream: str, version: int) -> bool:
        return any(dropped.first <= version <= dropped.last for dropped in self._dropped.get(stream, ()))


def _dropped_ranges(reader: LogReader, stream_id: int) -> list[_Dropped]:
    """Return what deletions and retention took from a job's stream."""
    found = [_Dropped(1, row.version) for row in reader.events_of_type(stream_id, Deleted.type)]
    for row in reader.events_of_type(stream_id, PayloadsDropped.type):
        with suppress(ValueError):  # an event that cannot be read allows nothing
            dropped = PayloadsDropped.model_validate_json(row.data)
            found.append(_Dropped(dropped.from_version, dropped.to_version))
    return found


def _needed_verifiers(reader: LogReader, stream_id: int) -> frozenset[bytes]:
    """Return the digests of the verifiers that keys and users still need, as far as their events can be read."""
    codec, access = build_codec(ACCESS_EVENTS), Access()
    version = 0
    with suppress(CodecError, UnicodeDecodeError, KeyError):
        while rows := reader.events_of(stream_id, version):
            for row in rows:
                item = recorded(codec, _stored(row))
                access = evolve(access, item.event, item.version, item.recorded_ms, item.payload_digest)
            version = rows[-1].version
    return access.verifiers


def _stored(row: EventRow) -> StoredEvent:
    """Return what the fold of keys and users looks at."""
    return StoredEvent(
        row.position, ACCESS_STREAM, row.version, row.type.decode(), row.schema_version, row.recorded_at,
        None, None, None, None, None, row.data.decode(), row.payload_digest, row.hash,
    )  # fmt: skip
