"""A column of texts as places in one byte buffer: what every reader hands to the parsers of values.

No value is a Python object here. The buffer is padded on both sides, so that the parsers can load whole
machine words around a text without looking where the buffer ends.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.intp]
Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]

FRONT = b"0" * 16
BACK = b"0" * 64
NEWLINE = 10


class Spans:
    """Texts in a padded buffer.

    Parameters
    ----------
    buffer : bytes
        `FRONT`, the data, `BACK`.
    starts, ends : ndarray of shape (n,), dtype=intp
        Where each text begins and ends in the buffer; an empty text is also what a missing one looks like.
    """

    __slots__ = ("buffer", "ends", "starts")

    def __init__(self, buffer: bytes, starts: Index, ends: Index) -> None:
        self.buffer = buffer
        self.starts = starts
        self.ends = ends

    def __len__(self) -> int:
        return len(self.starts)

    @classmethod
    def of_texts(cls, texts: Sequence[str]) -> "Spans":
        """Lay texts into a buffer; one join for all of them unless some hold a newline."""
        joined = "\n".join(texts).encode("utf-8", "replace")
        buffer = FRONT + joined + b"\n" + BACK
        breaks = np.flatnonzero(np.frombuffer(buffer, np.uint8)[: len(buffer) - len(BACK)] == NEWLINE)
        if len(breaks) != len(texts):
            encoded = [text.encode("utf-8", "replace") for text in texts]
            lengths = np.fromiter(map(len, encoded), dtype=np.intp, count=len(encoded))
            ends = np.cumsum(lengths) + len(FRONT)
            return cls(FRONT + b"".join(encoded) + BACK, ends - lengths, ends)
        starts = np.empty_like(breaks)
        starts[:1] = len(FRONT)
        starts[1:] = breaks[:-1] + 1
        return cls(buffer, starts, breaks)

    @property
    def lengths(self) -> Index:
        """Length of each text in bytes."""
        return self.ends - self.starts

    def take(self, chosen: Index | NDArray[np.bool_]) -> "Spans":
        """Return the chosen texts, in the order of the choice."""
        return Spans(self.buffer, self.starts[chosen], self.ends[chosen])

    def raw(self, rows: Index) -> list[bytes]:
        """Return the bytes of some texts."""
        buffer = self.buffer
        pairs = zip(self.starts[rows].tolist(), self.ends[rows].tolist(), strict=True)
        return [buffer[start:end] for start, end in pairs]

    def bytes_at(self, places: Index) -> Bytes:
        """Return the byte at each place of the buffer."""
        return np.frombuffer(self.buffer, np.uint8)[places]

    def words_at(self, places: Index) -> Words:
        """Return the eight bytes from each place on as a little-endian word: the first byte is the lowest."""
        words: Words = np.ndarray((len(self.buffer) - 7,), "<u8", self.buffer, strides=(1,))
        return words[places]

    def rows_of(self, places: Index, width: int) -> Bytes:
        """Return `width` bytes from each place on: ndarray of shape (n, width), dtype=uint8."""
        pieces: NDArray[np.void] = np.ndarray((len(self.buffer) - width + 1,), f"V{width}", self.buffer, strides=(1,))
        return pieces[places].view(np.uint8).reshape(len(places), width)
