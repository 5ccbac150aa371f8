"""The model of one job: a fold over its records and flushes, deterministic to the last bit.

Records go into open buckets (``buckets.py``, ``accumulators.py``); when data time has passed a bucket it closes: each
detector judges and learns (``detector_model.py``, ``feature_model.py``), and what they found becomes a result
(``scoring.py``). Nothing here knows where records come from or where results go, and nothing depends on how the records
were cut into batches, on a clock, or on the order of tables.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Any, Final, Self

import msgspec
import numpy as np

from domain.categories import JobCategories
from domain.config.job import JobConfig
from domain.data_counts import accept_mask
from domain.model.arrays import Arrays, Bools, Floats, Ints
from domain.model.batch_view import REFUSED, DetectorView
from domain.model.buckets import OpenBucket
from domain.model.detector_model import DetectorModel
from domain.model.detectors import make_detector_model
from domain.model.functions import check_supported
from domain.model.memory import BASE_BYTES, Memory
from domain.model.messages import Messages, bytes_for_categories
from domain.model.plot import Plotting
from domain.model.results import BucketResult
from domain.model.scoring import BucketScorer
from domain.model.size_stats import size_stats
from domain.model.timeline import EMPTY_BUCKETS_MAX, Timeline
from domain.records import RecordBatch

FOLD_VERSION: Final = "7"
"""Names the code that folds and the format of its state. Raise it with every change of either."""

PRUNE_WINDOW_SECONDS: Final = 30 * 86_400
PRUNE_WINDOW_BUCKETS: Final = 100
"""Series silent for longer than both are dropped. Chosen: the API's default window; at least a hundred buckets."""
DAY_SECONDS: Final = 86_400


Witness = Callable[[Sequence[DetectorModel], OpenBucket | None, int, int], None]
"""Looks at a bucket that is about to close: the detectors, its records, its start and span in epoch seconds. It must
change nothing."""


class Model:
    """State of one job's analysis.

    Attributes
    ----------
    config : JobConfig
    witness : Witness or None
        Called before each bucket with a result closes; what it sees has learnt nothing of the bucket. Not part of the
        state.
    """

    def __init__(self, config: JobConfig) -> None:
        check_supported(config)
        self.config = config
        self.witness: Witness | None = None
        self._timeline = Timeline(config.bucket_span_seconds, config.latency_seconds)
        n_open = self._timeline.n_open_max
        self._detectors = [
            make_detector_model(detector, config.influencers, config.bucket_span_seconds, n_open)
            for detector in config.detectors
        ]
        for model in self._detectors:
            model.plotting = Plotting.of(config.model_plot_config)
        self._memory = Memory(config.model_memory_limit_bytes, bytes_for_categories(config), self._memory_bytes())
        self._scorer = BucketScorer(config)
        self._messages = Messages.of(config)
        self._open: dict[int, OpenBucket] = {}
        self._latest_result: int | None = None

    # ------------------------------------------------------------------------------------------------ what it is

    @property
    def last_finalized_bucket_end_ms(self) -> int | None:
        """End of the last final bucket; older data are dropped. None while no record was ever seen."""
        end = self._timeline.final_end
        return None if end is None or self.latest_record_ms is None else end * 1000

    @property
    def latest_record_ms(self) -> int | None:
        """Time of the latest record."""
        return self._timeline.latest_ms

    @property
    def latest_result_ms(self) -> int | None:
        """Start of the latest bucket with a final result."""
        return None if self._latest_result is None else self._latest_result * 1000

    @property
    def n_series(self) -> int:
        """Series alive, over all detectors."""
        return sum(detector.series.n_series for detector in self._detectors)

    @property
    def detectors(self) -> Sequence[DetectorModel]:
        """What was learnt for each detector; to be read only."""
        return self._detectors

    @property
    def categories(self) -> JobCategories | None:
        """The categories of the job's messages; None if it has no categorization field."""
        return None if self._messages is None else self._messages.categories

    def size_stats(self) -> dict[str, Any]:
        """Return the ``model_size_stats`` of the API, without the job's id."""
        return size_stats(self._memory, self._detectors, self.categories, self.latest_record_ms, self.latest_result_ms)

    # ------------------------------------------------------------------------------------------------ what it does

    def add(self, batch: RecordBatch) -> list[BucketResult]:
        """Fold records in.

        Records that are out of order, or older than the last final bucket's end, are dropped.

        Returns
        -------
        list of BucketResult
            Of the buckets that the records completed, in order of time.
        """
        timeline = self._timeline
        mask = accept_mask(batch.time_ms, timeline.latest_ms, timeline.latency)
        in_order = np.flatnonzero(mask)
        if in_order.size == 0:
            return []
        latest_ms = int(batch.time_ms[in_order].max())
        latest_before = timeline.latest_ms
        timeline.latest_ms = latest_ms if latest_before is None else max(latest_ms, latest_before)

        seconds = batch.time_ms[in_order] // 1000
        timeline.begin(int(seconds[0]))
        assert timeline.final_end is not None
        latest = np.maximum.accumulate(seconds)
        if latest_before is not None:
            np.maximum(latest, latest_before // 1000, out=latest)
        weights = self._weights(batch, in_order)
        taken = seconds >= timeline.final_end
        if weights is not None:
            taken &= weights >= 1.0
        if not taken.all():
            in_order, seconds, latest = in_order[taken], seconds[taken], latest[taken]
            weights = None if weights is None else weights[taken]
        if in_order.size == 0:
            return []
        timeline.take_first(int(seconds[0]))
        if self._messages is not None:
            batch = self._messages.categorized(batch, in_order)
        return self._add_taken(batch, in_order, seconds, latest, weights)

    def _weights(self, batch: RecordBatch, in_order: Ints) -> Floats | None:
        """Return for how many events each record stands; less than 1, or no number: the record says nothing."""
        name = self.config.summary_count_field_name
        if name is None:
            return None
        return np.minimum(np.floor(np.nan_to_num(batch.numbers[name][in_order], nan=0.0)), WEIGHT_MAX)

    def _add_taken(
        self, batch: RecordBatch, taken: Ints, seconds: Ints, latest: Ints, weights: Floats | None
    ) -> list[BucketResult]:
        """Fold records that are in order and not too old.

        Parameters
        ----------
        taken : ndarray of shape (n,)
            Their places in the batch.
        seconds, latest : ndarray of shape (n,)
            Their times, and the latest time up to each; whole epoch seconds.
        weights : ndarray of shape (n,) or None
        """
        span = self._timeline.span
        views = [
            DetectorView(model.detector, model.series, batch, taken, weights=weights, influencers=model.influencers)
            for model in self._detectors
        ]
        bounds = (latest - self._timeline.latency) // span
        starts = np.flatnonzero(bounds[1:] != bounds[:-1]) + 1
        edges = np.concatenate([[0], starts, [taken.size]])
        cuts = [np.searchsorted(view.at, edges).tolist() for view in views]
        buckets = seconds // span
        of_edges = (bounds[edges[:-1]] * span).tolist(), (buckets[edges[:-1]] * span).tolist()
        results: list[BucketResult] = []
        for k, (start, stop) in enumerate(pairwise(edges.tolist())):
            results += self._close_until(of_edges[0][k])
            parts = [(view, cut[k], cut[k + 1]) for view, cut in zip(views, cuts, strict=True)]
            self._create_series(parts, seconds)
            stretch = Stretch(start, stop, parts, weights)
            if self._timeline.latency == 0:
                self._fill(of_edges[1][k], stretch, None)
                continue
            for bucket in np.unique(buckets[start:stop]).tolist():
                self._fill(bucket * span, stretch, buckets[start:stop] == bucket)
        return results

    def _create_series(self, parts: list["Part"], seconds: Ints) -> None:
        """Make the series that a stretch of records needs, in the order of the records, while there is memory."""
        wanted = []
        for index, (view, start, stop) in enumerate(parts):
            view.refresh()
            codes, places = view.unknown(start, stop)
            if codes:
                wanted += [(place, index, code) for place, code in zip(places, codes, strict=True)]
        wanted.sort()
        for place, index, code in wanted:
            view, model = parts[index][0], self._detectors[index]
            name = view.names[code]
            if self._memory.reserve(model.cost_of(name)):
                bucket = self._timeline.floor(int(seconds[place]))
                view.put(code, model.create(name, bucket))
            else:
                view.put(code, REFUSED)

    def _fill(self, bucket: int, stretch: "Stretch", mask: Bools | None) -> None:
        """Put a stretch of records into a bucket; with a mask, those of them that it marks."""
        opened = self._open.get(bucket)
        if opened is None:
            opened = self._open[bucket] = OpenBucket(len(self._detectors))
        opened.event_count += stretch.event_count(mask)
        for index, (view, first, last) in enumerate(stretch.parts):
            if first == last:
                continue
            own = None if mask is None else mask[view.at[first:last] - stretch.start]
            records, is_refused = view.measured(first, last, own)
            opened.is_refused = opened.is_refused or is_refused
            if records.slots.size:
                opened.accumulator(index, self._detectors[index]).add(records)

    def advance_time(self, time_ms: int) -> list[BucketResult]:
        """Declare that no data before a time will come: the buckets before it, less the latency, become final."""
        time = time_ms // 1000
        self._timeline.begin(time)
        return self._close_until(self._timeline.bound(time))

    def reset(self, start_ms: int, end_ms: int) -> None:
        """Empty the open buckets that overlap a range, so that their records can come again.

        Without latency nothing can come again, and nothing is emptied.
        """
        span_ms = self._timeline.span * 1000
        if self._timeline.latency > 0:
            for bucket in [start for start in self._open if start_ms - span_ms < start * 1000 < end_ms]:
                del self._open[bucket]

    def skip_time(self, time_ms: int) -> None:
        """Jump to a time, rounded up to the start of a bucket, without results and without learning."""
        target = self._timeline.ceil(-(-time_ms // 1000))
        end = self._timeline.final_end
        if end is None or target > end:
            self._drop_before(target)

    def interim(self, start_ms: int | None, end_ms: int | None) -> list[BucketResult]:
        """Return results of the open buckets as far as they are known; nothing is changed.

        Parameters
        ----------
        start_ms, end_ms : int or None
            Only buckets that overlap ``[start, end)``; None: without bound.
        """
        timeline = self._timeline
        if timeline.final_end is None or timeline.latest_ms is None:
            return []
        last = max(timeline.floor(timeline.latest_ms // 1000), timeline.final_end)
        buckets = range(timeline.final_end, last + 1, timeline.span)
        return [
            self._result(bucket, self._open.get(bucket), is_interim=True)
            for bucket in buckets
            if timeline.has_result(bucket)
            and (start_ms is None or (bucket + timeline.span) * 1000 > start_ms)
            and (end_ms is None or bucket * 1000 < end_ms)
        ]

    def reconfigure(self, config: JobConfig) -> None:
        """Go on under a changed configuration; detectors and bucket span never change."""
        assert len(config.detectors) == len(self.config.detectors)
        assert config.bucket_span_seconds == self.config.bucket_span_seconds
        self.config = config
        for model, detector in zip(self._detectors, config.detectors, strict=True):
            model.detector = detector
            model.plotting = Plotting.of(config.model_plot_config)
        self._scorer.reconfigure(config)
        self._memory.change_limit(config.model_memory_limit_bytes, bytes_for_categories(config))
        if self._messages is not None:
            self._messages = Messages.of(config, self._messages.categories.state())

    # -------------------------------------------------------------------------------------------- closing of buckets

    def _close_until(self, target: int) -> list[BucketResult]:
        """Close all buckets that end at or before a time."""
        timeline = self._timeline
        results: list[BucketResult] = []
        n_empty = 0
        while timeline.final_end is not None and timeline.final_end < target:
            bucket = timeline.final_end
            opened = self._open.pop(bucket, None)
            n_empty = n_empty + 1 if opened is None else 0
            if n_empty > EMPTY_BUCKETS_MAX:
                self._drop_before(min([target, *self._open]))
                continue
            if timeline.has_result(bucket):
                if self.witness is not None:
                    self.witness(self._detectors, opened, bucket, timeline.span)
                results.append(self._result(bucket, opened, is_interim=False))
                self._latest_result = bucket
            self._finish(bucket, opened)
        return results

    def _result(self, bucket: int, opened: OpenBucket | None, *, is_interim: bool) -> BucketResult:
        findings, plots = [], []
        for index, model in enumerate(self._detectors):
            accumulator = opened.accumulators[index] if opened is not None else None
            if model.plotting is not None and not is_interim:
                found = model.plot(accumulator, bucket + 0.5 * self._timeline.span)
                plots += [each for each in found if each.names]
            findings += model.find(accumulator, bucket, self._timeline.span, is_interim=is_interim)
        event_count = opened.event_count if opened is not None else 0
        result = self._scorer.score(self._detectors, findings, bucket, event_count, is_interim=is_interim)
        return msgspec.structs.replace(result, plots=plots) if plots else result

    def _finish(self, bucket: int, opened: OpenBucket | None) -> None:
        """Book a bucket that closed."""
        end = bucket + self._timeline.span
        self._timeline.final_end = end
        if opened is not None:
            self._memory.refused_bucket_count += opened.is_refused
            for index, model in enumerate(self._detectors):
                model.see(opened.accumulators[index], bucket)
        if end // DAY_SECONDS > bucket // DAY_SECONDS:
            self._prune(end)

    def _prune(self, now: int) -> None:
        window = max(PRUNE_WINDOW_SECONDS, PRUNE_WINDOW_BUCKETS * self._timeline.span)
        pruned = [model.prune(now - window) for model in self._detectors]
        if any(pruned):
            self._memory.settle(self._memory_bytes())

    def _memory_bytes(self) -> int:
        return BASE_BYTES + sum(model.memory_bytes for model in self._detectors)

    def _drop_before(self, target: int) -> None:
        for bucket in [bucket for bucket in self._open if bucket < target]:
            del self._open[bucket]
        self._timeline.final_end = target

    # ------------------------------------------------------------------------------------------------------ its state

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Return a copy of the whole state: named arrays with the series last, and what is no array (plain JSON)."""
        arrays: Arrays = {}
        detectors = []
        for index, model in enumerate(self._detectors):
            own, meta = model.state()
            arrays.update({f"d{index}.{key}": array for key, array in own.items()})
            detectors.append(meta)
        opened = []
        for place, (bucket, item) in enumerate(sorted(self._open.items())):
            own, meta = item.state(self._detectors)
            arrays.update({f"o{place}.{key}": array for key, array in own.items()})
            opened.append({"start": bucket, **meta})
        meta = {
            "fold_version": FOLD_VERSION,
            "timeline": self._timeline.state(),
            "memory": self._memory.state(),
            "scorer": self._scorer.state(),
            "latest_result": self._latest_result,
            "detectors": detectors,
            "open": opened,
            **({} if self.categories is None else {"categories": self.categories.state()}),
        }
        return arrays, meta

    @classmethod
    def restore(cls, config: JobConfig, arrays: Arrays, meta: dict[str, Any]) -> Self:
        """Make a model that goes on exactly where ``state`` was taken."""
        model = cls(config)
        model._timeline.load(meta["timeline"])
        model._memory.load(meta["memory"])
        model._scorer.load(meta["scorer"])
        model._latest_result = meta["latest_result"]
        model._messages = Messages.of(config, meta.get("categories"))
        for index, (detector, own) in enumerate(zip(model._detectors, meta["detectors"], strict=True)):
            detector.load(_under(arrays, f"d{index}."), own)
        for place, own in enumerate(meta["open"]):
            opened = model._open[own["start"]] = OpenBucket(len(model._detectors))
            opened.load(_under(arrays, f"o{place}."), own, model._detectors)
        return model

    def digest(self) -> bytes:
        """Return the SHA-256 of the state: equal digests are equal in every bit."""
        arrays, meta = self.state()
        digest = sha256(msgspec.json.encode(meta, order="sorted"))
        for name in sorted(arrays):
            array = np.ascontiguousarray(arrays[name])
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(array.data)
        return digest.digest()


Part = tuple[DetectorView, int, int]
"""A detector's view of a batch, and which of its records are due."""


class Stretch(msgspec.Struct, frozen=True):
    """Accepted records ``start`` to ``stop`` of a batch, during which no bucket closes."""

    start: int
    stop: int
    parts: list[Part]
    weights: Floats | None

    def event_count(self, mask: Bools | None) -> int:
        """Return how many events the marked records, or all, stand for."""
        if self.weights is None:
            return self.stop - self.start if mask is None else int(np.count_nonzero(mask))
        weights = self.weights[self.start : self.stop]
        return int((weights if mask is None else weights[mask]).sum())  # whole numbers: exact in any order


WEIGHT_MAX: Final = 1e9
"""Largest summary count of a record. Chosen: sums of them stay exact whole numbers."""


def _under(arrays: Arrays, prefix: str) -> Arrays:
    return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
