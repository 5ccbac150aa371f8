"""Marigraph: anomaly-detection jobs whose every fact is an event in SQL.

``from marigraph import Marigraph`` gives its operations to Python programs (``marigraph/library.py``).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marigraph.library import Marigraph

__version__ = "0.1.0"
__all__ = ["Marigraph", "__version__"]


def __getattr__(name: str) -> Any:
    """Load the library when it is asked for: without it, importing this package takes no time."""
    if name == "Marigraph":
        from marigraph.library import Marigraph

        return Marigraph
    msg = f"module 'marigraph' has no attribute {name!r}"
    raise AttributeError(msg)
