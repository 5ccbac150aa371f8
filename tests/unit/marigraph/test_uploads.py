"""Bodies of bounded size: whatever the cut, each makes sense alone and nothing is lost."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import ParseError
from domain.records.reader import RECORD_BYTES_MAX
from marigraph.uploads import Splitter, add_counts

TEXTS = st.text(alphabet=st.sampled_from('ab,"{}[]\n\\ é'), max_size=6)
RECORDS = st.lists(st.fixed_dictionaries({"time": st.integers(0, 10**6), "text": TEXTS}), max_size=12)


def bodies(data, n_bytes, description):
    splitter = Splitter(description)
    parts = [splitter.feed(data[start : start + n_bytes]) for start in range(0, len(data), n_bytes)]
    return [part for part in (*parts, splitter.finish()) if part]


def objects(body):
    decoder, text, found = json.JSONDecoder(), body.decode(), []
    while text := text.lstrip(", \t\r\n"):
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:]
    return found


@given(RECORDS, st.integers(1, 60), st.sampled_from(["lines", "array", "pretty", "joined"]))
def test_json_is_cut_between_records(records, n_bytes, form):
    texts = [json.dumps(record, ensure_ascii=False) for record in records]
    data = {
        "lines": "\n".join(texts),
        "array": json.dumps(records),
        "pretty": json.dumps(records, indent=1),
        "joined": "".join(texts),
    }[form].encode()
    assert [each for body in bodies(data, n_bytes, {}) for each in objects(body)] == records


@given(RECORDS, st.integers(1, 60), st.sampled_from([",", ";"]))
def test_every_body_of_delimited_records_begins_with_the_header(records, n_bytes, delimiter):
    def quoted(text):
        return '"' + text.replace('"', '""') + '"'

    header = f"time{delimiter}text\n"
    lines = [f"{record['time']}{delimiter}{quoted(record['text'])}\n" for record in records]
    made = bodies((header + "".join(lines)).encode(), n_bytes, {"time_field": "time"})
    assert all(body.startswith(header.encode()) for body in made)
    assert b"".join(body.removeprefix(header.encode()) for body in made) == "".join(lines).encode()


def test_the_job_says_how_its_delimited_records_are_written():
    description = {"format": "delimited", "field_delimiter": "|", "quote_character": "'"}
    assert bodies(b"time|x\n1|'a\nb'\n2|c\n", 15, description) == [b"time|x\n1|'a\nb'\n", b"time|x\n2|c\n"]


def test_a_record_without_end_is_refused_before_it_fills_the_memory():
    splitter = Splitter({})
    with pytest.raises(ParseError, match="Expected records of at most"):
        for _ in range(RECORD_BYTES_MAX // (1 << 20) + 2):
            splitter.feed(b'{"a": "' + b"x" * (1 << 20))


def test_counts_are_added_and_times_are_widened():
    one = {"job_id": "j", "input_record_count": 2, "earliest_record_timestamp": 5, "latest_record_timestamp": 7}
    two = {"job_id": "j", "input_record_count": 3, "earliest_record_timestamp": 4, "last_data_time": 9}
    assert add_counts(one, two) == {
        "job_id": "j",
        "input_record_count": 5,
        "earliest_record_timestamp": 4,
        "latest_record_timestamp": 7,
        "last_data_time": 9,
    }
