import pytest

from domain.datafeeds import decide, evolve
from domain.datafeeds.commands import (
    CreateDatafeed,
    DeleteDatafeed,
    RecordSearch,
    StartDatafeed,
    StopDatafeed,
    UpdateDatafeed,
)
from domain.datafeeds.datafeed import (
    HISTORY_MAX,
    STARTED,
    STOPPED,
    Datafeed,
    decode_datafeed,
    encode_datafeed,
)
from domain.datafeeds.events import EVENT_TYPES, Searched
from domain.errors import AlreadyExists, Conflict, NotFound, ParseError
from domain.events import replay_types
from marigraph.codec import build_codec
from tests.unit.domain.datafeeds.bodies import job

BODY = {"job_id": "j", "indices": ["air"]}
START = StartDatafeed(0, None, "opened", job_open_time_ms=5)


def after(*commands, datafeed=None):
    datafeed = datafeed or Datafeed("d")
    for command in commands:
        for event in decide(datafeed, command):
            datafeed = evolve(datafeed, event, datafeed.version + 1)
    return datafeed


def created():
    return after(CreateDatafeed(BODY, job()))


def started(start_ms=0, end_ms=None, latest_ms=None):
    return after(StartDatafeed(start_ms, end_ms, "opened", latest_ms), datafeed=created())


def search(datafeed, end_ms, n=1, cause="lookback", took_ms=0.0):
    event = Searched(
        start_ms=datafeed.position_ms, end_ms=end_ms, record_count=n, document_count=n, cause=cause, took_ms=took_ms
    )
    return after(RecordSearch(event, datafeed.started_version), datafeed=datafeed)


def test_a_datafeed_is_made_stopped_and_only_once():
    assert (created().state, created().settings().job_id, created().created_version) == (STOPPED, "j", 1)
    with pytest.raises(AlreadyExists, match=r"^A datafeed with id \[d\] already exists$"):
        decide(created(), CreateDatafeed(BODY, job()))


@pytest.mark.parametrize(
    "command",
    [UpdateDatafeed({}, job()), START, StopDatafeed(), DeleteDatafeed(), DeleteDatafeed(force=True)],
)
def test_one_that_is_not_there_is_not_found(command):
    with pytest.raises(NotFound, match=r"^No datafeed with id \[d\] exists$"):
        decide(Datafeed("d"), command)


@pytest.mark.parametrize(
    ("latest_ms", "start_ms", "expected"), [(None, 100, 100), (50, 100, 100), (100, 100, 101), (500, 100, 501)]
)
def test_it_starts_behind_what_the_job_has_seen(latest_ms, start_ms, expected):
    assert started(start_ms, latest_ms=latest_ms).position_ms == expected


def test_it_is_started_only_once():
    with pytest.raises(Conflict, match=r"^cannot start datafeed \[d\] because it has already been started$"):
        decide(started(), START)


@pytest.mark.parametrize("state", ["closed", "opening", "closing", "failed"])
def test_its_job_must_be_open(state):
    with pytest.raises(Conflict, match=rf"^cannot start datafeed \[d\] because job \[j\] is {state}$"):
        decide(created(), StartDatafeed(0, None, state))


@pytest.mark.parametrize("end_ms", [100, 99])
def test_it_must_end_after_it_starts(end_ms):
    with pytest.raises(ParseError, match=rf"\[start\] .*start \[100\] must be earlier than end \[{end_ms}\]"):
        decide(created(), StartDatafeed(100, end_ms, "opened"))


def test_a_started_one_is_neither_updated_nor_deleted():
    with pytest.raises(Conflict, match=r"^Cannot update datafeed \[d\] while its status is started$"):
        decide(started(), UpdateDatafeed({}, job()))
    with pytest.raises(Conflict, match=r"^Cannot delete datafeed \[d\] while its status is started$"):
        decide(started(), DeleteDatafeed())
    assert [event.type for event in decide(started(), DeleteDatafeed(force=True))] == ["stopped", "deleted"]


def test_an_update_without_a_change_is_nothing():
    assert decide(created(), UpdateDatafeed({}, job())) == []
    assert decide(created(), UpdateDatafeed({"scroll_size": 1}, job())) != []


def test_stopping_a_stopped_one_or_another_run_is_nothing():
    assert decide(created(), StopDatafeed()) == []
    assert decide(started(), StopDatafeed(started_version=99)) == []
    assert after(StopDatafeed(), datafeed=started()).state == STOPPED


def test_a_search_moves_the_position_and_is_refused_once_the_run_is_over():
    datafeed = search(started(), 500)
    assert (datafeed.position_ms, datafeed.search_count, datafeed.n_documents) == (500, 1, 1)
    stopped = after(StopDatafeed(), datafeed=datafeed)
    with pytest.raises(Conflict, match="stopped meanwhile"):
        search(stopped, 600)
    anew = after(START, datafeed=stopped)
    with pytest.raises(Conflict, match="stopped meanwhile"):
        decide(anew, RecordSearch(Searched(start_ms=0, end_ms=1, record_count=0, document_count=0, cause="x"), 2))


def test_the_end_is_reached_when_everything_before_it_is_searched():
    datafeed = started(end_ms=1000)
    assert not search(datafeed, 999).has_reached_end
    assert search(datafeed, 1000).has_reached_end


def test_empty_searches_in_real_time_are_counted():
    datafeed = search(search(started(), 10, 0), 20, 0, "realtime")
    assert datafeed.n_empty == 1
    assert search(datafeed, 30, 2, "realtime").n_empty == 0


def test_a_delayed_data_check_moves_nothing():
    datafeed = search(started(), 100, 5)
    event = Searched(
        start_ms=0, end_ms=100, record_count=0, document_count=7, cause="delayed_data_check", missing_count=2
    )
    checked = after(RecordSearch(event, datafeed.started_version), datafeed=datafeed)
    assert (checked.position_ms, checked.n_missing, checked.last_search) == (100, 2, datafeed.last_search)


def test_the_history_of_searches_is_bounded_and_loses_no_document():
    datafeed = started()
    for n in range(1, 3 * HISTORY_MAX):
        datafeed = search(datafeed, n * 1000, n)
    assert len(datafeed.history) == HISTORY_MAX
    assert sum(stretch.n_documents for stretch in datafeed.history) == sum(range(3 * HISTORY_MAX))
    assert datafeed.history[0].start_ms == 0
    joints = zip(datafeed.history, datafeed.history[1:], strict=False)
    assert all(left.end_ms == right.start_ms for left, right in joints)


def test_a_deleted_one_leaves_nothing_but_its_version():
    assert after(DeleteDatafeed(), datafeed=created()) == Datafeed("d", version=2)


def test_a_stored_datafeed_is_read_back():
    datafeed = search(started(end_ms=10_000), 500, 3, took_ms=1.5)
    assert decode_datafeed(encode_datafeed(datafeed)) == datafeed


def test_every_event_has_a_struct_that_reads_what_the_model_writes():
    codec = build_codec(EVENT_TYPES)
    assert set(replay_types(EVENT_TYPES)) == set(codec.types) == set(EVENT_TYPES)
    event = Searched(start_ms=1, end_ms=2, record_count=3, document_count=3, cause="lookback", took_ms=0.5)
    read = codec.decode("searched", 1, event.model_dump_json(exclude_defaults=True), is_checked=True)
    assert (read.start_ms, read.end_ms, read.took_ms, read.missing_count) == (1, 2, 0.5, 0)
    assert STARTED == "started"
