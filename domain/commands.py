"""What can be asked of a job: imperatives with everything ``decide`` needs, checked for form but not yet decided.

Clocks and bodies come in as plain values, so that deciding stays pure. See ``domain/job.py``.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from domain.events import SnapshotPersisted
from domain.records import RecordBatch


@dataclass(frozen=True, slots=True)
class Command:
    """Base of all commands to a job."""


@dataclass(frozen=True, slots=True)
class CreateJob(Command):
    """Make a job from the body of a request."""

    body: Any
    now_ms: int


@dataclass(frozen=True, slots=True)
class UpdateJob(Command):
    """Change the configuration; ``model_bytes`` is what the model uses now."""

    body: Any
    model_bytes: int = 0


@dataclass(frozen=True, slots=True)
class OpenJob(Command):
    """Let the job take data."""


@dataclass(frozen=True, slots=True)
class PostData(Command):
    """Add records, one batch after the other: all of them are stored, or none."""

    batches: tuple[RecordBatch, ...]
    digests: tuple[str | None, ...]
    """Hex digest of each batch's content; None for one without any record that can be analysed."""
    reset_start_ms: int | None = None
    """Empty the buckets in this range first, as far as they are not final."""
    reset_end_ms: int | None = None


@dataclass(frozen=True, slots=True)
class FlushJob(Command):
    """Analyse all that was posted, then skip, advance and compute interim results as asked."""

    calc_interim: bool = False
    start_ms: int | None = None
    end_ms: int | None = None
    advance_time_ms: int | None = None
    skip_time_ms: int | None = None


@dataclass(frozen=True, slots=True)
class CloseJob(Command):
    """Take no more data; ``snapshot`` describes the state stored for it, None if there is nothing to keep."""

    force: bool = False
    snapshot: SnapshotPersisted | None = None


@dataclass(frozen=True, slots=True)
class FailJob(Command):
    """Record that the analysis stopped with an error."""

    reason: str


@dataclass(frozen=True, slots=True)
class RevertSnapshot(Command):
    """Go back to a snapshot; ``last_finalized_bucket_end_ms`` is how far the results reach now."""

    snapshot_id: str
    delete_intervening_results: bool = False
    last_finalized_bucket_end_ms: int | None = None


@dataclass(frozen=True, slots=True)
class UpdateSnapshot(Command):
    """Change a snapshot's description or retain flag."""

    snapshot_id: str
    description: str | None = None
    retain: bool | None = None


@dataclass(frozen=True, slots=True)
class DeleteSnapshot(Command):
    """Remove a snapshot."""

    snapshot_id: str


class Postings(NamedTuple):
    """The events with payloads in a range of a stream that ends at ``to_version``."""

    to_version: int
    payload_count: int
    record_count: int


@dataclass(frozen=True, slots=True)
class DropExpired(Command):
    """Remove what the job keeps no longer; the fields say what there is to decide on (``domain/retention.py``)."""

    first_result_ms: int | None = None
    """Start of the oldest bucket with a result; None if there is none."""
    last_finalized_bucket_end_ms: int | None = None
    stored_versions: frozenset[int] = frozenset()
    """Versions whose model state is stored and can be read by this program."""
    reverts: tuple[tuple[int, int], ...] = ()
    """Version of each ``snapshot_reverted`` of this job, and the version it went back to."""
    postings: Postings | None = None
    """What ``payloads_expired_to`` is about, counted."""


@dataclass(frozen=True, slots=True)
class EraseJob(Command):
    """Make the records of a job unreadable for good."""

    keep_results: bool = False


@dataclass(frozen=True, slots=True)
class ReassignJob(Command):
    """Take the job over from an owner that never let go of it."""

    owner: str
    previous_owner: str
    epoch: int


@dataclass(frozen=True, slots=True)
class DeleteJob(Command):
    """Remove the job, its results and its snapshots."""

    force: bool = False
