"""A large log as a few years of use would leave it, written in bulk: valid chains, many jobs side by side.

The jobs take turns, an event each: so neighbours in time are of different jobs, and the events of one job lie far
apart. A job's life is made of sessions: opened, posts with a flush among them, now and then an update or a failure, a
snapshot, closed. Some posts have records that came late. Datafeeds and keys have their events too. Everything is drawn
from a seed, and what is written is what the application's own events would be.
"""

import json
from collections.abc import Iterator
from hashlib import sha256
from itertools import count
from typing import Any

import numpy as np

from domain.config import create_job_config
from domain.datafeeds.events import Created as DatafeedCreated
from domain.events import Created, store_config
from domain.records import EncodedBatch, RecordBatch, TextColumn, encode_batch
from eventstore import EventStore, chain
from eventstore.appending import EVENT_COLUMNS, EventRow
from eventstore.pgcopy import encode_event_rows
from eventstore.tables import payloads, streams
from marigraph.application import Application
from marigraph.jobs import PROJECTION
from marigraph.replay import STATE_SCHEMA

START_US = 1_767_225_600_000_000  # 2026-01-01
SESSION = 50  # events of a session
KEPT_SNAPSHOTS = 10
RECORDS = 100  # of a post
PAGE_ROUNDS = 10  # turns of all jobs that are written at once
WITH_RECORDS = 10  # jobs whose records are there; those of the others were dropped long ago
SPAN_MS = 900_000


class BigLog:
    """Makes the events of `n_jobs` jobs, `n_events` in all, `step_us` microseconds between one and the next."""

    def __init__(self, n_jobs: int, n_events: int, *, days: float = 90.0, seed: int = 1) -> None:
        self.n_jobs = n_jobs
        self.n_rounds = n_events // n_jobs
        self.n_feeds = max(n_jobs // 10, 1)
        self.step_us = int(days * 86_400e6 / n_events)
        self._random = np.random.default_rng(seed)
        self._positions = count(1)
        self._names = [f"job-j{index:05d}" for index in range(n_jobs)]
        self._feeds = [f"datafeed-d{index:05d}" for index in range(self.n_feeds)]
        self.streams = [*self._names, *self._feeds, "access"]
        self._ids = {name: place for place, name in enumerate(self.streams, 1)}
        self._heads: dict[str, tuple[int, bytes, int]] = dict.fromkeys(self.streams, (0, chain.GENESIS, 0))
        self._snapshots: list[list[str]] = [[] for _ in range(n_jobs)]
        self._failed: set[int] = set()
        self._limits = [1024] * n_jobs
        self._n_buckets = [0] * n_jobs
        self._latest = [0] * n_jobs
        self.payloads: list[tuple[int, EncodedBatch]] = []
        self.n_events = 0

    @property
    def end_us(self) -> int:
        """After the last event."""
        return START_US + self.n_events * self.step_us

    def heads(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of `streams`."""
        for name, (version, head, recorded_at) in self._heads.items():
            yield {
                "id": self._ids[name], "name": name, "version": version, "head_hash": head,
                "recorded_at": recorded_at, "fence": 0,
            }  # fmt: skip

    def pages(self) -> Iterator[list[EventRow]]:
        """Yield all events, in order of position."""
        rows: list[EventRow] = []
        for turn in range(self.n_rounds):
            order = self._random.permutation(self.n_jobs).tolist()
            draws = self._random.random(self.n_jobs).tolist()
            for index in order:
                kind, data, digest = self._of_job(index, turn, draws[index])
                rows.append(self._row(self._names[index], kind, data, digest, actor=f"user-{index % 7}"))
            if turn % 5 == 0:
                for name in self._feeds:
                    kind, data = self._of_feed(name)
                    rows.append(self._row(name, kind, data, None, actor="marigraph-server"))
            if turn % 20 == 0:
                data = f'{{"key_id":"k{turn}","name":"shipper","roles":["machine_learning_admin"]}}'
                rows.append(self._row("access", "key_created", data, None, actor="user-0"))
            if turn % PAGE_ROUNDS == PAGE_ROUNDS - 1 or turn == self.n_rounds - 1:
                yield rows
                rows = []

    def _row(self, name: str, kind: str, data: str, digest: bytes | None, *, actor: str) -> EventRow:
        position = next(self._positions)
        self.n_events = position
        version, previous, _ = self._heads[name]
        version += 1
        recorded_at = START_US + position * self.step_us
        request_id = f"r-{position // 3:x}"
        context = chain.encode_context(name, actor, request_id, None, None)
        texts = chain.encode_texts(kind.encode(), data.encode(), digest)
        found = chain.hash_event(previous, context, (version, 1, recorded_at, None), texts)
        self._heads[name] = version, found, recorded_at
        return (
            position, self._ids[name], version, kind, 1, recorded_at, actor, request_id, None, None, None, data,
            digest, found,
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------------------- a job

    def _of_job(self, index: int, turn: int, draw: float) -> tuple[str, str, bytes | None]:
        if turn == 0:
            return "created", self._config(index), None
        # Jobs begin their sessions at different times: the first one is shorter by the phase.
        step = 0 if turn == 1 else (turn - 1 + index % (SESSION - 10)) % SESSION
        version = turn + 1
        if step == 0:
            return "opened", "{}", None
        if step == SESSION - 3:
            return "snapshot_persisted", self._snapshot(index, version), None
        if step == SESSION - 2:
            if draw < 0.01:
                self._failed.add(index)
                return "failed", '{"reason":"the analysis stopped"}', None
            return "closed", '{"is_forced":true}' if draw < 0.03 else "{}", None
        if step == SESSION - 1:
            if index in self._failed:
                self._failed.discard(index)
                return "closed", '{"is_forced":true}', None
            if len(self._snapshots[index]) > KEPT_SNAPSHOTS:
                return "snapshot_deleted", f'{{"snapshot_id":"{self._snapshots[index].pop(0)}"}}', None
            return "snapshot_updated", f'{{"snapshot_id":"{self._snapshots[index][-1]}","retain":false}}', None
        if step == 20 and draw < 0.2:
            self._limits[index] += 1
            change = f'"changes":{{"analysis_limits":{{"model_memory_limit":"{self._limits[index]}mb"}}}}'
            return "updated", f"{self._config(index)[:-1]},{change}}}", None
        if step == 30:
            return "flushed", '{"calc_interim":true}', None
        return self._post(index, draw)

    def _config(self, index: int) -> str:
        limit, marker = self._limits[index], '"model_memory_limit_mib":1024'
        if not hasattr(self, "_template"):
            body = {
                "analysis_config": {
                    "bucket_span": "15m",
                    "detectors": [{"function": "mean", "field_name": "value", "by_field_name": "page"}],
                    "influencers": ["page"],
                },
                "data_description": {"time_field": "time", "time_format": "epoch_ms"},
            }
            config = create_job_config(body, job_id="j-template", now_ms=START_US // 1000)
            self._template = Created(config=store_config(config)).model_dump_json()
            assert marker in self._template
        text = self._template.replace("j-template", self._names[index].removeprefix("job-"))
        return text.replace(marker, f'"model_memory_limit_mib":{limit}')

    def _snapshot(self, index: int, version: int) -> str:
        snapshot_id = str(START_US // 1_000_000 + version)
        self._snapshots[index].append(snapshot_id)
        latest = self._latest[index]
        return json.dumps(
            {
                "snapshot_id": snapshot_id, "version": version - 1, "state_schema": STATE_SCHEMA,
                "state_digest": sha256(snapshot_id.encode()).hexdigest(), "timestamp_ms": latest,
                "description": "State persisted due to job close",
                "model_size_stats": {
                    "result_type": "model_size_stats", "model_bytes": 79_800, "peak_model_bytes": 79_800,
                    "total_by_field_count": 6, "memory_status": "ok", "log_time": latest, "timestamp": latest,
                },
                "latest_record_ms": latest, "latest_result_ms": latest // SPAN_MS * SPAN_MS,
            },
            separators=(",", ":"),
        )  # fmt: skip

    def _post(self, index: int, draw: float) -> tuple[str, str, bytes]:
        """Make a post of records up to now; some bring records that are too old, or that have no time."""
        late = int(draw * 500) if draw < 0.02 else 0
        invalid = 3 if 0.02 <= draw < 0.025 else 0
        before = self._latest[index]
        now = (START_US + self.n_events * self.step_us) // 1000
        first = before + 1 if before else now - SPAN_MS
        self._latest[index] = last = max(now, first + RECORDS)
        n_taken = RECORDS - late - invalid
        n_buckets = last // SPAN_MS - (before or last) // SPAN_MS
        self._n_buckets[index] += n_buckets
        refused = (f'"invalid_date_count":{invalid},' if invalid else "") + (
            f'"out_of_order_timestamp_count":{late},' if late else ""
        )
        digest = sha256(b"%d.%d" % (index, last)).digest()
        content = digest.hex()
        if index < WITH_RECORDS:
            batch = self._batch(before, first, last, late, RECORDS - invalid)
            digest = sha256(batch.body).digest()
            content = batch.content_digest.hex()
            self.payloads.append((self._ids[self._names[index]], batch))
        earliest = min(first, before - 60_000) if late else first
        data = (
            f'{{"counts":{{"processed_record_count":{n_taken},"input_bytes":{RECORDS * 57},'
            f'"input_field_count":{RECORDS * 2},{refused}"bucket_count":{n_buckets},"earliest_record_ms":{first},'
            f'"latest_record_ms":{last},"analysis_field_count":2,'
            f'"diagnosis":[{last // SPAN_MS},{self._n_buckets[index]},{self._n_buckets[index] * 60},'
            f'[[{last // SPAN_MS},{RECORDS // 2}]]]}},"record_count":{RECORDS},"earliest_record_ms":{earliest},'
            f'"latest_record_ms":{last},"digest":"{content}"}}'
        )
        return "data_posted", data, digest

    def _batch(self, before: int, first: int, last: int, late: int, n_records: int) -> EncodedBatch:
        times = np.linspace(first, last, n_records - late).astype(np.int64)
        if late:
            times = np.concatenate([times[:1], np.full(late, min(first, before - 60_000)), times[1:]])
        pages = np.arange(n_records, dtype=np.int32) % 3
        return encode_batch(
            RecordBatch(
                time_ms=times,
                numbers={"value": np.round(self._random.normal(100.0, 10.0, n_records), 2)},
                texts={"page": TextColumn(pages, ["home", "cart", "login"])},
                record_count=RECORDS,
                invalid_date_count=RECORDS - n_records,
            )
        )

    def _of_feed(self, name: str) -> tuple[str, str]:
        index = int(name.removeprefix("datafeed-d"))
        if self._heads[name][0] == 0:
            config = {"datafeed_id": name.removeprefix("datafeed-"), "job_id": self._names[index].removeprefix("job-")}
            return "created", DatafeedCreated(config=config).model_dump_json()
        end = (START_US + self.n_events * self.step_us) // 1000
        return "searched", (
            f'{{"start_ms":{end - 600_000},"end_ms":{end},"record_count":42,"document_count":42,"cause":"realtime",'
            f'"earliest_record_ms":{end - 500_000},"latest_record_ms":{end - 1},"took_ms":3.5}}'
        )


def write(url: str, log: BigLog, progress: Any = lambda _: None) -> None:
    """Write a log into a migrated, empty database, without the store's own checks and commits."""
    with EventStore.connect(url) as store:
        (_write_sqlite if store.dialect == "sqlite" else _write_postgres)(store, log, progress)
        with store.transaction() as connection:
            connection.execute(streams.insert(), list(log.heads()))
    if "postgresql" in url:
        _vacuum(url)


def _write_sqlite(store: EventStore, log: BigLog, progress: Any) -> None:
    columns = EVENT_COLUMNS.split(", ")
    insert = f"INSERT INTO events ({EVENT_COLUMNS}) VALUES ({', '.join('?' * len(columns))})"
    for rows in log.pages():
        with store.transaction() as connection:
            driver: Any = connection.connection.driver_connection
            driver.executemany(insert, rows)
            _write_payloads(connection, log)
        progress(len(rows))


def _write_postgres(store: EventStore, log: BigLog, progress: Any) -> None:
    for rows in log.pages():
        with store.transaction() as connection:
            driver: Any = connection.connection.driver_connection
            with (
                driver.cursor() as cursor,
                cursor.copy(f"COPY events ({EVENT_COLUMNS}) FROM STDIN (FORMAT BINARY)") as copy,
            ):
                copy.write(encode_event_rows(rows, 0))
            _write_payloads(connection, log)
        progress(len(rows))
    with store.transaction() as connection:
        for table, column in (("events", "position"), ("streams", "id")):
            connection.exec_driver_sql(f"SELECT setval('{table}_{column}_seq', 100000000)")


def _write_payloads(connection: Any, log: BigLog) -> None:
    if log.payloads:
        connection.execute(
            payloads.insert(),
            [
                {
                    "stream_id": stream_id, "digest": sha256(batch.body).digest(),
                    "content_digest": batch.content_digest, "codec": batch.codec, "size": len(batch.body),
                    "body": batch.body,
                }
                for stream_id, batch in log.payloads
            ],
        )  # fmt: skip
        log.payloads.clear()


def _vacuum(url: str) -> None:
    """Do what PostgreSQL does by itself in time: statistics, visibility, the ranges of the index by time."""
    import psycopg

    from eventstore.urls import parse_url
    from tests.support.postgres import conninfo

    with psycopg.connect(conninfo(parse_url(url)), autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def project(app: Application, log: BigLog, progress: Any = lambda _: None) -> None:
    """Bring the read models of the jobs to the end of the log, job by job instead of page by page of the log."""
    from marigraph.jobs import row_of
    from marigraph.sql import upsert
    from marigraph.tables import jobs

    for name in log.streams:
        if not name.startswith("job-"):
            continue
        job_id, head = name.removeprefix("job-"), app.store.head(name)
        assert head is not None
        with app.store.transaction() as connection:
            app.jobs.marks.extend(connection, job_id, head.version)
        job, _ = app.jobs.marks.at(job_id, head.version)
        with app.store.transaction() as connection:
            upsert(connection, jobs, [row_of(job)])
        progress(head.version)
    with app.store.transaction() as connection:
        app.store.write_checkpoint(connection, PROJECTION, 0, log.n_events)
        app.store.write_checkpoint(connection, "datafeeds", 0, log.n_events)
