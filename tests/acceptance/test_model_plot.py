"""The model plot of jobs: rows for every series, changed by an update, the same whatever way the records took."""

import json

import pytest

from marigraph import handlers, queries
from marigraph.cli.main import execute
from marigraph.plot_queries import PlotFilter, get_model_plot
from marigraph.verify import verify_job
from tests.support.jobs import CONTEXT, EVERY, DataSet, application, facts, finish, job_body, make_job, post, reopen

START = 1_700_006_400
HOUR = 3_600
PLOT = {"enabled": True}


def data_set(n_buckets=30, **more) -> DataSet:
    seen = [(k, host) for k in range(n_buckets) for host in "ab" if host == "a" or k % 3]
    lines = [f"{START + k * HOUR},{host},{100 + (k * 7) % 5}" for k, host in seen]
    detectors = [
        {"function": "mean", "field_name": "value", "by_field_name": "host"},
        {"function": "count", "partition_field_name": "host"},
    ]
    return DataSet("plot", {**job_body(detectors, "1h"), **more}, "time,host,value", lines)


DATA = data_set(model_plot_config=PLOT)


@pytest.fixture
def app(sqlite_url):
    with application(sqlite_url) as app:
        yield app


def plots(app, **selection):
    return get_model_plot(app, "j", PlotFilter(**selection), EVERY)["model_plots"]


def test_every_bucket_has_the_bounds_of_each_series(app):
    make_job(app, DATA)
    post(app, DATA)
    found = plots(app, start_ms=(START + 24 * HOUR) * 1000, end_ms=(START + 25 * HOUR) * 1000)
    assert [(each["detector_index"], each["model_feature"]) for each in found] == [
        (0, "mean"),
        (0, "mean"),
        (1, "count"),
        (1, "count"),
    ]
    assert list(found[0]) == [
        *("job_id", "result_type", "bucket_span", "detector_index", "timestamp", "by_field_name", "by_field_value"),
        *("model_feature", "model_lower", "model_upper", "model_median", "actual"),
    ]
    assert [each.get("actual") for each in found] == [103.0, None, 1.0, 0.0]
    assert all(each["model_lower"] <= each["model_median"] <= each["model_upper"] for each in found)
    assert (found[2]["partition_field_name"], found[2]["partition_field_value"]) == ("host", "a")


def test_a_job_that_does_not_ask_for_it_has_none(app):
    make_job(app, data_set())
    post(app, data_set())
    assert get_model_plot(app, "j") == {"count": 0, "model_plots": []}


def test_terms_select_what_is_kept_and_filters_what_is_shown(app):
    make_job(app, data_set(model_plot_config={**PLOT, "terms": "b,elsewhere"}))
    post(app, DATA)
    assert {each.get("by_field_value", each.get("partition_field_value")) for each in plots(app)} == {"b"}
    assert {each["detector_index"] for each in plots(app, by="b")} == {0}
    assert {each["detector_index"] for each in plots(app, partition="b")} == {1}
    assert {each["detector_index"] for each in plots(app, detector_index=1)} == {1}
    page = get_model_plot(app, "j", page=queries.Page(1, 2))
    assert page["count"] == len(plots(app))
    assert page["model_plots"] == plots(app)[1:3]


def test_an_update_takes_effect_from_the_next_event_on(app):
    data = data_set()
    make_job(app, data)
    post(app, data, 0, 25)
    handlers.update_job(app, "j", {"model_plot_config": PLOT}, CONTEXT)
    post(app, data, 25, 35)
    handlers.update_job(app, "j", {"model_plot_config": {"enabled": False}}, CONTEXT)
    post(app, data, 35, None)
    starts = sorted({each["timestamp"] // 1000 - START for each in plots(app)})
    assert starts == [k * HOUR for k in range(14, 20)]
    assert verify_job(app, "j").holds


def test_annotations_are_accepted_and_shown(app):
    make_job(app, data_set(model_plot_config={**PLOT, "annotations_enabled": False}))
    [shown] = queries.get_jobs(app, "j")["jobs"]
    assert shown["model_plot_config"] == {"enabled": True, "annotations_enabled": False}


def test_posts_reopenings_and_databases_change_nothing(new_sqlite_url, postgres_url):
    def everything(url, step, *, reopens=False):
        with application(url) as app:
            make_job(app, DATA)
            for start in range(0, len(DATA.lines), step):
                post(app, DATA, start, start + step)
                if reopens:
                    reopen(app)
            finish(app)
            assert verify_job(app, "j").holds
            return facts(app)

    expected = everything(new_sqlite_url(), len(DATA.lines))
    assert expected["model_plot"]
    assert everything(new_sqlite_url(), 7) == expected
    assert everything(new_sqlite_url(), 20, reopens=True) == expected
    assert everything(postgres_url, 11) == expected


def test_deleting_the_job_deletes_its_plot(app):
    make_job(app, DATA)
    post(app, DATA)
    handlers.close_jobs(app, "j", CONTEXT)
    handlers.delete_job(app, "j", CONTEXT)
    make_job(app, DATA)
    assert plots(app) == []


def test_the_command_prints_bounds_and_what_lies_outside(sqlite_url, capsys):
    data = DATA.head(40)
    data.lines.append(f"{START + 25 * HOUR},a,900")
    data.lines.append(f"{START + 27 * HOUR},a,100")
    with application(sqlite_url) as app:
        make_job(app, data)
        post(app, data)
    assert execute(["--db", sqlite_url, "model-plot", "j", "--by", "a", "--all"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "upper" in lines[0]
    [outside] = [line for line in lines if line.endswith("above")]
    assert "2023-11-16 01:00:00" in outside
    assert "host=a" in outside
    assert (
        execute(["--db", sqlite_url, "model-plot", "j", "--start", "2023-11-16T01:00:00Z", "--size", "1", "--json"])
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["count"] == 8
    assert found["model_plots"][0]["actual"] == 900
