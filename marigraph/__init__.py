"""Marigraph: anomaly-detection jobs whose every fact is an event in SQL."""

__version__ = "0.1.0"
