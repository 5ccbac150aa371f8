"""Data files block by block: CSV with a header or JSON, plain or gzip, told by their content.

A file is read in blocks of one size, so the same file always falls into the same batches: a batch is named by all
bytes of the file up to the block's end (``Block.digest``), and a repeated run can pass over what is stored already.
Memory stays bounded by the block and the longest record allowed.
"""

import gzip
import hashlib
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, cast

from domain.config import JobConfig
from domain.errors import ParseError
from domain.records import RecordBatch, RecordReader
from marigraph.handlers import input_format

BLOCK_BYTES = 1 << 20
"""Chosen: measured by benchmarks/ingest, larger blocks gain nothing."""

GZIP_MAGIC = b"\x1f\x8b"
STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class Block:
    """The records that end in one block of a file."""

    batch: RecordBatch | None
    digest: str
    """Hex digest of all bytes of the file up to the end of this block: its content and its place in one."""
    n_bytes: int
    """Bytes of the file as stored (compressed) since the last block; for progress."""


def total_size(paths: list[Path]) -> int | None:
    """Return the size of all files in bytes as stored, None if it cannot be known (standard input)."""
    if any(str(path) == STANDARD_INPUT for path in paths):
        return None
    return sum(path.stat().st_size for path in paths)


def read_blocks(path: Path, config: JobConfig, now_ms: int) -> Iterator[Block]:
    """Read the records of a file.

    Raises
    ------
    ParseError
        The file is neither CSV with the job's time field nor JSON, or cannot be decompressed.
    OSError
        The file cannot be read.
    """
    name = "standard input" if str(path) == STANDARD_INPUT else str(path)
    reader = RecordReader(*input_format(config, now_ms))
    try:
        with _opened(path) as raw:
            yield from _blocks(reader, raw)
    except ParseError as error:
        msg = f"{name}: {error.reason}"
        raise ParseError(msg) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        msg = f"{name} cannot be decompressed: {error}; is it complete?"
        raise ParseError(msg) from error


def file_blocks(path: Path) -> Iterator[bytes]:
    """Yield the content of a file, decompressed, block by block."""
    for data, _n_bytes in sized_blocks(path):
        yield data


def sized_blocks(path: Path) -> Iterator[tuple[bytes, int]]:
    """Yield the content of a file, decompressed, block by block, each with the bytes of the file it took."""
    name = "standard input" if str(path) == STANDARD_INPUT else str(path)
    try:
        with _opened(path) as raw:
            stream, consumed = _decompressed(raw), 0
            while data := _read_block(stream):
                position = _position(raw)
                yield data, position - consumed
                consumed = position
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        msg = f"{name} cannot be decompressed: {error}; is it complete?"
        raise ParseError(msg) from error


def stream_blocks(file: Any) -> Iterator[bytes]:
    """Yield what is left of an open file, of bytes or of text, block by block."""
    while data := file.read(BLOCK_BYTES):
        yield data.encode() if isinstance(data, str) else data


def _blocks(reader: RecordReader, raw: BufferedReader) -> Iterator[Block]:
    stream = _decompressed(raw)
    running = hashlib.blake2b(digest_size=16)
    consumed = 0
    while data := _read_block(stream):
        running.update(data)
        position = _position(raw)
        yield Block(reader.feed(data), running.hexdigest(), position - consumed)
        consumed = position
    yield Block(reader.finish(), f"{running.hexdigest()}-end", 0)


def _read_block(stream: BinaryIO) -> bytes:
    """Read a whole block; pipes and compressed files give less than asked for, which must not move its border."""
    parts, missing = [], BLOCK_BYTES
    while missing and (part := stream.read(missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    if str(path) == STANDARD_INPUT:
        yield cast(BufferedReader, sys.stdin.buffer)
        return
    with path.open("rb") as file:
        yield file


def _decompressed(raw: BufferedReader) -> BinaryIO:
    is_gzip = raw.peek(len(GZIP_MAGIC))[: len(GZIP_MAGIC)] == GZIP_MAGIC
    return cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if is_gzip else raw


def _position(raw: BufferedReader) -> int:
    try:
        return raw.tell()
    except OSError:
        return 0  # a pipe has no place
