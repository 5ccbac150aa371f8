"""A job's life with everything in it that a replay has to repeat, short enough for fast tests."""

from dataclasses import replace

from marigraph import handlers
from tests.support.jobs import CONTEXT, make_job, post, synthetic

DATA = synthetic(1_200, seconds=86_400)
del DATA.body["analysis_config"]["detectors"][2]
DATA.body["analysis_config"]["bucket_span"] = "30m"
START = 1_700_006_400
NAMED = replace(DATA, lines=[line.replace(",s", ",acme-berlin-") for line in DATA.lines])
"""The same records, of series with names that occur nowhere by chance."""
RULE = {"actions": ["skip_result"], "conditions": [{"applies_to": "actual", "operator": "lt", "value": 60}]}


def live(app, data=DATA):
    """A job's life with everything in it that a replay has to repeat."""
    make_job(app, data)
    post(app, data, 0, 350)
    handlers.flush_job(app, "j", {"calc_interim": True}, CONTEXT)
    close_and_open(app)
    post(app, data, 350, 450)
    handlers.post_data(
        app, "j", data.csv(440, 500), CONTEXT, reset=handlers.Reset(1000 * (START + 31_000), 1000 * (START + 33_000))
    )
    handlers.update_job(
        app,
        "j",
        {"detectors": [{"detector_index": 0, "custom_rules": [RULE]}], "renormalization_window_days": 1},
        CONTEXT,
    )
    post(app, data, 500, 650)
    handlers.close_jobs(app, "j", CONTEXT)
    first, second = (each.snapshot_id for each in app.jobs.load("j").snapshots)
    handlers.revert_snapshot(app, "j", first, CONTEXT, delete_intervening_results=True)
    handlers.open_job(app, "j", CONTEXT)
    post(app, data, 350, 700)
    handlers.close_jobs(app, "j", CONTEXT)
    handlers.revert_snapshot(app, "j", second, CONTEXT)
    handlers.open_job(app, "j", CONTEXT)
    post(app, data, 700, 950)
    handlers.flush_job(app, "j", {"skip_time": str(START + 70_000)}, CONTEXT)
    post(app, data, 975, 1_150)
    handlers.flush_job(app, "j", {"advance_time": str(START + 83_500), "calc_interim": True}, CONTEXT)


def close_and_open(app):
    handlers.close_jobs(app, "j", CONTEXT)
    handlers.open_job(app, "j", CONTEXT)
