"""The operations of the API on a server, over HTTP."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import httpx
import msgspec

from domain import errors
from domain.errors import DomainError, InvalidArgument
from marigraph import __version__
from marigraph.api.endpoints import BASES, Endpoint, Lane
from marigraph.data_files import sized_blocks
from marigraph.operations import Advance, Operations, Posted, Resource, as_text, endpoint_named, path_of, place
from marigraph.settings import Credentials
from marigraph.uploads import Splitter, add_counts

CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 120.0
WAIT_SECONDS: Final = 31 * 60.0
"""For operations that wait for an analysis: the API's default timeout, and a little."""

TRIES_MAX: Final = 8
PAUSE_SECONDS_MAX: Final = 30.0
RETRIED: Final = (429, 503)

PAGE_MAX: Final = 10_000
"""What a server gives at once."""

REFUSALS: Final[dict[tuple[int, str], type[DomainError]]] = {
    (404, "resource_not_found_exception"): errors.NotFound,
    (400, "resource_already_exists_exception"): errors.AlreadyExists,
    (409, "status_exception"): errors.Conflict,
    (400, "status_exception"): errors.BadRequest,
    (400, "illegal_argument_exception"): errors.InvalidArgument,
    (400, "parse_exception"): errors.ParseError,
    (400, "x_content_parse_exception"): errors.UnknownField,
    (429, "status_exception"): errors.TooManyRequests,
}


class ServerError(DomainError):
    """A server cannot be reached, refuses the credentials, or answers what is no answer."""


class RemoteMarigraph(Operations):
    """Anomaly-detection jobs on a server.

    Parameters
    ----------
    url : str
        Of the server, ``http://`` or ``https://``.
    credentials : Credentials
    request_id : str
        Goes on every event.
    """

    def __init__(self, url: str, credentials: Credentials, request_id: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            msg = "the server must be http://HOST:PORT or https://HOST:PORT, credentials stand elsewhere"
            raise InvalidArgument(msg)
        headers = {"User-Agent": f"marigraph/{__version__}", "X-Opaque-Id": request_id}
        if credentials.api_key is not None:
            headers["Authorization"] = f"ApiKey {credentials.api_key}"
        self._url = url.rstrip("/")
        user = credentials.user
        self._client = httpx.Client(
            headers=headers,
            auth=(user, credentials.password or "") if user is not None and credentials.api_key is None else None,
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            verify=parts.scheme == "https",  # to read the certificates takes longer than most commands
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def perform(
        self,
        name: str,
        path: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        *,
        body: Any = None,
        data: bytes = b"",
    ) -> Any:
        """Carry out an operation of the table; see ``Operations.perform``."""
        return self._call(endpoint_named(name), path or {}, parameters or {}, body=body, data=data)

    def _call(
        self,
        endpoint: Endpoint,
        path: Mapping[str, Any],
        parameters: Mapping[str, Any],
        *,
        body: Any = None,
        data: bytes = b"",
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Any:
        values = {name: quote(as_text(value), safe="") for name, value in path.items() if value is not None}
        url = self._url + ("" if endpoint.is_absolute else BASES[0]) + path_of(endpoint, path).format_map(values)
        query, fields = place(endpoint, parameters)
        if query:
            url += f"?{urlencode(query)}"
        content, sent = data, dict(headers)
        if endpoint.body == "records":
            sent["Content-Type"] = "application/octet-stream"
        elif body is not None or fields:
            content = msgspec.json.encode(body if endpoint.body == "resource" else fields)
            sent["Content-Type"] = "application/json"
        method = "POST" if fields and "POST" in endpoint.methods else endpoint.methods[0]
        seconds = WAIT_SECONDS if endpoint.lane is Lane.WAIT else READ_SECONDS
        timeout = httpx.Timeout(seconds, connect=CONNECT_SECONDS)
        try:
            response = self._client.request(method, url, content=content, headers=sent, timeout=timeout)
        except httpx.HTTPError as error:
            msg = f"cannot reach {self._url}: {error}"
            raise ServerError(msg) from error
        return _read(response)

    # ---------------------------------------------------------------------------------------------- lists and files

    def every(self, name: str, path: Mapping[str, Any], parameters: Mapping[str, Any]) -> Resource:
        """Return the whole of a list; see ``Operations.every``.

        What does not fit into one page is read in order of time, and sorted here.
        """
        found: Resource = self.perform(name, path, {**parameters, "from": 0, "size": PAGE_MAX})
        plural = next(each for each in found if each != "count")
        if len(found[plural]) >= found["count"]:
            return found
        if name == "get_history":
            return self._every_event(path, parameters, found)
        if not any(each.name == "sort" for each in endpoint_named(name).parameters) or name == "get_model_snapshots":
            msg = f"there are {found['count']} {plural}, and a server gives {PAGE_MAX} at once"
            raise InvalidArgument(msg)
        rows = self._by_time(name, path, parameters, plural)
        return {"count": len(rows), plural: _sorted(rows, name, parameters)}

    def _by_time(
        self, name: str, path: Mapping[str, Any], parameters: Mapping[str, Any], plural: str
    ) -> list[Resource]:
        rows: list[Resource] = []
        start = parameters.get("start")
        while True:
            asked = {**parameters, "start": start, "sort": "timestamp", "desc": False, "from": 0, "size": PAGE_MAX}
            page: list[Resource] = self.perform(name, path, asked)[plural]
            if len(page) < PAGE_MAX:
                return rows + page
            start = page[-1]["timestamp"]  # may go on behind the page: it is read again from its beginning
            kept = [row for row in page if row["timestamp"] < start]
            if not kept:
                msg = f"more than {PAGE_MAX} {plural} have the time {start}: a server cannot give them all"
                raise InvalidArgument(msg)
            rows += kept

    def _every_event(self, path: Mapping[str, Any], parameters: Mapping[str, Any], first: Resource) -> Resource:
        events = first["events"]
        while len(events) < first["count"]:
            asked = {**parameters, "after_version": events[-1]["version"], "from": 0, "size": PAGE_MAX}
            page = self.perform("get_history", path, asked)["events"]
            if not page:
                break
            events += page
        return {"count": len(events), "events": events}

    def post_files(self, job_id: str, paths: Sequence[Path], advance: Advance) -> Posted:
        """Post files; see ``Operations.post_files``.

        Each body has a key made of all bytes of the file up to its end, so that one that is sent again, because no
        answer came or because the same command was given again, is stored once.
        """
        description = self.get_jobs(job_id)["jobs"][0]["data_description"]
        counts: Resource = {}
        for path in paths:
            splitter, digest = Splitter(description), hashlib.blake2b(digest_size=16)
            for data, n_bytes in sized_blocks(path):
                digest.update(data)
                body = splitter.feed(data)
                if body:
                    posted = self._post(job_id, body, digest.hexdigest())
                    counts = add_counts(counts, posted)
                advance(n_bytes, posted["input_record_count"] if body else 0)
            if body := splitter.finish():
                counts = add_counts(counts, self._post(job_id, body, f"{digest.hexdigest()}-end"))
        return Posted(counts or self._post(job_id, b"", "empty"), 0)

    def _post(self, job_id: str, body: bytes, key: str) -> Resource:
        for attempt in range(TRIES_MAX):
            pause = min(2.0**attempt / 4, PAUSE_SECONDS_MAX)
            try:
                headers = {"Idempotency-Key": key}
                answer: Resource = self._call(
                    endpoint_named("post_data"), {"job_id": job_id}, {}, data=body, headers=headers
                )
            except (ServerError, errors.TooManyRequests) as error:
                if attempt == TRIES_MAX - 1 or getattr(error, "is_final", False):
                    raise
                time.sleep(pause)
            else:
                return answer
        raise AssertionError


def _read(response: httpx.Response) -> Any:
    """Return the answer of a response; the error that it tells of, if it does."""
    try:
        answer = msgspec.json.decode(response.content)
    except msgspec.MsgspecError:
        answer = None
    if response.is_success and answer is not None:
        return answer
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        msg = f"the server answered {response.status_code}: {str(error or response.text)[:500]}"
        raise _final(ServerError(msg), response.status_code)
    kind = REFUSALS.get((response.status_code, str(error.get("type"))), ServerError)
    raise _final(kind(str(error.get("reason"))), response.status_code)


def _final(error: DomainError, status: int) -> DomainError:
    """Mark an error that asking again would not change."""
    error.is_final = status not in RETRIED  # type: ignore[attr-defined]
    return error


def _sorted(rows: list[Resource], name: str, parameters: Mapping[str, Any]) -> list[Resource]:
    """Sort rows as the server does: by the field, then by time; rows of one bucket stay as they were written."""
    usual = {"get_buckets": "timestamp", "get_records": "record_score", "get_influencers": "influencer_score"}
    field = parameters.get("sort") or usual[name]
    desc = parameters.get("desc")
    is_descending = (name != "get_buckets") if desc is None else bool(desc)
    return sorted(rows, key=lambda row: (row[field], row["timestamp"]), reverse=is_descending)
