"""Logs: one JSON object per line whoever logs, and nothing secret in it."""

import io
import json
import logging
import warnings

import pytest
import structlog

from marigraph.logs import configure_logs


@pytest.fixture
def lines():
    """What was logged since the last look, as JSON."""
    root = logging.getLogger()
    before = root.handlers, root.level
    levels = {name: logging.getLogger(name).level for name in ("uvicorn", "alembic")}
    stream = io.StringIO()
    configure_logs("json", stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logging.captureWarnings(capture=False)
    root.handlers, root.level = before
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_standard_logging_becomes_json_with_its_fields(lines):
    with structlog.contextvars.bound_contextvars(request_id="r1", actor="bob"):
        logging.getLogger("some.library").warning("it took %d ms", 5, extra={"status": 200})
    [line] = lines()
    assert line | {"timestamp": ""} == {
        "event": "it took 5 ms",
        "logger": "some.library",
        "level": "warning",
        "status": 200,
        "request_id": "r1",
        "actor": "bob",
        "timestamp": "",
    }


def test_a_line_break_in_a_message_makes_no_second_line(lines):
    logging.getLogger("x").info('one\n{"event": "forged"}')
    assert len(lines()) == 1


def test_an_exception_is_one_line_with_its_traceback(lines):
    try:
        msg = "no way"
        raise LookupError(msg)
    except LookupError:
        logging.getLogger("x").exception("failed")
    [line] = lines()
    assert "LookupError: no way" in line["exception"]


@pytest.mark.parametrize(
    "text",
    ["Authorization: Basic c2VjcmV0c2VjcmV0", "apikey c2VjcmV0c2VjcmV0", "at postgresql://me:c2VjcmV0c2VjcmV0@host/db"],
)
def test_what_looks_like_credentials_is_masked(lines, text):
    try:
        raise LookupError(text)
    except LookupError:
        logging.getLogger("x").exception(text, extra={"header": text})
    [line] = lines()
    assert "c2VjcmV0" not in json.dumps(line)


def test_warnings_are_logged(lines):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("careful", stacklevel=1)
    assert "careful" in lines()[0]["event"]


def test_people_get_lines_without_colours_where_there_is_no_terminal():
    root = logging.getLogger()
    before = root.handlers, root.level
    stream = io.StringIO()
    try:
        configure_logs("console", stream=stream)
        logging.getLogger("x").info("hello", extra={"status": 200})
    finally:
        logging.captureWarnings(capture=False)
        root.handlers, root.level = before
    assert "hello" in stream.getvalue()
    assert "status=200" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
