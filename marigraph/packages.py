"""Checks at start that the top-level packages ``eventstore`` and ``domain`` are really ours.

Both names are common words; another distribution may own one. Then imports would silently mix two programs, so the
command refuses to start and names the distribution. Must run before anything imports those packages, and imports
neither: it reads the file system only.
"""

import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

OWN_PACKAGES = ("domain", "eventstore")
_OWNER_LINE = b'OWNER = "marigraph"'


class ForeignPackage(Exception):
    """A top-level package that we need belongs to another distribution."""


def check_packages() -> None:
    """Raise ForeignPackage if another distribution owns ``domain`` or ``eventstore``."""
    home = Path(__file__).resolve().parent.parent
    for name in OWN_PACKAGES:
        owners = sorted(set(_foreign_owners(home, name)))
        spec = PathFinder.find_spec(name)
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        is_ours = origin == home / name / "__init__.py" and _OWNER_LINE in origin.read_bytes()
        if is_ours and not owners:
            continue
        where = f"distribution {', '.join(owners)}" if owners else f"another program ({origin or 'not found'})"
        msg = (
            f"the top-level package '{name}' belongs to {where}, which marigraph cannot share it with; "
            "install marigraph in a virtual environment of its own"
        )
        raise ForeignPackage(msg)


def _foreign_owners(home: Path, name: str) -> Iterator[str]:
    """Name the distributions other than ours that installed files into ``<entry>/<name>/``."""
    entries = {home, *(Path(entry).resolve() for entry in sys.path if entry)}
    needles = (f"{name}/__init__.py,".encode(), f"{name}.py,".encode())
    for entry in sorted(entries):
        for record in sorted(entry.glob("*.dist-info/RECORD")):
            owner = record.parent.name.removesuffix(".dist-info").rpartition("-")[0]
            if owner == "marigraph":
                continue
            listing = b"\n" + record.read_bytes()
            if any(b"\n" + needle in listing for needle in needles):
                yield owner
