"""How much memory there is for models here."""

import os
from pathlib import Path
from typing import Final

BYTES_PER_MIB: Final = 1024 * 1024
CONTROL_GROUP: Final = Path("/sys/fs/cgroup/memory.max")


def memory_mib() -> int | None:
    """Return the memory of this machine, or what a container has of it, in MiB; None where the system does not say."""
    try:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
    try:
        limit = CONTROL_GROUP.read_text().strip()
    except OSError:
        limit = ""
    return min(machine, int(limit) if limit.isdigit() else machine) // BYTES_PER_MIB
