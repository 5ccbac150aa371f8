"""Which kinds of databases a test runs on, by the fixture ``url`` of the acceptance tests."""

import pytest

ON_BOTH = pytest.mark.parametrize("kind", ["sqlite", "postgres"], indirect=True)
"""Where the databases differ: transactions, locks, deletions. The other tests run on SQLite."""
