"""Opens a bundle that came from outside: reads it row by row into a scratch database, and trusts nothing in it.

The file is only read, by SQLite in its own process's limits; tables are read by the columns of the format, values are
checked for their types and sizes, and the hash chain and all digests are computed anew.
"""

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import zstandard
from sqlalchemy import Table, create_engine, insert

from domain.config import check_job_id
from domain.errors import DomainError, NotFound
from eventstore import EventStore
from eventstore.events import DATA_BYTES_MAX, PAYLOAD_BYTES_MAX
from eventstore.tables import events, payloads, snapshots, streams
from eventstore.tables import metadata as log_tables
from marigraph.application import Application
from marigraph.bundles.manifest import CREATED, PREFIX, BundleError, Manifest, read_manifest
from marigraph.codec import build_codec, stream_of
from marigraph.results import subscriber_of
from marigraph.scratch import pages
from marigraph.settings import Settings
from marigraph.tables import metadata as read_models

MAGIC: Final = b"SQLite format 3\0"
ROWS_PER_INSERT: Final = 100
CONTENT_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of one batch of records, unpacked. Chosen: posts are cut into pieces of about a megabyte of text."""
STATE_BYTES_MAX: Final = 1024 * 1024 * 1024
"""Of one model state, unpacked. Chosen: that of 300,000 series."""
STATE_MAGIC_BYTES: Final = 4


class _Columns(NamedTuple):
    """A table of the format: columns with the types that values may have in Python."""

    table: Table
    types: dict[str, tuple[type, ...]]


_NULL = type(None)
_EVENTS: Final = _Columns(
    events,
    {
        "version": (int,),
        "type": (str,),
        "schema_version": (int,),
        "recorded_at": (int,),
        "actor": (str, _NULL),
        "request_id": (str, _NULL),
        "cause": (str, _NULL),
        "command_id": (str, _NULL),
        "command_index": (int, _NULL),
        "data": (str,),
        "payload_digest": (bytes, _NULL),
        "hash": (bytes,),
    },
)
_PAYLOADS: Final = _Columns(
    payloads, {"digest": (bytes,), "content_digest": (bytes,), "codec": (str,), "size": (int,), "body": (bytes,)}
)
_SNAPSHOTS: Final = _Columns(
    snapshots,
    {
        "version": (int,),
        "state_schema": (str,),
        "codec": (str,),
        "digest": (bytes,),
        "size": (int,),
        "body": (bytes,),
        "created_at": (int,),
    },
)
_STREAMS: Final = _Columns(
    streams, {"id": (int,), "name": (str,), "version": (int,), "head_hash": (bytes,), "recorded_at": (int,)}
)


class Opened(NamedTuple):
    """A bundle, and an application on a scratch copy of its log."""

    manifest: Manifest
    app: Application
    size: int
    """Bytes of the file."""


@contextmanager
def opened_bundle(path: Path) -> Iterator[Opened]:
    """Check a bundle and give an application on a copy of its log, gone when it is done with.

    Raises
    ------
    BundleError
        The file is no intact bundle of a format that this program reads.
    NotFound
        There is no such file.
    """
    with TemporaryDirectory(prefix="marigraph-bundle-") as folder:
        scratch = Path(folder) / "bundle.db"
        with _reading(path) as source:
            manifest, stream = _find(source)
            _copy(source, stream, manifest, scratch)
        store = EventStore.connect(str(scratch))
        try:
            _check_log(store, manifest)
            app = Application(store, build_codec(), Settings(str(scratch)), lambda: time.time_ns() // 1_000_000)
        except BaseException:
            store.close()
            raise
        try:
            yield Opened(manifest, app, path.stat().st_size)
        finally:
            app.close()


def look_into(path: Path) -> tuple[Manifest, int]:
    """Return the manifest of a bundle and the size of the file, without looking at the rest."""
    with _reading(path) as source:
        return _find(source)[0], path.stat().st_size


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.is_file():
        msg = f"there is no file {path}"
        raise NotFound(msg)
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            msg = f"{path} is no bundle: it is no SQLite file"
            raise BundleError(msg)
    try:
        uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            connection.execute("PRAGMA query_only=ON")
            connection.execute("PRAGMA trusted_schema=OFF")
            connection.execute("PRAGMA cell_size_check=ON")
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, PAYLOAD_BYTES_MAX)
            yield connection
    except (sqlite3.Error, OverflowError, UnicodeDecodeError) as error:
        msg = f"{path} is no intact bundle: {error}"
        raise BundleError(msg) from error


def _find(source: sqlite3.Connection) -> tuple[Manifest, int]:
    """Return the manifest, and the id of the job's stream."""
    names = ("streams", "events", "payloads", "snapshots")
    kinds = dict(source.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
    lacking = [name for name in names if not str(kinds.get(name, "")).upper().startswith("CREATE TABLE")]
    if lacking:
        msg = f"the file is no bundle: it has no table {', '.join(lacking)}"
        raise BundleError(msg)
    found = source.execute(
        "SELECT e.data, s.name FROM streams s JOIN events e ON e.stream_id = s.id"
        " WHERE substr(s.name, 1, ?) = ? AND e.type = ? AND length(e.data) <= ? LIMIT 2",
        (len(PREFIX), PREFIX, CREATED, DATA_BYTES_MAX),
    ).fetchall()
    if len(found) != 1 or not all(isinstance(each, str) for each in found[0]):
        msg = "the file is no bundle: it is a database without a manifest (or with several)"
        raise BundleError(msg)
    manifest = read_manifest(found[0][0])
    try:
        check_job_id(manifest.job_id)
    except DomainError as error:
        msg = f"the bundle's manifest names no job: {error}"
        raise BundleError(msg) from error
    rows = source.execute("SELECT id FROM streams WHERE name = ?", (stream_of(manifest.job_id),)).fetchall()
    if len(rows) != 1:
        msg = f"the bundle has no events of job [{manifest.job_id}], which its manifest names"
        raise BundleError(msg)
    return manifest, int(rows[0][0])


# ------------------------------------------------------------------------------------------------------ the copy


def _copy(source: sqlite3.Connection, stream: int, manifest: Manifest, scratch: Path) -> None:
    engine = create_engine(f"sqlite:///{scratch}")
    try:
        log_tables.create_all(engine)
        read_models.create_all(engine)
        with engine.begin() as target:
            for columns in (_EVENTS, _PAYLOADS, _SNAPSHOTS):
                for page in pages(_rows(source, columns, stream), ROWS_PER_INSERT):
                    target.execute(insert(columns.table), [{**row, "stream_id": stream} for row in page])
            [head] = _rows(source, _STREAMS, stream, key="id")
            target.execute(insert(streams), [head])
    finally:
        engine.dispose()
    with EventStore.connect(str(scratch)) as store, store.transaction() as target:
        store.write_checkpoint(target, subscriber_of(manifest.job_id), 0, max(manifest.recorded.version, 1))


def _rows(
    source: sqlite3.Connection, columns: _Columns, stream: int, key: str = "stream_id"
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a stream, checked."""
    name, types = columns.table.name, columns.types
    rows = source.execute(f"SELECT {', '.join(types)} FROM {name} WHERE {key} = ? ORDER BY rowid", (stream,))
    for values in rows:
        row = dict(zip(types, values, strict=True))
        for column, value in row.items():
            if type(value) not in types[column]:
                msg = f"the bundle's {name}.{column} holds {type(value).__name__}, which it cannot"
                raise BundleError(msg)
        _CHECKS[name](row)
        yield row


def _check_event(row: dict[str, Any]) -> None:
    if len(row["data"]) > DATA_BYTES_MAX:
        n_characters = len(row["data"])
        msg = f"the bundle's event {row['version']} has {n_characters} characters, at most {DATA_BYTES_MAX} are allowed"
        raise BundleError(msg)


def _check_payload(row: dict[str, Any]) -> None:
    _check_digest(row, "records")
    _check_unpacked(row["body"], CONTENT_BYTES_MAX, "records")


def _check_snapshot(row: dict[str, Any]) -> None:
    _check_digest(row, "model state")
    _check_unpacked(row["body"][STATE_MAGIC_BYTES:], STATE_BYTES_MAX, "model state")


def _check_digest(row: dict[str, Any], what: str) -> None:
    if hashlib.sha256(row["body"]).digest() != row["digest"] or row["size"] != len(row["body"]):
        msg = f"the bundle's {what} do not fit their digest {row['digest'].hex()[:16]}: it was damaged or changed"
        raise BundleError(msg)


def _check_unpacked(body: bytes, most: int, what: str) -> None:
    try:
        size = zstandard.get_frame_parameters(body).content_size
    except zstandard.ZstdError as error:
        msg = f"the bundle's {what} cannot be unpacked: {error}"
        raise BundleError(msg) from error
    if size > most:  # an unknown size is larger than any
        msg = f"the bundle's {what} would take {size} bytes unpacked, at most {most} are allowed"
        raise BundleError(msg)


_CHECKS: Final[dict[str, Callable[[dict[str, Any]], None]]] = {
    "events": _check_event,
    "payloads": _check_payload,
    "snapshots": _check_snapshot,
    "streams": lambda _row: None,
}


def _check_log(store: EventStore, manifest: Manifest) -> None:
    report = store.verify_chain(stream_of(manifest.job_id))
    if report.first_bad is not None:
        bad = report.first_bad
        msg = f"the bundle's log of job [{manifest.job_id}] is not intact at version {bad.version}: {bad.what}"
        raise BundleError(msg)
    if not 0 <= manifest.recorded.version <= report.n_events:
        msg = f"the bundle's manifest speaks of version {manifest.recorded.version} of {report.n_events}"
        raise BundleError(msg)
    missing = [item for item in report.missing_payloads if item.version > manifest.begins_at_version]
    created = _created_version(store, manifest)
    if any(item.version >= created for item in missing):
        msg = f"the bundle lacks the records of version {missing[0].version}"
        raise BundleError(msg)


def _created_version(store: EventStore, manifest: Manifest) -> int:
    created = [event.version for event in store.iter_stream(stream_of(manifest.job_id)) if event.type == "created"]
    return created[-1] if created else 0
