"""`from marigraph import Marigraph`: the API's operations without HTTP, with the same names and answers."""

import gzip
import io
import json
import subprocess
import sys

import pytest

from domain.errors import Conflict, InvalidArgument, NotFound, UnknownField
from marigraph import Marigraph
from marigraph.operations import Operations
from tests.support.jobs import synthetic, to_ndjson
from tests.support.serving import JOBS, client_of

DATA = synthetic(400)


@pytest.fixture
def ml(sqlite_url):
    with Marigraph(sqlite_url, actor="tester") as ml:
        yield ml


@pytest.fixture
def opened(ml):
    ml.put_job("j", DATA.body)
    ml.open_job("j")
    return ml


def rows():
    return [json.loads(line) for line in to_ndjson(DATA).splitlines()]


def test_a_whole_life(ml):
    assert ml.put_job("j", **DATA.body)["job_id"] == "j"
    assert ml.get_jobs()["count"] == 1
    assert ml.open_job("j")["opened"]
    assert ml.post_data("j", rows())["input_record_count"] == len(DATA.lines)
    assert ml.flush_job("j", calc_interim=True)["flushed"]
    found = ml.get_records("j", record_score=1, size=3, desc=True)
    assert len(found["records"]) == 3 < found["count"]
    [first, *_] = ml.get_buckets("j")["buckets"]
    assert ml.get_buckets("j", first["timestamp"], expand=True)["count"] == 1
    assert ml.get_influencers("j")["count"] > 0
    assert ml.get_overall_buckets("j", top_n=1)["count"] > 0
    assert ml.get_categories("j") == {"count": 0, "categories": []}
    assert ml.update_job("j", groups=["g"])["groups"] == ["g"]
    assert ml.close_job("g") == {"closed": True}
    [snapshot] = ml.get_model_snapshots("j")["model_snapshots"]
    assert ml.update_model_snapshot("j", snapshot["snapshot_id"], retain=True)["model"]["retain"]
    assert ml.revert_model_snapshot("j", snapshot["snapshot_id"])["model"]["snapshot_id"] == snapshot["snapshot_id"]
    assert ml.get_job_stats("j")["jobs"][0]["state"] == "closed"
    assert ml.validate_detector({"function": "count"}) == {"acknowledged": True}
    assert ml.delete_job("j") == {"acknowledged": True}
    events = ml.get_history("j", type="created,deleted")["events"]
    assert [(event["type"], event["actor"]) for event in events] == [("created", "tester"), ("deleted", "tester")]


def test_every_form_of_records_gives_the_same_counts(opened, tmp_path):
    path = tmp_path / "data.csv.gz"
    path.write_bytes(gzip.compress(DATA.csv()))
    forms = [
        DATA.csv(),
        to_ndjson(DATA).decode(),
        to_ndjson(DATA),
        rows(),
        (row for row in rows()),
        path,
        io.BytesIO(DATA.csv()),
        io.StringIO(to_ndjson(DATA).decode()),
    ]
    counts = [opened.post_data("j", form)["input_record_count"] for form in forms]
    assert counts == [len(DATA.lines)] * len(forms)


def test_one_record_is_a_mapping(opened):
    assert opened.post_data("j", rows()[0])["processed_record_count"] == 1


def test_what_holds_no_records_is_refused(opened):
    with pytest.raises(InvalidArgument, match="records must be text, bytes"):
        opened.post_data("j", 5)


def test_refusals_are_the_api_s(ml):
    ml.put_job("j", DATA.body)
    with pytest.raises(NotFound, match="No known job with id 'nope'"):
        ml.get_records("nope")
    with pytest.raises(Conflict, match="is not open"):
        ml.post_data("j", rows())
    with pytest.raises(InvalidArgument, match="contains unrecognized parameter"):
        ml.get_records("j", record_scores=5)
    with pytest.raises(UnknownField):
        ml.put_job("k", DATA.body, nonsense=1)


def test_jobs_stay_open_and_go_on_in_the_next_process(sqlite_url):
    with Marigraph(sqlite_url) as ml:
        ml.put_job("j", DATA.body)
        ml.open_job("j")
        ml.post_data("j", rows()[:200])
    with Marigraph(sqlite_url) as ml:
        ml.post_data("j", rows()[200:])
        assert ml.get_job_stats("j")["jobs"][0]["data_counts"]["input_record_count"] == len(DATA.lines)


def test_answers_are_those_of_the_http_api(ml, new_sqlite_url):
    with client_of(new_sqlite_url()) as client:
        for put in (lambda: client.put(f"{JOBS}/j", json=DATA.body), lambda: ml.put_job("j", DATA.body)):
            put()
        client.post(f"{JOBS}/j/_open")
        ml.open_job("j")
        over_http = client.post(f"{JOBS}/j/_data", content=DATA.csv(), headers={"Content-Type": "text/csv"}).json()
        direct = ml.post_data("j", DATA.csv())
        assert {**over_http, "last_data_time": 0} == {**direct, "last_data_time": 0}
        assert client.post(f"{JOBS}/j/_flush").json() == ml.flush_job("j")
        assert client.get(f"{JOBS}/j/results/records?size=50").json() == ml.get_records("j", size=50)
        assert client.get(f"{JOBS}/j/results/influencers").json() == ml.get_influencers("j")


def test_importing_the_package_loads_nothing_heavy():
    code = "import marigraph, sys; print([name for name in ('numpy', 'sqlalchemy', 'pydantic') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_library_needs_no_web_framework():
    code = "import sys; from marigraph import Marigraph; print([n for n in ('fastapi', 'uvicorn') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_every_public_method_is_documented():
    methods = [name for name in dir(Operations) if not name.startswith("_")]
    assert [name for name in methods if not getattr(Operations, name).__doc__] == []
