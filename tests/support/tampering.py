"""One change to a copy of a sealed SQLite file, as somebody with the file could make it, and where it must be found."""

from __future__ import annotations

import random
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TABLES = ("events", "payloads", "streams", "seals", "seal_contents")
KINDS = ("bit", "bit", "bit", "bit", "bit", "bit", "delete", "delete_last", "insert", "reorder")
TEXTS = {"type", "actor", "request_id", "cause", "command_id", "data", "name", "codec", "key_id"}
INT_BITS = 64


@dataclass(frozen=True)
class Change:
    """What was changed, and the places that a verification may rightly name: stream, version, position or None."""

    what: str
    places: frozenset[tuple[str, int, int | None]]

    def is_named_by(self, bad: dict[str, Any]) -> bool:
        return (bad["stream"], bad["version"], bad["position"]) in self.places


def tampered_copy(source: Path, target: Path, seed: int) -> Change:
    """Copy a database and change one thing in the copy, which depends on the seed only."""
    for each in target.parent.glob(f"{target.name}*"):
        each.unlink()
    shutil.copyfile(source, target)
    connection = sqlite3.connect(target, isolation_level=None)
    try:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        return Tamperer(connection, random.Random(seed)).change()
    finally:
        connection.close()


class Tamperer:
    """Makes one random change over a connection without triggers."""

    def __init__(self, connection: sqlite3.Connection, chance: random.Random) -> None:
        self._connection = connection
        self._chance = chance
        self._places = {
            position: (stream, version, position)
            for position, stream, version in connection.execute(
                "SELECT e.position, s.name, e.version FROM events e JOIN streams s ON s.id = e.stream_id"
            )
        }

    def change(self) -> Change:
        while True:
            kind = self._chance.choice(KINDS)
            made: Change | None = getattr(self, f"_{kind}")()
            if made is not None:
                return made

    # ---------------------------------------------------------------------------------------------------------- bits

    def _bit(self) -> Change | None:
        table = self._chance.choice(TABLES)
        rows = self._connection.execute(f"SELECT rowid FROM {table}").fetchall()
        if not rows:
            return None
        (row_id,) = self._chance.choice(rows)
        columns = [name for _, name, *_ in self._connection.execute(f"PRAGMA table_info({table})")]
        column = self._chance.choice(columns)
        places = self._places_of(table, row_id)
        cast = f"CAST({column} AS BLOB)" if column in TEXTS else column
        (value,) = self._connection.execute(f"SELECT {cast} FROM {table} WHERE rowid = ?", (row_id,)).fetchone()
        if value is None or value == b"":
            return None
        changed, bit = self._flipped(value)
        stored = "CAST(? AS TEXT)" if column in TEXTS else "?"
        try:
            self._connection.execute(f"UPDATE {table} SET {column} = {stored} WHERE rowid = ?", (changed, row_id))
        except sqlite3.IntegrityError:
            return None
        if table == "streams" and column == "name" and isinstance(changed, bytes):
            places |= {(changed.decode(errors="backslashreplace"), *place[1:]) for place in places}
        return Change(f"bit {bit} of {table}.{column} in row {row_id}", places)

    def _flipped(self, value: int | bytes) -> tuple[int | bytes, int]:
        if isinstance(value, int):
            bit = self._chance.randrange(INT_BITS)
            flipped = (value % 2**INT_BITS) ^ (1 << bit)
            return flipped - 2**INT_BITS if flipped >= 2 ** (INT_BITS - 1) else flipped, bit
        bit = self._chance.randrange(len(value) * 8)
        changed = bytearray(value)
        changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed), bit

    def _places_of(self, table: str, row_id: int) -> frozenset[tuple[str, int, int | None]]:
        if table == "events":
            return frozenset([self._places[row_id]])
        if table in ("seals", "seal_contents"):
            return frozenset([("seal", row_id, None)])
        if table == "payloads":
            positions = self._connection.execute(
                "SELECT e.position FROM events e JOIN payloads p ON p.stream_id = e.stream_id"
                " AND p.digest = e.payload_digest WHERE p.rowid = ? ORDER BY e.position LIMIT 1",
                (row_id,),
            )
            return frozenset(self._places[position] for (position,) in positions)
        # A head is bad at its newest event; where its name or id changed, every event of the stream is.
        name, newest = self._connection.execute("SELECT name, version FROM streams WHERE id = ?", (row_id,)).fetchone()
        ends = [place for place in self._places.values() if place[0] == name and place[1] in (1, newest)]
        return frozenset(ends or [(name, 0, None)])

    # -------------------------------------------------------------------------------------------------------- events

    def _delete(self) -> Change:
        position = self._chance.choice(sorted(self._places))
        self._connection.execute("DELETE FROM events WHERE position = ?", (position,))
        return Change(f"deleted the event at {position}", frozenset([self._places[position]]))

    def _delete_last(self) -> Change:
        """Delete the newest event of a stream and take its head back, so that both fit each other."""
        stream, version, position = self._chance.choice(self._newest())
        if self._chance.random() < 0.5:
            stream, version, position = max(self._places.values(), key=lambda place: place[2])
        self._connection.execute("DELETE FROM events WHERE position = ?", (position,))
        last = self._connection.execute(
            "SELECT version, hash, recorded_at FROM events WHERE version = ? AND stream_id ="
            " (SELECT id FROM streams WHERE name = ?)",
            (version - 1, stream),
        ).fetchone()
        self._connection.execute(
            "UPDATE streams SET version = ?, head_hash = ?, recorded_at = ? WHERE name = ?",
            (*(last or (0, bytes(32), 0)), stream),
        )
        return Change(f"cut off the event at {position}", frozenset([(stream, version, position)]))

    def _newest(self) -> list[tuple[str, int, int]]:
        newest: dict[str, tuple[str, int, int]] = {}
        for place in sorted(self._places.values()):
            newest[place[0]] = place
        return list(newest.values())

    def _insert(self) -> Change:
        """Insert a copy of an event behind the newest one of its stream."""
        stream, version, _ = self._chance.choice(self._newest())
        source = self._chance.choice(sorted(self._places))
        copied = "type, schema_version, recorded_at, actor, request_id, cause, data, payload_digest, hash"
        cursor = self._connection.execute(
            f"INSERT INTO events (stream_id, version, {copied})"
            f" SELECT (SELECT id FROM streams WHERE name = ?), ?, {copied} FROM events WHERE position = ?",
            (stream, version + 1, source),
        )
        assert cursor.lastrowid is not None
        return Change(f"inserted a copy of {source}", frozenset([(stream, version + 1, cursor.lastrowid)]))

    def _reorder(self) -> Change:
        """Let two events change their positions, or, if they are of one stream, their versions."""
        first, second = sorted(self._chance.sample(sorted(self._places), 2))
        one, two = self._places[first], self._places[second]
        column = "version" if one[0] == two[0] and self._chance.random() < 0.5 else "position"
        places = {one} if column == "position" else {one, min(one, two)}
        values = (first, second) if column == "position" else (one[1], two[1])
        self._connection.execute(f"UPDATE events SET {column} = -7 WHERE position = ?", (first,))
        self._connection.execute(f"UPDATE events SET {column} = ? WHERE position = ?", (values[0], second))
        moved = "position = -7" if column == "position" else f"position = {first}"
        self._connection.execute(f"UPDATE events SET {column} = ? WHERE {moved}", (values[1],))
        return Change(f"swapped the {column}s of {first} and {second}", frozenset(places))
