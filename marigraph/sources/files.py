"""Files as a source: CSV with a header or NDJSON, plain or gzip, below one root directory, also while they grow.

``indices`` are globs relative to the root. A glob is never allowed to leave it: absolute names and ``..`` are no index,
and a file that a symbolic link leads outside of the root to is passed over. What is opened is the resolved path, which
must be a plain file.

Files have no index by time, so a stretch of time is read in one pass: files are merged by their times, each only open
while its time has come, and lines that are a little out of order are put in order. Where a file was read up to, with
everything before it older than what was searched, is kept in memory, so that a growing file is not read again from its
beginning at each search; after a restart it is, once.
"""

import heapq
import logging
import os
import stat
from collections.abc import Iterator
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Final

from domain.datafeeds import predicate_of
from marigraph.sources.base import (
    MissingField,
    MissingIndex,
    Page,
    Record,
    Search,
    SourceConfigError,
    SourceError,
    Summary,
    aggregated,
    paged,
)
from marigraph.sources.lines import LineFile, Mark, ReadError
from marigraph.sources.registry import Options

log = logging.getLogger(__name__)

FILES_MAX: Final = 10_000
"""Files of one search."""

REORDER_ROWS: Final = 10_000
"""How far apart lines of one file may be that change places; chosen: what a few busy threads write at once."""

MARKS_MAX: Final = 100_000
"""Places in files that are remembered, of all searches."""

_FORBIDDEN: Final = ("\0", "\\")


class FileSource:
    """Files below a directory; see ``base.Source``."""

    def __init__(self, name: str, options: Options) -> None:
        self._name = name
        root = Path(options.require_text("root"))
        options.finish()
        if not root.is_absolute():
            raise options.wrong(key="root", expected="an absolute path")
        if not root.is_dir():
            msg = f"source [{name}]: root {root} is no directory"
            raise SourceConfigError(msg)
        self._root = root.resolve()
        self._marks: dict[tuple[object, ...], Mark] = {}

    def check(self, search: Search) -> None:
        """Refuse indices that match no file, and fields that no file's header has."""
        search.check_aggregations()
        for index in search.indices:
            if not self._match(index):
                raise MissingIndex(index)
        columns: set[str] = set()
        for path in self._find(search)[:100]:
            with self._reading(path, search) as file:
                header = file.header()
            if header is None:
                return  # each line names its own fields
            columns.update(header)
        for field in (search.time_field, *search.read_fields):
            if columns and field not in columns:
                raise MissingField(search.datafeed_id, field)

    def summary(self, search: Search, start_ms: int, end_ms: int) -> Summary | None:
        """Say nothing: files are read in one go."""

    def scan(self, search: Search, start_ms: int, end_ms: int) -> Iterator[Page]:
        """Yield the records of a stretch of time, reading each file once."""
        paths = self._find(search)
        if not paths and not any("*" in index for index in search.indices):
            raise MissingIndex(search.indices[0])
        matches = predicate_of(search.query, search.time_field)
        documents = (
            _only(search, document) for document in self._merged(paths, search, start_ms, end_ms) if matches(document)
        )
        yield from aggregated(search, paged(documents))

    def count(self, search: Search, start_ms: int, end_ms: int) -> int:
        """Count the documents of a stretch of time."""
        return sum(search.n_documents(page) for page in self.scan(search, start_ms, end_ms))

    def close(self) -> None:
        """Forget what was read."""
        self._marks.clear()

    # ------------------------------------------------------------------------------------------------------- files

    def _find(self, search: Search) -> list[Path]:
        found = dict.fromkeys(path for index in search.indices for path in self._match(index))
        if len(found) > FILES_MAX:
            msg = f"source [{self._name}]: {len(found)} files match, at most {FILES_MAX} may"
            raise SourceError(msg)
        return list(found)

    def _match(self, index: str) -> list[Path]:
        """Return the plain files that a glob matches, resolved, all of them below the root."""
        parts = index.split("/")
        if any(each in index for each in _FORBIDDEN) or any(part in ("", ".", "..") for part in parts):
            return []
        found: dict[Path, None] = {}
        try:
            for path in sorted(self._root.glob(index)):
                resolved = path.resolve()
                if not resolved.is_relative_to(self._root):
                    log.warning("source %s: %s leads outside of the root and is passed over", self._name, path)
                elif resolved.is_file():
                    found[resolved] = None
        except (OSError, ValueError, RuntimeError) as error:
            msg = f"source [{self._name}]: {index} cannot be listed: {error}"
            raise SourceError(msg) from error
        return list(found)

    def _reading(self, path: Path, search: Search, mark: Mark | None = None) -> LineFile:
        """Open a file that was found below the root, and is there still."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            msg = f"source [{self._name}]: {path.name}: {error.strerror}"
            raise SourceError(msg) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode) or path.resolve() != path:
            os.close(descriptor)
            msg = f"source [{self._name}]: {path.name} is no plain file below the root any more"
            raise SourceError(msg)
        return LineFile(os.fdopen(descriptor, "rb"), path.name, search, mark)

    # ------------------------------------------------------------------------------------------------------- times

    def _merged(self, paths: list[Path], search: Search, start_ms: int, end_ms: int) -> Iterator[Record]:
        """Merge files by time; a file is opened when the merge reaches its first record."""
        field = search.time_field
        waiting: list[tuple[int, int, Iterator[Record] | None]] = []
        for place, path in enumerate(paths):
            first = self._first_ms(path, search, start_ms)
            if first is not None and first < end_ms:
                heapq.heappush(waiting, (first, place, None))
        while waiting:
            _time, place, records = waiting[0]
            if records is None:
                records = _ordered(self._documents(paths[place], search, start_ms, end_ms), field)
            else:
                records = iter(records)
            head = next(records, None)
            heapq.heappop(waiting)
            # Hand out this file's records while no other file's come first.
            while head is not None and (not waiting or head[field] <= waiting[0][0]):
                yield head
                head = next(records, None)
            if head is not None:
                heapq.heappush(waiting, (head[field], place, chain([head], records)))

    def _first_ms(self, path: Path, search: Search, start_ms: int) -> int | None:
        """Return the time of the first record that may be of interest; None if a file has none."""
        mark = self._mark(path, search, start_ms)
        try:
            if mark is not None and mark.is_exhausted(path):
                return None
            with self._reading(path, search, mark) as file:
                for page in file.pages():
                    if page:
                        first: int = min(record[search.time_field] for record in page)
                        return first
        except (ReadError, OSError) as error:
            msg = f"source [{self._name}]: {error}"
            raise SourceError(msg) from error
        return None

    def _documents(self, path: Path, search: Search, start_ms: int, end_ms: int) -> Iterator[Record]:
        """Yield the records of a file that lie in a stretch of time, and remember what need not be read again."""
        field = search.time_field
        try:
            with self._reading(path, search, self._mark(path, search, start_ms)) as file:
                best: Mark | None = None
                is_all_older = True
                for page in file.pages():
                    is_all_older = is_all_older and all(record[field] < end_ms for record in page)
                    if is_all_older:
                        best = file.mark(before_ms=end_ms)
                    yield from (record for record in page if start_ms <= record[field] < end_ms)
        except ReadError as error:
            msg = f"source [{self._name}]: {error}"
            raise SourceError(msg) from error
        if best is not None:
            self._remember(path, search, best)

    def _mark(self, path: Path, search: Search, start_ms: int) -> Mark | None:
        """Return where to begin to read, None for the beginning: what is older than the start may be passed over."""
        mark = self._marks.get(_key(path, search))
        return mark if mark is not None and mark.before_ms <= start_ms else None

    def _remember(self, path: Path, search: Search, mark: Mark) -> None:
        if len(self._marks) >= MARKS_MAX:
            self._marks.clear()
        key = _key(path, search)
        known = self._marks.get(key)
        if known is None or known.before_ms <= mark.before_ms:
            self._marks[key] = mark


def _key(path: Path, search: Search) -> tuple[object, ...]:
    return (search.datafeed_id, path, search.time_field, search.time_format)


def _only(search: Search, document: Record) -> Record:
    """Return the fields that are wanted, the time first."""
    names = (search.time_field, *search.fields)
    return {name: document[name] for name in names if name in document}


def _ordered(documents: Iterator[Record], field: str) -> Iterator[Record]:
    """Put documents in order that are at most some thousands of places away from theirs."""
    window: list[tuple[int, int, Record]] = []
    for place, document in enumerate(documents):
        heapq.heappush(window, (document[field], place, document))
        if len(window) > REORDER_ROWS:
            yield heapq.heappop(window)[2]
    yield from (each[2] for each in sorted(window, key=itemgetter(0, 1)))
