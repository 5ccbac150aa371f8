"""The codec between stored events and the domain's: validated by pydantic when written, decoded by msgspec in replay.

A sample of what replay decodes is validated by pydantic too, so that a stored event which the models would refuse is
noticed and not folded silently.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from domain.events import EVENT_TYPES, Event, replay_types
from domain.records import EncodedBatch
from eventstore import Codec, NewEvent, Payload, StoredEvent

SAMPLE_EVERY = 1000
"""One in so many decoded events is validated by pydantic; chosen: finds a bad stream early, costs under 1 %."""

JOB_PREFIX = "job-"
DATAFEED_PREFIX = "datafeed-"


class Recorded(NamedTuple):
    """An event as replay sees it."""

    event: Any
    version: int
    recorded_ms: int
    payload_digest: bytes | None
    recorded_at: int = 0
    """Microseconds since 1970; ``recorded_ms`` is what the fold sees of it."""


def stream_of(job_id: str) -> str:
    """Name the stream of a job."""
    return JOB_PREFIX + job_id


def datafeed_stream(datafeed_id: str) -> str:
    """Name the stream of a datafeed."""
    return DATAFEED_PREFIX + datafeed_id


def build_codec(models: Mapping[str, type[Event]] = EVENT_TYPES) -> Codec:
    """Make the registry of the event types of a kind of stream, of jobs unless others are given.

    There are no upcasters while every type is at version 1.
    """
    structs = replay_types(models)
    codec = Codec()
    for name, model in models.items():
        codec.register(
            name,
            version=model.schema_version,
            decode=msgspec.json.Decoder(structs[name]).decode,
            validate=model.model_validate,
        )
    codec.check_complete()
    return codec


def new_event(event: Event, batch: EncodedBatch | None = None) -> NewEvent:
    """Encode a decided event, with the batch of records it brings."""
    payload = Payload(batch.body, batch.codec, batch.content_digest) if batch else None
    data = event.model_dump_json(exclude_defaults=True).encode()
    return NewEvent(event.type, data, event.schema_version, payload)


def recorded(codec: Codec, stored: StoredEvent) -> Recorded:
    """Decode a stored event."""
    is_sample = stored.version % SAMPLE_EVERY == 0
    event = codec.decode(stored.type, stored.schema_version, stored.data, is_checked=is_sample)
    return Recorded(event, stored.version, stored.recorded_at // 1000, stored.payload_digest, stored.recorded_at)
