"""What-if: the log under another configuration gives what a job of that configuration would have made of it."""

import json
from contextlib import ExitStack, suppress
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import MetaData, select

from domain.errors import BadRequest, InvalidArgument
from marigraph.bundles.creating import Wish, create_bundle
from marigraph.bundles.replaying import replay_bundle
from marigraph.cli.main import execute
from marigraph.replay import CannotReplay
from marigraph.scratch import digest_tables
from marigraph.whatif import runs
from marigraph.whatif.changes import Changes
from marigraph.whatif.report import compare_runs, what_if
from marigraph.whatif.trial import Window
from tests.support.jobs import DataSet, application, digest, farequote, job_body, make_job, post, reopen
from tests.support.one_life import DATA, RULE, START, live


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """A database with such a job, only to be read."""
    path = tmp_path_factory.mktemp("whatif") / "marigraph.db"
    with application(str(path)) as app:
        live(app)
        yield app


@pytest.fixture
def kept_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def database_digest(app) -> dict[str, str]:
    """The rows of every table there is, but for leases and checkpoints."""
    metadata = MetaData()
    with app.store.reading() as connection:
        metadata.reflect(connection)
        return {
            table.name: sha256(repr(connection.execute(select(table)).all()).encode()).hexdigest()
            for table in metadata.sorted_tables
            if table.name not in ("leases", "checkpoints")
        }


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_without_a_change_it_gives_the_job_to_the_last_bit(request, kind):
    with ExitStack() as stack:
        if kind == "sqlite":
            app = request.getfixturevalue("lived")
        else:
            app = stack.enter_context(application(request.getfixturevalue("postgres_url")))
            live(app)
        report = what_if(app, "j", Changes())
    assert report.is_equal
    assert report.is_state_equal
    assert report.run.results["buckets"].row_count > 40
    assert report.difference.changes == []


@pytest.mark.slow
def test_without_a_change_it_gives_a_whole_file_to_the_last_bit(sqlite_url, test_data):
    data = farequote(test_data)
    with application(sqlite_url) as app:
        make_job(app, data)
        for start in range(0, len(data.lines), 20_000):
            post(app, data, start, start + 20_000)
            reopen(app)
        report = what_if(app, "j", Changes())
    assert report.is_equal
    assert report.is_state_equal
    assert report.difference.before.severities["critical"] == 1


def test_a_job_that_has_seen_nothing_can_be_asked(sqlite_url):
    with application(sqlite_url) as app:
        make_job(app, DATA, is_open=False)
        report = what_if(app, "j", Changes.read(["analysis_config.bucket_span=15m"]))
    assert report.run.cost.record_count == 0
    assert report.difference.changes == []


def test_it_reaches_as_far_as_the_results_of_the_job(sqlite_url):
    with application(sqlite_url) as owner, application(sqlite_url) as other:
        make_job(owner, DATA)
        post(owner, DATA, 0, 300)
        post(other, DATA, 300, 600)  # stored, and left for the owner to analyse
        report = what_if(other, "j", Changes())
        assert report.is_equal
        assert report.run.cost.record_count == 300
        assert "1 events after it are not analysed yet" in report.run.notes[0]
        with TemporaryDirectory() as folder:
            made = create_bundle(other, "j", Path(folder) / "b.db", Wish(redact=("series",)))
            assert replay_bundle(made.path).is_equal


def test_the_job_is_only_read(lived):
    before = database_digest(lived)
    what_if(lived, "j", Changes.read(["analysis_config.bucket_span=1h"]))
    assert database_digest(lived) == before


@pytest.mark.parametrize(
    "settings",
    [
        ["analysis_config.bucket_span=1h", "analysis_config.detectors[0].function=max", "analysis_config.latency=null"],
        pytest.param(["analysis_config.influencers=[]", "model_plot_config.enabled=true"], marks=pytest.mark.slow),
    ],
)
def test_it_gives_what_a_job_of_that_configuration_makes_of_the_same_commands(lived, new_sqlite_url, settings):
    changes = Changes.read(settings)
    report = what_if(lived, "j", changes)
    assert not report.is_equal
    with application(new_sqlite_url()) as app:
        live(app, DataSet("changed", changed_body(DATA.body, settings), DATA.header, DATA.lines))
        with app.store.reading() as connection:
            assert digest_tables(connection, "j") == report.run.results
        assert digest(app) == report.run.state_digest


def changed_body(body, settings):
    """Apply settings to the body of a request, by hand."""
    changed = json.loads(json.dumps(body))
    for setting in settings:
        path, _, value = setting.partition("=")
        *way, last = path.replace("[0]", ".0").split(".")
        inner = changed
        for step in way:
            inner = inner[int(step)] if step.isdigit() else inner.setdefault(step, {})
        with suppress(ValueError):
            value = json.loads(value)
        if value is None:
            inner.pop(last)
        else:
            inner[last] = value
    return changed


def test_a_part_is_replayed_from_the_state_before_it(lived):
    boundary = 1000 * (START + 50_000)
    report = what_if(lived, "j", Changes(), window=Window(boundary))
    assert report.is_equal
    assert report.is_state_equal
    assert report.run.from_version > 5
    assert "model state" in report.run.notes[0]
    limited = what_if(lived, "j", Changes(), window=Window(boundary, boundary + 3_600_000))
    assert limited.is_equal
    assert limited.difference.before.bucket_count == 2


def test_a_rule_is_tried_from_a_state_and_a_bucket_span_from_the_beginning(lived):
    window = Window(1000 * (START + 50_000))
    rule = "analysis_config.detectors[1].custom_rules=" + json.dumps([RULE])
    assert what_if(lived, "j", Changes.read([rule]), window=window).run.from_version > 5
    assert what_if(lived, "j", Changes.read(["analysis_config.bucket_span=1h"]), window=window).run.from_version == 1


def test_where_records_are_no_longer_kept_it_begins_behind_them(sqlite_url):
    with application(sqlite_url) as app:
        live(app)
        posted = [each for each in app.store.iter_stream("job-j") if each.payload_digest is not None]
        app.store.delete_payloads("job-j", [posted[0].payload_digest])
        unchanged = what_if(app, "j", Changes())
        assert unchanged.is_equal
        assert unchanged.is_state_equal
        assert "model state" in unchanged.run.notes[0]
        app.store.delete_payloads("job-j", [each.payload_digest for each in posted[:5]])
        with pytest.raises(CannotReplay, match="no state of that version"):
            what_if(app, "j", Changes.read(["analysis_config.bucket_span=15m"]))


def test_without_a_state_it_begins_with_an_empty_model(sqlite_url):
    with application(sqlite_url) as app:
        make_job(app, DATA)
        post(app, DATA, 0, 600)
        post(app, DATA, 600)
        first = next(each for each in app.store.iter_stream("job-j") if each.payload_digest is not None)
        app.store.delete_payloads("job-j", [first.payload_digest])
        report = what_if(app, "j", Changes.read(["analysis_config.bucket_span=15m"]))
        assert "young model" in report.run.notes[0]
        assert report.run.cost.record_count == 600
        assert report.difference.after.bucket_count > report.difference.before.bucket_count > 10


def test_texts_that_are_numbers_can_be_measured(new_sqlite_url):
    lines = [f"{START + 60 * n},{100 + n % 7},{n % 3}" for n in range(400)]
    detectors = [{"function": "count", "by_field_name": "code"}]
    data = DataSet("codes", job_body(detectors, "5m"), "time,code,other", lines)
    measured = [{"function": "mean", "field_name": "code"}]
    with application(new_sqlite_url()) as app, application(new_sqlite_url()) as other:
        make_job(app, data)
        post(app, data)
        setting = "analysis_config.detectors=" + json.dumps(measured)
        found = what_if(app, "j", Changes.read([setting])).run
        numbers = DataSet("numbers", job_body(measured, "5m"), data.header, lines)
        make_job(other, numbers)
        post(other, numbers)
        assert found.results == what_if(other, "j", Changes()).run.results
        with pytest.raises(InvalidArgument, match=r"reads \[other\] as number.*they hold \[code\] as text"):
            what_if(app, "j", Changes.read([setting.replace("code", "other")]))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (["analysis_config.detectors[0].function=mode"], BadRequest, "Unknown function 'mode'"),
        (["analysis_config.bucket_span=soon"], Exception, "bucket_span"),
        (["analysis_config.bucket_spin=5m"], Exception, "bucket_spin"),
        (["data_description.time_format=epoch_ms"], InvalidArgument, "how posted data are read"),
        (["description=new"], InvalidArgument, "does not reach the analysis"),
        (["analysis_config.detectors[7].function=max"], InvalidArgument, "has 2 entries"),
        (["analysis_config.bucket_span.unit=m"], InvalidArgument, "a plain value"),
        (["analysis_config.detectors=[{]"], Exception, "no JSON"),
        (["bucket_span"], InvalidArgument, "PATH=VALUE"),
        (["=1"], InvalidArgument, "PATH=VALUE"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_replayed(lived, settings, error, message):
    with pytest.raises(error, match=message):
        what_if(lived, "j", Changes.read(settings))


def test_runs_are_kept_compared_and_deleted(lived, kept_runs, capsys):
    for name, span in (("fine", "2h"), ("coarse", "12h")):
        what_if(lived, "j", Changes.read([f"analysis_config.bucket_span={span}"]), name=name)
    assert {run.name for run in runs.kept_runs()} == {"fine", "coarse"}
    report = compare_runs("fine", "coarse")
    assert report.difference.before.bucket_count > 5 * report.difference.after.bucket_count
    same = compare_runs("fine", "fine")
    assert same.is_equal
    assert not same.difference.changes
    assert execute(["whatif", "--list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["count"] == 2
    assert execute(["whatif", "--compare", "fine", "coarse"]) == 0
    assert "moved" in capsys.readouterr().out
    assert execute(["whatif", "--delete", "fine"]) == 0
    assert execute(["whatif", "--compare", "fine", "coarse"]) == 2
    assert "there is no what-if [fine]" in capsys.readouterr().err
    assert execute(["whatif", "--delete", "../fine"]) == 2


def test_a_file_that_is_no_run_is_refused_in_a_line(kept_runs, capsys):
    runs.folder().mkdir(parents=True)
    (runs.folder() / "odd.db").write_bytes(b"nothing")
    assert execute(["whatif", "--compare", "odd", "odd"]) == 2
    assert "no file of a what-if" in capsys.readouterr().err
    assert runs.kept_runs() == []
