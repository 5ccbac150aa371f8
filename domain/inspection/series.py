"""The series of a model by name, and what is usual of each: its level and its spread.

Functions without a middle to lie around (times, places, rare, members of populations) have neither.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Self

import numpy as np

from domain.config.detector import Detector
from domain.model import change, forecast, spread
from domain.model.arrays import Floats, Ints
from domain.model.detector_model import DetectorModel
from domain.model.expectation import CHANGE
from domain.model.feature_model import COUNT, EXPECTATION, ORIGIN, SPREAD, FeatureModel
from domain.model.series import Name


@dataclass(frozen=True, slots=True)
class SeriesPlace:
    """One series of one feature of a detector."""

    detector_index: int
    feature_index: int
    name: Name
    terms: dict[str, str]
    """Values of the detector's partition, by and over fields."""
    label: str
    """Such as ``mean(responsetime) page=checkout``."""

    def slot(self, detectors: Sequence[DetectorModel]) -> int | None:
        """Return where its state lies now; None if it is not there yet, or was dropped."""
        return detectors[self.detector_index].series.slot_of.get(self.name)


def find_series(detectors: Sequence[DetectorModel], text: str) -> Iterator[SeriesPlace]:
    """Yield the series that a text names, in the order of detectors and of their first records.

    Parameters
    ----------
    text : str
        ``VALUE``, ``FIELD=VALUE`` or several of them with commas between: the values of a series' partition, by and
        over fields. ``DETECTOR:`` before it, a number, keeps to one detector. Empty: any series.
    """
    index, wanted = _wanted(text)
    for detector_index, model in enumerate(detectors):
        if index not in (None, detector_index):
            continue
        for name in _names(model, wanted):
            terms = dict(zip(model.series.fields, name, strict=True))
            for feature_index, feature in enumerate(model.traits.features):
                label = " ".join([_measured(model.detector, feature.description), *_pairs(terms)])
                yield SeriesPlace(detector_index, feature_index, name, terms, label)


class SeriesFinder:
    """Finds series by name, and looks them up again only when series came or went."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int], tuple[list[tuple[int, int]], list[SeriesPlace]]] = {}

    def find(self, detectors: Sequence[DetectorModel], text: str, at_most: int) -> list[SeriesPlace]:
        """Return the first series that a text names (``find_series``)."""
        version = [(detector.series.generation, detector.series.n_series) for detector in detectors]
        known = self._found.get((text, at_most))
        if known is None or known[0] != version:
            known = self._found[text, at_most] = version, list(islice(find_series(detectors, text), at_most))
        return known[1]


def _wanted(text: str) -> tuple[int | None, list[str]]:
    head, colon, rest = text.partition(":")
    if colon and head.isascii() and head.isdigit():
        return int(head), [part for part in rest.split(",") if part]
    return None, [part for part in text.split(",") if part]


def _names(model: DetectorModel, wanted: Sequence[str]) -> Iterator[Name]:
    fields = model.series.fields
    for name in model.series.names:
        if name is None:
            continue
        pairs = _pairs(dict(zip(fields, name, strict=True))) if wanted else []
        if all(part in name or part in pairs for part in wanted):
            yield name


def _pairs(terms: dict[str, str]) -> list[str]:
    return [f"{field}={value}" for field, value in terms.items()]


def _measured(detector: Detector, description: str) -> str:
    return description if detector.field_name is None else f"{description}({detector.field_name})"


@dataclass(frozen=True, slots=True)
class Readings:
    """What a model knows of some series of one feature.

    Attributes
    ----------
    level : ndarray of shape (m,)
        Usual level over days, in the units of the values.
    spread : ndarray of shape (m,)
        Usual distance of values to what is expected, in the same.
    values : ndarray of shape (m,)
        How many were learnt.
    """

    level: Floats
    spread: Floats
    values: Floats

    @classmethod
    def of(cls, model: FeatureModel, slots: Ints | slice) -> Self:
        """Read some slots."""
        rows = model.rows[:, slots]
        own, count = rows[EXPECTATION], rows[COUNT]
        level = rows[ORIGIN] + own[forecast.SLOW] + own[CHANGE][change.SHIFT]
        scale = spread.scale_of(rows[SPREAD], count, level, model.feature.is_count)
        return cls(level, np.where(count > 0.0, scale, np.nan), count)

    @classmethod
    def at(cls, detectors: Sequence[DetectorModel], place: SeriesPlace) -> "Readings | None":
        """Read one series; None where there is nothing to read."""
        slot, features = place.slot(detectors), detectors[place.detector_index].features
        if slot is None or place.feature_index >= len(features):
            return None
        model = features[place.feature_index]
        if not isinstance(model, FeatureModel) or slot >= model.rows.shape[1]:
            return None
        return cls.of(model, np.array([slot]))


def all_readings(detectors: Sequence[DetectorModel]) -> dict[tuple[int, int], tuple[list[Name | None], Readings]]:
    """Return names and readings of all series, by detector and feature, for those that have any."""
    found = {}
    for detector_index, detector in enumerate(detectors):
        n_slots = detector.series.n_slots
        for feature_index, model in enumerate(detector.features):
            if isinstance(model, FeatureModel) and n_slots:
                model.reserve(n_slots)
                key = (detector_index, feature_index)
                found[key] = (list(detector.series.names), Readings.of(model, slice(0, n_slots)))
    return found
