from __future__ import annotations

import pytest

from eventstore.urls import is_in_memory, parse_url


@pytest.mark.parametrize(
    ("text", "driver", "database"),
    [
        ("a.db", "sqlite", "a.db"),
        ("/tmp/a b.db", "sqlite", "/tmp/a b.db"),
        ("sqlite:///a.db", "sqlite", "a.db"),
        ("sqlite:////tmp/a.db", "sqlite", "/tmp/a.db"),
        ("postgres://u:p@h/name", "postgresql+psycopg", "name"),
        ("postgresql://u@h/name", "postgresql+psycopg", "name"),
        ("postgresql+psycopg://h/name?sslmode=require", "postgresql+psycopg", "name"),
    ],
)
def test_what_people_write_is_understood(text: str, driver: str, database: str) -> None:
    url = parse_url(text)
    assert (url.drivername, url.database) == (driver, database)


@pytest.mark.parametrize("text", ["mysql://h/name", "", "  ", "postgresql://h:port/name"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="database URL"):
        parse_url(text)


def test_memory_is_told_from_files() -> None:
    assert is_in_memory(parse_url("sqlite://"))
    assert is_in_memory(parse_url("sqlite:///:memory:"))
    assert not is_in_memory(parse_url("a.db"))
