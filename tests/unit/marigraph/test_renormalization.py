"""Renormalisation of rows: whether they are pending or stored makes no difference, however the commits fall."""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec
import pytest
from sqlalchemy import Engine, create_engine, select

from domain.fold import Outcome
from domain.model import (
    Basis,
    BucketInfluencer,
    BucketResult,
    InfluencerResult,
    RecordResult,
    Renormalization,
    score_of,
)
from eventstore.urls import parse_url
from marigraph import renormalization
from marigraph.results import PendingResults, write_pending
from marigraph.tables import RESULT_TABLES, categories, metadata

HOUR = 3_600_000
SCOPES = ["[0]", "[1]", '["bucket_time"]', '["host"]']


@pytest.fixture
def engine() -> Engine:
    made = create_engine("sqlite://")
    metadata.create_all(made, [*RESULT_TABLES, categories])
    return made


@pytest.fixture(params=["sqlite", "postgres"])
def migrated(request: pytest.FixtureRequest) -> Iterator[Engine]:
    made = create_engine(parse_url(request.getfixturevalue(f"{request.param}_url")))
    yield made
    made.dispose()


def make_basis(scope: str, rng: random.Random) -> Basis:
    strength = rng.choice([0.0, rng.uniform(0, 4)])
    return Basis(scope, rng.uniform(1, 60), rng.uniform(1, 20), rng.uniform(0, 20), strength)


def make_bucket(hour: int, rng: random.Random) -> BucketResult:
    start = hour * HOUR
    named = [(name, make_basis(f'["{name}"]', rng)) for name in ("bucket_time", "host")]
    seen = [BucketInfluencer(name, score_of(basis), score_of(basis), 1.0, 0.01, basis) for name, basis in named]
    found = [make_basis(scope, rng) for scope in rng.choices(SCOPES[:2], k=rng.randrange(4))]
    of_host = make_basis('["host"]', rng)
    first = start - rng.randrange(1, 40) * HOUR
    rises = [Renormalization(rng.choice(SCOPES), first, start, rng.uniform(5, 80), rng.uniform(0, 9))]
    return BucketResult(
        timestamp_ms=start,
        bucket_span_seconds=3_600,
        anomaly_score=max(item.anomaly_score for item in seen),
        initial_anomaly_score=max(item.anomaly_score for item in seen),
        event_count=1,
        bucket_influencers=seen,
        records=[
            RecordResult(0, "mean", "mean", 0.01, score_of(basis), score_of(basis), [1.0], [2.0], basis=basis)
            for basis in found
        ],
        influencers=[InfluencerResult("host", "a", score_of(of_host), score_of(of_host), 0.01, of_host)],
        renormalizations=[
            *(rises if rng.random() < 0.3 else []),
            *([Renormalization(None, start - 23 * HOUR, start + HOUR)] if hour % 24 == 23 else []),
        ],
    )


def make_buckets(count: int = 200) -> list[BucketResult]:
    rng = random.Random(7)
    return [make_bucket(hour, rng) for hour in range(count)]


def write(engine: Engine, results: list[BucketResult], commits: set[int]) -> dict[str, list[tuple[object, ...]]]:
    """Write results, with a commit after each of these places; return all rows."""
    pending = PendingResults("j")
    for place, result in enumerate(results):
        pending.add(Outcome(buckets=[result]))
        if place in commits or place == len(results) - 1:
            with engine.begin() as connection:
                write_pending(connection, pending)
            pending = PendingResults("j")
    with engine.begin() as connection:
        rows = {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]
            for table in RESULT_TABLES
        }
        for table in RESULT_TABLES:
            connection.execute(table.delete())
    return rows


def test_commits_make_no_difference(engine: Engine) -> None:
    results = make_buckets()
    at_once = write(engine, results, set())
    assert write(engine, results, set(range(200))) == at_once
    assert write(engine, results, {3, 20, 21, 22, 90, 150}) == at_once


def test_pages_and_databases_make_no_difference(
    engine: Engine, migrated: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = make_buckets(100)
    at_once = write(engine, results, set())
    monkeypatch.setattr(renormalization, "KEYS_PER_QUERY", 2)
    monkeypatch.setattr(renormalization, "ROWS_PER_PAGE", 5)
    assert write(migrated, results, {40, 80}) == at_once


def test_scores_in_columns_bodies_and_bases_agree_and_initial_ones_stay(engine: Engine) -> None:
    results = make_buckets()
    stored = write(engine, results, {50, 100})
    assert stored
    with engine.begin() as connection:
        pending = PendingResults("j")
        pending.add(Outcome(buckets=results))
        write_pending(connection, pending)
        rows = {table.name: connection.execute(select(table)).mappings().all() for table in RESULT_TABLES}
    bases = {(row["timestamp"], row["result_type"], row["sequence"]): row["score"] for row in rows["score_bases"]}
    initial = {result.timestamp_ms: result for result in results}
    n_changed = 0
    for row in rows["records"]:
        body, given = msgspec.json.decode(row["body"]), initial[row["timestamp"]].records[row["sequence"]]
        score = bases[row["timestamp"], "record", row["sequence"]]
        assert body["record_score"] == row["record_score"] == score <= given.record_score
        assert body["initial_record_score"] == row["initial_record_score"] == given.record_score
        n_changed += score < given.record_score
    assert n_changed > 50
    for row in rows["buckets"]:
        body = msgspec.json.decode(row["body"])
        scores = [bases[row["timestamp"], "bucket_influencer", k] for k in range(2)]
        assert [item["anomaly_score"] for item in body["bucket_influencers"]] == scores
        assert body["anomaly_score"] == row["anomaly_score"] == max(scores)
        assert row["initial_anomaly_score"] == initial[row["timestamp"]].anomaly_score
    for row in rows["influencers"]:
        score = bases[row["timestamp"], "influencer", 0]
        assert msgspec.json.decode(row["body"])["influencer_score"] == row["influencer_score"] == score


def test_dropped_buckets_take_no_renormalisation_with_them(engine: Engine) -> None:
    results = make_buckets(60)
    kept = write(engine, results[:30], set())
    pending = PendingResults("j")
    for result in results[:30]:
        pending.add(Outcome(buckets=[result]))
    pending.add(Outcome(buckets=[msgspec.structs.replace(each, renormalizations=[]) for each in results[30:]]))
    pending.add(Outcome(replaces_model=True, deletes_after_ms=29 * HOUR))
    with engine.begin() as connection:
        write_pending(connection, pending)
        for table in RESULT_TABLES:
            found = connection.execute(select(table).order_by(*table.primary_key)).all()
            assert [tuple(row) for row in found] == kept[table.name]


def test_interim_results_have_no_basis(engine: Engine) -> None:
    interim = msgspec.structs.replace(make_bucket(0, random.Random(1)), is_interim=True, renormalizations=[])
    pending = PendingResults("j")
    pending.add(Outcome(interim=[interim]))
    with engine.begin() as connection:
        write_pending(connection, pending)
        assert connection.execute(select(metadata.tables["score_bases"])).all() == []
