"""Bodies of requests: read with a bound on bytes and time, unpacked, and taken for what their type says.

Bodies in flight share one budget, so that many large posts at once wait for each other instead of filling the memory.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from starlette.requests import Request

from domain.errors import ParseError
from marigraph.api.errors import HttpError

BODY_BYTES_MAX: Final = 100 * 1024 * 1024
"""Longest body, packed or not (the limit of the API)."""

CONFIG_BYTES_MAX: Final = 10 * 1024 * 1024
"""Longest body that is no record data."""

IN_FLIGHT_BYTES_MAX: Final = 4 * BODY_BYTES_MAX
"""Sum of the bodies that are read and not answered yet."""

CHUNK_SECONDS: Final = 30.0
"""Longest silence of a client in the middle of its body."""

BODY_SECONDS: Final = 600.0
"""Longest time for a whole body."""

JSON_TYPES: Final = (
    "application/json",
    "application/x-ndjson",
    "application/vnd.elasticsearch+json",
    "application/vnd.elasticsearch+x-ndjson",
)
DATA_TYPES: Final = (*JSON_TYPES, "text/csv", "application/csv", "application/octet-stream")
"""Types that a body of records may have: delimited data come as CSV."""


class ByteBudget:
    """Admits bodies while there is room for them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._freed = asyncio.Condition()

    @asynccontextmanager
    async def hold(self, n_bytes: int) -> AsyncIterator[None]:
        """Wait for room, and keep it for the time of the block."""
        n_bytes = min(n_bytes, self._limit)
        async with self._freed:
            await self._freed.wait_for(lambda: self._used + n_bytes <= self._limit)
            self._used += n_bytes
        try:
            yield
        finally:
            async with self._freed:
                self._used -= n_bytes
                self._freed.notify_all()


def declared_bytes(request: Request, limit: int) -> int:
    """Return how long a body says that it is, or the limit if it does not say; 413 if that is too long."""
    text = request.headers.get("content-length")
    if text is None:
        return limit if "transfer-encoding" in request.headers else 0
    n_bytes = int(text) if text.isdigit() else 0
    if n_bytes > limit:
        raise too_long(limit)
    return n_bytes


async def read_body(request: Request, limit: int) -> bytes:
    """Read the body of a request, unpacked.

    Raises
    ------
    HttpError
        413 if it is longer than the limit, 408 if the client falls silent, 400 if it cannot be unpacked.
    """
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", "gzip", "deflate"):
        msg = f"Content-Encoding [{encoding}] is not supported, use gzip"
        raise HttpError(400, msg, type="illegal_argument_exception")
    unpacker = None if encoding == "identity" else zlib.decompressobj(zlib.MAX_WBITS | 32)
    chunks: list[bytes] = []
    n_bytes = n_packed = 0
    stream = request.stream()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                chunk = await asyncio.wait_for(anext(stream, None), CHUNK_SECONDS)
                if chunk is None:
                    break
                n_packed += len(chunk)
                if unpacker is not None:
                    chunk = unpacker.decompress(chunk, limit + 1 - n_bytes)
                n_bytes += len(chunk)
                if max(n_bytes, n_packed) > limit or (unpacker is not None and unpacker.unconsumed_tail):
                    raise too_long(limit)
                chunks.append(chunk)
    except TimeoutError as error:
        msg = f"the body did not come within {CHUNK_SECONDS:g}s of silence or {BODY_SECONDS:g}s in all"
        raise HttpError(408, msg) from error
    except zlib.error as error:
        msg = f"the body is not valid {encoding}: {error}"
        raise HttpError(400, msg, type="parse_exception") from error
    if unpacker is not None and n_packed and not unpacker.eof:
        msg = f"the {encoding} body ends too early"
        raise HttpError(400, msg, type="parse_exception")
    return b"".join(chunks)


def too_long(limit: int) -> HttpError:
    """Return the refusal of a body beyond the limit."""
    return HttpError(413, f"the body is longer than {limit} bytes; send it in parts", headers={"Connection": "close"})


def check_type(request: Request, allowed: tuple[str, ...]) -> None:
    """Refuse a body whose type is missing or none that is understood."""
    content_type = request.headers.get("content-type")
    if content_type is None:
        msg = "Content-Type header is missing"
    elif content_type.partition(";")[0].strip().lower() in allowed:
        return
    else:
        msg = f"Content-Type header [{content_type}] is not supported"
    raise HttpError(406, msg, plain=True)


def read_json(data: bytes) -> Any:
    """Read a JSON body; None if it is empty."""
    if not data.strip():
        return None
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        msg = f"the body is not valid JSON: {error}"
        raise ParseError(msg) from error
