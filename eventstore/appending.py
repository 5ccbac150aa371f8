"""One append on its way: checked when it comes in, decided against the heads, made into rows.

`AppendRequest` is prepared by the thread that appends, before any lock; `AppendPlan` decides the requests
of one commit in the order they came. Both databases use it; the SQL is in `eventstore.sqlite` and
`eventstore.postgres`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeAlias

from eventstore import chain
from eventstore.errors import CommandIdReused, EventStoreError, FencedOut, InvalidEvent, WrongExpectedVersion
from eventstore.events import (
    ANY,
    DATA_BYTES_MAX,
    EVENTS_PER_APPEND_MAX,
    NAME_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
    AppendResult,
    NewEvent,
    Payload,
)

EventRow: TypeAlias = tuple[
    int,  # position
    int,  # stream_id
    int,  # version
    str,  # type
    int,  # schema_version
    int,  # recorded_at
    str | None,  # actor
    str | None,  # request_id
    str | None,  # cause
    str | None,  # command_id
    int | None,  # command_index
    str,  # data
    bytes | None,  # payload_digest
    bytes,  # hash
]
EncodedEvent: TypeAlias = tuple[bytes, str, bytes]  # type, data, and what the hash takes of both
EVENT_COLUMNS = (
    "position, stream_id, version, type, schema_version, recorded_at, actor, request_id, cause, command_id, "
    "command_index, data, payload_digest, hash"
)


HEAD_COLUMNS = "id, name, version, head_hash, recorded_at, fence"


class HeadRow:
    """A row of `streams` (`HEAD_COLUMNS`), as it changes within one commit."""

    __slots__ = ("fence", "hash", "id", "is_changed", "name", "recorded_at", "version")

    def __init__(self, row: tuple[int, str, int, bytes, int, int]) -> None:
        self.id, self.name, self.version, self.hash, self.recorded_at, self.fence = row
        self.is_changed = False


Content: TypeAlias = tuple[str, int, str, bytes | None, bytes | None]  # type, schema_version, data, two digests


class StoredCommand:
    """What the log holds under a command id: where it lies, and what to compare a retry with."""

    __slots__ = ("contents", "first_version", "last_position", "last_version")

    def __init__(self, rows: Sequence[tuple[int, int, str, int, str, bytes | None, bytes | None]]) -> None:
        """Take rows of version, position, type, schema_version, data, payload digest and content digest."""
        self.first_version = rows[0][0]
        self.last_version = rows[-1][0]
        self.last_position = rows[-1][1]
        self.contents: list[Content] = [row[2:] for row in rows]


class AppendRequest:
    """An append with everything prepared that needs no lock, and a place for its outcome."""

    __slots__ = (
        "actor",
        "cause",
        "command_id",
        "context",
        "encoded",
        "epoch",
        "error",
        "events",
        "expected",
        "is_done",
        "is_leader",
        "is_taken",
        "request_id",
        "result",
        "size",
        "stream",
        "wake",
    )

    def __init__(
        self,
        stream: str,
        events: Sequence[NewEvent],
        expected: int,
        *,
        command_id: str | None,
        actor: str | None,
        request_id: str | None,
        cause: str | None,
        epoch: int | None,
    ) -> None:
        for name, text in (
            ("stream", stream),
            ("command id", command_id),
            ("actor", actor),
            ("request id", request_id),
            ("cause", cause),
        ):
            if text is not None:
                check_name(name, text)
        if expected < ANY:
            msg = f"expected version of stream {stream!r} must be ANY (-1), 0 or above, got {expected}"
            raise InvalidEvent(msg)
        if not 0 < len(events) <= EVENTS_PER_APPEND_MAX:
            msg = f"an append to {stream!r} must have 1 to {EVENTS_PER_APPEND_MAX} events, got {len(events)}"
            raise InvalidEvent(msg)
        self.stream = stream
        self.events = events
        self.expected = expected
        self.command_id = command_id
        self.actor = actor
        self.request_id = request_id
        self.cause = cause
        self.epoch = epoch
        self.context = chain.encode_context(stream, actor, request_id, cause, command_id)
        self.encoded = _encode_events(stream, events)
        self.size = sum(len(event.data) + (len(event.payload.body) if event.payload else 0) for event in events)
        self.result: AppendResult | None = None
        self.error: BaseException | None = None
        self.wake = threading.Lock()  # a binary semaphore: the group commit releases it
        self.wake.acquire()
        self.is_taken = False
        self.is_leader = False
        self.is_done = False

    def reset(self) -> None:
        """Forget the outcome, before another try."""
        self.result = None
        self.error = None


@lru_cache(maxsize=4096)
def check_name(what: str, text: str) -> bytes:
    """Return the text in UTF-8, or raise `InvalidEvent` for one that a database would refuse or change."""
    try:
        encoded = text.encode()
    except UnicodeEncodeError as error:
        msg = f"{what} must be valid Unicode, got {text!r}"
        raise InvalidEvent(msg) from error
    if not 0 < len(encoded) <= NAME_BYTES_MAX or b"\0" in encoded:
        msg = f"{what} must have 1 to {NAME_BYTES_MAX} bytes and no NUL, got {text[:80]!r}"
        raise InvalidEvent(msg)
    return encoded


def _encode_events(stream: str, events: Sequence[NewEvent]) -> list[EncodedEvent]:
    """Check the events and encode all that needs no lock, in the thread that appends."""
    encoded = []
    for event in events:
        data, payload = event.data, event.payload
        if len(data) > DATA_BYTES_MAX:
            msg = f"event data for {stream!r} may have {DATA_BYTES_MAX} bytes, got {len(data)}; use a payload"
            raise InvalidEvent(msg)
        if payload is not None and len(payload.body) > PAYLOAD_BYTES_MAX:
            msg = f"a payload for {stream!r} may have {PAYLOAD_BYTES_MAX} bytes, got {len(payload.body)}"
            raise InvalidEvent(msg)
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            msg = f"event data for {stream!r} must be JSON text in UTF-8: {error}"
            raise InvalidEvent(msg) from error
        if "\0" in text:
            msg = f"event data for {stream!r} must be JSON text, which has no NUL"
            raise InvalidEvent(msg)
        type_ = check_name("event type", event.type)
        digest = None if payload is None else payload.digest
        encoded.append((type_, text, chain.encode_texts(type_, data, digest)))
    return encoded


FindCommand: TypeAlias = Callable[[HeadRow, str], StoredCommand | None]


class AppendPlan:
    """Decides the requests of one commit, in order, and collects the rows to be written.

    Parameters
    ----------
    now : int
        The appender's clock, microseconds.
    first_position : int
        Position of the first row; 0 when it will be known later only (see `shift`).
    """

    def __init__(self, now: int, first_position: int) -> None:
        self.now = now
        self.next_position = first_position
        self.rows: list[EventRow] = []
        self.payloads: dict[tuple[int, bytes], Payload] = {}
        self.changed: dict[str, HeadRow] = {}
        self.accepted: list[AppendRequest] = []
        self._commands: dict[tuple[str, str], AppendRequest] = {}
        self._repeats: list[tuple[AppendRequest, AppendRequest]] = []

    def decide(self, request: AppendRequest, head: HeadRow | None, find_command: FindCommand) -> bool:
        """Say whether the request is to be written; else its result or error is set.

        The command id comes first: a retry has a stale expected version, and is none the worse for it.
        """
        try:
            if request.command_id is not None and self._is_repeat(request, head, find_command):
                return False
            check_fence(request, head)
            version = head.version if head is not None else 0
            if request.expected not in (ANY, version):
                raise WrongExpectedVersion(request.stream, request.expected, version)
        except EventStoreError as error:
            request.error = error
            return False
        return True

    def add(self, request: AppendRequest, head: HeadRow) -> None:
        """Make the rows of an accepted request and move the head."""
        first_version = head.version + 1
        recorded_at = max(self.now, head.recorded_at)
        previous, version, position, stream_id = head.hash, head.version, self.next_position, head.id
        command_id, context = request.command_id, request.context
        actor, request_id, cause = request.actor, request.request_id, request.cause
        index: int | None = None
        for place, (event, (_, data, texts)) in enumerate(zip(request.events, request.encoded, strict=True)):
            version += 1
            if command_id is not None:
                index = place
            digest = None
            if event.payload is not None:
                digest = event.payload.digest
                self.payloads[stream_id, digest] = event.payload
            schema_version = event.schema_version
            previous = chain.hash_event(previous, context, (version, schema_version, recorded_at, index), texts)
            self.rows.append(
                (
                    position, stream_id, version, event.type, schema_version, recorded_at, actor, request_id,
                    cause, command_id, index, data, digest, previous,
                )
            )  # fmt: skip
            position += 1
        head.version, head.hash, head.recorded_at, head.is_changed = version, previous, recorded_at, True
        if request.epoch is not None:
            head.fence = max(head.fence, request.epoch)
        self.next_position = position
        self.changed[head.name] = head
        self.accepted.append(request)
        if command_id is not None:
            self._commands[request.stream, command_id] = request
        request.result = AppendResult(request.stream, first_version, version, position - 1)

    def shift(self, base: int) -> None:
        """Add the first position, once it is known, to the results of a plan that was made from 0."""
        for request in self.accepted:
            result = request.result
            assert result is not None
            request.result = AppendResult(
                result.stream, result.first_version, result.last_version, result.last_position + base
            )

    def finish(self) -> None:
        """Give the retries of this very commit the result of their first."""
        for repeat, first in self._repeats:
            assert first.result is not None
            repeat.result = _repeated(first.result)

    def _is_repeat(self, request: AppendRequest, head: HeadRow | None, find_command: FindCommand) -> bool:
        assert request.command_id is not None
        earlier = self._commands.get((request.stream, request.command_id))
        if earlier is not None:
            if not is_same_contents(contents_of(earlier), contents_of(request)):
                raise CommandIdReused(request.stream, request.command_id)
            self._repeats.append((request, earlier))
            return True
        stored = find_command(head, request.command_id) if head is not None and head.version else None
        if stored is None:
            return False
        if not is_same_contents(stored.contents, contents_of(request)):
            raise CommandIdReused(request.stream, request.command_id)
        request.result = AppendResult(
            request.stream, stored.first_version, stored.last_version, stored.last_position, is_repeated=True
        )
        return True


def check_fence(request: AppendRequest, head: HeadRow | None) -> None:
    """Raise `FencedOut` when a newer owner holds the stream; appends without an epoch come from no owner."""
    if request.epoch is not None and head is not None and head.fence > request.epoch:
        raise FencedOut(request.stream, request.epoch, head.fence)


def contents_of(request: AppendRequest) -> list[Content]:
    """Return what makes two appends under one command id the same."""
    return [
        (event.type, event.schema_version, data, payload.digest, payload.content_digest)
        if (payload := event.payload) is not None
        else (event.type, event.schema_version, data, None, None)
        for event, (_, data, _) in zip(request.events, request.encoded, strict=True)
    ]


def is_same_contents(stored: list[Content], given: list[Content]) -> bool:
    """Compare by the payloads' meaning; by their bytes too, for the stored one may have been dropped."""
    return len(stored) == len(given) and all(
        one[:3] == two[:3] and (one[3] == two[3] or (one[4] is not None and one[4] == two[4]))
        for one, two in zip(stored, given, strict=True)
    )


def _repeated(result: AppendResult) -> AppendResult:
    return AppendResult(
        result.stream, result.first_version, result.last_version, result.last_position, is_repeated=True
    )
