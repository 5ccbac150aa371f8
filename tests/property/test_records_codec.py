"""Stored batches come back in every bit, and damaged ones are refused."""

import numpy as np
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from domain.records import (
    CorruptBatch,
    RecordBatch,
    TextColumn,
    content_digest,
    decode_batch,
    encode_batch,
    join_batches,
)
from domain.records.time_pattern import MS_MAX, MS_MIN
from tests.checks.jobs import cut, select
from tests.unit.domain.records.samples import summary

FAST = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

number = st.one_of(
    st.just(np.nan),
    st.floats(allow_nan=False, allow_infinity=False),
    st.builds(lambda mantissa, k: mantissa / 10.0**k, st.integers(-(10**9), 10**9), st.integers(0, 9)),
)


@st.composite
def batches(draw: st.DrawFn) -> RecordBatch:
    n = draw(st.integers(0, 30))
    values = draw(st.lists(st.text(min_size=1, max_size=5), max_size=5, unique=True))
    names = draw(st.lists(st.text(max_size=5), max_size=3, unique=True))
    return RecordBatch(
        time_ms=draw(npst.arrays(np.int64, n, elements=st.integers(MS_MIN, MS_MAX))),
        numbers={name: draw(npst.arrays(np.float64, n, elements=number)) for name in names},
        texts={"t": TextColumn(draw(npst.arrays(np.int32, n, elements=st.integers(-1, len(values) - 1))), values)},
        record_count=n + draw(st.integers(0, 3)),
        input_bytes=draw(st.integers(0, 2**40)),
    )


@FAST
@given(batches())
def test_a_batch_comes_back_in_every_bit(batch: RecordBatch) -> None:
    stored = encode_batch(batch)
    again = decode_batch(stored.body, stored.codec)
    assert summary(again) == summary(batch)
    assert content_digest(again) == stored.content_digest == content_digest(batch)
    assert encode_batch(again) == stored


@FAST
@given(batches(), st.data())
def test_a_damaged_batch_is_refused_or_another_batch(batch: RecordBatch, data: st.DataObject) -> None:
    stored = encode_batch(batch)
    content = bytearray(zstandard.ZstdDecompressor().decompress(stored.body))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    try:
        again = decode_batch(zstandard.compress(bytes(content)), stored.codec)
    except CorruptBatch:
        return
    assert content_digest(again) != stored.content_digest or summary(again) == summary(batch)


@FAST
@given(st.binary(max_size=60))
def test_any_bytes_are_a_corrupt_batch(body: bytes) -> None:
    try:
        decode_batch(body, "columns/1+zstd")
    except CorruptBatch:
        return
    raise AssertionError(body)


@FAST
@given(batches(), st.lists(st.integers(0, 30), max_size=6))
def test_batches_joined_again_are_the_batch_that_was_cut(batch: RecordBatch, edges: list[int]) -> None:
    whole = select(batch, slice(None))
    joined = join_batches(cut(batch, [min(edge, len(batch)) for edge in edges]) or [whole])
    assert content_digest(joined) == content_digest(whole)
