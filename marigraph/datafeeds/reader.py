"""Reads a stretch of time from a source in portions that end between two moments, never within one.

So the range that a portion covers is exact: searching it again finds the same records (and those that came late),
however the stretch was cut.
"""

from collections.abc import Iterator
from typing import Final

from domain.datafeeds.schedule import align_down
from domain.errors import BadRequest
from marigraph.sources import Search
from marigraph.sources.base import Page, Record

MOMENT_RECORDS_MAX: Final = 1_000_000
"""Records of one moment, a millisecond or an interval of the histogram: they cannot be cut, and go in one append."""


class Reader:
    """Hands out the records from ``position_ms`` up to ``end_ms``."""

    def __init__(self, search: Search, pages: Iterator[Page], start_ms: int, end_ms: int) -> None:
        self.position_ms = start_ms
        self._search = search
        self._pages = pages
        self._end_ms = end_ms
        self._rest: list[Record] = []
        self._is_exhausted = False

    @property
    def is_done(self) -> bool:
        """Whether everything was handed out."""
        return self._is_exhausted and not self._rest

    def take(self, limit: int) -> tuple[list[Record], int]:
        """Return the next records, ``limit`` at most, and the end of the stretch of time that they cover.

        There are more of them only if they are of one moment.
        """
        field, unit = self._search.time_field, self._search.unit_ms
        records = self._rest
        while not self._is_exhausted and not (len(records) > limit and self._cut(records) > records[0][field]):
            page = next(self._pages, None)
            if page is None:
                self._is_exhausted = True
            else:  # a source that is not quite in order may bring what belongs to a portion handed out before
                records += [record for record in page if record[field] >= self.position_ms]
            if len(records) > limit + MOMENT_RECORDS_MAX:
                msg = (
                    f"[{self._search.datafeed_id}] more than {MOMENT_RECORDS_MAX} records lie within {unit} ms; "
                    "they cannot be posted at once: use aggregations"
                )
                raise BadRequest(msg)
        if len(records) <= limit:
            self._rest, self.position_ms = [], self._end_ms
            return records, self._end_ms
        cut = align_down(records[limit][field], unit)
        if cut <= records[0][field]:
            cut = align_down(records[0][field], unit) + unit
        if self._is_exhausted and cut > records[-1][field]:  # all of one moment
            self._rest, self.position_ms = [], self._end_ms
            return records, self._end_ms
        self._rest = [record for record in records if record[field] >= cut]
        self.position_ms = cut
        return [record for record in records if record[field] < cut], cut

    def close(self) -> None:
        """Let go of the source."""
        close = getattr(self._pages, "close", None)
        if close is not None:
            close()

    def _cut(self, records: list[Record]) -> int:
        """Return the latest time before which all records are surely at hand."""
        return align_down(records[-1][self._search.time_field], self._search.unit_ms)
