"""Fold a job's events into its model: the same function live, at reopen, in replay and in what-if.

``fold(model, event, batch)`` changes the model in place and says what becomes of the stored results. Events that make
a new model (``created``), exchange it (``snapshot_reverted``) or end it (``erased``, ``deleted``) are the caller's,
which knows where to find the other model: see ``marigraph/replay.py``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from domain.events import read_config
from domain.model import BucketResult, Model
from domain.records import RecordBatch


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one event makes of the stored results, to be applied in the order of the fields."""

    deletes_all: bool = False
    replaces_model: bool = False
    """The model is another one now; what is kept of its state as a whole (categories) is written anew."""
    deletes_before_ms: int | None = None
    """Results of buckets that start before this time go."""
    deletes_after_ms: int | None = None
    """Results of buckets that start later than this go, and with them all interim ones."""
    buckets: Sequence[BucketResult] = ()
    """Final results in order of time. The first one written removes every interim result."""
    interim: Sequence[BucketResult] | None = None
    """Interim results; they replace all earlier ones. None: none were asked for."""


NOTHING = Outcome()


def fold(model: Model, event: Any, batch: RecordBatch | None = None) -> Outcome:
    """Fold one event into the model.

    Parameters
    ----------
    model : Model
        Changed in place.
    event : Event or its replay struct
        One of ``domain.events``.
    batch : RecordBatch or None
        The records of a ``data_posted`` event; None for every other.
    """
    folder = _FOLDERS.get(event.type)
    return folder(model, event, batch) if folder else NOTHING


def _data_posted(model: Model, event: Any, batch: RecordBatch | None) -> Outcome:
    if event.reset_start_ms is not None:
        model.reset(event.reset_start_ms, event.reset_end_ms)
    return Outcome(buckets=model.add(batch)) if batch is not None else NOTHING


def _flushed(model: Model, event: Any, _batch: RecordBatch | None) -> Outcome:
    if event.skip_time_ms is not None:
        model.skip_time(event.skip_time_ms)
    buckets = model.advance_time(event.advance_time_ms) if event.advance_time_ms is not None else []
    interim = model.interim(event.start_ms, event.end_ms) if event.calc_interim else None
    return Outcome(buckets=buckets, interim=interim)


def _updated(model: Model, event: Any, _batch: RecordBatch | None) -> Outcome:
    model.reconfigure(read_config(event.config))
    return NOTHING


def _results_dropped(_model: Model, event: Any, _batch: RecordBatch | None) -> Outcome:
    return Outcome(deletes_before_ms=event.before_ms)


_FOLDERS: dict[str, Callable[[Model, Any, RecordBatch | None], Outcome]] = {
    "data_posted": _data_posted,
    "flushed": _flushed,
    "updated": _updated,
    "results_dropped": _results_dropped,
}
