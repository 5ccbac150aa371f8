"""From a probability to a score: calibration, severity, the ceilings of the history, and what is new."""

import numpy as np

from domain.explanation.parts import Part, Stage, of, one
from domain.model import novelty
from domain.model.arrays import Floats
from domain.model.normalizer import Calibration, ceiling, faded, severity


def score_stages(
    chance: Stage,
    novel: Stage | None,
    calibration: Calibration,
    *,
    peak: Floats,
    time_seconds: float,
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
    peak : ndarray of shape (2, 1)
        Most unusual exponent of the scope before, and its time.
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
    age = time_seconds - float(peak[1, 0])
    earlier = faded(peak[0], time_seconds - peak[1])
    before = one(
        "earlier_peak",
        earlier[0],
        "most unusual exponent before, faded",
        "faded_peak",
        exponent_then=peak[0, 0],
        age_seconds=age,
    )
    deserved = one(
        "severity", severity(calibrated)[0], "score that the exponent deserves", "severity", calibrated_exponent=shrunk
    )
    limit = one(
        "peak_ceiling",
        ceiling(calibrated, earlier)[0],
        "highest score beside the earlier peak",
        "peak_ceiling",
        calibrated_exponent=shrunk,
        earlier_peak=before,
    )
    under = Stage(
        "under_ceiling",
        "smallest",
        min(deserved.value, limit.value),
        [of(deserved), of(limit)],
        "score under the history's ceiling",
    )
    ordinary = Stage(
        "ordinary_score",
        "product",
        share * under.value,
        [of(under), Part("share", share, "highest share for what its series showed before")],
        "score for being improbable",
    )
    stages = [exponent, counted, heavier, shrunk, before, deserved, limit, under, ordinary]
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
