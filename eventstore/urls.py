"""Database URLs: what people write (a path, ``sqlite:///...``, ``postgresql://...``) in SQLAlchemy's form."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

_POSTGRES_NAMES = ("postgres", "postgresql", "postgresql+psycopg")
_SQLITE_NAMES = ("sqlite", "sqlite+pysqlite")


def parse_url(text: str | URL) -> URL:
    """Return the SQLAlchemy URL for a path or URL.

    Raises
    ------
    ValueError
        For a text that is no URL, or one of another database.
    """
    if isinstance(text, str) and "://" not in text:
        if not text.strip():
            msg = "the database URL is empty; give a file name, sqlite:///FILE or postgresql://HOST/NAME"
            raise ValueError(msg)
        return URL.create("sqlite", database=str(Path(text).expanduser()))
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        msg = f"cannot read the database URL {text!r}: {error}"
        raise ValueError(msg) from error
    if url.drivername in _POSTGRES_NAMES:
        return url.set(drivername="postgresql+psycopg")
    if url.drivername in _SQLITE_NAMES:
        return url.set(drivername="sqlite")
    msg = f"the database URL must begin with sqlite:// or postgresql://, got {url.drivername}://"
    raise ValueError(msg)


def is_sqlite(url: URL) -> bool:
    """Say whether the URL is that of an SQLite database."""
    return url.get_backend_name() == "sqlite"


def is_in_memory(url: URL) -> bool:
    """Say whether the URL is that of an SQLite database that dies with its connection."""
    return is_sqlite(url) and url.database in (None, "", ":memory:")


def sqlite_path(url: URL) -> Path:
    """Return the file of an SQLite URL."""
    assert url.database is not None, "an in-memory database has no file"
    return Path(url.database)
