"""An append-only event log in SQL (SQLite, PostgreSQL) that knows nothing of jobs.

Begin with `eventstore.store`. The names below are all that the application needs.
"""

from eventstore.codec import Codec
from eventstore.errors import (
    CheckpointMoved,
    CodecError,
    CommandIdReused,
    ConnectionLost,
    CopyRefused,
    CorruptSeal,
    EventStoreError,
    FencedOut,
    InvalidEvent,
    KeyDestroyed,
    KeyLocked,
    NestedTransaction,
    OutcomeUnknown,
    PayloadCorrupt,
    PayloadMissing,
    SealRefused,
    StorageError,
    StoreBusy,
    StoreFull,
    UnknownStream,
    WrongExpectedVersion,
)
from eventstore.events import ANY, NO_STREAM, PAYLOADS_MAX, AppendResult, Head, NewEvent, Payload, StoredEvent
from eventstore.keys import StreamKey
from eventstore.leases import Lease
from eventstore.projections import Projection
from eventstore.snapshots import Snapshot, SnapshotInfo
from eventstore.store import EventStore
from eventstore.verify import ChainReport

OWNER = "marigraph"  # lets start-up notice that another distribution's ``eventstore`` was imported instead

__all__ = [
    "ANY",
    "NO_STREAM",
    "PAYLOADS_MAX",
    "AppendResult",
    "ChainReport",
    "CheckpointMoved",
    "Codec",
    "CodecError",
    "CommandIdReused",
    "ConnectionLost",
    "CopyRefused",
    "CorruptSeal",
    "EventStore",
    "EventStoreError",
    "FencedOut",
    "Head",
    "InvalidEvent",
    "KeyDestroyed",
    "KeyLocked",
    "Lease",
    "NestedTransaction",
    "NewEvent",
    "OutcomeUnknown",
    "Payload",
    "PayloadCorrupt",
    "PayloadMissing",
    "Projection",
    "SealRefused",
    "Snapshot",
    "SnapshotInfo",
    "StorageError",
    "StoreBusy",
    "StoreFull",
    "StoredEvent",
    "StreamKey",
    "UnknownStream",
    "WrongExpectedVersion",
]
