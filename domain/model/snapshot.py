"""States as bytes: named arrays and plain JSON, packed tightly enough for a database row.

The layout is a head (JSON: shapes and types of the arrays, and the meta data) followed by the arrays' bytes, each
shuffled so that equal bytes of neighbouring numbers lie together; the whole is compressed with Zstandard, whose
checksum finds damage. What the state means is the model's business.
"""

import math
import sys
from typing import Any, Final

import msgspec
import numpy as np
import zstandard

from domain.model.arrays import Arrays

MAGIC: Final = b"MGS1"
LEVEL: Final = 1
"""Chosen: higher levels save a few per cent and take many times as long on states."""
HEAD_LENGTH: Final = 8


class DamagedState(Exception):
    """Bytes that are no intact state; the message says what is wrong."""


def encode_state(arrays: Arrays, meta: dict[str, Any]) -> bytes:
    """Pack a state.

    Parameters
    ----------
    arrays : dict of str to ndarray
        Of plain number types.
    meta : dict
        Plain JSON.
    """
    names = sorted(arrays)
    head = msgspec.json.encode(
        {"arrays": [[name, arrays[name].dtype.str, arrays[name].shape] for name in names], "meta": meta}
    )
    body = [len(head).to_bytes(HEAD_LENGTH, "little"), head, *(_shuffled(arrays[name]) for name in names)]
    return MAGIC + zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(b"".join(body))


def decode_state(data: bytes) -> tuple[Arrays, dict[str, Any]]:
    """Unpack a state.

    Raises
    ------
    DamagedState
        If the bytes are not exactly what ``encode_state`` made.
    """
    if data[: len(MAGIC)] != MAGIC:
        msg = f"a model state starts with {MAGIC!r}, got {data[: len(MAGIC)]!r}"
        raise DamagedState(msg)
    try:
        raw = zstandard.ZstdDecompressor().decompress(data[len(MAGIC) :])
        start = HEAD_LENGTH + int.from_bytes(raw[:HEAD_LENGTH], "little")
        head = msgspec.json.decode(raw[HEAD_LENGTH:start])
        arrays: Arrays = {}
        for name, dtype, shape in head["arrays"]:
            stop = start + math.prod(shape) * np.dtype(dtype).itemsize
            arrays[name] = _unshuffled(raw[start:stop], dtype, tuple(shape))
            start = stop
        meta: dict[str, Any] = head["meta"]
    except (zstandard.ZstdError, msgspec.DecodeError, ValueError, TypeError, KeyError, MemoryError) as error:
        msg = f"the model state is damaged: {error}"
        raise DamagedState(msg) from error
    if start != len(raw):
        msg = f"the model state is damaged: {len(raw) - start} bytes too many"
        raise DamagedState(msg)
    return arrays, meta


def _shuffled(array: np.ndarray[Any, Any]) -> bytes:
    array = np.ascontiguousarray(array)
    if sys.byteorder == "big":
        array = array.byteswap().view(array.dtype.newbyteorder())
    planes: bytes = array.view(np.uint8).reshape(-1, array.dtype.itemsize).T.tobytes()
    return planes


def _unshuffled(data: bytes, dtype: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    size = np.dtype(dtype).itemsize
    planes = np.frombuffer(data, np.uint8).reshape(size, -1)
    return np.ascontiguousarray(planes.T).view(dtype).reshape(shape).astype(np.dtype(dtype).newbyteorder("="))
