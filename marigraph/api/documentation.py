"""What the OpenAPI document says of an endpoint."""

import re
from typing import Any, Final

from marigraph.api.endpoints import Endpoint
from marigraph.api.parameters import Parameter

TYPES: Final = {
    "text": {"type": "string"},
    "bool": {"type": "boolean"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "duration": {"type": "string", "examples": ["30s", "5m"]},
    "object": {"type": "object"},
}
ERRORS: Final = {
    400: "a parameter or the body is wrong",
    401: "credentials are missing or wrong",
    403: "the credentials do not give the privilege",
    404: "there is no such job or result",
    405: "the path has other methods",
    406: "the type of the body, or the format asked for, is none that is understood",
    408: "the body did not come in time",
    409: "the state of the job does not allow it",
    413: "the body is too long",
    429: "no capacity now; send it again later",
    500: "an error of the server",
    501: "not in this version",
    503: "the database cannot be reached now",
}


SECURITY_SCHEMES: Final = {
    "basic": {"type": "http", "scheme": "basic", "description": "A user; needed unless the server asks nobody."},
    "key": {"type": "apiKey", "in": "header", "name": "Authorization", "description": "`ApiKey` and an encoded key."},
}
PATH_NAMES: Final = ((), ("one",), ("two",))
"""What tells the operations of an endpoint apart that has several paths."""
ALWAYS: Final = (400, 401, 403, 406, 429, 500, 503)
OF_BODIES: Final = (408, 413)


def describe(endpoint: Endpoint, path: str, method: str) -> dict[str, Any]:
    """Return the parts of an operation that the routes do not know by themselves."""
    is_one_of_several = len(endpoint.methods) > 1
    shown: dict[str, Any] = {
        "summary": endpoint.summary,
        "operationId": "_".join(
            (
                endpoint.name,
                *PATH_NAMES[endpoint.full_paths.index(path) % len(endpoint.paths)],
                *((method.lower(),) if is_one_of_several else ()),
            )
        ),
        "tags": [endpoint.answer.__module__.rpartition(".")[2]],
        "parameters": [
            *[_in_path(name) for name in re.findall(r"{(\w+)}", path)],
            *[_in_query(each) for each in endpoint.parameters if each.place != "body"],
        ],
        "responses": {
            str(endpoint.status): {"description": "done", "content": {endpoint.media_type: {}}},
            **{
                str(status): {"description": ERRORS[status], "content": {"application/json": {}}}
                for status in _refusals(endpoint, path)
                if status != endpoint.status
            },
        },
    }
    body = _body(endpoint)
    if body:
        shown["requestBody"] = body
    if endpoint.privilege != "none":
        shown["security"] = [{name: []} for name in SECURITY_SCHEMES]
    return shown


def _refusals(endpoint: Endpoint, path: str) -> list[int]:
    """Return the statuses, other than its own, that an endpoint may answer with."""
    changes = endpoint.privilege == "manage_ml"
    return sorted(
        {
            *ALWAYS,
            *(OF_BODIES if endpoint.body != "none" else (413,)),
            *((404,) if "{" in path or endpoint.parameters else ()),
            *((409,) if changes else ()),
        }
    )


def _in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _in_query(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": "query",
        "required": False,
        "schema": TYPES[parameter.kind],
        "description": parameter.description,
    }


def _body(endpoint: Endpoint) -> dict[str, Any] | None:
    if endpoint.body == "parameters":
        properties = {each.name: TYPES[each.kind] for each in endpoint.parameters if each.place != "query"}
        schema = {"type": "object", "properties": properties, "additionalProperties": False}
        return {"required": False, "content": {"application/json": {"schema": schema}}}
    if endpoint.body == "resource":
        return {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
    if endpoint.body == "records" and endpoint.status == 202:
        return {
            "required": True,
            "content": {
                "application/x-ndjson": {"schema": {"type": "string"}},
                "application/json": {"schema": {}},
                "text/csv": {"schema": {"type": "string"}},
            },
        }
    return None
