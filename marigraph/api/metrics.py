"""What is measured: requests as they are answered, and the state of the server when somebody asks.

Labels are bounded: endpoints are those of the table, and of the jobs only those that lag most have series of their
own, the others share one.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.exposition import generate_latest

from marigraph.desk import Desk
from marigraph.serving import Server

JOBS_LABELLED_MAX: Final = 100
"""Jobs with series of their own; chosen: five series each stay cheap to scrape and to store."""

OTHER_JOBS: Final = "_other"
"""Label of all other jobs together; no job can have this id."""

NO_ENDPOINT: Final = "none"
"""Label of requests whose path leads nowhere."""

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper ends of the histogram; a flush may take minutes."""


class JobFacts(NamedTuple):
    """What is measured of one job that this process runs."""

    job_id: str
    lag_events: int
    lag_records: int
    bucket_count: int
    bucket_seconds: float
    snapshot_age_seconds: float | None


class Metrics:
    """Counts requests, and writes everything down in Prometheus' text format."""

    def __init__(self, server: Server) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # series that say when a counter began double what is stored, and are not needed
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "marigraph_http_requests",
            "Requests answered.",
            ("endpoint", "method", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "marigraph_http_request_seconds",
            "Time from the first byte of a request to its answer.",
            ("endpoint",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.registry.register(ServerCollector(server))
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def count(self, endpoint: str, method: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(endpoint, method, status).inc()
        self._seconds.labels(endpoint).observe(seconds)

    def text(self) -> str:
        """Return all measurements."""
        return generate_latest(self.registry).decode()


class ServerCollector:
    """Reads the state of the server at each scrape."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def collect(self) -> Iterable[Metric]:
        """Yield the families."""
        server = self._server
        yield CounterMetricFamily("marigraph_appends", "Appends to the log.", server.store.stats.n_appends)
        yield CounterMetricFamily("marigraph_commits", "Commits of appends.", server.store.stats.n_commits)
        yield GaugeMetricFamily("marigraph_queued_tasks", "Tasks that wait for an analysis thread.", server.n_queued)
        jobs = self._jobs()
        yield GaugeMetricFamily("marigraph_running_jobs", "Jobs that this process runs.", len(jobs))
        yield from families(jobs)

    def describe(self) -> Iterable[Metric]:
        """Name nothing in advance: that would read the database when the registry is made."""
        return ()

    def _jobs(self) -> list[JobFacts]:
        now_us = self._server.store.clock()
        return [_facts(desk, now_us) for desk in self._server.desks]


def _facts(desk: Desk, now_us: int) -> JobFacts:
    """Take what is in memory: a scrape costs the database nothing, and works without it."""
    timing, stored_at = desk.runner.timing, desk.runner.state_stored_at
    return JobFacts(
        job_id=desk.job.job_id,
        lag_events=max(desk.head_version - desk.analysed_version, 0),
        lag_records=desk.backlog_records,
        bucket_count=timing.bucket_count,
        bucket_seconds=timing.total_ms / 1000,
        snapshot_age_seconds=None if stored_at is None else max(now_us - stored_at, 0) / 1e6,
    )


def families(jobs: Sequence[JobFacts], limit: int = JOBS_LABELLED_MAX) -> Iterable[Metric]:
    """Yield what is measured per job; beyond the limit, jobs that lag least are taken together."""
    events = GaugeMetricFamily("marigraph_fold_lag_events", "Events not analysed yet.", labels=["job"])
    records = GaugeMetricFamily("marigraph_fold_lag_records", "Records not analysed yet.", labels=["job"])
    times = SummaryMetricFamily("marigraph_bucket_seconds", "Time that buckets took.", labels=["job"])
    ages = GaugeMetricFamily("marigraph_snapshot_age_seconds", "Age of the newest stored state.", labels=["job"])
    ordered = sorted(jobs, key=lambda facts: (-facts.lag_records, -facts.lag_events, facts.job_id))
    shown, others = ordered[:limit], ordered[limit:]
    if others:
        known = [facts.snapshot_age_seconds for facts in others if facts.snapshot_age_seconds is not None]
        shown.append(
            JobFacts(
                OTHER_JOBS,
                sum(facts.lag_events for facts in others),
                sum(facts.lag_records for facts in others),
                sum(facts.bucket_count for facts in others),
                sum(facts.bucket_seconds for facts in others),
                max(known, default=None),
            )
        )
    for facts in shown:
        label = [facts.job_id]
        events.add_metric(label, facts.lag_events)
        records.add_metric(label, facts.lag_records)
        times.add_metric(label, facts.bucket_count, facts.bucket_seconds)
        if facts.snapshot_age_seconds is not None:
            ages.add_metric(label, facts.snapshot_age_seconds)
    yield from (events, records, times, ages)
