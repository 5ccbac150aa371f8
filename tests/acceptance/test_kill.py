"""Whatever dies, nothing acknowledged is lost and nothing is doubled: `run` is killed and started again."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from eventstore import EventStore
from marigraph.cli.main import execute
from marigraph.verify import verify_job
from tests.support.jobs import NAB_FILES, application, facts, farequote, nab, synthetic

BLOCK_BYTES = 16_384
SMALL_BLOCKS = f"import marigraph.data_files as files; files.BLOCK_BYTES = {BLOCK_BYTES}\n"
MAIN = "from marigraph.__main__ import main; main()"
WAIT_SECONDS_MAX = 60


def write_files(folder, data):
    """Write a data set and its job to files."""
    config, records = folder / "job.json", folder / "data.csv"
    config.write_text(json.dumps({"job_id": "j", **data.body}))
    records.write_bytes(data.csv())
    return config, records


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("kill"), synthetic(9_000, bucket_span="1h"))


@pytest.fixture(scope="module")
def expected(new_module_file, files):
    return uninterrupted(f"sqlite:///{new_module_file()}", *files)


def start(url, config, records):
    command = [sys.executable, "-c", SMALL_BLOCKS + MAIN, "--db", url, "run", "--job", config, records]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"COLUMNS": "200"}
    )


def finish(process):
    out, err = process.communicate(timeout=WAIT_SECONDS_MAX)
    assert process.returncode == 0, err.decode()
    return out.decode()


def n_posted(url):
    with EventStore.connect(url) as store:
        return sum(event.type == "data_posted" for event in store.iter_stream("job-j"))


def await_posts(url, process, count):
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while n_posted(url) < count and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def uninterrupted(url, config, records):
    assert execute(["--db", url, "run", "--job", str(config), str(records)]) == 0
    with application(url) as app:
        return facts(app)


def killed(url, files, n_kills, seed):
    """Run, kill at random moments after the first acknowledged batch, and run to the end."""
    moments = random.Random(seed)
    for _ in range(n_kills):
        process = start(url, *files)
        await_posts(url, process, 1)
        time.sleep(moments.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=WAIT_SECONDS_MAX)
    finish(start(url, *files))
    with application(url) as app:
        report = verify_job(app, "j")
        assert report.holds, report.resource()
        return facts(app)


def test_a_killed_run_started_again_ends_like_one_that_was_not(new_sqlite_url, files, expected):
    assert killed(new_sqlite_url(), files, n_kills=2, seed=1) == expected


def test_a_killed_run_on_postgres_ends_like_one_that_was_not(postgres_url, files, expected):
    assert killed(postgres_url, files, n_kills=1, seed=2) == expected


def test_the_takeover_from_a_dead_owner_is_at_once_and_on_the_log(sqlite_url, files):
    process = start(sqlite_url, *files)
    await_posts(sqlite_url, process, 2)
    process.kill()
    process.communicate(timeout=WAIT_SECONDS_MAX)
    finish(start(sqlite_url, *files))
    with EventStore.connect(sqlite_url) as store:
        types = [event.type for event in store.iter_stream("job-j")]
    assert types.count("reassigned") == 1
    assert types.count("opened") == 1


def test_ctrl_c_stops_cleanly_and_the_same_command_goes_on(sqlite_url, files, expected):
    process = start(sqlite_url, *files)
    await_posts(sqlite_url, process, 2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=WAIT_SECONDS_MAX)
    assert process.returncode in (0, 130)
    assert b"Traceback" not in err
    finish(start(sqlite_url, *files))
    with application(sqlite_url) as app:
        assert facts(app) == expected


def test_the_same_file_again_doubles_nothing(sqlite_url, tmp_path, monkeypatch):
    monkeypatch.setattr("marigraph.data_files.BLOCK_BYTES", BLOCK_BYTES)
    files = write_files(tmp_path, synthetic(3_000, bucket_span="1h"))
    before = uninterrupted(sqlite_url, *files)
    posted = n_posted(sqlite_url)
    finish(start(sqlite_url, *files))
    assert n_posted(sqlite_url) == posted
    with application(sqlite_url) as app:
        assert facts(app) == before


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["farequote", *NAB_FILES])
def test_twenty_kills_change_nothing(new_sqlite_url, tmp_path, test_data, name):
    files = write_files(tmp_path, farequote(test_data) if name == "farequote" else nab(test_data, name))
    expected = uninterrupted(new_sqlite_url(), *files)
    assert killed(new_sqlite_url(), files, n_kills=20, seed=20) == expected
