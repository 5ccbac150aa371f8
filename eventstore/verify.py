"""Proof: the whole log, or one stream, checked against its hashes, heads, payloads and seals.

Found are a changed column, a missing, inserted or moved event, a head row that does not fit, payload bytes that do
not fit their digest, and whatever differs from what a seal covers. The pass goes by position, so that the first bad
place is the earliest one; what lies behind the newest position at its start is left for the next time. Next:
`eventstore.ranges`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from eventstore.errors import StorageError
from eventstore.heads import check_head, check_heads, check_sequences
from eventstore.links import BadLink
from eventstore.log_reading import LogReader, Readable
from eventstore.ranges import MissingPayload, RangeChecker, RangeReport, plan_ranges
from eventstore.seals import known_seals
from eventstore.urls import is_in_memory
from eventstore.verification import Verification

SHARED_POSITIONS = 500_000  # chosen: below, one process is done before others have started (benchmarks/proof.py)

__all__ = ["BadLink", "ChainReport", "MissingPayload", "Verification", "verify_chain"]


@dataclass
class ChainReport(RangeReport):
    """What a verification found.

    Attributes
    ----------
    first_bad : BadLink or None
        The first place that does not hold: of an event, else of a head row, else of a seal.
    unreadable : str or None
        What could not be read, and where; the rest was checked.
    missing_triggers : list of str
        Guards of append-only tables that are not there: no tampering, but an open door.
    """

    n_streams: int = 0
    n_seals: int = 0
    key_ids: list[str] = field(default_factory=list)
    unreadable: str | None = None
    missing_triggers: list[str] = field(default_factory=list)

    @property
    def is_intact(self) -> bool:
        """Say whether everything could be read and holds."""
        return self.first_bad is None and self.unreadable is None


EVERYTHING = Verification()


def verify_chain(log: Readable, what: Verification = EVERYTHING) -> ChainReport:
    """Check a stream, or all of them and that every event belongs to one.

    Raises
    ------
    CorruptSeal
        The file of kept seals cannot be read.
    """
    report = ChainReport()
    try:
        with log.reading() as connection:
            _verify(log, LogReader(connection), what, report)
    except StorageError as error:
        report.unreadable = str(error)
    return report


def _verify(log: Readable, reader: LogReader, what: Verification, report: ChainReport) -> None:
    report.missing_triggers = reader.find_missing_triggers()
    seals, report.bad_seal = known_seals(reader, what.kept_seals, what.keys)
    report.n_seals = len(seals.headers)
    report.key_ids = sorted({seal.key_id for seal in seals.headers})
    last = reader.last_position()  # before the names: each event up to here has its stream among them
    checker = RangeChecker(reader, seals, what.rules)
    if what.stream is None:
        report.add(_check_ranges(log, checker, what, last))
        report.first_bad = report.first_bad or checker.find_stray()
        bad_head = next(check_heads(reader, report, fences=what.checks_fences), None)
    else:
        report.add(checker.check_stream(what.stream.encode()))
        report.n_streams = 1
        bad_head = check_head(reader, what.stream.encode(), fences=what.checks_fences)
    report.first_bad = report.first_bad or report.bad_missing or bad_head or report.bad_seal
    report.first_bad = report.first_bad or next(seals.problems(), None)
    if what.stream is None and report.first_bad is None:
        report.first_bad = next(check_sequences(reader), None)
        if damage := reader.damage():
            report.unreadable = f"the database's pages or indexes are damaged: {damage}"


def _check_ranges(log: Readable, checker: RangeChecker, what: Verification, last: int) -> RangeReport:
    ranges = plan_ranges(checker.seals, last)
    n_workers = what.n_workers or os.cpu_count() or 1
    if n_workers > 1 and last > SHARED_POSITIONS and not is_in_memory(log.url):
        from eventstore.verify_workers import check_in_processes  # only a long log needs them

        return check_in_processes(log, ranges, what, last, n_workers)
    return checker.check_all(ranges, lambda done: what.progress(done, last) if what.progress else None)
