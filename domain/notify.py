"""What is told to the outside: which anomalies of a job a webhook gets, and how far that is, as facts.

A job asks for it in its ``custom_settings``::

    {"notify": {"url": "https://example.com/hook", "minimum_score": 75, "secret": "ops"}}

Deliveries are events on the stream ``notify-<job>``, folded into a :class:`Progress`: everything up to its place among
the job's final records is delivered, so whoever goes on after a crash knows where. Pure, like ``domain/job.py``.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

import msgspec
from pydantic import Field

from domain.errors import BadRequest
from domain.events import Event

SETTING: Final = "notify"
URL_CHARACTERS_MAX: Final = 2_048
SECRET_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_]{0,63}")
MINIMUM_SCORE_DEFAULT: Final = 75.0
"""From here on an anomaly is called critical (the API's usual limit)."""

FAILURES_TOLD_UP_TO: Final = 8
"""Of a failing delivery the tries 1, 2, 4, ... of this many and then each of its multiples are facts."""


class Notify(msgspec.Struct, frozen=True):
    """Where a job's anomalies go."""

    url: str
    minimum_score: float = MINIMUM_SCORE_DEFAULT
    """Least ``initial_record_score``: what is told must not depend on when it is told."""
    secret: str | None = None
    """Name of the server's secret that signs."""


def read_notify(custom_settings: Mapping[str, Any] | None) -> Notify | None:
    """Return what a job asks for, None if nothing; BadRequest if it cannot be meant so."""
    value = (custom_settings or {}).get(SETTING)
    if value is None:
        return None
    try:
        notify = msgspec.convert(value, Notify, strict=True)
        if unknown := set(value) - set(Notify.__struct_fields__):
            msg = f"unknown field [{sorted(unknown)[0]}]"
            raise ValueError(msg)
        _check(notify)
    except ValueError as error:  # msgspec's is of this family
        msg = f"custom_settings.{SETTING}: {error}"
        raise BadRequest(msg) from error
    return notify


def _check(notify: Notify) -> None:
    parts = urlsplit(notify.url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        msg = "url must be http or https, with a host and without credentials"
        raise ValueError(msg)
    if len(notify.url) > URL_CHARACTERS_MAX or not notify.url.isascii() or not notify.url.isprintable():
        msg = f"url must have at most {URL_CHARACTERS_MAX} printable ASCII characters"
        raise ValueError(msg)
    if not 0.0 <= notify.minimum_score <= 100.0:
        msg = f"minimum_score must lie between 0 and 100, got {notify.minimum_score:g}"
        raise ValueError(msg)
    if notify.secret is not None and SECRET_NAME.fullmatch(notify.secret) is None:
        msg = f"secret must be the name of a secret and fit {SECRET_NAME.pattern}"
        raise ValueError(msg)


# ---------------------------------------------------------------------------------------------------------- events


class NotifyStarted(Event):
    """From this place on anomalies are delivered; results of before are not."""

    type: ClassVar[str] = "notify_started"
    created_version: int = Field(ge=1)
    """Which job of this id: the version of its ``created``."""
    job_version: int = Field(ge=1)
    """Version of the job's stream up to which results were looked at."""
    timestamp_ms: int


class Delivered(Event):
    """The receiver took a batch of anomalies; the place is that of its last record."""

    type: ClassVar[str] = "delivered"
    created_version: int = Field(ge=1)
    job_version: int = Field(ge=1)
    timestamp_ms: int
    sequence: int = Field(ge=-1)
    record_count: int = Field(ge=1)
    attempt_count: int = Field(ge=1)


class DeliveryFailed(Event):
    """The receiver did not take a batch; it is tried again."""

    type: ClassVar[str] = "delivery_failed"
    timestamp_ms: int
    sequence: int = Field(ge=-1)
    attempt_count: int = Field(ge=1)
    reason: str


class Rewound(Event):
    """Results were taken back with a snapshot; what takes their place is delivered anew."""

    type: ClassVar[str] = "rewound"
    job_version: int = Field(ge=1)
    timestamp_ms: int


NOTIFY_EVENTS: Final[dict[str, type[Event]]] = {
    model.type: model for model in (NotifyStarted, Delivered, DeliveryFailed, Rewound)
}


class Progress(msgspec.Struct, frozen=True):
    """How far the deliveries of a job are: all up to and including a record's place, nothing behind it."""

    version: int = 0
    created_version: int = 0
    job_version: int = 0
    timestamp_ms: int = 0
    sequence: int = -1

    @property
    def place(self) -> tuple[int, int]:
        """Bucket and number of the last record delivered."""
        return self.timestamp_ms, self.sequence


def evolve(progress: Progress, event: Any, version: int) -> Progress:
    """Fold one event."""
    return msgspec.structs.replace(progress, version=version, **_EVOLVERS[event.type](progress, event))


def is_told(attempt_count: int) -> bool:
    """Whether a failed try is worth an event: a receiver that is away for a week must not fill the log.

    >>> [count for count in range(1, 33) if is_told(count)]
    [1, 2, 4, 8, 16, 24, 32]
    """
    if attempt_count < FAILURES_TOLD_UP_TO:
        return attempt_count & (attempt_count - 1) == 0
    return attempt_count % FAILURES_TOLD_UP_TO == 0


def _started(_progress: Progress, event: NotifyStarted) -> dict[str, Any]:
    return {
        "created_version": event.created_version,
        "job_version": event.job_version,
        "timestamp_ms": event.timestamp_ms,
        "sequence": -1,
    }


def _delivered(_progress: Progress, event: Delivered) -> dict[str, Any]:
    return {"job_version": event.job_version, "timestamp_ms": event.timestamp_ms, "sequence": event.sequence}


def _rewound(progress: Progress, event: Rewound) -> dict[str, Any]:
    place = min(progress.place, (event.timestamp_ms, -1))
    return {"job_version": event.job_version, "timestamp_ms": place[0], "sequence": place[1]}


_EVOLVERS: Final[dict[str, Callable[..., dict[str, Any]]]] = {
    "notify_started": _started,
    "delivered": _delivered,
    "delivery_failed": lambda *_: {},
    "rewound": _rewound,
}
