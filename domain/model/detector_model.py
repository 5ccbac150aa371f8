"""The model of one detector: its series, their features, and the calibration of what it finds.

A bucket's accumulator goes in, what was unusual comes out. Slots without records are judged only by functions for
which silence means zero.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final, Protocol

import msgspec
import numpy as np

from domain.config.detector import Detector
from domain.model import novelty
from domain.model.accumulators import ACCUMULATORS, Accumulator
from domain.model.activity import SERIES, Activity
from domain.model.arrays import Arrays, Bools, Floats, Ints, Selection
from domain.model.candidates import Candidates
from domain.model.causes import Causes
from domain.model.feature_model import BYTES_PER_SERIES, PEAKS, FeatureModel
from domain.model.findings import Findings, Standing
from domain.model.functions import FUNCTIONS, Feature
from domain.model.groups import Groups
from domain.model.hindsight import RISE_HEIGHT_MIN, RISE_STRENGTH_MIN, height_of, risen, scope_of_series
from domain.model.influences import Reconsider
from domain.model.normalizer import ORDINARY_SHARE, Calibration, faded, severity
from domain.model.places_model import PlaceCandidates, PlacesModel
from domain.model.plot import ModelPlot, Plotting, plot_of
from domain.model.results import GeoResults, RecordResult
from domain.model.rules import HOLD_BACK, compares_typical, holding, learn_little, wants
from domain.model.series import Name, SeriesTable
from domain.model.single_series import SingleSeries
from domain.model.times_model import DAY_SECONDS, WEEK_SECONDS, TimesModel

_NONE: Final = np.empty(0)
_NOTHING: Final = Standing(_NONE, _NONE, _NONE, _NONE, np.empty(0, np.int64))


class Judge(Protocol):
    """What judges and learns one feature of all series: see ``feature_model.py`` for what each method does."""

    feature: Feature
    rows: Floats

    def reserve(self, n_slots: int) -> None: ...  # noqa: D102
    def judge(self, selection: Selection, x: Floats, time_seconds: float) -> Any: ...  # noqa: D102
    def candidates(self, judged: Any, *, grows_on: bool = False) -> Candidates: ...  # noqa: D102
    def learn(self, judged: Any, found: Any = None, /) -> None: ...  # noqa: D102
    def compared(self, judged: Any, *, with_typical: bool) -> tuple[Floats, Floats]: ...  # noqa: D102
    def tables(self) -> tuple[list[np.ndarray[Any, Any]], list[np.ndarray[Any, Any]]]: ...  # noqa: D102
    def forget(self, slots: Ints) -> None: ...  # noqa: D102
    def state(self, n_slots: int) -> Arrays: ...  # noqa: D102
    def load(self, arrays: Arrays) -> None: ...  # noqa: D102


def make_judge(feature: Feature, detector: Detector, bucket_span_seconds: int) -> Judge:
    """Return an empty model of one feature."""
    model = FUNCTIONS[detector.base_function].model
    if model == "times":
        return TimesModel(feature, WEEK_SECONDS if feature.description == "time_of_week" else DAY_SECONDS)
    if model == "places":
        return PlacesModel(feature)
    return FeatureModel(feature, detector.side, bucket_span_seconds)


def bytes_per_series(judge: Judge) -> int:
    """Return what the state of a series takes."""
    return judge.bytes_per_series if isinstance(judge, TimesModel | PlacesModel) else BYTES_PER_SERIES


def peaks_of(judge: Judge) -> Floats:
    """Return a view of the greatest surprisals so far and their times, then of records broken if there are any."""
    if isinstance(judge, FeatureModel):
        return judge.rows[PEAKS]
    assert isinstance(judge, TimesModel | PlacesModel)
    return judge.peaks


class DetectorModel:
    """Everything learnt for one detector.

    Attributes
    ----------
    series : SeriesTable
    influencers : tuple of str
        Influencer fields that do not tell its series apart.
    features : list of Judge
    singles : dict of int to SingleSeries
        The features that are judged and learnt by compiled functions, as there is one series and nothing to explain.
    calibrations : list of Calibration
        One per feature, over all series.
    groups : dict of str to Groups
        Of kinds of detectors that need them: ``attributes`` (by value and partition), ``members`` (over value and
        partition), ``scopes`` (partition, of attributes).
    empty_bytes : int
        What tables take before the first series, as far as that matters beside what series take.
    group_bytes : dict of str to int
        What the state of a group takes, its name left out.
    plotting : Plotting or None
        What of it is plotted; set by the job.
    """

    def __init__(
        self, detector: Detector, influencers: tuple[str, ...], bucket_span_seconds: int, n_open_max: int
    ) -> None:
        self.detector = detector
        self.bucket_span_seconds = bucket_span_seconds
        self.traits = FUNCTIONS[detector.base_function]
        terms = (detector.partition_field_name, detector.by_field_name, detector.over_field_name)
        self.series = SeriesTable(tuple(name for name in terms if name is not None))
        self.influencers = tuple(name for name in influencers if name not in self.series.fields)
        self.features: list[Judge] = [
            make_judge(feature, detector, bucket_span_seconds) for feature in self.traits.features
        ]
        self.singles = {
            index: SingleSeries(model, bucket_span_seconds)
            for index, model in enumerate(self.features)
            if isinstance(model, FeatureModel) and not self.series.fields and not self.influencers
        }
        self.calibrations = [Calibration(bucket_span_seconds) for _ in self.features]
        self.open_bytes = 8 * len(ACCUMULATORS[self.traits.accumulator].INITIAL) * n_open_max
        self.bytes_per_series = sum(map(bytes_per_series, self.features)) + self.open_bytes
        self.empty_bytes = 0
        self.groups: dict[str, Groups] = {}
        self.group_bytes: dict[str, int] = {}
        self.activity = Activity(detector)
        self.plotting: Plotting | None = None

    @property
    def memory_bytes(self) -> int:
        """Bytes of all series, by count; the arrays are up to twice that, while they grow."""
        of_groups = sum(
            groups.table.n_series * self.group_bytes[key] + groups.table.name_bytes
            for key, groups in self.groups.items()
        )
        return self.empty_bytes + self.series.n_series * self.bytes_per_series + self.series.name_bytes + of_groups

    def cost_of(self, name: Name) -> int:
        """Return the bytes that a new series will take, with the groups that it is the first of."""
        of_groups = sum(
            self.group_bytes[key] + groups.cost_of(name) for key, groups in self.groups.items() if groups.is_new(name)
        )
        return self.bytes_per_series + self.series.cost_of(name) + of_groups

    def create(self, name: Name, bucket_start: int) -> int:
        """Give a new series a slot, and a place in its groups."""
        slot = self.series.create(name, bucket_start)
        for key, groups in self.groups.items():
            groups.put(self._grouped(key, slot), name, bucket_start)
        return slot

    def _grouped(self, key: str, slot: int) -> int:
        """Return the slot of what a kind of groups holds: series, or the attribute of a series."""
        is_of_attribute = key == "scopes" and "attributes" in self.groups
        return int(self.groups["attributes"].of_slot[slot]) if is_of_attribute else slot

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
        findings = [
            self._find(index, accumulator, selection, middle, is_interim=is_interim)
            for index in range(len(self.features))
        ]
        if not is_interim and self.activity.is_wanted:
            self.activity.learn(accumulator, self.groups, n_slots)
        return findings

    def plot(self, accumulator: Accumulator | None, middle: float) -> list[ModelPlot]:
        """Return the bounds of a bucket, if they are asked for; to be called before ``find`` learns the bucket.

        Parameters
        ----------
        middle : float
            Middle of the bucket, epoch seconds.
        """
        n_slots = self.series.n_slots
        if self.plotting is None or n_slots == 0:
            return []
        if accumulator is not None:
            accumulator.reserve(n_slots)
        slots, selection = self.plotting.slots(self.series), self._judged(accumulator)
        plots = []
        for model in self.features:
            if isinstance(model, FeatureModel):
                model.reserve(n_slots)
                actual = np.full(n_slots, np.nan)
                actual[selection] = self._values(accumulator, model.feature, selection)
                bounds = model.bounds(slots, middle)
                feature = model.feature.description
                plots.append(plot_of(self.detector, feature, self.series, slots, bounds=bounds, actual=actual[slots]))
        return plots

    def see(self, accumulator: Accumulator | None, bucket_start: int) -> None:
        """Note which series had records in a bucket that closes."""
        if accumulator is not None:
            present = accumulator.present()
            self.series.see(present, bucket_start)
            for key, groups in self.groups.items():
                is_of_attribute = key == "scopes" and "attributes" in self.groups
                groups.see(self.groups["attributes"].of_slot[present] if is_of_attribute else present, bucket_start)

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
        model = self.features[index]
        model.reserve(self.series.n_slots)
        x = self._values(accumulator, model.feature, selection)
        if index in self.singles and not is_interim and not self.detector.custom_rules:
            found = self.singles[index].find_and_learn(x, middle)
            return self.score(
                index, found, accumulator, peaks_of(model), middle, is_interim=False, share=ORDINARY_SHARE
            )
        judged = model.judge(selection, x, middle)
        candidates = model.candidates(judged, grows_on=is_interim)
        reconsider = None
        if self.influencers and candidates.slots.size and isinstance(model, FeatureModel):
            reconsider = partial(model.reconsider, model.kept(judged, candidates.slots))
        if not is_interim:
            self._learn(model, judged, candidates, middle)
        return self.score(
            index,
            self.without_frequent(candidates),
            accumulator,
            peaks_of(model),
            middle,
            is_interim=is_interim,
            share=ORDINARY_SHARE if isinstance(model, FeatureModel) else 1.0,
            reconsider=reconsider,
        )

    def _learn(self, model: Judge, judged: Any, found: Candidates, middle: float) -> None:
        """Learn a bucket, but for what custom rules hold back."""
        held = self.held(partial(model.compared, judged), middle)
        if held is None or not held.any():
            model.learn(judged, found)
            return
        selection, at = judged.selection, held.nonzero()[0]
        slots = at + selection.start if isinstance(selection, slice) else selection[at]
        learn_little(model, lambda: model.learn(judged, found), slots, middle)

    def held(self, compared: Callable[..., tuple[Floats, Floats]], middle: float) -> Bools | None:
        """Return which values custom rules hold back from the model, None if there is no such rule.

        Parameters
        ----------
        compared : callable
            Returns the values and, with ``with_typical``, what was expected of them.
        middle : float
            Middle of the bucket, epoch seconds.
        """
        rules = self.detector.custom_rules
        if not wants(rules, HOLD_BACK):
            return None
        actual, typical = compared(with_typical=compares_typical(rules, HOLD_BACK))
        return holding(rules, HOLD_BACK, actual, typical, middle - 0.5 * self.bucket_span_seconds)

    def _values(self, accumulator: Accumulator | None, feature: Feature, selection: Selection) -> Floats:
        """Return the values of a feature in a bucket."""
        if accumulator is None:
            return np.zeros(selection.stop if isinstance(selection, slice) else selection.size)
        return accumulator.value(feature.description, selection)

    def score(
        self,
        index: int,
        found: Candidates,
        accumulator: Accumulator | None,
        peaks: Floats,
        middle: float,
        *,
        is_interim: bool,
        peak_slots: Ints | None = None,
        share: float = 1.0,
        causes: Causes | None = None,
        reconsider: Reconsider | None = None,
    ) -> Findings:
        """Calibrate what was found and give it scores; unless it is interim, learn from it.

        Parameters
        ----------
        peaks : ndarray of shape (2 or 4, capacity)
            Greatest surprisals so far and their times, greatest records broken and their times; changed in place.
        middle : float
            Middle of the bucket, epoch seconds.
        peak_slots : ndarray of shape (k,) or None
            Whose peak is to be compared with; None: each slot's own.
        share, causes, reconsider
            As of `Findings`.
        """
        calibration, detector_index = self.calibrations[index], self.detector.detector_index
        if found.slots.size == 0:
            if not is_interim:
                calibration.learn_usual(found.n_judged)
            return Findings(detector_index, index, found, _NONE, _NONE, accumulator, _NOTHING)
        exponents = calibration.calibrate(found.exponents)
        if found.still_exponents is not None:  # their chances are of runs already: no calibration of single values
            exponents = np.maximum(exponents, found.still_exponents)
        held = None if is_interim else self.held(lambda **_: (found.actual, found.typical), middle)
        if not is_interim:
            calibration.learn(found.exponents if held is None else found.exponents[~held], found.n_judged)
        if self.detector.custom_rules:
            heard = ~self._skipped(found, middle)
            exponents = exponents * heard
            found = replace(found, is_news=found.is_news * heard)
        strengths = found.strength() * found.is_news
        ordinary = share * severity(exponents)
        is_news = bool(strengths.any())
        scores = np.maximum(ordinary, novelty.score(strengths)) if is_news else ordinary
        at = found.slots if peak_slots is None else peak_slots
        heights = height_of(exponents)
        earlier = faded(peaks[0, at], middle - peaks[1, at])
        of_all = (heights, strengths) if held is None else (heights * ~held, strengths * ~held)
        is_higher = risen(of_all[0], earlier, RISE_HEIGHT_MIN)
        is_shared = peak_slots is not None
        if not is_interim:
            _learn_peaks(peaks[:2], at, of_all[0], earlier, middle, is_shared=is_shared)
        if len(peaks) > 2 and is_news and of_all[1].any():
            earlier_strengths = faded(peaks[2, at], middle - peaks[3, at])
            is_higher |= risen(of_all[1], earlier_strengths, RISE_STRENGTH_MIN)
            if not is_interim:
                _learn_peaks(peaks[2:], at, of_all[1], earlier_strengths, middle, is_shared=is_shared)
        standing = Standing(ordinary, heights, earlier, strengths, is_higher.nonzero()[0])
        return Findings(
            detector_index, index, found, exponents, scores, accumulator, standing, share, causes, reconsider
        )

    def scope(self, index: int, slot: int) -> str:
        """Name what the history belongs to that a series is compared with at a feature."""
        name = self.peak_name(slot)
        return scope_of_series(self.detector.detector_index, self.traits.features[index].description, name)

    def peak_name(self, slot: int) -> Name:
        """Return the values that name what a series shares its peak with: itself alone."""
        name = self.series.names[slot]
        assert name is not None, "only series alive are judged"
        return name

    def n_taking_part(self, field: str, value: str, n_judged: int) -> float:
        """Return at how many of the values judged a value of a field that tells series apart takes part.

        Its series are taken to be there as often as others. A member of a population is judged once.
        """
        if field == self.detector.over_field_name:
            return 1.0
        return n_judged * self.series.n_with(value) / max(self.series.n_series, 1)

    def without_frequent(self, found: Candidates) -> Candidates:
        """Leave out what is of values that the detector is to take as too frequent."""
        if not self.activity.is_wanted or found.slots.size == 0:
            return found
        return found.only(~self.activity.is_frequent(found.slots, self.groups))

    def heard(self, found: Candidates, middle: float) -> Candidates:
        """Leave out what custom rules skip."""
        if not self.detector.custom_rules or found.slots.size == 0:
            return found
        return found.only(~self._skipped(found, middle))

    def _skipped(self, found: Candidates, middle: float) -> Bools:
        bucket_start = middle - 0.5 * self.bucket_span_seconds
        return holding(self.detector.custom_rules, "skip_result", found.actual, found.typical, bucket_start)

    def complete(self, record: RecordResult, finding: Findings, k: int) -> RecordResult:
        """Return the record of a finding's place ``k`` with what only this kind of detector knows."""
        found = finding.candidates
        if finding.causes is not None:
            return finding.causes.complete(record, k, self.detector, self.series)
        if not isinstance(found, PlaceCandidates):
            return record
        actual = [float(found.actual[k]), float(found.actual_longitudes[k])]
        typical = [float(found.typical[k]), float(found.typical_longitudes[k])]
        geo = GeoResults(actual_point=_point(actual), typical_point=_point(typical))
        return msgspec.structs.replace(record, actual=actual, typical=typical, geo_results=geo)

    def prune(self, before: int) -> int:
        """Drop series silent since before a time (epoch seconds), then groups left empty; return how many series."""
        n_pruned = self.series.prune(before, self._forget)
        for key, groups in self.groups.items():
            groups.table.prune(before, partial(self._forget_groups, key))
        return n_pruned

    def _forget(self, slots: Ints) -> None:
        for model in self.features:
            model.reserve(self.series.n_slots)
            model.forget(slots)
        self.activity.forget(SERIES, slots, self.groups)

    def _forget_groups(self, key: str, slots: Ints) -> None:
        self.activity.forget(key, slots, self.groups)

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Return copies of all arrays, and the rest."""
        arrays, meta = self.series.state()
        for index, model in enumerate(self.features):
            for key, array in model.state(self.series.n_slots).items():
                arrays[f"f{index}.{key}"] = array
        meta["calibrations"] = [calibration.state() for calibration in self.calibrations]
        for key, groups in self.groups.items():
            own, meta[key] = groups.state(self._n_grouped(key))
            arrays.update({f"{key}.{name}": array for name, array in own.items()})
        if self.activity.is_wanted:
            own, meta["activity"] = self.activity.state()
            arrays.update({f"activity.{name}": array for name, array in own.items()})
        return arrays, meta

    def _n_grouped(self, key: str) -> int:
        is_of_attribute = key == "scopes" and "attributes" in self.groups
        return self.groups["attributes"].n_slots if is_of_attribute else self.series.n_slots

    def load(self, arrays: Arrays, meta: dict[str, Any]) -> None:
        """Take over what ``state`` returned."""
        self.series.load(arrays, meta)
        for index, model in enumerate(self.features):
            model.load(under(arrays, f"f{index}."))
        for calibration, state in zip(self.calibrations, meta["calibrations"], strict=True):
            calibration.load(state)
        for key, groups in self.groups.items():
            groups.load(under(arrays, f"{key}."), meta[key])
        if self.activity.is_wanted:
            self.activity.load(under(arrays, "activity."), meta["activity"])


def _learn_peaks(
    peaks: Floats, at: Ints, heights: Floats, earlier: Floats, time_seconds: float, *, is_shared: bool
) -> None:
    """Keep heights that are greater than the earlier ones as they count now.

    Parameters
    ----------
    peaks : ndarray of shape (2, capacity)
        Changed in place.
    at : ndarray of shape (k,)
        Where to.
    is_shared : bool
        Several may go to one place, where the greatest is to stay.
    """
    higher = (heights > earlier).nonzero()[0]
    if is_shared:
        higher = higher[np.argsort(heights[higher], kind="stable")]  # the last at one place stands
    peaks[0, at[higher]] = heights[higher]
    peaks[1, at[higher]] = time_seconds


def under(arrays: Arrays, prefix: str) -> Arrays:
    """Return the arrays whose names start with a prefix, without it."""
    return {key.removeprefix(prefix): arrays[key] for key in arrays if key.startswith(prefix)}


def _point(place: list[float]) -> str:
    return ",".join(map(repr, place))
