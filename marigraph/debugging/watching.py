"""What is watched of some series, bucket by bucket: the value, what was expected of it, and between which bounds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from domain.inspection import Readings, SeriesPlace
from domain.model.accumulator import Accumulator
from domain.model.buckets import OpenBucket
from domain.model.detector_model import DetectorModel
from domain.model.feature_model import FeatureModel

WATCHED_MAX = 20
"""Series watched at a time; chosen: more than fit on a screen."""


@dataclass(frozen=True, slots=True)
class SeriesPoint:
    """A series in one bucket, before it was learnt.

    Attributes
    ----------
    actual : float or None
        None: it had no value.
    lower, typical, upper : float or None
        The middle 95 % of what was expected, and its middle; None: the series is too young to expect anything.
    level, spread : float
    """

    label: str
    timestamp_ms: int
    actual: float | None
    lower: float | None
    typical: float | None
    upper: float | None
    level: float
    spread: float


def watch(
    detectors: Sequence[DetectorModel], opened: OpenBucket | None, start: int, span: int, places: Iterable[SeriesPlace]
) -> list[SeriesPoint]:
    """Read series in a bucket that is about to close; nothing is changed.

    Parameters
    ----------
    start, span : int
        Of the bucket, seconds.
    places : iterable of SeriesPlace
        The first ``WATCHED_MAX`` of them are read, each once.
    """
    each_once = {place.label: place for place in places}
    points = (_point(detectors, place, opened, start, span) for place in islice(each_once.values(), WATCHED_MAX))
    return [point for point in points if point is not None]


def _point(
    detectors: Sequence[DetectorModel], place: SeriesPlace, opened: OpenBucket | None, start: int, span: int
) -> SeriesPoint | None:
    readings, slot = Readings.at(detectors, place), place.slot(detectors)
    if readings is None or slot is None:
        return None
    detector = detectors[place.detector_index]
    model = detector.features[place.feature_index]
    assert isinstance(model, FeatureModel)
    bounds = model.bounds(np.array([slot]), start + 0.5 * span)
    is_known = bool(bounds.is_known[0])
    return SeriesPoint(
        place.label,
        start * 1000,
        _actual(detector, model, None if opened is None else opened.accumulators[place.detector_index], slot),
        float(bounds.lower[0]) if is_known else None,
        float(bounds.median[0]) if is_known else None,
        float(bounds.upper[0]) if is_known else None,
        float(readings.level[0]),
        float(readings.spread[0]),
    )


def _actual(detector: DetectorModel, model: FeatureModel, accumulator: Accumulator | None, slot: int) -> float | None:
    has_records = False
    if accumulator is not None:
        accumulator.reserve(detector.series.n_slots)
        has_records = bool((accumulator.present() == slot).any())
    if not has_records:
        return 0.0 if detector.traits.has_zeros and detector.series.is_known[slot] else None
    assert accumulator is not None
    return float(accumulator.value(model.feature.description, np.array([slot]))[0])
