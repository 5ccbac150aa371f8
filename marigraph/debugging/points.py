"""Points in the life of a job as people name them: a version of its stream, a time, or a model snapshot."""

from domain.api_time import parse_result_time
from domain.errors import InvalidArgument, NotFound, ParseError
from eventstore import EventStore
from marigraph.application import Application
from marigraph.codec import recorded, stream_of

SNAPSHOT_TYPE = "snapshot_persisted"
VERSION_DIGITS_MAX = 9
"""Longer numbers are times in milliseconds, or ids of snapshots, which are seconds."""


def head_version(app: Application, job_id: str) -> int:
    """Return the version of a job's stream, also of a deleted one; NotFound if there never was such a job."""
    head = app.store.head(stream_of(job_id))
    if head is None or head.version == 0:
        msg = f"No known job with id '{job_id}'"
        raise NotFound(msg)
    return head.version


def version_of(app: Application, job_id: str, text: str) -> int:
    """Return the version that a point means.

    Parameters
    ----------
    text : str
        The id of a model snapshot, a version, or a time (ISO 8601 or epoch milliseconds): of the last event that was
        recorded at or before it.

    Raises
    ------
    InvalidArgument
        It is none of these, or lies before the job.
    """
    head = head_version(app, job_id)
    snapshot = find_snapshot(app, job_id, text)
    if snapshot is not None:
        return snapshot
    if text.isascii() and text.isdigit() and len(text) <= VERSION_DIGITS_MAX:
        return check_version(job_id, int(text), head)
    try:
        time_ms = parse_result_time(text, "at")
    except ParseError as error:
        msg = f"[{text}] is no snapshot id of job [{job_id}], no version (1 to {head}) and no time"
        raise InvalidArgument(msg) from error
    return version_at(app, job_id, time_ms)


def check_version(job_id: str, version: int, head: int) -> int:
    """Return a version that the job's stream has; InvalidArgument if it has none such."""
    if not 1 <= version <= head:
        msg = f"job [{job_id}] has the versions 1 to {head}, not {version}"
        raise InvalidArgument(msg)
    return version


def find_snapshot(app: Application, job_id: str, snapshot_id: str) -> int | None:
    """Return the version that a model snapshot holds the state of, also of a deleted one; None if there is none."""
    for stored in reversed(app.store.find_events(stream_of(job_id), (SNAPSHOT_TYPE,))):
        event = recorded(app.codec, stored).event
        if event.snapshot_id == snapshot_id:
            return int(event.version)
    return None


def version_at(app: Application, job_id: str, time_ms: int) -> int:
    """Return the version of the last event that was recorded at or before a time; InvalidArgument if there is none."""
    stream, low, high = stream_of(job_id), 0, head_version(app, job_id)
    while low < high:  # recorded_at never falls within a stream
        middle = (low + high + 1) // 2
        if recorded_ms(app.store, stream, middle) <= time_ms:
            low = middle
        else:
            high = middle - 1
    if low == 0:
        msg = f"job [{job_id}] was not there yet at {time_ms}: its first event was recorded later"
        raise InvalidArgument(msg)
    return low


def recorded_ms(store: EventStore, stream: str, version: int) -> int:
    """Return when an event was recorded, milliseconds since the epoch."""
    [event] = store.read_stream(stream, version - 1, 1)
    return event.recorded_at // 1000
