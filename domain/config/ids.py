"""The identifier rules: which texts may name a job, a group, a datafeed or a results index.

One rule holds for all: lower-case letters, digits, ``_``, ``.`` and ``-``, with a letter or digit at both
ends. ``_all`` can therefore never be one. Whether an id is taken is decided elsewhere.
"""

import re
from typing import Final

from domain.config.fields import shorten
from domain.errors import InvalidArgument

JOB_ID_LENGTH_MAX: Final = 64
RESULTS_INDEX_DEFAULT: Final = "shared"
RESULTS_INDEX_PREFIX: Final = "custom-"

_ID = re.compile(r"[a-z0-9](?:[a-z0-9_.\-]*[a-z0-9])?")
_ALPHABET = "lowercase alphanumeric (a-z and 0-9), hyphens or underscores; must start and end with alphanumeric"


def is_valid_id(text: str) -> bool:
    """Tell whether `text` keeps the rule for identifiers, whatever its length.

    >>> [is_valid_id(text) for text in ("a", "web-1.eu", "_all", "a-", "")]
    [True, True, False, False, False]
    """
    return _ID.fullmatch(text) is not None


def check_job_id(job_id: str) -> None:
    """Refuse a job id that breaks the rule or has more than 64 characters.

    Raises
    ------
    InvalidArgument
        With the message that the API fixes.
    """
    _check("job_id", job_id)
    if len(job_id) > JOB_ID_LENGTH_MAX:
        reason = f"The job id cannot contain more than {JOB_ID_LENGTH_MAX} characters."
        raise InvalidArgument(reason)


def check_datafeed_id(datafeed_id: str) -> None:
    """Refuse a datafeed id that breaks the rule."""
    _check("datafeed_id", datafeed_id)


def check_filter_id(filter_id: str) -> None:
    """Refuse the id of a filter of custom rules that breaks the rule."""
    _check("filter_id", filter_id)


def check_results_index_name(name: str) -> None:
    """Refuse a results index name that breaks the rule."""
    _check("results_index_name", name)


def check_group_id(group_id: str) -> None:
    """Refuse a group name that breaks the rule.

    Raises
    ------
    InvalidArgument
        With the message that the API fixes, which differs from that of the other identifiers.
    """
    if not is_valid_id(group_id):
        shown = shorten(group_id)
        reason = f"Invalid group id '{shown}'; must be non-empty string and may contain {_ALPHABET}"
        raise InvalidArgument(reason)


def check_body_id(field: str, url_id: str | None, body_id: str | None) -> None:
    """Refuse a body that names another id than its URL does; `field` is ``job_id`` or ``datafeed_id``."""
    if url_id is not None and body_id is not None and url_id != body_id:
        reason = (
            f"Inconsistent {field}; '{shorten(body_id)}' specified in the body "
            f"differs from '{shorten(url_id)}' specified as a URL argument"
        )
        raise InvalidArgument(reason)


def results_index_of(name: str | None) -> str:
    """Return the results index name as it is kept: ``shared``, or a checked name with the prefix ``custom-``.

    >>> results_index_of("web"), results_index_of("custom-web"), results_index_of(None)
    ('custom-web', 'custom-web', 'shared')
    """
    if name is None or name == RESULTS_INDEX_DEFAULT:
        return RESULTS_INDEX_DEFAULT
    check_results_index_name(name)
    return name if name.startswith(RESULTS_INDEX_PREFIX) else RESULTS_INDEX_PREFIX + name


def _check(field: str, text: str) -> None:
    if not is_valid_id(text):
        reason = f"Invalid {field}; '{shorten(text)}' can contain {_ALPHABET}"
        raise InvalidArgument(reason)
