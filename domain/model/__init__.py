"""The analysis of a job: records in, results out, and a state that can be stored and goes on to the last bit.

Start at ``model.py``; a bucket's way is ``batch_view``, ``buckets``, ``accumulators``, ``detector_model``,
``feature_model``, ``scoring``, ``results``.
"""

from domain.model.functions import check_supported
from domain.model.hindsight import Basis, Renormalization, score_of
from domain.model.model import FOLD_VERSION, Model
from domain.model.results import (
    BucketInfluencer,
    BucketResult,
    Cause,
    GeoResults,
    InfluencerMention,
    InfluencerResult,
    RecordResult,
)
from domain.model.size_stats import empty_size_stats
from domain.model.snapshot import DamagedState, decode_state, encode_state

__all__ = [
    "FOLD_VERSION",
    "Basis",
    "BucketInfluencer",
    "BucketResult",
    "Cause",
    "DamagedState",
    "GeoResults",
    "InfluencerMention",
    "InfluencerResult",
    "Model",
    "RecordResult",
    "Renormalization",
    "check_supported",
    "decode_state",
    "empty_size_stats",
    "encode_state",
    "score_of",
]
