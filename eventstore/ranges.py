"""Ranges of the log, checked event by event: links, payloads, and what a seal says lies there.

A range is what one seal covers, or what no seal covers yet. Where several things are wrong in a range, the earliest
place counts; a seal knows best what lay there, the link what is wrong with it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple, Protocol

from eventstore.errors import CorruptSeal, StorageError
from eventstore.links import BadLink, Broken, Links, show
from eventstore.log_reading import EventRow, LogReader, PayloadRow
from eventstore.seals import STREAM, KnownSeals, Sealed, check_contents

NO_STREAM = "there is no such stream"
MISSING_LISTED_MAX = 1_000
PIECES_MAX = 64  # pieces of what no seal covers, so that processes can share it
PIECE_POSITIONS = 10_000
FIRST_POSITION_EVER = -(2**63)


class Range(NamedTuple):
    """Positions from `after` (exclusive) to `to` (inclusive), and the place of their seal."""

    after: int
    to: int
    place: int | None


@dataclass(frozen=True, slots=True)
class MissingPayload:
    """An event whose payload is no longer there."""

    stream: str
    version: int
    digest: bytes


class PayloadRules(Protocol):
    """What an application knows of its payloads; must be usable in another process."""

    def problem(self, event: EventRow, payload: PayloadRow) -> str | None:
        """Say what is wrong with a payload's content digest or codec, beside its event; None if nothing is."""

    def may_be_missing(self, reader: LogReader, stream: str, event: EventRow) -> bool:
        """Say whether an event of the log says that the payload of this one was dropped."""


@dataclass
class RangeReport:
    """What was found in some ranges."""

    n_events: int = 0
    n_sealed: int = 0
    n_payloads: int = 0
    n_payload_bytes: int = 0
    n_payloads_missing: int = 0
    missing_payloads: list[MissingPayload] = field(default_factory=list)  # the first `MISSING_LISTED_MAX`
    first_bad: BadLink | None = None
    bad_missing: BadLink | None = None  # a payload that is gone and should not be; counts if all events hold
    bad_seal: BadLink | None = None

    def add(self, later: RangeReport) -> None:
        """Add what was found in ranges that lie behind these."""
        self.n_events += later.n_events
        self.n_sealed += later.n_sealed
        self.n_payloads += later.n_payloads
        self.n_payload_bytes += later.n_payload_bytes
        self.n_payloads_missing += later.n_payloads_missing
        self.missing_payloads = [*self.missing_payloads, *later.missing_payloads][:MISSING_LISTED_MAX]
        self.first_bad = self.first_bad or later.first_bad
        self.bad_missing = self.bad_missing or later.bad_missing
        self.bad_seal = self.bad_seal or later.bad_seal


def plan_ranges(seals: KnownSeals, last: int) -> list[Range]:
    """Cut all positions into ranges: one for each seal that is believed, and pieces of what lies outside of them."""
    ranges: list[Range] = []
    after = 0
    for place in seals.believed:
        seal = seals.headers[place]
        if seal.first_position > after + 1:
            ranges += _pieces(after, seal.first_position - 1)
        if seal.last_position > after:
            ranges.append(Range(max(seal.first_position - 1, after), seal.last_position, place))
            after = seal.last_position
    return ranges + (_pieces(after, last) if last > after else [])


def _pieces(after: int, to: int) -> list[Range]:
    step = max(-(-(to - after) // PIECES_MAX), PIECE_POSITIONS)
    starts = range(after, to, step)
    return [Range(start, min(start + step, to), None) for start in starts]


class RangeChecker:
    """Checks ranges over one connection."""

    def __init__(self, reader: LogReader, seals: KnownSeals, rules: PayloadRules | None) -> None:
        self.seals = seals
        self._reader = reader
        self._rules = rules
        self._names = reader.names()

    def check_all(
        self, ranges: Sequence[Range], progress: Callable[[int], None], *, from_start: bool = True
    ) -> RangeReport:
        """Check ranges that follow each other, up to the first that does not hold."""
        report = RangeReport()
        links = Links(self._reader, self._names, from_start=from_start)
        for each in ranges:
            self._check_range(each, links, report)
            progress(report.n_events)
            if report.first_bad is not None:
                return report
        return report

    def find_stray(self) -> BadLink | None:
        """Return an event at a position before all that are ever handed out."""
        for row in self._reader.events_between(FIRST_POSITION_EVER, 0, 1):
            what = "the position is none that is ever handed out"
            return BadLink(self._shown(row), row.version, row.position, what)
        return None

    def check_stream(self, stream: bytes) -> RangeReport:
        """Check all events of one stream, and those that seals say it had."""
        report = RangeReport()
        stream_id = self._id_of(stream)
        positions = sorted(self._reader.positions_of(stream_id)) if stream_id is not None else []
        expected, covered = self._sealed_of(stream, positions, report)
        codecs = {event.position: event.codec for event in expected if event.codec}
        actual: list[Sealed] = []
        found: list[tuple[int, BadLink]] = []
        links = Links(self._reader, self._names, from_start=True)
        version = 0
        while stream_id is not None and (rows := self._reader.events_of(stream_id, version)):
            actual += [event for event in self._as_sealed(rows) if covered(event.position)]
            found = found or self._check_page(rows, links, report, stream_id, codecs)
            _check_rising(version, [row.version for row in rows])
            version = rows[-1].version
        report.n_sealed = len(expected)
        found = [(bad.version, bad) for _, bad in found]
        difference = self._first_difference(expected, actual)
        if difference is not None:
            found.append((difference[0].version, difference[1]))
        elif stream_id is None:
            found.append((0, BadLink(show(stream), 0, None, NO_STREAM)))
        report.first_bad = _earliest(found, difference and difference[1])
        return report

    # ------------------------------------------------------------------------------------------------------- parts

    def _check_range(self, each: Range, links: Links, report: RangeReport) -> None:
        expected = self._expected(each.place, report) if each.place is not None else None
        codecs = {event.position: event.codec for event in expected or () if event.codec}
        actual: list[Sealed] = []
        found: list[tuple[int, BadLink]] = []
        after = each.after
        while rows := self._read(after, each.to):
            if expected is not None:
                actual += self._as_sealed(rows)
            if not found:
                found = self._check_page(rows, links, report, None, codecs)
            after = rows[-1].position
            if found and expected is None:
                break
        difference = None
        if expected is not None:
            report.n_sealed += len(expected)
            difference = self._first_difference(expected, actual)
            if difference is not None:
                found.append((difference[0].position, difference[1]))
        report.first_bad = _earliest(found, difference and difference[1])

    def _read(self, after: int, to: int) -> list[EventRow]:
        """Return a page of events; where that fails, find out which event is the first that cannot be read."""
        try:
            rows = self._reader.events_between(after, to)
            _check_rising(after, [row.position for row in rows])
            return rows
        except StorageError as error:
            with suppress(StorageError):
                while rows := self._reader.events_between(after, to, 1):
                    _check_rising(after, [rows[0].position])
                    after = rows[0].position
            msg = f"the events after position {after} cannot be read: {error}"
            raise StorageError(msg) from error

    def _expected(self, place: int, report: RangeReport) -> tuple[Sealed, ...] | None:
        """Return what a seal covers; None if its own list does not fit it, which is noted."""
        seal = self.seals.headers[place]
        try:
            contents = self.seals.contents(place)
            what = check_contents(seal, contents)
        except CorruptSeal as error:
            what = str(error)
        if what is None:
            return contents.events
        report.bad_seal = report.bad_seal or BadLink(STREAM, seal.id, None, what)
        return None

    def _sealed_of(
        self, stream: bytes, positions: Sequence[int], report: RangeReport
    ) -> tuple[list[Sealed], Callable[[int], bool]]:
        """Return the events that seals say a stream had, and what tells which positions those seals cover."""
        expected: list[Sealed] = []
        ranges: list[range] = []
        for place in self.seals.believed:
            seal = self.seals.headers[place]
            covered = range(seal.first_position, seal.last_position + 1)
            has_events = bisect_left(positions, covered.start) < bisect_left(positions, covered.stop)
            if has_events or self.seals.mentions(place, stream):
                events = self._expected(place, report)
                if events is not None:
                    expected += [event for event in events if event.stream == stream]
                    ranges.append(covered)
        starts = [covered.start for covered in ranges]

        def is_covered(position: int) -> bool:
            place = bisect_right(starts, position) - 1
            return place >= 0 and position in ranges[place]

        return expected, is_covered

    def _id_of(self, stream: bytes) -> int | None:
        return next((stream_id for stream_id, name in self._names.items() if name == stream), None)

    def _as_sealed(self, rows: Sequence[EventRow]) -> list[Sealed]:
        names = self._names
        return [Sealed(row.position, names.get(row.stream_id, b""), row.version, row.hash, b"") for row in rows]

    def _check_page(
        self,
        rows: Sequence[EventRow],
        links: Links,
        report: RangeReport,
        stream_id: int | None,
        codecs: Mapping[int, bytes],
    ) -> list[tuple[int, BadLink]]:
        """Return what is wrong in a page, each with the position where it shows."""
        found = []
        try:
            links.check(rows)
        except Broken as broken:
            rows = [row for row in rows if row.position <= broken.after]
            found.append((broken.after + 1, broken.bad))
        report.n_events += len(rows)
        bad = self._check_payloads(rows, report, stream_id, codecs)
        if bad is not None:
            assert bad.position is not None
            found.append((bad.position, bad))
        return found

    def _check_payloads(
        self, rows: Sequence[EventRow], report: RangeReport, stream_id: int | None, codecs: Mapping[int, bytes]
    ) -> BadLink | None:
        wanted = {row.position: row for row in rows if row.payload_digest is not None}
        if not wanted:
            return None
        ends = list(wanted.values())
        first, last = (ends[0], ends[-1])
        keys = (first.position, last.position) if stream_id is None else (first.version, last.version)
        for payload in self._reader.payloads_of(stream_id, *keys):
            row = wanted.pop(payload.position, None)
            if row is None:
                continue
            what = self._payload_problem(row, payload, codecs.get(row.position, payload.codec))
            if what is not None:
                return BadLink(self._shown(row), row.version, row.position, what)
            report.n_payloads += 1
            report.n_payload_bytes += payload.size
        self._note_missing(list(wanted.values()), report)
        return None

    def _payload_problem(self, row: EventRow, payload: PayloadRow, codec: bytes) -> str | None:
        if not payload.is_typed or sha256(payload.body).digest() != row.payload_digest:
            return "the payload's bytes do not fit its digest"
        if payload.size != len(payload.body):
            return f"the payload's size is said to be {payload.size} bytes, it is {len(payload.body)}"
        if payload.codec != codec:
            return f"the payload's codec was {show(codec)!r} when it was sealed, it is {show(payload.codec)!r}"
        return self._rules.problem(row, payload) if self._rules is not None else None

    def _note_missing(self, rows: Sequence[EventRow], report: RangeReport) -> None:
        """List what is gone. Whether it may be is said by later events, so those are to be found good first."""
        for row in rows:
            name = self._shown(row)
            if self._rules is not None and not self._rules.may_be_missing(self._reader, name, row):
                what = "the payload is missing, and no event says that it was dropped"
                report.bad_missing = report.bad_missing or BadLink(name, row.version, row.position, what)
            report.n_payloads_missing += 1
            if len(report.missing_payloads) < MISSING_LISTED_MAX:
                assert row.payload_digest is not None
                report.missing_payloads.append(MissingPayload(name, row.version, row.payload_digest))

    def _shown(self, row: EventRow) -> str:
        name = self._names.get(row.stream_id)
        return show(name) if name is not None else f"#{row.stream_id}"

    # -------------------------------------------------------------------------------------------------- differences

    def _first_difference(self, expected: Sequence[Sealed], actual: Sequence[Sealed]) -> tuple[Sealed, BadLink] | None:
        """Return the first event that is not as it was sealed, and what is wrong with it."""
        pairs = enumerate(zip(expected, actual, strict=False))
        place = next((place for place, (one, two) in pairs if one[:4] != two[:4]), min(len(expected), len(actual)))
        if place == len(expected) == len(actual):
            return None
        wanted = expected[place] if place < len(expected) else None
        found = actual[place] if place < len(actual) else None
        if wanted is None or (found is not None and found.position < wanted.position):
            assert found is not None
            sealed = self._sealed_elsewhere(found)
            if sealed is None:
                what = "the event was inserted after its place was sealed"
                return found, BadLink(show(found.stream), found.version, found.position, what)
            wanted, found = sealed, None
        return wanted, BadLink(show(wanted.stream), wanted.version, wanted.position, self._what_differs(wanted, found))

    def _what_differs(self, wanted: Sealed, found: Sealed | None) -> str:
        if found is not None and found == wanted._replace(stream=found.stream, codec=found.codec):
            return f"the event was sealed as one of this stream and is now one of {show(found.stream)!r}"
        stream_id = self._id_of(wanted.stream)
        row = self._reader.find_event(stream_id, wanted.version) if stream_id is not None else None
        if row is None:
            return "the event is missing"
        if row.hash != wanted.hash:
            return "the event is not the one that was sealed"
        return f"the event was moved to position {row.position}"

    def _sealed_elsewhere(self, found: Sealed) -> Sealed | None:
        for place in self.seals.believed:
            for event in self._expected(place, RangeReport()) or ():
                if event.hash == found.hash and event.position != found.position:
                    return event
        return None


def _check_rising(before: int, numbers: Sequence[int]) -> None:
    """Refuse a page that is not in its order: in a damaged table one could go round in circles."""
    for number in numbers:
        if not isinstance(number, int) or number <= before:
            msg = f"the pages of the database are out of order: {number!r} follows {before}"
            raise StorageError(msg)
        before = number


def _earliest(found: Sequence[tuple[int, BadLink]], sealed: BadLink | None) -> BadLink | None:
    """Return the first of what was found; of two at one place what a seal says, in the words of the link."""
    if not found:
        return None
    first = min(place for place, _ in found)
    at_first = [bad for place, bad in found if place == first]
    if sealed is None or sealed not in at_first:
        return at_first[0]
    links = [
        bad for bad in at_first if bad is not sealed and (bad.stream, bad.version) == (sealed.stream, sealed.version)
    ]
    return BadLink(sealed.stream, sealed.version, sealed.position, links[0].what) if links else sealed
