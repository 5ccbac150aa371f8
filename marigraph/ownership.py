"""Who runs a job: the identity of a process, and whether the process that holds a lease is still alive.

A lease only keeps two owners apart; safety is the fence on the stream's head (``eventstore``). An owner names host,
boot, process and start time, so that another process *on the same host* can see that it is dead and take its job over
at once; an owner elsewhere is waited for until its lease has run out.
"""

import os
import socket
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

from eventstore import EventStore, Lease


@dataclass(frozen=True, slots=True)
class Owner:
    """One process, told apart from every other, on any host and after any restart."""

    host: str
    pid: int
    started: str
    """Start time of the process in the kernel's own ticks; a reused pid has another one."""
    instance: int
    """Number of the application within the process; a process may hold several."""

    def __str__(self) -> str:
        return f"{self.host}/{self.pid}/{self.started}/{self.instance}"

    @classmethod
    def parse(cls, text: str) -> "Owner | None":
        """Read an owner back from its text; None if the text is not ours."""
        parts = text.split("/")
        if len(parts) != 4 or not (parts[1].isdigit() and parts[3].isdigit()):
            return None
        return cls(parts[0], int(parts[1]), parts[2], int(parts[3]))

    def is_dead(self) -> bool:
        """Whether this owner is surely gone; False when it lives or cannot be seen from here."""
        if self.host != _host():
            return False
        return _start_time(self.pid) != self.started


def dead_holder(store: EventStore, stream: str) -> str | None:
    """Return who holds a stream and is surely gone, None if there is nobody or he may be alive."""
    previous = store.last_holder(stream)
    owner = Owner.parse(previous.owner) if previous is not None else None
    return previous.owner if previous is not None and owner is not None and owner.is_dead() else None


@cache
def _host() -> str:
    """Name what shares our process table: host name, boot, and pid namespace (containers have their own)."""
    boot = _read("/proc/sys/kernel/random/boot_id")[:8]
    try:
        namespace = str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        namespace = ""
    return ":".join(part for part in (socket.gethostname(), boot, namespace) if part)


def take_lease(store: EventStore, stream: str, owner: str, seconds: float) -> tuple[Lease | None, Lease | None]:
    """Take the lease of a stream, at once from an owner that is surely dead.

    Returns
    -------
    lease : Lease or None
        None if another owner keeps it.
    previous : Lease or None
        That of the owner who never let go of it, if there is one.
    """
    previous = store.last_holder(stream)
    return store.acquire(stream, owner, seconds, replaces=dead_holder(store, stream)), previous


_instances = count(1)


def new_owner() -> Owner:
    """Make the identity of one more application in the running process."""
    pid = os.getpid()
    return Owner(_host(), pid, _start_time(pid) or "0", next(_instances))


def _start_time(pid: int) -> str | None:
    """Start time of a process, None if there is no such process; "0" where the system does not tell it."""
    if Path("/proc/self/stat").exists():
        stat = _read(f"/proc/{pid}/stat")
        if not stat:
            return None
        fields = stat.rpartition(")")[2].split()  # the command may hold spaces and brackets
        return None if fields[0] == "Z" else fields[19]  # proc(5): state is field 3, starttime field 22
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "0"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
