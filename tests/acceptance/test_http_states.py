"""The state table of the contract (1.1): every operation on a job in every state, through HTTP."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.support.http import CONFIG, FIRST

STATES = ("closed", "opening", "opened", "closing", "failed")


def await_state(http, job_id, state):
    deadline = time.monotonic() + 20
    while http.state(job_id) != state:
        assert time.monotonic() < deadline, http.state(job_id)
        time.sleep(0.01)


@contextmanager
def job_in(http, state):
    """Make a job with a snapshot and take it to a state; the passing ones last as long as the block."""
    job_id = http.job(is_open=True)
    http.post_at(job_id, FIRST, FIRST + 3600).ok(202)
    http.post(f"{job_id}/_close").ok()
    if state not in ("closed", "opening"):
        http.post(f"{job_id}/_open").ok()
    if state == "failed":
        fail(http, job_id)
    if state in ("closed", "opened", "failed"):
        yield job_id
    else:
        with ThreadPoolExecutor(1) as pool:
            with http.busy(job_id):
                command = {"opening": "_open", "closing": "_close"}[state]
                passing = pool.submit(http.post, f"{job_id}/{command}")
                await_state(http, job_id, state)
                yield job_id
            passing.result()


def fail(http, job_id):
    """Have the analysis of an open job stop with an error of its own."""
    [desk] = [desk for desk in http.server.desks if desk.job.job_id == job_id]

    def broken(_batch):
        raise ZeroDivisionError("the analysis is broken")

    desk.runner.model.add = broken
    http.post_at(job_id, FIRST + 10 * 3600).ok(202)
    await_state(http, job_id, "failed")


def revert(http, job_id):
    [snapshot] = http.get(f"{job_id}/model_snapshots").ok()["model_snapshots"]
    return http.post(f"{job_id}/model_snapshots/{snapshot['snapshot_id']}/_revert")


CALLS = {
    "open": lambda http, job_id: http.post(f"{job_id}/_open"),
    "post": lambda http, job_id: http.post_at(job_id, FIRST + 20 * 3600),
    "flush": lambda http, job_id: http.post(f"{job_id}/_flush"),
    "close": lambda http, job_id: http.post(f"{job_id}/_close"),
    "close force": lambda http, job_id: http.post(f"{job_id}/_close", force=True),
    "delete": lambda http, job_id: http.delete(job_id),
    "delete force": lambda http, job_id: http.delete(job_id, force=True),
    "update": lambda http, job_id: http.post(f"{job_id}/_update", {"description": "new"}),
    "update memory": lambda http, job_id: http.post(
        f"{job_id}/_update", {"analysis_limits": {"model_memory_limit": "2gb"}}
    ),
    "revert": revert,
}
ALREADY = "Cannot open job [{}] because it has already been opened"
NOT_OPEN = "Cannot perform requested action because job [{}] is not open"
NOT_DELETED = "Cannot delete job [{}] because the job is {}"
NOT_REVERTED = "Can only revert to a model snapshot when the job is closed."
FAILED_CLOSE = "cannot close job [{}] because it failed, use force close"
MEMORY = "Cannot update analysis_limits while the job is open"

# Per operation, what each state answers: a status, or the reason of a 409.
TABLE = {
    "open": {"closed": 200, **dict.fromkeys(("opening", "opened", "closing", "failed"), ALREADY)},
    "post": {"opened": 202, **dict.fromkeys(("closed", "opening", "closing", "failed"), NOT_OPEN)},
    "flush": {"opened": 200, **dict.fromkeys(("closed", "opening", "closing", "failed"), NOT_OPEN)},
    "close": {"closed": 200, "opened": 200, "failed": FAILED_CLOSE},  # those that wait: below
    "close force": dict.fromkeys(STATES, 200),
    "delete": {"closed": 200, **dict.fromkeys(("opening", "opened", "closing", "failed"), NOT_DELETED)},
    "delete force": {"closed": 200, "opened": 200, "failed": 200},  # those that wait for the strand: below
    "update": dict.fromkeys(STATES, 200),
    "update memory": {"closed": 200, "failed": 200, **dict.fromkeys(("opening", "opened", "closing"), 400)},
    "revert": {"closed": 200, **dict.fromkeys(("opening", "opened", "closing", "failed"), NOT_REVERTED)},
}
CASES = [(operation, state) for operation, row in TABLE.items() for state in row]


@pytest.mark.parametrize(("operation", "state"), CASES, ids=[f"{each[0]}-{each[1]}" for each in CASES])
def test_each_operation_answers_in_each_state_as_the_contract_says(http, operation, state):
    expected = TABLE[operation][state]
    with job_in(http, state) as job_id:
        answer = CALLS[operation](http, job_id)
        if isinstance(expected, str):
            assert answer.error == (409, "status_exception", expected.format(job_id, state))
            assert http.state(job_id) == state
        elif expected == 400:
            assert answer.error == (400, "status_exception", MEMORY)
        else:
            assert answer.status == expected, answer.text


@pytest.mark.parametrize("state", ["opening", "closing"])
def test_a_close_waits_for_what_is_at_work_and_then_closes(http, state):
    with ThreadPoolExecutor(1) as pool:
        with job_in(http, state) as job_id:
            closing = pool.submit(http.post, f"{job_id}/_close")
            time.sleep(0.1)
            assert not closing.done()
            assert http.state(job_id) == state
        assert closing.result().ok() == {"closed": True}
    assert http.state(job_id) == "closed"


@pytest.mark.parametrize("state", ["opening", "closing"])
def test_a_forced_deletion_of_a_job_at_work_waits_for_its_analysis_to_stop(http, state):
    with ThreadPoolExecutor(1) as pool:
        with job_in(http, state) as job_id:
            deleting = pool.submit(http.delete, job_id, force=True)
            time.sleep(0.1)
        assert deleting.result().ok() == {"acknowledged": True}
    assert http.get(job_id).status == 404


def test_the_states_on_the_way_from_closed_to_opened_and_back(http):
    job_id = http.job()
    assert http.state(job_id) == "closed"
    assert list(http.post(f"{job_id}/_open").ok()) == ["opened", "node"]
    assert http.state(job_id) == "opened"
    assert http.post(f"{job_id}/_close").ok() == {"closed": True}
    assert http.state(job_id) == "closed"


def test_a_job_forced_closed_while_it_opens_is_not_opened_behind_that(http):
    job_id = http.job()
    with ThreadPoolExecutor(1) as pool:
        with http.busy(job_id):
            opening = pool.submit(http.post, f"{job_id}/_open")
            await_state(http, job_id, "opening")
            assert http.post(f"{job_id}/_close", force=True).ok() == {"closed": True}
        assert opening.result().error == (
            409, "status_exception", "The job has been closed while waiting to be opened"
        )  # fmt: skip
    assert http.state(job_id) == "closed"
    http.post(f"{job_id}/_open").ok()
    assert http.state(job_id) == "opened"


def test_a_forced_close_returns_at_once_and_loses_nothing(http):
    job_id = http.job(is_open=True)
    with http.busy(job_id):
        http.post_at(job_id, FIRST, FIRST + 3600, FIRST + 7200).ok(202)
        assert http.post(f"{job_id}/_close", force=True).ok() == {"closed": True}
        assert http.state(job_id) == "closed"
    http.post(f"{job_id}/_open").ok()
    http.post(f"{job_id}/_flush").ok()
    assert http.get(f"{job_id}/results/buckets").ok()["count"] == 2


def test_a_failed_job_is_forced_closed_and_goes_on_when_it_is_opened(http):
    with job_in(http, "failed") as job_id:
        http.post(f"{job_id}/_close", force=True).ok()
        http.post(f"{job_id}/_open").ok()
        assert http.state(job_id) == "opened"
        http.post(f"{job_id}/_flush").ok()
        assert http.stats(job_id)["data_counts"]["processed_record_count"] == 3


def test_when_one_of_several_jobs_failed_none_is_closed(http):
    opened = http.job(groups=["mixed"], is_open=True)
    with job_in(http, "failed") as failed:
        reason = "one or more jobs have state failed, use force close"
        assert http.post(f"{opened},{failed}/_close").error == (409, "status_exception", reason)
        assert [http.state(opened), http.state(failed)] == ["opened", "failed"]
        http.post(f"{opened},{failed}/_close", {"force": True}).ok()
        assert [http.state(opened), http.state(failed)] == ["closed", "closed"]


def test_the_wait_for_a_close_ends_and_the_close_goes_on(http):
    job_id = http.job(is_open=True)
    with http.busy(job_id):
        status, kind, reason = http.post(f"{job_id}/_close", timeout="50ms").error
        assert (status, kind) == (500, "exception")
        assert job_id in reason
        assert http.state(job_id) == "closing"
    await_state(http, job_id, "closed")


def test_the_wait_for_an_open_ends_with_the_message_of_the_contract(http):
    job_id = http.job()
    with http.busy(job_id):
        assert http.post(f"{job_id}/_open", {"timeout": "50ms"}).error == (
            500, "exception", f"Opening job [{job_id}] timed out after [50ms]"
        )  # fmt: skip
    await_state(http, job_id, "opened")


@pytest.fixture
def greedy(http):
    """Make a job that may take more memory than any machine has."""
    limits = {"model_memory_limit": "3000g"}
    return lambda **more: http.job(analysis_limits=limits, **more)


def test_a_job_that_may_take_more_memory_than_there_is_is_not_opened(http, greedy):
    job_id = greedy()
    status, kind, reason = http.post(f"{job_id}/_open").error
    assert (status, kind) == (429, "status_exception")
    assert reason.startswith("Could not open job because no ML nodes with sufficient capacity were found: ")
    assert http.state(job_id) == "closed"


def test_a_job_that_is_opened_lazily_waits_for_memory_until_it_is_closed(http, greedy):
    job_id = greedy(allow_lazy_open=True)
    assert http.post(f"{job_id}/_open").ok() == {"opened": True, "node": ""}
    stats = http.stats(job_id)
    assert (stats["state"], "node" in stats) == ("opening", False)
    assert http.post(f"{job_id}/_open").error == (409, "status_exception", ALREADY.format(job_id))
    assert http.post_at(job_id, FIRST).error == (409, "status_exception", NOT_OPEN.format(job_id))
    assert http.delete(job_id).error == (409, "status_exception", NOT_DELETED.format(job_id, "opening"))
    for query in ({}, {"force": True}):
        assert http.post(f"{job_id}/_close", **query).ok() == {"closed": True}
        assert http.state(job_id) == "closed"
        http.post(f"{job_id}/_open").ok()
    http.delete(job_id, force=True).ok()
    http.put(job_id, CONFIG).ok()
    assert http.state(job_id) == "closed"


def test_finished_time_comes_with_closing_and_goes_with_opening(http):
    job_id = http.job(is_open=True)
    http.post(f"{job_id}/_close").ok()
    assert http.get(job_id).ok()["jobs"][0]["finished_time"] > 0
    http.post(f"{job_id}/_open").ok()
    assert "finished_time" not in http.get(job_id).ok()["jobs"][0]


def test_counts_and_the_open_bucket_are_kept_over_closing_and_opening(http):
    job_id = http.job(is_open=True)
    http.post_at(job_id, FIRST, FIRST + 100).ok(202)
    http.post(f"{job_id}/_close").ok()
    http.post(f"{job_id}/_open").ok()
    http.post_at(job_id, FIRST + 200, FIRST + 3600).ok(202)
    http.post(f"{job_id}/_flush").ok()
    assert http.stats(job_id)["data_counts"]["processed_record_count"] == 4
    [bucket] = http.get(f"{job_id}/results/buckets").ok()["buckets"]
    assert (bucket["timestamp"], bucket["event_count"]) == (FIRST * 1000, 3)
