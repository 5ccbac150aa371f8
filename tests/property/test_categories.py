"""Hypothesis looks for messages that are grouped otherwise when cut or saved, and for ones that break it."""

from __future__ import annotations

import json
import re

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.categories import Categorizer
from domain.categories.tokens import first_line

WORDS = (
    "user bob alice opened closed disk from for not 17 10.0.0.1 fe80::1 /a/b 'x y' key=value key= ERROR 用户登录 é "
    'a.b*c (x|y) [z] {"msg":"opened disk"} service cache state test POST x\ny $^+ qz vw'
)
WORDS = (
    "user bob alice opened closed disk from for not 17 10.0.0.1 fe80::1 /a/b 'x y' key=value key= ERROR 用户登录 é "
    'a.b*c (x|y) [z] {"msg":"opened disk"} service cache state test POST x\ny $^+ qz vw'
)
words = st.sampled_from(WORDS.split(" "))
messages = st.lists(words, max_size=9).map(" ".join)
hostile = st.one_of(
    messages,
    st.text(max_size=80),
    st.text(st.characters(), max_size=40),
    st.text("'\"`=:/\\ a{}[]()<>0", max_size=200),
    st.sampled_from(
        ["", "\ud800x", "a" * 5_000, "'" * 3_000, '"' * 3_001, "= [" * 900, "a:" * 900, "\0", "用" * 3_000]
    ),
)
SETTINGS = {"category_count_max": 6, "examples_limit": 2}


@settings(max_examples=100, deadline=None)
@given(lines=st.lists(messages, max_size=40), cut=st.integers(0, 40))
def test_restoring_anywhere_changes_nothing(lines: list[str], cut: int) -> None:
    whole = Categorizer(**SETTINGS)
    ids = whole.categorize(lines)
    part = Categorizer(**SETTINGS)
    first = part.categorize(lines[:cut])
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(json.loads(json.dumps(part.state()))))
    restored = Categorizer.restore(state, **SETTINGS)
    assert ids == first + restored.categorize(lines[cut:])
    assert whole.state() == restored.state()
    assert whole.digest() == restored.digest()
    assert whole.resources() == restored.resources()
    assert whole.counts() == restored.counts()


@settings(max_examples=60, deadline=None)
@given(lines=st.lists(messages, max_size=30))
def test_a_batch_is_its_messages_one_by_one_with_no_memory_of_what_was_seen(lines: list[str]) -> None:
    whole = Categorizer()
    ids = whole.categorize(lines)
    state, single = Categorizer().state(), []
    for line in lines:
        one = Categorizer.restore(state)
        single += one.categorize([line])
        state = one.state()
    assert ids == single
    assert whole.state() == state


@settings(max_examples=150, deadline=None)
@given(lines=st.lists(hostile, max_size=12))
def test_no_message_raises_and_the_expression_finds_every_member(lines: list[str]) -> None:
    categorizer = Categorizer(["secret .*", "x*"])
    ids = categorizer.categorize(lines)
    msgspec.msgpack.encode(categorizer.state())
    shown = {each["category_id"]: each for each in categorizer.resources()}
    for line, category_id in zip(lines, ids, strict=True):
        assert re.search(shown[category_id]["regex"], first_line(line))
        assert len(line) <= shown[category_id]["max_matching_length"]
    assert sum(each["num_matches"] for each in shown.values()) == len(lines)
