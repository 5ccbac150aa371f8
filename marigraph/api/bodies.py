"""Bodies of requests: read with a bound on bytes and time, unpacked, and taken for what their type says.

Bodies at hand share one budget, so that many large posts at once wait for each other instead of filling the memory.
"""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from starlette.requests import Request

from domain.errors import ParseError, UnknownField
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

ROOM_SECONDS: Final = 10.0
"""How long a body waits for room among those in work. Chosen: well above what a body in work takes."""

JSON_TYPES: Final = (
    "application/json",
    "application/x-ndjson",
    "application/vnd.elasticsearch+json",
    "application/vnd.elasticsearch+x-ndjson",
)
DATA_TYPES: Final = (*JSON_TYPES, "text/csv", "application/csv", "application/octet-stream")
"""Types that a body of records may have: delimited data come as CSV."""


class ByteBudget:
    """Bounds the bytes of all bodies at hand: counted is what has come, so that who sends slowly holds little."""

    def __init__(self, limit: int, wait_seconds: float = ROOM_SECONDS) -> None:
        self._limit = limit
        self._wait_seconds = wait_seconds
        self._used = 0
        self._freed = asyncio.Condition()

    @asynccontextmanager
    async def hold(self) -> AsyncIterator["HeldBytes"]:
        """Keep room for one body, as much as it comes to need, for the time of the block."""
        held = HeldBytes(self)
        try:
            yield held
        finally:
            async with self._freed:
                self._used -= held.n_bytes
                self._freed.notify_all()

    async def take(self, n_bytes: int) -> None:
        """Wait for room; 429 if there is none for long, so that bodies do not wait for each other for ever."""
        try:
            async with asyncio.timeout(self._wait_seconds), self._freed:
                await self._freed.wait_for(lambda: self._used + n_bytes <= self._limit)
                self._used += n_bytes
        except TimeoutError as error:
            msg = f"the bodies of all requests in work fill the {self._limit} bytes kept for them; send it again later"
            raise HttpError(429, msg) from error


class HeldBytes:
    """The room that one body takes.

    Attributes
    ----------
    n_bytes : int
    """

    def __init__(self, budget: ByteBudget) -> None:
        self.n_bytes = 0
        self._budget = budget

    async def grow(self, n_bytes: int) -> None:
        """Take room for more bytes."""
        if n_bytes:
            await self._budget.take(n_bytes)
            self.n_bytes += n_bytes


async def read_body(request: Request, limit: int, held: HeldBytes) -> bytes:
    """Read the body of a request, unpacked.

    Raises
    ------
    HttpError
        413 if it is longer than the limit, 408 if the client falls silent, 400 if it cannot be unpacked, 429 if
        there is no room for it.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise too_long(limit)
    unpacker = _unpacker_of(request, limit)
    chunks: list[bytes] = []
    n_bytes = 0
    stream = request.stream()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while (chunk := await asyncio.wait_for(anext(stream, None), CHUNK_SECONDS)) is not None:
                data = chunk if unpacker is None else unpacker.unpack(chunk)
                n_bytes += len(data)
                if n_bytes > limit:
                    raise too_long(limit)
                await held.grow(len(data))
                chunks.append(data)
    except TimeoutError as error:
        msg = f"the body did not come within {CHUNK_SECONDS:g}s of silence or {BODY_SECONDS:g}s in all"
        raise HttpError(408, msg) from error
    if unpacker is not None:
        unpacker.finish()
    return b"".join(chunks)


def _unpacker_of(request: Request, limit: int) -> "Unpacker | None":
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding == "identity":
        return None
    if encoding not in ("gzip", "deflate"):
        msg = f"Content-Encoding [{encoding[:256]}] is not supported, use gzip"
        raise HttpError(400, msg, type="illegal_argument_exception")
    return Unpacker(encoding, limit)


class Unpacker:
    """Unpacks a body as it comes, never to more than the limit; a gzip body may have several members."""

    def __init__(self, encoding: str, limit: int) -> None:
        self._encoding = encoding
        self._limit = self._left = limit
        self._begin()
        self._n_packed = 0

    def unpack(self, chunk: bytes) -> bytes:
        """Return what a chunk comes to."""
        pieces = []
        self._n_packed += len(chunk)
        while chunk:
            if self._member.eof:
                self._begin()
            try:
                piece = self._member.decompress(chunk, self._left + 1)
            except zlib.error as error:
                msg = f"the body is not valid {self._encoding}: {error}"
                raise HttpError(400, msg, type="parse_exception") from error
            self._left -= len(piece)
            if self._left < 0:
                raise too_long(self._limit)
            pieces.append(piece)
            chunk = self._member.unused_data
        return b"".join(pieces)

    def finish(self) -> None:
        """Refuse a body that ends in the middle."""
        if self._n_packed and not self._member.eof:
            msg = f"the {self._encoding} body ends too early"
            raise HttpError(400, msg, type="parse_exception")

    def _begin(self) -> None:
        self._member = zlib.decompressobj(zlib.MAX_WBITS | 32)  # takes gzip and zlib


def too_long(limit: int) -> HttpError:
    """Return the refusal of a body beyond the limit."""
    return HttpError(413, f"the body is longer than {limit} bytes; send it in parts", headers={"Connection": "close"})


def source_of(request: Request) -> bytes:
    """Return the body that stands in the query, where clients put it that cannot send one with a GET."""
    return request.query_params.get("source", "").encode()


def check_type(request: Request, allowed: tuple[str, ...]) -> None:
    """Refuse a body whose type is missing or none that is understood."""
    content_type = request.query_params.get("source_content_type") or request.headers.get("content-type")
    if content_type is None:
        msg = "Content-Type header is missing"
    elif content_type.partition(";")[0].strip().lower() in allowed:
        return
    else:
        msg = f"Content-Type header [{content_type}] is not supported"
    raise HttpError(406, msg, plain=True)


def read_json(data: bytes) -> Any:
    """Read a JSON body, in which no object may have a name twice; None if it is empty."""
    if not data.strip():
        return None
    try:
        body = msgspec.json.decode(data)
        json.loads(data, object_pairs_hook=_check_names)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, json.JSONDecodeError) as error:
        msg = f"the body is not valid JSON: {error}"
        raise ParseError(msg) from error
    return body


def _check_names(pairs: list[tuple[str, Any]]) -> None:
    """Refuse an object that has a name twice: which of the values is meant cannot be told."""
    names = [name for name, _value in pairs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        msg = f"[1:1] Duplicate field '{twice[:256]}'"
        raise UnknownField(msg)
