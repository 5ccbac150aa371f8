"""The codec: from the stored type and JSON text to the application's event, old versions lifted on the way.

The store knows event types only by what the application registers here. An event of the current version is
decoded at once; an older one goes through the upcasters, from each version to the next, is validated, and
then decoded. One of a newer version stops the reader with an error: skipping it would make a wrong state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

from eventstore.errors import CodecError, MissingUpcaster, NewerSchemaVersion, UnknownEventType

JsonObject: TypeAlias = dict[str, Any]
Decode: TypeAlias = Callable[[str], Any]
Validate: TypeAlias = Callable[[JsonObject], Any]
Upcaster: TypeAlias = Callable[[JsonObject], JsonObject]

_decode_json = msgspec.json.Decoder().decode
_encode_json = msgspec.json.Encoder().encode


@dataclass
class _Entry:
    version: int
    decode: Decode
    validate: Validate | None
    upcasters: dict[int, Upcaster] = field(default_factory=dict)


class Codec:
    """A registry of event types."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def register(
        self,
        type: str,
        *,
        version: int,
        decode: Decode,
        validate: Validate | None = None,
    ) -> None:
        """Register an event type.

        Parameters
        ----------
        version : int
            The current schema version, that which is written.
        decode : callable
            From JSON text of the current version to an event; the fast path of replay.
        validate : callable, optional
            Raises for a JSON object that is no event of the current version; called for what upcasters made.
        """
        if type in self._entries or version < 1:
            msg = f"event type {type!r} is registered twice or with a version below 1"
            raise CodecError(msg)
        self._entries[type] = _Entry(version, decode, validate)

    def add_upcaster(self, type: str, from_version: int, lift: Upcaster) -> None:
        """Register the step that lifts a type from one schema version to the next."""
        entry = self._entry(type)
        if not 1 <= from_version < entry.version or from_version in entry.upcasters:
            msg = f"upcaster of {type!r} from {from_version}: there twice, or not below {entry.version}"
            raise CodecError(msg)
        entry.upcasters[from_version] = lift

    def check_complete(self) -> None:
        """Raise `MissingUpcaster` unless each old version of each type can be lifted; call it at start."""
        for type_, entry in self._entries.items():
            missing = sorted(set(range(1, entry.version)) - set(entry.upcasters))
            if missing:
                msg = f"event type {type_!r} is at version {entry.version}, no upcaster lifts from {missing}"
                raise MissingUpcaster(msg)

    @property
    def types(self) -> tuple[str, ...]:
        """The registered types."""
        return tuple(self._entries)

    def decode(self, type: str, schema_version: int, data: str, *, is_checked: bool = False) -> Any:
        """Return the event of a stored text.

        Parameters
        ----------
        is_checked : bool
            Validate an event of the current version too; for samples.

        Raises
        ------
        UnknownEventType, NewerSchemaVersion
            This program cannot read the event.
        CodecError
            The text is no event of its type.
        """
        entry = self._entries.get(type) or self._entry(type)
        try:
            if schema_version != entry.version:
                lifted = self._lift(type, entry, schema_version, data)
                return entry.decode(_encode_json(lifted).decode())
            if is_checked and entry.validate is not None:
                entry.validate(_decode_json(data))
            return entry.decode(data)
        except ValueError as error:  # msgspec's and pydantic's errors are of this family
            msg = f"an event of type {type!r}, version {schema_version}, cannot be read: {error}"
            raise CodecError(msg) from error

    def _lift(self, type_: str, entry: _Entry, schema_version: int, data: str) -> JsonObject:
        if schema_version > entry.version or schema_version < 1:
            msg = (
                f"an event of type {type_!r} has schema version {schema_version}, this program reads up to "
                f"{entry.version}; it was written by a newer one"
            )
            raise NewerSchemaVersion(msg)
        content: JsonObject = _decode_json(data)
        for version in range(schema_version, entry.version):
            lift = entry.upcasters.get(version)
            if lift is None:
                msg = f"event type {type_!r} has no upcaster from version {version}"
                raise MissingUpcaster(msg)
            content = lift(content)
        if entry.validate is not None:
            entry.validate(content)
        return content

    def _entry(self, type_: str) -> _Entry:
        try:
            return self._entries[type_]
        except KeyError:
            known = ", ".join(sorted(self._entries))
            msg = f"event type {type_!r} is unknown to this program; it knows {known}"
            raise UnknownEventType(msg) from None
