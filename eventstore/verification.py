"""What a verification of the log is asked to do; `eventstore.verify` does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from eventstore.ranges import PayloadRules

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
        Processes that may share a long log; 0: as many as there are cores.
    """

    stream: str | None = None
    kept_seals: Path | None = None
    keys: frozenset[str] | None = None
    rules: PayloadRules | None = None
    checks_fences: bool = False
    n_workers: int = 1
    progress: Progress | None = None
