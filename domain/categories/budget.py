"""The memory that the categories of a job may take, counted from what they hold rather than measured."""

from dataclasses import dataclass

UNLIMITED = 1 << 62


@dataclass(slots=True)
class Budget:
    """An account of bytes.

    Attributes
    ----------
    limit, used : int
        Bytes.
    is_full : bool
        Something was refused.
    """

    limit: int = UNLIMITED
    used: int = 0
    is_full: bool = False

    def take(self, n_bytes: int) -> bool:
        """Take memory for something new, if there is room."""
        if self.used + n_bytes > self.limit:
            self.is_full = True
            return False
        self.used += n_bytes
        return True

    def add(self, n_bytes: int) -> None:
        """Book what something that exists takes more, or less, than before."""
        self.used += n_bytes
