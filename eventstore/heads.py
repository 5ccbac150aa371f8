"""The head rows, each against the newest event of its stream and the newest lease."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from eventstore.chain import GENESIS
from eventstore.errors import StorageError
from eventstore.links import BadLink, show
from eventstore.log_reading import HeadState, LogReader

if TYPE_CHECKING:
    from eventstore.verify import ChainReport


def check_heads(reader: LogReader, report: ChainReport, *, fences: bool) -> Iterator[BadLink]:
    """Yield what is wrong with head rows, counting them; each page is what one statement saw."""
    after = -(2**63)
    while page := reader.heads(after):
        for head in page:
            report.n_streams += 1
            bad = _check(reader, head, fences=fences)
            if bad is not None:
                yield bad
        if page[-1].id <= after:
            msg = f"the pages of the database are out of order: stream {page[-1].id} follows {after}"
            raise StorageError(msg)
        after = page[-1].id


def check_head(reader: LogReader, stream: bytes, *, fences: bool) -> BadLink | None:
    """Return what is wrong with one head row; a stream that is not there is no matter of heads."""
    head = reader.head(stream)
    return _check(reader, head, fences=fences) if head is not None else None


def _check(reader: LogReader, head: HeadState, *, fences: bool) -> BadLink | None:
    newest = head.newest or 0
    if not head.is_typed or head.id < 1:
        return BadLink(show(head.name or b""), newest, None, "the head row holds what is never written there")
    if head.version != newest:
        return _check_count(reader, head, newest)
    if (head.head_hash, head.recorded_at) != (head.event_hash or GENESIS, head.event_recorded_at or 0):
        what = "the head row does not fit the newest event"
    elif fences and head.fence != (head.epoch or 0):
        what = f"the head row's fence is {head.fence}, the newest lease has epoch {head.epoch or 0}"
    else:
        return None
    row = reader.find_event(head.id, newest) if newest else None
    return BadLink(show(head.name), newest, row.position if row is not None else None, what)


def _check_count(reader: LogReader, head: HeadState, newest: int) -> BadLink:
    """Tell a head row that was changed from events that were removed or inserted, by its hash."""
    row = reader.find_event(head.id, newest) if newest else None
    place, what = newest, f"the head row counts {head.version} events, there are {newest}"
    if head.head_hash != (row.hash if row is not None else GENESIS):
        if head.version > newest:
            return BadLink(show(head.name), newest + 1, None, "the event is missing; the head row counts more")
        row = reader.find_event(head.id, head.version + 1) or row
        place, what = row.version if row is not None else newest, "the event lies after the head row's version"
    return BadLink(show(head.name), place, row.position if row is not None else None, what)


def check_sequences(reader: LogReader) -> Iterator[BadLink]:
    """Yield what is gone or never was, by the numbers that SQLite remembers to have handed out."""
    for table, handed_out, last in reader.sequences():
        if handed_out != last:
            what = f"numbers up to {handed_out} were handed out in {table}, the newest row has {last}"
            yield BadLink("seal" if table == "seals" else "#", last if table == "seals" else 0, None, what)
    for stream_id, name in reader.streams_beyond_sequence():
        yield BadLink(show(name), 0, None, f"the head row's id is {stream_id}, the last one handed out is smaller")
