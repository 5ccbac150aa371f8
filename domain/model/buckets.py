"""Open buckets: what came so far of the buckets that are not final yet."""

from collections.abc import Sequence
from typing import Any

from domain.model.accumulators import Accumulator
from domain.model.arrays import Arrays
from domain.model.detector_model import DetectorModel


class OpenBucket:
    """One bucket in progress.

    Attributes
    ----------
    event_count : int
        Records so far, or the sum of their summary counts.
    is_refused : bool
        Whether it had records of series for which there was no memory.
    accumulators : list of (Accumulator or None)
        Per detector; None until it has a record.
    """

    def __init__(self, n_detectors: int) -> None:
        self.event_count = 0
        self.is_refused = False
        self.accumulators: list[Accumulator | None] = [None] * n_detectors

    def accumulator(self, index: int, detector: DetectorModel) -> Accumulator:
        """Return a detector's accumulator with room for all its series."""
        accumulator = self.accumulators[index]
        if accumulator is None:
            accumulator = self.accumulators[index] = detector.accumulator()
        accumulator.reserve(detector.series.n_slots)
        return accumulator

    def state(self, detectors: Sequence[DetectorModel]) -> tuple[Arrays, dict[str, Any]]:
        """Return copies of all arrays, and the rest."""
        arrays: Arrays = {}
        for index, (accumulator, detector) in enumerate(zip(self.accumulators, detectors, strict=True)):
            if accumulator is not None:
                for key, array in accumulator.state(detector.series.n_slots).items():
                    arrays[f"{index}.{key}"] = array
        texts = [None if accumulator is None else accumulator.texts() for accumulator in self.accumulators]
        return arrays, {"event_count": self.event_count, "is_refused": self.is_refused, "texts": texts}

    def load(self, arrays: Arrays, meta: dict[str, Any], detectors: Sequence[DetectorModel]) -> None:
        """Take over what ``state`` returned."""
        self.event_count, self.is_refused = meta["event_count"], meta["is_refused"]
        for index, texts in enumerate(meta["texts"]):
            if texts is not None:
                prefix = f"{index}."
                own = {key.removeprefix(prefix): arrays[key] for key in arrays if key.startswith(prefix)}
                self.accumulator(index, detectors[index]).load(own, texts)
