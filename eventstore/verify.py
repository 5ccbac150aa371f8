"""Proof: the whole log, or one stream, checked against its hashes, heads, payloads and seals.

Found are a changed column, a missing, inserted or moved event, a head row that does not fit, payload bytes that do
not fit their digest, and whatever differs from what a seal covers. The pass goes by position, so that the first bad
place is the earliest one; what lies behind the newest position at its start is left for the next time. Next:
`eventstore.ranges`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from eventstore.errors import CorruptSeal
from eventstore.heads import check_head, check_heads, check_sequences
from eventstore.links import BadLink
from eventstore.log_reading import LogReader, Readable, describe_error
from eventstore.ranges import (
    MissingPayload,
    PayloadRules,
    RangeChecker,
    RangeReport,
    Unreadable,
    plan_ranges,
)
from eventstore.seals import STREAM, ExportedSeals, KnownSeals, StoredSeals

DRIVER_ERRORS = (DBAPIError, OSError)

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


Progress = Callable[[int, int], None]
"""Called with the events checked so far, and about how many there are."""


@dataclass(frozen=True)
class Verification:
    """What is to be checked, and against what.

    Attributes
    ----------
    kept_seals : Path, optional
        Seals exported earlier; they are believed more than those of the database.
    keys : frozenset of str, optional
        Public keys whose seals are believed; None: any that fits its signature.
    rules : PayloadRules, optional
        What the application knows of its payloads; without, a missing one is only listed.
    checks_fences : bool
        The fence of each head is that of the newest lease, as it is where every epoch comes from a lease.
    n_workers : int
        Processes to share a whole log between.
    """

    stream: str | None = None
    kept_seals: Path | None = None
    keys: frozenset[str] | None = None
    rules: PayloadRules | None = None
    checks_fences: bool = False
    n_workers: int = 1
    progress: Progress | None = None


def verify_chain(log: Readable, what: Verification = Verification()) -> ChainReport:
    """Check a stream, or all of them and that every event belongs to one.

    Raises
    ------
    CorruptSeal
        The file of kept seals cannot be read.
    """
    report = ChainReport()
    kept = ExportedSeals(what.kept_seals) if what.kept_seals is not None else None
    with log.reading() as connection:
        reader = LogReader(connection)
        try:
            _verify(log, reader, what, kept, report)
        except Unreadable as error:
            report.unreadable = str(error)
        except DRIVER_ERRORS as error:
            report.unreadable = f"the database cannot be read: {describe_error(error)}"
    return report


def _verify(
    log: Readable, reader: LogReader, what: Verification, kept: ExportedSeals | None, report: ChainReport
) -> None:
    report.missing_triggers = reader.find_missing_triggers()
    seals = _known_seals(reader, kept, what.keys, report)
    report.n_seals = len(seals.headers)
    report.key_ids = sorted({seal.key_id for seal in seals.headers})
    checker = RangeChecker(reader, seals, what.rules)
    if what.stream is None:
        report.add(_check_ranges(log, reader, checker, what, report))
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


def _known_seals(
    reader: LogReader, kept: ExportedSeals | None, keys: frozenset[str] | None, report: ChainReport
) -> KnownSeals:
    try:
        return KnownSeals(StoredSeals(reader), kept, keys)
    except CorruptSeal as error:
        report.bad_seal = BadLink(STREAM, error.seal_id or 0, None, str(error))
        return KnownSeals(None, kept, keys)


def _check_ranges(
    log: Readable, reader: LogReader, checker: RangeChecker, what: Verification, report: ChainReport
) -> RangeReport:
    last = reader.last_position()
    ranges = plan_ranges(checker.seals, last)
    return checker.check_all(ranges, lambda done: what.progress(done, last) if what.progress else None)
