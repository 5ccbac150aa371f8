"""What can be asked of a datafeed, with everything that ``decide`` needs to know of its job."""

from dataclasses import dataclass
from typing import Any

from domain.config import JobConfig
from domain.datafeeds.events import Searched


@dataclass(frozen=True, slots=True)
class DatafeedCommand:
    """Base of all commands to a datafeed."""


@dataclass(frozen=True, slots=True)
class CreateDatafeed(DatafeedCommand):
    """Make a datafeed for a job from the body of a request."""

    body: Any
    job: JobConfig


@dataclass(frozen=True, slots=True)
class UpdateDatafeed(DatafeedCommand):
    """Change the configuration; ``job`` is the one it is for afterwards."""

    body: Any
    job: JobConfig


@dataclass(frozen=True, slots=True)
class StartDatafeed(DatafeedCommand):
    """Search from a time on, up to an end or on and on."""

    start_ms: int
    end_ms: int | None
    job_state: str
    job_latest_record_ms: int | None = None
    job_open_time_ms: int | None = None


@dataclass(frozen=True, slots=True)
class RecordSearch(DatafeedCommand):
    """Write down a search of a run."""

    event: Searched
    started_version: int


@dataclass(frozen=True, slots=True)
class StopDatafeed(DatafeedCommand):
    """Search no more; ``started_version`` stops that run only."""

    force: bool = False
    reason: str = ""
    closes_job: bool = False
    started_version: int | None = None


@dataclass(frozen=True, slots=True)
class DeleteDatafeed(DatafeedCommand):
    """Remove the datafeed, after stopping it if forced to."""

    force: bool = False
