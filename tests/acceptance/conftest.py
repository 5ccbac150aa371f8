"""A server for all tests of one file: they make jobs of their own."""

import shutil

import pytest

from tests.support.http import serving


@pytest.fixture(scope="module")
def http(sqlite_template, tmp_path_factory):
    path = tmp_path_factory.mktemp("server") / "marigraph.db"
    shutil.copyfile(sqlite_template, path)
    with serving(f"sqlite:///{path}") as http:
        yield http
