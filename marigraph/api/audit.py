"""Endpoints of the audit: what happened on the log, on whose order, and how things stood (``marigraph/audit``)."""

from collections.abc import Callable
from typing import Any, Final

from marigraph.api.endpoints import Call, Endpoint
from marigraph.api.explanations import CHOICE
from marigraph.api.history import PARAMETERS as HISTORY_PARAMETERS
from marigraph.api.history import selection_of
from marigraph.api.parameters import Parameter
from marigraph.api.results import time_of
from marigraph.audit import events, sessions, states
from marigraph.audit.scope import SIZE, SIZE_MAX, Asked, Page, Window

START: Final = Parameter("start", place="query", description="Only what was recorded from this time on.")
END: Final = Parameter("end", place="query", description="Only what was recorded before this time.")
PAGE: Final = (
    Parameter("size", "int", place="query", description=f"How many to return: {SIZE}, at most {SIZE_MAX}."),
    Parameter("after", place="query", description="`next` of the answer before. No `next`: the list has ended."),
)
DESC: Final = Parameter("desc", "bool", place="query", description="Newest first.")
LIST: Final = (START, END, *PAGE, DESC)


def _asked(call: Call, about: str = "job_id") -> Asked:
    parameters = call.parameters
    page = Page(parameters.get("size", SIZE), parameters.get("after"), parameters.get("desc", False))
    return Asked(call.path.get(about), Window(time_of(call, "start"), time_of(call, "end")), page)


def _history(call: Call) -> Any:
    return events.list_history(call.app, _asked(call), selection_of(call))


def _sessions(call: Call) -> Any:
    return sessions.list_sessions(call.app, _asked(call), call.parameters.get("ending"))


def _gaps(call: Call) -> Any:
    return sessions.list_gaps(call.app, _asked(call), call.parameters.get("longer_than", sessions.SILENCE_SECONDS))


def _changes(call: Call) -> Any:
    return events.list_changes(call.app, _asked(call), call.parameters.get("field"))


def _state(call: Call) -> Any:
    at, version, about = time_of(call, "at"), call.parameters.get("version"), call.path.get("job_id")
    if about is None or any(sign in about for sign in "*,") or about == "_all":
        return states.list_states(call.app, _asked(call), at, version)
    return {"count": 1, "jobs": [states.get_state(call.app, about, time_ms=at, version=version)]}


def _snapshots(call: Call) -> Any:
    return states.list_snapshots(call.app, _asked(call), call.parameters.get("snapshot_id"))


def _searches(call: Call) -> Any:
    return events.list_searches(call.app, _asked(call, "datafeed_id"))


def _lineage(call: Call) -> Any:
    # Loads with the model, only when asked for.
    from marigraph.api.explanations import choice_of
    from marigraph.audit.lineage import get_lineage

    return get_lineage(
        call.app,
        call.path["job_id"],
        choice_of(call),
        is_bucket=call.parameters.get("bucket", False),
        with_records=call.parameters.get("records", False),
    )


def _of_jobs(listed: Callable[..., Any]) -> Callable[[Call], Any]:
    return lambda call: listed(call.app, _asked(call))


def _endpoint(
    noun: str,
    answer: Callable[[Call], Any],
    summary: str,
    parameters: tuple[Parameter, ...] = LIST,
    placeholders: tuple[str, ...] = ("", "/{job_id}"),
) -> Endpoint:
    return Endpoint(
        f"audit_{noun}",
        ("GET",),
        tuple(f"/_audit/{noun}{each}" for each in placeholders),
        answer,
        summary,
        parameters,
        privilege="read_history",
        is_absolute=True,
    )


_ENDING: Final = Parameter("ending", place="query", description=f"One of {', '.join(sessions.ENDINGS)}.")
_LONGER: Final = Parameter("longer_than", "duration", place="query", description="The least silence; an hour.")
_FIELD: Final = Parameter("field", place="query", description="Only changes of this setting, or of those below it.")
_SNAPSHOT: Final = Parameter("snapshot_id", place="query", description="Only this one, with what it covers.")
_AS_OF: Final = (
    Parameter("at", place="query", description="As of this time; now unless it is given."),
    Parameter("version", "int", place="query", description="As of this version of one job's stream."),
)
_LINEAGE: Final = (
    *CHOICE,
    Parameter("bucket", "bool", place="query", description="The whole bucket at `timestamp`, not one record of it."),
    Parameter("records", "bool", place="query", description="With the posted records themselves."),
)

ENDPOINTS: Final = (
    _endpoint(
        "history",
        _history,
        "Events of jobs, those of deleted jobs too.",
        (*(each for each in HISTORY_PARAMETERS if each.name not in ("from", "size", "page")), *PAGE, DESC),
    ),
    _endpoint("sessions", _sessions, "When jobs were open, how that ended, and what they got.", (*LIST, _ENDING)),
    _endpoint("failures", _of_jobs(events.list_failures), "Jobs that failed, or were closed or deleted by force."),
    _endpoint("gaps", _gaps, "When jobs were open and got nothing.", (START, END, *PAGE, _LONGER)),
    _endpoint("refusals", _of_jobs(sessions.list_refusals), "Posts with records that came late or had no time."),
    _endpoint("changes", _changes, "Who changed which settings, from what to what.", (*LIST, _FIELD)),
    _endpoint("posts", _of_jobs(events.list_posts), "The batches of records that jobs accepted."),
    _endpoint("state", _state, "Jobs as of a time or a version: settings, state, counts, snapshots.", (*PAGE, *_AS_OF)),
    _endpoint("snapshots", _snapshots, "What snapshots hold, and which events they cover.", (*LIST, _SNAPSHOT)),
    _endpoint("lineage", _lineage, "Which posts fed a record or a bucket.", _LINEAGE, ("/{job_id}",)),
    _endpoint("searches", _searches, "The searches of datafeeds.", LIST, ("", "/{datafeed_id}")),
    _endpoint("access", _of_jobs(events.list_access), "What happened to keys and users.", LIST, ("",)),
)
