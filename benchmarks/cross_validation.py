"""Cross-validation of NAB scores over files: what one alarm threshold is worth on files that it was not chosen on.

The files are dealt into folds at random, many times with seeds. The threshold is chosen on all folds but one, and the
files of that one are scored with it; the raw scores of all files, each held out once, are put together to one score.
That is to be compared with the score for the threshold that is best on all files, which NAB gives. The spread is that
over the deals; how much depends on which files there are at all says the bootstrap over files (Efron, 1979).
"""

import statistics
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Final

import numpy as np

from benchmarks.table import print_table

DEALS: Final = 25
"""Deals of the files into folds. Chosen: the mean is then known to a fifth of the spread."""
RESAMPLES: Final = 200

Scores = dict[str, tuple[Any, Any]]
"""Times and scores of the rows of each file."""


def print_cross_validation(scorer: ModuleType, scores: Scores, labels: Any, n_folds: int) -> None:
    """Print what the scores of the three profiles are worth on files held out, and how they scatter over files."""
    names = sorted(scores)
    rows = []
    for profile in scorer.PROFILES:
        whole = scorer.score_set(scores, labels)[profile]
        held_out, of_folds, thresholds = [], [], []
        for deal in range(DEALS):
            order = np.random.default_rng(deal).permutation(len(names))
            parts = [[names[k] for k in order[fold::n_folds].tolist()] for fold in range(n_folds)]
            found = [_held_out(scorer, scores, labels, part, profile) for part in parts]
            held_out.append(_together([result for result, _ in found]))
            of_folds += [result.score for result, _ in found if result.windows]
            thresholds += [threshold for _, threshold in found]
        resampled = _bootstrap(scorer, scores, labels, profile, whole.threshold)
        rows.append(
            (
                profile,
                f"{whole.score:.1f}",
                _mean_and_spread(held_out),
                _mean_and_spread(of_folds),
                f"{min(thresholds):.3f}-{max(thresholds):.3f}",
                f"{statistics.stdev(resampled):.1f}",
            )
        )
    print_table(
        f"NAB, {n_folds} folds over {len(names)} files, {DEALS} deals",
        ("profile", "all files", "held out", "single folds", "thresholds", "bootstrap sd"),
        rows,
    )


def _held_out(scorer: ModuleType, scores: Scores, labels: Any, part: Sequence[str], profile: str) -> tuple[Any, float]:
    """Return the result of some files with the threshold that is best on all others, and the threshold."""
    others = {name: scores[name] for name in scores if name not in part}
    threshold = float(scorer.score_set(others, labels, (profile,))[profile].threshold)
    own = {name: scores[name] for name in part}
    return scorer.score_set(own, labels, (profile,), threshold)[profile], threshold


def _together(results: Sequence[Any]) -> float:
    """Return the score of several sets of files; raw scores, and those of silence and of perfection, add up."""
    raw, null, perfect = (sum(getattr(each, name) for each in results) for name in ("raw", "null", "perfect"))
    return float(100.0 * (raw - null) / (perfect - null))


def _bootstrap(scorer: ModuleType, scores: Scores, labels: Any, profile: str, threshold: float) -> list[float]:
    """Return the scores of files drawn with replacement, at a threshold."""
    each = [scorer.score_set({name: scores[name]}, labels, (profile,), threshold)[profile] for name in sorted(scores)]
    random = np.random.default_rng(0)
    drawn = (random.integers(0, len(each), len(each)).tolist() for _ in range(RESAMPLES))
    return [_together([each[k] for k in places]) for places in drawn]


def _mean_and_spread(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.1f} +- {statistics.stdev(values):.1f}"
