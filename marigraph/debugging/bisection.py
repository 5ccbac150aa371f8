"""When a condition first held: the event, and the bucket and record in it.

A condition need not go on holding once it does, so nothing but looking at every state in order finds the first one:
a single pass from the start that ends where it holds. Two things make that cheaper where they are sound. What asks only
for events and the job needs no model and no records: the pass reads events alone. And who knows that a condition on
the state goes on holding (``lasting``) has stored states looked at first, by halves; the pass then begins at the last
one in which it does not hold.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from domain.errors import InvalidArgument
from domain.job import Job, evolve
from marigraph.application import Application
from marigraph.codec import stream_of
from marigraph.debugging.debugger import Debugger, Hit
from marigraph.debugging.points import check_version, head_version
from marigraph.debugging.scope import Condition, Level, Moment, read_state
from marigraph.replay import STATE_SCHEMA, ModelSource

OnEvents = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Bisection:
    """What a search found.

    Attributes
    ----------
    hit : Hit or None
        None: the condition never holds in the versions that were searched.
    from_version, to_version : int
        The events that were looked at; the last one is where the search ended.
    states_read : int
        Stored states that were looked at first.
    how : str
        In words.
    """

    job_id: str
    condition: str
    hit: Hit | None
    from_version: int
    to_version: int
    states_read: int
    how: str

    def resource(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return {
            "job_id": self.job_id,
            "condition": self.condition,
            "found": None if self.hit is None else self.hit.resource(self.job_id),
            "searched": {
                "from_version": self.from_version,
                "to_version": self.to_version,
                "states_read": self.states_read,
                "how": self.how,
            },
        }


def bisect(
    app: Application,
    job_id: str,
    text: str,
    *,
    after_version: int = 0,
    to_version: int | None = None,
    lasting: bool = False,
    on_events: OnEvents = lambda _n: None,
) -> Bisection:
    """Find the first event after which a condition holds.

    Parameters
    ----------
    text : str
        The condition (``scope.py`` says which names there are).
    after_version, to_version : int
        Only events behind the first, up to the other; None: all.
    lasting : bool
        Once it holds it goes on holding.

    Raises
    ------
    NotFound, InvalidArgument
        There is no such job or version; the condition is none, or cannot last.
    """
    condition = Condition.of(text)
    head = head_version(app, job_id)
    last = head if to_version is None else check_version(job_id, to_version, head)
    if not 0 <= after_version <= last:
        msg = f"nothing lies between version {after_version} and version {last} of job [{job_id}]"
        raise InvalidArgument(msg)
    search = _Search(app, job_id, condition, last, on_events)
    if condition.level == Level.EVENT:
        hit = search.over_events(after_version)
        how = "one pass over the events; the condition asks for nothing of the model, so no records were read"
        return Bisection(job_id, text, hit, after_version + 1, last if hit is None else hit.version, 0, how)
    start, n_states = search.last_without(after_version) if lasting else (after_version, 0)
    hit = search.over_states(start)
    how = "one pass that replayed the events until the condition held"
    if n_states:
        how = f"{n_states} stored states by halves, then {how}"
    return Bisection(job_id, text, hit, start + 1, last if hit is None else hit.version, n_states, how)


@dataclass(frozen=True, slots=True)
class _Search:
    """The ways to look for a condition up to a version."""

    app: Application
    job_id: str
    condition: Condition
    last: int
    on_events: OnEvents

    def over_events(self, after: int) -> Hit | None:
        job = Job(self.job_id)
        for item in ModelSource(self.app.store, self.app.codec, self.job_id).events(0, self.last):
            job = evolve(job, item.event, item.version, item.recorded_ms)
            self.on_events(1)
            if item.version > after and self.condition.holds_in(Moment(item, job)):
                return Hit(item.version, item.event.type, None, None)
        return None

    def over_states(self, after: int) -> Hit | None:
        debugger = Debugger(self.app, self.job_id)
        debugger.go_to(after, self.on_events)
        while debugger.version < self.last:
            step = debugger.step(self.condition.atoms, is_brief=True)
            assert step is not None
            self.on_events(1)
            hit = debugger.find(self.condition, step)
            if hit is not None:
                return hit
        return None

    def last_without(self, after: int) -> tuple[int, int]:
        """Return the version of the last stored state in which it does not hold yet, and how many were looked at."""
        if self.condition.asks_results:
            msg = "only a condition on the state can go on holding, not one on buckets or records: leave out --lasting"
            raise InvalidArgument(msg)
        stored = self.app.store.list_snapshots(stream_of(self.job_id), STATE_SCHEMA)
        versions = [each.version for each in stored if after < each.version <= self.last]
        found, n_states = after, 0
        while versions:
            middle = len(versions) // 2
            n_states += 1
            if self._holds_at(versions[middle]):
                versions = versions[:middle]
            else:
                found, versions = versions[middle], versions[middle + 1 :]
        return found, n_states

    def _holds_at(self, version: int) -> bool:
        debugger = Debugger(self.app, self.job_id)
        debugger.go_to(version)
        [item] = debugger.source.events(version - 1, version)
        state = read_state(debugger.model, self.condition.atoms, debugger.finder)
        return self.condition.holds_in(Moment(item, debugger.job, state))
