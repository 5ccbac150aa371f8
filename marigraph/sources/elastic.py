"""Elasticsearch and OpenSearch as sources, each through its official client (the extras of these names).

Searches go through the client's plain request, which every generation of both clients has. Documents come by a scroll
in order of time, which is a view of the index as of its first page; aggregations are done by the search engine.
"""

import importlib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final
from urllib.parse import quote

from domain.datafeeds import aggregation_body, flatten, query_resource
from domain.datafeeds.schedule import AGGREGATED_CHUNK_INTERVALS, align_down
from marigraph.sources.base import (
    MissingField,
    MissingIndex,
    Page,
    Record,
    Search,
    SourceConfigError,
    SourceError,
    Summary,
)
from marigraph.sources.lines import flat
from marigraph.sources.registry import Options

SCROLL: Final = "5m"
"""How long the engine keeps a scroll between two pages; the job may take its time with one."""

REQUEST_SECONDS_MAX: Final = 120
PAGE_DOCUMENTS_MAX: Final = 10_000
"""The engine's own limit of a page."""

_CLIENTS: Final = {"elasticsearch": ("elasticsearch", "Elasticsearch"), "opensearch": ("opensearchpy", "OpenSearch")}
_ILLEGAL: Final = frozenset('\\/?"<>| ,#:\0\n\r\t')
_HEADERS: Final = {"accept": "application/json", "content-type": "application/json"}


class ElasticSource:
    """A search engine to read from; see ``base.Source``."""

    def __init__(self, name: str, options: Options, kind: str = "elasticsearch") -> None:
        self._name = name
        urls = options.texts("urls") or (options.require_text("url"),)
        settings: dict[str, Any] = {}
        user, password = options.text("user"), options.text("password")
        api_key, ca_certs = options.text("api_key"), options.text("ca_certs")
        verify = options.flag("verify_certs", True)
        self._allowed = options.texts("indices")
        options.finish()
        package, client = _CLIENTS[kind]
        try:
            module = importlib.import_module(package)
        except ImportError as error:
            msg = f"source [{name}] needs a client that is not installed: pip install 'marigraph[{kind}]'"
            raise SourceConfigError(msg) from error
        is_new = kind == "elasticsearch" and int(str(module.__versionstr__).partition(".")[0]) >= 8
        if user is not None:
            settings["basic_auth" if is_new else "http_auth"] = (user, password or "")
        if api_key is not None:
            if kind == "opensearch":
                raise options.wrong(key="api_key", expected="left out: OpenSearch has none")
            settings["api_key"] = api_key
        if ca_certs is not None:
            settings["ca_certs"] = ca_certs
        if any(url.startswith("https") for url in urls):
            settings["verify_certs"] = verify
        settings["request_timeout" if is_new else "timeout"] = REQUEST_SECONDS_MAX
        names = ("ApiError", "TransportError", "ElasticsearchException", "OpenSearchException")
        self._errors = tuple(getattr(module, each) for each in names if hasattr(module, each))
        try:
            self._client = getattr(module, client)(list(urls), **settings)
        except (ValueError, TypeError, *self._errors) as error:
            msg = f"source [{name}]: the client refuses its options: {type(error).__name__}"
            raise SourceConfigError(msg) from error
        self._is_new = is_new

    def check(self, search: Search) -> None:
        """Refuse indices and fields that are not there."""
        self._capabilities(search)

    def summary(self, search: Search, start_ms: int, end_ms: int) -> Summary | None:
        """Ask for the number of documents, and the first and last time."""
        field = {"field": search.time_field}
        body = {
            "size": 0,
            "track_total_hits": True,
            "query": _query(search, start_ms, end_ms),
            "aggs": {"earliest": {"min": field}, "latest": {"max": field}},
        }
        answer = self._search(search, body)
        total = answer["hits"]["total"]
        bounds = [answer.get("aggregations", {}).get(each, {}).get("value") for each in ("earliest", "latest")]
        if bounds[0] is None or bounds[1] is None:
            return Summary(0)
        return Summary(total["value"] if isinstance(total, dict) else total, int(bounds[0]), int(bounds[1]))

    def scan(self, search: Search, start_ms: int, end_ms: int) -> Iterator[Page]:
        """Yield the records of a stretch of time."""
        if search.histogram is None:
            return self._scroll(search, start_ms, end_ms)
        return self._aggregate(search, start_ms, end_ms)

    def count(self, search: Search, start_ms: int, end_ms: int) -> int:
        """Count the documents of a stretch of time."""
        if search.histogram is not None:
            return sum(search.n_documents(page) for page in self.scan(search, start_ms, end_ms))
        body = {"query": _query(search, start_ms, end_ms)}
        found: int = self._on_indices(search, "_count", body)["count"]
        return found

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    # ------------------------------------------------------------------------------------------------------- parts

    def _scroll(self, search: Search, start_ms: int, end_ms: int) -> Iterator[Page]:
        columns = self._capabilities(search)
        body = {
            "size": min(max(search.scroll_size, 1), PAGE_DOCUMENTS_MAX),
            "query": _query(search, start_ms, end_ms),
            "sort": [{search.time_field: {"order": "asc"}}],
            "_source": [name for name in search.fields if name not in columns] or False,
            "docvalue_fields": [
                {"field": search.time_field, "format": "epoch_millis"},
                *({"field": name} for name in search.fields if name in columns),
            ],
        }
        answer = self._search(search, body, scroll=SCROLL)
        scroll_id = answer.get("_scroll_id")
        try:
            while hits := answer["hits"]["hits"]:
                yield [record for record in (_record(search, hit) for hit in hits) if record is not None]
                answer = self._perform("POST", "/_search/scroll", {"scroll": SCROLL, "scroll_id": scroll_id})
                scroll_id = answer.get("_scroll_id", scroll_id)
        finally:
            self._clear(scroll_id)

    def _clear(self, scroll_id: str | None) -> None:
        try:
            self._perform("DELETE", "/_search/scroll", {"scroll_id": [scroll_id]})
        except SourceError:
            return  # it ends by itself

    def _aggregate(self, search: Search, start_ms: int, end_ms: int) -> Iterator[Page]:
        histogram = search.histogram
        assert histogram is not None
        found = self.summary(search, start_ms, end_ms)
        if found is None or found.earliest_ms is None or found.latest_ms is None:
            return
        length = AGGREGATED_CHUNK_INTERVALS * histogram.interval_ms
        begin = max(start_ms, align_down(found.earliest_ms, histogram.interval_ms))
        while begin <= found.latest_ms:
            end = min(align_down(begin, histogram.interval_ms) + length, end_ms)
            body = {"size": 0, "query": _query(search, begin, end), "aggs": aggregation_body(histogram)}
            records = list(flatten(histogram, self._search(search, body).get("aggregations", {})))
            if records:
                yield records
            begin = end

    def _capabilities(self, search: Search) -> frozenset[str]:
        """Return the fields whose values are kept by column; the others are read from the documents.

        Raises
        ------
        MissingIndex, MissingField
        """
        wanted = (search.time_field, *search.read_fields)
        answer = self._on_indices(search, "_field_caps", None, method="GET", fields=",".join(wanted))
        if not answer.get("indices", True):
            raise MissingIndex(search.indices[0])
        known: Mapping[str, Mapping[str, Any]] = answer.get("fields", {})
        for field in wanted:
            if not any(kind != "unmapped" for kind in known.get(field, {})):
                raise MissingField(search.datafeed_id, field)
        return frozenset(
            field for field in search.fields if all(each.get("aggregatable") for each in known[field].values())
        )

    def _search(self, search: Search, body: Mapping[str, Any], **parameters: str) -> Any:
        return self._on_indices(search, "_search", body, **parameters)

    def _on_indices(
        self, search: Search, action: str, body: Mapping[str, Any] | None, *, method: str = "POST", **parameters: str
    ) -> Any:
        for index in search.indices:
            if not self._is_allowed(index):
                raise MissingIndex(index)
        path = f"/{','.join(quote(index, safe='*') for index in search.indices)}/{action}"
        return self._perform(method, path, body, index=search.indices[0], **parameters)

    def _is_allowed(self, index: str) -> bool:
        """Tell whether an index may be asked for: an index or a pattern, nothing that the engine reads otherwise."""
        if not index or index[0] in "_-+." or any(character in _ILLEGAL for character in index):
            return False
        if self._allowed is None:
            return True
        for pattern in self._allowed:
            if index == pattern or ("*" not in index and fnmatchcase(index, pattern)):
                return True
            if pattern.endswith("*") and "*" not in pattern[:-1] and index.startswith(pattern[:-1]):
                return True
        return False

    def _perform(
        self, method: str, path: str, body: Mapping[str, Any] | None, index: str | None = None, **parameters: str
    ) -> Any:
        try:
            if self._is_new:
                answer = self._client.perform_request(
                    method, path, params=parameters or None, headers=_HEADERS, body=body
                )
                return answer.body
            return self._client.transport.perform_request(
                method, path, headers=_HEADERS, params=parameters or None, body=body
            )
        except self._errors as error:
            if getattr(error, "status_code", None) == 404 and index is not None:
                raise MissingIndex(index) from error
            msg = f"source [{self._name}] failed: {' '.join(str(error).split())[:500]}"
            raise SourceError(msg) from error


def _query(search: Search, start_ms: int, end_ms: int) -> dict[str, Any]:
    stretch = {"gte": start_ms, "lt": end_ms, "format": "epoch_millis"}
    return {"bool": {"filter": [query_resource(search.query), {"range": {search.time_field: stretch}}]}}


def _record(search: Search, hit: Mapping[str, Any]) -> Record | None:
    """Return the wanted fields of a document; None if it has no time."""
    columns = hit.get("fields", {})
    times = columns.get(search.time_field)
    if not times:
        return None
    record: Record = {search.time_field: int(float(times[0]))}
    source = flat(hit.get("_source") or {})
    for name in search.fields:
        value = columns.get(name, source.get(name))
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if value is not None:
            record[name] = value
    return record
