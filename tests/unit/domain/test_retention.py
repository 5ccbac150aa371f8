"""What a job keeps no longer, and what becomes of a job that is erased."""

import pytest

from domain.commands import (
    CloseJob,
    CreateJob,
    DeleteJob,
    DropExpired,
    EraseJob,
    OpenJob,
    Postings,
    UpdateJob,
    UpdateSnapshot,
)
from domain.errors import BadRequest, Conflict
from domain.events import SnapshotPersisted
from domain.job import Job, decide, evolve
from domain.retention import DAY_MS, payloads_expired_to, read_retention

NOW = 1_700_000_000_000 // DAY_MS * DAY_MS
BODY = {
    "analysis_config": {"bucket_span": "1h", "detectors": [{"function": "mean", "field_name": "v"}]},
    "data_description": {},
}
DROPPING = {"retention": {"payloads": "behind_snapshots"}}


def carry_out(job, *commands):
    for command in commands:
        for event in decide(job, command):
            job = evolve(job, event, job.version + 1, NOW)
    return job


def job_with(*days, custom_settings=None, **settings):
    """A closed job with snapshots taken so many days after NOW, named after them; versions rise by three."""
    job = carry_out(Job("j"), CreateJob({**BODY, "custom_settings": custom_settings or {}, **settings}, NOW))
    for day in days:
        snapshot = SnapshotPersisted(
            snapshot_id=f"d{day}",
            version=job.version + 1,
            state_schema="model/1",
            state_digest="00",
            timestamp_ms=int(NOW + day * DAY_MS),
            description="",
            model_size_stats={},
        )
        job = carry_out(job, OpenJob(), CloseJob(snapshot=snapshot))
    return job


def dropped(job, **facts):
    return [(event.type, event.model_dump()) for event in decide(job, DropExpired(**facts))]


def deleted_ids(job):
    return [data["snapshot_id"] for type_, data in dropped(job) if type_ == "snapshot_deleted"]


class TestSnapshots:
    def test_those_beyond_the_retention_go_by_age_before_the_newest(self):
        assert deleted_ids(job_with(0, 1, 9, 11, 20)) == ["d0", "d1", "d9"]

    def test_beyond_the_daily_limit_the_first_of_each_day_stays(self):
        assert deleted_ids(job_with(5.1, 5.2, 5.9, 6.5, 9.3, 9.6, 10)) == ["d5.2", "d5.9"]

    def test_a_second_look_removes_nothing_more(self):
        job = job_with(0, 5.1, 5.2, 6.5, 7.5, 12)
        job = carry_out(job, DropExpired())
        assert dropped(job) == []

    def test_the_active_one_and_the_retained_stay(self):
        job = carry_out(job_with(0, 1, 2, 20), UpdateSnapshot("d1", retain=True))
        job = evolve(job, REVERTED, job.version + 1, NOW)
        assert deleted_ids(job) == ["d2"]

    def test_of_a_job_without_data_for_long_nothing_goes(self):
        assert deleted_ids(job_with(-400)) == []

    def test_a_retention_of_no_days_leaves_the_newest(self):
        settings = {"model_snapshot_retention_days": 0, "daily_model_snapshot_retention_after_days": 0}
        assert deleted_ids(job_with(1, 2, 2.5, **settings)) == ["d1", "d2"]


class Reverted:
    type = "snapshot_reverted"
    snapshot_id, version, delete_intervening_results = "d0", 2, False


REVERTED = Reverted()


class TestResults:
    END = NOW + 40 * DAY_MS + 1_800_000

    def test_go_by_the_end_of_the_last_bucket_at_the_start_of_a_bucket(self):
        job = job_with(0, results_retention_days=30)
        found = dropped(job, first_result_ms=NOW, last_finalized_bucket_end_ms=self.END)
        assert found == [("results_dropped", {"before_ms": NOW + 10 * DAY_MS, "retention_days": 30})]

    def test_are_kept_for_good_unless_the_job_says_how_long(self):
        assert dropped(job_with(0), first_result_ms=NOW, last_finalized_bucket_end_ms=self.END) == []

    def test_nothing_happens_while_none_is_too_old(self):
        job = job_with(0, results_retention_days=30)
        first_ms = NOW + 10 * DAY_MS
        assert dropped(job, first_result_ms=first_ms, last_finalized_bucket_end_ms=self.END) == []
        assert dropped(job) == []


class TestPayloads:
    def expired(self, job, *stored, reverts=()):
        return payloads_expired_to(job, frozenset(stored or {each.version for each in job.snapshots}), reverts)

    def test_are_kept_unless_the_job_asks_otherwise(self):
        assert self.expired(job_with(0, 1)) is None

    def test_go_behind_the_oldest_snapshot_that_stays(self):
        job = job_with(0, 20, 21, custom_settings=DROPPING)
        assert self.expired(job) == job.snapshot("d20").version

    def test_stay_while_the_state_of_that_snapshot_cannot_be_read(self):
        job = job_with(0, 20, 21, custom_settings=DROPPING)
        assert self.expired(job, job.snapshot("d21").version) is None

    def test_stay_while_a_later_revert_goes_back_behind_it(self):
        job = job_with(0, 20, 21, custom_settings=DROPPING)
        assert self.expired(job, reverts=[(job.version, job.snapshot("d0").version)]) is None
        assert self.expired(job, reverts=[(3, 2)]) == job.snapshot("d20").version

    def test_are_dropped_once_and_counted(self):
        job = job_with(0, 20, custom_settings=DROPPING)
        to_version = job.snapshot("d20").version
        facts = {"stored_versions": frozenset({to_version}), "postings": Postings(to_version, 3, 700)}
        what = {"from_version": 1, "to_version": to_version, "payload_count": 3, "record_count": 700}
        assert dropped(job, **facts)[-1] == ("payloads_dropped", what)
        job = carry_out(job, DropExpired(**facts))
        assert job.payloads_dropped_to == to_version
        assert dropped(job, **facts) == []

    @pytest.mark.parametrize("value", [1, "x", {"payloads": "all"}, {"records": "keep"}, {"payloads": None}])
    def test_a_setting_that_cannot_be_meant_is_refused_in_one_line(self, value):
        with pytest.raises(BadRequest, match=r"custom_settings\.retention") as caught:
            read_retention({"retention": value})
        assert "\n" not in str(caught.value)


ERASABLE = {"erasable": True}


class TestErasure:
    def erased(self, **options):
        return carry_out(job_with(0, custom_settings=ERASABLE), EraseJob(**options))

    def test_is_one_event_after_which_nothing_of_the_model_is_known(self):
        job = self.erased()
        assert (job.erased_version, job.erased_time_ms, job.snapshots, job.model_snapshot_id) == (5, NOW, (), None)
        assert job.exists

    def test_closes_a_job_for_good(self):
        with pytest.raises(Conflict, match="was erased"):
            decide(self.erased(), OpenJob())

    def test_happens_once(self):
        assert decide(self.erased(), EraseJob(keep_results=True)) == []

    def test_is_refused_for_a_job_that_did_not_ask_for_it(self):
        with pytest.raises(Conflict, match="without custom_settings"):
            decide(job_with(0), EraseJob())

    def test_is_refused_while_the_job_is_open(self):
        job = carry_out(job_with(0, custom_settings=ERASABLE), OpenJob())
        with pytest.raises(Conflict, match="close it first"):
            decide(job, EraseJob())

    def test_comes_with_the_deletion(self):
        job = job_with(0, custom_settings=ERASABLE)
        assert [event.type for event in decide(job, DeleteJob())] == ["erased", "deleted"]
        assert [event.type for event in decide(self.erased(), DeleteJob())] == ["deleted"]

    def test_of_all_records_makes_their_payloads_useless(self):
        job = job_with(0, custom_settings={**ERASABLE, **DROPPING})
        assert payloads_expired_to(carry_out(job, EraseJob()), frozenset(), ()) == 5

    @pytest.mark.parametrize("settings", [{}, {"erasable": False}, {"other": 1}])
    def test_cannot_be_taken_back_by_an_update(self, settings):
        job = job_with(0, custom_settings=ERASABLE)
        with pytest.raises(BadRequest, match="fixed when a job is created"):
            decide(job, UpdateJob({"custom_settings": settings}))
        assert decide(job, UpdateJob({"custom_settings": {"erasable": True, "other": 1}}))

    def test_cannot_be_asked_for_later(self):
        with pytest.raises(BadRequest, match="fixed when a job is created"):
            decide(job_with(0), UpdateJob({"custom_settings": ERASABLE}))

    def test_setting_must_be_true_or_false(self):
        job = job_with(0)
        with pytest.raises(BadRequest, match="true or false"):
            decide(job, UpdateJob({"custom_settings": {"erasable": "yes"}}))
