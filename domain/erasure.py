"""Jobs whose records can be erased: who may, what happens, and what is refused afterwards. Pure.

A job that is created with ``"custom_settings": {"erasable": true}`` keeps its records and model states encrypted
under a key of its own. Erasing it is one event, ``erased``, and then the end of the key: the log stays whole, and
nobody can read what it refers to. An erased job is closed for good, for its model has nothing left to go on from.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from domain.errors import BadRequest, Conflict
from domain.events import Erased, Event

if TYPE_CHECKING:
    from domain.commands import EraseJob
    from domain.job import Job  # which decides by this module

SETTING: Final = "erasable"


def is_erasable(custom_settings: Mapping[str, Any] | None) -> bool:
    """Tell whether a job asks for a key of its own; BadRequest if it cannot be meant so."""
    value = (custom_settings or {}).get(SETTING, False)
    if not isinstance(value, bool):
        msg = f"custom_settings.{SETTING} must be true or false, got [{value!r:.80}]"
        raise BadRequest(msg)
    return value


def check_erasable_kept(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> None:
    """Refuse to change whether a job is erasable: what is stored already would stay as it is."""
    was, is_now = is_erasable(before), is_erasable(after)
    if was != is_now:
        msg = (
            f"custom_settings.{SETTING} is fixed when a job is created: it is {str(was).lower()}, and an update of "
            "custom_settings, which replaces all of them, must say so too"
        )
        raise BadRequest(msg)


def decide_erasure(job: "Job", command: "EraseJob") -> list[Event]:
    """Return the event that erases a job; none if it was erased before."""
    if not is_erasable(job.settings().custom_settings):
        msg = (
            f"job [{job.job_id}] was created without custom_settings.{SETTING}: its records are not encrypted and "
            "there is no key to destroy; delete the job to remove them"
        )
        raise Conflict(msg)
    if job.erased_version:
        return []
    if job.state != "closed":
        msg = f"Cannot erase job [{job.job_id}] because it is {job.state}; close it first"
        raise Conflict(msg)
    return [Erased(keeps_results=command.keep_results)]


def erasure_before_deletion(job: "Job") -> list[Event]:
    """Return what else happens when a job is deleted: its records are erased, if they can be."""
    return [Erased()] if is_erasable(job.settings().custom_settings) and not job.erased_version else []


def check_not_erased(job: "Job") -> None:
    """Refuse to open an erased job."""
    if job.erased_version:
        msg = (
            f"Cannot open job [{job.job_id}] because it was erased (event {job.erased_version}): its records and model "
            "are gone for good; delete it, and create it again to begin anew"
        )
        raise Conflict(msg)


def _erased(_job: Any, _event: Erased, version: int, recorded_ms: int) -> dict[str, Any]:
    return {"erased_version": version, "erased_time_ms": recorded_ms, "snapshots": (), "model_snapshot_id": None}


EVOLVERS: Final[dict[str, Callable[..., dict[str, Any]]]] = {"erased": _erased}
"""What the event makes of a job; see ``domain.job.evolve``."""
