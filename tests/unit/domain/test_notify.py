"""What a webhook gets, and how far that is: settings that make no sense are refused, places never get lost."""

import pytest

from domain.errors import BadRequest
from domain.notify import (
    NOTIFY_EVENTS,
    Delivered,
    DeliveryFailed,
    Notify,
    NotifyStarted,
    Progress,
    Rewound,
    evolve,
    read_notify,
)
from marigraph.codec import build_codec

URL = "https://example.com/hook"
STARTED = NotifyStarted(created_version=1, job_version=1, timestamp_ms=0)
TAKEN = Delivered(created_version=1, job_version=7, timestamp_ms=900, sequence=3, record_count=4, attempt_count=2)


def after(*events):
    progress = Progress()
    for version, event in enumerate(events, start=1):
        progress = evolve(progress, event, version)
    return progress


def test_a_job_that_asks_for_nothing_gets_nothing():
    assert read_notify(None) is None
    assert read_notify({"other": 1}) is None


def test_settings_have_defaults():
    assert read_notify({"notify": {"url": URL}}) == Notify(URL, 75.0, None)
    assert read_notify({"notify": {"url": URL, "minimum_score": 5, "secret": "ops"}}) == Notify(URL, 5.0, "ops")


@pytest.mark.parametrize(
    "value",
    [
        5,
        {},
        {"url": 5},
        {"url": "ftp://example.com"},
        {"url": "https://"},
        {"url": "https://me:secret@example.com"},
        {"url": "https://example.com/\n"},
        {"url": URL + "x" * 3_000},
        {"url": URL, "minimum_score": 101},
        {"url": URL, "minimum_score": "high"},
        {"url": URL, "secret": "../../etc"},
        {"url": URL, "nonsense": 1},
    ],
)
def test_settings_that_make_no_sense_are_refused(value):
    with pytest.raises(BadRequest, match="custom_settings"):
        read_notify({"notify": value})


def test_a_delivery_moves_the_place_and_a_failure_does_not():
    assert after(STARTED).place == (0, -1)
    assert after(STARTED, TAKEN).place == (900, 3)
    failed = DeliveryFailed(timestamp_ms=1_800, sequence=0, attempt_count=1, reason="away")
    assert after(STARTED, TAKEN, failed).place == (900, 3)


def test_results_taken_back_take_the_place_back_but_never_forward():
    assert after(STARTED, TAKEN, Rewound(job_version=9, timestamp_ms=500)).place == (500, -1)
    assert after(STARTED, TAKEN, Rewound(job_version=9, timestamp_ms=5_000)).place == (900, 3)


def test_events_survive_being_written_and_read():
    codec = build_codec(NOTIFY_EVENTS)
    for event in (STARTED, TAKEN, Rewound(job_version=9, timestamp_ms=500)):
        read = codec.decode(event.type, 1, event.model_dump_json(exclude_defaults=True), is_checked=True)
        assert evolve(Progress(), read, 1) == evolve(Progress(), event, 1)
