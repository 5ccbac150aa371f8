"""Sealing the log and keeping copies of the seals: by command, or by a server at intervals."""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from eventstore import EventStore, EventStoreError, SealRefused
from eventstore.log_reading import LogReader
from eventstore.sealing import SEAL_EVENTS, NewSeal, seal_log
from eventstore.seals import ExportedSeals, Seal, Signer, StoredSeals, export_line
from marigraph.proof.keys import signing_key
from marigraph.settings import Settings

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


def seal_database(
    store: EventStore,
    signer: Signer,
    *,
    export: Path | None = None,
    events_max: int = SEAL_EVENTS,
    progress: Progress | None = None,
) -> list[Seal]:
    """Seal all that is not sealed yet; append the new seals to a file, and those that it lacks.

    Raises
    ------
    SealRefused
        The log does not verify, another process seals, or the file is the copy of another database.
    """
    if export is not None:
        export_seals(store, export)  # first: a file that cannot be written to should be known before anything is sealed
    made: list[Seal] = []
    for new in seal_log(store, signer, events_max=events_max, progress=progress):
        made.append(new.seal)
        if export is not None:
            _append(export, [new])
    return made


def export_seals(store: EventStore, path: Path, progress: Progress | None = None) -> int:
    """Append the seals that a file of seals lacks; return how many those are.

    Raises
    ------
    SealRefused
        The file holds other seals than the database.
    """
    _drop_unfinished_line(path)
    with store.reading() as connection:
        stored = StoredSeals(LogReader(connection))
        kept = ExportedSeals(path).headers if path.exists() else []
        if kept != stored.headers[: len(kept)]:
            msg = f"{path} is no copy of this database's seals; name another file, and run `marigraph audit verify`"
            raise SealRefused(msg)
        missing = range(len(kept), len(stored.headers))
        _append(
            path, _told((NewSeal(stored.headers[each], stored.contents(each)) for each in missing), missing, progress)
        )
    return len(missing)


def _drop_unfinished_line(path: Path) -> None:
    """Cut off what a process that died left of a line."""
    if not path.exists() or not path.stat().st_size:
        return
    with path.open("rb+") as file:
        file.seek(-1, os.SEEK_END)
        if file.read() != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)


def _told(seals: Iterator[NewSeal], expected: range, progress: Progress | None) -> Iterator[NewSeal]:
    for done, each in enumerate(seals, start=1):
        yield each
        if progress is not None:
            progress(done, len(expected))


def _append(path: Path, seals: "Iterator[NewSeal] | list[NewSeal]") -> None:
    """Append lines; each is on the disk before the next begins."""
    with path.open("ab") as file:
        for each in seals:
            file.write(export_line(each.seal, each.contents))
            _sync(file)


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def list_seals(store: EventStore) -> list[Seal]:
    """Return the seals of a database, oldest first."""
    with store.reading() as connection:
        return StoredSeals(LogReader(connection)).headers


def seal_resource(seal: Seal) -> dict[str, Any]:
    """Return a seal as the API shows it."""
    return {**seal.to_json(), "hash": seal.hash.hex(), "created_at": seal.created_at // 1000}


class Sealer:
    """Seals what was appended, at intervals, on a thread of its own: appends never wait for it."""

    def __init__(self, store: EventStore, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, if the settings ask for it; KeyRefused if there is no key to sign with."""
        every = self._settings.seals.every_seconds
        if every is None:
            return
        own = signing_key(self._settings)
        if own.is_new:
            log.warning("a signing key was made in %s; keep its public half elsewhere: %s", own.path, own.key.key_id)
        self._thread = threading.Thread(target=self._run, args=(own.key, every), name="seals", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Seal no more; what is being sealed now is finished first."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, signer: Signer, every: float) -> None:
        export = self._settings.seals.export
        while not self._stopped.wait(every):
            try:
                made = seal_database(self._store, signer, export=Path(export) if export else None)
            except (EventStoreError, OSError) as error:
                log.warning("nothing was sealed: %s", error)
            else:
                for seal in made:
                    log.info("sealed events up to position %d in seal %d", seal.last_position, seal.id)
