"""Stored streams of datafeeds of every schema so far fold to what they were; see ``test_golden_streams.py``."""

from pathlib import Path

import msgspec
import pytest

from domain.datafeeds import Datafeed, evolve
from domain.datafeeds.datafeed import encode_datafeed
from domain.datafeeds.events import EVENT_TYPES
from eventstore.errors import CodecError
from marigraph.codec import build_codec

STREAMS = sorted((Path(__file__).parent / "datafeeds").glob("*.jsonl"))


def lines_of(path):
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


def fold(lines):
    codec, datafeed = build_codec(EVENT_TYPES), Datafeed("d")
    for version, line in enumerate(lines, start=1):
        data = msgspec.json.encode(line["data"]).decode()
        event = codec.decode(line["type"], line["schema_version"], data, is_checked=True)
        datafeed = evolve(datafeed, event, version)
    return datafeed


def test_there_are_golden_streams():
    assert STREAMS


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_a_golden_stream_folds_to_the_datafeed_it_was(path):
    *events, expected = lines_of(path)
    assert {line["type"] for line in events} == set(EVENT_TYPES)
    assert msgspec.json.decode(encode_datafeed(fold(events))) == expected["datafeed"]


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_a_damaged_golden_stream_fails_loudly(path):
    *events, _expected = lines_of(path)
    for damage in ({"type": "opened"}, {"schema_version": 99}, {"data": {"config": "none"}}):
        with pytest.raises(CodecError):
            fold([{**events[0], **damage}, *events[1:]])
