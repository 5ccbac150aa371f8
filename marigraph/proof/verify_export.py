"""Verify an export of a job's events: ``python verify_export.py EXPORT.zip --public-key seal-key.pem.pub``.

Needs Python 3.11 and the package ``cryptography``, nothing of Marigraph. Take this file and the public key from
somebody you trust, not from beside the export. Exit code 0: every event is as it was sealed; 1: something was changed,
and the first such place is named; 2: the check could not be made.

The zip file holds

* ``export.json``: the job, how many events there are, and the SHA-256 of the two lists; ``export.sig``: its signature
* ``events.jsonl``: the events of the job's stream, oldest first, with all columns, the seal that covers each, and the
  proof that it does
* ``seals.jsonl``: all seals up to the last one that is needed
* ``payloads/<SHA-256 in hex>``: what was posted, as it was stored

What is hashed and signed is written down beside the functions below. Numbers are 8 bytes, big-endian, signed; a text
or digest has its length in UTF-8 bytes before it in 4 bytes, big-endian, and is FFFFFFFF where there is none.
"""

import argparse
import json
import re
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

FORMAT = "marigraph-export/1"
GENESIS = bytes(32)
LINE_BYTES_MAX = 32 * 1024 * 1024
"""Of one event with its proof; Marigraph stores no event above 16 MiB."""


class Bad(Exception):
    """Something does not hold."""


class NotChecked(Exception):
    """The check could not be made."""


# ------------------------------------------------------------------------------------------------- what is hashed


def number(value: int) -> bytes:
    """Encode a number."""
    return struct.pack(">q", value)


def text(value: str | bytes | None) -> bytes:
    """Encode a text or digest with its length."""
    if value is None:
        return b"\xff\xff\xff\xff"
    encoded = value if isinstance(value, bytes) else value.encode()
    return struct.pack(">I", len(encoded)) + encoded


def event_hash(previous: bytes, stream: str, event: dict[str, Any]) -> bytes:
    """SHA-256 of ``eventstore/1``, the hash of the event before, and all stored columns but the position."""
    context = (stream, event["actor"], event["request_id"], event["cause"], event["command_id"])
    index = event["command_index"]
    if index is not None and index < 0:
        msg = "the command index is below 0"
        raise Bad(msg)
    numbers = (event["version"], event["schema_version"], event["recorded_at"], -1 if index is None else index)
    digest = event["payload_digest"]
    texts = (event["type"], event["data"], None if digest is None else bytes.fromhex(digest))
    parts = [b"eventstore/1", previous, *map(text, context), *map(number, numbers), *map(text, texts)]
    return sha256(b"".join(parts)).digest()


def leaf(stream: str, event: dict[str, Any]) -> bytes:
    """SHA-256 of 00, position, version, hash, the payload's codec, and the stream's name without its length."""
    place = number(event["position"]) + number(event["version"])
    return sha256(
        b"\x00" + place + bytes.fromhex(event["hash"]) + text(event["codec"] or "") + stream.encode()
    ).digest()


def root(leaf_hash: bytes, proof: list[list[str]]) -> bytes:
    """Each step of a proof is SHA-256 of 01, left and right (RFC 6962)."""
    for side, neighbour in proof:
        pair = bytes.fromhex(neighbour) + leaf_hash if side == "L" else leaf_hash + bytes.fromhex(neighbour)
        leaf_hash = sha256(b"\x01" + pair).digest()
    return leaf_hash


def signed_of_seal(seal: dict[str, Any]) -> bytes:
    """``eventstore seal/1``, id, first and last position, time, root, hash of the seal before, and the key."""
    numbers = (seal["id"], seal["first_position"], seal["last_position"], seal["created_at"])
    hashes = bytes.fromhex(seal["merkle_root"]) + bytes.fromhex(seal["previous_hash"])
    return b"eventstore seal/1" + b"".join(map(number, numbers)) + hashes + text(seal["key_id"])


# -------------------------------------------------------------------------------------------------- what is checked

IsSigned = Callable[[bytes, bytes], bool]
"""Whether a signature is that of the public key over some data."""


def check_export(archive: zipfile.ZipFile, is_signed: IsSigned) -> str:
    """Check everything; return what was found to hold."""
    head = json.loads(archive.read("export.json"))
    if head["format"] != FORMAT:
        msg = f"the export has format {head['format']!r}, this script knows {FORMAT!r}"
        raise NotChecked(msg)
    seals = check_seals(archive, is_signed)
    n_sealed, n_payloads, n_dropped = check_events(archive, head, seals)
    signature = archive.read("export.sig") if "export.sig" in archive.namelist() else None
    check_head(archive, head, signature, is_signed)
    found = f"{head['events']} events of {head['stream']}: {n_sealed} sealed, {n_payloads} payloads as they were stored"
    if n_dropped:
        found += f", {n_dropped} no longer kept when this was exported"
    if n_sealed < head["events"]:
        found += f"; the last {head['events'] - n_sealed} are not sealed yet, only their chain holds"
    if signature is None:
        found += "; the export itself is not signed, so events at its end may have been left out"
    return found


def check_head(archive: zipfile.ZipFile, head: dict[str, Any], signature: bytes | None, is_signed: IsSigned) -> None:
    """Check that the lists are those that were signed."""
    for name in ("events", "seals"):
        if digest_of(archive, f"{name}.jsonl") != head[f"{name}_sha256"]:
            msg = f"{name}.jsonl is not the list that export.json names"
            raise Bad(msg)
    if signature is not None and not is_signed(signature, b"marigraph export/1" + archive.read("export.json")):
        msg = "export.json is not signed by this key"
        raise Bad(msg)


def check_seals(archive: zipfile.ZipFile, is_signed: IsSigned) -> dict[int, dict[str, Any]]:
    """Check signatures and chain of the seals; return them by id."""
    seals: dict[int, dict[str, Any]] = {}
    previous, last = GENESIS, 0
    for seal in lines(archive, "seals.jsonl"):
        expected = len(seals) + 1
        signed, signature = signed_of_seal(seal), bytes.fromhex(seal["signature"])
        if seal["id"] != expected:
            msg = f"seal {expected} is missing"
            raise Bad(msg)
        if not is_signed(signature, signed):
            msg = f"seal {expected} is not signed by this key"
            raise Bad(msg)
        if bytes.fromhex(seal["previous_hash"]) != previous or seal["first_position"] != last + 1:
            msg = f"seal {expected} does not follow the seal before it"
            raise Bad(msg)
        previous, last = sha256(signed + signature).digest(), seal["last_position"]
        seals[expected] = seal
    return seals


def check_events(
    archive: zipfile.ZipFile, head: dict[str, Any], seals: dict[int, dict[str, Any]]
) -> tuple[int, int, int]:
    """Check the chain, the proofs and the payloads; return how many were sealed, had a payload, and had lost it."""
    previous, before = GENESIS, {"version": 0, "position": 0, "recorded_at": 0}
    n_sealed = n_payloads = n_dropped = 0
    last_sealed = max((seal["last_position"] for seal in seals.values()), default=0)
    names = set(archive.namelist())
    for event in lines(archive, "events.jsonl"):
        expected = before["version"] + 1
        place = f"version {event['version']}, position {event['position']}"
        if event["version"] != expected:
            msg = f"the event of version {expected} is missing; {place} follows"
            raise Bad(msg)
        if event_hash(previous, head["stream"], event).hex() != event["hash"]:
            msg = f"{place}: the hash does not fit the event and the hash before it"
            raise Bad(msg)
        if event["position"] <= before["position"] or event["recorded_at"] < before["recorded_at"]:
            msg = f"{place}: the event is not after the one before it"
            raise Bad(msg)
        if event["seal"] is not None:
            check_proof(head["stream"], event, seals, place)
            n_sealed += 1
        elif event["position"] <= last_sealed:
            msg = f"{place}: a seal covers this position, but there is no proof"
            raise Bad(msg)
        if event["payload_digest"] is not None:
            name = f"payloads/{event['payload_digest']}"
            if name in names and digest_of(archive, name) != event["payload_digest"]:
                msg = f"{place}: the payload is not the one that was stored"
                raise Bad(msg)
            if name not in names and not event["is_payload_dropped"]:
                msg = f"{place}: the payload is missing"
                raise Bad(msg)
            n_payloads, n_dropped = n_payloads + (name in names), n_dropped + (name not in names)
        previous, before = bytes.fromhex(event["hash"]), event
    if before["version"] != head["events"]:
        msg = f"the event of version {before['version'] + 1} is missing; there are to be {head['events']}"
        raise Bad(msg)
    return n_sealed, n_payloads, n_dropped


def check_proof(stream: str, event: dict[str, Any], seals: dict[int, dict[str, Any]], place: str) -> None:
    """Check that a seal covers an event."""
    seal = seals.get(event["seal"])
    if seal is None:
        msg = f"{place}: there is no seal {event['seal']}"
        raise Bad(msg)
    if not seal["first_position"] <= event["position"] <= seal["last_position"]:
        msg = f"{place}: seal {seal['id']} does not cover this position"
        raise Bad(msg)
    if root(leaf(stream, event), event["proof"]).hex() != seal["merkle_root"]:
        msg = f"{place}: the event is not the one that seal {seal['id']} covers"
        raise Bad(msg)


# ----------------------------------------------------------------------------------------------------------- reading


def lines(archive: zipfile.ZipFile, name: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file of JSON lines."""
    with archive.open(name) as file:
        for place, line in enumerate(iter(lambda: file.readline(LINE_BYTES_MAX), b""), start=1):
            try:
                found = json.loads(line)
            except ValueError as error:
                msg = f"line {place} of {name} is no JSON: {error}"
                raise Bad(msg) from error
            if not isinstance(found, dict):
                msg = f"line {place} of {name} is no object"
                raise Bad(msg)
            yield found


def digest_of(archive: zipfile.ZipFile, name: str) -> str:
    """Return the SHA-256 of a file in the archive, in hex."""
    digest = sha256()
    with archive.open(name) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_public_key(path: Path) -> IsSigned:
    """Read a public Ed25519 key: PEM, or 64 hexadecimal digits."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    content = path.read_bytes().strip()
    if re.fullmatch(rb"[0-9a-f]{64}", content):
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(content.decode()))
    else:
        loaded = load_pem_public_key(content)
        if not isinstance(loaded, Ed25519PublicKey):
            msg = f"{path} holds no Ed25519 key"
            raise NotChecked(msg)
        key = loaded

    def is_signed(signature: bytes, data: bytes) -> bool:
        try:
            key.verify(signature, data)
        except InvalidSignature:
            return False
        return True

    return is_signed


def main(arguments: list[str] | None = None) -> int:
    """Run the check; return the exit code."""
    parser = argparse.ArgumentParser(description="Verify an export of a job's events.")
    parser.add_argument("export", type=Path, help="the zip file")
    parser.add_argument("--public-key", type=Path, required=True, help="public key of who sealed the log")
    given = parser.parse_args(arguments)
    try:
        is_signed = read_public_key(given.public_key)
    except (NotChecked, OSError, ImportError, ValueError) as error:
        print("could not check:", error)
        return 2
    try:
        with zipfile.ZipFile(given.export) as archive:
            print("intact:", check_export(archive, is_signed))
    except Bad as error:
        print("TAMPERED:", error)
        return 1
    except (NotChecked, OSError) as error:
        print("could not check:", error)
        return 2
    except (KeyError, TypeError, ValueError, struct.error, zipfile.BadZipFile, zlib.error) as error:
        print(f"TAMPERED: the export is damaged: {type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
