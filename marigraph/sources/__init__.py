"""Sources: where the records of datafeeds come from; configured by who runs the server, never named by a client.

``base.py`` says what a source can do, ``registry.py`` reads the configuration; ``sql.py``, ``files.py`` and
``elastic.py`` are the kinds there are. A client chooses a source by its name and, within it, tables, files below a
root, or indices; nothing that it sends becomes a URL, a path outside of the root, or SQL text.
"""

from marigraph.sources.base import MissingField, MissingIndex, Search, Source, SourceError, Summary
from marigraph.sources.registry import Sources

__all__ = ["MissingField", "MissingIndex", "Search", "Source", "SourceError", "Sources", "Summary"]
