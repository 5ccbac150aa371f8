"""``marigraph verify JOB`` or ``--all``: whether all that is stored is what the log gives."""

from typing import TYPE_CHECKING, Annotated

import typer

from domain.errors import InvalidArgument
from marigraph.cli.output import print_json, say
from marigraph.cli.progress import counting, working
from marigraph.cli.session import CHECK_FAILED, Json, session_of

if TYPE_CHECKING:
    from marigraph.application import Application
    from marigraph.verify import Report

SomeJob = Annotated[str | None, typer.Argument(help="Id of the job.", metavar="JOB", show_default=False)]
EveryJob = Annotated[bool, typer.Option("--all", help="Every job, on all cores.")]


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command(epilog="Example: `marigraph verify --all`")(verify)


def check_choice(job: str | None, every: bool) -> None:
    """Refuse anything but one job, or all."""
    if (job is None) != every:
        msg = "give the id of a job, or --all"
        raise InvalidArgument(msg)


def verify(context: typer.Context, job: SomeJob = None, every: EveryJob = False, as_json: Json = False) -> None:
    """Replay a job from zero and from every stored state, compare everything, and check its hash chain.

    Exit code 0 only if everything holds.
    """
    check_choice(job, every)
    with session_of(context).application() as application:
        reports = _verify_every(application) if job is None else [_verify_one(application, job)]
    holds = all(report.holds for report in reports)
    if as_json:
        resources = [report.resource() for report in reports]
        print_json({"ok": holds, "jobs": resources} if every else resources[0])
    elif every:
        _print_every(reports)
    else:
        for check in reports[0].checks:
            say(f"{'ok    ' if check.holds else 'FAILED'}  {check.name}: {check.detail}")
        say(f"job {job}: {'everything holds' if holds else 'NOT everything holds'}")
    if not holds:
        raise typer.Exit(CHECK_FAILED)


def _verify_one(app: "Application", job: str) -> "Report":
    from marigraph.verify import verify_job  # loads with the model only when asked for

    with counting(f"replaying {job}", unit="events") as advance:
        return verify_job(app, job, advance)


def _verify_every(app: "Application") -> "list[Report]":
    """Verify all jobs; one that cannot be replayed fails."""
    from marigraph.many_jobs import every_job, over_jobs, verified  # loads with the model only when asked for
    from marigraph.verify import Check, Report

    jobs, reports = every_job(app), []
    with working("verifying", total=sum(job.version for job in jobs), unit="events") as advance:
        for done in over_jobs(app, jobs, verified):
            failed = [Check("replay", False, str(done.error))]
            reports.append(done.result or Report(done.job.job_id, failed))
            advance(done.job.version, done.job.version)
    return sorted(reports, key=lambda report: report.job_id)


def _print_every(reports: "list[Report]") -> None:
    """Print what failed, and how many hold."""
    for report in reports:
        for check in report.checks:
            if not check.holds:
                say(f"FAILED  {report.job_id}: {check.name}: {check.detail}")
    n_failed = sum(not report.holds for report in reports)
    say(f"{len(reports):,} jobs verified: {f'{n_failed:,} FAILED' if n_failed else 'everything holds'}")
