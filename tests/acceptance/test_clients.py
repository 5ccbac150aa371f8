"""The official Python clients drive a job's whole life, each in an environment of its own (`scripts/client-envs`)."""

import json
import os
import subprocess
from functools import cache
from pathlib import Path

import platformdirs
import pytest

from tests.support.feeds import START_MS, Table, rows, write_sources
from tests.support.http import FIRST
from tests.support.served import served

pytestmark = pytest.mark.clients

LIFE = Path(__file__).parents[1] / "support" / "client_life.py"
VERSIONS = ("6.8.2", "7.17.13", "8.19.3", "9.5.1")


def python_of(version) -> Path:
    """The interpreter that has a client, or a skip."""
    chosen = os.environ.get("MARIGRAPH_CLIENT_ENVS") or Path(platformdirs.user_cache_dir("marigraph")) / "client-envs"
    python = Path(chosen) / version / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no client {version} in {chosen}: make the environments with scripts/client-envs")
    return python


@pytest.fixture(scope="module")
def life(sqlite_template, tmp_path_factory):
    """Run the life of a job through a client on a server with an empty database; return what it saw."""

    @cache
    def run(version):
        python = python_of(version)
        folder = tmp_path_factory.mktemp(f"client-{version}")
        database = folder / "marigraph.db"
        database.write_bytes(sqlite_template.read_bytes())
        Table(folder / "source.db").add(rows(500))
        sources = write_sources(folder / "sources.toml", shop=f"sqlite:///{folder / 'source.db'}")
        with served(database, folder, "--sources", sources) as server:
            command = [str(python), "-I", str(LIFE), server.url]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr[-4_000:]
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize("version", VERSIONS)
def test_a_job_lives_its_whole_life_through_the_client(life, version):
    facts = life(version)
    assert facts["opened"] is True
    assert (facts["posted"], facts["posted as text"]) == (800, 640)
    assert facts["flushed"]["flushed"] is True
    assert facts["interim"] == [71, 72]
    [top] = facts["results"]["top"]
    assert (top["timestamp"] // 1000 - FIRST) // 3600 in (60, 63, 66, 69)
    assert len(facts["results"]["low"]) == 2 < facts["results"]["count"]
    assert facts["results"]["page"][0] == 10
    assert facts["results"]["one"][0]
    strongest = facts["results"]["influencers"][0]
    assert strongest["host"] == strongest["influencer_field_value"]
    assert facts["results"]["categories"] == [[1, 1440]]
    assert facts["stats"][1:] == ["opened", 1440]
    assert facts["closed"] == facts["closed again"] == {"closed": True}
    assert facts["snapshots"]["active"] == [400, "illegal_argument_exception"]
    assert facts["snapshots"]["buckets"] == 72
    assert facts["datafeed"] == {
        "put": ["feed", "fed", ["air"]],
        "updated": 50,
        "found": [1, ["feed"], "stopped"],
        "preview": {"time": START_MS, "airline": "a0", "v": 0.0},
        "started": True,
        "state": "stopped",
        "records": 500,
        "started on and on": [True, "started"],
        "refused": [409, "status_exception"],
        "stopped": {"stopped": True},
        "deleted": {"acknowledged": True},
        "gone": [404, "resource_not_found_exception"],
    }
    assert facts["updated"] == ["changed", ["later"]]
    assert facts["validated"] == [{"acknowledged": True}] * 2
    assert facts["refused"] == [
        [404, "resource_not_found_exception"],
        [404, "resource_not_found_exception"],
        [409, "status_exception"],
        [400, "resource_already_exists_exception"],
        [400, "illegal_argument_exception"],
        [400, "parse_exception"],
    ]
    assert facts["deleted"] == {"acknowledged": True}


def test_all_clients_see_the_same(life):
    lives = [life(version) for version in VERSIONS]
    for each in lives:
        each["results"].pop("overall", None)  # the oldest client has no call for it
    assert all(each == lives[0] for each in lives)
