"""A long log verified by several processes: each takes a part of the ranges, and the earliest bad place counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

from eventstore.log_reading import LogReader, Readable, ReadOnlyLog
from eventstore.ranges import Range, RangeChecker, RangeReport
from eventstore.seals import known_seals
from eventstore.verification import Verification

PARTS_PER_WORKER = 4  # so that none waits long for the last one, and progress shows


def check_in_processes(
    log: Readable, ranges: Sequence[Range], what: Verification, last: int, n_workers: int
) -> RangeReport:
    """Check ranges that follow each other up to the last position; see `RangeChecker.check_all`."""
    url = log.url.render_as_string(hide_password=False)
    asked = replace(what, progress=None)
    report = RangeReport()
    with ProcessPoolExecutor(n_workers, mp_context=get_context("spawn")) as pool:
        parts = list(_parts(ranges, n_workers * PARTS_PER_WORKER))
        futures = [pool.submit(_check_part, url, asked, part) for part in parts]
        try:
            for future, part in zip(futures, parts, strict=True):
                report.add(future.result())
                if report.first_bad is not None:
                    break
                if what.progress is not None:
                    what.progress(part[-1].to, last)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return report


def _parts(ranges: Sequence[Range], n_parts: int) -> Iterator[Sequence[Range]]:
    size = -(-len(ranges) // n_parts)
    for start in range(0, len(ranges), size):
        yield ranges[start : start + size]


def _check_part(url: str, what: Verification, ranges: Sequence[Range]) -> RangeReport:
    """Check some ranges in this process."""
    with ReadOnlyLog(url) as log, log.reading() as connection:
        reader = LogReader(connection)
        seals, _ = known_seals(reader, what.kept_seals, what.keys)
        checker = RangeChecker(reader, seals, what.rules)
        return checker.check_all(ranges, lambda _done: None, from_start=ranges[0].after == 0)
