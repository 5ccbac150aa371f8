"""The facts of a datafeed, as they are stored on its stream ``datafeed-<id>``.

Made like those of jobs (``domain/events.py``), with the same names for the same things. A ``searched`` is written
*before* its records are posted to the job, under a command id that is made of the search's range: whoever goes on
after a crash looks whether the job has them, and never posts them twice (``marigraph/datafeeds/running.py``).
"""

from typing import Any, ClassVar

from pydantic import Field

from domain.events import Event


class Created(Event):
    """The datafeed came into being with this complete configuration."""

    type: ClassVar[str] = "created"
    config: dict[str, Any]


class Updated(Event):
    """The configuration was changed."""

    type: ClassVar[str] = "updated"
    config: dict[str, Any]
    """The complete configuration after the change."""
    changes: dict[str, Any]
    """The body of the request."""


class Started(Event):
    """Records are searched from here on."""

    type: ClassVar[str] = "started"
    start_ms: int
    """First time searched: what was asked for, or right after what the job has seen already."""
    requested_start_ms: int
    end_ms: int | None = None
    """Time at which the datafeed stops itself and closes its job; None: it goes on in real time."""
    job_open_time_ms: int | None = None
    """Which opening of the job it runs in."""


class Searched(Event):
    """A stretch of time was searched."""

    type: ClassVar[str] = "searched"
    start_ms: int
    end_ms: int
    """Not included."""
    record_count: int = Field(ge=0)
    """Records found, to be posted to the job."""
    document_count: int = Field(ge=0)
    """What the source holds for the range: the records, or what was aggregated into them."""
    cause: str
    """``lookback``, ``realtime``, or ``delayed_data_check``, which posts nothing."""
    earliest_record_ms: int | None = None
    latest_record_ms: int | None = None
    missing_count: int = 0
    """Of a delayed-data check: documents that came after their time had been searched."""
    took_ms: float = 0.0


class Stopped(Event):
    """Nothing is searched any more."""

    type: ClassVar[str] = "stopped"
    reason: str = ""
    is_forced: bool = False
    closes_job: bool = False
    """The datafeed had reached its end: its job is closed next."""


class Deleted(Event):
    """The datafeed is gone; the id may be used again, the history stays."""

    type: ClassVar[str] = "deleted"
    is_forced: bool = False


EVENT_TYPES: dict[str, type[Event]] = {
    model.type: model for model in (Created, Updated, Started, Searched, Stopped, Deleted)
}
