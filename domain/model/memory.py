"""Memory of a model, counted from its series rather than measured, so that it is the same wherever a job is replayed.

Counted are the arrays and the names of all series, and the accumulators of as many buckets as can be open; not what
medians, distinct counts and influencers keep of a bucket until it closes. A new series is made only while the count
stays within the limit. Once one was refused no more are made until pruning frees memory or the limit is raised; the
series that exist go on.
"""

from typing import Any, Final

BASE_BYTES: Final = 50_000
"""What a model without any series takes, the tables of its detectors apart. Measured by tracemalloc."""
SOFT_LIMIT_SHARE: Final = 0.6

OK, SOFT_LIMIT, HARD_LIMIT = "ok", "soft_limit", "hard_limit"


class Memory:
    """The account.

    Attributes
    ----------
    limit, used, peak : int
        Bytes.
    set_aside : int
        Bytes of the limit that belong to categories.
    is_full : bool
        A series was refused and nothing was freed since.
    refused_bucket_count : int
        Buckets with records of series that were refused: ``bucket_allocation_failures_count``.
    """

    def __init__(self, limit: int, set_aside: int = 0, used: int = BASE_BYTES) -> None:
        self.limit, self.set_aside = limit, set_aside
        self.used = self.peak = used
        self.is_full = False
        self.refused_bucket_count = 0

    def status(self, of_categories: int = 0) -> str:
        """Return the ``memory_status`` of the API.

        Parameters
        ----------
        of_categories : int
            Bytes that categories take.
        """
        if self.is_full:
            return HARD_LIMIT
        return SOFT_LIMIT if self.used + of_categories > SOFT_LIMIT_SHARE * self.limit else OK

    def reserve(self, n_bytes: int) -> bool:
        """Take memory for a series if there is room."""
        if self.is_full or self.used + n_bytes > self.limit - self.set_aside:
            self.is_full = True
            return False
        self.used += n_bytes
        self.peak = max(self.peak, self.used)
        return True

    def settle(self, used: int) -> None:
        """Set what is used now, after series were pruned."""
        self.is_full = self.is_full and used >= self.used
        self.used = used

    def change_limit(self, limit: int, set_aside: int = 0) -> None:
        """Go on under another limit."""
        self.is_full = self.is_full and limit <= self.limit
        self.limit, self.set_aside = limit, set_aside

    def state(self) -> dict[str, Any]:
        """Return what is to be kept; the limit belongs to the job's configuration."""
        return {
            "used": self.used,
            "peak": self.peak,
            "is_full": self.is_full,
            "refused_bucket_count": self.refused_bucket_count,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over what ``state`` returned."""
        self.used, self.peak = state["used"], state["peak"]
        self.is_full, self.refused_bucket_count = state["is_full"], state["refused_bucket_count"]
