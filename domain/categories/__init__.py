"""Categories of messages: which of them come from the same line of somebody's program.

Start at ``categorizer.py``; a message's way is ``tokens`` (with ``words``, ``vocabulary``), ``index``, ``alignment``,
``category``. ``partitions`` has one categorizer per partition, ``quality`` judges the whole. Pure and deterministic:
the fold may use it.
"""

from domain.categories.analyzer import AnalyzerTokenizer
from domain.categories.budget import Budget
from domain.categories.categorizer import CATEGORY_COUNT_MAX, EXAMPLES_LIMIT, NO_CATEGORY, Categorizer
from domain.categories.category import EXAMPLE_LENGTH_MAX
from domain.categories.partitions import JobCategories
from domain.categories.quality import OK, WARN
from domain.categories.tokens import MESSAGE_LENGTH_MAX, TOKEN_COUNT_MAX, Tokenizer, Tokenizes

__all__ = [
    "CATEGORY_COUNT_MAX",
    "EXAMPLES_LIMIT",
    "EXAMPLE_LENGTH_MAX",
    "MESSAGE_LENGTH_MAX",
    "NO_CATEGORY",
    "OK",
    "TOKEN_COUNT_MAX",
    "WARN",
    "AnalyzerTokenizer",
    "Budget",
    "Categorizer",
    "JobCategories",
    "Tokenizer",
    "Tokenizes",
]
