"""Sealing: what was appended since the last seal is checked, listed and signed, off the way of those who append.

Whoever seals reads what is committed; positions become visible in order, so nothing can come to lie inside a range
that was sealed. Two processes may seal at once: the id of a seal is taken once, and who comes second starts over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from eventstore.dialects import insert
from eventstore.errors import CorruptSeal, SealRefused
from eventstore.links import Broken, Links
from eventstore.log_reading import LogReader
from eventstore.seals import Contents, Seal, Sealed, Signer, StoredSeals, check_seals, make_seal
from eventstore.store import EventStore
from eventstore.tables import seal_contents, seals

SEAL_EVENTS = 10_000  # the most that one seal covers; chosen: its list has 350 kB, a proof 14 hashes


@dataclass(frozen=True, slots=True)
class NewSeal:
    """A seal that was just made, and what it covers."""

    seal: Seal
    contents: Contents


def seal_log(
    store: EventStore,
    signer: Signer,
    *,
    events_max: int = SEAL_EVENTS,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[NewSeal]:
    """Seal everything up to the newest event, seal by seal; each one is durable before it is yielded.

    Parameters
    ----------
    events_max : int
        The most events that one seal covers.
    progress : callable, optional
        Told the last position sealed and the one where sealing will end.

    Raises
    ------
    SealRefused
        The log or the seals so far do not verify, so nothing more is signed; or another process seals.
    """
    with store.reading() as connection:
        reader = LogReader(connection)
        previous = _last_seal(reader)
        end = reader.last_position()
    while (previous.last_position if previous is not None else 0) < end:
        made = _seal_next(store, signer, previous, min(events_max, SEAL_EVENTS), end)
        if made is None:
            return
        previous = made.seal
        yield made
        if progress is not None:
            progress(previous.last_position, end)


def _last_seal(reader: LogReader) -> Seal | None:
    try:
        found = StoredSeals(reader).headers
    except CorruptSeal as error:
        msg = f"the seals of this database do not verify, so nothing is sealed: {error}"
        raise SealRefused(msg) from error
    bad = next(check_seals(found, None), None)
    if bad is not None:
        msg = f"the seals of this database do not verify, so nothing is sealed: seal {bad.version}: {bad.what}"
        raise SealRefused(msg)
    return found[-1] if found else None


def _seal_next(store: EventStore, signer: Signer, previous: Seal | None, events_max: int, end: int) -> NewSeal | None:
    after = previous.last_position if previous is not None else 0
    contents = _collect(store, after, end, events_max)
    if contents is None:
        return None
    seal = make_seal(contents, previous, contents.events[-1].position, store.clock(), signer)
    places, hashes = contents.encode()
    with store.transaction() as connection:
        values = {name: getattr(seal, name) for name in seal.__struct_fields__}
        statement = insert(connection, seals).values(**values).on_conflict_do_nothing().returning(seals.c.id)
        if connection.execute(statement).first() is None:
            msg = f"another process has just made seal {seal.id}; run the command again"
            raise SealRefused(msg)
        listed = {"seal_id": seal.id, "places": places, "hashes": hashes}
        connection.execute(insert(connection, seal_contents).values(**listed))
    return NewSeal(seal, contents)


def _collect(store: EventStore, after: int, end: int, events_max: int) -> Contents | None:
    """Return the next events, whose links hold; None when there are none."""
    with store.reading() as connection:
        reader = LogReader(connection)
        names = reader.names()
        links = Links(reader, names, from_start=after == 0)
        found: list[Sealed] = []
        while len(found) < events_max:
            limit = events_max - len(found)
            rows = reader.events_between(after, end, min(limit, 1_000))
            try:
                links.check(rows)
            except Broken as broken:
                bad = broken.bad
                msg = (
                    f"the log does not verify, so nothing more is sealed: {bad.stream}, version {bad.version}: "
                    f"{bad.what}; run `marigraph audit verify`"
                )
                raise SealRefused(msg) from broken
            if not rows:
                break
            codecs = reader.codecs_between(rows[0].position, rows[-1].position)
            found += [
                Sealed(row.position, names[row.stream_id], row.version, row.hash, codecs.get(row.position, b""))
                for row in rows
            ]
            after = rows[-1].position
    return Contents(tuple(found)) if found else None
