"""Bundles of many kinds of jobs, and damaged in many places: long proofs, run on demand."""

import json
import random

import pytest

from marigraph import handlers
from marigraph.bundles.creating import Wish, create_bundle
from marigraph.bundles.replaying import replay_bundle
from marigraph.cli.main import execute
from tests.support.jobs import CONTEXT, application
from tests.support.one_life import START, live

MESSAGES = ("error opening file", "user login ok from", "disk full on volume", "timeout while reading")
NAMES = ("alice", "bob", "Zoe", "émile", "x", "yy", "a b", "A,b", '"q"', "日本")
DETECTORS = (
    {"function": "mean", "field_name": "v", "by_field_name": "user"},
    {"function": "sum", "field_name": "v", "over_field_name": "user"},
    {"function": "high_count", "by_field_name": "host", "over_field_name": "user"},
    {"function": "rare", "by_field_name": "user"},
    {"function": "freq_rare", "by_field_name": "host", "over_field_name": "user"},
    {"function": "distinct_count", "field_name": "user", "partition_field_name": "host"},
    {"function": "max", "field_name": "v", "partition_field_name": "host", "by_field_name": "user"},
    {"function": "count", "partition_field_name": "user", "exclude_frequent": "all", "over_field_name": "host"},
    {"function": "time_of_day", "by_field_name": "user"},
    {"function": "info_content", "field_name": "message", "over_field_name": "user"},
    {"function": "count", "by_field_name": "mlcategory", "partition_field_name": "host"},
)


def made(chance):
    """The body of a job of some kind, its records, and the fields that tell apart in it."""
    detectors = chance.sample(DETECTORS, chance.randint(1, 3))
    influencers = chance.sample(["user", "host"], chance.randint(0, 2))
    terms = [each.get(f"{kind}_field_name") for each in detectors for kind in ("by", "over", "partition")]
    measured = {each.get("field_name") for each in detectors}
    body = {
        "analysis_config": {"bucket_span": "30m", "detectors": detectors, "influencers": influencers},
        "data_description": {"time_field": "time", "time_format": "epoch"},
        "analysis_limits": {"model_memory_limit": chance.choice(["1mb", "64mb"])},
        "model_plot_config": {"enabled": chance.random() < 0.5, "terms": chance.choice([None, "host1,alice"])},
    }
    if "mlcategory" in terms:
        body["analysis_config"]["categorization_field_name"] = "message"
    return body, list(records(chance)), sorted({*terms, *influencers} - measured - {None, "mlcategory"})


def records(chance):
    users = [chance.choice(NAMES) + chance.choice(["", str(number)]) for number in range(chance.randint(3, 40))]
    for place in range(900):
        name = chance.choice(users) if place < 500 or chance.random() < 0.97 else f"late{chance.randint(0, 300)}"
        yield {
            "time": START + 90 * place,
            "user": name,
            "host": f"host{chance.randint(0, 8)}",
            "v": round(chance.gauss(50, 5), 2) if chance.random() < 0.97 else 500,
            "message": f"{chance.choice(MESSAGES)} {chance.randint(0, 5)}",
        }


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(24))
def test_results_of_any_kind_of_job_stay_when_it_is_redacted(sqlite_url, tmp_path, seed):
    chance = random.Random(seed)
    body, lines, fields = made(chance)
    if not fields:
        pytest.skip("nothing to redact")
    with application(sqlite_url) as app:
        handlers.create_job(app, "j", body, CONTEXT)
        handlers.open_job(app, "j", CONTEXT)
        handlers.post_data(app, "j", "\n".join(map(json.dumps, lines)).encode(), CONTEXT)
        handlers.flush_job(app, "j", {"calc_interim": True}, CONTEXT)
        redact = tuple(chance.sample(fields, chance.randint(1, len(fields))))
        bundle = create_bundle(app, "j", tmp_path / "j.bundle.db", Wish(redact=redact, allows_shared=True))
    assert bundle.manifest.redaction.results_equal
    assert replay_bundle(bundle.path).is_equal


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("from_ms", [None, 1000 * (START + 50_000)])
def test_a_bundle_with_bytes_changed_anywhere_is_refused_in_a_line_or_gives_the_same(
    sqlite_url, tmp_path, capsys, from_ms
):
    with application(sqlite_url) as app:
        live(app)
        content = create_bundle(app, "j", tmp_path / "j.bundle.db", Wish(from_ms)).path.read_bytes()
    chance = random.Random(7)
    path = tmp_path / "changed.db"
    for _ in range(150):
        changed = bytearray(content)
        for _ in range(chance.choice([1, 1, 3, 20])):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        path.write_bytes(changed[: chance.choice([len(changed), len(changed), chance.randrange(len(changed))])])
        assert execute(["bundle", "replay", str(path)]) in (0, 1, 2)
        assert capsys.readouterr().err.count("\n") <= 1
