"""Placeholder."""

from marigraph.debugging.debugger import Debugger
from marigraph.debugging.scope import Condition


class Stepper:
    """Placeholder."""

    def __init__(self, debugger: Debugger, condition: Condition | None) -> None: ...

    def run(self) -> None:
        """Run."""
