"""Random sequences of all job calls through the HTTP API, against a plain model of the contract.

The model knows states, counts, snapshots and buckets of jobs that count records; every answer is foretold by it.
"""

import shutil
from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.support.http import CONFIG, FIRST, serving

HOUR = 3600
JOB_IDS = st.sampled_from(["a", "a", "a", "b", "c"])
FEED_IDS = st.sampled_from(["f", "f", "g"])
FEEDS = "/_ml/datafeeds"
STEPS = st.lists(st.integers(-900, 5400), min_size=1, max_size=6)
CONFLICT = (409, "status_exception")


class Expected:
    """One job as the contract has it."""

    def __init__(self):
        self.state = "closed"
        self.description = None
        self.processed = self.late = 0
        self.latest = None  # of any record, in seconds
        self.final_end = None  # start of the bucket that is open
        self.events = {}  # records per open or final bucket
        self.first = None  # buckets before this have no result
        self.results = {}  # final buckets, by start
        self.snapshots = []  # (id, latest record, final end, latest result, open events, first)
        self.active = None

    def post(self, second):
        if self.latest is not None and second < self.latest:
            self.late += 1
            return
        self.processed += 1
        self.latest = second
        bucket = second // HOUR * HOUR
        if self.final_end is None:
            self.final_end = bucket
        if second < self.final_end:
            return
        if self.first is None:
            self.first = -(-second // HOUR) * HOUR
        self.advance(bucket)
        self.events[bucket] = self.events.get(bucket, 0) + 1

    def advance(self, time):
        """Finalize the buckets that end at or before a time."""
        while self.final_end is not None and self.final_end + HOUR <= time:
            if self.first is None or self.final_end >= self.first:
                self.results[self.final_end] = self.events.get(self.final_end, 0)
            self.events.pop(self.final_end, None)
            self.final_end += HOUR

    def flushed_end(self):
        return None if self.latest is None else self.final_end


class Machine(RuleBasedStateMachine):
    """All calls on three jobs and two datafeeds."""

    http = None  # set by the test

    def __init__(self):
        super().__init__()
        self.jobs = {}
        self.clock = FIRST
        self.touched = "a"
        self.feeds = {}  # the job of each
        for feed_id in ("f", "g"):
            self.http.delete(f"{FEEDS}/{feed_id}")
        for job_id in ("a", "b", "c"):
            self.http.delete(job_id, force=True)

    def prepare(self, job_id):
        """Have an open job: most of what can happen happens to those."""
        if job_id not in self.jobs:
            self.create(job_id)
        if self.jobs[job_id].state == "closed":
            self.open(job_id)

    def not_found(self, answer, job_id):
        assert answer.error == (404, "resource_not_found_exception", f"No known job with id '{job_id}'")

    def not_open(self, answer, job_id):
        assert answer.error == (*CONFLICT, f"Cannot perform requested action because job [{job_id}] is not open")

    @rule(job_id=JOB_IDS)
    def create(self, job_id):
        answer = self.http.put(job_id, CONFIG)
        if job_id in self.jobs:
            reason = f"The job cannot be created with the Id '{job_id}'. The Id is already used."
            assert answer.error == (400, "resource_already_exists_exception", reason)
        else:
            assert answer.ok()["job_id"] == job_id
            self.jobs[job_id] = Expected()

    @rule(job_id=JOB_IDS)
    def open(self, job_id):
        self.touched = job_id
        answer = self.http.post(f"{job_id}/_open")
        if job_id not in self.jobs:
            self.not_found(answer, job_id)
        elif self.jobs[job_id].state == "opened":
            assert answer.error == (*CONFLICT, f"Cannot open job [{job_id}] because it has already been opened")
        else:
            assert answer.ok()["opened"] is True
            self.jobs[job_id].state = "opened"

    @rule(job_id=JOB_IDS, steps=STEPS, is_prepared=st.sampled_from([True, True, True, False]))
    def post(self, job_id, steps, is_prepared):
        if is_prepared:
            self.prepare(job_id)
        self.touched = job_id
        seconds = []
        for step in steps:
            self.clock = max(self.clock + step, FIRST)
            seconds.append(self.clock)
        answer = self.http.post_at(job_id, *seconds)
        job = self.jobs.get(job_id)
        if job is None:
            self.not_found(answer, job_id)
        elif job.state != "opened":
            self.not_open(answer, job_id)
        else:
            before = job.processed, job.late
            for second in seconds:
                job.post(second)
            counts = answer.ok(202)
            assert counts["processed_record_count"] == job.processed - before[0]
            assert counts["out_of_order_timestamp_count"] == job.late - before[1]

    @rule(job_id=JOB_IDS, advance=st.none() | st.integers(-HOUR, 3 * HOUR))
    def flush(self, job_id, advance):
        self.touched = job_id
        time = None if advance is None else self.clock + advance
        answer = self.http.post(f"{job_id}/_flush", {} if time is None else {"advance_time": str(time)})
        job = self.jobs.get(job_id)
        if job is None:
            self.not_found(answer, job_id)
        elif job.state != "opened":
            self.not_open(answer, job_id)
        else:
            if time is not None:
                if job.final_end is None:
                    job.final_end = time // HOUR * HOUR
                job.advance(time)
            end = job.flushed_end()
            expected = {"flushed": True} | ({} if end is None else {"last_finalized_bucket_end": end * 1000})
            assert answer.ok() == expected

    @rule(job_id=JOB_IDS, force=st.booleans())
    def close(self, job_id, force):
        self.touched = job_id
        answer = self.http.post(f"{job_id}/_close", force=force)
        job = self.jobs.get(job_id)
        if job is None:
            self.not_found(answer, job_id)
            return
        assert answer.ok() == {"closed": True}
        if job.state == "opened" and not force and job.latest is not None:
            newest = self.http.get(f"{job_id}/model_snapshots", size=1).ok()["model_snapshots"][0]
            assert newest["latest_record_time_stamp"] == job.latest * 1000
            latest_result = max(job.results, default=None)
            assert newest.get("latest_result_time_stamp") == (latest_result and latest_result * 1000)
            job.active = newest["snapshot_id"]
            job.snapshots.append((job.active, job.latest, job.final_end, latest_result, dict(job.events), job.first))
        job.state = "closed"

    @rule(job_id=JOB_IDS, steps=STEPS)
    def take_snapshot(self, job_id, steps):
        self.post(job_id, steps, is_prepared=True)
        self.close(job_id, force=False)

    @rule(job_id=JOB_IDS, text=st.sampled_from(["x", "y", ""]))
    def update(self, job_id, text):
        self.touched = job_id
        answer = self.http.post(f"{job_id}/_update", {"description": text})
        if job_id in self.jobs:
            assert answer.ok()["description"] == text
            self.jobs[job_id].description = text
        else:
            self.not_found(answer, job_id)

    @rule(job_id=JOB_IDS, force=st.booleans())
    def delete(self, job_id, force):
        answer = self.http.delete(job_id, force=force)
        job = self.jobs.get(job_id)
        feed_id = next((feed_id for feed_id, of_job in self.feeds.items() if of_job == job_id), None)
        if job is None:
            self.not_found(answer, job_id)
        elif feed_id is not None:
            reason = f"Cannot delete job [{job_id}] because datafeed [{feed_id}] refers to it"
            assert answer.error == (*CONFLICT, reason)
        elif job.state == "opened" and not force:
            assert answer.error == (*CONFLICT, f"Cannot delete job [{job_id}] because the job is opened")
        else:
            assert answer.ok() == {"acknowledged": True}
            del self.jobs[job_id]

    @rule(feed_id=FEED_IDS, job_id=JOB_IDS)
    def create_datafeed(self, feed_id, job_id):
        answer = self.http.put(f"{FEEDS}/{feed_id}", {"job_id": job_id, "indices": ["air"]})
        other = next((each for each, of_job in self.feeds.items() if of_job == job_id and each != feed_id), None)
        if job_id not in self.jobs:
            self.not_found(answer, job_id)
        elif other is not None:
            assert answer.error == (*CONFLICT, f"A datafeed [{other}] already exists for job [{job_id}]")
        elif feed_id in self.feeds:
            reason = f"A datafeed with id [{feed_id}] already exists"
            assert answer.error == (400, "resource_already_exists_exception", reason)
        else:
            assert answer.ok()["job_id"] == job_id
            self.feeds[feed_id] = job_id

    @rule(feed_id=FEED_IDS, call=st.sampled_from(["start", "stop", "delete"]))
    def call_datafeed(self, feed_id, call):
        """There are no sources, so that none ever runs."""
        path = f"{FEEDS}/{feed_id}"
        answer = self.http.delete(path) if call == "delete" else self.http.post(f"{path}/_{call}")
        job_id = self.feeds.get(feed_id)
        if job_id is None:
            expected = (404, "resource_not_found_exception", f"No datafeed with id [{feed_id}] exists")
            assert answer.error == expected
        elif call == "start":
            state = self.jobs[job_id].state
            reason = f"job [{job_id}] is {state}"
            if state == "opened":
                reason = "it cannot retrieve data because index [air] does not exist"
            assert answer.error == (*CONFLICT, f"cannot start datafeed [{feed_id}] because {reason}")
        elif call == "stop":
            assert answer.ok() == {"stopped": True}
        else:
            assert answer.ok() == {"acknowledged": True}
            del self.feeds[feed_id]

    @precondition(lambda self: any(job.snapshots for job in self.jobs.values()))
    @rule(data=st.data(), deletes=st.just(True))
    def revert(self, data, deletes):
        job_id = data.draw(st.sampled_from(sorted(name for name, job in self.jobs.items() if job.snapshots)))
        job, self.touched = self.jobs[job_id], job_id
        chosen = data.draw(st.sampled_from(job.snapshots))
        snapshot_id, latest, final_end, latest_result, events, first = chosen
        answer = self.http.post(
            f"{job_id}/model_snapshots/{snapshot_id}/_revert", {"delete_intervening_results": deletes}
        )
        if job.state != "closed":
            assert answer.error == (*CONFLICT, "Can only revert to a model snapshot when the job is closed.")
            return
        assert answer.ok()["model"]["snapshot_id"] == snapshot_id
        job.active, job.latest, job.final_end, job.events, job.first = (
            snapshot_id,
            latest,
            final_end,
            dict(events),
            first,
        )
        job.results = {at: n for at, n in job.results.items() if latest_result is not None and at <= latest_result}

    @precondition(lambda self: any(job.snapshots for job in self.jobs.values()))
    @rule(data=st.data())
    def delete_snapshot(self, data):
        job_id = data.draw(st.sampled_from(sorted(name for name, job in self.jobs.items() if job.snapshots)))
        job, self.touched = self.jobs[job_id], job_id
        chosen = data.draw(st.sampled_from(job.snapshots))
        answer = self.http.delete(f"{job_id}/model_snapshots/{chosen[0]}")
        if chosen[0] == job.active:
            assert answer.error[:2] == (400, "illegal_argument_exception")
        else:
            assert answer.ok() == {"acknowledged": True}
            job.snapshots.remove(chosen)

    @invariant()
    def lists_show_what_is_there(self):
        found = self.http.get("_all/_stats").ok()
        assert [(job["job_id"], job["state"]) for job in found["jobs"]] == [
            (job_id, job.state) for job_id, job in sorted(self.jobs.items())
        ]
        for stats in found["jobs"]:
            counts, job = stats["data_counts"], self.jobs[stats["job_id"]]
            assert (counts["processed_record_count"], counts["out_of_order_timestamp_count"]) == (
                job.processed,
                job.late,
            )
            assert counts.get("latest_record_timestamp") == (job.latest and job.latest * 1000)
        feeds = self.http.get(FEEDS).ok()["datafeeds"]
        assert {feed["datafeed_id"]: feed["job_id"] for feed in feeds} == self.feeds

    @invariant()
    def results_and_snapshots_are_those_expected(self):
        job_id, job = self.touched, self.jobs.get(self.touched)
        if job is None:
            return
        if job.state == "opened":
            self.http.post(f"{job_id}/_flush").ok()
            found = self.http.get(f"{job_id}/results/buckets", size=10_000).ok()["buckets"]
            assert {each["timestamp"] // 1000: each["event_count"] for each in found} == job.results
        listed = self.http.get(f"{job_id}/model_snapshots").ok()["model_snapshots"]
        assert sorted(each["snapshot_id"] for each in listed) == sorted(each[0] for each in job.snapshots)
        [resource] = self.http.get(job_id).ok()["jobs"]
        assert resource.get("model_snapshot_id") == job.active
        assert resource.get("description") == job.description


@pytest.fixture
def machine(sqlite_template, tmp_path):
    numbers = count()

    def start():
        return Machine()

    path = tmp_path / f"machine-{next(numbers)}.db"
    shutil.copyfile(sqlite_template, path)
    with serving(f"sqlite:///{path}") as http:
        Machine.http = http
        yield start
    Machine.http = None


def run(machine, n_examples, n_steps):
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=n_examples, stateful_step_count=n_steps, derandomize=True, database=None, deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip


def test_random_sequences_of_calls_are_answered_as_the_contract_foretells(machine):
    run(machine, 8, 20)


@pytest.mark.slow
def test_many_long_sequences_of_calls_are_answered_as_the_contract_foretells(machine):
    run(machine, 40, 50)
