"""What the event store refuses and how storage fails; driver errors are always wrapped, never let through.

The tree::

    EventStoreError
    ├── AppendRefused               the log is whole, this append is not for it
    │   ├── WrongExpectedVersion    somebody else appended first
    │   ├── FencedOut               a newer owner took the stream over
    │   └── CommandIdReused         the command id is stored with other events
    ├── InvalidEvent                what was handed in can never be stored (also a ValueError)
    ├── NestedTransaction           an append or transaction inside this thread's own transaction
    ├── CheckpointMoved             another projector of the same subscriber was faster
    ├── UnknownStream               the stream has no row
    ├── PayloadMissing              the payload was never stored, or retention dropped it
    ├── PayloadCorrupt              stored bytes that no longer fit their digest
    ├── KeyDestroyed                what was encrypted under a key that is gone
    ├── KeyLocked                   a key that is wrapped by a master key which was not given
    ├── CorruptSeal                 a seal, or the list of its events, that cannot be read
    ├── SealRefused                 events that do not verify, or a seal that another process made meanwhile
    ├── CopyRefused                 a copy whose target is not empty, or that did not verify
    ├── CodecError                  an event that this program cannot read
    │   ├── UnknownEventType
    │   ├── NewerSchemaVersion      written by a newer program
    │   └── MissingUpcaster         the registry has a gap (found at start-up)
    └── StorageError                the database or the way to it failed
        ├── StoreBusy               a lock was not had within its named time
        ├── StoreFull               no room; nothing of the append was written
        ├── ConnectionLost          nothing of the append was written
        └── OutcomeUnknown          the connection broke around COMMIT, the append may be stored or not
"""


class EventStoreError(Exception):
    """Root of everything the event store raises."""


class AppendRefused(EventStoreError):
    """An append that the state of the log does not allow; nothing was written."""


class WrongExpectedVersion(AppendRefused):
    """The stream is not at the version that the append expected.

    Attributes
    ----------
    stream : str
    expected, actual : int
        Versions; 0 is a stream without events.
    """

    def __init__(self, stream: str, expected: int, actual: int) -> None:
        super().__init__(f"stream {stream!r} was expected at version {expected}, it is at version {actual}")
        self.stream = stream
        self.expected = expected
        self.actual = actual


class FencedOut(AppendRefused):
    """A newer owner holds the stream, so an append of an older epoch is refused even at the right version."""

    def __init__(self, stream: str, epoch: int, fence: int) -> None:
        super().__init__(f"stream {stream!r} was taken over: this owner's epoch is {epoch}, the fence is {fence}")
        self.stream = stream
        self.epoch = epoch
        self.fence = fence


class CommandIdReused(AppendRefused):
    """The command id is already stored in this stream, with other events than these."""

    def __init__(self, stream: str, command_id: str) -> None:
        super().__init__(f"command id {command_id!r} is already stored in stream {stream!r} with other events")
        self.stream = stream
        self.command_id = command_id


class InvalidEvent(EventStoreError, ValueError):
    """An event, name or id that can never be stored."""


class NestedTransaction(EventStoreError):
    """A write that would wait for the transaction of its own thread."""


class CheckpointMoved(EventStoreError):
    """The checkpoint does not stand where its writer left it.

    Attributes
    ----------
    subscriber : str
    expected, actual : int
        Positions; actual is that of the database at the time of the refusal.
    """

    def __init__(self, subscriber: str, expected: int, actual: int) -> None:
        super().__init__(f"checkpoint of {subscriber!r} was expected at {expected}, it stands at {actual}")
        self.subscriber = subscriber
        self.expected = expected
        self.actual = actual


class UnknownStream(EventStoreError):
    """The stream has no row."""

    def __init__(self, stream: str) -> None:
        super().__init__(f"there is no stream {stream!r}")
        self.stream = stream


class PayloadMissing(EventStoreError):
    """No payload of this digest lies in the stream."""

    def __init__(self, stream: str, digest: bytes) -> None:
        super().__init__(f"stream {stream!r} has no payload {digest.hex()}; it was dropped or never stored")
        self.stream = stream
        self.digest = digest


class PayloadCorrupt(EventStoreError):
    """The stored bytes of a payload do not fit the digest they are stored under."""

    def __init__(self, stream: str, digest: bytes, actual: bytes) -> None:
        super().__init__(f"payload {digest.hex()} of stream {stream!r} is corrupt: its bytes have {actual.hex()}")
        self.stream = stream
        self.digest = digest
        self.actual = actual


class KeyDestroyed(EventStoreError):
    """Nobody can read what was encrypted: its key is gone, or the bytes are not those that it made."""

    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"what was encrypted under key {key_id} cannot be read: the key was destroyed or is another one"
        )
        self.key_id = key_id


class KeyLocked(EventStoreError):
    """The key of a stream is there, but this process has not the master key that wraps it."""

    def __init__(self, stream: str, wrapped_by: str) -> None:
        super().__init__(
            f"the records of {stream!r} are encrypted under a key that master key {wrapped_by} wraps; "
            "give it in MARIGRAPH_MASTER_KEY"
        )
        self.stream = stream
        self.wrapped_by = wrapped_by


class CorruptSeal(EventStoreError):
    """A seal, or the list of its events, that cannot be read.

    Attributes
    ----------
    seal_id : int or None
        Where it is known.
    """

    def __init__(self, message: str, seal_id: int | None = None) -> None:
        super().__init__(message)
        self.seal_id = seal_id


class SealRefused(EventStoreError):
    """Nothing was sealed; the message says why."""


class CopyRefused(EventStoreError):
    """A copy of a log that cannot begin, or whose result does not equal its source."""


class CodecError(EventStoreError):
    """An event that this program cannot read or write."""


class UnknownEventType(CodecError):
    """The type string is not in the codec's registry."""


class NewerSchemaVersion(CodecError):
    """The event was written by a newer program; skipping it would make a wrong state, so reading stops."""


class MissingUpcaster(CodecError):
    """The codec has a type whose old versions cannot all be lifted to the current one."""


class StorageError(EventStoreError):
    """The database, or the way to it, failed."""


class StoreBusy(StorageError):
    """A lock was not had in time; the same call may succeed later."""


class StoreFull(StorageError):
    """The disk or the database is full; nothing of the append was written."""


class ConnectionLost(StorageError):
    """The connection broke before anything was committed."""


class OutcomeUnknown(StorageError):
    """The connection broke around COMMIT: the append may be stored or not.

    An append with a command id never raises this when the database can be reached again: the id is looked up.
    """
