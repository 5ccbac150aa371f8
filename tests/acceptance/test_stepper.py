"""Stepping by keys: each key goes where it says, back again, and what is refused is said at the bottom."""

import asyncio

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from marigraph import handlers
from marigraph.cli.stepper import KEYS, Stepper
from marigraph.debugging.debugger import Debugger
from marigraph.debugging.walk import Walk
from tests.support.jobs import CONTEXT, DataSet, application, job_body, make_job, post, synthetic

DETECTORS = [{"function": "mean", "field_name": "value", "by_field_name": "series"}]
DATA = DataSet("hourly", job_body(DETECTORS, "2h"), "time,series,value", synthetic(1_200).lines)


class Wide(DummyOutput):
    def get_size(self):
        return Size(rows=40, columns=140)


@pytest.fixture(scope="module")
def app(new_module_file):
    """A closed job of few events; only to be read."""
    path = new_module_file()
    with application(f"sqlite:///{path}") as app:
        make_job(app, DATA)
        for start in range(0, 1_200, 200):
            post(app, DATA, start, start + 200)
        handlers.close_jobs(app, "j", CONTEXT)
        yield app


def text_of(fragments):
    return "".join(fragment[1] for fragment in fragments)


def pressed(app, keys, version=4):
    """The screen after some keys, with all that was running done; then q is pressed."""

    async def press():
        with create_pipe_input() as pipe, create_app_session(input=pipe, output=Wide()):
            debugger = Debugger(app, "j")
            debugger.go_to(version)
            stepper = Stepper(debugger)
            stepper.walk.begin()
            shown = asyncio.ensure_future(stepper.screen.run_async())
            for key in keys:
                pipe.send_text(key)
                await asyncio.sleep(0.02)
                while stepper._running is not None:
                    await asyncio.sleep(0.01)
            seen = {name: text_of(getattr(stepper, f"_{name}")()) for name in ("title", "events", "chart", "changes")}
            message = stepper.message
            pipe.send_text("q")
            await asyncio.wait_for(shown, 10)
            return stepper, seen, message

    return asyncio.run(press())


def test_events_buckets_and_the_way_back(app):
    stepper, seen, _ = pressed(app, ["n", "n", "p"])
    assert stepper.walk.debugger.version == 5
    assert seen["title"].startswith(" j  version 5 of ")
    assert "     5 data_posted" in seen["events"]
    assert "counts: processed_record_count" in seen["changes"]
    assert stepper.walk.debugger.model.digest() == at_version(app, 5).model.digest()
    stepper, _, _ = pressed(app, ["b", "b", "b"])
    assert stepper.walk.bucket_index == 2
    assert stepper.walk.debugger.version == 5


def at_version(app, version):
    debugger = Debugger(app, "j")
    debugger.go_to(version)
    return debugger


def test_the_next_anomaly_its_chart_and_its_explanation(app):
    stepper, seen, _ = pressed(app, ["a"])
    bucket, record = stepper.walk.record
    assert record.record_score >= 50.0
    assert bucket.timestamp_ms == stepper.walk.bucket.result.timestamp_ms
    assert seen["chart"].startswith(f"mean(value) series={record.by_field_value}: actual")
    assert any(ord(character) > 0x2800 for character in seen["chart"])
    _, seen, _ = pressed(app, ["a", "e"])
    assert seen["changes"].startswith("value for series=")
    assert "spread" in seen["changes"]


def test_until_stops_where_the_condition_holds(app):
    stepper, _, message = pressed(app, ["u", "record_score > 60\r"])
    assert "holds after version" in message
    assert stepper.walk.record[1].record_score > 60
    assert "the condition never held" in pressed(app, ["u", "record_score > 1000\r"])[2]
    assert (
        "did you mean record_score?"
        in pressed(
            app,
            [
                "u",
                "recrd_score > 1\r",
            ],
        )[2]
    )


def test_series_are_picked_and_versions_gone_to(app):
    stepper, seen, _ = pressed(app, ["s", "s3\r", "g", "7\r"])
    assert seen["chart"].startswith("mean(value) series=s3: actual")
    assert stepper.walk.debugger.version == 7
    first, second = (pressed(app, keys)[0].walk.series for keys in (["n"], ["n", "\t"]))
    assert first != second
    assert "no series [nobody]" in pressed(app, ["s", "nobody\r"])[2]
    assert "has the versions 1 to" in pressed(app, ["g", "99\r"])[2]
    assert "[x] is no version" in pressed(app, ["g", "x\r"])[2]


def test_the_ends_of_the_log_are_said(app):
    head = Debugger(app, "j").head
    assert pressed(app, ["n"], version=head)[2] == "the log ends here"
    assert pressed(app, ["p"], version=0)[2] == "this is the beginning"
    assert pressed(app, ["a"], version=head)[2] == "no later anomaly in this log"
    assert pressed(app, ["e"], version=2)[2] == "there is no record at hand"


def test_every_key_that_is_named_does_something(app):
    stepper, _, _ = pressed(app, [])
    bound = {
        key.value if hasattr(key, "value") else key
        for binding in stepper.screen.key_bindings.bindings
        for key in binding.keys
    }
    assert {"c-i" if key == "tab" else key for key, _ in KEYS} <= bound


def test_a_walk_sees_of_each_series_what_the_steps_gave(app):
    debugger = Debugger(app, "j", ["s2"])
    walk = Walk(debugger)
    walk.begin()
    while walk.next_bucket():
        last = walk.seen()[-1:] or [None]
        assert last[0] is None or last[0].timestamp_ms <= walk.bucket.result.timestamp_ms
    every = [point for step in walk.steps for each in step.buckets for point in each.points]
    assert walk.seen() == every
