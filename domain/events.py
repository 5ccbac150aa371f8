"""The facts of a job, as they are stored on its stream ``job-<id>``.

Each event is a frozen pydantic model, so what is written is validated; the stored type is the explicit string in
``type``, never a class path. Replay folds far more events than it writes, so :func:`replay_types` derives from the
same models the plain structs that msgspec fills several times faster. Times are int64 milliseconds since the epoch
(``_ms``). Next stop: ``domain/job.py``, which decides events and folds them into a job.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from domain.config import JobConfig


class Event(BaseModel):
    """Base of all events."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: ClassVar[str]
    schema_version: ClassVar[int] = 1


class Created(Event):
    """The job came into being with this complete configuration."""

    type: ClassVar[str] = "created"
    config: dict[str, Any]
    """The configuration with its defaults filled in (``store_config``)."""


class Updated(Event):
    """The configuration was changed."""

    type: ClassVar[str] = "updated"
    config: dict[str, Any]
    """The complete configuration after the change, so that a replay needs no update rules."""
    changes: dict[str, Any]
    """The body of the request: what was asked for, for the audit."""


class Opened(Event):
    """The job takes data from here on."""

    type: ClassVar[str] = "opened"


class DataPosted(Event):
    """A batch of records was accepted; the records themselves lie in the event's payload."""

    type: ClassVar[str] = "data_posted"
    counts: dict[str, Any]
    """What this upload added to the data counts (``DataCounts.to_dict``), with the diagnosis to go on from."""
    record_count: int = Field(ge=0)
    """Records read, those with an unreadable time included."""
    earliest_record_ms: int | None = None
    latest_record_ms: int | None = None
    digest: str | None = None
    """Hex digest of the batch's content; equal batches have equal digests. None: nothing but counts."""
    reset_start_ms: int | None = None
    """The open buckets in this range were emptied before the records were taken."""
    reset_end_ms: int | None = None


class Flushed(Event):
    """A flush was asked for; what it changes in the model or the results is repeated from these fields."""

    type: ClassVar[str] = "flushed"
    calc_interim: bool = False
    start_ms: int | None = None
    end_ms: int | None = None
    advance_time_ms: int | None = None
    skip_time_ms: int | None = None


class SnapshotPersisted(Event):
    """The model's state as of ``version`` was stored; the event says what it holds, the row itself may be lost."""

    type: ClassVar[str] = "snapshot_persisted"
    snapshot_id: str
    version: int = Field(ge=1)
    """Version of the stream up to which the stored state is folded."""
    state_schema: str
    state_digest: str
    """Hex digest of the state itself, the same for every way that leads to it."""
    timestamp_ms: int
    description: str
    model_size_stats: dict[str, Any]
    latest_record_ms: int | None = None
    latest_result_ms: int | None = None


class Closed(Event):
    """The job takes no more data; its results stay readable."""

    type: ClassVar[str] = "closed"
    is_forced: bool = False


class Failed(Event):
    """The analysis of the job stopped with an error of our own."""

    type: ClassVar[str] = "failed"
    reason: str


class SnapshotReverted(Event):
    """The model went back to a snapshot."""

    type: ClassVar[str] = "snapshot_reverted"
    snapshot_id: str
    version: int = Field(ge=1)
    """The model continues from its state as of this version of the stream."""
    delete_intervening_results: bool = False
    latest_record_ms: int | None = None
    latest_result_ms: int | None = None
    skip_time_ms: int | None = None
    """Results up to here stay: the model jumps over the time they cover."""


class SnapshotUpdated(Event):
    """A snapshot's description or retain flag was changed; None leaves a field as it is."""

    type: ClassVar[str] = "snapshot_updated"
    snapshot_id: str
    description: str | None = None
    retain: bool | None = None


class SnapshotDeleted(Event):
    """A snapshot was removed."""

    type: ClassVar[str] = "snapshot_deleted"
    snapshot_id: str


class PayloadsDropped(Event):
    """The records of a range of the stream are no longer kept; their events, counts and digests are."""

    type: ClassVar[str] = "payloads_dropped"
    from_version: int = Field(ge=1)
    to_version: int = Field(ge=1)
    """Payloads of the events from ``from_version`` to here may be gone. A replay begins behind it."""
    payload_count: int = Field(ge=0)
    record_count: int = Field(ge=0)


class ResultsDropped(Event):
    """Results that were older than the job keeps them are gone, of every kind but categories."""

    type: ClassVar[str] = "results_dropped"
    before_ms: int
    """Results of buckets that start before this time went; what is analysed later stays, however old."""
    retention_days: int = Field(ge=0)


class Erased(Event):
    """The key of the job's records was destroyed: nobody can read them, nor the model states, any more.

    The payloads lie where they lay and fit their digests; what nobody can read is every payload of this job, from its
    ``created`` to here.
    """

    type: ClassVar[str] = "erased"
    keeps_results: bool = False
    """Whether buckets, records and influencers stayed; categories, which quote messages, never do."""


class Reassigned(Event):
    """Another owner took the job over from one that never let go of it."""

    type: ClassVar[str] = "reassigned"
    owner: str
    previous_owner: str
    epoch: int = Field(ge=1)


class Deleted(Event):
    """The job, its results and its snapshots are gone; the id may be used again, the history stays."""

    type: ClassVar[str] = "deleted"
    is_forced: bool = False


def store_config(config: JobConfig) -> dict[str, Any]:
    """Turn a configuration into the object that events and stored states hold."""
    stored: dict[str, Any] = msgspec.json.decode(config.to_json())
    return stored


def read_config(stored: dict[str, Any]) -> JobConfig:
    """Turn such an object back into the configuration; ValueError if it is none."""
    return JobConfig.from_json(msgspec.json.encode(stored))


EVENT_TYPES: dict[str, type[Event]] = {
    model.type: model
    for model in (
        Created,
        Updated,
        Opened,
        DataPosted,
        Flushed,
        SnapshotPersisted,
        Closed,
        Failed,
        SnapshotReverted,
        SnapshotUpdated,
        SnapshotDeleted,
        PayloadsDropped,
        ResultsDropped,
        Erased,
        Reassigned,
        Deleted,
    )
}


def replay_types(models: Mapping[str, type[Event]] = EVENT_TYPES) -> dict[str, type[msgspec.Struct]]:
    """Derive one msgspec struct per event model, with the same fields and defaults, for fast decoding.

    Parameters
    ----------
    models : mapping
        Stored type string to event model; those of a job unless others are given.

    Returns
    -------
    dict
        Stored type string to struct class. Instances read like the models: same attributes, same ``type``.
    """
    return {name: _struct_of(model) for name, model in models.items()}


def _struct_of(model: type[Event]) -> type[msgspec.Struct]:
    fields: list[Any] = []
    for name, info in model.model_fields.items():
        required = info.is_required()
        fields.append((name, info.annotation) if required else (name, info.annotation, info.default))
    return msgspec.defstruct(
        model.__name__,
        fields,
        frozen=True,
        gc=False,
        namespace={"type": model.type, "schema_version": model.schema_version},
    )
