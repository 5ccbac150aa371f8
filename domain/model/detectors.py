"""Which kind of model a detector has."""

from domain.config.detector import Detector
from domain.model.detector_model import DetectorModel
from domain.model.functions import FUNCTIONS
from domain.model.population_model import PopulationModel
from domain.model.rare_model import RareModel


def make_detector_model(
    detector: Detector, influencers: tuple[str, ...], bucket_span_seconds: int, n_open_max: int
) -> DetectorModel:
    """Return the empty model of a detector.

    Parameters
    ----------
    influencers : tuple of str
        All influencer fields of the job.
    n_open_max : int
        How many buckets can be open at a time.
    """
    kind = DetectorModel
    if FUNCTIONS[detector.base_function].model == "rare":
        kind = RareModel
    elif detector.over_field_name is not None:
        kind = PopulationModel
    return kind(detector, influencers, bucket_span_seconds, n_open_max)
