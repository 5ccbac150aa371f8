"""What ``replay``, ``diff`` and ``bisect`` do and print; the commands themselves are in ``debugging.py``."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from domain.errors import InvalidArgument
from marigraph.application import Application
from marigraph.cli.output import literal, number, print_json, print_table, say
from marigraph.cli.progress import working
from marigraph.cli.steps import change_lines, hit_text, step_lines
from marigraph.debugging.bisection import bisect
from marigraph.debugging.debugger import Debugger, Hit, Step
from marigraph.debugging.difference import Difference, compare
from marigraph.debugging.points import check_version, find_snapshot, head_version, version_at, version_of
from marigraph.debugging.resources import state_resource, step_resource
from marigraph.debugging.scope import FUNCTIONS, NAMES, STATE_FUNCTIONS, Condition
from marigraph.many_jobs import every_job, over_jobs, rebuilt

NAMES_SHOWN = 10
"""Names of series printed in a line."""


def is_terminal() -> bool:
    """Tell whether somebody sits there who can press keys."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def begin_of(app: Application, job: str, from_version: int | None, from_snapshot: str | None) -> int:
    """Return the version behind which to begin; InvalidArgument if there is no such snapshot."""
    if from_snapshot is None:
        return from_version or 0
    found = find_snapshot(app, job, from_snapshot)
    if found is None:
        msg = f"job [{job}] never had a model snapshot [{from_snapshot}]; `marigraph snapshots list {job}` lists them"
        raise InvalidArgument(msg)
    return found


def end_of(app: Application, job: str, to_version: int | None, to_ms: int | None) -> int:
    """Return the version with which to end; InvalidArgument if there is none such."""
    head = head_version(app, job)
    if to_ms is not None:
        return version_at(app, job, to_ms)
    return head if to_version is None else check_version(job, to_version, head)


@contextmanager
def _replaying(job: str, total: int) -> Iterator[Callable[[int], None]]:
    with working(f"replaying {job}", total=total, unit="events") as advance:
        yield lambda n: advance(n, n)


class Shown:
    """A replay as it is shown: step by step in lines, as one resource, or on a terminal by keys."""

    def __init__(
        self, app: Application, job: str, series: Sequence[str], until: str | None, *, by_bucket: bool
    ) -> None:
        self._condition = None if until is None else Condition.of(until)
        self._debugger = Debugger(app, job, series)
        self._by_bucket = by_bucket
        self._begin = 0
        self._hit: Hit | None = None

    def go_to_begin(self, begin: int, end: int) -> None:
        """Rebuild the state in which the replay begins."""
        if begin > end:
            msg = f"nothing lies between version {begin}, where the replay begins, and version {end}, where it ends"
            raise InvalidArgument(msg)
        self._begin, self._debugger.head = begin, end
        with _replaying(self._debugger.job_id, begin) as on_events:
            self._debugger.go_to(begin, on_events)

    def by_keys(self) -> bool:
        """Let somebody step by keys."""
        from marigraph.cli.stepper import Stepper  # the terminal's library loads only for it

        stepper = Stepper(self._debugger, self._condition)
        with _replaying(self._debugger.job_id, 0) as on_events:
            stepper.walk.begin(on_events)
        stepper.run()
        return True

    def run(self, *, as_json: bool) -> bool:
        """Show every step; return whether the condition held, if there is one."""
        if as_json:
            self._print_json()
        else:
            for step in self._steps():
                for line in step_lines(step, by_bucket=self._by_bucket):
                    say(line)
            self._print_end()
        return self._condition is None or self._hit is not None

    def _print_json(self) -> None:
        """Print everything as one object, step by step: the steps of a long log are more than fit into memory."""
        debugger, out = self._debugger, sys.stdout.buffer
        head = {"job_id": debugger.job_id, "from_version": self._begin, "snapshot_version": debugger.snapshot_version}
        out.write(msgspec.json.encode(head)[:-1] + b',\n"steps": [')
        with _replaying(debugger.job_id, debugger.head - self._begin) as on_events:
            for place, step in enumerate(self._steps(on_events)):
                resource = step_resource(debugger, step, by_bucket=self._by_bucket)
                out.write((b",\n" if place else b"\n") + msgspec.json.encode(resource))
        hit = None if self._hit is None else self._hit.resource(debugger.job_id)
        tail = {"found": hit, "state": state_resource(debugger)}
        out.write(b"\n],\n" + msgspec.json.encode(tail)[1:] + b"\n")
        out.flush()

    def _steps(self, on_events: Callable[[int], None] = lambda _n: None) -> Iterator[Step]:
        """Step until the end, or until the condition holds."""
        condition = self._condition
        while (step := self._debugger.step(frozenset() if condition is None else condition.atoms)) is not None:
            on_events(1)
            self._hit = None if condition is None else self._debugger.find(condition, step)
            yield step
            if self._hit is not None:
                return

    def _print_end(self) -> None:
        debugger, state = self._debugger, state_resource(self._debugger)
        if self._hit is not None:
            say(f"\nthe condition holds {hit_text(self._hit)}")
        elif self._condition is not None:
            say("\nthe condition never held")
        begun = debugger.snapshot_version
        origin = "the start of the job" if begun is None else f"the model state of version {begun}"
        say(f"\nstate as of version {state['version']}, replayed from {origin}: job {state['state']}")
        say(f"series {state['series_count']:,}, model {state['model_bytes']:,} bytes")
        say(f"state digest {state['state_digest'] or '-'}")


def show_every(app: Application, *, as_json: bool) -> bool:
    """Rebuild all jobs on all cores, and print the states that they come to; return whether all could be."""
    jobs, states = every_job(app), []
    with working("replaying", total=sum(job.version for job in jobs), unit="events") as advance:
        for done in over_jobs(app, jobs, rebuilt):
            states.append(done.result or {"job_id": done.job.job_id, "version": done.job.version, "error": done.error})
            advance(done.job.version, done.job.version)
    states.sort(key=lambda state: str(state["job_id"]))
    if as_json:
        print_json({"count": len(states), "jobs": states})
    else:
        columns = ("job", "version", "records", "series", "state digest")
        print_table(columns, map(_state_row, states), right=("version", "records", "series"))
    return not any("error" in state for state in states)


def _state_row(state: dict[str, Any]) -> tuple[str, str, str, str, str]:
    head = (state["job_id"], f"{state['version']:,}")
    if "error" in state:
        return (*head, "", "", literal(state["error"]))
    return (*head, f"{state['record_count']:,}", f"{state['series_count']:,}", state["state_digest"] or "-")


def show_difference(
    app: Application, job: str, at: Sequence[str], series: Sequence[str], *, size: int, as_json: bool
) -> None:
    """Compare a job as of two points, and print what differs."""
    before, after = (version_of(app, job, text) for text in at)
    with _replaying(job, max(before, after)) as on_events:
        found = compare(app, job, before, after, series=series, on_events=on_events)
    if as_json:
        print_json(found.resource(size))
    else:
        _print_difference(found, size)


def _print_difference(found: Difference, size: int) -> None:
    before, after = found.versions
    is_equal = found.digests[0] == found.digests[1]
    say(f"{found.job_id}: version {before} -> {after}{', model states equal in every bit' if is_equal else ''}")
    for title, changes in (("job", found.job), ("model", found.model)):
        for line in change_lines(changes):
            say(f"  {title} {line}")
    for title, names in (("new series", found.new_series), ("gone series", found.gone_series)):
        if names:
            more = f" and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else ""
            say(f"  {title}: {', '.join(names[:NAMES_SHOWN])}{more}")
    rows = []
    for component in found.components:
        for place, entry in enumerate(component.entries[:size]):
            head = f"{component.component} ({component.series_count:,} series)" if place == 0 else ""
            change = f"{number(entry.before)} -> {number(entry.after)}"
            rows.append((head, literal(entry.series), entry.name, change, f"{entry.size:.2g}"))
    if rows:
        say("")
        print_table(("component", "series", "what", "change", "size"), rows, right=("size",))
        say("\nsize: in spreads of the series, or in parts of the larger number where it is in other units")


def show_bisection(
    app: Application, job: str, until: str, versions: tuple[int, int | None], *, lasting: bool, as_json: bool
) -> bool:
    """Find where a condition first holds, and print it; return whether it does."""
    with _replaying(job, versions[1] or head_version(app, job)) as on_events:
        found = bisect(
            app,
            job,
            until,
            after_version=versions[0],
            to_version=versions[1],
            lasting=lasting,
            on_events=on_events,
        )
    if as_json:
        print_json(found.resource())
        return found.hit is not None
    if found.hit is None:
        say(f"never: the condition does not hold in versions {versions[0] + 1} to {found.to_version} of {job}")
    else:
        say(f"first {hit_text(found.hit)}")
    say(f"searched versions {found.from_version} to {found.to_version}: {found.how}")
    return found.hit is not None


def show_names() -> None:
    """Print the names that conditions may use."""
    rows = [(name, known.level.name.lower(), known.meaning) for name, known in NAMES.items()]
    rows += [(f"{name}(SERIES)", "model", meaning) for name, meaning in STATE_FUNCTIONS.items()]
    rows += [
        (f"{name}(...)", "", "of numbers" if name != "time" else "a time in quotes, in milliseconds")
        for name in FUNCTIONS
        if name not in STATE_FUNCTIONS
    ]
    print_table(("name", "of", "what it is"), rows)
