"""Stored streams of every schema so far decode and fold to the job they were, whatever the program has become.

A stream is written once, by the program of its time, and never edited: each line is an event as stored, the last line
is the job that it folded to, with the fields of its time. A new type or schema version adds a file; it changes none.
"""

from pathlib import Path

import msgspec
import pytest

from domain.job import Job, encode_job, evolve
from eventstore.errors import CodecError
from marigraph.codec import build_codec

STREAMS = sorted(Path(__file__).parent.glob("*.jsonl"))


def lines_of(path):
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


def fold(lines):
    codec, job = build_codec(), Job("golden")
    for version, line in enumerate(lines, start=1):
        data = msgspec.json.encode(line["data"]).decode()
        event = codec.decode(line["type"], line["schema_version"], data, is_checked=True)
        job = evolve(job, event, version, line["recorded_ms"])
    return job


def test_there_are_golden_streams():
    assert STREAMS


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_a_golden_stream_folds_to_the_job_it_was(path):
    *events, expected = lines_of(path)
    found = msgspec.json.decode(encode_job(fold(events)))
    assert {name: found[name] for name in expected["job"]} == expected["job"]


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_a_damaged_golden_stream_fails_loudly(path):
    *events, _expected = lines_of(path)
    posted = next(line for line in events if line["type"] == "data_posted")
    for damage in ({"type": "unheard_of"}, {"schema_version": 99}, {"data": {"counts": "many"}}):
        with pytest.raises(CodecError):
            fold([{**line, **damage} if line is posted else line for line in events])


def test_the_golden_streams_hold_every_type_of_event():
    assert {line["type"] for path in STREAMS for line in lines_of(path)[:-1]} == set(build_codec().types)
