"""What an endpoint is, and the table of all endpoints.

An endpoint declares its paths, methods, parameters and the privilege it needs, and names the function that answers.
That function gets a :class:`Call` and returns the answer as JSON-able data; it runs on a thread of the endpoint's
lane, so that calls that wait for an analysis never keep others from being answered.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

from marigraph.api.parameters import Parameter
from marigraph.application import Application
from marigraph.context import Context

if TYPE_CHECKING:
    from marigraph.api.metrics import Metrics

BASES = ("/_ml", "/_xpack/ml")
"""Prefixes of all job paths; the second is that of the first releases, and older clients know no other."""


class Lane(Enum):
    """Which threads answer: the name of a lane, and how many threads it has."""

    READ = 24
    WRITE = 32
    WAIT = 256
    REPLAY = 2
    """Replays of the log: each keeps a core busy, and a model in memory."""


Privilege = Literal["manage_ml", "monitor_ml", "read_history", "any", "none"]
"""``any``: credentials are needed, whatever they allow; ``none``: nobody is asked for any."""
BodyKind = Literal["none", "parameters", "resource", "records"]


@dataclass(frozen=True, slots=True)
class Text:
    """An answer that is no JSON."""

    body: str
    content_type: str


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as its endpoint sees it.

    Attributes
    ----------
    path : mapping
        Values of the path's placeholders.
    parameters : mapping
        Merged from body and query, by declared name.
    body : Any
        The JSON body of an endpoint that takes a resource.
    data : bytes
        The body of an endpoint that takes records.
    idempotency_key : str or None
        Two posts with the same one are the same post.
    every : bool
        All of a list is wanted, whatever the bounds of a page; only callers in this process may ask for that.
    on_event : callable
        Called after each event of a replay, for progress.
    """

    app: Application
    context: Context
    path: Mapping[str, str]
    parameters: Mapping[str, Any]
    body: Any = None
    data: bytes = b""
    metrics: "Metrics | None" = None
    idempotency_key: str | None = None
    every: bool = False
    on_event: Callable[[], None] = lambda: None
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation of the API.

    Attributes
    ----------
    name : str
        As clients call it; the operation id of the OpenAPI document.
    paths : tuple of str
        Below each of ``BASES``, or absolute if ``is_absolute``.
    section : str
        What its body is called in messages.
    media_type : str
        Of its answer.
    """

    name: str
    methods: tuple[str, ...]
    paths: tuple[str, ...]
    answer: Callable[[Call], Any]
    summary: str
    parameters: tuple[Parameter, ...] = ()
    body: BodyKind = "none"
    section: str = ""
    lane: Lane = Lane.READ
    privilege: Privilege = "monitor_ml"
    status: int = 200
    media_type: str = "application/json"
    is_absolute: bool = False

    @property
    def full_paths(self) -> list[str]:
        """All paths that lead here."""
        if self.is_absolute:
            return list(self.paths)
        return [base + path for base in BASES for path in self.paths]


def all_endpoints() -> list[Endpoint]:
    """Return every endpoint; of two whose paths could both match, the more special one comes first."""
    from marigraph.api import (  # they import this module
        absent,
        audit,
        cluster,
        datafeeds,
        explanations,
        history,
        jobs,
        neighbours,
        proof,
        results,
        retention,
        snapshots,
    )

    return [
        *cluster.ENDPOINTS,
        *jobs.ENDPOINTS,
        *results.ENDPOINTS,
        *snapshots.ENDPOINTS,
        *datafeeds.ENDPOINTS,
        *history.ENDPOINTS,
        *audit.ENDPOINTS,
        *explanations.ENDPOINTS,
        *proof.ENDPOINTS,
        *retention.ENDPOINTS,
        *absent.ENDPOINTS,
        *neighbours.ENDPOINTS,
    ]
