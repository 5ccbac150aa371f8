"""The OpenAPI document against the server: generated requests end in no error of the server and in no other status.

What fits the document and what does not is generated for each operation, from a fixed seed.
"""

import json
from pathlib import PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode, openapi

from marigraph.api.endpoints import all_endpoints
from marigraph.api.web import make_app
from tests.support.http import FIRST

DOCUMENT = make_app(None).openapi()
OPERATIONS = {found.ok().label: found.ok() for found in openapi.from_dict(DOCUMENT).get_all_operations()}
EXAMPLES, MANY = 4, 100
JOB_IDS = ("fuzz-open", "fuzz-closed", "fuzz-*")


@pytest.fixture(scope="module")
def jobs(http):
    """Jobs that some of the generated calls are about; they may be gone, and are made anew."""
    for job_id in JOB_IDS[:2]:
        http.put(job_id, {"analysis_config": {"detectors": [{"function": "count"}]}, "data_description": {}}).ok()
        http.post(f"{job_id}/_open").ok()
        http.post(f"{job_id}/_data", f'{{"time": {FIRST * 1000}}}{{"time": {(FIRST + 900) * 1000}}}').ok(202)
    http.post("fuzz-closed/_close").ok()


def send(http, case):
    """Send a generated request as it is, without asking whether it makes sense."""
    sent = case.as_transport_kwargs(base_url="http://testserver")
    headers = {
        name: value for name, value in sent["headers"].items() if value.isascii() and value.isprintable()
    }  # what no client library sends is not sent here either
    body = json.dumps(sent["json"]) if "json" in sent else sent.get("data")
    if isinstance(body, dict | list):
        body = str(body)
    return http.raw(sent["method"], sent["url"], body, headers, sent.get("params"))


def is_absent(operation):
    return "501" in operation.definition.raw["responses"]


def requests_of(operation):
    """Requests that fit the document, and others where something can be wrong: a parameter or a body."""
    fitting = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    if is_absent(operation) or not (len(operation.query) or len(operation.body)):
        return fitting
    return fitting | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)


@pytest.mark.parametrize("examples", [EXAMPLES, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.parametrize("label", OPERATIONS)
def test_generated_requests_end_as_the_document_says(http, jobs, label, examples):
    operation = OPERATIONS[label]
    documented = {int(status) for status in operation.definition.raw["responses"]}
    absent = is_absent(operation)

    @given(case=requests_of(operation), job_id=st.sampled_from((*JOB_IDS, None, None)))
    @settings(max_examples=1 if absent else examples, derandomize=True, database=None, deadline=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    def check(case, job_id):
        if job_id is not None and "job_id" in (case.path_parameters or {}):
            case.path_parameters["job_id"] = job_id
        answer = send(http, case)
        assert answer.status < 500 or (absent and answer.status == 501), (case, answer.text)
        if routed(case):
            assert answer.status in documented, (case, answer.text)

    check()


def routed(case):
    """Whether a request reaches its operation; a slash or a dot in a path parameter leads elsewhere."""
    values = [str(value) for value in (case.path_parameters or {}).values()]
    return all(value and "/" not in value and PurePosixPath(value).name == value and ".." not in value
               and not value.startswith("_") and "%2F" not in value for value in values)  # fmt: skip


def test_every_endpoint_is_in_the_document_and_every_operation_has_its_own_name():
    names = [operation["operationId"] for path in DOCUMENT["paths"].values() for operation in path.values()]
    assert len(set(names)) == len(names)
    assert {endpoint.summary for endpoint in all_endpoints()} == {
        operation["summary"] for path in DOCUMENT["paths"].values() for operation in path.values()
    }


def test_the_document_says_who_must_show_who_he_is_and_what_is_no_json():
    operations = {path: operation for path, each in DOCUMENT["paths"].items() for operation in each.values()}
    assert {path for path, each in operations.items() if "security" not in each} == {"/healthz", "/readyz"}
    named = {name for each in operations.values() for scheme in each.get("security", ()) for name in scheme}
    assert named == set(DOCUMENT["components"]["securitySchemes"])
    texts = {
        path for path, each in operations.items() if "text/plain" in each["responses"].get("200", {}).get("content", {})
    }
    assert texts == {"/metrics", "/_cat/nodes"}
