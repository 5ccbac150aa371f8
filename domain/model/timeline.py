"""The timeline of a job: which buckets are final, which are open, and when the next one closes.

Buckets start at multiples of the bucket span since the epoch. A bucket is final when data time has passed its end by
the latency. The first bucket of a job's life, if it was entered in the middle, gets no result; with latency, neither do
those before it, which may hold late records.
"""

from typing import Any, Final

EMPTY_BUCKETS_MAX: Final = 10_000
"""Buckets without any record that are closed one by one in one gap; time beyond is skipped, as by ``skip_time``, up to
the next record. Chosen: a month of five-minute buckets; a stray record in the year 9999 must not take for ever."""


class Timeline:
    """Where the job stands in time. All times are whole epoch seconds.

    Attributes
    ----------
    span, latency : int
    final_end : int or None
        End of the last final bucket; what is older is dropped. None: nothing was ever seen.
    results_from : int or None
        Buckets that start earlier have no result. None: no record was ever taken.
    latest_ms : int or None
        Time of the latest record, in milliseconds.
    """

    def __init__(self, span: int, latency: int) -> None:
        self.span, self.latency = span, latency
        self.final_end: int | None = None
        self.results_from: int | None = None
        self.latest_ms: int | None = None

    @property
    def n_open_max(self) -> int:
        """How many buckets can hold records at a time."""
        return 1 + -(-self.latency // self.span)

    def floor(self, time: int) -> int:
        """Return the start of the bucket that a time lies in."""
        return time // self.span * self.span

    def ceil(self, time: int) -> int:
        """Return the next start of a bucket at or after a time."""
        return -(-time // self.span) * self.span

    def bound(self, time: int) -> int:
        """Return the end of the last bucket that is final once data time has come to ``time``."""
        return self.floor(time - self.latency)

    def begin(self, time: int) -> None:
        """Note that nothing before the bucket of this time, less the latency, is expected."""
        if self.final_end is None:
            self.final_end = self.floor(time) - (self.n_open_max - 1) * self.span

    def take_first(self, time: int) -> None:
        """Note the time of the first record ever taken."""
        self.begin(time)
        if self.results_from is None:
            self.results_from = self.ceil(time)

    def has_result(self, bucket_start: int) -> bool:
        """Tell whether a bucket has a result."""
        return self.results_from is None or bucket_start >= self.results_from

    def state(self) -> dict[str, Any]:
        """Return what is to be kept."""
        return {"final_end": self.final_end, "results_from": self.results_from, "latest_ms": self.latest_ms}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what ``state`` returned."""
        self.final_end, self.results_from = state["final_end"], state["results_from"]
        self.latest_ms = state["latest_ms"]
