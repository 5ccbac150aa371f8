"""The configured sources: read from a TOML file that only who runs the server can write.

::

    [sources.shop]
    type = "sql"
    url = "postgresql://reader:${SHOP_PASSWORD}@db/shop"    # ${NAME} is taken from the environment
    tables = ["orders", "request*"]                         # optional: what may be searched; default: everything
    [sources.shop.queries]
    slow = "SELECT time, page, ms FROM requests WHERE ms > 100"

    [sources.logs]
    type = "files"
    root = "/var/log/shop"                                  # indices are globs below it

    [sources.search]
    type = "elasticsearch"                                  # or "opensearch"
    url = "https://search:9200"
    indices = ["logs-*"]                                    # optional: what may be searched
"""

import os
import re
import threading
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from domain.datafeeds import DatafeedConfig
from domain.errors import BadRequest
from marigraph.sources.base import MissingIndex, Source, SourceConfigError

_VARIABLE: Final = re.compile(r"\$\{(\w+)\}")
_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}")
CONFIG_BYTES_MAX: Final = 1024 * 1024


class Sources:
    """The sources of one process, each opened when it is first used.

    Parameters
    ----------
    definitions : mapping
        Name to options, as in the file.
    environment : mapping
        What ``${NAME}`` in the options is taken from.
    """

    def __init__(self, definitions: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> None:
        self._definitions = {name: _resolve(name, options, environment) for name, options in definitions.items()}
        self._opened: dict[str, Source] = {}
        self._guard = threading.Lock()

    @classmethod
    def read(cls, path: str | Path | None, environment: Mapping[str, str] = os.environ) -> "Sources":
        """Read the configuration; no path means no sources.

        Raises
        ------
        SourceConfigError
            The file cannot be read, or is wrong; the message says where.
        """
        if path is None:
            return cls({}, environment)
        try:
            text = Path(path).read_bytes()[:CONFIG_BYTES_MAX].decode()
            content = tomllib.loads(text)
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            msg = f"the sources file {path} cannot be read: {error}"
            raise SourceConfigError(msg) from error
        definitions = content.pop("sources", {})
        if content or not isinstance(definitions, dict):
            msg = f"the sources file {path} may hold tables [sources.NAME] only, got {', '.join(content) or 'no table'}"
            raise SourceConfigError(msg)
        sources = cls(definitions, environment)
        sources.check()
        return sources

    def check(self) -> None:
        """Make every source once, so that a wrong option is noticed at start; no connection is opened by that."""
        for name in self._definitions:
            self._open(name)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all sources."""
        return tuple(sorted(self._definitions))

    def check_name(self, name: str | None) -> None:
        """Refuse a datafeed whose source is not configured, or not named where there are several.

        Without any source a datafeed can be made, but its indices will not be found.
        """
        known = ", ".join(self.names)
        if name is not None and name not in self._definitions:
            msg = f"source [{name[:64]}] is not configured on this server; it has [{known}]"
            raise BadRequest(msg)
        if name is None and len(self._definitions) > 1:
            msg = f'the server has the sources [{known}]; choose one of them by "source": {{"name": ...}}'
            raise BadRequest(msg)

    def of(self, config: DatafeedConfig) -> Source:
        """Return the source of a datafeed.

        Raises
        ------
        MissingIndex
            There are no sources at all.
        BadRequest
            Its source is not configured (any more).
        """
        if not self._definitions and config.source is None:
            raise MissingIndex(config.indices[0])
        self.check_name(config.source)
        return self._open(config.source or self.names[0])

    def close(self) -> None:
        """Let go of all connections."""
        with self._guard:
            opened, self._opened = list(self._opened.values()), {}
        for source in opened:
            source.close()

    def _open(self, name: str) -> Source:
        with self._guard:
            source = self._opened.get(name)
            if source is None:
                source = self._opened[name] = _make(name, self._definitions[name])
            return source


def _make(name: str, options: dict[str, Any]) -> Source:
    options = dict(options)
    kind = options.pop("type", None)
    match kind:  # each kind's drivers load only where it is used
        case "sql":
            from marigraph.sources.sql import SqlSource

            return SqlSource(name, Options(name, options))
        case "files":
            from marigraph.sources.files import FileSource

            return FileSource(name, Options(name, options))
        case "elasticsearch" | "opensearch":
            from marigraph.sources.elastic import ElasticSource

            return ElasticSource(name, Options(name, options), kind)
    msg = f"source [{name}]: type must be one of sql, files, elasticsearch, opensearch, got [{kind}]"
    raise SourceConfigError(msg)


class Options:
    """The options of one source: each may be asked for once, and none may be left over."""

    def __init__(self, name: str, values: dict[str, Any]) -> None:
        self._name = name
        self._values = values

    def text(self, key: str) -> str | None:
        """Take an optional text."""
        value = self._values.pop(key, None)
        if value is None or isinstance(value, str):
            return value
        raise self.wrong(key=key, expected="a text")

    def require_text(self, key: str) -> str:
        """Take a text that must be there."""
        value = self.text(key)
        if not value:
            raise self.wrong(key=key, expected="a text")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """Take a boolean."""
        value = self._values.pop(key, default)
        if isinstance(value, bool):
            return value
        raise self.wrong(key=key, expected="true or false")

    def texts(self, key: str) -> tuple[str, ...] | None:
        """Take an optional list of texts."""
        value = self._values.pop(key, None)
        if value is None:
            return None
        if isinstance(value, list) and all(isinstance(item, str) and item for item in value):
            return tuple(value)
        raise self.wrong(key=key, expected="a list of texts")

    def mapping(self, key: str) -> dict[str, str]:
        """Take an optional table of texts."""
        value = self._values.pop(key, {})
        if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
            return dict(value)
        raise self.wrong(key=key, expected="a table of texts")

    def finish(self) -> None:
        """Refuse what was not asked for."""
        if self._values:
            msg = f"source [{self._name}] has unknown options: {', '.join(sorted(self._values))}"
            raise SourceConfigError(msg)

    def wrong(self, *, key: str, expected: str) -> SourceConfigError:
        """Return the error of an option."""
        return SourceConfigError(f"source [{self._name}]: {key} must be {expected}")


def _resolve(name: str, options: Any, environment: Mapping[str, str]) -> dict[str, Any]:
    if not _NAME.fullmatch(name) or not isinstance(options, dict):
        msg = f"[sources.{name}]: a source is a table with a name of letters, digits, '_', '.' and '-'"
        raise SourceConfigError(msg)

    def value_of(match: re.Match[str]) -> str:
        if match[1] not in environment:
            msg = f"source [{name}]: the environment has no {match[1]}"
            raise SourceConfigError(msg)
        return environment[match[1]]

    def resolved(value: Any) -> Any:
        if isinstance(value, str):
            return _VARIABLE.sub(value_of, value)
        if isinstance(value, list):
            return [resolved(item) for item in value]
        return {key: resolved(item) for key, item in value.items()} if isinstance(value, dict) else value

    return {key: resolved(value) for key, value in options.items()}
