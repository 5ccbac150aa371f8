"""From a probability to a score: calibration, severity, what is new; and what became of the score later."""

import numpy as np

from domain.explanation.parts import Part, Stage, of, one
from domain.model import novelty
from domain.model.hindsight import Basis, kept, score_for_records, score_of
from domain.model.normalizer import Calibration, severity


def score_stages(
    chance: Stage,
    novel: Stage | None,
    calibration: Calibration,
    *,
    still: Stage | None = None,
    share: float,
    score: float,
) -> list[Stage]:
    """Return the stages from a probability to the initial score of its record.

    Parameters
    ----------
    chance : Stage
        The probability that is normalised: by the distance alone.
    novel : Stage or None
        How new it is, for what bypasses the history.
    calibration : Calibration
        As it was before the bucket.
    still : Stage or None
        The chance that the series stands still so long, which needs no calibration.
    share : float
        Highest score by the probability, in parts of 100.
    score : float
        As the model gave it.
    """
    exponents = -np.log(np.array([chance.value]))
    exponent = one("exponent", exponents[0], "minus the log of the chance", "exponent", of=chance)
    n_judged, n_unusual, excess = calibration.state()
    threshold, mean_excess = calibration.correction()
    counted = one(
        "threshold",
        threshold,
        "exponent from which values of this detector are unusual",
        "threshold",
        n_judged=n_judged,
        n_unusual=n_unusual,
    )
    heavier = one(
        "mean_excess",
        mean_excess,
        "how much farther than foreseen unusual values come",
        "mean_excess",
        excess=excess,
        n_unusual=n_unusual,
    )
    calibrated = calibration.calibrate(exponents)
    shrunk = one(
        "calibrated_exponent",
        calibrated[0],
        "the exponent as it would be if the model were right",
        "calibrated",
        exponent=exponent,
        threshold=counted,
        mean_excess=heavier,
    )
    stages = [exponent, counted, heavier, shrunk]
    if still is not None:
        alone = one(
            "still_exponent", -np.log(still.value), "minus the log of the chance of the run", "exponent", of=still
        )
        calibrated = np.maximum(calibrated, alone.value)
        meaning = "the greater of both"
        shrunk = Stage("unusual_exponent", "largest", float(calibrated[0]), [of(shrunk), of(alone)], meaning)
        stages += [alone, shrunk]
    deserved = one(
        "severity", severity(calibrated)[0], "score that the exponent deserves", "severity", calibrated_exponent=shrunk
    )
    ordinary = Stage(
        "ordinary_score",
        "product",
        share * deserved.value,
        [of(deserved), Part("share", share, "highest share for what its series showed before")],
        "score for being improbable",
    )
    stages += [deserved, ordinary]
    outcomes = [of(ordinary)]
    if novel is not None:
        new = one(
            "novelty_score",
            novelty.score(np.array([novel.value]))[0],
            "score for being new",
            "novelty_score",
            novelty=novel,
        )
        stages.append(new)
        outcomes.append(of(new))
    return [*stages, Stage("record_score", "largest", score, outcomes, "initial score of the record")]


def later_stages(basis: Basis) -> list[Stage]:
    """Return the stages from what an initial score rests on to the score as it is later (``hindsight.py``)."""
    of_ordinary = one(
        "kept_of_ordinary",
        kept(basis.height, basis.peak),
        "part that is kept beside the most unusual value near it",
        "kept",
        own=basis.height,
        greatest=basis.peak,
    )
    of_novelty = one(
        "kept_of_novelty",
        kept(basis.strength, basis.later_strength),
        "part that is kept beside greater news that came later",
        "kept",
        own=basis.strength,
        greatest=basis.later_strength,
    )
    new = score_for_records(basis.strength)
    ordinary = Stage(
        "ordinary_score_now",
        "product",
        basis.ordinary_score * of_ordinary.value,
        [Part("ordinary_score", basis.ordinary_score, "initial score for being improbable"), of(of_ordinary)],
        "score for being improbable",
    )
    novel = Stage(
        "novelty_score_now",
        "product",
        new * of_novelty.value,
        [Part("novelty_score", new, "initial score for being new"), of(of_novelty)],
        "score for being new",
    )
    return [
        of_ordinary,
        of_novelty,
        ordinary,
        novel,
        Stage("record_score_now", "largest", score_of(basis), [of(ordinary), of(novel)], "score of the record by now"),
    ]
