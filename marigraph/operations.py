"""The operations of the API as Python methods, wherever they are carried out.

Names, parameters and answers are those of the HTTP API, and one table says what each takes
(``marigraph/api/endpoints.py``). Who carries them out is left to ``perform``: the database in this process
(``marigraph/library.py``) or a server (``marigraph/remote.py``). The command line is written against this.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Self

from domain.errors import InvalidArgument
from marigraph.api.endpoints import Endpoint, all_endpoints
from marigraph.uploads import Records, add_counts, bodies_of

Resource = dict[str, Any]
Advance = Callable[[int, int], None]
"""Called after each block of a file with its bytes in the file and its records."""
OnEvent = Callable[[], None]


class Posted(NamedTuple):
    """What came of files."""

    counts: Resource
    """The data counts of all that was posted."""
    n_skipped: int
    """Blocks that an earlier run had posted already."""


class Parameters(NamedTuple):
    """The parameters of a request, placed where the endpoint reads them."""

    query: list[tuple[str, str]]
    body: Resource


class Operations(ABC):
    """Everything that can be done with jobs and datafeeds.

    Parameters of a method are those of the endpoint, by name, as text, numbers, booleans or aware datetimes; None is
    as good as not given. ``from`` is spelt ``from_``.
    """

    @abstractmethod
    def perform(
        self,
        name: str,
        path: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        *,
        body: Any = None,
        data: bytes = b"",
    ) -> Any:
        """Carry out an operation of the table.

        Parameters
        ----------
        name : str
            Of the endpoint.
        path : mapping
            Values of the path's placeholders; None stands for one that the path lacks.
        parameters : mapping
        body : Any
            For endpoints that take a resource.
        data : bytes
            For the one that takes records.

        Raises
        ------
        DomainError
            The operation is refused, with the API's words.
        """

    @abstractmethod
    def every(self, name: str, path: Mapping[str, Any], parameters: Mapping[str, Any]) -> Resource:
        """Return the whole of a list, in its order, whatever the bounds of a page."""

    @abstractmethod
    def post_files(self, job_id: str, paths: Sequence[Path], advance: Advance) -> Posted:
        """Post files to a job, block by block; the same call again passes over what is posted already."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what the operations are carried out with. No job is closed by that."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -------------------------------------------------------------------------------------------------------- jobs

    def info(self) -> Resource:
        """Return defaults and limits."""
        return self._get("info")

    def put_job(self, job_id: str, body: Any = None, **fields: Any) -> Resource:
        """Create a job from its configuration, as one object or field by field; return it with its defaults."""
        return self._get("put_job", {"job_id": job_id}, body=_configuration(body, fields))

    def get_jobs(self, job_id: str | None = None, **parameters: Any) -> Resource:
        """List configurations, of all jobs or of those that ids, groups or patterns name."""
        return self._get("get_jobs", {"job_id": job_id}, parameters)

    def get_job_stats(self, job_id: str | None = None, **parameters: Any) -> Resource:
        """List statistics: data counts, model size, state."""
        return self._get("get_job_stats", {"job_id": job_id}, parameters)

    def open_job(self, job_id: str, **parameters: Any) -> Resource:
        """Let a job take data."""
        return self._get("open_job", {"job_id": job_id}, parameters)

    def post_data(self, job_id: str, data: Records, **parameters: Any) -> Resource:
        """Post records to an open job: a list of dicts, text, bytes, a path or an open file.

        Text and bytes are stored whole or not at all; files and lists go block by block.

        Returns
        -------
        dict
            The data counts of these records.
        """
        is_file = isinstance(data, Path) or hasattr(data, "read")
        description = self.get_jobs(job_id)["jobs"][0]["data_description"] if is_file else {}
        counts: Resource = {}
        for part in bodies_of(data, description):
            counts = add_counts(counts, self._get("post_data", {"job_id": job_id}, parameters, data=part))
        return counts or self._get("post_data", {"job_id": job_id}, parameters)

    def flush_job(self, job_id: str, **parameters: Any) -> Resource:
        """Analyse all posted data now; ``calc_interim``, ``start``, ``end``, ``advance_time``, ``skip_time``."""
        return self._get("flush_job", {"job_id": job_id}, parameters)

    def close_job(self, job_id: str, **parameters: Any) -> Resource:
        """Close jobs; ``force``, ``timeout``, ``allow_no_match``."""
        return self._get("close_job", {"job_id": job_id}, parameters)

    def update_job(self, job_id: str, body: Any = None, **fields: Any) -> Resource:
        """Change a job's configuration."""
        return self._get("update_job", {"job_id": job_id}, body=_configuration(body, fields))

    def delete_job(self, job_id: str, **parameters: Any) -> Resource:
        """Delete a job with its results, snapshots and records; its history stays."""
        return self._get("delete_job", {"job_id": job_id}, parameters)

    def validate(self, body: Any) -> Resource:
        """Check a configuration; nothing is stored."""
        return self._get("validate", body=body)

    def validate_detector(self, body: Any) -> Resource:
        """Check one detector."""
        return self._get("validate_detector", body=body)

    # ----------------------------------------------------------------------------------------------------- results

    def get_buckets(self, job_id: str, timestamp: Any = None, **parameters: Any) -> Resource:
        """List buckets in order of time, or the one that starts at a time."""
        return self._get("get_buckets", {"job_id": job_id, "timestamp": timestamp}, parameters)

    def get_records(self, job_id: str, **parameters: Any) -> Resource:
        """List anomalous records, the highest score first."""
        return self._get("get_records", {"job_id": job_id}, parameters)

    def get_influencers(self, job_id: str, **parameters: Any) -> Resource:
        """List influencers, the highest score first."""
        return self._get("get_influencers", {"job_id": job_id}, parameters)

    def get_categories(self, job_id: str, category_id: int | None = None, **parameters: Any) -> Resource:
        """List categories of messages."""
        return self._get("get_categories", {"job_id": job_id, "category_id": category_id}, parameters)

    def get_overall_buckets(self, job_id: str, **parameters: Any) -> Resource:
        """List buckets over several jobs."""
        return self._get("get_overall_buckets", {"job_id": job_id}, parameters)

    def get_history(self, job_id: str, **parameters: Any) -> Resource:
        """List the events of a job."""
        return self._get("get_history", {"job_id": job_id}, parameters)

    def explain_record(self, job_id: str, on_event: OnEvent = lambda: None, **choice: Any) -> Resource:
        """Explain a record; ``rank``, ``timestamp``, ``detector_index``, ``function``, ``partition``, ``by``, ``over``.

        ``on_event`` is called after each event that was replayed, where that happens in this process.
        """
        return self._get("explain_record", {"job_id": job_id}, choice)

    # ------------------------------------------------------------------------------------------------------- audit

    def pages(self, name: str, path: Mapping[str, Any], parameters: Mapping[str, Any]) -> Iterator[Resource]:
        """Yield the pages of a list of the audit, each beginning where the one before ended."""
        after = parameters.get("after")
        while True:
            page: Resource = self.perform(name, path, {**parameters, "after": after})
            yield page
            if (after := page.get("next")) is None:
                return

    def audit_history(self, job_id: str | None = None, **parameters: Any) -> Resource:
        """List events of jobs: of all there ever were, or of those that ids or patterns name; see ``get_history``."""
        return self._get("audit_history", {"job_id": job_id}, parameters)

    def audit_sessions(self, job_id: str | None = None, **parameters: Any) -> Resource:
        """List when jobs were open, how that ended, and what they got; ``ending``."""
        return self._get("audit_sessions", {"job_id": job_id}, parameters)

    def audit_failures(self, job_id: str | None = None, **parameters: Any) -> Resource:
        """List jobs that failed, lost their owner, or were closed or deleted by force."""
        return self._get("audit_failures", {"job_id": job_id}, parameters)

    def audit_gaps(self, job_id: str | None = None, **parameters: Any) -> Resource:
        """List when jobs were open and got nothing; ``longer_than``."""
        return self._get("audit_gaps", {"job_id": job_id}, parameters)

    def audit_refusals(self, job_id: str | None = None, **parameters: Any) -> Resource:
        """List posts with records that came too late or had no readable time."""
        return self._get("audit_refusals", {"job_id": job_id}, parameters)

    def audit_changes(self, job_id: str | None = None, **parameters: Any) -> Resource:
        """List who changed which settings from what to what; ``field``."""
        return self._get("audit_changes", {"job_id": job_id}, parameters)

    def audit_posts(self, job_id: str | None = None, **parameters: Any) -> Resource:
        """List the batches of records that jobs accepted."""
        return self._get("audit_posts", {"job_id": job_id}, parameters)

    def audit_state(self, job_id: str | None = None, **parameters: Any) -> Resource:
        """List jobs as of a time or a version: settings, state, counts, snapshots; ``at``, ``version``."""
        return self._get("audit_state", {"job_id": job_id}, parameters)

    def audit_snapshots(self, job_id: str | None = None, **parameters: Any) -> Resource:
        """List what snapshots hold and which events they cover; ``snapshot_id``."""
        return self._get("audit_snapshots", {"job_id": job_id}, parameters)

    def audit_lineage(self, job_id: str, **choice: Any) -> Resource:
        """Return which posts fed a record, chosen as in ``explain_record``, or a ``bucket``; ``records``."""
        return self._get("audit_lineage", {"job_id": job_id}, choice)

    def audit_searches(self, datafeed_id: str | None = None, **parameters: Any) -> Resource:
        """List the searches of datafeeds."""
        return self._get("audit_searches", {"datafeed_id": datafeed_id}, parameters)

    def audit_access(self, **parameters: Any) -> Resource:
        """List what happened to keys and users."""
        return self._get("audit_access", {}, parameters)

    def verify_audit(self, job_id: str) -> Resource:
        """Check all hashes, the head, the payloads and the seals of a job's events."""
        return self._get("verify_audit", {"job_id": job_id})

    def get_audit_seals(self, **parameters: Any) -> Resource:
        """List the seals over the log."""
        return self._get("get_audit_seals", {}, parameters)

    # --------------------------------------------------------------------------------------------------- snapshots

    def get_model_snapshots(self, job_id: str, snapshot_id: str | None = None, **parameters: Any) -> Resource:
        """List model snapshots, the newest first."""
        return self._get("get_model_snapshots", {"job_id": job_id, "snapshot_id": snapshot_id}, parameters)

    def update_model_snapshot(self, job_id: str, snapshot_id: str, body: Any = None, **fields: Any) -> Resource:
        """Change a snapshot's ``description`` or ``retain`` flag."""
        place = {"job_id": job_id, "snapshot_id": snapshot_id}
        return self._get("update_model_snapshot", place, body=_configuration(body, fields))

    def revert_model_snapshot(self, job_id: str, snapshot_id: str, **parameters: Any) -> Resource:
        """Take the model of a closed job back to a snapshot; ``delete_intervening_results``."""
        return self._get("revert_model_snapshot", {"job_id": job_id, "snapshot_id": snapshot_id}, parameters)

    def delete_model_snapshot(self, job_id: str, snapshot_id: str) -> Resource:
        """Delete a snapshot that is not the active one."""
        return self._get("delete_model_snapshot", {"job_id": job_id, "snapshot_id": snapshot_id})

    # --------------------------------------------------------------------------------------------------- datafeeds

    def put_datafeed(self, datafeed_id: str, body: Any = None, **fields: Any) -> Resource:
        """Create a datafeed from its configuration; return it with its defaults."""
        return self._get("put_datafeed", {"datafeed_id": datafeed_id}, body=_configuration(body, fields))

    def get_datafeeds(self, datafeed_id: str | None = None, **parameters: Any) -> Resource:
        """List configurations, of all datafeeds or of those that ids or patterns name."""
        return self._get("get_datafeeds", {"datafeed_id": datafeed_id}, parameters)

    def get_datafeed_stats(self, datafeed_id: str | None = None, **parameters: Any) -> Resource:
        """List statistics: state, searches."""
        return self._get("get_datafeed_stats", {"datafeed_id": datafeed_id}, parameters)

    def preview_datafeed(self, datafeed_id: str | None = None, body: Any = None, **parameters: Any) -> list[Resource]:
        """Return the first records that a datafeed, or one of this configuration, would send."""
        records: list[Resource] = self.perform("preview_datafeed", {"datafeed_id": datafeed_id}, parameters, body=body)
        return records

    def start_datafeed(self, datafeed_id: str, **parameters: Any) -> Resource:
        """Start a datafeed, for a server to run it; ``start``, ``end``."""
        return self._get("start_datafeed", {"datafeed_id": datafeed_id}, parameters)

    def stop_datafeed(self, datafeed_id: str, **parameters: Any) -> Resource:
        """Stop datafeeds; ``force``, ``timeout``, ``allow_no_match``."""
        return self._get("stop_datafeed", {"datafeed_id": datafeed_id}, parameters)

    def update_datafeed(self, datafeed_id: str, body: Any = None, **fields: Any) -> Resource:
        """Change the configuration of a stopped datafeed."""
        return self._get("update_datafeed", {"datafeed_id": datafeed_id}, body=_configuration(body, fields))

    def delete_datafeed(self, datafeed_id: str, **parameters: Any) -> Resource:
        """Delete a datafeed; its history stays."""
        return self._get("delete_datafeed", {"datafeed_id": datafeed_id}, parameters)

    def _get(self, name: str, *arguments: Any, **more: Any) -> Resource:
        answer: Resource = self.perform(name, *arguments, **more)
        return answer


# ------------------------------------------------------------------------------------------------------- the table


@cache
def endpoint_named(name: str) -> Endpoint:
    """Return an endpoint of the table."""
    return next(endpoint for endpoint in all_endpoints() if endpoint.name == name)


def path_of(endpoint: Endpoint, values: Mapping[str, Any]) -> str:
    """Return the path of an endpoint that has exactly the placeholders that have a value."""
    given = {name for name, value in values.items() if value is not None}
    for path in endpoint.paths:
        if set(re.findall(r"{(\w+)}", path)) == given:
            return path
    msg = f"{endpoint.name} takes no {', '.join(sorted(given)) or 'call without an id'}"
    raise InvalidArgument(msg)


def place(endpoint: Endpoint, parameters: Mapping[str, Any]) -> Parameters:
    """Put parameters where the endpoint reads them; those that it does not know go into the query, to be refused."""
    in_body = {name for each in endpoint.parameters if each.place == "body" for name in each.names}
    query: list[tuple[str, str]] = []
    body: Resource = {}
    for name, value in parameters.items():
        if value is None:
            continue
        if name in in_body:
            body[name] = value
        else:
            query.append((name, as_text(value)))
    return Parameters(query, body)


def as_text(value: Any) -> str:
    """Write a parameter as a query has it.

    >>> as_text(True), as_text(5), as_text(datetime(2024, 1, 1, tzinfo=UTC))
    ('true', '5', '2024-01-01T00:00:00Z')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, list | tuple):
        return ",".join(as_text(each) for each in value)
    return str(value)


def _configuration(body: Any, fields: Mapping[str, Any]) -> Any:
    return {**(body or {}), **fields} if fields else body
