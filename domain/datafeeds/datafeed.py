"""The datafeed as a state machine over its events, in the manner of ``domain/job.py``: decide, evolve.

On the log a datafeed is ``stopped`` or ``started``; ``starting`` and ``stopping`` exist only while a command is at
work. One that was never created, or was deleted, is ``absent``. What it needs to know of its job comes in with the
commands.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

import msgspec

from domain.datafeeds.commands import (
    CreateDatafeed,
    DatafeedCommand,
    DeleteDatafeed,
    RecordSearch,
    StartDatafeed,
    StopDatafeed,
    UpdateDatafeed,
)
from domain.datafeeds.config import DatafeedConfig
from domain.datafeeds.events import Created, Deleted, Searched, Started, Stopped, Updated
from domain.datafeeds.reading import create_datafeed_config, update_datafeed_config
from domain.errors import AlreadyExists, Conflict, NotFound, ParseError
from domain.events import Event
from domain.job import OPENED

ABSENT, STOPPED, STARTING, STARTED, STOPPING = "absent", "stopped", "starting", "started", "stopping"
LOOKBACK, REALTIME, DELAYED_DATA_CHECK = "lookback", "realtime", "delayed_data_check"

HISTORY_MAX: Final = 64
"""Stretches of searched time that are remembered for the delayed-data check; neighbours are joined beyond that."""

EXPONENT: Final = 0.9
"""Weight of the past in the exponential average of search times; chosen: follows some ten searches."""

HOUR_MS: Final = 3_600_000


class Stretch(msgspec.Struct, frozen=True):
    """A stretch of time that was searched, and how many documents it held then."""

    start_ms: int
    end_ms: int
    n_documents: int


class Datafeed(msgspec.Struct, frozen=True):
    """One datafeed as of a version of its stream."""

    datafeed_id: str
    version: int = 0
    state: str = ABSENT
    config: DatafeedConfig | None = None
    created_version: int = 0
    """Version of the latest ``created``."""
    started_version: int = 0
    """Version of the latest ``started``; names the run."""
    job_open_time_ms: int | None = None
    end_ms: int | None = None
    position_ms: int = 0
    """Up to where the present run has searched."""
    last_search: Stretch | None = None
    """The latest search of the present run whose records were to be posted."""
    n_documents: int = 0
    """Found by the present run."""
    n_empty: int = 0
    """Searches in real time since the latest one that found something."""
    n_missing: int = 0
    """Late documents reported by the latest delayed-data check."""
    history: tuple[Stretch, ...] = ()
    """What was searched lately, each stretch from its first document on."""
    search_count: int = 0
    total_search_time_ms: float = 0.0
    exponential_average_ms: float | None = None
    """Search time per hour of searched time, the recent past weighing most."""
    closes_job: bool = False
    """It stopped because it had reached its end; its job is to be closed."""

    @property
    def exists(self) -> bool:
        """Whether there is such a datafeed now."""
        return self.config is not None

    @property
    def has_reached_end(self) -> bool:
        """Whether everything up to its end is searched."""
        return self.end_ms is not None and self.position_ms >= self.end_ms

    def in_state(self, state: str) -> "Datafeed":
        """Lay a passing state (``starting``, ``stopping``) over the datafeed."""
        return msgspec.structs.replace(self, state=state)

    def settings(self) -> DatafeedConfig:
        """Return the configuration; NotFound if there is no such datafeed."""
        if self.config is None:
            raise no_datafeed(self.datafeed_id)
        return self.config


def no_datafeed(names: str) -> NotFound:
    """Return the refusal of ids that name nothing."""
    return NotFound(f"No datafeed with id [{names}] exists")


# ---------------------------------------------------------------------------------------------------------- decide


def decide(datafeed: Datafeed, command: DatafeedCommand) -> list[Event]:
    """Say which events carry a command out; see ``domain.job.decide``."""
    return _DECIDERS[type(command)](datafeed, command)


def _create(datafeed: Datafeed, command: CreateDatafeed) -> list[Event]:
    if datafeed.exists:
        msg = f"A datafeed with id [{datafeed.datafeed_id}] already exists"
        raise AlreadyExists(msg)
    config = create_datafeed_config(command.body, datafeed_id=datafeed.datafeed_id, job=command.job)
    return [Created(config=store_config(config))]


def _update(datafeed: Datafeed, command: UpdateDatafeed) -> list[Event]:
    config = datafeed.settings()
    if datafeed.state != STOPPED:
        msg = f"Cannot update datafeed [{datafeed.datafeed_id}] while its status is {datafeed.state}"
        raise Conflict(msg)
    changed = update_datafeed_config(config, command.body, job=command.job)
    return [] if changed == config else [Updated(config=store_config(changed), changes=command.body)]


def _start(datafeed: Datafeed, command: StartDatafeed) -> list[Event]:
    config = datafeed.settings()
    check_range(command.start_ms, command.end_ms)
    because = f"cannot start datafeed [{datafeed.datafeed_id}] because"
    if datafeed.state != STOPPED:
        msg = f"{because} it has already been started"
        raise Conflict(msg)
    if command.job_state != OPENED:
        msg = f"{because} job [{config.job_id}] is {command.job_state}"
        raise Conflict(msg)
    latest = command.job_latest_record_ms
    start = command.start_ms if latest is None else max(command.start_ms, latest + 1)
    return [
        Started(
            start_ms=start,
            end_ms=command.end_ms,
            requested_start_ms=command.start_ms,
            job_open_time_ms=command.job_open_time_ms,
        )
    ]


def check_range(start_ms: int, end_ms: int | None) -> None:
    """Refuse a datafeed that would end before it starts, or right there."""
    if end_ms is not None and start_ms >= end_ms:
        msg = f"[start] is out of range: start [{start_ms}] must be earlier than end [{end_ms}]"
        raise ParseError(msg)


def _record_search(datafeed: Datafeed, command: RecordSearch) -> list[Event]:
    datafeed.settings()
    event = command.event
    if datafeed.state != STARTED or datafeed.started_version != command.started_version:
        msg = f"datafeed [{datafeed.datafeed_id}] was stopped meanwhile"
        raise Conflict(msg)
    assert event.cause == DELAYED_DATA_CHECK or event.start_ms == datafeed.position_ms, (event, datafeed.position_ms)
    return [event]


def _stop(datafeed: Datafeed, command: StopDatafeed) -> list[Event]:
    datafeed.settings()
    if datafeed.state == STOPPED:
        return []
    if command.started_version not in (None, datafeed.started_version):
        return []
    return [Stopped(reason=command.reason, is_forced=command.force, closes_job=command.closes_job)]


def _delete(datafeed: Datafeed, command: DeleteDatafeed) -> list[Event]:
    datafeed.settings()
    if datafeed.state == STOPPED:
        return [Deleted(is_forced=command.force)]
    if not command.force:
        msg = f"Cannot delete datafeed [{datafeed.datafeed_id}] while its status is {datafeed.state}"
        raise Conflict(msg)
    return [Stopped(reason="deleted", is_forced=True), Deleted(is_forced=True)]


_DECIDERS: dict[type, Callable[[Datafeed, Any], list[Event]]] = {
    CreateDatafeed: _create,
    UpdateDatafeed: _update,
    StartDatafeed: _start,
    RecordSearch: _record_search,
    StopDatafeed: _stop,
    DeleteDatafeed: _delete,
}


# ---------------------------------------------------------------------------------------------------------- evolve


def evolve(datafeed: Datafeed, event: Any, version: int) -> Datafeed:
    """Fold one event into a datafeed; see ``domain.job.evolve``."""
    if event.type == Deleted.type:
        return Datafeed(datafeed.datafeed_id, version=version)
    changes = _EVOLVERS[event.type](datafeed, event, version)
    return msgspec.structs.replace(datafeed, version=version, **changes)


def _created(_datafeed: Datafeed, event: Created, version: int) -> dict[str, Any]:
    return {"config": read_config(event.config), "state": STOPPED, "created_version": version}


def _updated(_datafeed: Datafeed, event: Updated, _version: int) -> dict[str, Any]:
    return {"config": read_config(event.config)}


def _started(_datafeed: Datafeed, event: Started, version: int) -> dict[str, Any]:
    return {
        "state": STARTED,
        "started_version": version,
        "job_open_time_ms": event.job_open_time_ms,
        "end_ms": event.end_ms,
        "position_ms": event.start_ms,
        "last_search": None,
        "n_documents": 0,
        "n_empty": 0,
        "n_missing": 0,
        "history": (),
        "closes_job": False,
    }


def _searched(datafeed: Datafeed, event: Searched, _version: int) -> dict[str, Any]:
    if event.cause == DELAYED_DATA_CHECK:
        return {"n_missing": event.missing_count}
    first = event.start_ms if event.earliest_record_ms is None else event.earliest_record_ms
    is_empty = event.document_count == 0
    hours = max(event.end_ms - event.start_ms, 1) / HOUR_MS
    past = datafeed.exponential_average_ms
    per_hour = event.took_ms / hours
    return {
        "position_ms": event.end_ms,
        "last_search": Stretch(event.start_ms, event.end_ms, event.record_count),
        "n_documents": datafeed.n_documents + event.document_count,
        "n_empty": datafeed.n_empty + 1 if is_empty and event.cause == REALTIME else 0,
        "history": _remember(datafeed.history, Stretch(first, event.end_ms, event.document_count)),
        "search_count": datafeed.search_count + 1,
        "total_search_time_ms": datafeed.total_search_time_ms + event.took_ms,
        "exponential_average_ms": per_hour if past is None else EXPONENT * past + (1 - EXPONENT) * per_hour,
    }


def _remember(history: tuple[Stretch, ...], stretch: Stretch) -> tuple[Stretch, ...]:
    """Add a stretch; of too many the two neighbours that are shortest together become one, or the oldest goes."""
    longer = (*history, stretch)
    if len(longer) <= HISTORY_MAX:
        return longer
    oldest = stretch.end_ms - 2 * 24 * HOUR_MS  # twice the longest window of the check
    if longer[0].end_ms < oldest:
        return longer[1:]
    lengths = [right.end_ms - left.start_ms for left, right in pairwise(longer)]
    place = lengths.index(min(lengths))
    left, right = longer[place], longer[place + 1]
    joined = Stretch(left.start_ms, right.end_ms, left.n_documents + right.n_documents)
    return (*longer[:place], joined, *longer[place + 2 :])


def _stopped(_datafeed: Datafeed, event: Stopped, _version: int) -> dict[str, Any]:
    return {"state": STOPPED, "closes_job": event.closes_job}


_EVOLVERS: dict[str, Callable[..., dict[str, Any]]] = {
    "created": _created,
    "updated": _updated,
    "started": _started,
    "searched": _searched,
    "stopped": _stopped,
}


# ------------------------------------------------------------------------------------------------- as stored text


def store_config(config: DatafeedConfig) -> dict[str, Any]:
    """Turn a configuration into the object that events and stored states hold."""
    return config.model_dump(mode="json")


def read_config(stored: dict[str, Any]) -> DatafeedConfig:
    """Turn such an object back into the configuration; ValueError if it is none."""
    return DatafeedConfig.model_validate_json(msgspec.json.encode(stored))


def encode_datafeed(datafeed: Datafeed) -> bytes:
    """Write a datafeed as JSON, for the read model that spares the replay of its stream."""
    return msgspec.json.encode(datafeed, enc_hook=_encode_special)


def decode_datafeed(data: bytes | str) -> Datafeed:
    """Read a datafeed back; ValueError (msgspec's) if the text is not one."""
    return msgspec.json.decode(data, type=Datafeed, dec_hook=_decode_special)


def _encode_special(value: Any) -> Any:
    if isinstance(value, DatafeedConfig):
        return store_config(value)
    msg = f"cannot store a {type(value).__name__}"
    raise NotImplementedError(msg)


def _decode_special(kind: type, value: Any) -> Any:
    if kind is DatafeedConfig:
        return read_config(value)
    msg = f"cannot read a {kind.__name__}"
    raise NotImplementedError(msg)
