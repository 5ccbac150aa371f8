"""Whether a job's categories tell anything: counts over them, and a warning when they do not."""

from collections.abc import Sequence
from typing import Any, Final

from domain.categories.category import Category

OK: Final = "ok"
WARN: Final = "warn"

FREQUENT_SHARE: Final = 0.01
"""A category with more than this share of the messages is frequent."""
_JUDGED_FROM: Final = 100
"""Messages before which there is no warning; this and the shares below are the reference's."""
_RARE_SHARE_MAX: Final = 0.9
_DEAD_SHARE_MAX: Final = 0.5
_CATEGORIES_PER_MESSAGE_MAX: Final = 0.5


def category_counts(categories: Sequence[Category], dead_count: int, failed_count: int) -> dict[str, Any]:
    """Return the fields of ``model_size_stats`` that tell of categories.

    Parameters
    ----------
    categories : sequence of Category
    dead_count : int
        Categories that another one stands in for.
    failed_count : int
        Messages for which there was no room for a category of their own.
    """
    messages = sum(category.match_count for category in categories)
    frequent = sum(category.match_count > FREQUENT_SHARE * messages for category in categories)
    rare = sum(category.match_count == 1 for category in categories)
    return {
        "categorized_doc_count": messages,
        "total_category_count": len(categories),
        "frequent_category_count": frequent,
        "rare_category_count": rare,
        "dead_category_count": dead_count,
        "failed_category_count": failed_count,
        "categorization_status": _status(messages, len(categories), frequent, rare, dead_count),
    }


def _status(messages: int, total: int, frequent: int, rare: int, dead: int) -> str:
    if messages <= _JUDGED_FROM:
        return OK
    tells_nothing = (
        total == 1
        or frequent == 0
        or rare > _RARE_SHARE_MAX * total
        or dead > _DEAD_SHARE_MAX * total
        or total > _CATEGORIES_PER_MESSAGE_MAX * messages
    )
    return WARN if tells_nothing else OK
