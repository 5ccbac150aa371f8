"""When a datafeed searches, and for what stretch of time: frequency, query delay, chunks, the delayed-data window.

All of it is plain arithmetic on milliseconds; who calls it brings the clock.
"""

import hashlib
from typing import Final

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000

CHUNK_PAGES: Final = 10
"""A chunk is estimated to hold so many pages of ``scroll_size`` (the API's rule)."""

CHUNK_MS_MIN: Final = MINUTE_MS
AGGREGATED_CHUNK_INTERVALS: Final = 1_000
"""Intervals of the histogram in a chunk of an aggregated datafeed (the API's rule)."""

DELAYED_WINDOW_MS_MIN: Final = 2 * HOUR_MS
DELAYED_WINDOW_MS_MAX: Final = 24 * HOUR_MS
DELAYED_WINDOW_BUCKETS: Final = 8
"""The window looked back for delayed data: eight buckets, at least two hours, at most a day (the API's rule)."""


def default_query_delay(job_id: str) -> str:
    """Return the query delay of a datafeed that asks for none: 60 to 120 s, and the same whenever it is asked.

    Spread by a hash of the job's id, so that the datafeeds of one server do not all search at the same moment.

    >>> default_query_delay("farequote")
    '75559ms'
    """
    digest = hashlib.blake2b(job_id.encode(), digest_size=8).digest()
    return f"{MINUTE_MS + int.from_bytes(digest, 'big') % MINUTE_MS}ms"


def default_frequency_ms(bucket_span_seconds: int, interval_ms: int | None = None) -> int:
    """Return how often a datafeed searches in real time unless it says so itself.

    Parameters
    ----------
    bucket_span_seconds : int
        Of the job.
    interval_ms : int or None
        Of the histogram of an aggregated datafeed: the frequency is a multiple of it.

    >>> [default_frequency_ms(span) // 1000 for span in (60, 300, 3600, 86400)]
    [60, 150, 600, 3600]
    """
    span = bucket_span_seconds * SECOND_MS
    if span <= 2 * MINUTE_MS:
        frequency = MINUTE_MS
    elif span <= 20 * MINUTE_MS:
        frequency = span // 2
    elif span <= 12 * HOUR_MS:
        frequency = 10 * MINUTE_MS
    else:
        frequency = HOUR_MS
    if interval_ms is None:
        return frequency
    return max(frequency // interval_ms, 1) * interval_ms


def chunk_ms(earliest_ms: int, latest_ms: int, n_documents: int, scroll_size: int) -> int:
    """Return how long a chunk should be for the documents of a stretch of time, evenly spread as they may be.

    >>> chunk_ms(0, 86_400_000, 1_000_000, 1_000)
    864000
    """
    if n_documents <= 0:
        return max(latest_ms - earliest_ms, CHUNK_MS_MIN)
    spread = max(latest_ms - earliest_ms, 1)
    return max(CHUNK_PAGES * max(scroll_size, 1) * spread // n_documents, CHUNK_MS_MIN)


def align_down(time_ms: int, unit_ms: int) -> int:
    """Return the latest multiple of a unit that is not after a time."""
    return time_ms // unit_ms * unit_ms


def align_up(time_ms: int, unit_ms: int) -> int:
    """Return the earliest multiple of a unit that is not before a time."""
    return -(-time_ms // unit_ms) * unit_ms


def realtime_end_ms(now_ms: int, query_delay_ms: int, frequency_ms: int, end_ms: int | None) -> int:
    """Return up to when a search in real time may look now: whole frequencies, or up to the datafeed's end."""
    settled = now_ms - query_delay_ms
    if end_ms is not None and settled >= end_ms:
        return end_ms
    return align_down(settled, frequency_ms)


def realtime_wait_ms(now_ms: int, query_delay_ms: int, frequency_ms: int, end_ms: int | None) -> int:
    """Return how long to wait until `realtime_end_ms` moves on."""
    settled = now_ms - query_delay_ms
    following = align_down(settled, frequency_ms) + frequency_ms
    if end_ms is not None and settled < end_ms:
        following = min(following, end_ms)
    return max(following - settled, 1)


def delayed_window_ms(bucket_span_seconds: int) -> int:
    """Return how far back delayed data is looked for unless the datafeed says so itself.

    >>> delayed_window_ms(300), delayed_window_ms(3600)
    (7200000, 28800000)
    """
    wanted = DELAYED_WINDOW_BUCKETS * bucket_span_seconds * SECOND_MS
    return min(max(wanted, DELAYED_WINDOW_MS_MIN), max(DELAYED_WINDOW_MS_MAX, bucket_span_seconds * SECOND_MS))
