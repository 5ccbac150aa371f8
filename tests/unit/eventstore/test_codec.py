from __future__ import annotations

from typing import Any

import msgspec
import pytest

from eventstore import Codec, CodecError
from eventstore.errors import MissingUpcaster, NewerSchemaVersion, UnknownEventType


class Posted(msgspec.Struct, frozen=True):
    count: int
    unit: str


def validate(content: dict[str, Any]) -> None:
    if content["count"] < 0:
        msg = "count must not be negative"
        raise ValueError(msg)


@pytest.fixture
def codec() -> Codec:
    codec = Codec()
    codec.register("posted", version=3, decode=msgspec.json.Decoder(Posted).decode, validate=validate)
    codec.add_upcaster("posted", 1, lambda old: {"count": old["n"]})
    codec.add_upcaster("posted", 2, lambda old: {**old, "unit": "records"})
    codec.check_complete()
    return codec


def test_current_version_is_decoded_at_once(codec: Codec) -> None:
    assert codec.decode("posted", 3, '{"count": -1, "unit": "x"}') == Posted(-1, "x")


@pytest.mark.parametrize(("version", "data"), [(1, '{"n": 5}'), (2, '{"count": 5}')])
def test_old_versions_are_lifted_step_by_step(codec: Codec, version: int, data: str) -> None:
    assert codec.decode("posted", version, data) == Posted(5, "records")


def test_what_upcasters_make_is_validated(codec: Codec) -> None:
    with pytest.raises(CodecError, match="negative"):
        codec.decode("posted", 1, '{"n": -5}')


def test_samples_of_the_current_version_are_validated_when_asked(codec: Codec) -> None:
    with pytest.raises(CodecError, match="negative"):
        codec.decode("posted", 3, '{"count": -1, "unit": "x"}', is_checked=True)


@pytest.mark.parametrize("version", [4, 0])
def test_version_above_its_own_stops_the_reader(codec: Codec, version: int) -> None:
    with pytest.raises(NewerSchemaVersion, match=f"schema version {version}"):
        codec.decode("posted", version, "{}")


def test_unknown_type_is_named(codec: Codec) -> None:
    with pytest.raises(UnknownEventType, match="'vanished'"):
        codec.decode("vanished", 1, "{}")


@pytest.mark.parametrize("data", ["{", '{"count": "x", "unit": "y"}', "[]"])
def test_text_that_is_no_event_is_a_codec_error(codec: Codec, data: str) -> None:
    with pytest.raises(CodecError, match="posted"):
        codec.decode("posted", 3, data)


def test_gap_in_the_upcasters_is_found_at_start() -> None:
    codec = Codec()
    codec.register("posted", version=4, decode=msgspec.json.decode)
    codec.add_upcaster("posted", 2, lambda old: old)
    with pytest.raises(MissingUpcaster, match=r"\[1, 3\]"):
        codec.check_complete()


@pytest.mark.parametrize("version", [0, 3, 7])
def test_upcasters_lift_from_old_versions_only(codec: Codec, version: int) -> None:
    with pytest.raises(CodecError):
        codec.add_upcaster("posted", version, lambda old: old)


def test_types_are_registered_once(codec: Codec) -> None:
    with pytest.raises(CodecError):
        codec.register("posted", version=1, decode=msgspec.json.decode)
