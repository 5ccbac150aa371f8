"""How an answer is written: ``human`` times beside the numbers, ``filter_path``, ``pretty``.

>>> shape({"count": 1, "jobs": [{"create_time": 0, "job_id": "a"}]}, human=True, filter_path="jobs.create*")
{'jobs': [{'create_time_string': '1970-01-01T00:00:00.000Z', 'create_time': 0}]}
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, Final

import msgspec

TIMES: Final = frozenset(
    {
        "create_time",
        "finished_time",
        "timestamp",
        "earliest_record_timestamp",
        "latest_record_timestamp",
        "last_data_time",
        "latest_empty_bucket_timestamp",
        "latest_sparse_bucket_timestamp",
        "log_time",
        "latest_record_time_stamp",
        "latest_result_time_stamp",
        "last_finalized_bucket_end",
    }
)
"""Fields that are milliseconds since the epoch."""

FREE: Final = "custom_settings"
"""What stands below this is the user's own, whatever its names."""

FILTERS_MAX: Final = 100
"""Patterns of one ``filter_path``."""


def shape(answer: Any, *, human: bool = False, filter_path: str | None = None) -> Any:
    """Return an answer with what the common parameters ask for."""
    if human:
        answer = _with_strings(answer)
    if filter_path:
        patterns = [pattern.strip() for pattern in filter_path.split(",")][:FILTERS_MAX]
        wanted = [pattern.split(".") for pattern in patterns if pattern and not pattern.startswith("-")]
        refused = [pattern[1:].split(".") for pattern in patterns if pattern.startswith("-")]
        if wanted:
            answer = _included(answer, wanted)
        if refused:
            answer = _excluded(answer, refused)
    return answer


def encode(answer: Any, *, pretty: bool = False) -> bytes:
    """Write an answer as JSON."""
    body = msgspec.json.encode(answer)
    return msgspec.json.format(body, indent=2) + b"\n" if pretty else body


def _with_strings(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_strings(item) for item in value]
    if not isinstance(value, dict):
        return value
    shaped: dict[str, Any] = {}
    for name, item in value.items():
        if name in TIMES and isinstance(item, int):
            shaped[f"{name}_string"] = _iso(item)
        shaped[name] = item if name == FREE else _with_strings(item)
    return shaped


def _iso(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms // 1000, UTC).replace(microsecond=time_ms % 1000 * 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _included(value: Any, patterns: Sequence[Sequence[str]]) -> Any:
    """Keep what any of the patterns leads to; an object that nothing is kept of is left out."""
    if any(not pattern for pattern in patterns):
        return value
    if isinstance(value, list):
        kept = [_included(item, patterns) for item in value]
        return [item for item in kept if item not in ({}, [])]
    if not isinstance(value, dict):
        return {}
    shaped = {}
    for name, item in value.items():
        below = _below(name, patterns)
        if below:
            inner = _included(item, below)
            if inner not in ({}, []) or item in ({}, []):
                shaped[name] = inner
    return shaped


def _excluded(value: Any, patterns: Sequence[Sequence[str]]) -> Any:
    if isinstance(value, list):
        return [_excluded(item, patterns) for item in value]
    if not isinstance(value, dict):
        return value
    shaped = {}
    for name, item in value.items():
        below = _below(name, patterns)
        if not any(not pattern for pattern in below):
            shaped[name] = _excluded(item, below) if below else item
    return shaped


def _below(name: str, patterns: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Return what is left of the patterns that admit a name; ``**`` stands for any number of names."""
    left: list[Sequence[str]] = []
    for pattern in patterns:
        if not pattern:
            continue
        if pattern[0] == "**":
            left.append(pattern)
            left.extend(_below(name, [pattern[1:]]))
        elif fnmatchcase(name, pattern[0]):
            left.append(pattern[1:])
    return left
