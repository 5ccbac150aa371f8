"""Stored streams of keys and of deliveries: like those of jobs, they fold to what they were for ever."""

from pathlib import Path

import msgspec
import pytest

from domain import access, notify
from eventstore.errors import CodecError
from marigraph.codec import build_codec

FOLDER = Path(__file__).parent / "others"


def fold_access(state, event, version, line):
    verifier = bytes.fromhex(line["payload"]) if line["payload"] else None
    return access.evolve(state, event, version, line["recorded_ms"], verifier)


def fold_notify(state, event, version, _line):
    return notify.evolve(state, event, version)


KINDS = {
    "access": (access.ACCESS_EVENTS, access.Access(), fold_access),
    "notify": (notify.NOTIFY_EVENTS, notify.Progress(), fold_notify),
}
STREAMS = sorted(FOLDER.glob("*.jsonl"))


def lines_of(path):
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


def fold(path, lines):
    models, state, evolve = KINDS[path.name.partition("-")[0]]
    codec = build_codec(models)
    for version, line in enumerate(lines, start=1):
        data = msgspec.json.encode(line["data"]).decode()
        event = codec.decode(line["type"], line["schema_version"], data, is_checked=True)
        state = evolve(state, event, version, line)
    return state


def test_there_is_a_golden_stream_of_each_kind():
    assert {path.name.partition("-")[0] for path in STREAMS} == set(KINDS)


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_a_golden_stream_folds_to_what_it_was(path):
    *events, expected = lines_of(path)
    assert msgspec.json.decode(msgspec.json.encode(fold(path, events))) == expected


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_a_golden_stream_holds_every_type_of_event(path):
    *events, _expected = lines_of(path)
    assert {line["type"] for line in events} == set(KINDS[path.name.partition("-")[0]][0])


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_a_damaged_golden_stream_fails_loudly(path):
    *events, _expected = lines_of(path)
    for damage in ({"type": "unheard_of"}, {"schema_version": 99}, {"data": {"nonsense": 1}}):
        with pytest.raises(CodecError):
            fold(path, [{**events[0], **damage}, *events[1:]])
