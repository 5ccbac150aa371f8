"""Exports of a job's events that others can verify without Marigraph; the format is told in ``verify_export.py``."""

import shutil
import tempfile
import zipfile
from bisect import bisect_left
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import msgspec

from domain.errors import InvalidArgument
from eventstore import EventStore, PayloadMissing, SealRefused, StoredEvent
from eventstore.log_reading import LogReader
from eventstore.merkle import levels_of, proof_in
from eventstore.seals import Contents, StoredSeals
from eventstore.signing import SigningKey
from eventstore.verify import Verification, verify_chain
from marigraph.codec import stream_of
from marigraph.proof.keys import key_path
from marigraph.proof.payload_rules import LogRules
from marigraph.proof.verification import no_such_job
from marigraph.proof.verify_export import FORMAT
from marigraph.settings import Settings

SCRIPT = Path(__file__).with_name("verify_export.py")
SIGNED = b"marigraph export/1"
README = """An export of the events of {stream}, with proofs against signed seals.

Take verify_export.py from somebody you trust (a copy lies in this archive too), and the public key of who sealed the
log, and run:

    python verify_export.py EXPORT.zip --public-key seal-key.pem.pub

What the files hold, and what is hashed and signed, is told in verify_export.py.
"""

Progress = Callable[[int, int], None]


def export_job(
    store: EventStore, settings: Settings, job_id: str, path: Path, progress: Progress | None = None
) -> dict[str, Any]:
    """Write the events and payloads of a job, with their proofs, into a new zip file.

    Raises
    ------
    NotFound
        There was never such a job.
    InvalidArgument, SealRefused
        The file exists already; the job's events do not verify, or its seals.
    """
    stream = stream_of(job_id)
    head = store.head(stream)
    if head is None:
        raise no_such_job(job_id)
    if path.exists():
        msg = f"{path} exists already; name another file"
        raise InvalidArgument(msg)
    report = verify_chain(store, Verification(stream, rules=LogRules(), checks_fences=True))
    if not report.is_intact:
        msg = f"the events of {stream} do not verify; run `marigraph audit verify --job {job_id}`"
        raise SealRefused(msg)
    unfinished = path.with_name(f"{path.name}.part")
    try:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
            found = _Export(store, stream, head.version).write(archive, _signer(settings), progress)
        unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return {"job_id": job_id, **found}


def write_script(folder: Path) -> Path:
    """Write the script that verifies exports into a folder."""
    return Path(shutil.copyfile(SCRIPT, folder / SCRIPT.name))


def _signer(settings: Settings) -> SigningKey | None:
    """Return the key that seals are signed with, where this user has it."""
    path = key_path(settings)
    return SigningKey.read(path) if path.exists() else None


class _Export:
    """One export on its way."""

    def __init__(self, store: EventStore, stream: str, version: int) -> None:
        self._store = store
        self._stream = stream
        self._version = version
        self._payloads: dict[bytes, bool] = {}
        self._n_sealed = 0

    def write(self, archive: zipfile.ZipFile, signer: SigningKey | None, progress: Progress | None) -> dict[str, Any]:
        with tempfile.TemporaryFile() as events, self._store.reading() as connection:
            proofs = _Proofs(StoredSeals(LogReader(connection)))
            events_sha256 = self._write_events(events, proofs, progress)
            events.seek(0)
            with archive.open("events.jsonl", "w", force_zip64=True) as target:
                shutil.copyfileobj(events, target)
        seals = b"".join(msgspec.json.encode(seal.to_json()) + b"\n" for seal in proofs.used)
        archive.writestr("seals.jsonl", seals)
        head = {
            "format": FORMAT,
            "stream": self._stream,
            "events": self._version,
            "exported_at": self._store.clock(),
            "events_sha256": events_sha256,
            "seals_sha256": sha256(seals).hexdigest(),
        }
        signed = msgspec.json.encode(head)
        archive.writestr("export.json", signed)
        if signer is not None:
            archive.writestr("export.sig", signer.sign(SIGNED + signed))
        n_payloads = self._write_payloads(archive)
        archive.write(SCRIPT, SCRIPT.name)
        archive.writestr("README.txt", README.format(stream=self._stream))
        return {
            "events": self._version,
            "sealed_events": self._n_sealed,
            "payloads": n_payloads,
            "seals": len(proofs.used),
            "is_signed": signer is not None,
        }

    def _write_events(self, file: IO[bytes], proofs: "_Proofs", progress: Progress | None) -> str:
        digest = sha256()
        for event in self._store.iter_stream(self._stream, 0, self._version):
            line = msgspec.json.encode(self._line(event, proofs)) + b"\n"
            digest.update(line)
            file.write(line)
            if progress is not None:
                progress(event.version, self._version)
        return digest.hexdigest()

    def _line(self, event: StoredEvent, proofs: "_Proofs") -> dict[str, Any]:
        is_there = event.payload_digest is not None and self._has_payload(event.payload_digest)
        proof = proofs.of(event.position)
        self._n_sealed += proof["seal"] is not None
        fields = {
            name: value.hex() if isinstance(value := getattr(event, name), bytes) else value
            for name in event._fields
            if name != "stream"
        }
        return {**fields, "is_payload_dropped": event.payload_digest is not None and not is_there, **proof}

    def _has_payload(self, digest: bytes) -> bool:
        if digest not in self._payloads:
            self._payloads[digest] = self._store.backend.read_payload(self._stream, digest) is not None
        return self._payloads[digest]

    def _write_payloads(self, archive: zipfile.ZipFile) -> int:
        n_written = 0
        for digest, is_there in self._payloads.items():
            if is_there:
                try:
                    payload = self._store.read_payload(self._stream, digest)
                except PayloadMissing as error:
                    msg = f"a payload of {self._stream} was dropped meanwhile; export again"
                    raise SealRefused(msg) from error
                archive.writestr(f"payloads/{digest.hex()}", payload.body, zipfile.ZIP_STORED)
                n_written += 1
        return n_written


class _Proofs:
    """The seals of events in the order of their positions, one list of events at hand at a time."""

    def __init__(self, seals: StoredSeals) -> None:
        self._seals = seals
        self._ends = [seal.last_position for seal in seals.headers]
        self._place = -1
        self._contents: Contents | None = None
        self._levels: list[list[bytes]] = []
        self._positions: list[int] = []

    @property
    def used(self) -> "list[Any]":
        """All seals up to the last one that was needed."""
        return self._seals.headers[: self._place + 1]

    def of(self, position: int) -> dict[str, Any]:
        """Return seal, codec and proof of the event at a position."""
        place = bisect_left(self._ends, position)
        if place == len(self._ends):
            return {"seal": None, "codec": None, "proof": []}
        if place != self._place:
            self._place, self._contents = place, self._seals.contents(place)
            self._positions = [event.position for event in self._contents.events]
            self._levels = levels_of(self._contents.leaves)
        assert self._contents is not None
        index = bisect_left(self._positions, position)
        steps = proof_in(self._levels, index)
        return {
            "seal": self._seals.headers[place].id,
            "codec": self._contents.events[index].codec.decode(),
            "proof": [["L" if step.is_left else "R", step.hash.hex()] for step in steps],
        }
