"""The page for people at ``/_docs``: the OpenAPI document as plain HTML, without scripts and without the network."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code{font-family:ui-monospace,monospace}h2{margin-top:2rem}details{margin:.4rem 0}"
    "summary{cursor:pointer}b{display:inline-block;min-width:4.5rem}td{padding:0 1rem 0 0;vertical-align:top}"
)


def render(document: Mapping[str, Any]) -> str:
    """Return the page of an OpenAPI document."""
    title = escape(f"{document['info']['title']} {document['info']['version']}")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head>"
        f"<body><h1>{title}</h1><p>{escape(document['info'].get('summary', ''))}</p>"
        '<p>For programs: <a href="/_openapi.json">/_openapi.json</a>. Each path below <code>/_ml</code> is answered '
        "below <code>/_xpack/ml</code> too.</p>"
        f"{''.join(_sections(document))}</body></html>\n"
    )


def _sections(document: Mapping[str, Any]) -> Iterator[str]:
    groups: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            tag = operation.get("tags", ["other"])[0]
            groups.setdefault(tag, []).append(_operation(method, path, operation))
    for tag, operations in groups.items():
        yield f"<h2>{escape(tag)}</h2>{''.join(operations)}"


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    rows = "".join(_parameter(each) for each in operation.get("parameters", ()))
    body = "".join(_field(each) for each in _body_fields(operation))
    return (
        f"<details><summary><b>{escape(method.upper())}</b> <code>{escape(path)}</code> "
        f"{escape(operation.get('summary', ''))}</summary><table>{rows}{body}</table></details>"
    )


def _parameter(parameter: Mapping[str, Any]) -> str:
    kind = parameter.get("schema", {}).get("type", "")
    text = parameter.get("description", "")
    return (
        f"<tr><td><code>{escape(parameter['name'])}</code></td><td>{escape(parameter['in'])}</td>"
        f"<td>{escape(kind)}</td><td>{escape(text)}</td></tr>"
    )


def _body_fields(operation: Mapping[str, Any]) -> list[tuple[str, str]]:
    content = operation.get("requestBody", {}).get("content", {})
    properties = content.get("application/json", {}).get("schema", {}).get("properties", {})
    return [(name, schema.get("type", "")) for name, schema in properties.items()]


def _field(field: tuple[str, str]) -> str:
    name, kind = field
    return f"<tr><td><code>{escape(name)}</code></td><td>body</td><td>{escape(kind)}</td><td></td></tr>"
