"""Audit queries over jobs that did everything: in Python, on the command line and over HTTP, on both databases."""

import csv
import io
import json
from contextlib import closing
from itertools import pairwise

import pytest

from domain.errors import DomainError
from marigraph.audit.events import differences
from marigraph.audit.scope import Asked
from marigraph.audit.sessions import list_gaps
from marigraph.cli.main import execute
from marigraph.library import Marigraph
from marigraph.remote import RemoteMarigraph
from marigraph.settings import Credentials
from tests.support.serving import client_of

START = 1_700_006_400_000
SPAN = 60_000
CONFIG = {
    "analysis_config": {
        "bucket_span": "1m",
        "detectors": [{"function": "mean", "field_name": "value", "by_field_name": "page"}],
        "latency": "2m",
    },
    "data_description": {},
}


def records(first, n=24, pages=("home", "cart")):
    """Four records a minute, of two pages in turn."""
    return [
        {"time": START + (first + index) * 15_000, "page": pages[index % 2], "value": 1.0 + index % 5}
        for index in range(n)
    ]


def live(ml):
    """Two jobs with a life; one that was deleted and made again."""
    ml.put_job("web", CONFIG)
    ml.open_job("web")
    ml.post_data("web", records(0))
    ml.post_data("web", [*records(24), *records(0, 2), {"time": "never", "page": "home", "value": 1}])
    ml.flush_job("web", calc_interim=True)
    ml.close_job("web")
    ml.update_job("web", description="shop", analysis_limits={"model_memory_limit": "32mb"})
    ml.open_job("web")
    ml.post_data("web", records(48))
    ml.update_job("web", groups=["shop"])
    ml.close_job("web", force=True)
    ml.put_job("old", CONFIG)
    ml.open_job("old")
    ml.post_data("old", records(0, 8))
    ml.delete_job("old", force=True)
    ml.put_job("old", CONFIG)


@pytest.fixture(scope="module")
def ml(module_database_url):
    with Marigraph(module_database_url, actor="ann") as ml:
        live(ml)
        ml.url = module_database_url
        yield ml


def types(found):
    return [each["type"] for each in found["events"]]


# ------------------------------------------------------------------------------------------------------------ history


def test_the_history_of_all_jobs_is_in_order_and_says_whose_it_is(ml):
    found = ml.audit_history()
    assert [each["position"] for each in found["events"]] == sorted(each["position"] for each in found["events"])
    assert {each["job_id"] for each in found["events"]} == {"web", "old"}
    assert {each["actor"] for each in found["events"]} == {"ann"}
    of_one = [each for each in found["events"] if each["job_id"] == "web"]
    assert of_one == ml.audit_history("web")["events"]
    assert [{**each, "job_id": "web"} for each in ml.get_history("web", size=1000)["events"]] == of_one


@pytest.mark.parametrize("about", [None, "web", "web,old", "w*,o*"])
@pytest.mark.parametrize("wanted", [{}, {"type": "opened,closed,deleted"}, {"type": "data_posted"}])
@pytest.mark.parametrize("desc", [False, True])
def test_pages_join_to_the_whole_list(ml, about, wanted, desc):
    whole = ml.audit_history(about, **wanted, desc=desc)
    assert "next" not in whole
    assert whole["count"] > 2
    paged = list(ml.pages("audit_history", {"job_id": about}, {**wanted, "size": 2, "desc": desc}))
    assert len(paged) > 1
    assert [event for page in paged for event in page["events"]] == whole["events"]
    positions = [event["position"] for event in whole["events"]]
    assert positions == sorted(positions, reverse=desc)


def test_a_history_is_filtered_by_type_actor_request_time_and_version(ml):
    every = ml.audit_history("web")["events"]
    assert types(ml.audit_history("web", type="closed")) == ["closed", "closed"]
    assert ml.audit_history("web", actor="bob")["count"] == 0
    third = every[2]
    assert [each["version"] for each in ml.audit_history(request_id=third["request_id"])["events"]] == [3]
    assert ml.audit_history("web", after_version=2, to_version=3)["events"] == [third]
    later = [each for each in every if each["recorded_at"] >= third["recorded_at"]]
    assert ml.audit_history("web", start=third["recorded_at"])["events"] == later
    assert ml.audit_history(start=third["recorded_at"], end=third["recorded_at"] + 1)["events"][0]["job_id"] == "web"
    earlier = [each for each in every if each["recorded_at"] < third["recorded_at"]]
    assert ml.audit_history("web", end=third["recorded_at"])["events"] == earlier


def test_a_stretch_without_matches_says_where_to_go_on(ml, monkeypatch):
    monkeypatch.setattr("marigraph.audit.scope.POSITIONS_MAX", 4)
    paged = list(ml.pages("audit_history", {}, {"actor": "bob"}))
    assert len(paged) > 4
    assert all(page["count"] == 0 for page in paged)
    assert "next" not in paged[-1]
    for desc in (False, True):
        whole = list(ml.pages("audit_history", {}, {"desc": desc}))
        assert sum(page["count"] for page in whole) == ml.application.store.read_all()[-1].position


@pytest.mark.parametrize(
    ("noun", "job_id", "parameters", "words"),
    [
        ("history", "nobody", {}, "No known job with id 'nobody'"),
        ("history", None, {"size": 0}, "size must be between 1 and 10000"),
        ("history", None, {"size": 10_001}, "size must be between 1 and 10000"),
        ("history", None, {"after": "x"}, r"after must be the \[next\]"),
        ("history", "web", {"after": "1.2"}, r"after must be the \[next\]"),
        ("history", "web", {"after": "9" * 30}, r"after must be the \[next\]"),
        ("history", None, {"to_version": 3}, "name one job"),
        ("history", None, {"start": "yesterday?"}, "yesterday"),
        ("sessions", None, {"ending": "badly"}, "ending must be one of"),
        ("gaps", None, {"after": "x.web"}, r"after must be the \[next\]"),
        ("state", "web", {"version": 99}, "one of 0 to"),
        ("state", "web", {"version": 1, "at": "now"}, "a time or a version"),
        ("state", None, {"version": 1}, "name one job"),
        ("lineage", "web", {"bucket": True}, "give a timestamp"),
        ("lineage", "web", {"rank": 10_000}, "no such record"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_one_line(ml, noun, job_id, parameters, words):
    with pytest.raises(DomainError, match=words) as caught:
        ml.perform(f"audit_{noun}", {"job_id": job_id}, parameters)
    assert "\n" not in str(caught.value)


# ----------------------------------------------------------------------------------------------------------- sessions


def test_sessions_say_what_came_and_how_they_ended(ml):
    first, second, gone = ml.audit_sessions()["sessions"]
    assert (first["job_id"], first["ending"], first["opened_by"]) == ("web", "closed", "ann")
    assert (first["post_count"], first["record_count"], first["flush_count"]) == (2, 51, 1)
    assert (first["out_of_order_timestamp_count"], first["invalid_date_count"]) == (2, 1)
    assert first["duration_seconds"] == pytest.approx((first["ended_at"] - first["opened_at"]) / 1000, abs=0.002)
    assert (second["ending"], second["record_count"]) == ("force_closed", 24)
    assert (gone["job_id"], gone["ending"], gone["record_count"]) == ("old", "deleted", 8)
    assert ml.audit_sessions("web", ending="force_closed")["sessions"] == [second]


def test_sums_of_sessions_are_those_of_the_view(ml):
    names = ("post_count", "record_count", "flush_count", "out_of_order_timestamp_count", "invalid_date_count")
    with ml.application.store.reading() as connection:
        query = f"SELECT {', '.join(names)} FROM audit_job_sessions ORDER BY opened_position"
        told = connection.exec_driver_sql(query).all()
    assert [tuple(each[name] for name in names) for each in ml.audit_sessions()["sessions"]] == [*map(tuple, told)]


def test_an_open_job_has_a_session_that_lasts(ml):
    ml.open_job("old")
    [*_, open_one] = ml.audit_sessions("old")["sessions"]
    assert open_one["ending"] == "open"
    assert "ended_at" not in open_one
    [gap] = ml.audit_gaps("old", longer_than="1ms", start=open_one["opened_at"])["gaps"][-1:]
    assert "ended_by" not in gap
    ml.close_job("old")
    assert ml.audit_sessions("old", ending="open")["count"] == 0


def test_failures_are_what_was_forced(ml):
    kinds = [(each["job_id"], each["kind"]) for each in ml.audit_failures()["failures"]]
    assert kinds == [("web", "force_closed"), ("old", "force_deleted")]


def test_gaps_lie_between_what_was_heard(ml):
    heard = ("opened", "data_posted", "closed", "failed", "deleted")
    events = [each for each in ml.audit_history("web")["events"] if each["type"] in heard]
    pairs = [(one, two) for one, two in pairwise(events) if two["type"] != "opened"]
    found = list_gaps(ml.application, Asked("web"), seconds_min=1e-6)["gaps"]
    borders = [(one["recorded_at"], two["recorded_at"]) for one, two in pairs]
    assert [(gap["start"], gap["end"]) for gap in found] == borders
    assert ml.audit_gaps("web", longer_than="1h")["count"] == 0
    paged = list(ml.pages("audit_gaps", {}, {"longer_than": "1ms", "size": 2}))
    assert [gap for page in paged for gap in page["gaps"]] == ml.audit_gaps(longer_than="1ms")["gaps"]
    longest = max(found, key=lambda gap: gap["duration_seconds"])
    limit = int(longest["duration_seconds"] * 1000)
    assert longest in ml.audit_gaps("web", longer_than=f"{limit}ms")["gaps"]
    assert longest not in ml.audit_gaps("web", longer_than=f"{limit + 1}ms")["gaps"]


def test_refusals_say_how_many_and_why(ml):
    for about in (None, "web"):
        [refused] = ml.audit_refusals(about)["refusals"]
        assert (refused["out_of_order_timestamp_count"], refused["invalid_date_count"]) == (2, 1)
        assert refused["version"] == 4


# ------------------------------------------------------------------------------------------------------------ changes


def test_changes_are_told_field_by_field(ml):
    first, second = ml.audit_changes("web")["changes"]
    assert {each["field"]: (each["from"], each["to"]) for each in first["changes"]} == {
        "description": (None, "shop"),
        "analysis_limits.model_memory_limit_mib": (1024, 32),
    }
    assert second["changes"] == [{"field": "groups", "from": [], "to": ["shop"]}]
    assert first["actor"] == "ann"
    [limits] = ml.audit_changes(field="analysis_limits")["changes"]
    assert [each["field"] for each in limits["changes"]] == ["analysis_limits.model_memory_limit_mib"]


def test_differences_go_into_lists_of_objects():
    old = {"detectors": [{"rules": [], "name": "a"}], "tags": ["x"]}
    new = {"detectors": [{"rules": [{"action": "skip"}], "name": "a"}], "tags": ["x", "y"]}
    assert differences(old, new) == [
        {"field": "detectors[0].rules", "from": [], "to": None},
        {"field": "detectors[0].rules[0].action", "from": None, "to": "skip"},
        {"field": "tags", "from": ["x"], "to": ["x", "y"]},
    ]


# -------------------------------------------------------------------------------------------------------------- as of


def test_a_job_is_shown_as_of_any_version_and_time(ml):
    app = ml.application
    for event in ml.audit_history("web")["events"]:
        [state] = ml.audit_state("web", version=event["version"])["jobs"]
        job = app.jobs.replay("web", event["version"])
        assert state["state"] == job.state
        assert state["data_counts"] == job.data_counts.resource("web")
        assert [each["snapshot_id"] for each in state["snapshots"]] == [each.snapshot_id for each in job.snapshots]
        [then] = ml.audit_state("web", at=event["recorded_at"])["jobs"]
        assert then["version"] >= event["version"]
        assert then["recorded_at"] == event["recorded_at"]
    assert ml.audit_state("web", version=0)["jobs"] == [
        {"job_id": "web", "version": 0, "head_version": ml.audit_history("web")["count"], "state": "absent"}
    ]


def test_all_jobs_are_shown_as_of_a_time_the_deleted_ones_too(ml):
    [deleted] = ml.audit_history("old", type="deleted")["events"]
    before = ml.audit_state(at=deleted["recorded_at"] - 1)["jobs"]
    assert [(each["job_id"], each["state"]) for each in before] == [("old", "opened"), ("web", "closed")]
    [created] = ml.audit_history("web", type="created")["events"]
    assert [each["job_id"] for each in ml.audit_state(at=created["recorded_at"])["jobs"]] == ["web"]
    paged = list(ml.pages("audit_state", {}, {"size": 1}))
    assert [each["job_id"] for page in paged for each in page["jobs"]] == ["old", "web"]


def test_snapshots_say_which_events_they_cover(ml):
    [snapshot] = ml.audit_snapshots()["snapshots"]
    assert (snapshot["job_id"], snapshot["first_version"], snapshot["last_version"]) == ("web", 1, 5)
    assert snapshot["state_bytes"] > 0
    [told] = ml.audit_snapshots("web", snapshot_id=snapshot["snapshot_id"])["snapshots"]
    assert (told["covers"]["post_count"], told["covers"]["record_count"]) == (2, 51)


# ------------------------------------------------------------------------------------------------------------ lineage


def test_a_bucket_is_traced_to_its_posts_and_rows(ml):
    found = ml.audit_lineage("web", timestamp=START + 6 * SPAN, bucket=True, records=True)
    assert found["record_count"] == 4
    [post] = found["posts"]
    [event] = ml.audit_history("web", after_version=3, to_version=4)["events"]
    assert (post["version"], post["actor"], post["request_id"]) == (4, "ann", event["request_id"])
    assert post["rows"] == [[0, 3]]
    assert [each["time"] for each in post["records"]] == [START + 6 * SPAN + step * 15_000 for step in range(4)]
    assert {each["page"] for each in post["records"]} == {"home", "cart"}


def test_every_bucket_has_the_records_it_counted(ml):
    for bucket in ml.get_buckets("web", size=1000, exclude_interim=True)["buckets"]:
        found = ml.audit_lineage("web", timestamp=bucket["timestamp"], bucket=True)
        assert found["record_count"] == bucket["event_count"], bucket["timestamp"]


def test_a_record_is_traced_to_the_rows_of_its_series(ml):
    ml.open_job("web")
    odd = [{"time": START + 45 * SPAN + step * 20_000, "page": "cart", "value": 500.0} for step in range(2)]
    usual = [{"time": START + 45 * SPAN + 5_000, "page": "home", "value": 2.0}]
    late = [{"time": START + 50 * SPAN, "page": "home", "value": 2.0}]
    steady = [row for first in range(72, 160, 24) for row in records(first)]
    ml.post_data("web", steady)
    ml.post_data("web", [odd[0], *usual, odd[1], *late])
    ml.close_job("web")
    found = ml.audit_lineage("web", timestamp=START + 45 * SPAN, by="cart", records=True)
    assert found["record"]["by_field_value"] == "cart"
    [post] = found["posts"]
    assert post["rows"] == [[0, 0], [2, 2]]
    assert [each["value"] for each in post["records"]] == [500.0, 500.0]
    whole = ml.audit_lineage("web", timestamp=START + 45 * SPAN, bucket=True)
    assert whole["posts"][0]["rows"] == [[0, 2]]


def test_posts_whose_records_are_gone_are_named_all_the_same(sqlite_url):
    with Marigraph(sqlite_url) as ml:
        live(ml)
        ml.application.store.delete_payloads("job-web")
        [post] = ml.audit_lineage("web", timestamp=START + 6 * SPAN, bucket=True)["posts"]
        assert (post["version"], post["is_payload_kept"]) == (4, False)
        assert "rows" not in post


# ----------------------------------------------------------------------------------------- command line, server, views


@pytest.fixture
def cli(ml, capsys):
    def run(*arguments):
        code = execute(["--db", ml.url, "audit", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return run


LISTS = {
    "history": "events",
    "failures": "failures",
    "changes": "changes",
    "posts": "posts",
    "searches": "searches",
    "access": "events",
    "sessions": "sessions",
    "gaps": "gaps",
    "refusals": "refusals",
    "state": "jobs",
    "snapshots": "snapshots",
}


@pytest.mark.parametrize("noun", LISTS)
def test_each_list_is_a_table_json_and_csv(cli, ml, noun):
    code, out, err = cli(noun, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found == ml.perform(f"audit_{noun}", {}, {}) or noun in ("gaps", "sessions")
    code, out, _ = cli(noun)
    assert code == 0
    assert len(out.splitlines()) >= 1 + found["count"]
    code, out, _ = cli(noun, "--csv", "--all")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len(rows) >= found["count"]
    if noun == "history":
        assert all(row["recorded_at"].endswith("Z") for row in rows)


def test_one_state_and_one_origin_are_shown_in_full(cli):
    code, out, _ = cli("state", "web", "--version", 4)
    assert code == 0
    assert "data_counts.processed_record_count" in out
    code, out, err = cli("lineage", "web", "--timestamp", START + 6 * SPAN, "--bucket")
    assert code == 0
    assert "0-3" in out
    assert "4 records in 1 posts" in err


def test_a_page_of_the_command_line_says_how_to_go_on(cli, ml):
    code, out, err = cli("history", "--size", 2)
    assert code == 0
    assert len(out.splitlines()) == 3
    assert "--after 2" in err
    code, out, _ = cli("history", "--all", "--json")
    assert json.loads(out)["count"] == ml.audit_history()["count"]


def test_errors_of_the_command_line_are_one_line(cli):
    code, out, err = cli("history", "nobody")
    assert (code, out) == (2, "")
    assert err == "marigraph: No known job with id 'nobody'\n"


@pytest.fixture(scope="module")
def server(ml):
    with client_of(ml.url) as client:
        yield client


@pytest.mark.parametrize("noun", sorted({*LISTS, "lineage"} - {"gaps", "sessions"}))
def test_a_server_answers_as_the_library_does(ml, server, noun):
    path = {"job_id": "web"} if noun not in ("access", "searches") else {}
    parameters = {"timestamp": START + 6 * SPAN, "bucket": True} if noun == "lineage" else {}
    with closing(RemoteMarigraph(str(server.base_url), Credentials(None, None, None), "r")) as remote:
        assert remote.perform(f"audit_{noun}", path, parameters) == ml.perform(f"audit_{noun}", path, parameters)


def test_pages_are_bounded_over_http_too(ml, server):
    answer = server.get("/_audit/history?size=10001")
    assert answer.status_code == 400
    assert "size must be between 1 and 10000" in answer.json()["error"]["reason"]
    first = server.get("/_audit/history/web?size=2").json()
    second = server.get(f"/_audit/history/web?size=2&after={first['next']}").json()
    assert [each["version"] for each in (*first["events"], *second["events"])] == [1, 2, 3, 4]
    assert server.get("/_audit/history/nobody").status_code == 404
    assert server.get("/_audit/history?from=3").status_code == 400
