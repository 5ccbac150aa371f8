"""The state machine: every cell of the state table, and what each event makes of a job."""

import msgspec
import numpy as np
import pytest

from domain.commands import (
    CloseJob,
    CreateJob,
    DeleteJob,
    DeleteSnapshot,
    FailJob,
    FlushJob,
    OpenJob,
    PostData,
    ReassignJob,
    RevertSnapshot,
    UpdateJob,
    UpdateSnapshot,
)
from domain.errors import AlreadyExists, BadRequest, Conflict, DomainError, InvalidArgument, NotFound
from domain.events import SnapshotPersisted
from domain.job import (
    CLOSED,
    CLOSING,
    FAILED,
    OPENED,
    OPENING,
    STATES,
    Job,
    decide,
    decode_job,
    encode_job,
    evolve,
    must_wait,
)
from domain.records import RecordBatch

NOW = 1_700_000_000_000
BODY = {
    "analysis_config": {"bucket_span": "1h", "detectors": [{"function": "mean", "field_name": "v"}]},
    "data_description": {},
}
SNAPSHOT = SnapshotPersisted(
    snapshot_id="s1",
    version=2,
    state_schema="model/1",
    state_digest="00",
    timestamp_ms=NOW,
    description="made by a test",
    model_size_stats={},
    latest_record_ms=5_000,
    latest_result_ms=0,
)


def carry_out(job, *commands):
    for command in commands:
        for event in decide(job, command):
            job = evolve(job, event, job.version + 1, NOW)
    return job


def batch(*times_ms):
    times = np.array(times_ms, dtype=np.int64)
    return RecordBatch(times, {"v": np.ones(len(times))}, {}, record_count=len(times), input_bytes=10)


def post(*times_ms):
    return PostData((batch(*times_ms),), (None,))


@pytest.fixture
def closed():
    """A closed job with one snapshot."""
    job = carry_out(Job("j"), CreateJob(BODY, NOW), OpenJob())
    return carry_out(job, CloseJob(snapshot=SNAPSHOT))


def in_state(job, state):
    return job if state == CLOSED else job.in_state(state)


NOT_OPEN = "Cannot perform requested action because job [j] is not open"
ALREADY_OPEN = "Cannot open job [j] because it has already been opened"
REVERT = "Can only revert to a model snapshot when the job is closed."
FAILED_CLOSE = "cannot close job [j] because it failed, use force close"

OPEN, POST, FLUSH = OpenJob(), PostData((batch(1_000),), (None,)), FlushJob()
CLOSE, FORCE_CLOSE = CloseJob(), CloseJob(force=True)
DELETE, FORCE_DELETE = DeleteJob(), DeleteJob(force=True)
UPDATE, UPDATE_LIMIT = (
    UpdateJob({"description": "new"}),
    UpdateJob({"analysis_limits": {"model_memory_limit": "2gb"}}),
)
REVERT_TO = RevertSnapshot("s1")
LIMIT_OPEN = "Cannot update analysis_limits while the job is open"

CELLS = {
    # command: what it comes to in (closed, opening, opened, closing, failed); a text is a refusal
    OPEN: (["opened"], ALREADY_OPEN, ALREADY_OPEN, ALREADY_OPEN, ALREADY_OPEN),
    "post": (NOT_OPEN, NOT_OPEN, ["data_posted"], NOT_OPEN, NOT_OPEN),
    FLUSH: (NOT_OPEN, NOT_OPEN, ["flushed"], NOT_OPEN, NOT_OPEN),
    CLOSE: ([], "waits", ["closed"], "waits", FAILED_CLOSE),
    FORCE_CLOSE: ([], ["closed"], ["closed"], ["closed"], ["closed"]),
    DELETE: (
        ["deleted"],
        "Cannot delete job [j] because the job is opening",
        "Cannot delete job [j] because the job is opened",
        "Cannot delete job [j] because the job is closing",
        "Cannot delete job [j] because the job is failed",
    ),
    FORCE_DELETE: (["deleted"],) * 5,
    "update": (["updated"],) * 5,
    "update limit": (["updated"], LIMIT_OPEN, LIMIT_OPEN, LIMIT_OPEN, ["updated"]),
    REVERT_TO: (["snapshot_reverted"], REVERT, REVERT, REVERT, REVERT),
}
UNHASHABLE = {"post": POST, "update": UPDATE, "update limit": UPDATE_LIMIT}
TABLE = [
    pytest.param(
        UNHASHABLE.get(command, command) if isinstance(command, str) else command,
        state,
        cell,
        id=f"{command if isinstance(command, str) else type(command).__name__}"
        f"{'-force' if getattr(command, 'force', False) else ''}-{state}",
    )
    for command, cells in CELLS.items()
    for state, cell in zip(STATES, cells, strict=True)
]


@pytest.mark.parametrize(("command", "state", "cell"), TABLE)
def test_each_cell_of_the_state_table_holds(closed, command, state, cell):
    job = in_state(closed, state)
    if cell == "waits":
        assert must_wait(job, command)
        return
    assert not must_wait(job, command)
    if isinstance(cell, str):
        with pytest.raises(DomainError) as refused:
            decide(job, command)
        assert refused.value.reason == cell
        expected = InvalidArgument if cell == LIMIT_OPEN else Conflict
        assert isinstance(refused.value, (expected, BadRequest))
    else:
        assert [event.type for event in decide(job, command)] == cell


@pytest.mark.parametrize(
    "command",
    [
        OPEN,
        POST,
        FLUSH,
        CLOSE,
        FORCE_CLOSE,
        DELETE,
        FORCE_DELETE,
        UPDATE,
        REVERT_TO,
        UpdateSnapshot("s1"),
        DeleteSnapshot("s1"),
    ],
    ids=lambda command: type(command).__name__,
)
def test_an_unknown_job_is_not_found(command):
    with pytest.raises(NotFound) as refused:
        decide(Job("j"), command)
    assert refused.value.reason == "No known job with id 'j'"


def test_an_id_that_is_taken_is_refused(closed):
    with pytest.raises(AlreadyExists) as refused:
        decide(closed, CreateJob(BODY, NOW))
    assert refused.value.reason == "The job cannot be created with the Id 'j'. The Id is already used."


def test_a_new_job_is_closed_and_an_opened_one_takes_data():
    created = carry_out(Job("j"), CreateJob(BODY, NOW))
    opened = carry_out(created, OpenJob())
    assert (created.state, opened.state) == (CLOSED, OPENED)
    assert opened.open_time_ms == NOW


def test_closing_sets_finished_time_and_opening_removes_it(closed):
    assert closed.finished_time_ms == NOW
    assert carry_out(closed, OpenJob()).finished_time_ms is None


def test_data_counts_go_on_over_close_and_reopen(closed):
    job = carry_out(closed, OpenJob(), post(1_000, 2_000), CloseJob(), OpenJob(), post(500))
    counts = job.data_counts.resource("j")
    assert counts["processed_record_count"] == 2
    assert counts["out_of_order_timestamp_count"] == 1
    assert counts["latest_record_timestamp"] == 2_000


def test_a_failed_job_can_be_force_closed_and_opened_again(closed):
    failed = carry_out(closed, OpenJob(), FailJob("broken"))
    assert (failed.state, failed.failure) == (FAILED, "broken")
    again = carry_out(failed, CloseJob(force=True), OpenJob())
    assert (again.state, again.failure) == (OPENED, None)


def test_a_job_that_is_not_running_cannot_fail(closed):
    assert decide(closed, FailJob("late")) == []


def test_a_deleted_id_can_be_used_again_and_starts_empty(closed):
    deleted = carry_out(closed, DeleteJob())
    assert not deleted.exists
    again = carry_out(deleted, CreateJob(BODY, NOW))
    assert again.snapshots == ()
    assert again.created_version == deleted.version + 1
    assert again.data_counts == Job("j").data_counts


def test_a_takeover_changes_nothing_but_the_version(closed):
    opened = carry_out(closed, OpenJob())
    taken = carry_out(opened, ReassignJob("b", "a", 2))
    assert msgspec.structs.replace(taken, version=opened.version) == opened


def test_the_active_snapshot_cannot_be_deleted_and_others_can(closed):
    with pytest.raises(InvalidArgument) as refused:
        decide(closed, DeleteSnapshot("s1"))
    assert refused.value.reason == ("Model snapshot 's1' is the active snapshot for job 'j', so cannot be deleted")
    newer = msgspec.structs.replace(closed, model_snapshot_id="s2")
    assert carry_out(newer, DeleteSnapshot("s1")).snapshots == ()


def test_an_unknown_snapshot_is_not_found(closed):
    for command in (RevertSnapshot("x"), UpdateSnapshot("x", retain=True), DeleteSnapshot("x")):
        with pytest.raises(NotFound) as refused:
            decide(closed, command)
        assert refused.value.reason == "No model snapshot with id [x] exists for job [j]"


def test_updating_a_snapshot_changes_only_what_was_given(closed):
    job = carry_out(closed, UpdateSnapshot("s1", description="kept"))
    assert (job.snapshot("s1").description, job.snapshot("s1").retain) == ("kept", False)
    job = carry_out(job, UpdateSnapshot("s1", retain=True))
    assert (job.snapshot("s1").description, job.snapshot("s1").retain) == ("kept", True)


def test_reverting_with_deletion_sets_the_latest_record_back(closed):
    job = carry_out(closed, OpenJob(), post(9_000), CloseJob())
    kept = carry_out(job, RevertSnapshot("s1"))
    reset = carry_out(job, RevertSnapshot("s1", delete_intervening_results=True))
    assert kept.data_counts.latest_record_ms == 9_000
    assert reset.data_counts.latest_record_ms == 5_000


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (FlushJob(start_ms=1), "Invalid flush parameters: unexpected 'start'."),
        (FlushJob(end_ms=1), "Invalid flush parameters: unexpected 'end'."),
        (
            FlushJob(calc_interim=True, end_ms=1),
            "Invalid flush parameters: 'start' has not been specified.",
        ),
        (
            FlushJob(calc_interim=True, start_ms=2_000, end_ms=1_000),
            "Invalid time range: end time '1' is earlier than start time '2'.",
        ),
        (
            FlushJob(advance_time_ms=1_000, skip_time_ms=1_000),
            "advance_time [1000] must be later than skip_time [1000]",
        ),
    ],
)
def test_flush_parameters_that_contradict_are_refused(closed, command, reason):
    with pytest.raises(DomainError) as refused:
        decide(carry_out(closed, OpenJob()), command)
    assert refused.value.reason == reason


@pytest.mark.parametrize("end", [None, 1_000])
def test_a_flush_range_without_end_is_one_second(closed, end):
    command = FlushJob(calc_interim=True, start_ms=1_000, end_ms=end)
    [event] = decide(carry_out(closed, OpenJob()), command)
    assert event.end_ms == 2_000


def test_a_job_survives_being_stored(closed):
    job = carry_out(closed, OpenJob(), post(1_000, 2_000, 3_900_000))
    assert decode_job(encode_job(job)) == job


def test_an_update_that_changes_nothing_is_no_event(closed):
    changed = carry_out(closed, UpdateJob({"description": "new"}))
    assert decide(changed, UpdateJob({"description": "new"})) == []
    assert changed.settings().description == "new"


def test_passing_states_are_not_on_the_log(closed):
    assert {OPENING, CLOSING}.isdisjoint({closed.state, carry_out(closed, OpenJob()).state})
