"""Batches to bytes and back."""

import numpy as np
import pytest
import zstandard

from domain.records import CorruptBatch, RecordBatch, TextColumn, content_digest, decode_batch, encode_batch
from tests.unit.domain.records.samples import summary


def batch_of(**numbers: list[float]) -> RecordBatch:
    n = len(next(iter(numbers.values())))
    return RecordBatch(
        time_ms=np.arange(n, dtype=np.int64) * 1000 - 5,
        numbers={name: np.array(column) for name, column in numbers.items()},
        texts={"series": TextColumn((np.arange(n) % 3 - 1).astype(np.int32), ["a", "\xe9\n"])},
        record_count=n + 2,
        invalid_date_count=2,
        input_bytes=100,
        input_field_count=30,
        missing_field_count=4,
        malformed_count=1,
    )


ROUND_TRIPS = {
    "decimals": [1.25, -3.5, 132.2046, 1e6],
    "whole": [3.0, 7.0, -9.0],
    "wide": [1e15, -1e15],
    "doubles": [0.1 + 0.2, 1 / 3, 1e300, 5e-324],
    "gaps": [np.nan, 1.5, np.nan],
    "nothing": [np.nan, np.nan],
    "minus zero": [-0.0, 0.0],
    "none": [],
    "one": [2.5],
}


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_a_batch_comes_back_in_every_bit(name: str) -> None:
    batch = batch_of(x=ROUND_TRIPS[name])
    stored = encode_batch(batch)
    again = decode_batch(stored.body, stored.codec)
    assert summary(again) == summary(batch)
    assert again.input_bytes == batch.input_bytes
    assert content_digest(again) == stored.content_digest
    assert again.time_ms.dtype == np.int64
    assert again.numbers["x"].dtype == np.float64
    assert again.texts["series"].codes.dtype == np.int32


def test_equal_batches_have_equal_bytes_and_digests() -> None:
    assert encode_batch(batch_of(x=[1.5, 2.5])) == encode_batch(batch_of(x=[1.5, 2.5]))


def test_every_spelling_of_nan_is_one_value() -> None:
    odd = np.array([0x7FF8000000000001], dtype=np.uint64).view(np.float64)
    batch, plain = batch_of(x=[0.0]), batch_of(x=[np.nan])
    batch.numbers["x"] = odd
    assert encode_batch(batch) == encode_batch(plain)


@pytest.mark.parametrize("other", [{"x": [1.5, 2.0]}, {"y": [1.5, 2.5]}, {"x": [1.5]}, {"x": [1.5, np.nan]}])
def test_different_batches_have_different_digests(other: dict[str, list[float]]) -> None:
    assert content_digest(batch_of(**other)) != content_digest(batch_of(x=[1.5, 2.5]))


def test_the_digest_does_not_hang_on_the_compression() -> None:
    stored = encode_batch(batch_of(x=[1.5, 2.5]))
    content = zstandard.ZstdDecompressor().decompress(stored.body)
    again = decode_batch(zstandard.ZstdCompressor(level=9).compress(content), stored.codec)
    assert content_digest(again) == stored.content_digest


def test_an_unknown_codec_is_named() -> None:
    with pytest.raises(CorruptBatch, match=r"columns/1\+zstd.*columns/9"):
        decode_batch(b"", "columns/9")


@pytest.mark.parametrize(
    "body", [b"", b"x", b"\x28\xb5\x2f\xfd", zstandard.compress(b""), zstandard.compress(b"\xff" * 9)]
)
def test_damaged_bytes_are_a_corrupt_batch(body: bytes) -> None:
    with pytest.raises(CorruptBatch, match="damaged"):
        decode_batch(body, "columns/1+zstd")


def test_a_cut_off_body_is_a_corrupt_batch() -> None:
    stored = encode_batch(batch_of(x=[1.5, np.nan, 1 / 3]))
    content = zstandard.ZstdDecompressor().decompress(stored.body)
    for length in range(len(content)):
        with pytest.raises(CorruptBatch):
            decode_batch(zstandard.compress(content[:length]), stored.codec)


def test_short_decimals_take_few_bytes() -> None:
    values = (np.arange(10_000) * 7919 % 30_000 / 1000).tolist()
    assert len(encode_batch(batch_of(x=values)).body) < 3 * len(values)
