"""The model of one detector: its series, their features, and the calibration of what it finds.

A bucket's accumulator goes in, what was unusual comes out. Slots without records are judged only by functions for
which silence means zero.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from domain.config.detector import Detector
from domain.model import novelty
from domain.model.accumulators import ACCUMULATORS, Accumulator
from domain.model.arrays import Arrays, Floats, Ints, Selection
from domain.model.feature_model import BYTES_PER_SERIES, PEAK, PEAK_TIME, Candidates, FeatureModel
from domain.model.functions import FUNCTIONS
from domain.model.normalizer import ORDINARY_SHARE, Calibration, ceiling, faded, severity
from domain.model.series import SeriesTable


@dataclass(frozen=True, slots=True)
class Findings:
    """The unusual values of one feature in one bucket.

    Attributes
    ----------
    detector_index, feature_index : int
    candidates : Candidates
        With k unusual values.
    exponents : ndarray of shape (k,)
        ``-ln p``, calibrated.
    scores : ndarray of shape (k,)
        From 0 to 100.
    share : float
        Highest score that a value within what its series showed before may have, in parts of 100.
    accumulator : Accumulator or None
        What they were found in.
    """

    detector_index: int
    feature_index: int
    candidates: Candidates
    exponents: Floats
    scores: Floats
    accumulator: Accumulator | None
    share: float = 1.0

    def explaining(self, place: int, slot: int) -> list[str]:
        """Return the values of an influencer field (by place among the detector's) that explain a series."""
        if self.accumulator is None:
            return []
        n_events = float(self.accumulator.rows[0, slot])
        return self.accumulator.influences[place].explain(slot, n_events) if n_events > 0.0 else []


_NONE: Final = np.empty(0)


class DetectorModel:
    """Everything learnt for one detector.

    Attributes
    ----------
    series : SeriesTable
    influencers : tuple of str
        Influencer fields that do not tell its series apart.
    features : list of FeatureModel
    calibrations : list of Calibration
        One per feature, over all series.
    """

    def __init__(
        self, detector: Detector, influencers: tuple[str, ...], bucket_span_seconds: int, n_open_max: int
    ) -> None:
        self.detector = detector
        self.traits = FUNCTIONS[detector.base_function]
        terms = (detector.partition_field_name, detector.by_field_name)
        self.series = SeriesTable(tuple(name for name in terms if name is not None))
        self.influencers = tuple(name for name in influencers if name not in self.series.fields)
        self.features = [FeatureModel(feature, detector.side, bucket_span_seconds) for feature in self.traits.features]
        self.calibrations = [Calibration(bucket_span_seconds) for _ in self.features]
        open_bytes = 8 * len(ACCUMULATORS[self.traits.accumulator].INITIAL) * n_open_max
        self.bytes_per_series = BYTES_PER_SERIES * len(self.features) + open_bytes

    @property
    def memory_bytes(self) -> int:
        """Bytes of all series, by count; the arrays are up to twice that, while they grow."""
        return self.series.n_series * self.bytes_per_series + self.series.name_bytes

    def accumulator(self) -> Accumulator:
        """Return an empty accumulator for a new bucket."""
        return ACCUMULATORS[self.traits.accumulator](self.series.n_slots, len(self.influencers))

    def find(
        self, accumulator: Accumulator | None, bucket_start: int, bucket_span: int, *, is_interim: bool
    ) -> list[Findings]:
        """Judge a bucket; unless it is interim, learn from it.

        Parameters
        ----------
        accumulator : Accumulator or None
            None: no record came for this detector.
        bucket_start, bucket_span : int
            Seconds.
        """
        n_slots = self.series.n_slots
        if n_slots == 0:
            return []
        if accumulator is not None:
            accumulator.reserve(n_slots)
        selection = self._judged(accumulator)
        if not isinstance(selection, slice) and selection.size == 0:
            return []
        middle = bucket_start + 0.5 * bucket_span
        return [
            self._find(index, accumulator, selection, middle, is_interim=is_interim)
            for index in range(len(self.features))
        ]

    def see(self, accumulator: Accumulator | None, bucket_start: int) -> None:
        """Note which series had records in a bucket that closes."""
        if accumulator is not None:
            self.series.see(accumulator.present(), bucket_start)

    def _judged(self, accumulator: Accumulator | None) -> Selection:
        n_slots = self.series.n_slots
        present = accumulator.present() if accumulator is not None else np.empty(0, np.int64)
        if self.traits.has_zeros:
            is_judged = self.series.is_known[:n_slots].copy()
            is_judged[present] = True
            present = is_judged.nonzero()[0]
        return slice(0, n_slots) if present.size == n_slots else present

    def _find(
        self, index: int, accumulator: Accumulator | None, selection: Selection, middle: float, *, is_interim: bool
    ) -> Findings:
        model, calibration = self.features[index], self.calibrations[index]
        model.reserve(self.series.n_slots)
        if accumulator is None:
            x = np.zeros(selection.stop if isinstance(selection, slice) else selection.size)
        else:
            x = accumulator.value(model.feature.description, selection)
        judged = model.judge(selection, x, middle)
        found = model.candidates(judged, grows_on=is_interim)
        if found.slots.size == 0:
            if not is_interim:
                model.learn(judged, found)
                calibration.learn_usual(found.n_judged)
            return Findings(self.detector.detector_index, index, found, _NONE, _NONE, accumulator)
        exponents = calibration.calibrate(found.exponents)
        rows = model.rows
        peaks = faded(rows[PEAK, found.slots], middle - rows[PEAK_TIME, found.slots])
        scores = ORDINARY_SHARE * np.minimum(severity(exponents), ceiling(exponents, peaks))
        np.maximum(scores, novelty.score(found.strength() * found.is_news), out=scores)
        if not is_interim:
            model.learn(judged, found)
            calibration.learn(found.exponents, found.n_judged)
            higher = exponents > peaks
            rows[PEAK, found.slots[higher]] = exponents[higher]
            rows[PEAK_TIME, found.slots[higher]] = middle
        return Findings(self.detector.detector_index, index, found, exponents, scores, accumulator, ORDINARY_SHARE)

    def prune(self, before: int) -> int:
        """Drop series silent since before a time (epoch seconds); return how many."""
        return self.series.prune(before, self._forget)

    def _forget(self, slots: Ints) -> None:
        for model in self.features:
            model.reserve(self.series.n_slots)
            model.forget(slots)

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Return copies of all arrays, and the rest."""
        arrays, meta = self.series.state()
        for index, model in enumerate(self.features):
            for key, array in model.state(self.series.n_slots).items():
                arrays[f"f{index}.{key}"] = array
        meta["calibrations"] = [calibration.state() for calibration in self.calibrations]
        return arrays, meta

    def load(self, arrays: Arrays, meta: dict[str, Any]) -> None:
        """Take over what ``state`` returned."""
        self.series.load(arrays, meta)
        for index, model in enumerate(self.features):
            prefix = f"f{index}."
            model.load({key.removeprefix(prefix): arrays[key] for key in arrays if key.startswith(prefix)})
        for calibration, state in zip(self.calibrations, meta["calibrations"], strict=True):
            calibration.load(state)
