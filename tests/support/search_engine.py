"""A small search engine: the part of Elasticsearch's search API that a datafeed needs, over documents in memory.

It shares no code with the program. Every request is kept, so that tests can look at what was asked.
"""

import json
import threading
from contextlib import contextmanager
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count, pairwise
from urllib.parse import parse_qs, unquote, urlsplit

TAGLINE = "You Know, for Search"


class Engine:
    """Indices by name, each a list of documents; ``time`` is a date, texts are keywords but for ``message``."""

    def __init__(self):
        self.indices = {}
        self.requests = []
        self.scrolls = {}
        self.failures = []
        self.authorization = []
        self._ids = count(1)

    def answer(self, method, path, parameters, body):
        if self.failures:
            return self.failures.pop(0)
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if parts == ["_search", "scroll"]:
            return self._scroll(method, body)
        if len(parts) != 2:
            return 400, {"error": {"type": "x", "reason": f"no handler for {path}"}, "status": 400}
        names, action = parts
        found = []
        for name in names.split(","):
            matched = [each for each in self.indices if fnmatchcase(each, name)]
            if not matched and "*" not in name:
                cause = {"type": "index_not_found_exception", "reason": f"no such index [{name}]"}
                return 404, {"error": {"root_cause": [cause], **cause}, "status": 404}
            found += matched
        documents = [document for name in sorted(set(found)) for document in self.indices[name]]
        if action == "_field_caps":
            return 200, self._capabilities(found, documents, parameters["fields"].split(","))
        documents = [document for document in documents if holds(body["query"], document)]
        if action == "_count":
            return 200, {"count": len(documents)}
        assert action == "_search", action
        return 200, self._search(documents, body, parameters)

    def _capabilities(self, names, documents, fields):
        known = {}
        for field in fields:
            values = [value for document in documents for value in values_of(document, field)]
            if values:
                kind = "date" if field == "time" else "text" if field == "message" else "keyword"
                if not isinstance(values[0], str) and field != "time":
                    kind = "double"
                known[field] = {kind: {"type": kind, "searchable": True, "aggregatable": kind != "text"}}
        return {"indices": names, "fields": known}

    def _search(self, documents, body, parameters):
        answer = {"hits": {"total": {"value": len(documents), "relation": "eq"}, "hits": []}}
        if "aggs" in body:
            answer["aggregations"] = aggregate(body["aggs"], documents)
        if body["size"]:
            ((field, order),) = body["sort"][0].items()
            assert order == {"order": "asc"}
            documents = sorted(documents, key=lambda document: document[field])
            hits = [hit_of(document, body) for document in documents]
            answer["hits"]["hits"] = hits[: body["size"]]
            if "scroll" in parameters:
                name = f"scroll-{next(self._ids)}"
                self.scrolls[name] = (hits[body["size"] :], body["size"])
                answer["_scroll_id"] = name
        return answer

    def _scroll(self, method, body):
        if method == "DELETE":
            for name in body["scroll_id"]:
                self.scrolls.pop(name, None)
            return 200, {"succeeded": True}
        if body["scroll_id"] not in self.scrolls:
            return 404, {"error": {"type": "search_context_missing_exception", "reason": "gone"}, "status": 404}
        hits, size = self.scrolls[body["scroll_id"]]
        self.scrolls[body["scroll_id"]] = (hits[size:], size)
        return 200, {"_scroll_id": body["scroll_id"], "hits": {"hits": hits[:size]}}


def values_of(document, field):
    value = document
    for part in [field] if field in document else field.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value if isinstance(value, list) else [] if value is None else [value]


def holds(query, document):
    ((kind, options),) = query.items()
    if kind == "match_all":
        return True
    if kind == "exists":
        return bool(values_of(document, options["field"]))
    if kind == "bool":
        required = [*options.get("must", []), *options.get("filter", [])]
        should = options.get("should", [])
        needed = int(options.get("minimum_should_match", 0 if required else min(len(should), 1)))
        return (
            all(holds(part, document) for part in required)
            and not any(holds(part, document) for part in options.get("must_not", []))
            and sum(holds(part, document) for part in should) >= needed
        )
    ((field, condition),) = [(name, value) for name, value in options.items() if name != "boost"]
    values = values_of(document, field)
    if kind == "term":
        return any(str(value) == str(condition["value"]) for value in values)
    if kind == "terms":
        return any(str(value) in map(str, condition) for value in values)
    assert kind == "range", kind
    return any(within(value, condition) for value in values)


def within(value, condition):
    low, high = condition.get("gte", condition.get("from")), condition.get("lt", condition.get("to"))
    includes_low = condition.get("include_lower", True)
    includes_high = condition.get("include_upper", False)
    above = low is None or value > low or (includes_low and value == low)
    return above and (high is None or value < high or (includes_high and value == high))


def aggregate(body, documents):
    made = {name: each for name, each in body.items() if "derivative" not in each}
    return {name: aggregation(definition, documents) for name, definition in made.items()}


def derive(body, buckets):
    """Add to each bucket but the first how its values differ from those of the one before."""
    for name, each in body.items():
        path = each.get("derivative", {}).get("buckets_path")
        for before, after in pairwise(buckets if path else ()):
            after[name] = {"value": after[path]["value"] - before[path]["value"]}


def aggregation(definition, documents):
    ((kind, options),) = [(key, value) for key, value in definition.items() if key != "aggs"]
    field = options["field"]
    values = [value for document in documents for value in values_of(document, field)]
    if kind in ("histogram", "terms"):
        groups = {}
        for document in documents:
            for value in values_of(document, field):
                key = value // options["interval"] * options["interval"] if kind == "histogram" else value
                groups.setdefault(key, []).append(document)
        order = sorted(groups) if kind == "histogram" else sorted(groups, key=lambda key: (-len(groups[key]), key))
        buckets = [
            {"key": key, "doc_count": len(groups[key]), **aggregate(definition.get("aggs", {}), groups[key])}
            for key in order
        ]
        derive(definition.get("aggs", {}), buckets)
        return {"buckets": buckets[: options.get("size")]}
    if kind == "value_count":
        return {"value": len(values)}
    if not values:
        return {"value": 0.0 if kind == "sum" else None}
    return {"value": float({"max": max, "min": min, "sum": sum, "avg": mean}[kind](values))}


def mean(values):
    return sum(values) / len(values)


def hit_of(document, body):
    source = body["_source"]
    columns = {}
    for wanted in body["docvalue_fields"]:
        values = values_of(document, wanted["field"])
        if values:
            columns[wanted["field"]] = [str(value) for value in values] if "format" in wanted else values
    return {"_id": str(id(document)), "_source": document if source else None, "fields": columns}


@contextmanager
def running_engine():
    """Serve an engine on a port of this machine; gives it and its URL."""
    engine = Engine()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            url = urlsplit(self.path)
            parameters = {name: values[0] for name, values in parse_qs(url.query).items()}
            if url.path == "/":  # clients of 7.14 on ask first who is there
                return self._send(200, {"version": {"number": "7.17.0", "build_flavor": "default"}, "tagline": TAGLINE})
            engine.requests.append((self.command, unquote(url.path), parameters, body))
            engine.authorization.append(self.headers.get("Authorization"))
            status, answer = engine.answer(self.command, url.path, parameters, body)
            return self._send(status, answer)

        def _send(self, status, answer):
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("X-Elastic-Product", "Elasticsearch")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_DELETE = do_POST

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield engine, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
