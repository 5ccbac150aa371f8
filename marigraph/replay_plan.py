"""What a replay of a part of a job needs, told from its events: where it may begin, which states it goes back to.

What-if runs and bundles are planned here; the replay itself is ``marigraph/replay.py``.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import select

from domain.model import Model
from eventstore.tables import payloads, streams
from marigraph.replay import STATE_SCHEMA, CannotReplay, ModelFold, ModelSource

NEVER: Final = 1 << 62
"""Later than any time."""


@dataclass(slots=True)
class Plan:
    """What the events of a job say of a replay.

    Attributes
    ----------
    created_version, to_version : int
        The first and the last event.
    from_ms : int or None
        Buckets that start before this time are of no interest.
    targets : set of int
        Versions that the job goes back to.
    reverts : list of int
        Versions of the events that go back to them.
    complete_from : int
        From this version on all records are kept.
    first : int
        The first event that may end a bucket at or after the time asked for.
    last : int
        The last event that has something to say of a bucket before the end asked for, but for scores that come later.
    """

    created_version: int
    to_version: int
    from_ms: int | None = None
    targets: set[int] = field(default_factory=set)
    reverts: list[int] = field(default_factory=list)
    complete_from: int = 0
    first: int = 0
    last: int = 0
    record_count: int = 0

    def __post_init__(self) -> None:
        self.complete_from, self.first = self.created_version, self.to_version + 1

    @property
    def is_complete(self) -> bool:
        """Whether all records are kept."""
        return self.complete_from == self.created_version


@dataclass(frozen=True, slots=True)
class Beginning:
    """A stored state to begin at, and the earlier ones that the job goes back to later, by version."""

    folded: ModelFold
    targets: dict[int, Model]


def plan_replay(
    source: ModelSource, created_version: int, to_version: int, from_ms: int | None = None, to_ms: int | None = None
) -> Plan:
    """Read the events of a job, and plan.

    Parameters
    ----------
    from_ms, to_ms : int or None
        Buckets that start in this range are wanted.

    Raises
    ------
    CannotReplay
        The job's records were erased.
    """
    kept = _kept_payloads(source)
    plan = Plan(created_version, to_version, from_ms)
    for item in source.events(created_version - 1, to_version):
        event = item.event
        plan.record_count += getattr(event, "record_count", 0) if event.type == "data_posted" else 0
        if event.type == "erased":
            msg = f"the records of job [{source.job_id}] were erased: there is nothing to replay"
            raise CannotReplay(msg)
        if event.type == "snapshot_reverted":
            plan.targets.add(event.version)
            plan.reverts.append(item.version)
            plan.last = item.version
        elif item.payload_digest is not None and item.payload_digest not in kept:
            plan.complete_from = item.version + 1
        reached = _reaches_ms(event)
        if reached is not None:
            if from_ms is not None and reached >= from_ms:
                plan.first = min(plan.first, item.version)
            if to_ms is None or begins_ms(event) < to_ms:
                plan.last = item.version
    return plan


def find_beginning(stored: ModelSource, plan: Plan) -> Beginning | None:
    """Return a stored state that a replay can begin at; None: there is none.

    With a start asked for it is the newest before the first event of interest, else the oldest, which leaves most to be
    replayed.
    """
    kept = [row.version for row in stored.store.list_snapshots(stored.stream, STATE_SCHEMA)]
    last = min(plan.first - 1, plan.to_version)
    usable = [version for version in kept if max(plan.complete_from - 1, plan.created_version) <= version <= last]
    for version in usable if plan.from_ms is None else reversed(usable):
        model = stored.exact(version)
        found = {target: stored.exact(target) for target in plan.targets if target < version}
        targets = {target: state for target, state in found.items() if state is not None}
        if model is not None and len(targets) == len(found):
            return Beginning(ModelFold(stored, plan.created_version, model, version), targets)
    return None


def begins_ms(event: Any) -> int:
    """Return the earliest time of the records of an event; ``NEVER`` if it has none."""
    if event.type == "data_posted" and event.earliest_record_ms is not None:
        return int(event.earliest_record_ms)
    return NEVER


def _reaches_ms(event: Any) -> int | None:
    """Return the latest time that an event brings the analysis to; None if it brings it nowhere."""
    if event.type == "data_posted":
        return None if event.latest_record_ms is None else int(event.latest_record_ms)
    if event.type == "flushed":
        times = [each for each in (event.advance_time_ms, event.skip_time_ms) if each is not None]
        return max(times, default=None)
    return None


def _kept_payloads(source: ModelSource) -> set[bytes]:
    query = select(payloads.c.digest).join(streams, streams.c.id == payloads.c.stream_id)
    with source.store.reading() as connection:
        return set(connection.scalars(query.where(streams.c.name == source.stream)))
