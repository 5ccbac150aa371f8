"""A server for all tests of one file, which make jobs of their own; a database of the kind that a test names."""

import pytest

from tests.support.http import serving


@pytest.fixture(scope="module")
def http(new_module_file):
    with serving(f"sqlite:///{new_module_file()}") as http:
        yield http


@pytest.fixture
def kind(request):
    return getattr(request, "param", "sqlite")


@pytest.fixture
def url(kind, request):
    """The URL of a migrated database: of SQLite, or of the kinds that ``tests.support.kinds.ON_BOTH`` names."""
    return request.getfixturevalue(f"{kind}_url")
