"""What of a job's records is still kept: why some are gone, and where a replay without them begins.

Next to ``marigraph/replay.py``, which asks when it meets records that are no longer there.
"""

from datetime import UTC, datetime

from domain.config import JobConfig
from domain.job import Job, evolve
from eventstore import Codec, EventStore, StoredEvent
from marigraph.codec import recorded, stream_of

GONE = ("payloads_dropped", "erased", "deleted")
"""Types of events after which records of before are gone, all of them or some."""


def why_gone(store: EventStore, codec: Codec, job_id: str, version: int) -> str:
    """Say what became of the records that were posted at a version, by which event."""
    what = f"job [{job_id}]: the records posted at version {version} of its stream are"
    for stored in store.find_events(stream_of(job_id), GONE, version):
        event = recorded(codec, stored).event
        if event.type == "payloads_dropped":
            if event.from_version <= version <= event.to_version:
                dropped = f"retention dropped those of versions {event.from_version} to {event.to_version}"
                return f"{what} no longer kept: {dropped} {_when(stored)}; a replay begins behind them"
        elif event.type == "erased":
            return f"{what} unreadable for good: the job was erased {_when(stored)}"
        else:
            return f"{what} no longer kept: the job was deleted {_when(stored)}"
    return f"{what} missing, and no event says why; `marigraph verify {job_id}` checks the log"


def _when(stored: StoredEvent) -> str:
    moment = datetime.fromtimestamp(stored.recorded_at // 1_000_000, UTC)
    who = f" by {stored.actor}" if stored.actor else ""
    return f"at {moment:%Y-%m-%d %H:%M:%S} UTC{who} (event {stored.version})"


def dropped_to(store: EventStore, codec: Codec, job_id: str, created_version: int, version: int) -> int:
    """Return the version up to which the records of a job were dropped, at most the one given; 0: none were."""
    events = store.find_events(stream_of(job_id), ("payloads_dropped",), created_version)
    ends = (recorded(codec, stored).event.to_version for stored in events)
    return max((end for end in ends if end <= version), default=0)


def config_at(store: EventStore, codec: Codec, job_id: str, version: int) -> JobConfig:
    """Return the configuration that a job had as of a version."""
    job = Job(job_id)
    for stored in store.iter_stream(stream_of(job_id), 0, version):
        item = recorded(codec, stored)
        job = evolve(job, item.event, item.version, item.recorded_ms)
    return job.settings()
