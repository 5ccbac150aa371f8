"""Datafeeds: what they are configured to read, when they search, and their life as a state machine over events.

Pure, like all of ``domain/``: the sources that are searched, and the clock, belong to ``marigraph/``. Start reading at
``datafeed.py`` (decide, evolve); ``config.py`` is what a datafeed is told, ``query.py`` and ``aggregations.py`` are the
two languages in it, ``schedule.py`` says when and for what stretch of time it searches.
"""

from domain.datafeeds.aggregations import (
    DOC_COUNT,
    METRICS,
    Aggregator,
    Histogram,
    aggregation_body,
    flatten,
    parse_aggregations,
)
from domain.datafeeds.config import DatafeedConfig
from domain.datafeeds.datafeed import Datafeed, Stretch, decide, evolve
from domain.datafeeds.matching import predicate_of
from domain.datafeeds.query import Bool, Exists, MatchAll, Query, Range, Terms, bound_ms, query_fields, query_resource
from domain.datafeeds.reading import create_datafeed_config, job_id_of, updated_job_id

__all__ = [
    "DOC_COUNT",
    "METRICS",
    "Aggregator",
    "Bool",
    "Datafeed",
    "DatafeedConfig",
    "Exists",
    "Histogram",
    "MatchAll",
    "Query",
    "Range",
    "Stretch",
    "Terms",
    "aggregation_body",
    "bound_ms",
    "create_datafeed_config",
    "decide",
    "evolve",
    "flatten",
    "job_id_of",
    "parse_aggregations",
    "predicate_of",
    "query_fields",
    "query_resource",
    "updated_job_id",
]
