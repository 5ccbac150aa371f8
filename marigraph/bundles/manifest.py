"""What a bundle says of itself: one event on a stream of its own, ``bundle-<job>``, in the file's own log.

A bundle is a Marigraph database of one job. What any version may rely on, whatever revision the other tables are at,
is this form: the tables ``streams``, ``events``, ``payloads`` and ``snapshots`` as they were in format 1, and the
manifest.
"""

import platform
import sqlite3
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import msgspec

from domain.errors import DomainError
from eventstore import NewEvent
from marigraph import __version__
from marigraph.scratch import TableDigest

FORMAT: Final = 1
PREFIX: Final = "bundle-"
CREATED: Final = "bundle_created"
PACKAGES: Final = ("numpy", "scipy", "msgspec", "zstandard", "sqlalchemy", "pydantic")
"""Those that a result may depend on."""


class BundleError(DomainError):
    """A file that is no bundle, or none that this program can use."""


class Recorded(msgspec.Struct, frozen=True):
    """What the job had when the bundle was made; a replay gives the same, or there is something to find out.

    Attributes
    ----------
    version : int
        Of the stream, up to which results were written.
    state_digest : str or None
        Of the model as of that version; None: there was none.
    tables : dict of str to TableDigest
        Of the results of buckets that start at ``Manifest.from_ms`` or later.
    """

    version: int
    state_schema: str
    state_digest: str | None
    tables: dict[str, TableDigest]


class Redaction(msgspec.Struct, frozen=True):
    """What was redacted.

    Attributes
    ----------
    keeps_lengths : bool
        Whether each token takes as many bytes as its value; if not, the model counts a few bytes more.
    also_in : list of str
        Where else values that were redacted still stand, since that was not asked for.
    results_equal : bool
        Whether the redacted log gives the job's results, names aside.
    """

    fields: list[str]
    value_count: int
    keeps_lengths: bool
    also_in: list[str]
    results_equal: bool


class Manifest(msgspec.Struct, frozen=True):
    """What a bundle holds.

    Attributes
    ----------
    schema_revision : str
        Of the tables beside those that the form fixes.
    begins_at_version : int
        The records of later events are there; 0: of all. If not 0, the model state of this version is, too.
    from_ms : int or None
        Buckets that start before this are not compared, nor are their results in the file.
    is_decrypted : bool
        Whether the job is erasable, and keeps encrypted what lies here for anybody to read.
    """

    format: int
    job_id: str
    created_ms: int
    schema_revision: str
    begins_at_version: int
    from_ms: int | None
    event_count: int
    record_count: int
    recorded: Recorded
    marigraph_version: str = __version__
    versions: dict[str, str] = {}
    is_decrypted: bool = False
    redaction: Redaction | None = None


def stream_of_bundle(job_id: str) -> str:
    """Name the stream of the manifest."""
    return PREFIX + job_id


def manifest_event(manifest: Manifest) -> NewEvent:
    """Return the event that holds a manifest."""
    return NewEvent(CREATED, msgspec.json.encode(manifest))


def read_manifest(data: str) -> Manifest:
    """Read a manifest.

    Raises
    ------
    BundleError
        It is none, or of a newer format.
    """
    try:
        found = msgspec.json.decode(data, type=dict)
        if found.get("format") != FORMAT:
            msg = (
                f"the bundle has format {str(found.get('format'))[:20]}, this program reads {FORMAT}; "
                "install the newer marigraph"
            )
            raise BundleError(msg)
        return msgspec.convert(found, Manifest)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        msg = f"the bundle's manifest cannot be read: {error}"
        raise BundleError(msg) from error


def versions_here() -> dict[str, str]:
    """Return the versions of Python and of the packages that a result may depend on."""
    found = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version, "machine": platform.machine()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found
