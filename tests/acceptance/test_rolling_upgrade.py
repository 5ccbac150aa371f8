"""The release before runs beside this one on one database, while servers are exchanged one at a time.

The release before is what the version history has with the revision before; without a history there is nothing to run,
and `tests/golden/test_golden_databases.py` is what is left: nothing that it reads or writes has changed.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import httpx
import pytest

from eventstore import EventStore
from marigraph import schema
from tests.support.http import CONFIG, JOBS
from tests.support.served import served

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SCHEMA = "marigraph/schema.py"


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """The source of the newest program with an older revision, and that revision.

    A program whose revisions were changed afterwards was never released.
    """
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("no version history here")
    for commit in git("rev-list", "HEAD", "--", SCHEMA).decode().split():
        found = re.search(r'HEAD_REVISION = "(\d+)"', git("show", f"{commit}:{SCHEMA}").decode())
        changed = git(
            "diff", "--name-only", "--no-renames", "--diff-filter=MD", commit, "HEAD", "--", "migrations/versions"
        )
        if found is not None and found[1] < schema.HEAD_REVISION and not changed:
            folder = tmp_path_factory.mktemp(f"revision-{found[1]}")
            with tarfile.open(fileobj=io.BytesIO(git("archive", commit))) as archive:
                archive.extractall(folder, filter="data")
            return folder, found[1]
    pytest.skip("the history holds no older revision")


def marigraph(url, *arguments, source=None):
    environment = os.environ | ({"PYTHONPATH": str(source)} if source is not None else {})
    command = [sys.executable, "-m", "marigraph", "--db", url, *arguments]
    return subprocess.run(command, cwd=source or ROOT, env=environment, capture_output=True, text=True, check=False)


def ok(*arguments, **options):
    done = marigraph(*arguments, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def post_at(server, first, count):
    lines = "".join(f'{{"time": {second}}}\n' for second in range(first, first + count * 60, 60))
    headers = {"Content-Type": "application/x-ndjson"}
    answer = httpx.post(f"{server.url}{JOBS}/j/_data", content=lines, headers=headers, timeout=60)
    assert answer.status_code == 202, answer.text


def test_two_releases_serve_one_database(before, empty_postgres_url, tmp_path):
    source, revision = before
    url = empty_postgres_url
    ok(url, "db", "upgrade", source=source)
    assert schema.current_revision(url) == revision
    with served(url, tmp_path, source=source) as old:
        httpx.put(f"{old.url}{JOBS}/j", json=CONFIG, timeout=60).raise_for_status()
        httpx.post(f"{old.url}{JOBS}/j/_open", timeout=60).raise_for_status()
        post_at(old, 1_700_000_000, 100)
        ok(url, "db", "upgrade")  # expand, under the running server
        post_at(old, 1_700_006_000, 100)
        with served(url, tmp_path) as new:
            post_at(new, 1_700_012_000, 100)  # the old one folds what the new one appends
            post_at(old, 1_700_018_000, 100)
            for server in (old, new):
                stats = httpx.get(f"{server.url}{JOBS}/j/_stats", timeout=60).json()["jobs"][0]
                assert (stats["state"], stats["data_counts"]["processed_record_count"]) == ("opened", 400)
            assert old.stop() == 0
            post_at(new, 1_700_024_000, 100)
            answer = httpx.post(f"{new.url}{JOBS}/j/_close", timeout=120)
            assert answer.json() == {"closed": True}, answer.text
            if revision >= schema.ERASURE_REVISION:  # from here on programs look at what a database admits
                ok(url, "job", "stats", "j", source=source)
    assert '"oldest_admitted": ' in ok(url, "db", "current", "--json")
    ok(url, "db", "rebuild", "j")  # the releases may judge differently
    assert "everything holds" in ok(url, "verify", "j")
    ok(url, "db", "finish")
    with EventStore.connect(url) as store:
        schema.check_finished(store, schema.HEAD_REVISION)
    refused = marigraph(url, "job", "stats", "j", source=source)
    assert refused.returncode == 2
    assert "newer than this program" in refused.stderr
