"""A batch as one detector sees it: the records it uses, their series, measured values and weights.

Texts are looked up once per distinct value of the batch; no record becomes a Python object. Series that do not exist
yet are made later, segment by segment, because records decide in their order who still finds room.
"""

from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.config.detector import Detector
from domain.model.accumulators import Hashes, Measured
from domain.model.arrays import Bools, Floats, Ints, bounded
from domain.model.functions import FUNCTIONS
from domain.model.series import Name, SeriesTable
from domain.records import RecordBatch, TextColumn

UNKNOWN, REFUSED = -1, -2
"""In a table of slots: the series does not exist yet; there was no memory for it."""

Column = NDArray[Any]


class DetectorView:
    """The records of a batch that one detector uses.

    Attributes
    ----------
    at : ndarray of shape (n,), dtype=int64
        Where they stand among the accepted records, ascending.
    codes : ndarray of shape (n,), dtype=int64
        Which of the batch's series each belongs to, by place in ``names``.
    names : list of tuple of str
    slot_of_code : ndarray, dtype=int64
        The slot of each of these series, ``UNKNOWN`` or ``REFUSED``.
    """

    def __init__(
        self,
        detector: Detector,
        series: SeriesTable,
        batch: RecordBatch,
        accepted: Ints,
        *,
        weights: Floats | None,
        influencers: tuple[str, ...],
    ) -> None:
        columns = [batch.texts[name] for name in series.fields]
        measures = FUNCTIONS[detector.base_function].measures
        numbers = texts = longitudes = None
        if measures == "time":
            numbers = batch.time_ms / 1000.0
        elif measures == "number":
            assert detector.field_name is not None
            numbers = batch.numbers[detector.field_name]
        elif measures is not None:
            assert detector.field_name is not None
            texts = batch.texts[detector.field_name]
        if measures == "place":
            assert texts is not None
            numbers, longitudes = parse_places(texts)
        needed = [texts] if texts is not None else []
        self.at = _usable(accepted, numbers, needed if detector.use_null else [*needed, *columns])
        used = accepted[self.at]
        self._x = None if numbers is None else bounded(numbers[used])
        self._weights = None if weights is None else weights[self.at]
        self._longitudes = None if longitudes is None else longitudes[used]
        self._hashes = self._content = None
        self._content_texts: list[str] = []
        if texts is not None and measures == "text":
            self._hashes = hash_texts(texts.values)[texts.codes[used]]
        elif texts is not None and measures == "content":
            self._content, self._content_texts = texts.codes[used].astype(np.int64), texts.values
        explained = [batch.texts[name] for name in influencers]
        self._influences = [column.codes[used].astype(np.int64) for column in explained]
        self._influence_texts = [column.values for column in explained]
        self.codes, self.names = _series_codes(columns, used)
        own = (self._x, self._weights, self._hashes, self._longitudes, self._content)
        self._columns: tuple[Any, ...] = (*own, *self._influences)
        self._series = series
        self._generation = -1
        self._n_unknown = self._n_refused = 0
        self.slot_of_code: Ints = np.empty(0, np.int64)

    def refresh(self) -> None:
        """Look all series of the batch up, at first use and when slots changed their meaning."""
        if self._generation != self._series.generation:
            self._generation = self._series.generation
            slot_of = self._series.slot_of
            self.slot_of_code = np.array([slot_of.get(name, UNKNOWN) for name in self.names], np.int64)
            self._n_unknown, self._n_refused = int(np.count_nonzero(self.slot_of_code == UNKNOWN)), 0

    def put(self, code: int, slot: int) -> None:
        """Take the slot of a series that was unknown, or ``REFUSED``."""
        self.slot_of_code[code] = slot
        self._n_unknown -= 1
        self._n_refused += slot == REFUSED

    def unknown(self, start: int, stop: int) -> tuple[list[int], list[int]]:
        """Return the codes in records ``start`` to ``stop`` whose series do not exist, and where each first stands.

        Places are among the accepted records, ascending.
        """
        if self._n_unknown == 0:
            return [], []
        codes = self.codes[start:stop]
        is_unknown = self.slot_of_code[codes] == UNKNOWN
        if not is_unknown.any():
            return [], []
        where = np.flatnonzero(is_unknown)
        found, first = np.unique(codes[where], return_index=True)
        order = np.argsort(first, kind="stable")
        return found[order].tolist(), self.at[start + where[first[order]]].tolist()

    def measured(self, start: int, stop: int, mask: Bools | None = None) -> tuple[Measured, bool]:
        """Return records ``start`` to ``stop``, and whether some of them were refused for want of memory.

        Parameters
        ----------
        mask : ndarray of shape (stop - start,), dtype=bool or None
            Which of them are wanted; None: all.
        """
        columns = [None if column is None else column[start:stop] for column in self._columns]
        slots = self.slot_of_code[self.codes[start:stop]]
        if mask is not None:
            slots, columns = slots[mask], _masked(columns, mask)
        is_refused = False
        if self._n_refused:
            found = slots >= 0
            is_refused = not found.all()
            slots, columns = slots[found], _masked(columns, found)
        x, weights, hashes, longitudes, content, *codes = columns
        of_texts = zip(codes, self._influence_texts, strict=True)
        influences = tuple((own, texts) for own, texts in of_texts if own is not None)
        kept = None if content is None else (content, self._content_texts)
        return Measured(slots, x, weights, hashes, influences, longitudes, kept), is_refused


def hash_texts(values: list[str]) -> Hashes:
    """Return 64 bits of hash per text, the same on every machine.

    >>> hex(hash_texts(["a"])[0])
    '0x2f42665b399ef840'
    """
    digests = b"".join(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in values)
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def parse_places(column: TextColumn) -> tuple[Floats, Floats]:
    """Read texts of the form ``latitude,longitude``, in degrees.

    Returns
    -------
    latitudes, longitudes : ndarray of shape (n,)
        NaN where a record has none, or one that is on no globe.
    """
    places = np.array([*map(_place, column.values), (np.nan, np.nan)])  # the last is what code -1 finds
    return places[column.codes, 0], places[column.codes, 1]


def _place(text: str) -> tuple[float, float]:
    latitude, comma, longitude = text.partition(",")
    try:
        place = float(latitude), float(longitude) if comma else np.nan
    except ValueError:
        return np.nan, np.nan
    is_valid = -90.0 <= place[0] <= 90.0 and -180.0 <= place[1] <= 180.0
    return place if is_valid else (np.nan, np.nan)


def _usable(accepted: Ints, numbers: Floats | None, texts: list[TextColumn]) -> Ints:
    """Return which accepted records have all that the detector needs."""
    usable = np.ones(accepted.size, np.bool_) if numbers is None else ~np.isnan(numbers[accepted])
    for column in texts:
        usable &= column.codes[accepted] >= 0
    return np.flatnonzero(usable)


def _series_codes(columns: list[TextColumn], used: Ints) -> tuple[Ints, list[Name]]:
    """Give the series of the batch numbers and names; a missing text is the series of the empty text."""
    if not columns:
        return np.zeros(used.size, np.int64), [()]
    coded = [_with_empty(column, used) for column in columns]
    if len(coded) == 1:
        codes, texts = coded[0]
        return codes, [(text,) for text in texts]
    codes, texts = coded[0]
    names: list[Name] = [(text,) for text in texts]
    for inner, inner_texts in coded[1:]:
        pairs, codes = np.unique(codes * len(inner_texts) + inner, return_inverse=True)
        split = [divmod(pair, len(inner_texts)) for pair in pairs.tolist()]
        names = [(*names[outer], inner_texts[place]) for outer, place in split]
    return codes.astype(np.int64), names


def _with_empty(column: TextColumn, used: Ints) -> tuple[Ints, list[str]]:
    codes = column.codes[used].astype(np.int64)
    codes[codes < 0] = len(column.values)
    return codes, [*column.values, ""]


def _masked(columns: list[Column | None], mask: Bools) -> list[Column | None]:
    return [None if column is None else column[mask] for column in columns]
